"""Which classes a draw may choose from: temperature, top-k and top-p, on any vector of logits. NumPy only."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def filter_logits(logits: Floats, temperature: float = 1.0, top_k: int = 0, top_p: float = 1.0) -> NDArray[np.float64]:
    """(..., C) logits divided by the temperature, -inf where a class is out of the draw.

    Temperature 0 leaves the likeliest class alone, `top_k` so many of the likeliest (0: all), and `top_p` the fewest
    whose probability reaches it (nucleus, Holtzman et al. 2020); at least one class stays. Of equal logits the first
    wins.
    """
    out = np.array(logits, np.float64)
    order = np.argsort(-out, axis=-1, kind="stable")
    ranked = np.take_along_axis(out, order, -1)
    if temperature > 0:
        out, ranked = out / temperature, ranked / temperature
    keep = np.ones(out.shape, bool)
    if temperature <= 0 or top_k > 0:
        keep[..., (top_k if temperature > 0 else 1) :] = False
    if top_p < 1:
        share = np.exp(ranked - ranked[..., :1]) * keep
        before = np.cumsum(share, -1) - share
        keep &= before < top_p * share.sum(-1, keepdims=True)
        keep[..., 0] = True
    np.put_along_axis(out, order, np.where(keep, ranked, -np.inf), -1)
    return out


def probabilities(logits: Floats) -> NDArray[np.float64]:
    """(..., C) what the logits say, as shares of 1; -inf is 0."""
    share = np.exp(logits - logits.max(-1, keepdims=True))
    out: NDArray[np.float64] = share / share.sum(-1, keepdims=True)
    return out
