"""The loss around a model's weights: slices along random directions, and a plane through two of them.

Directions are filter-normalised (Li et al. 2018): random, with every filter (row of a matrix, embedding of a token) as
long as the model's own, so that a step of 1 is as far as the weights are from zero and models can be compared. Biases
and norms stand still. The loss is that of fixed held-out batches, with the same noise for z everywhere. The weights are
exactly what they were afterwards, also where a slice was called off. L lines, A points on a line, G points a side.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.config import Config
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.adversary import HEARING
from trainer.loop import APART
from trainer.objective import objective_of

NEAR = 0.25  # share of the radius within which curvature and sharpness are taken
RAISED = 0.1  # share by which the loss has risen at the end of a slice's width

Floats = NDArray[np.float64]
Direction = Mapping[str, Tensor]  # by parameter


@dataclass(frozen=True, slots=True, eq=False)
class Landscape:
    """The objective (nats per 4/4 bar) around a model."""

    at: Floats  # (A,) how far along a line
    lines: Floats  # (L, A)
    side: Floats  # (G,)
    grid: Floats  # (G, G) along the first direction downwards, the second across; empty where there is one direction
    centre: float

    def figures(self) -> dict[str, Any]:
        """What the picture comes to: curvature, sharpness and width of each line, and of the plane."""
        near = np.abs(self.at) <= NEAR * self.at.max() + 1e-12
        around = self.lines[:, near]
        plane = (
            self.grid[np.ix_(*2 * (np.abs(self.side) <= NEAR * self.side.max() + 1e-12,))] if self.grid.size else around
        )
        return {
            "centre": self.centre,
            "curvature": [curvature(self.at[near], line) for line in around],
            "sharpness": float((max(around.max(), plane.max()) - self.centre) / (1 + abs(self.centre))),
            "width": [width(self.at, line, self.centre) for line in self.lines],
            "lowest": float(min(self.lines.min(), self.grid.min(initial=np.inf))),
        }


def curvature(at: Floats, values: Floats) -> float:
    """The second derivative at 0 of the parabola that fits a few values best; three points at least."""
    return float(2 * np.polynomial.polynomial.polyfit(at, values, 2)[2])


def width(at: Floats, values: Floats, centre: float) -> float | None:
    """How long the stretch about 0 is in which the loss is less than RAISED above its centre; None past the ends."""
    high = centre + RAISED * abs(centre)
    ends = []
    for side in (np.argsort(at)[at[np.argsort(at)] >= 0], np.argsort(-at)[at[np.argsort(-at)] <= 0]):
        above = np.flatnonzero(~(values[side] < high))
        if not len(above) or above[0] == 0:
            return None
        a, b = side[above[0] - 1], side[above[0]]
        ends.append(abs(float(np.interp(high, [values[a], values[b]], [at[a], at[b]]))))
    return sum(ends)


def direction(model: nn.Module, noise: torch.Generator) -> dict[str, Tensor]:
    """A random direction over the weights that are trained with the model, filter-normalised."""
    out = {}
    for name, p in model.named_parameters():
        if name.startswith(APART) or p.ndim < 2:
            continue
        d = torch.randn(p.shape, generator=noise).to(p)
        out[name] = d * (_lengths(p.detach()) / _lengths(d).clamp(min=1e-12))
    return out


def _lengths(p: Tensor) -> Tensor:
    """The norm of every filter, in a shape that multiplies the tensor."""
    lengths: Tensor = torch.linalg.vector_norm(p.flatten(1), dim=1)
    return lengths.view(-1, *[1] * (p.ndim - 1))


@contextmanager
def moving(model: nn.Module, names: Iterable[str]) -> Generator[Mapping[str, tuple[nn.Parameter, Tensor]], None, None]:
    """The named parameters with a copy of each; they hold that copy again at the end, however it comes."""
    kept = {name: (p, p.detach().clone()) for name, p in model.named_parameters() if name in set(names)}
    try:
        yield kept
    finally:
        with torch.no_grad():
            for p, own in kept.values():
                p.copy_(own)


@torch.no_grad()
def survey(
    model: MusicTransformerVAEGAN,
    config: Config,
    batches: Sequence[Any],
    *,
    lines: int = 3,
    points: int = 21,
    side: int = 9,
    radius: float = 1.0,
    seed: int = 0,
) -> Generator[tuple[int, int], None, Landscape]:
    """Measure `lines` slices of `points` points and a plane of `side` x `side`; yields how many of how many are done.

    The model should be on its device; the batches are `trainer.batches.Batch` or `trainer.events.EventBatch`.
    """
    device = next(model.parameters()).device
    objective = objective_of(model, config.loss).to(device)
    was_training = model.training
    model.eval()
    here = [batch.to(device) for batch in batches]
    weights = [batch.size for batch in batches]

    def loss() -> float:
        values = []
        for batch in here:
            noise = torch.Generator(device=device).manual_seed(0)
            values.append(float(objective(batch, 1.0, noise, skip=HEARING)[0]))
        return float(np.average(values, weights=weights))

    noise = torch.Generator().manual_seed(seed)
    ways = [direction(model, noise) for _ in range(lines)]
    along, across = np.linspace(-radius, radius, points), np.linspace(-radius, radius, side if lines > 1 else 0)
    todo: list[tuple[tuple[int, float], ...]] = [((i, float(a)),) for i in range(lines) for a in along]
    todo += [((0, float(a)), (1, float(b))) for a in across for b in across]
    found = []
    try:
        with moving(model, ways[0]) as kept:
            centre = loss()
            for steps in todo:
                for name, (p, own) in kept.items():
                    p.copy_(own)
                    for way, length in steps:
                        p.add_(ways[way][name], alpha=length)
                found.append(centre if not any(length for _, length in steps) else loss())
                yield len(found), len(todo)
    finally:
        model.train(was_training)
    values = np.array(found)
    cut = lines * points
    return Landscape(along, values[:cut].reshape(lines, points), across, values[cut:].reshape(len(across), -1), centre)
