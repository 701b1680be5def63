"""Soft attributes are the attributes: the same figures forward, and backward a slope that leads the right way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.attributes import NAMES, measure_bars
from engine.model import fields as f
from engine.model import soft
from engine.model.batch import Notes
from engine.model.soft import SoftBars
from engine.model.soft_attributes import measure
from tests.engine import small

CLOCKS = [96, 72, 96, 24, 96]  # the last bar is silent


def written(seed: int) -> np.ndarray:
    """Random bars of all lengths, in the classes that the model's fields have."""
    rng = np.random.default_rng(seed)
    rows = {
        (bar, int(rng.integers(CLOCKS[bar])), int(rng.integers(21, 109)))
        for bar in range(4)
        for _ in range([12, 7, 1, 3][bar])
    }
    notes = small.bar_notes(*sorted(rows))
    notes["duration"] = f.DURATIONS[rng.integers(0, 40, len(notes))]
    notes["velocity"] = rng.integers(0, 32, len(notes)) * 4 + 1
    return notes


def grids(notes: np.ndarray) -> SoftBars:
    """Leaves of a graph, at velocities in the middle of their bins."""
    bars = soft.real(Notes.of(notes), small.conditions(CLOCKS), 96)
    return SoftBars(*(g.clone().requires_grad_() for g in (bars.onset, bars.duration, bars.velocity)), bars.inside)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(3))
def test_forward_they_are_what_is_measured_on_the_notes(name: str, seed: int) -> None:
    notes = written(seed)
    truth = measure_bars(notes, np.array(CLOCKS))[:, NAMES.index(name)]
    value, defined = measure(name, grids(notes))
    bin_middle = 0.5 if name == "dynamics" else 0.0  # a velocity is the middle of its bin of four
    assert defined.tolist() == np.isfinite(truth).tolist()
    found = value.detach().numpy()[defined.numpy()]
    assert found == pytest.approx(truth[np.isfinite(truth)] + bin_middle, abs=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_backward_every_slope_is_finite_also_in_silent_and_flat_bars(name: str) -> None:
    """Steep tables and saturated sigmoids made the design's first tries diverge."""
    flat = small.bar_notes((0, 0, 60), (0, 24, 60), (1, 0, 72), (2, 0, 21), (2, 95, 108))
    bars = grids(flat)
    value, defined = measure(name, bars)
    value[defined].sum().backward()
    slopes = [g.grad for g in (bars.onset, bars.duration, bars.velocity) if g.grad is not None]
    assert slopes
    assert all(bool(torch.isfinite(g).all()) for g in slopes)
    assert max(float(g.abs().max()) for g in slopes) < 200


HERE = small.bar_notes((0, 0, 60), (0, 24, 64), (0, 48, 67), (0, 72, 64))


@pytest.mark.parametrize(
    ("name", "clock", "pitch", "rises"),
    [
        ("density", 12, 62, True),
        ("rhythm", 12, 62, True),
        ("rhythm", 0, 62, None),  # this 16th is struck already
        ("syncopation", 6, 62, True),
        ("syncopation", 12, 62, False),
        ("polyphony", 12, 62, True),
        ("register", 12, 90, True),
        ("register", 12, 30, False),
        ("range", 12, 90, True),
        ("range", 12, 62, None),  # between the lowest and the highest
        ("leaps", 48, 90, True),
        ("pitch_variety", 12, 61, True),
        ("consonance", 12, 61, False),
    ],
)
def test_a_cell_s_slope_says_what_a_note_there_would_do(name: str, clock: int, pitch: int, rises: bool | None) -> None:
    bars = grids(HERE)
    value, _ = measure(name, bars)
    value[0].backward()
    slope = float(bars.onset.grad[0, clock, pitch - 21])
    more = np.concatenate([HERE, small.bar_notes((0, clock, pitch, 6))])
    before, after = (measure_bars(n, np.array([96]))[0, NAMES.index(name)] for n in (HERE, more))
    if rises is None:
        assert after == pytest.approx(before)
    else:
        assert (slope > 0) == rises == (after > before)


def test_no_onset_moves_for_the_sake_of_loudness_or_length() -> None:
    for name in ("dynamics", "dynamic_spread", "articulation"):
        bars = grids(written(0))
        value, defined = measure(name, bars)
        value[defined].sum().backward()
        assert bars.onset.grad is None or not bars.onset.grad.any()
