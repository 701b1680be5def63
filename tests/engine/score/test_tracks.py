"""Edits of tracks: what they change is read back from the .mid, what they do not is bit for bit as it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.score import midi, programs, tracks
from engine.score.score import Event, Score, Track, make_notes


@pytest.fixture
def song() -> Score:
    """Two tracks that share a channel, and drums."""
    rows = [(0, 96, 60, 80, 0), (0, 96, 48, 70, 1), (96, 96, 36, 90, 2)]
    events = (
        Event(0, 0, bytes((0xB0, 7, 80))), Event(48, 0, bytes((0xB0, 7, 40))), Event(10, 1, bytes((0xB0, 64, 127))),
        Event(90, 1, bytes((0xC0, 5))), Event(0, 1, b"\xff\x03left"),
    )  # fmt: skip
    names = (Track("right", 0, 0), Track("left", 0, 0), Track("drums", 0, 9, True))
    return Score(96, names, make_notes(rows), events=events)


def again(score: Score, tmp_path: Path) -> Score:
    midi.write(score, tmp_path / "song.mid")
    return midi.read(tmp_path / "song.mid")


def test_an_instrument_holds_from_beginning_to_end_on_a_channel_of_its_own(song: Score, tmp_path: Path) -> None:
    changed = tracks.set_program(song, 1, 40)
    read = again(changed, tmp_path)
    assert [(t.program, t.channel) for t in read.tracks] == [(0, 0), (40, 1), (0, 9)]
    assert not any(e.data[0] & 0xF0 == 0xC0 for e in read.events)
    assert Event(10, 1, bytes((0xB1, 64, 127))) in read.events  # the pedal went with it
    assert (read.notes == song.notes).all()


def test_a_volume_is_written_and_later_ones_keep_their_proportion(song: Score, tmp_path: Path) -> None:
    changed = again(tracks.set_volume(song, 0, 120), tmp_path)
    assert tracks.volume(changed, 0) == 120
    assert [e.data[2] for e in changed.events if e.data[0] & 0xF0 == 0xB0 and e.data[1] == 7] == [120, 60]
    fresh = again(tracks.set_volume(song, 1, 33), tmp_path)
    assert (tracks.volume(fresh, 1), tracks.volume(fresh, 0)) == (33, 80)


def test_a_name_replaces_the_one_of_the_file(song: Score, tmp_path: Path) -> None:
    changed = again(tracks.rename(song, 1, "Cello"), tmp_path)
    assert [t.name for t in changed.tracks] == ["right", "Cello", "drums"]


def test_a_track_moves_to_a_channel_with_all_it_says(song: Score, tmp_path: Path) -> None:
    changed = again(tracks.set_channel(song, 1, 6), tmp_path)
    assert changed.tracks[1].channel == 6
    assert Event(10, 1, bytes((0xB6, 64, 127))) in changed.events
    drums = tracks.set_channel(song, 0, 9)
    assert drums.tracks[0].is_drum
    assert not tracks.set_channel(drums, 0, 3).tracks[0].is_drum


def test_adding_and_removing(song: Score) -> None:
    more = tracks.add(song, "Flute", programs.NAMES.index("Flute"))
    assert more.tracks[3] == Track("Flute", 73, 1)
    less = tracks.remove(more, 0)
    assert [t.name for t in less.tracks] == ["left", "drums", "Flute"]
    assert less.notes["track"].tolist() == [0, 1]
    assert {e.track for e in less.events} == {0}
    one = tracks.remove(tracks.remove(tracks.remove(less, 0), 0), 0)
    assert [t.name for t in one.tracks] == ["Flute"]  # the last one stays


def test_what_changes_nothing_is_the_very_same_score(song: Score) -> None:
    assert tracks.rename(song, 0, "right") is song
    assert tracks.set_program(song, 0, 0) is song
    assert tracks.set_channel(song, 2, 9) is song
    assert tracks.set_volume(song, 1, tracks.DEFAULT_VOLUME) is song


def test_every_instrument_of_general_midi_has_one_name() -> None:
    assert len(set(programs.NAMES)) == 128
    assert [programs.NAMES[i] for i in (0, 24, 40, 56, 73)] == [
        "Grand piano", "Nylon guitar", "Violin", "Trumpet", "Flute",
    ]  # fmt: skip
