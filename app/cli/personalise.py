"""`morphony personalise FOLDER --out DIR`: fine-tune the model on a folder of one's own, and say whether it helped."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from app.cli import arguments
from app.cli.train import follow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="FOLDER", help="a folder of music, or a .tsv with a path column")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the style: --model DIR opens it")
    parser.add_argument("--kind", default="adapter", choices=("adapter",), help="how deep the change goes")
    parser.add_argument("--steps", type=int, default=600, metavar="N", help="at most (default 600)")
    parser.add_argument("--base", type=Path, metavar="FOLDER", help="music to replay, so that nothing is forgotten")
    parser.add_argument("--resume", action="store_true", help="continue the run in DIR where it stood")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where bars are kept between runs")
    arguments.add_where(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    from trainer.personalise import personalise

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
    )
    done = follow(steps)
    return {**done, **outcome(args.out / "steps.jsonl"), "out": args.out}


def outcome(log: Path) -> dict[str, Any]:
    """Held-out losses before (step 0) and at their best after, from a run's log of all its sittings.

    "loss" is the negative ELBO per note, free of weights: what a run must lower to be called improved.
    """
    rows = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    before = next((r["held_out"] for r in rows if r["n"] == 0), None)
    after = min((r["held_out"] for r in rows if r["n"] > 0 and r["held_out"]), key=lambda h: h["loss"], default=None)
    if before is None or after is None:
        return {"before": before, "after": after, "improved": False, "change_percent": None}
    change = after["loss"] / before["loss"] - 1
    return {"before": before, "after": after, "improved": change < 0, "change_percent": 100 * change}
