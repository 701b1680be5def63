"""What a bar is in a corpus: the notes of many files at once, cut into bars, packed small, digested and measured.

Equal for every file to `to_bars` and `measure`, in one pass over all of them. Knows neither disks nor processes.
F files, L lines, M notes, N bars of all files together.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.attributes import NAMES
from engine.score import Score
from engine.score.midi_quick import Line, Lines
from engine.score.timing import CLOCKS_PER_QUARTER, beat_clocks, stretches
from engine.tokens.vocab import PARTS, PITCHES
from trainer.corpus.measuring import Sorted

MICRO_UNIT = 1 / 100  # clocks
DURATION_UNIT = 1 / 16  # clocks
DIGEST = 16  # bytes that tell two pieces apart
KEY_BITS = 63  # of the number that notes are sorted by

CACHED_NOTE = np.dtype(
    [("onset", "u2"), ("duration", "u2"), ("micro", "i1"), ("pitch", "u1"), ("velocity", "u1"), ("part", "u1")]
)
CACHED_BAR = np.dtype([("first", "i8"), ("piece", "u4"), ("clocks", "u2"), ("beat", "u2")])
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Piece:
    """One file as bars; "first" and "piece" of `bars` count from 0. `meters` are {"4/4": bars}."""

    notes: NDArray[np.void]  # CACHED_NOTE
    bars: NDArray[np.void]  # CACHED_BAR
    digest: bytes  # of the notes in beats: equal music has equal digests, whatever its resolution or tempo
    parts: int  # how many parts play
    attributes: NDArray[np.float64]  # (12,)
    meters: dict[str, int]


def lines_of(score: Score) -> Lines:
    """A score as lines, for files that only the tolerant reader can read."""
    order = np.argsort(score.notes["track"], kind="stable")
    notes = score.notes[order]
    used, first = np.unique(notes["track"], return_index=True)
    lines = []
    for track, part in zip(used.tolist(), np.split(notes, first[1:]), strict=True):
        of = score.tracks[track]
        tick, duration = part["tick"], part["duration"]
        pitch, velocity = part["pitch"].astype(np.int8), part["velocity"].astype(np.int8)  # both up to 127
        lines.append(Line(of.name, of.program, of.is_drum, tick, duration, pitch, velocity))
    tempi = {0: 500_000} | {t.tick: t.microseconds for t in score.tempi}
    meters = [(m.tick, m.numerator, m.denominator) for m in score.meters]
    return Lines(score.ticks_per_quarter, lines, meters, (sorted(tempi), [tempi[t] for t in sorted(tempi)]))


def to_pieces(files: Sequence[Lines], measured: bool = True) -> list[Piece | None]:
    """Each file as a piece; None where it holds no note the model speaks of. Every file has a line.

    Without `measured` the attributes are left empty, which takes half the time.
    """
    if not files:
        return []
    notes, counts = _columns(files)
    grid = _Grid.of(files, notes["tick"], notes["duration"], counts)
    kept = (notes["part"] < len(PARTS)) & (notes["pitch"] - PITCHES.start < len(PITCHES))  # of bytes: none is below 0
    if not kept.all():
        counts = np.add.reduceat(kept, np.cumsum(counts) - counts, dtype=np.int64)
        notes = {name: column[kept] for name, column in notes.items()}
    return _pieces(*_in_bars(notes, counts, grid), grid, files, measured)


def _columns(files: Sequence[Lines]) -> tuple[dict[str, NDArray[Any]], Ints]:
    """All notes of all files, line by line, with their part (16: none the model knows); and (F,) how many each has."""
    every = [line for file in files for line in file.lines]
    counts = np.array([len(line.tick) for line in every])
    notes: dict[str, NDArray[Any]] = {
        "tick": np.concatenate([line.tick for line in every]),
        "duration": np.concatenate([line.duration for line in every]),
        "pitch": np.concatenate([line.pitch for line in every]).view(np.uint8),
        "velocity": np.concatenate([line.velocity for line in every]).view(np.uint8),
    }
    part = []
    for file in files:
        pitched = 0
        for line in file.lines:
            part.append(len(PARTS) if line.is_drum else min(pitched, len(PARTS)))
            pitched += not line.is_drum
    notes["part"] = np.repeat(np.array(part, np.uint8), counts)
    return notes, np.add.reduceat(counts, np.cumsum([0, *(len(f.lines) for f in files[:-1])]))


@dataclass(frozen=True, slots=True)
class _Grid:
    """The bars of all files behind one another: a file's ticks begin where those of the one before end."""

    base: Ints  # (F,) what is added to a file's ticks
    starts: Ints  # (N,) ticks, with the base
    clocks: Ints  # (N,)
    first: Ints  # (F,) first bar of each file
    beat: Ints  # (N,)
    resolution: Ints  # (F,) ticks a quarter
    runs: list[list[tuple[int, int, int, float, int]]]  # of each file: its stretches of one meter

    @classmethod
    def of(cls, files: Sequence[Lines], tick: Ints, duration: Ints, notes: Ints) -> _Grid:
        """Lay the bars of every file, as `BarGrid.of` does for one; `notes` (F,) is how many each file has."""
        firsts = np.cumsum(notes) - notes
        ends = np.maximum.reduceat(tick.astype(np.int64) + duration, firsts)
        lasts = np.maximum.reduceat(tick, firsts).tolist()
        runs = []
        for file, end, last in zip(files, ends.tolist(), lasts, strict=True):
            half_clock = file.ticks_per_quarter / CLOCKS_PER_QUARTER / 2
            runs.append(stretches(file.ticks_per_quarter, file.meters, max(end, int(last + half_clock) + 1, 1)))
        columns = zip(*(run for mine in runs for run in mine), strict=True)
        here, numerator, denominator, length, count = (np.array(column) for column in columns)
        per_file = np.array([len(mine) for mine in runs])
        last_run = np.cumsum(per_file) - 1
        resolution = np.array([f.ticks_per_quarter for f in files])
        final = here[last_run] + np.round(count[last_run] * length[last_run]).astype(np.int64)
        reach = np.maximum(final, ends) + resolution
        base = np.cumsum(reach) - reach
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        starts = np.repeat(here + np.repeat(base, per_file), count)
        starts += np.round(within * np.repeat(length, count)).astype(np.int64)
        bars = np.add.reduceat(count, last_run - per_file + 1)
        following = np.append(starts[1:], 0)
        following[np.cumsum(bars) - 1] = final + base
        exact = (following - starts) * CLOCKS_PER_QUARTER / np.repeat(resolution, bars)
        clocks = np.maximum(np.ceil(exact - 1e-6), 1).astype(np.int64)
        beat = np.repeat(beat_clocks(numerator, denominator), count)
        return cls(base, starts, clocks, np.cumsum(bars) - bars, beat, resolution, runs)


def _in_bars(notes: dict[str, NDArray[Any]], counts: Ints, grid: _Grid) -> tuple[NDArray[np.void], Any, Ints]:
    """The notes packed and sorted by (bar, onset, pitch, part), as `to_bars` does; durations in clocks; and (N,) how
    many are in each bar. `counts` (F,) is how many are in each file.
    """
    per_clock = np.repeat(grid.resolution / CLOCKS_PER_QUARTER, counts)
    early = np.floor(grid.resolution / CLOCKS_PER_QUARTER / 2 + 1e-9).astype(np.int64)  # belongs to the next bar
    tick = notes["tick"] + np.repeat(grid.base, counts)
    bar = np.searchsorted(grid.starts, tick + np.repeat(early, counts), side="right") - 1
    exact = (tick - grid.starts[bar]) / per_clock
    onset = np.minimum(np.floor(exact + 0.5), (grid.clocks - 1)[bar])
    onset = np.maximum(onset, 0, out=onset)
    duration = (notes["duration"] / per_clock).astype(np.float32)
    cached = np.empty(len(bar), CACHED_NOTE)
    cached["onset"], cached["pitch"], cached["velocity"], cached["part"] = (
        onset,
        notes["pitch"],
        notes["velocity"],
        notes["part"],
    )
    cached["micro"] = np.round((exact - onset).astype(np.float32) / MICRO_UNIT)
    cached["duration"] = np.minimum(np.round(duration / DURATION_UNIT), 65535)
    order = _order(bar, onset, notes["pitch"], notes["part"], grid.clocks)
    cached = cached.view(np.uint64)[order].view(CACHED_NOTE)  # a note is eight bytes
    return cached, duration[order], np.bincount(bar, minlength=len(grid.starts))


def _order(bar: Ints, onset: NDArray[Any], pitch: Any, part: Any, clocks: Ints) -> NDArray[np.intp]:
    """What sorts notes by (bar, onset, pitch, part), equals as they come; by one number each if it is wide enough."""
    before = np.cumsum(clocks) - clocks
    if int(before[-1] + clocks[-1]).bit_length() + 7 + 4 > KEY_BITS:
        return np.lexsort((part, pitch, onset, bar))
    key = before[bar] + onset.astype(np.int64)
    key <<= 11
    key += (pitch.astype(np.uint16) << 4) + part
    return np.argsort(key, kind="stable")


def _pieces(
    cached: NDArray[np.void],
    duration: NDArray[np.float32],
    count: Ints,
    grid: _Grid,
    files: Sequence[Lines],
    measured: bool,
) -> list[Piece | None]:
    table = np.empty(len(count), CACHED_BAR)
    table["first"], table["piece"] = np.cumsum(count) - count, 0
    table["clocks"], table["beat"] = np.minimum(grid.clocks, 65535), grid.beat
    attributes = np.full((len(files), len(NAMES)), np.nan)
    if measured:
        onset, pitch, velocity = cached["onset"].astype(np.int64), cached["pitch"].copy(), cached["velocity"].copy()
        attributes = Sorted(onset, pitch, velocity, duration, count, grid.clocks, grid.first).measure()
    notes = np.add.reduceat(count, grid.first)
    parts = _highest(cached["part"], notes)
    bars = [*grid.first.tolist(), len(count)]
    ends, out = np.cumsum(notes).tolist(), list[Piece | None]()
    for i, (end, n) in enumerate(zip(ends, notes.tolist(), strict=True)):
        if not n:
            out.append(None)
            continue
        mine, here = cached[end - n : end], slice(bars[i], bars[i + 1])
        table["first"][here] -= end - n
        filled = np.trim_zeros(count[here], "b")  # bars of rest at the end tell nothing
        digest = hashlib.sha256(filled.tobytes())
        digest.update(mine.tobytes())
        meters: Counter[str] = Counter()
        for _, numerator, denominator, _, times in grid.runs[i]:
            meters[f"{numerator}/{denominator}"] += times
        out.append(Piece(mine, table[here], digest.digest()[:DIGEST], parts[i] + 1, attributes[i], dict(meters)))
    return out


def _highest(part: NDArray[np.uint8], notes: Ints) -> list[int]:
    """(F,) the highest part of each file; 0 for files without notes."""
    out, some = np.zeros(len(notes), np.int64), notes > 0
    if len(part):
        out[some] = np.maximum.reduceat(part, (np.cumsum(notes) - notes)[some])
    return out.tolist()
