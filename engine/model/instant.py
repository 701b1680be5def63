"""An instant style: a small VAE over the frozen model's latents of someone's music (MidiMe, Dinculescu et al. 2019).

Its code is eight sliders: a bar is moved along the way the small decoder takes as its code changes, and only by the
difference, so what the code does not speak of stays. And it knows where the style's bars lie: what is drawn from the
model's prior is carried there by the map between two Gaussians that moves it least (Knott and Smith 1984).

K bars, P phrases, B pieces, X = F + L + G widths of all levels beside each other, C = 8 code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from engine.config import ModelConfig
from engine.errors import MorphonyError
from engine.model.batch import Bars
from engine.model.latents import Normal, kl_to_standard, mean_by, sample
from engine.model.vaegan import beside

CODES = 8
HIDDEN = 64
FLOOR = -4.6  # of a log-variance: a tenth of the deviation that draws have
DOUBT = 4  # draws that count beside what was heard
SHRINK = 0.3  # of covariances towards their diagonal: a style may have fewer bars than there are latents
TINY = 1e-4

Latents = tuple[Tensor, Tensor, Tensor]  # z_global (B, G), z_local (P, L), z_fine (K, F)


class InstantStyle(nn.Module):
    """Bars' latents to a code and back, in units of what the prior draws. Straight at first, then bent by training."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        self.widths, x = widths, sum(widths)  # fine, local, global
        self.inward = nn.Linear(x, CODES)
        self.bend_in = nn.Sequential(nn.Linear(x, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, 2 * CODES))
        self.outward = nn.Linear(CODES, x)
        self.bend_out = nn.Sequential(nn.Linear(CODES, HIDDEN), nn.GELU(), nn.Linear(HIDDEN, x))
        for last in (self.bend_in[-1], self.bend_out[-1]):
            assert isinstance(last, nn.Linear)
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
        for name, start in {
            "logvar": torch.zeros(x),  # of what a code does not say
            "middle": torch.zeros(x),  # of what the prior draws
            "scale": torch.ones(x),
            "length": torch.ones(CODES),  # of one sigma of each slider, in the code's unit
            "there": torch.zeros(x),  # the middle of the style
            "turn": torch.eye(x),
        }.items():
            self.register_buffer(name, start)
        self.logvar: Tensor
        self.middle: Tensor
        self.scale: Tensor
        self.length: Tensor
        self.there: Tensor
        self.turn: Tensor

    @classmethod
    def of(cls, model: ModelConfig, tensors: Mapping[str, Tensor] | None = None) -> InstantStyle:
        """A new one for a model, or a saved one. Raises MorphonyError when saved tensors do not fit the model."""
        made = cls((model.latent_dim, model.local_dim, model.global_dim))
        if tensors is not None:
            wanted = {name: t.shape for name, t in made.state_dict().items()}
            if wanted != {name: t.shape for name, t in tensors.items()}:
                raise MorphonyError("This style does not fit the model: its latents have other sizes.")
            made.load_state_dict(dict(tensors))
        return made.eval().requires_grad_(False)

    # ---------------------------------------------------------------- learning

    @torch.no_grad()
    def begin(self, own: Tensor, drawn: Tensor, counts: tuple[int, int, int]) -> None:
        """Take the style's latents (R, X) and draws of the prior (R, X): units, principal components, where it lies.

        `counts` are the bars, phrases and pieces that the rows come from: few of them say little about how far others
        lie apart, so their variance is mixed with that of DOUBT draws.
        """
        self.middle.copy_(drawn.mean(0))
        self.scale.copy_(drawn.std(0).clamp(min=TINY))
        x, y = self.scaled(own), self.scaled(drawn)
        rank = min(CODES, *x.shape)
        _, size, axes = torch.pca_lowrank(x, rank, niter=8)
        axes, size = axes[:, :rank], (size[:rank] / len(x) ** 0.5).clamp(min=TINY)
        self.inward.weight[:rank] = (axes / size).T
        self.inward.bias[:rank] = -(x.mean(0) @ axes) / size
        self.outward.weight[:, :rank] = axes * size
        self.outward.bias.copy_(x.mean(0))
        left = (x - self.decode(self.encode(x).mean)).square().mean(0)
        known = torch.cat([torch.full((w,), float(n)) for w, n in zip(self.widths, counts, strict=True)])
        self.logvar.copy_(((known * left + DOUBT) / (known + DOUBT)).log().clamp(min=FLOOR))
        certain = 1 + (self.outward.weight.square() / self.logvar.exp()[:, None]).sum(0)  # exact while all is straight
        last = self.bend_in[-1]
        assert isinstance(last, nn.Linear)
        last.bias[CODES:] = 8 * torch.atanh((-certain.log() - FLOOR).clamp(-7, 7) / 8)
        self.there.copy_(x.mean(0))
        self.turn.copy_(_least(_covariance(y), _covariance(x)))

    def nats(self, own: Tensor, noise: torch.Generator) -> Tensor:
        """(R,) nats of latents (R, X) above a density of their units: the negative ELBO of the small VAE."""
        x = self.scaled(own)
        q = self.encode(x)
        return _gaussian(x, self.decode(sample(q, noise)), self.logvar) + kl_to_standard(q).sum(-1)

    def plain_nats(self, own: Tensor) -> Tensor:
        """(R,) the same for one who knows only what the prior draws, latent by latent."""
        x = self.scaled(own)
        return _gaussian(x, torch.zeros_like(x), torch.zeros_like(self.logvar))

    def explained(self, own: Tensor) -> float:
        """Share of the variance of latents (R, X) about the style's middle that their codes say."""
        x = self.scaled(own)
        left, all_of_it = x - self.decode(self.encode(x).mean), x - self.there
        return 1 - float(left.square().sum() / all_of_it.square().sum().clamp(min=TINY))

    # ---------------------------------------------------------------- moving

    def scaled(self, z: Tensor) -> Tensor:
        """(R, X) latents in units of what the prior draws."""
        return (z - self.middle) / self.scale

    def encode(self, x: Tensor) -> Normal:
        """q(code | bar), (R, C), of scaled latents (R, X)."""
        bent, logvar = self.bend_in(x).chunk(2, -1)
        return Normal(self.inward(x) + bent, FLOOR + 8 * torch.tanh(logvar / 8))

    def decode(self, code: Tensor) -> Tensor:
        """(R, X) scaled latents from codes (R, C)."""
        out: Tensor = self.outward(code) + self.bend_out(code)
        return out

    def moved(self, z: Latents, bars: Bars, sliders: Tensor) -> Latents:
        """Latents with the sliders (C,) off their rest, in sigma."""
        code = self.encode(self.scaled(beside(*z, bars))).mean
        return self._added(z, bars, self.decode(code + sliders * self.length) - self.decode(code))

    def carried(self, z: Latents, bars: Bars, strength: float) -> Latents:
        """Latents that were drawn from the prior, `strength` (0 to 1) of the way to where the style's lie."""
        x = self.scaled(beside(*z, bars))
        return self._added(z, bars, strength * (self.there + x @ self.turn - x))

    def _added(self, z: Latents, bars: Bars, change: Tensor) -> Latents:
        """A phrase and a piece go as far as their bars do on average."""
        fine, local, whole = torch.split(change * self.scale, list(self.widths), -1)
        of_phrase = mean_by(local, bars.phrase, len(z[1]))
        of_piece = mean_by(whole, bars.piece[bars.phrase], len(z[0]))
        return z[0] + of_piece, z[1] + of_phrase, z[2] + fine


def _gaussian(x: Tensor, mean: Tensor, logvar: Tensor) -> Tensor:
    """(R,) negative log density of rows (R, X)."""
    logvar = logvar.clamp(min=FLOOR)
    return 0.5 * ((x - mean).square() * (-logvar).exp() + logvar + math.log(2 * math.pi)).sum(-1)


def _covariance(x: Tensor) -> Tensor:
    """(X, X) of rows (R, X), shrunk."""
    square = (x - x.mean(0)).T @ (x - x.mean(0)) / len(x)
    return (1 - SHRINK) * square + torch.diag(SHRINK * square.diagonal() + TINY)


def _least(a: Tensor, b: Tensor) -> Tensor:
    """(X, X) the symmetric map from a Gaussian of covariance a to one of covariance b."""
    root = _power(a, 0.5)
    back = _power(a, -0.5)
    return back @ _power(root @ b @ root, 0.5) @ back


def _power(a: Tensor, exponent: float) -> Tensor:
    values, axes = torch.linalg.eigh(a)
    out: Tensor = axes @ torch.diag(values.clamp(min=TINY) ** exponent) @ axes.T
    return out
