"""Scores of disentanglement over draws of pieces: the same figures as `engine.analysis`, many times at once.

Bins and ranks are those among the rows of all pieces; draws weigh the rows. In the draw of every piece once the scores
are exactly those of `disentanglement`. Knows no model.

N rows that belong to P pieces, R draws, D dimensions of a code, A attributes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.analysis.disentanglement import PER_BIN, Disentanglement, binned, bins_for, scored, significant
from trainer.evaluate.bootstrap import Draws

ROOM = 1 << 25  # counts held at once

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def scores(codes: Sequence[Floats], attributes: Sequence[Floats], draws: Draws) -> list[Disentanglement] | None:
    """Of every draw, from rows of each piece; None where there are too few rows to say anything."""
    z, a = np.concatenate(codes).astype(np.float64), np.concatenate(attributes).astype(np.float64)
    owner = np.repeat(np.arange(len(codes)), [len(c) for c in codes])
    known = np.isfinite(z).all(1) & np.isfinite(a).all(1)
    z, a, owner = z[known], a[known], owner[known]
    if len(z) < 2 * PER_BIN:
        return None
    bins = bins_for(len(z))
    in_z, in_a = binned(z, bins), binned(a, bins)
    rows = draws.sum(np.bincount(owner, minlength=draws.pieces))
    shared, among = information(in_z, in_a, owner, draws), information(in_a, in_a, owner, draws)
    squared, ranked = draws.correlation(z, a, owner) ** 2, draws.rank_correlation(z, a, owner)
    return [scored(shared[r], among[r], squared[r], significant(ranked[r], max(int(n), 3))) for r, n in enumerate(rows)]


def information(a: Ints, b: Ints, owner: Ints, draws: Draws) -> Floats:
    """(R, C, E) nats shared by binned columns of a (N, C) and b (N, E), corrected for chance (Miller 1955)."""
    wide = int(max(a.max(), b.max())) + 1
    exact = torch.float64 if len(draws.index) == 1 else torch.float32  # a figure itself, or what says how sure it is
    weights = torch.from_numpy(draws.weights).to(exact)
    rows = torch.from_numpy(draws.sum(np.bincount(owner, minlength=draws.pieces))).to(exact)[:, None]
    e, cells = b.shape[1], wide * wide
    at_once = max(ROOM // (max(len(weights), draws.pieces) * e * cells), 1)
    out = []
    for columns in np.split(a, range(at_once, a.shape[1], at_once), axis=1):
        c = columns.shape[1]
        pair = np.arange(c)[:, None] * e + np.arange(e)  # (c, E)
        flat = ((owner[:, None, None] * c * e + pair) * wide + columns[:, :, None]) * wide + b[:, None]
        each = np.bincount(flat.ravel(), minlength=draws.pieces * c * e * cells).reshape(draws.pieces, -1)
        counts = (weights @ torch.from_numpy(each).to(exact)).view(-1, c, e, wide, wide)
        joint = _entropy(counts.flatten(3), rows)
        out.append(_entropy(counts.sum(4), rows) + _entropy(counts.sum(3), rows) - joint)
    return torch.cat(out, 1).clamp(min=0).double().numpy()


def _entropy(counts: Tensor, rows: Tensor) -> Tensor:
    """(R, C, E) nats of counts (R, C, E, bins) that sum to rows (R, 1), with the Miller-Madow correction."""
    rows = rows[..., None].clamp(min=1)
    plain = rows.log() - torch.xlogy(counts, counts).sum(-1) / rows
    return plain + ((counts > 0).sum(-1) - 1) / (2 * rows)
