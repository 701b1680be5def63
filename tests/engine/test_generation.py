"""Where new music starts: latents drawn from the prior, and the arc between two sets of latents."""

from __future__ import annotations

import pytest
import torch

from engine import compose
from engine.errors import MorphonyError
from engine.generation import blank_score, draw_latents
from engine.model.latents import slerp
from engine.score.timing import BarGrid
from engine.session import Session, conditions_of
from engine.tokens.bars import to_bars


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
