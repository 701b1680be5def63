"""Masks, not hopes: what may sound, as penalties on the logits of candidate cells. NumPy only, knows no model.

A mask is one function in `PARTS`, the sum of all is added wherever cells are chosen: after noise, blend and tilt, so
no slider can break one. Default fields are no preference.

K bars, M rows (candidate cells), L choices at once, J notes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.errors import MorphonyError
from engine.model.fields import N_PITCHES
from engine.sampling import Bools, Floats, Ints, Rows, hold_counts, rank_within
from engine.score.harmony import PitchClasses
from engine.tokens.vocab import PITCHES

FORBIDDEN = -1e6  # nats: out of reach of every tilt
LEAN = 1.0  # nats a semitone outside a loose range
STEP, SAME_CLASS = 0.7, 4.0  # nats a semitone from a refused note, and for another octave of it
SHORTEST = 0.25  # clocks: what is left of a note whose voice is needed at once


@dataclass(frozen=True, slots=True)
class Masks:
    """What may sound. Bars beyond the end of `scale` or `chords` begin them again."""

    scale: tuple[PitchClasses, ...] = ()  # of each bar; one alone is for all bars
    pitch_range: tuple[int, int] | None = None  # lowest and highest MIDI pitch, both allowed
    loose: bool = False  # the range leans instead of forbidding
    chords: tuple[tuple[PitchClasses, ...], ...] = ()  # of each bar, in parts of equal length
    max_notes: int | None = None  # sounding at once

    def __post_init__(self) -> None:
        if self.max_notes is not None and self.max_notes < 1:
            raise MorphonyError(f"At least one note must be allowed to sound, not {self.max_notes}.")
        if self.pitch_range is not None:
            low, high = self.pitch_range
            if low > high or high < PITCHES.start or low >= PITCHES.stop:
                reach = f"{PITCHES.start}:{PITCHES.stop - 1}"
                raise MorphonyError(f"A range of pitches goes upward within {reach}, which {low}:{high} does not.")
        if not all(self.scale) or not all(bar and all(bar) for bar in self.chords):
            raise MorphonyError("A scale or a chord without any pitch class would leave nothing to play.")

    @property
    def of_pitch(self) -> bool:
        """Whether any pitch is less welcome than another."""
        return bool(self.scale or self.chords or self.pitch_range)

    def __bool__(self) -> bool:
        return self.of_pitch or self.max_notes is not None

    def penalty(self, rows: Rows, bars: Ints) -> Floats:
        """(M,) nats added to each cell; `bars` (K,) are the bars' numbers in the piece."""
        return sum((part(self, rows, bars) for part in PARTS.values()), np.zeros(len(rows.bar))).clip(FORBIDDEN)


def inside_the_bar(masks: Masks, rows: Rows, bars: Ints) -> Floats:
    """What the encoder cannot write: cells past a bar's end, pitches without a key on the piano."""
    written = (rows.onset < rows.clocks[rows.bar]) & (rows.pitch >= PITCHES.start) & (rows.pitch < PITCHES.stop)
    return _forbid(~written)


def in_scale(masks: Masks, rows: Rows, bars: Ints) -> Floats:
    """Pitch classes outside the bar's scale are forbidden."""
    if not masks.scale:
        return np.zeros(len(rows.bar))
    return _forbid(~_table(masks.scale)[bars[rows.bar] % len(masks.scale), rows.pitch % 12])


def in_range(masks: Masks, rows: Rows, bars: Ints) -> Floats:
    """Pitches outside the range are forbidden, or the farther out the less likely."""
    if masks.pitch_range is None:
        return np.zeros(len(rows.bar))
    low, high = masks.pitch_range
    outside = np.maximum(np.maximum(low - rows.pitch, rows.pitch - high), 0)
    return -LEAN * outside if masks.loose else _forbid(outside > 0)


def in_chord(masks: Masks, rows: Rows, bars: Ints) -> Floats:
    """What is not of the chord that holds at an onset is forbidden."""
    if not masks.chords:
        return np.zeros(len(rows.bar))
    counts = np.array([len(bar) for bar in masks.chords])
    bar = bars[rows.bar] % len(counts)
    part = (rows.onset * counts[bar] // rows.clocks[rows.bar]).clip(max=counts[bar] - 1)
    allowed = _table([chord for chords in masks.chords for chord in chords])
    return _forbid(~allowed[(np.cumsum(counts) - counts)[bar] + part, rows.pitch % 12])


PARTS: dict[str, Callable[[Masks, Rows, Ints], Floats]] = {
    "inside_the_bar": inside_the_bar,
    "scale": in_scale,
    "range": in_range,
    "chords": in_chord,
}


def held(masks: Masks, rows: Rows, bars: Ints, counts: Ints) -> Callable[[Floats], Bools]:
    """Of each onset's 88 pitches (L, P * 88) the `counts` (P,) likeliest, the masks added last.

    Raises MorphonyError where no pitch of an onset is left.
    """
    if not masks:
        return lambda logits: hold_counts(logits, counts)
    penalty = masks.penalty(rows, bars)
    room = penalty > FORBIDDEN
    empty = np.flatnonzero(~room.reshape(-1, N_PITCHES).any(1)) * N_PITCHES
    if len(empty):
        bar = int(bars[rows.bar[empty[0]]])
        raise MorphonyError(f"Scale, chords and range have no pitch in common in bar {bar}, so nothing could sound.")
    return lambda logits: hold_counts(logits + penalty, counts) & room


def nearness(rows: Rows, lost: Rows) -> Floats:
    """(M,) nats for each of the 88 pitches of every onset by how near it lies to a cell that was refused there.

    A note that may not sound moves a step rather than somewhere likely: into the scale, or to its own octave in range.
    """
    grid = np.zeros((len(rows.bar) // N_PITCHES, N_PITCHES))
    at = np.searchsorted(rows.place[::N_PITCHES], lost.place)
    pitch, taken = np.arange(N_PITCHES) + PITCHES.start, np.zeros(len(grid), bool)
    for place, gone in zip(at, lost.pitch, strict=True):
        pull = SAME_CLASS * ((pitch - gone) % 12 == 0) - STEP * np.abs(pitch - gone)
        grid[place] = np.maximum(grid[place], pull) if taken[place] else pull
        taken[place] = True
    return grid.reshape(-1)


def at_most(rows: Rows, logits: Floats, chosen: Bools, limit: int | None) -> Bools:
    """(L, M) of the chosen cells the `limit` likeliest of every onset; all without a limit."""
    if limit is None:
        return chosen
    kept = np.zeros_like(chosen)
    for choice, values, out in zip(chosen, logits, kept, strict=True):
        at = np.flatnonzero(choice)
        out[at[rank_within(rows.place[at], values[at]) < limit]] = True
    return kept


def voices(notes: NDArray[np.void], clocks: Ints, limit: int | None) -> NDArray[np.void]:
    """BAR_NOTE of which at most `limit` sound at once; `clocks` (K,) are the lengths of the bars they count.

    Doublings go first; a note ends where a later onset needs its voice, the oldest first; and none rings past its
    bar, because the next bar is decoded without knowing it.
    """
    if limit is None:
        return notes
    place = notes["bar"].astype(np.int64) << 16 | notes["onset"].astype(np.int64)
    doubling = rank_within(place << 8 | notes["pitch"], -notes["part"].astype(np.float64))
    out = notes[rank_within(place, -doubling.astype(np.float64)) < limit]
    start = out["onset"].astype(np.float64) + out["micro"]
    end = np.minimum(start + out["duration"], clocks[out["bar"]])
    for bar in np.unique(out["bar"]):
        _share(np.flatnonzero(out["bar"] == bar), out["onset"], start, end, limit)
    out["duration"] = np.maximum(end - start, SHORTEST)
    return out


def _share(notes: Ints, onset: NDArray[np.integer], start: Floats, end: Floats, limit: int) -> None:
    """Shorten the `end` of one bar's notes in place, so that `limit` voices are enough."""
    held: list[int] = []
    for moment in np.unique(onset[notes]):
        new = notes[onset[notes] == moment]
        begins = float(start[new].min())
        held = [i for i in held if end[i] > begins]
        for i in held[: max(len(held) + len(new) - limit, 0)]:
            end[i] = begins
        held = [*held[max(len(held) + len(new) - limit, 0) :], *map(int, new)]


def _forbid(cells: Bools) -> Floats:
    out: Floats = np.where(cells, FORBIDDEN, 0.0)
    return out


def _table(sets: Sequence[PitchClasses]) -> Bools:
    """(n, 12) which pitch classes are in each set."""
    table = np.zeros((len(sets), 12), bool)
    for row, classes in zip(table, sets, strict=True):
        row[list(classes)] = True
    return table
