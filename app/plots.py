"""Pictures for reports, written to a .png without a window. Knows nothing of what they mean.

A picture is a grid of panels with curves, bands, points or notes in them. Colours are told apart by colour-blind
readers (Okabe and Ito 2008); text is dark on white, so a picture reads on any page.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")  # before Qt is imported: no screen is needed

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from pyqtgraph.exporters import ImageExporter
from PySide6.QtCore import Qt
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QApplication

WIDTH, HEIGHT = 900, 420  # of the page; pixels are twice as fine
FINER = 2
LINE = 3.5  # of the fine pixels
LEGEND = 150  # pixels at the right
INK, PALE = "#222222", "#8a8a8a"
BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE = "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00"
COLOURS = (BLUE, VERMILION, GREEN, PURPLE, SKY, ORANGE, "#7f7f7f", "#000000")  # Okabe and Ito
SYMBOLS = ("o", "t", "s", "d", "+", "x", "star", "p")

Curve = tuple[Sequence[float], Sequence[float]]
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
    surface: tuple[Sequence[float], NDArray[np.float64]] | None = None  # values on a plane of side by side
    bare: bool = False  # no axes
    colour: int = 0  # of the first line


def curves(path: Path, title: str, across: str, up: str, lines: Mapping[str, Curve], log: bool = False) -> None:
    """Draw named curves of (x, y) points; `across` and `up` name the axes with their units."""
    picture(path, title, [Panel(lines=lines, across=across, up=up)], 1, HEIGHT, log=log, legend=True)


def slices(
    path: Path, title: str, lines: Mapping[str, Curve], side: Sequence[float], plane: NDArray[np.float64]
) -> None:
    """Draw named curves through a point and beside them the values on a plane of `side` by `side`, if there are any."""
    log = all(min(y) > 0 for _, y in lines.values())
    shown = {name: (x, np.log10(y).tolist() if log else y) for name, (x, y) in lines.items()}
    scale = "as a power of ten" if log else ""
    panels = [Panel(title=scale, lines=shown, across="distance, in lengths of the weights")]
    if plane.size:
        surface = side, np.log10(plane) if log else plane
        panels.append(Panel("directions 1 and 2", surface=surface, across="direction 2", up="direction 1"))
    picture(path, title, panels, len(panels), HEIGHT, legend=True)


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
    if panel.surface is not None:
        _surface(plot, *panel.surface)
    if panel.notes:
        start, end, pitch, loud, part = (np.array(column) for column in zip(*panel.notes, strict=True))
        plot.addItem(
            pg.BarGraphItem(
                x0=start, x1=end, y0=pitch - 0.45, height=0.9, pens=[pg.mkPen(None)] * len(start),
                brushes=[_faded(COLOURS[int(c) % len(COLOURS)], v) for c, v in zip(part, loud, strict=True)],
            )
        )  # fmt: skip


def _surface(plot: pg.PlotItem, side: Sequence[float], plane: NDArray[np.float64]) -> None:
    image, step = pg.ImageItem(plane.T), (side[-1] - side[0]) / max(len(side) - 1, 1)
    edge = side[0] - step / 2
    image.setRect(edge, edge, step * len(side), step * len(side))
    plot.addItem(image)
    limits = float(plane.min()), float(plane.max())
    bar = pg.ColorBarItem(values=limits, colorMap=pg.colormap.get("viridis"), interactive=False)
    bar.setImageItem(image, insert_in=plot)
    bar.axis.setTextPen(INK)


def _faded(colour: str, loudness: float) -> pg.QtGui.QColor:
    out = pg.mkColor(colour)
    out.setAlpha(int(70 + 185 * min(max(loudness, 0.0), 1.0)))
    return out
