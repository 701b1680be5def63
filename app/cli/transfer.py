"""`morphony transfer IN OUT --style FOLDER_OR_FILE`: a piece in the manner of others, or of a style that was trained.

A style is a .mid file, a folder of them, a .tsv, or a folder that `personalise` wrote.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.cli import arguments, files, making, output
from app.cli.model import open_session
from engine.attributes import measure
from engine.errors import MorphonyError
from engine.score import midi
from engine.tokens.bars import to_bars

if TYPE_CHECKING:
    from engine.compose import Style
    from engine.score import Score
    from engine.session import Piece, Session

STYLE_PIECES = 32  # of a folder: more would not change a mean


def add_arguments(parser: argparse.ArgumentParser) -> None:
    making.add_files(parser)
    parser.add_argument("--style", type=Path, metavar="STYLE", required=True, help="music, or a personalised style")
    parser.add_argument("--strength", type=float, default=1.0, help="how far towards the style, 0 to 1 (default 1)")
    arguments.add_bars(parser)
    arguments.add_tracks(parser)
    making.add_lock(parser)
    arguments.add_where(parser)
    making.add_sampling(parser)
    making.add_masks(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    from engine.session import Session
    from engine.style import is_style

    files.is_many(args.input)
    trained = args.style.is_dir() and is_style(args.style)
    session = open_session(args)
    style = None if trained else style_of(session, args.style)
    decoding = Session.open(args.model, args.device, styles={args.style: args.strength}) if trained else session

    def one(path: Path, out: Path | None) -> Mapping[str, Any]:
        assert out is not None
        return transfer(session, decoding, args, style, path, out)

    return files.each_file(args.input, args.output, args.where, None, one)


def style_of(session: Session, path: Path) -> Style:
    """The style of the music at `path`; files that cannot be heard are left out and said."""
    from engine.compose import Style

    listed = [path] if not files.is_many(path) else [file for _, file in files.list_files(path)]
    pieces: list[Piece] = []
    for file in listed:
        try:
            pieces.append(session.encode(midi.read(file)))
        except MorphonyError as error:
            if file is path:
                raise
            output.say(f"left out: {error}")
        if len(pieces) == STYLE_PIECES:
            break
    if not pieces:
        raise MorphonyError(f"There is no music in {path} to take a style from.")
    return Style.of(pieces)


def transfer(
    session: Session, decoding: Session, args: argparse.Namespace, style: Style | None, path: Path, out: Path
) -> Mapping[str, Any]:
    """Carry one file over; returns how far it came and how much of it is left."""
    from engine import compose

    piece = session.encode(midi.read(path))
    held = making.locks(args.lock, piece.score)
    asked = making.request(args, bars=args.bars, tracks=args.tracks, locks=held)
    score = compose.run(compose.transfer(decoding, piece, style, args.strength, asked))
    midi.write(score, out)
    return {"strength": args.strength, "notes": len(score.notes), **_figures(session, piece, style, score)}


def _figures(session: Session, piece: Piece, style: Style | None, score: Score) -> dict[str, Any]:
    """Distance from the style in sigma, mean of the attributes, before and after; cosines with the source, 0 to 100."""
    from trainer.evaluate import notes as compare

    after, n = to_bars(score, piece.grid), len(piece)
    sounds = np.isin(np.arange(n), piece.bars["bar"])
    views = {"sim_chroma": compare.chroma, "sim_groove": compare.groove}
    alike = {k: compare.mean_where(compare.similarity(v(piece.bars, n), v(after, n)), sounds) for k, v in views.items()}
    if style is None:
        return alike
    told = {"distance_before": piece.attributes, "distance_after": measure(after, piece.grid.clocks)}
    away = {k: float(np.abs(style.offsets(v, session.deviations)).mean()) for k, v in told.items()}
    return {**away, **alike}
