"""What a user reads of an exception: one sentence. Knows no Qt, so that child processes may use it."""

from __future__ import annotations

from pathlib import Path

from engine.errors import MorphonyError, reason


def sentence(error: BaseException) -> str:
    """Our own errors as they are, the system's in plain words, any other with its name, on one line."""
    if isinstance(error, MorphonyError):
        return str(error)
    if isinstance(error, OSError) and isinstance(error.filename, str):
        return f"{Path(error.filename).name}: {reason(error)}."
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:240] if text else type(error).__name__
