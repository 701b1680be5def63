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
UNTOLD = ("register",)  # the decoder, when told of it, transposes every note at every touch
AMOUNT_NAMES = ("density", "rhythm", "syncopation", "polyphony", "leaps", "articulation", "dynamic_spread")
LIKELY_SLOTS = 2.0  # a note sounds for more 16ths than this, mostly
ON_BEATS = 0.3  # how fast on-beats fall while off-beats rise
OTHER_STEP = 0.5  # how much more slowly pitches rise that are no octave of a note
NEAR = 1.5  # amount by which the likeliest off-beat sounds
BACKWARD = 3.0  # how far a tilt may pull back what the told decoder overdid

FIRST = 4.0  # amounts tried before any larger one
FINE = 7  # amounts tried between two others
FINER = 2  # times that is done

Select = Callable[[Rows, Floats], Bools]  # rows and their logits (L, M) to (L, M) which are chosen
Lengths = Callable[[Bools], Floats]  # rows (M,) to (M,) clocks they last, right for those rows at least


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
        count = np.bincount(notes["pitch"], minlength=132)
        share = count.reshape(-1, 12).sum(0) / max(len(notes), 1)
        played = np.flatnonzero(count)
        low, high = (int(played[0]), int(played[-1])) if len(played) else (108, 21)
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
    lengths: Lengths | None = None,
    grows: bool = False,
) -> Floats:
    """(M,) logits tilted so that `name`, measured on what `select` chooses, comes nearest its target in every bar.

    The target is `rest` (K,), the gauge with sliders at rest, moved by `step` in its unit; what a bar can only reach in
    whole notes is rounded up or down by noise keyed to the bar's number (`keys`), so that a passage follows the slider
    even where its bars cannot. `reference` (M,) is the notes at rest, from which directions take harmony and means.
    Bars without a finite target are left alone; of equally near amounts the smallest wins. Polyphony needs `lengths`.
    Of the onset stage `select` chooses only rows above 0, and `grows` says that the gauge never falls as amounts rise:
    then no amount is tried beyond one that reaches the target.
    """
    goal = target(name, rest, step, anchor)
    direction = DIRECTIONS[name](rows, logits, reference, anchor)
    durations = (
        None if lengths is None or name != "polyphony" else _needed(rows, logits, direction, goal, anchor, lengths)
    )
    room = np.empty((2 * len(AMOUNTS)) * len(logits))
    trials = _Trials(rows, logits, direction, name, step > 0, goal, select, anchor, durations, room)
    tried = np.concatenate([-AMOUNTS[AMOUNTS <= BACKWARD][:0:-1], AMOUNTS]) * (1 if step > 0 else -1)
    below = np.full((len(tried), len(goal)), np.nan)
    soon, left = np.abs(tried) <= (FIRST if grows else np.inf), np.isfinite(goal)
    for part in (soon, ~soon):
        if part.any() and left.any():
            below[part] = trials.below(tried[part, None].repeat(len(goal), 1), left)
            left &= ~(below[part][-1] <= 0)
    chance = uniform(INDEX[name], keys) if name != "range" else np.full(len(goal), 0.5)  # one bar decides a range
    bracket = _Bracket.of(tried, below)
    for _ in range(FINER):
        amounts = bracket.low + np.linspace(0, 1, FINE)[:, None] * (bracket.high - bracket.low)
        bracket = bracket.within(amounts, trials.below(amounts, np.isfinite(goal)))
    best = bracket.rounded(chance)
    tilted: Floats = logits + best[rows.bar] * direction
    return tilted


@dataclass(frozen=True, slots=True, eq=False)
class _Trials:
    """How near each of several amounts of one tilt brings bars to their goal."""

    rows: Rows
    logits: Floats  # (M,)
    direction: Floats  # (M,)
    name: str
    rising: bool
    goal: Floats  # (K,)
    select: Select
    anchor: Anchor
    durations: Floats | None
    room: Floats  # for all logits of a trial: fresh memory for every one would take longer than the trial

    def below(self, amounts: Floats, bars: Bools) -> Floats:
        """(L, K) by how much `bars` (K,) stay below their goal, seen in the slider's direction, at amounts (L, K) in
        that direction; NaN for the others.
        """
        rows, direction, durations = self.rows, self.direction, self.durations
        logits = self.logits
        if self.name in ONSET_STAGE:  # no other row is ever chosen
            at = np.flatnonzero(_ever_above(rows, logits, direction, amounts) & bars[rows.bar])
            logits, direction, durations = logits[at], direction[at], None if durations is None else durations[at]
            rows = Rows(rows.bar[at], rows.onset[at], rows.pitch[at], logits, rows.clocks)
        trial = self.room[: len(amounts) * len(logits)].reshape(len(amounts), -1)
        np.take(amounts, rows.bar, 1, out=trial, mode="clip")
        trial *= direction
        trial += logits
        found = gauge(rows, self.select(rows, trial), self.name, self.rising, self.anchor, durations)
        short = self.goal - found if self.rising else found - self.goal
        return np.where(bars, short, np.nan)


@dataclass(frozen=True, slots=True, eq=False)
class _Bracket:
    """Between which amounts each bar (K,) meets its goal first, seen from 0.

    From 0 a bar goes on while it stays below its goal, and back while it overdoes it, so that amounts grow with the
    goal: a slider that moves on never leaps to other notes that happen to measure as well. A bar that never meets its
    goal stays at the amount that comes nearest.
    """

    low: Floats
    high: Floats
    early: Floats  # the first amount that comes as near as any before the goal is met
    short: Floats  # how far from the goal it stays
    over: Floats  # how far beyond the goal `high` is; infinite where it is not met

    @classmethod
    def of(cls, tried: Floats, below: Floats) -> _Bracket:
        """From amounts (L,), 0 among them, and how far below its goal each leaves a bar (L, K)."""
        rest = int(np.flatnonzero(tried == 0)[0])
        k, bars = below.shape[1], below[rest] < 0
        nothing = cls(np.zeros(k), np.zeros(k), np.zeros(k), np.full(k, np.inf), np.full(k, np.inf))
        ways = [
            nothing.within(np.repeat(tried[way, None], k, 1), below[way])
            for way in (slice(rest, None), slice(rest, None, -1))
        ]
        return cls(*(np.where(bars, getattr(ways[1], n), getattr(ways[0], n)) for n in cls.__slots__))

    def within(self, amounts: Floats, below: Floats) -> _Bracket:
        """A narrower one, from amounts (L, K) that begin on this side of the goal."""
        bars = np.arange(below.shape[1])
        known = np.where(np.isfinite(below), below, np.inf)
        met = np.sign(known) != np.sign(known[:1])
        met[0] = known[0] == 0
        found = met.any(0)
        at = np.where(found, met.argmax(0), len(amounts) - 1)
        distance = np.abs(known)
        distance[np.arange(len(amounts))[:, None] > np.where(found & (at > 0), at - 1, at)] = np.inf
        first = distance.argmin(0)
        nearer = distance[first, bars] < self.short - 1e-9
        early = np.where(nearer, amounts[first, bars], self.early)
        short = np.where(nearer, distance[first, bars], self.short)
        low = np.where(found, amounts[np.maximum(at - 1, 0), bars], early)
        high = np.where(found, amounts[at, bars], early)
        return _Bracket(low, high, early, short, np.where(found, np.abs(known[at, bars]), np.inf))

    def rounded(self, chance: Floats) -> Floats:
        """(K,) `early` or `high`: the nearer the goal is to what either gives the likelier; `chance` decides."""
        with np.errstate(invalid="ignore"):
            late = self.short / (self.short + self.over) >= chance
        return np.where(late & np.isfinite(self.over), self.high, self.early)


def _ever_above(rows: Rows, logits: Floats, direction: Floats, amounts: Floats) -> Bools:
    """(M,) the rows above 0 at the least or the largest of ascending amounts (L, K): no other one is in between."""
    above: Bools = np.zeros(len(logits), bool)
    for some in (amounts[0], amounts[-1]):
        trial = some[rows.bar]
        trial *= direction
        trial += logits
        above |= trial > 0
    return above


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
    n, k = len(chosen) * len(rows.clocks), len(rows.clocks)
    position, row = np.divmod(np.flatnonzero(chosen), max(len(rows.bar), 1))
    bar, pitch = position * k + rows.bar[row], rows.pitch[row]
    if name == "range":
        reach = np.full(n, np.nan)
        np.fmax.at(reach, bar, 2 * np.abs(pitch - anchor.middle))
        return reach.reshape(-1, k)
    lengths = np.ones(len(row)) if durations is None else durations[row]
    notes = {"bar": bar, "onset": rows.onset[row], "pitch": pitch, "duration": lengths}
    measured = measure_one(name, notes, np.tile(rows.clocks, len(chosen)))
    if name == "pitch_variety" and not rising:
        count = np.maximum(np.bincount(bar, minlength=n), 1)
        surprise = np.bincount(bar, anchor.surprise[pitch % 12], minlength=n) / count
        measured = (measured + surprise) / 2
    return measured.reshape(-1, k)


def _needed(rows: Rows, logits: Floats, direction: Floats, goal: Floats, anchor: Anchor, lengths: Lengths) -> Floats:
    """(M,) durations, right for the rows that decide whether a bar meets a polyphony (K,)."""
    near = _in_reach(rows, logits, direction, goal / LIKELY_SLOTS)
    found = gauge(rows, near[None], "polyphony", True, anchor, lengths(near))[0]
    short = (found < goal)[rows.bar]  # notes were shorter than they mostly are
    return lengths(near | (short & _in_reach(rows, logits, direction, goal)))


def _in_reach(rows: Rows, logits: Floats, direction: Floats, goal: Floats) -> Bools:
    """(M,) the rows that sound at the first amount at which the number of notes alone reaches a polyphony (K,).

    A note sounds for a slot or more, and more of them sound the larger the amount: beyond that one no amount is nearer.
    """
    wide, slots = len(AMOUNTS) + 1, -(-rows.clocks // CLOCKS_PER_16TH)
    begins = np.searchsorted(AMOUNTS, -logits / direction, side="right")
    counts = np.bincount(rows.bar * wide + begins, minlength=len(goal) * wide).reshape(-1, wide).cumsum(1)
    enough = counts >= (goal * slots)[:, None]
    first = np.where(enough.any(1), enough.argmax(1), wide)
    reached: Bools = begins <= first[rows.bar]
    return reached


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
    """(M,) one number for each 16th slot of each bar, ascending."""
    wide = int(rows.clocks.max(initial=1)) // CLOCKS_PER_16TH + 1
    return rows.bar * wide + rows.onset // CLOCKS_PER_16TH


def _runs(index: Ints) -> tuple[Ints, Ints]:
    """(R,) where each run of equal numbers begins, and (M,) the run of each row."""
    new = np.ones(len(index), bool)
    new[1:] = index[1:] != index[:-1]
    return np.flatnonzero(new), np.cumsum(new) - 1


def _most(index: Ints, values: Floats) -> Floats:
    """(M,) the largest value among the rows that share an ascending index."""
    if not len(index):
        return values
    begins, run = _runs(index)
    most: Floats = np.maximum.reduceat(values, begins)[run]
    return most


def _best_of(index: Ints, values: Floats) -> Bools:
    """(M,) True for the row with the largest value among those that share an ascending index; of equals the last."""
    largest = np.flatnonzero(values == _most(index, values))
    last = np.ones(len(largest), bool)
    last[:-1] = index[largest][1:] != index[largest][:-1]
    best = np.zeros(len(index), bool)
    best[largest[last]] = True
    return best


def density(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """All cells rise together, those of the bar's harmony first."""
    return _harmonic(rows, reference)


def rhythm(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Empty slots raise their likeliest cell; filled slots fall as a whole, the weakest slot first."""
    slot = _slot(rows)
    weight = _harmonic(rows, reference)
    best = _best_of(slot, logits + np.log(weight))
    strength = _most(slot, logits)
    falling = np.maximum(logits, 0) / np.maximum(strength, 1e-3)  # all notes of a slot reach 0 at one amount
    return np.where(strength > 0, falling, np.where(best, weight, 0.0))


def syncopation(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Off-beat 16ths rise, the others fall; where all off-beats are unlikely they rise so much the faster."""
    off = (rows.onset // CLOCKS_PER_16TH) % 2 == 1
    weight = _harmonic(rows, reference)
    nearest = np.full(len(rows.clocks), -np.inf)
    np.maximum.at(nearest, rows.bar[off], (logits / weight)[off])
    speed = np.maximum(-nearest / NEAR, 1.0)[rows.bar]
    return np.where(off, weight * speed, -ON_BEATS)


def polyphony(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Cells at onsets that sound rise, all but the strongest cell of an onset fall."""
    strength = _most(rows.place, logits)
    first = _best_of(rows.place, logits)
    return np.where(strength > 0, np.where(first & (logits > 0), 0.1, _harmonic(rows, reference)), 0.05)


def register(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Octaves above the notes of an onset rise by one, those below fall; other pitches move half as much, so that what
    moves keeps the harmony, and nothing moves by more than an octave.
    """
    begins, place = _runs(rows.place)
    played = np.zeros((len(begins), 128), bool)
    played[place[reference], rows.pitch[reference]] = True
    middle = _mean_by(rows.pitch[reference].astype(float), place[reference], len(begins))
    higher = OTHER_STEP * np.clip((rows.pitch - middle[place]) / 12, -1, 1)
    for octaves in sorted(range(-7, 8), key=abs, reverse=True):  # the nearest note of its class is what counts
        at = rows.pitch - 12 * octaves
        known = (at >= 0) & (at < 128)
        known[known] = played[place[known], at[known]]
        higher[known] = np.sign(octaves)
    return higher


def pitch_range(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Pitches far from the piece's middle rise: the farther, the more."""
    farther: Floats = (np.abs(rows.pitch - anchor.middle) / 12) ** 2
    return farther


def leaps(rows: Rows, logits: Floats, reference: Bools, anchor: Anchor) -> Floats:
    """Tops above the mean of the top line go up, those below go down; or all towards it."""
    k = len(rows.clocks)
    played = np.where(reference, rows.pitch, -1).astype(float)
    highest = _most(rows.place, played)
    tops = reference & (played == highest)
    mean = _mean_by(rows.pitch[tops].astype(float), rows.bar[tops], k)[rows.bar]
    alternate = np.where(_runs(rows.place)[1] % 2 == 0, 1.0, -1.0)
    side = np.sign(highest - mean)
    side = np.where(side == 0, alternate, side)
    return np.where(rows.pitch > highest - 8, side * (rows.pitch - mean) / 4, 0.0)


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
    pull = centre[..., None] * (2 * FIRMNESS * scale)  # the square of the centre is the same for all classes
    pull += logits - FIRMNESS * scale**2
    chosen: NDArray[np.int64] = pull.argmax(-1)
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
        classes = np.stack([nudge(logits, scale, start + some) for some in amounts[:, bar]])
        error = np.abs(measure(classes) - goal)
        error = np.where(np.isfinite(error), error, np.inf) + 1e-4 * np.abs(amounts)
        best = np.take_along_axis(amounts, error.argmin(0)[None], 0)[0]
    best = np.where(np.isfinite(goal), best, 0.0)
    return nudge(logits, scale, start + best[bar])
