"""What is said of latent dimensions: metrics on codes whose truth is known, and a small model that knows a tune."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.analysis import disentanglement, interpolation, moved, replacement_costs, traversal, varying
from engine.analysis.activity import prior_mean
from engine.analysis.disentanglement import binned, mutual_information, significant
from engine.analysis.paths import decoded
from engine.errors import MorphonyError
from engine.model.latents import slerp
from engine.session import Piece, Session
from tests import learnt
from tests.engine import small

M, A = 6000, 4
Floats = NDArray[np.float64]


def attributes(seed: int = 0) -> Floats:
    """(M, A) independent, of different shapes: normal, uniform, skewed, a few whole numbers."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.normal(size=M), rng.uniform(size=M), rng.exponential(size=M), rng.integers(0, 6, M)], 1)


def noise(columns: int, seed: int = 1) -> Floats:
    return np.random.default_rng(seed).normal(size=(M, columns))


# ---------------------------------------------------------------- disentanglement


def test_a_code_that_is_the_attributes_scores_one_everywhere() -> None:
    found = disentanglement(attributes(), attributes())
    for name, value in found.means().items():
        assert value == pytest.approx(1, abs=0.02), name
    assert found.best.tolist() == [0, 1, 2, 3]
    assert found.sign.tolist() == [1, 1, 1, 1]


def test_a_monotone_code_keeps_rank_scores_and_loses_linear_ones() -> None:
    bent = -np.exp(3 * np.stack([a / a.std() for a in attributes().T], 1))
    found = disentanglement(bent, attributes())
    assert found.scc == pytest.approx(1, abs=1e-9)
    assert found.sign.tolist() == [-1, -1, -1, -1]
    assert found.mig == pytest.approx(1, abs=0.02)
    assert found.interpretability[0] < 0.6


def test_noise_informs_of_nothing() -> None:
    found = disentanglement(noise(6), attributes()).means()
    for name in ("mig", "dmig", "sap", "interpretability"):
        assert found[name] < 0.01, name
    assert found["scc"] < 0.05


def test_a_fully_mixed_code_has_correlation_and_no_gap() -> None:
    plain = attributes()
    plain = (plain - plain.mean(0)) / plain.std(0)
    hadamard = np.array([[1, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1], [1, -1, -1, 1]]) / 2
    found, best = disentanglement(plain @ hadamard, plain), disentanglement(plain, plain)
    assert found.means()["mig"] < 0.05
    assert found.means()["sap"] < 0.05
    assert found.interpretability == pytest.approx(0.25, abs=0.05)
    assert 0.3 < found.means()["scc"] < 0.6
    assert found.modularity < 0.6 < best.modularity


def test_a_dimension_said_twice_takes_the_gap_away_and_leaves_the_correlation() -> None:
    twice = np.concatenate([attributes(), attributes()[:, :1]], 1)
    found = disentanglement(twice, attributes())
    assert found.mig[0] == pytest.approx(0, abs=1e-9)
    assert found.sap[0] == pytest.approx(0, abs=1e-9)
    assert found.scc[0] == pytest.approx(1)
    assert found.interpretability[0] == pytest.approx(1)
    assert (found.mig[1:] > 0.95).all()
    assert found.modularity > 0.95  # each dimension still informs of one attribute alone


def test_dependence_between_attributes_is_held_against_mig_and_not_against_dmig() -> None:
    a = noise(2, 3)
    a[:, 1] = 0.9 * a[:, 0] + 0.19**0.5 * a[:, 1]
    found = disentanglement(a, a)
    assert found.mig.max() < 0.8
    assert found.dmig == pytest.approx(1, abs=0.02)
    apart = disentanglement(noise(2, 3), noise(2, 3))
    assert apart.dmig == pytest.approx(apart.mig, abs=0.02)


def test_a_runner_up_that_is_nobodys_own_dimension_leaves_dmig_what_mig_is() -> None:
    twice = np.concatenate([attributes(), attributes()[:, :1] + 0.3 * noise(1)], 1)
    found = disentanglement(twice, attributes())
    assert found.dmig[0] == pytest.approx(found.mig[0])
    assert found.mig[0] < 0.8


def test_a_dimension_for_two_attributes_is_not_modular() -> None:
    plain = noise(4)
    both = plain[:, :1] + plain[:, 1:2]
    assert disentanglement(both, plain).modularity == pytest.approx(1 - 1 / 3, abs=0.02)
    assert disentanglement(plain[:, :1], plain).modularity > 0.95


def test_information_is_that_of_the_normal_distribution() -> None:
    x = noise(2, 5)
    x[:, 1] = 0.8 * x[:, 0] + 0.6 * x[:, 1]
    z = binned(x, 20)
    assert mutual_information(z[:, :1], z[:, 1:])[0, 0] == pytest.approx(-0.5 * np.log(1 - 0.8**2), rel=0.1)
    assert np.diag(mutual_information(z, z)) == pytest.approx(np.log(20), abs=0.01)
    few = binned(noise(2, 6)[:400], 8)
    assert mutual_information(few[:, :1], few[:, 1:])[0, 0] < 0.03  # what chance shares is taken off


def test_bins_hold_as_many_values_each_and_equal_values_share_one() -> None:
    whole = np.array([[0.0], [0], [0], [0], [0], [1], [1], [5], [5], [9]])
    assert binned(whole, 5)[:, 0].tolist() == [1, 1, 1, 1, 1, 3, 3, 4, 4, 4]
    assert np.bincount(binned(noise(1)[:100], 5)[:, 0]).tolist() == [20] * 5


def test_correlations_that_chance_gives_do_not_count() -> None:
    assert significant(np.array([[0.1]]), 100)[0, 0] == 0
    assert significant(np.array([[-0.3]]), 100)[0, 0] == -0.3


def test_missing_values_are_left_out_and_nothing_at_all_is_an_error() -> None:
    holed = attributes().copy()
    holed[::2, 0] = np.nan
    assert disentanglement(attributes(), holed).means()["mig"] > 0.95
    with pytest.raises(MorphonyError, match="at least 10 samples, not 0"):
        disentanglement(attributes(), np.full((M, A), np.nan))


def test_constant_columns_score_nothing() -> None:
    flat, still = np.zeros((M, 2)), attributes()
    still[:, 1] = 3
    assert set(disentanglement(flat, attributes()).means().values()) == {0.0}
    assert disentanglement(attributes(), still).mig[1] == 0
    assert disentanglement(attributes(), still).scc[1] == 0


# ---------------------------------------------------------------- activity


def test_costs_are_of_the_dimension_replaced_and_per_bar() -> None:
    z = torch.tensor([[1.0, 2, 3], [1, 0, -3]])
    weight = torch.tensor([1.0, 0, 10])

    def nats(x: torch.Tensor) -> torch.Tensor:  # what leaves the truth costs its square
        return ((x - z) ** 2 * weight).sum((1, 2))

    neutral = torch.tensor([1.0, 5, 0])
    assert replacement_costs(z, neutral, nats).tolist() == [0, 0, 90]


def test_many_dimensions_are_judged_in_batches_with_the_same_result() -> None:
    z = torch.randn(100, 7, generator=torch.Generator().manual_seed(0))
    seen = []

    def nats(x: torch.Tensor) -> torch.Tensor:
        seen.append(len(x))
        return (x**3).sum((1, 2))

    expected = -(z**3).sum(0) / 100
    assert torch.allclose(replacement_costs(z, torch.zeros(7), nats), expected, atol=1e-4)
    assert seen == [1, 2, 2, 2, 1]


def test_a_mean_that_never_moves_is_not_active() -> None:
    means = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.01, 0.2])
    assert varying(means).tolist() == [True, False, True]


@pytest.mark.parametrize("prior", ["gaussian", "mixture"])
def test_the_prior_mean_is_where_its_samples_lie(prior: str) -> None:
    made = small.model(prior=prior)
    drawn = made.priors.sample("fine", 5000, torch.Generator().manual_seed(9)).mean(0)
    width = small.MODEL.latent_dim
    assert torch.allclose(prior_mean(made)[:width], drawn.detach(), atol=0.1)
    assert len(prior_mean(made)) == width + small.MODEL.local_dim + small.MODEL.global_dim


# ---------------------------------------------------------------- ways through latent space


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session.open(learnt.model_folder(tmp_path_factory.mktemp("models") / "small"), "cpu")


@pytest.fixture(scope="module")
def piece(session: Session) -> Piece:
    return session.encode(small.rich_score())


def same(a: NDArray[np.void], b: NDArray[np.void]) -> bool:
    return np.array_equal(a, b)


def test_a_traversal_passes_through_the_piece_and_comes_back(session: Session, piece: Piece) -> None:
    direction = torch.randn(small.MODEL.latent_dim, generator=torch.Generator().manual_seed(1))
    there, at_rest, back, again = traversal(session, piece, "fine", direction, (-2, 0, -2, 0), range(8))
    assert same(at_rest, decoded(session, piece, range(8)))
    assert same(at_rest, again)
    assert same(there, back)
    assert not same(there, at_rest)


def test_only_the_level_that_is_told_moves(piece: Piece) -> None:
    for level in ("fine", "local", "global"):
        there = moved(piece, level, 3, 2.0)
        for other in ("fine", "local", "global"):
            gone = getattr(there, f"z_{other}") - getattr(piece, f"z_{other}")
            assert torch.allclose(gone[:, 3], torch.full_like(gone[:, 3], 2.0 * (other == level)), atol=1e-5)
            assert int(gone.abs().gt(1e-6).any(0).sum()) == (other == level)


def test_a_traversal_needs_no_notes(session: Session, piece: Piece) -> None:
    deaf = replace(piece, bars=piece.bars[:0])
    assert same(*(traversal(session, p, "fine", 0, (1.5,), range(4))[0] for p in (piece, deaf)))


def test_what_the_model_does_not_have_is_said(piece: Piece) -> None:
    with pytest.raises(MorphonyError, match="no latent level called 'middle'"):
        moved(piece, "middle", 0, 1.0)
    with pytest.raises(MorphonyError, match="dimensions 0 to 7, not 8"):
        moved(piece, "local", 8, 1.0)
    with pytest.raises(MorphonyError, match="8 numbers, not 3"):
        moved(piece, "global", torch.ones(3), 1.0)


@pytest.mark.parametrize("path", ["slerp", "lerp", "bars"])
def test_every_way_begins_and_ends_at_the_pieces(session: Session, piece: Piece, path: str) -> None:
    other = session.encode(small.score(6, shift=3))
    start, middle, end = interpolation(session, piece, other, (0, 0.5, 1), path)
    assert same(start, decoded(session, piece, range(6)))
    assert same(end, decoded(session, other, range(6)))
    assert not same(middle, start)
    assert not same(middle, end)


def test_bar_by_bar_the_first_half_is_still_the_one_and_the_last_the_other(session: Session, piece: Piece) -> None:
    other = session.encode(small.score(8, shift=3))
    halves = other.with_latents(  # the meters and parts of the nearer one, from the middle on the second
        {
            "z_fine": torch.cat([piece.z_fine[:4], other.z_fine[4:]]),
            "z_local": torch.cat([piece.z_local[:1], other.z_local[1:]]),
            "z_global": slerp(piece.z_global, other.z_global, 0.5),
        }
    )
    assert same(interpolation(session, piece, other, (0.5,), "bars")[0], decoded(session, halves, range(8)))
