"""Which music a path stands for: one file, a folder, or a .tsv with a `path` column. Reads names, never music."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from engine.errors import MorphonyError, reason

SUFFIXES = (".mid", ".midi", ".kar", ".rmi", ".smf")


@dataclass(frozen=True, slots=True)
class Listed:
    """One file that was asked for; it need not exist when a table names it."""

    name: str  # relative to the folder or the table, with forward slashes
    path: Path
    corpus: str  # the table's column, else the folder the file lies in
    row: dict[str, str] = field(default_factory=dict)  # what the table says of it
    problem: str = ""  # why nothing can be read there: a folder that does not open, a linked folder


def is_many(path: Path) -> bool:
    """True where a path stands for many files: a folder or a table. Raises MorphonyError when nothing is there."""
    if not path.exists():
        raise MorphonyError(f"There is no file or folder {path}.")
    return path.is_dir() or path.suffix.lower() == ".tsv"


def list_files(path: Path, where: str = "") -> list[Listed]:
    """Every file asked for: a folder's by name, a table's in its order, filtered by `where`; or the file itself.

    `where` is like "split=valid,tier=A". Raises MorphonyError for a filter, a table or a path that cannot be read.
    Folders inside that do not open, or are links, are listed with their `problem`: links may lead round in a circle.
    """
    return list(iterate(path, where))


def iterate(path: Path, where: str = "") -> Iterator[Listed]:
    """As `list_files`, one at a time: there may be a million."""
    if path.suffix.lower() == ".tsv" and not path.is_dir():
        yield from _table(path, where)
        return
    if not path.exists():
        raise MorphonyError(f"There is no file or folder {path}.")
    if where:
        kind = "folder" if path.is_dir() else "single file"
        raise MorphonyError(f"--where filters the rows of a .tsv, and {path} is a {kind}.")
    if not path.is_dir():
        yield Listed(path.name, path, path.parent.name)
        return
    yield from _walk(path, "")


def _walk(folder: Path, below: str) -> Iterator[Listed]:
    """The music in a folder and those inside it, in the order of their names. Folders may lie a thousand deep."""
    open_folders = [_entries(folder, below)]
    while open_folders:
        found = next(open_folders[-1], None)
        if found is None:
            open_folders.pop()
        elif isinstance(found, Listed):
            yield found
        else:
            open_folders.append(_entries(*found))


def _entries(folder: Path, below: str) -> Iterator[Listed | tuple[Path, str]]:
    """The music of one folder, and the folders inside it with what stands before the names of their files."""
    try:
        with os.scandir(folder) as found:
            entries = sorted(found, key=_name)
    except OSError as error:
        problem = f"{folder.name} cannot be read: {reason(error)}."
        yield Listed(below.rstrip("/") or ".", folder, folder.name, problem=problem)
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield folder / entry.name, f"{below}{entry.name}/"
        elif entry.is_symlink() and _is_folder(entry):
            problem = f"{entry.name} is a link to a folder; links to folders are not followed."
            yield Listed(below + entry.name, folder / entry.name, folder.name, problem=problem)
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES:
            yield Listed(below + entry.name, folder / entry.name, folder.name)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether a link leads to a folder; one that leads nowhere, or round in a circle, is a file that cannot be read."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def filters(where: str, columns: Iterable[str]) -> dict[str, str]:
    """Read "split=valid,tier=A" into {column: value}; raises on what is not one, or not a column."""
    wanted, known = {}, list(columns)
    for part in filter(None, where.split(",")):
        column, equals, value = (word.strip() for word in part.partition("="))
        if not equals:
            raise MorphonyError(f"--where {where}: {part!r} is not written like column=value.")
        if column not in known:
            near = difflib.get_close_matches(column, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise MorphonyError(f"--where {where}: there is no column named {column}{hint}")
        wanted[column] = value
    return wanted


def _table(table: Path, where: str) -> Iterator[Listed]:
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
            columns = list(rows.fieldnames or ())
            if "path" not in columns:
                raise MorphonyError(f"{table.name} has no column named path.")
            wanted = filters(where, columns)
            for row in rows:
                if all(row[column] == value for column, value in wanted.items()):
                    corpus = row.get("corpus") or Path(row["path"]).parent.name
                    yield Listed(row["path"], table.parent / row["path"], corpus, row)
    except OSError as error:
        raise MorphonyError(f"{table.name} cannot be read: {reason(error)}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise MorphonyError(f"{table.name} cannot be read: {error}.") from error
