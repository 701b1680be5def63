"""Under the transport's tempo and meter: what holds at the playhead, a new value, and from where on it holds.

Changes the document; knows nothing of what plays it.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QPoint, Qt
from PySide6.QtWidgets import QComboBox, QDoubleSpinBox, QHBoxLayout, QLabel, QSpinBox, QWidget

from app.document import Document
from app.panels.status import Popover
from app.panels.transport import bar_beat_tick
from engine.score import conduct
from engine.score.timing import BarGrid


class Conductor(Popover):
    """What tempo and meter share: a value, a place, Set and Remove."""

    def __init__(self, title: str, document: Document, here: Callable[[], float], parent: QWidget) -> None:
        super().__init__(title, parent)
        self.document, self.here = document, here
        self.where = QComboBox()
        self.where.setAccessibleName(self.tr("From where on"))
        self.value = self._make_value()
        self.add_row(self.value)
        self.add_row(self.where)
        self.do = self.add_button(self.tr("Set"), self.set)
        self.do.setProperty("primary", True)
        self.gone = self.add_button(self.tr("Take this change away"), self.remove)

    def open(self, under: QWidget) -> None:
        """Show it under a widget, filled with what holds at the playhead."""
        self.fill()
        self.fit()
        self.move(under.mapToGlobal(QPoint(-16, under.height())))
        self.show()
        self.value.setFocus()

    def _make_value(self) -> QWidget:
        raise NotImplementedError  # what is set: a tempo, a meter

    def fill(self) -> None:
        """Say what holds at the playhead."""
        raise NotImplementedError

    def set(self) -> None:
        """Change the song and close."""
        raise NotImplementedError

    def remove(self) -> None:
        """Take the change away that holds at the playhead, and close."""
        raise NotImplementedError

    def _tick(self) -> int:
        return max(round(self.here()), 0)

    def _name(self, tick: int) -> str:
        bar, beat, rest = bar_beat_tick(BarGrid.of(self.document.score), tick)
        if (beat, rest) == (1, 0):
            return self.tr("bar {0}").format(bar)
        return self.tr("bar {0}, beat {1}").format(bar, beat)

    def _offer_to_remove(self, begun: int) -> None:
        self.gone.setEnabled(begun > 0)
        self.gone.setToolTip("" if begun else self.tr("The first one of a song stays; set it to another value."))

    def keyPressEvent(self, event: object) -> None:
        key = getattr(event, "key", lambda: None)()
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.set()
        else:
            super().keyPressEvent(event)  # type: ignore[arg-type]  # a QKeyEvent


class TempoPopover(Conductor):
    """Quarters a minute: where it began, from the playhead on, or for the whole song."""

    def _make_value(self) -> QDoubleSpinBox:
        box = QDoubleSpinBox()
        box.setRange(conduct.SLOWEST, conduct.FASTEST)
        box.setDecimals(2)
        box.setSingleStep(1.0)
        box.setSuffix(self.tr(" quarters a minute"))
        box.setAccessibleName(self.tr("Tempo"))
        box.lineEdit().setTextMargins(8, 0, 8, 0)
        self._box = box
        return box

    def fill(self) -> None:
        tick, score = self._tick(), self.document.score
        held = conduct.tempo_at(score, tick)
        self.sentence.setText(
            self.tr("{0:.2f} since {1}; {2} in the song.").format(
                60e6 / held.microseconds, self._name(held.tick), self._count(max(len(score.tempi), 1))
            )
        )
        self._box.setValue(60e6 / held.microseconds)
        self._box.selectAll()
        self.where.clear()
        self.where.addItem(self.tr("Since it began ({0})").format(self._name(held.tick)), held.tick)
        if tick != held.tick:
            self.where.addItem(self.tr("From the playhead on ({0})").format(self._name(tick)), tick)
        if len(score.tempi) > 1:
            self.where.addItem(self.tr("The whole song, one tempo"), -1)
        self._offer_to_remove(held.tick)

    def _count(self, number: int) -> str:
        return self.tr("one tempo") if number == 1 else self.tr("{0} tempi").format(number)

    def set(self) -> None:
        score, tick = self.document.score, int(self.where.currentData())
        self._box.interpretText()
        value = self._box.value()
        changed = conduct.set_one_tempo(score, value) if tick < 0 else conduct.set_tempo(score, tick, value)
        self.document.change(changed, self.tr("Change tempo"))
        self.close()

    def remove(self) -> None:
        score = self.document.score
        held = conduct.tempo_at(score, self._tick())
        self.document.change(conduct.remove_tempo(score, held.tick), self.tr("Take tempo change away"))
        self.close()


class MeterPopover(Conductor):
    """Beats and their value, from the head of a bar on."""

    def _make_value(self) -> QWidget:
        self.beats = QSpinBox()
        self.beats.setRange(conduct.NUMERATORS.start, conduct.NUMERATORS.stop - 1)
        self.beats.setAccessibleName(self.tr("Beats in a bar"))
        self.beats.lineEdit().setTextMargins(8, 0, 8, 0)
        self.unit = QComboBox()
        for value in conduct.DENOMINATORS:
            self.unit.addItem(str(value), value)
        self.unit.setAccessibleName(self.tr("Value of a beat"))
        both = QWidget()
        row = QHBoxLayout(both)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self.beats, 1)
        row.addWidget(QLabel("/"))
        row.addWidget(self.unit, 1)
        both.setFocusProxy(self.beats)
        return both

    def _bar(self) -> int:
        return int(BarGrid.of(self.document.score, self._tick() + 1).bar_of(self._tick()))

    def fill(self) -> None:
        grid = BarGrid.of(self.document.score)
        held = conduct.meter_at(self.document.score, self._tick())
        began = int(grid.bar_of(held.tick))
        meter = f"{held.numerator}/{held.denominator}"
        self.sentence.setText(self.tr("{0} since {1}.").format(meter, self._name(held.tick)))
        self.beats.setValue(held.numerator)
        self.beats.selectAll()
        self.unit.setCurrentIndex(max(self.unit.findData(held.denominator), 0))
        self.where.clear()
        self.where.addItem(self.tr("Since it began ({0})").format(self._name(held.tick)), began)
        if self._bar() != began:
            self.where.addItem(self.tr("From bar {0} on").format(self._bar() + 1), self._bar())
        self._offer_to_remove(held.tick)

    def set(self) -> None:
        self.beats.interpretText()
        changed = conduct.set_meter(
            self.document.score, self.where.currentData(), self.beats.value(), self.unit.currentData()
        )
        self.document.change(changed, self.tr("Change meter"))
        self.close()

    def remove(self) -> None:
        held = conduct.meter_at(self.document.score, self._tick())
        self.document.change(conduct.remove_meter(self.document.score, held.tick), self.tr("Take meter change away"))
        self.close()
