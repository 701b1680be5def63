"""Slices of the loss: their middle is the model, directions are scaled filter by filter, the weights come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.config import Config
from tests.engine import small
from trainer.batches import Windows
from trainer.landscape import Landscape, curvature, direction, survey, width
from trainer.objective import objective_of


@pytest.fixture(scope="module")
def batches(windows: Windows) -> list:
    return [batch for _, batch in windows.held_out(1)]


def measured(config: Config, batches: list, **shape: int) -> tuple[Landscape, int]:
    model = small.model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    job, yields = survey(model, config, batches, **shape), 0
    while True:
        try:
            next(job)
            yields += 1
        except StopIteration as end:
            assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
            return end.value, yields


def test_the_middle_is_the_model_and_the_weights_are_back_to_the_bit(config: Config, batches: list) -> None:
    found, yields = measured(config, batches, lines=2, points=5, side=3)
    assert yields == 2 * 5 + 3 * 3
    assert found.lines.shape == (2, 5)
    assert found.grid.shape == (3, 3)
    assert (found.lines[:, 2] == found.centre).all()
    assert found.grid[1, 1] == found.centre
    objective = objective_of(small.model(), config.loss)
    with torch.no_grad():
        values = [float(objective(b, 1.0, torch.Generator().manual_seed(0))[0]) for b in batches]
    assert found.centre == pytest.approx(np.average(values, weights=[b.size for b in batches]))
    np.testing.assert_allclose(found.grid[:, 1], found.lines[0, ::2], rtol=1e-5)  # the plane holds the lines
    again, _ = measured(config, batches, lines=2, points=5, side=3)
    assert (again.lines == found.lines).all()


def test_a_survey_called_off_leaves_the_weights_as_they_were(config: Config, batches: list) -> None:
    model = small.model()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    job = survey(model, config, batches, lines=1, points=5, side=3)
    next(job)
    assert not all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    job.close()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_every_filter_of_a_direction_is_as_long_as_the_models_own() -> None:
    model = small.model(mode="vae_gan")
    way = direction(model, torch.Generator().manual_seed(0))
    own = dict(model.named_parameters())
    assert {name.split(".")[0] for name in way} >= {"encoder", "decoder"}
    assert not [name for name in way if name.startswith(("prior.", "critic.")) or own[name].ndim < 2]
    for name, d in way.items():
        wanted = own[name].detach().flatten(1).norm(dim=1)
        torch.testing.assert_close(d.flatten(1).norm(dim=1), wanted)


def test_figures_of_a_parabola_are_its_own() -> None:
    at = np.linspace(-1, 1, 41)
    line = 10 + 0.5 * 8 * at**2
    assert curvature(at[16:25], line[16:25]) == pytest.approx(8)
    assert width(at, line, 10.0) == pytest.approx(2 * 0.5, rel=0.01)  # 4 a^2 = 1
    assert width(at, np.full(41, 10.0), 10.0) is None
    side = np.linspace(-1, 1, 5)
    plane = 10 + 4 * side[:, None] ** 2 + 4 * side[None, :] ** 2
    figures = Landscape(at, line[None], side, plane, 10.0).figures()
    assert figures["curvature"] == [pytest.approx(8)]
    assert figures["sharpness"] == pytest.approx(4 * 0.25**2 / 11)
    assert figures["lowest"] == 10
