"""Logits to notes: noise keyed by place, counts held, candidates inside the bar only."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from engine.model.fields import N_PITCHES
from engine.sampling import (
    Rows,
    best_of,
    gumbel,
    hold_counts,
    likely_cells,
    logistic,
    n_best,
    rank_within,
    rows_above,
    rows_at,
    sampled,
    uniform,
)

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


# ---------------------------------------------------------------- filters and n-best


def some_rows(seed: int, bars: int = 3, spread: float = 2.0) -> Rows:
    logits = np.random.default_rng(seed).normal(-2, spread, (bars, 24, N_PITCHES)).astype(np.float32)
    return rows_above(logits, np.full(bars, 24))


def test_ranks_count_within_each_group_from_the_largest() -> None:
    assert rank_within(np.array([3, 1, 3, 1, 3]), np.array([0.5, 2.0, 0.9, 2.0, 0.1])).tolist() == [1, 0, 0, 1, 2]
    assert rank_within(np.zeros(0, np.int64), np.zeros(0)).tolist() == []


@given(st.integers(0, 1000), st.integers(1, 5), st.sampled_from([0.3, 1.0, 2.0]))
def test_top_k_lets_at_most_k_pitches_of_an_onset_sound(seed: int, k: int, temperature: float) -> None:
    rows = some_rows(seed)
    drawn = sampled(rows, np.arange(3), seed, temperature, top_k=k)
    assert np.bincount(rows.place[drawn.logit > 0]).max(initial=0) <= k
    likely = likely_cells(rows, k, 1.0, temperature)
    assert (np.bincount(rows.place[likely]) <= k).all()
    floor = np.full(rows.place.max() + 1, np.inf)
    np.minimum.at(floor, rows.place[likely], rows.logit[likely])
    assert (rows.logit[~likely] <= floor[rows.place[~likely]]).all()  # the likeliest ones


@given(st.integers(0, 1000), st.floats(0.05, 0.99))
def test_top_p_keeps_the_fewest_cells_that_hold_the_share_of_a_bar_s_notes(seed: int, p: float) -> None:
    rows = some_rows(seed)
    kept = likely_cells(rows, 0, p, 1.0)
    notes = 1 / (1 + np.exp(-rows.logit))
    for bar in range(3):
        here = rows.bar == bar
        inside, least = notes[here & kept], notes[here & kept].min()
        assert inside.sum() >= p * notes[here].sum() - 1e-6
        assert inside.sum() - least < p * notes[here].sum() + 1e-6  # one fewer would not do
        assert notes[here & ~kept].max(initial=0) <= least
    assert likely_cells(rows, 0, 1.0, 1.0).all()


def test_filtered_cells_never_sound_and_the_others_keep_their_noise() -> None:
    rows = some_rows(1)
    plain, filtered = (sampled(rows, np.arange(3), 5, 1.0, top_p=p) for p in (1.0, 0.5))
    kept = likely_cells(rows, 0, 0.5, 1.0)
    assert np.array_equal(plain.logit[kept], filtered.logit[kept])
    assert (filtered.logit[~kept] < 0).all()
    assert (plain.logit[~kept] > 0).any()
    assert sampled(rows, np.arange(3), 5, 0.0, top_k=1, top_p=0.1) is rows  # nothing is drawn at temperature 0


def test_inserting_one_note_early_in_a_bar_changes_no_later_note_whose_logits_did_not_move() -> None:
    logits = np.random.default_rng(2).normal(-3, 2, (1, 48, N_PITCHES)).astype(np.float32)
    logits[0, 2, 30:34] = -30.0  # no candidates at first: with them every later row has another number
    more = logits.copy()
    more[0, 2, 30:34] = 6.0
    before, after = (sampled(rows_above(x, np.array([48])), np.array([7]), 3, 0.8) for x in (logits, more))

    def cells(rows: Rows) -> set:
        sounding = rows.logit > 0
        return set(zip(rows.onset[sounding].tolist(), rows.pitch[sounding].tolist(), strict=True))

    assert cells(after) - cells(before) <= {(2, 21 + i) for i in range(30, 34)}
    assert {c for c in cells(before) if c[0] != 2} == {c for c in cells(after) if c[0] != 2}


@given(st.integers(0, 1000), st.integers(1, 7), st.integers(1, 80))
def test_the_n_best_sets_are_exactly_the_cheapest_by_brute_force(seed: int, cells: int, n: int) -> None:
    logits = np.random.default_rng(seed).normal(0, 2, cells)
    found = n_best(logits, n)
    every = np.array(list(product([False, True], repeat=cells)), bool).reshape(-1, cells)
    cost = np.where(every != (logits > 0), np.abs(logits), 0).sum(1)
    assert len(found) == min(n, 2**cells)
    assert len({row.tobytes() for row in found}) == len(found)
    costs = np.where(found != (logits > 0), np.abs(logits), 0).sum(1)
    assert np.allclose(costs, np.sort(cost)[: len(found)])
    assert np.array_equal(found[0], logits > 0)


def test_the_best_of_a_beam_is_what_its_judge_likes_bar_by_bar() -> None:
    """And the greedy set where the judge does not care."""
    rows = some_rows(4, spread=1.0)

    def fewest(chosen: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(rows.bar[c], minlength=3) for c in chosen]).astype(float)

    greedy = best_of(rows, rows.logit, 20, lambda x: np.zeros((len(x), 3)))
    assert np.array_equal(greedy, rows.logit > 0)
    fewer = best_of(rows, rows.logit, 20, fewest)
    for bar in range(3):
        at = rows.bar == bar
        options = n_best(rows.logit[at], 20)
        assert fewer[at].sum() == options.sum(1).min()
