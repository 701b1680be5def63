"""The training job: a generator of steps that checkpoints, resumes, measures held-out loss and stops early.

Every yield is a cancel point. The same generator serves the studio, the command line and the tests; under torchrun
every process runs it, and the first one alone writes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning.fabric import Fabric
from torch import nn

from engine import checkpoint
from engine.config import Config
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.draws import AnyBatch, Draws, Source
from trainer.folder import Folder
from trainer.measuring import measure
from trainer.memory import RELEASE_EVERY, release
from trainer.processes import launched
from trainer.run import Run, Taken
from trainer.run import Weights as Weights

APART = ("prior.", "critic.", "refiner.")  # parts with an optimiser of their own


@dataclass(frozen=True, slots=True)
class Step:
    """What one step of training (n counts from 1) showed: "loss" in nats per note, terms in nats per 4/4 bar.

    `rates` hold what is no loss: learning_rate, kl_factor, gradient_norm, notes_per_second (of all processes),
    memory_mb, and gpu_memory_mb and loss_scale where there are such.
    """

    n: int
    steps: int
    seconds: float  # of training since the run began, over all its sittings
    train: dict[str, float]
    held_out: dict[str, float] | None = None
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    rates: dict[str, float] = field(default_factory=dict)

    def line(self) -> str:
        """One JSON line, as in steps.jsonl."""
        row = {"n": self.n, "steps": self.steps, "seconds": round(self.seconds, 3), "train": self.train}
        return json.dumps(row | {"held_out": self.held_out, "message": self.message, "rates": self.rates})


class HeldOut(Protocol):
    """What a run is measured on."""

    def held_out(self, per_corpus: int) -> Iterator[tuple[str, AnyBatch]]:
        """The same batches, each with the name of its corpus, whenever asked."""
        ...


def train(
    config: Config,
    windows: Source,
    valid: HeldOut,
    out: Path,
    facts: dict[str, Any],
    *,
    model: MusicTransformerVAEGAN | None = None,
    trained: list[nn.Parameter] | None = None,
    weights: Weights | None = None,
    resume: bool = False,
    start: Path | None = None,
    accelerator: str = "auto",
    held_out_windows: int = 12,
    measure_first: bool = False,
    fabric: Fabric | None = None,
) -> Iterator[Step]:
    """Train until the steps are done or no figure of `stop_on` has improved for `patience` measurements.

    Writes `steps.jsonl`, checkpoints `step-N`, and `best` (averaged weights of the best held-out loss) below `out`.
    `trained` limits what moves and `weights` what is kept (an adapter); the default is everything but the prior, which
    has its own run. `start` is a model folder whose weights the run begins with; a critic may be missing on
    either side. With `measure_first` step 0 holds the held-out losses before training, which `best` must beat.
    Raises MorphonyError when numbers fail three times in a row, or memory is too short for one window.
    """
    torch.set_num_threads(config.train.threads)
    torch.manual_seed(config.train.seed)
    fabric = fabric or launched(config.train, accelerator)
    if model is None:
        model = MusicTransformerVAEGAN(config.model)
    if trained is None:
        trained = [p for n, p in model.named_parameters() if not n.startswith(APART)]
    if start is not None:
        model.load(checkpoint.Checkpoint(start).tensors())
    folder = Folder(out, config, fabric, facts)
    run = Run(model, trained, config, fabric, weights)
    said = folder.resume(run) if resume else []
    batches = list(valid.held_out(held_out_windows))
    t = config.train
    with ExitStack() as stack:
        draws = stack.enter_context(Draws(windows, t, fabric))
        log = stack.enter_context(folder.log(run.at.step))
        if measure_first and run.at.step == 0:
            before = Step(0, t.steps, 0.0, {}, measure(run, batches))
            run.at.best = (before.held_out or {}).get("loss", math.inf)
            log.add(before.line())
            yield before
        while run.at.step < t.steps and run.at.since_best < t.patience:
            taken = run.advance(draws)
            last = run.at.step == t.steps
            measured = None
            if last or run.at.step % t.evaluate_every == 0:
                measured = measure(run, batches)
                folder.judge(run, measured)
            if measured or run.at.step % RELEASE_EVERY == 0:
                release()
            stopped = run.at.since_best >= t.patience
            if stopped:
                said.append(
                    f"{_named(t.stop_on)} not improved for {t.patience} measurements, so the run stopped early."
                )
            if (last or stopped) and t.average != "none":
                said += folder.average(run, batches, measured)
            step = _step(run, taken, measured, said)
            log.add(step.line())
            if last or stopped or run.at.step % t.checkpoint_every == 0:
                log.settle()
                folder.keep(run, measured)
            said = []
            yield step


def _step(run: Run, taken: Taken, measured: dict[str, float] | None, said: list[str]) -> Step:
    message = " ".join([taken.message, *said]).strip()
    rates = taken.rates
    return Step(run.at.step, run.config.train.steps, run.at.seconds, taken.losses, measured, message, rates=rates)


def _named(figures: tuple[str, ...]) -> str:
    """The figures that stopping looks at, as the subject of a sentence."""
    if len(figures) == 1:
        return f"Held-out {figures[0]} has"
    return f"Held-out {', '.join(figures[:-1])} and {figures[-1]} have"
