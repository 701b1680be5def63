"""Drag an edge of a note: either edge, on all selected notes at once; Alt: freely."""

from __future__ import annotations

from PySide6.QtCore import Qt

from app.roll.gestures.gesture import LEFT, Gesture, Pointer
from app.roll.state import RollState
from engine.score import edit


class Resize(Gesture):
    """A left press on an edge; the note grabbed says where the edge snaps to."""

    cursor = Qt.CursorShape.SizeHorCursor
    text = "Change note lengths"

    @classmethod
    def wants(cls, roll: RollState, at: Pointer) -> bool:
        """A left press on an edge of a note, without Ctrl."""
        return at.button == LEFT and at.row >= 0 and bool(at.edge) and not at.ctrl

    def __init__(self, roll: RollState, start: Pointer) -> None:
        super().__init__(roll, start)
        self.rows = self.grab(start)
        self.place = float((roll.index.tick if start.edge == "start" else roll.index.end)[start.row])
        self.onset, self.end = float(roll.index.tick[start.row]), float(roll.index.end[start.row])
        self.step = roll.step(self.onset)

    def move(self, at: Pointer) -> None:
        roll, snap = self.roll, self.snap(at)
        wanted = at.tick - self.start.tick
        ticks = snap.shift(wanted, self.place, roll.grid, roll.view.px_per_tick)
        if snap.on and self.start.edge == "end" and self.place + ticks <= self.onset:  # stop at the first step left
            ticks = min(round(self.onset) + self.step - round(self.place), 0)
        minimum = max(self.step // 4, 1) if snap.on else 1
        self.put(edit.resize(self.origin, self.rows, ticks, "start" if self.start.edge == "start" else "end", minimum))
        if len(roll.selection):
            roll.pen_length = float(
                max(self.end - self.onset + ticks * (1 if self.start.edge == "end" else -1), minimum)
            )

    def release(self, at: Pointer) -> None:
        if not self.dragged:
            self.hear(self.start.row)
