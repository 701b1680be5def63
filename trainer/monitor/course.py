"""The course of every term over a run in bounded memory: means of training, the last measurements, and their trends."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Mapping

from trainer.loop import Step
from trainer.monitor.figures import with_groups
from trainer.trends import Trend, of_series

POINTS = 100  # means of training, and measurements, that are kept
SPOKEN = ("loss", "objective", "f1")  # held-out terms whose trend is said, before the groups

Points = deque[tuple[float, float]]  # step, value


class Course:
    """Takes every step; `trends` says where each term is going."""

    def __init__(self, steps: int) -> None:
        self.run = max(steps // POINTS, 1)  # steps in a mean
        self.series: dict[str, dict[str, Points]] = {"train": {}, "held_out": {}}
        self.sums: dict[str, tuple[float, int]] = {}

    def add(self, step: Step) -> None:
        """Take a step."""
        for name, value in with_groups(step.train).items():
            if math.isfinite(value):
                total, count = self.sums.get(name, (0.0, 0))
                self.sums[name] = total + value, count + 1
        if step.n % self.run == 0:
            middle = step.n - (self.run - 1) / 2
            self._append("train", middle, {name: total / count for name, (total, count) in self.sums.items()})
            self.sums.clear()
        if step.held_out is not None:
            self._append("held_out", step.n, with_groups(step.held_out))

    def _append(self, side: str, n: float, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self.series[side].setdefault(name, deque(maxlen=POINTS)).append((n, value))

    def trends(self) -> dict[str, dict[str, Trend]]:
        """Side (train, held_out) -> term or group -> its trend, where there are points enough."""
        return {
            side: of_series({name: _columns(points) for name, points in terms.items()})
            for side, terms in self.series.items()
        }


def _columns(points: Iterable[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [n for n, _ in points], [value for _, value in points]


def line(trends: Mapping[str, Mapping[str, Trend]]) -> str:
    """One line for people: where held-out loss, objective, F1 and groups are going; empty before there is a trend."""
    held = trends["held_out"]
    named = [name for name in SPOKEN if name in held] + sorted(name for name in held if name.startswith("all of "))
    said = [f"{name} {held[name].words()}" for name in named]
    return "trends held out: " + "; ".join(said) if said else ""
