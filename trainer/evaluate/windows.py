"""A few bars of music as something to compare: cut from pieces and corpora, put together at random, halved.

NumPy only; knows no model. N bars of a window, W windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.model.batch import PHRASE_BARS
from engine.model.fields import DURATIONS, VELOCITIES, duration_class, velocity_class
from engine.session import Piece
from trainer.corpus import Corpus

BARS = 8
PER_PIECE = 16  # windows of a piece that take part


@dataclass(frozen=True, slots=True, eq=False)
class Window:
    """Some bars in a row. Windows with the same `piece` are never on both sides of a split."""

    notes: NDArray[np.void]  # BAR_NOTE, bars 0 to N-1
    clocks: NDArray[np.int64]  # (N,) length of each bar
    beat: NDArray[np.int64]  # (N,) clocks in a beat
    parts: int = 2
    piece: int = 0
    first: int = 0  # the bar of the piece it begins with


def of_piece(piece: Piece, bars: int = BARS, most: int = PER_PIECE) -> list[Window]:
    """Windows of an encoded piece that hold notes, beginning with a phrase."""
    clocks, beat = piece.conditions.clocks.numpy(), piece.conditions.beat.numpy()
    parts = int(piece.conditions.parts[0].sum())
    cut = [(rows, _between(piece.bars, rows)) for rows in _runs(len(piece), bars, most)]
    return [Window(notes, clocks[rows], beat[rows], parts, 0, int(rows[0])) for rows, notes in cut if len(notes)]


def of_corpus(corpus: Corpus, bars: int = BARS, most: int = PER_PIECE) -> list[Window]:
    """The same of every piece of a corpus; `piece` is its number there."""
    return of_pieces(corpus, range(len(corpus.pieces)), bars, most)


def of_pieces(corpus: Corpus, pieces: Iterable[int], bars: int = BARS, most: int = PER_PIECE) -> list[Window]:
    """The same of some of its pieces."""
    out = []
    for i in pieces:
        p = corpus.pieces[i]
        for run in _runs(p.bars, bars, most):
            rows = p.first_bar + run
            table, notes = corpus.bars[rows], corpus.read(rows)
            if len(notes):
                clocks, beat = table["clocks"].astype(np.int64), table["beat"].astype(np.int64)
                out.append(Window(notes, clocks, beat, p.parts, i, int(run[0])))
    return out


def _runs(n: int, bars: int, most: int) -> list[NDArray[np.int64]]:
    """Rows of at most so many windows, spread over n bars."""
    starts = np.arange(0, n - bars + 1, PHRASE_BARS)
    chosen = starts[np.unique(np.linspace(0, len(starts) - 1, min(most, len(starts))).round().astype(int))]
    return [np.arange(start, start + bars) for start in chosen]


def _between(notes: NDArray[np.void], rows: NDArray[np.int64]) -> NDArray[np.void]:
    ends = np.searchsorted(notes["bar"], [rows[0], rows[-1] + 1])
    out = notes[ends[0] : ends[1]].copy()
    out["bar"] -= rows[0]
    return out


def shuffled(windows: Sequence[Window], seed: int) -> list[Window]:
    """The bars of each piece's windows in random order; a bar only takes the place of one as long."""
    rng = np.random.default_rng(seed)
    bars = [np.split(w.notes, np.searchsorted(w.notes["bar"], np.arange(1, len(w.clocks)))) for w in windows]
    places: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for i, w in enumerate(windows):
        for k, clocks in enumerate(w.clocks):
            places[w.piece, int(clocks)].append((i, k))
    put = [list(b) for b in bars]
    for held in places.values():
        for (i, k), at in zip(held, rng.permutation(len(held)), strict=True):
            j, other = held[at]
            put[i][k] = bars[j][other].copy()
            put[i][k]["bar"] = k
    return [replace(w, notes=np.concatenate(b)) for w, b in zip(windows, put, strict=True)]


def halves(windows: Sequence[Window], seed: int) -> tuple[list[Window], list[Window]]:
    """Two halves of the windows of every piece, drawn at random."""
    rng = np.random.default_rng(seed)
    order = sorted(rng.permutation(len(windows)), key=lambda i: windows[i].piece)
    return [windows[i] for i in order[::2]], [windows[i] for i in order[1::2]]


def stacked(windows: Sequence[Window]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """All notes, with bars numbered through all windows (W * N), and the length of every bar.

    Velocities and durations are those the model has classes for, and there is no micro-shift, so that a difference
    between two sets of windows is not just that one was written by a decoder.
    """
    starts = np.cumsum([0, *(len(w.clocks) for w in windows[:-1])])
    notes = np.concatenate([w.notes for w in windows])
    notes["bar"] += np.repeat(starts, [len(w.notes) for w in windows]).astype(np.int32)
    notes["velocity"] = VELOCITIES[velocity_class(notes["velocity"])].round()
    notes["duration"] = DURATIONS[duration_class(notes["duration"])]
    notes["micro"] = 0
    return notes, np.concatenate([w.clocks for w in windows])
