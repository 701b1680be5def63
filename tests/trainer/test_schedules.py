"""Schedules as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.config import LossConfig
from trainer.schedules import DECAY, SCHEDULES, KlWeight, learning_rate


def test_the_rate_rises_holds_and_falls_to_nothing() -> None:
    rates = [learning_rate(step, 1000, 2e-3, 100) for step in range(1001)]
    assert rates[0] == pytest.approx(2e-5)
    assert rates[49] == pytest.approx(1e-3)
    assert set(rates[100 : 1000 - round(1000 * DECAY)]) == {2e-3}
    assert rates[875] == pytest.approx(1e-3)
    assert rates[1000] == 0


@given(st.integers(1, 5000), st.integers(0, 6000), st.integers(0, 500))
def test_the_rate_is_never_negative_and_never_above_its_peak(steps: int, step: int, warmup: int) -> None:
    assert 0 <= learning_rate(step, steps, 1.0, warmup) <= 1


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
