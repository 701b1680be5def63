"""A model folder that plays one hand-written tune, made in seconds. A helper of tests; not a test."""

from __future__ import annotations

from pathlib import Path

import torch

from engine import checkpoint
from engine.score.timing import BarGrid
from engine.tokens.bars import to_bars
from tests.engine import small


def model_folder(folder: Path) -> Path:
    """Teach a small model `small.rich_score` and write it as a model the command line opens."""
    torch.set_num_threads(1)
    torch.manual_seed(3)
    score = small.rich_score()
    made = small.model(3)
    notes, bars = to_bars(score, BarGrid.of(score)), small.conditions([96] * 8, parts=3)
    small.learn(made, notes, bars, 160)
    small.rouse(made, notes, bars)
    direction = torch.randn(small.MODEL.latent_dim, generator=torch.Generator().manual_seed(0))
    facts = {"deviations": small.DEVIATIONS.tolist(), "colours": ["colour_1"]}
    checkpoint.save(folder, made.state_dict(), small.CONFIG, facts, colours={"colour_1": direction})
    return folder
