"""A walk over every widget of the studio (figure h): a name, the focus, Tab leads to it; text stands out.

The window is shown with everything in it, light and dark. Contrast is counted as WCAG does, from the tokens
of the theme and from the pixels that are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QRect, Qt
from PySide6.QtGui import QColor, QImage
from PySide6.QtTest import QTest
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QApplication,
    QComboBox,
    QHeaderView,
    QLabel,
    QLineEdit,
    QMenuBar,
    QScrollBar,
    QWidget,
)
from pytestqt.qtbot import QtBot

from app import theme
from app.panels.slider import SliderView
from app.panels.transport import Readout
from app.roll.canvas import Canvas
from app.roll.keyboard import Keyboard
from app.roll.overview import Overview
from app.roll.ruler import Ruler
from app.roll.velocity import VelocityLane
from app.settings import Settings
from app.studio import Studio
from engine.score import midi
from tests.app import fakes
from tests.app.roll.table import Ear, a_song

CONTROLS = (
    QAbstractButton, QComboBox, QAbstractSpinBox, QLineEdit, QAbstractSlider, QAbstractItemView,
    SliderView, Canvas, Keyboard, Ruler, VelocityLane, Overview,
)  # fmt: skip
PARTS = (QScrollBar, QHeaderView, QMenuBar)  # of a control that has keys of its own
ENOUGH = 4.5
LEAST_PIXELS = 3  # that show the ink: a letter's stroke may never reach its full colour

Maker = Callable[[], Studio]


@pytest.fixture
def studio(tmp_path: Path, qtbot: QtBot) -> Iterator[Studio]:
    """The whole of it, every panel open."""
    song = tmp_path / "song.mid"
    midi.write(a_song(), song)
    studio = Studio(
        song, Settings(tmp_path / "s.ini"), opener=fakes.open_engine, synth=Ear, midi=lambda _: Ear(),
        recovery=tmp_path / "recovery",
    )  # fmt: skip
    studio.window.resize(1600, 1000)
    studio.show()
    qtbot.waitUntil(lambda: studio.morphing.piece is not None and studio.files.name == "song")
    for name, action in studio.window.actions_by_name.items():
        if action.isCheckable() and studio.window.findChild(QWidget, f"dock_{name}") and not action.isChecked():
            action.trigger()
    QApplication.processEvents()
    yield studio
    studio.close()
    studio.window.may_close = lambda: True
    studio.window.close()
    studio.window.deleteLater()
    theme.themes.use(theme.DARK)


def controls(window: QWidget) -> list[QWidget]:
    """Everything a hand can do something with."""
    found = []
    for widget in window.findChildren(QWidget):
        inside = widget.parentWidget()
        composed = isinstance(inside, (QComboBox, QAbstractSpinBox, *PARTS))
        is_control = isinstance(widget, CONTROLS) or (isinstance(widget, Readout) and widget.is_control)
        if is_control and not isinstance(widget, PARTS) and not composed and widget.isVisibleTo(window):
            found.append(widget)
    return found


def called(widget: QWidget) -> str:
    """What a screen reader says."""
    return widget.accessibleName() or (widget.text() if isinstance(widget, QAbstractButton) else "")


def described(widget: QWidget) -> str:
    return f"{type(widget).__name__} {widget.objectName() or called(widget)!r} in {type(widget.parent()).__name__}"


def test_every_control_has_a_name_and_says_why_it_is_off(studio: Studio) -> None:
    found = controls(studio.window)
    assert len(found) > 50
    assert [described(w) for w in found if not called(w).strip()] == []
    assert [described(w) for w in found if not w.isEnabled() and not w.toolTip()] == []


def test_tab_leads_to_every_control(studio: Studio, qtbot: QtBot) -> None:
    window = studio.window
    front = studio.training_dock, studio.tracks_dock, studio.desk.takes_dock, studio.events_dock, studio.live_dock
    for dock in front:  # one behind the other: each in front once
        dock.raise_()
        QApplication.processEvents()
        window.activateWindow()
        studio.roll.canvas.setFocus()
        reached: list[QWidget | None] = []
        for _ in range(400):
            focus = QApplication.focusWidget()
            if focus in reached[:1] and len(reached) > 1:
                break
            reached.append(focus)
            QTest.keyClick(focus or window, Qt.Key.Key_Tab)
        wanted = [
            w
            for w in controls(window)
            if isinstance(w, SliderView) or (w.isEnabled() and not w.visibleRegion().isEmpty())
        ]
        missed = [w for w in wanted if w not in reached and w.focusProxy() not in reached]
        assert [described(w) for w in missed] == []


@pytest.mark.parametrize("tokens", [theme.DARK, theme.LIGHT], ids=lambda t: t.name)
def test_every_pair_of_tokens_that_meets_stands_out(tokens: theme.Theme) -> None:
    pairs = [(ink, ground) for ink in ("text", "text_dim") for ground in ("ground", "panel", "field", "hover")]
    pairs += [
        ("on_accent", "accent"),
        ("accent", "panel"),
        ("proposal", "panel"),
        ("danger", "panel"),
        ("danger", "field"),
    ]
    values = {(a, b): contrast(QColor(getattr(tokens, a)), QColor(getattr(tokens, b))) for a, b in pairs}
    assert {pair: round(value, 2) for pair, value in values.items() if value < ENOUGH} == {}


@pytest.mark.parametrize("tokens", [theme.DARK, theme.LIGHT], ids=lambda t: t.name)
def test_the_pixels_of_every_text_stand_out(studio: Studio, tokens: theme.Theme) -> None:
    theme.themes.use(tokens)
    QApplication.processEvents()
    shown = studio.window.grab().toImage()
    poor = {}
    for widget in studio.window.findChildren(QWidget):
        text = widget.text() if isinstance(widget, QLabel | QAbstractButton | QLineEdit) else ""
        if isinstance(widget, QComboBox):
            text = widget.currentText()
        if not text.strip() or not widget.isEnabled() or widget.visibleRegion().isEmpty():
            continue
        seen = widget.visibleRegion().boundingRect()
        here = QRect(widget.mapTo(studio.window, seen.topLeft()), seen.size())
        value = ink_contrast(shown.copy(here))
        if value < ENOUGH:
            poor[f"{text!r} in {type(widget.parent()).__name__}"] = round(value, 2)
    assert poor == {}


def luminance(colour: QColor) -> float:
    """Relative luminance as WCAG 2 defines it."""
    unit = np.array([colour.redF(), colour.greenF(), colour.blueF()])
    linear = np.where(unit <= 0.04045, unit / 12.92, ((unit + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(a: QColor, b: QColor) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def ink_contrast(image: QImage) -> float:
    """Contrast of the ground, the colour there is most of, with the ink: what stands out most on a few pixels."""
    image = image.convertToFormat(QImage.Format.Format_RGB32)
    pixels = np.frombuffer(image.constBits(), np.uint32).reshape(image.height(), -1)[:, : image.width()]
    colours, counts = np.unique(pixels, return_counts=True)
    ground = QColor(int(colours[counts.argmax()]) & 0xFFFFFF)
    values = np.array([contrast(QColor(int(c) & 0xFFFFFF), ground) for c in colours])
    order = np.argsort(-values)
    place = int(np.searchsorted(np.cumsum(counts[order]), LEAST_PIXELS))
    return float(values[order[min(place, len(order) - 1)]])
