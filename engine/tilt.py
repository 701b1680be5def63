"""Sliders on logits: move along the direction in which an attribute grows until the re-measured attribute is there.

The decoder has already been told of the offset; a tilt closes what is left. Each bar finds its own amount, so bars
stay independent. Two stages: what moves onsets (density, rhythm, syncopation, polyphony) chooses freely; what moves
pitches (register, range, leaps, variety, consonance) keeps the number of notes at every onset.

K bars, M rows, L amounts tried at once.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.attributes import CLOCKS_PER_16TH, CONSONANCE_MATRIX, INDEX, measure_bars
from engine.sampling import Bools, Floats, Ints, Rows

AMOUNTS = np.array([0.0, 0.25, 0.5, 1, 1.5, 2, 3, 4, 5.5, 7, 9, 12, 16, 24])
ONSET_STAGE = ("density", "rhythm", "syncopation", "polyphony")
PITCH_STAGE = ("register", "range", "leaps", "pitch_variety", "consonance")

Select = Callable[[Floats], Bools]  # (L, M) logits to (L, M) chosen rows


def solve(
    rows: Rows,
    logits: Floats,
    name: str,
    target: Floats,
    reference: Bools,
    select: Select,
    durations: Floats | None = None,
) -> Floats:
    """(M,) logits tilted so that `name`, measured on what `select` chooses, comes nearest `target` (K,).

    `reference` (M,) is the notes at rest, from which directions take harmony and means. Bars whose target is not
    finite are left alone; of equally near amounts the smallest wins.
    """
    direction = DIRECTIONS[name](rows, logits, reference)
    best = np.zeros(len(target))
    tried = np.concatenate([-AMOUNTS[:0:-1], AMOUNTS])
    step = np.full(len(target), 1.0)
    for _ in range(2):
        amounts = tried[:, None] * step + best  # (L, K)
        chosen = select(logits + amounts[:, rows.bar] * direction)
        measured = _measured(rows, chosen, name, durations)
        error = np.abs(measured - target)
        error = np.where(np.isfinite(error), error, np.inf) + 1e-4 * np.abs(amounts)
        pick = np.where(np.isfinite(target) & np.isfinite(error.min(0)), error.argmin(0), len(tried) // 2)
        best = np.take_along_axis(amounts, pick[None], 0)[0]
        step = _gap(np.abs(best)) / 8
        tried = np.arange(-6.0, 7.0)
    best = np.where(np.isfinite(target), best, 0.0)
    tilted: Floats = logits + best[rows.bar] * direction
    return tilted


def _gap(amount: Floats) -> Floats:
    at = np.clip(np.searchsorted(AMOUNTS, amount), 1, len(AMOUNTS) - 1)
    gap: Floats = AMOUNTS[at] - AMOUNTS[at - 1]
    return gap


def _measured(rows: Rows, chosen: Bools, name: str, durations: Floats | None) -> Floats:
    notes = rows.notes(chosen, durations)
    return measure_bars(notes, np.tile(rows.clocks, len(chosen)))[:, INDEX[name]].reshape(len(chosen), -1)


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


def density(rows: Rows, logits: Floats, reference: Bools) -> Floats:
    """All cells rise together, those of the bar's harmony first."""
    return _harmonic(rows, reference)


def rhythm(rows: Rows, logits: Floats, reference: Bools) -> Floats:
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


def syncopation(rows: Rows, logits: Floats, reference: Bools) -> Floats:
    """Off-beat 16ths rise, the others fall."""
    off = (rows.onset // CLOCKS_PER_16TH) % 2 == 1
    return np.where(off, _harmonic(rows, reference), -0.7)


def polyphony(rows: Rows, logits: Floats, reference: Bools) -> Floats:
    """Cells at onsets that sound rise, all but the strongest cell of an onset fall."""
    _, index = np.unique(rows.place, return_inverse=True)
    sounding = np.zeros(index.max(initial=0) + 1)
    np.maximum.at(sounding, index, (logits > 0).astype(float))
    first = _best_of(rows.place, logits)
    return np.where(sounding[index] > 0, np.where(first & (logits > 0), 0.1, _harmonic(rows, reference)), 0.05)


def register(rows: Rows, logits: Floats, reference: Bools) -> Floats:
    """Higher pitches rise, an octave by one."""
    return (rows.pitch - 64) / 12


def pitch_range(rows: Rows, logits: Floats, reference: Bools) -> Floats:
    """The outermost notes move: the farther from the bar's middle, the more."""
    k = len(rows.clocks)
    middle = _mean_by(rows.pitch[reference].astype(float), rows.bar[reference], k)
    return (np.abs(rows.pitch - middle[rows.bar]) / 12) ** 2


def leaps(rows: Rows, logits: Floats, reference: Bools) -> Floats:
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
    away = (rows.pitch - mean[rows.bar]) / 12
    return np.where(rows.pitch > highest[index] - 8, side * away, 0.0)


def pitch_variety(rows: Rows, logits: Floats, reference: Bools) -> Floats:
    """Pitch classes the bar has little of rise, those it is full of fall."""
    return 0.5 - _chroma(rows, reference)


def consonance(rows: Rows, logits: Floats, reference: Bools) -> Floats:
    """Pitch classes that agree with the bar's harmony rise."""
    k = len(rows.clocks)
    counts = np.bincount(rows.bar[reference] * 12 + rows.pitch[reference] % 12, minlength=k * 12).reshape(k, 12)
    agree = counts / np.maximum(counts.sum(1, keepdims=True), 1) @ CONSONANCE_MATRIX
    apart: Floats = 3 * (agree - agree.mean(1, keepdims=True))
    return apart[rows.bar, rows.pitch % 12]


DIRECTIONS: dict[str, Callable[[Rows, Floats, Bools], Floats]] = {
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


def solve_classes(
    logits: Floats,
    values: Floats,
    bar: Ints,
    target: Floats,
    measure: Callable[[Floats], Floats],
    weight: Floats,
) -> Floats:
    """(M,) values of a note field, their class logits (M, C) tilted along `weight` (M, C) until `measure` meets target.

    `values` (C,) is what the classes mean, `measure` takes (L, M) values and gives (L, K). An exponential tilt of
    a categorical: its argmax moves one way only as the amount grows.
    """
    best = np.zeros(len(target))
    tried = np.concatenate([-AMOUNTS[:0:-1], AMOUNTS])
    step = np.full(len(target), 1.0)
    for _ in range(2):
        amounts = tried[:, None] * step + best
        chosen = values[(logits + amounts[:, bar, None] * weight).argmax(-1)]
        error = np.abs(measure(chosen) - target)
        error = np.where(np.isfinite(error), error, np.inf) + 1e-4 * np.abs(amounts)
        best = np.take_along_axis(amounts, error.argmin(0)[None], 0)[0]
        step = _gap(np.abs(best)) / 8
        tried = np.arange(-6.0, 7.0)
    best = np.where(np.isfinite(target), best, 0.0)
    out: Floats = values[(logits + best[bar, None] * weight).argmax(-1)]
    return out
