"""The scheduler with bare numbers for a clock."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.sound.ports import Timed, is_note_off, is_note_on
from app.sound.scheduler import Scheduler, all_events
from engine.score.score import Event, Score, Tempo, Track, make_notes

TPQ = 480  # at the default tempo 960 ticks are a second


def score(*rows: tuple[int, int, int, int, int], **more: object) -> Score:
    tracks = more.pop("tracks", (Track("one", 0, 0), Track("two", 40, 1)))
    return Score(TPQ, tracks, make_notes(rows), **more)  # type: ignore[arg-type]


SCALE = score(*((i * 240, 240, 60 + i, 80, 0) for i in range(16)))


def ons(events: list[Timed]) -> list[tuple[float, int]]:
    return [(round(moment, 6), data[1]) for moment, data in events if is_note_on(data)]


def offs(events: list[Timed]) -> list[tuple[float, int]]:
    return [(round(moment, 6), data[1]) for moment, data in events if is_note_off(data)]


def left_on(events: list[Timed]) -> set[tuple[int, int]]:
    """(channel, pitch) still on at the end; fails when a note is struck while it is on, or ended while it is off."""
    on: set[tuple[int, int]] = set()
    for _, data in events:
        key = data[0] & 15, data[1]
        if is_note_on(data):
            assert key not in on
            on.add(key)
        elif is_note_off(data):
            assert key in on
            on.remove(key)
    return on


def test_every_note_begins_and_ends_at_its_time() -> None:
    events = all_events(SCALE)
    assert ons(events) == [(i * 0.25, 60 + i) for i in range(16)]
    assert offs(events) == [((i + 1) * 0.25, 60 + i) for i in range(16)]
    assert left_on(events) == set()
    assert [moment for moment, _ in events] == sorted(moment for moment, _ in events)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(
            st.integers(0, 4000), st.integers(0, 900), st.integers(58, 64), st.integers(1, 127), st.integers(0, 1)
        ),
        max_size=25,
    ),
    steps=st.lists(st.floats(0.01, 1.3), min_size=1, max_size=40),
)
def test_the_size_of_the_windows_changes_nothing(rows: list[tuple[int, ...]], steps: list[float]) -> None:
    whole = all_events(score(*rows))  # type: ignore[arg-type]
    scheduler, pieces, wall = Scheduler(score(*rows), 0, 0.0), [], 0.0  # type: ignore[arg-type]
    for step in steps:
        wall += step
        pieces += scheduler.advance(wall)
    pieces += scheduler.advance(float("inf"))
    assert left_on(pieces) == set()
    assert [data for _, data in pieces] == [data for _, data in whole]
    assert [moment for moment, _ in pieces] == pytest.approx([moment for moment, _ in whole])


def test_a_key_struck_again_is_let_go_first_and_ends_with_the_later_note() -> None:
    events = all_events(score((0, 960, 60, 80, 0), (240, 240, 60, 90, 0)))
    assert ons(events) == [(0.0, 60), (0.25, 60)]
    assert offs(events) == [(0.25, 60), (1.0, 60)]


def test_a_note_ends_before_the_next_begins_at_the_same_moment() -> None:
    notes = [data for _, data in all_events(score((0, 480, 60, 80, 0), (480, 480, 60, 80, 0))) if len(data) == 3]
    assert [is_note_on(data) for data in notes] == [True, False, True, False]


def test_notes_of_no_length_sound_and_end() -> None:
    assert left_on(all_events(score((0, 0, 60, 80, 0), (480, 0, 62, 80, 0)))) == set()
    assert len(ons(all_events(score((0, 0, 60, 80, 0), (480, 0, 62, 80, 0))))) == 2


def test_tempo_changes_move_the_notes() -> None:
    slow = score((0, 480, 60, 80, 0), (960, 480, 62, 80, 0), tempi=(Tempo(0, 500_000), Tempo(480, 1_000_000)))
    assert ons(all_events(slow)) == [(0.0, 60), (1.5, 62)]


def test_position_follows_the_clock() -> None:
    scheduler = Scheduler(SCALE, 480, 10.0)
    scheduler.advance(11.0)
    assert scheduler.position(9.0) == 480  # not begun
    assert scheduler.position(10.5) == pytest.approx(960)


def test_the_end_is_told_only_when_everything_has_ended() -> None:
    scheduler = Scheduler(SCALE, 0, 0.0)
    scheduler.advance(3.9)
    assert scheduler.end_wall is None
    scheduler.advance(4.5)
    assert scheduler.end_wall == pytest.approx(4.0)


def test_an_empty_score_is_over_at_once() -> None:
    assert all_events(score()) == []
    assert Scheduler(score(), 0, 5.0).end_wall == 5.0


# ---------------------------------------------------------------- loops


def test_a_loop_repeats_its_notes_and_leaves_none_on() -> None:
    long = score((0, 1920, 50, 80, 0), (240, 240, 60, 80, 0), (480, 2000, 62, 80, 0))
    scheduler = Scheduler(long, 0, 0.0, loop=(0, 960))
    events = scheduler.advance(2.999)
    assert ons(events) == [(t + k, p) for k in (0, 1, 2) for t, p in ((0.0, 50), (0.25, 60), (0.5, 62))]
    assert offs(events)[:3] == [(0.5, 60), (1.0, 50), (1.0, 62)]
    assert scheduler.position(2.25) == pytest.approx(240)


def test_a_loop_set_behind_the_position_does_not_pull_it_back() -> None:
    scheduler = Scheduler(SCALE, 1920, 0.0, loop=(0, 960))
    assert len(ons(scheduler.advance(10.0))) == 8
    assert scheduler.end_wall == pytest.approx(2.0)


def test_a_loop_too_short_to_hear_is_none() -> None:
    scheduler = Scheduler(SCALE, 0, 0.0, loop=(0, 1))
    assert len(ons(scheduler.advance(10.0))) == 16


# ---------------------------------------------------------------- another score while playing


def test_a_new_score_strikes_no_sounding_note_again() -> None:
    before = score((0, 1920, 60, 80, 0), (960, 480, 64, 80, 0))
    after = score((0, 1920, 60, 80, 0), (960, 480, 65, 80, 0))
    scheduler = Scheduler(before, 0, 0.0)
    events = scheduler.advance(0.5)
    scheduler.replace(after)
    events += scheduler.advance(10)
    assert ons(events) == [(0.0, 60), (1.0, 65)]
    assert offs(events) == [(1.5, 65), (2.0, 60)]


def test_a_note_taken_away_while_it_sounds_ends_when_it_would_have() -> None:
    scheduler = Scheduler(score((0, 960, 60, 80, 0)), 0, 0.0)
    events = scheduler.advance(0.5)
    scheduler.replace(score((1920, 480, 70, 80, 0)))
    events += scheduler.advance(10)
    assert offs(events)[0] == (1.0, 60)
    assert left_on(events) == set()


def test_a_note_taken_away_from_an_emptied_score_still_ends() -> None:
    scheduler = Scheduler(score((0, 960, 60, 80, 0)), 0, 0.0)
    events = scheduler.advance(0.5)
    scheduler.replace(score())
    events += scheduler.advance(10)
    assert offs(events) == [(1.0, 60)]


@pytest.mark.parametrize(("duration", "end"), [(1440, 1.5), (480, 0.5), (240, 0.5)])
def test_a_sounding_note_takes_its_new_length(duration: int, end: float) -> None:
    scheduler = Scheduler(score((0, 960, 60, 80, 0)), 0, 0.0)
    events = scheduler.advance(0.5)
    scheduler.replace(score((0, duration, 60, 80, 0)))
    events += scheduler.advance(10)
    assert ons(events) == [(0.0, 60)]
    assert offs(events) == [(end, 60)]


def test_a_sounding_note_moved_a_little_is_the_same_note() -> None:
    scheduler = Scheduler(score((470, 480, 60, 80, 0)), 0, 0.0)
    events = scheduler.advance(0.495)
    scheduler.replace(score((485, 480, 60, 80, 0)))
    events += scheduler.advance(10)
    assert len(ons(events)) == 1
    assert offs(events) == [(round(965 / 960, 6), 60)]


def test_a_new_tempo_keeps_the_place() -> None:
    scheduler = Scheduler(SCALE, 0, 0.0)
    scheduler.advance(1.0)
    scheduler.replace(Score(TPQ, SCALE.tracks, SCALE.notes, tempi=(Tempo(0, 250_000),)))
    assert ons(scheduler.advance(10))[0] == (1.0, 64)
    assert scheduler.position(1.0) == pytest.approx(960)
    assert scheduler.position(1.25) == pytest.approx(1440)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_replaces_a_score_nothing_hangs(data: st.DataObject) -> None:
    rows = st.lists(
        st.tuples(
            st.integers(0, 3000), st.integers(0, 1500), st.integers(60, 63), st.integers(1, 127), st.integers(0, 1)
        ),
        max_size=20,
    )
    loop = data.draw(st.none() | st.tuples(st.integers(0, 900), st.integers(1000, 3000)))
    scheduler, events, wall = Scheduler(score(*data.draw(rows)), 0, 0.0, loop), [], 0.0
    for _ in range(8):
        wall += data.draw(st.floats(0.01, 0.7))
        events += scheduler.advance(wall)
        scheduler.replace(score(*data.draw(rows)))
        if data.draw(st.booleans()):
            scheduler.set_loop(None)
    scheduler.set_loop(None)
    events += scheduler.advance(float("inf"))
    assert left_on(events) == set()


# ---------------------------------------------------------------- what holds


def event(tick: int, *data: int) -> Event:
    return Event(tick, 0, bytes(data))


def held(events: list[Timed]) -> Counter[bytes]:
    return Counter(data for _, data in events if not (is_note_on(data) or is_note_off(data)))


CONTROLLED = score(
    (0, 480, 60, 80, 0),
    (1920, 480, 62, 80, 0),
    events=(
        event(0, 0xB0, 7, 90),
        event(480, 0xC0, 19),
        event(480, 0xB0, 64, 127),
        event(720, 0xE0, 0, 80),
        event(2400, 0xB0, 64, 0),
        event(2400, 0xB0, 1, 70),
    ),
)


def test_from_the_beginning_the_programs_come_first_and_every_event_at_its_time() -> None:
    events = all_events(CONTROLLED)
    programs = {data for moment, data in events if data[0] & 0xF0 == 0xC0 and moment == 0}
    assert programs == {bytes((0xC0, 0)), bytes((0xC1, 40))}
    assert (0.5, bytes((0xC0, 19))) in events
    assert (0.5, bytes((0xB0, 64, 127))) in events
    first_note = next(i for i, (_, data) in enumerate(events) if is_note_on(data))
    assert all(data[0] & 0xF0 != 0xC0 for moment, data in events[first_note:] if moment == 0)


def test_a_jump_sends_what_would_hold_there() -> None:
    here = held(Scheduler(CONTROLLED, 1920, 0.0).advance(0.01))
    assert here[bytes((0xC0, 19))] == 1
    assert here[bytes((0xB0, 64, 127))] == 1
    assert here[bytes((0xE0, 0, 80))] == 1
    assert here[bytes((0xB0, 7, 90))] == 1
    assert here[bytes((0xB0, 1, 0))] == 1  # set only later: here it is still at rest


def test_a_loop_sends_only_what_differs() -> None:
    scheduler = Scheduler(CONTROLLED, 0, 0.0, loop=(0, 960))
    scheduler.advance(0.999)
    again = held(scheduler.advance(1.1))
    assert again == Counter(
        {bytes((0xC0, 0)): 1, bytes((0xB0, 64, 0)): 1, bytes((0xE0, 0, 64)): 1, bytes((0xB0, 7, 90)): 1}
    )


def test_a_bend_range_is_sent_again_in_its_sequence() -> None:
    sequence = [(0xB0, 101, 0), (0xB0, 100, 0), (0xB0, 6, 12), (0xB0, 101, 127), (0xB0, 100, 127)]
    bent = score((960, 480, 60, 80, 0), events=tuple(event(0, *data) for data in sequence))
    sent = [tuple(data) for _, data in Scheduler(bent, 480, 0.0).advance(0.01) if data[0] == 0xB0]
    assert sent == sequence


def test_reset_all_controllers_resets() -> None:
    reset = score((1920, 480, 60, 80, 0), events=(event(0, 0xB0, 64, 127), event(480, 0xB0, 121, 0)))
    assert held(Scheduler(reset, 1920, 0.0).advance(0.01))[bytes((0xB0, 64, 0))] == 1


def test_a_new_instrument_is_heard_without_striking_notes_again() -> None:
    scheduler = Scheduler(SCALE, 0, 0.0)
    scheduler.advance(0.1)
    scheduler.replace(Score(TPQ, (Track("one", 19, 0), SCALE.tracks[1]), SCALE.notes))
    events = scheduler.advance(0.2)
    assert held(events) == Counter({bytes((0xC0, 19)): 1})
    assert ons(events) == []


def test_drum_tracks_go_to_the_tenth_channel() -> None:
    kit = score((0, 240, 36, 80, 0), tracks=(Track("kit", 0, 3, is_drum=True),))
    assert {data[0] & 15 for _, data in all_events(kit)} == {9}


def test_damaged_events_are_left_out() -> None:
    odd = score((0, 480, 60, 80, 0), events=(event(0, 0xB0, 64), event(0, 0xFF, 1, 65), event(0, 0xB0, 64, 200)))
    assert all(len(data) in (2, 3) and data[-1] < 128 for _, data in all_events(odd))
