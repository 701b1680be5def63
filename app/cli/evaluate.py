"""`morphony evaluate FOLDER|TSV`: the model's figures on held-out music, as a table and as JSON."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from app.cli import arguments, output
from app.cli.model import open_session
from engine.score import midi


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a folder of music, or a .tsv with a path column")
    arguments.add_where(parser)
    parser.add_argument(
        "--figures",
        metavar="A,B",
        help="only these: reconstruction, likelihood, swap, sliders, smoothness, latents, active_units, generated, "
        "or refined, which is not measured unless it is named",
    )
    parser.add_argument(
        "--limit", type=int, metavar="N", help="N pieces of every corpus (default: as each group needs)"
    )
    parser.add_argument("--bars", type=arguments.bars, metavar="A:B", help="bars that sliders are judged on (0:8)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write evaluation.json and evaluation.txt there")


def run(args: argparse.Namespace) -> dict[str, Any]:
    session = open_session(args)
    from trainer.evaluate import evaluate
    from trainer.evaluate.run import BARS, USUAL

    figures = USUAL if args.figures is None else tuple(args.figures.split(","))
    job = evaluate(session, args.input, args.where, figures, args.limit, args.bars or BARS)
    progress: output.Progress | None = None
    while True:
        try:
            at = next(job)
        except StopIteration as end:
            result: dict[str, Any] = output.plain(end.value)
            break
        progress = progress or output.Progress(at.total)
        progress.step(min(at.done, at.total - 1), at.name)
    lines = "\n".join(table(result))
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        midi.write_bytes(json.dumps(result, indent=1, ensure_ascii=False).encode(), args.out / "evaluation.json")
        midi.write_bytes(f"{lines}\n".encode(), args.out / "evaluation.txt")
    output.say(lines)
    return result if args.json else {"pieces": result["pieces"]["all"], "seconds": result["seconds"]}


def table(result: dict[str, Any]) -> list[str]:
    """Lines of text: a figure each, a column for all pieces, for tier A and for every corpus."""
    figures, columns = result["figures"], list(result["figures"])
    names = list(dict.fromkeys(name for column in columns for name in figures[column]))
    width, wide = max(map(len, [*names, "figure"])), [max(len(c), 8) for c in columns]
    head = "  ".join([f"{'figure':{width}}", *(f"{c:>{w}}" for c, w in zip(columns, wide, strict=True))])
    count = "  ".join(
        [f"{'pieces':{width}}", *(f"{result['pieces'][c]:>{w}}" for c, w in zip(columns, wide, strict=True))]
    )
    rows = [
        "  ".join([f"{n:{width}}", *(_cell(figures[c].get(n), w) for c, w in zip(columns, wide, strict=True))])
        for n in names
    ]
    return [head, count, *rows, *(f"worst {name}: {corpus}" for name, corpus in result["worst_corpus"].items())]


def _cell(value: float | None, width: int) -> str:
    return f"{'-' if value is None else f'{value:.3f}':>{width}}"
