"""How sure a figure is: pieces are drawn again with replacement, because bars of one piece are not independent.

NumPy only; knows no figure. P pieces, R draws, Q pieces in a draw (with repetition), N rows that belong to pieces.
Whatever the figure is, a mean or a percentile of everything pooled, it is one function of draws: the figure itself is
the draw of every piece once, so an interval can never be about something else than its figure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

RESAMPLES = 1000
LEVEL = 0.95  # of the interval
SEED = 0
POOLED = 1 << 23  # values sorted at once

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Draws:
    """Some draws of pieces, and what is asked of them."""

    index: Ints  # (R, Q) the pieces of each draw
    pieces: int  # P

    @classmethod
    def plain(cls, pieces: int) -> Draws:
        """One draw: every piece once."""
        return cls(np.arange(pieces)[None], pieces)

    @classmethod
    def again(cls, pieces: int, draws: int, seed: int = SEED) -> Draws:
        """As many pieces as there are, with replacement."""
        return cls(np.random.default_rng(seed).integers(pieces, size=(draws, pieces)), pieces)

    @classmethod
    def without_one(cls, pieces: int) -> Draws:
        """P draws, each without one of the pieces (the jackknife)."""
        return cls(np.array([np.delete(np.arange(pieces), i) for i in range(pieces)]), pieces)

    @cached_property
    def weights(self) -> Floats:
        """(R, P) how often each piece is drawn."""
        r = len(self.index)
        flat = np.arange(r)[:, None] * self.pieces + self.index
        return np.bincount(flat.ravel(), minlength=r * self.pieces).reshape(r, self.pieces).astype(np.float64)

    def sum(self, values: NDArray[Any]) -> Floats:
        """(R, ...) of values (P, ...)."""
        flat = values.reshape(self.pieces, -1).astype(np.float64)
        out: Floats = (self.weights @ flat).reshape(-1, *values.shape[1:])
        return out

    def mean(self, values: Floats) -> Floats:
        """(R, ...) of values (P, ...), missing ones (NaN) left out; NaN where all that were drawn are missing."""
        known = np.isfinite(values)
        count = self.sum(known)
        out: Floats = np.where(count > 0, self.sum(np.where(known, values, 0.0)) / np.maximum(count, 1), np.nan)
        return out

    def quantile(self, values: Floats, shares: Sequence[float]) -> Floats:
        """(R, S) quantiles of values (P, V) taken together, interpolated; missing ones (NaN) left out."""
        at_once = max(POOLED // max(self.index.shape[1] * values.shape[1], 1), 1)
        out = []
        for index in np.split(self.index, range(at_once, len(self.index), at_once)):
            every = np.sort(values[index].reshape(len(index), -1), 1)  # NaN comes last
            last = np.isfinite(every).sum(1) - 1
            place = np.maximum(last, 0)[:, None] * np.asarray(shares)
            below, above = (np.take_along_axis(every, f(place).astype(np.int64), 1) for f in (np.floor, np.ceil))
            out.append(below + (place % 1) * (above - below))
        return np.concatenate(out)

    def count_between(self, values: Floats, low: Floats, high: Floats) -> Floats:
        """(R,) how many of values (P, V) lie between limits (R,) that each draw has of its own, both included."""
        return np.array(
            [((values >= a) & (values <= b)).sum(1) @ w for w, a, b in zip(self.weights, low, high, strict=True)]
        )

    def correlation(self, x: Floats, y: Floats, owner: Ints) -> Floats:
        """(R, D, E) Pearson of columns of x (N, D) and y (N, E) over the rows of the drawn pieces; constants have 0."""
        x, y = x - x.mean(0), y - y.mean(0)
        each = np.searchsorted(owner, np.arange(self.pieces + 1))  # owner ascends
        rows = [slice(a, b) for a, b in pairwise(each)]
        n = self.sum(np.diff(each))
        of_x, of_y = (self.sum(np.array([v[r].sum(0) for r in rows])) for v in (x, y))
        of_xx, of_yy = (self.sum(np.array([(v[r] ** 2).sum(0) for r in rows])) for v in (x, y))
        of_xy = self.sum(np.array([x[r].T @ y[r] for r in rows]))
        n = np.maximum(n, 1)[:, None]
        spread_x, spread_y = of_xx - of_x**2 / n, of_yy - of_y**2 / n
        shared = of_xy - of_x[:, :, None] * of_y[:, None] / n[..., None]
        still = (spread_x < 1e-12)[:, :, None] | (spread_y < 1e-12)[:, None]
        length = np.sqrt(np.maximum(spread_x, 0))[:, :, None] * np.sqrt(np.maximum(spread_y, 0))[:, None]
        out: Floats = np.where(still, 0.0, shared / np.where(still, 1.0, length))
        return out

    def rank_correlation(self, x: Floats, y: Floats, owner: Ints) -> Floats:
        """(R, D, E) Spearman. Ranks are those among all pieces' rows, which draws of many rows hardly change."""
        return self.correlation(rankdata(x, axis=0), rankdata(y, axis=0), owner)


Statistic = Callable[[Sequence[T], Draws], Mapping[str, Floats]]  # pieces and draws to (R,) of each figure


@dataclass(frozen=True)
class Interval:
    """A figure with the limits that hold it at LEVEL; None where one piece says nothing of others."""

    figure: float
    low: float | None
    high: float | None
    n: int  # pieces


@dataclass(frozen=True)
class Summary(Generic[T]):
    """Figures of many pieces as one function of draws. Calling it gives the figures themselves."""

    statistic: Statistic[T]
    counts: Callable[[T], bool]  # whether a piece takes part
    has: Callable[[T, str], bool]  # whether a piece that takes part has the figure of that name

    def __call__(self, found: Sequence[T]) -> dict[str, float]:
        """The figures of these pieces; what no piece has is left out."""
        some = [x for x in found if self.counts(x)]
        if not some:
            return {}
        plain = self.statistic(some, Draws.plain(len(some)))
        return {name: float(value[0]) for name, value in plain.items() if np.isfinite(value[0])}

    def intervals(self, found: Sequence[T], resamples: int = RESAMPLES) -> dict[str, Interval]:
        """The same figures with bias-corrected and accelerated limits (BCa, Efron 1987)."""
        some, figures = [x for x in found if self.counts(x)], self(found)
        n = {name: sum(self.has(x, name) for x in some) for name in figures}
        if len(some) < 2 or not resamples:
            return {name: Interval(value, None, None, n[name]) for name, value in figures.items()}
        drawn = self.statistic(some, Draws.again(len(some), resamples))
        left_out = self.statistic(some, Draws.without_one(len(some)))
        limits = {
            name: bca(value, drawn[name], left_out[name]) if n[name] > 1 else (None, None)
            for name, value in figures.items()
        }
        return {name: Interval(figures[name], *ends, n[name]) for name, ends in limits.items()}


def summary(
    counts: Callable[[Any], bool] = lambda _: True, has: Callable[[Any, str], bool] = lambda _, __: True
) -> Callable[[Statistic[T]], Summary[T]]:
    """Make a function of pieces and draws a `Summary`; `counts` says which pieces take part, `has` in which figure."""
    return lambda statistic: Summary(statistic, counts, has)


@summary(has=lambda figures, name: bool(np.isfinite(figures.get(name, np.nan))))
def means(figures: Sequence[Mapping[str, float]], draws: Draws) -> dict[str, Floats]:
    """The mean over pieces of each figure, pieces without it left out."""
    names = list(dict.fromkeys(name for f in figures for name in f))
    values = draws.mean(np.array([[f.get(name, np.nan) for name in names] for f in figures], np.float64))
    return dict(zip(names, values.T, strict=True))


def bca(figure: float, drawn: Floats, left_out: Floats) -> tuple[float | None, float | None]:
    """Limits from the figure in R draws and in P jackknife draws; draws without the figure (NaN) are left out."""
    drawn, left_out = drawn[np.isfinite(drawn)], left_out[np.isfinite(left_out)]
    if not len(drawn):
        return None, None
    below = ((drawn < figure).sum() + 0.5 * (drawn == figure).sum()) / len(drawn)
    bias = ndtri(np.clip(below, 0.5 / len(drawn), 1 - 0.5 / len(drawn)))
    off = left_out.mean() - left_out if len(left_out) else np.zeros(1)
    scale = float((off**2).sum() ** 1.5)
    skew = float((off**3).sum()) / (6 * scale) if scale > 1e-30 else 0.0
    ends = bias + ndtri(np.array([0.5 - LEVEL / 2, 0.5 + LEVEL / 2]))
    shares = ndtr(bias + ends / np.maximum(1 - skew * ends, 1e-6))
    low, high = np.quantile(drawn, shares)
    return float(low), float(high)
