"""`morphony vary IN OUT --amount .5`: the piece a little otherwise; with `--count N` in N ways, a seed each."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments, files, making
from app.cli.model import add_styles, open_session
from engine.errors import MorphonyError
from engine.score import midi
from engine.tokens.bars import to_bars

if TYPE_CHECKING:
    from engine.compose import Request
    from engine.session import Piece, Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    making.add_files(parser)
    parser.add_argument(
        "--amount", type=float, default=0.5, help="how far: 0 is the piece itself, 2 the farthest (default 0.5)"
    )
    parser.add_argument("--count", type=int, metavar="N", help="write N variations of each file into a folder")
    arguments.add_bars(parser)
    arguments.add_tracks(parser)
    making.add_lock(parser)
    arguments.add_set(parser)
    add_styles(parser)
    arguments.add_where(parser)
    making.add_sampling(parser)
    making.add_refine(parser)
    making.add_masks(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    if args.count is not None and args.count < 1:
        raise MorphonyError(f"--count needs a number of variations from 1 on, not {args.count}.")
    files.is_many(args.input)
    if args.count is not None and args.output.exists() and not args.output.is_dir():
        raise MorphonyError(f"{args.output} must be a folder: --count writes many files.")
    session = open_session(args)
    arguments.check_sliders(args.set, [s.name for s in session.sliders])
    suffix = None if args.count is None else ""
    return files.each_file(args.input, args.output, args.where, suffix, lambda a, b: vary(session, args, a, b))


def vary(session: Session, args: argparse.Namespace, path: Path, out: Path | None) -> Mapping[str, Any]:
    """Vary one file, once or `--count` times."""
    assert out is not None
    piece = session.encode(midi.read(path))
    held = making.locks(args.lock, piece.score)
    asked = making.request(args, offsets=args.set, bars=args.bars, tracks=args.tracks, locks=held)
    if args.count is None:
        return _one(session, piece, args.amount, asked, out)
    written = []
    for i in range(args.count):
        place = out / f"{i:0{len(str(args.count - 1))}d}.mid"
        made = _one(session, piece, args.amount, replace(asked, seed=args.seed + i), place)
        written.append({"file": place.relative_to(args.output).as_posix(), **made})
    return {"written": written}


def _one(session: Session, piece: Piece, amount: float, asked: Request, out: Path) -> dict[str, Any]:
    from engine import compose
    from trainer.evaluate.notes import changed

    score = compose.run(compose.vary(session, piece, amount, asked))
    out.parent.mkdir(parents=True, exist_ok=True)
    midi.write(score, out)
    after = to_bars(score, piece.grid)
    share = changed(piece.bars, after) / max(len(piece.bars) + len(after), 1)
    return {"seed": asked.seed, "amount": amount, "notes": len(score.notes), "changed": share}
