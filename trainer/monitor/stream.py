"""The steps of a run with eyes on them: the same steps come out, each with what was found out about it.

Writes below the run's folder: monitor.jsonl (warnings, trends, groups), events/ (TensorBoard), samples/ (music). What
cannot be written is said once and left out; the run goes on.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from engine.config import Config
from engine.errors import MorphonyError, reason
from trainer.loop import Step
from trainer.monitor import figures
from trainer.monitor.course import Course, line
from trainer.monitor.watches import Alert, Limits, Monitor
from trainer.tracking import POINTS, Diary, EventFile, last_row, rows
from trainer.trends import Trend

T = TypeVar("T")


class Listens(Protocol):
    """What makes music of a run along the way: `trainer.audition.Audition`."""

    def at(self, step: Step) -> Mapping[str, Any]:
        """What a step adds to its facts: "samples" and "activity", or nothing. Raises MorphonyError, OSError."""
        ...


def monitored(
    steps: Iterable[Step],
    config: Config,
    out: Path,
    *,
    tensorboard: bool = True,
    audition: Listens | None = None,
    limits: Limits | None = None,
) -> Iterator[Step]:
    """Pass steps on with warnings in their `message` and, as data, in their `facts`.

    facts["warnings"] are those that are on (`Alert.plain`), facts["raised"] and facts["over"] what this step changed;
    at a measurement facts["trend"] is a line to print; facts["samples"] are the paths of new music. A run that goes
    on is watched from its first line in steps.jsonl. Of several processes only the first watches.
    """
    if int(os.environ.get("RANK", "0")):
        yield from steps
        return
    run: _Run | None = None
    try:
        for step in steps:
            if run is None or step.n <= run.last:  # the first step, or that of the next stage of a recipe
                again = run is None
                if run is not None:
                    run.close()
                run = _Run(config, out, step, tensorboard, audition if again else None, limits)
            yield run.see(step)
    finally:
        if isinstance(steps, Generator):
            steps.close()
        if run is not None:
            run.close()


class _Run:
    """One stage of training under watch."""

    def __init__(
        self, config: Config, out: Path, first: Step, tensorboard: bool, audition: Listens | None, limits: Limits | None
    ) -> None:
        self.monitor, self.course = Monitor(config, first.steps, limits), Course(first.steps)
        self.last, self.every = first.n, max(first.steps // POINTS, 1)
        self.audition = audition
        self.troubles: list[str] = []
        log = out / "steps.jsonl"
        logged = last_row(log).get("n") == first.n  # not so in a stage that keeps no log
        for row in rows(log) if logged else ():
            if row["n"] < first.n:
                self._look(step_of(row))
        again = first.n if logged else None
        self.diary = self._tried(lambda: Diary(out / "monitor.jsonl", again))
        self.events = self._tried(lambda: EventFile(out / "events", first.n)) if tensorboard else None

    def _look(self, step: Step) -> tuple[list[Alert], list[Alert]]:
        self.course.add(step)
        return self.monitor.see(step)

    def see(self, step: Step) -> Step:
        """The step with what is found out about it."""
        self.last = step.n
        heard = self._hear(step)
        step = replace(step, facts={**step.facts, **heard})
        raised, over = self._look(step)
        found = self.course.trends() if step.held_out is not None else {}
        facts = {
            "warnings": [alert.plain() for alert in self.monitor.active.values()],
            "raised": [alert.plain() for alert in raised],
            "over": [alert.name for alert in over],
        }
        self._log(step, facts, found)
        said = [step.message, *self.troubles, *(alert.sentence() for alert in raised), *(_over(a) for a in over)]
        self.troubles.clear()
        if found:
            facts["trend"] = line(found)
        return replace(step, message=" ".join(filter(None, said)), facts={**step.facts, **facts})

    def _hear(self, step: Step) -> Mapping[str, Any]:
        """What the audition adds; one that fails is not asked again."""
        if self.audition is None:
            return {}
        audition, self.audition = self.audition, None
        heard = self._tried(lambda: dict(audition.at(step)))
        if heard is None:
            return {}
        self.audition = audition
        return heard

    def _log(self, step: Step, facts: Mapping[str, Any], found: Mapping[str, Mapping[str, Trend]]) -> None:
        """Into the event file and the diary; one that fails is not written to again."""
        if self.events is not None and self._tried(lambda: self._scalars(step, facts)) is None:
            self.events = None
        if self.diary is None or not (facts["raised"] or facts["over"] or found or "samples" in step.facts):
            return
        diary = self.diary
        row = {"n": step.n, "raised": facts["raised"], "over": facts["over"]}
        row |= {name: step.facts[name] for name in ("samples", "activity") if name in step.facts}
        if found:
            row["trends"] = {s: {name: asdict(t) for name, t in terms.items()} for s, terms in found.items()}
            row["groups"] = {"train": figures.groups(step.train), "held_out": figures.groups(step.held_out or {})}
        if self._tried(lambda: diary.write(row)) is None:
            self.diary = None

    def _scalars(self, step: Step, facts: Mapping[str, Any]) -> bool:
        assert self.events is not None
        if step.n % self.every == 0 or step.held_out is not None:
            self.events.scalars(step.n, scalars_of(step))
        for alert in facts["raised"]:
            self.events.text(step.n, f"warnings/{alert['name']}", Alert(**alert).sentence())
        if step.held_out is not None:
            self.events.flush()
        return True

    def _tried(self, work: Callable[[], T]) -> T | None:
        """What it gives; None and a sentence where it fails."""
        try:
            return work()
        except MorphonyError as error:
            self.troubles.append(str(error))
        except OSError as error:
            self.troubles.append(f"What is found out about this run could not be written: {reason(error)}.")
        return None

    def close(self) -> None:
        """Let go of files."""
        for file in (self.events, self.diary):
            if file is not None:
                with contextlib.suppress(OSError):
                    file.close()


def step_of(row: Mapping[str, Any]) -> Step:
    """A step from its line in steps.jsonl; what is null there was no number."""
    train, held_out = (
        None if values is None else {k: math.nan if v is None else v for k, v in values.items()}
        for values in (row["train"], row["held_out"])
    )
    plain = Step(row["n"], row["steps"], row["seconds"], train or {}, held_out, row.get("message", ""))
    more = {name: row[name] for name in ("rates",) if name in row and hasattr(plain, name)}
    return replace(plain, **more)


def scalars_of(step: Step) -> dict[str, float]:
    """Every figure of a step under the name it has in TensorBoard: train/onset, train_groups/kl, held_out/f1, ..."""
    sides: dict[str, Mapping[str, float]] = {
        "train": step.train,
        "train_groups": figures.groups(step.train),
        "held_out": step.held_out or {},
        "held_out_groups": figures.groups(step.held_out or {}),
        "rates": figures.rates(step),
    }
    return {f"{side}/{name}": value for side, values in sides.items() for name, value in values.items()}


def _over(alert: Alert) -> str:
    return f"The warning of {alert.name.replace('_', ' ')} (step {alert.n}) is over."
