"""What is known of files without reading them again: size, times and inode beside the digest of what they held.

Trusted as long as all of these are as they were; what changed within the grain of a clock is not trusted, as git does.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import MorphonyError
from engine.score import midi
from trainer.corpus.bars import DIGEST
from trainer.corpus.reading import content_of
from trainer.corpus.scan import Files

ENTRY = np.dtype([("size", "i8"), ("mtime", "i8"), ("ctime", "i8"), ("inode", "u8"), ("content", f"V{DIGEST}")])
GRAIN_NS = 2_100_000_000  # the coarsest file times in use count in steps of two seconds
STAT = ("size", "mtime", "ctime", "inode")


def place_of(files: Files, where: str, cache: Path) -> Path:
    """Where the index of a folder lies."""
    asked = f"{os.path.abspath(files.root)}\0{where}"
    return cache / f"files-{hashlib.sha256(asked.encode(errors='surrogateescape')).hexdigest()[:16]}.npy"


def stats(files: Files) -> NDArray[np.void]:
    """ENTRY of every file as it is now, nothing read; zeros where there is none."""
    out = np.zeros(len(files), ENTRY)
    for i in range(len(files)):
        with suppress(OSError, ValueError):
            found = os.stat(files.path(i))
            out[i] = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino, bytes(DIGEST))
    return out


def load(place: Path) -> NDArray[np.void] | None:
    """An index as it was saved; None where there is none that can be read."""
    try:
        table = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return table if table.dtype == ENTRY and table.ndim == 1 else None


def contents(files: Files, now: NDArray[np.void], known: NDArray[np.void]) -> bytes:
    """The digests of all files behind one another: known ones where nothing has changed, others read."""
    same = np.zeros(len(files), bool)
    if len(known) == len(now):
        same = np.logical_and.reduce([now[name] == known[name] for name in STAT]) & (known["size"] > 0)
        now["content"] = known["content"]
    for i in np.flatnonzero(~same).tolist():
        now["content"][i] = np.void(_content(files, i))
    return now["content"].tobytes()


def _content(files: Files, i: int) -> bytes:
    if i in files.problems:
        return content_of(files.problems[i].encode(errors="surrogateescape"))
    try:
        return content_of(midi.read_bytes(files.path(i)))
    except MorphonyError as error:
        return content_of(str(error).encode(errors="surrogateescape"))


def save(place: Path, now: NDArray[np.void], looked: int) -> None:
    """Keep an index whole or not at all; files changed a moment before `looked` (ns) are read again next time."""
    fresh = np.maximum(now["mtime"], now["ctime"]) > looked - GRAIN_NS
    settled = now.copy()
    settled[fresh] = np.zeros((), ENTRY)
    temporary = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.save(file, settled, allow_pickle=False)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
