"""A whole model from a folder of music: split, train, then colours, prior and what the sliders do, as one generator.

Knows the order of things only; every stage is its own file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray

from engine import config as configuration
from engine.attributes import NAMES
from engine.checkpoint import Checkpoint
from engine.config import Config
from engine.errors import MorphonyError
from engine.model.priors import WINDOW
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.session import Session
from trainer import finish, refine
from trainer.batches import Windows, deviations
from trainer.corpus import Corpus
from trainer.evaluate import evaluate
from trainer.events import EventCorpus, EventWindows
from trainer.loop import Step, train
from trainer.prior import train_prior
from trainer.processes import launched

HELD_OUT = 0.05  # share of the pieces the losses are measured on where no held-out music is named
RHO_PIECES = 4  # of every corpus, on which the finished model's sliders are measured


@dataclass(frozen=True, slots=True)
class Music:
    """Where the music is; without `valid` every twentieth piece is held out."""

    folder: Path
    where: str = ""
    valid: Path | None = None
    valid_where: str = ""
    cache: Path | None = None


def make(
    config: Config,
    music: Music,
    out: Path,
    *,
    resume: bool = False,
    start: Path | None = None,
    accelerator: str = "auto",
    finished: bool = False,
) -> Iterator[Step]:
    """Train below `out`, from the weights of a model folder `start` if there is one; with `finished` go on until
    `out/model` is a folder the studio opens. Under torchrun every process must call this.

    Raises MorphonyError when nothing can be used, or when `out` holds a run that is not to be resumed.
    """
    if (out / "steps.jsonl").exists() and not resume:
        raise MorphonyError(f"{out} holds a run already; resume it or choose another folder.")
    fabric = launched(config.train, accelerator)
    finished = finished and fabric.is_global_zero  # what follows is the work of one process
    if config.model.mode == "transformer":
        with fabric.rank_zero_first(local=True):  # one process of a machine reads the files, the others its cache
            heard, kept = split_events(config, music)
        yield from train(config, heard, kept, out, {}, resume=resume, start=start, fabric=fabric)
        if finished:
            _ship(out)
        return
    with fabric.rank_zero_first(local=True):
        windows, valid = split(config, music)
    facts = {"deviations": windows.deviations.tolist()}
    yield from train(config, windows, valid, out, facts, resume=resume, start=start, fabric=fabric)
    if finished:
        yield from _finish(music, windows, valid, out)


def split(config: Config, music: Music) -> tuple[Windows, Windows]:
    """Windows to learn from and windows to measure on, of different pieces."""
    cache = _cache(music)
    corpus = Corpus.build(music.folder, cache, music.where)
    sigma = deviations(corpus)
    if music.valid is not None:
        held = Corpus.build(music.valid, cache, music.valid_where)
        return Windows(corpus, config.train, sigma), Windows(held, _plain(config).train, sigma)
    learned, kept = _two_sets(config, music, corpus)
    return Windows(corpus, config.train, sigma, learned), Windows(corpus, _plain(config).train, sigma, kept)


def everything(config: Config, music: Music, sigma: NDArray[np.float64]) -> Windows | EventWindows:
    """All windows of some music as they come, to measure a finished model on; `sigma` is that of its sliders."""
    plain = _plain(config).train
    if config.model.mode == "transformer":
        return EventWindows(EventCorpus.build(music.folder, _cache(music), music.where), plain)
    return Windows(Corpus.build(music.folder, _cache(music), music.where), plain, sigma)


def split_events(config: Config, music: Music) -> tuple[EventWindows, EventWindows]:
    """The same for a model of events."""
    corpus = EventCorpus.build(music.folder, _cache(music), music.where)
    if music.valid is not None:
        held = EventCorpus.build(music.valid, _cache(music), music.valid_where)
        return EventWindows(corpus, config.train), EventWindows(held, _plain(config).train)
    learned, kept = _two_sets(config, music, corpus.corpus)
    return EventWindows(corpus, config.train, learned), EventWindows(corpus, _plain(config).train, kept)


def _cache(music: Music) -> Path:
    return music.cache or Path(platformdirs.user_cache_dir("Morphony", appauthor=False))


def _two_sets(config: Config, music: Music, corpus: Corpus) -> tuple[set[int], set[int]]:
    """Pieces to learn from and pieces to measure on."""
    if len(corpus.pieces) < 2:
        raise MorphonyError(f"Training needs at least two different pieces; {music.folder.name} has one.")
    order = np.random.default_rng(config.train.seed).permutation(len(corpus.pieces))
    count = max(round(len(corpus.pieces) * HELD_OUT), 1)
    learned, kept = ({int(i) for i in part} for part in (order[count:], order[:count]))
    return learned, kept


def _plain(config: Config) -> Config:
    """Held-out music counts as it comes: the shares of corpora are about learning."""
    return replace(config, train=replace(config.train, corpus_weights={}))


def _ship(out: Path) -> None:
    """A model of events is whole as it is: it has neither colours nor a prior over bars."""
    best = Checkpoint(out / "best")
    model = MusicTransformerVAEGAN(best.config.model)
    model.load(best.tensors())
    finish.ship(model, best.config, best.facts | {"name": out.name}, {}, out / "model")


def _finish(music: Music, windows: Windows, valid: Windows, out: Path) -> Iterator[Step]:
    """Colours, prior and refiner on the best weights, then each slider's rho on held-out pieces."""
    best = Checkpoint(out / "best")
    model = MusicTransformerVAEGAN(best.config.model)
    model.load(best.tensors())
    model.eval()
    directions = finish.colours(model, windows)
    wide = windows.of_bars(WINDOW), valid.of_bars(WINDOW)
    for step in train_prior(model, *wide, best.config.train.prior_steps, best.config.train.seed):
        held = None if step.held_out is None else {"prior": step.held_out["loss"]}
        yield replace(step, train={"prior": step.train["loss"]}, held_out=held)
    if model.refiner is not None:
        for step in refine.train_refiner(model, windows, valid, refine.STEPS, best.config.train.seed):
            yield replace(step, train={"refiner": step.train["loss"]})
    facts: dict[str, Any] = best.facts | {"name": out.name, "quantiles": finish.quantiles(windows.corpus)}
    finish.ship(model, best.config, facts, directions, out / "model")
    if music.valid is not None:
        job = evaluate(Session.open(out / "model"), music.valid, music.valid_where, ("sliders",), RHO_PIECES)
        while True:
            try:
                next(job)
            except StopIteration as end:
                figures = end.value["figures"]["all"]
                break
        facts |= {"rho": {name: round(figures[f"rho.{name}"], 3) for name in NAMES}}
        finish.ship(model, best.config, facts, directions, out / "model")


def teach_refiner(base: Path, music: Music, out: Path, steps: int = refine.STEPS, seed: int = 0) -> Iterator[Step]:
    """Give a model folder a refiner, beginning with the one it has; writes OUT, which the studio opens."""
    saved = Checkpoint(base)
    config = configuration.override(saved.config, {"model.refiner": True})
    torch.set_num_threads(config.train.threads)
    torch.manual_seed(seed)
    model = MusicTransformerVAEGAN(config.model)
    model.load(saved.tensors())
    yield from refine.train_refiner(model, *split(config, music), steps, seed)
    refine.write(saved, model, out)
