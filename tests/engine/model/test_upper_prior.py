"""The prior of phrase and piece latents: it finds the line music follows, and draws along it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.model.priors import BarPrior
from engine.model.upper_prior import UpperPrior, told_of_pieces
from tests.engine import small

CONFIG = replace(small.MODEL, global_dim=3, local_dim=2)


TWO = told_of_pieces(small.conditions([96]))  # two parts in 4/4


def pieces(n: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """(n, 7), (n, 3) and (n, 4, 2): narrow, off the middle; phrases follow their piece and lean on the one before."""
    rng = torch.Generator().manual_seed(seed)
    z_global = torch.tensor([1.0, 0.0, -0.5]) + 0.4 * torch.randn(n, 3, generator=rng)
    z_global[:, 1] += z_global[:, 0]
    before, z_local = torch.zeros(n, 2), []
    for _ in range(4):
        before = 0.6 * before + 0.5 * z_global[:, :2] + 0.2 * torch.randn(n, 2, generator=rng)
        z_local.append(before)
    return TWO.expand(n, -1), z_global, torch.stack(z_local, 1)


@pytest.fixture
def fitted() -> UpperPrior:
    made = UpperPrior(CONFIG)
    made.fit(*pieces(6000))
    return made


def test_what_it_draws_has_the_moments_of_what_it_saw(fitted: UpperPrior) -> None:
    noise = torch.Generator().manual_seed(1)
    drawn = [fitted.sample(TWO, 4, noise) for _ in range(4000)]
    rows = torch.cat([torch.cat([z_global, z_local.reshape(1, -1)], -1) for z_global, z_local in drawn])
    _, z_global, z_local = pieces(4000, 9)
    real = torch.cat([z_global, z_local.flatten(1)], -1)
    assert torch.allclose(rows.mean(0), real.mean(0), atol=0.05)
    assert torch.allclose(rows.T.cov(), real.T.cov(), atol=0.05)


def test_held_out_pieces_are_likelier_than_under_the_standard_normal(fitted: UpperPrior) -> None:
    told, z_global, z_local = pieces(2000, 3)
    of_piece, of_phrase = fitted.log_prob(told, z_global, z_local)
    standard = torch.distributions.Normal(0.0, 1.0)
    reference = torch.distributions.MultivariateNormal((TWO @ fitted.lead)[0], fitted.root @ fitted.root.T)
    assert torch.allclose(of_piece, reference.log_prob(z_global), atol=1e-3)
    assert of_piece.mean() > standard.log_prob(z_global).sum(-1).mean() + 1
    assert of_phrase.mean() > standard.log_prob(z_local).sum(-1).mean() + 1
    shuffled = fitted.log_prob(told, z_global, z_local[:, [2, 0, 3, 1]])[1]
    assert of_phrase.mean() > shuffled.mean() + 0.5  # phrases come in an order


def test_pieces_are_drawn_as_those_for_as_many_parts_and_in_their_meter_are() -> None:
    rng = torch.Generator().manual_seed(0)
    lengths, made = torch.tensor([96, 72]).repeat(200), UpperPrior(CONFIG)
    told = torch.cat([told_of_pieces(small.conditions(lengths.tolist(), [1] * 400, parts)) for parts in (1, 4)])
    middle = torch.stack([(told[:, 4] > 0).float(), (told[:, 5] < 1).float(), torch.zeros(800)], -1)
    made.fit(told, middle + 0.05 * torch.randn(800, 3, generator=rng), torch.randn(800, 4, 2, generator=rng))
    for parts, clocks, wanted in ((1, 96, [0, 0, 0]), (4, 72, [1, 1, 0]), (9, 96, [1, 0, 0])):
        asked = told_of_pieces(small.conditions([clocks], parts=parts))
        drawn = torch.cat([made.sample(asked, 1, rng)[0] for _ in range(50)])
        assert torch.allclose(drawn.mean(0), torch.tensor(wanted).float(), atol=0.05)


def test_temperature_0_is_the_middle_and_a_seed_repeats(fitted: UpperPrior) -> None:
    z_global, z_local = fitted.sample(TWO, 3, torch.Generator(), 0.0)
    assert torch.allclose(z_global, TWO @ fitted.lead)
    again = fitted.sample(TWO, 3, torch.Generator().manual_seed(8), 0.0)
    assert torch.equal(again[1], z_local)
    one, two = (fitted.sample(TWO, 3, torch.Generator().manual_seed(8))[1] for _ in range(2))
    assert torch.equal(one, two)


def test_only_a_configuration_that_asks_for_it_has_its_tensors() -> None:
    """Checkpoints without it still open."""
    assert not [n for n in BarPrior(CONFIG).state_dict() if n.startswith("upper")]
    asked = replace(CONFIG, upper_prior="fitted")
    assert [n for n in BarPrior(asked).state_dict() if n.startswith("upper")]
    assert BarPrior(replace(asked, use_hierarchical=False)).upper is None
