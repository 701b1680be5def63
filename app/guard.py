"""Keeps two windows from overwriting each other's project: a lock beside the file, and a look at it before saving.

Knows files and processes, no widget; who is asked what then stands in `app.files`.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from PySide6.QtCore import QLockFile


class Guard:
    """Of the project that is open: whose it is, and whether it is still as it was read or written last."""

    def __init__(self) -> None:
        self._path: Path | None = None
        self._lock: QLockFile | None = None
        self._seen = b""

    def take(self, path: Path) -> bool:
        """Make `path` the project that is open here; False while another window has it."""
        self.release()
        lock = QLockFile(str(path.with_name(f".{path.name}.lock")))
        lock.setStaleLockTime(0)  # stale only when its process is gone
        self._path, self._seen = path, fingerprint(path)
        if lock.tryLock(0) or lock.error() != QLockFile.LockError.LockFailedError:  # where none can be made, go on
            self._lock = lock
            return True
        return False

    def release(self) -> None:
        """Let go of the project; its lock goes."""
        if self._lock is not None:
            self._lock.unlock()
        self._path, self._lock, self._seen = None, None, b""

    def objection(self, path: Path) -> str:
        """Why saving to `path` would overwrite somebody's work: "other" window, "changed" on disk, or nothing."""
        if path != self._path:
            return ""  # a new place: the dialog that named it has asked
        if self._lock is None:
            return "other"
        return "changed" if self._seen and fingerprint(path) != self._seen else ""


def fingerprint(path: Path) -> bytes:
    """What a file holds, as a digest; empty where there is none to read."""
    try:
        return hashlib.sha256(path.read_bytes()).digest()
    except OSError:
        return b""
