"""The MIDI process against a real JACK server and a receiver in a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from app.sound import midi_device
from app.sound.midi_out import MidiOut, list_ports
from app.sound.ports import Timed, is_note_off, is_note_on, now
from app.sound.transport import State, Transport
from engine.errors import MorphonyError
from engine.score.score import Event, Score, Track, make_notes

Make = Callable[..., Any]


@pytest.fixture
def port(jack_server: str) -> Iterator[MidiOut]:
    out = MidiOut.open_virtual("Morphony Out")
    assert out.wait_until_open().ok
    yield out
    out.close()


def left_on(heard: list[tuple[float, bytes]]) -> set[tuple[int, int]]:
    on: set[tuple[int, int]] = set()
    for _, message in heard:
        key = message[0] & 15, message[1]
        if is_note_on(message):
            on.add(key)
        elif is_note_off(message):
            on.discard(key)
        elif message[0] & 0xF0 == 0xB0 and message[1] == 123:
            on -= {each for each in on if each[0] == key[0]}
    return on


def balance(heard: list[tuple[float, bytes]]) -> int:
    """Note-ons minus note-offs, all keys together."""
    return sum(is_note_on(message) - is_note_off(message) for _, message in heard)


def run_of_notes(count: int, gap: float, start: float) -> list[Timed]:
    out = []
    for i in range(count):
        pitch = 36 + i % 60
        out += [(start + i * gap, bytes((0x90, pitch, 80))), (start + (i + 0.8) * gap, bytes((0x80, pitch, 64)))]
    return sorted(out)


class Busy:
    """A thread that computes in pure Python, as a program does that has other things to do."""

    def __enter__(self) -> None:
        self._goes_on = True
        self._thread = threading.Thread(target=self._compute)
        self._thread.start()

    def _compute(self) -> None:
        while self._goes_on:
            sum(i * i for i in range(2000))

    def __exit__(self, *_: object) -> None:
        self._goes_on = False
        self._thread.join()


def test_every_note_arrives_in_order_and_on_time_beside_a_busy_thread(
    port: MidiOut, receiver: Make, record_testsuite_property: Make
) -> None:
    there = receiver("Morphony Out").wait()
    for _ in range(3):  # JACK itself drops a period when a client of it gets no processor in time
        before = len(there.report())
        notes = run_of_notes(600, 0.004, now() + 0.4)
        with Busy():
            for first in range(0, len(notes), 25):  # fed as a player does, 300 ms ahead
                port.send(notes[first : first + 25])
                time.sleep(max(notes[first][0] - 0.3 - now(), 0))
        heard = there.wait_for(before + len(notes), seconds=1)[before:]
        rest = iter([message for _, message in notes])
        assert all(message in rest for _, message in heard)  # in order, whatever may be missing
        if len(heard) == len(notes):
            break
    assert [message for _, message in heard] == [message for _, message in notes]
    late = np.array([moment for moment, _ in heard]) - np.array([moment for moment, _ in notes])
    late -= np.median(late)
    p50, p99, most = (round(float(ms), 2) for ms in np.percentile(np.abs(late), [50, 99, 100]) * 1000)
    record_testsuite_property("midi lateness ms", {"p50": p50, "p99": p99, "most": most})
    assert p99 < 20


@pytest.mark.parametrize("cycles", [28, pytest.param(1000, marks=pytest.mark.slow)])
def test_stop_seek_and_loop_leave_nothing_on(port: MidiOut, receiver: Make, cycles: int) -> None:
    there = receiver("Morphony Out").wait()
    rng = np.random.default_rng(0)
    rows = [(int(t), int(d), int(p), 80, 0) for t, d, p in zip(
        rng.integers(0, 4800, 300), rng.integers(10, 900, 300), rng.integers(40, 80, 300), strict=True)]  # fmt: skip
    pedal = (Event(0, 0, bytes((0xB0, 64, 127))),)
    transport = Transport(Score(480, (Track(),), make_notes(rows), events=pedal))
    transport.set_ports([port])
    actions: list[Callable[[], None]] = [
        transport.stop,
        lambda: transport.seek(float(rng.integers(0, 4800))),
        lambda: transport.set_loop((480, 960)),
        lambda: transport.set_loop(None),
        transport.pause,
        transport.panic,
        lambda: transport.set_score(Score(480, (Track(),), make_notes(rows[: int(rng.integers(1, 300))]))),
    ]
    for i in range(cycles):
        transport.play()
        end = now() + 0.12
        while now() < end:
            transport.feed()
            time.sleep(0.01)
        actions[i % len(actions)]()
    transport.stop()
    time.sleep(0.1)
    heard = there.report()
    assert sum(is_note_on(message) for _, message in heard) > 100
    assert balance(heard) == 0
    assert left_on(heard) == set()
    assert transport.state is State.STOPPED


def test_panic_ends_the_notes_for_real_and_then_everything(port: MidiOut, receiver: Make) -> None:
    there = receiver("Morphony Out").wait()
    port.send([(now(), bytes((0x93, 60, 80))), (now(), bytes((0xB3, 64, 127))), (now() + 5, bytes((0x93, 62, 80)))])
    there.wait_for(2)
    port.panic()
    heard = there.wait_for(2 + 1 + 16 + 32)
    messages = [message for _, message in heard]
    assert messages[2] == bytes((0x83, 60, 64))
    for channel in range(16):
        assert {bytes((0xB0 | channel, number, 0)) for number in (64, 120, 123)} <= set(messages)
    assert balance(heard) == 0


def test_closing_ends_the_notes(port: MidiOut, receiver: Make) -> None:
    there = receiver("Morphony Out").wait()
    port.send([(now(), bytes((0x90, pitch, 80))) for pitch in (60, 64, 67)])
    assert balance(there.wait_for(3)) == 3
    port.close()
    assert balance(there.wait_for(6)) == 0


OWNER = """
    import sys, time
    from app.sound.midi_out import MidiOut
    from app.sound.ports import now
    if __name__ == "__main__":
        port = MidiOut.open_virtual("Morphony Out")
        assert port.wait_until_open().ok
        print(port.pid, flush=True)
        sys.stdin.readline()
        port.send([(now() + i * 0.01, bytes((0x90, 40 + i, 80))) for i in range(60)])
        time.sleep(60)
"""


def test_when_its_owner_is_killed_the_process_ends_the_notes_and_itself(
    jack_server: str, receiver: Make, tmp_path: Any
) -> None:
    script = tmp_path / "owner.py"
    script.write_text(textwrap.dedent(OWNER))
    owner = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": os.getcwd()},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert owner.stdin is not None
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        there = receiver("Morphony Out").wait()
        owner.stdin.write("go\n")
        owner.stdin.flush()
        assert balance(there.wait_for(20)) >= 20
        owner.kill()
        owner.wait()
        time.sleep(0.1)
        heard = there.report()
        assert balance(heard) == 0
        deadline = time.monotonic() + 2
        while is_alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert not is_alive(pid)
        assert there.report() == heard
    finally:
        owner.kill()
        owner.wait()
        owner.stdin.close()
        owner.stdout.close()


def is_alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_when_the_process_is_killed_it_starts_again_and_ends_what_was_on(jack_server: str, receiver: Make) -> None:
    there = receiver("Synth of somebody", own=True).wait()
    port = MidiOut.open("Synth of somebody")
    try:
        assert port.wait_until_open().ok
        port.send([(now(), bytes((0x90, 60, 80))), (now(), bytes((0x90, 64, 80)))])
        there.wait_for(2)
        assert port.pid is not None
        time.sleep(0.5)
        os.kill(port.pid, signal.SIGKILL)
        died = now()
        while left_on(there.report()) and now() < died + 3:
            port.poll()
            time.sleep(0.02)
        assert left_on(there.report()) == set()
        assert now() - died < 2
        assert bytes((0x80, 60, 64)) in [message for _, message in there.report()]
        while not port.status.ok and now() < died + 3:
            port.poll()
            time.sleep(0.02)
        assert port.status.ok
    finally:
        port.close()


def test_a_port_that_goes_is_told_and_opened_again_when_it_comes_back(jack_server: str, receiver: Make) -> None:
    first = receiver("Box on the shelf", own=True).wait()
    port = MidiOut.open("Box on the shelf")
    try:
        assert port.wait_until_open().ok
        port.send([(now(), bytes((0x90, 60, 80)))])
        first.wait_for(1)
        first.close()
        gone = now()
        while port.status.ok and now() < gone + 4:
            port.poll()
            time.sleep(0.02)
        assert "Box on the shelf" in port.status.sentence
        assert now() - gone < 1.6
        second = receiver("Box on the shelf", own=True).wait()
        back = now()
        while not port.status.ok and now() < back + 4:
            port.poll()
            time.sleep(0.02)
        assert port.status.ok
        assert now() - back < 2
        port.send([(now(), bytes((0x90, 62, 80))), (now() + 0.01, bytes((0x80, 62, 64)))])
        heard = second.wait_for(60, seconds=0.5)
        assert bytes((0x90, 62, 80)) in [message for _, message in heard]
        assert left_on(heard) == set()
    finally:
        port.close()


def test_the_ports_of_the_machine_are_listed(jack_server: str, receiver: Make, port: MidiOut) -> None:
    receiver("Listed one", own=True).wait()
    assert any("Listed one" in name for name in list_ports())
    deadline = now() + 3
    while not any("Listed one" in name for name in port.names) and now() < deadline:
        port.poll()
        time.sleep(0.02)
    assert any("Listed one" in name for name in port.names)


def test_without_any_midi_system_there_is_one_sentence() -> None:
    port = MidiOut.open_virtual("Morphony Out")
    try:
        status = port.wait_until_open()
        assert not status.ok
        assert status.sentence.startswith("No MIDI output: ")
        port.send([(now(), bytes((0x90, 60, 80)))])
        port.panic()
    finally:
        port.close()
    with pytest.raises(MorphonyError, match="No MIDI output"):
        list_ports()


def test_a_name_that_is_not_there_is_told_with_those_that_are(jack_server: str) -> None:
    port = MidiOut.open("No such port")
    try:
        status = port.wait_until_open()
        assert not status.ok
        assert "No such port" in status.sentence
    finally:
        port.close()


@pytest.mark.parametrize(
    ("wanted", "found"),
    [("Synth:in 20:0", 1), ("synth:in", 1), ("Synth:in 24:0", 1), ("other", 2), ("nothing", None), ("Midi Through", 0)],
)
def test_a_port_is_found_by_its_name_whatever_its_number(wanted: str, found: int | None) -> None:
    names = ["Midi Through:Midi Through Port-0 14:0", "Synth:in 20:0", "Another:other 28:0"]
    assert midi_device.find_port(names, wanted) == found
