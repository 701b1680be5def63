"""Small real runs with something wrong from a known step on, for the tests of the monitor; not a test.

Each cause is a clean run that is stopped at UNTIL and goes on from its checkpoint there with one thing changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from engine import config as configuration
from engine.config import Config
from tests.engine import small
from tests.trainer.conftest import TRAIN
from trainer.batches import Batch
from trainer.loop import HeldOut, Source, Step, train
from trainer.monitor import monitored
from trainer.monitor.watches import Limits

FACTS = {"deviations": small.DEVIATIONS.tolist()}
UNTIL = 150
CLEAN = configuration.override(
    Config(model=small.MODEL),
    {
        **{f"train.{name}": value for name, value in configuration.to_plain(TRAIN).items()},
        "train.steps": 400,
        "train.lr_warmup": 10,
        "train.ema": 0.9,
        "train.evaluate_every": 20,
        "train.checkpoint_every": 50,
        "train.patience": 1000,
        "loss.kl_warmup": 0.1,
    },
)
GAN = {
    "model.mode": "vae_gan",
    "model.discriminator_layers": 1,
    "loss.critic_start": 0.1,
    "loss.adversarial_start": 0.2,
}


BY_HEART = {
    "train.steps": 600,
    "train.slots_per_step": 576,
    "train.lr_warmup": 20,
    "train.ema": 0.9,
    "train.evaluate_every": 20,
    "train.patience": 1000,
    "train.edited_pairs": 0.0,
    "train.transpose": 0,
    "loss.kl_warmup": 0.1,
}
# for a critic that is let win: the decoder hardly hears it
UNHEARD = GAN | {
    "train.steps": 240,
    "loss.weights": dict.fromkeys(("adversarial", "feature_matching", "perceptual"), 0.001),
}


@dataclass(frozen=True)
class Cause:
    """What is changed, and the warning it shall raise."""

    warning: str
    changes: Mapping[str, object]  # of the configuration
    spoil: Callable[[Source], Source] = lambda source: source
    within: int = 60  # steps of the cause
    limits: Limits | None = None


class Poisoned:
    """Batches of which some hold a slider that is no number."""

    def __init__(self, source: Source, every: int = 7) -> None:
        self.source, self.every, self.drawn = source, every, 0

    def draw(self, rng: np.random.Generator, progress: float = 1.0) -> Batch:
        self.drawn += 1
        batch = self.source.draw(rng, progress)
        assert isinstance(batch, Batch)
        if self.drawn != self.every:
            return batch
        offsets = replace(batch.offsets, value=torch.full_like(batch.offsets.value, float("nan")))
        return replace(batch, offsets=replace(offsets, known=torch.ones_like(offsets.known)))


class Late:
    """Batches that come ever later."""

    def __init__(self, source: Source, seconds: float = 1.0) -> None:
        self.source, self.seconds = source, seconds

    def draw(self, rng: np.random.Generator, progress: float = 1.0) -> Batch:
        time.sleep(self.seconds)
        batch = self.source.draw(rng, progress)
        assert isinstance(batch, Batch)
        return batch


CAUSES = {
    "a learning rate 100 times as high": Cause("divergence", {"train.lr": 0.5}),
    "divergences that weigh 100 times as much": Cause("posterior_collapse", {"loss.beta": 100.0}, within=120),
    "a batch that is no number": Cause("not_a_number", {}, Poisoned, within=7),
    "onsets that weigh 100 times as much": Cause("exploding_gradient", {"loss.weights": {"onset": 100.0}}),
    "batches that come late": Cause("slow", {}, Late, within=25, limits=Limits(patience=1.0)),
    "a learning rate of zero": Cause("plateau", {"train.lr": 0.0, "train.weight_decay": 0.0}, within=220),
}


def run(
    config: Config,
    windows: Source,
    valid: HeldOut,
    out: Path,
    *,
    until: int | None = None,
    resume: bool = False,
    limits: Limits | None = None,
    held_out_windows: int = 2,
) -> Iterator[Step]:
    """A monitored run, as far as step `until`."""
    options = {"accelerator": "cpu", "held_out_windows": held_out_windows, "resume": resume}
    job = train(config, windows, valid, out, FACTS, **options)  # type: ignore[arg-type]  # mixed options
    steps = monitored(job, config, out, tensorboard=False, limits=limits)
    try:
        for step in steps:
            yield step
            if step.n == until:
                break
    finally:
        steps.close()  # type: ignore[attr-defined]  # a generator
