"""What a job may not touch: bars outside its scope, other tracks, locked notes; and how new notes keep clear of it.

Bars, notes and clocks only. M notes of the source, J new notes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from engine.compose.request import Request
from engine.score.timing import CLOCKS_PER_QUARTER, BarGrid
from engine.session import Piece
from engine.tokens.bars import part_tracks, rows_of

GROUP = float(1 << 32)  # more clocks than any piece has: the step from one key of one part to the next


@dataclass(frozen=True, eq=False)
class Kept:
    """The notes of a source that stay through a job."""

    grid: BarGrid
    source: NDArray[np.void]  # BAR_NOTE of the piece
    stays: NDArray[np.bool_]  # (M,)
    shut_parts: NDArray[np.bool_]
    shut_bars: NDArray[np.bool_]  # (N,)

    @classmethod
    def of(cls, piece: Piece, request: Request, scope: range) -> Kept:
        """Everything outside the scope and the chosen tracks, and what the request locks."""
        locks, tracks = request.locks, part_tracks(piece.score)
        shut_parts = np.isin(tracks, list(locks.tracks))
        if request.tracks is not None:
            shut_parts |= ~np.isin(tracks, list(request.tracks))
        shut_bars = np.ones(len(piece), bool)
        shut_bars[scope.start : scope.stop] = False
        shut_bars[[bar for bar in locks.bars if bar < len(piece)]] = True
        stays = shut_bars[piece.bars["bar"]] | (shut_parts[piece.bars["part"]] if len(tracks) else False)
        if locks.notes:
            stays |= np.isin(rows_of(piece.score, piece.grid), list(locks.notes))
        return cls(piece.grid, piece.bars, stays, shut_parts, shut_bars)

    def over(self, bars: list[int], notes: NDArray[np.void]) -> NDArray[np.void]:
        """New BAR_NOTE of some bars with the source's put over them wherever they stay."""
        if not self.stays.any():
            return notes
        closed = self.shut_bars[notes["bar"]]
        if len(self.shut_parts):
            closed |= self.shut_parts[notes["part"]]
        chosen = np.zeros(len(self.shut_bars), bool)
        chosen[bars] = True
        here = chosen[self.source["bar"]]
        free = set(_each(self.source[here & ~self.stays]))
        same = np.array([note in free for note in _each(notes)], bool)  # the source's overlaps are its own affair
        parts = self.source[here & self.stays], notes[same & ~closed], self._clear(notes[~same & ~closed])
        return np.concatenate(parts)

    def _clear(self, notes: NDArray[np.void]) -> NDArray[np.void]:
        """New notes that strike no key while a note that stays sounds on it, and end where the next one begins.

        A file knows only when a key goes down and up: two notes of one key and track would swap their ends in it.
        """
        near = self.source[self._near(notes)]
        if not len(near):
            return notes
        begin = self._place(near)
        order = np.argsort(begin, kind="stable")
        begin, reach = begin[order], np.maximum.accumulate((begin + near["duration"])[order])
        at = self._place(notes)
        before = np.searchsorted(begin, at, side="right") - 1
        free = (before < 0) | ((reach[before] <= at) & (begin[before] < at))
        gap = np.append(begin, np.inf)[before + 1] - at
        out = notes[free]
        out["duration"] = np.minimum(out["duration"], gap[free])
        return out

    def _near(self, notes: NDArray[np.void]) -> NDArray[np.bool_]:
        """(M,) the notes that stay and sound or begin while any of the new ones does: no other is in their way."""
        if not len(notes):
            return np.zeros(len(self.source), bool)
        begin, end = self._clock(notes).min(), (self._clock(notes) + notes["duration"]).max()
        own, last = self._sounding
        near: NDArray[np.bool_] = self.stays & (last >= begin - 1) & (own <= end + 1)
        return near

    @cached_property
    def _sounding(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(M,) where the source's notes begin and end."""
        begin = self._clock(self.source)
        return begin, begin + self.source["duration"]

    def _clock(self, notes: NDArray[np.void], key: NDArray[np.float64] | float = 0.0) -> NDArray[np.float64]:
        """(J,) clocks from the beginning of the piece, and a GROUP for each `key`."""
        starts = self.grid.starts * (CLOCKS_PER_QUARTER / self.grid.ticks_per_quarter)
        out: NDArray[np.float64] = key * GROUP + starts[notes["bar"]] + notes["onset"] + notes["micro"]
        return out

    def _place(self, notes: NDArray[np.void]) -> NDArray[np.float64]:
        """(J,) clocks from the beginning of the piece, a GROUP apart for each key of each part."""
        return self._clock(notes, notes["part"].astype(np.float64) * 128 + notes["pitch"])


def _each(notes: NDArray[np.void]) -> list[bytes]:
    """Every note as its bytes."""
    out: list[bytes] = notes.view(f"V{notes.itemsize}").tolist()
    return out
