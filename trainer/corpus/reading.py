"""One file after another to pieces of a corpus, in a process of its own that may die of any of them.

Gets names and sends back plain values and arrays. Imports no torch. Ends when nobody listens any more.
"""

from __future__ import annotations

import faulthandler
import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from engine.errors import MorphonyError
from engine.score import midi, midi_chunks, midi_parser, midi_quick
from engine.score.midi_quick import Lines
from engine.score.timing import MAX_BARS
from trainer.corpus.bars import DIGEST, Piece, lines_of, to_pieces

ORPHAN_S = 600.0  # no batch takes as long: a process that nobody ends any more ends itself


@dataclass(frozen=True, slots=True)
class Reading:
    """What a file holds, or why it cannot be used."""

    content: bytes  # digest of its bytes; of the reason where they cannot be read
    reason: str = ""  # empty where there is a piece
    piece: Piece | None = None
    notes: int = 0
    bars: int = 0
    seconds: float = 0.0


Read = Callable[[Sequence[str], bool, Callable[[int], None]], list[Reading]]


def main(connection: Connection, progress: Any, read: Read) -> None:
    """Read batches of files until the other end is closed; `progress` tells which file of a batch is being read."""
    while True:
        try:
            paths, keep = connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        faulthandler.dump_traceback_later(ORPHAN_S, exit=True, file=open(os.devnull, "w"))  # noqa: SIM115  # until exit
        try:
            answer = read(paths, keep, lambda i: setattr(progress, "value", i))
            faulthandler.cancel_dump_traceback_later()
            connection.send(answer)
        except (OSError, KeyboardInterrupt):  # nobody listens
            return


def read_batch(paths: Sequence[str], keep: bool, at: Callable[[int], None]) -> list[Reading]:
    """A reading of every file, in order. Without `keep` bars and attributes stay behind. `at` hears what comes next."""
    contents, reasons, found = [], [], dict[int, tuple[Lines, float]]()
    for i, path in enumerate(paths):
        at(i)
        content, reason, result = read_file(path)
        contents.append(content)
        reasons.append(reason)
        if result is not None:
            found[i] = result
    at(len(paths))
    pieces = dict(zip(found, _pieces([lines for lines, _ in found.values()], keep), strict=True))
    return [
        _reading(path, contents[i], reasons[i], pieces.get(i), found[i][1] if i in found else 0.0, keep)
        for i, path in enumerate(paths)
    ]


def read_file(path: str) -> tuple[bytes, str, tuple[Lines, float] | None]:
    """Digest of a file's bytes, why it cannot be used (or nothing), and its lines with its length in seconds."""
    data, name = b"", os.path.basename(path)
    try:
        data = midi.read_bytes(path)
        lines = midi_quick.read(data, programs=False)
        if lines is None:
            score = midi.only_notes(midi.from_bytes(data, name))
            if not len(score.notes):
                return content_of(data), f"{name} holds no pitched notes.", None
            lines = lines_of(score)
        return content_of(data), "", (lines, _checked(lines, name))
    except MorphonyError as error:
        return content_of(data or str(error).encode()), str(error), None
    except Exception as error:  # a mistake of ours must not cost the other files
        return content_of(data), f"{name} could not be read ({type(error).__name__}: {error}).", None


def content_of(data: bytes) -> bytes:
    """What a file is known by."""
    return hashlib.sha256(data).digest()[:DIGEST]


def _checked(lines: Lines, name: str) -> float:
    """Length in seconds. Raises MorphonyError for what no part of the program should have to hold."""
    end = max(int((line.tick + line.duration).max()) for line in lines.lines)
    notes = sum(len(line.tick) for line in lines.lines)
    quarters = end / lines.ticks_per_quarter
    shortest = min(numerator / denominator for _, numerator, denominator in lines.meters)
    hours, bars = quarters * max(lines.tempi[1]) / 3.6e9, quarters / 4 / shortest + len(lines.meters)
    if notes > midi_chunks.MAX_NOTES or hours > midi_parser.MAX_HOURS or bars > MAX_BARS:  # at most so long, so many
        midi_parser.check_limits(lines.score(), name)
    ticks, microseconds = lines.tempi
    ends = [*ticks[1:], max(end, ticks[-1])]
    return (
        sum((min(e, end) - t) * m for t, e, m in zip(ticks, ends, microseconds, strict=True) if t < end)
        / 1e6
        / lines.ticks_per_quarter
    )


def _pieces(files: list[Lines], keep: bool) -> list[Piece | str | None]:
    try:
        return list(to_pieces(files, measured=keep))
    except Exception as error:  # a mistake of ours: one by one, so that it costs one file
        if len(files) == 1:
            return [f"{type(error).__name__}: {error}"]
        return [piece for file in files for piece in _pieces([file], keep)]


def _reading(path: str, content: bytes, reason: str, piece: Piece | str | None, seconds: float, keep: bool) -> Reading:
    name = os.path.basename(path)
    if isinstance(piece, str):
        return Reading(content, f"{name} could not be cut into bars ({piece}).")
    if piece is None:
        return Reading(content, reason or f"{name} holds no pitched notes.")
    size = len(piece.notes), len(piece.bars), seconds
    if not keep:
        piece = Piece(piece.notes[:0], piece.bars[:0], piece.digest, piece.parts, piece.attributes, piece.meters)
    return Reading(content, "", piece, *size)
