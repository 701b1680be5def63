"""Diagonal Gaussians of the three latent levels: parameters, samples, divergence.

Z the width of a level; any leading shape.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEVELS = ("global", "local", "fine")
GAMMA = 0.5  # scale of normalised means; the mean divergence cannot fall below GAMMA^2 / 2 nats a dimension
MOMENTUM = 0.02  # of the running statistics: they follow about the last 50 batches


@dataclass(frozen=True, slots=True)
class Normal:
    """Mean and log-variance, (..., Z) each."""

    mean: Tensor
    logvar: Tensor


@dataclass(frozen=True, slots=True)
class Posterior:
    """What the encoder gives: q of each level, and the sample (or mean) the level below was conditioned on."""

    q_global: Normal  # (B, Z)
    q_local: Normal  # (P, Z)
    q_fine: Normal  # (K, Z)
    z_global: Tensor
    z_local: Tensor
    z_fine: Tensor


class Gaussian(nn.Module):
    """Features to a diagonal Gaussian; log-variance is bounded softly so that no sample explodes."""

    def __init__(self, width: int, z: int, normalised: bool = False) -> None:
        super().__init__()
        self.mean = nn.Linear(width, z)
        self.logvar = nn.Linear(width, z)
        self.norm = MeanNorm(z) if normalised else None
        nn.init.zeros_(self.logvar.weight)
        nn.init.constant_(self.logvar.bias, -1.0)

    def forward(self, x: Tensor, direct: Tensor | float = 0.0) -> Normal:
        """(R, W) to a Normal over (R, Z); `direct` is added to the mean."""
        mean = self.mean(x) + direct
        return Normal(mean if self.norm is None else self.norm(mean), 8 * torch.tanh(self.logvar(x) / 8))


class MeanNorm(nn.Module):
    """Batch normalisation of posterior means with a fixed scale and a learned shift (BN-VAE, Zhu et al. 2020).

    Over a training batch the means of every dimension have deviation GAMMA, so no posterior can fall onto N(0, 1).
    Statistics are those of the process's own batch and do not gather across processes. In evaluation, in a frozen
    model and for a single row the running ones are used; only a pass with gradients moves them.
    """

    def __init__(self, z: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(z))
        self.mean: Tensor
        self.var: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.zeros(z))
        self.register_buffer("var", torch.ones(z))
        self.register_buffer("scale", torch.full((z,), GAMMA), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(R, Z) to (R, Z)."""
        learning = self.training and self.shift.requires_grad and len(x) > 1
        if learning and not torch.is_grad_enabled():  # a look, not a step
            return F.batch_norm(x, None, None, self.scale, self.shift, True)
        return F.batch_norm(x, self.mean, self.var, self.scale, self.shift, learning, MOMENTUM)


def sample(q: Normal, generator: torch.Generator | None = None) -> Tensor:
    """A reparametrised sample (Kingma and Welling 2014)."""
    noise = torch.randn(q.mean.shape, generator=generator, device=q.mean.device, dtype=q.mean.dtype)
    return q.mean + noise * (q.logvar / 2).exp()


def kl_to_standard(q: Normal) -> Tensor:
    """(..., Z) divergence of each dimension from N(0, 1), in nats."""
    return 0.5 * (q.mean.pow(2) + q.logvar.exp() - 1 - q.logvar)


def log_prob(q: Normal, z: Tensor) -> Tensor:
    """(...,) log density of z (..., Z) under q, in nats."""
    square = (z - q.mean).square() * (-q.logvar).exp()
    return -0.5 * (square + q.logvar + math.log(2 * math.pi)).sum(-1)


def mean_by(x: Tensor, index: Tensor, n: int) -> Tensor:
    """(n, W) mean of the rows of x (R, W) that share an index (R,)."""
    total = x.new_zeros(n, x.shape[-1]).index_add(0, index, x)
    count = torch.bincount(index, minlength=n).clamp(min=1)
    return total / count[:, None]


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """(R, Z) rows on the way from a to b along the arc between them (Shoemake 1985); straight where parallel."""
    length = a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True)
    angle = torch.acos(((a * b).sum(-1, keepdim=True) / length.clamp(min=1e-9)).clamp(-1, 1))
    sine = torch.sin(angle)
    arc = (torch.sin((1 - share) * angle) * a + torch.sin(share * angle) * b) / sine.clamp(min=1e-6)
    return torch.where((sine < 1e-3) | (length < 1e-9), torch.lerp(a, b, share), arc)
