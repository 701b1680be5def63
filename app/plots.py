"""A picture of curves, written to a .png without a window, for reports. Knows nothing of what they mean."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before Qt is imported: no screen is needed

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QApplication

WIDTH, HEIGHT = 900, 420
PLANE = 520  # pixels more where a plane is drawn beside curves
LEGEND = 150  # pixels at the right
INK = "#222222"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#7f7f7f", "#000000")  # Okabe and Ito

Curve = tuple[Sequence[float], Sequence[float]]
Grid = NDArray[np.float64]


def curves(path: Path, title: str, across: str, up: str, lines: Mapping[str, Curve], log: bool = False) -> None:
    """Draw named curves of (x, y) points; `across` and `up` name the axes with their units."""
    picture = _canvas(WIDTH)
    picture.ci.layout.setContentsMargins(10, 10, LEGEND, 10)  # the legend stands beside the curves, never on them
    plot = _plot(picture, title, across, up)
    plot.setLogMode(x=log, y=log)
    legend = pg.LegendItem(labelTextColor=INK)
    legend.setParentItem(picture.ci)
    legend.anchor((0, 0), (1, 0), (10 - LEGEND, 40))
    for (name, (x, y)), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
        legend.addItem(plot.plot(list(x), list(y), pen=pg.mkPen(colour, width=2), antialias=True), name)
    _write(picture, WIDTH, path)


def slices(path: Path, title: str, lines: Mapping[str, Curve], side: Sequence[float], plane: Grid) -> None:
    """Draw named curves through a point and beside them the values on a plane of `side` by `side`, if there are any."""
    wide = WIDTH + PLANE if plane.size else WIDTH
    picture = _canvas(wide)
    plot = _plot(picture, title, "distance, in lengths of the weights", "")
    plot.setLogMode(y=all(min(y) > 0 for _, y in lines.values()))
    plot.addLegend(labelTextColor=INK)
    for (name, (x, y)), colour in zip(lines.items(), COLOURS * len(lines), strict=False):
        plot.plot(list(x), list(y), pen=pg.mkPen(colour, width=2), antialias=True, name=name)
    if plane.size:
        shown = np.log10(plane) if (plane > 0).all() else plane
        level = "as a power of ten" if (plane > 0).all() else ""
        surface = _plot(picture, f"The plane of directions 1 and 2, {level}".rstrip(", "), "direction 2", "direction 1")
        image = pg.ImageItem(shown.T)
        step = (side[-1] - side[0]) / max(len(side) - 1, 1)
        edge = side[0] - step / 2
        image.setRect(edge, edge, step * len(side), step * len(side))
        surface.addItem(image)
        bar = pg.ColorBarItem(
            values=(float(shown.min()), float(shown.max())), colorMap=pg.colormap.get("viridis"), interactive=False
        )
        bar.setImageItem(image, insert_in=surface)
        bar.axis.setTextPen(INK)
    _write(picture, wide, path)


def _canvas(wide: int) -> pg.GraphicsLayoutWidget:
    application = QApplication.instance() or QApplication([])
    picture = pg.GraphicsLayoutWidget(size=(wide, HEIGHT))
    picture.setBackground("w")
    picture.application = application  # Qt ends with the last reference to it
    return picture


def _plot(picture: pg.GraphicsLayoutWidget, title: str, across: str, up: str) -> pg.PlotItem:
    plot = picture.addPlot()
    plot.setTitle(title, color=INK)
    plot.showGrid(x=True, y=True, alpha=0.2)
    for side, text in (("bottom", across), ("left", up)):
        plot.setLabel(side, text, color=INK)
        plot.getAxis(side).setTextPen(INK)
        plot.getAxis(side).setTickFont(QFont("sans-serif", 9))
    return plot


def _write(picture: pg.GraphicsLayoutWidget, wide: int, path: Path) -> None:
    picture.resize(wide, HEIGHT)
    picture.show()
    QApplication.processEvents()
    if not picture.grab().save(str(path)):
        raise OSError(f"{path} could not be written.")
    picture.close()
