"""Our ports against programs that nobody here wrote: JACK's own tools, FluidSynth's player, Debian's jack-midi-clock.

Each test skips by name where its program is missing: `apt-get install jack-example-tools fluidsynth jack-midi-clock`.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.sound import fonts
from app.sound.clock import Follower
from app.sound.midi_in import MidiIn
from app.sound.midi_out import MidiOut
from app.sound.outputs import Output
from app.sound.ports import PULSE, Timed, is_note_on, now
from app.sound.transport import Transport
from engine.score.score import Score, Tempo, Track, make_notes
from engine.score.timing import TempoMap
from tests.app.conftest import may_run_in_real_time
from tests.app.fakes import Box

RATE = 48_000
Start = Callable[..., subprocess.Popen[str]]
Make = Callable[..., Any]
OUT = "Morphony:Morphony Out"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program by others; what it prints goes to a file, unbuffered. `start("name", ...)` skips without it."""
    running: list[subprocess.Popen[str]] = []

    def begin(*command: str) -> subprocess.Popen[str]:
        if shutil.which(command[0]) is None:
            pytest.skip(f"{command[0]}: not installed")
        said = (tmp_path / f"{command[0]}.txt").open("w")
        first = ["chrt", "-r", "5"] if may_run_in_real_time() and shutil.which("chrt") else []  # else it drops, not we
        line = [*first, "stdbuf", "-oL", *command]
        running.append(subprocess.Popen(line, stdin=subprocess.PIPE, stdout=said, stderr=subprocess.STDOUT, text=True))
        said.close()
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.wait()
        assert process.stdin is not None
        process.stdin.close()


def connect(source: str, target: str) -> None:
    """Join two JACK ports as soon as both are there."""
    deadline = time.monotonic() + 10
    while subprocess.run(["jack_connect", source, target], capture_output=True).returncode != 0:
        assert time.monotonic() < deadline, f"{source} and {target} do not connect"
        time.sleep(0.05)
    time.sleep(0.1)


def dumped(path: Path) -> list[tuple[float, bytes]]:
    """(seconds by JACK's frame time, message) of what jack_midi_dump wrote."""
    found = re.findall(r"(?m)^\s*(\d+): +((?:[0-9a-f]{2} ?)+)", path.read_text())
    return [(int(frame) / RATE, bytes.fromhex(data)) for frame, data in found]


def feed(port: MidiOut, events: list[Timed], ahead: float = 0.3) -> None:
    """Hand over as a player does, so long ahead."""
    for first in range(0, len(events), 50):
        port.send(events[first : first + 50])
        time.sleep(max(events[min(first + 50, len(events)) - 1][0] - ahead - now(), 0))


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_every_note_is_there_in_order_and_on_time(
    count: int, own_jack_server: Make, start: Start, tmp_path: Path, record_testsuite_property: Make
) -> None:
    own_jack_server(period=64 if count == 10_000 else 256)
    port = MidiOut.open_virtual()
    try:
        assert port.wait_until_open().ok
        start("jack_midi_dump", "-a")
        connect(OUT, "midi-monitor:input")
        for _ in range(3):  # JACK itself drops a period when a client of it gets no processor in time
            before = len(dumped(tmp_path / "jack_midi_dump.txt"))
            begin = now() + 0.4
            on = [(begin + i * 0.001, bytes((0x90 | i % 4, 36 + i % 60, 1 + i % 127))) for i in range(count)]
            off = [(at + 0.0505, bytes((0x80 | m[0] & 15, m[1], 64))) for at, m in on]
            events = sorted([*on, *off])
            port.measure()
            feed(port, events)
            time.sleep(max(events[-1][0] + 0.5 - now(), 0))
            heard = dumped(tmp_path / "jack_midi_dump.txt")[before:]
            if len(heard) == len(events):
                break
        port.lateness.clear()
        port.measure()
        deadline = now() + 2
        while not port.lateness and now() < deadline:
            port.poll()
            time.sleep(0.01)
    finally:
        port.close()
    assert [m for _, m in heard] == [m for _, m in events]  # none lost, none added, none out of its order
    late = np.array([at for at, _ in heard]) - np.array([at for at, _ in events])
    late -= np.median(late)
    figures = {
        "received": np.percentile(np.abs(late), [50, 99, 100]).round(5).tolist(),
        "sent": np.percentile(port.lateness, [50, 99, 100]).round(5).tolist(),
        "load": os.getloadavg()[0],
    }
    record_testsuite_property("midi lateness", figures)
    print(f"{count} notes, seconds late (median, 99 %, most): {figures}")  # noqa: T201
    assert figures["received"][1] < (0.003 if count == 10_000 else 0.02)


def test_fluidsynth_plays_what_we_send(jack_server: str, start: Start, record: Make) -> None:
    port = MidiOut.open_virtual()
    try:
        assert port.wait_until_open().ok
        start("fluidsynth", "-a", "jack", "-m", "jack", "-q", "-o", "midi.jack.id=theirs", str(fonts.OWN))
        connect(OUT, "theirs:midi_00")
        recorder = record("theirs:left", "theirs:right")
        begin = now() + 0.3
        port.send([(begin, b"\xc0\x00"), (begin, b"\x90\x45\x64"), (begin + 0.6, b"\x80\x45\x40")])
        time.sleep(1.2)
        sound = recorder.stop()
    finally:
        port.close()
    loud = np.abs(sound) > 0.005
    assert loud.any()
    first = int(np.argmax(loud))
    tone = sound[first : first + RATE // 3]
    spectrum = np.abs(np.fft.rfft(tone * np.hanning(len(tone))))
    pitch = np.argmax(spectrum) * RATE / len(tone)
    assert min(abs(pitch / 440 - k) for k in (1, 2, 3, 4)) < 0.02  # A4, or one of its partials
    assert np.abs(sound[-RATE // 20 :]).max() < np.abs(sound).max() / 2  # it has ended


def play(transport: Transport, seconds: float) -> None:
    transport.play()
    end = now() + seconds
    while now() < end:
        transport.feed()
        time.sleep(0.04)
    transport.stop()


@pytest.mark.parametrize("seconds", [6, pytest.param(600, marks=pytest.mark.slow)])
def test_the_clock_we_send_keeps_to_the_tempo_map(
    seconds: int, jack_server: str, receiver: Make, start: Start, tmp_path: Path
) -> None:
    """Drift at a receiver that stamps by the system's clock; and jack_mclk_dump, which tells a tempo."""
    port = MidiOut.open_virtual()
    end = round(seconds * 1000)
    score = Score(480, (Track(),), make_notes([(i * 480, 100, 60, 1, 0) for i in range(end // 400)]),
                  tempi=(Tempo(0, 500_000), Tempo(480 * 8, 461_538)))  # fmt: skip
    transport = Transport(score)
    try:
        assert port.wait_until_open().ok
        there = receiver("Morphony Out").wait()
        if shutil.which("jack_mclk_dump"):
            start("jack_mclk_dump", "-n")
            connect(OUT, "jack_mclk_dump:mclk_in")
        transport.set_outputs([Output(port, clock=True)])
        play(transport, seconds)
        time.sleep(0.3)
        heard = there.report()
    finally:
        transport.close()
    told = [m for _, m in heard if m[0] >= 0xF0 and m != PULSE]
    assert told == [b"\xfa", b"\xfc"]
    pulses = np.array([at for at, m in heard if m == PULSE])
    due = TempoMap.of(score).to_seconds(np.arange(len(pulses)) * 20)
    assert abs(len(pulses) - np.searchsorted(TempoMap.of(score).to_seconds(np.arange(200_000) * 20), seconds)) <= 4
    off = pulses - due
    drift = np.polyfit(due, off, 1)[0] * due[-1]
    print(f"drift over {seconds} s: {drift * 1000:.3f} ms; a tick is {500 / 480:.2f} ms; load {os.getloadavg()[0]:.1f}")  # noqa: T201
    assert abs(drift) < (0.5 / 480 if seconds == 600 else 0.005)
    if (said := tmp_path / "jack_mclk_dump.txt").exists():
        tempi = [float(bpm) for bpm in re.findall(r"flt: *([\d.]+)", said.read_text())]
        assert np.median(tempi[-24:]) == pytest.approx(130, abs=4)  # its filter comes from 120, in periods of 5 ms


def test_we_follow_a_clock_of_others_with_its_jitter(jack_server: str, start: Start) -> None:
    inbox, follower, box = MidiIn.open_virtual("Clock in"), Follower(), Box()
    score = Score(480, (Track(),), make_notes([(i * 240, 60, 36 + i % 60, 80, 0) for i in range(64)]))
    transport = Transport(score)
    transport.set_ports([box])
    transport.follow(follower)
    pulses: list[float] = []
    tempi: list[float] = []
    try:
        assert inbox.wait_until_open().ok
        start("jack_midi_clock", "-b", "108", "-B", "-J", "10")
        connect("jack_midi_clock:mclk_out", "Morphony In:Clock in")
        subprocess.run(["jack_transport"], input="stop\nlocate 0\nplay\nquit\n", text=True, capture_output=True)
        end = now() + 5
        while now() < end:
            for moment, message in inbox.take():
                follower.hear(moment, message)
                pulses += [moment] if message == PULSE else []
                tempi += [follower.quarters_a_second or 0.0]
            transport.feed()
            time.sleep(0.005)
        assert np.median(tempi[48:]) == pytest.approx(108 / 60, rel=0.02)
        subprocess.run(["jack_transport"], input="stop\nquit\n", text=True, capture_output=True)
        end = now() + 1
        while now() < end and follower.is_running(now()):
            for moment, message in inbox.take():
                follower.hear(moment, message)
            time.sleep(0.005)
        assert not follower.is_running(now())
    finally:
        inbox.close()
        transport.close()
    true = np.polyval(np.polyfit(np.arange(len(pulses)), pulses, 1), np.arange(0, len(pulses), 12))  # eighths
    notes = [(m[1] - 36, moment) for moment, m in box.sent if is_note_on(m) and m[1] - 36 < len(true)]
    late = np.array([abs(moment - true[eighth]) for eighth, moment in notes])
    print(f"notes behind jack_midi_clock, ms from its beat: {np.round(late * 1000, 1)}")  # noqa: T201
    assert len(notes) >= 12
    assert np.percentile(late[4:], 90) < 0.02


@pytest.mark.parametrize("times", [2, pytest.param(200, marks=pytest.mark.slow)])
def test_a_receiver_killed_again_and_again_is_missed_found_and_nothing_leaks(
    times: int, jack_server: str, receiver: Make
) -> None:
    port = MidiOut.open("Box that falls")
    gone, back, open_files, threads = [], [], [], []

    def until(ok: bool) -> float:
        began = now()
        while port.status.ok is not ok and now() < began + 6:
            port.poll()
            port.send([(now(), b"\x90\x40\x50"), (now() + 0.01, b"\x80\x40\x40")])
            time.sleep(0.02)
        assert port.status.ok is ok, port.status.sentence
        return now() - began

    try:
        for _ in range(times):
            there = receiver("Box that falls", own=True).wait()
            back.append(until(True))
            os.kill(there.pid, signal.SIGKILL)
            there.close()
            gone.append(until(False))
            assert port.pid is not None
            open_files.append(len(os.listdir(f"/proc/{port.pid}/fd")))
            threads.append(len(os.listdir(f"/proc/{port.pid}/task")))
    finally:
        port.close()
    print(  # noqa: T201
        f"{times} kills: missed after {max(gone):.2f} s at most, back after {max(back[1:]):.2f} s, descriptors "
        f"{open_files[0]} to {open_files[-1]}, threads {threads[0]} to {threads[-1]}; load {os.getloadavg()[0]:.1f}"
    )
    assert max(gone) < 1.6
    assert max(back[1:]) < 2
    assert abs(open_files[-1] - open_files[0]) <= 2
    assert abs(threads[-1] - threads[0]) <= 1
