"""When numbers fail: back to the last good state in memory, at a lower rate, and a stop after three failures in a row.

A first failure whose step moved nothing costs that step alone: weights that are no numbers are put back as the last
snapshot has them, all others stay. Else everything goes back to the snapshot. The count of steps goes on, so every
step is one line of the log and draws music of its own. Knows no loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.errors import MorphonyError

LOWER = 0.5  # times the learning rate after a failure
LOWEST = 1 / 8
REGAINED = 3  # good steps after which one failure is made up for
IN_A_ROW = 3


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a run was at the end of a step, in memory of its own."""

    step: int
    tensors: list[Tensor]
    optimisers: list[list[dict[str, Tensor]]]
    plain: dict[str, Any]


@dataclass(slots=True)
class Recovery:
    """How often numbers have failed, and what that makes of the learning rate."""

    factor: float = 1.0
    in_a_row: int = 0

    def passed(self) -> None:
        """A step was good: the rate climbs back."""
        self.in_a_row = 0
        self.factor = min(self.factor * LOWER ** (-1 / REGAINED), 1.0)

    def failed(self, step: int, what: str, done: str) -> str:
        """A step was not, and something is done about it; the sentence to say.

        Raises MorphonyError after the third in a row.
        """
        self.in_a_row += 1
        self.factor = max(self.factor * LOWER, LOWEST)
        if self.in_a_row >= IN_A_ROW:
            raise MorphonyError(
                f"Training stopped at step {step}: {what} was not a number {IN_A_ROW} times in a row, at ever lower "
                f"rates. The last checkpoint is good; try a lower lr, or look at the music of these steps."
            )
        rate = f"the learning rate is {self.factor:.3g} of the schedule's"
        return f"At step {step} {what} was not a number: {done}, and {rate}."


def mend(tensors: Sequence[Tensor], kept: Sequence[Tensor]) -> None:
    """Put back in its place each number that is none, as it was kept."""
    for tensor, old in zip(tensors, kept, strict=True):
        if tensor.is_floating_point():
            tensor.copy_(torch.where(tensor.isfinite(), tensor, old))


def finite(tensors: Iterable[Tensor]) -> bool:
    """Whether every number is one."""
    floating = [t for t in tensors if t.is_floating_point() and t.numel()]
    if not floating:
        return True
    lengths = torch._foreach_norm(floating, 1)  # finite unless a number is not, or is absurd
    return math.isfinite(float(torch.stack([length.double().cpu() for length in lengths]).sum()))
