"""`morphony generate OUT.mid`: new music for one to four parts, drawn from the model's prior."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments, making, output
from app.cli.model import add_styles, open_session
from engine.errors import MorphonyError
from engine.score import midi

if TYPE_CHECKING:
    from engine.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", type=Path, metavar="OUT", help="a .mid file, or a folder with --count")
    parser.add_argument("--bars", type=int, default=16, metavar="N", help="how many bars (default 16)")
    parser.add_argument("--count", type=int, metavar="N", help="write N pieces into the folder OUT, a seed each")
    parser.add_argument("--meter", type=arguments.meter, default=(4, 4), help="such as 3/4 (default 4/4)")
    parser.add_argument("--tracks", type=int, metavar="N", help="for 1 to 4 parts (default: two hands at a piano)")
    parser.add_argument(
        "--programs", type=programs, metavar="P,Q", help="their instruments, General MIDI counted from 0: 40,42"
    )
    arguments.add_set(parser)
    add_styles(parser)
    making.add_prior(parser)
    making.add_sampling(parser)
    making.add_refine(parser)
    making.add_masks(parser)


def programs(text: str) -> tuple[int, ...]:
    """Read "40,42" as a violin and a cello."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) < 128 for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of programs from 0 to 127 like 40,42")
    return tuple(int(word) for word in words)


def run(args: argparse.Namespace) -> dict[str, Any]:
    if args.count is not None and args.count < 1:
        raise MorphonyError(f"--count needs a number of pieces from 1 on, not {args.count}.")
    if args.count is not None and args.output.exists() and not args.output.is_dir():
        raise MorphonyError(f"{args.output} must be a folder: --count writes many files.")
    session = open_session(args)
    arguments.check_sliders(args.set, [s.name for s in session.sliders])
    if args.count is None:
        return generate(session, args, args.output, args.seed)
    args.output.mkdir(parents=True, exist_ok=True)
    entries, progress = [], output.Progress(args.count)
    for i in range(args.count):
        name = f"{i:0{len(str(args.count - 1))}d}.mid"
        progress.step(i, name)
        made = generate(session, args, args.output / name, args.seed + i)
        entries.append({"file": name, "ok": True, "error": None, **made})
    progress.step(args.count, "done")
    return {"files": entries}


def generate(session: Session, args: argparse.Namespace, out: Path, seed: int) -> dict[str, Any]:
    """Make and write one piece."""
    from engine import compose
    from engine.generation import ensemble

    wanted, tracks = making.request(args), None
    if args.tracks is not None or args.programs is not None:
        tracks = ensemble(args.tracks or len(args.programs), args.programs)
    job = compose.generate(
        session, args.bars, args.meter, args.set, seed, args.temperature, args.prior_temperature, tracks, wanted
    )
    score = compose.run(job)
    midi.write(score, out)
    return {"seed": seed, "bars": args.bars, "notes": len(score.notes), "tracks": len(score.tracks)}
