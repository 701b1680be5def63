"""Fine-tuning on someone's own music: an adapter on the frozen model, measured on pieces it never saw.

A run is called improved only when the held-out loss fell below what the base model had.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray

from engine.checkpoint import Checkpoint
from engine.config import TrainConfig
from engine.errors import MorphonyError
from engine.model.adapter import attach, detached, restore
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.session import STARTER
from trainer.batches import Batch, Windows
from trainer.corpus import Corpus
from trainer.loop import Step, Weights, train

KINDS = ("adapter",)
HELD_OUT = 0.15  # share of the pieces the loss is measured on
REPLAY = 0.25  # share of batches from the base music, so that the style does not forget
DEMO = STARTER.parent.parent / "demo"
MEASUREMENTS = 8  # held-out measurements in a run


class Mixed:
    """Windows of someone's music, with a share of base music among them."""

    def __init__(self, own: Windows, base: Windows) -> None:
        self.own, self.base = own, base

    def draw(self, rng: np.random.Generator, progress: float = 1.0) -> Batch:
        """A batch of one or the other."""
        return (self.base if rng.random() < REPLAY else self.own).draw(rng, progress)


def personalise(
    model_dir: Path | None,
    folder: Path,
    out: Path,
    *,
    kind: str = "adapter",
    steps: int = 600,
    seed: int = 0,
    where: str = "",
    base: Path | None = None,
    resume: bool = False,
    cache: Path | None = None,
) -> Iterator[Step]:
    """Fine-tune on the music in `folder`; step 0 holds the held-out losses before.

    Writes `steps.jsonl` and, when held-out loss improved, `best`: the adapter `Session.open(adapter=out)` loads.
    `base` is music to replay (default: the demo pieces). Raises MorphonyError when nothing can be used.
    """
    if kind not in KINDS:
        raise MorphonyError(f"Personalising by {kind!r} is not built yet; this version has {', '.join(KINDS)}.")
    saved = Checkpoint(model_dir or STARTER)
    config = replace(saved.config, train=_brief(saved.config.train, steps, seed))
    config = replace(config, loss=replace(config.loss, kl_warmup=0.0))
    cache = cache or Path(platformdirs.user_cache_dir("Morphony", appauthor=False))
    corpus = Corpus.build(folder, cache, where)
    replayed = Corpus.build(base or DEMO, cache)
    deviations = np.array(saved.facts["deviations"])
    learned, kept = split(len(corpus.pieces), seed)
    model = MusicTransformerVAEGAN(saved.config.model)
    model.load(saved.tensors())
    model.requires_grad_(False)
    torch.manual_seed(seed)  # an adapter begins at random
    adapted = attach(model)
    windows = Mixed(Windows(corpus, config.train, deviations, learned), Windows(replayed, config.train, deviations))
    yield from train(
        config,
        windows,
        Windows(corpus, config.train, deviations, kept),
        out,
        {"base": saved.hash, "folder": folder.name, "kind": kind},
        model=model,
        trained=adapted,
        weights=Weights(lambda: detached(model), lambda tensors: restore(model, tensors)),
        resume=resume,
        measure_first=True,
    )


def split(pieces: int, seed: int) -> tuple[set[int], set[int]]:
    """Indices of pieces to learn from and to measure on. Raises MorphonyError below two pieces."""
    if pieces < 2:
        raise MorphonyError("Fine-tuning needs at least two different pieces: one to learn from and one to check on.")
    order: NDArray[np.int64] = np.random.default_rng(seed).permutation(pieces)
    held = max(round(pieces * HELD_OUT), 1)
    return {int(i) for i in order[held:]}, {int(i) for i in order[:held]}


def _brief(base: TrainConfig, steps: int, seed: int) -> TrainConfig:
    """A short run over a small corpus: gentle rate, quick averages, frequent measurements."""
    every = max(steps // MEASUREMENTS, 1)
    return replace(
        base,
        steps=steps,
        seed=seed,
        lr=1e-3,
        lr_warmup=max(steps // 20, 1),
        ema=0.98,
        edited_pairs=0.3,
        corpus_weights={},
        evaluate_every=every,
        checkpoint_every=every,
        patience=4,
    )
