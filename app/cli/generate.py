"""`morphony generate OUT.mid`: new music for two hands, drawn from the model's prior."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.cli import arguments, output
from app.cli.model import open_session
from engine.errors import MorphonyError
from engine.score import midi

if TYPE_CHECKING:
    from engine.session import Session


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("output", type=Path, metavar="OUT", help="a .mid file, or a folder with --count")
    parser.add_argument("--bars", type=int, default=16, metavar="N", help="how many bars (default 16)")
    parser.add_argument("--count", type=int, metavar="N", help="write N pieces into the folder OUT, a seed each")
    parser.add_argument("--meter", type=arguments.meter, default=(4, 4), help="such as 3/4 (default 4/4)")
    arguments.add_set(parser)
    parser.add_argument("--temperature", type=float, default=0.0, help="of the notes: 0 takes the likeliest (default)")
    parser.add_argument(
        "--prior-temperature", type=float, default=1.0, help="of the latents: lower is more usual music (default 1)"
    )


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

    job = compose.generate(session, args.bars, args.meter, args.set, seed, args.temperature, args.prior_temperature)
    score = compose.run(job)
    midi.write(score, out)
    return {"seed": seed, "bars": args.bars, "notes": len(score.notes)}
