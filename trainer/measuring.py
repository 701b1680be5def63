"""Held-out figures of a run: losses of its averaged weights, and how many notes come out right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from trainer.adversary import HEARING
from trainer.draws import AnyBatch
from trainer.events import EventBatch
from trainer.objective import note_f1
from trainer.processes import summed
from trainer.run import Run, floats

Row = tuple[dict[str, float], float, float, float]  # values of a batch, its weight, its summed F1, and of how many bars


@torch.no_grad()
def measure(run: Run, batches: Sequence[tuple[str, AnyBatch]]) -> dict[str, float]:
    """Held-out losses at full KL weight from a fixed sample of z, and note F1 from the mean (not of events).

    Processes share the batches out; each learns all the figures.
    """
    rows: dict[int, Row] = {}
    ranks = run.fabric.world_size
    with run.ema:
        run.model.eval()
        for turn in range(-(-len(batches) // ranks)):  # sharded, all processes must take as many turns
            i = turn * ranks + run.fabric.global_rank
            seen = _measured(run, batches[i % len(batches)][1])
            rows |= {i: seen} if i < len(batches) else {}
        run.model.train()
    names = list(seen[0])
    table = np.zeros((len(batches), len(names) + 3))
    for i, (values, *rest) in rows.items():
        table[i] = [*(values[name] for name in names), *rest]
    table = np.array(summed(run.fabric, table.ravel().tolist())).reshape(table.shape)
    return figures([name for name, _ in batches], names, table)


def _measured(run: Run, plain: AnyBatch) -> Row:
    batch = plain.to(run.fabric.device)
    noise = torch.Generator(device=run.fabric.device).manual_seed(0)
    objective, terms, _ = run.objective(batch, 1.0, noise, skip=HEARING)
    values = {"objective": float(objective)} | floats(terms)
    if isinstance(batch, EventBatch):
        return values, batch.size, 0.0, 0.0  # events have no bars to compare with
    onsets = run.objective(batch, 1.0, None, True, skip=HEARING)[2]
    score = note_f1(onsets, batch.target, batch.bars, run.config.model.threshold)
    full = torch.bincount(batch.target.bar, minlength=len(score)).cpu().numpy() > 0
    return values, batch.size, float(score[full].sum(dtype=np.float64)), float(full.sum())


def figures(corpora: Sequence[str], names: Sequence[str], table: NDArray[np.float64]) -> dict[str, float]:
    """Means over held-out batches from a row each: values by name, how much they count, summed F1, and of how many."""
    values, weight, f1, bars = table[:, :-3], table[:, -3], table[:, -2], table[:, -1]
    out = {name: float(np.average(values[:, i], weights=weight)) for i, name in enumerate(names)}
    each = {}
    for name in dict.fromkeys(corpora):
        mine = np.array([c == name for c in corpora])
        if bars[mine].sum():
            each[name] = float(f1[mine].sum() / bars[mine].sum())
    whole_f1 = {"f1": float(np.mean(list(each.values())))} if each else {}
    return out | {f"f1_{name}": value for name, value in each.items()} | whole_f1
