"""Which music a path stands for: one file, a folder, or a .tsv with a `path` column. Reads names, never music."""

from __future__ import annotations

import csv
import difflib
import os
from collections.abc import Iterable
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


def is_many(path: Path) -> bool:
    """True where a path stands for many files: a folder or a table. Raises MorphonyError when nothing is there."""
    if not path.exists():
        raise MorphonyError(f"There is no file or folder {path}.")
    return path.is_dir() or path.suffix.lower() == ".tsv"


def list_files(path: Path, where: str = "") -> list[Listed]:
    """Every file asked for: a folder's by name, a table's in its order, filtered by `where`; or the file itself.

    `where` is like "split=valid,tier=A". Raises MorphonyError for a filter, a table or a path that cannot be read.
    """
    if path.suffix.lower() == ".tsv" and not path.is_dir():
        return _table(path, where)
    if not path.exists():
        raise MorphonyError(f"There is no file or folder {path}.")
    if where:
        kind = "folder" if path.is_dir() else "single file"
        raise MorphonyError(f"--where filters the rows of a .tsv, and {path} is a {kind}.")
    if not path.is_dir():
        return [Listed(path.name, path, path.parent.name)]
    found = [Path(root) / name for root, _, names in os.walk(path, followlinks=False) for name in names]
    music = sorted(p for p in found if p.suffix.lower() in SUFFIXES)
    return [Listed(p.relative_to(path).as_posix(), p, p.parent.name) for p in music]


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


def _table(table: Path, where: str) -> list[Listed]:
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            rows = csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE, restval="")
            columns, listed = list(rows.fieldnames or ()), list(rows)
    except OSError as error:
        raise MorphonyError(f"{table.name} cannot be read: {reason(error)}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise MorphonyError(f"{table.name} cannot be read: {error}.") from error
    if "path" not in columns:
        raise MorphonyError(f"{table.name} has no column named path.")
    wanted = filters(where, columns)
    kept = [row for row in listed if all(row[column] == value for column, value in wanted.items())]
    return [_listed(table, row) for row in kept]


def _listed(table: Path, row: dict[str, str]) -> Listed:
    return Listed(row["path"], table.parent / row["path"], row.get("corpus") or Path(row["path"]).parent.name, row)
