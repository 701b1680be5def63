"""Runs a slow function (reading, saving, rendering) beside the window and brings its result back as a call.

Knows nothing of what it runs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from PySide6.QtCore import QObject, QRunnable, QThreadPool, Signal

from app.wording import sentence


class _Messenger(QObject):
    done = Signal(object)
    failed = Signal(str)


class _Task(QRunnable):
    def __init__(self, function: Callable[[], Any], messenger: _Messenger) -> None:
        super().__init__()
        self.setAutoDelete(False)
        self._function, self._messenger = function, messenger

    def run(self) -> None:
        try:
            result = self._function()
        except Exception as error:
            self._messenger.failed.emit(sentence(error))
        else:
            self._messenger.done.emit(result)


class Background(QObject):
    """A queue of one: tasks run in order, their results arrive in the GUI thread."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._pool = QThreadPool(self)
        self._pool.setMaxThreadCount(1)
        self._kept: set[tuple[_Task, _Messenger]] = set()

    def run(self, function: Callable[[], Any], done: Callable[[Any], object], failed: Callable[[str], object]) -> None:
        """Run `function` in a thread; then `done(result)`, or `failed(sentence)`, here."""
        messenger = _Messenger(self)
        task = _Task(function, messenger)
        self._kept.add((task, messenger))

        def then(call: Callable[[Any], object], with_what: Any) -> None:
            self._kept.discard((task, messenger))
            messenger.deleteLater()
            call(with_what)

        messenger.done.connect(partial(then, done))
        messenger.failed.connect(partial(then, failed))
        self._pool.start(task)

    def wait(self) -> None:
        """Wait until every task has ended; their results are still delivered by the event loop."""
        self._pool.waitForDone()
