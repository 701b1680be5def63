"""Schedules as numbers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from engine import config as configuration
from engine.config import LossConfig, TrainConfig
from trainer.schedules import DECAY, RATES, SCHEDULES, KlWeight, Plateau, learning_rate


def test_the_rate_rises_holds_and_falls_to_nothing() -> None:
    rates = [learning_rate(step, 1000, 2e-3, 100) for step in range(1001)]
    assert rates[0] == pytest.approx(2e-5)
    assert rates[49] == pytest.approx(1e-3)
    assert set(rates[100 : 1000 - round(1000 * DECAY)]) == {2e-3}
    assert rates[875] == pytest.approx(1e-3)
    assert rates[1000] == 0


@given(st.integers(1, 5000), st.integers(0, 6000), st.integers(0, 500), st.sampled_from(sorted(RATES)))
def test_the_rate_is_never_negative_and_never_above_its_peak(steps: int, step: int, warmup: int, name: str) -> None:
    assert 0 <= learning_rate(step, steps, 1.0, warmup, name) <= 1


def test_every_schedule_a_configuration_may_name_is_there() -> None:
    assert tuple(RATES) == configuration.RATES


def test_the_cosine_is_torch_s_own() -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    theirs = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, 50)
    for step in range(50):
        assert learning_rate(step, 50, 2.0, 0, "cosine") == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()


@given(st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0]), max_size=30), st.integers(1, 4))
def test_the_plateau_is_torch_s_own(losses: list[float], patience: int) -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.ReduceLROnPlateau(optimiser, factor=0.5, patience=patience, threshold=0, eps=0)
    ours = Plateau(TrainConfig(lr_schedule="plateau", plateau_patience=patience))
    for loss in losses:
        theirs.step(loss)
        ours.saw(loss)
        assert ours.factor == optimiser.param_groups[0]["lr"]


def test_no_other_schedule_heeds_the_held_out_loss() -> None:
    plateau = Plateau(TrainConfig(plateau_patience=1))
    for _ in range(9):
        plateau.saw(1.0)
    assert plateau.factor == 1


@given(st.sampled_from(["linear", "cosine"]), st.floats(0, 1), st.floats(0, 1), st.floats(0, 0.1))
def test_one_warm_up_only_rises(name: str, share: float, progress: float, more: float) -> None:
    config = LossConfig(kl_schedule=name, kl_warmup=share)
    now, later = (SCHEDULES[name](p, config) for p in (progress, progress + more))
    assert 0 <= now <= later <= 1
    assert SCHEDULES[name](1.0, config) == pytest.approx(1)


def test_cycles_begin_at_nothing_and_spend_half_their_time_at_the_top() -> None:
    weight = KlWeight(LossConfig(kl_schedule="cyclical", kl_cycles=4))
    factors = [weight.at(step, 400) for step in range(401)]
    assert [factors[i] for i in (0, 100, 200, 300)] == pytest.approx([0, 0, 0, 0], abs=1e-9)
    assert [factors[i] for i in (25, 50, 75, 400)] == pytest.approx([0.5, 1, 1, 1])
    assert sum(f == 1 for f in factors) >= 200


def test_the_adaptive_weight_finds_the_target_it_was_given() -> None:
    """A divergence that falls as its weight grows, as in training: 100 nats at weight 1."""
    weight = KlWeight(LossConfig(kl_schedule="adaptive", kl_target=50.0))
    for step in range(3000):
        weight.saw(100 / weight.at(step, 3000) ** 0.5)
    assert 100 / weight.factor**0.5 == pytest.approx(50, rel=0.02)
    still = weight.factor
    weight.saw(float("nan"))
    assert weight.factor == still
