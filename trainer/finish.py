"""From trained weights to a model that ships: the conditional prior, the colour directions, what the sliders span.

The prior learns on frozen latents in minutes. Colours are principal components of the fine latents, each scaled by
the notes it *measurably* changes, not by its own sigma (at this rate one sigma of a component moves about one note).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine import checkpoint
from engine.attributes import NAMES
from engine.config import Config
from engine.model import fields as f
from engine.model.batch import PHRASE_BARS, Bars, Offsets
from engine.model.latents import sample
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.batches import Batch, Windows, held_out
from trainer.corpus import Corpus
from trainer.loop import Step

COLOURS = 6
NOTES_PER_SIGMA = 2.5  # notes of a 4/4 bar that one sigma of a colour slider changes, on average
PRIOR_BARS = 16


def quantiles(corpus: Corpus) -> dict[str, list[float]]:
    """0 to 100 % of each attribute over the pieces of a corpus: the curve behind its slider."""
    table = corpus.attribute_table()
    return {name: np.nanpercentile(table[:, i], np.arange(101)).round(4).tolist() for i, name in enumerate(NAMES)}


@torch.no_grad()
def colours(model: MusicTransformerVAEGAN, windows: Windows, batches: int = 40) -> dict[str, Tensor]:
    """Directions (Z,) of the fine level, one sigma of the slider long. The model must be in eval mode."""
    rng = np.random.default_rng(0)
    drawn = [_plain(windows, rng) for _ in range(batches)]
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


def train_prior(
    model: MusicTransformerVAEGAN, windows: Windows, valid: Windows, steps: int, seed: int = 0
) -> Iterator[Step]:
    """Fit p(next bar | bars before, phrase, piece) on sampled latents of the frozen model; yields its nats per bar."""
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    model.prior.requires_grad_(True)
    model.eval()
    fit_upper(model, windows, seed)
    optimiser = torch.optim.AdamW(model.prior.parameters(), lr=6e-4, betas=(0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-4, total_steps=steps, pct_start=0.05)
    held = [_plain(valid, np.random.default_rng(7)) for _ in range(8)]
    began = time.monotonic()
    for n in range(1, steps + 1):
        model.prior.train()
        loss = _prior_loss(model, _plain(windows, rng), noise)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        torch.nn.utils.clip_grad_norm_(model.prior.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
        measured = None
        if n % 250 == 0 or n == steps:
            model.prior.eval()
            with torch.no_grad():
                fixed = torch.Generator().manual_seed(1)
                measured = {"loss": float(np.mean([float(_prior_loss(model, b, fixed)) for b in held]))}
        yield Step(n, steps, time.monotonic() - began, {"loss": float(loss.detach())}, measured)


@torch.no_grad()
def fit_upper(model: MusicTransformerVAEGAN, windows: Windows, seed: int = 0, batches: int = 200) -> None:
    """Fit the prior of phrase and piece latents to samples of their posteriors; nothing where the model has none."""
    if model.prior.upper is None:
        return
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    drawn = [upper_latents(model, _plain(windows, rng), noise) for _ in range(batches)]
    longest = max(z_local.shape[1] for _, z_local in drawn)
    kept = [pair for pair in drawn if pair[1].shape[1] == longest]
    model.prior.upper.fit(torch.cat([z for z, _ in kept]), torch.cat([z for _, z in kept]))


@torch.no_grad()
def upper_latents(model: MusicTransformerVAEGAN, batch: Batch, noise: torch.Generator) -> tuple[Tensor, Tensor]:
    """Samples (B, G) and (B, P, L) of the posteriors of a batch's longest windows."""
    q = model.encode(batch.source, batch.bars, noise)
    usable, rows = _longest(batch.bars)
    return q.z_global[usable], q.z_local[batch.bars.phrase[rows[:, ::PHRASE_BARS]]]


def _prior_loss(model: MusicTransformerVAEGAN, batch: Batch, noise: torch.Generator) -> Tensor:
    """Nats per bar of the windows' fine latents, minus nothing: the encoder's entropy is the same for every prior."""
    return -model.prior.log_prob(*_known(model, batch, noise)).mean()


@torch.no_grad()
def _known(model: MusicTransformerVAEGAN, batch: Batch, noise: torch.Generator) -> tuple[Tensor, ...]:
    """What the prior is told of the longest windows of a batch: z_fine, z_local, z_global and quarters, in rows."""
    q = model.encode(batch.source, batch.bars, noise)
    z_fine = sample(q.q_fine, noise)
    bars = batch.bars
    usable, rows = _longest(bars)
    return z_fine[rows], q.z_local[bars.phrase[rows]], q.z_global[usable], (bars.clocks[rows] / 24).float()


def _longest(bars: Bars) -> tuple[Tensor, Tensor]:
    """(B,) the pieces with the most bars in a batch, and (B, N) which bars those are."""
    piece = bars.piece[bars.phrase]
    count = torch.bincount(piece)
    usable = torch.nonzero(count == count.max())[:, 0]
    return usable, torch.stack([torch.nonzero(piece == i)[:, 0] for i in usable])


@torch.no_grad()
def order_gain(model: MusicTransformerVAEGAN, windows: Windows, per_corpus: int = 24) -> tuple[float, float]:
    """Nats per bar of held-out windows under the prior over bars: in their order, and shuffled within each window.

    Shuffled bars are encoded anew, so that phrase and piece latents are those of the shuffled music. A prior that knows
    what follows what asks fewer nats for the true order; one that has learnt bars but no order asks the same.
    """
    model.eval()
    rng, totals, count = np.random.default_rng(0), np.zeros(2), 0
    for _, batch in held_out(windows, per_corpus):
        for column, music in enumerate((batch, _shuffled(batch, rng))):
            nats = -model.prior.log_prob(*_known(model, music, torch.Generator().manual_seed(0)))
            totals[column] += float(nats.sum())
        count += nats.numel()
    return float(totals[0] / count), float(totals[1] / count)


def _shuffled(batch: Batch, rng: np.random.Generator) -> Batch:
    """The same windows with the bars of each in random order; every bar keeps its notes and its meter."""
    bars = batch.bars
    piece = bars.piece[bars.phrase].numpy()
    order = torch.from_numpy(np.lexsort((rng.random(len(piece)), piece)))  # place of the new order -> old bar
    notes = replace(batch.source, bar=torch.argsort(order)[batch.source.bar])
    moved = replace(bars, clocks=bars.clocks[order], beat=bars.beat[order])
    return replace(batch, source=notes, target=notes, bars=moved)


def _plain(windows: Windows, rng: np.random.Generator) -> Batch:
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
