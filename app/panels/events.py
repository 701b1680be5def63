"""The event list: the notes of the roll as a table, sorted as one likes, edited in place, selected in step with it."""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any, Final

import numpy as np
from PySide6.QtCore import (
    QAbstractTableModel,
    QItemSelection,
    QItemSelectionModel,
    QModelIndex,
    QPersistentModelIndex,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLabel, QTableView, QVBoxLayout, QWidget

from app import theme
from app.panels.transport import bar_beat_tick
from app.roll.index import NOBODY
from app.roll.layers.notes import name_of
from app.roll.state import RollState
from engine.score import edit
from engine.score.edit import Edited, Rows

COLUMNS: Final = ("Position", "Pitch", "Length", "Velocity", "Track")
POSITION, PITCH, LENGTH, VELOCITY, TRACK = range(len(COLUMNS))
FIELDS: Final = ("tick", "pitch", "duration", "velocity", "track")
LETTERS: Final = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
SIGNS: Final = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
Index = QModelIndex | QPersistentModelIndex


class NoteTable(QAbstractTableModel):
    """A row a note of the roll's song, in the order of one of its columns."""

    refused = Signal(str)  # what was typed does not make sense, as a sentence

    def __init__(self, roll: RollState) -> None:
        super().__init__(roll)
        self.roll = roll
        self._by, self._falling = POSITION, False
        self.order: Rows = NOBODY  # rows of the score, as they stand in the table
        self.place: Rows = NOBODY  # the other way round
        self._sort()

    def _sort(self) -> None:
        notes = self.roll.score.notes
        order = np.argsort(notes[FIELDS[self._by]], kind="stable")
        self.order = (order[::-1] if self._falling else order).astype(np.intp)
        self.place = np.empty_like(self.order)
        self.place[self.order] = np.arange(len(order))

    def read(self) -> None:
        """The song is another."""
        self.beginResetModel()
        self._sort()
        self.endResetModel()

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._by, self._falling = max(column, 0), order == Qt.SortOrder.DescendingOrder
        self.read()

    def rowCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        return 0 if parent.isValid() else len(self.order)

    def columnCount(self, parent: Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own default
        return 0 if parent.isValid() else len(COLUMNS)

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.TextAlignmentRole and section in (LENGTH, VELOCITY):
            return Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
        if role != Qt.ItemDataRole.DisplayRole or orientation != Qt.Orientation.Horizontal:
            return None
        return self.tr(COLUMNS[section])

    def flags(self, index: Index) -> Qt.ItemFlag:
        return Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsEditable

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.EditRole):
            return self._words(int(self.order[index.row()]), index.column())
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() in (LENGTH, VELOCITY):
            return Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight
        return None

    def _words(self, row: int, column: int) -> str:
        score = self.roll.score
        tick, duration, pitch, velocity, track = score.notes[row].tolist()
        if column == POSITION:
            bar, beat, rest = bar_beat_tick(self.roll.grid, tick)
            return f"{bar} . {beat} . {rest:03d}"
        if column == PITCH:
            return name_of(pitch)
        if column == TRACK:
            return score.tracks[track].name or self.tr("Track {0}").format(track + 1)
        return str(duration if column == LENGTH else velocity)

    def setData(self, index: Index, value: Any, role: int = Qt.ItemDataRole.EditRole) -> bool:
        row, text = int(self.order[index.row()]), str(value).strip()
        if role != Qt.ItemDataRole.EditRole or text == self._words(row, index.column()):
            return False
        write, how = self._writers()[index.column()]
        try:
            edited = write(row, text)
        except (ValueError, ZeroDivisionError, OverflowError):
            self.refused.emit(how.format(text))
            return False
        self.roll.edit(edited, self.tr("Edit note"))
        self.roll.show_rows(edited.rows)
        return True

    def _writers(self) -> tuple[tuple[Callable[[int, str], Edited], str], ...]:
        """For each column: what writes a text, and the sentence where it cannot."""
        return (
            (self._move, self.tr("“{0}” is no position: write bar . beat . tick, as 3 . 1 . 0.")),
            (self._repitch, self.tr("“{0}” is no pitch: write C4, F#3 or a number from 0 to 127.")),
            (self._lengthen, self.tr("“{0}” is no length: write ticks, or a note value as 1/8.")),
            (self._louder, self.tr("“{0}” is no velocity: write a number from 1 to 127.")),
            (self._to_track, self.tr("“{0}” is no track: write its name or its number.")),
        )

    def _move(self, row: int, text: str) -> Edited:
        tick = tick_of(text, self.roll)
        return edit.move(self.roll.score, [row], tick - int(self.roll.score.notes["tick"][row]))

    def _repitch(self, row: int, text: str) -> Edited:
        return edit.transpose(self.roll.score, [row], pitch_of(text) - int(self.roll.score.notes["pitch"][row]))

    def _lengthen(self, row: int, text: str) -> Edited:
        score = self.roll.score
        ticks = round(Fraction(text) * 4 * score.ticks_per_quarter) if "/" in text else int(text)
        if not 1 <= ticks < 2**31:
            raise ValueError(text)
        return edit.resize(score, [row], ticks - int(score.notes["duration"][row]))

    def _louder(self, row: int, text: str) -> Edited:
        if not 1 <= int(text) <= 127:
            raise ValueError(text)
        return edit.set_velocity(self.roll.score, [row], int(text))

    def _to_track(self, row: int, text: str) -> Edited:
        score = self.roll.score
        names = [track.name.lower() for track in score.tracks]
        track = names.index(text.lower()) if text.lower() in names else int(text) - 1
        if not 0 <= track < len(names):
            raise ValueError(text)
        return edit.set_track(score, [row], track)


def pitch_of(text: str) -> int:
    """C4 is 60; a number is itself. Raises ValueError."""
    found = re.fullmatch(r"([a-gA-G])([#♯b♭]?)(-?\d+)", text)
    pitch = int(text) if found is None else LETTERS[found[1].lower()] + SIGNS[found[2]] + 12 * (int(found[3]) + 1)
    if not 0 <= pitch <= 127:
        raise ValueError(text)
    return pitch


def tick_of(text: str, roll: RollState) -> int:
    """The tick of bar . beat . tick, the first two counted from 1; what is left out is the first. Raises ValueError."""
    parts = [int(part) for part in re.split(r"[\s.]+", text.strip(" ."))]
    bar, beat, rest = (parts + [1, 1, 0][len(parts) :])[:3]
    grid = roll.grid
    if not (1 <= bar <= len(grid) and beat >= 1 and rest >= 0 and len(parts) <= 3):
        raise ValueError(text)
    beat_ticks = grid.ticks_per_quarter * 4 / float(grid.denominators[bar - 1])
    return int(grid.starts[bar - 1]) + round((beat - 1) * beat_ticks) + rest


class EventList(QWidget):
    """The table in its panel, or one line where there is nothing to list."""

    problem = Signal(str)

    def __init__(self, roll: RollState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.roll, self.model = roll, NoteTable(roll)
        self._telling = False
        self._old = True  # what the table shows is not the song; it reads when it is seen
        self.empty = QLabel(self.tr("No notes yet. Double-click in the roll to draw one."))
        self.empty.setProperty("dim", True)
        self.empty.setWordWrap(True)
        self.empty.setContentsMargins(16, 16, 16, 16)
        self.table = QTableView()
        self.table.setObjectName("event_list")
        self.table.setModel(self.model)
        self.table.setAccessibleName(self.tr("Notes"))
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSortingEnabled(True)
        self.table.sortByColumn(POSITION, Qt.SortOrder.AscendingOrder)
        self.table.setShowGrid(False)
        self.table.setTabKeyNavigation(False)  # Tab leads out; the arrows lead about
        self.table.setWordWrap(False)
        self.table.verticalHeader().hide()
        self.table.verticalHeader().setDefaultSectionSize(24)
        self.table.verticalHeader().setMinimumSectionSize(24)
        header = self.table.horizontalHeader()
        header.setHighlightSections(False)
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        for column, width in enumerate((96, 56, 64, 64)):
            self.table.setColumnWidth(column, width)
        header.setSectionResizeMode(TRACK, QHeaderView.ResizeMode.Stretch)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.empty)
        layout.addWidget(self.table, 1)
        self.setMinimumWidth(280)
        self.model.refused.connect(self.problem)
        self.table.selectionModel().selectionChanged.connect(self._on_table)
        roll.notes_changed.connect(self._on_notes)
        roll.selection_changed.connect(self._on_roll)
        theme.themes.changed.connect(self._dress)
        self._dress()

    def sizeHint(self) -> QSize:
        return QSize(360, 240)

    def _dress(self, *_: object) -> None:
        self.table.setFont(theme.figures())

    def _on_notes(self) -> None:
        self._old = True
        if self.isVisible():
            self._read()

    def _read(self) -> None:
        if not self._old:
            return
        self._old = False
        bar = self.table.verticalScrollBar()
        place, here = bar.value(), self.table.currentIndex().column()
        self._telling = True
        self.model.read()
        self._telling = False
        bar.setValue(place)
        self.empty.setVisible(not self.model.rowCount())
        self.table.setVisible(bool(self.model.rowCount()))
        self._on_roll(self.roll.selection, max(here, 0))

    def _on_roll(self, rows: Rows, column: int = 0) -> None:
        """Select what the roll has selected, and bring the first of it into sight."""
        if self._telling or self._old or not self.isVisible():
            return
        places = np.sort(self.model.place[rows])
        chosen = QItemSelection()
        breaks = np.flatnonzero(np.diff(places) != 1)
        last = len(COLUMNS) - 1
        for a, b in (
            zip([0, *(breaks + 1).tolist()], [*breaks.tolist(), len(places) - 1], strict=True) if len(places) else ()
        ):
            chosen.select(self.model.index(int(places[a]), 0), self.model.index(int(places[b]), last))
        self._telling = True
        model = self.table.selectionModel()
        model.select(chosen, QItemSelectionModel.SelectionFlag.ClearAndSelect)
        if len(places):
            first = self.model.index(int(places[0]), column)
            model.setCurrentIndex(first, QItemSelectionModel.SelectionFlag.NoUpdate)
            self.table.scrollTo(first)
        self._telling = False

    def _on_table(self, *_: object) -> None:
        if not self._telling:
            self._telling = True
            places = [index.row() for index in self.table.selectionModel().selectedRows()]
            rows = self.model.order[np.asarray(places, dtype=np.intp)]
            self.roll.select(rows)
            self.roll.show_rows(rows)
            self._telling = False

    def showEvent(self, event: object) -> None:
        self._read()
        self._on_roll(self.roll.selection)
