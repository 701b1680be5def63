"""`morphony search PLAN IN --out DIR`: many short runs over YAML keys, and a table of what each setting gives."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments, output
from engine.errors import MorphonyError

if TYPE_CHECKING:
    from app import plots
    from trainer.plan import Plan

PLANS = Path(__file__).resolve().parents[2] / "assets" / "plans"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    names = ", ".join(sorted(p.stem for p in PLANS.glob("*.yaml")))
    parser.add_argument("plan", type=Path, metavar="PLAN", help=f"a YAML file, or one that comes along: {names}")
    parser.add_argument("input", type=Path, metavar="IN", help="a folder of music, or a .tsv with a path column")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder a run, and table.md")
    parser.add_argument("--steps", type=int, metavar="N", help="of every run, instead of the plan's numbers")
    arguments.add_where(parser)
    parser.add_argument("--valid", type=Path, metavar="IN", help="held-out music (default: 5 %% of the pieces)")
    parser.add_argument("--valid-where", default="", metavar="COLUMN=VALUE,...", help="only these rows of --valid")
    parser.add_argument("--plot", metavar="KEY", help="draw one logged value of every run, such as kl_factor or onset")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where bars are kept between runs")


def run(args: argparse.Namespace) -> dict[str, Any]:
    from trainer.plan import Plan
    from trainer.recipe import Music
    from trainer.search import Result, search, table

    shipped = PLANS / f"{args.plan}.yaml"
    plan = Plan.load(shipped if shipped.is_file() and not args.plan.exists() else args.plan)
    if args.steps is not None:
        plan = plan.of_steps(args.steps)
    music = Music(args.input, args.where, args.valid, args.valid_where, args.cache)
    results: list[Result] = []
    progress = output.Progress(len(plan.runs) * len(plan.seeds))
    for found in search(plan, music, args.out):
        if isinstance(found, Result):
            results.append(found)
        progress.step(len(results), "done" if isinstance(found, Result) else f"step {found.n} of {found.steps}")
    output.say(table(results, plan))
    picture = draw(plan, args.out, args.plot) if args.plot else None
    return {"plan": plan.name, "runs": results, "table": args.out / "table.md", "plot": picture}


def draw(plan: Plan, out: Path, key: str) -> Path:
    """Write OUT/<key>.png: the value as it was logged in every run's first seed, step by step."""
    from app import plots

    lines: dict[str, plots.Curve] = {}
    for name in plan.runs:
        log = (out / f"{name}-{plan.seeds[0]}" / "steps.jsonl").read_text(encoding="utf-8").splitlines()
        points = [(row["n"], row["train"][key]) for row in map(json.loads, log) if key in row["train"]]
        if points:
            lines[name] = [n for n, _ in points], [value for _, value in points]
    if not lines:
        raise MorphonyError(f"No run has logged anything called {key!r}.")
    plots.curves(out / f"{key}.png", plan.name.replace("_", " "), "step", key, lines)
    return out / f"{key}.png"
