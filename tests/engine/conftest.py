"""A session whose small model has learnt one hand-written tune: real in every part, ready in seconds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine import checkpoint
from engine.score.timing import BarGrid
from engine.session import Piece, Session
from engine.tokens.bars import to_bars
from tests.engine import small


@pytest.fixture(scope="session")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    """A small model that plays `small.rich_score` from its latents, opened from its folder."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    score = small.rich_score()
    notes = to_bars(score, BarGrid.of(score))
    made = small.model(3)
    small.learn(made, notes, small.conditions([96] * 8, parts=3), 120)
    with torch.no_grad():  # as unsure as a model of much music is, so that sliders find something to choose from
        for head in (made.decoder.cells, made.decoder.duration, made.decoder.velocity):
            head.weight *= 0.4
            head.bias *= 0.4
    rng = torch.Generator().manual_seed(0)
    small.rouse(made, notes, small.conditions([96] * 8, parts=3))
    colours = {f"colour_{i}": torch.randn(small.MODEL.latent_dim, generator=rng) for i in (1, 2)}
    facts = {"deviations": small.DEVIATIONS.tolist(), "colours": sorted(colours)}
    folder = tmp_path_factory.mktemp("model") / "small"
    checkpoint.save(folder, made.state_dict(), small.CONFIG, facts, colours=colours)
    return Session.open(folder, "cpu")


@pytest.fixture
def piece(session: Session) -> Piece:
    """The tune as the model sees it."""
    return session.encode(small.rich_score())


@pytest.fixture
def rng() -> np.random.Generator:
    """The same randomness each time."""
    return np.random.default_rng(0)
