"""When a run has learnt what it can: patience over several held-out figures."""

from __future__ import annotations

from collections.abc import Mapping

from engine.config import TrainConfig
from engine.errors import MorphonyError

HIGHER = ("f1",)  # figures that are better the higher they are, and those that begin so; all others the lower


def improved(best: dict[str, float], measured: Mapping[str, float], config: TrainConfig) -> bool:
    """Whether any of the figures to stop on is better than it ever was; `best` is brought up to date.

    Any, not all: while the notes still come out righter the run is learning music, though its loss stands still, and
    the other way round. Raises MorphonyError for a figure that is not measured.
    """
    better = False
    for name in config.stop_on:
        if name not in measured:
            raise MorphonyError(f"stop_on names {name!r}, which is not measured here, only {', '.join(measured)}.")
        value = measured[name]
        sign = -1 if name.startswith(HIGHER) else 1
        if name not in best or sign * value < sign * best[name]:
            best[name], better = value, True
    return better
