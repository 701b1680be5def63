"""Right-drag: every note the pointer touches goes, as one step."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt

from app.roll.gestures.gesture import RIGHT, Gesture, Pointer
from app.roll.index import NOBODY, NoteIndex
from app.roll.state import RollState
from engine.score import edit

STRIDE_PX = 4.0  # a fast mouse skips pixels: the way between is looked at too


class Erase(Gesture):
    """Rows are those of the score the drag began with."""

    cursor = Qt.CursorShape.ForbiddenCursor
    text = "Erase notes"
    scrolls = False

    @classmethod
    def wants(cls, roll: RollState, at: Pointer) -> bool:
        """Any right press."""
        return at.button == RIGHT

    def __init__(self, roll: RollState, start: Pointer) -> None:
        super().__init__(roll, start)
        self.index: NoteIndex = roll.index
        self.gone: set[int] = set()
        self.last = start
        self.touch(start.x, start.y)

    def move(self, at: Pointer) -> None:
        far = max(abs(at.x - self.last.x), abs(at.y - self.last.y))
        for share in np.linspace(0, 1, int(far / STRIDE_PX) + 2)[1:]:
            self.touch(
                self.last.x + (at.x - self.last.x) * share, self.last.y + (at.y - self.last.y) * share, show=share == 1
            )
        self.last = at

    def touch(self, x: float, y: float, show: bool = True) -> None:
        """Take what lies at a place; `show` the song without all taken so far."""
        view = self.roll.view
        tick, pitch = view.tick_of(x), view.pitch_of(y)
        rows = self.index.inside(tick - 1 / view.px_per_tick, tick + 1 / view.px_per_tick, pitch, pitch)
        if self.roll.track is not None:
            rows = rows[self.index.track[rows] == self.roll.track]
        self.gone.update(rows.tolist())
        if show and self.gone:
            self.put(edit.Edited(edit.delete(self.origin, sorted(self.gone)), NOBODY))
