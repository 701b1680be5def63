"""The velocity lane: paint over the bars of notes; Shift draws a straight ramp from where the drag began.

With notes selected only they are painted. y counts from the top of the lane, whose height is given.
"""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPainter, QPen

from app.roll.gestures.gesture import LEFT, Gesture, Pointer
from app.roll.state import RollState
from app.theme import current
from engine.score import edit

REACH_PX = 4.0


def velocity_of(y: float, height: float) -> int:
    """The velocity at y in a lane of this height."""
    return int(np.clip(round((1 - y / height) * 127), 1, 127))


class PaintVelocity(Gesture):
    """A left drag in the lane."""

    cursor = Qt.CursorShape.CrossCursor
    text = "Paint velocities"
    scrolls = False

    @classmethod
    def wants(cls, roll: RollState, at: Pointer) -> bool:
        """Any left press in the lane."""
        return at.button == LEFT

    def __init__(self, roll: RollState, start: Pointer, height: float) -> None:
        super().__init__(roll, start)
        self.height = height
        self.chosen = roll.selection
        self.painted = self.origin.notes["velocity"].astype(np.int64)
        self.touched = np.zeros(len(self.painted), dtype=bool)
        self.last = self.now = start
        self.index = roll.index
        self.brush(start, start)

    def drag(self, at: Pointer) -> None:
        self.dragged = True
        self.move(at)

    def move(self, at: Pointer) -> None:
        if at.shift:  # one ramp, from the press
            self.painted = self.origin.notes["velocity"].astype(np.int64)
            self.touched[:] = False
            self.brush(self.start, at)
        else:
            self.brush(self.last, at)
        self.last = self.now = at

    def brush(self, a: Pointer, b: Pointer) -> None:
        """Set the notes that begin between two places to the line between them."""
        left, right = sorted((a, b), key=lambda p: p.x)
        reach = REACH_PX / self.roll.view.px_per_tick
        rows = np.arange(*np.searchsorted(self.index.tick, [left.tick - reach, right.tick + reach]), dtype=np.intp)
        if len(self.chosen):
            rows = np.intersect1d(rows, self.chosen)
        elif self.roll.track is not None:
            rows = rows[self.index.track[rows] == self.roll.track]
        if not len(rows):
            return
        ends = [velocity_of(left.y, self.height), velocity_of(right.y, self.height)]
        at = [left.tick, max(right.tick, left.tick + 1e-6)]
        self.painted[rows] = np.round(np.interp(self.index.tick[rows], at, ends))
        self.touched[rows] = True
        done = np.flatnonzero(self.touched)
        edited = edit.set_velocity(self.origin, done, self.painted[done])
        self.put(edit.Edited(edited.score, self.chosen))

    def release(self, at: Pointer) -> None:
        if self.touched.any():
            self.roll.pen_velocity = velocity_of(at.y, self.height)

    def paint(self, painter: QPainter) -> None:
        if self.now.shift:
            painter.setPen(QPen(QColor(current().accent), 1))
            painter.drawLine(round(self.start.x), round(self.start.y), round(self.now.x), round(self.now.y))
