"""What the subcommands that need the model share: opening it, and how far sliders reach.

torch is imported when a session is opened, never with this module.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.session import Session

PHRASE_BARS = 4
SCOPES = ("piece", "phrase", "bar")


def open_session(args: argparse.Namespace) -> Session:
    """The model of --model (the starter without it) on --device, with the styles of --style where there is one.

    A style's folder for a model opens on the starter model.
    """
    from engine.session import Session
    from engine.style import is_style

    styles = dict(getattr(args, "styles", ()))
    if args.model is not None and is_style(args.model):
        return Session.open(None, args.device, styles={args.model: 1.0, **styles})
    return Session.open(args.model, args.device, styles=styles)


def add_styles(parser: argparse.ArgumentParser) -> None:
    """`--style DIR[:STRENGTH]`, as often as wanted; `args.styles` is a list for `open_session`."""
    parser.add_argument(
        "--style",
        dest="styles",
        type=style,
        action="append",
        default=[],
        metavar="DIR[:STRENGTH]",
        help="a style that personalise made, and how far it is turned on, 0 to 1; several are blended",
    )


def style(text: str) -> tuple[Path, float]:
    """Read "bach:0.5" as a folder and a strength; the folder alone is a style in full."""
    folder, colon, strength = text.rpartition(":")
    if not colon or Path(text).is_dir():
        return Path(text), 1.0
    try:
        value = float(strength)
    except ValueError:
        return Path(text), 1.0
    if not folder or not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a style and a strength from 0 to 1 like bach:0.5")
    return Path(folder), value


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
