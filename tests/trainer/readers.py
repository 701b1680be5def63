"""Readers of files that misbehave at the name of a file, for processes that tests start."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence

from trainer.corpus.reading import Reading, read_batch


def by_name(paths: Sequence[str], keep: bool, at: Callable[[int], None]) -> list[Reading]:
    """As `read_batch`, but "stuck" never returns and "crash" ends the process; "late" does so when all are read."""
    for i, path in enumerate(paths):
        at(i)
        name = os.path.basename(path)
        if name.startswith("stuck"):
            time.sleep(3600)
        if name.startswith("crash"):
            os.kill(os.getpid(), signal.SIGSEGV)
    at(len(paths))
    if any(os.path.basename(path).startswith("late") for path in paths):
        os._exit(7)
    return read_batch(paths, keep, at)


def slow(paths: Sequence[str], keep: bool, at: Callable[[int], None]) -> list[Reading]:
    """As `read_batch`, a quarter of a second a file."""
    for i in range(len(paths)):
        at(i)
        time.sleep(0.25)
    return read_batch(paths, keep, at)
