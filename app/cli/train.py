"""`morphony train FOLDER|TSV`: a model of one's own from a folder of music, watched while it learns."""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments, output
from engine import config as configuration
from engine.config import STRATEGIES

if TYPE_CHECKING:
    from trainer.recipe import Music

STARTER = Path(__file__).resolve().parents[2] / "assets" / "configs" / "starter.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a folder of music, or a .tsv with a path column")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="checkpoints, steps.jsonl, best, model")
    parser.add_argument("--config", type=Path, default=STARTER, metavar="YAML", help="default: the starter model's")
    parser.add_argument("--steps", type=int, metavar="N", help="instead of the configuration's number")
    parser.add_argument("--strategy", choices=STRATEGIES, help="of several processes that torchrun started")
    parser.add_argument("--start", type=Path, metavar="DIR", help="begin with the weights of this model, not at random")
    parser.add_argument("--resume", action="store_true", help="continue the run in DIR where it stood")
    parser.add_argument("--finish", action="store_true", help="then fit the prior and colours: DIR/model opens")
    parser.add_argument(
        "--refiner", type=Path, metavar="MODEL", help="teach only a refiner of this model's drafts: DIR/model has both"
    )
    arguments.add_where(parser)
    parser.add_argument("--valid", type=Path, metavar="IN", help="held-out music (default: 5 %% of the pieces)")
    parser.add_argument("--valid-where", default="", metavar="COLUMN=VALUE,...", help="only these rows of --valid")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where bars are kept between runs")
    either = argparse.BooleanOptionalAction
    parser.add_argument("--tensorboard", action=either, default=True, help="event files in DIR/events (default: yes)")
    parser.add_argument("--samples", action=either, default=True, help="music at every checkpoint (default: yes)")
    parser.add_argument("--piece", type=Path, metavar="FILE", help="whose first 8 bars are among it (default: a demo)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    config = configuration.load(args.config)
    if args.steps is not None:
        config = replace(config, train=replace(config.train, steps=args.steps))
    if args.seed:
        config = replace(config, train=replace(config.train, seed=args.seed))
    if args.strategy is not None:
        config = replace(config, train=replace(config.train, strategy=args.strategy))
    from trainer.audition import PIECE, Audition
    from trainer.monitor import monitored
    from trainer.recipe import Music, make

    music = Music(args.input, args.where, args.valid, args.valid_where, args.cache)
    if args.refiner is not None:
        return refiner(args, music)
    accelerator = {"cuda": "gpu"}.get(args.device, args.device)
    options = {"resume": args.resume, "start": args.start, "accelerator": accelerator, "finished": args.finish}
    steps = make(config, music, args.out, **options)
    if int(os.environ.get("RANK", 0)):  # one of many that torchrun started: the first of them speaks for all
        deque(steps, maxlen=0)
        sys.exit(0)
    audition = Audition(args.out, piece=args.piece or PIECE) if args.samples else None
    watched = monitored(steps, config, args.out, tensorboard=args.tensorboard, audition=audition)
    return {
        **follow(watched),
        "out": args.out,
        "best": args.out / "best" if (args.out / "best").is_dir() else None,
        "model": args.out / "model" if args.finish else None,
    }


def refiner(args: argparse.Namespace, music: Music) -> dict[str, Any]:
    """Teach a finished model to refine its drafts."""
    from trainer.recipe import teach_refiner
    from trainer.refine import STEPS

    steps = teach_refiner(args.refiner, music, args.out / "model", args.steps or STEPS, args.seed)
    return {**follow(steps), "out": args.out, "best": None, "model": args.out / "model"}


def follow(steps: Any) -> dict[str, Any]:
    """Run a job of steps to its end with its losses on stderr; returns what it came to."""
    progress: output.Progress | None = None
    last, measured, said, warned = None, None, [], []
    for step in steps:
        progress = progress if last is not None and last.steps == step.steps else None
        progress = progress or output.Progress(step.steps)
        progress.step(step.n, "  ".join(f"{k} {v:.4g}" for k, v in list(step.train.items())[:4]))
        if step.held_out is not None:
            measured = step.held_out
            output.say("held out: " + "  ".join(f"{k} {v:.4g}" for k, v in measured.items()))
            if step.facts.get("trend"):
                output.say(step.facts["trend"])
        warned += [{name: alert[name] for name in ("name", "n", "since")} for alert in step.facts.get("raised", ())]
        if step.message:
            said.append(step.message)
            output.say(step.message)
        last = step
    return {
        "steps": 0 if last is None else last.n,
        "seconds": 0.0 if last is None else round(last.seconds, 2),
        "held_out": measured,
        "messages": said,
        "warnings": warned,
    }
