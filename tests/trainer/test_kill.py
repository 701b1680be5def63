"""A run that is killed by signal 9 again and again is, in the end, the run that nobody killed: to the bit."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoint import Checkpoint
from engine.config import Config, LossConfig, TrainConfig
from tests.engine import small
from tests.trainer.killed import Killer, timed
from trainer.corpus import Corpus

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is neither fork nor signal 9")

TRAIN = TrainConfig(
    seed=5,
    steps=16,
    slots_per_step=2 * 24 * 8,
    accumulate=2,
    lr=5e-3,
    lr_warmup=2,
    lr_schedule="plateau",
    plateau_patience=1,
    evaluate_every=2,
    checkpoint_every=2,
    snapshot_every=3,
    keep_best=2,
    average="best",
)
LONGEST = 0.35  # of an unbroken run may pass before a kill: every part of it is reached, by many kills and little else
LOSS = LossConfig(
    critic_start=0.2, adversarial_start=0.5, word_dropout=0.1, balance="uncertainty", kl_schedule="adaptive"
)
VAE = Config(small.MODEL, LOSS, TRAIN)
GAN = replace(VAE, model=replace(small.MODEL, mode="vae_gan", discriminator_layers=1))


def lines(out: Path) -> list[dict]:
    """The log without what a clock or the system says."""
    rows = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    return [{key: row[key] for key in ("n", "train", "held_out", "message")} for row in rows]


def assert_same(out: Path, other: Path) -> None:
    assert lines(out) == lines(other)
    folders = sorted(p.name for p in other.iterdir())
    assert sorted(p.name for p in out.iterdir()) == folders  # nothing left over of a killed save
    for name in folders:
        if name == "steps.jsonl":
            continue
        one, two = Checkpoint(out / name), Checkpoint(other / name)
        for file in ("model",) if name == "best" else ("model", "training"):
            a, b = one.tensors(file), two.tensors(file)
            assert a.keys() == b.keys()
            assert all(torch.equal(a[n], b[n]) for n in a)


def shorter(config: Config) -> Config:
    return replace(config, train=replace(config.train, steps=8, accumulate=1, checkpoint_every=1))


def prove(config: Config, corpus: Corpus, folder: Path, kills: int, a_run: int) -> Killer:
    """So many kills, at most so many a run; every run ends as the unbroken one did."""
    seconds = timed(config, corpus.folder, folder / "unbroken")
    killer = Killer(config, corpus.folder, np.random.default_rng(kills), LONGEST * seconds)
    number = 0
    while killer.kills < kills:
        killer.run(folder / f"run{number}", min(a_run, kills - killer.kills))
        assert_same(folder / f"run{number}", folder / "unbroken")
        number += 1
    return killer


def test_four_kills_change_nothing(corpus: Corpus, tmp_path: Path) -> None:
    killer = prove(shorter(VAE), corpus, tmp_path, 4, 4)
    assert (killer.kills, killer.corrupt) == (4, 0)


@pytest.mark.slow
@pytest.mark.parametrize("config", [VAE, GAN], ids=["vae", "vae_gan"])
def test_a_hundred_kills_change_nothing(corpus: Corpus, tmp_path: Path, config: Config) -> None:
    """Twice: two hundred in all."""
    killer = prove(config, corpus, tmp_path, 100, 20)
    assert (killer.kills, killer.corrupt) == (100, 0)
