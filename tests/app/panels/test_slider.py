"""One slider: hands, keys, snap, lock, what a screen reader hears."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QAccessible, QWheelEvent
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from app.panels.slider import SliderView
from app.panels.sliders import ATTRIBUTE_INFOS, MorphState, SliderInfo, SliderModel

LEFT, NONE = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier


@pytest.fixture
def view(qtbot: QtBot) -> SliderView:
    quantiles = np.linspace(0, 10, 101)
    model = SliderModel(
        SliderInfo("density", "Density", "How many.", unit="notes", sd=2.0, quantiles=quantiles, rho=0.9)
    )
    model.show(0.0, 4.0)
    view = SliderView(model)
    view.resize(296, view.height())
    qtbot.addWidget(view)
    view.show()
    return view


def test_the_handle_sits_where_the_value_says(view: SliderView) -> None:
    for value in (-2.0, -0.5, 0.0, 1.0, 2.0):
        assert view.value_at(view.x_of(value)) == pytest.approx(value)
        assert view.rect().contains(view.point_of(value))


def test_a_drag_reports_grab_moves_and_release(view: SliderView) -> None:
    heard: list[str] = []
    view.model.grabbed.connect(lambda: heard.append("grab"))
    view.model.moved.connect(lambda: heard.append("move"))
    view.model.released.connect(lambda: heard.append("release"))
    QTest.mousePress(view, LEFT, NONE, view.point_of(0.0))
    QTest.mouseMove(view, view.point_of(1.0))
    QTest.mouseMove(view, view.point_of(1.5))
    QTest.mouseRelease(view, LEFT, NONE, view.point_of(1.5))
    assert heard == ["grab", "move", "move", "release"]
    assert view.model.value == pytest.approx(1.5, abs=0.02)


def test_it_never_leaves_its_range_and_snaps_softly_at_zero(view: SliderView) -> None:
    view.model.move(9.0)
    assert view.model.value == 2.0
    view.model.move(0.05)
    assert view.model.value == 0.0
    view.model.move(-9.0)
    assert view.model.value == -2.0


def test_a_click_on_the_track_goes_there(view: SliderView) -> None:
    QTest.mouseClick(view, LEFT, NONE, view.point_of(-1.0))
    assert view.model.value == pytest.approx(-1.0, abs=0.02)


def test_the_wheel_moves_it_once_it_was_chosen(view: SliderView) -> None:
    def turn() -> bool:
        at = QPointF(view.point_of(0.0))
        event = QWheelEvent(
            at, view.mapToGlobal(at), QPoint(), QPoint(0, 120), Qt.MouseButton.NoButton, NONE,
            Qt.ScrollPhase.NoScrollPhase, False,
        )  # fmt: skip
        view.wheelEvent(event)
        return event.isAccepted()

    view.clearFocus()
    assert not turn()
    assert view.model.value == 0.0
    view.setFocus()
    view.activateWindow()
    if view.hasFocus():
        assert turn()
        assert view.model.value == pytest.approx(0.1)


def test_a_locked_or_sleeping_slider_moves_for_nobody(view: SliderView) -> None:
    QTest.mouseClick(view, LEFT, NONE, view.lock_rect().center())
    QTest.mouseClick(view, LEFT, NONE, view.point_of(1.0))
    assert (view.model.locked, view.model.value) == (True, 0.0)
    view.model.set_locked(False)
    view.model.disable("The model is loading.")
    QTest.mouseClick(view, LEFT, NONE, view.point_of(1.0))
    assert view.model.value == 0.0
    assert "The model is loading." in view.toolTip()


def test_the_tip_says_what_where_and_how_well(view: SliderView) -> None:
    assert view.toolTip().splitlines()[:3] == [
        "How many.",
        "Here: 4 notes; one σ is 2.",
        "Measured on decoded notes: correlation 0.90.",
    ]


def test_a_screen_reader_hears_name_and_value_and_can_move_it(view: SliderView) -> None:
    view.model.move(0.5)
    heard = QAccessible.queryAccessibleInterface(view)
    assert heard.role() == QAccessible.Role.Slider
    assert heard.text(QAccessible.Text.Name) == "Density"
    view.setValue(120)
    assert view.model.value == pytest.approx(1.2)


def test_the_curve_is_the_corpus_about_the_piece(view: SliderView) -> None:
    curve = view._corpus_curve()
    assert curve.boundingRect().width() == view.width() - 32
    peak = view.value_at(min(curve.toList(), key=QPointF.y).x())
    assert -1.5 < peak < 2.0  # the corpus' middle is half a sigma above this piece
    view.model.show(0.0, None)
    assert len(view._corpus_curve()) == 0


def test_the_twelve_are_there_before_any_model() -> None:
    state = MorphState()
    assert list(state.sliders)[:3] == ["density", "rhythm", "syncopation"]
    assert len(state.sliders) == 12


def test_a_model_may_bring_colours_and_take_them_away() -> None:
    state = MorphState()
    density = state["density"]
    state.set_infos([*ATTRIBUTE_INFOS, SliderInfo("colour_1", "Colour 1", "A direction.", "colour")])
    assert list(state.sliders)[-1] == "colour_1"
    state.set_infos(ATTRIBUTE_INFOS)
    assert list(state.sliders) == [info.name for info in ATTRIBUTE_INFOS]
    assert state["density"] is density
