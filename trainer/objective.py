"""One batch to one loss: the model and its losses as a module the training loop can wrap."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from engine.config import LossConfig
from engine.model import fields as f
from engine.model.batch import Bars, Notes
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.batches import Batch
from trainer.losses import Decoded, check, total


class Objective(nn.Module):
    """Encode the source, decode the target, weigh every registered term."""

    def __init__(self, model: MusicTransformerVAEGAN, config: LossConfig) -> None:
        super().__init__()
        check(config)
        self.model, self.config = model, config

    def forward(
        self, batch: Batch, warmup: float, generator: torch.Generator | None = None, mean: bool = False
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The weighted objective (nats per 4/4 bar), "loss" and every term unweighted, and the onset logits."""
        posterior = self.model.encode(batch.source, batch.bars, generator, mean)
        slots = self.model.slots(posterior.z_global, posterior.z_local, posterior.z_fine, batch.bars, batch.offsets)
        fields = self.model.decoder.fields(slots, batch.target.bar, batch.target.cell, batch.offsets)
        onsets = self.model.decoder.onsets(slots)
        decoded = Decoded(batch.target, batch.bars, onsets, fields, posterior, warmup, self.config)
        objective, values = total(decoded)
        return objective, values, onsets


def on_device(batch: Batch, device: torch.device) -> Batch:
    """The batch on a device."""
    if device.type == "cpu":
        return batch
    source, target = batch.source.to(device), batch.target.to(device)
    return Batch(source, target, batch.bars.to(device), batch.offsets.to(device))


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
