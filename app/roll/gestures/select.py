"""Drag on empty ground: a rubber band selects the notes it touches. Shift adds, Ctrl turns over; a click lets go."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter, QPen

from app.roll.colours import faded
from app.roll.gestures.gesture import LEFT, Gesture, Pointer
from app.roll.state import RollState
from app.theme import current


class Select(Gesture):
    """The gesture of a left press on empty ground."""

    @classmethod
    def wants(cls, roll: RollState, at: Pointer) -> bool:
        """Every left press nobody else wants."""
        return at.button == LEFT

    def __init__(self, roll: RollState, start: Pointer) -> None:
        super().__init__(roll, start)
        self.before = roll.selection
        self.now = start
        self.anchor_y = start.y + roll.view.top  # stays on its pitch while the roll scrolls

    def move(self, at: Pointer) -> None:
        self.now = at
        roll = self.roll
        first, last = sorted((self.start.tick, at.tick))
        low, high = sorted((self.start.pitch, at.pitch))
        inside = roll.editable(roll.index.inside(first, last, low, high))
        if at.ctrl:
            inside = np.setxor1d(self.before, inside)
        elif at.shift:
            inside = np.union1d(self.before, inside)
        roll.select(inside)

    def release(self, at: Pointer) -> None:
        if not self.dragged and not at.shift and not at.ctrl:
            self.roll.select(self.before[:0])

    def cancel(self) -> None:
        self.roll.select(self.before)

    def paint(self, painter: QPainter) -> None:
        if not self.dragged:
            return
        theme, view = current(), self.roll.view
        a, b = view.x_of(self.start.tick), view.x_of(self.now.tick)
        top = self.anchor_y - view.top
        band = QRectF(min(a, b), min(top, self.now.y), abs(b - a), abs(self.now.y - top))
        painter.setPen(QPen(faded(theme.accent, 0.9), 1))
        painter.setBrush(faded(theme.accent, 0.10))
        painter.drawRect(band)
