"""Diagonal Gaussians of the three latent levels: parameters, samples, divergence.

Z the width of a level; any leading shape.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

LEVELS = ("global", "local", "fine")


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

    def __init__(self, width: int, z: int) -> None:
        super().__init__()
        self.mean = nn.Linear(width, z)
        self.logvar = nn.Linear(width, z)
        nn.init.zeros_(self.logvar.weight)
        nn.init.constant_(self.logvar.bias, -1.0)

    def forward(self, x: Tensor, direct: Tensor | float = 0.0) -> Normal:
        """(..., W) to a Normal over (..., Z); `direct` is added to the mean."""
        return Normal(self.mean(x) + direct, 8 * torch.tanh(self.logvar(x) / 8))


def sample(q: Normal, generator: torch.Generator | None = None) -> Tensor:
    """A reparametrised sample (Kingma and Welling 2014)."""
    noise = torch.randn(q.mean.shape, generator=generator, device=q.mean.device, dtype=q.mean.dtype)
    return q.mean + noise * (q.logvar / 2).exp()


def kl_to_standard(q: Normal) -> Tensor:
    """(..., Z) divergence of each dimension from N(0, 1), in nats."""
    return 0.5 * (q.mean.pow(2) + q.logvar.exp() - 1 - q.logvar)


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
