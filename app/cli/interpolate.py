"""`morphony interpolate A.mid B.mid OUTDIR`: the way from one piece to another through the model's latents."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from app.cli import output
from app.cli.model import open_session
from engine.errors import MorphonyError
from engine.score import midi


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("a", type=Path, metavar="A.mid")
    parser.add_argument("b", type=Path, metavar="B.mid")
    parser.add_argument("output", type=Path, metavar="OUTDIR", help="gets one file a step, and index.json")
    parser.add_argument("--steps", type=int, default=9, help="files, A and B themselves included (default 9)")
    parser.add_argument(
        "--path",
        default="slerp",
        metavar="NAME",
        help="slerp, an arc (default); lerp, straight; bars, one after another",
    )
    parser.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest notes (default)")


def run(args: argparse.Namespace) -> dict[str, Any]:
    if args.steps < 2:
        raise MorphonyError(f"The way from A to B has at least 2 steps, not {args.steps}.")
    if args.output.exists() and not args.output.is_dir():
        raise MorphonyError(f"{args.output} must be a folder: an interpolation writes many files.")
    scores = midi.read(args.a), midi.read(args.b)
    session = open_session(args)
    from engine import compose

    a, b = (session.encode(score) for score in scores)
    shorter = min(len(a), len(b))
    if len(a) != len(b):
        longer = args.a if len(a) > len(b) else args.b
        output.say(f"{longer.name} is longer; between the ends only its first {shorter} bars take part.")
    args.output.mkdir(parents=True, exist_ok=True)
    files, progress = [], output.Progress(args.steps)
    for i in range(args.steps):
        share = i / (args.steps - 1)
        name = f"{i:0{len(str(args.steps - 1))}d}_{share:.3f}.mid"
        progress.step(i, name)
        if 0 < i < args.steps - 1:
            score = compose.run(compose.interpolate(session, a, b, share, args.seed, args.temperature, args.path))
            midi.write(score, args.output / name)
        else:  # A and B as they are, byte for byte
            score = scores[i > 0]
            midi.write_bytes(midi.read_bytes((args.a, args.b)[i > 0]), args.output / name)
        files.append({"file": name, "ok": True, "error": None, "share": share, "notes": len(score.notes)})
    progress.step(args.steps, "done")
    result = {"a": args.a.name, "b": args.b.name, "bars": shorter, "model": session.hash, "files": files}
    midi.write_bytes(json.dumps(result, indent=1, ensure_ascii=False).encode(), args.output / "index.json")
    return result
