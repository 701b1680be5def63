"""The ruler: a drag marks whole bars (what is looped and what is morphed), a click moves the playhead."""

from __future__ import annotations

from PySide6.QtCore import Qt

from app.roll.gestures.gesture import LEFT, RIGHT, Gesture, Pointer
from app.roll.state import RollState


class Bars(Gesture):
    """A right click lets the bars go."""

    cursor = Qt.CursorShape.SizeHorCursor

    @classmethod
    def wants(cls, roll: RollState, at: Pointer) -> bool:
        """Left and right presses in the ruler."""
        return at.button in (LEFT, RIGHT)

    def __init__(self, roll: RollState, start: Pointer) -> None:
        super().__init__(roll, start)
        self.before = roll.bars
        self.first = int(roll.grid.bar_of(start.tick))
        if start.shift and roll.bars is not None:  # reach from the far end of what is marked
            low, high = roll.bars.start, roll.bars.stop - 1
            self.first = high if abs(self.first - low) < abs(self.first - high) else low
            self.move(start)
            self.dragged = True

    def move(self, at: Pointer) -> None:
        if self.start.button == LEFT:
            low, high = sorted((self.first, int(self.roll.grid.bar_of(max(at.tick, 0)))))
            self.roll.select_bars(range(low, high + 1))

    def release(self, at: Pointer) -> None:
        if self.start.button == RIGHT:
            self.roll.select_bars(None)
        elif not self.dragged:
            roll = self.roll
            roll.seek_requested.emit(self.snap(at).snapped(at.tick, roll.grid, roll.view.px_per_tick))

    def cancel(self) -> None:
        self.roll.select_bars(self.before)
