"""Tempo and meter from the transport: opened by mouse and key, set where one says, one step of undo."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from app.document import Document
from app.panels.conductor import MeterPopover, TempoPopover
from app.panels.transport import Readout
from engine.score.score import Meter, Score, Tempo, Track, make_notes


class Place:
    """Where the playhead stands."""

    tick = 800.0

    def __call__(self) -> float:
        return self.tick


@pytest.fixture
def song() -> Score:
    return Score(96, (Track(),), make_notes([(i * 96, 90, 60, 80, 0) for i in range(24)]))


@pytest.fixture
def panel(qtbot: QtBot, song: Score) -> Iterator[QWidget]:
    widget = QWidget()
    widget.document = Document(song)  # type: ignore[attr-defined]
    widget.readout = Readout("tempo", "888.8")  # type: ignore[attr-defined]
    widget.tempo = TempoPopover("Tempo", widget.document, Place(), widget)  # type: ignore[attr-defined]
    widget.meter = MeterPopover("Meter", widget.document, Place(), widget)  # type: ignore[attr-defined]
    QVBoxLayout(widget).addWidget(widget.readout)  # type: ignore[attr-defined]
    qtbot.addWidget(widget)
    widget.show()
    qtbot.waitExposed(widget)
    yield widget
    widget.hide()


def test_a_readout_opens_by_mouse_and_keys(panel) -> None:  # type: ignore[no-untyped-def]
    heard: list[int] = []
    panel.readout.set_clicked(lambda: heard.append(1), "Change tempo")
    QTest.mouseClick(panel.readout, Qt.MouseButton.LeftButton)
    for key in (Qt.Key.Key_Space, Qt.Key.Key_Return):
        QTest.keyClick(panel.readout, key)
    assert len(heard) == 3
    assert panel.readout.focusPolicy() == Qt.FocusPolicy.TabFocus


def test_a_tempo_from_the_playhead_on(panel, song: Score) -> None:  # type: ignore[no-untyped-def]
    popover = panel.tempo
    popover.open(panel.readout)
    assert popover.sentence.text() == "120.00 since bar 1; one tempo in the song."
    popover.where.setCurrentIndex(1)
    QTest.keyClicks(popover._box, "90")
    QTest.keyClick(popover._box, Qt.Key.Key_Return)
    assert panel.document.score.tempi == (Tempo(0, 500_000), Tempo(800, 666_667))
    assert not popover.isVisible()
    popover.open(panel.readout)
    QTest.mouseClick(popover.gone, Qt.MouseButton.LeftButton)
    assert panel.document.score.tempi == (Tempo(0, 500_000),)
    assert panel.document.undo_stack.count() == 2
    panel.document.undo_stack.undo()
    panel.document.undo_stack.undo()
    assert panel.document.score is song


def test_the_first_tempo_cannot_go_and_says_why(panel) -> None:  # type: ignore[no-untyped-def]
    panel.tempo.open(panel.readout)
    assert not panel.tempo.gone.isEnabled()
    assert "first one" in panel.tempo.gone.toolTip()


def test_a_meter_from_the_bar_of_the_playhead(panel) -> None:  # type: ignore[no-untyped-def]
    popover = panel.meter
    popover.open(panel.readout)
    assert popover.sentence.text() == "4/4 since bar 1."
    popover.where.setCurrentIndex(1)
    QTest.keyClicks(popover.beats, "3")
    QTest.mouseClick(popover.do, Qt.MouseButton.LeftButton)
    assert panel.document.score.meters == (Meter(0, 4, 4), Meter(768, 3, 4))
