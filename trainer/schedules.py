"""Step to learning rate and to KL weight. Pure functions."""

from __future__ import annotations

DECAY = 0.25  # share of a run over which the learning rate falls to zero


def learning_rate(step: int, steps: int, peak: float, warmup: int) -> float:
    """Warm up linearly, hold, then fall linearly to zero over the last quarter (Zhai et al. 2022)."""
    rise = min((step + 1) / max(warmup, 1), 1.0)
    fall = min((steps - step) / max(steps * DECAY, 1), 1.0)
    return peak * min(rise, max(fall, 0.0))


def kl_warmup(step: int, steps: int, share: float) -> float:
    """0 to 1 over the first `share` of the run."""
    return min(step / max(steps * share, 1), 1.0)
