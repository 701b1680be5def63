"""Logits to notes: noise keyed by place, counts held, candidates inside the bar only."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.model.fields import N_PITCHES
from engine.sampling import Rows, gumbel, hold_counts, logistic, rows_above, rows_at, uniform

PLACES = np.stack(np.meshgrid(np.arange(8), np.arange(96), np.arange(21, 109), indexing="ij"), -1).reshape(-1, 3).T


def test_noise_is_even_and_independent_of_neighbours() -> None:
    u = uniform(1, *PLACES)
    assert 0 < u.min() < u.max() < 1
    assert stats.kstest(u, "uniform").pvalue > 0.001
    grid = u.reshape(8, 96, 88)
    for axis in range(3):
        one, two = np.delete(grid, -1, axis).ravel(), np.delete(grid, 0, axis).ravel()
        assert abs(np.corrcoef(one, two)[0, 1]) < 0.01
    assert abs(np.corrcoef(u, uniform(2, *PLACES))[0, 1]) < 0.01


def test_noise_has_the_distribution_it_is_named_after() -> None:
    assert stats.kstest(logistic(3, *PLACES), "logistic").pvalue > 0.001
    assert stats.kstest(gumbel(3, 2, *PLACES)[:, 1], "gumbel_r").pvalue > 0.001


@given(st.integers(0, 2**31), st.integers(0, 95), st.integers(21, 108))
def test_inserting_a_note_leaves_every_other_note_s_noise_alone(seed: int, onset: int, pitch: int) -> None:
    """Keyed by place, never by step: what is sampled for a place does not depend on how many places there are."""
    rng = np.random.default_rng(seed)
    onsets, pitches = rng.integers(0, 96, 20), rng.integers(21, 109, 20)
    before = logistic(seed, 5, onsets, pitches, 0)
    after = logistic(seed, 5, np.insert(onsets, 3, onset), np.insert(pitches, 3, pitch), 0)
    assert np.array_equal(np.delete(after, 3), before)


def test_bar_seed_and_field_each_change_the_noise() -> None:
    one = uniform(0, 3, 12, 60, 0)
    assert (
        len({float(one), *(float(uniform(*key)) for key in [(1, 3, 12, 60, 0), (0, 4, 12, 60, 0), (0, 3, 12, 60, 1)])})
        == 4
    )


def test_a_temperature_samples_cells_with_their_own_probability() -> None:
    logit = 0.8
    sounds = logit + logistic(7, *PLACES) > 0
    assert abs(sounds.mean() - 1 / (1 + np.exp(-logit))) < 0.005


def test_a_gumbel_argmax_samples_classes_with_their_own_probability() -> None:
    logits = np.log([0.5, 0.3, 0.2])
    picked = (logits + gumbel(7, 3, *PLACES)).argmax(-1)
    assert np.allclose(np.bincount(picked) / len(picked), [0.5, 0.3, 0.2], atol=0.005)


def test_cells_past_a_bar_s_end_are_never_candidates() -> None:
    logits = np.full((3, 96, N_PITCHES), 5, np.float32)
    rows = rows_above(logits, np.array([96, 12, 1]))
    assert np.bincount(rows.bar).tolist() == [96 * 88, 12 * 88, 88]
    assert all(rows.onset[rows.bar == bar].max() < clocks for bar, clocks in enumerate((96, 12, 1)))


def test_rows_at_places_hold_every_pitch_of_them() -> None:
    logits = np.arange(2 * 8 * N_PITCHES, dtype=np.float32).reshape(2, 8, N_PITCHES)
    rows = rows_at(logits, np.array([8, 8]), np.array([[0, 3], [1, 7]]))
    assert rows.bar.tolist() == [0] * 88 + [1] * 88
    assert rows.pitch.tolist() == list(range(21, 109)) * 2
    assert rows.logit[0] == logits[0, 3, 0]
    assert rows.logit[-1] == logits[1, 7, 87]


@given(st.integers(0, 10_000), st.booleans())
def test_the_number_of_notes_of_every_onset_is_held(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 7, 5)
    logits = rng.normal(size=(3, 5 * N_PITCHES))
    if ties:
        logits = logits.round(0)
    chosen = hold_counts(logits, counts).reshape(3, 5, N_PITCHES)
    assert (chosen.sum(-1) == counts).all()
    grid = logits.reshape(3, 5, N_PITCHES)
    assert (np.where(chosen, grid, np.inf).min(-1) >= np.where(chosen, -np.inf, grid).max(-1)).all()  # the likeliest


def test_chosen_rows_become_notes_bar_by_bar_and_trial_by_trial() -> None:
    rows = Rows(np.array([0, 0, 1]), np.array([0, 12, 5]), np.array([60, 64, 67]), np.ones(3), np.array([96, 72]))
    notes = rows.notes(np.array([[True, False, True], [False, True, True]]), np.array([24.0, 12.0, 6.0]))
    assert notes["bar"].tolist() == [0, 1, 2, 3]  # two bars a trial
    assert notes["onset"].tolist() == [0, 5, 12, 5]
    assert notes["duration"].tolist() == [24, 6, 12, 6]
