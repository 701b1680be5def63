"""Musical edits: of whole windows, so that music is heard in more than one way, and twins that teach the sliders.

A window's edit gives another piece that could have been written or played: both sides of the model see it. A twin's
turns one bar of notes (BAR_NOTE rows) into another that differs in one musical respect. Encoding one and decoding the
other, given how their attributes differ, is what makes a slider move notes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from engine.attributes import CLOCKS_PER_16TH, INDEX
from engine.config import AugmentConfig
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


# ---------------------------------------------------------------- windows


@dataclass(frozen=True, slots=True)
class Spans:
    """The bars that windows are made of."""

    clocks: NDArray[np.int64]  # (K,) length
    beat: NDArray[np.int64]  # (K,) clocks in a beat
    window: NDArray[np.int64]  # (K,) which window each is of


def change_tempo(notes: Bar, spans: Spans, rng: Generator) -> Bar:
    """Play slower or faster, by a third at most: a note that is early or late by as many milliseconds is so by another
    part of a beat. Bars are counted in beats, so this is all of a tempo that the model sees; written music,
    which is exactly on its clocks, stays as it is.
    """
    out = notes.copy()
    out["micro"] = (notes["micro"] * 2 ** rng.uniform(-0.42, 0.42)).clip(-0.5, 0.5)
    return out


def swing(notes: Bar, spans: Spans, rng: Generator) -> Bar:
    """Make the first half of every beat (or half beat) longer, up to two to one, and the second shorter; durations
    follow. Beats of three (6/8), and bars that are not whole beats, stay as they are.
    """
    longer, halved = rng.uniform(1 / 2, 2 / 3), rng.random() < 0.3
    beat = np.where(halved, spans.beat // 2, spans.beat)
    straight = (spans.beat % 36 != 0) & (beat >= 2) & (spans.clocks % np.maximum(beat, 1) == 0)
    unit = beat[notes["bar"]].astype(np.float64)

    def late(place: NDArray[np.float64]) -> NDArray[np.float64]:
        whole, rest = np.floor(place / unit), np.mod(place / unit, 1)
        bent = np.where(rest < 1 / 2, rest * 2 * longer, longer + (rest - 1 / 2) * 2 * (1 - longer))
        out: NDArray[np.float64] = unit * (whole + bent)
        return out

    begin = np.maximum(notes["onset"] + notes["micro"].astype(np.float64), 0)
    length = spans.clocks[notes["bar"]]
    place = late(begin)
    onset = np.clip(np.floor(place + 0.5), 0, length - 1)
    moved = straight[notes["bar"]]
    out = notes.copy()
    out["onset"] = np.where(moved, onset, notes["onset"])
    out["micro"] = np.where(moved, (place - onset).clip(-0.5, 0.5), notes["micro"])
    lasting = np.maximum(late(begin + notes["duration"]) - place, 0)
    out["duration"] = np.where(moved, lasting, notes["duration"])
    return _tidy(out)


def change_dynamics(notes: Bar, spans: Spans, rng: Generator) -> Bar:
    """Softer or louder, flatter or steeper, by another curve of touch, and swelling or dying away over the window."""
    velocity = notes["velocity"].astype(np.float64)
    middle = velocity.mean()
    velocity = middle + (velocity - middle) * 2 ** rng.uniform(-1, 0.6)
    velocity = 127 * (velocity.clip(1, 127) / 127) ** (2 ** rng.uniform(-0.5, 0.5)) + rng.uniform(-16, 16)
    before = np.cumsum(spans.clocks) - spans.clocks
    time = before[notes["bar"]] + notes["onset"]
    swell = rng.uniform(-24, 24) * (rng.random() < 0.5)
    velocity += swell * ((time - time.min()) / max(np.ptp(time), 1) - 0.5)
    out = notes.copy()
    out["velocity"] = np.round(velocity.clip(1, 127))
    return out


def drop_parts(notes: Bar, spans: Spans, rng: Generator) -> Bar:
    """Leave out some of the parts that sound, never all; those left are numbered anew, as in a file without them."""
    sounding = np.unique(notes["part"])
    if len(sounding) < 2:
        return notes
    kept = np.sort(rng.choice(sounding, rng.integers(1, len(sounding)), replace=False))
    out = notes[np.isin(notes["part"], kept)]
    out["part"] = np.searchsorted(kept, out["part"])
    return out


def substitute(notes: Bar, spans: Spans, rng: Generator) -> Bar:
    """Give lines to other instruments. A model of bars knows an instrument by its part alone, which is the place of its
    track in the file: so the parts that sound change their numbers among themselves, or one of them moves by an
    octave as an instrument of another range would play it.
    """
    sounding = np.unique(notes["part"])
    out = notes.copy()
    if rng.random() < 0.5 and len(sounding) > 1:
        other = np.zeros(256, np.uint8)
        other[sounding] = rng.permutation(sounding)
        out["part"] = other[notes["part"]]
        return _tidy(out)
    line = notes["part"] == rng.choice(sounding)
    moved = transpose(notes[line], int(rng.choice([-12, 12])))
    if moved is None:
        return notes
    out[line] = moved
    return _tidy(out)


def _tidy(notes: Bar) -> Bar:
    """Sorted as bars are; of two notes of one part in one cell the longer stays."""
    order = np.lexsort((-notes["duration"], notes["part"], notes["pitch"], notes["onset"], notes["bar"]))
    out = notes[order]
    same = np.zeros(len(out), bool)
    same[1:] = np.logical_and.reduce([out[f][1:] == out[f][:-1] for f in ("bar", "onset", "pitch", "part")])
    return out[~same]


WINDOW_EDITS: dict[str, Callable[[Bar, Spans, Generator], Bar]] = {  # by their key in the configuration, in this order
    "drop_parts": drop_parts,
    "substitute": substitute,
    "tempo": change_tempo,
    "swing": swing,
    "dynamics": change_dynamics,
}


def augmented(
    notes: Bar, spans: Spans, parts: list[int], config: AugmentConfig, progress: float, rng: Generator
) -> tuple[Bar, list[int]]:
    """Every window edited by itself, each edit with its chance at this share of the run; and the parts each has."""
    chances = {name: getattr(config, name).at(progress) for name in WINDOW_EDITS}
    ends = np.searchsorted(notes["bar"], np.searchsorted(spans.window, np.arange(len(parts) + 1)))
    out, plays = [], list(parts)
    for w in range(len(parts)):
        mine = notes[ends[w] : ends[w + 1]]
        met = [name for name, chance in chances.items() if rng.random() < chance]
        for name in met if len(mine) else ():
            before = len(np.unique(mine["part"]))
            mine = WINDOW_EDITS[name](mine, spans, rng)
            if name == "drop_parts" and before > 1:
                plays[w] = int(mine["part"].max()) + 1
        out.append(mine)
    return np.concatenate(out), plays
