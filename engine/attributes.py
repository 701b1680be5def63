"""The twelve musical attributes the named sliders speak of, measured on notes. NumPy only, no torch.

Shapes: M notes, G groups (a bar each, or one group for a whole scope), A = 12 attributes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def measure_bars(notes: NDArray[np.void], clocks: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N, 12) attributes of each bar by itself; NaN where an attribute needs notes and the bar has none.

    `notes` is BAR_NOTE, `clocks` (N,) the length of each bar in clocks.
    """
    slots = -(-clocks // CLOCKS_PER_16TH)
    bar = notes["bar"].astype(np.int64)
    return _measure(notes, bar, np.zeros(len(clocks), np.int64), slots, clocks / 24)


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
    group = np.zeros(len(inside), np.int64)
    out: NDArray[np.float64] = _measure(inside, group, starts, np.array([slots.sum()]), quarters)[0]
    return out


def _measure(
    notes: NDArray[np.void],
    group: NDArray[np.int64],
    slot_starts: NDArray[np.int64],  # (N,) first 16th slot of each bar, counted within its group
    slots: NDArray[np.int64],  # (G,) number of 16th slots
    quarters: NDArray[np.float64],  # (G,)
) -> NDArray[np.float64]:
    """(G, 12). Every attribute is a sum by group, so a corpus is measured in one pass."""
    n_groups = len(slots)
    out = np.full((n_groups, len(NAMES)), np.nan)
    bar, pitch = notes["bar"].astype(np.int64), notes["pitch"].astype(np.float64)
    velocity, duration = notes["velocity"].astype(np.float64), notes["duration"].astype(np.float64)

    def total(weights: NDArray[np.float64] | None = None) -> NDArray[np.float64]:
        return np.bincount(group, weights, minlength=n_groups).astype(np.float64)

    count = total()
    some = np.maximum(count, 1)
    slot = slot_starts[bar] + notes["onset"].astype(np.int64) // CLOCKS_PER_16TH
    end = slot_starts[bar] + np.ceil((notes["onset"] + np.maximum(duration, 1)) / CLOCKS_PER_16TH)
    sounding = np.maximum(np.minimum(end, slots[group]) - slot, 0)
    struck = np.unique(group * (slots.max(initial=0) + 1) + slot)

    out[:, 0] = count / np.maximum(quarters, 1e-9)
    out[:, 1] = np.bincount(struck // (slots.max(initial=0) + 1), minlength=n_groups) / np.maximum(slots, 1)
    out[:, 2] = total(((slot - slot_starts[bar]) % 2 == 1).astype(float)) / some
    out[:, 3] = total(sounding) / np.maximum(slots, 1)
    mean_pitch, mean_velocity = total(pitch) / some, total(velocity) / some
    out[:, 4] = mean_pitch
    high, low = np.full(n_groups, -np.inf), np.full(n_groups, np.inf)
    np.maximum.at(high, group, pitch)
    np.minimum.at(low, group, pitch)
    with np.errstate(invalid="ignore"):
        out[:, 5] = high - low
    out[:, 6] = _median(group, duration / 24, n_groups)
    out[:, 7] = mean_velocity
    out[:, 8] = np.sqrt(total((velocity - mean_velocity[group]) ** 2) / some)
    out[:, 9] = _leaps(group, slot_starts[bar] * CLOCKS_PER_16TH + notes["onset"], pitch, n_groups)
    out[:, 10] = _entropy(_chroma(group, notes["pitch"], n_groups))
    out[:, 11] = _consonance(group, bar, notes["pitch"], n_groups)
    out[count == 0, 2] = np.nan
    out[count == 0, 4:] = np.nan
    return out


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
    order = np.lexsort((-pitch, time, group))
    g, t, p = group[order], time[order], pitch[order]
    top = np.ones(len(g), bool)
    top[1:] = (g[1:] != g[:-1]) | (t[1:] != t[:-1])
    g, p = g[top], p[top]
    same = g[1:] == g[:-1]
    jumps = np.abs(np.diff(p))[same]
    into = g[1:][same]
    return np.bincount(into, jumps, minlength=n_groups) / np.maximum(np.bincount(into, minlength=n_groups), 1)


def _chroma(group: NDArray[np.int64], pitch: NDArray[np.uint8], n_groups: int) -> NDArray[np.float64]:
    """(G, 12) pitch-class counts."""
    return np.bincount(group * 12 + pitch.astype(np.int64) % 12, minlength=n_groups * 12).reshape(-1, 12).astype(float)


def _entropy(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    bits: NDArray[np.float64] = -(share * np.log2(np.where(share > 0, share, 1))).sum(1)
    return bits


def _consonance(
    group: NDArray[np.int64], bar: NDArray[np.int64], pitch: NDArray[np.uint8], n_groups: int
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
