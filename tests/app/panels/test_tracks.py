"""The mixer strip by mouse and keys: what it changes is in the song, undone, heard, and kept in the project."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from app.document import Document
from app.mixer import Mixer
from app.panels.tracks import TracksPanel
from app.roll.state import RollState
from app.sound.ports import is_note_on
from app.sound.transport import Transport
from engine.score import tracks
from engine.score.score import Score, Track, make_notes

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def song() -> Score:
    names = (Track("Violin", 40, 0), Track("Cello", 42, 1), Track("Kit", 0, 9, True))
    return Score(96, names, make_notes([(0, 96, 60, 80, 0), (0, 96, 48, 70, 1), (0, 96, 36, 90, 2)]))


@pytest.fixture
def panel(qtbot: QtBot, song: Score) -> Iterator[TracksPanel]:
    document = Document(song)
    panel = TracksPanel(document, Mixer(document), RollState(document))
    qtbot.addWidget(panel)
    panel.resize(960, 200)
    panel.show()
    qtbot.waitExposed(panel)
    yield panel
    panel.hide()


def test_rows_show_the_song(panel: TracksPanel) -> None:
    assert [r.name.text() for r in panel.rows] == ["Violin", "Cello", "Kit"]
    assert [r.instrument.currentText() for r in panel.rows] == ["Violin", "Cello", "Drum kit"]
    assert [r.channel.currentText() for r in panel.rows] == ["1", "2", "10 drums"]
    assert not panel.rows[2].instrument.isEnabled()
    assert "drum kit" in panel.rows[2].instrument.toolTip()


def test_a_name_is_typed(panel: TracksPanel, song: Score) -> None:
    name = panel.rows[1].name
    name.selectAll()
    QTest.keyClicks(name, "Bass")
    QTest.keyClick(name, Qt.Key.Key_Return)
    assert panel.document.score.tracks[1].name == "Bass"
    panel.document.undo_stack.undo()
    assert panel.document.score is song
    assert name.text() == "Cello"


def test_an_instrument_is_typed_and_heard(panel: TracksPanel, qtbot: QtBot) -> None:
    box = panel.rows[0].instrument
    sent: list[tuple[int, bytes]] = []
    panel.sent.connect(lambda *told: sent.append(told))
    with qtbot.waitSignal(panel.auditioned):
        box.setFocus()
        box.lineEdit().selectAll()
        QTest.keyClicks(box.lineEdit(), "French horn")
        QTest.keyClick(box.lineEdit(), Qt.Key.Key_Return)
    assert panel.document.score.tracks[0].program == 60
    assert sent == [(0, bytes((0xC0, 60)))]


def test_a_volume_drag_is_one_step_and_sent_at_once(panel: TracksPanel, song: Score) -> None:
    fader = panel.rows[0].volume
    sent: list[tuple[int, bytes]] = []
    panel.sent.connect(lambda *told: sent.append(told))
    y = fader.height() // 2
    start = QPoint(round(6 + (fader.width() - 12) * 100 / 127), y)
    QTest.mousePress(fader, LEFT, Qt.KeyboardModifier.NoModifier, start)
    for x in (70, 50, 30):
        QTest.mouseMove(fader, QPoint(x, y))
    QTest.mouseRelease(fader, LEFT, Qt.KeyboardModifier.NoModifier, QPoint(30, y))
    assert tracks.volume(panel.document.score, 0) == fader.value() < 50
    assert panel.rows[0].figure.text() == str(fader.value())
    assert sent[-1] == (0, bytes((0xB0, 7, fader.value())))
    assert panel.document.undo_stack.count() == 1
    panel.document.undo_stack.undo()
    assert panel.document.score is song
    assert fader.value() == 100


def test_mute_and_solo_say_what_is_heard(panel: TracksPanel, song: Score) -> None:
    QTest.mouseClick(panel.rows[0].mute, LEFT)
    assert panel.mixer.heard(song).notes["track"].tolist() == [1, 2]
    QTest.keyClick(panel.rows[1].solo, Qt.Key.Key_Space)
    assert panel.mixer.heard(song).notes["track"].tolist() == [1]
    QTest.mouseClick(panel.rows[1].solo, LEFT)
    QTest.mouseClick(panel.rows[0].mute, LEFT)
    assert panel.mixer.heard(song) is song
    assert panel.document.score is song  # listening changes no song


def test_a_mute_stays_with_its_track_when_another_goes_and_comes_back(panel: TracksPanel) -> None:
    panel.rows[1].mute.click()
    panel.rows[0].gone.click()
    assert [t.name for t in panel.document.score.tracks] == ["Cello", "Kit"]
    assert panel.mixer.muted == {0}
    assert panel.rows[0].mute.isChecked()
    panel.document.undo_stack.undo()
    assert panel.mixer.muted == {1}


def test_channel_and_new_track(panel: TracksPanel) -> None:
    box = panel.rows[1].channel
    box.setFocus()
    QTest.keyClick(box, Qt.Key.Key_End)
    box.activated.emit(box.currentIndex())
    assert panel.document.score.tracks[1].channel == 15
    QTest.mouseClick(panel.add, LEFT)
    assert len(panel.rows) == 4
    assert panel.roll.pen_track == 3
    assert panel.rows[3].name.placeholderText() == "Track 4"


def test_the_wheel_over_a_row_scrolls_and_turns_nothing(panel: TracksPanel, song: Score) -> None:
    for widget in (panel.rows[0].volume, panel.rows[0].channel):
        place, none = QPointF(widget.rect().center()), Qt.MouseButton.NoButton
        turn, keys, phase = QPoint(0, -120), Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase
        event = QWheelEvent(place, widget.mapToGlobal(place), QPoint(), turn, none, keys, phase, False)
        QApplication.sendEvent(widget, event)
    assert panel.document.score is song


def test_what_is_muted_is_not_played(song: Score) -> None:
    heard: list[bytes] = []

    class Ear:
        send = staticmethod(lambda events: heard.extend(m for _, m in events))
        silence = panic = poll = close = staticmethod(lambda: None)

    mixer = Mixer(Document(song))
    mixer.set_muted(0, True)
    transport = Transport(mixer.heard(song), clock=lambda: 0.0)
    transport.set_ports([Ear()])  # type: ignore[list-item]
    transport.play()
    assert {m[0] & 15 for m in heard if is_note_on(m)} == {1, 9}


def test_what_is_told_of_a_track_goes_to_its_channel_at_once(song: Score) -> None:
    heard: list[bytes] = []

    class Ear:
        send = staticmethod(lambda events: heard.extend(m for _, m in events))
        silence = panic = poll = close = staticmethod(lambda: None)

    transport = Transport(song, clock=lambda: 0.0)
    transport.set_ports([Ear()])  # type: ignore[list-item]
    transport.tell(1, bytes((0xB0, 7, 33)))
    assert heard == [bytes((0xB1, 7, 33))]


def test_a_project_keeps_mutes(tmp_path: Path, song: Score) -> None:
    from app import project

    path = tmp_path / "song.morphony"
    project.write(project.Project(song, song, muted=(1,), soloed=(0, 2)), path)
    read = project.read(path)
    assert (read.muted, read.soloed) == ((1,), (0, 2))
