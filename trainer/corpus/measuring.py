"""The twelve attributes of many whole pieces in one pass: what `engine.attributes.measure` says of each, sooner.

Sums of whole numbers over notes that lie sorted, so no note is looked at one by one. G pieces, N bars, M notes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.attributes import CLOCKS_PER_16TH, CONSONANCE_MATRIX, NAMES

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
_CHROMA = np.arange(256) % 12


class Sorted:
    """Notes of many pieces, sorted by (piece, bar, onset, pitch): every measure is a sum over a stretch of them."""

    def __init__(
        self,
        onset: Ints,  # (M,) clocks from the bar line
        pitch: NDArray[np.uint8],
        velocity: NDArray[np.uint8],
        duration: NDArray[np.float32],  # (M,) clocks
        count: Ints,  # (N,) notes of each bar
        clocks: Ints,  # (N,)
        first_bar: Ints,  # (G,) of each piece
    ) -> None:
        self.pitch, self.velocity, self.duration = pitch, velocity, duration
        self.count, self.clocks, self.first_bar = count, clocks, first_bar
        self.n = self._over_bars(count)
        ends = np.cumsum(self.n)
        self.first_note = ends - self.n
        self.bar = np.repeat(np.arange(len(count)), count)
        slots = -(-clocks // CLOCKS_PER_16TH)
        self.slots = self._over_bars(slots)
        self.slot_start = np.cumsum(slots) - slots
        self.place = onset // CLOCKS_PER_16TH
        self.slot = self.slot_start[self.bar] + self.place
        self.time = (np.cumsum(clocks) - clocks)[self.bar] + onset
        self.onset = onset
        self.chroma = np.bincount(self.bar * 12 + _CHROMA[pitch], minlength=12 * len(count)).reshape(-1, 12)  # (N, 12)

    def measure(self) -> Floats:
        """(G, 12) attributes in the order of NAMES; NaN for what a piece without notes has none of."""
        return np.stack([_MEASURES[name](self) for name in NAMES], -1).astype(np.float64)

    def _over_bars(self, values: Ints) -> Ints:
        total: Ints = np.add.reduceat(values, self.first_bar, dtype=np.int64)
        return total

    def total(self, values: NDArray[Any]) -> Ints:
        """(G,) the sum of whole numbers over the notes of each piece."""
        return self._reduce(np.add, values, np.int64)

    def _reduce(self, how: Any, values: NDArray[Any], kind: type = np.int64) -> Ints:
        """(G,) 0 for pieces without notes, which `reduceat` alone would give a neighbour's."""
        out = np.zeros(len(self.n), np.int64)
        some = self.n > 0
        if len(values):
            out[some] = how.reduceat(values, self.first_note[some], dtype=kind)
        return out

    def mean(self, total: NDArray[Any]) -> Floats:
        """(G,) a sum by the number of notes; NaN without notes."""
        with np.errstate(invalid="ignore"):
            out: Floats = np.where(self.n > 0, total, np.nan) / np.maximum(self.n, 1)
        return out


def _density(s: Sorted) -> Floats:
    return s.n / np.maximum(np.add.reduceat(s.clocks, s.first_bar) / 24, 1e-9)


def _rhythm(s: Sorted) -> Floats:
    fresh = np.ones(len(s.slot), bool)
    fresh[1:] = s.slot[1:] != s.slot[:-1]
    return s.total(fresh) / np.maximum(s.slots, 1)


def _syncopation(s: Sorted) -> Floats:
    return s.mean(s.total(s.place & 1))


def _polyphony(s: Sorted) -> Floats:
    last = np.ceil((s.onset + np.maximum(s.duration.astype(np.float64), 1)) / CLOCKS_PER_16TH) - s.place
    room = np.repeat(np.cumsum(s.slots), s.n) - s.slot
    held = np.maximum(np.minimum(last, room), 0).astype(np.int64)
    return s.total(held) / np.maximum(s.slots, 1)


def _register(s: Sorted) -> Floats:
    return s.mean(s.total(s.pitch))


def _range(s: Sorted) -> Floats:
    high, low = s._reduce(np.maximum, s.pitch, np.uint8), s._reduce(np.minimum, s.pitch, np.uint8)
    return np.where(s.n > 0, high - low, np.nan)


def _articulation(s: Sorted) -> Floats:
    out = np.full(len(s.n), np.nan)
    for i, (first, n) in enumerate(zip(s.first_note.tolist(), s.n.tolist(), strict=True)):
        if n:
            lower, upper = (n - 1) // 2, n // 2
            middle = np.partition(s.duration[first : first + n], (lower, upper))[[lower, upper]].astype(np.float64) / 24
            out[i] = (middle[0] + middle[1]) / 2
    return out


def _dynamics(s: Sorted) -> Floats:
    return s.mean(s.total(s.velocity))


def _dynamic_spread(s: Sorted) -> Floats:
    """The variance as whole numbers: n times the sum of squares less the square of the sum."""
    squares, sums = s.total(s.velocity.astype(np.int32) ** 2), s.total(s.velocity)
    return np.sqrt(np.where(s.n > 0, s.n * squares - sums * sums, np.nan)) / np.maximum(s.n, 1)


def _leaps(s: Sorted) -> Floats:
    """Between the highest notes of successive onsets: the last of each, as they lie."""
    top = np.ones(len(s.time), bool)
    top[:-1] = s.time[1:] != s.time[:-1]
    top[(s.first_note + s.n - 1)[s.n > 0]] = True
    tops = s.total(top)
    jumps = np.abs(np.diff(s.pitch[top].astype(np.int64), prepend=0))
    some = tops > 0
    first = (np.cumsum(tops) - tops)[some]
    jumps[first] = 0  # from the piece before
    out = np.full(len(s.n), np.nan)
    if len(first):
        out[some] = np.add.reduceat(jumps, first) / np.maximum(tops[some] - 1, 1)
    return out


def _pitch_variety(s: Sorted) -> Floats:
    counts = np.add.reduceat(s.chroma, s.first_bar, axis=0)
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    bits = -(share * np.log2(np.where(share > 0, share, 1))).sum(1)
    return np.where(s.n > 0, bits, np.nan)


def _consonance(s: Sorted) -> Floats:
    share = s.chroma / np.maximum(s.count, 1)[:, None]
    by_bar = ((share @ CONSONANCE_MATRIX) * share).sum(1)
    return s.mean(np.add.reduceat(by_bar * s.count, s.first_bar))


_MEASURES: dict[str, Callable[[Sorted], Floats]] = {
    "density": _density,
    "rhythm": _rhythm,
    "syncopation": _syncopation,
    "polyphony": _polyphony,
    "register": _register,
    "range": _range,
    "articulation": _articulation,
    "dynamics": _dynamics,
    "dynamic_spread": _dynamic_spread,
    "leaps": _leaps,
    "pitch_variety": _pitch_variety,
    "consonance": _consonance,
}
