"""`morphony morph IN OUT --set density=1.5`: move named sliders and write what the piece becomes."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments, making
from app.cli.model import add_scope, add_styles, reach
from engine.attributes import NAMES, measure
from engine.score import midi
from engine.tokens.bars import to_bars

if TYPE_CHECKING:
    from engine.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    making.add_files(parser)
    arguments.add_set(parser)
    add_styles(parser)
    add_scope(parser)
    arguments.add_bars(parser)
    arguments.add_tracks(parser)
    making.add_lock(parser)
    parser.add_argument("--no-blend", action="store_true", help="leave the source's notes out near a slider's rest")
    arguments.add_where(parser)
    making.add_sampling(parser)
    making.add_masks(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    return making.each(args, morph)


def morph(session: Session, args: argparse.Namespace, path: Path, out: Path | None) -> Mapping[str, Any]:
    """Morph one file; returns its attributes before and after, over the bars that were to change."""
    from engine import compose

    assert out is not None
    piece = session.encode(midi.read(path))
    bars = reach(args.scope, args.bars, len(piece))
    held = making.locks(args.lock, piece.score)
    request = making.request(args, offsets=args.set, bars=bars, tracks=args.tracks, blend=not args.no_blend, locks=held)
    score = compose.apply(piece, compose.morph(session, piece, request))
    midi.write(score, out)
    after = measure(to_bars(score, piece.grid), piece.grid.clocks, bars)
    return {
        "bars": [bars.start, bars.stop],
        "notes": len(score.notes),
        "before": dict(zip(NAMES, measure(piece.bars, piece.grid.clocks, bars), strict=True)),
        "after": dict(zip(NAMES, after, strict=True)),
    }
