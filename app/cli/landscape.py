"""`morphony landscape RUN IN --out FILE.png`: how the loss lies around a model's weights, as a picture and figures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments, output
from engine.errors import MorphonyError

if TYPE_CHECKING:
    from engine.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="a model, a style, or a run (its best weights)")
    parser.add_argument("input", type=Path, metavar="IN", help="held-out music: a folder, or a .tsv with a path column")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.png", help="the picture")
    parser.add_argument("--lines", type=int, default=3, metavar="N", help="random directions (default 3)")
    parser.add_argument("--points", type=int, default=21, metavar="N", help="points on a line, an odd number (21)")
    parser.add_argument("--grid", type=int, default=9, metavar="N", help="points a side of the plane, odd (9)")
    parser.add_argument("--radius", type=float, default=0.5, metavar="R", help="as far as R times the weights (0.5)")
    parser.add_argument("--limit", type=int, default=4, metavar="N", help="windows of music of every corpus (4)")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where bars are kept between runs")
    arguments.add_where(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    _check(args)
    session = _open(args.run, args.model, args.device)
    from trainer.landscape import survey

    batches = held_out(session, args)
    shape = {"lines": args.lines, "points": args.points, "side": args.grid, "radius": args.radius, "seed": args.seed}
    job = survey(session.model, session.config, batches, **shape)
    progress: output.Progress | None = None
    while True:
        try:
            done, of = next(job)
        except StopIteration as end:
            found = end.value
            break
        progress = progress or output.Progress(of)
        progress.step(done, "losses measured")
    _draw(args.out, args.run.name, found)
    return {
        "out": args.out,
        "bars": round(sum(batch.size for batch in batches)),
        **found.figures(),
        "at": found.at,
        "lines": found.lines,
        "side": found.side,
        "grid": found.grid,
    }


def _check(args: argparse.Namespace) -> None:
    """Raises MorphonyError for numbers that make no slice."""
    if args.lines < 1 or args.limit < 1:
        raise MorphonyError("--lines and --limit must be 1 or more.")
    if args.points < 9 or args.points % 2 == 0 or args.grid < 3 or args.grid % 2 == 0:
        raise MorphonyError(
            "--points must be an odd number from 9 on and --grid one from 3 on: the middle is the model."
        )
    if not 0 < args.radius <= 100:
        raise MorphonyError("--radius must be above 0 and at most 100.")


def _open(run: Path, base: Path | None, device: str) -> Session:
    """A model folder, a style on its base model, or the best (else the newest) weights of a run."""
    from engine import checkpoint
    from engine.session import Session
    from engine.style import is_style

    if is_style(run):
        return Session.open(base, device, adapter=run)
    if (run / "manifest.json").exists() or not run.is_dir():
        return Session.open(run, device)
    if (run / "best").is_dir():
        return Session.open(run / "best", device)
    saved, passed = checkpoint.newest(run)
    if saved is None:
        raise MorphonyError(" ".join([*passed, f"{run} holds neither a model nor a run with a checkpoint."]))
    return Session.open(saved.folder, device)


def held_out(session: Session, args: argparse.Namespace) -> Sequence[Any]:
    """Fixed batches of the music: the same for every model of a kind."""
    from trainer.recipe import Music, everything

    windows = everything(session.config, Music(args.input, args.where, cache=args.cache), session.deviations)
    return [batch for _, batch in windows.held_out(args.limit)]


def _draw(path: Path, name: str, found: Any) -> None:
    from app import plots

    lines = {f"direction {i + 1}": (found.at, line) for i, line in enumerate(found.lines)}
    plots.slices(path, f"Objective around {name}, nats per 4/4 bar", lines, found.side, found.grid)
