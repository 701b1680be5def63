"""Schedules as numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.schedules import DECAY, kl_warmup, learning_rate


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


@given(st.integers(1, 5000), st.integers(0, 6000), st.floats(0, 1))
def test_the_divergence_is_warmed_up_once(steps: int, step: int, share: float) -> None:
    now, later = kl_warmup(step, steps, share), kl_warmup(step + 1, steps, share)
    assert 0 <= now <= later <= 1
    assert kl_warmup(steps, steps, share) == 1 or steps * share > steps
    assert kl_warmup(1, steps, 0.0) == 1
