"""How the arguments that several subcommands share are written and read: bars, tracks, sliders, meters, filters.

Values come out ready to use; a value that cannot be read is a usage error (exit 2) in argparse's own words.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping
from typing import Any

from app.cli import no_such
from engine.errors import MorphonyError


def bars(text: str) -> range:
    """Read "4:8" as bars 4, 5, 6, 7: 0-based and half open."""
    first, colon, end = text.partition(":")
    if not colon or not first.isdecimal() or not end.isdecimal() or int(first) >= int(end):
        raise argparse.ArgumentTypeError(f"{text!r} is not a run of bars like 4:8 (0-based, the last one excluded)")
    return range(int(first), int(end))


def tracks(text: str) -> frozenset[int]:
    """Read "0,2" as tracks 0 and 2."""
    words = text.split(",")
    if not all(word.strip().isdecimal() for word in words):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of tracks like 0,2")
    return frozenset(int(word) for word in words)


def meter(text: str) -> tuple[int, int]:
    """Read "3/4"; the denominator is a power of two up to 64."""
    upper, slash, lower = text.partition("/")
    legal = slash and upper.isdecimal() and lower in ("1", "2", "4", "8", "16", "32", "64") and 1 <= int(upper) <= 255
    if not legal:
        raise argparse.ArgumentTypeError(f"{text!r} is not a meter like 3/4")
    return int(upper), int(lower)


def offset(text: str) -> tuple[str, float]:
    """Read "density=1.5" as a slider and its offset from the piece's own value, in standard deviations."""
    name, equals, value = text.partition("=")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not name or not equals or not math.isfinite(number):
        raise argparse.ArgumentTypeError(f"{text!r} is not a slider and a number like density=1.5")
    return name, number


class _Offsets(argparse.Action):
    """Collects every --set into one dictionary; a slider named twice is a usage error."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option: Any = None) -> None:
        name, number = values
        gathered = getattr(namespace, self.dest) or {}
        if name in gathered:
            raise argparse.ArgumentError(self, f"{name} is set twice")
        setattr(namespace, self.dest, {**gathered, name: number})


def add_set(parser: argparse.ArgumentParser) -> None:
    """`--set density=1.5`, as often as wanted; `args.set` is a dictionary."""
    parser.add_argument(
        "--set",
        type=offset,
        action=_Offsets,
        default={},
        metavar="SLIDER=X",
        help="an offset from the piece's own value, in standard deviations; may be repeated",
    )


def add_bars(parser: argparse.ArgumentParser) -> None:
    """`--bars A:B`; `args.bars` is a range or None."""
    parser.add_argument("--bars", type=bars, metavar="A:B", help="only these bars, 0-based and half open")


def add_tracks(parser: argparse.ArgumentParser) -> None:
    """`--tracks 0,2`; `args.tracks` is a frozenset or None."""
    parser.add_argument("--tracks", type=tracks, metavar="I,J", help="only these tracks, counted from 0")


def add_where(parser: argparse.ArgumentParser) -> None:
    """`--where split=valid,tier=A`; `args.where` is the text, empty without one."""
    parser.add_argument(
        "--where", default="", metavar="COLUMN=VALUE,...", help="only these rows, where the music is a .tsv"
    )


def check_sliders(offsets: Mapping[str, float], known: Iterable[str]) -> None:
    """Refuse a slider that is not known, naming the nearest one that is."""
    names = list(known)
    for name in offsets:
        if name not in names:
            raise MorphonyError(no_such("slider", name, names))
