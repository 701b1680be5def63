"""`morphony watch RUN`: what the log of a run says, now or afterwards: warnings, and where each term is going."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import output
from engine.errors import MorphonyError

if TYPE_CHECKING:
    from engine.config import Config


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="the folder of a run: it holds steps.jsonl")
    parser.add_argument("--tensorboard", action="store_true", help="write its figures into RUN/events as well")


def run(args: argparse.Namespace) -> dict[str, Any]:
    log = args.run / "steps.jsonl"
    if not log.is_file():
        raise MorphonyError(f"{args.run} holds no run: there is no steps.jsonl in it.")
    from trainer.monitor import Monitor, course, stream
    from trainer.tracking import EventFile, rows

    config, warnings, n = _config(args.run), list[dict[str, Any]](), 0
    monitor: Monitor | None = None
    events: EventFile | None = None
    for step in map(stream.step_of, rows(log)):
        if monitor is None:
            monitor, going = Monitor(config, step.steps), course.Course(step.steps)
            events = EventFile(args.run / "events", step.n) if args.tensorboard else None
        raised, over = monitor.see(step)
        going.add(step)
        for alert in raised:
            output.say(f"step {alert.n}: {alert.sentence()}")
            warnings.append({"name": alert.name, "n": alert.n, "since": alert.since, "over": None})
        for alert in over:
            next(w for w in reversed(warnings) if w["name"] == alert.name)["over"] = step.n
        if events is not None:
            events.scalars(step.n, stream.scalars_of(step))
        n = step.n
    if monitor is None:
        raise MorphonyError(f"{log} holds no step yet.")
    if events is not None:
        events.close()
    found = going.trends()
    for side, terms in found.items():
        for name, trend in terms.items():
            output.say(f"{side.replace('_', ' ')}: {name} {trend.words()}")
    trends = {side: {name: asdict(trend) for name, trend in terms.items()} for side, terms in found.items()}
    return {"steps": n, "warnings": warnings, "trends": trends if args.json else None}


def _config(run: Path) -> Config:
    """The configuration in any of the run's checkpoints; the starter's where there is none yet."""
    from engine import config as configuration

    saved = [*sorted(run.glob("step-*/config.yaml"), reverse=True), run / "best" / "config.yaml"]
    found = next((path for path in saved if path.is_file()), None)
    return configuration.load(found or Path("starter"))
