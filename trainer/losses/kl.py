"""What the latents cost: divergence of each level's posterior from the standard normal, with free bits above.

The weight of a term of this group is its beta; the loop warms it up.
"""

from __future__ import annotations

from torch import Tensor

from engine.model.latents import Normal, kl_to_standard
from trainer.losses.registry import Decoded, register


def _free(q: Normal, free_bits: float) -> Tensor:
    """Summed divergence in which no dimension's mean is pushed below `free_bits` (Kingma et al. 2016)."""
    return kl_to_standard(q).mean(0).clamp(min=free_bits).sum() * q.mean.shape[0]


@register("kl_fine", "kl", 0.03, "Keeps bar latents where a prior can find them.")
def kl_fine(d: Decoded) -> Tensor:
    """One latent a bar."""
    return kl_to_standard(d.posterior.q_fine).sum()


@register("kl_local", "kl", 0.2, "Makes the phrase latent say little, so that one sigma of it is a large step.")
def kl_local(d: Decoded) -> Tensor:
    """One latent a phrase of four bars."""
    return _free(d.posterior.q_local, d.config.free_bits)


@register("kl_global", "kl", 0.2, "Makes the piece latent say little, so that one sigma of it is a large step.")
def kl_global(d: Decoded) -> Tensor:
    """One latent a piece."""
    return _free(d.posterior.q_global, d.config.free_bits)
