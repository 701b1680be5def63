"""`morphony morph IN OUT --set density=1.5`: move named sliders and write what the piece becomes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments, files
from app.cli.model import add_scope, open_session, reach
from engine.attributes import NAMES, measure
from engine.score import midi
from engine.tokens.bars import to_bars

if TYPE_CHECKING:
    from engine.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a .mid file, a folder, or a .tsv with a path column")
    parser.add_argument("output", type=Path, metavar="OUT", help="a .mid file, or a folder where IN is many files")
    arguments.add_set(parser)
    add_scope(parser)
    arguments.add_bars(parser)
    arguments.add_tracks(parser)
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest notes (default)")
    parser.add_argument("--no-blend", action="store_true", help="leave the source's notes out near a slider's rest")
    arguments.add_where(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    files.is_many(args.input)
    session = open_session(args)
    arguments.check_sliders(args.set, [s.name for s in session.sliders])
    return files.each_file(args.input, args.output, args.where, None, lambda a, b: morph(session, args, a, b))


def morph(session: Session, args: argparse.Namespace, path: Path, out: Path | None) -> Mapping[str, Any]:
    """Morph one file; returns its attributes before and after, over the bars that were to change."""
    from engine import compose

    assert out is not None
    piece = session.encode(midi.read(path))
    bars = reach(args.scope, args.bars, len(piece))
    request = compose.Request(
        offsets=args.set,
        bars=bars,
        tracks=args.tracks,
        seed=args.seed,
        temperature=args.temperature,
        blend=not args.no_blend,
    )
    score = compose.apply(piece, compose.morph(session, piece, request))
    midi.write(score, out)
    after = measure(to_bars(score, piece.grid), piece.grid.clocks, bars)
    return {
        "bars": [bars.start, bars.stop],
        "notes": len(score.notes),
        "before": dict(zip(NAMES, measure(piece.bars, piece.grid.clocks, bars), strict=True)),
        "after": dict(zip(NAMES, after, strict=True)),
    }
