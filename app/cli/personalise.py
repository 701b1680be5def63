"""`morphony personalise FOLDER --out DIR`: learn from a folder of one's own, and say whether it helped.

A style opens with `--style DIR` (or `--model DIR`), at any strength; what `--kind full` makes opens with
`--model DIR/model`.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from app.cli import arguments
from app.cli.train import follow

KINDS = {"instant": "a style in seconds, from one file or many", "adapter": "in minutes", "full": "all weights"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="FOLDER", help="music: a folder, a file, or a .tsv of paths")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the style: --style DIR opens it")
    parser.add_argument(
        "--kind",
        default="adapter",
        choices=tuple(KINDS),
        help="how deep the change goes: " + "; ".join(f"{kind}, {words}" for kind, words in KINDS.items()),
    )
    parser.add_argument("--steps", type=int, metavar="N", help="at most (default: what the kind needs)")
    parser.add_argument(
        "--base", type=Path, metavar="FOLDER", help="other music to replay, so that nothing is forgotten"
    )
    parser.add_argument("--resume", action="store_true", help="continue the run in DIR where it stood")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where bars are kept between runs")
    arguments.add_where(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    from engine.checkpoint import Checkpoint
    from engine.session import STARTER
    from trainer.audition import Audition
    from trainer.monitor import monitored
    from trainer.personalise import personalise

    base = args.model or STARTER
    steps = personalise(
        args.model,
        args.input,
        args.out,
        kind=args.kind,
        steps=args.steps,
        seed=args.seed,
        where=args.where,
        base=args.base,
        resume=args.resume,
        cache=args.cache,
        accelerator={"cuda": "gpu"}.get(args.device, args.device),
    )
    if args.kind != "instant":  # too short to be watched
        audition = Audition(args.out, base=base if args.kind == "adapter" else None)
        steps = monitored(steps, Checkpoint(base).config, args.out, audition=audition)
    done = follow(steps)
    return {**done, **json.loads((args.out / "result.json").read_text(encoding="utf-8")), "out": args.out}
