"""The MIDI clock, out and in, by numbers alone: no port, no time but what the test says."""

from __future__ import annotations

import numpy as np
import pytest

from app.sound.clock import Follower
from app.sound.outputs import CLICKS, Output, Routed, count_in
from app.sound.ports import CONTINUE, PULSE, START, STOP, Timed, is_note_on
from app.sound.scheduler import Scheduler
from app.sound.transport import State, Transport
from engine.score.score import Event, Meter, Score, Tempo, Track, make_notes
from engine.score.timing import TempoMap
from tests.app.fakes import Box

PIECE = Score(
    480,
    (Track("Piano", 0, 0), Track("Bass", 32, 3), Track("Drums", 0, 9, True)),
    make_notes([(i * 240, 200, 60 + i % 12, 80, i % 3) for i in range(160)]),
    tempi=(Tempo(0, 500_000), Tempo(3840, 400_000), Tempo(9600, 750_000)),
    events=(Event(0, 1, b"\xb3\x07\x50"),),
)


def clock_of(score: Score, tick: float = 0.0, loop: tuple[int, int] | None = None, until: float = 20.0) -> list[Timed]:
    scheduler = Scheduler(score, tick, 10.0, loop, clock=True)
    out: list[Timed] = []
    for moment in np.arange(10.0, 10.0 + until, 0.04):
        out += scheduler.advance(float(moment))
    return [(moment, message) for moment, message in out if message[0] >= 0xF8 or message[0] == 0xF2]


def test_there_are_24_pulses_a_quarter_where_the_tempo_map_has_them() -> None:
    heard = clock_of(PIECE)
    assert heard[0][1] == START
    assert heard[0][0] == pytest.approx(9.998)
    pulses = [moment for moment, message in heard if message == PULSE]
    expected = 10.0 + TempoMap.of(PIECE).to_seconds(np.arange(len(pulses)) * 20)
    assert len(pulses) > 800
    assert pulses == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("tick", "sixteenths"), [(120, 1), (480, 4), (481, 5), (4800, 40), (60 * 480, 240)])
def test_elsewhere_the_song_position_comes_first_and_the_pulses_from_there(tick: int, sixteenths: int) -> None:
    heard = clock_of(PIECE, float(tick), until=2.0) if tick < 38_000 else []
    assert heard[0][1] == bytes((0xF2, sixteenths & 127, sixteenths >> 7))
    assert heard[1][1] == CONTINUE
    gap = TempoMap.of(PIECE).to_seconds(sixteenths * 120) - TempoMap.of(PIECE).to_seconds(tick)
    assert heard[2] == (pytest.approx(10.0 + gap), PULSE)


def test_a_loop_says_where_it_begins_again() -> None:
    heard = clock_of(PIECE, 0.0, (0, 1920), until=5.0)
    told = [message for _, message in heard if message != PULSE]
    assert told == [START, STOP, START, STOP, START]
    pulses = np.array([moment for moment, message in heard if message == PULSE])
    assert np.diff(pulses) == pytest.approx(np.full(len(pulses) - 1, 0.5 / 24), abs=1e-9)  # the beat goes on


def test_a_resolution_24_does_not_divide_loses_no_pulse() -> None:
    score = Score(100, (Track(),), make_notes([(0, 10_000, 60, 80, 0)]))
    assert sum(message == PULSE for _, message in clock_of(score, until=51.0)) == 2400


# ---------------------------------------------------------------- the other's clock


def pulses(tempi: list[tuple[int, float]], jitter: float, seed: int) -> list[tuple[float, float]]:
    """(true moment, moment heard) of the pulses of some quarters at each tempo (quarters, beats a minute)."""
    rng = np.random.default_rng(seed)
    true, now = [], 100.0
    for quarters, bpm in tempi:
        for _ in range(quarters * 24):
            true.append(now)
            now += 60 / bpm / 24
    return [(moment, moment + float(rng.normal(0, jitter))) for moment in true]


@pytest.mark.parametrize("bpm", [90, 110, 124, 132, 160])
def test_tempo_and_place_are_found_through_jitter_within_a_beat_of_a_change(bpm: float) -> None:
    places, tempi = [], []
    for seed in range(20):
        follower = Follower()
        follower.hear(99.999, START)
        for i, (true, heard) in enumerate(pulses([(8, 120.0), (8, bpm)], 0.002, seed)):
            follower.hear(heard, PULSE)
            if i >= 9 * 24:  # a beat after the change
                places.append(abs(follower.quarters(true, 2.0) - i / 24) * 60 / bpm)
                tempi.append(abs((follower.quarters_a_second or 0.0) * 60 / bpm - 1))
    assert np.percentile(places, 95) < 0.0025  # seconds; a single pulse strays by 4 ms
    assert np.percentile(tempi, 95) < 0.02
    assert np.median(tempi) < 0.005


def test_start_position_stop_and_a_clock_that_goes_away() -> None:
    follower = Follower()
    for i in range(10):
        follower.hear(i * 0.02, PULSE)  # many programs send it all the time
    assert not follower.is_running(0.2)
    follower.hear(0.19, bytes((0xF2, 8, 0)))
    follower.hear(0.19, CONTINUE)
    assert not follower.is_running(0.19)
    follower.hear(0.20, PULSE)
    assert follower.is_running(0.20)
    assert follower.place == 2.0
    follower.hear(0.22, PULSE)
    assert follower.quarters(0.22, 2.0) == pytest.approx(2 + 1 / 24, abs=1e-3)
    follower.hear(0.25, STOP)
    assert not follower.is_running(0.25)
    follower.hear(0.3, START)
    follower.hear(0.32, PULSE)
    assert follower.is_running(0.5)
    assert not follower.is_running(1.0)


class Led:
    """A transport behind a clock, its own time in our hands."""

    def __init__(self, score: Score) -> None:
        self.time = 99.0
        self.follower, self.port = Follower(), Box()
        self.transport = Transport(score, lambda: self.time)
        self.transport.set_ports([self.port])
        self.transport.follow(self.follower)

    def hear(self, moment: float, message: bytes) -> None:
        while self.time + 0.04 < moment:
            self.time += 0.04
            self.transport.feed()
        self.time = max(moment, self.time)
        self.follower.hear(moment, message)
        self.transport.feed()


def test_notes_are_where_the_others_beat_is() -> None:
    score = Score(480, (Track(),), make_notes([(i * 120, 60, 36 + i % 60, 80, 0) for i in range(96)]))
    led = Led(score)
    led.hear(99.999, START)
    heard = pulses([(12, 120.0), (12, 138.0)], 0.002, 5)
    for _, moment in heard:
        led.hear(moment, PULSE)
    truth = np.array([true for true, _ in heard])[::6]  # a note a sixteenth
    notes = np.array([moment for moment, message in led.port.sent if is_note_on(message)])[: len(truth)]
    late = np.abs(notes - truth[: len(notes)])
    assert len(notes) == len(truth)
    assert late[:4].max() < 0.06  # it began at once, a little late
    assert np.percentile(late[4:48], 95) < 0.006  # from the second beat on
    assert np.percentile(late[52:], 95) < 0.008  # and again a beat after the change
    led.hear(led.time + 0.001, STOP)
    assert led.transport.state is not State.PLAYING
    assert led.port.silences


def test_a_place_elsewhere_is_gone_to() -> None:
    led = Led(PIECE)
    led.hear(100.0, bytes((0xF2, 32, 0)))
    led.hear(100.0, CONTINUE)
    for i in range(48):
        led.hear(100.01 + i / 48, PULSE)
    assert led.transport.tick_at(led.time) == pytest.approx((8 + 47 / 24) * 480, abs=12)
    led.transport.play()  # the other plays, not we
    led.transport.follow(None)
    assert led.transport.state is State.PAUSED


# ---------------------------------------------------------------- what goes where


def test_tracks_go_to_their_ports_on_their_channels_and_the_synth_hears_all() -> None:
    time = [0.0]
    synth, bass, rest = Box(), Box(), Box()
    transport = Transport(PIECE, lambda: time[0])
    transport.set_outputs(
        [
            Output(synth),
            Output(bass, Routed(((1, 12),))),
            Output(rest, Routed(((0, None), (2, None))), clock=True),
        ]
    )
    transport.play()
    while time[0] < 60:
        time[0] += 0.04
        transport.feed()
    channels = [{message[0] & 15 for _, message in box.sent if is_note_on(message)} for box in (synth, bass, rest)]
    assert channels == [{0, 3, 9}, {12}, {0, 9}]
    assert b"\xbc\x07\x50" in [message for _, message in bass.sent]  # its controllers move with it
    count = [sum(is_note_on(message) for _, message in box.sent) for box in (synth, bass, rest)]
    assert count == [160, 53, 107]
    assert [sum(message == PULSE for _, message in box.sent) for box in (synth, bass)] == [0, 0]
    assert abs(sum(message == PULSE for _, message in rest.sent) - 160 * 12) <= 24
    transport.audition(1, 40)
    assert bass.sent[-2][1] == bytes((0x9C, 40, 90))
    transport.close()


def test_the_metronome_clicks_every_beat_and_a_count_in_comes_before() -> None:
    score = Score(480, (Track(),), make_notes([(0, 3840, 60, 80, 0)]), (Meter(0, 3, 4),))
    time = [0.0]
    synth = Box()
    transport = Transport(score, lambda: time[0])
    transport.count_in_bars, transport.clicker = 2, synth
    transport.set_outputs([Output(synth), Output(synth, CLICKS)])
    transport.play()
    while time[0] < 9:
        time[0] += 0.04
        transport.feed()
    clicks = sorted((moment, m[1]) for moment, m in synth.sent if is_note_on(m) and m[0] & 15 == 9)
    note = next(moment for moment, m in synth.sent if is_note_on(m) and m[0] & 15 == 0)
    assert note == pytest.approx(0.05 + 6 * 0.5)
    assert [pitch for _, pitch in clicks] == [76, 77, 77] * 4 + [76, 77]  # six before, eight with it
    assert np.diff([moment for moment, _ in clicks]) == pytest.approx(np.full(13, 0.5))
    _, end = count_in(score, 0.0, 1, 5.0)
    assert end == pytest.approx(6.5)
