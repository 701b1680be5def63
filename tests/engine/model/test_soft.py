"""Soft bars: what is heard is notes or none, what is learned goes back to every head of the decoder."""

from __future__ import annotations

import pytest
import torch

from engine.model import fields as f
from engine.model import soft
from engine.model.batch import Notes
from engine.model.soft import WIDEST, SoftBars
from tests.engine import small

VIEWS = ("count", "rhythm", "chroma", "struck", "top", "intervals", "loudness", "lengths", "sounding")
CLOCKS = (96, 72, 96, 30)


def heard(*rows, clocks: tuple[int, ...] = (96,)) -> SoftBars:
    return soft.real(Notes.of(small.bar_notes(*rows)), small.conditions(clocks))


def decoded(model, generator: torch.Generator | None = None) -> tuple[SoftBars, torch.Tensor]:
    """Bars of an untrained decoder that plays a fair number of notes, and the slots they come from."""
    with torch.no_grad():
        model.decoder.cells.bias.fill_(-2.5)
    bars = small.conditions(CLOCKS)
    rng = torch.Generator().manual_seed(0)
    z = torch.randn(4, 16 + 8 + 8, generator=rng)
    slots = model.decoder.slots(z, bars, small.offsets(4))
    slots.retain_grad()
    return soft.decoded(model.decoder, slots, bars, small.offsets(4), generator), slots


@pytest.mark.parametrize("seed", [None, 3])
def test_cells_are_notes_or_none_and_nothing_is_past_a_bar_s_end(seed: int | None) -> None:
    bars, _ = decoded(small.model(), None if seed is None else torch.Generator().manual_seed(seed))
    assert set(bars.onset.detach().unique().tolist()) == {0.0, 1.0}
    assert bars.clocks.tolist() == list(CLOCKS)
    for grid in (bars.onset, bars.duration, bars.velocity):
        assert not (grid.detach() * ~bars.inside[..., None]).any()
    silent = bars.onset.detach() == 0
    assert not bars.duration.detach()[silent].any()
    assert not bars.velocity.detach()[silent].any()


def test_the_gradient_of_a_cell_is_that_of_its_sigmoid() -> None:
    model = small.model()
    bars, slots = decoded(model)
    weight = torch.randn(bars.onset.shape, generator=torch.Generator().manual_seed(1))
    (bars.onset * weight).sum().backward()
    free = slots.detach().requires_grad_()
    odds = model.decoder.onsets(free).view(bars.onset.shape) - torch.logit(torch.tensor(model.config.threshold))
    (torch.sigmoid(odds) * bars.inside[..., None] * weight).sum().backward()
    assert torch.allclose(slots.grad, free.grad, atol=1e-6)


@pytest.mark.parametrize("grid", ["onset", "duration", "velocity"])
def test_every_linear_functional_of_a_grid_reaches_its_head(grid: str) -> None:
    model = small.model()
    bars, slots = decoded(model)
    weight = torch.randn(bars.onset.shape, generator=torch.Generator().manual_seed(1))
    (getattr(bars, grid) * weight).sum().backward()
    head = {"onset": "cells", "duration": "duration", "velocity": "velocity"}[grid]
    for name in ("cells", "duration", "velocity"):
        grad = getattr(model.decoder, name).weight.grad
        assert (grad is not None and bool(grad.any())) == (name == head)
    reached = slots.grad.any(dim=-1)
    assert torch.equal(reached, bars.inside[:, :: f.SLOT_CLOCKS]) if grid == "onset" else reached.any()


@pytest.mark.parametrize("view", VIEWS)
def test_every_linear_functional_of_a_view_reaches_the_decoder(view: str) -> None:
    model = small.model()
    bars, _ = decoded(model)
    value = getattr(bars, view)
    (value * torch.randn(value.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    assert model.decoder.cells.weight.grad.any()
    assert all(p.grad.isfinite().all() for p in model.decoder.parameters() if p.grad is not None)
    through = {
        "loudness": model.decoder.velocity,
        "lengths": model.decoder.duration,
        "sounding": model.decoder.duration,
    }
    if view in through:
        assert through[view].weight.grad.any()


@pytest.mark.parametrize("view", VIEWS)
def test_a_view_tells_a_silent_bar_to_play(view: str) -> None:
    """Where there is no note there is nothing to count, and still a gradient."""
    grid = torch.zeros(1, 96, f.N_PITCHES, requires_grad=True)
    bars = SoftBars(grid, torch.zeros_like(grid), torch.zeros_like(grid), torch.ones(1, 96, dtype=torch.bool))
    value = getattr(bars, view)
    assert not value.any()
    if view in ("count", "rhythm", "chroma", "struck", "top", "sounding"):
        value.sum().backward()
        assert (grid.grad > 0).all()


def test_a_perfect_decoding_is_what_was_written() -> None:
    """`decoded` of a decoder that is sure of the right notes agrees with `real` in every grid and view."""
    model, notes, bars = small.model(), small.tune(8), small.conditions([96] * 8)
    small.learn(model, notes, bars, 80)
    target = Notes.of(notes)
    with torch.no_grad():
        q = model.encode(target, bars, None, True)
        slots = model.slots(q.z_global, q.z_local, q.z_fine, bars, small.offsets(8))
        said, meant = soft.decoded(model.decoder, slots, bars, small.offsets(8)), soft.real(target, bars)
    for name in ("onset", "duration", "velocity", *VIEWS):
        assert torch.allclose(getattr(said, name), getattr(meant, name), atol=1e-5), name


def test_more_likely_lengths_and_loudnesses_are_heard_not_mixtures() -> None:
    """Otherwise a critic would tell real from decoded by values that no note can have."""
    bars, _ = decoded(small.model())
    struck = bars.onset > 0.5
    assert torch.isin(bars.duration[struck].detach(), torch.as_tensor(f.DURATIONS / 24).float()).all()
    assert (
        torch.isclose(bars.velocity[struck].detach()[:, None], torch.as_tensor(f.VELOCITIES / 127).float(), atol=1e-6)
        .any(1)
        .all()
    )


def test_noise_decides_cells_as_often_as_a_take_s_temperature_says() -> None:
    model = small.model()
    bars, slots = decoded(model)
    above = model.decoder.onsets(slots).detach() - torch.logit(torch.tensor(model.config.threshold))
    odds = torch.sigmoid(above / soft.TEMPERATURE).view(bars.onset.shape) * bars.inside[..., None]
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        drawn = [
            soft.decoded(model.decoder, slots, small.conditions(CLOCKS), small.offsets(4), rng).count.sum()
            for _ in range(40)
        ]
    assert torch.stack(drawn).mean().item() == pytest.approx(odds.sum().item(), rel=0.03)
    assert torch.stack(drawn).std() > 0


# ---------------------------------------------------------------- what the views say


def test_the_top_line_is_the_highest_note_of_each_onset() -> None:
    bars = heard((0, 0, 60), (0, 0, 64), (0, 0, 67), (0, 24, 62), (0, 49, 72), (0, 48, 48))
    line = bars.top[0]
    assert line.sum(1).nonzero()[:, 0].tolist() == [0, 6, 12]
    assert (line.argmax(1)[[0, 6, 12]] + 21).tolist() == [67, 62, 72]
    assert torch.allclose(line.sum(), torch.tensor(3.0), atol=0.02)


def test_intervals_are_the_steps_of_the_top_line() -> None:
    bars = heard((0, 0, 60), (0, 0, 40), (0, 24, 64), (0, 48, 62), (0, 60, 62), (0, 72, 90), (0, 84, 62))
    found = {i - WIDEST: round(float(n)) for i, n in enumerate(bars.intervals[0]) if n > 0.5}
    assert found == {4: 1, -2: 1, 0: 1, 12: 1, -12: 1}  # steps wider than an octave are the widest
    assert float(bars.intervals.sum()) == pytest.approx(5, abs=0.05)


def test_an_interval_does_not_cross_a_bar_line() -> None:
    assert float(heard((0, 72, 60), (1, 0, 67), clocks=(96, 96)).intervals.abs().sum()) < 1e-6


def test_histograms_count_every_note_once_and_order_them() -> None:
    quiet, loud = heard((0, 0, 60, 24, 20)), heard((0, 0, 60, 24, 120))
    short, long = heard((0, 0, 60, 3)), heard((0, 0, 60, 96))
    for bars in (quiet, loud, short, long):
        assert float(bars.loudness.sum()) == pytest.approx(1)
        assert float(bars.lengths.sum()) == pytest.approx(1)
    assert quiet.loudness.argmax() < loud.loudness.argmax()
    assert short.lengths.argmax() < long.lengths.argmax()


def test_louder_moves_the_velocity_histogram_up() -> None:
    """The gradient of a note's velocity, by the mean of the histogram."""
    bars = heard((0, 0, 60, 24, 60), (0, 24, 64, 24, 60))
    velocity = bars.velocity.clone().requires_grad_()
    places = torch.arange(soft.LOUDNESSES, dtype=torch.float32)
    (SoftBars(bars.onset, bars.duration, velocity, bars.inside).loudness @ places).sum().backward()
    assert (velocity.grad[bars.onset > 0] > 0).all()


def test_notes_sound_for_as_long_as_they_last() -> None:
    bars = heard((0, 0, 60, 48), (0, 48, 64, 12))
    sounds = bars.sounding[0] > 0.5
    assert sounds[:, 0].nonzero()[:, 0].tolist() == list(range(12))
    assert sounds[:, 4].nonzero()[:, 0].tolist() == [12, 13, 14]
