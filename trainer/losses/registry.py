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
from torch.nn.utils import parametrize

from engine.config import LossConfig
from engine.errors import MorphonyError
from engine.model import soft
from engine.model.batch import Bars, Notes, Offsets
from engine.model.critic import Verdict, held
from engine.model.decoder import Fields
from engine.model.fields import N_PITCHES
from engine.model.latents import LEVELS, Normal, Posterior, kl_to_standard
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.tokens.vocab import FAMILIES
from trainer.adversary import balance

NOTES, TIMING, DYNAMICS = 3.0, 2.0, 1.5  # perceptual weights of the specification, relative to NOTES below
MODEL, CRITIC = "model", "critic"  # whose loss a term is
ADVERSARIAL = "adversarial"  # the group that dynamic balance weighs against everything else
# groups a configuration switches on by name
OPTIONAL = ("attribute", "constraint", "regularity", "auxiliary", "lipschitz")
RESOLUTION = 0.01  # nats per 4/4 bar below which uncertainty weighting tells no two values of a term apart


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
        """The decoder's own bars, sampled straight-through where there is noise, else greedy.

        While the critic learns (its slots have no gradient) the decoder's heads stand still as well.
        """
        assert self.model is not None
        assert self.slots is not None
        assert self.offsets is not None
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.slots.requires_grad):
            return soft.decoded(self.model.decoder, self.slots, self.bars, self.offsets, self.noise)

    @cached_property
    def real(self) -> soft.SoftBars:
        """The target's bars on a grid of the same length."""
        return soft.real(self.target, self.bars, self.onsets.shape[1] // N_PITCHES)

    @cached_property
    def verdicts(self) -> tuple[Verdict, Verdict]:
        """The critic on the real and on the decoded bars; while the model learns the critic stands still."""
        assert self.model is not None
        assert self.model.critic is not None
        assert self.slots is not None
        with held(self.model.critic, self.slots.requires_grad), parametrize.cached():
            return self.model.critic(self.real, self.bars), self.model.critic(self.fake, self.bars)

    @property
    def accuracy(self) -> dict[str, Tensor]:
        """The share of real and decoded rows that each scale of the critic takes for what they are, if it was asked."""
        judged = self.__dict__.get("verdicts")
        if judged is None:
            return {}
        real, fake = judged
        right = {n: torch.cat([real[n].score > 0, fake[n].score < 0]).float().mean().detach() for n in real}
        return {f"accuracy_{n}": share for n, share in right.items()}

    @cached_property
    def shares(self) -> Tensor:
        """(K,) length of each bar in 4/4 bars: terms that give a mean a bar are multiplied by it and summed."""
        return self.bars.clocks / 96

    def over_bars(self, term: str, value: Tensor) -> Tensor:
        """Sum of a mean a bar (K,), by length and by the term's factor for the bar's style."""
        return (value * self.shares * self.style_factor(term)).sum()

    def over_notes(self, term: str, value: Tensor) -> Tensor:
        """Sum of a value a note of the target (M,), by the term's factor for the bar's style."""
        return (value * self.style_factor(term)[self.target.bar]).sum()

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
    needs: str = ""  # a part of the model without which it is left out: such as "critic"
    side: str = MODEL
    balanced: bool = True  # whether uncertainty weighting may weigh it; its value must not fall below 0
    styled: bool = False  # whether it heeds `Decoded.style_factor`
    coupled: str = ""  # what of a batch it compares; always within one process's own part: nothing is gathered


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
    styled: bool = False,
    coupled: str = "",
) -> Callable[[Callable[[Decoded], Tensor]], Callable[[Decoded], Tensor]]:
    """Add a term. Raises KeyError when it names a family the vocabulary does not have."""
    for family in tokens:
        FAMILIES[family]

    def add(function: Callable[[Decoded], Tensor]) -> Callable[[Decoded], Tensor]:
        REGISTRY[name] = Term(name, group, weight, reason, tokens, function, needs, side, balanced, styled, coupled)
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
    deaf = [name for name in by_style if not REGISTRY[name].styled]
    if deaf:
        raise MorphonyError(f"The loss term {deaf[0]!r} weighs the same in every style.")
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
    return [t for t in here if fits(t, decoded.model)]


def fits(term: Term, model: MusicTransformerVAEGAN | None) -> bool:
    """Whether a model has the part a term is about."""
    return not term.needs or getattr(model, term.needs, None) is not None


def divergence(d: Decoded, level: str) -> Tensor:
    """(rows,) nats of each latent of a level above its prior; by one sample where there is no closed form."""
    q: Normal = getattr(d.posterior, f"q_{level}")
    if d.model is None:
        return kl_to_standard(q).sum(-1)
    return d.model.priors.divergence(level, q, getattr(d.posterior, f"z_{level}"))


def total(
    decoded: Decoded, spread: Mapping[str, Tensor] | None = None, skip: tuple[str, ...] = (), side: str = MODEL
) -> tuple[Tensor, dict[str, Tensor]]:
    """What the optimiser lowers: the weighted sum per 4/4 bar; and every term's own value per 4/4 bar.

    `spread` holds log-variances learned by term: a balanced term counts w * (exp(-s) L + s) (Kendall et al. 2018), so
    that s follows ln L and every term's share is its w. `skip` are groups left out for now. Beside the terms stands
    "loss", what runs are compared by: the negative ELBO per note, free of every weight.
    """
    bars = decoded.bars.clocks.sum() / 96
    terms = [t for t in used(decoded, side) if t.group not in skip]
    values = {t.name: t.function(decoded) / bars for t in terms}
    weighted = {t: _weighted(t, decoded, values[t.name], spread or {}) for t in terms}
    objective = _sum([w for t, w in weighted.items() if t.group != ADVERSARIAL], bars)
    values |= decoded.accuracy if side == CRITIC else {}
    if heard := [w for t, w in weighted.items() if t.group == ADVERSARIAL]:
        share = sum(weight_of(t, decoded.config) for t in terms if t.group == ADVERSARIAL)
        values["balance"] = balance(objective, _sum(heard, bars), decoded.slots, share)
        objective = objective + values["balance"] * _sum(heard, bars)
    likelihood = sum((values[t.name].detach() * bars for t in terms if t.group == "reconstruction"), bars.new_zeros(()))
    latents = torch.stack([divergence(decoded, level).detach().sum() for level in LEVELS]).sum()
    loss = (likelihood + latents) / max(len(decoded.target.bar), 1)
    detached = {n: v.detach() for n, v in values.items()}
    return objective, detached if side == CRITIC else {"loss": loss} | detached


def _sum(values: list[Tensor], like: Tensor) -> Tensor:
    return torch.stack(values).sum() if values else like.new_zeros(())


def _weighted(term: Term, decoded: Decoded, value: Tensor, spread: Mapping[str, Tensor]) -> Tensor:
    weight = weight_of(term, decoded.config, decoded.warmup)
    if term.name in spread:
        s = spread[term.name]
        return weight * (torch.exp(-s) * (value + RESOLUTION) + s)
    return weight * value
