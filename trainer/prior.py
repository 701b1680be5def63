"""The prior over bars learns on the frozen model: windows of posterior means, some of their bars known, some to draw.

B windows, N bars (at most WINDOW), P phrases; F, L, G widths of the fine, local and global level.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from engine.model.batch import Bars
from engine.model.latents import Posterior
from engine.model.priors import WINDOW, told_of
from engine.model.upper_prior import told_of_pieces
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.batches import Batch, Windows, held_out
from trainer.finish import plain_batch
from trainer.loop import Step
from trainer.schedules import learning_rate

RATE, WARMUP, DECAY, EMA = 1e-3, 200, 0.05, 0.9995
SHORT = 0.3  # share of windows that are cut at a random length: new music may be shorter than a window
MEASURE_EVERY = 250
BATCHES_TO_FIT = 100  # for means, deviations and the upper prior

Tensors = list[Tensor] | tuple[Tensor, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What the prior learns from: windows of latents side by side, and where there are any."""

    z_fine: Tensor  # (B, N, F)
    told: Tensor  # (B, N, C)
    there: Tensor  # (B, N) bool


def train_prior(
    model: MusicTransformerVAEGAN, windows: Windows, valid: Windows, steps: int, seed: int = 0
) -> Iterator[Step]:
    """Fit the model's prior; nothing else moves. Its averaged weights are what stays.

    "loss" is the mean squared error of the velocity, in variances of the latents: one that knows nothing has 2.
    """
    rng, noise = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    model.requires_grad_(False)
    model.eval()
    prior = model.prior.requires_grad_(True)
    fit(model, windows, seed)
    average = AveragedModel(prior, multi_avg_fn=_average)
    matrices, others = ([p for p in prior.parameters() if (p.ndim > 1) == wide] for wide in (True, False))
    optimiser = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}],
        lr=RATE, betas=(0.9, 0.99), fused=True,
    )  # fmt: skip
    held = [known_of(model, batch) for _, batch in held_out(valid, 12)]
    began = time.monotonic()
    for n in range(1, steps + 1):
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(n - 1, steps, RATE, WARMUP)
        k = shortened(known_of(model, plain_batch(windows, rng)), rng)
        loss = prior.loss(k.z_fine, k.told, gaps(k.there, rng), k.there, noise)
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        torch.nn.utils.clip_grad_norm_(prior.parameters(), 1.0)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        average.update_parameters(prior)
        measured = {"loss": _error(average.module, held)} if n % MEASURE_EVERY == 0 or n == steps else None
        yield Step(n, steps, time.monotonic() - began, {"loss": float(loss.detach())}, measured)
    prior.load_state_dict(average.module.state_dict())


def _average(averages: Tensors, current: Tensors, n: Tensor | int) -> None:
    """Exponential, of ever more steps in the beginning."""
    torch._foreach_lerp_(averages, current, 1 - min(EMA, (int(n) + 1) / (int(n) + 10)))


@torch.no_grad()
def _error(prior: Any, held: list[Known]) -> float:
    """The loss on held-out windows, always with the same gaps, times and noise."""
    rng, noise = np.random.default_rng(7), torch.Generator().manual_seed(7)
    errors = [prior.loss(k.z_fine, k.told, gaps(k.there, rng), k.there, noise) for k in held]
    return float(np.average([float(e) for e in errors], weights=[len(k.there) for k in held]))


def gaps(there: Tensor, rng: Generator) -> Tensor:
    """(B, N) bool: the bars that are known. Nothing, a beginning, all but a stretch, or bars here and there."""
    b, n = there.shape
    known = np.zeros((b, n), bool)
    for row, kind in zip(known, rng.random(b), strict=True):
        first, end = np.sort(rng.integers(0, n + 1, 2))
        if kind < 0.3:
            row[: rng.integers(1, n)] = n > 1
        elif kind < 0.47:
            row[:] = True
            row[first : max(end, first + 1)] = False
        elif kind < 0.55:
            row[:] = rng.random(n) < rng.random()
    return torch.from_numpy(known) & there


def shortened(k: Known, rng: Generator) -> Known:
    """Some windows without their last bars."""
    n = k.there.shape[1]
    length = np.where(rng.random(len(k.there)) < SHORT, rng.integers(1, n + 1, len(k.there)), n)
    return replace(k, there=k.there & (torch.arange(n) < torch.from_numpy(length)[:, None]))


@torch.no_grad()
def known_of(model: MusicTransformerVAEGAN, batch: Batch) -> Known:
    """The posterior means of every window of a batch, cut at WINDOW bars."""
    q, bars = model.encode(batch.source, batch.bars, mean=True), batch.bars
    rows, there = side_by_side(bars)
    edge = batch.edges if batch.edges is not None else torch.zeros(len(rows), 2, dtype=torch.bool)
    return Known(q.z_fine[rows], told_of(bars, rows, q.z_local, q.z_global, edge[:, 0], edge[:, 1]), there)


def side_by_side(bars: Bars) -> tuple[Tensor, Tensor]:
    """(B, N) which bars each piece of a batch has, its last one repeated; and True where it is not."""
    piece = bars.piece[bars.phrase]
    count = torch.bincount(piece).clamp(max=WINDOW)
    first = torch.searchsorted(piece, torch.arange(len(count)))
    at = torch.arange(int(count.max()))
    return first[:, None] + torch.minimum(at, count[:, None] - 1), at < count[:, None]


@torch.no_grad()
def fit(model: MusicTransformerVAEGAN, windows: Windows, seed: int = 0) -> None:
    """Means and deviations of the fine latents, and the prior of the upper ones where the model has one to fit."""
    rng = np.random.default_rng(seed)
    drawn = [plain_batch(windows, rng) for _ in range(BATCHES_TO_FIT)]
    found = [(b.bars, model.encode(b.source, b.bars, mean=True)) for b in drawn]
    model.prior.fit(torch.cat([q.z_fine for _, q in found]))
    if model.prior.upper is not None:
        longest = max(int(torch.bincount(bars.piece).max()) for bars, _ in found)
        pairs = [upper_of(bars, q, longest) for bars, q in found]
        model.prior.upper.fit(*(torch.cat(column) for column in zip(*pairs, strict=True)))


def upper_of(bars: Bars, q: Posterior, phrases: int) -> tuple[Tensor, Tensor, Tensor]:
    """(B, D), (B, G) and (B, P, L) of the pieces of a batch with so many phrases: what `UpperPrior` is fitted to."""
    whose = torch.nonzero(torch.bincount(bars.piece) == phrases)[:, 0]
    first = torch.searchsorted(bars.piece, whose)
    return told_of_pieces(bars)[whose], q.z_global[whose], q.z_local[first[:, None] + torch.arange(phrases)]


@torch.no_grad()
def order_gain(model: MusicTransformerVAEGAN, windows: Windows, per_corpus: int = 24) -> tuple[float, float]:
    """Nats per bar of held-out windows under the prior (`BarPrior.nats`): in their order, and shuffled in each window.

    Shuffled bars are encoded anew, so that phrase and piece latents are those of the shuffled music. A prior that knows
    what follows what asks fewer nats for the true order; one that has learnt bars but no order asks the same.
    """
    model.eval()
    rng, totals, count = np.random.default_rng(0), np.zeros(2), 0
    for _, batch in held_out(windows, per_corpus):
        for column, music in enumerate((batch, _shuffled(batch, rng))):
            k = known_of(model, music)
            nats = model.prior.nats(k.z_fine, k.told, k.there, torch.Generator().manual_seed(0))
            totals[column] += float(nats.sum())
        count += len(nats)
    return float(totals[0] / count), float(totals[1] / count)


def _shuffled(batch: Batch, rng: Generator) -> Batch:
    """The same windows with the bars of each in random order; every bar keeps its notes and its meter."""
    bars = batch.bars
    piece = bars.piece[bars.phrase].numpy()
    order = torch.from_numpy(np.lexsort((rng.random(len(piece)), piece)))  # place of the new order -> old bar
    notes = replace(batch.source, bar=torch.argsort(order)[batch.source.bar])
    moved = replace(bars, clocks=bars.clocks[order], beat=bars.beat[order])
    return replace(batch, source=notes, target=notes, bars=moved)
