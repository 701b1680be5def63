"""The discriminator: how real soft bars are, at the scale of a bar, a phrase and a piece, and how likely latents are.

Knows soft bars and their meters; no decoder and no loss. Every weight matrix has spectral norm 1 (Miyato et al. 2018).
K bars, T clocks, S slots, P phrases, B pieces, W width, F histogram features, R rows of a scale of N places each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrizations import spectral_norm

from engine.config import ModelConfig
from engine.model import fields as f
from engine.model.attention import Block, masked
from engine.model.batch import PHRASE_BARS, Bars
from engine.model.latents import mean_by
from engine.model.position import BeatPosition
from engine.model.soft import SoftBars

SCALES = ("bar", "phrase", "piece")
SQUARINGS = 10  # of W W^T: 1024 power iterations in as many products of matrices
KINDS_OF_CELL = 3  # what is known of each: onset, duration, velocity
LEAK = 0.2
FAR = 1000.0  # bars: the longest wave of a bar's place in its piece


# ---------------------------------------------------------------- what each scale hears besides notes

Feature = Callable[[SoftBars], Tensor]
FEATURES: dict[str, Feature] = {}


def feature(name: str) -> Callable[[Feature], Feature]:
    """Add a differentiable description (K, any width) of bars that every scale of the critic hears."""

    def add(function: Feature) -> Feature:
        FEATURES[name] = function
        return function

    return add


@feature("rhythm")
def rhythm(bars: SoftBars) -> Tensor:
    """(K, 68) shares of onsets by slot of the bar (a longer bar turns the page) and by clock of a quarter; lengths."""
    by_slot = _folded(bars.struck.sum(2), f.PAGE_SLOTS)
    return torch.cat([_shares(by_slot, bars), _shares(_folded(bars.rhythm, 24), bars), _shares(bars.lengths, bars)], 1)


@feature("harmony")
def harmony(bars: SoftBars) -> Tensor:
    """(K, 32) notes and what sounds by pitch class, intervals (mod octave) that sound together, and how many notes."""
    slots = bars.clocks[:, None] / f.SLOT_CLOCKS
    sounding = bars.sounding
    together = torch.stack([(sounding * sounding.roll(n, 2)).sum((1, 2)) for n in range(1, 7)], 1) / slots
    many = torch.stack([bars.count / bars.clocks * 24, sounding.sum((1, 2)) / slots[:, 0]], 1)
    return torch.cat([_shares(bars.chroma, bars), sounding.sum(1) / slots, torch.log1p(together), torch.log1p(many)], 1)


@feature("melody")
def melody(bars: SoftBars) -> Tensor:
    """(K, 25) steps of the top line by semitones."""
    return bars.intervals / (1 + bars.intervals.sum(1, keepdim=True))


@feature("dynamics")
def dynamics(bars: SoftBars) -> Tensor:
    """(K, 8) shares of notes by velocity."""
    return _shares(bars.loudness, bars)


def described(bars: SoftBars) -> Tensor:
    """(K, F) every feature, side by side."""
    return torch.cat([function(bars) for function in FEATURES.values()], 1)


def _shares(histogram: Tensor, bars: SoftBars) -> Tensor:
    return histogram / (1 + bars.count[:, None])


def _folded(x: Tensor, length: int) -> Tensor:
    """(K, length) sum of (K, N) over the places that are equal modulo `length`."""
    return F.pad(x, (0, -x.shape[1] % length)).view(len(x), -1, length).sum(1)


# ---------------------------------------------------------------- the parts


@dataclass(frozen=True, slots=True)
class Scale:
    """What one scale says of each of its rows, and what it thought on the way."""

    score: Tensor  # (R,) above 0 for real
    whole: Tensor  # (R, W) what it is read from
    layers: tuple[Tensor, ...]  # (R, 1 + N, W) each, 0 where there is nothing
    mask: Tensor  # (R, 1 + N) True where there is something
    of_bar: Tensor  # (K,) the row each bar belongs to

    def places(self) -> Tensor:
        """(R, N, W) the last thoughts of each place, without the row's own."""
        return self.layers[-1][:, 1:]


Verdict = dict[str, Scale]


class Listener(nn.Module):
    """One scale: attention over the places of a row and one more that hears its features; it and their mean decide."""

    def __init__(self, c: ModelConfig, width: int, features: int) -> None:
        super().__init__()
        self.features = nn.Linear(features, width)
        layers = c.discriminator_layers
        self.blocks = nn.ModuleList(Block(width, c.heads_for(width), "full") for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.score = nn.Linear(width, 1)

    def forward(self, x: Tensor, mask: Tensor, features: Tensor, of_bar: Tensor) -> Scale:
        """A row of places (R, N, W) where the mask (R, N) is True, with features (R, F)."""
        x = torch.cat([self.features(features)[:, None], x], 1)
        mask = F.pad(mask, (1, 0), value=True)
        layers = []
        for block in self.blocks:
            x = block(x, mask)
            layers.append(masked(x, mask))
        layers[-1] = masked(self.norm(x), mask)
        whole = layers[-1][:, 0] + layers[-1].sum(1) / mask.sum(1, keepdim=True)
        return Scale(self.score(whole)[:, 0], whole, tuple(layers), mask, of_bar)


class Critic(nn.Module):
    """Bars from their grids, phrases from their bars, pieces from all their bars in order; and latents on their own."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.c = c
        w, features = c.slot_dim, _width_of_features()
        self.inward = nn.Linear(KINDS_OF_CELL * f.CELLS_PER_SLOT, w)
        self.position = BeatPosition(w)
        self.meter = nn.Linear(2, w)
        self.hidden = nn.Parameter(torch.randn(w) * 0.1)  # stands where a slot is hidden from a masked-bar task
        self.of_bar = nn.Linear(features, w)
        self.place = nn.Embedding(PHRASE_BARS, w)
        self.scales = nn.ModuleDict({name: Listener(c, w, features) for name in SCALES})
        self.guess = nn.Linear(w, f.N_PITCHES)
        nn.init.constant_(self.guess.bias, -4.0)  # about one pitch in fifty begins in a slot
        self.of_latents = LatentCritic(c)
        normalise(self)
        self.settle()

    def settle(self) -> None:
        """Bring the singular vectors up to the weights: after every step, since one iteration a pass lags behind."""
        for part in self.modules():
            if parametrize.is_parametrized(part, "weight"):
                _settle(part)

    def forward(self, soft: SoftBars, bars: Bars, hidden: Tensor | None = None) -> Verdict:
        """The three scales' verdicts; slots where `hidden` (K, S) is True are kept from all of them."""
        if hidden is not None:
            soft = without(soft, hidden)
        features = described(soft)
        piece = bars.piece[bars.phrase]
        own = torch.arange(len(bars.clocks), device=bars.clocks.device)
        bar: Scale = self.scales["bar"](self._slots(soft, bars, hidden), _inside(soft), features, own)
        heard = bar.whole + loud(self.of_bar(features) + self.place(bars.place))
        phrase = self._gathered("phrase", heard, features, bars.phrase)
        heard = heard + phrase.places()[bars.phrase, rank(bars.phrase)] + _wave(rank(piece), heard)
        return {"bar": bar, "phrase": phrase, "piece": self._gathered("piece", heard, features, piece)}

    def guesses(self, soft: SoftBars, bars: Bars, hidden: Tensor) -> Tensor:
        """(K, S, 88) logits of the pitches that begin in each slot, from what is not hidden (a masked-bar model)."""
        verdict = self(soft, bars, hidden)
        around = [verdict[name].places()[verdict[name].of_bar, rank(verdict[name].of_bar)] for name in SCALES[1:]]
        out: Tensor = self.guess(verdict["bar"].places() + torch.stack(around).sum(0)[:, None])
        return out

    def _slots(self, soft: SoftBars, bars: Bars, hidden: Tensor | None) -> Tensor:
        """(K, S, W) the notes of each slot, where it stands in the meter, and what meter that is."""
        slots = _inside(soft).shape[1]
        grids = torch.stack([soft.onset, soft.duration, soft.velocity], 2)  # (K, T, 3, 88)
        grids = F.pad(grids, (0, 0, 0, 0, 0, slots * f.SLOT_CLOCKS - grids.shape[1]))
        meter = torch.stack([bars.clocks / 96, bars.beat / 24], -1).to(soft.onset.dtype)
        x = self.inward(grids.reshape(len(grids), slots, -1)) + self.position(bars, slots) + self.meter(meter)[:, None]
        return loud(x) if hidden is None else loud(x) + hidden[..., None] * self.hidden

    def _gathered(self, name: str, heard: Tensor, features: Tensor, row: Tensor) -> Scale:
        """A scale whose rows (K,) are made of bars (K, W) with features (K, F)."""
        rows = int(row.max()) + 1
        x, mask = laid_out(heard, row, rows)
        out: Scale = self.scales[name](x, mask, mean_by(features, row, rows), row)
        return out


class LatentCritic(nn.Module):
    """Whether latents come from the prior (above 0) or from the encoder: all three levels of a bar, side by side."""

    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        width = c.slot_dim
        self.inward = nn.Linear(c.latent_dim + c.local_dim + c.global_dim, width)
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(c.discriminator_layers))
        self.score = nn.Linear(width, 1)

    def forward(self, z: Tensor) -> Tensor:
        """(K,) from (K, Z)."""
        x = self.inward(z)
        for layer in self.layers:
            x = x + layer(F.leaky_relu(x, LEAK))
        out: Tensor = self.score(F.leaky_relu(x, LEAK))[:, 0]
        return out


# ---------------------------------------------------------------- helpers


@contextmanager
def held(part: nn.Module, still: bool = True) -> Iterator[None]:
    """Gradients pass through a part of the model but not into it, and its singular vectors stay as they are."""
    if not still:
        yield
        return
    learned, training = [p for p in part.parameters() if p.requires_grad], part.training
    for p in learned:
        p.requires_grad_(False)
    part.eval()
    try:
        yield
    finally:
        part.train(training)
        for p in learned:
            p.requires_grad_(True)


def normalise(module: nn.Module) -> None:
    """Put every weight matrix below a module under spectral norm; there are no convolutions, so each is as it is."""
    for part in list(module.modules()):
        weight = getattr(part, "weight", None)
        if isinstance(weight, Tensor) and weight.dim() > 1:
            spectral_norm(part)


@torch.no_grad()
def _settle(part: nn.Module) -> None:
    """Power iterations on PyTorch's own vectors u and v of a weight W, by squaring W W^T (or W^T W, if smaller)."""
    of_weight: Any = part.parametrizations["weight"]  # type: ignore[index]  # torch adds it at run time
    weight, u, v = of_weight.original, of_weight[0]._u, of_weight[0]._v
    tall = weight.shape[0] > weight.shape[1]
    power = weight.T @ weight if tall else weight @ weight.T
    for _ in range(SQUARINGS):
        power = power / power.norm()
        power = power @ power
    if tall:
        v.copy_(F.normalize(power @ v, dim=0))
    else:
        v.copy_(F.normalize(weight.T @ (power @ u), dim=0))
    u.copy_(F.normalize(weight @ v, dim=0))


def loud(x: Tensor) -> Tensor:
    """As loud (..., W) as what layer norms give: spectral norm leaves embeddings faint beside what the blocks add."""
    out: Tensor = x * x.shape[-1] ** 0.5
    return out


def without(soft: SoftBars, hidden: Tensor) -> SoftBars:
    """The same bars, silent in some slots (K, S)."""
    heard = ~hidden.repeat_interleave(f.SLOT_CLOCKS, 1)[:, : soft.onset.shape[1], None]
    return SoftBars(soft.onset * heard, soft.duration * heard, soft.velocity * heard, soft.inside)


def rank(index: Tensor) -> Tensor:
    """(K,) how many earlier rows share each row's index."""
    order = torch.argsort(index, stable=True)
    count = torch.bincount(index)
    first = torch.repeat_interleave(count.cumsum(0) - count, count)
    return torch.empty_like(index).scatter_(0, order, torch.arange(len(index), device=index.device) - first)


def laid_out(x: Tensor, index: Tensor, rows: int) -> tuple[Tensor, Tensor]:
    """(R, N, W) the rows of x (K, W) by index, in their order, and (R, N) where there is one."""
    place = rank(index)
    width = int(place.max()) + 1
    out = x.new_zeros(rows, width, x.shape[-1]).index_put((index, place), x)
    mask = torch.zeros(rows, width, dtype=torch.bool, device=x.device)
    mask[index, place] = True
    return out, mask


def _inside(soft: SoftBars) -> Tensor:
    """(K, S) slots that begin before the bar's end."""
    return soft.inside[:, :: f.SLOT_CLOCKS]


def _wave(place: Tensor, like: Tensor) -> Tensor:
    """(K, W) sines and cosines of a place (K,) in the piece (Vaswani et al. 2017), as loud as what they join."""
    half = like.shape[-1] // 2
    speed = FAR ** -(torch.arange(half, device=like.device) / half)
    angle = place[:, None] * speed
    return F.pad(torch.cat([angle.sin(), angle.cos()], 1), (0, like.shape[-1] - 2 * half)).to(like.dtype)


def _width_of_features() -> int:
    with torch.device("cpu"):  # also where a model is only measured, on the meta device
        silent = torch.zeros(1, f.SLOT_CLOCKS, f.N_PITCHES)
        bars = SoftBars(silent, silent, silent, torch.ones(1, f.SLOT_CLOCKS, dtype=torch.bool))
        return described(bars).shape[1]
