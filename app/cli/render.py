"""`morphony render IN OUT`: MIDI files as .wav, through the synth, faster than real time."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from app.cli import files
from app.sound.render import render
from engine.score import midi


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a .mid file, or a folder of them")
    parser.add_argument("output", type=Path, metavar="OUT", help="the .wav file, or the folder for them")
    parser.add_argument("--font", type=Path, metavar="FILE", help="a sound font (default: the system's, then our own)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    def one(path: Path, out: Path | None) -> dict[str, Any]:
        assert out is not None
        score, began = midi.read(path), time.perf_counter()
        seconds, font = render(score, out, args.font)
        took = time.perf_counter() - began
        return {
            "wav": out,
            "notes": len(score.notes),
            "seconds": round(seconds, 3),
            "times_real_time": round(seconds / took, 1),
            "font": font,
            "warnings": list(score.warnings),
        }

    return files.each_file(args.input, args.output, "", ".wav", one)
