"""The mixer strip: a row a track with name, instrument, volume, mute, solo and channel, and a place for its port.

Edits go to the `Document`, mutes and solos to the `Mixer`; what should sound at once is told by signals.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap, QStandardItem, QStandardItemModel, QWheelEvent
from PySide6.QtWidgets import (
    QComboBox,
    QCompleter,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QSlider,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.document import Document
from app.mixer import Mixer
from app.roll.state import RollState
from engine.score import programs, tracks
from engine.score.score import Score, Track

HEIGHT = 176
PAUSE_S = 0.7  # turns of a volume closer in time than this are one step of undo
COLUMNS = ("", "Name", "Instrument", "Volume", "", "", "", "Channel", "Port", "")
PORT_COLUMN = COLUMNS.index("Port")


class Choice(QComboBox):
    """A list that the wheel turns only once it was chosen: it lies in something that scrolls."""

    def wheelEvent(self, event: QWheelEvent) -> None:
        super().wheelEvent(event) if self.hasFocus() else event.ignore()


class Fader(QSlider):
    """A horizontal volume, 0 to 127; the same of the wheel. Double-click goes to the default."""

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setRange(0, 127)
        self.setPageStep(8)
        self.setFixedWidth(112)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def wheelEvent(self, event: QWheelEvent) -> None:
        super().wheelEvent(event) if self.hasFocus() else event.ignore()

    def mouseDoubleClickEvent(self, event: object) -> None:
        self.setValue(tracks.DEFAULT_VOLUME)


class TrackRow:
    """The controls of one track; they are laid into the panel's grid."""

    def __init__(self, panel: TracksPanel, index: int) -> None:
        self.panel, self.index = panel, index
        self.edit = self._toggle("", panel.tr("Edit only this track (T: the next one)"), self._edit_only)
        self.name = QLineEdit()
        self.name.setMinimumWidth(120)
        self.name.editingFinished.connect(self._rename)
        self.instrument = Choice()
        self.instrument.setModel(panel.instruments)
        self.instrument.setEditable(True)
        self.instrument.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self.instrument.setMaxVisibleItems(18)
        self.instrument.setMinimumWidth(168)
        completer = QCompleter(panel.instruments, self.instrument)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self.instrument.setCompleter(completer)
        self.instrument.activated.connect(self._choose_instrument)
        self.volume = Fader()
        self.volume.valueChanged.connect(self._turn)
        self.volume.sliderPressed.connect(self._begin)
        self.figure = QLabel()
        self.figure.setProperty("dim", True)
        self.figure.setMinimumWidth(28)
        self.mute = self._toggle("M", panel.tr("Mute"), lambda on: panel.mixer.set_muted(self.index, on))
        self.solo = self._toggle("S", panel.tr("Solo"), lambda on: panel.mixer.set_soloed(self.index, on))
        self.channel = Choice()
        for channel in range(16):
            self.channel.addItem(f"{channel + 1}" if channel != 9 else panel.tr("10 drums"), channel)
        self.channel.activated.connect(self._choose_channel)
        self.gone = QToolButton()
        self.gone.clicked.connect(self._remove)
        self._origin: Score | None = None
        self._key: object = None
        self._turned = 0.0
        self.widgets: tuple[QWidget, ...] = (
            self.edit, self.name, self.instrument, self.volume, self.figure, self.mute, self.solo, self.channel,
        )  # fmt: skip

    def _toggle(self, text: str, tip: str, clicked: Callable[[bool], object]) -> QToolButton:
        button = QToolButton()
        button.setText(text)
        button.setToolTip(tip)
        button.setCheckable(True)
        button.setFixedSize(32, 32)
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.setProperty("letter", bool(text))
        button.clicked.connect(clicked)
        return button

    # Shown

    def show(self, score: Score) -> None:
        """Take what the song says of this track."""
        track, mixer = score.tracks[self.index], self.panel.mixer
        called = track.name or self.panel.tr("Track {0}").format(self.index + 1)
        tr = self.panel.tr
        for widget, words in (
            (self.edit, tr("Edit only {0}")), (self.name, tr("Name of {0}")),
            (self.instrument, tr("Instrument of {0}")),
            (self.volume, tr("Volume of {0}")), (self.mute, tr("Mute {0}")), (self.solo, tr("Solo {0}")),
            (self.channel, tr("Channel of {0}")), (self.gone, tr("Remove {0}")),
        ):  # fmt: skip
            widget.setAccessibleName(words.format(called))
        if not self.name.hasFocus() or not self.name.isModified():
            self.name.setText(track.name)
        self.name.setPlaceholderText(called)
        self.instrument.setCurrentIndex(self.panel.place_of(track))
        self.instrument.setEnabled(not track.is_drum)
        self.instrument.setToolTip(tr("Channel 10 plays the drum kit.") if track.is_drum else "")
        self.volume.blockSignals(True)
        self.volume.setValue(tracks.volume(score, self.index))
        self.volume.blockSignals(False)
        self.figure.setText(str(self.volume.value()))
        self.channel.setCurrentIndex(track.channel)
        self.mute.setChecked(self.index in mixer.muted)
        self.solo.setChecked(self.index in mixer.soloed)
        self.edit.setChecked(self.panel.roll.track == self.index)
        last = len(score.tracks) < 2
        self.gone.setEnabled(not last)
        self.gone.setToolTip(tr("A song has one track at least.") if last else self.gone.accessibleName())

    def dress(self) -> None:
        """Take colours from the theme."""
        tokens = theme.current()
        self.edit.setIcon(chip(tokens.track_hues[self.index % len(tokens.track_hues)]))
        self.gone.setIcon(theme.icon("close", tokens.text_dim))
        self.figure.setFont(theme.figures(tokens.font_small))

    # Edited

    def _change(self, score: Score, text: str, key: object = None) -> None:
        self.panel.document.change(score, text, key)

    def _edit_only(self, on: bool) -> None:
        self.panel.roll.set_option(track=self.index if on else None)

    def _rename(self) -> None:
        if self.name.isModified():
            self.name.setModified(False)
            song = self.panel.document.score
            self._change(tracks.rename(song, self.index, self.name.text().strip()), self.panel.tr("Rename track"))

    def _choose_instrument(self, place: int) -> None:
        program = self.instrument.itemData(place)
        song = self.panel.document.score
        if program is None:  # the name of a family
            self.instrument.setCurrentIndex(self.panel.place_of(song.tracks[self.index]))
            return
        self._change(tracks.set_program(song, self.index, program), self.panel.tr("Change instrument"))
        self.panel.sent.emit(self.index, bytes((0xC0, program)))
        self.panel.auditioned.emit(self.index)

    def _choose_channel(self, place: int) -> None:
        song = self.panel.document.score
        self._change(tracks.set_channel(song, self.index, place), self.panel.tr("Change channel"))

    def _begin(self) -> None:
        self._origin = None

    def _turn(self, value: int) -> None:
        song, now = self.panel.document.score, time.monotonic()
        late = not self.volume.isSliderDown() and now - self._turned > PAUSE_S
        if self._origin is None or late:
            self._origin, self._key = song, object()
        self._turned = now
        changed = tracks.set_volume(self._origin, self.index, value)
        self._change(changed, self.panel.tr("Change volume"), self._key)
        self.panel.sent.emit(self.index, bytes((0xB0, 7, value)))

    def _remove(self) -> None:
        self._change(tracks.remove(self.panel.document.score, self.index), self.panel.tr("Remove track"))


class TracksPanel(QWidget):
    """All tracks of the song, and a button for one more."""

    sent = Signal(int, bytes)  # track, and a MIDI message for it that should be heard at once
    auditioned = Signal(int)  # track: let it be heard

    def __init__(self, document: Document, mixer: Mixer, roll: RollState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("tracks")
        self.document, self.mixer, self.roll = document, mixer, roll
        self.instruments = _instruments()
        self.rows: list[TrackRow] = []
        self.add = QPushButton(self.tr("Add a track"))
        self.add.clicked.connect(self.add_track)
        self.make_port: Callable[[int], QWidget] | None = None  # whoever knows ports makes the control of a track's
        self._inner = QWidget()
        self._grid = QGridLayout(self._inner)
        self._grid.setContentsMargins(8, 8, 16, 8)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(4)
        self._grid.setColumnStretch(1, 2)
        self._grid.setColumnStretch(2, 3)
        area = QScrollArea()
        area.setWidget(self._inner)
        area.setWidgetResizable(True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the controls in it take the keys, and come into view with them
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(area)
        document.changed.connect(self._show)
        mixer.changed.connect(self._show)
        roll.options_changed.connect(self._show)
        theme.themes.changed.connect(self._dress)
        self.setMinimumHeight(120)
        self._show()

    def sizeHint(self) -> QSize:
        return QSize(760, HEIGHT)

    def place_of(self, track: Track) -> int:
        """Where a track's instrument stands in the list."""
        wanted = -1 if track.is_drum else track.program
        found = self.instruments.match(self.instruments.index(0, 0), Qt.ItemDataRole.UserRole, wanted, 1)
        return found[0].row()

    def add_track(self) -> None:
        """One more track at the end, to be drawn on."""
        self.document.change(tracks.add(self.document.score), self.tr("Add track"))
        self.rows[-1].name.setFocus()
        self.roll.set_option(pen_track=len(self.rows) - 1)

    def lay_out(self) -> None:
        """Lay the rows anew: there are more or fewer tracks."""
        while (item := self._grid.takeAt(0)) is not None:
            if (widget := item.widget()) is not None and widget is not self.add:
                widget.deleteLater()
        self.rows = [TrackRow(self, i) for i in range(len(self.document.score.tracks))]
        for place, words in enumerate(COLUMNS):
            if words and (place != PORT_COLUMN or self.make_port is not None):
                heading = QLabel(self.tr(words))
                heading.setProperty("dim", True)
                heading.setProperty("small", True)
                self._grid.addWidget(heading, 0, place)
        before: QWidget | None = None
        for i, row in enumerate(self.rows):
            widgets = [*row.widgets, *((self.make_port(i),) if self.make_port else (None,)), row.gone]
            for place, widget in enumerate(widgets):
                if widget is not None:
                    self._grid.addWidget(widget, i + 1, place)
                    if before is not None:
                        self.setTabOrder(before, widget)
                    before = widget
            row.dress()
        bottom = QHBoxLayout()
        bottom.addWidget(self.add)
        bottom.addStretch(1)
        self._grid.addLayout(bottom, len(self.rows) + 1, 1, 1, 3)
        for i in range(self._grid.rowCount()):
            self._grid.setRowStretch(i, int(i == len(self.rows) + 2))
        self._grid.setRowStretch(len(self.rows) + 2, 1)

    def _show(self, *_: object) -> None:
        score = self.document.score
        if len(self.rows) != len(score.tracks):
            self.lay_out()
        for row in self.rows:
            row.show(score)

    def _dress(self, *_: object) -> None:
        for row in self.rows:
            row.dress()


def _instruments() -> QStandardItemModel:
    """Families as headings, instruments under them, the drum kit last; the user's data is the program, -1 for drums."""
    model = QStandardItemModel()
    number = 0
    for family, names in programs.FAMILIES.items():
        heading = QStandardItem(family)
        heading.setFlags(Qt.ItemFlag.NoItemFlags)
        model.appendRow(heading)
        for name in names:
            item = QStandardItem(name)
            item.setData(number, Qt.ItemDataRole.UserRole)
            model.appendRow(item)
            number += 1
    drums = QStandardItem("Drum kit")
    drums.setData(-1, Qt.ItemDataRole.UserRole)
    drums.setFlags(Qt.ItemFlag.NoItemFlags)
    model.appendRow(drums)
    return model


def chip(colour: str) -> QIcon:
    """A round spot of a track's colour."""
    pixmap = QPixmap(40, 40)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(colour))
    painter.drawEllipse(8, 8, 24, 24)
    painter.end()
    pixmap.setDevicePixelRatio(2)
    return QIcon(pixmap)
