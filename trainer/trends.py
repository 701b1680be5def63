"""Whether a series rises or falls, how fast, and how sure that is: tests without any assumption about its shape.

Mann-Kendall with ties, its variance corrected for autocorrelation (Hamed and Rao 1998), and Theil-Sen's slope with an
interval of the same variance (Sen 1968). Knows numbers only, and the log of a run. n points.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

SURE = 0.05  # two-sided p below which a direction is claimed
FEWEST = 4  # points without which there is no trend
MOST = 200  # points a trend is taken over; longer series are averaged down to as many
_NORMAL = NormalDist()

Series = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Trend:
    """What a series does over its steps. Slopes are per 1,000 steps."""

    direction: str  # "falls", "rises" or "steady": no direction that chance would not give
    p: float  # two-sided, that a series without a trend looks like this
    p_falling: float  # one-sided: small where it falls
    p_rising: float
    slope: float
    low: float  # bounds of the slope's 95 % interval
    high: float
    n: int  # points
    span: float  # steps from the first point to the last

    def words(self) -> str:
        """As one says it: "falls 0.12 per 1,000 steps (p .003)"."""
        by = "" if self.direction == "steady" else f" {abs(self.slope):.3g} per 1,000 steps"
        return f"{self.direction}{by} (p {self.p:.2g})"


def trend(steps: Iterable[float], values: Iterable[float]) -> Trend | None:
    """The trend of values over steps; None below FEWEST finite points."""
    x, y = np.asarray(list(steps), np.float64), np.asarray(list(values), np.float64)
    x, y = _averaged(x[np.isfinite(y)], y[np.isfinite(y)])
    n = len(y)
    if n < FEWEST:
        return None
    signs = np.sign(y[:, None] - y[None, :])
    score = float(np.tril(signs, -1).sum())
    slopes = _slopes(x, y)
    slope = float(np.median(slopes))
    spread = math.sqrt(_variance(y) * _inflation(y - slope * x))
    z = 0.0 if spread == 0 else (score - np.sign(score)) / spread  # corrected for continuity
    falling, rising = _NORMAL.cdf(z), _NORMAL.cdf(-z)
    p = min(2 * min(falling, rising), 1.0)
    reach = _NORMAL.inv_cdf(0.975) * spread
    low = slopes[max(math.floor((len(slopes) - reach) / 2) - 1, 0)]
    high = slopes[min(math.ceil((len(slopes) + reach) / 2), len(slopes) - 1)]
    direction = "steady" if p > SURE else "falls" if score < 0 else "rises"
    slope, low, high = (1000 * float(v) for v in (slope, low, high))
    return Trend(direction, p, falling, rising, slope, low, high, n, float(x[-1] - x[0]))


def _averaged(x: Series, y: Series) -> tuple[Series, Series]:
    """At most MOST points: means of runs of equal length."""
    run = -(-len(y) // MOST)
    if run <= 1:
        return x, y
    cuts = np.arange(0, len(y), run)
    count = np.diff(np.append(cuts, len(y)))
    return np.add.reduceat(x, cuts) / count, np.add.reduceat(y, cuts) / count


def _slopes(x: Series, y: Series) -> Series:
    """Sorted slopes between all pairs of points at different steps."""
    later, earlier = np.tril_indices(len(x), -1)
    run = x[later] - x[earlier]
    apart = run != 0
    return np.sort((y[later] - y[earlier])[apart] / run[apart]) if apart.any() else np.zeros(1)


def _variance(y: Series) -> float:
    """Of Kendall's score among n points without a trend, with ties."""
    n = len(y)
    ties = np.unique(y, return_counts=True)[1].astype(np.float64)
    return (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18


def _inflation(residuals: Series) -> float:
    """By how much neighbours that resemble each other widen that variance; never below 1, so that it only cautions.

    The autocorrelation of the ranks at lag i is taken to be r**i, with r that of lag 1 freed from the pull towards
    zero that few points and a fitted slope have: lag by lag, as first published, it is too noisy below 100 points.
    """
    n = len(residuals)
    ranks = np.sign(residuals[:, None] - residuals[None, :]).sum(1)
    square = float((ranks * ranks).sum())
    if square == 0:
        return 1.0
    first = float((ranks[1:] * ranks[:-1]).sum()) / square
    first = min(max((n * first + 2) / max(n - 4, 1), 0.0), 0.98)
    lags = np.arange(1, n - 2)
    weight = (n - lags) * (n - lags - 1) * (n - lags - 2)
    return 1 + 2 / (n * (n - 1) * (n - 2)) * float((weight * first**lags).sum())


def higher(a: Iterable[float], b: Iterable[float]) -> float:
    """One-sided p that values `a` are drawn no higher than values `b` (Mann-Whitney, normal approximation)."""
    one, two = np.asarray(list(a), np.float64), np.asarray(list(b), np.float64)
    wins = float((np.sign(one[:, None] - two[None, :]) + 1).sum() / 2)
    m, n = len(one), len(two)
    spread = math.sqrt(m * n * (m + n + 1) / 12)
    return _NORMAL.cdf(-(wins - m * n / 2 - 0.5) / spread) if spread else 1.0


def of_log(log: Path) -> dict[str, dict[str, Trend]]:
    """Trends of every term in a run's steps.jsonl: {"train": {term: trend}, "held_out": {term: trend}}."""
    series: dict[str, dict[str, tuple[list[float], list[float]]]] = {"train": {}, "held_out": {}}
    with log.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:  # a last line that was cut
                break
            for side, terms in series.items():
                for term, value in (row.get(side) or {}).items():
                    x, y = terms.setdefault(term, ([], []))
                    x.append(row["n"])
                    y.append(float("nan") if value is None else value)
    return {side: of_series(terms) for side, terms in series.items()}


def of_series(series: Mapping[str, tuple[list[float], list[float]]]) -> dict[str, Trend]:
    """The trend of every term that has enough points."""
    found = {term: trend(x, y) for term, (x, y) in series.items()}
    return {term: t for term, t in found.items() if t is not None}
