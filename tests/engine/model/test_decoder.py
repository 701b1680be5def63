"""The decoder: each latent level moves its own bars and no others; sliders reach only what they are about."""

from __future__ import annotations

import pytest
import torch

from engine.attributes import NAMES
from engine.model import fields as f
from engine.model.batch import Bars, Offsets
from engine.model.decoder import OF_DURATION, OF_ONSETS, OF_VELOCITY
from engine.model.vaegan import MusicTransformerVAEGAN
from tests.engine import small

BARS = small.conditions([96] * 12)  # three phrases of one piece


@pytest.fixture
def model() -> MusicTransformerVAEGAN:
    return small.model()


@pytest.fixture
def latents() -> dict[str, torch.Tensor]:
    noise = torch.Generator().manual_seed(5)
    c = small.MODEL
    sizes = {"z_global": (1, c.global_dim), "z_local": (3, c.local_dim), "z_fine": (12, c.latent_dim)}
    return {name: torch.randn(size, generator=noise) for name, size in sizes.items()}


def changed_bars(
    model: MusicTransformerVAEGAN, latents: dict[str, torch.Tensor], level: str, row: int, bars: Bars = BARS
) -> list[int]:
    """Which bars' logits move when one row of one level moves."""
    free = Offsets.none(len(bars.clocks))
    with torch.no_grad():
        before = model.decoder.onsets(model.slots(**latents, bars=bars, offsets=free))
        moved = latents | {level: latents[level].clone()}
        moved[level][row] += 1.0
        after = model.decoder.onsets(model.slots(**moved, bars=bars, offsets=free))
    return torch.nonzero((before != after).any(1))[:, 0].tolist()


def test_the_fine_latent_of_a_bar_moves_that_bar_only(model, latents) -> None:
    """Trap 4: "hierarchical" latents that were constants added everywhere."""
    for bar in (0, 3, 11):
        assert changed_bars(model, latents, "z_fine", bar) == [bar]


def test_the_local_latent_of_a_phrase_moves_its_four_bars_only(model, latents) -> None:
    """Trap 4."""
    assert changed_bars(model, latents, "z_local", 1) == [4, 5, 6, 7]
    assert changed_bars(model, latents, "z_local", 2) == [8, 9, 10, 11]


def test_the_global_latent_moves_every_bar_of_its_piece(model, latents) -> None:
    """Trap 4."""
    assert changed_bars(model, latents, "z_global", 0) == list(range(12))
    two_pieces = latents | {"z_global": latents["z_global"].repeat(2, 1)}
    bars = small.conditions([96] * 12, [8, 4])
    assert changed_bars(model, two_pieces, "z_global", 1, bars) == [8, 9, 10, 11]


def test_a_bar_decoded_alone_equals_the_bar_beside_longer_ones(model, latents) -> None:
    """Padding of slots is inert, so bars can be batched and cached one by one."""
    bars = small.conditions([96, 72, 288, 12])
    four = {"z_global": latents["z_global"], "z_local": latents["z_local"][:1], "z_fine": latents["z_fine"][:4]}
    with torch.no_grad():
        together = model.slots(**four, bars=bars, offsets=Offsets.none(4))
        for bar in range(4):
            one = bars.select(torch.tensor([bar]))
            alone = model.slots(four["z_global"], four["z_local"], four["z_fine"][bar : bar + 1], one, Offsets.none(1))
            n = int(one.slots)
            assert alone.shape[1] == n
            assert torch.allclose(alone[0], together[bar, :n], atol=1e-5)


def test_bars_may_be_decoded_in_any_order(model, latents) -> None:
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        straight = model.slots(**latents, bars=BARS, offsets=Offsets.none(12))
        shuffled = model.slots(
            latents["z_global"], latents["z_local"], latents["z_fine"][order], BARS.select(order), Offsets.none(12)
        )
    assert torch.allclose(straight[order], shuffled, atol=1e-5)


@pytest.mark.parametrize("clocks", [288, 384, 12, 1])
def test_bars_of_any_length_have_a_cell_for_every_clock_and_pitch(model, latents, clocks: int) -> None:
    bars = small.conditions([clocks])
    with torch.no_grad():
        slots = model.slots(latents["z_global"], latents["z_local"][:1], latents["z_fine"][:1], bars, Offsets.none(1))
        logits = model.decoder.onsets(slots)
    assert logits.shape == (1, -(-clocks // f.SLOT_CLOCKS) * f.CELLS_PER_SLOT)
    assert torch.isfinite(logits).all()


def _onsets_and_fields(model, latents, offsets):
    cells = torch.tensor([0, 24 * f.N_PITCHES + 40, 95 * f.N_PITCHES + 87])
    bar = torch.tensor([0, 5, 11])
    with torch.no_grad():
        slots = model.slots(**latents, bars=BARS, offsets=offsets)
        return model.decoder.onsets(slots), model.decoder.fields(slots, bar, cells, offsets)


@pytest.mark.parametrize("name", NAMES)
def test_a_slider_reaches_only_what_it_is_about(model, latents, name: str) -> None:
    """Articulation reaches durations alone, dynamics velocities alone: by construction, not by training."""
    rest_onsets, rest = _onsets_and_fields(model, latents, Offsets.none(12))
    onsets, fields = _onsets_and_fields(model, latents, small.offsets(12, **{name: 2.0}))
    i = NAMES.index(name)
    assert torch.equal(onsets, rest_onsets) == (i not in OF_ONSETS)
    if i in OF_DURATION + OF_VELOCITY:
        assert torch.equal(fields.duration, rest.duration) == (i not in OF_DURATION)
        assert torch.equal(fields.velocity, rest.velocity) == (i not in OF_VELOCITY)
        assert torch.equal(fields.micro, rest.micro)
        assert torch.equal(fields.part, rest.part)


def test_a_free_slider_says_nothing_whatever_its_value(model, latents) -> None:
    silent = Offsets(torch.full((12, len(NAMES)), 3.0), torch.zeros(12, len(NAMES)))
    one, _ = _onsets_and_fields(model, latents, silent)
    two, _ = _onsets_and_fields(model, latents, Offsets.none(12))
    assert torch.equal(one, two)
    held, _ = _onsets_and_fields(model, latents, small.offsets(12, density=0.0))
    assert not torch.equal(held, two)  # held at its place is not the same as free
