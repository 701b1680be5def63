"""The Live panel: what comes in, what time is followed, what goes where. Shows a `Live` and passes hands on to it."""

from __future__ import annotations

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from app.background import Background
from app.live.live import OWN_PORT, Live
from app.sound.midi_port import list_ports

WIDTH = 304
MOST_COUNT_IN = 4


class LivePanel(QScrollArea):
    """Three groups: in, time, out."""

    def __init__(self, live: Live, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.live = live
        self.setObjectName("live")
        self.setFixedWidth(WIDTH)
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._background = Background(self)
        self._inputs: tuple[str, ...] = ()
        self._inner = QWidget(self)  # parent of all from the start: a chain of focus put together later breaks off
        self.setWidget(self._inner)
        self._column = QVBoxLayout(self._inner)
        self._column.setContentsMargins(16, 8, 16, 16)
        self._column.setSpacing(8)
        self._in()
        self._time()
        self._out()
        self._column.addStretch(1)
        live.changed.connect(self.follow)
        live.told.connect(self._tell)
        live.document.changed.connect(self._list_tracks)
        self.follow()
        self._list_tracks()

    def _heading(self, text: str) -> None:
        label = QLabel(text)
        label.setProperty("strong", True)
        label.setContentsMargins(0, 8, 0, 0)
        self._column.addWidget(label)

    def _check(self, text: str, tip: str, name: str) -> QCheckBox:
        box = QCheckBox(text)
        box.setObjectName(f"live_{name}")
        box.setToolTip(tip)
        box.toggled.connect(lambda on: self.live.switch(name, on))
        self._column.addWidget(box)
        return box

    def _button(self, text: str, tip: str, row: QHBoxLayout) -> QPushButton:
        button = QPushButton(text)
        button.setCheckable(True)
        button.setProperty("tip", tip)
        row.addWidget(button, 1)
        return button

    def _dim(self) -> QLabel:
        label = QLabel()
        label.setProperty("dim", True)
        label.setWordWrap(True)
        label.setTextFormat(Qt.TextFormat.PlainText)
        self._column.addWidget(label)
        return label

    def _in(self) -> None:
        tr = self.tr
        self._heading(tr("In"))
        self.input = QComboBox()
        self.input.setAccessibleName(tr("MIDI input"))
        self.input.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.input.activated.connect(lambda i: self.live.listen_to(self.input.itemData(i)))
        self._column.addWidget(self.input)
        self.status = self._dim()
        row = QHBoxLayout()
        row.setSpacing(8)
        self.record = self._button(tr("Record"), tr("Record what is played in, into the track being edited"), row)
        self.answer = self._button(tr("Answer"), tr("The last two bars you played are answered in the next one"), row)
        self.learn = self._button(tr("Learn"), tr("Let a knob move a slider"), row)
        self.record.clicked.connect(self.live.arm)
        self.answer.clicked.connect(self.live.set_answers)
        self.learn.clicked.connect(self.live.learn)
        self._column.addLayout(row)
        self.hint = self._dim()
        self.hint.hide()

    def _time(self) -> None:
        tr = self.tr
        self._heading(tr("Time"))
        self.sync = QCheckBox(tr("Follow the clock that comes in"))
        self.sync.setToolTip(tr("Another program starts, stops, places and paces the music"))
        self.sync.toggled.connect(self.live.set_sync)
        self._column.addWidget(self.sync)
        tip = tr("Clock, start, stop and song position with the notes")
        self.clock = self._check(tr("Send the clock"), tip, "clock_out")
        self.metronome = self._check(tr("Metronome"), tr("A click on every beat, through the synth"), "metronome")
        row = QHBoxLayout()
        label = QLabel(tr("Count-in"))
        self.count_in = QComboBox()
        self.count_in.setAccessibleName(tr("Count-in"))
        for bars in range(MOST_COUNT_IN + 1):
            words = tr("None") if not bars else tr("1 bar") if bars == 1 else tr("{0} bars").format(bars)
            self.count_in.addItem(words, bars)
        self.count_in.activated.connect(lambda bars: self.live.switch("count_in", bars))
        row.addWidget(label, 1)
        row.addWidget(self.count_in, 1)
        self._column.addLayout(row)

    def _out(self) -> None:
        tr = self.tr
        self._heading(tr("Out"))
        tip = tr("Each slider is a controller on channel 16 of the MIDI port: a DAW can record the morph")
        self.cc = self._check(tr("Send slider moves as controllers"), tip, "cc_out")
        self._tracks = QGridLayout()
        self._tracks.setHorizontalSpacing(8)
        self._tracks.setVerticalSpacing(8)
        self._tracks.setColumnStretch(0, 1)
        self._tracks.setColumnStretch(1, 1)
        self._column.addLayout(self._tracks)
        self.ports: list[QComboBox] = []

    # Shown

    def follow(self) -> None:
        """Show what is switched."""
        live, settings = self.live, self.live.settings
        for box, on in (
            (self.sync, live.follower is not None),
            (self.clock, settings.get("clock_out", bool)),
            (self.metronome, settings.get("metronome", bool)),
            (self.cc, settings.get("cc_out", bool)),
        ):
            with QSignalBlocker(box):
                box.setChecked(on)
        self.count_in.setCurrentIndex(min(settings.get("count_in", int), MOST_COUNT_IN))
        self.record.setChecked(live.is_armed)
        self.answer.setChecked(live.answers)
        self.learn.setChecked(live.learning is not None)
        why_not = "" if live.input is not None else self.tr("Choose a MIDI input first.")
        for button in (self.record, self.answer, self.learn):
            button.setEnabled(not why_not)
            button.setToolTip(why_not or button.property("tip"))
        self.status.setText(live.status.sentence)
        self._list_inputs()

    def _tell(self, words: str) -> None:
        self.hint.setText(words)
        self.hint.setVisible(bool(words))

    def _list_inputs(self) -> None:
        chosen = self.live.settings.get("midi_in", str)
        names = dict.fromkeys((*self._inputs, *self.live.input_names))
        with QSignalBlocker(self.input):
            self.input.clear()
            self.input.addItem(self.tr("No input"), "")
            self.input.addItem(self.tr("Morphony In (a port of our own)"), OWN_PORT)
            for name in names:
                if "Morphony" not in name:
                    self.input.addItem(name, name)
            if self.input.findData(chosen) < 0:
                self.input.addItem(self.tr("{0} (not there now)").format(chosen), chosen)
            self.input.setCurrentIndex(self.input.findData(chosen))

    def _list_tracks(self, _: object = None) -> None:
        """A row a track with the port it goes to."""
        while (item := self._tracks.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()  # until it is gone, it takes neither room nor focus
                widget.deleteLater()
        self.ports = []
        names = [n for n in getattr(self.live.sound.midi, "names", ()) if "Morphony" not in n]
        for row, track in enumerate(self.live.document.score.tracks):
            called = track.name or self.tr("Track {0}").format(row + 1)
            label, port = QLabel(called, self._inner), QComboBox(self._inner)
            label.setTextFormat(Qt.TextFormat.PlainText)
            port.setAccessibleName(self.tr("MIDI port of {0}").format(called))
            port.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            port.addItem(self.tr("The MIDI port"), "")
            for name in dict.fromkeys((*names, *filter(None, [self.live.routes.get(row, "")]))):
                port.addItem(name, name)
            port.setCurrentIndex(max(port.findData(self.live.routes.get(row, "")), 0))
            port.activated.connect(self._route)
            self._tracks.addWidget(label, row, 0)
            self._tracks.addWidget(port, row, 1)
            self.ports.append(port)

    def _route(self, _: int) -> None:
        self.live.route({i: port.currentData() for i, port in enumerate(self.ports) if port.currentData()})

    def showEvent(self, event: QShowEvent) -> None:
        """Look which ports there are: asked beside the window, for it can take a second."""
        self._list_tracks()
        self._background.run(lambda: tuple(list_ports("MidiIn")), self._found, lambda _: None)
        super().showEvent(event)

    def _found(self, names: tuple[str, ...]) -> None:
        self._inputs = names
        self._list_inputs()

    def wait(self) -> None:
        """Until nothing is looked for any more: the window closes."""
        self._background.wait()
