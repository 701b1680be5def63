"""Recording, knobs and the conversation by bars: pure, by numbers alone."""

from __future__ import annotations

import pytest

from app.live.answering import Answering, answer_of
from app.live.knobs import Knobs, amount_of, value_of
from app.live.recording import Recording, onto
from engine.score.score import Meter, Score, Track, make_notes

SONG = Score(480, (Track("Piano", 4, 2),), make_notes([(0, 1920, 60, 80, 0)]))


def test_keys_become_notes_and_a_key_still_down_ends_with_the_playing() -> None:
    recording = Recording(track=0)
    recording.hear(10.4, b"\x92\x40\x50")
    recording.hear(100.0, b"\x92\x43\x60")
    recording.hear(250.6, b"\x82\x40\x00")
    recording.hear(300.0, b"\xb2\x07\x50")
    recording.hear(400.0, b"\x92\x43\x00")  # an end by velocity 0
    recording.hear(500.0, b"\x92\x30\x01")
    rows = recording.finish(960.0)
    assert rows == [(10, 240, 64, 80, 0), (100, 300, 67, 96, 0), (500, 460, 48, 1, 0)]
    assert onto(SONG, rows).notes["pitch"].tolist() == [60, 64, 67, 48]
    assert onto(SONG, []) is SONG
    assert onto(Score(480, (), make_notes()), rows).tracks == (Track("Recorded"),)


def test_a_loop_that_turns_around_a_held_key_leaves_a_note() -> None:
    recording = Recording()
    recording.hear(1900.0, b"\x90\x40\x50")
    recording.hear(20.0, b"\x80\x40\x00")
    assert recording.finish(100.0) == [(1900, 1, 64, 80, 0)]


@pytest.mark.parametrize("amount", range(128))
def test_a_slider_sends_what_would_bring_it_there(amount: int) -> None:
    assert amount_of(value_of(amount)) == amount


def test_knobs_are_learned_kept_and_a_damaged_setting_is_none() -> None:
    knobs = Knobs(["density", "rhythm"])
    assert (value_of(0), value_of(64), value_of(127)) == (-2.0, 0.0, 2.0)
    assert knobs.message("rhythm", 0.0) == b"\xbf\x15\x40"
    assert knobs.slider((15, 21)) == "rhythm"  # what it sends moves it too, when a DAW plays it back
    assert knobs.slider((0, 74)) is None
    knobs.learn((0, 74), "density")
    knobs.learn((1, 7), "density")  # another knob takes it over
    again = Knobs(["density", "rhythm"], knobs.text())
    assert (again.slider((1, 7)), again.slider((0, 74))) == ("density", None)
    for damaged in ("{", "[1]", '[["a",1,"x"]]', "[[1,2]]"):
        assert Knobs(["density"], damaged).learned == {}


def test_two_bars_played_are_asked_once_just_before_the_next_bar_line() -> None:
    answering = Answering(SONG, 0)
    for tick, message in ((0, b"\x90\x40\x50"), (400, b"\x80\x40\x00"), (3700, b"\x90\x43\x50")):
        answering.hear(float(tick), message)
    assert answering.question(3000.0, 200.0) is None  # too early
    asked = answering.question(3700.0, 200.0)
    assert asked is not None
    assert (asked.tick, asked.length) == (3840, 1920)
    assert asked.score.notes.tolist() == [(0, 400, 64, 80, 0), (3700, 140, 67, 80, 0)]  # the key still down ends here
    assert asked.score.tracks == (Track("Piano", 4, 0),)
    assert asked.score.meters == (Meter(0, 4, 4),)
    assert answering.question(3800.0, 200.0) is None  # once
    answering.hear(4000.0, b"\x80\x43\x00")
    answering.hear(4100.0, b"\x90\x30\x50")
    assert answering.question(5700.0, 200.0) is None  # the answer is still sounding
    again = answering.question(7600.0, 200.0)
    assert again is not None
    assert again.tick == 7680
    assert answering.question(11_500.0, 200.0) is None  # nobody played since


def test_an_answer_is_the_bar_after_those_heard() -> None:
    made = Score(
        480,
        (Track(),),
        make_notes([(0, 480, 60, 80, 0), (3840, 100, 62, 80, 0), (5700, 900, 64, 0, 0), (5760, 9, 65, 1, 0)]),
    )
    assert answer_of(made, 1920) == [(0, 100, 62, 80), (1860, 60, 64, 1)]
