"""A score's notes as sorted arrays that answer "which lie here?" without a loop. Knows nothing of pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.score.edit import Rows

NOBODY: Rows = np.empty(0, dtype=np.intp)


class NoteIndex:
    """Columns of a NOTE array sorted by onset; rows count as in it."""

    def __init__(self, notes: NDArray[np.void]) -> None:
        self.tick = notes["tick"].astype(np.float64)
        self.end = self.tick + notes["duration"]
        self.pitch = notes["pitch"].astype(np.int64)
        self.velocity = notes["velocity"].astype(np.int64)
        self.track = notes["track"].astype(np.int64)
        self._reach = np.maximum.accumulate(self.end) if len(notes) else self.end  # the latest end so far

    def __len__(self) -> int:
        return len(self.tick)

    def between(self, start: float, stop: float) -> Rows:
        """Rows of the notes that sound in [start, stop), or begin in it."""
        first = int(np.searchsorted(self._reach, start, side="right"))
        last = int(np.searchsorted(self.tick, stop, side="left"))
        first = min(first, int(np.searchsorted(self.tick, start, side="left")))
        rows = np.arange(first, last, dtype=np.intp)
        return rows[(self.end[first:last] > start) | (self.tick[first:last] >= start)]

    def inside(self, start: float, stop: float, lowest: int, highest: int) -> Rows:
        """Rows of the notes that touch a rectangle; both pitches included."""
        rows = self.between(start, stop)
        return rows[(self.pitch[rows] >= lowest) & (self.pitch[rows] <= highest)]

    def sounding(self, tick: float) -> Rows:
        """Rows of the notes that sound at a tick."""
        rows = self.between(tick, tick + 1)
        return rows[(self.tick[rows] <= tick) & (self.end[rows] > tick)]


def fingerprints(notes: NDArray[np.void]) -> NDArray[np.uint64]:
    """(notes,) one number per note, equal where all five fields are: cheap to sort and compare."""
    mixed = notes["tick"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    for name, odd in (
        ("duration", 0xC2B2AE3D27D4EB4F),
        ("pitch", 0x165667B19E3779F9),
        ("velocity", 0x27D4EB2F165667C5),
    ):
        mixed = (mixed ^ (mixed >> np.uint64(29))) + notes[name].astype(np.uint64) * np.uint64(odd)
    return (mixed ^ (mixed >> np.uint64(31))) + notes["track"].astype(np.uint64) * np.uint64(0xD6E8FEB86659FD93)
