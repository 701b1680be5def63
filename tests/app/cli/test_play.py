"""`morphony play` as a process: what a receiver hears, and that Ctrl-C leaves nothing on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.sound.ports import is_note_off, is_note_on
from engine.score import midi
from engine.score.score import Score, Track, make_notes

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def song(tmp_path: Path) -> Path:
    path = tmp_path / "song.mid"
    midi.write(Score(480, (Track(),), make_notes((i * 96, 2000, 50 + i, 80, 0) for i in range(20))), path)
    return path


def play(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "app", "play", *map(str, arguments)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ons(heard: list[tuple[float, bytes]]) -> list[tuple[float, int]]:
    return [(moment, message[1]) for moment, message in heard if is_note_on(message)]


def balance(heard: list[tuple[float, bytes]]) -> int:
    return sum(is_note_on(message) - is_note_off(message) for _, message in heard)


def test_a_virtual_port_carries_the_file(song: Path, jack_server: str, receiver: Callable[..., Any]) -> None:
    process = play(song, "--virtual", "Test Out", "--wait", "1.2", "--json")
    there = receiver("Test Out").wait()
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert '"notes": 20' in out
    heard = there.report()
    assert [pitch for _, pitch in ons(heard)] == list(range(50, 70))
    began = ons(heard)[0][0]
    assert all(abs(moment - began - i * 0.1) < 0.02 for i, (moment, _) in enumerate(ons(heard)))
    assert balance(heard) == 0


def test_ctrl_c_ends_every_note(song: Path, jack_server: str, receiver: Callable[..., Any]) -> None:
    there = receiver("Somebody's synth", own=True).wait()
    process = play(song, "--port", "Somebody's synth")
    assert balance(there.wait_for(6)) > 0
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert balance(there.report()) == 0


def test_no_port_is_one_sentence(song: Path) -> None:
    process = play(song, "--port", "anything")
    _, said = process.communicate(timeout=30)
    assert process.returncode == 1
    assert said.strip().startswith("No MIDI output: ")
    assert len(said.strip().splitlines()) == 1


def test_no_sound_card_is_one_sentence(song: Path) -> None:
    environment = {**os.environ, "PULSE_SERVER": "none", "PIPEWIRE_REMOTE": "none", "ALSA_CONFIG_PATH": "/dev/null"}
    command = [sys.executable, "-m", "app", "play", str(song), "--synth"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    trouble = "No sound: no audio device could be opened (tried jack, pipewire, pulseaudio, alsa); "
    assert done.stderr.strip() == trouble + "connect one or start the sound server."
