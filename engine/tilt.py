"""Sliders on logits: move along the direction in which an attribute grows until the re-measured attribute is there.

The decoder has already been told of the offset; a tilt closes what is left. Each bar finds its own amount, so bars
stay independent. Two stages: what moves onsets (density, rhythm, syncopation, polyphony) chooses freely; what moves
pitches (register, range, leaps, variety, consonance) keeps the number of notes at every onset.

K bars, M rows, L amounts tried at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.attributes import CLOCKS_PER_16TH, CONSONANCE_MATRIX, INDEX, measure_one
from engine.sampling import Bools, Floats, Ints, Rows, uniform

AMOUNTS = np.array([0.0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5.5, 7, 9, 12, 16, 24])
ONSET_STAGE = ("density", "rhythm", "syncopation", "polyphony")
PITCH_STAGE = ("register", "range", "leaps", "pitch_variety", "consonance")
AMOUNT_NAMES = ("density", "rhythm", "syncopation", "polyphony", "leaps", "articulation", "dynamic_spread")
BACKWARD = 3.0  # how far a tilt may pull back what the told decoder overdid

Select = Callable[[Floats], Bools]  # (L, M) logits to (L, M) chosen rows


@dataclass(frozen=True, slots=True, eq=False)
class Anchor:
    """The piece a bar belongs to, for attributes whose meaning spans bars: range and pitch variety.

    Like a slider's own value these few numbers are the piece's; they carry none of its notes.
    """

    middle: float  # halfway between the piece's lowest and highest note
    span: float  # its range in semitones
    surprise: Floats  # (12,) bits: -log2 of each pitch class's share in the piece

    @classmethod
    def of(cls, notes: NDArray[np.void]) -> Anchor:
        """From the piece's BAR_NOTE."""
        pitch = notes["pitch"].astype(np.int64)
        share = np.bincount(pitch % 12, minlength=12) / max(len(pitch), 1)
        low, high = int(pitch.min(initial=108)), int(pitch.max(initial=21))
        return cls((low + high) / 2, float(max(high - low, 1)), -np.log2((share + 0.02) / 1.24))


def solve(
    rows: Rows,
    logits: Floats,
    name: str,
    step: float,
    rest: Floats,
    reference: Bools,
    select: Select,
    anchor: Anchor,
    keys: Ints,
    durations: Floats | None = None,
) -> Floats:
    """(M,) logits tilted so that `name`, measured on what `select` chooses, comes nearest its target in every bar.

    The target is `rest` (K,), the gauge with sliders at rest, moved by `step` in its unit; what a bar can only reach in
    whole notes is rounded up or down by noise keyed to the bar's number (`keys`), so that a passage follows the slider
    even where its bars cannot. `reference` (M,) is the notes at rest, from which directions take harmony and means.
    Bars without a finite target are left alone; of equally near amounts the smallest wins.
    """
    goal = target(name, rest, step, anchor)
    goal = goal + (uniform(INDEX[name], keys) - 0.5) * _quantum(rows, reference, name)
    direction = DIRECTIONS[name](rows, logits, reference, anchor)
    best = np.zeros(len(goal))
    tried = np.concatenate([-AMOUNTS[:0:-1], AMOUNTS])
    tried = tried[tried * np.sign(step) >= -BACKWARD]
    width = np.ones(len(goal))
    for _ in range(2):
        amounts = tried[:, None] * width + best  # (L, K)
        measured = gauge(rows, select(logits + amounts[:, rows.bar] * direction), name, step > 0, anchor, durations)
        error = np.abs(measured - goal)
        error = np.where(np.isfinite(error), error, np.inf) + 1e-4 * np.abs(amounts)
        best = np.take_along_axis(amounts, error.argmin(0)[None], 0)[0]
        width = _gap(np.abs(best)) / 8
        tried = np.arange(-6.0, 7.0)
    best = np.where(np.isfinite(goal), best, 0.0)
    tilted: Floats = logits + best[rows.bar] * direction
    return tilted


def target(name: str, rest: Floats, step: float, anchor: Anchor) -> Floats:
    """(K,) where a step (in the attribute's unit) leads from `rest` (K,).

    Amounts that cannot fall below nothing shrink in proportion instead, so no slider silences a piece: downward,
    density d becomes d * exp(step / d), which begins with the slope of d + step. Range scales the whole piece.
    """
    if name == "range":
        ratio = np.exp(step / anchor.span) if step < 0 else 1 + step / anchor.span
        return np.asarray(rest * ratio)
    if name in AMOUNT_NAMES and step < 0:
        return np.asarray(rest * np.exp(step / np.maximum(rest, 1e-6)))
    return np.asarray(rest + step)


def gauge(
    rows: Rows, chosen: Bools, name: str, rising: bool, anchor: Anchor, durations: Floats | None = None
) -> Floats:
    """(L, K) what a tilt steers by: the attribute of each bar, but for two that must hold over many bars together.

    Range is steered by the reach to either side of the piece's middle, falling pitch variety also by how surprising
    pitch classes are in the piece: bars that each narrow around places of their own would not narrow the passage.
    """
    notes = rows.notes(chosen, durations)
    n, k = len(chosen) * len(rows.clocks), len(rows.clocks)
    if name == "range":
        reach = np.full(n, np.nan)
        np.fmax.at(reach, notes["bar"], 2 * np.abs(notes["pitch"] - anchor.middle))
        return reach.reshape(-1, k)
    measured = measure_one(name, notes, np.tile(rows.clocks, len(chosen)))
    if name == "pitch_variety" and not rising:
        count = np.maximum(np.bincount(notes["bar"], minlength=n), 1)
        surprise = np.bincount(notes["bar"], anchor.surprise[notes["pitch"] % 12], minlength=n) / count
        measured = (measured + surprise) / 2
    return measured.reshape(-1, k)


def _quantum(rows: Rows, reference: Bools, name: str) -> Floats:
    """(K,) the step by which one note changes an attribute of a bar; 0 for those that move smoothly."""
    slots = np.maximum(rows.clocks / CLOCKS_PER_16TH, 1)
    count = np.maximum(np.bincount(rows.bar[reference], minlength=len(rows.clocks)), 1)
    steps = {
        "density": 24 / rows.clocks,
        "rhythm": 1 / slots,
        "syncopation": 1 / count,
        "polyphony": 2 / slots,
        "leaps": 12 / count,
        "pitch_variety": 1 / count,
    }
    quantum: Floats = steps.get(name, np.zeros(len(rows.clocks)))
    return quantum


def _gap(amount: Floats) -> Floats:
    at = np.clip(np.searchsorted(AMOUNTS, amount), 1, len(AMOUNTS) - 1)
    gap: Floats = AMOUNTS[at] - AMOUNTS[at - 1]
    return gap


def _mean_by(values: Floats, index: Ints, n: int) -> Floats:
    mean: Floats = np.bincount(index, values, minlength=n) / np.maximum(np.bincount(index, minlength=n), 1)
    return mean


def _chroma(rows: Rows, reference: Bools) -> Floats:
    """(M,) how present each row's pitch class is at rest in its bar, 0 to 1 for the strongest."""
    k = len(rows.clocks)
    counts = np.bincount(rows.bar[reference] * 12 + rows.pitch[reference] % 12, minlength=k * 12).reshape(k, 12)
    share = counts / np.maximum(counts.max(1, keepdims=True), 1)
    present: Floats = share[rows.bar, rows.pitch % 12]
    return present


def _harmonic(rows: Rows, reference: Bools) -> Floats:
    """Weight of a row when notes come and go: the bar's own pitch classes first, both in coming and in going."""
    return 0.25 + 0.75 * _chroma(rows, reference)


def _slot(rows: Rows) -> Ints:
    """(M,) one number for each 16th slot of each bar."""
    wide = int(rows.clocks.max(initial=1)) // CLOCKS_PER_16TH + 1
    return rows.bar * wide + rows.onset // CLOCKS_PER_16TH


def _best_of(index: Ints, values: Floats) -> Bools:
    """(M,) True for the row with the largest value among those that share an index."""
    order = np.lexsort((values, index))
    last = np.ones(len(order), bool)
    last[:-1] = index[order][1:] != index[order][:-1]
    best = np.zeros(len(order), bool)
    best[order[last]] = True
    return best


def density(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """All cells rise together, those of the bar's harmony first."""
    return _harmonic(rows, reference)


def rhythm(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Empty slots raise their likeliest cell; filled slots fall as a whole, the weakest slot first."""
    slot = _slot(rows)
    weight = _harmonic(rows, reference)
    best = _best_of(slot, logits + np.log(weight))
    _, index = np.unique(slot, return_inverse=True)
    strongest = np.full(index.max(initial=0) + 1, -np.inf)
    np.maximum.at(strongest, index, logits)
    strength = strongest[index]
    falling = np.maximum(logits, 0) / np.maximum(strength, 1e-3)  # all notes of a slot reach 0 at one amount
    return np.where(strength > 0, falling, np.where(best, weight, 0.0))


def syncopation(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Off-beat 16ths rise, the others fall."""
    off = (rows.onset // CLOCKS_PER_16TH) % 2 == 1
    return np.where(off, _harmonic(rows, reference), -0.7)


def polyphony(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Cells at onsets that sound rise, all but the strongest cell of an onset fall."""
    _, index = np.unique(rows.place, return_inverse=True)
    sounding = np.zeros(index.max(initial=0) + 1)
    np.maximum.at(sounding, index, (logits > 0).astype(float))
    first = _best_of(rows.place, logits)
    return np.where(sounding[index] > 0, np.where(first & (logits > 0), 0.1, _harmonic(rows, reference)), 0.05)


def register(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Higher pitches rise, an octave by one."""
    higher: Floats = (rows.pitch - 64) / 12
    return higher


def pitch_range(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Pitches far from the piece's middle rise: the farther, the more."""
    farther: Floats = (np.abs(rows.pitch - anchor.middle) / 12) ** 2
    return farther


def leaps(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Tops above the mean of the top line go up, those below go down; or all towards it."""
    k = len(rows.clocks)
    place = rows.place
    tops = _best_of(place, np.where(reference, rows.pitch, -1).astype(float)) & reference
    mean = _mean_by(rows.pitch[tops].astype(float), rows.bar[tops], k)
    _, index = np.unique(place, return_inverse=True)
    highest = np.full(index.max(initial=0) + 1, -1.0)
    np.maximum.at(highest, index, np.where(reference, rows.pitch, -1).astype(float))
    _, order = np.unique(index, return_index=True)
    alternate = np.where(np.arange(len(order)) % 2 == 0, 1.0, -1.0)
    side = np.sign(highest - mean[rows.bar[order]])
    side = np.where(side == 0, alternate, side)[index]
    away = (rows.pitch - mean[rows.bar]) / 4
    return np.where(rows.pitch > highest[index] - 8, side * away, 0.0)


def pitch_variety(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Pitch classes that the bar and the piece have little of rise, those they are full of fall."""
    rare: Floats = (anchor.surprise - anchor.surprise.mean())[rows.pitch % 12] / 4
    return rare + 0.5 - _chroma(rows, reference)


def consonance(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Pitch classes that agree with the bar's harmony rise."""
    k = len(rows.clocks)
    counts = np.bincount(rows.bar[reference] * 12 + rows.pitch[reference] % 12, minlength=k * 12).reshape(k, 12)
    agree = counts / np.maximum(counts.sum(1, keepdims=True), 1) @ CONSONANCE_MATRIX
    apart: Floats = 3 * (agree - agree.mean(1, keepdims=True))
    return apart[rows.bar, rows.pitch % 12]


DIRECTIONS: dict[str, Callable[[Rows, Floats, Bools, Anchor], Floats]] = {
    "density": density,
    "rhythm": rhythm,
    "syncopation": syncopation,
    "polyphony": polyphony,
    "register": register,
    "range": pitch_range,
    "leaps": leaps,
    "pitch_variety": pitch_variety,
    "consonance": consonance,
}


FIRMNESS = 30.0  # nats per squared unit (an octave of duration, 16 of velocity) from a note's new place


def nudge(logits: Floats, scale: Floats, centre: Floats) -> NDArray[np.int64]:
    """(..., J) likeliest class when each note is drawn to a place on a scale.

    `logits` (J, C), `scale` (C,) what each class means, `centre` (..., J). An exponential tilt with a concave
    envelope: as the centre moves the class moves one way only, and never leaps over what lies between two modes.
    """
    pull = -FIRMNESS * (scale - centre[..., None]) ** 2
    chosen: NDArray[np.int64] = (logits + pull).argmax(-1)
    return chosen


def solve_classes(
    logits: Floats,
    scale: Floats,
    start: Floats,
    bar: Ints,
    goal: Floats,
    measure: Callable[[NDArray[np.int64]], Floats],
) -> NDArray[np.int64]:
    """(J,) classes of a note field, all notes of a bar drawn the same way along `scale` until the bar meets its goal.

    `start` (J,) is where the notes stand at rest on the scale, `measure` takes (L, J) classes and gives (L, K).
    """
    best = np.zeros(len(goal))
    for tried in (np.linspace(-6, 6, 49), np.linspace(-0.25, 0.25, 11)):
        amounts = tried[:, None] + best
        error = np.abs(measure(nudge(logits, scale, start + amounts[:, bar])) - goal)
        error = np.where(np.isfinite(error), error, np.inf) + 1e-4 * np.abs(amounts)
        best = np.take_along_axis(amounts, error.argmin(0)[None], 0)[0]
    best = np.where(np.isfinite(goal), best, 0.0)
    return nudge(logits, scale, start + best[bar])
