"""A small model that has learnt four bars, and their latents."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.model.batch import Bars, Notes
from engine.model.vaegan import MusicTransformerVAEGAN
from tests.engine import small


@pytest.fixture(scope="session")
def learnt_once() -> tuple[MusicTransformerVAEGAN, np.ndarray, tuple[torch.Tensor, ...]]:
    torch.set_num_threads(1)
    notes, bars = small.tune(4), small.conditions([96] * 4)
    model = small.model(2)
    small.learn(model, notes, bars, 150)
    with torch.no_grad():
        q = model.encode(Notes.of(notes), bars, mean=True)
    return model, notes, (q.z_global, q.z_local, q.z_fine)


@pytest.fixture
def learnt(learnt_once) -> tuple[MusicTransformerVAEGAN, np.ndarray, Bars, tuple[torch.Tensor, ...]]:
    """The model, four bars it knows, their conditions and their latents."""
    model, notes, z = learnt_once
    return model, notes, small.conditions([96] * 4), z
