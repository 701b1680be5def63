"""The event list by keys and mouse: the notes of the roll, in any order, edited, selected in step."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit
from pytestqt.qtbot import QtBot

from app.document import Document
from app.panels.events import LENGTH, PITCH, POSITION, TRACK, VELOCITY, EventList, pitch_of
from app.roll.state import RollState
from engine.score import edit
from engine.score.score import Score, Track, make_notes

Key = Qt.Key


@pytest.fixture
def song() -> Score:
    rows = [(0, 96, 60, 80, 0), (96, 48, 66, 70, 1), (384 + 100, 24, 48, 90, 0), (768, 96, 72, 60, 1)]
    return Score(96, (Track("Flute"), Track()), make_notes(rows))


@pytest.fixture
def events(qtbot: QtBot, song: Score) -> Iterator[EventList]:
    events = EventList(RollState(Document(song)))
    qtbot.addWidget(events)
    events.resize(400, 300)
    events.show()
    qtbot.waitExposed(events)
    events.activateWindow()
    events.table.setFocus()
    yield events
    events.hide()


def column(events: EventList, which: int) -> list[str]:
    return [events.model.index(i, which).data() for i in range(events.model.rowCount())]


def write(events: EventList, row: int, where: int, text: str) -> None:
    """F2, type, Enter."""
    events.table.setCurrentIndex(events.model.index(row, where))
    QTest.keyClick(events.table, Key.Key_F2)
    editor = events.table.findChild(QLineEdit)
    editor.selectAll()
    QTest.keyClicks(editor, text)
    QTest.keyClick(editor, Key.Key_Return)
    QApplication.processEvents()  # the table takes it at its next turn


def test_it_lists_the_notes_of_the_roll(events: EventList) -> None:
    assert column(events, POSITION) == ["1 . 1 . 000", "1 . 2 . 000", "2 . 2 . 004", "3 . 1 . 000"]
    assert column(events, PITCH) == ["C4", "F♯4", "C3", "C5"]
    assert column(events, TRACK) == ["Flute", "Track 2", "Flute", "Track 2"]


def test_a_click_on_a_heading_sorts_and_once_more_turns_round(events: EventList) -> None:
    header = events.table.horizontalHeader()
    x = header.sectionViewportPosition(PITCH) + 10
    for order in (["C3", "C4", "F♯4", "C5"], ["C5", "F♯4", "C4", "C3"]):
        QTest.mouseClick(header.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(x, 8))
        assert column(events, PITCH) == order


@pytest.mark.parametrize(
    ("where", "text", "wanted"),
    [
        (POSITION, "3.2.10", (768 + 96 + 10, 96, 60, 80, 0)),
        (POSITION, "2", (384, 96, 60, 80, 0)),
        (PITCH, "Eb3", (0, 96, 51, 80, 0)),
        (PITCH, "61", (0, 96, 61, 80, 0)),
        (LENGTH, "30", (0, 30, 60, 80, 0)),
        (LENGTH, "1/8", (0, 48, 60, 80, 0)),
        (VELOCITY, "101", (0, 96, 60, 101, 0)),
        (TRACK, "2", (0, 96, 60, 80, 1)),
    ],
)
def test_a_cell_is_edited_as_one_step(events: EventList, song: Score, where: int, text: str, wanted: tuple) -> None:  # type: ignore[type-arg]
    write(events, 0, where, text)
    assert wanted in events.roll.score.notes.tolist()
    assert events.roll.document.undo_stack.count() == 1
    events.roll.document.undo_stack.undo()
    assert events.roll.score is song
    assert column(events, PITCH)[0] == "C4"


@pytest.mark.parametrize(
    ("where", "text"), [(POSITION, "x"), (POSITION, "0.1"), (PITCH, "H4"), (PITCH, "C11"), (LENGTH, "0"),
                        (LENGTH, "1/0"), (VELOCITY, "200"), (TRACK, "Oboe")],
)  # fmt: skip
def test_what_makes_no_sense_is_a_sentence_and_changes_nothing(
    events: EventList, song: Score, qtbot: QtBot, where: int, text: str
) -> None:
    with qtbot.waitSignal(events.problem) as said:
        write(events, 0, where, text)
    assert f"“{text}”" in said.args[0]
    assert events.roll.score is song


def test_selection_is_in_step_both_ways_in_any_order(events: EventList) -> None:
    events.table.sortByColumn(PITCH, Qt.SortOrder.DescendingOrder)
    events.roll.select([0, 3])
    chosen = {i.row() for i in events.table.selectionModel().selectedRows()}
    assert [column(events, PITCH)[row] for row in sorted(chosen)] == ["C5", "C4"]
    events.table.setCurrentIndex(events.model.index(0, 0))
    QTest.keyClick(events.table, Key.Key_Down, Qt.KeyboardModifier.ShiftModifier)
    assert events.roll.selection.tolist() == [1, 3]  # C5 and F#4


def test_it_follows_edits_of_the_roll_and_says_when_it_is_empty(events: EventList, song: Score) -> None:
    events.roll.select([0])
    events.roll.edit(edit.transpose(song, [0], 1), "Transpose")
    assert column(events, PITCH)[0] == "C♯4"
    assert {i.row() for i in events.table.selectionModel().selectedRows()} == {0}
    events.roll.document.load(Score(96, (Track(),), make_notes()))
    assert not events.empty.isHidden()
    assert events.table.isHidden()


def test_pitches_are_read_as_musicians_write_them() -> None:
    assert [pitch_of(t) for t in ("C4", "c#4", "D♭4", "b-1", "G9", "0")] == [60, 61, 61, 11, 127, 0]
