"""The message strip: one sentence at a time, problems first and in order, and none that is over."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from app import theme
from app.panels.status import Light, Popover, StatusLight
from app.panels.strips import MessageStrip

LONG = "No sound: the library that makes it is not there; install it with your system's packages, then go on playing."


@pytest.fixture
def strip(qtbot: QtBot) -> MessageStrip:
    strip = MessageStrip()
    qtbot.addWidget(strip)
    strip.resize(900, 40)
    return strip


def dismiss(strip: MessageStrip) -> None:
    QTest.mouseClick(strip._close, Qt.MouseButton.LeftButton)


def test_problems_wait_for_each_other_and_are_said_once(strip: MessageStrip) -> None:
    for words in ("A.", "B.", "A.", "B."):
        strip.problem(words)
    assert strip.text.text() == "A."
    dismiss(strip)
    assert strip.text.text() == "B."
    dismiss(strip)
    assert strip.isHidden()


def test_a_notice_goes_by_itself_and_the_problem_is_back(strip: MessageStrip, qtbot: QtBot) -> None:
    strip._timer.setInterval(10)
    strip.problem("A.")
    strip.notice("Saved.")
    assert strip.text.text() == "Saved."
    qtbot.waitUntil(lambda: strip.text.text() == "A.")
    assert not strip._timer.isActive()


def test_what_is_over_is_taken_back_wherever_it_stands(strip: MessageStrip) -> None:
    for words in ("A.", "B.", "C."):
        strip.problem(words)
    strip.solved("B.")
    strip.solved("A.")
    assert strip.text.text() == "C."
    strip.solved("C.")
    assert strip.isHidden()
    strip.solved("C.")  # said twice
    strip.notice("Saved.")
    strip.solved("A.")
    assert strip.text.text() == "Saved."


def test_its_button_does_what_it_says_and_takes_the_sentence_away(strip: MessageStrip) -> None:
    done: list[str] = []
    strip.problem("A.", "Try again", lambda: done.append("again"))
    QTest.mouseClick(strip._act, Qt.MouseButton.LeftButton)
    assert done == ["again"]
    assert strip.isHidden()


def test_a_long_sentence_is_whole_at_any_width(strip: MessageStrip) -> None:
    strip.problem(LONG)
    for width in (600, 900):
        assert strip.heightForWidth(width) >= strip.text.heightForWidth(width - 100)
    assert strip.heightForWidth(600) > strip.heightForWidth(1400)


@pytest.mark.parametrize("look", [theme.DARK, theme.LIGHT], ids=lambda look: look.name)
def test_a_popover_is_as_high_as_its_sentence(qtbot: QtBot, look: theme.Theme) -> None:
    theme.themes.use(look)
    try:
        light = StatusLight("Sound")
        qtbot.addWidget(light)
        light.popover.add_button("Play a test tone", lambda: None)
        light.show()
        heights = []
        for words in ("Short.", LONG, "Short."):
            light.show_state(Light.BAD, words)
            light.open()
            heights.append(light.popover.height())
            assert _is_whole(light.popover)
            light.popover.hide()
        assert heights[0] == heights[2] < heights[1]
    finally:
        theme.themes.use(theme.DARK)


def _is_whole(popover: Popover) -> bool:
    labels = popover.findChildren(QLabel)
    return all(label.height() >= label.heightForWidth(label.width()) for label in labels if label.isVisible())
