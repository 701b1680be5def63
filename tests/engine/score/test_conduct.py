"""Tempo and meter edits: what holds where, read back from the .mid."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import MorphonyError
from engine.score import conduct, midi
from engine.score.score import Meter, Score, Tempo, Track, make_notes
from engine.score.timing import BarGrid, TempoMap


@pytest.fixture
def song() -> Score:
    """Six bars of 4/4 at 96 ticks a quarter, one note a quarter."""
    return Score(96, (Track(),), make_notes([(i * 96, 90, 60, 80, 0) for i in range(24)]))


def test_a_tempo_holds_from_a_point_on(song: Score, tmp_path: Path) -> None:
    midi.write(conduct.set_tempo(song, 384, 60), tmp_path / "a.mid")
    read = midi.read(tmp_path / "a.mid")
    assert TempoMap.of(read).to_seconds([384, 480]).tolist() == [2.0, 3.0]
    assert conduct.tempo_at(read, 383).microseconds == 500_000
    assert conduct.remove_tempo(read, 384).tempi == (Tempo(0, 500_000),)


def test_one_tempo_for_all(song: Score) -> None:
    varied = conduct.set_tempo(conduct.set_tempo(song, 384, 60), 768, 90)
    assert conduct.set_one_tempo(varied, 100).tempi == (Tempo(0, 600_000),)


def test_a_meter_holds_from_a_bar_on(song: Score, tmp_path: Path) -> None:
    midi.write(conduct.set_meter(song, 2, 3, 4), tmp_path / "a.mid")
    read = midi.read(tmp_path / "a.mid")
    assert BarGrid.of(read).starts.tolist()[:5] == [0, 384, 768, 1056, 1344]
    assert conduct.remove_meter(read, 768).meters == (Meter(0, 4, 4),)


def test_what_changes_nothing_is_the_very_same_score(song: Score) -> None:
    assert conduct.set_tempo(song, 500, 120) is song
    assert conduct.set_one_tempo(song, 120) is song
    assert conduct.set_meter(song, 3, 4, 4) is song
    assert conduct.remove_tempo(song, 0) is song
    assert conduct.remove_meter(song, 0) is song


@pytest.mark.parametrize("change", [lambda s: conduct.set_tempo(s, 0, 1), lambda s: conduct.set_meter(s, 0, 4, 3)])
def test_what_no_file_can_hold_is_refused_in_a_sentence(song: Score, change) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(MorphonyError, match=r"\.$"):
        change(song)
