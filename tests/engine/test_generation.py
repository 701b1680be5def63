"""Where new music starts: latents drawn from the prior, and the arc between two sets of latents."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine import compose
from engine.errors import MorphonyError
from engine.generation import Given, blank_score, draw_latents
from engine.model.latents import slerp
from engine.model.level_priors import LevelPriors
from engine.model.upper_prior import UpperPrior, told_of_pieces
from engine.score.timing import BarGrid
from engine.session import Session, conditions_of
from engine.tokens.bars import to_bars
from tests.engine import small


def test_the_arc_begins_and_ends_with_its_ends_and_keeps_lengths() -> None:
    a, b = torch.randn(5, 16), torch.randn(5, 16)
    assert torch.allclose(slerp(a, b, 0.0), a, atol=1e-5)
    assert torch.allclose(slerp(a, b, 1.0), b, atol=1e-5)
    unit = slerp(a / a.norm(dim=-1, keepdim=True), b / b.norm(dim=-1, keepdim=True), 0.4).norm(dim=-1)
    assert torch.allclose(unit, torch.ones(5), atol=1e-5)
    assert torch.allclose(slerp(a, a, 0.3), a, atol=1e-5)
    assert slerp(torch.zeros(1, 4), torch.ones(1, 4), 0.5).tolist() == [[0.5] * 4]


@pytest.mark.parametrize("meter", [(4, 4), (3, 4), (7, 8), (12, 8)])
def test_a_blank_score_has_the_bars_it_was_asked_for(meter: tuple[int, int]) -> None:
    score, end = blank_score(5, meter)
    grid = BarGrid.of(score, end)
    assert (len(grid), grid.starts[-1]) == (5, end)
    assert set(grid.clocks) == {96 * meter[0] // meter[1]}


def test_no_bars_and_too_many_are_refused() -> None:
    for bars in (0, 100_000):
        with pytest.raises(MorphonyError, match="1 to 1024 bars"):
            blank_score(bars, (4, 4))


def test_latents_follow_the_seed_and_their_temperature(session: Session) -> None:
    score, end = blank_score(10, (4, 4))
    conditions = conditions_of(BarGrid.of(score, end), 2)
    first, again, other = (draw_latents(session, conditions, seed, 1.0) for seed in (1, 1, 2))
    assert [tuple(z.shape) for z in first] == [(1, 8), (3, 8), (10, 16)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[2], other[2])
    assert not draw_latents(session, conditions, 1, 0.0)[1].any()


def test_sliders_of_new_music_count_from_what_it_is_at_rest(session: Session) -> None:
    rest, louder = (
        compose.run(compose.generate(session, 4, seed=3, temperature=1.0, offsets=offsets))
        for offsets in ({}, {"dynamics": 1.0})
    )
    grid = BarGrid.of(rest)
    a, b = to_bars(rest, grid), to_bars(louder, grid)
    assert a[["bar", "onset", "pitch"]].tolist() == b[["bar", "onset", "pitch"]].tolist()
    assert b["velocity"].mean() > a["velocity"].mean() + 5


def test_pieces_drawn_together_are_what_they_are_alone(session: Session) -> None:
    """Any number of pieces of any length in one batch, each from its own seed."""
    lengths = (10, 3, 16)
    alone = []
    for seed, bars in enumerate(lengths):
        score, end = blank_score(bars, (3, 4))
        alone.append(draw_latents(session, conditions_of(BarGrid.of(score, end), 2), seed, 1.0))
    together = small.conditions([72] * sum(lengths), lengths)
    for drawn in (draw_latents(session, together, seeds, 1.0) for seeds in (0, (0, 1, 2))):
        for level, one in zip(drawn, zip(*alone, strict=True), strict=True):
            assert torch.allclose(level, torch.cat(one), atol=1e-4)
    with pytest.raises(MorphonyError, match="3 pieces to draw but 2 seeds"):
        draw_latents(session, together, (0, 1), 1.0)


def test_later_bars_follow_from_those_before_and_known_ones_stay(session: Session) -> None:
    """A window moves on by half; what is given is in view on both sides, and never changes."""
    n = 40
    conditions = small.conditions([96] * n)
    z_global, z_local, z_fine = draw_latents(session, conditions, 5, 1.0)
    known = torch.ones(n, dtype=torch.bool)
    known[20:23] = False
    given = Given(z_global, z_local, z_fine, known)
    drawn = [draw_latents(session, conditions, 7, 1.0, g)[2] for g in (given, moved(given, 12), moved(given, 27))]
    for z in drawn:
        assert not torch.equal(z[20:23], z_fine[20:23])
    assert torch.equal(drawn[0][known], z_fine[known])
    assert not torch.allclose(drawn[1][20:23], drawn[0][20:23], atol=1e-5)  # 8 bars before
    assert not torch.allclose(drawn[2][20:23], drawn[0][20:23], atol=1e-5)  # and 5 after
    for far in (10, 36):  # out of the window
        assert torch.equal(draw_latents(session, conditions, 7, 1.0, moved(given, far))[2][20:23], drawn[0][20:23])


def moved(given: Given, bar: int) -> Given:
    z = given.z_fine.clone()
    z[bar] += 2
    return replace(given, z_fine=z)


@pytest.mark.parametrize("kind", ["mixture", "flow"])
def test_new_music_starts_from_the_prior_the_model_was_trained_with(session: Session, kind: str) -> None:
    torch.manual_seed(0)
    priors = LevelPriors(replace(small.MODEL, prior=kind))
    with torch.no_grad():
        for p in priors.parameters():
            p += 0.3 * torch.randn_like(p)
    plain, session.model.priors = session.model.priors, priors
    try:
        z_global, z_local, _ = draw_latents(session, small.conditions([96] * 10), 3, 1.0)
    finally:
        session.model.priors = plain
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        assert torch.equal(z_global, priors.sample("global", 1, noise))
        assert torch.equal(z_local, priors.sample("local", 3, noise))


def test_upper_latents_fitted_to_music_are_what_new_music_starts_from(session: Session) -> None:
    fitted = UpperPrior(small.MODEL)
    rng = torch.Generator().manual_seed(0)
    told = told_of_pieces(small.conditions([96] * 500, [1] * 500))
    fitted.fit(told, 5 + 0.1 * torch.randn(500, 8, generator=rng), -5 + 0.1 * torch.randn(500, 4, 8, generator=rng))
    session.model.prior.upper = fitted
    try:
        z_global, z_local, z_fine = draw_latents(session, small.conditions([96] * 24, (16, 8)), 3, 1.0)
    finally:
        session.model.prior.upper = None
    assert [tuple(z.shape) for z in (z_global, z_local, z_fine)] == [(2, 8), (6, 8), (24, 16)]
    assert (z_global - 5).abs().max() < 1
    assert (z_local + 5).abs().max() < 1
