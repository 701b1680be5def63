"""Middle-drag: the paper follows the hand."""

from __future__ import annotations

from PySide6.QtCore import Qt

from app.roll.gestures.gesture import MIDDLE, Gesture, Pointer
from app.roll.state import RollState


class Pan(Gesture):
    """Moves the view, never the music."""

    cursor = Qt.CursorShape.ClosedHandCursor
    scrolls = False

    @classmethod
    def wants(cls, roll: RollState, at: Pointer) -> bool:
        """Any middle press."""
        return at.button == MIDDLE

    def __init__(self, roll: RollState, start: Pointer) -> None:
        super().__init__(roll, start)
        self.view = roll.view

    def move(self, at: Pointer) -> None:
        self.roll.look(self.view.scrolled(self.start.x - at.x, self.start.y - at.y))
