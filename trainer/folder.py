"""The folder of a run: its log, its checkpoints, `best`, and what of them stays.

Knows what a run is asked and when it is written; nothing of losses or of how a step goes.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from pathlib import Path
from typing import Any, TextIO

from lightning.fabric import Fabric

from engine import checkpoint
from engine.config import Config
from trainer.averages import mean_of
from trainer.draws import AnyBatch
from trainer.measuring import measure
from trainer.processes import agreed
from trainer.run import Run
from trainer.stopping import improved

LOG = "steps.jsonl"


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
        self._prune()  # a run that was killed between writing and removing did not
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
        self._prune()

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
        found = measure(run, batches)
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

    def _prune(self) -> None:
        if self.writes:
            checkpoint.prune(self.place, self.config.train.keep, self.config.train.keep_best)

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

    def add(self, line: str) -> None:
        """Write a line where a reader sees it at once."""
        self.file.write(line + "\n")
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
