"""Weights averaged over a run: an exponential mean of its steps, and a plain mean of its checkpoints.

Sharded, each process averages the parts it holds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from trainer.processes import local

EVERY = 8  # steps between updates of the exponential mean


class Ema:
    """An exponential mean of weights (Polyak and Juditsky 1992), shorter than configured while the run is young."""

    def __init__(self, trained: Sequence[nn.Parameter]) -> None:
        self.trained = list(trained)
        self.mean = [local(p).clone() for p in self.trained]

    def saw(self, step: int, keep: float) -> None:
        """Take in the weights after a step (from 1) of which the mean keeps a share."""
        if step % EVERY == 0:
            keep = min(keep, (step + 1) / (step + 10)) ** EVERY
            torch._foreach_lerp_(self.mean, [local(p) for p in self.trained], 1 - keep)

    def follow(self) -> None:
        """Begin anew at the weights as they are."""
        torch._foreach_copy_(self.mean, [local(p) for p in self.trained])

    def __enter__(self) -> None:
        """Within, the model has the averaged weights."""
        self._swap()

    def __exit__(self, *_: object) -> None:
        self._swap()

    def _swap(self) -> None:
        for p, mean in zip(self.trained, self.mean, strict=True):
            raw = local(p)
            kept = raw.clone()
            raw.copy_(mean)
            mean.copy_(kept)


def mean_of(many: Iterable[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of several weights, taken one at a time (stochastic weight averaging, Izmailov et al. 2018)."""
    total: dict[str, Tensor] = {}
    like: Mapping[str, Tensor] = {}
    count = 0
    for like in many:
        total = {name: total.get(name, torch.zeros(())) + t.double().cpu() for name, t in like.items()}
        count += 1
    return {name: (t / count).to(like[name].dtype) for name, t in total.items()}
