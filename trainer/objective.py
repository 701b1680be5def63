"""One batch to one loss: the model and its losses as a module the training loop can wrap."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from engine.config import LossConfig, ModelConfig
from engine.model import fields as f
from engine.model.batch import Bars, Notes
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.batches import Batch
from trainer.losses import CRITIC, MODEL, REGISTRY, Decoded, check, total, weight_of


class Objective(nn.Module):
    """Encode the source, decode the target, weigh every registered term."""

    def __init__(self, model: MusicTransformerVAEGAN, config: LossConfig) -> None:
        super().__init__()
        check(config)
        self.model, self.config = model, effective(config, model.config)
        balanced = [t for t in REGISTRY.values() if t.balanced and t.side == MODEL and weight_of(t, self.config) > 0]
        chosen = balanced if config.balance == "uncertainty" else []
        self.spread = nn.ParameterDict({t.name: nn.Parameter(torch.zeros(())) for t in chosen})

    def forward(
        self,
        batch: Batch,
        warmup: float,
        generator: torch.Generator | None = None,
        mean: bool = False,
        side: str = MODEL,
        skip: str = "",
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The weighted objective (nats per 4/4 bar), "loss" and every term unweighted, and the onset logits.

        `side` says whose objective: the model's, or the critic's, for which the model stands still.
        """
        with torch.set_grad_enabled(torch.is_grad_enabled() and side != CRITIC):
            decoded = self.decode(batch, warmup, generator, mean)
        objective, values = total(decoded, dict(self.spread.items()), skip, side)
        return objective, values, decoded.onsets

    def decode(self, batch: Batch, warmup: float, generator: torch.Generator | None, mean: bool) -> Decoded:
        """Everything the terms look at."""
        posterior = self.model.encode(batch.source, batch.bars, generator, mean)
        slots = self.model.slots(posterior.z_global, posterior.z_local, posterior.z_fine, batch.bars, batch.offsets)
        fields = self.model.decoder.fields(slots, batch.target.bar, batch.target.cell, batch.offsets)
        onsets = self.model.decoder.onsets(slots)
        return Decoded(
            batch.target, batch.bars, onsets, fields, posterior, warmup, self.config, self.model,
            batch.source, batch.offsets, slots, None if mean else generator, batch.styles, batch.deviations,
        )  # fmt: skip


def effective(loss: LossConfig, model: ModelConfig) -> LossConfig:
    """The weights in force: without `beta_vae` every divergence counts in full."""
    if model.beta_vae:
        return loss
    plain = {t.name: 1.0 for t in REGISTRY.values() if t.group == "kl"}
    return replace(loss, beta=1.0, weights={**loss.weights, **plain})


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
