"""Where in the meter each token of a stream happens: clock in beat, beat in bar, bar in phrase. Never its index.

A TIME_SHIFT happens when its time has passed: the place of a token is the moment at which the next one is written.
Knows bar lines and tokens; no model. M tokens, N bars, B streams.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.config import PHRASE_BARS
from engine.score.timing import CLOCKS_PER_QUARTER, BarGrid, beat_clocks
from engine.tokens.codec import to_clocks
from engine.tokens.vocab import FAMILIES, SIZE

PLACES_IN_BEAT = 48  # clocks within a beat, up to a half note
BEATS_IN_BAR = 16


def _shifts() -> NDArray[np.int64]:
    out, family = np.zeros(SIZE, np.int64), FAMILIES["TIME_SHIFT"]
    out[family.ids] = family.values
    return out


SHIFTS = _shifts()  # (774,) clocks that pass with each token


def clocks_of(ids: NDArray[np.integer]) -> NDArray[np.int64]:
    """(M,) clocks since START at which each token happens."""
    out: NDArray[np.int64] = np.cumsum(SHIFTS[ids])
    return out


@dataclass(frozen=True, slots=True, eq=False)
class BarLines:
    """Bars in clocks; after the last of them, bars of its meter follow without end."""

    starts: NDArray[np.int64]  # (N + 1,) the last entry is the end of the last bar
    beat: NDArray[np.int64]  # (N,) clocks in a beat
    length: float  # clocks of a bar that follows

    @classmethod
    def of(cls, grid: BarGrid) -> BarLines:
        """Read from a grid, each line at its nearest clock, where the codec puts what stands on it."""
        length = 4 * CLOCKS_PER_QUARTER * int(grid.numerators[-1]) / int(grid.denominators[-1])
        beat = beat_clocks(grid.numerators, grid.denominators)
        return cls(to_clocks(grid.starts, grid.ticks_per_quarter), beat, max(length, 1.0))

    def start(self, bar: int) -> int:
        """The clock at which a bar begins."""
        known = len(self.beat)
        more = int(np.floor((bar - known) * self.length + 0.5))
        return int(self.starts[bar]) if bar <= known else int(self.starts[-1]) + more

    def bar_of(self, clocks: ArrayLike) -> NDArray[np.int64]:
        """The bar each clock lies in."""
        clock = np.asarray(clocks, np.int64)
        known = np.searchsorted(self.starts[:-1], clock, side="right") - 1
        past = np.ceil((clock - self.starts[-1] + 0.5) / self.length).astype(np.int64) - 1
        return np.where(clock < self.starts[-1], np.maximum(known, 0), len(self.beat) + past)

    def at(self, clocks: ArrayLike) -> NDArray[np.int64]:
        """(..., 3) clock in beat, beat in bar and bar in phrase, each at most the last that a model tells apart."""
        clock, bar, known = np.asarray(clocks, np.int64), self.bar_of(clocks), len(self.beat)
        past = self.starts[-1] + np.floor((bar - known) * self.length + 0.5).astype(np.int64)
        since = clock - np.where(bar < known, self.starts[np.minimum(bar, known)], past)
        beat = self.beat[np.minimum(bar, known - 1)]
        in_beat, in_bar = np.minimum(since % beat, PLACES_IN_BEAT - 1), np.minimum(since // beat, BEATS_IN_BAR - 1)
        return np.stack([in_beat, in_bar, bar % PHRASE_BARS], -1)


def places(ids: NDArray[np.integer], lines: BarLines) -> NDArray[np.int64]:
    """(M, 3) the place of every token of a piece."""
    return lines.at(clocks_of(ids))


class Walk:
    """The same token by token, for B streams at once: what generation needs."""

    def __init__(self, lines: BarLines, clocks: ArrayLike) -> None:
        self.lines = lines
        self.clocks = np.array(clocks, np.int64)  # (B,) where each stream stands

    def advance(self, ids: NDArray[np.integer]) -> NDArray[np.int64]:
        """(B, 3) the places of the tokens (B,) that come next."""
        self.clocks += SHIFTS[ids]
        return self.lines.at(self.clocks)
