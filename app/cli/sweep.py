"""`morphony sweep IN OUTDIR`: each slider at each position, the others at rest, as files and an index.

Every position is the model's own decoding (no blend with the source): what the sliders do is measured on these files.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from app.cli import arguments, files, output
from app.cli.model import add_scope, add_styles, open_session
from engine.attributes import NAMES, measure
from engine.errors import MorphonyError
from engine.score import midi
from engine.score.cut import cut
from engine.score.timing import BarGrid
from engine.tokens.bars import to_bars

if TYPE_CHECKING:
    from engine.score import Score
    from engine.session import Piece, Session

REACH = 2.0  # sigma either way


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a .mid file, a folder, or a .tsv with a path column")
    parser.add_argument("output", type=Path, metavar="OUTDIR", help="gets NAME/<slider>_<sigma>.mid and index.json")
    parser.add_argument("--sliders", default="all", metavar="A,B", help="names, or all of the named ones (default)")
    parser.add_argument("--steps", type=int, default=9, help="positions from -2 to +2 (default 9)")
    add_scope(parser)
    add_styles(parser)
    parser.add_argument("--bars", type=arguments.bars, metavar="A:B", help="write only these bars, as a piece")
    arguments.add_where(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    if args.steps < 2:
        raise MorphonyError(f"A sweep needs at least 2 steps, not {args.steps}.")
    many = files.is_many(args.input)
    if args.output.exists() and not args.output.is_dir():
        raise MorphonyError(f"{args.output} must be a folder: a sweep writes many files.")
    session = open_session(args)
    names = list(NAMES) if args.sliders == "all" else args.sliders.split(",")
    arguments.check_sliders(dict.fromkeys(names, 0.0), [s.name for s in session.sliders])
    positions = np.linspace(-REACH, REACH, args.steps).round(6).tolist()

    def one(path: Path, out: Path | None) -> Mapping[str, Any]:
        assert out is not None
        folder = out if many else out / path.stem
        return sweep(session, args, path, folder, names, positions)

    result = files.each_file(args.input, args.output, args.where, "", one)
    head = {"model": session.hash, "sliders": names, "positions": positions, "scope": args.scope}
    index = {
        **head,
        **(result if many else {"files": [{"file": args.input.name, "ok": True, "error": None, **result}]}),
    }
    text = json.dumps(output.plain(index), indent=1, ensure_ascii=False)
    midi.write_bytes(text.encode(), args.output / "index.json")
    return index if many else {**head, **result}


def sweep(
    session: Session, args: argparse.Namespace, path: Path, folder: Path, names: list[str], positions: list[float]
) -> dict[str, Any]:
    """Every slider at every position for one file; returns the files with their re-measured attributes."""
    piece = session.encode(midi.read(path))
    wanted = range(len(piece)) if args.bars is None else range(args.bars.start, min(args.bars.stop, len(piece)))
    if not wanted:
        raise MorphonyError(f"{path.name} has bars 0:{len(piece)}; {args.bars.start}:{args.bars.stop} is past them.")
    folder.mkdir(parents=True, exist_ok=True)
    at_rest = _position(session, piece, args, wanted, {})
    written = []
    for name in names:
        for sigma in positions:
            score = _position(session, piece, args, wanted, {name: sigma}) if sigma else at_rest
            place = folder / f"{name}_{sigma:g}.mid"
            midi.write(score, place)
            written.append(
                {
                    "file": place.relative_to(args.output).as_posix(),
                    "slider": name,
                    "sigma": sigma,
                    "notes": len(score.notes),
                    "attributes": _attributes(score),
                }
            )
        output.say(f"{path.name}: {name}")
    return {"bars": [wanted.start, wanted.stop], "written": written}


def _position(
    session: Session, piece: Piece, args: argparse.Namespace, wanted: range, offsets: Mapping[str, float]
) -> Score:
    """The bars wanted, as a score, with the sliders at `offsets`.

    Every scope includes these bars, and a bar does not hear what its neighbours become: no other bar is decoded.
    """
    from engine import compose

    request = compose.Request(offsets=offsets, bars=wanted, seed=args.seed, blend=False)
    return cut(compose.apply(piece, compose.morph(session, piece, request)), piece.grid, wanted)


def _attributes(score: Score) -> dict[str, float]:
    grid = BarGrid.of(score)
    return dict(zip(NAMES, measure(to_bars(score, grid), grid.clocks), strict=True))
