"""Which latent dimensions say anything: what it costs to replace one, and how much the code moves it. Knows no loss.

K bars, Z the width of all levels side by side, R variants judged together.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from engine.model.latents import LEVELS
from engine.model.vaegan import MusicTransformerVAEGAN

ACTIVE_NATS = 0.01  # a bar: a dimension whose loss costs more is active
ACTIVE_VARIANCE = 0.01  # of its posterior mean over the data (Burda et al. 2016)
TOGETHER = 256  # bars decoded at once
DRAWS = 4096  # of a prior without a mean in closed form

Nats = Callable[[Tensor], Tensor]  # latents (R, K, Z) to the nats (R,) that K bars cost under each


@torch.no_grad()
def replacement_costs(z: Tensor, neutral: Tensor, nats: Nats) -> Tensor:
    """(Z,) nats per bar that the likelihood of K bars (K, Z) loses when one dimension is set to its `neutral` (Z,)."""
    k, width = z.shape
    at_rest = nats(z[None])
    costs = []
    for dimensions in torch.split(torch.arange(width, device=z.device), max(TOGETHER // k, 1)):
        variants = z.repeat(len(dimensions), 1, 1)  # (R, K, Z)
        variants[torch.arange(len(dimensions)), :, dimensions] = neutral[dimensions][:, None]
        costs.append((nats(variants) - at_rest) / k)
    return torch.cat(costs)


def varying(means: Tensor) -> Tensor:
    """(Z,) True where the posterior means (M, Z) of many bars have a variance above ACTIVE_VARIANCE."""
    return means.var(0) > ACTIVE_VARIANCE


@torch.no_grad()
def prior_mean(model: MusicTransformerVAEGAN) -> Tensor:
    """(Z,) where the priors of the fine, local and global level have their mean, side by side as the decoder reads."""
    if model.config.prior == "gaussian":
        return torch.zeros(model.config.latent_dim + model.config.local_dim + model.config.global_dim)
    noise = torch.Generator().manual_seed(0)
    means = [model.priors.sample(level, DRAWS, noise).mean(0) for level in reversed(LEVELS)]
    return torch.cat([m.cpu() for m in means])
