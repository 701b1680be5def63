"""Positions as musicians count them, and the strip of messages."""

from __future__ import annotations

import pytest
from pytestqt.qtbot import QtBot

from app.panels.strips import MessageStrip
from app.panels.transport import bar_beat_tick
from engine.score.score import Meter, Score, Track, make_notes
from engine.score.timing import BarGrid

SCORE = Score(
    480,
    (Track(),),
    make_notes([(0, 480 * 20, 60, 80, 0)]),
    (Meter(0, 4, 4), Meter(1920, 3, 4), Meter(1920 + 1440, 6, 8)),
)


@pytest.mark.parametrize(
    ("tick", "place"),
    [
        (0, (1, 1, 0)),
        (481, (1, 2, 1)),
        (1919, (1, 4, 479)),
        (1920, (2, 1, 0)),
        (3360, (3, 1, 0)),
        (3600, (3, 2, 0)),
        (3360 + 1440 * 4 + 250, (7, 2, 10)),
        (-5, (1, 1, 0)),
    ],
)
def test_bar_beat_tick(tick: int, place: tuple[int, int, int]) -> None:
    assert bar_beat_tick(BarGrid.of(SCORE), tick) == place


def test_bars_go_on_after_the_end() -> None:
    grid = BarGrid.of(SCORE)
    assert bar_beat_tick(grid, float(grid.starts[-1]) + 1440 * 2) == (len(grid) + 3, 1, 0)


@pytest.fixture
def strip(qtbot: QtBot) -> MessageStrip:
    strip = MessageStrip()
    qtbot.addWidget(strip)
    return strip


def test_problems_wait_behind_each_other_and_come_once(strip: MessageStrip) -> None:
    strip.problem("No sound.")
    strip.problem("No MIDI.")
    strip.problem("No sound.")
    assert strip.text.text() == "No sound."
    strip._close.click()
    assert strip.text.text() == "No MIDI."
    strip._close.click()
    assert strip.isHidden()


def test_a_notice_passes_over_a_problem(strip: MessageStrip) -> None:
    strip.problem("No sound.")
    strip.notice("Saved.")
    assert strip.text.text() == "Saved."
    strip._timer.timeout.emit()
    assert strip.text.text() == "No sound."
    assert not strip.isHidden()


def test_a_button_does_what_it_says(strip: MessageStrip) -> None:
    done: list[int] = []
    strip.problem("The model did not load.", "Try again", lambda: done.append(1))
    strip._act.click()
    assert done == [1]
    assert strip.isHidden()
