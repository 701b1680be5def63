"""A judge that learns to tell two sets of windows apart: at .5 on pieces it never heard they are alike.

Its verdict counts only where it can also tell real bars in random order (at least .9) and finds nothing between two
halves of real music. W windows of N bars, F and G numbers of a bar and of a pair, H width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.errors import MorphonyError
from trainer.evaluate.features import features
from trainer.evaluate.windows import Window

Floats = NDArray[np.float64]
WIDTH = 96
DROPOUT = 0.4
AHEAD = (1, 2, 4)  # bars between two that are heard together
EPOCHS, LEAST_STEPS = 12, 150
BATCH = 64
RATE, DECAY = 2e-3, 0.05
TEST = 0.3  # share of the pieces that are judged
SEEDS = (0, 1, 2)


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """Windows as the classifier hears them."""

    bars: NDArray[np.float32]  # (W, N, F)
    pairs: NDArray[np.float32]  # (W, N, N, G)
    piece: NDArray[np.int64]  # (W,)

    @classmethod
    def of(cls, windows: Sequence[Window]) -> Heard:
        """All windows must have as many bars."""
        return cls(*features(windows), np.array([w.piece for w in windows]))


def real_versus(a: Sequence[Window], b: Sequence[Window], seed: int) -> float:
    """Held-out accuracy (both sets weigh the same) of a classifier of a against b, split by piece."""
    right_a, right_b = told_apart(Heard.of(a), Heard.of(b), seed)
    return float((np.nanmean(right_a) + np.nanmean(right_b)) / 2)


def told_apart(a: Heard, b: Heard, seed: int) -> tuple[Floats, Floats]:
    """For every window of a and of b: 1 where it was told rightly, 0 where not, NaN where it served to learn.

    Raises MorphonyError when there are not enough pieces to learn from some and judge others.
    """
    is_a = np.arange(len(a.piece) + len(b.piece)) < len(a.piece)
    judged = _judged(np.concatenate([a.piece, b.piece]), is_a, np.random.default_rng(seed))
    bars, pairs = (_standard(np.concatenate(x), ~judged) for x in ((a.bars, b.bars), (a.pairs, b.pairs)))
    y, right = torch.from_numpy(is_a).float(), np.full(len(is_a), np.nan)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        listener = _learnt(Listener(bars.shape[-1], pairs.shape[-1], bars.shape[1]), bars, pairs, y, ~judged)
    with torch.no_grad():
        for rows in torch.split(torch.from_numpy(np.flatnonzero(judged)), BATCH):
            right[rows] = ((listener(bars[rows], pairs[rows]) > 0) == (y[rows] > 0)).double()
    return right[: len(a.piece)], right[len(a.piece) :]


def _judged(piece: NDArray[np.integer], is_a: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """(W,) True for the windows of some pieces, of which both sets have windows on both sides."""
    names = rng.permutation(np.unique(piece))
    out = np.isin(piece, names[: max(round(TEST * len(names)), 1)])
    if not all((out & of).any() and (~out & of).any() for of in (is_a, ~is_a)):
        raise MorphonyError("There are too few pieces to learn from some and to judge the others.")
    return out


def _standard(x: NDArray[np.float32], learnt: NDArray[np.bool_]) -> Tensor:
    """Every number with mean 0 and deviation 1 over the windows that are learnt from, outliers cut."""
    axes = tuple(range(x.ndim - 1))
    mean, spread = x[learnt].mean(axes), np.maximum(x[learnt].std(axes), 0.05)
    return torch.from_numpy(((x - mean) / spread).clip(-4, 4))


class Listener(nn.Module):
    """Bars and pairs of bars some way apart to one number for a window: above 0 it is of the first set."""

    def __init__(self, bar: int, pair: int, bars: int) -> None:
        super().__init__()
        self.bar = nn.Sequential(nn.Dropout(DROPOUT / 2), nn.Linear(bar, WIDTH), nn.GELU(), nn.Dropout(DROPOUT))
        self.ahead = [k for k in AHEAD if k < bars]
        self.pair = nn.ModuleList(
            nn.Sequential(nn.Linear(3 * WIDTH + pair, WIDTH), nn.GELU(), nn.Dropout(DROPOUT)) for _ in self.ahead
        )
        self.form = nn.Sequential(nn.Linear(pair * len(self.ahead), WIDTH), nn.GELU(), nn.Dropout(DROPOUT))
        heard = 2 * WIDTH * (1 + len(self.ahead)) + WIDTH
        self.out = nn.Sequential(nn.Linear(heard, WIDTH), nn.GELU(), nn.Dropout(DROPOUT), nn.Linear(WIDTH, 1))

    def forward(self, bars: Tensor, pairs: Tensor) -> Tensor:
        """(W,) from (W, N, F) and (W, N, N, G)."""
        h = self.bar(bars)
        heard, form, every = [h.mean(1), h.amax(1)], [], pairs.mean((1, 2))
        for k, listen in zip(self.ahead, self.pair, strict=True):
            a, b, between = h[:, :-k], h[:, k:], pairs.diagonal(k, 1, 2).transpose(1, 2)
            x = listen(torch.cat([a, b, (a - b).abs(), between], -1))
            heard += [x.mean(1), x.amax(1)]
            form.append(between.mean(1) - every)
        out: Tensor = self.out(torch.cat([*heard, self.form(torch.cat(form, -1))], -1))
        return out[:, 0]


def _learnt(listener: Listener, bars: Tensor, pairs: Tensor, y: Tensor, learnt: NDArray[np.bool_]) -> Listener:
    """Fitted to some windows, both sets weighing the same; a fixed number of steps, none of them chosen by result."""
    rows = torch.from_numpy(np.flatnonzero(learnt))
    weight = torch.where(y > 0, 0.5 / y[rows].mean(), 0.5 / (1 - y[rows].mean()))
    steps = max(EPOCHS * len(rows) // BATCH, LEAST_STEPS)
    optimiser = torch.optim.AdamW(listener.parameters(), RATE, weight_decay=DECAY, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda s: min(1.0, (s + 1) / 20) * (1 - s / steps))
    listener.train()
    order = torch.cat([rows[torch.randperm(len(rows))] for _ in range(steps * BATCH // len(rows) + 1)])
    for at in torch.split(order[: steps * BATCH], BATCH):
        loss = F.binary_cross_entropy_with_logits(listener(bars[at], pairs[at]), y[at], weight[at])
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no type for it
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        schedule.step()
    return listener.eval()
