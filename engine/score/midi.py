"""MIDI files in and out: the one place where a `Score` meets the disk.

Refuses what is not a regular file or too large before reading a byte; what the bytes mean is the parser's work.
"""

from __future__ import annotations

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from engine.errors import MorphonyError, reason
from engine.score import midi_parser, midi_quick, midi_writer
from engine.score.score import Score

MAX_BYTES = 64 * 2**20
_READING = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # a pipe must not block

to_bytes = midi_writer.to_bytes


def from_bytes(data: bytes, name: str = "") -> Score:
    """Read a MIDI file held in memory; `name` is what a refusal calls it. Raises MorphonyError."""
    return midi_parser.parse(data, name or "The MIDI data")


def read(path: str | os.PathLike[str]) -> Score:
    """Read a MIDI file with every event kept; oddities are in `Score.warnings`. Raises MorphonyError."""
    return from_bytes(read_bytes(path), Path(path).name)


def read_notes(path: str | os.PathLike[str]) -> Score:
    """Notes, meters, tempi and the tracks that hold notes, fast; no events. Raises MorphonyError.

    Well-formed files go through symusic, which does not tell channels: pitched tracks are numbered past the drums'.
    """
    data = read_bytes(path)
    lines = midi_quick.read(data)
    if lines is None:
        return only_notes(from_bytes(data, Path(path).name))
    score = lines.score()
    midi_parser.check_limits(score, Path(path).name)
    return score


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """The bytes of a regular file of at most MAX_BYTES. Raises MorphonyError with a sentence naming the file."""
    name = os.path.basename(path)
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise MorphonyError(f"{name} is a folder, not a file.")
        if not stat.S_ISREG(mode):  # before opening: opening a device may already do something
            raise MorphonyError(f"{name} is not a regular file.")
        handle = os.open(path, _READING)
        try:
            found = os.fstat(handle)
            if not stat.S_ISREG(found.st_mode):
                raise MorphonyError(f"{name} is not a regular file.")
            if found.st_size > MAX_BYTES:
                size = f"{found.st_size / 2**20:,.0f} MiB"
                raise MorphonyError(f"{name} is {size} large; MIDI files over {MAX_BYTES >> 20} MiB are not opened.")
            return _read_all(handle, found.st_size)
        finally:
            os.close(handle)
    except OSError as error:
        raise MorphonyError(f"{name} cannot be read: {reason(error)}.") from error
    except ValueError as error:  # a NUL in the path
        raise MorphonyError(f"{name!r} is not a possible file name.") from error


def _read_all(handle: int, size: int) -> bytes:
    """What is in an open file now, MAX_BYTES at most: it may have grown, and a read may bring less than is there."""
    data = os.read(handle, size + 1)
    while len(data) != size and len(data) < MAX_BYTES and (more := os.read(handle, MAX_BYTES - len(data))):
        data += more
    return data


def write(score: Score, path: str | os.PathLike[str]) -> None:
    """Save as a MIDI file: whole or not at all, never half. Raises MorphonyError."""
    write_bytes(to_bytes(score), path)


def write_bytes(data: bytes, path: str | os.PathLike[str]) -> None:
    """Replace a file in one step. Raises MorphonyError.

    A temporary file in the same folder is written, flushed to the disk and renamed: there is the old or the new file.
    """
    target = Path(path)
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:64]}.", suffix=".tmp", dir=target.parent)
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, target.stat().st_mode & 0o777 if target.exists() else 0o666 & ~_umask())
        os.replace(temporary, target)
        temporary = ""
        _sync_folder(target.parent)
    except OSError as error:
        raise MorphonyError(f"{target.name} could not be saved: {reason(error)}.") from error
    finally:
        if temporary:
            with suppress(OSError):
                os.unlink(temporary)


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def _sync_folder(folder: Path) -> None:
    """Make the rename itself lasting, where the system lets a folder be opened."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def only_notes(score: Score) -> Score:
    """The same score without events and without tracks that hold no note."""
    used, track = np.unique(score.notes["track"], return_inverse=True)
    notes = score.notes.copy()
    notes["track"] = track
    tracks = tuple(score.tracks[int(i)] for i in used)
    return Score(score.ticks_per_quarter, tracks, notes, score.meters, score.tempi, (), score.warnings)
