"""From sliders to notes with a fake model and everything else real: threads, document, undo."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from app.document import Document
from app.morphing import Morphing
from app.panels.sliders import MorphState
from app.worker import EngineThread
from engine.score import edit
from engine.score.score import Score, Track, make_notes
from tests.app import fakes


def a_song(bars: int = 8) -> Score:
    rows = [(i * 240, 200, 60 + i % 12, 80, 0) for i in range(bars * 8)]
    drums = [(i * 480, 100, 36, 100, 1) for i in range(bars * 4)]
    return Score(480, (Track("Piano"), Track("Drums", 0, 9, True)), make_notes(rows + drums))


class Rig:
    """A song under sliders, without a window."""

    def __init__(self) -> None:
        self.source = a_song()
        self.document = Document(self.source)
        self.state = MorphState()
        self.engine = EngineThread(fakes.open_engine)
        self.morphing = Morphing(self.document, self.state, self.engine)
        self.engine.ready.connect(self.morphing.on_ready)
        self.problems: list[str] = []
        self.morphing.problem.connect(self.problems.append)

    def drag(self, name: str, *values: float) -> None:
        slider = self.state[name]
        slider.grab()
        for value in values:
            slider.move(value)
        slider.release()


@pytest.fixture
def rig(qtbot: QtBot) -> Iterator[Rig]:
    rig = Rig()
    rig.engine.start()
    rig.engine.load()
    qtbot.waitUntil(lambda: rig.morphing.piece is not None)
    yield rig
    rig.engine.stop()
    assert rig.problems == []


def pitches(score: Score) -> np.ndarray:
    return score.notes["pitch"][score.notes["track"] == 0]


def test_a_drag_is_one_step_of_undo(rig: Rig, qtbot: QtBot) -> None:
    rig.drag("register", 0.3, 0.6, 1.0)
    qtbot.waitUntil(lambda: rig.document.score is not rig.source)
    assert (pitches(rig.document.score) == pitches(rig.source) + 6).all()
    assert rig.document.undo_stack.count() == 1
    assert rig.document.undo_stack.undoText() == "Register +1.00 σ"
    assert rig.state["register"].value == 1.0


def test_while_held_it_is_a_proposal(rig: Rig, qtbot: QtBot) -> None:
    slider = rig.state["register"]
    slider.grab()
    slider.move(1.0)
    qtbot.waitUntil(lambda: rig.document.proposal is not None)
    assert rig.document.score is rig.source
    slider.release()
    qtbot.waitUntil(lambda: rig.document.score is not rig.source)
    assert rig.document.proposal is None


def test_back_at_zero_it_is_the_source_itself(rig: Rig, qtbot: QtBot) -> None:
    rig.drag("register", 1.0)
    qtbot.waitUntil(lambda: rig.document.score is not rig.source)
    rig.drag("density", 0.5, -0.5, 0.0)
    rig.drag("register", 0.5, 0.02)
    qtbot.waitUntil(lambda: rig.document.score is rig.source)


def test_undo_brings_notes_and_sliders_back(rig: Rig, qtbot: QtBot) -> None:
    rig.drag("register", 1.0)
    qtbot.waitUntil(lambda: rig.document.undo_stack.count() == 1)
    first = rig.document.score
    rig.drag("dynamics", -1.0)
    qtbot.waitUntil(lambda: rig.document.undo_stack.count() == 2)
    rig.document.undo_stack.undo()
    assert rig.document.score is first
    assert rig.state.offsets == {"register": 1.0}
    rig.document.undo_stack.undo()
    assert rig.document.score is rig.source
    assert rig.state.offsets == {}
    rig.document.undo_stack.redo()
    assert rig.state.offsets == {"register": 1.0}


def test_turns_of_a_wheel_in_a_row_are_one_step(rig: Rig, qtbot: QtBot) -> None:
    for value in (0.1, 0.2, 0.3, 0.4):
        rig.state["register"].move(value)
    qtbot.waitUntil(lambda: rig.document.score is not rig.source)
    qtbot.wait(50)
    assert rig.document.undo_stack.count() == 1
    assert rig.state.offsets == {"register": 0.4}


def test_after_an_edit_by_hand_the_sliders_count_from_there(rig: Rig, qtbot: QtBot) -> None:
    rig.drag("register", 1.0)
    qtbot.waitUntil(lambda: rig.document.score is not rig.source)
    own = rig.state["register"].own
    assert own is not None
    rows = np.arange(len(rig.document.score.notes))
    edited = edit.set_velocity(rig.document.score, rows, 100).score
    rig.document.change(edited, "Velocity")
    qtbot.waitUntil(lambda: rig.morphing.piece is not None and rig.morphing.piece.score is edited)
    assert rig.state.offsets == {}
    assert rig.state["register"].own == pytest.approx(own + 6)
    assert rig.state["dynamics"].own == pytest.approx(100)


def test_the_scope_keeps_other_bars_and_drums_as_they_are(rig: Rig, qtbot: QtBot) -> None:
    rig.state.set_selection(range(2, 4))
    rig.state.set_whole_piece(False)
    rig.drag("register", 1.0)
    qtbot.waitUntil(lambda: rig.document.score is not rig.source)
    before, after = rig.source.notes, rig.document.score.notes
    inside = (before["tick"] >= 2 * 1920) & (before["tick"] < 4 * 1920) & (before["track"] == 0)
    moved = before["pitch"] != after["pitch"]
    assert (moved == inside).all()


def test_another_scope_counts_from_what_is_there(rig: Rig, qtbot: QtBot) -> None:
    rig.drag("register", 1.0)
    qtbot.waitUntil(lambda: rig.document.score is not rig.source)
    raised = rig.document.score
    rig.state.set_selection(range(1))
    rig.state.set_whole_piece(False)
    assert rig.state.offsets == {}
    qtbot.waitUntil(lambda: rig.morphing.piece is not None and rig.morphing.piece.score is raised)
    rig.drag("register", 1.0)
    qtbot.waitUntil(lambda: rig.document.score is not raised)
    assert (pitches(rig.document.score)[:8] == pitches(rig.source)[:8] + 12).all()
    assert (pitches(rig.document.score)[8:] == pitches(rig.source)[8:] + 6).all()
    rig.document.undo_stack.undo()
    assert rig.document.score is raised
    rig.document.undo_stack.undo()
    assert rig.document.score is rig.source


def test_a_locked_slider_stays(rig: Rig, qtbot: QtBot) -> None:
    rig.state["register"].set_locked(True)
    rig.drag("register", 1.0)
    qtbot.wait(50)
    assert rig.document.score is rig.source
    assert rig.state.offsets == {}


def test_vary_moves_one_slider_as_one_step(rig: Rig, qtbot: QtBot) -> None:
    for name, slider in rig.state.sliders.items():
        slider.set_locked(name != "register")
    rig.morphing.vary()
    qtbot.waitUntil(lambda: rig.document.undo_stack.count() == 1)
    assert list(rig.state.offsets) == ["register"]


def test_reset_is_one_step_back_to_the_source(rig: Rig, qtbot: QtBot) -> None:
    rig.drag("register", 1.0)
    qtbot.waitUntil(lambda: rig.document.undo_stack.count() == 1)
    rig.drag("dynamics", 1.0)
    qtbot.waitUntil(lambda: rig.document.undo_stack.count() == 2)
    rig.morphing.reset()
    assert rig.document.score is rig.source
    assert rig.state.offsets == {}
    assert rig.document.undo_stack.undoText() == "Sliders back"
