"""What every mouse gesture of the roll shares: where the pointer is in music, and how a drag edits the song.

A gesture lives from press to release. Nothing here knows about widgets or Qt events.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QPainter

from app.roll.snap import Snap
from app.roll.state import RollState
from engine.score.edit import Edited, Rows

EDGE_PX = 6.0  # how near an edge of a note counts as on it
OUTSIDE_PX = 2.0  # an edge can also be grabbed from this far outside
DRAG_PX = 3.0  # a press that moves less is a click
NO_BUTTON, LEFT, RIGHT, MIDDLE = (
    Qt.MouseButton.NoButton,
    Qt.MouseButton.LeftButton,
    Qt.MouseButton.RightButton,
    Qt.MouseButton.MiddleButton,
)


@dataclass(frozen=True, slots=True)
class Pointer:
    """The mouse over the roll. `row` is the note under it, -1 on empty ground."""

    x: float
    y: float
    tick: float
    pitch: int
    row: int = -1
    edge: Literal["", "start", "end"] = ""
    button: Qt.MouseButton = NO_BUTTON
    shift: bool = False
    ctrl: bool = False
    alt: bool = False
    double: bool = False

    @classmethod
    def at(
        cls, roll: RollState, x: float, y: float, button: Qt.MouseButton = NO_BUTTON,
        modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier, double: bool = False,
    ) -> Pointer:  # fmt: skip
        """Read a place in the notes area: the topmost editable note there, and whether x is on an edge of it."""
        tick, pitch = roll.view.tick_of(x), roll.view.pitch_of(y)
        row, edge = _note_at(roll, x, tick, pitch)
        keys = Qt.KeyboardModifier
        return cls(
            x, y, tick, pitch, row, edge, button,
            bool(modifiers & keys.ShiftModifier), bool(modifiers & keys.ControlModifier),
            bool(modifiers & keys.AltModifier), double,
        )  # fmt: skip

    def far_from(self, other: Pointer) -> bool:
        """True when a press here or there is a drag, not a click."""
        return abs(self.x - other.x) > DRAG_PX or abs(self.y - other.y) > DRAG_PX


def _note_at(roll: RollState, x: float, tick: float, pitch: int) -> tuple[int, Literal["", "start", "end"]]:
    slack = 5.0 / roll.view.px_per_tick  # short notes are as wide as they are painted, and a little more
    rows = roll.editable(roll.index.inside(tick - slack, tick + slack, pitch, pitch))
    if not len(rows):
        return -1, ""
    left, right = roll.view.x_of(roll.index.tick[rows]), roll.view.x_of(roll.index.end[rows])
    right = np.maximum(right, left + 3)
    near = (left - OUTSIDE_PX <= x) & (x <= right + OUTSIDE_PX)
    rows, left, right = rows[near], left[near], right[near]
    if not len(rows):
        return -1, ""
    inside = (left <= x) & (x < right)  # counts most, then a selected one, then the one on top
    best = int(np.lexsort((rows, np.isin(rows, roll.selection), inside))[-1])
    reach = min(EDGE_PX, (right[best] - left[best]) / 4)
    edge: Literal["", "start", "end"] = "end" if right[best] - x <= reach else "start" if x - left[best] < reach else ""
    return int(rows[best]), edge


class Gesture:
    """A press, its moves and its release; `wants` says whether a press begins one."""

    cursor: ClassVar[Qt.CursorShape] = Qt.CursorShape.ArrowCursor
    scrolls: ClassVar[bool] = True  # dragging out of the roll scrolls it
    text: ClassVar[str] = ""  # the name of the undo step

    def __init__(self, roll: RollState, start: Pointer) -> None:
        self.roll, self.start = roll, start
        self.origin = self._last = roll.score
        self.dragged = False

    @classmethod
    def wants(cls, roll: RollState, at: Pointer) -> bool:
        """Whether a press at this place begins this gesture."""
        raise NotImplementedError  # every gesture says so for itself

    def drag(self, at: Pointer) -> None:
        """The pointer is now here; nothing happens until it is far enough from the press."""
        if self.dragged or at.far_from(self.start):
            self.dragged = True
            self.move(at)

    def move(self, at: Pointer) -> None:
        """The drag goes on."""

    def release(self, at: Pointer) -> None:
        """The button is up."""

    def cancel(self) -> None:
        """Esc: the song is as it was before the press."""
        if self.roll.score is self._last and self._last is not self.origin:
            self.roll.document.change(self.origin, self.text, self)

    def paint(self, painter: QPainter) -> None:
        """Paint what helps while dragging, in pixels of the notes area."""

    def put(self, edited: Edited) -> None:
        """Show an edit of the score the gesture began with; all of them are one undo step.

        When the song was changed by somebody else meanwhile, the gesture has ended.
        """
        if self.roll.score is self._last:
            self.roll.edit(edited, self.text, merge_key=self)
            self._last = self.roll.score

    def snap(self, at: Pointer) -> Snap:
        """The snap to use: Alt turns it off."""
        return replace(self.roll.snap, on=self.roll.snap.on and not at.alt)

    def grab(self, at: Pointer) -> Rows:
        """The notes a press on a note takes: the selection it belongs to, else the note alone (Shift adds it)."""
        roll = self.roll
        if at.row not in roll.selection:
            alone = np.array([at.row], dtype=np.intp)
            roll.select(np.union1d(roll.selection, alone) if at.shift else alone)
        return roll.selection

    def hear(self, row: int, pitch: int | None = None) -> None:
        """Sound one note of the song, at another pitch if given."""
        index = self.roll.index
        self.roll.auditioned.emit(
            int(index.pitch[row]) if pitch is None else pitch, int(index.velocity[row]), int(index.track[row])
        )
