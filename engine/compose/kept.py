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
        free = {note.tobytes() for note in self.source[here & ~self.stays]}
        same = np.array([note.tobytes() in free for note in notes], bool)  # the source's overlaps are its own affair
        parts = self.source[here & self.stays], notes[same & ~closed], self._clear(notes[~same & ~closed])
        return np.concatenate(parts)

    def _clear(self, notes: NDArray[np.void]) -> NDArray[np.void]:
        """New notes that strike no key while a note that stays sounds on it, and end where the next one begins.

        A file knows only when a key goes down and up: two notes of one key and track would swap their ends in it.
        """
        begin, reach = self._fixed
        at = self._place(notes)
        before = np.searchsorted(begin, at, side="right") - 1
        free = (before < 0) | ((reach[before] <= at) & (begin[before] < at))
        gap = np.append(begin, np.inf)[before + 1] - at
        out = notes[free]
        out["duration"] = np.minimum(out["duration"], gap[free])
        return out

    @cached_property
    def _fixed(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the notes that stay begin, ascending, and until where any of them up to there sounds."""
        fixed = self.source[self.stays]
        begin = self._place(fixed)
        order = np.argsort(begin, kind="stable")
        return begin[order], np.maximum.accumulate((begin + fixed["duration"])[order])

    def _place(self, notes: NDArray[np.void]) -> NDArray[np.float64]:
        """(J,) clocks from the beginning of the piece, a GROUP apart for each key of each part."""
        starts = self.grid.starts * (CLOCKS_PER_QUARTER / self.grid.ticks_per_quarter)
        key = notes["part"].astype(np.float64) * 128 + notes["pitch"]
        out: NDArray[np.float64] = key * GROUP + starts[notes["bar"]] + notes["onset"] + notes["micro"]
        return out
