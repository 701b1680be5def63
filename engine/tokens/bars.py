"""Score to bars of notes and back: what the bar VAE reads and writes.

A note keeps its exact place: `onset` counts whole clocks from the bar line, `micro` the rest.
Drum tracks, pitches outside 21-108 and tracks past the sixteenth are not modelled; they stay in the score.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.score.score import NOTE, Score
from engine.score.timing import CLOCKS_PER_QUARTER, BarGrid
from engine.tokens.vocab import PARTS, PITCHES

BAR_NOTE = np.dtype(
    [
        ("bar", "i4"),
        ("onset", "i2"),  # clocks from the bar line
        ("micro", "f4"),  # clocks, -0.5 to 0.5
        ("pitch", "u1"),
        ("duration", "f4"),  # clocks, ties across bars included
        ("velocity", "u1"),
        ("part", "u1"),  # 0 to 15, see `part_tracks`
    ]
)


def part_tracks(score: Score) -> NDArray[np.int64]:
    """Track index of each part: the first sixteen pitched tracks that hold notes, in track order."""
    used = np.flatnonzero(np.bincount(score.notes["track"]))
    pitched = [int(t) for t in used if not score.tracks[int(t)].is_drum]
    return np.array(pitched[: len(PARTS)], dtype=np.int64)


def is_modelled(score: Score) -> NDArray[np.bool_]:
    """(notes,) True where the model speaks for the note."""
    pitch = score.notes["pitch"]
    in_range = (pitch >= PITCHES.start) & (pitch < PITCHES.stop)
    return in_range & np.isin(score.notes["track"], part_tracks(score))


def _bar_of(ticks: NDArray[np.int64], grid: BarGrid) -> NDArray[np.int64]:
    """The bar whose clocks a tick is nearest to: half a clock before a bar line already belongs to the next bar."""
    half_clock = grid.ticks_per_quarter / CLOCKS_PER_QUARTER / 2
    return grid.bar_of(np.floor(ticks + half_clock + 1e-9).astype(np.int64))


def to_bars(score: Score, grid: BarGrid) -> NDArray[np.void]:
    """Modelled notes as BAR_NOTE, sorted by (bar, onset, pitch, part)."""
    out = _unsorted(score, grid)
    return out[_sorting(out)]


def rows_of(score: Score, grid: BarGrid) -> NDArray[np.intp]:
    """(M,) the row of `score.notes` behind each note of `to_bars`."""
    return np.flatnonzero(is_modelled(score))[_sorting(_unsorted(score, grid))]


def _sorting(bars: NDArray[np.void]) -> NDArray[np.intp]:
    return np.lexsort((bars["part"], bars["pitch"], bars["onset"], bars["bar"]))


def _unsorted(score: Score, grid: BarGrid) -> NDArray[np.void]:
    """Modelled notes as BAR_NOTE, in the score's order."""
    notes = score.notes[is_modelled(score)]
    per_clock = score.ticks_per_quarter / CLOCKS_PER_QUARTER
    bar = _bar_of(notes["tick"], grid)
    exact = (notes["tick"] - grid.starts[bar]) / per_clock
    onset = np.floor(exact + 0.5)
    onset = np.clip(onset, 0, grid.clocks[bar] - 1)
    out = np.zeros(len(notes), BAR_NOTE)
    out["bar"], out["onset"], out["micro"] = bar, onset, exact - onset
    out["pitch"], out["velocity"] = notes["pitch"], notes["velocity"]
    out["duration"] = notes["duration"] / per_clock
    out["part"] = np.searchsorted(part_tracks(score), notes["track"])
    return out


def from_bars(bars: NDArray[np.void], score: Score, grid: BarGrid) -> NDArray[np.void]:
    """BAR_NOTE back to NOTE in the ticks of `score`; exact for notes that came from it."""
    per_clock = score.ticks_per_quarter / CLOCKS_PER_QUARTER
    out = np.zeros(len(bars), NOTE)
    place = (bars["onset"].astype(np.float64) + bars["micro"]) * per_clock
    out["tick"] = np.maximum(grid.starts[bars["bar"]] + np.round(place).astype(np.int64), 0)
    out["duration"] = np.round(bars["duration"].astype(np.float64) * per_clock)
    out["pitch"], out["velocity"] = bars["pitch"], bars["velocity"]
    tracks = part_tracks(score)
    out["track"] = tracks[np.minimum(bars["part"], len(tracks) - 1)] if len(tracks) else 0
    return out


def replace_bars(score: Score, grid: BarGrid, bars: NDArray[np.void], where: NDArray[np.bool_]) -> NDArray[np.void]:
    """Notes of the score with the modelled notes of the bars in `where` (N,) replaced by `bars`.

    Everything the model does not speak for, and every other bar, is returned untouched.
    """
    keep = ~(is_modelled(score) & where[_bar_of(score.notes["tick"], grid)])
    return np.concatenate([score.notes[keep], from_bars(bars[where[bars["bar"]]], score, grid)])
