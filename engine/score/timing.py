"""Ticks to seconds and to bars, and back. Pure functions of a `Score`'s tempi and meters.

A *clock* is one MIDI clock, 1/24 of a quarter note: the grid the codec and the model count in.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.errors import MorphonyError
from engine.score.score import DEFAULT_TEMPO, Score

CLOCKS_PER_QUARTER = 24
MAX_BARS = 1_000_000  # a file of 45 bytes can claim more; no array is sized by such a claim


@dataclass(frozen=True, slots=True, eq=False)
class TempoMap:
    """Piecewise linear map between ticks and seconds."""

    ticks: NDArray[np.int64]  # where each tempo starts, ascending, first is 0
    seconds: NDArray[np.float64]  # the same places in seconds
    per_tick: NDArray[np.float64]  # seconds per tick from there on

    @classmethod
    def of(cls, score: Score) -> TempoMap:
        """Read the tempo map of a score; of several tempi on one tick the last holds."""
        at = {0: DEFAULT_TEMPO} | {t.tick: t.microseconds for t in sorted(score.tempi, key=lambda t: t.tick)}
        ticks = np.array(sorted(at), dtype=np.int64)
        per_tick = np.array([at[int(t)] for t in ticks]) / 1e6 / score.ticks_per_quarter
        seconds = np.concatenate([[0.0], np.cumsum(np.diff(ticks) * per_tick[:-1])])
        return cls(ticks, seconds, per_tick)

    def to_seconds(self, ticks: ArrayLike) -> NDArray[np.float64]:
        """Seconds at each tick."""
        t = np.asarray(ticks, dtype=np.float64)
        i = np.clip(np.searchsorted(self.ticks, t, side="right") - 1, 0, None)
        out: NDArray[np.float64] = self.seconds[i] + (t - self.ticks[i]) * self.per_tick[i]
        return out

    def to_ticks(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Ticks (with their fraction) at each second."""
        s = np.asarray(seconds, dtype=np.float64)
        i = np.clip(np.searchsorted(self.seconds, s, side="right") - 1, 0, None)
        out: NDArray[np.float64] = self.ticks[i] + (s - self.seconds[i]) / self.per_tick[i]
        return out


def beat_clocks(numerator: NDArray[np.integer], denominator: NDArray[np.integer]) -> NDArray[np.int64]:
    """Clocks in a beat: a dotted value in compound meters (6/8, 9/8, 12/8), else the denominator's value."""
    compound = (denominator >= 8) & (numerator % 3 == 0) & (numerator > 3)
    beat = np.where(compound, 3 * 96 // np.maximum(denominator, 1), 96 // np.maximum(denominator, 1))
    clocks: NDArray[np.int64] = np.maximum(beat, 1).astype(np.int64)
    return clocks


def stretches(
    ticks_per_quarter: int, meters: Iterable[tuple[int, int, int]], end: int
) -> list[tuple[int, int, int, float, int]]:
    """(start tick, numerator, denominator, bar length in ticks, number of bars) for each run of one meter until `end`.

    `meters` are (tick, numerator, denominator).
    """
    by_tick = {0: (4, 4)} | {max(tick, 0): (upper, lower) for tick, upper, lower in sorted(meters, key=_first)}
    changes = sorted(t for t in by_tick if t < end)
    out = []
    for here, following in zip(changes, [*changes[1:], end], strict=True):
        numerator, denominator = by_tick[here]
        length = max(ticks_per_quarter * 4 * numerator / denominator, 1.0)
        count = max(math.ceil((following - here) / length - 1e-9), 1)
        if count > 1 and round((count - 1) * length) >= following - here:
            count -= 1  # what is left is less than a tick
        out.append((here, numerator, denominator, length, count))
    return out


def _first(row: tuple[int, int, int]) -> int:
    return row[0]


def _stretches(score: Score, end_tick: int | None) -> list[tuple[int, int, int, float, int]]:
    end = max(_end_of_bars(score) if end_tick is None else end_tick, 1)
    return stretches(score.ticks_per_quarter, ((m.tick, m.numerator, m.denominator) for m in score.meters), end)


def _end_of_bars(score: Score) -> int:
    """Where bars may end: with the last note, but after its onset, and after the bar line that it announces."""
    half_clock = score.ticks_per_quarter / CLOCKS_PER_QUARTER / 2
    last = int(score.notes["tick"][-1] + half_clock) + 1 if len(score.notes) else 0
    return max(score.end_tick, last)


def count_bars(score: Score) -> int:
    """How many bars `BarGrid.of` would lay, without laying them."""
    return sum(count for *_, count in _stretches(score, None))


@dataclass(frozen=True, slots=True, eq=False)
class BarGrid:
    """Where the bars of a score begin. A meter change inside a bar ends that bar early, as notation does."""

    starts: NDArray[np.int64]  # (N + 1,) ticks; the last entry is the end of the last bar
    numerators: NDArray[np.int64]  # (N,)
    denominators: NDArray[np.int64]  # (N,)
    ticks_per_quarter: int

    @classmethod
    def of(cls, score: Score, end_tick: int | None = None) -> BarGrid:
        """Lay bars from tick 0 until `end_tick` (default: enough for every note); at least one bar."""
        stretches = _stretches(score, end_tick)
        if sum(count for *_, count in stretches) > MAX_BARS:
            raise MorphonyError(f"The piece has more than {MAX_BARS:,} bars, which is the limit.")
        starts, numerators, denominators = [], [], []
        for here, numerator, denominator, length, count in stretches:
            starts.append(here + np.round(np.arange(count) * length).astype(np.int64))
            numerators.append(np.full(count, numerator))
            denominators.append(np.full(count, denominator))
        last = starts[-1][0] + round(len(starts[-1]) * length)
        return cls(
            np.concatenate([*starts, [last]]).astype(np.int64),
            np.concatenate(numerators).astype(np.int64),
            np.concatenate(denominators).astype(np.int64),
            score.ticks_per_quarter,
        )

    def __len__(self) -> int:
        return len(self.numerators)

    def bar_of(self, ticks: ArrayLike) -> NDArray[np.int64]:
        """Index of the bar each tick lies in; ticks past the end belong to the last bar."""
        found = np.searchsorted(self.starts, np.asarray(ticks), side="right") - 1
        return np.clip(found, 0, len(self) - 1).astype(np.int64)

    @property
    def clocks(self) -> NDArray[np.int64]:
        """(N,) length of each bar in clocks, rounded up: 96 for 4/4, 72 for 3/4, 12 for a 1/8 pickup."""
        exact = np.diff(self.starts) * CLOCKS_PER_QUARTER / self.ticks_per_quarter
        return np.maximum(np.ceil(exact - 1e-6), 1).astype(np.int64)
