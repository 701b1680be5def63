"""How long a frame takes at 50,000 notes. Checks only that it runs; `pytest -s` shows the figures."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from PySide6.QtGui import QPainter, QPixmap
from PySide6.QtWidgets import QGraphicsScene
from pytestqt.qtbot import QtBot

from app.document import Document
from app.roll.view import RollView
from engine.score import edit
from engine.score.score import NOTE, Score, Track


def fifty_thousand(seed: int = 0) -> Score:
    """About a hundred minutes of four voices, sixteen notes a bar each."""
    rng = np.random.default_rng(seed)
    count = 50_000
    notes = np.zeros(count, dtype=NOTE)
    notes["tick"] = np.arange(count) // 4 * 120
    notes["track"] = np.arange(count) % 4
    notes["duration"] = rng.choice([110, 230, 470], count)
    notes["pitch"] = np.clip(40 + notes["track"] * 12 + np.cumsum(rng.integers(-2, 3, count)) % 12, 0, 127)
    notes["velocity"] = rng.integers(30, 120, count)
    return Score(480, tuple(Track(str(i)) for i in range(4)), notes)


def measured(work: Callable[[], object], repeat: int = 15) -> float:
    """Median milliseconds of this thread: what other programs do on the machine is not counted."""
    took = []
    for _ in range(repeat):
        start = time.thread_time()
        work()
        took.append(time.thread_time() - start)
    return float(np.median(took) * 1000)


def test_a_frame(qtbot: QtBot) -> None:
    view = RollView(Document(fifty_thousand()))
    qtbot.addWidget(view)
    view.resize(1336, 800)
    view.show()
    canvas, state = view.canvas, view.state
    target = QPixmap(canvas.size())

    def scrolled() -> None:
        state.look(state.view.scrolled(3))
        canvas.render(target)

    def playing() -> None:
        view.set_playhead(state.playhead + 5)
        canvas.render(target)

    def edited() -> None:
        state.edit(edit.transpose(state.score, [1000, 1001], 1), "Transpose")
        canvas.render(target)

    scene = QGraphicsScene()
    for tick, duration, pitch, *_ in state.score.notes.tolist():
        scene.addRect(tick / 1000, (127 - pitch) * 6, duration / 1000, 6)

    def peer() -> None:
        painter = QPainter(target)
        scene.render(painter)
        painter.end()

    figures = {}
    for name, bars in (("16 bars", 16), ("64 bars", 64), ("all", 0)):
        if bars:
            state.look(state.view.fitted(0, float(state.grid.starts[bars]), 36, 96))
        else:
            state.zoom_to_fit()
        rows = state.index.inside(*state.view.ticks, *state.view.pitches)
        figures[f"{name} ({len(rows)} notes), scrolled"] = measured(scrolled)
        figures[f"{name}, playhead moved"] = measured(playing)
    figures["all, two notes edited"] = measured(edited)
    figures["all, as a QGraphicsScene of items"] = measured(peer, repeat=3)
    for name, ms in figures.items():
        print(f"{name}: {ms:.2f} ms")  # noqa: T201 - shown with -s
    assert all(ms > 0 for ms in figures.values())
