"""The prior over bars: fine latents for the bars of a window that are not known, given those that are.

Flow matching (Lipman et al. 2023): noise at time 0 moves along straight lines to latents at time 1, and a transformer
over the bars of the window says how fast. Known bars stand among the others as they are, at time 1, so that one network
begins a piece, continues it, and fills a gap with what comes after it in view.

B windows, N bars (at most WINDOW), F the width of the fine level, C numbers that condition a bar, W width.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.model.batch import Bars
from engine.model.fields import N_PARTS
from engine.model.upper_prior import UpperPrior

WINDOW = 16  # bars that are drawn together
FREQUENCIES = 32  # of the embedding of time
EARLY = -0.3  # mean logit of the times it learns at: late ones differ by less than the decoder hears
HEARD = 0.6  # time at which the noise that is left is about that of a posterior sample


class BarPrior(nn.Module):
    """p(z_fine of the unknown bars | z_fine of the known ones, z_local, z_global, meters, parts, where it stands)."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        w = c.prior_dim
        self.mean: Tensor
        self.scale: Tensor
        self.frequency: Tensor
        self.register_buffer("mean", torch.zeros(c.latent_dim))
        self.register_buffer("scale", torch.ones(c.latent_dim))
        self.register_buffer("frequency", torch.logspace(0, 3, FREQUENCIES), persistent=False)
        self.inward = nn.Linear(c.latent_dim, w)
        self.condition = nn.Linear(2 + N_PARTS + c.local_dim + c.global_dim + 2 + 1, w)  # C, and whether known
        self.place = nn.Embedding(WINDOW, w)
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, w), nn.SiLU(), nn.Linear(w, w))
        self.modulate = _zero(nn.Linear(w, 6 * w))  # for all layers; each adds an offset of its own
        self.layers = nn.ModuleList(ModulatedLayer(w, c.heads_for(w)) for _ in range(c.prior_layers))
        self.modulate_out = _zero(nn.Linear(w, 2 * w))
        self.out = _zero(nn.Linear(w, c.latent_dim))
        self.upper = UpperPrior(c) if c.upper_prior == "fitted" and c.use_hierarchical else None

    @torch.no_grad()
    def fit(self, z_fine: Tensor) -> None:
        """Take the mean and deviation of each dimension from latents of music (R, F)."""
        self.mean.copy_(z_fine.mean(0))
        self.scale.copy_(z_fine.std(0).clamp(min=1e-3))

    def forward(self, x: Tensor, time: Tensor, told: Tensor, known: Tensor, there: Tensor) -> Tensor:
        """(B, N, F) velocity of latents x (B, N, F), in their own deviations, at time (B, N) from 0 to 1.

        told (B, N, C) from `told_of`; known and there (B, N) bool: bars that are given, and bars that exist at all.
        """
        angle = time[..., None] * self.frequency
        given = self.condition(torch.cat([told, known[..., None].to(told.dtype)], -1))
        c = self.time(torch.cat([angle.sin(), angle.cos()], -1)) + given
        h = self.inward(x) + c + self.place.weight[: x.shape[1]]
        c = F.silu(c)
        modulation = self.modulate(c)
        for layer in self.layers:
            h = layer(h, modulation, there[:, None, None])
        out: Tensor = self.out(_modulated(h, *self.modulate_out(c).chunk(2, -1)))
        return out

    def error(self, z_fine: Tensor, told: Tensor, known: Tensor, there: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """(B, N) mean squared error of the velocity at time (B, 1) on the line from noise to z_fine (B, N, F)."""
        x = (z_fine - self.mean) / self.scale
        at = torch.where(known, 1.0, time)
        velocity = self((1 - at[..., None]) * noise + at[..., None] * x, at, told, known, there)
        out: Tensor = (velocity - (x - noise)).square().mean(-1)
        return out

    def loss(self, z_fine: Tensor, told: Tensor, known: Tensor, there: Tensor, generator: torch.Generator) -> Tensor:
        """The mean error over unknown bars at random times (logit-normal, Esser et al. 2024)."""
        device = z_fine.device
        time = torch.sigmoid(EARLY + torch.randn(len(z_fine), 1, generator=generator, device=device))
        noise = torch.randn(z_fine.shape, generator=generator, device=device)
        unknown = (there & ~known).float()
        error = self.error(z_fine, told, known, there, time, noise)
        return (error * unknown).sum() / unknown.sum().clamp(min=1)

    @torch.no_grad()
    def nats(self, z_fine: Tensor, told: Tensor, there: Tensor, generator: torch.Generator, times: int = 16) -> Tensor:
        """(B,) upper bound on -log p(z_fine) per bar of whole windows, up to noise like a posterior sample's.

        The variational bound of a diffusion on this path (Kingma et al. 2021), its integral over the signal-to-noise
        ratio from 0 to that at HEARD taken at stratified times.
        """
        total = torch.zeros(len(z_fine), device=z_fine.device)
        nothing = torch.zeros_like(there)
        for i in range(times):
            low, high = HEARD * i / times, HEARD * (i + 1) / times
            time = low + (high - low) * torch.rand(len(z_fine), 1, generator=generator, device=z_fine.device)
            noise = torch.randn(z_fine.shape, generator=generator, device=z_fine.device)
            error = self.error(z_fine, told, nothing, there, time, noise) * (1 - time) ** 2  # of the latents themselves
            rate = 2 * time / (1 - time) ** 3  # of the signal-to-noise ratio t^2 / (1 - t)^2
            total += (0.5 * (high - low) * rate * error * z_fine.shape[-1] * there).sum(1)
        left = math.log(2 * math.pi * math.e * ((1 - HEARD) / HEARD) ** 2) / 2
        out: Tensor = total / there.sum(1) + (left + self.scale.log()).sum()
        return out

    @torch.no_grad()
    def draw(
        self,
        z_fine: Tensor,
        told: Tensor,
        known: Tensor,
        there: Tensor,
        noise: Tensor,
        steps: int,
        start: float = 0.0,
    ) -> Tensor:
        """z_fine (B, N, F) with its unknown bars drawn, the others as they were; noise (B, N, F) decides which.

        `start` is the time at which the unknown bars set out: above 0 they are variations of what stands in z_fine
        (Meng et al. 2022). Heun's method, in `steps` steps whose lengths shrink towards the end.
        """
        source = (z_fine - self.mean) / self.scale
        x = torch.where(known[..., None], source, (1 - start) * noise + start * source)
        for now, then in _grid(start, steps):
            first = self._at(x, now, told, known, there)
            second = self._at(x + (then - now) * first, then, told, known, there) if then < 1 else first
            x = x + (then - now) * (first + second) / 2 * ~known[..., None]
        return torch.where(known[..., None], z_fine, x * self.scale + self.mean)

    def _at(self, x: Tensor, time: float, told: Tensor, known: Tensor, there: Tensor) -> Tensor:
        out: Tensor = self(x, torch.where(known, 1.0, time), told, known, there)
        return out


class ModulatedLayer(nn.Module):
    """A transformer layer whose norms and residuals are scaled and shifted by a condition (Peebles and Xie 2023)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inward = nn.Linear(width, 3 * width)
        self.outward = _zero(nn.Linear(width, width))
        self.up = nn.Linear(width, 4 * width)
        self.down = _zero(nn.Linear(4 * width, width))
        self.offset = nn.Parameter(torch.zeros(6 * width))

    def forward(self, x: Tensor, modulation: Tensor, mask: Tensor) -> Tensor:
        """(B, N, W) from x and modulation (B, N, 6 W); mask (B, 1, 1, N) True for what may be seen."""
        b, n, w = x.shape
        scale, shift, gate, scale_2, shift_2, gate_2 = (modulation + self.offset).chunk(6, -1)
        q, k, v = self.inward(_modulated(x, scale, shift)).view(b, n, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + (1 + gate) * self.outward(attended.transpose(1, 2).reshape(b, n, w))
        h = F.gelu(self.up(_modulated(x, scale_2, shift_2)), approximate="tanh")
        out: Tensor = x + (1 + gate_2) * self.down(h)
        return out


def told_of(bars: Bars, rows: Tensor, z_local: Tensor, z_global: Tensor, begins: Tensor, ends: Tensor) -> Tensor:
    """(B, N, C) what is known of windows before any latent: rows (B, N) of `bars`, latents (P, L) and (B', G) of
    their phrases and pieces, begins and ends (B,) bool: whether the window has the piece's first bar, its last.
    """
    phrase = bars.phrase[rows]
    meter = torch.stack([bars.clocks[rows] / 96, bars.beat[rows] / 24], -1)
    edge = torch.stack([begins, ends], -1).float()[:, None].expand(-1, rows.shape[1], -1)
    upper = z_local[phrase], z_global[bars.piece[phrase]]
    return torch.cat([meter, bars.parts[rows], *upper, edge], -1)


def _grid(start: float, steps: int) -> list[tuple[float, float]]:
    """Pairs of times from `start` to 1."""
    times = [start + (1 - start) * i / steps for i in range(steps)] + [1.0]
    return list(pairwise(times))


def _modulated(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:]) * (1 + scale) + shift


def _zero(layer: nn.Linear) -> nn.Linear:
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
