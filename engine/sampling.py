"""Logits to notes: thresholds, counts held per onset, filters, n-best, and common random numbers. NumPy only.

Noise is keyed by musical place (bar, onset, pitch, field), never by decoding step: a note that is inserted leaves its
neighbours' noise alone, and going back to a slider position restores the same notes.

K bars, T clocks, M rows (candidate cells), L positions tried at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.model.fields import N_PITCHES
from engine.tokens.bars import BAR_NOTE
from engine.tokens.vocab import PITCHES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Goal = Callable[[NDArray[np.void], Ints], Floats]  # BAR_NOTE and bar lengths (G,) to (G,): how far from what is wanted
Judge = Callable[[Bools], Floats]  # (L, M) chosen rows to (L, K): how far each bar is from what is wanted

ONSET, DURATION, VELOCITY, MICRO, PART = range(5)  # fields, as keys of the noise
MARGIN = 9.0  # cells further below the threshold than this are never candidates
_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Candidate cells of K bars, sorted by bar, then clock, then pitch."""

    bar: Ints  # (M,) 0 to K-1
    onset: Ints
    pitch: Ints  # MIDI
    logit: Floats  # above 0 is a note
    clocks: Ints  # (K,) length of each bar

    @property
    def place(self) -> Ints:
        """(M,) one number for each (bar, clock): rows of one onset share it."""
        return self.bar * (int(self.clocks.max(initial=1)) + 1) + self.onset

    def with_logits(self, logits: Floats) -> Rows:
        """The same cells with other logits (M,)."""
        return Rows(self.bar, self.onset, self.pitch, logits, self.clocks)

    def notes(self, chosen: Bools, durations: Floats | None = None) -> NDArray[np.void]:
        """BAR_NOTE of the chosen rows (L, M); bars of position l are numbered from l * K."""
        position, row = np.nonzero(chosen)
        out = np.zeros(len(row), BAR_NOTE)
        out["bar"] = position * len(self.clocks) + self.bar[row]
        out["onset"], out["pitch"] = self.onset[row], self.pitch[row]
        out["duration"] = 1.0 if durations is None else durations[row]
        return out


def rows_above(logits: NDArray[np.float32], clocks: Ints, margin: float = MARGIN) -> Rows:
    """Candidates of a grid (K, T, 88) of logits relative to the threshold; cells past a bar's end are left out."""
    cell = np.flatnonzero(logits > -margin)
    clock, pitch = np.divmod(cell, N_PITCHES)
    bar, onset = np.divmod(clock, max(logits.shape[1], 1))
    inside = onset < clocks[bar]
    if not inside.all():
        cell, bar, onset, pitch = cell[inside], bar[inside], onset[inside], pitch[inside]
    return Rows(bar, onset, pitch + PITCHES.start, logits.reshape(-1)[cell].astype(np.float64), clocks)


def rows_beside(bars: Sequence[Rows]) -> Rows:
    """Candidates of several bars, each given by itself."""
    bar = np.repeat(np.arange(len(bars)), [len(rows.bar) for rows in bars])
    onset, pitch = np.concatenate([b.onset for b in bars]), np.concatenate([b.pitch for b in bars])
    return Rows(bar, onset, pitch, np.concatenate([b.logit for b in bars]), np.concatenate([b.clocks for b in bars]))


def rows_at(logits: NDArray[np.float32], clocks: Ints, places: NDArray[np.integer]) -> Rows:
    """Every pitch at the given (bar, clock) pairs (P, 2), sorted: P * 88 rows."""
    bar, onset = places[:, 0].astype(np.int64), places[:, 1].astype(np.int64)
    pitch = np.tile(np.arange(N_PITCHES), len(places)) + PITCHES.start
    flat = logits[bar, onset].reshape(-1).astype(np.float64)
    return Rows(np.repeat(bar, N_PITCHES), np.repeat(onset, N_PITCHES), pitch, flat, clocks)


def hold_counts(logits: Floats, counts: Ints) -> Bools:
    """Of each onset's 88 pitches (L, P * 88) choose the `counts` (P,) likeliest, one or more; of equals the lower."""
    grid = logits.reshape(len(logits), -1, N_PITCHES)
    chosen = np.zeros(grid.size, bool)
    begins = np.arange(grid.size // N_PITCHES).reshape(grid.shape[:2]) * N_PITCHES  # of each onset, in `chosen`
    best = grid.argmax(-1)
    chosen[begins + best] = True
    most = np.argsort(-counts, kind="stable")[: int((counts > 1).sum())]
    rest, best, begins = (x.swapaxes(0, 1)[most] for x in (grid, best, begins))  # copies, onsets of many notes first
    for found in range(1, int(counts.max(initial=0))):
        n = int((counts > found).sum())
        rest, best, begins = rest[:n], best[:n], begins[:n]
        rest.reshape(-1)[np.arange(best.size) * N_PITCHES + best.reshape(-1)] = -np.inf
        best = rest.argmax(-1)
        chosen[begins + best] = True
    return chosen.reshape(logits.shape)


def rank_within(index: Ints, values: Floats) -> Ints:
    """(M,) 0 for the largest value among those that share an index, 1 for the next; equal ones in their order."""
    order = np.lexsort((-values, index))
    ranked = index[order]
    first = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]])) if len(order) else order
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    return rank


def likely_cells(rows: Rows, top_k: int, top_p: float, temperature: float) -> Bools:
    """(M,) the cells that sampling may choose: `engine.filters` for cells that sound or not independently.

    `top_k`: at most so many pitches of an onset, the likeliest (0: all). `top_p`: of those, the fewest cells of a bar
    that together hold this share of the notes it is expected to have.
    """
    kept = rank_within(rows.place, rows.logit) < (top_k or N_PITCHES)
    notes = np.where(kept, 1 / (1 + np.exp(-np.clip(rows.logit / temperature, -60, 60))), 0.0)
    order = np.lexsort((-notes, rows.bar))
    total = np.bincount(rows.bar, notes, minlength=len(rows.clocks))
    before = np.cumsum(notes[order]) - notes[order] - (np.cumsum(total) - total)[rows.bar[order]]
    kept[order] &= before < top_p * total[rows.bar[order]] - 1e-9
    return kept


def sampled(rows: Rows, keys: Ints, seed: int, temperature: float, top_k: int = 0, top_p: float = 1.0) -> Rows:
    """Cells with noise keyed by place added; `keys` (K,) are the bars' numbers in the piece.

    Cells that the filters leave out get no noise and fall out of its reach, not out of a slider's.
    """
    if temperature == 0:
        return rows
    noise = temperature * logistic(seed, keys[rows.bar], rows.onset, rows.pitch, ONSET)
    if not top_k and top_p >= 1:
        return rows.with_logits(rows.logit + noise)
    likely = likely_cells(rows, top_k, top_p, temperature)
    return rows.with_logits(np.where(likely, rows.logit + noise, np.minimum(rows.logit, 0) - MARGIN))


def n_best(logits: Floats, n: int) -> Bools:
    """(n or fewer, M) the likeliest joint choices of independent cells, exactly, the likeliest first.

    The first takes every cell above 0; each flip of a cell costs its |logit|, and the n cheapest sets of flips are
    found in order of their sum with a heap. Only the n - 1 cheapest cells can be part of them.
    """
    cells = np.argsort(np.abs(logits), kind="stable")[: max(n - 1, 0)]
    cost = np.abs(logits)[cells]
    found: list[tuple[int, ...]] = [()]
    heap: list[tuple[float, tuple[int, ...]]] = [(float(cost[0]), (0,))] if len(cells) else []
    while heap and len(found) < n:
        total, flips = heapq.heappop(heap)
        found.append(flips)
        following = flips[-1] + 1
        if following < len(cells):
            heapq.heappush(heap, (total + float(cost[following]), (*flips, following)))
            heapq.heappush(heap, (total + float(cost[following] - cost[flips[-1]]), (*flips[:-1], following)))
    chosen: Bools = np.tile(logits > 0, (len(found), 1))
    for row, flips in zip(chosen, found, strict=True):
        row[cells[list(flips)]] ^= True
    return chosen


def best_of(rows: Rows, logits: Floats, n: int, judge: Judge) -> Bools:
    """(M,) of the `n` likeliest choices in every bar the one its judge finds nearest; of equals the likeliest."""
    trials = np.tile(logits > 0, (n, 1))
    for bar in range(len(rows.clocks)):
        at = np.flatnonzero(rows.bar == bar)
        options = n_best(logits[at], n)
        trials[: len(options), at] = options
    best = judge(trials).argmin(0)  # (K,)
    chosen: Bools = trials[best[rows.bar], np.arange(len(rows.bar))]
    return chosen


def uniform(seed: int, *key: NDArray[np.integer] | int) -> Floats:
    """Reproducible uniforms in (0, 1) for every row of the key arrays (splitmix64, Steele et al. 2014)."""
    state = np.asarray((seed * 0x9E3779B97F4A7C15 + 0x1234567) & _MASK, np.uint64)
    with np.errstate(over="ignore"):
        for part in key:
            state = _mix(state + np.asarray(part).astype(np.uint64) * np.uint64(0xBF58476D1CE4E5B9))
    out: Floats = (np.asarray(state >> np.uint64(12)).astype(np.float64) + 0.5) / float(1 << 52)  # never 0, never 1
    return out


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def logistic(seed: int, *key: NDArray[np.integer] | int) -> Floats:
    """Logistic noise: added to a logit (times the temperature) it samples a Bernoulli cell."""
    u = uniform(seed, *key)
    out: Floats = np.log(u) - np.log1p(-u)
    return out


def gumbel(seed: int, classes: int, *key: NDArray[np.integer] | int) -> Floats:
    """(rows, classes) Gumbel noise: the argmax of logits plus noise is a sample (Maddison et al. 2014)."""
    rows = (np.asarray(part)[..., None] for part in key)
    out: Floats = -np.log(-np.log(uniform(seed, *rows, np.arange(classes))))
    return out
