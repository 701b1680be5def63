"""Write a note: click for the last length, drag for another. With the pencil, or by double click without it."""

from __future__ import annotations

from PySide6.QtCore import Qt

from app.roll.gestures.gesture import LEFT, Gesture, Pointer
from app.roll.state import RollState
from engine.score import edit
from engine.score.score import make_notes


class Draw(Gesture):
    """A left press on empty ground with the pencil, or the second press of a double click."""

    cursor = Qt.CursorShape.CrossCursor
    text = "Draw note"

    @classmethod
    def wants(cls, roll: RollState, at: Pointer) -> bool:
        """On empty ground only: on a note the pencil moves it."""
        return at.button == LEFT and at.row < 0 and (roll.pencil or at.double) and bool(roll.score.tracks)

    def __init__(self, roll: RollState, start: Pointer) -> None:
        super().__init__(roll, start)
        self.tick = self.snap(start).snapped(start.tick, roll.grid, roll.view.px_per_tick, "down")
        self.step = roll.step(self.tick)
        self.write(round(roll.pen_length) or self.step)
        roll.auditioned.emit(start.pitch, roll.pen_velocity, roll.pen_track)

    def move(self, at: Pointer) -> None:
        end = self.snap(at).snapped(at.tick, self.roll.grid, self.roll.view.px_per_tick, "up")
        self.write(max(end - self.tick, 1 if at.alt else self.step))

    def write(self, length: int) -> None:
        """Put the note with this length in ticks."""
        roll = self.roll
        note = make_notes([(self.tick, length, self.start.pitch, roll.pen_velocity, roll.pen_track)])
        self.put(edit.insert(self.origin, note))
        self.length = length

    def release(self, at: Pointer) -> None:
        self.roll.pen_length = float(self.length)
        self.roll.auditioned.emit(self.start.pitch, 0, self.roll.pen_track)
