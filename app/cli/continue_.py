"""`morphony continue IN OUT --bars 8`: the piece itself, and new bars after its last one."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments, making
from app.cli.model import add_styles
from engine.score import midi
from engine.score.timing import BarGrid

if TYPE_CHECKING:
    from engine.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    making.add_files(parser)
    parser.add_argument("--bars", type=int, default=8, metavar="N", help="how many new bars (default 8)")
    arguments.add_set(parser)
    add_styles(parser)
    making.add_prior(parser)
    arguments.add_where(parser)
    making.add_sampling(parser)
    making.add_refine(parser)
    making.add_masks(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    return making.each(args, go_on)


def go_on(session: Session, args: argparse.Namespace, path: Path, out: Path | None) -> Mapping[str, Any]:
    """Continue one file."""
    from engine import compose

    assert out is not None
    source = midi.read(path)
    job = compose.continue_(session, source, args.bars, making.request(args, offsets=args.set), args.prior_temperature)
    score = compose.run(job)
    midi.write(score, out)
    return {
        "bars": len(BarGrid.of(source)),
        "new_bars": args.bars,
        "notes": len(score.notes),
        "new_notes": len(score.notes) - len(source.notes),
    }
