"""Intervals over pieces: against plain loops, against scipy, and how often they hold the truth."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import bootstrap as scipy_bootstrap
from scipy.stats import spearmanr

from engine.analysis import disentanglement
from trainer.evaluate import information
from trainer.evaluate.bootstrap import Draws, bca, means, summary


@pytest.fixture
def draws() -> Draws:
    return Draws.again(7, 5, seed=3)


def test_every_piece_once_is_the_figure_itself_and_others_leave_one_out() -> None:
    assert Draws.plain(3).index.tolist() == [[0, 1, 2]]
    assert Draws.without_one(3).index.tolist() == [[1, 2], [0, 2], [0, 1]]
    assert Draws.without_one(3).weights.tolist() == [[0, 1, 1], [1, 0, 1], [1, 1, 0]]


def test_sums_means_and_quantiles_are_those_of_the_drawn_pieces_repeated(draws: Draws, rng) -> None:
    values = rng.normal(size=(7, 4))
    values[rng.random((7, 4)) < 0.2] = np.nan
    low, high = np.full(5, -0.5), np.linspace(0, 1, 5)
    for r, index in enumerate(draws.index):
        drawn = values[index]
        assert draws.sum(np.nan_to_num(values))[r] == pytest.approx(np.nan_to_num(drawn).sum(0))
        assert draws.mean(values)[r] == pytest.approx(np.nanmean(drawn, 0))
        assert draws.quantile(values, (0.25, 0.95))[r] == pytest.approx(np.nanquantile(drawn, (0.25, 0.95)))
        inside = (drawn >= low[r]) & (drawn <= high[r])
        assert draws.count_between(values, low, high)[r] == inside.sum()


def test_correlations_are_those_of_the_drawn_pieces_rows(draws: Draws, rng) -> None:
    owner = np.sort(rng.integers(7, size=60))
    x, y = rng.normal(size=(60, 2)), rng.normal(size=(60, 3))
    y[:, 0] += x[:, 1]
    y[:, 2] = 5
    found = draws.correlation(x, y, owner)
    for r, index in enumerate(draws.index):
        rows = np.concatenate([np.flatnonzero(owner == i) for i in index])
        assert found[r, :, :2] == pytest.approx(np.corrcoef(x[rows].T, y[rows, :2].T)[:2, 2:], abs=1e-9)
    assert (found[:, :, 2] == 0).all()
    ranked = Draws.plain(7).rank_correlation(x, y[:, :2], owner)[0]
    assert ranked[1, 0] == pytest.approx(spearmanr(x[:, 1], y[:, 0]).statistic)


def test_scores_over_draws_begin_with_the_scores_themselves(rng) -> None:
    codes = [rng.normal(size=(n, 5)) for n in (30, 12, 40, 25)]
    attributes = [np.stack([c[:, 1] ** 3, c[:, 2] + 0.3 * rng.normal(size=len(c))], -1) for c in codes]
    attributes[1][3] = np.nan  # a row that counts for nothing
    direct = disentanglement(np.concatenate(codes), np.concatenate(attributes))
    plain = information.scores(codes, attributes, Draws.plain(4))
    assert plain is not None
    assert plain[0].means() == pytest.approx(direct.means(), abs=1e-9)
    twice = information.scores(codes, attributes, Draws(np.array([[0, 0, 1, 1, 2, 2, 3, 3]]), 4))
    assert twice is not None
    assert twice[0].interpretability == pytest.approx(direct.interpretability)  # the same music twice over
    again = information.scores(codes, attributes, Draws.again(4, 6))
    assert again is not None
    assert len({one.mig.tobytes() for one in again}) > 1
    assert information.scores([codes[0][:4]], [attributes[0][:4]], Draws.plain(1)) is None


def test_bca_agrees_with_scipy(rng) -> None:
    data = rng.exponential(size=25)
    theirs = scipy_bootstrap((data,), np.mean, method="BCa", n_resamples=4000, rng=1).confidence_interval
    drawn, left_out = Draws.again(25, 4000).mean(data), Draws.without_one(25).mean(data)
    low, high = bca(float(data.mean()), drawn, left_out)
    assert low == pytest.approx(theirs.low, abs=0.04)
    assert high == pytest.approx(theirs.high, abs=0.06)
    assert low < data.mean() < high


def test_an_interval_holds_the_truth_about_as_often_as_it_says(rng) -> None:
    """Pieces of unlike length and level: bars of a piece are alike, so only pieces count."""
    held = 0
    for _ in range(100):
        figures = [{"x": float(rng.normal(1.0) + rng.normal(size=int(rng.integers(2, 40))).mean())} for _ in range(20)]
        found = means.intervals(figures, 400)["x"]
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.0 <= found.high
    assert 85 <= held <= 100


def test_a_figure_that_never_changes_has_no_width_and_one_piece_has_no_limits() -> None:
    found = means.intervals([{"x": 1.0}, {"x": 1.0}, {"x": 1.0}])["x"]
    assert (found.figure, found.low, found.high, found.n) == (1, 1, 1, 3)
    alone = means.intervals([{"x": 2.0}, {"y": 1.0}, {"y": float("nan")}])
    assert {name: (f.figure, f.low, f.n) for name, f in alone.items()} == {"x": (2, None, 1), "y": (1, None, 1)}
    assert means.intervals([{"x": 1.0}, {"x": 2.0}], 0)["x"].low is None
    assert means.intervals([]) == {}


def test_a_seed_is_kept_so_a_table_can_be_made_again() -> None:
    figures = [{"x": float(x)} for x in range(9)]
    assert means.intervals(figures) == means.intervals(figures)


def test_pieces_that_do_not_take_part_are_not_drawn() -> None:
    @summary(lambda x: x > 0)
    def count(found, draws):
        return {"mean": draws.mean(np.array(found, float))}

    assert count([1, -5, 3]) == {"mean": 2}
    assert count.intervals([1, -5, 3])["mean"].n == 2
    assert count([-1]) == {}
