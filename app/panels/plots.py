"""Loss curves by pyqtgraph. Imported when the training panel first opens: pyqtgraph takes most of a second.

Draws a `LossHistory`; a timer of its own redraws, never the thread that trains.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QPainter, QPixmap
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFileDialog,
    QHBoxLayout,
    QLabel,
    QMenu,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.panels.losses import TOTAL, Curve, LossHistory, smoothed
from engine.errors import MorphonyError, reason

REDRAW_MS = 80
SMOOTHINGS = {"as it is": 0.0, "smoothed": 0.6, "much smoothed": 0.9}


class LossPlots(QWidget):
    """One term at a time, training and held out, with a log scale and smoothing to choose."""

    problem = Signal(str)

    def __init__(self, history: LossHistory, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.history = history
        self._drawn = -1
        self.term = QComboBox()
        self.term.setAccessibleName(self.tr("Loss term"))
        self.term.setMinimumWidth(144)
        self.log_scale = QCheckBox(self.tr("Log"))
        self.log_scale.setAccessibleName(self.tr("Log scale"))
        self.smoothing = QComboBox()
        self.smoothing.setAccessibleName(self.tr("Smoothing"))
        for words, weight in SMOOTHINGS.items():
            self.smoothing.addItem(self.tr(words), weight)
        self.whole = QToolButton()
        self.whole.setToolTip(self.tr("The whole run again, after zooming with the wheel or a drag"))
        self.whole.setText(self.tr("Fit"))
        self.whole.clicked.connect(self._show_whole)
        self.export = QToolButton()
        self.export.setText(self.tr("Export"))
        self.export.setToolTip(self.tr("The plot as a picture, or every value as a table"))
        self.export.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(self.export)
        menu.addAction(self.tr("Picture (.png)…")).triggered.connect(lambda: self._ask(".png", self.save_picture))
        menu.addAction(self.tr("Table (.csv)…")).triggered.connect(lambda: self._ask(".csv", self.save_table))
        self.export.setMenu(menu)
        self._keys = QLabel()
        self.plot = pg.PlotWidget()
        self.plot.setMinimumHeight(96)
        item = self.plot.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.showGrid(x=False, y=True, alpha=0.12)
        item.setDownsampling(auto=True, mode="peak")
        item.setClipToView(True)
        # By held out or not: every point there is
        self.curves = {False: self.plot.plot(antialias=True), True: self.plot.plot(antialias=True)}
        self.trend = self.plot.plot(antialias=True)  # the training curve, smoothed
        self._lay_out()
        self.term.currentIndexChanged.connect(self.redraw)
        self.smoothing.currentIndexChanged.connect(self.redraw)
        self.log_scale.toggled.connect(lambda on: item.setLogMode(x=False, y=on))
        self._timer = QTimer(self, interval=REDRAW_MS)
        self._timer.timeout.connect(self._redraw_if_new)
        theme.themes.changed.connect(self._dress)
        self._dress()

    def _lay_out(self) -> None:
        bar = QHBoxLayout()
        bar.setContentsMargins(8, 0, 16, 0)
        bar.setSpacing(8)
        for choice in (self.term, self.smoothing):
            choice.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            choice.setMinimumContentsLength(11)
        for widget in (self.term, self.smoothing, self.log_scale):
            bar.addWidget(widget)
        bar.addStretch(1)
        bar.addWidget(self._keys)
        bar.addWidget(self.whole)
        bar.addWidget(self.export)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(4)
        column.addLayout(bar)
        column.addWidget(self.plot, 1)

    def _show_whole(self) -> None:
        self.plot.getPlotItem().enableAutoRange()

    def save_picture(self, path: Path) -> None:
        """The plot as it stands, at twice its size. Raises MorphonyError when it cannot be written."""
        picture = QPixmap(self.plot.size() * 2)  # the painter fills it: twice as fine
        painter = QPainter(picture)
        self.plot.render(painter)
        painter.end()
        if not picture.save(str(path), "PNG"):
            raise MorphonyError(f"{path.name} was not written.")

    def save_table(self, path: Path) -> None:
        """Every value of the run. Raises MorphonyError when it cannot be written."""
        try:
            path.write_text(self.history.to_csv(), encoding="utf-8")
        except OSError as error:
            raise MorphonyError(f"{path.name} was not written: {reason(error)}.") from error

    def _ask(self, suffix: str, write: Callable[[Path], None]) -> None:
        name, _ = QFileDialog.getSaveFileName(self, self.tr("Export"), f"losses{suffix}", f"*{suffix}")
        if name:
            try:
                write(Path(name if name.lower().endswith(suffix) else name + suffix))
            except MorphonyError as error:
                self.problem.emit(str(error))

    def set_history(self, history: LossHistory) -> None:
        """Draw another run."""
        self.history, self._drawn = history, -1
        self.redraw()

    def plotted(self, term: str = TOTAL, held_out: bool = False) -> Curve:
        """The points the plot holds for a term, as it holds them."""
        chosen = self.term.findData(term)
        if chosen < 0:
            self.redraw()
            chosen = self.term.findData(term)
        self.term.setCurrentIndex(chosen)
        self.redraw()
        x, y = self.curves[held_out].getOriginalDataset()
        return (np.zeros(0), np.zeros(0)) if x is None else (np.asarray(x), np.asarray(y))

    def _redraw_if_new(self) -> None:
        if self._drawn != len(self.history.steps):
            self.redraw()

    def redraw(self) -> None:
        """Bring the curves up to date."""
        self._drawn = len(self.history.steps)
        self._offer_terms()
        term = self.term.currentData() or TOTAL
        for held_out, curve in self.curves.items():
            curve.setData(*self.history.curve(term, held_out))
        weight = float(self.smoothing.currentData() or 0.0)
        x, y = self.history.curve(term)
        self.trend.setData(x, smoothed(y, weight)) if weight else self.trend.setData([], [])
        self._pen_train(faint=bool(weight))

    def _offer_terms(self) -> None:
        known = [self.term.itemData(i) for i in range(self.term.count())]
        if known == self.history.terms:
            return
        chosen = self.term.currentData() or TOTAL
        self.term.blockSignals(True)
        self.term.clear()
        for term in self.history.terms:
            self.term.addItem(self.tr("Total loss") if term == TOTAL else term.replace("_", " "), term)
        self.term.setCurrentIndex(max(self.term.findData(chosen), 0))
        self.term.blockSignals(False)

    def _pen_train(self, faint: bool) -> None:
        colour = pg.mkColor(theme.current().accent)
        colour.setAlpha(80 if faint else 255)
        self.curves[False].setPen(pg.mkPen(colour, width=1.5))

    def _dress(self) -> None:
        tokens = theme.current()
        self.plot.setBackground(tokens.panel)
        for side in ("left", "bottom"):
            axis = self.plot.getAxis(side)
            axis.setPen(tokens.hairline)
            axis.setTextPen(tokens.text_dim)
            axis.setTickFont(theme.figures(tokens.font_small))
        self.trend.setPen(pg.mkPen(tokens.accent, width=2))
        held_out = self.curves[True]
        held_out.setPen(pg.mkPen(tokens.proposal, width=1.5, style=Qt.PenStyle.DashLine))
        held_out.setSymbol("o")
        held_out.setSymbolSize(6)
        held_out.setSymbolBrush(tokens.proposal)
        held_out.setSymbolPen(None)
        self._pen_train(faint=bool(self.smoothing.currentData()))
        self._keys.setText(
            f'<span style="color:{tokens.accent}">&#9472;</span> {self.tr("training")}&nbsp;&nbsp;&nbsp;'
            f'<span style="color:{tokens.proposal}">&#9679;</span> {self.tr("held out")}'
        )

    def showEvent(self, event: object) -> None:
        self._timer.start()

    def hideEvent(self, event: object) -> None:
        self._timer.stop()
