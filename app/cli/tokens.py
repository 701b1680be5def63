"""`morphony tokens IN [--back OUT]`: a file as the 774 event tokens, and the tokens as a file again. No model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.cli import arguments, files
from engine.score import midi
from engine.tokens import codec, vocab
from engine.tokens.bars import is_modelled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a .mid file, a folder, or a .tsv with a path column")
    parser.add_argument(
        "--back",
        type=Path,
        metavar="OUT",
        help="write what the tokens say as a .mid of 24 ticks a quarter in 4/4 (a folder where IN is one)",
    )
    arguments.add_where(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    return files.each_file(args.input, args.back, args.where, ".mid", _tokens)


def _tokens(path: Path, back: Path | None) -> Mapping[str, Any]:
    """The ids of one file, with what they leave out; writes the way back where one is asked for."""
    score = midi.read(path)
    tokens = codec.encode(score)
    again = codec.decode(tokens)
    if back is not None:
        midi.write(again, back)
    return {
        "vocabulary": vocab.SIZE,
        "version": vocab.VERSION,
        "tokens": len(tokens.ids),
        "notes": len(again.notes),
        "notes_without_token": int((~is_modelled(score)).sum()),
        "programs": tokens.programs,
        "ids": tokens.ids,
        "written": None if back is None else str(back),
        "warnings": score.warnings,
    }
