"""The transport with a clock made of one number and a port made of a list."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from app.sound.ports import Status, Timed, ending, everything_off, is_note_off, is_note_on
from app.sound.transport import START_SECONDS, State, Transport
from engine.score.score import Score, Track, make_notes


class Tape:
    """A Port that keeps what would have sounded, as a device with a queue does."""

    status = Status(True, "A tape.")

    def __init__(self, clock: list[float]) -> None:
        self._clock = clock
        self._queue: list[Timed] = []
        self.heard: list[Timed] = []
        self.on: set[tuple[int, int]] = set()
        self.is_closed = False

    def send(self, events: Sequence[Timed]) -> None:
        self._queue = sorted([*self._queue, *events], key=lambda event: event[0])

    def poll(self) -> None:
        due = [event for event in self._queue if event[0] <= self._clock[0]]
        self._queue = self._queue[len(due) :]
        for moment, data in due:
            key = data[0] & 15, data[1]
            if is_note_on(data):
                assert key not in self.on
                self.on.add(key)
            elif is_note_off(data):
                self.on.discard(key)
            self.heard.append((moment, data))

    def silence(self) -> None:
        self._queue = []
        self.heard += [(self._clock[0], data) for data in ending(self.on)]
        self.on = set()

    def panic(self) -> None:
        self.silence()
        self.heard += [(self._clock[0], data) for data in everything_off()]

    def close(self) -> None:
        self.is_closed = True

    def notes(self) -> list[tuple[float, int]]:
        return [(round(moment, 4), data[1]) for moment, data in self.heard if is_note_on(data)]


def scale(step: int = 240, first: int = 60) -> Score:
    return Score(480, (Track(),), make_notes((i * step, step, first + i, 80, 0) for i in range(8)))


class Stage:
    """A transport, its clock and one tape."""

    def __init__(self, score: Score) -> None:
        self.clock = [100.0]
        self.transport = Transport(score, clock=lambda: self.clock[0])
        self.tape = Tape(self.clock)
        self.transport.set_ports([self.tape])

    def run(self, seconds: float, step: float = 0.04) -> None:
        end = self.clock[0] + seconds
        while self.clock[0] < end - 1e-9:
            self.clock[0] = min(self.clock[0] + step, end)
            self.transport.feed()

    @property
    def began(self) -> float:
        return 100.0 + START_SECONDS


@pytest.fixture
def stage() -> Stage:
    return Stage(scale())


def test_it_plays_to_the_end_and_stops(stage: Stage) -> None:
    stage.transport.play()
    assert stage.transport.state is State.PLAYING
    stage.run(2.5)
    assert stage.tape.notes() == [(round(stage.began + i * 0.25, 4), 60 + i) for i in range(8)]
    assert stage.tape.on == set()
    assert stage.transport.state is State.STOPPED
    assert stage.transport.position_tick() == 0


def test_pause_ends_the_notes_and_keeps_the_place(stage: Stage) -> None:
    stage.transport.play()
    stage.run(1.15)
    stage.transport.pause()
    assert stage.tape.on == set()
    assert stage.transport.state is State.PAUSED
    assert stage.transport.position_tick() == pytest.approx(1.1 * 960)
    stage.run(1.0)
    assert len(stage.tape.notes()) == 5
    stage.transport.play()
    stage.run(1.5)
    assert [pitch for _, pitch in stage.tape.notes()] == list(range(60, 68))


def test_stop_returns_to_where_playing_began_and_then_to_the_beginning(stage: Stage) -> None:
    stage.transport.seek(480)
    stage.transport.play()
    stage.run(0.5)
    stage.transport.stop()
    assert stage.transport.position_tick() == 480
    assert stage.tape.on == set()
    stage.transport.stop()
    assert stage.transport.position_tick() == 0


def test_seek_while_playing_ends_what_sounds_and_goes_on_there(stage: Stage) -> None:
    stage.transport.play()
    stage.run(0.3)
    stage.transport.seek(1200)
    assert stage.tape.on == set()
    stage.run(0.3)
    assert [pitch for _, pitch in stage.tape.notes()] == [60, 61, 65, 66]
    assert stage.transport.position_tick() == pytest.approx(1200 + 0.25 * 960)


def test_play_at_the_end_begins_again(stage: Stage) -> None:
    stage.transport.seek(5000)
    stage.transport.play()
    stage.run(0.1)
    assert stage.tape.notes()[0][1] == 60


def test_a_loop_goes_round(stage: Stage) -> None:
    stage.transport.set_loop((0, 480))
    stage.transport.play()
    stage.run(2.01)
    assert [pitch for _, pitch in stage.tape.notes()] == [60, 61] * 4
    stage.transport.set_loop(None)
    stage.run(3)
    assert stage.transport.state is State.STOPPED


def test_a_new_score_takes_over_after_the_look_ahead(stage: Stage) -> None:
    stage.transport.play()
    stage.run(0.5)
    stage.transport.set_score(scale(first=72))
    stage.run(2)
    pitches = [pitch for _, pitch in stage.tape.notes()]
    assert pitches == [60, 61, 62, 63, 76, 77, 78, 79] or pitches == [60, 61, 62, 75, 76, 77, 78, 79]
    assert stage.tape.on == set()


def test_all_ports_get_the_same_moments_and_a_leaving_one_falls_silent(stage: Stage) -> None:
    other = Tape(stage.clock)
    stage.transport.set_ports([stage.tape, other])
    stage.transport.play()
    stage.run(0.6)
    assert other.notes() == stage.tape.notes()
    stage.transport.set_ports([stage.tape])
    assert other.on == set()
    stage.run(0.4)
    assert len(other.notes()) < len(stage.tape.notes())


def test_a_joining_port_learns_what_holds(stage: Stage) -> None:
    stage.transport.play()
    stage.run(0.3)
    other = Tape(stage.clock)
    stage.transport.set_ports([stage.tape, other])
    stage.run(0.1)
    assert bytes((0xC0, 0)) in [data for _, data in other.heard]


def test_panic_silences_every_channel(stage: Stage) -> None:
    stage.transport.play()
    stage.run(0.3)
    stage.transport.panic()
    assert stage.transport.state is not State.PLAYING
    sent = {data for _, data in stage.tape.heard}
    assert all(
        {bytes((0xB0 | c, 123, 0)), bytes((0xB0 | c, 120, 0)), bytes((0xB0 | c, 64, 0))} <= sent for c in range(16)
    )


def test_after_a_long_sleep_it_goes_on_instead_of_catching_up(stage: Stage) -> None:
    stage.transport.play()
    stage.run(0.3)
    stage.clock[0] += 60
    stage.run(0.06)
    late = [moment for moment, _ in stage.tape.notes() if moment > stage.clock[0] - 30]
    assert len(late) <= 2
    assert stage.transport.state is State.PLAYING
    assert stage.transport.position_tick() < 800


def test_a_short_freeze_changes_nothing_within_the_look_ahead(stage: Stage) -> None:
    stage.transport.look_ahead = 2.0
    stage.transport.play()
    stage.clock[0] += 1.5
    stage.run(1.0)
    assert stage.tape.notes() == [(round(stage.began + i * 0.25, 4), 60 + i) for i in range(8)]


def test_audition_sounds_one_note_and_ends_it(stage: Stage) -> None:
    stage.transport.audition(0, 64)
    stage.run(0.1)
    assert stage.tape.on == {(0, 64)}
    stage.run(0.4)
    assert stage.tape.on == set()


def test_close_closes_the_ports(stage: Stage) -> None:
    stage.transport.play()
    stage.transport.close()
    assert stage.tape.is_closed
