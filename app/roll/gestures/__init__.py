"""Each mouse gesture is a small file; a press begins the first of these that wants it."""

from app.roll.gestures.copy import Copy
from app.roll.gestures.draw import Draw
from app.roll.gestures.erase import Erase
from app.roll.gestures.gesture import Gesture, Pointer
from app.roll.gestures.move import Move
from app.roll.gestures.pan import Pan
from app.roll.gestures.resize import Resize
from app.roll.gestures.select import Select
from app.roll.state import RollState

ON_NOTES: tuple[type[Gesture], ...] = (Pan, Erase, Copy, Resize, Move, Draw, Select)


def begin(roll: RollState, at: Pointer) -> Gesture | None:
    """The gesture that a press in the notes area begins."""
    for kind in ON_NOTES:
        if kind.wants(roll, at):
            return kind(roll, at)
    return None
