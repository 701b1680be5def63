"""The conditional prior over bars: what the next bar's fine latent may be, given the bars before it.

B pieces, N bars, Z the width of the fine level, W width, C components. A mixture of diagonal Gaussians whose
parameters come from causal attention over earlier bars; phrase and piece latents condition every bar.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.model.batch import PHRASE_BARS
from engine.model.latents import Normal, kl_to_standard

MAX_BARS = 64
COMPONENTS = 8


class BarPrior(nn.Module):
    """p(z_fine[k] | z_fine[<k], z_local, z_global, place in phrase)."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.z, width = c.latent_dim, c.prior_dim
        self.start = nn.Parameter(torch.zeros(c.latent_dim))
        self.inward = nn.Linear(c.latent_dim + c.local_dim + c.global_dim + 1, width)
        self.place = nn.Embedding(PHRASE_BARS, width)
        self.bar = nn.Embedding(MAX_BARS, width)
        layer = nn.TransformerEncoderLayer(
            width, c.heads_for(width), 2 * width, dropout=0.1, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, c.prior_layers, enable_nested_tensor=False)
        self.out = nn.Linear(width, COMPONENTS * (2 * c.latent_dim + 1))
        nn.init.normal_(self.out.weight, std=0.01)

    def forward(
        self, z_fine: Tensor, z_local: Tensor, z_global: Tensor, quarters: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mixture logits (B, N, C), means and log-variances (B, N, C, Z) of every bar given those before it.

        z_fine (B, N, Z), z_local (B, N, Zl) already spread over bars, z_global (B, Zg), quarters (B, N) bar lengths.
        """
        b, n, _ = z_fine.shape
        before = torch.cat([self.start.expand(b, 1, -1), z_fine[:, :-1]], 1)
        known = torch.cat([before, z_local, z_global[:, None].expand(-1, n, -1), quarters[..., None] / 4], -1)
        at = torch.arange(n, device=z_fine.device)
        x = self.inward(known) + self.place(at % PHRASE_BARS) + self.bar(at.clamp(max=MAX_BARS - 1))
        causal = torch.full((n, n), float("-inf"), device=x.device).triu(1)
        x = self.out(self.layers(x, mask=causal, is_causal=True))
        logits, rest = x.split([COMPONENTS, 2 * COMPONENTS * self.z], -1)
        mean, logvar = rest.view(b, n, COMPONENTS, 2, self.z).unbind(3)
        return logits, mean, 6 * torch.tanh(logvar / 6)

    def log_prob(self, z_fine: Tensor, z_local: Tensor, z_global: Tensor, quarters: Tensor) -> Tensor:
        """(B, N) log density of each bar's fine latent, in nats."""
        logits, mean, logvar = self(z_fine, z_local, z_global, quarters)
        square = (z_fine[:, :, None] - mean).pow(2) * (-logvar).exp()
        each = -0.5 * (square + logvar + math.log(2 * math.pi)).sum(-1)
        return torch.logsumexp(torch.log_softmax(logits, -1) + each, -1)


class LevelPriors(nn.Module):
    """p(z) of each level in the ELBO, as `ModelConfig.prior` says. The Gaussian has no parameters."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.kind = c.prior

    def divergence(self, level: str, q: Normal, z: Tensor) -> Tensor:
        """(rows,) nats of q above the prior of a level; `z` is a sample of q."""
        return kl_to_standard(q).sum(-1)
