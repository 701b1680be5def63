"""Fields of a note as classes: exact where music is, nearest elsewhere, all from one vocabulary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.model import fields as f
from engine.tokens import vocab


def test_every_range_is_the_vocabulary_s() -> None:
    """Trap 7: two vocabularies, one for data and one for losses."""
    assert len(vocab.FAMILIES["NOTE_ON"].values) == f.N_PITCHES == len(vocab.PITCHES)
    assert len(vocab.FAMILIES["VELOCITY_CHANGE"].values) == f.VELOCITY_BINS
    assert len(vocab.FAMILIES["INSTRUMENT"].values) == f.N_PARTS
    assert f.VELOCITY_BINS * vocab.VELOCITY_STEP == 128
    assert f.CELLS_PER_SLOT == f.SLOT_CLOCKS * f.N_PITCHES


def test_what_a_class_means_has_that_class() -> None:
    assert f.duration_class(f.DURATIONS).tolist() == list(range(len(f.DURATIONS)))
    assert f.velocity_class(f.VELOCITIES.astype(int)).tolist() == list(range(f.VELOCITY_BINS))
    assert f.micro_class(f.MICRO).tolist() == list(range(len(f.MICRO)))


@pytest.mark.parametrize("clocks", [*range(1, 25), 36, 48, 72, 96, 144, 192])
def test_durations_of_notation_are_exact(clocks: int) -> None:
    assert f.DURATIONS[f.duration_class(np.array([clocks]))[0]] == clocks


@given(st.floats(0, 1e6))
def test_a_duration_takes_the_nearest_class_by_ratio(clocks: float) -> None:
    mine = int(f.duration_class(np.array([clocks]))[0])
    apart = np.abs(np.log(f.DURATIONS) - np.log(max(clocks, 1e-9)))
    assert apart[mine] <= apart.min() + 1e-9


@given(st.integers(1, 127))
def test_a_velocity_stays_within_its_bin(velocity: int) -> None:
    mine = int(f.velocity_class(np.array([velocity], np.uint8))[0])
    assert abs(f.VELOCITIES[mine] - velocity) <= vocab.VELOCITY_STEP / 2


@given(st.floats(-0.5, 0.5))
def test_a_micro_shift_is_off_by_half_a_class_at_most(clocks: float) -> None:
    mine = int(f.micro_class(np.array([clocks]))[0])
    assert abs(f.MICRO[mine] - clocks) <= (f.MICRO[1] - f.MICRO[0]) / 2 + 1e-9
