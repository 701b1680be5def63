"""Drag notes: in time by whole steps (Alt: freely) and in pitch; Shift keeps to one direction."""

from __future__ import annotations

import numpy as np
from PySide6.QtCore import Qt

from app.roll.gestures.gesture import LEFT, Gesture, Pointer
from app.roll.state import RollState
from engine.score import edit


class Move(Gesture):
    """A press on a note selects it; a drag moves the whole selection."""

    cursor = Qt.CursorShape.SizeAllCursor
    text = "Move notes"

    @classmethod
    def wants(cls, roll: RollState, at: Pointer) -> bool:
        """A left press on a note."""
        return at.button == LEFT and at.row >= 0

    def __init__(self, roll: RollState, start: Pointer) -> None:
        super().__init__(roll, start)
        self.was_selected = start.row in roll.selection
        self.rows = self.grab(start)
        self.pitch = int(roll.index.pitch[start.row])
        self.onset = float(roll.index.tick[start.row])
        self.heard = self.pitch
        self.hear(start.row)

    def shift(self, at: Pointer) -> tuple[int, int]:
        """(ticks, semitones) dragged so far."""
        dx, dy = at.x - self.start.x, at.y - self.start.y
        ticks = self.snap(at).shift(at.tick - self.start.tick, self.onset, self.roll.grid, self.roll.view.px_per_tick)
        semitones = at.pitch - self.start.pitch
        if at.shift:
            return (ticks, 0) if abs(dx) >= abs(dy) else (0, semitones)
        return ticks, semitones

    def move(self, at: Pointer) -> None:
        ticks, semitones = self.shift(at)
        self.put(edit.move(self.origin, self.rows, ticks, semitones))
        if self.pitch + semitones != self.heard and len(self.roll.selection):
            self.heard = self.pitch + semitones
            self.roll.auditioned.emit(
                int(np.clip(self.heard, 0, 127)), int(self.origin.notes["velocity"][self.start.row]),
                int(self.origin.notes["track"][self.start.row]),
            )  # fmt: skip

    def release(self, at: Pointer) -> None:
        if self.dragged or self.roll.score is not self.origin:
            return
        if at.shift and self.was_selected:
            self.roll.select(np.setdiff1d(self.roll.selection, [self.start.row]))
        elif not at.shift:
            self.roll.select(np.array([self.start.row], dtype=np.intp))
