"""What the subcommands that need the model share: opening it, and how far sliders reach.

torch is imported when a session is opened, never with this module.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.session import Session

PHRASE_BARS = 4
SCOPES = ("piece", "phrase", "bar")


def open_session(args: argparse.Namespace) -> Session:
    """The model of --model (the starter without it) on --device. A style's folder opens on the starter model."""
    from engine.session import Session

    if args.model is not None and is_style(args.model):
        return Session.open(None, args.device, adapter=args.model)
    return Session.open(args.model, args.device)


def is_style(folder: Path) -> bool:
    """True for a folder that `personalise` wrote, or the run's `best` inside it."""
    for place in (folder / "best", folder):
        try:
            return "base" in json.loads((place / "facts.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
    return False


def add_scope(parser: argparse.ArgumentParser) -> None:
    """`--scope`; see `reach`."""
    parser.add_argument(
        "--scope",
        choices=SCOPES,
        default="piece",
        help="what moves: the piece (limited to --bars), the whole phrases --bars touch, or exactly those bars",
    )


def reach(scope: str, bars: range | None, count: int) -> range:
    """The bars a job changes in a piece of `count` bars: phrases are widened to four, never past the end."""
    if bars is None:
        return range(count)
    if scope != "phrase":
        return bars
    return range(bars.start // PHRASE_BARS * PHRASE_BARS, min(-(-bars.stop // PHRASE_BARS) * PHRASE_BARS, count))
