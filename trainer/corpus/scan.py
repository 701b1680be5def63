"""A folder (or a table of paths) to reports, one a file and in the order of the files; repetitions are left out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.score import listing
from trainer.corpus import workers
from trainer.corpus.reading import Reading
from trainer.corpus.report import FileReport

CALLED_OFF = "Reading the music was called off."  # what whoever asked for it is told


@dataclass(frozen=True, slots=True)
class Files:
    """The files asked for, as plain names: there may be a million."""

    root: str  # the folder, or that of the table
    names: list[str]  # below it
    corpora: list[str]
    problems: dict[int, str]  # why nothing can be read there: folders that do not open, links that are not followed

    @classmethod
    def of(cls, folder: Path, where: str = "") -> Files:
        """List them; `where` is like "split=valid,tier=A" for a .tsv. Raises MorphonyError."""
        names, corpora, problems = list[str](), list[str](), dict[int, str]()
        for i, file in enumerate(listing.iterate(folder, where)):
            names.append(file.name)
            corpora.append(sys.intern(file.corpus))
            if file.problem:
                problems[i] = file.problem
        return cls(str(folder if folder.is_dir() else folder.parent), names, corpora, problems)

    def __len__(self) -> int:
        return len(self.names)

    def path(self, index: int) -> str:
        """Where a file lies."""
        return os.path.join(self.root, self.names[index])


def list_files(folder: Path, where: str = "") -> list[tuple[Path, str]]:
    """(path, corpus) of every file asked for; `folder` may be a .tsv with a `path` column, filtered by `where`.

    `where` is like "split=valid,tier=A"; without a table the corpus is the folder a file lies in.
    """
    return [(file.path, file.corpus) for file in listing.iterate(folder, where)]


def scan(folder: Path, where: str = "", **options: Any) -> Iterator[FileReport]:
    """Look at every file, one report each; duplicates by note content are left out.

    `options` are those of `workers.read_all`. Closing the generator, or a true `cancelled()`, ends it at once.
    """
    for report, _ in read_all(Files.of(folder, where), False, **options):
        yield report


def read_all(files: Files, keep: bool, **options: Any) -> Iterator[tuple[FileReport, Reading]]:
    """As `scan`, with what was read of every file; with `keep` the bars as well."""
    readable = (files.path(i) for i in range(len(files)) if i not in files.problems)
    readings = workers.read_all(readable, keep, **options)
    seen: dict[bytes, int] = {}
    try:
        for i in range(len(files)):
            if i in files.problems:
                reason = files.problems[i]
                yield FileReport(files.names[i], files.corpora[i], False, reason), workers.refusal(reason)
                continue
            reading = next(readings, None)
            if reading is None:  # cancelled
                return
            yield _report(files, i, reading, seen), reading
    finally:
        readings.close()


def _report(files: Files, i: int, reading: Reading, seen: dict[bytes, int]) -> FileReport:
    name, corpus = files.names[i], files.corpora[i]
    if reading.piece is None:
        return FileReport(name, corpus, False, reading.reason)
    first = seen.setdefault(reading.piece.digest, i)
    if first != i:
        other = files.names[first]
        reason = f"{os.path.basename(name)} has the same notes as {other}."
        return FileReport(name, corpus, False, reason, same_as=other)
    size = reading.notes, reading.bars, reading.seconds
    return FileReport(name, corpus, True, "", *size, meters=reading.piece.meters)
