"""Where new phrases and pieces begin: a Gaussian over upper latents, fitted to those that music has.

Free bits let posteriors of the two upper levels be narrower than N(0, 1) without saying anything, so latents drawn
from N(0, 1) lie where no music is. Here a piece is drawn as pieces for so many parts in such a meter are, a phrase
given its piece and the phrase before.

B pieces, P phrases, G and L the widths of the two levels, D numbers that are told of a piece.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.model.batch import Bars

TOLD = 7  # numbers told of a piece
RIDGE = 1e-4  # added to variances and to the regression, so that both exist however little music there is


class UpperPrior(nn.Module):
    """p(z_global | told) and p(z_local[p] | z_global, z_local[p - 1]), lines with covariances; fitted, not trained."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        g, z = c.global_dim, c.local_dim
        self.lead: Tensor
        self.root: Tensor
        self.line: Tensor
        self.local_root: Tensor
        self.register_buffer("lead", torch.zeros(TOLD, g))
        self.register_buffer("root", torch.eye(g))  # lower triangle: root @ root.T is the covariance
        self.register_buffer("line", torch.zeros(2 + g + z, z))
        self.register_buffer("local_root", torch.eye(z))

    @torch.no_grad()
    def fit(self, told: Tensor, z_global: Tensor, z_local: Tensor) -> None:
        """To posterior means of pieces: (B, D) from `told_of_pieces`, (B, G) and (B, P, L)."""
        self.lead.copy_(_line(told, z_global))
        self.root.copy_(_root(z_global - told @ self.lead))
        known = torch.cat([self._known(z_global, before) for before in _before(z_local)])
        wanted = z_local.transpose(0, 1).flatten(0, 1)
        self.line.copy_(_line(known, wanted))
        self.local_root.copy_(_root(wanted - known @ self.line))

    def log_prob(self, told: Tensor, z_global: Tensor, z_local: Tensor) -> tuple[Tensor, Tensor]:
        """(B,) and (B, P) log densities in nats of latents (B, G) and (B, P, L)."""
        middle = torch.stack([self._known(z_global, before) @ self.line for before in _before(z_local)], 1)
        return _log_normal(z_global - told @ self.lead, self.root), _log_normal(z_local - middle, self.local_root)

    def sample(
        self, told: Tensor, phrases: int, generator: torch.Generator, temperature: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """(1, G) and (P, L) on the CPU for one new piece (1, D); `temperature` scales every deviation."""
        lead, root = self.lead.cpu(), self.root.cpu()
        z_global = told @ lead + temperature * torch.randn(1, len(root), generator=generator) @ root.T
        return z_global, self.follow(z_global, None, phrases, generator, temperature)

    def follow(
        self, z_global: Tensor, before: Tensor | None, phrases: int, generator: torch.Generator, temperature: float
    ) -> Tensor:
        """(P, L) on the CPU: phrases of a piece (1, G) that come after the phrase `before` (1, L), or begin it."""
        line, root = self.line.cpu(), self.local_root.cpu()
        z_local: list[Tensor] = []
        for _ in range(phrases):
            noise = torch.randn(1, len(root), generator=generator)
            before = self._known(z_global, before) @ line + temperature * noise @ root.T
            z_local.append(before)
        return torch.cat(z_local) if z_local else root.new_zeros(0, len(root))

    def _known(self, z_global: Tensor, before: Tensor | None) -> Tensor:
        """(B, 2 + G + L) what a phrase is told: 1, whether a phrase came before, its piece, and that phrase."""
        first = torch.zeros(len(z_global), 1 + self.line.shape[1], device=z_global.device)
        came = first if before is None else torch.cat([torch.ones_like(first[:, :1]), before], -1)
        return torch.cat([torch.ones_like(first[:, :1]), z_global, came], -1)


def told_of_pieces(bars: Bars) -> Tensor:
    """(B, D) of each piece of a batch: 1, how many parts it has (one, two, three, more), its first bar's meter."""
    owner = bars.piece[bars.phrase]
    first = torch.searchsorted(owner, torch.arange(bars.n_pieces, device=owner.device))
    parts = F.one_hot(bars.parts[first].sum(-1).long().clamp(1, 4) - 1, 4)
    meter = torch.stack([bars.clocks[first] / 96, bars.beat[first] / 24], -1)
    return torch.cat([torch.ones_like(meter[:, :1]), parts, meter], -1)


def _before(z_local: Tensor) -> list[Tensor | None]:
    return [None, *z_local.unbind(1)[:-1]]


def _log_normal(centred: Tensor, root: Tensor) -> Tensor:
    """(...,) log density of (..., Z) under a Gaussian about 0 whose covariance is root @ root.T."""
    white = torch.linalg.solve_triangular(root.T, centred, upper=True, left=False)
    out: Tensor = -0.5 * (white.square() + math.log(2 * math.pi)).sum(-1) - root.diagonal().log().sum()
    return out


def _line(known: Tensor, wanted: Tensor) -> Tensor:
    """The line from rows (R, D) to rows (R, Z) with the least squared error."""
    square = known.T @ known + RIDGE * len(known) * torch.eye(known.shape[1], device=known.device)
    out: Tensor = torch.linalg.solve(square, known.T @ wanted)
    return out


def _root(centred: Tensor) -> Tensor:
    """(Z, Z) lower triangle whose product with itself is the covariance of rows (R, Z)."""
    eye = torch.eye(centred.shape[1], device=centred.device)
    found: Tensor = torch.linalg.cholesky(centred.T @ centred / len(centred) + RIDGE * eye)
    return found
