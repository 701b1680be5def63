"""The registry of loss terms and their weighted sum.

A term gives nats summed over the batch; the sum is divided by the batch's length in 4/4 bars, so weights do not
depend on batch size or meter. Reported values are unweighted.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.config import LossConfig
from engine.errors import MorphonyError
from engine.model.batch import Bars, Notes
from engine.model.decoder import Fields
from engine.model.latents import Posterior, kl_to_standard
from engine.tokens.vocab import FAMILIES

NOTES, TIMING, DYNAMICS = 3.0, 2.0, 1.5  # perceptual weights of the specification, relative to NOTES below


@dataclass(frozen=True, slots=True)
class Decoded:
    """All a term may look at."""

    target: Notes
    bars: Bars
    onsets: Tensor  # (K, S * 4 * 88) logits
    fields: Fields  # of the target's notes
    posterior: Posterior
    warmup: float  # 0 to 1: how far the KL warm-up has come
    config: LossConfig


@dataclass(frozen=True, slots=True)
class Term:
    """One loss term: what it is called, where it belongs, how much it weighs and why it is there."""

    name: str
    group: str
    weight: float
    reason: str
    tokens: tuple[str, ...]  # families of the vocabulary it weighs; empty for terms about no token
    function: Callable[[Decoded], Tensor]


REGISTRY: dict[str, Term] = {}


def register(
    name: str, group: str, weight: float, reason: str, tokens: tuple[str, ...] = ()
) -> Callable[[Callable[[Decoded], Tensor]], Callable[[Decoded], Tensor]]:
    """Add a term. Raises KeyError when it names a family the vocabulary does not have."""
    for family in tokens:
        FAMILIES[family]

    def add(function: Callable[[Decoded], Tensor]) -> Callable[[Decoded], Tensor]:
        REGISTRY[name] = Term(name, group, weight, reason, tokens, function)
        return function

    return add


def check(config: LossConfig) -> None:
    """Raises MorphonyError when a configuration names a term or group nobody registered, or leaves no term on."""
    groups = {term.group for term in REGISTRY.values()}
    for name in (*config.weights, *config.off):
        if name not in REGISTRY and not (name in config.off and name in groups):
            near = difflib.get_close_matches(name, [*REGISTRY, *groups], 1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(REGISTRY)}."
            raise MorphonyError(f"There is no loss term called {name!r}{hint}")
    if not any(weight_of(term, config) > 0 for term in REGISTRY.values()):
        raise MorphonyError("Every loss term is switched off, so there is nothing to learn.")


def weight_of(term: Term, config: LossConfig, warmup: float = 1.0) -> float:
    """The weight of a term under a configuration: 0 when switched off; `warmup` (0 to 1) scales the KL group."""
    if term.name in config.off or term.group in config.off:
        return 0.0
    return config.weights.get(term.name, term.weight) * (warmup if term.group == "kl" else 1.0)


def total(decoded: Decoded) -> tuple[Tensor, dict[str, Tensor]]:
    """What the optimiser lowers: the weighted sum per 4/4 bar; and every term's own value in nats per 4/4 bar.

    Beside the terms stands "loss", what runs are compared by: the negative ELBO per note, free of every weight.
    """
    bars = decoded.bars.clocks.sum() / 96
    used = [t for t in REGISTRY.values() if weight_of(t, decoded.config) > 0]
    values = {t.name: t.function(decoded) / bars for t in used}
    weighted = [weight_of(t, decoded.config, decoded.warmup) * values[t.name] for t in used]
    likelihood = sum((values[t.name].detach() * bars for t in used if t.group == "reconstruction"), bars.new_zeros(()))
    q = decoded.posterior
    latents = sum(kl_to_standard(level).detach().sum() for level in (q.q_global, q.q_local, q.q_fine))
    loss = (likelihood + latents) / max(len(decoded.target.bar), 1)
    return torch.stack(weighted).sum(), {"loss": loss} | {n: v.detach() for n, v in values.items()}
