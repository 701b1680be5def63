"""A folder of music written by hand, and corpora made of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.config import Config, TrainConfig
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.score import Meter, Score, Track, make_notes, midi
from tests.engine import small
from trainer.batches import Windows
from trainer.corpus import Corpus

TRAIN = TrainConfig(
    seed=7,
    steps=12,
    slots_per_step=4 * 24 * 8,  # four windows of 4/4
    lr=5e-3,
    lr_warmup=2,
    edited_pairs=0.5,
    evaluate_every=4,
    checkpoint_every=4,
)
CONFIG = Config(model=small.MODEL, train=TRAIN)


def waltz() -> Score:
    """Ten bars of 3/4 after a pickup, one part."""
    rows = [
        (24 + 72 * bar + 24 * beat, 24, 60 + (bar + 2 * beat) % 7, 70 + beat, 0)
        for bar in range(10)
        for beat in range(3)
    ]
    return Score(24, (Track("a"),), make_notes([(0, 24, 72, 80, 0), *rows]), (Meter(0, 1, 4), Meter(24, 3, 4)))


@pytest.fixture(scope="session")
def good_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven pieces in two folders, which are two corpora."""
    root = tmp_path_factory.mktemp("music")
    for folder in ("one", "two"):
        (root / folder).mkdir()
    for i, shift in enumerate((0, 2, 4, -3, 5, -5)):
        midi.write(small.score(8 + i, shift), root / ("one" if i < 4 else "two") / f"tune{i}.mid")
    midi.write(waltz(), root / "two" / "waltz.mid")
    return root


@pytest.fixture(scope="session")
def corpus(good_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus.build(good_folder, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="session")
def windows(corpus: Corpus) -> Windows:
    return Windows(corpus, TRAIN, small.DEVIATIONS)


@pytest.fixture(scope="session")
def config() -> Config:
    return CONFIG


@pytest.fixture(scope="module")
def model() -> MusicTransformerVAEGAN:
    """One that has learnt a tune; tests of a file may teach it more."""
    torch.set_num_threads(1)
    made = small.model(3)
    small.learn(made, small.tune(8), small.conditions([96] * 8), 100)
    return made


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
