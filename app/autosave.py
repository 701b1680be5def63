"""Keeps what is not saved: every half minute a copy in the user's state folder, offered again after a crash.

Each running studio has a file and a lock of its own; a file whose owner is gone was left behind by a crash.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path

from platformdirs import user_state_path
from PySide6.QtCore import QLockFile, QObject, QTimer

from app import project
from app.background import Background
from app.document import Document
from app.project import SUFFIX, Project
from engine.score.score import Score

EVERY_MS = 30_000


def default_folder() -> Path:
    """Where copies are kept for the person at the computer."""
    return user_state_path("morphony", appauthor=False) / "recovery"


class Autosave(QObject):
    """Writes a copy of an unsaved song now and then; removes it when the song is saved or let go."""

    def __init__(self, document: Document, snapshot: Callable[[], Project], folder: Path, parent: QObject) -> None:
        super().__init__(parent)
        self.document, self.snapshot, self.folder = document, snapshot, folder
        self.path = folder / f"{os.getpid()}-{id(self):x}{SUFFIX}"
        self._lock = QLockFile(str(self.path.with_suffix(".lock")))
        self._lock.setStaleLockTime(0)
        self._background = Background(self)
        self._kept: Score | None = None
        self._timer = QTimer(self, interval=EVERY_MS)
        self._timer.timeout.connect(self.keep)
        document.dirty_changed.connect(self._on_dirty)

    def start(self) -> None:
        """Begin; a folder that cannot be written is no reason to stop anyone's music."""
        with contextlib.suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            if self._lock.tryLock(0):
                self._timer.start()

    def keep(self) -> None:
        """Write a copy now, if there is something new that is not saved."""
        score = self.document.score
        if not self.document.is_dirty or score is self._kept:
            return
        kept, path = self.snapshot(), self.path
        self._kept = score
        self._background.run(lambda: project.write(kept, path, backup=False), lambda _: None, self._on_failed)

    def left_behind(self) -> Path | None:
        """The newest copy of a studio that did not end as it should; older ones are removed."""
        found = []
        for path in self.folder.glob(f"*{SUFFIX}"):
            lock = QLockFile(str(path.with_suffix(".lock")))
            lock.setStaleLockTime(0)  # stale only when its process is gone
            if path != self.path and lock.tryLock(0):
                lock.unlock()
                found.append(path)
        found.sort(key=lambda path: path.stat().st_mtime)
        for path in found[:-1]:
            path.unlink(missing_ok=True)
        return found[-1] if found else None

    def stop(self, keep: bool = False) -> None:
        """End well: nothing is left behind, unless what is not saved is to be kept for the next start."""
        self._timer.stop()
        if keep:
            self.keep()
        self._background.wait()
        if not (keep and self.document.is_dirty):
            self.path.unlink(missing_ok=True)
        self._lock.unlock()

    def _on_dirty(self, dirty: bool) -> None:
        if not dirty:
            self._kept = None
            self._background.wait()
            self.path.unlink(missing_ok=True)

    def _on_failed(self, _: str) -> None:
        self._kept = None  # tried again at the next turn; saving by hand says what is wrong
