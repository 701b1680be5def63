"""What the subcommands that make notes share: how notes are drawn, what may sound, what stays as it is.

Arguments come in as a musician writes them; `request` hands them to the engine.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from app.cli import arguments, files
from app.cli.model import open_session
from engine.errors import MorphonyError
from engine.score import harmony
from engine.tokens.bars import is_modelled

if TYPE_CHECKING:
    from engine.compose import Locks, Request
    from engine.masks import Masks
    from engine.score import Score
    from engine.session import Session

T = TypeVar("T")
LOCKABLE = ("bars", "tracks", "pitches", "notes")
REFINE = 0.8  # how far astray drafts of new bars are taken to be, as measured
Made = Mapping[str, Any]  # what is said of a finished file
Lock = tuple[str, range | frozenset[int]]


def add_files(parser: argparse.ArgumentParser) -> None:
    """IN and OUT: a file each, or a folder each."""
    parser.add_argument("input", type=Path, metavar="IN", help="a .mid file, a folder, or a .tsv with a path column")
    parser.add_argument("output", type=Path, metavar="OUT", help="a .mid file, or a folder where IN is many files")


def each(
    args: argparse.Namespace, one: Callable[[Session, argparse.Namespace, Path, Path | None], Made]
) -> dict[str, Any]:
    """Do one thing to every file of IN, with one session; sliders the model does not have are refused first."""
    files.is_many(args.input)
    session = open_session(args)
    arguments.check_sliders(args.set, [s.name for s in session.sliders])
    return files.each_file(args.input, args.output, args.where, None, lambda a, b: one(session, args, a, b))


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """`--temperature`, `--top-k`, `--top-p`, `--beam`."""
    group = parser.add_argument_group("how notes are chosen")
    group.add_argument("--temperature", type=float, default=0.0, help="0 takes the likeliest notes (default)")
    group.add_argument(
        "--top-k", type=int, default=0, metavar="K", help="draw among the K likeliest: pitches of an onset, values"
    )
    group.add_argument(
        "--top-p",
        type=float,
        default=1.0,
        metavar="P",
        help="draw among the likeliest that hold this share (default 1)",
    )
    group.add_argument(
        "--beam", type=int, default=1, metavar="N", help="of a bar's N likeliest note sets the one nearest to --set"
    )


def add_prior(parser: argparse.ArgumentParser) -> None:
    """`--prior-temperature`."""
    parser.add_argument(
        "--prior-temperature", type=float, default=1.0, help="of the latents: lower is more usual music (default 1)"
    )


def add_refine(parser: argparse.ArgumentParser) -> None:
    """`--refine`."""
    parser.add_argument(
        "--refine",
        type=float,
        nargs="?",
        const=REFINE,
        metavar="AWAY",
        help="write the drafted notes anew, one by one, by a model that has a refiner; AWAY from 0 (the draft is to be "
        f"believed) to 1 (it is hardly a hint; default {REFINE:g}). Not with --set or --beam",
    )


def add_masks(parser: argparse.ArgumentParser) -> None:
    """`--scale`, `--pitch-range`, `--loose`, `--chords`, `--max-notes`."""
    group = parser.add_argument_group("what may sound (nothing here: anything)")
    group.add_argument(
        "--scale",
        "--key",
        type=_said(harmony.scales),
        metavar="SCALE",
        help='"C major", pitch classes "0 2 4 7 9", or a scale a bar: "C major | A minor"',
    )
    group.add_argument(
        "--pitch-range", "--range", type=pitches, metavar="LOW:HIGH", help="MIDI pitches, both included: 48:72"
    )
    group.add_argument("--loose", action="store_true", help="lean towards the range instead of keeping to it")
    group.add_argument(
        "--chords",
        type=_said(chords),
        metavar="CHART",
        help='chords by bar, from the start again at the end: "C | Am F | G7", or a file that holds this',
    )
    group.add_argument("--max-notes", type=int, metavar="N", help="at most N notes sound at once")


def add_lock(parser: argparse.ArgumentParser) -> None:
    """`--lock WHAT=WHICH`, as often as wanted; `args.lock` is a list for `locks`."""
    parser.add_argument(
        "--lock",
        type=lock,
        action="append",
        default=[],
        metavar="WHAT=WHICH",
        help="stays as it is: bars=4:6, tracks=0,2, pitches=36:48 or notes=0,1,7 (rows of the piece); may be repeated",
    )


def _said(read: Callable[[str], T]) -> Callable[[str], T]:
    """The same reader, with the engine's sentence as a usage error."""

    def reader(text: str) -> T:
        try:
            return read(text)
        except MorphonyError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return reader


def pitches(text: str) -> tuple[int, int]:
    """Read "48:72" as the lowest and the highest MIDI pitch."""
    low, colon, high = text.partition(":")
    if not colon or not low.isdecimal() or not high.isdecimal() or int(low) > int(high) or int(high) > 127:
        raise argparse.ArgumentTypeError(f"{text!r} is not a range of MIDI pitches like 48:72 (both included)")
    return int(low), int(high)


def chords(text: str) -> tuple[tuple[harmony.PitchClasses, ...], ...]:
    """Read a chart, or the file of that name."""
    try:
        named = Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or no name at all
        named = False
    if not named:
        return harmony.chords(text)
    try:
        return harmony.chords(Path(text).read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise MorphonyError(f"{text} holds no chords.") from None


def lock(text: str) -> Lock:
    """Read "bars=4:6", "tracks=0,2", "pitches=36:48" or "notes=0,1"."""
    kind, equals, value = text.partition("=")
    if not equals or kind not in LOCKABLE:
        raise argparse.ArgumentTypeError(f"{text!r} is none of bars=4:6, tracks=0,2, pitches=36:48 and notes=0,1")
    if kind == "bars":
        return kind, arguments.bars(value)
    if kind == "pitches":
        low, high = pitches(value)
        return kind, range(low, high + 1)
    return kind, arguments.tracks(value)


def locks(asked: list[Lock], score: Score) -> Locks:
    """What `--lock` means in one piece; pitches lock the notes that have them."""
    from engine.compose import Locks

    of = {kind: frozenset(i for k, which in asked if k == kind for i in which) for kind in LOCKABLE}
    held = np.flatnonzero(is_modelled(score) & np.isin(score.notes["pitch"], list(of["pitches"])))
    return Locks(of["bars"], of["tracks"], of["notes"] | frozenset(map(int, held)))


def masks(args: argparse.Namespace) -> Masks:
    """What the arguments of `add_masks` let sound."""
    from engine.masks import Masks

    if args.loose and args.pitch_range is None:
        raise MorphonyError("--loose says how --pitch-range is meant, which is not given.")
    return Masks(args.scale or (), args.pitch_range, args.loose, args.chords or (), args.max_notes)


def request(args: argparse.Namespace, **more: Any) -> Request:
    """The engine's request: how notes are drawn, masks, seed; `more` are the fields a subcommand has besides."""
    from engine.compose import Request

    return Request(
        seed=args.seed,
        temperature=args.temperature,
        top_k=args.top_k,
        top_p=args.top_p,
        beam=args.beam,
        masks=masks(args),
        refine=getattr(args, "refine", None),  # not of every subcommand
        **more,
    )
