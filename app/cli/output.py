"""What the terminal shows: the result on stdout, as text or as one line of JSON; everything else on stderr.

Knows no subcommand: a result is a dictionary of whatever they return.
"""

from __future__ import annotations

import dataclasses
import json
import math
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import platformdirs


def say(sentence: str) -> None:
    """Write one line on stderr."""
    sys.stderr.write(sentence + "\n")
    sys.stderr.flush()


def tell(text: str) -> None:
    """Write what a person asked for on stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Progress:
    """A count on stderr that rewrites its line in a terminal and speaks at most once in `pause` seconds elsewhere."""

    def __init__(self, total: int, pause: float = 2.0) -> None:
        self._total, self._pause, self._said_at = total, pause, -math.inf

    def step(self, done: int, what: str) -> None:
        """Say that `done` of the total are done and `what` comes next; the last one is always said."""
        in_terminal, now = sys.stderr.isatty(), time.monotonic()
        last = done == self._total
        if not last and now - self._said_at < (0.1 if in_terminal else self._pause):
            return
        self._said_at = now
        line = f"{done}/{self._total} {what}"
        if in_terminal:
            sys.stderr.write(f"\r\x1b[K{line[:100]}" + ("\n" if last else ""))
            sys.stderr.flush()
        else:
            say(line)


def show(result: Mapping[str, Any], as_json: bool) -> None:
    """Write a result on stdout: as one line of JSON, or as indented lines for a person."""
    data = plain(result)
    text = json.dumps(data, ensure_ascii=False, allow_nan=False) if as_json else "\n".join(_lines(data, 0))
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """Turn a result into what JSON holds: NumPy numbers and arrays, paths and dataclasses too; NaN becomes null."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(v) for key, v in value.items()}
    if hasattr(value, "tolist"):  # NumPy and torch, scalars and arrays
        return plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    if isinstance(value, Sequence | set | frozenset | range):
        return [plain(v) for v in value]
    return str(value)


def _lines(data: Any, depth: int) -> list[str]:
    """Indented lines; a list of words, or a dictionary of words inside a list, stays on one line."""
    indent = "  " * depth
    lines: list[str] = []
    for key, value in data.items() if isinstance(data, dict) else [("-", v) for v in data]:
        mark = key if key == "-" else f"{key}:"
        if _is_flat(value) or (key == "-" and all(map(_is_flat, value.values() if isinstance(value, dict) else value))):
            lines.append(f"{indent}{mark} {_word(value)}")
        else:
            lines += [f"{indent}{mark}", *_lines(value, depth + 1)]
    return lines


def _is_flat(value: Any) -> bool:
    return not value or not isinstance(value, dict | list) or (isinstance(value, list) and all(map(_is_flat, value)))


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_word(v)}" for key, v in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(_word, value)) or "none"
    if isinstance(value, bool) or value is None:
        return {None: "none", True: "yes", False: "no"}[value]
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def os_sentence(error: OSError) -> str:
    """One sentence for what the system refused, naming the file."""
    reason = (error.strerror or type(error).__name__).lower()
    return f"{error.filename}: {reason}." if error.filename else f"The system refused: {reason}."


def keep_details(error: Exception) -> str:
    """Write the traceback of a mistake of ours into a file and return the sentence that names it."""
    what = f"This is a bug in Morphony ({type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''})"
    path = Path(platformdirs.user_log_dir("morphony", appauthor=False)) / "last-error.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return what + "."
    return f"{what}; the details are in {path}."
