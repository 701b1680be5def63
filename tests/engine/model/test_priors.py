"""The prior over bars: no bar sees a later one, and its density is a density."""

from __future__ import annotations

import math

import pytest
import torch

from engine.model.priors import MAX_BARS, BarPrior
from tests.engine import small

Z, LOCAL, GLOBAL = small.MODEL.latent_dim, small.MODEL.local_dim, small.MODEL.global_dim


@pytest.fixture
def prior() -> BarPrior:
    torch.manual_seed(0)
    made = BarPrior(small.MODEL).eval()
    with torch.no_grad():
        made.out.weight.normal_(std=0.2)
    return made


def given(bars: int, pieces: int = 2) -> dict[str, torch.Tensor]:
    noise = torch.Generator().manual_seed(1)
    return {
        "z_fine": torch.randn(pieces, bars, Z, generator=noise),
        "z_local": torch.randn(pieces, bars, LOCAL, generator=noise),
        "z_global": torch.randn(pieces, GLOBAL, generator=noise),
        "quarters": torch.full((pieces, bars), 4.0),
    }


def test_no_bar_sees_itself_or_a_later_one_by_gradient(prior: BarPrior) -> None:
    """Trap 1 as it touches the prior: no causal mask in any attention."""
    batch = given(6)
    for bar in range(6):
        z = batch["z_fine"].clone().requires_grad_()
        logits, mean, logvar = prior(**batch | {"z_fine": z})
        (logits[:, bar].sum() + mean[:, bar].sum() + logvar[:, bar].sum()).backward()
        reached = z.grad.abs().sum((0, 2)) > 0
        assert reached.tolist() == [other < bar for other in range(6)]


def test_pieces_do_not_see_each_other(prior: BarPrior) -> None:
    batch = given(4)
    with torch.no_grad():
        before = prior.log_prob(**batch)
        batch["z_fine"][1] += 1
        after = prior.log_prob(**batch)
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_the_density_integrates_to_one() -> None:
    """Measured by importance sampling from a wide Gaussian, in one dimension."""
    torch.manual_seed(0)
    from dataclasses import replace

    narrow = BarPrior(replace(small.MODEL, latent_dim=1)).eval()
    points = torch.linspace(-30, 30, 6001)
    with torch.no_grad():
        density = narrow.log_prob(
            points[:, None, None], torch.zeros(6001, 1, LOCAL), torch.zeros(6001, GLOBAL), torch.full((6001, 1), 4.0)
        ).exp()
    assert math.isclose(float(density.sum()) * 0.01, 1.0, rel_tol=1e-3)


def test_pieces_past_its_longest_bar_number_still_have_a_density(prior: BarPrior) -> None:
    with torch.no_grad():
        assert torch.isfinite(prior.log_prob(**given(MAX_BARS + 9, 1))).all()


def test_one_bar_at_a_time_is_the_whole_forward(prior: BarPrior) -> None:
    """Cached = uncached, from the first bar and from any later one."""
    batch = given(10)
    with torch.no_grad():
        whole = prior(**batch)
        for first in (0, 5):
            cache, state = None, []
            for bar in range(first, 10):
                known = slice(0, bar) if cache is None else slice(bar - 1, bar)
                told = slice(0, bar + 1) if cache is None else slice(bar, bar + 1)
                x, cache = prior.step(
                    batch["z_fine"][:, known], batch["z_local"][:, told], batch["z_global"],
                    batch["quarters"][:, told], cache,
                )  # fmt: skip
                state.append(x)
            for stepped, at_once in zip(prior.mixtures(torch.stack(state, 1)), whole, strict=True):
                assert torch.allclose(stepped, at_once[:, first:], atol=1e-5)


def test_samples_follow_the_mixture_and_their_temperature(prior: BarPrior) -> None:
    state = torch.randn(1, small.MODEL.prior_dim, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits, mean, logvar = (x[0] for x in prior.mixtures(state))
        share = torch.softmax(logits, -1)[:, None]
        middle = (share * mean).sum(0)
        spread = (share * (logvar.exp() + (mean - middle).square())).sum(0).sqrt()
        noise = [torch.Generator().manual_seed(7)]
        drawn = torch.cat([prior.sample(state, noise) for _ in range(4000)])
        assert torch.allclose(drawn.mean(0), middle, atol=0.15)
        assert torch.allclose(drawn.std(0), spread, rtol=0.1)
        still = torch.cat([prior.sample(state, noise, 0.0) for _ in range(50)])
    apart = (still[:, None] - mean).abs().amax(-1)
    assert apart.min(1).values.max() < 1e-5  # every one is a component's mean
