"""From trained weights to a model that ships: the colour directions, what the sliders span, the folder itself.

Colours are principal components of the fine latents, each scaled by the notes it *measurably* changes, not by its own
sigma (at this rate one sigma of a component moves about one note).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine import checkpoint
from engine.attributes import NAMES
from engine.config import Config
from engine.model import fields as f
from engine.model.batch import Offsets
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.batches import Batch, Windows
from trainer.corpus import Corpus

COLOURS = 6
NOTES_PER_SIGMA = 2.5  # notes of a 4/4 bar that one sigma of a colour slider changes, on average


def quantiles(corpus: Corpus) -> dict[str, list[float]]:
    """0 to 100 % of each attribute over the pieces of a corpus: the curve behind its slider."""
    table = corpus.attribute_table()
    return {name: np.nanpercentile(table[:, i], np.arange(101)).round(4).tolist() for i, name in enumerate(NAMES)}


@torch.no_grad()
def colours(model: MusicTransformerVAEGAN, windows: Windows, batches: int = 40) -> dict[str, Tensor]:
    """Directions (Z,) of the fine level, one sigma of the slider long. The model must be in eval mode."""
    rng = np.random.default_rng(0)
    drawn = [plain_batch(windows, rng) for _ in range(batches)]
    means = torch.cat([model.encode(b.source, b.bars, mean=True).z_fine for b in drawn])
    _, _, directions = torch.pca_lowrank(means, COLOURS, niter=8)
    return {
        f"colour_{i + 1}": direction * _length(model, direction, drawn[:8]) for i, direction in enumerate(directions.T)
    }


def _length(model: MusicTransformerVAEGAN, direction: Tensor, batches: list[Batch]) -> float:
    """How far along a direction NOTES_PER_SIGMA cells change in a 4/4 bar, by bisection on measured cells."""
    low, high = 0.0, 64.0
    for _ in range(12):
        middle = (low + high) / 2
        changed = bars = 0.0
        for b in batches:
            q = model.encode(b.source, b.bars, mean=True)
            cells = [_cells(model, q.z_global, q.z_local, q.z_fine + x * direction, b) for x in (0.0, middle)]
            changed += float((cells[0] ^ cells[1]).sum())
            bars += float(b.bars.clocks.sum()) / 96
        low, high = (middle, high) if changed / bars < NOTES_PER_SIGMA else (low, middle)
    return high


def _cells(model: MusicTransformerVAEGAN, z_global: Tensor, z_local: Tensor, z_fine: Tensor, b: Batch) -> Tensor:
    slots = model.slots(z_global, z_local, z_fine, b.bars, Offsets.none(len(z_fine)))
    logits = model.decoder.onsets(slots)
    clock = torch.arange(logits.shape[1]) // f.N_PITCHES
    p = model.config.threshold
    return (logits > float(np.log(p / (1 - p)))) & (clock < b.bars.clocks[:, None])


def plain_batch(windows: Windows, rng: np.random.Generator) -> Batch:
    """A random batch without edits, transposed as in training."""
    bucket = int(rng.choice(len(windows.buckets), p=windows.bucket_odds))
    chosen = rng.choice(windows.buckets[bucket], windows.size[bucket], p=windows.odds[bucket])
    return windows.make(chosen, rng, 0.0, windows.config.transpose)


def ship(
    model: MusicTransformerVAEGAN, config: Config, facts: dict[str, Any], directions: dict[str, Tensor], out: Path
) -> None:
    """Write the model folder the studio opens; weights in half precision, half the size for the same notes."""
    facts = facts | {"colours": sorted(directions)}
    half = {name: tensor.half() for name, tensor in model.state_dict().items()}
    checkpoint.save(out, half, config, facts, colours=directions)
