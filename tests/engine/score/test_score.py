"""The frozen Score: sorted, read-only, without a way to change it behind anyone's back."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from engine.score import NOTE, Score, Track, make_notes
from engine.score.score import DRUM_CHANNEL, pitched_channel


def test_notes_are_sorted_by_tick_track_and_pitch_and_equal_ones_keep_their_order() -> None:
    rows = [(5, 1, 60, 1, 0), (0, 9, 62, 2, 1), (0, 8, 62, 3, 0), (0, 7, 60, 4, 1), (0, 6, 62, 5, 0)]
    score = Score(24, (Track(), Track()), make_notes(rows))
    assert score.notes["velocity"].tolist() == [3, 5, 4, 2, 1]
    assert score.end_tick == 9


def test_a_score_owns_its_notes_and_nobody_can_write_to_them() -> None:
    notes = make_notes([(0, 24, 60, 80, 0)])
    score = Score(24, (Track(),), notes)
    notes["pitch"] = 0
    assert score.notes["pitch"].tolist() == [60]
    with pytest.raises(ValueError, match="read-only"):
        score.notes["pitch"] = 1
    with pytest.raises(FrozenInstanceError):
        score.ticks_per_quarter = 1  # type: ignore[misc]


def test_an_empty_score_ends_at_its_start() -> None:
    score = Score(24, (), np.zeros(0, NOTE))
    assert score.end_tick == 0


def test_pitched_tracks_never_land_on_the_drums() -> None:
    channels = [pitched_channel(i) for i in range(40)]
    assert DRUM_CHANNEL not in channels
    assert len(set(channels[:15])) == 15
    assert set(channels) <= set(range(16))
