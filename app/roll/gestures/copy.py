"""Ctrl+drag notes: the originals stay, copies of them move. Ctrl+click adds a note to the selection or takes it out."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt

from app.roll.gestures.gesture import LEFT, Pointer
from app.roll.gestures.move import Move
from app.roll.state import RollState
from engine.score import edit


class Copy(Move):
    """A move that leaves the originals where they are."""

    cursor = Qt.CursorShape.DragCopyCursor
    text = "Copy notes"

    @classmethod
    def wants(cls, roll: RollState, at: Pointer) -> bool:
        """A left press on a note with Ctrl."""
        return at.button == LEFT and at.row >= 0 and at.ctrl

    def __init__(self, roll: RollState, start: Pointer) -> None:
        self.before = roll.selection
        super().__init__(roll, start)

    def move(self, at: Pointer) -> None:
        ticks, semitones = self.shift(at)
        if not ticks and not semitones:
            self.put(edit.Edited(self.origin, self.rows))
        else:
            self.put(edit.duplicate(self.origin, self.rows, ticks, semitones))

    def release(self, at: Pointer) -> None:
        if not self.dragged and self.roll.score is self.origin:
            self.roll.select(np.setxor1d(self.before, [self.start.row]))
