"""The losses of one fine-tuning run as an object: every term, training and held out, step by step. No Qt, no plots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.trainer_thread import TrainingStep

TOTAL: Final = "loss"
Curve = tuple[NDArray[np.float64], NDArray[np.float64]]  # step numbers, values


@dataclass(slots=True)
class LossHistory:
    """Grows by a step at a time; curves come out as arrays with nothing rounded and nothing left out."""

    steps: list[TrainingStep] = field(default_factory=list)
    _curves: dict[tuple[str, bool], tuple[list[float], list[float]]] = field(default_factory=dict)

    def add(self, step: TrainingStep) -> None:
        """Take one step."""
        self.steps.append(step)
        for held_out, values in ((False, step.train), (True, step.held_out or {})):
            for term, value in values.items():
                x, y = self._curves.setdefault((term, held_out), ([], []))
                x.append(float(step.n))
                y.append(float(value))

    @property
    def terms(self) -> list[str]:
        """Every term seen, the total first."""
        return sorted({term for term, _ in self._curves}, key=lambda t: (t != TOTAL, t))

    def curve(self, term: str, held_out: bool = False) -> Curve:
        """Steps and values of a term; empty when it was never measured."""
        x, y = self._curves.get((term, held_out), ([], []))
        return np.array(x, float), np.array(y, float)

    def to_csv(self) -> str:
        """Every value there is, a row each: step, seconds, training or held out, term, value."""
        rows = ["step,seconds,music,term,value"]
        for step in self.steps:
            for music, values in (("training", step.train), ("held out", step.held_out or {})):
                rows += [f"{step.n},{step.seconds:.3f},{music},{term},{value!r}" for term, value in values.items()]
        return "\n".join(rows) + "\n"

    def improvement(self) -> float | None:
        """By what share the best held-out loss lies below the first one; None until there are two."""
        _, y = self.curve(TOTAL, held_out=True)
        y = y[np.isfinite(y)]
        if len(y) < 2 or y[0] == 0:
            return None
        return float((y[0] - y[1:].min()) / abs(y[0]))

    def seconds_left(self) -> float | None:
        """Expected seconds to the end, from the pace of the last steps; None before there is a pace."""
        recent = self.steps[-20:]
        if len(recent) < 2 or recent[-1].n <= recent[0].n:
            return None
        pace = (recent[-1].seconds - recent[0].seconds) / (recent[-1].n - recent[0].n)
        return max(recent[-1].steps - recent[-1].n, 0) * pace


def smoothed(values: NDArray[np.float64], weight: float) -> NDArray[np.float64]:
    """Exponential moving average without the pull of its start; weight 0 changes nothing, 0.9 much."""
    out, mean, norm = np.empty_like(values), 0.0, 0.0
    for i, value in enumerate(values):
        if np.isfinite(value):
            mean, norm = weight * mean + (1 - weight) * value, weight * norm + (1 - weight)
        out[i] = mean / norm if norm else np.nan
    return out
