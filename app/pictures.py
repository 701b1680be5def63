"""A picture of several panels, written to a .png without a window, for reports. Knows nothing of what they mean.

A picture is a grid of panels with curves, bands, points or notes in them. Colours are told apart by colour-blind
readers (Okabe and Ito 2008); text is dark on white, so a picture reads on any page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyqtgraph as pg
from pyqtgraph.exporters import ImageExporter
from PySide6.QtCore import Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QApplication

from app.plots import COLOURS, INK, LEGEND, WIDTH, Curve  # which sees to it that no screen is needed

FINER = 2  # pixels a pixel of the page
LINE = 3.5  # of the fine pixels
PALE = "#8a8a8a"
SYMBOLS = ("o", "t", "s", "d", "+", "x", "star", "p")

Band = tuple[Sequence[float], Sequence[float], Sequence[float]]  # x, low, high
Notes = Sequence[tuple[float, float, float, float, int]]  # start, end, pitch, loudness 0 to 1, which colour


@dataclass(frozen=True)
class Panel:
    """One plot of a picture; what is empty is not drawn."""

    title: str = ""
    lines: Mapping[str, Curve] = field(default_factory=dict)
    band: Band | None = None  # behind the lines, in the first line's colour
    guide: Curve | None = None  # a dashed line to compare with
    filled: Curve | None = None  # an area from 0 up, behind the lines
    points: Mapping[str, Curve] = field(default_factory=dict)
    notes: Notes = ()
    grid: Sequence[float] = ()  # vertical lines where bars begin
    across: str = ""
    up: str = ""
    x: tuple[float, float] | None = None  # limits of the axes
    y: tuple[float, float] | None = None
    bare: bool = False  # no axes
    colour: int = 0  # of the first line


def picture(
    path: Path, title: str, panels: Sequence[Panel], columns: int, height: int, log: bool = False, legend: bool = False
) -> None:
    """Draw panels in rows of `columns`; a legend beside them names the lines and points of the first panel."""
    application = QApplication.instance() or QApplication([])
    view = pg.GraphicsLayoutWidget(size=(WIDTH, height))
    view.setBackground("w")
    view.ci.layout.setContentsMargins(10, 10, LEGEND if legend else 14, 10)
    view.ci.layout.setSpacing(8)
    view.addLabel(title, row=0, col=0, colspan=columns, color=INK, size="11pt", bold=True)
    named = pg.LegendItem(labelTextColor=INK, labelTextSize="12pt") if legend else None
    for i, panel in enumerate(panels):
        plot = view.addPlot(row=1 + i // columns, col=i % columns)
        plot.setLogMode(x=log, y=log)
        _axes(plot, panel)
        _draw(plot, panel, named if i == 0 else None)
    if named is not None:  # beside the panels, never on them
        named.setParentItem(view.ci)
        named.anchor((0, 0), (1, 0), (10 - LEGEND, 40))
    view.resize(WIDTH, height)
    view.show()
    application.processEvents()
    exporter = ImageExporter(view.scene())
    exporter.parameters()["width"] = WIDTH * FINER
    image = exporter.export(toBytes=True)
    if not image.save(str(path)):
        raise OSError(f"{path} could not be written.")
    view.close()


def _axes(plot: pg.PlotItem, panel: Panel) -> None:
    if panel.title:
        plot.setTitle(panel.title, color=INK, size="10pt")
    plot.hideButtons()
    for side, text in (("bottom", panel.across), ("left", panel.up)):
        axis = plot.getAxis(side)
        axis.setPen(PALE)
        axis.enableAutoSIPrefix(False)
        axis.setTextPen(INK)
        axis.setTickFont(QFont("sans-serif", 8))
        if text:
            plot.setLabel(side, text, color=INK)
        if panel.bare:
            plot.hideAxis(side)
    plot.showGrid(x=not panel.bare, y=not panel.bare, alpha=0.15)
    if panel.x:
        plot.setXRange(*panel.x, padding=0)
    if panel.y:
        plot.setYRange(*panel.y, padding=0)


def _draw(plot: pg.PlotItem, panel: Panel, legend: pg.LegendItem | None) -> None:
    """From back to front."""
    for x in panel.grid:
        plot.addItem(pg.InfiniteLine(x, 90, pg.mkPen("#dddddd")))
    if panel.filled is not None:
        area = plot.plot(*map(list, panel.filled), pen=pg.mkPen("#b5b5b5"), fillLevel=0, brush=pg.mkBrush("#d6d6d6"))
        if legend is not None:
            legend.addItem(area, "music")
    if panel.band is not None:
        at, *ends = (np.array(part, float) for part in panel.band)
        edges = [pg.PlotCurveItem(at, end, pen=pg.mkPen(255, 255, 255, 0)) for end in ends]
        shade = pg.mkColor(COLOURS[0])
        shade.setAlpha(60)
        for item in (*edges, pg.FillBetweenItem(*edges, brush=shade)):
            plot.addItem(item)
    if panel.guide is not None:
        plot.plot(*map(list, panel.guide), pen=pg.mkPen(PALE, width=2, style=Qt.PenStyle.DashLine), antialias=True)
    for i, (name, (xs, ys)) in enumerate(panel.lines.items()):
        colour = COLOURS[(panel.colour + i) % len(COLOURS)]
        line = plot.plot(list(xs), list(ys), pen=pg.mkPen(colour, width=LINE), antialias=True)
        if legend is not None:
            legend.addItem(line, name)
    for i, (name, (xs, ys)) in enumerate(panel.points.items()):
        look = {"symbol": SYMBOLS[i % len(SYMBOLS)], "symbolBrush": COLOURS[i % len(COLOURS)], "symbolSize": 8}
        dots = plot.plot(list(xs), list(ys), pen=None, symbolPen=pg.mkPen("w", width=0.5), antialias=True, **look)
        if legend is not None:
            legend.addItem(dots, name)
    if panel.notes:
        start, end, pitch, loud, part = (np.array(column) for column in zip(*panel.notes, strict=True))
        plot.addItem(
            pg.BarGraphItem(
                x0=start, x1=end, y0=pitch - 0.7, height=1.4, pens=[pg.mkPen(None)] * len(start),
                brushes=[_faded(COLOURS[int(c) % len(COLOURS)], v) for c, v in zip(part, loud, strict=True)],
            )
        )  # fmt: skip


def _faded(colour: str, loudness: float) -> pg.QtGui.QColor:
    out = pg.mkColor(colour)
    out.setAlpha(int(70 + 185 * min(max(loudness, 0.0), 1.0)))
    return out
