"""A picture of curves, written to a .png without a window, for reports. Knows nothing of what they mean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before Qt is imported: no screen is needed

import pyqtgraph as pg
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QApplication

WIDTH, HEIGHT = 900, 420
LEGEND = 150  # pixels at the right
INK = "#222222"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#000000")  # Okabe and Ito

Curve = tuple[Sequence[float], Sequence[float]]


def curves(path: Path, title: str, across: str, up: str, lines: Mapping[str, Curve], log: bool = False) -> None:
    """Draw named curves of (x, y) points; `across` and `up` name the axes with their units."""
    application = QApplication.instance() or QApplication([])
    picture = pg.GraphicsLayoutWidget(size=(WIDTH, HEIGHT))
    picture.setBackground("w")
    plot = picture.addPlot()
    plot.setTitle(title, color=INK)
    legend = pg.LegendItem(labelTextColor=INK)
    picture.ci.layout.setContentsMargins(10, 10, LEGEND, 10)  # beside the curves, never on them
    legend.setParentItem(picture.ci)
    legend.anchor((0, 0), (1, 0), (10 - LEGEND, 40))
    plot.setLogMode(x=log, y=log)
    plot.showGrid(x=True, y=True, alpha=0.2)
    for side, text in (("bottom", across), ("left", up)):
        plot.setLabel(side, text, color=INK)
        plot.getAxis(side).setTextPen(INK)
        plot.getAxis(side).setTickFont(QFont("sans-serif", 9))
    for (name, (x, y)), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
        legend.addItem(plot.plot(list(x), list(y), pen=pg.mkPen(colour, width=2), antialias=True), name)
    picture.resize(WIDTH, HEIGHT)
    picture.show()
    application.processEvents()
    if not picture.grab().save(str(path)):
        raise OSError(f"{path} could not be written.")
    picture.close()
