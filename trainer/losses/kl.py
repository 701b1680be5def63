"""What the latents cost: divergence of each level's posterior from its prior, with free bits above.

The weight of a term of this group is its beta; the loop warms it up. R rows of a level, D dimensions that its prior
tells apart.
"""

from __future__ import annotations

from torch import Tensor

from engine.model.latents import Normal, kl_to_standard
from trainer.losses.registry import Decoded, register

# None is balanced by uncertainty weighting: betas set the rate, and a weight that follows 1 / KL would undo them.


def _nats(d: Decoded, level: str) -> tuple[Tensor, int]:
    """(R, D) divergence of a level, and how many latent dimensions each of the D stands for."""
    q: Normal = getattr(d.posterior, f"q_{level}")
    if d.model is None:
        return kl_to_standard(q), 1
    nats = d.model.priors.by_dimension(level, q, getattr(d.posterior, f"z_{level}"))
    return nats, q.mean.shape[-1] // max(nats.shape[-1], 1)


def _free(d: Decoded, level: str, free_bits: float) -> Tensor:
    """Summed divergence whose mean over rows is not pushed below `free_bits` a dimension (Kingma et al. 2016).

    Where the prior does not tell dimensions apart, the whole level stays above `free_bits` times its width.
    """
    nats, stands_for = _nats(d, level)
    if not free_bits:
        return nats.sum()
    return nats.mean(0).clamp(min=free_bits * stands_for).sum() * nats.shape[0]


@register(
    "kl_fine",
    "kl",
    0.03,
    "Keeps bar latents where a prior can find them.",
    balanced=False,
    coupled="free bits count from the mean of all rows",
)
def kl_fine(d: Decoded) -> Tensor:
    """One latent a bar."""
    return _free(d, "fine", d.config.free_bits_fine)


@register(
    "kl_local",
    "kl",
    0.2,
    "Makes the phrase latent say little, so that one sigma of it is a large step.",
    balanced=False,
    coupled="free bits count from the mean of all rows",
)
def kl_local(d: Decoded) -> Tensor:
    """One latent a phrase of four bars."""
    return _free(d, "local", d.config.free_bits)


@register(
    "kl_global",
    "kl",
    0.2,
    "Makes the piece latent say little, so that one sigma of it is a large step.",
    balanced=False,
    coupled="free bits count from the mean of all rows",
)
def kl_global(d: Decoded) -> Tensor:
    """One latent a piece."""
    return _free(d, "global", d.config.free_bits)
