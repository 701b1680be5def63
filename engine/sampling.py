"""Logits to notes: thresholds, counts held per onset, and common random numbers. NumPy only.

Noise is keyed by musical place (bar, onset, pitch, field), never by decoding step: a note that is inserted leaves its
neighbours' noise alone, and going back to a slider position restores the same notes.

K bars, T clocks, M rows (candidate cells), L positions tried at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.model.fields import N_PITCHES
from engine.tokens.bars import BAR_NOTE
from engine.tokens.vocab import PITCHES

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

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
    inside = np.arange(logits.shape[1]) < clocks[:, None]
    bar, onset, pitch = np.nonzero((logits > -margin) & inside[..., None])
    return Rows(bar, onset, pitch + PITCHES.start, logits[bar, onset, pitch].astype(np.float64), clocks)


def rows_at(logits: NDArray[np.float32], clocks: Ints, places: NDArray[np.integer]) -> Rows:
    """Every pitch at the given (bar, clock) pairs (P, 2), sorted: P * 88 rows."""
    bar, onset = places[:, 0].astype(np.int64), places[:, 1].astype(np.int64)
    pitch = np.tile(np.arange(N_PITCHES), len(places)) + PITCHES.start
    flat = logits[bar, onset].reshape(-1).astype(np.float64)
    return Rows(np.repeat(bar, N_PITCHES), np.repeat(onset, N_PITCHES), pitch, flat, clocks)


def hold_counts(logits: Floats, counts: Ints) -> Bools:
    """Of each onset's 88 pitches (L, P * 88) choose the `counts` (P,) likeliest."""
    grid = logits.reshape(len(logits), -1, N_PITCHES)
    ranked = np.sort(grid, axis=-1)
    at = np.clip(N_PITCHES - counts, 0, N_PITCHES - 1)
    cutoff = np.take_along_axis(ranked, np.broadcast_to(at[None, :, None], (len(grid), len(at), 1)), -1)
    chosen: Bools = grid >= cutoff
    tied = chosen.sum(-1) != counts
    if tied.any():  # equal logits at the cutoff: the lower pitches win
        order = np.argsort(-grid[tied], axis=-1, kind="stable")
        rank = np.argsort(order, axis=-1, kind="stable")
        chosen[tied] = rank < np.broadcast_to(counts, tied.shape)[tied][:, None]
    return chosen.reshape(logits.shape)


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
    columns = [uniform(seed, *key, c) for c in range(classes)]
    out: Floats = -np.log(-np.log(np.stack(columns, -1)))
    return out
