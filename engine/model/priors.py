"""The conditional prior over bars: what the next bar's fine latent may be, given the bars before it.

B pieces, N bars, Z the width of the fine level, W width, C components. A mixture of diagonal Gaussians whose
parameters come from causal attention over earlier bars; phrase and piece latents condition every bar.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.model.batch import PHRASE_BARS
from engine.model.upper_prior import UpperPrior

MAX_BARS = 64
COMPONENTS = 8
LOGVAR_BOUND = 6.0

Mixtures = tuple[Tensor, Tensor, Tensor]  # logits (..., C), means and log-variances (..., C, Z)
Cache = tuple[tuple[Tensor, Tensor], ...]  # of each layer: keys and values (B, H, N, W / H) of the bars so far


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
        self.upper = UpperPrior(c) if c.upper_prior == "fitted" and c.use_hierarchical else None

    def forward(self, z_fine: Tensor, z_local: Tensor, z_global: Tensor, quarters: Tensor) -> Mixtures:
        """Mixture logits (B, N, C), means and log-variances (B, N, C, Z) of every bar given those before it.

        z_fine (B, N, Z), z_local (B, N, Zl) already spread over bars, z_global (B, Zg), quarters (B, N) bar lengths.
        """
        b, n, _ = z_fine.shape
        before = torch.cat([self.start.expand(b, 1, -1), z_fine[:, :-1]], 1)
        x = self._inward(before, z_local, z_global, quarters, 0)
        causal = torch.full((n, n), float("-inf"), device=x.device).triu(1)
        return self.mixtures(self.layers(x, mask=causal, is_causal=True))

    def step(
        self, z_fine: Tensor, z_local: Tensor, z_global: Tensor, quarters: Tensor, cache: Cache | None = None
    ) -> tuple[Tensor, Cache]:
        """(B, W) what is known of the next bar alone, as `forward` has it, without dropout: for `mixtures`, `sample`.

        With a cache z_fine (B, 1, Z) is the last bar, z_local (B, 1, Zl) and quarters (B, 1) are those of the next one.
        Without one z_fine holds every bar so far (B, N, Z), none at first, the others those and the next (B, N + 1).
        """
        before, first = z_fine, 0 if cache is None else cache[0][0].shape[2]
        if cache is None:
            before = torch.cat([self.start.expand(len(z_fine), 1, -1), z_fine], 1)
        x = self._inward(before, z_local, z_global, quarters, first)
        grown = []
        for i, layer in enumerate(self.layers.layers):
            assert isinstance(layer, nn.TransformerEncoderLayer)
            x, kept = _continue(layer, x, None if cache is None else cache[i])
            grown.append(kept)
        return x[:, -1], tuple(grown)

    def mixtures(self, x: Tensor) -> Mixtures:
        """(..., W) to logits (..., C), means and log-variances (..., C, Z)."""
        logits, rest = self.out(x).split([COMPONENTS, 2 * COMPONENTS * self.z], -1)
        mean, logvar = rest.view(*x.shape[:-1], COMPONENTS, 2, self.z).unbind(-2)
        return logits, mean, _bounded(logvar)

    def sample(self, x: Tensor, generators: Sequence[torch.Generator], temperature: float = 1.0) -> Tensor:
        """(B, Z) on the CPU from (B, W), each row from its own generator; `temperature` scales the deviations.

        Only the chosen component is worked out: the others are most of the arithmetic of a step.
        """
        odds = torch.softmax(F.linear(x, self.out.weight[:COMPONENTS], self.out.bias[:COMPONENTS]), -1).cpu()
        drawn = []
        for row, noise in enumerate(generators):
            at = COMPONENTS + int(torch.multinomial(odds[row], 1, generator=noise)) * 2 * self.z
            chosen = slice(at, at + 2 * self.z)
            mean, logvar = F.linear(x[row], self.out.weight[chosen], self.out.bias[chosen]).cpu().chunk(2)
            spread = temperature * torch.exp(_bounded(logvar) / 2)
            drawn.append(mean + spread * torch.randn(self.z, generator=noise))
        return torch.stack(drawn)

    def _inward(self, before: Tensor, z_local: Tensor, z_global: Tensor, quarters: Tensor, first: int) -> Tensor:
        """(B, N, W) of bars `first` and after, from the bar before each."""
        n = before.shape[1]
        known = torch.cat([before, z_local, z_global[:, None].expand(-1, n, -1), quarters[..., None] / 4], -1)
        at = torch.arange(first, first + n, device=before.device)
        out: Tensor = self.inward(known) + self.place(at % PHRASE_BARS) + self.bar(at.clamp(max=MAX_BARS - 1))
        return out

    def log_prob(self, z_fine: Tensor, z_local: Tensor, z_global: Tensor, quarters: Tensor) -> Tensor:
        """(B, N) log density of each bar's fine latent, in nats."""
        logits, mean, logvar = self(z_fine, z_local, z_global, quarters)
        square = (z_fine[:, :, None] - mean).pow(2) * (-logvar).exp()
        each = -0.5 * (square + logvar + math.log(2 * math.pi)).sum(-1)
        return torch.logsumexp(torch.log_softmax(logits, -1) + each, -1)


def _bounded(logvar: Tensor) -> Tensor:
    return LOGVAR_BOUND * torch.tanh(logvar / LOGVAR_BOUND)


def _continue(
    layer: nn.TransformerEncoderLayer, x: Tensor, cached: tuple[Tensor, Tensor] | None
) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """One layer over N new bars (B, N, W) that see the cached ones and each other causally; and its longer cache."""
    a, (b, n, w) = layer.self_attn, x.shape
    inward = F.linear(layer.norm1(x), a.in_proj_weight, a.in_proj_bias)
    q, k, v = inward.view(b, n, 3, a.num_heads, w // a.num_heads).permute(2, 0, 3, 1, 4)
    if cached is not None:
        k, v = torch.cat([cached[0], k], 2), torch.cat([cached[1], v], 2)
    seen = torch.ones(n, k.shape[2], dtype=torch.bool, device=x.device).tril(k.shape[2] - n) if n > 1 else None
    attended = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
    x = x + a.out_proj(attended.transpose(1, 2).reshape(b, n, w))
    x = x + layer.linear2(F.gelu(layer.linear1(layer.norm2(x))))
    return x, (k, v)
