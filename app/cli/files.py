"""One file, a folder, or a table of files: the same work for each, and a list of how each went.

Knows names and folders only; what is done with a file is the caller's function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from app.cli import output
from engine.errors import MorphonyError
from engine.score import listing
from engine.score.listing import is_many as is_many

Work = Callable[[Path, Path | None], Mapping[str, Any]]  # (file, where its result goes) -> more fields of its entry


def each_file(in_path: Path, out_path: Path | None, where: str, suffix: str | None, function: Work) -> dict[str, Any]:
    """Do `function(file, out)` for IN: a file, whose dictionary is returned, or a folder or .tsv, as {"files": [...]}.

    For many files `out` is OUT/<relative name> with `suffix` for its own (None keeps it), its folder made.
    A file that fails is an entry with its sentence and stops nothing; a single file raises.
    """
    in_path = Path(in_path)
    out_path = None if out_path is None else Path(out_path)
    if not is_many(in_path):
        if where:
            raise MorphonyError(f"--where filters the rows of a .tsv, and {in_path} is a single file.")
        return dict(function(in_path, out_path))
    if out_path is not None and out_path.exists() and not out_path.is_dir():
        raise MorphonyError(f"{in_path} holds many files, so {out_path} must be a folder.")
    listed = list(list_files(in_path, where))
    if not listed:
        raise MorphonyError(f"There is no music in {in_path}" + (f" where {where}." if where else "."))
    progress, entries, written = output.Progress(len(listed)), [], set[Path]()
    for done, (name, path) in enumerate(listed):
        progress.step(done, name)
        entries.append(_entry(name, path, out_path, suffix, function, written))
    failed = sum(not entry["ok"] for entry in entries)
    progress.step(len(listed), f"done, {failed} failed" if failed else "done")
    return {"files": entries}


def list_files(path: Path, where: str = "") -> Iterator[tuple[str, Path]]:
    """Yield (relative name, file) for each piece of music in a folder, by name, or in a .tsv, in its order."""
    for file in listing.list_files(path, where):
        yield file.name, file.path


def _entry(
    name: str, path: Path, out_path: Path | None, suffix: str | None, function: Work, written: set[Path]
) -> dict[str, Any]:
    entry: dict[str, Any] = {"file": name, "ok": False, "error": None}
    try:
        if not path.is_file():  # a named pipe would wait for ever
            raise MorphonyError(f"{path} is not a file." if path.exists() else f"There is no file {path}.")
        out = None if out_path is None else _place(name, out_path, suffix, written)
        return {**entry, "ok": True, **function(path, out)}
    except MorphonyError as error:
        entry["error"] = str(error)
    except OSError as error:
        entry["error"] = output.os_sentence(error)
    except Exception as error:  # a mistake of ours must not cost the other files
        entry["error"] = f"{name}: {output.keep_details(error)}"
    return entry


def _place(name: str, folder: Path, suffix: str | None, written: set[Path]) -> Path:
    relative = Path(name) if suffix is None else Path(name).with_suffix(suffix)
    if relative.is_absolute() or ".." in relative.parts:
        raise MorphonyError(f"{name} leads out of {folder}, so its result has no place there.")
    out = folder / relative
    if out in written:
        raise MorphonyError(f"{name}: another file of the folder has already written {out}.")
    written.add(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    return out
