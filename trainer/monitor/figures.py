"""What the figures of a step add up to: sums by group, the objective at full weights, rates. Knows no history."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from engine.config import Config
from trainer.adversary import HEARING
from trainer.loop import Step
from trainer.losses import MODEL, REGISTRY, weight_of
from trainer.objective import effective

LIKELIHOOD = ("reconstruction",)
RATES = ("gradient", "kl_factor")  # what a step without rates of its own keeps among its losses


def groups(values: Mapping[str, float]) -> dict[str, float]:
    """The sum of every group of loss terms among some values, unweighted as the terms are."""
    out: dict[str, float] = {}
    for name, value in values.items():
        if name in REGISTRY:
            out[REGISTRY[name].group] = out.get(REGISTRY[name].group, 0.0) + value
    return out


def with_groups(values: Mapping[str, float]) -> dict[str, float]:
    """The values and, as "all of kl", the sum of each group: some groups are called like one of their terms."""
    return dict(values) | {f"all of {group}": value for group, value in groups(values).items()}


class Weighed:
    """What a configuration makes of the terms of a step."""

    def __init__(self, config: Config) -> None:
        loss = effective(config.loss, config.model)
        mine = [t for t in REGISTRY.values() if t.side == MODEL and t.group not in HEARING]
        self.weights = {t.name: weight_of(t, loss) for t in mine}
        self.likelihood_terms = {t.name for t in mine if t.group in LIKELIHOOD}

    def whole(self, values: Mapping[str, float]) -> float:
        """The model's objective with every weight in full and without the critic: comparable from first to last.

        A model of events has no terms by these names; its "loss" stands for it. NaN where there is neither.
        """
        known = [weight * values[name] for name, weight in self.weights.items() if name in values]
        return math.fsum(known) if known else values.get("loss", math.nan)

    def likelihood(self, values: Mapping[str, float]) -> float:
        """The part of it that is about notes."""
        known = [self.weights[name] * values[name] for name in self.likelihood_terms if name in values]
        return math.fsum(known) if known else values.get("loss", math.nan)


def rates(step: Step) -> dict[str, float]:
    """Learning rate, gradient, pace and whatever else the loop reports of a step besides losses."""
    own: Mapping[str, float] = getattr(step, "rates", None) or {}
    return {name: step.train[name] for name in RATES if name in step.train} | dict(own)


def gradient_norms(model: nn.Module, apart: Iterable[str] = ()) -> dict[str, float]:
    """Length of the gradient in every part of a model (encoder, decoder, ...): call it after backward, before clipping.

    One transfer from the device for all parts; parts named in `apart`, and those without a gradient, are left out.
    """
    found: dict[str, list[Tensor]] = {}
    for name, p in model.named_parameters():
        part = name.split(".", 1)[0]
        if p.grad is not None and part not in apart:
            found.setdefault(part, []).append(p.grad)
    if not found:
        return {}
    lengths = [torch.linalg.vector_norm(torch.stack(torch._foreach_norm(g))) for g in found.values()]
    return dict(zip(found, torch.stack(lengths).tolist(), strict=True))
