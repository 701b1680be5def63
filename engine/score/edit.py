"""Edits of a score, each a pure function from `Score` to `Score`: what the piano roll and the event list are made of.

`rows` are indices into `score.notes`; an edit also says in which rows the edited notes lie afterwards.
An edit that changes nothing returns the very same `Score`. Nothing here knows about windows, pixels or undo.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.score.score import NOTE, Score
from engine.score.timing import BarGrid

Rows = NDArray[np.intp]
LOWEST, HIGHEST = 0, 127  # MIDI note numbers


class Edited(NamedTuple):
    """A score after an edit, and the rows in which the edited notes lie in it."""

    score: Score
    rows: Rows


@dataclass(frozen=True, slots=True, eq=False)
class Clip:
    """Notes on the clipboard: ticks count from the earliest of them, in `ticks_per_quarter` of their own."""

    ticks_per_quarter: int
    notes: NDArray[np.void]  # NOTE


def insert(score: Score, notes: NDArray[np.void]) -> Edited:
    """Add notes; their rows are those of the added ones."""
    if not len(notes):
        return Edited(score, _rows([]))
    return _rebuilt(
        score, np.concatenate([score.notes, notes]), np.arange(len(score.notes), len(score.notes) + len(notes))
    )


def delete(score: Score, rows: ArrayLike) -> Score:
    """Remove the notes of `rows`."""
    rows = _rows(rows)
    return replace(score, notes=np.delete(score.notes, rows)) if len(rows) else score


def move(score: Score, rows: ArrayLike, ticks: int, semitones: int = 0) -> Edited:
    """Shift the notes as a group; a shift that would leave the range goes as far as the group can."""
    rows = _rows(rows)
    if not len(rows):
        return Edited(score, rows)
    chosen = score.notes[rows]
    pitch = chosen["pitch"].astype(np.int64)
    ticks = max(int(ticks), -int(chosen["tick"].min()))
    semitones = int(np.clip(semitones, LOWEST - pitch.min(), HIGHEST - pitch.max()))
    if not ticks and not semitones:
        return Edited(score, rows)
    return _with(score, rows, tick=chosen["tick"] + ticks, pitch=pitch + semitones)


def transpose(score: Score, rows: ArrayLike, semitones: int) -> Edited:
    """Shift pitches; a group that would leave the range does not move."""
    rows = _rows(rows)
    return _repitched(score, rows, score.notes["pitch"][rows].astype(np.int64) + semitones)


def transpose_in_scale(score: Score, rows: ArrayLike, steps: int, scale: frozenset[int]) -> Edited:
    """Shift by steps of `scale` (pitch classes, 0 is C); a note between two first takes the nearer."""
    rows = _rows(rows)
    ladder = np.array([p for p in range(LOWEST, HIGHEST + 1) if p % 12 in scale], dtype=np.int64)
    if not steps or not len(ladder):
        return Edited(score, rows)
    pitch = score.notes["pitch"][rows].astype(np.int64)
    rung = np.searchsorted(ladder, pitch, side="left" if steps > 0 else "right") - (steps < 0)
    between = ~np.isin(pitch, ladder)
    rung = rung + steps - np.where(between, np.sign(steps), 0)
    if len(rung) and (rung.min() < 0 or rung.max() >= len(ladder)):
        return Edited(score, rows)
    return _repitched(score, rows, ladder[rung])


def resize(
    score: Score, rows: ArrayLike, ticks: int, edge: Literal["start", "end"] = "end", minimum: int = 1
) -> Edited:
    """Move one edge of every note by `ticks`; no note gets shorter than `minimum` unless it already was."""
    rows = _rows(rows)
    chosen = score.notes[rows]
    shortest = np.minimum(np.maximum(chosen["duration"], 0), minimum)
    if edge == "end":
        return _with(score, rows, duration=np.maximum(chosen["duration"] + ticks, shortest))
    shift = np.clip(ticks, -chosen["tick"], chosen["duration"] - shortest)
    return _with(score, rows, tick=chosen["tick"] + shift, duration=chosen["duration"] - shift)


def set_velocity(score: Score, rows: ArrayLike, velocity: ArrayLike) -> Edited:
    """Give the notes one velocity, or one each; values outside 1 to 127 take the nearest in it."""
    rows = _rows(rows)
    return _with(score, rows, velocity=np.clip(np.broadcast_to(velocity, rows.shape), 1, 127))


def shift_velocity(score: Score, rows: ArrayLike, by: int) -> Edited:
    """Make the notes louder or softer by `by`, each within 1 to 127."""
    rows = _rows(rows)
    return set_velocity(score, rows, score.notes["velocity"][rows].astype(np.int64) + by)


def set_track(score: Score, rows: ArrayLike, track: int) -> Edited:
    """Put the notes on another track."""
    rows = _rows(rows)
    return _with(score, rows, track=np.full(len(rows), track))


def to_grid(
    ticks: ArrayLike, grid: BarGrid, step: float, rounding: Literal["nearest", "down", "up"] = "nearest"
) -> NDArray[np.int64]:
    """The place of the grid for each tick: multiples of `step` ticks counted from every bar line, and the bar lines."""
    t = np.asarray(ticks, dtype=np.float64)
    bar = grid.bar_of(t)
    start = grid.starts[bar]
    steps = (t - start) / step
    turned = {"nearest": np.round(steps), "down": np.floor(steps + 1e-9), "up": np.ceil(steps - 1e-9)}[rounding]
    within = turned * step
    line = np.where(bar < len(grid) - 1, grid.starts[bar + 1] - start, np.inf)
    place = np.minimum(within, line)
    if rounding == "nearest":  # in a bar that is no multiple of the step, its end may be nearer
        place = np.where(np.abs(line - (t - start)) < np.abs(place - (t - start)), line, place)
    out: NDArray[np.int64] = np.round(start + place).astype(np.int64)
    return out


def quantise(
    score: Score, rows: ArrayLike, grid: BarGrid, step: float, strength: float = 1.0, swing: float = 0.0,
    ends: bool = False,
) -> Edited:  # fmt: skip
    """Pull onsets to the grid by `strength` (1: onto it); lengths are kept, unless `ends` go to the grid too.

    `swing` (0 to 0.5) delays every second step of a bar by that share of a step.
    """
    rows = _rows(rows)
    tick, duration = score.notes["tick"][rows], score.notes["duration"][rows]
    onset = np.maximum(tick + _pull(tick, grid, step, strength, swing), 0)
    if not ends:
        return _with(score, rows, tick=onset)
    end = tick + duration
    end = np.maximum(end + _pull(end, grid, step, strength, swing), onset + max(round(step / 4), 1))
    return _with(score, rows, tick=onset, duration=end - onset)


def _pull(tick: NDArray[np.int64], grid: BarGrid, step: float, strength: float, swing: float) -> NDArray[np.int64]:
    """How far each tick moves towards the grid."""
    place = to_grid(tick, grid, step)
    if swing:  # the nearest of the swung places around
        below = to_grid(tick, grid, step, "down")
        around = np.stack([to_grid(below - 1, grid, step, "down"), below, to_grid(tick, grid, step, "up")])
        odd = np.round((around - grid.starts[grid.bar_of(around)]) / step).astype(np.int64) % 2 == 1
        around = np.maximum(around + np.where(odd, round(swing * step), 0), 0)
        place = around[np.argmin(np.abs(around - tick), axis=0), np.arange(len(tick))]
    out: NDArray[np.int64] = np.round((place - tick) * strength).astype(np.int64)
    return out


def ramp_velocity(score: Score, rows: ArrayLike) -> Edited:
    """Let velocities run evenly from that of the first note to that of the last, by their place in time."""
    rows = _rows(rows)
    notes = score.notes[rows]
    if len(rows) < 3 or notes["tick"][0] == notes["tick"][-1]:
        return Edited(score, rows)
    ends = notes["tick"][[0, -1]], notes["velocity"][[0, -1]].astype(np.float64)
    return set_velocity(score, rows, np.round(np.interp(notes["tick"], *ends)).astype(np.int64))


def duplicate(score: Score, rows: ArrayLike, ticks: int, semitones: int = 0) -> Edited:
    """Add a copy of the notes shifted as `move` shifts; its rows are those of the copy."""
    rows = _rows(rows)
    added = insert(score, score.notes[rows])
    if not ticks and not semitones:
        return added
    return move(added.score, added.rows, ticks, semitones)


def copy(score: Score, rows: ArrayLike) -> Clip:
    """Take the notes of `rows` to a clipboard."""
    notes = score.notes[_rows(rows)].copy()
    if len(notes):
        notes["tick"] -= notes["tick"].min()
    return Clip(score.ticks_per_quarter, notes)


def paste(score: Score, clip: Clip, tick: int, track: int | None = None) -> Edited:
    """Insert a clip so that its earliest note lies at `tick`, on its own tracks or all on `track`."""
    notes = clip.notes.copy()
    ratio = score.ticks_per_quarter / clip.ticks_per_quarter
    notes["tick"] = np.round(notes["tick"] * ratio).astype(np.int64) + tick
    notes["duration"] = np.round(notes["duration"] * ratio).astype(np.int64)
    last = max(len(score.tracks) - 1, 0)
    notes["track"] = np.minimum(notes["track"], last) if track is None else track
    return insert(score, notes)


def _rows(rows: ArrayLike) -> Rows:
    return np.unique(np.asarray(rows, dtype=np.intp))


def _repitched(score: Score, rows: Rows, pitch: NDArray[np.int64]) -> Edited:
    if len(pitch) and (pitch.min() < LOWEST or pitch.max() > HIGHEST):
        return Edited(score, rows)
    return _with(score, rows, pitch=pitch)


def _with(score: Score, rows: Rows, **fields: NDArray[np.int64]) -> Edited:
    """Replace fields of the notes in `rows`; the same score where nothing differs."""
    if all(np.array_equal(score.notes[name][rows], values) for name, values in fields.items()):
        return Edited(score, rows)
    notes = score.notes.copy()
    for name, values in fields.items():
        notes[name][rows] = values
    return _rebuilt(score, notes, rows)


def _rebuilt(score: Score, notes: NDArray[np.void], marked: Rows) -> Edited:
    notes = np.asarray(notes, dtype=NOTE)
    is_marked = np.zeros(len(notes), dtype=bool)
    is_marked[marked] = True
    order = np.lexsort((notes["pitch"], notes["track"], notes["tick"]))
    return Edited(replace(score, notes=notes[order]), np.flatnonzero(is_marked[order]))
