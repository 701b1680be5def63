"""`morphony infill IN OUT --bars 5:8`: some bars drawn anew between their neighbours, all the rest as it is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.cli import arguments, making
from app.cli.model import add_styles
from engine.score import midi
from engine.tokens.bars import to_bars

if TYPE_CHECKING:
    from engine.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    making.add_files(parser)
    parser.add_argument(
        "--bars", type=arguments.bars, metavar="A:B", required=True, help="these bars, 0-based and half open"
    )
    arguments.add_tracks(parser)
    making.add_lock(parser)
    arguments.add_set(parser)
    add_styles(parser)
    making.add_prior(parser)
    arguments.add_where(parser)
    making.add_sampling(parser)
    making.add_refine(parser)
    making.add_masks(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    return making.each(args, infill)


def infill(session: Session, args: argparse.Namespace, path: Path, out: Path | None) -> Mapping[str, Any]:
    """Fill in one file."""
    from engine import compose

    assert out is not None
    piece = session.encode(midi.read(path))
    held = making.locks(args.lock, piece.score)
    asked = making.request(args, offsets=args.set, tracks=args.tracks, locks=held)
    score = compose.run(compose.infill(session, piece, args.bars, asked, args.prior_temperature))
    midi.write(score, out)
    before, after = (int(np.isin(x["bar"], args.bars).sum()) for x in (piece.bars, to_bars(score, piece.grid)))
    return {
        "bars": [args.bars.start, args.bars.stop],
        "notes": len(score.notes),
        "notes_before": before,
        "notes_after": after,
    }
