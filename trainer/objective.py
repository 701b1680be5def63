"""One batch to one loss: the model and its losses as a module the training loop can wrap."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from engine.config import LossConfig, ModelConfig
from engine.model import fields as f
from engine.model.batch import Bars, Notes
from engine.model.decoder import Fields
from engine.model.latents import Normal, Posterior
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.batches import Batch
from trainer.events import EventObjective
from trainer.losses import CRITIC, MODEL, REGISTRY, Decoded, check, fits, total, weight_of

S = TypeVar("S", Fields, Posterior, Normal)


class Objective(nn.Module):
    """Encode the source, decode the target, weigh every registered term."""

    def __init__(self, model: MusicTransformerVAEGAN, config: LossConfig) -> None:
        super().__init__()
        check(config)
        self.model, self.config = model, effective(config, model.config)
        on = [t for t in REGISTRY.values() if t.side == MODEL and fits(t, model) and weight_of(t, self.config) > 0]
        chosen = [t for t in on if t.balanced and config.balance == "uncertainty"]
        self.spread = nn.ParameterDict({t.name: nn.Parameter(torch.zeros(())) for t in chosen})

    def amount(self, batch: Batch) -> float:
        """What the objective of a batch was divided by: its length in 4/4 bars."""
        return batch.size

    def forward(
        self,
        batch: Batch,
        warmup: float,
        generator: torch.Generator | None = None,
        mean: bool = False,
        side: str = MODEL,
        skip: tuple[str, ...] = (),
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The weighted objective (nats per 4/4 bar), "loss" and every term unweighted, and the onset logits.

        `side` says whose objective: the model's, or the critic's, for which the model stands still.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and side != CRITIC):
            decoded = self.decode(batch, warmup, generator, mean)
        with torch.autocast(decoded.onsets.device.type, enabled=False):  # sums of many nats need all their digits
            objective, values = total(decoded, dict(self.spread.items()), skip, side)
        return objective, values, decoded.onsets

    def decode(self, batch: Batch, warmup: float, generator: torch.Generator | None, mean: bool) -> Decoded:
        """Everything the terms look at."""
        read, share = batch.source, self.config.word_dropout
        if share and generator is not None and self.model.training:
            read = hidden(read, share, generator)
        posterior = self.model.encode(read, batch.bars, generator, mean)
        slots = self.model.slots(posterior.z_global, posterior.z_local, posterior.z_fine, batch.bars, batch.offsets)
        slots = slots.float()
        fields = self.model.decoder.fields(slots, batch.target.bar, batch.target.cell, batch.offsets)
        onsets = self.model.decoder.onsets(slots).float()
        return Decoded(
            batch.target, batch.bars, onsets, _single(fields), _single(posterior), warmup, self.config, self.model,
            batch.source, batch.offsets, slots, None if mean else generator, batch.styles, batch.deviations,
        )  # fmt: skip


def objective_of(model: MusicTransformerVAEGAN, config: LossConfig) -> Objective | EventObjective:
    """What a model is trained by: its mode says."""
    return Objective(model, config) if model.events is None else EventObjective(model, config)


def hidden(notes: Notes, share: float, generator: torch.Generator) -> Notes:
    """The notes without a random share of them: word dropout (Bowman et al. 2016) for what reads them all at once."""
    kept = torch.rand(len(notes.bar), generator=generator, device=notes.bar.device) >= share
    return Notes(**{field.name: getattr(notes, field.name)[kept] for field in fields(notes)})


def effective(loss: LossConfig, model: ModelConfig) -> LossConfig:
    """The weights in force: without `beta_vae` every divergence counts in full."""
    if model.beta_vae:
        return loss
    plain = {t.name: 1.0 for t in REGISTRY.values() if t.group == "kl"}
    return replace(loss, beta=1.0, weights={**loss.weights, **plain})


def _single(value: S) -> S:
    """A dataclass of tensors, or of such dataclasses, in 32 bits."""
    each = {field.name: getattr(value, field.name) for field in fields(value)}
    made: Any = type(value)
    out: S = made(**{n: v.float() if isinstance(v, Tensor) else _single(v) for n, v in each.items()})
    return out


def note_f1(onsets: Tensor, target: Notes, bars: Bars, threshold: float) -> np.ndarray:
    """(K,) F1 of each bar's cells, free-running and greedy; 1 where both are empty."""
    clock = torch.arange(onsets.shape[1] // f.N_PITCHES, device=onsets.device)
    inside = (clock < bars.clocks[:, None]).repeat_interleave(f.N_PITCHES, 1)
    logit = float(np.log(threshold / (1 - threshold)))
    guess = (onsets > logit) & inside
    truth = torch.zeros_like(guess)
    truth[target.bar, target.cell] = True
    both = 2 * (guess & truth).sum(1)
    either = guess.sum(1) + truth.sum(1)
    return torch.where(either > 0, both / either.clamp(min=1), 1.0).cpu().numpy()
