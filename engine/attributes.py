"""The twelve musical attributes the named sliders speak of, measured on notes. NumPy only, no torch.

Shapes: M notes, G groups (a bar each, or one group for a whole scope), A = 12 attributes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

CLOCKS_PER_16TH = 6
CONSONANCE = np.array([1.0, 0.0, 0.3, 0.8, 0.9, 0.7, 0.1, 1.0, 0.8, 0.8, 0.3, 0.05])
"""How consonant two notes a given number of semitones apart (mod 12) sound, 0 to 1.

Ordered as two-voice tradition ranks intervals: unison, octave and fifth, then thirds and sixths, the
fourth between them, whole tones and minor sevenths rough, semitones and the tritone roughest. Made
symmetric (an interval counts as its inversion) when applied, since a bar's bass may lie anywhere.
"""
CONSONANCE_MATRIX = np.array(
    [[(CONSONANCE[(i - j) % 12] + CONSONANCE[(j - i) % 12]) / 2 for j in range(12)] for i in range(12)]
)


@dataclass(frozen=True, slots=True)
class Attribute:
    """One named attribute; `keeps` says which part of the music its slider leaves alone."""

    name: str
    label: str
    unit: str
    description: str
    keeps: str


SPECS = (
    Attribute("density", "Density", "notes per quarter", "How many notes are played.", "harmony"),
    Attribute("rhythm", "Rhythm", "share of 16ths", "How many 16th slots hold an onset.", "harmony"),
    Attribute("syncopation", "Syncopation", "share of onsets", "How many onsets fall on off-beat 16ths.", "harmony"),
    Attribute("polyphony", "Polyphony", "notes", "How many notes sound at once.", "harmony"),
    Attribute("register", "Register", "MIDI pitch", "How high the music lies.", "onsets"),
    Attribute("range", "Range", "semitones", "From the lowest to the highest note.", "onsets"),
    Attribute("articulation", "Articulation", "quarters", "How long the notes are held.", "onsets and pitches"),
    Attribute("dynamics", "Dynamics", "velocity", "How loud the notes are.", "all but velocities"),
    Attribute("dynamic_spread", "Dynamic spread", "velocity", "How much loudness varies.", "all but velocities"),
    Attribute("leaps", "Leaps", "semitones", "How far the top line jumps.", "onsets"),
    Attribute("pitch_variety", "Pitch variety", "bits", "How many different pitch classes there are.", "onsets"),
    Attribute("consonance", "Consonance", "0 to 1", "How smoothly the pitch classes agree.", "onsets"),
)
NAMES = tuple(spec.name for spec in SPECS)
INDEX = {name: i for i, name in enumerate(NAMES)}
Fields = NDArray[np.void] | Mapping[str, NDArray[Any]]  # BAR_NOTE, or those of its fields that are asked for
EMPTY_IS_ZERO = ("density", "rhythm", "polyphony")  # what silence has none of, rather than no value of


def measure_bars(notes: NDArray[np.void], clocks: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, 12) attributes of each bar by itself; NaN where an attribute needs notes and the bar has none.

    `notes` is BAR_NOTE, `clocks` (N,) the length of each bar in clocks.
    """
    stretch = _each_bar(notes, clocks)
    return np.stack([stretch.measure(name) for name in NAMES], -1)


def measure_one(name: str, notes: Fields, clocks: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) one attribute of each bar by itself; a column of `measure_bars`, from "bar" and the fields it is made of."""
    return _each_bar(notes, clocks).measure(name)


def measure(
    notes: NDArray[np.void], clocks: NDArray[np.int64], bars: Sequence[int] | None = None
) -> NDArray[np.float64]:
    """(12,) attributes over the bars in scope taken as one stretch of music; None is all of them."""
    scope = np.zeros(len(clocks), bool)
    scope[slice(None) if bars is None else np.asarray(list(bars), dtype=np.int64)] = True
    slots = np.where(scope, -(-clocks // CLOCKS_PER_16TH), 0)
    starts = np.concatenate([[0], np.cumsum(slots)[:-1]])
    inside = notes[scope[notes["bar"]]]
    quarters = np.array([clocks[scope].sum() / 24])
    stretch = _Stretches(inside, np.zeros(len(inside), np.int64), starts, np.array([slots.sum()]), quarters)
    return np.array([float(stretch.measure(name)[0]) for name in NAMES])


def _each_bar(notes: Fields, clocks: NDArray[np.int64]) -> _Stretches:
    starts = np.zeros(len(clocks), np.int64)
    return _Stretches(notes, notes["bar"].astype(np.int64), starts, -(-clocks // CLOCKS_PER_16TH), clocks / 24)


class _Stretches:
    """G stretches of music. Every attribute is a sum over notes by stretch, so a corpus is measured in one pass."""

    def __init__(
        self,
        notes: Fields,
        group: NDArray[np.int64],  # (M,) the stretch of each note
        slot_starts: NDArray[np.int64],  # (N,) first 16th slot of each bar, counted within its stretch
        slots: NDArray[np.int64],  # (G,) number of 16th slots
        quarters: NDArray[np.float64],  # (G,)
    ) -> None:
        self.notes, self.group, self.slots, self.quarters = notes, group, slots, quarters
        self.bar_start = slot_starts[notes["bar"]]
        self.count = self.total()

    def measure(self, name: str) -> NDArray[np.float64]:
        """(G,) one attribute; NaN for stretches without the notes it needs."""
        value: NDArray[np.float64] = getattr(self, name)()
        return value if name in EMPTY_IS_ZERO else np.where(self.count > 0, value, np.nan)

    def total(self, weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        """(G,) sum over the notes of each stretch; their number without weights."""
        return np.bincount(self.group, weights, minlength=len(self.slots)).astype(np.float64)

    def mean(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(G,) mean over the notes of each stretch; 0 without notes."""
        out: NDArray[np.float64] = self.total(values) / np.maximum(self.count, 1)
        return out

    def field(self, name: str) -> NDArray[np.float64]:
        """(M,) one field of the notes."""
        return self.notes[name].astype(np.float64)

    @property
    def slot(self) -> NDArray[np.int64]:
        """(M,) 16th slot of each onset within its stretch."""
        out: NDArray[np.int64] = self.bar_start + self.notes["onset"].astype(np.int64) // CLOCKS_PER_16TH
        return out

    def density(self) -> NDArray[np.float64]:
        out: NDArray[np.float64] = self.count / np.maximum(self.quarters, 1e-9)
        return out

    def rhythm(self) -> NDArray[np.float64]:
        wide = int(self.slots.max(initial=0)) + 1
        struck = np.zeros(len(self.slots) * wide, bool)
        struck[self.group * wide + self.slot] = True
        out: NDArray[np.float64] = struck.reshape(-1, wide).sum(1) / np.maximum(self.slots, 1)
        return out

    def syncopation(self) -> NDArray[np.float64]:
        return self.mean(((self.slot - self.bar_start) % 2 == 1).astype(np.float64))

    def polyphony(self) -> NDArray[np.float64]:
        last = np.ceil((self.notes["onset"] + np.maximum(self.field("duration"), 1)) / CLOCKS_PER_16TH)
        end = np.minimum(self.bar_start + last, self.slots[self.group])
        out: NDArray[np.float64] = self.total(np.maximum(end - self.slot, 0)) / np.maximum(self.slots, 1)
        return out

    def register(self) -> NDArray[np.float64]:
        return self.mean(self.field("pitch"))

    def range(self) -> NDArray[np.float64]:
        pitch = self.field("pitch")
        high, low = np.full(len(self.slots), -1e9), np.full(len(self.slots), 1e9)
        np.maximum.at(high, self.group, pitch)
        np.minimum.at(low, self.group, pitch)
        out: NDArray[np.float64] = high - low
        return out

    def articulation(self) -> NDArray[np.float64]:
        return _median(self.group, self.field("duration") / 24, len(self.slots))

    def dynamics(self) -> NDArray[np.float64]:
        return self.mean(self.field("velocity"))

    def dynamic_spread(self) -> NDArray[np.float64]:
        velocity = self.field("velocity")
        return np.sqrt(self.mean((velocity - self.mean(velocity)[self.group]) ** 2))

    def leaps(self) -> NDArray[np.float64]:
        time = self.bar_start * CLOCKS_PER_16TH + self.notes["onset"]
        return _leaps(self.group, time, self.field("pitch"), len(self.slots))

    def pitch_variety(self) -> NDArray[np.float64]:
        return _entropy(_chroma(self.group, self.notes["pitch"], len(self.slots)))

    def consonance(self) -> NDArray[np.float64]:
        return _consonance(self.group, self.notes["bar"].astype(np.int64), self.notes["pitch"], len(self.slots))


def _median(group: NDArray[np.int64], values: NDArray[np.float64], n_groups: int) -> NDArray[np.float64]:
    order = np.lexsort((values, group))
    count = np.bincount(group, minlength=n_groups)
    first = np.concatenate([[0], np.cumsum(count)[:-1]])
    padded = np.concatenate([values[order], [0.0]])
    lower = np.minimum(first + np.maximum(count - 1, 0) // 2, len(values))
    upper = np.minimum(first + count // 2, len(values))
    median: NDArray[np.float64] = (padded[lower] + padded[upper]) / 2
    return median


def _leaps(
    group: NDArray[np.int64], time: NDArray[np.int64], pitch: NDArray[np.float64], n_groups: int
) -> NDArray[np.float64]:
    """Mean absolute interval between successive highest notes; 0 where there is no second one."""
    place = group.astype(np.int64) << 40 | time.astype(np.int64) << 8 | pitch.astype(np.int64)
    if (place[1:] < place[:-1]).any():
        order = np.argsort(place, kind="stable")
        place, group, pitch = place[order], group[order], pitch[order]
    top = np.ones(len(place), bool)
    top[:-1] = place[1:] >> 8 != place[:-1] >> 8
    g, p = group[top], pitch[top]
    same = g[1:] == g[:-1]
    jumps = np.abs(np.diff(p))[same]
    into = g[1:][same]
    return np.bincount(into, jumps, minlength=n_groups) / np.maximum(np.bincount(into, minlength=n_groups), 1)


def _chroma(group: NDArray[np.int64], pitch: NDArray[np.integer], n_groups: int) -> NDArray[np.float64]:
    """(G, 12) pitch-class counts."""
    return np.bincount(group * 12 + pitch.astype(np.int64) % 12, minlength=n_groups * 12).reshape(-1, 12).astype(float)


def _entropy(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    bits: NDArray[np.float64] = -(share * np.log2(np.where(share > 0, share, 1))).sum(1)
    return bits


def _consonance(
    group: NDArray[np.int64], bar: NDArray[np.int64], pitch: NDArray[np.integer], n_groups: int
) -> NDArray[np.float64]:
    """Mean CONSONANCE over all pairs of notes of a bar (a note with itself included), weighted by notes."""
    bars, index = np.unique(bar, return_inverse=True)
    chroma = _chroma(index, pitch, len(bars))
    count = chroma.sum(1)
    share = chroma / np.maximum(count[:, None], 1)
    by_bar = np.einsum("bi,ij,bj->b", share, CONSONANCE_MATRIX, share)
    weight = np.bincount(group, minlength=n_groups)
    summed = np.bincount(group, by_bar[index], minlength=n_groups)
    mean: NDArray[np.float64] = summed / np.maximum(weight, 1)
    return mean
