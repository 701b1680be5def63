"""Musical edits: transposition of whole windows, and the edited twins that teach the sliders.

An edit turns one bar of notes (BAR_NOTE rows) into another that differs in one musical respect. Encoding one and
decoding the other, given how their attributes differ, is what makes a slider move notes.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from engine.attributes import CLOCKS_PER_16TH, INDEX
from engine.tokens.vocab import PITCHES

Bar = NDArray[np.void]
Edit = Callable[[Bar, int, Generator], Bar]  # (notes of the bar, its length in clocks, randomness)


def transpose(notes: Bar, semitones: int) -> Bar | None:
    """All notes moved; None if one would leave the range."""
    moved = notes["pitch"].astype(int) + semitones
    if len(moved) and (moved.min() < PITCHES.start or moved.max() >= PITCHES.stop):
        return None
    out = notes.copy()
    out["pitch"] = moved
    return out


def shift_register(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """The whole bar up or down by up to an octave and a half."""
    moved = transpose(bar, int(rng.choice([-1, 1]) * rng.integers(1, 19)))
    return bar if moved is None else moved


def thin_notes(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """Leave out a random share of the notes."""
    return bar[rng.random(len(bar)) > rng.uniform(0.1, 0.75)]


def thin_onsets(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """Leave out every note of some 16th slots."""
    slot = bar["onset"] // CLOCKS_PER_16TH
    kept = rng.random(int(slot.max()) + 1) > rng.uniform(0.1, 0.7)
    out: Bar = bar[kept[slot]]
    return out


def thin_chords(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """Leave out notes of chords, never the last one of an onset."""
    order = rng.permutation(len(bar))
    shuffled = bar[order]
    _, first = np.unique(shuffled["onset"], return_index=True)
    keep = rng.random(len(bar)) > rng.uniform(0.2, 1.0)
    keep[first] = True
    out = shuffled[keep]
    return out[np.lexsort((out["part"], out["pitch"], out["onset"]))]


def scale_durations(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """Shorten or lengthen every note by one factor."""
    out = bar.copy()
    out["duration"] = np.maximum(bar["duration"] * 2 ** rng.uniform(-2, 2), 1)
    return out


def shift_velocity(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """Louder or softer as a whole."""
    out = bar.copy()
    out["velocity"] = (bar["velocity"].astype(float) + rng.uniform(-60, 60)).clip(1, 127)
    return out


def spread_velocity(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """Widen or narrow the differences in loudness; flat bars get an accent pattern."""
    velocity = bar["velocity"].astype(float)
    deviation = velocity - velocity.mean()
    if np.abs(deviation).max() < 2:
        deviation = np.where(bar["onset"] % 24 == 0, 1.0, -0.5) * rng.uniform(5, 30)
    else:
        deviation = deviation * 2 ** rng.uniform(-2.5, 1.5)
    out = bar.copy()
    out["velocity"] = (velocity.mean() + deviation).clip(1, 127)
    return out


def snap_pitches(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """Move every note to the nearest of a few of the bar's own pitch classes."""
    classes = np.unique(bar["pitch"] % 12)
    if len(classes) < 3:
        return bar
    kept = rng.choice(classes, rng.integers(1, len(classes)), replace=False)
    ring = np.arange(-6, 7)
    table = np.array([min((abs(s), s) for s in ring if (pc + s) % 12 in kept)[1] for pc in range(12)])
    return _unique(bar, bar["pitch"].astype(int) + table[bar["pitch"] % 12])


def vary_pitches(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """Move some notes by one or two semitones."""
    step = rng.choice([-2, -1, 1, 2], len(bar)) * (rng.random(len(bar)) < rng.uniform(0.1, 0.6))
    return _unique(bar, bar["pitch"].astype(int) + step)


def stretch_range(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """Widen or narrow the range by octaves around its middle: the harmony stays."""
    pitch = bar["pitch"].astype(int)
    middle = (pitch.max() + pitch.min()) / 2
    outward = np.sign(pitch - middle) * (np.abs(pitch - middle) > rng.uniform(0, 0.8) * max(np.ptp(pitch), 8) / 2)
    return _unique(bar, pitch + 12 * outward.astype(int) * int(rng.choice([-1, 1])))


def leap_top(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """Throw some notes of the top line an octave up or down."""
    pitch = bar["pitch"].astype(int)
    top = np.zeros(len(bar), bool)
    _, inverse = np.unique(bar["onset"], return_inverse=True)
    highest = np.full(inverse.max() + 1, -1)
    np.maximum.at(highest, inverse, pitch)
    top = (pitch == highest[inverse]) & (rng.random(len(bar)) < rng.uniform(0.2, 0.7))
    return _unique(bar, pitch + 12 * top * rng.choice([-1, 1], len(bar)))


def move_onsets(bar: Bar, clocks: int, rng: Generator) -> Bar:
    """Move some onsets by a 16th, on to or off the beat."""
    off = (bar["onset"] // CLOCKS_PER_16TH) % 2 == 1
    wanted = off if rng.random() < 0.5 else ~off
    slots = rng.random(clocks // CLOCKS_PER_16TH + 2) < rng.uniform(0.2, 0.9)
    step = rng.choice([-CLOCKS_PER_16TH, CLOCKS_PER_16TH]) * (wanted & slots[bar["onset"] // CLOCKS_PER_16TH])
    onset = bar["onset"] + step
    onset = np.where((onset < 0) | (onset >= clocks), bar["onset"], onset)
    out = bar.copy()
    out["onset"] = onset
    return _unique(out, out["pitch"].astype(int))


def _unique(bar: Bar, pitch: NDArray[np.integer]) -> Bar:
    """The bar with new pitches: out of range stays where it was, cells taken twice by one part are merged."""
    out = bar.copy()
    inside = (pitch >= PITCHES.start) & (pitch < PITCHES.stop)
    out["pitch"] = np.where(inside, pitch, bar["pitch"])
    key = (out["onset"].astype(np.int64) * 128 + out["pitch"]) * 16 + out["part"]
    _, first = np.unique(key, return_index=True)
    return out[first]


EDITS: tuple[tuple[Edit, tuple[str, ...], float], ...] = (
    # the edit, the attributes it is about, how often it is drawn
    (shift_register, ("register",), 2.0),
    (thin_notes, ("density",), 2.0),
    (thin_onsets, ("rhythm", "density"), 1.5),
    (thin_chords, ("polyphony", "density"), 1.5),
    (scale_durations, ("articulation",), 1.0),
    (shift_velocity, ("dynamics",), 1.0),
    (spread_velocity, ("dynamic_spread",), 0.8),
    (snap_pitches, ("pitch_variety", "consonance"), 1.0),
    (vary_pitches, ("pitch_variety", "consonance"), 0.8),
    (stretch_range, ("range",), 1.0),
    (leap_top, ("leaps",), 1.0),
    (move_onsets, ("syncopation",), 1.0),
)
_ODDS = np.array([odds for _, _, odds in EDITS]) / sum(odds for _, _, odds in EDITS)
_ABOUT = tuple(np.array([INDEX[a] for a in about]) for _, about, _ in EDITS)


def edit_pairs(
    notes: Bar, clocks: NDArray[np.int64], share: float, rng: Generator
) -> tuple[Bar, Bar, NDArray[np.float64]]:
    """Source and target of every bar, and which attributes each bar's decoder is told (K, 12).

    A `share` of the bars is paired with an edited twin, in either direction; the others with themselves.
    Told is always what the edit is about; beyond that, sometimes all, sometimes a random half, mostly nothing.
    """
    k = len(clocks)
    ends = np.searchsorted(notes["bar"], np.arange(k + 1))
    kind = rng.choice(len(EDITS), k, p=_ODDS)
    edited = rng.random(k) < share
    manner = rng.random(k)
    told = np.select([manner < 0.15, manner < 0.5], [1.0, 0.5], 0.0)
    known = (rng.random((k, len(INDEX))) < told[:, None]).astype(float)
    source, target = [], []
    for i in range(k):
        bar = notes[ends[i] : ends[i + 1]]
        twin = bar
        about = _ABOUT[kind[i]]
        if edited[i] and len(bar):
            twin = EDITS[kind[i]][0](bar, int(clocks[i]), rng)
            known[i, about if rng.random() < 0.5 else about[:1]] = 1
        elif rng.random() < 0.5:
            known[i, rng.choice(about)] = 1
        if rng.random() < 0.5:
            bar, twin = twin, bar
        source.append(bar)
        target.append(twin)
    return np.concatenate(source), np.concatenate(target), known
