"""Edits: each changes what it is about, leaves what it must, and always yields a bar."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.attributes import INDEX, NAMES, measure_bars
from tests.engine import small
from trainer import augment
from trainer.augment import EDITS, edit_pairs, transpose

CLOCKS = 96
TUNE = small.tune(8)
FLAT = small.bar_notes(*((0, 6 * i, 60 + i % 5, 12, 64) for i in range(12)))
OFF_BEAT = small.bar_notes(*((0, 6 * i, 60 + i % 5, 6, 64) for i in (0, 1, 3, 4, 7, 8, 9, 12, 14, 15)))
BY_NAME = {edit.__name__: (edit, about) for edit, about, _ in EDITS}


def bar(index: int) -> np.ndarray:
    return TUNE[TUNE["bar"] == index]


def value(notes: np.ndarray, name: str) -> float:
    notes = notes.copy()
    notes["bar"] = 0
    return float(measure_bars(notes, np.array([CLOCKS]))[0, INDEX[name]])


def many(edit: Callable, notes: np.ndarray, times: int = 60) -> list[np.ndarray]:
    return [edit(notes, CLOCKS, np.random.default_rng(seed)) for seed in range(times)]


random_bar = st.lists(
    st.tuples(
        st.just(0),
        st.integers(0, CLOCKS - 1),
        st.integers(21, 108),
        st.integers(1, 400),
        st.integers(1, 127),
        st.integers(0, 15),
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("name", BY_NAME)
@settings(max_examples=25, deadline=None)
@given(random_bar, st.integers(0, 2**32))
def test_every_edit_of_every_bar_is_a_bar(name: str, rows: list, seed: int) -> None:
    before = small.bar_notes(*rows)
    kept = before.copy()
    after = BY_NAME[name][0](before, CLOCKS, np.random.default_rng(seed))
    assert before.tobytes() == kept.tobytes()  # the source is not touched
    assert (after["bar"] == 0).all()
    assert (after["onset"] >= 0).all()
    assert (after["onset"] < CLOCKS).all()
    assert ((after["pitch"] >= 21) & (after["pitch"] <= 108)).all()
    assert ((after["velocity"] >= 1) & (after["velocity"] <= 127)).all()
    assert (after["duration"] >= 1).all()
    assert len(after) <= len(before)
    order = np.lexsort((after["part"], after["pitch"], after["onset"]))
    assert np.array_equal(after["onset"][order], after["onset"])


@pytest.mark.parametrize("name", BY_NAME)
def test_an_edit_changes_what_it_is_about(name: str) -> None:
    """In at least two thirds of the draws, by measuring the notes."""
    edit, about = BY_NAME[name]
    source = {"spread_velocity": FLAT, "move_onsets": OFF_BEAT}.get(name, bar(0))
    moved = [any(value(out, a) != value(source, a) for a in about) for out in many(edit, source)]
    assert np.mean(moved) > 0.66


@pytest.mark.parametrize(
    ("name", "attribute", "direction"),
    [
        ("thin_notes", "density", -1),
        ("thin_onsets", "rhythm", -1),
        ("thin_chords", "polyphony", -1),
        ("thin_chords", "density", -1),
        ("snap_pitches", "pitch_variety", -1),
    ],
)
def test_edits_that_take_away_never_add(name: str, attribute: str, direction: int) -> None:
    edit, _ = BY_NAME[name]
    for out in many(edit, bar(1)):
        change = value(out, attribute) - value(bar(1), attribute)
        assert change * direction >= 0 or np.isnan(change)


@pytest.mark.parametrize(
    "name",
    [
        "shift_register",
        "scale_durations",
        "shift_velocity",
        "spread_velocity",
        "stretch_range",
        "move_onsets",
    ],
)
def test_edits_of_two_directions_go_both_ways(name: str) -> None:
    edit, (attribute, *_) = BY_NAME[name]
    source = OFF_BEAT if name == "move_onsets" else bar(0)
    changes = np.array([value(out, attribute) - value(source, attribute) for out in many(edit, source, 200)])
    assert (changes > 0).sum() > 15
    assert (changes < 0).sum() > 15


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("shift_register", ("onset", "duration", "velocity", "part")),
        ("scale_durations", ("onset", "pitch", "velocity", "part")),
        ("shift_velocity", ("onset", "pitch", "duration", "part")),
        ("spread_velocity", ("onset", "pitch", "duration", "part")),
    ],
)
def test_edits_leave_the_other_fields_alone(name: str, kept: tuple[str, ...]) -> None:
    for out in many(BY_NAME[name][0], bar(2)):
        assert all(np.array_equal(out[field], bar(2)[field]) for field in kept)


def test_thinning_chords_keeps_every_onset_and_thinning_keeps_notes_as_they_are() -> None:
    for out in many(augment.thin_chords, bar(0)):
        assert set(out["onset"]) == set(bar(0)["onset"])
    for edit in (augment.thin_notes, augment.thin_onsets, augment.thin_chords):
        assert all({n.tobytes() for n in out} <= {n.tobytes() for n in bar(0)} for out in many(edit, bar(0)))


def test_stretching_the_range_keeps_the_harmony() -> None:
    for out in many(augment.stretch_range, bar(0)):
        assert set(out["pitch"] % 12) <= set(bar(0)["pitch"] % 12)
        assert set(out["onset"]) == set(bar(0)["onset"])


def test_a_transposition_moves_every_note_or_none() -> None:
    moved = transpose(TUNE, 5)
    assert moved is not None
    assert np.array_equal(moved["pitch"].astype(int) - TUNE["pitch"], np.full(len(TUNE), 5))
    assert transpose(TUNE, 60) is None
    assert transpose(TUNE, -60) is None
    assert transpose(small.bar_notes(), 5) is not None


def test_every_attribute_has_its_edit() -> None:
    assert {a for _, about, _ in EDITS for a in about} == set(NAMES)


# ---------------------------------------------------------------- pairs


def test_pairs_are_edited_in_the_share_asked_for_and_in_both_directions(rng: np.random.Generator) -> None:
    notes = np.concatenate([TUNE] * 40)
    notes["bar"] = np.repeat(np.arange(40), len(TUNE)) * 8 + notes["bar"]
    clocks = np.full(320, CLOCKS)
    source, target, known = edit_pairs(notes, clocks, 0.5, rng)
    pairs = [(source[source["bar"] == b], target[target["bar"] == b], notes[notes["bar"] == b]) for b in range(320)]
    differ = np.array([s.tobytes() != t.tobytes() for s, t, _ in pairs])
    assert 0.4 < differ.mean() < 0.55  # some edits change nothing
    original = [(s.tobytes() == n.tobytes(), t.tobytes() == n.tobytes()) for s, t, n in pairs]
    assert all(one or other for one, other in original)
    first = sum(one and not other for one, other in original)
    assert 0.3 < first / differ.sum() < 0.7
    assert known.shape == (320, 12)
    assert set(np.unique(known)) == {0, 1}
    assert 0.1 < known.mean() < 0.5  # mostly free: slider dropout
    assert (known[differ].sum(1) > 0).all()  # what an edit is about is always told


def test_without_a_share_every_bar_is_paired_with_itself(rng: np.random.Generator) -> None:
    source, target, _ = edit_pairs(TUNE, np.full(8, CLOCKS), 0.0, rng)
    assert source.tobytes() == target.tobytes() == TUNE.tobytes()


def test_empty_bars_pass_through(rng: np.random.Generator) -> None:
    source, target, _ = edit_pairs(small.bar_notes((1, 0, 60)), np.full(3, CLOCKS), 1.0, rng)
    assert set(source["bar"]) | set(target["bar"]) <= {1}
