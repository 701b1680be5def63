"""Slow functions beside the window: their results arrive in the GUI thread, in order, errors as sentences."""

from __future__ import annotations

import threading

from pytestqt.qtbot import QtBot

from app.background import Background
from engine.errors import MorphonyError


def test_work_is_done_elsewhere_and_told_here(qtbot: QtBot) -> None:
    background = Background()
    told: list[tuple[int, int]] = []
    background.run(threading.get_ident, lambda result: told.append((result, threading.get_ident())), print)
    qtbot.waitUntil(lambda: bool(told))
    worker, here = told[0]
    assert worker != threading.get_ident()
    assert here == threading.get_ident()


def test_a_failure_is_a_sentence(qtbot: QtBot) -> None:
    background = Background()
    said: list[str] = []

    def fail() -> None:
        raise MorphonyError("No such song.")

    background.run(fail, print, said.append)
    background.run(lambda: 1 // 0, print, said.append)
    qtbot.waitUntil(lambda: len(said) == 2)
    assert said == ["No such song.", "ZeroDivisionError: integer division or modulo by zero"]
