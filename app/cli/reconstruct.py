"""`morphony reconstruct IN OUT`: encode a piece and decode it from its latents alone.

The decoder is handed a piece without notes; meters, tempi and all that is not modelled come from IN.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments, files
from app.cli.model import add_styles, open_session
from engine.errors import MorphonyError
from engine.score import midi

if TYPE_CHECKING:
    from engine.session import Piece, Session

LEVELS = ("z_global", "z_local", "z_fine")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a .mid file, a folder, or a .tsv with a path column")
    parser.add_argument("output", type=Path, metavar="OUT", help="a .mid file, or a folder where IN is many files")
    parser.add_argument(
        "--latents",
        type=Path,
        metavar="FILE",
        help="write the latents there, or decode from them if FILE is there already; a folder where IN is many files",
    )
    parser.add_argument("--mean", action="store_true", help="the posterior's mean instead of a sample (--seed)")
    arguments.add_where(parser)
    add_styles(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    many = files.is_many(args.input)
    session = open_session(args)

    def one(path: Path, out: Path | None) -> Mapping[str, Any]:
        assert out is not None
        latents = args.latents
        if latents is not None and many:
            latents = latents / out.relative_to(args.output).with_suffix(".safetensors")
        return reconstruct(session, path, out, None if args.mean else args.seed, latents)

    return files.each_file(args.input, args.output, args.where, None, one)


def reconstruct(session: Session, path: Path, out: Path, seed: int | None, latents: Path | None) -> dict[str, Any]:
    """Decode one file from a posterior sample (or the mean, without a seed), or from `latents` if that file exists."""
    from engine import compose
    from engine.tokens.bars import to_bars
    from trainer.evaluate.notes import bar_f1, mean_where

    piece = session.encode(midi.read(path), seed)
    given = latents is not None and latents.exists()
    if latents is not None:
        if given:
            piece = piece.with_latents(load(latents))
        else:
            save(piece, latents)
    score = compose.apply(piece, compose.reconstruct(session, piece))
    midi.write(score, out)
    f1, full = bar_f1(piece.bars, to_bars(score, piece.grid), len(piece))
    return {
        "from": "latents" if given else "mean" if seed is None else "sample",
        "bars": len(piece),
        "notes": len(score.notes),
        "source_notes": len(piece.score.notes),
        "note_f1": mean_where(f1, full),
    }


def save(piece: Piece, path: Path) -> None:
    """Write z_global (1, G), z_local (P, L), z_fine (N, F) as safetensors."""
    from safetensors.torch import save as to_bytes

    path.parent.mkdir(parents=True, exist_ok=True)
    midi.write_bytes(to_bytes({name: getattr(piece, name).contiguous() for name in LEVELS}), path)


def load(path: Path) -> Mapping[str, Any]:
    """Read what `save` wrote. Raises MorphonyError when it is something else."""
    from safetensors import SafetensorError
    from safetensors.torch import load as from_bytes

    try:
        return from_bytes(path.read_bytes())
    except SafetensorError as error:
        raise MorphonyError(f"{path} holds no latents.") from error
