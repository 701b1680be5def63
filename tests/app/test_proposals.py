"""Proposals and locked notes by real keys and mouse in a real window, with a fake model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from app.proposals import Stage
from app.studio import Studio
from engine.score import edit
from tests.app.test_studio import Maker, drag, make, song  # noqa: F401  (fixtures)

Key = Qt.Key


def press(studio: Studio, key: Qt.Key, modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    QTest.keyClick(studio.roll.canvas, key, modifiers)


def choose_bars(studio: Studio, first: int, last: int) -> None:
    """Drag in the ruler."""
    ruler, grid = studio.roll.ruler, studio.roll.state.grid
    xs = [studio.roll.state.view.x_of(float(grid.starts[b])) for b in (first, last)]
    points = [ruler.rect().center() for _ in xs]
    points[0].setX(round(xs[0]) + 4)
    points[1].setX(round(xs[1]) - 4)
    QTest.mousePress(ruler, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, points[0])
    for i in range(1, 9):
        QTest.mouseMove(ruler, points[0] + (points[1] - points[0]) * i / 8)
    QTest.mouseRelease(ruler, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, points[1])
    assert studio.roll.state.bars == range(first, last)


def shown(studio: Studio, qtbot: QtBot, count: int = 1) -> None:
    qtbot.waitUntil(lambda: studio.desk.proposals.stage is Stage.SHOWN and len(studio.desk.proposals.seen) == count)


@pytest.fixture
def studio(make: Maker, song: Path, qtbot: QtBot) -> Studio:  # noqa: F811
    studio = make(song)
    studio.roll.setFocus()
    studio.window.activateWindow()
    qtbot.waitUntil(lambda: studio.window["variation"].isEnabled())
    return studio


def test_regenerate_looks_through_and_accepts_as_one_step(studio: Studio, qtbot: QtBot) -> None:
    source = studio.document.score
    choose_bars(studio, 4, 6)
    qtbot.waitUntil(lambda: studio.window["regenerate"].isEnabled())
    press(studio, Key.Key_R)
    shown(studio, qtbot)
    first = studio.document.proposal
    assert first is not None
    assert studio.document.score is source
    assert studio.desk.strip is not None
    assert studio.desk.strip.isVisible()
    assert studio.desk.strip.words.text() == "Regenerate bars 5-6"
    press(studio, Key.Key_N)
    shown(studio, qtbot, 2)
    assert studio.document.proposal is not first
    press(studio, Key.Key_N, Qt.KeyboardModifier.ShiftModifier)
    assert studio.document.proposal is first
    press(studio, Key.Key_Return)
    assert studio.document.score is first
    assert studio.desk.strip.isHidden()
    moved = source.notes["pitch"] != first.notes["pitch"]
    assert set((source.notes["tick"][moved] // 1920).tolist()) == {4, 5}
    assert studio.roll.state.traces.is_moving(0.4)  # the changed notes glow
    assert studio.document.undo_stack.undoText() == "Regenerate bars 5-6"
    studio.document.undo_stack.undo()
    assert studio.document.score is source


def test_esc_rejects_and_the_keys_go_back_to_what_they_were(studio: Studio, qtbot: QtBot) -> None:
    source, snap = studio.document.score, studio.roll.state.snap.on
    choose_bars(studio, 0, 2)
    qtbot.waitUntil(lambda: studio.window["regenerate"].isEnabled())
    press(studio, Key.Key_R)
    shown(studio, qtbot)
    press(studio, Key.Key_Escape)
    assert studio.document.proposal is None
    assert studio.document.score is source
    assert studio.roll.state.bars == range(2)  # Esc took the proposal only
    press(studio, Key.Key_N)
    assert studio.roll.state.snap.on is not snap
    press(studio, Key.Key_Space)
    assert studio.player.is_playing
    press(studio, Key.Key_Return)
    assert not studio.player.is_playing
    press(studio, Key.Key_Escape)
    assert studio.roll.state.bars is None


def test_selected_notes_are_the_mask(studio: Studio, qtbot: QtBot) -> None:
    source = studio.document.score
    rows = np.array([17, 18, 19])
    studio.roll.select(rows)
    qtbot.waitUntil(lambda: studio.window["regenerate"].isEnabled())
    press(studio, Key.Key_R)
    shown(studio, qtbot)
    recipe = studio.desk.proposals.seen[0][0]
    assert recipe.only == frozenset({17, 18, 19})
    assert recipe.bars == range(2, 3)
    assert studio.desk.proposals.words == "Regenerate 3 notes"
    press(studio, Key.Key_Escape)
    assert studio.document.score is source


def test_continue_and_vary(studio: Studio, qtbot: QtBot) -> None:
    source = studio.document.score
    press(studio, Key.Key_C)
    shown(studio, qtbot)
    press(studio, Key.Key_Return)
    assert studio.roll.state.bar_count == 12
    assert (studio.document.score.notes[: len(source.notes)] == source.notes).all()
    press(studio, Key.Key_V)
    shown(studio, qtbot)
    press(studio, Key.Key_Return)
    assert studio.document.undo_stack.undoText() == "Vary the piece"


def test_a_new_piece_and_the_manner_of_another(studio: Studio, song: Path, qtbot: QtBot) -> None:  # noqa: F811
    studio.desk.ask_new()
    dialog = next(w for w in studio.window.children() if type(w).__name__ == "NewPiece")
    dialog.accept()
    shown(studio, qtbot)
    assert studio.desk.proposals.seen[0][0].count == 16
    studio.window["reject"].trigger()
    studio.desk.transfer(song)
    shown(studio, qtbot)
    assert studio.desk.proposals.words == "In the manner of song"
    studio.window["accept"].trigger()
    assert studio.document.is_dirty


def test_what_cannot_be_done_says_why(studio: Studio, qtbot: QtBot) -> None:
    window = studio.window
    assert not window["regenerate"].isEnabled()
    assert "Choose bars in the ruler" in window["regenerate"].toolTip()
    assert window["accept"].toolTip() == "There is no proposal to answer."
    assert window["lock_notes"].toolTip() == "Select notes to lock them."
    studio.roll.select_bars(range(9, 11))
    qtbot.waitUntil(lambda: "past the end" in window["regenerate"].toolTip())


def test_a_slider_takes_the_place_of_a_proposal(studio: Studio, qtbot: QtBot) -> None:
    press(studio, Key.Key_V)
    shown(studio, qtbot)
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: studio.document.undo_stack.count() == 1)
    assert studio.desk.proposals.stage is Stage.NONE
    assert studio.window["stop"].shortcuts()


# ---------------------------------------------------------------- locked notes


def test_locked_notes_stay_under_sliders_and_proposals(studio: Studio, qtbot: QtBot) -> None:
    source = studio.document.score
    studio.roll.select(np.array([3, 4, 20]))
    qtbot.waitUntil(lambda: studio.window["lock_notes"].isEnabled())
    press(studio, Key.Key_L, Qt.KeyboardModifier.ControlModifier)
    assert studio.document.locked_rows.tolist() == [3, 4, 20]
    studio.roll.select(np.zeros(0, np.intp))
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: studio.document.score is not source)
    moved = studio.document.score.notes["pitch"] != source.notes["pitch"]
    assert np.flatnonzero(~moved).tolist() == [3, 4, 20]
    press(studio, Key.Key_V)
    shown(studio, qtbot)
    press(studio, Key.Key_Return)
    assert np.isin(source.notes[[3, 4, 20]], studio.document.score.notes).all()
    assert studio.document.locked_rows.tolist() == [3, 4, 20]
    for _ in range(3):
        studio.document.undo_stack.undo()
    assert studio.document.locked_rows.tolist() == []
    assert studio.document.score is source


def test_locking_what_sliders_made_keeps_it(studio: Studio, qtbot: QtBot) -> None:
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: studio.document.undo_stack.count() == 1)
    raised = studio.document.score
    studio.roll.select(np.array([5]))
    studio.document.lock(studio.roll.selection)
    assert studio.document.piece_base is raised
    qtbot.waitUntil(lambda: studio.morphing.piece is not None and studio.morphing.piece.score is raised)
    assert studio.morph_state.offsets == {}
    studio.document.undo_stack.undo()
    assert studio.morph_state.offsets == {"register": 1.0}


def test_a_lock_goes_with_the_note_that_a_hand_moves(studio: Studio) -> None:
    studio.document.lock(np.array([5]))
    edited = edit.transpose(studio.document.score, [5], 12)
    studio.document.change(edited.score, "Up")
    assert studio.document.locked_rows.tolist() == edited.rows.tolist()
    studio.document.change(edit.delete(edited.score, edited.rows), "Delete")
    assert studio.document.locked_rows.tolist() == []
    studio.document.undo_stack.undo()
    assert studio.document.locked_rows.tolist() == edited.rows.tolist()


def test_locked_notes_come_back_with_the_project(studio: Studio, song: Path, tmp_path: Path, qtbot: QtBot) -> None:  # noqa: F811
    studio.document.lock(np.array([5, 9]))
    assert studio.document.is_dirty
    studio.files._save(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: not studio.document.is_dirty)
    studio.files.open(song)
    qtbot.waitUntil(lambda: studio.files.name == "song")
    assert studio.document.locked_rows.tolist() == []
    studio.files.open(tmp_path / "kept.morphony")
    qtbot.waitUntil(lambda: studio.files.name == "kept" and studio.morphing.piece is not None)
    assert studio.document.locked_rows.tolist() == [5, 9]
    assert not studio.document.is_dirty
    qtbot.waitUntil(lambda: studio.morphing.piece.score is studio.document.piece_base)
    before = studio.document.score
    drag(studio, "register", 1.0)
    qtbot.waitUntil(lambda: studio.document.score is not before)
    moved = studio.document.score.notes["pitch"] != before.notes["pitch"]
    assert np.flatnonzero(~moved).tolist() == [5, 9]
