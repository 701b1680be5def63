"""The scale of a piece is heard from its notes."""

from __future__ import annotations

import pytest

from engine.score.scale import MODES, Scale, estimate
from engine.score.score import Score, Track, make_notes


def played(tonic: int, mode: str) -> Score:
    steps = [MODES[mode][i] for i in (0, 2, 4, 0, 3, 1, 4, 6, 5, 4, 2, 1, 0, 4, 0)]
    rows = [(i * 96, 96 if i else 192, 60 + (tonic + step) % 12, 80, 0) for i, step in enumerate(steps)]
    return Score(96, (Track(),), make_notes(rows))


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize("mode", ["major", "minor"])
def test_a_scale_is_found_in_every_key(tonic: int, mode: str) -> None:
    assert estimate(played(tonic, mode)) == Scale(tonic, mode)


def test_there_is_no_scale_without_pitched_notes() -> None:
    assert estimate(Score(96, (Track(),), make_notes())) is None
    assert estimate(Score(96, (Track(is_drum=True),), make_notes([(0, 10, 36, 90, 0)]))) is None


def test_a_scale_has_a_name_and_seven_pitch_classes() -> None:
    assert Scale(3, "minor").name == "E♭ minor"
    assert Scale(0, "major").pitch_classes == {0, 2, 4, 5, 7, 9, 11}
