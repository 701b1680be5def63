"""The registry of loss terms and their weighted sum.

A term gives a value summed over the batch; the sum is divided by the batch's length in 4/4 bars, so weights do not
depend on batch size or meter. Reported values are unweighted.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from engine.config import LossConfig
from engine.errors import MorphonyError
from engine.model import soft
from engine.model.batch import Bars, Notes, Offsets
from engine.model.decoder import Fields
from engine.model.fields import N_PITCHES
from engine.model.latents import LEVELS, Normal, Posterior, kl_to_standard
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.tokens.vocab import FAMILIES

NOTES, TIMING, DYNAMICS = 3.0, 2.0, 1.5  # perceptual weights of the specification, relative to NOTES below
MODEL, CRITIC = "model", "critic"  # whose loss a term is
OPTIONAL = ("attribute", "constraint", "regularity", "auxiliary")  # groups a configuration switches on by name


@dataclass(frozen=True)
class Decoded:
    """All a term may look at. What costs something is computed when the first term asks for it."""

    target: Notes
    bars: Bars
    onsets: Tensor  # (K, S * 4 * 88) logits
    fields: Fields  # of the target's notes
    posterior: Posterior
    warmup: float  # factor of the KL weights: what the schedule says
    config: LossConfig
    model: MusicTransformerVAEGAN | None = None
    source: Notes | None = None  # what was encoded; the target unless it is an edited twin
    offsets: Offsets | None = None
    slots: Tensor | None = None  # (K, S, C)
    noise: torch.Generator | None = None
    styles: tuple[str, ...] = ()  # of each piece
    deviations: Tensor | None = None  # (12,) of the named attributes, in their own units

    @cached_property
    def fake(self) -> soft.SoftBars:
        """The decoder's own bars, sampled straight-through where there is noise, else greedy."""
        assert self.model is not None
        assert self.slots is not None
        assert self.offsets is not None
        return soft.decoded(self.model.decoder, self.slots, self.bars, self.offsets, self.noise)

    @cached_property
    def real(self) -> soft.SoftBars:
        """The target's bars on a grid of the same length."""
        return soft.real(self.target, self.bars, self.onsets.shape[1] // N_PITCHES)

    @cached_property
    def shares(self) -> Tensor:
        """(K,) length of each bar in 4/4 bars: terms that give a mean a bar are multiplied by it and summed."""
        return self.bars.clocks / 96

    def style_factor(self, term: str) -> Tensor:
        """(K,) weight of a term in each bar, by the style of its piece; 1 where nothing is configured."""
        factors = [float(self.config.style_weights.get(s, {}).get(term, 1.0)) for s in self.styles]
        if not factors:
            return torch.ones(len(self.bars.clocks), device=self.onsets.device)
        return torch.tensor(factors, device=self.onsets.device)[self.bars.piece[self.bars.phrase]]


@dataclass(frozen=True, slots=True)
class Term:
    """One loss term: what it is called, where it belongs, how much it weighs and why it is there."""

    name: str
    group: str
    weight: float
    reason: str
    tokens: tuple[str, ...]  # families of the vocabulary it weighs; empty for terms about no token
    function: Callable[[Decoded], Tensor]
    needs: str = ""  # a part of the model without which it is left out: "critic", "refiner"
    side: str = MODEL
    balanced: bool = True  # whether uncertainty weighting may weigh it


REGISTRY: dict[str, Term] = {}


def register(
    name: str,
    group: str,
    weight: float,
    reason: str,
    tokens: tuple[str, ...] = (),
    *,
    needs: str = "",
    side: str = MODEL,
    balanced: bool = True,
) -> Callable[[Callable[[Decoded], Tensor]], Callable[[Decoded], Tensor]]:
    """Add a term. Raises KeyError when it names a family the vocabulary does not have."""
    for family in tokens:
        FAMILIES[family]

    def add(function: Callable[[Decoded], Tensor]) -> Callable[[Decoded], Tensor]:
        REGISTRY[name] = Term(name, group, weight, reason, tokens, function, needs, side, balanced)
        return function

    return add


def check(config: LossConfig) -> None:
    """Raises MorphonyError when a configuration names a term or group nobody registered, or leaves no term on."""
    groups = {term.group for term in REGISTRY.values()}
    by_style = [name for weights in config.style_weights.values() for name in weights]
    for name in (*config.weights, *by_style, *config.on, *config.off):
        if name not in REGISTRY and not (name in (*config.on, *config.off) and name in groups):
            near = difflib.get_close_matches(name, [*REGISTRY, *groups], 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(REGISTRY)}."
            raise MorphonyError(f"There is no loss term called {name!r}{hint}")
    if not any(weight_of(term, config) > 0 for term in REGISTRY.values() if not term.needs):
        raise MorphonyError("Every loss term is switched off, so there is nothing to learn.")


def weight_of(term: Term, config: LossConfig, warmup: float = 1.0) -> float:
    """The weight of a term under a configuration: 0 when off; `warmup` and beta scale the KL group."""
    named, grouped = term.name in config.off, term.group in config.off and term.name not in config.on
    on = term.group not in OPTIONAL or term.name in config.on or term.group in config.on or term.name in config.weights
    if named or grouped or not on:
        return 0.0
    scale = warmup * config.beta if term.group == "kl" else 1.0
    return config.weights.get(term.name, term.weight) * scale


def used(decoded: Decoded, side: str = MODEL) -> list[Term]:
    """The terms that are on and that the model has the parts for."""
    here = [t for t in REGISTRY.values() if t.side == side and weight_of(t, decoded.config) > 0]
    return [t for t in here if not t.needs or getattr(decoded.model, t.needs, None) is not None]


def divergence(d: Decoded, level: str) -> Tensor:
    """(rows,) nats of each latent of a level above its prior; by one sample where there is no closed form."""
    q: Normal = getattr(d.posterior, f"q_{level}")
    if d.model is None:
        return kl_to_standard(q).sum(-1)
    return d.model.priors.divergence(level, q, getattr(d.posterior, f"z_{level}"))


def total(
    decoded: Decoded, spread: Mapping[str, Tensor] | None = None, skip: str = "", side: str = MODEL
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the optimiser lowers: the weighted sum per 4/4 bar; and every term's own value per 4/4 bar.

    `spread` holds log-variances learned by term: a balanced term counts w * (exp(-s) L + s) (Kendall et al. 2018).
    `skip` is a group left out for now. Beside the terms stands "loss", what runs are compared by: the negative ELBO
    per note, free of every weight.
    """
    bars = decoded.bars.clocks.sum() / 96
    terms = [t for t in used(decoded, side) if t.group != skip]
    values = {t.name: t.function(decoded) / bars for t in terms}
    weighted = [_weighted(t, decoded, values[t.name], spread or {}) for t in terms]
    likelihood = sum((values[t.name].detach() * bars for t in terms if t.group == "reconstruction"), bars.new_zeros(()))
    latents = torch.stack([divergence(decoded, level).detach().sum() for level in LEVELS]).sum()
    loss = (likelihood + latents) / max(len(decoded.target.bar), 1)
    detached = {n: v.detach() for n, v in values.items()}
    return torch.stack(weighted).sum(), detached if side == CRITIC else {"loss": loss} | detached


def _weighted(term: Term, decoded: Decoded, value: Tensor, spread: Mapping[str, Tensor]) -> Tensor:
    weight = weight_of(term, decoded.config, decoded.warmup)
    if term.name in spread:
        s = spread[term.name]
        return weight * (torch.exp(-s) * value + s)
    return weight * value
