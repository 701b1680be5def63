"""The twelve attributes against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.attributes import (
    CONSONANCE,
    CONSONANCE_MATRIX,
    EMPTY_IS_ZERO,
    INDEX,
    NAMES,
    SPECS,
    measure,
    measure_bars,
    measure_one,
)
from tests.engine import small

# One bar of 4/4: C and E as halves on the first beat, G a quarter on the second 16th slot, c an eighth on beat four.
HAND = small.bar_notes(
    (0, 0, 60, 48, 80, 0), (0, 0, 64, 48, 60, 0), (0, 6, 67, 24, 100, 1), (0, 72, 72, 12, 80, 1)
)  # fmt: skip
BY_HAND = {
    "density": 4 / 4,
    "rhythm": 3 / 16,
    "syncopation": 1 / 4,  # slot 1
    "polyphony": (8 + 8 + 4 + 2) / 16,
    "register": (60 + 64 + 67 + 72) / 4,
    "range": 12,
    "articulation": (1.0 + 2.0) / 2,  # median of 0.5, 1, 2, 2 quarters
    "dynamics": 80,
    "dynamic_spread": math.sqrt((0 + 400 + 400 + 0) / 4),
    "leaps": (3 + 5) / 2,  # tops 64, 67, 72
    "pitch_variety": 1.5,  # C half of the notes, E and G a quarter each
    "consonance": None,  # below
}


def one(notes: np.ndarray, name: str, clocks: tuple[int, ...] = (96,)) -> float:
    return float(measure_bars(notes, np.array(clocks))[0, INDEX[name]])


@pytest.mark.parametrize("name", [n for n in NAMES if BY_HAND[n] is not None])
def test_a_small_bar_measures_what_a_pencil_says(name: str) -> None:
    assert one(HAND, name) == pytest.approx(BY_HAND[name])


def test_consonance_is_the_mean_over_all_pairs_of_the_bar() -> None:
    def interval(a: int, b: int) -> float:
        return (CONSONANCE[(a - b) % 12] + CONSONANCE[(b - a) % 12]) / 2

    pitches = HAND["pitch"].astype(int)
    by_hand = np.mean([interval(a, b) for a in pitches for b in pitches])
    assert one(HAND, "consonance") == pytest.approx(by_hand)
    octave = small.bar_notes((0, 0, 60), (0, 0, 72))
    cluster = small.bar_notes((0, 0, 60), (0, 0, 61), (0, 0, 62))
    assert one(octave, "consonance") == 1
    assert one(cluster, "consonance") < one(HAND, "consonance") < 1


def test_an_interval_counts_as_its_inversion() -> None:
    assert np.array_equal(CONSONANCE_MATRIX, CONSONANCE_MATRIX.T)
    assert (np.diag(CONSONANCE_MATRIX) == 1).all()


def test_the_twelve_are_described_once_each() -> None:
    assert len(set(NAMES)) == len(SPECS) == 12
    assert all(spec.label and spec.unit and spec.description.endswith(".") for spec in SPECS)


def test_a_bar_without_notes_has_no_register_but_a_density_of_zero() -> None:
    values = dict(zip(NAMES, measure_bars(small.bar_notes(), np.array([96]))[0], strict=True))
    assert {n for n, v in values.items() if v == 0} == set(EMPTY_IS_ZERO)
    assert all(np.isnan(v) for n, v in values.items() if n not in EMPTY_IS_ZERO)


def test_one_note_has_no_leaps_no_range_and_no_spread() -> None:
    note = small.bar_notes((0, 0, 60))
    assert [one(note, n) for n in ("leaps", "range", "dynamic_spread", "pitch_variety")] == [0, 0, 0, 0]


def test_sound_is_counted_to_the_end_of_the_bar_or_of_the_scope() -> None:
    tied = small.bar_notes((0, 48, 60, 96), (1, 0, 60, 24))
    assert one(tied, "polyphony", (96, 96)) == 8 / 16
    whole = measure(tied, np.array([96, 96]))[INDEX["polyphony"]]
    assert whole == (16 + 4) / 32


def test_a_pickup_and_a_long_bar_count_their_own_slots() -> None:
    notes = small.bar_notes((0, 6, 60, 6), (1, 282, 60, 6))
    values = measure_bars(notes, np.array([12, 288]))
    assert values[:, INDEX["rhythm"]].tolist() == [1 / 2, 1 / 48]
    assert values[:, INDEX["density"]].tolist() == [2, 1 / 12]
    assert values[:, INDEX["syncopation"]].tolist() == [1, 1]


def test_leaps_are_heard_across_bar_lines_only_in_a_larger_scope() -> None:
    notes = small.bar_notes((0, 0, 60), (1, 0, 72))
    assert measure_bars(notes, np.array([96, 96]))[:, INDEX["leaps"]].tolist() == [0, 0]
    assert measure(notes, np.array([96, 96]))[INDEX["leaps"]] == 12


@given(st.integers(0, 7))
def test_one_bar_in_scope_measures_as_that_bar(bar: int) -> None:
    notes, clocks = small.tune(8), np.array([96, 72, 96, 48, 96, 96, 24, 96])
    notes = notes[notes["onset"] < clocks[notes["bar"]]]
    each, scope = measure_bars(notes, clocks)[bar], measure(notes, clocks, [bar])
    assert np.allclose(each, scope, equal_nan=True)


@pytest.mark.parametrize("name", NAMES)
def test_one_attribute_is_a_column_of_all(name: str) -> None:
    notes, clocks = small.tune(8), np.full(9, 96)
    assert np.array_equal(measure_one(name, notes, clocks), measure_bars(notes, clocks)[:, INDEX[name]], equal_nan=True)


def test_notes_may_come_in_any_order() -> None:
    notes, clocks = small.tune(8), np.full(8, 96)
    shuffled = notes[np.random.default_rng(0).permutation(len(notes))]
    assert np.allclose(measure(notes, clocks), measure(shuffled, clocks))
    assert np.allclose(measure_bars(notes, clocks), measure_bars(shuffled, clocks))


def test_empty_scopes_and_empty_pieces_do_not_fail() -> None:
    notes = small.tune(2)
    assert measure(notes, np.full(2, 96), [])[INDEX["density"]] == 0
    assert measure_bars(small.bar_notes(), np.zeros(0, np.int64)).shape == (0, 12)


def up(notes: np.ndarray, field: str, by: float) -> np.ndarray:
    out = notes.copy()
    out[field] = out[field] + by
    return out


@pytest.mark.parametrize(
    ("name", "field", "by"), [("register", "pitch", 5), ("dynamics", "velocity", 9), ("articulation", "duration", 12)]
)
def test_moving_every_note_moves_its_attribute_alone(name: str, field: str, by: float) -> None:
    notes, clocks = small.tune(4), np.full(4, 96)
    moved = measure(up(notes, field, by), clocks) - measure(notes, clocks)
    expected = by / 24 if field == "duration" else by
    assert moved[INDEX[name]] == pytest.approx(expected)
    free = {name, "polyphony"} if field == "duration" else {name}
    assert np.allclose([moved[INDEX[n]] for n in NAMES if n not in free], 0)
