"""A sample of a training run is heard through the synth while the song waits; play of the song ends it."""

from __future__ import annotations

from pathlib import Path

from pytestqt.qtbot import QtBot

from app.listening import Listening
from app.sound.player import Player
from engine.score import midi
from tests.app.roll.table import Ear, a_song


def test_a_sample_is_played_and_stopped(qtbot: QtBot, tmp_path: Path) -> None:
    midi.write(a_song(), tmp_path / "a.mid")
    song, ear, told = Player(a_song()), Ear(), list[bool]()
    listening = Listening(song, lambda: ear)
    listening.changed.connect(told.append)
    song.play()
    listening.play(tmp_path / "a.mid")
    assert not song.is_playing
    assert ear.strikes[0] == (60, 64)
    song.play()
    assert told == [True, False]
    assert listening.player is None
    song.close()


def test_a_sample_that_is_gone_and_no_sound_are_sentences(qtbot: QtBot, tmp_path: Path) -> None:
    song = Player(a_song())
    listening = Listening(song, lambda: None)
    midi.write(a_song(), tmp_path / "a.mid")
    for name, words in (("gone.mid", "gone.mid"), ("a.mid", "no sound")):
        with qtbot.waitSignal(listening.problem) as said:
            listening.play(tmp_path / name)
        assert words in said.args[0]
    song.close()
