"""How well each attribute has a dimension of its own: MIG, DMIG, SAP, modularity, interpretability, SCC.

NumPy only; knows no model: any codes will do, latents or slider settings. What ar-vae (Pati and Lerch 2021) measures,
except that information and entropy are counted in bins of equal mass, with the Miller-Madow correction, instead of
estimated from neighbours. (The gap in nats agrees; the entropy of a continuous attribute, by which MIG is divided, is
log BINS here and grows with the number of samples there, so MIG is larger here.)

M samples, D dimensions of the code, A attributes. Information is in nats.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata, t

from engine.errors import MorphonyError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BINS = 20
PER_BIN = 5  # samples a cell of two binned columns should hold; fewer samples get fewer bins
SIGNIFICANT = 0.05  # rank correlations less certain than this count as none


@dataclass(frozen=True, slots=True, eq=False)
class Disentanglement:
    """Scores from 0 to 1, by attribute (A,) but for modularity; higher is better."""

    mig: Floats  # gap in mutual information between the two most informative dimensions (Chen et al. 2018)
    dmig: Floats  # the same where attributes depend on each other (Watcharasupat and Lerch 2021)
    sap: Floats  # gap in explained variance between the two best dimensions (Kumar et al. 2018)
    interpretability: Floats  # variance explained by the most informative dimension (Adel et al. 2018)
    scc: Floats  # largest absolute rank correlation with a dimension (Pati and Lerch 2021)
    modularity: float  # whether a dimension informs of one attribute only (Ridgeway and Mozer 2018)
    best: Ints  # the dimension with that rank correlation
    sign: Floats  # its sign, -1 or 1

    def means(self) -> dict[str, float]:
        """Every score, averaged over the attributes."""
        each = {name: float(getattr(self, name).mean()) for name in ("mig", "dmig", "sap", "interpretability", "scc")}
        return {**each, "modularity": self.modularity}


def disentanglement(codes: Floats, attributes: Floats, bins: int = BINS) -> Disentanglement:
    """All scores of codes (M, D) against attributes (M, A). Samples with a missing value are left out.

    Raises MorphonyError when too few samples are left to say anything.
    """
    known = np.isfinite(codes).all(1) & np.isfinite(attributes).all(1)
    codes, attributes = codes[known].astype(np.float64), attributes[known].astype(np.float64)
    if len(codes) < 2 * PER_BIN:
        raise MorphonyError(f"Disentanglement needs at least {2 * PER_BIN} samples, not {len(codes)}.")
    bins = bins_for(len(codes), bins)
    z, a = binned(codes, bins), binned(attributes, bins)
    shared, among = mutual_information(z, a), mutual_information(a, a)
    squared = correlation(codes, attributes) ** 2
    ranked = significant(correlation(rankdata(codes, axis=0), rankdata(attributes, axis=0)), len(codes))
    return scored(shared, among, squared, ranked)


def scored(shared: Floats, among: Floats, squared: Floats, ranked: Floats) -> Disentanglement:
    """All scores from information of dimensions and attributes (D, A), of attributes (A, A), squared and rank
    correlations (D, A).
    """
    best = np.abs(ranked).argmax(0)
    at_best = ranked[best, np.arange(ranked.shape[1])]
    return Disentanglement(
        mig=_per(_gap(shared), np.diag(among)),
        dmig=_per(_gap(shared), np.diag(among) - _dependent(shared, among)),
        sap=_gap(squared),
        interpretability=squared[shared.argmax(0), np.arange(shared.shape[1])],
        scc=np.abs(at_best),
        modularity=_modularity(shared),
        best=best,
        sign=np.where(at_best < 0, -1.0, 1.0),
    )


def bins_for(samples: int, most: int = BINS) -> int:
    """How many bins a column of so many samples gets."""
    return int(min(most, max((samples / PER_BIN) ** 0.5, 2)))


def binned(x: Floats, bins: int) -> Ints:
    """(M, C) the bin of every value of each column; bins hold about as many values each, equal values share one."""
    ranks = rankdata(x, "average", axis=0) - 0.5
    out: Ints = (ranks * bins / len(x)).astype(np.int64).clip(0, bins - 1)
    return out


def mutual_information(a: Ints, b: Ints) -> Floats:
    """(C, E) nats shared by the binned columns of a (M, C) and b (M, E), corrected for chance (Miller 1955).

    A column shares with itself its entropy, just as corrected.
    """
    wide, m = int(max(a.max(), b.max())) + 1, len(a)
    out = np.zeros((a.shape[1], b.shape[1]))
    column = np.arange(a.shape[1]) * wide * wide
    for e in range(b.shape[1]):
        joint = np.bincount((column + a * wide + b[:, e : e + 1]).ravel(), minlength=a.shape[1] * wide * wide)
        counts = joint.reshape(-1, wide, wide)  # (C, bins of a, bins of b)
        in_a, in_b = counts.sum(2), counts.sum(1)
        out[:, e] = _entropy(in_a, m) + _entropy(in_b, m) - _entropy(counts.reshape(len(counts), -1), m)
    return np.maximum(out, 0)


def _entropy(counts: NDArray[np.integer], m: int) -> Floats:
    """(C,) nats of rows of counts that sum to m, plus half a count for every bin in use but one (Miller-Madow)."""
    p = counts / m
    plain = -(p * np.log(np.where(p > 0, p, 1))).sum(1)
    out: Floats = plain + ((counts > 0).sum(1) - 1) / (2 * m)
    return out


def correlation(x: Floats, y: Floats) -> Floats:
    """(D, A) Pearson; 0 where a column is constant."""
    x, y = x - x.mean(0), y - y.mean(0)
    length = np.sqrt((x**2).sum(0))[:, None] * np.sqrt((y**2).sum(0))
    still = (np.ptp(x, axis=0) < 1e-9)[:, None] | (np.ptp(y, axis=0) < 1e-9)
    out: Floats = np.where(still, 0.0, x.T @ y / np.where(still, 1.0, length))
    return out


def significant(rho: Floats, m: int) -> Floats:
    """Correlations of m samples, those that chance gives in one case of twenty set to 0."""
    p = 2 * t.sf(np.abs(rho) * np.sqrt((m - 2) / np.maximum(1 - rho**2, 1e-12)), m - 2)
    out: Floats = np.where(p <= SIGNIFICANT, rho, 0.0)
    return out


def _gap(scores: Floats) -> Floats:
    """(A,) how far the best dimension is ahead of the next one."""
    ordered = np.sort(np.concatenate([scores, np.zeros_like(scores[:1])]), axis=0)
    out: Floats = ordered[-1] - ordered[-2]
    return out


def _per(gap: Floats, nats: Floats) -> Floats:
    return np.where(nats > 1e-9, gap / np.maximum(nats, 1e-9), 0.0).clip(0, 1)


def _dependent(shared: Floats, among: Floats) -> Floats:
    """(A,) what each attribute shares with the attribute whose own dimension is the runner-up; 0 where none is.

    DMIG(i) = (I(a_i, z_j) - I(a_i, z_k)) / H(a_i | a_l) with z_j, z_k the two most informative dimensions of a_i and
    a_l the attribute most informed by z_k: a gap that dependence between attributes makes impossible is not asked for.
    """
    out = np.zeros(shared.shape[1])
    if len(shared) < 2:
        return out
    own = shared.argmax(0)
    runner_up = np.argsort(shared, axis=0)[-2]
    for i, k in enumerate(runner_up):
        others = [j for j in range(len(own)) if j != i and own[j] == k]
        if others:
            out[i] = among[i, max(others, key=lambda j: shared[k, j])]
    return out


def _modularity(shared: Floats) -> float:
    """Mean over dimensions; one that informs of nothing scores 0, as in ar-vae."""
    square = shared**2
    most = square.max(1)
    spread = (square.sum(1) - most) / np.maximum(most * max(shared.shape[1] - 1, 1), 1e-30)
    return float(np.where(most > 0, 1 - spread, 0.0).mean())
