"""The handle that takes music out: dragged, it hands the piece or the selected notes to another program as a .mid file.

The same by a key: the file lies on the clipboard. Files are kept in the cache until the next day's first drag.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path
from PySide6.QtCore import QMimeData, QPoint, QSize, Qt, QUrl, Signal
from PySide6.QtGui import QDrag, QMouseEvent
from PySide6.QtWidgets import QApplication, QToolButton

from app import theme
from app.roll.state import RollState
from engine.errors import MorphonyError
from engine.score import midi
from engine.score.cut import cut
from engine.score.edit import Rows
from engine.score.score import Score
from engine.score.timing import BarGrid

KEPT_S = 24 * 3600.0  # the other program may read its file late
MIME = "audio/midi"


def excerpt(score: Score, rows: Rows) -> tuple[Score, range]:
    """Only these notes, from the head of the first one's bar on with all that holds there; and their bars."""
    notes = score.notes[rows]
    alone = replace(score, notes=notes)
    grid = BarGrid.of(alone)
    ends = int(notes["tick"].min()), max(int((notes["tick"] + notes["duration"]).max()) - 1, 0)
    first, last = (int(bar) for bar in grid.bar_of(ends))
    bars = range(first, last + 1)
    return cut(alone, grid, bars), bars


class DragHandle(QToolButton):
    """Press and pull; a click or Space copies instead."""

    problem = Signal(str)
    notice = Signal(str)

    def __init__(self, roll: RollState, name: Callable[[], str], folder: Path | None = None) -> None:
        super().__init__()
        self.roll, self.name = roll, name
        self.folder = folder or user_cache_path("morphony", appauthor=False) / "out"
        self._press: QPoint | None = None
        self.setObjectName("drag_handle")
        self.setIconSize(QSize(20, 20))
        self.setFixedSize(32, 32)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.setCursor(Qt.CursorShape.OpenHandCursor)
        self.setAccessibleName(self.tr("Drag out as .mid"))
        self.clicked.connect(self.copy)
        roll.selection_changed.connect(self._say)
        roll.notes_changed.connect(self._say)
        theme.themes.changed.connect(self._dress)
        self._say()
        self._dress()

    def write(self) -> Path:
        """The .mid file of what would be dragged now. Raises MorphonyError with a sentence."""
        rows, name = self.roll.selection, re.sub(r"[^\w .()-]+", "_", self.name()).strip(" .") or "Morphony"
        score = self.roll.score
        if len(rows):
            score, bars = excerpt(score, rows)
            name += f" bar {bars.start + 1}" if len(bars) == 1 else f" bars {bars.start + 1}-{bars.stop}"
        path = self.folder / f"{name}.mid"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._clear()
            midi.write(score, path)
        except OSError as error:
            raise MorphonyError(f"{path.name} was not written, so there is nothing to drag.") from error
        return path

    def copy(self) -> None:
        """Put the file on the clipboard: paste it into a folder or a program that takes files."""
        if (data := self._data()) is not None:
            QApplication.clipboard().setMimeData(data)
            self.notice.emit(self.tr("{0} is on the clipboard as a file.").format(Path(data.urls()[0].path()).name))

    def _data(self) -> QMimeData | None:
        try:
            path = self.write()
        except MorphonyError as error:
            self.problem.emit(str(error))
            return None
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(path))])
        data.setData(MIME, path.read_bytes())
        return data

    def _clear(self) -> None:
        for old in self.folder.glob("*.mid"):
            with contextlib.suppress(OSError):
                if time.time() - old.stat().st_mtime > KEPT_S:
                    old.unlink()

    def _say(self, *_: object) -> None:
        empty = not len(self.roll.index)
        count = len(self.roll.selection)
        what = self.tr("the piece") if not count else self.tr("the {0} selected notes").format(np.int64(count))
        why = self.tr("There are no notes to drag out.")
        how = self.tr("Drag {0} into another program as .mid; a click copies the file").format(what)
        self.setToolTip(why if empty else how)
        self.setEnabled(not empty)

    def _dress(self, *_: object) -> None:
        self.setIcon(theme.icon("drag", theme.current().text_dim))

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self._press = event.position().toPoint() if event.button() == Qt.MouseButton.LeftButton else None
        super().mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._press is None:
            return
        if (event.position().toPoint() - self._press).manhattanLength() >= QApplication.startDragDistance():
            self._press = None
            self.setDown(False)
            self._pull()

    def _pull(self) -> None:
        if (data := self._data()) is None:
            return
        drag = QDrag(self)
        drag.setMimeData(data)
        drag.setPixmap(theme.icon("drag", theme.current().accent).pixmap(32, 32))
        drag.exec(Qt.DropAction.CopyAction)
