"""Temperature, top-k and top-p leave in the draw what they say, and nothing of what was out before."""

from __future__ import annotations

import numpy as np
import pytest

from engine.filters import filter_logits, probabilities

LOGITS = np.log(np.array([0.1, 0.4, 0.05, 0.3, 0.15]))


def chosen(**options: float) -> list[int]:
    return np.flatnonzero(np.isfinite(filter_logits(LOGITS, **options))).tolist()


def test_nothing_asked_changes_nothing() -> None:
    assert np.allclose(filter_logits(LOGITS), LOGITS)


def test_temperature_sharpens_and_flattens() -> None:
    assert np.allclose(probabilities(filter_logits(LOGITS, 0.5)), np.exp(2 * LOGITS) / np.exp(2 * LOGITS).sum())
    assert probabilities(filter_logits(LOGITS, 100.0)).std() < 0.01


def test_temperature_zero_leaves_the_likeliest_and_of_equals_the_first() -> None:
    assert chosen(temperature=0.0) == [1]
    assert np.flatnonzero(np.isfinite(filter_logits(np.zeros(4), 0.0))).tolist() == [0]


@pytest.mark.parametrize(("k", "kept"), [(1, [1]), (3, [1, 3, 4]), (5, [0, 1, 2, 3, 4]), (99, [0, 1, 2, 3, 4])])
def test_top_k_leaves_the_k_likeliest(k: int, kept: list[int]) -> None:
    assert chosen(top_k=k) == kept


@pytest.mark.parametrize(("p", "kept"), [(0.01, [1]), (0.39, [1]), (0.41, [1, 3]), (0.84, [1, 3, 4]), (0.99, range(5))])
def test_top_p_leaves_the_fewest_that_reach_it(p: float, kept: list[int]) -> None:
    assert chosen(top_p=p) == list(kept)


def test_the_nucleus_is_taken_of_what_temperature_and_top_k_left() -> None:
    assert chosen(top_k=2, top_p=0.6) == [1, 3]  # .4 of the .7 that is left is not .6 of it
    assert chosen(top_k=2, top_p=0.55) == [1]
    assert chosen(temperature=0.1, top_p=0.9) == [1]


def test_what_was_out_stays_out() -> None:
    masked = np.where(np.arange(5) == 1, -np.inf, LOGITS)
    for options in ({"temperature": 0.0}, {"top_k": 4}, {"top_p": 0.999}, {"temperature": 9.0}):
        assert filter_logits(masked, **options)[1] == -np.inf
    assert probabilities(filter_logits(masked, 0.0)).tolist() == [0, 0, 0, 1, 0]


def test_rows_are_filtered_each_by_itself() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(3, 4, 50))
    whole = filter_logits(rows, 0.7, 20, 0.8)
    for i, j in np.ndindex(3, 4):
        assert np.array_equal(whole[i, j], filter_logits(rows[i, j], 0.7, 20, 0.8))
    assert rows.max() < 10  # the input is left as it was
