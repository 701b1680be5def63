"""What the handle takes out: the piece or the selected notes as a .mid, with all that holds there; by click, by key."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.document import Document
from app.handle import DragHandle, excerpt
from app.roll.state import RollState
from engine.score import conduct, midi
from engine.score.score import Event, Score, Track, make_notes


@pytest.fixture
def song() -> Score:
    pedal = Event(0, 0, bytes((0xB0, 64, 127)))
    rows = [(i * 96, 96, 60 + i, 80, i % 2) for i in range(16)]
    song = Score(96, (Track("right", 5), Track("left", 6, 1)), make_notes(rows), events=(pedal,))
    return conduct.set_tempo(song, 768, 60)


@pytest.fixture
def handle(qtbot: QtBot, song: Score, tmp_path: Path) -> DragHandle:
    handle = DragHandle(RollState(Document(song)), lambda: "My: song/1", tmp_path / "out")
    qtbot.addWidget(handle)
    return handle


def test_an_excerpt_begins_at_its_bar_and_keeps_what_holds(song: Score) -> None:
    score, bars = excerpt(song, np.array([9, 12]))
    assert bars == range(2, 4)
    assert score.notes["tick"].tolist() == [96, 384]
    assert score.notes["pitch"].tolist() == [69, 72]
    assert conduct.tempo_at(score, 0).microseconds == 1_000_000
    assert score.tracks == song.tracks
    assert score.events == song.events


def test_a_click_copies_the_piece_and_a_selection_its_notes(handle: DragHandle, song: Score) -> None:
    QTest.mouseClick(handle, Qt.MouseButton.LeftButton)
    path = Path(QApplication.clipboard().mimeData().urls()[0].toLocalFile())
    assert path.name == "My_ song_1.mid"
    assert (midi.read(path).notes == song.notes).all()
    handle.roll.select(np.array([4, 5]))
    assert "2 selected notes" in handle.toolTip()
    QTest.keyClick(handle, Qt.Key.Key_Space)
    path = Path(QApplication.clipboard().mimeData().urls()[0].toLocalFile())
    assert path.name == "My_ song_1 bar 2.mid"
    assert len(midi.read(path).notes) == 2


def test_nothing_to_drag_says_so(qtbot: QtBot, tmp_path: Path) -> None:
    handle = DragHandle(RollState(Document()), lambda: "", tmp_path)
    qtbot.addWidget(handle)
    assert not handle.isEnabled()
    assert handle.toolTip() == "There are no notes to drag out."


def test_a_folder_that_cannot_be_written_is_a_sentence(handle: DragHandle, tmp_path: Path, qtbot: QtBot) -> None:
    (tmp_path / "out").write_text("in the way")
    with qtbot.waitSignal(handle.problem) as said:
        handle.copy()
    assert said.args[0].endswith("so there is nothing to drag.")
