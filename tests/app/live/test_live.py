"""The studio with somebody at the keyboard: what comes in is heard, recorded, learned and answered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from app.settings import Settings
from app.sound.ports import PULSE, START, STOP, Status, Timed, is_note_on, now
from app.studio import Studio
from engine.score import midi
from engine.score.score import Score, Track, make_notes
from tests.app import fakes

pytestmark = pytest.mark.alone  # it plays in time


class Keyboard:
    """A MIDI input that a test plays on."""

    status = Status(True, "MIDI comes from a test.")
    names = ("Grand keyboard",)

    def __init__(self) -> None:
        self.coming: list[Timed] = []
        self.is_closed = False

    def play(self, *messages: bytes) -> None:
        self.coming += [(now(), message) for message in messages]

    def take(self) -> list[Timed]:
        coming, self.coming = self.coming, []
        return coming

    def close(self) -> None:
        self.is_closed = True


class Stage:
    """The studio and everything around it."""

    def __init__(self, folder: Path) -> None:
        song = folder / "song.mid"
        notes = make_notes([(i * 480, 200, 60 + i % 12, 80, i % 2) for i in range(8)])
        midi.write(Score(480, (Track("Piano", 0, 0), Track("Bass", 32, 3)), notes), song)
        self.keys, self.synth, self.boxes = Keyboard(), fakes.Box(), dict[str, Any]()
        self.studio = Studio(
            song,
            Settings(folder / "settings.ini"),
            fakes.open_engine,
            lambda: self.synth,
            self.box,
            lambda name: self.keys,
            folder / "recovery",
        )
        self.studio.show()
        self.live = self.studio.live

    def box(self, name: str) -> fakes.Box:
        self.boxes[name] = fakes.Box()
        return self.boxes[name]  # type: ignore[no-any-return]  # what was put there in the line before


@pytest.fixture
def stage(tmp_path: Path, qtbot: QtBot) -> Iterator[Stage]:
    made = Stage(tmp_path)
    qtbot.waitUntil(
        lambda: made.studio.files.name == "song" and "" in made.boxes and made.studio.morphing.piece is not None
    )
    made.live.listen_to("*")
    yield made
    made.studio.close()
    made.studio.window.may_close = lambda: True
    made.studio.window.close()
    made.studio.window.deleteLater()


def struck(box: fakes.Box) -> list[int]:
    return [message[1] for _, message in box.sent if is_note_on(message)]


def test_what_is_played_in_is_heard_and_recorded_as_one_step(stage: Stage, qtbot: QtBot) -> None:
    before = stage.studio.document.score
    stage.keys.play(b"\x95\x48\x50", b"\x85\x48\x00")
    qtbot.waitUntil(lambda: 72 in struck(stage.synth) and 72 in struck(stage.boxes[""]))
    assert stage.studio.document.score is before  # heard only
    stage.studio.window["record"].trigger()
    qtbot.waitUntil(lambda: stage.studio.player.position_tick() > 50)
    stage.keys.play(b"\x90\x54\x60")
    QTest.qWait(150)
    stage.keys.play(b"\x80\x54\x00", b"\x90\x55\x61")
    QTest.qWait(60)
    stage.studio.window["stop"].trigger()
    after = stage.studio.document.score
    added = after.notes[np.isin(after.notes["pitch"], [84, 85])]
    assert added["velocity"].tolist() == [0x60, 0x61]
    assert 100 < added["duration"][0] < 400  # 150 ms and what a busy machine adds
    assert (added["tick"] > 40).all()
    assert len(after.notes) == len(before.notes) + 2
    assert not stage.studio.window["record"].isChecked()
    stage.studio.window["undo"].trigger()
    assert stage.studio.document.score is before


def test_a_knob_is_learned_moves_its_slider_and_slider_moves_go_out(stage: Stage, qtbot: QtBot) -> None:
    state = stage.studio.morph_state
    stage.live.switch("cc_out", True)
    stage.live.learn(True)
    state["density"].move(0.5)
    assert (15, stage.boxes[""].sent[-1][1][0]) == (15 << 0, 0xBF)
    stage.keys.play(b"\xb0\x4a\x40")
    qtbot.waitUntil(lambda: stage.live.learning is None)
    stage.keys.play(b"\xb0\x4a\x7f")
    qtbot.waitUntil(lambda: state["density"].value == 2.0)
    qtbot.waitUntil(lambda: stage.studio.document.is_dirty)  # the last turn has settled
    assert stage.boxes[""].sent[-1][1] == b"\xbf\x14\x7f"
    stage.keys.play(b"\xb0\x07\x50")  # a volume pedal is no slider: it is heard
    qtbot.waitUntil(lambda: any(m == b"\xb0\x07\x50" for _, m in stage.synth.sent))


def test_another_programs_clock_starts_paces_and_stops_the_music(stage: Stage, qtbot: QtBot) -> None:
    stage.live.set_sync(True)
    stage.studio.window["play"].trigger()
    assert not stage.studio.player.is_playing  # the other plays
    stage.keys.play(START)
    for _ in range(48):
        stage.keys.play(PULSE)
        QTest.qWait(10)  # a quarter in a good quarter of a second
    assert stage.studio.player.is_playing
    assert stage.studio.player.position_tick() == pytest.approx(2 * 480, abs=60)
    stage.keys.play(STOP)
    qtbot.waitUntil(lambda: not stage.studio.player.is_playing)
    stage.live.set_sync(False)


def test_a_track_goes_to_the_port_it_is_sent_to(stage: Stage, qtbot: QtBot) -> None:
    stage.live.route({1: "Bass box"})
    stage.studio.window["play"].trigger()
    qtbot.waitUntil(lambda: len(struck(stage.synth)) >= 4)
    assert set(struck(stage.boxes["Bass box"])) <= {61, 63, 65, 67}
    assert set(struck(stage.boxes[""])) <= {60, 62, 64, 66}
    assert struck(stage.boxes["Bass box"])
    stage.studio.window["stop"].trigger()
    stage.live.route({})
    assert stage.boxes["Bass box"].silences > 0


def test_two_bars_played_are_answered_in_the_next_bar(stage: Stage, qtbot: QtBot) -> None:
    asked: list[Score] = []

    def answer(heard: Score, seed: int) -> Score:
        asked.append(heard)
        bar = make_notes([(3840 + i * 480, 240, 90 + i, 70, 0) for i in range(4)])
        return Score(480, heard.tracks, np.concatenate([heard.notes, bar]), heard.meters)

    engine = stage.studio.engine
    assert engine.engine is not None
    engine.engine = replace(engine.engine, answer=answer)
    stage.live.set_answers(True)
    stage.studio.player.seek(2 * 1920 - 900)
    stage.studio.window["play"].trigger()
    qtbot.waitUntil(lambda: stage.studio.player.position_tick() > 3000)
    stage.keys.play(b"\x90\x40\x50", b"\x80\x40\x00")
    qtbot.waitUntil(lambda: set(struck(stage.synth)) >= {90, 91, 92, 93}, timeout=8000)
    assert len(asked) == 1
    assert asked[0].notes["pitch"].tolist() == [64]
    first = next(moment for moment, message in stage.synth.sent if message[:2] == b"\x90\x5a")
    line = stage.studio.player.moment_of(3840)
    assert line is not None
    assert first == pytest.approx(line, abs=0.01)
    stage.studio.window["stop"].trigger()


def test_the_input_is_given_back(stage: Stage) -> None:
    stage.live.listen_to("")
    assert stage.keys.is_closed
    assert stage.live.status.sentence == "No MIDI input is chosen."
