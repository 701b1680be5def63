"""Priors of the levels: densities are densities, samples follow them, divergences are never less than nothing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.config import ModelConfig, parse
from engine.errors import MorphonyError
from engine.model.latents import LEVELS, Normal, kl_to_standard, sample
from engine.model.level_priors import REGISTRY, Flow, LevelPriors, Mixture, Prior, Standard, register
from engine.model.vaegan import MusicTransformerVAEGAN
from tests.engine import small

LEARNED = ["mixture", "flow"]
STIRRED = {"gaussian": 0.0, "mixture": 0.3, "flow": 0.05}


def prior(kind: str, z: int, seed: int = 0, stirred: float = 0.0, **changes: object) -> Prior:
    """A prior of one level; `stirred` moves its parameters away from where they start."""
    torch.manual_seed(seed)
    made = REGISTRY[kind](ModelConfig(**changes), z)
    with torch.no_grad():
        for p in made.parameters():
            p += stirred * torch.randn_like(p)
    return made.eval()


def noise(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def moons(n: int, seed: int) -> Tensor:
    """(n, 2) two interleaved half circles, centred, of deviation about 1."""
    rng = noise(seed)
    angle = torch.rand(n, generator=rng) * math.pi
    upper = torch.rand(n, generator=rng) < 0.5
    x = torch.where(upper, angle.cos(), 1 - angle.cos()) - 0.5
    y = torch.where(upper, angle.sin(), 0.5 - angle.sin()) - 0.25
    return 1.5 * torch.stack([x, y], -1) + 0.1 * torch.randn(n, 2, generator=rng)


def fitted(made: Prior, data: Tensor, steps: int = 120) -> Prior:
    optimiser = torch.optim.Adam(made.parameters(), lr=2e-2)
    for _ in range(steps):
        loss = -made.log_prob(data).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return made


# ---------------------------------------------------------------- densities


@pytest.mark.parametrize("kind", REGISTRY)
def test_the_density_integrates_to_one_in_one_dimension(kind: str) -> None:
    points = torch.linspace(-40, 40, 16001)[:, None]
    with torch.no_grad():
        mass = prior(kind, 1, stirred=STIRRED[kind]).log_prob(points).exp().sum() * 80 / 16000
    assert float(mass) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("kind", REGISTRY)
def test_the_density_integrates_to_one_in_two_dimensions(kind: str) -> None:
    axis = torch.linspace(-20, 20, 601)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        mass = prior(kind, 2, stirred=STIRRED[kind]).log_prob(grid).exp().sum() * (40 / 600) ** 2
    assert float(mass) == pytest.approx(1, abs=5e-3)


@pytest.mark.parametrize("kind", REGISTRY)
def test_samples_follow_the_density(kind: str) -> None:
    """Moments of samples are those of the density on a grid, and the same seed draws the same."""
    made = prior(kind, 2, stirred=STIRRED[kind])
    axis = torch.linspace(-12, 12, 481)
    grid = torch.cartesian_prod(axis, axis)
    with torch.no_grad():
        weight = torch.softmax(made.log_prob(grid), 0)[:, None]
        mean = (grid * weight).sum(0)
        square = (grid - mean).T @ ((grid - mean) * weight)
        drawn = made.sample(40_000, noise())
        assert torch.equal(drawn, made.sample(40_000, noise()))
    assert torch.allclose(drawn.mean(0), mean, atol=0.04)
    assert torch.allclose(drawn.T.cov(), square, atol=0.08)


def test_temperature_draws_samples_together() -> None:
    for kind in REGISTRY:
        made = prior(kind, 3, stirred=STIRRED[kind])
        with torch.no_grad():
            hot, cold = (made.sample(2000, noise(), t).std(0).mean() for t in (1.0, 0.25))
        assert cold < 0.7 * hot, kind


@pytest.mark.parametrize("z", [1, 2, 5, 24])
def test_a_flow_leads_back_where_it_came_from_and_knows_how_far_it_stretched(z: int) -> None:
    flow = prior("flow", z, stirred=0.1)
    assert isinstance(flow, Flow)
    start = torch.randn(6, z, generator=noise())
    with torch.no_grad():
        there, stretched = flow(start)
        assert not torch.allclose(there, start, atol=0.05)
        assert torch.allclose(flow.inverse(there), start, atol=1e-4)
    for row, said in zip(start[:2], stretched, strict=False):
        jacobian = torch.autograd.functional.jacobian(lambda x: flow(x[None])[0][0], row)
        assert float(torch.linalg.slogdet(jacobian)[1]) == pytest.approx(float(said), abs=1e-3)


def test_every_dimension_of_a_flow_is_moved_by_every_other() -> None:
    """Masks take turns: no dimension stays as it is, and after all layers each may depend on each."""
    flow = prior("flow", 8, stirred=0.3, prior_flows=6)
    jacobian = torch.autograd.functional.jacobian(lambda x: flow(x[None])[0][0], torch.randn(8, generator=noise()))
    assert (jacobian.abs() > 1e-7).all()


def test_learned_priors_begin_near_the_standard_normal() -> None:
    z = torch.randn(2000, 16, generator=noise())
    standard = prior("gaussian", 16).log_prob(z)
    flow, mixture = prior("flow", 16), prior("mixture", 16)
    with torch.no_grad():
        assert torch.allclose(flow.log_prob(z), standard, atol=1e-4)
        assert abs(float((mixture.log_prob(z) - standard).mean())) < 0.2
    assert isinstance(mixture, Mixture)
    apart = torch.pdist(mixture.mean.detach())
    assert apart.min() > 0.1  # or every component would learn the same


# ---------------------------------------------------------------- divergence


def test_the_divergence_from_the_gaussian_is_the_closed_form() -> None:
    q = Normal(torch.randn(5, 8, generator=noise()), torch.randn(5, 8, generator=noise(1)))
    made = prior("gaussian", 8)
    assert isinstance(made, Standard)
    assert torch.equal(made.divergence(q, q.mean), kl_to_standard(q))
    by_samples = torch.stack([Prior.divergence(made, q, sample(q, noise(i)))[:, 0] for i in range(4000)]).mean(0)
    assert torch.allclose(by_samples, kl_to_standard(q).sum(-1), atol=0.25)


@pytest.mark.parametrize("kind", LEARNED)
def test_one_sample_divergence_is_not_negative_in_expectation(kind: str) -> None:
    made = prior(kind, 4, stirred=STIRRED[kind])
    for mean, logvar in ((0.0, 0.0), (0.5, -2.0), (-2.0, 1.0)):
        q = Normal(torch.full((20_000, 4), mean), torch.full((20_000, 4), logvar))
        with torch.no_grad():
            rows = made.divergence(q, sample(q, noise()))
        assert rows.shape == (20_000, 1)
        assert rows.mean() > 0
    if kind == "mixture":
        made = prior(kind, 4, prior_components=1)
        assert isinstance(made, Mixture)
        q = Normal(made.mean.expand(500, -1), torch.zeros(500, 4))  # the prior itself
        assert made.divergence(q, sample(q, noise())).abs().max() < 1e-4


def test_at_the_mean_the_ratio_is_not_the_divergence() -> None:
    """What the docstring warns of: for a narrow q about Z / 2 nats too much."""
    made = prior("flow", 64)
    q = Normal(torch.zeros(1000, 64), torch.full((1000, 64), -5.0))
    with torch.no_grad():
        sampled, middle = made.divergence(q, sample(q, noise())).mean(), made.divergence(q, q.mean).mean()
    assert float(middle - sampled) == pytest.approx(32, rel=0.05)


@pytest.mark.parametrize("kind", LEARNED)
def test_what_is_not_normal_is_fitted_better_than_by_any_gaussian(kind: str) -> None:
    """Two moons, held-out nats."""
    train, held = moons(400, 0), moons(1000, 1)
    gaussian = torch.distributions.MultivariateNormal(train.mean(0), train.T.cov())
    made = fitted(prior(kind, 2), train)
    with torch.no_grad():
        gain = made.log_prob(held).mean() - gaussian.log_prob(held).mean()
    assert gain > 0.2


@pytest.mark.parametrize("kind", LEARNED)
def test_two_heaps_are_drawn_as_two_heaps(kind: str) -> None:
    heaps = torch.randn(300, 2, generator=noise()) * 0.3 + torch.tensor([2.0, -1.0]) * (
        2 * (torch.rand(300, 1, generator=noise(1)) < 0.5).float() - 1
    )
    made = fitted(prior(kind, 2), heaps)
    with torch.no_grad():
        drawn = made.sample(2000, noise(2))
    between = (drawn[:, 0].abs() < 0.7).float().mean()
    assert between < 0.15
    assert 0.3 < (drawn[:, 0] > 0).float().mean() < 0.7


# ---------------------------------------------------------------- in the model


@pytest.fixture
def new_prior() -> Iterator[str]:
    @register("box")
    class Box(Prior):
        def log_prob(self, z: Tensor) -> Tensor:
            return torch.where((z.abs() < 2).all(-1), -self.z * math.log(4.0), -torch.inf)

        def sample(self, n: int, generator: torch.Generator | None = None, temperature: float = 1.0) -> Tensor:
            return temperature * (4 * torch.rand(n, self.z, generator=generator) - 2)

    yield "box"
    del REGISTRY["box"]


def test_a_new_prior_is_one_registered_class(new_prior: str) -> None:
    model = MusicTransformerVAEGAN(replace(small.MODEL, prior=parse(f"model: {{prior: {new_prior}}}").model.prior))
    q = Normal(torch.zeros(3, 8), torch.full((3, 8), -2.0))
    entropy = 8 * 0.5 * (1 + math.log(2 * math.pi) - 2)
    nats = torch.stack([model.priors.divergence("local", q, sample(q, noise(i))) for i in range(2000)])
    assert nats.mean() == pytest.approx(8 * math.log(4.0) - entropy, abs=0.1)
    assert model.priors.sample("fine", 5, noise()).shape == (5, small.MODEL.latent_dim)


def test_a_prior_nobody_registered_is_refused_by_name() -> None:
    with pytest.raises(MorphonyError, match="no prior called 'gausian'; choose one of \\['flow', 'gaussian'"):
        MusicTransformerVAEGAN(replace(small.MODEL, prior="gausian"))


def test_the_gaussian_adds_nothing_to_a_checkpoint() -> None:
    assert not LevelPriors(small.MODEL).state_dict()


@pytest.mark.parametrize("kind", LEARNED)
def test_a_learned_prior_has_every_level_and_travels_with_the_checkpoint(kind: str) -> None:
    priors = LevelPriors(replace(small.MODEL, prior=kind))
    assert {n.split(".")[1] for n in priors.state_dict()} == set(LEVELS)
    other = LevelPriors(replace(small.MODEL, prior=kind))
    other.load_state_dict(priors.state_dict())
    for level in LEVELS:
        assert torch.equal(priors.sample(level, 2, noise()), other.sample(level, 2, noise()))
