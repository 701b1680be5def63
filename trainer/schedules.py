"""Step to learning rate and to KL weight. Pure functions, but for the two controllers that have a state."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from engine.config import LossConfig, TrainConfig

DECAY = 0.25  # share of a run over which the learning rate falls to zero

# ---------------------------------------------------------------- learning rate


def hold(progress: float) -> float:
    """The peak, then linearly to zero over the last quarter (Zhai et al. 2022)."""
    return max(min((1 - progress) / DECAY, 1.0), 0.0)


def half_cosine(progress: float) -> float:
    """From the peak to zero along half a cosine (Loshchilov and Hutter 2017)."""
    return (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def constant(progress: float) -> float:
    """The peak to the end."""
    return 1.0


RATES: dict[str, Callable[[float], float]] = {
    "hold": hold,
    "cosine": half_cosine,
    "plateau": constant,  # `Plateau` lowers it
    "constant": constant,
}


def learning_rate(step: int, steps: int, peak: float, warmup: int, schedule: str = "hold") -> float:
    """Warm up linearly, and no higher than the schedule has it."""
    return peak * min((step + 1) / max(warmup, 1), 1.0, RATES[schedule](step / steps))


@dataclass(slots=True)
class Plateau:
    """The factor of the rate under schedule "plateau": lower whenever held-out loss has stood still.

    As torch's ReduceLROnPlateau with a relative threshold of 0.
    """

    config: TrainConfig
    factor: float = 1.0
    best: float = math.inf
    since: int = 0

    def saw(self, loss: float) -> None:
        """Learn what a measurement gave."""
        if self.config.lr_schedule != "plateau":
            return
        self.since += 1
        if loss < self.best:
            self.best, self.since = loss, 0
        if self.since > self.config.plateau_patience:
            self.factor, self.since = self.factor * self.config.plateau_factor, 0


# ---------------------------------------------------------------- KL weight


def linear(progress: float, config: LossConfig) -> float:
    """0 to 1 over the first `kl_warmup` of the run."""
    return min(progress / max(config.kl_warmup, 1e-9), 1.0)


def cosine(progress: float, config: LossConfig) -> float:
    """The same way along half a cosine: slow at both ends."""
    return (1 - math.cos(math.pi * linear(progress, config))) / 2


def cyclical(progress: float, config: LossConfig) -> float:
    """`kl_cycles` times 0 to 1, each over the first half of its cycle (Fu et al. 2019); ends at 1."""
    return min(2 * (progress * config.kl_cycles % 1), 1.0) if progress < 1 else 1.0


SCHEDULES = {"linear": linear, "cosine": cosine, "cyclical": cyclical}
RESPONSE = 0.01  # of the controller: how much of a relative error one step turns into change
LOW, HIGH = 1e-4, 100.0


@dataclass(slots=True)
class KlWeight:
    """The factor of all KL weights at every step; adaptive, it holds `kl_target` (after Shao et al. 2020)."""

    config: LossConfig
    factor: float = 1.0

    def at(self, step: int, steps: int) -> float:
        """The factor for a step."""
        if self.config.kl_schedule == "adaptive":
            return self.factor
        return SCHEDULES[self.config.kl_schedule](step / steps, self.config)

    def saw(self, nats: float) -> None:
        """Learn what the divergence of the last batch was, in nats per 4/4 bar: above the target the factor grows."""
        if self.config.kl_schedule == "adaptive" and math.isfinite(nats):
            error = max(min(nats / max(self.config.kl_target, 1e-9) - 1, 1.0), -1.0)
            self.factor = min(max(self.factor * math.exp(RESPONSE * error), LOW), HIGH)
