"""The training job: a generator of steps that checkpoints, resumes, measures held-out loss and stops early.

Every yield is a cancel point. The same generator serves the studio, the command line and the tests; under torchrun
every process runs it, and the first one alone writes.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TextIO

import torch
from lightning.fabric import Fabric
from torch import nn

from engine import checkpoint
from engine.config import Config
from engine.model.vaegan import MusicTransformerVAEGAN
from trainer.averages import mean_of
from trainer.draws import AnyBatch, Draws, Source
from trainer.processes import agreed, launched
from trainer.run import Run, Taken
from trainer.run import Weights as Weights
from trainer.stopping import improved

APART = ("prior.", "critic.")  # parts with an optimiser of their own
LOG = "steps.jsonl"


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
            before = Step(0, t.steps, 0.0, {}, run.measure(batches))
            run.at.best = (before.held_out or {}).get("loss", math.inf)
            log.add(before)
            yield before
        while run.at.step < t.steps and run.at.since_best < t.patience:
            taken = run.advance(draws)
            last = run.at.step == t.steps
            measured = None
            if last or run.at.step % t.evaluate_every == 0:
                measured = run.measure(batches)
                folder.judge(run, measured)
            stopped = run.at.since_best >= t.patience
            if stopped:
                said.append(
                    f"{_named(t.stop_on)} not improved for {t.patience} measurements, so the run stopped early."
                )
            if (last or stopped) and t.average != "none":
                said += folder.average(run, batches, measured)
            step = _step(run, taken, measured, said)
            log.add(step)
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


class Folder:
    """What a run writes, and when. Only the first process writes; all of them ask at the same places."""

    def __init__(self, place: Path, config: Config, fabric: Fabric, facts: dict[str, Any]) -> None:
        self.place, self.config, self.fabric, self.facts = place, config, fabric, facts
        self.writes = fabric.is_global_zero
        if self.writes:
            place.mkdir(parents=True, exist_ok=True)
            checkpoint.tidy(place)
        fabric.barrier()

    def resume(self, run: Run) -> list[str]:
        """Bring a run to its newest whole checkpoint; sentences for what was passed over."""
        saved, passed = checkpoint.newest(self.place) if self.writes else (None, [])
        (step,) = agreed(self.fabric, [-1.0 if saved is None else float(saved.folder.name.partition("-")[2])])
        if step < 0:
            return passed
        run.restore(saved or checkpoint.Checkpoint(self.place / f"step-{int(step):07d}"))
        (lost,) = agreed(self.fabric, [float(run.at.best_step > 0 and not checkpoint.is_whole(self.place / "best"))])
        if lost:
            run.at.best, run.at.best_step = math.inf, 0
            passed.append("best is missing or damaged; the next measurement makes a new one.")
        return passed

    def log(self, step: int) -> Log:
        """The log, with what an interrupted run wrote up to the step it continues from."""
        return Log(self.place / LOG if self.writes else Path(os.devnull), step)

    def judge(self, run: Run, measured: dict[str, float]) -> None:
        """Take note of a measurement: schedules, patience, and `best` where the loss is the lowest so far."""
        at = run.at
        run.plateau.saw(measured["loss"])
        at.since_best = 0 if improved(at.figures, measured, self.config.train) else at.since_best + 1
        if measured["loss"] < at.best:
            at.best, at.best_step = measured["loss"], at.step
            self._write(self.place / "best", run.averaged_weights(), {"step": at.step, "held_out": measured})

    def keep(self, run: Run, measured: dict[str, float] | None) -> None:
        """Write checkpoint step-N, and remove those that need not stay."""
        run.snapshot = run.photographed()  # so that an interrupted run and this one come back to the same
        weights, tensors = run.averaged_weights(), run.tensors()
        facts = {"run": run.facts(), "held_out": measured}
        self._write(self.place / f"step-{run.at.step:07d}", weights, facts, training=tensors)
        if self.writes:
            checkpoint.prune(self.place, self.config.train.keep, self.config.train.keep_best)

    def average(self, run: Run, batches: list[tuple[str, AnyBatch]], measured: dict[str, float] | None) -> list[str]:
        """Let `best` be the mean of the last or best checkpoints' weights where that measures better; which it is."""
        t = self.config.train
        number = max(t.keep if t.average == "last" else t.keep_best, 2)
        there = {place: checkpoint.held_out_loss(place) for place in checkpoint.steps(self.place)}
        now = self.place / f"step-{run.at.step:07d}"  # not written yet
        there[now] = measured["loss"] if measured else math.inf
        chosen = sorted(there)[-number:] if t.average == "last" else sorted(there, key=lambda p: there[p])[:number]
        if len(chosen) < 2:
            return ["There are not two checkpoints to average, so best stays as it is."]
        own = run.averaged_weights()
        mean = mean_of(own if place == now else checkpoint.Checkpoint(place).tensors() for place in chosen)
        run.put_averaged(mean)
        found = run.measure(batches)
        steps = sorted(int(place.name.partition("-")[2]) for place in chosen)
        what = f"The mean of {len(steps)} checkpoints (steps {', '.join(map(str, steps))}) has held-out loss"
        if found["loss"] < run.at.best:
            said = (
                f"{what} {found['loss']:.4f}, below the {run.at.best:.4f} of step {run.at.best_step}: it is best now."
            )
            run.at.best, run.at.best_step = found["loss"], run.at.step
            self._write(self.place / "best", mean, {"step": run.at.step, "averaged": steps, "held_out": found})
        else:
            said = f"{what} {found['loss']:.4f}, no better than {run.at.best:.4f}: step {run.at.best_step} stays best."
        run.put_averaged(own)
        return [said]

    def _write(self, place: Path, weights: dict[str, Any], facts: dict[str, Any], **more: dict[str, Any]) -> None:
        if self.writes:
            checkpoint.save(place, weights, self.config, self.facts | facts, **more)
        self.fabric.barrier()


class Log:
    """steps.jsonl: a line a step, written before the checkpoint that makes the step the last to be done."""

    def __init__(self, path: Path, step: int) -> None:
        if path.name == LOG:
            fresh = path.with_name(f"{LOG}.tmp")
            fresh.write_text("".join(_lines_until(path, step)) if step else "", encoding="utf-8")
            fresh.replace(path)
        self.file: TextIO = path.open("a", encoding="utf-8")

    def __enter__(self) -> Log:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    def add(self, step: Step) -> None:
        """Write a step where a reader sees it at once."""
        self.file.write(step.line() + "\n")
        self.file.flush()

    def settle(self) -> None:
        """Have it on the disk."""
        with contextlib.suppress(OSError):
            os.fsync(self.file.fileno())


def _lines_until(log: Path, step: int) -> list[str]:
    """The lines of an interrupted run up to the step it continues from; what came after is done again."""
    kept: list[str] = []
    try:
        for line in log.read_text(encoding="utf-8").splitlines(keepends=True):
            if json.loads(line)["n"] > step:
                break
            kept.append(line)
    except (OSError, ValueError):  # no log, or a last line that was cut
        pass
    return kept
