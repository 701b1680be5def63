"""The prior over bars: what is known stays and is seen, what is not there is not, and it draws what it has learnt."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.model.priors import HEARD, WINDOW, BarPrior, told_of
from tests.engine import small

Z = small.MODEL.latent_dim
C = small.MODEL.local_dim + small.MODEL.global_dim + 20


@pytest.fixture
def prior() -> BarPrior:
    torch.manual_seed(0)
    made = BarPrior(small.MODEL).eval().requires_grad_(False)
    for p in made.parameters():
        p += 0.1 * torch.randn_like(p)
    return made


def given(bars: int = 8, windows: int = 2) -> dict[str, Tensor]:
    noise = torch.Generator().manual_seed(1)
    return {
        "z_fine": torch.randn(windows, bars, Z, generator=noise),
        "told": torch.randn(windows, bars, C, generator=noise),
        "known": torch.zeros(windows, bars, dtype=torch.bool),
        "there": torch.ones(windows, bars, dtype=torch.bool),
        "noise": torch.randn(windows, bars, Z, generator=noise),
    }


def test_known_bars_stay_and_are_seen_and_the_others_are_drawn(prior: BarPrior) -> None:
    batch = given()
    batch["known"][:, [0, 5]] = True
    drawn = prior.draw(**batch, steps=4)
    assert torch.equal(drawn[batch["known"]], batch["z_fine"][batch["known"]])
    hidden = batch["z_fine"].clone()
    hidden[~batch["known"]] += 3  # what stands in the place of an unknown bar says nothing
    assert torch.equal(prior.draw(**batch | {"z_fine": hidden}, steps=4)[~batch["known"]], drawn[~batch["known"]])
    for seen in (0, 5):  # a bar before and a bar after
        moved = batch["z_fine"].clone()
        moved[:, seen] += 1
        other = prior.draw(**batch | {"z_fine": moved}, steps=4)
        assert (other - drawn)[~batch["known"]].abs().max() > 1e-3


def test_windows_do_not_see_each_other_and_bars_that_are_not_there_change_nothing(prior: BarPrior) -> None:
    batch = given()
    batch["there"][0, 6:] = False
    drawn = prior.draw(**batch, steps=3)
    moved = {**batch, "z_fine": batch["z_fine"].clone(), "told": batch["told"].clone(), "noise": batch["noise"].clone()}
    moved["noise"][1] += 1
    for name in ("z_fine", "told", "noise"):
        moved[name][0, 6:] += 2
    other = prior.draw(**moved, steps=3)
    assert torch.allclose(other[0, :6], drawn[0, :6], atol=1e-6)
    assert not torch.allclose(other[1], drawn[1], atol=1e-2)
    short = {name: x[:1, :6] for name, x in batch.items()}
    assert torch.allclose(prior.draw(**short, steps=3), drawn[:1, :6], atol=1e-5)  # padding is inert


def test_an_untrained_prior_draws_the_noise_and_errs_by_two_variances() -> None:
    """Its output begins at zero: no velocity, so noise stays where it is, in the latents' own mean and deviation."""
    torch.manual_seed(0)
    made = BarPrior(small.MODEL)
    music = 3 + 2 * torch.randn(500, Z)
    made.fit(music)
    batch = given()
    drawn = made.draw(**batch, steps=4)
    assert torch.allclose(drawn, batch["noise"] * made.scale + made.mean)
    z = music.view(50, 10, Z)
    told, no = torch.zeros(50, 10, C), torch.zeros(50, 10, dtype=torch.bool)
    loss = made.loss(z, told, no, ~no, torch.Generator().manual_seed(0)).detach()
    assert float(loss) == pytest.approx(2, abs=0.1)


def test_variations_set_out_from_what_is_there(prior: BarPrior) -> None:
    """The nearer to 1 they start, the nearer they stay."""
    batch = given()
    far = [float((prior.draw(**batch, steps=6, start=s) - batch["z_fine"]).abs().mean()) for s in (0.0, 0.5, 0.9, 1.0)]
    assert far == sorted(far, reverse=True)
    assert far[-1] < 1e-5


def test_it_learns_two_kinds_of_bars_and_that_a_window_has_one_kind() -> None:
    """A mixture that no Gaussian is: every window all -1 or all +1; a known bar decides which."""
    torch.manual_seed(0)
    made = BarPrior(replace(small.MODEL, latent_dim=1))
    optimiser = torch.optim.Adam(made.parameters(), 3e-3)
    noise, n = torch.Generator().manual_seed(0), 6
    no = torch.zeros(128, n, dtype=torch.bool)
    for _ in range(400):
        side = torch.randint(0, 2, (128, 1, 1), generator=noise).float() * 2 - 1
        z = side + 0.05 * torch.randn(128, n, 1, generator=noise)
        known = no.clone()
        known[:64, 2] = True
        loss = made.loss(z, torch.zeros(128, n, C), known, ~no, noise)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    batch = {"told": torch.zeros(128, n, C), "there": ~no, "noise": torch.randn(128, n, 1, generator=noise)}
    free = made.draw(torch.zeros(128, n, 1), known=no, steps=20, **batch)[..., 0]
    near = (free.abs() - 1).abs() < 0.4
    assert float(near.float().mean()) > 0.85
    assert float((free.sign() == free.sign()[:, :1]).float().mean()) > 0.9
    assert 0.25 < float((free[:, 0] > 0).float().mean()) < 0.75
    known = no.clone()
    known[:, 2] = True
    led = made.draw(torch.ones(128, n, 1), known=known, steps=20, **batch)[..., 0]
    assert float((led > 0).float().mean()) > 0.95
    fits = made.nats(torch.ones(128, n, 1), batch["told"], ~no, torch.Generator().manual_seed(1)).mean()
    mixed = torch.ones(128, n, 1)
    mixed[:, ::2] = -1
    assert fits < made.nats(mixed, batch["told"], ~no, torch.Generator().manual_seed(1)).mean() - 0.3


def test_the_bound_on_nats_of_gaussian_noise_is_its_own() -> None:
    """With the velocity that is right for N(0, 1) latents, the bound is the entropy of what is heard of them."""
    torch.manual_seed(0)

    class Exact(BarPrior):
        def forward(self, x: Tensor, time: Tensor, told: Tensor, known: Tensor, there: Tensor) -> Tensor:
            t = time[..., None]
            return x * (2 * t - 1) / (t**2 + (1 - t) ** 2)  # E[z - noise | x]

    made = Exact(small.MODEL)
    z, there = torch.randn(400, WINDOW, Z), torch.ones(400, WINDOW, dtype=torch.bool)
    found = float(made.nats(z, torch.zeros(400, WINDOW, C), there, torch.Generator().manual_seed(0)).mean())
    spread = 1 + ((1 - HEARD) / HEARD) ** 2  # variance of the latents with the noise that is left at HEARD
    assert found == pytest.approx(Z * 0.5 * math.log(2 * math.pi * math.e * spread), rel=0.03)


def test_what_a_window_is_told_is_its_own() -> None:
    bars = small.conditions([96, 96, 72, 96, 48, 96, 96], (5, 2))
    z_local, z_global = torch.arange(3.0)[:, None].expand(3, 8), torch.arange(2.0)[:, None].expand(2, 8)
    rows = torch.tensor([[2, 3, 4], [5, 6, 6]])
    edge = torch.tensor([True, False])
    told = told_of(bars, rows, z_local, z_global, edge, ~edge)
    assert told.shape == (2, 3, C)
    assert told[..., 0].tolist() == [[0.75, 1, 0.5], [1, 1, 1]]
    assert told[..., 18].tolist() == [[0, 0, 1], [2, 2, 2]]  # a phrase each
    assert told[..., 26].tolist() == [[0, 0, 0], [1, 1, 1]]  # a piece each
    assert told[:, 0, -2:].tolist() == [[1, 0], [0, 1]]
