"""Music along the way: at every checkpoint the same latents decoded with the weights of that moment, as small files.

Two things are decoded: a fixed piece (its posterior, with the same noise each time) and latents drawn once from a
standard normal, kept beside the files. What changes from step to step is the model alone. Reads checkpoints from disk,
so it needs nothing of the loop; training's own randomness and threads are as they were afterwards.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from engine import compose
from engine.analysis.activity import varying
from engine.attributes import measure, measure_bars
from engine.errors import MorphonyError
from engine.generation import blank_score
from engine.model.batch import PHRASE_BARS
from engine.model.latents import LEVELS
from engine.score import Score, midi
from engine.score.cut import cut
from engine.score.timing import BarGrid
from engine.session import STARTER, Piece, Session, conditions_of
from engine.tokens.bars import BAR_NOTE
from trainer.loop import Step

DEMO = STARTER.parent.parent / "demo"
PIECE = DEMO / "nocturne.mid"
BARS = 8
EVENT_BARS = 2  # of a model of events, which writes one event after another
KEPT = 12  # steps whose music stays on disk


class Audition:
    """Writes OUT/samples/step-N/piece.mid and drawn.mid whenever OUT holds a checkpoint of the step.

    `base` is the model folder that an adapter's checkpoints belong to; without it a checkpoint is a whole model.
    """

    def __init__(self, out: Path, *, base: Path | None = None, piece: Path = PIECE, seed: int = 0) -> None:
        """Raises MorphonyError when the piece cannot be read."""
        self.out, self.base, self.seed = out, base, seed
        self.score = _opening(midi.read(piece))
        self.others = [midi.read(path) for path in sorted(DEMO.glob("*.mid"))]

    def at(self, step: Step) -> Mapping[str, Any]:
        """{"samples": paths below OUT, "activity": level -> share of active dimensions}; empty between checkpoints."""
        saved = self.out / f"step-{step.n:07d}"
        before = step.n == 0 and self.base is not None  # what the base model makes of it, before there is an adapter
        if not (before or saved.is_dir()):
            return {}
        with _unnoticed():
            if self.base is None:
                session = Session.open(saved, "cpu")
            else:
                session = Session.open(self.base, "cpu", adapter=None if before else saved)
            paths = self._write(session, step.n)
            activity = {} if session.model.events is not None else active_shares(session, self.others)
        prune(self.out / "samples")
        return {"samples": [path.relative_to(self.out).as_posix() for path in paths], "activity": activity}

    def _write(self, session: Session, n: int) -> list[Path]:
        folder = self.out / "samples" / f"step-{n:07d}"
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for name, score in self._made(session).items():
            paths.append(folder / f"{name}.mid")
            midi.write(score, paths[-1])
        return paths

    def _made(self, session: Session) -> dict[str, Score]:
        if session.model.events is not None:
            return {"drawn": compose.run(compose.generate(session, EVENT_BARS, seed=self.seed))}
        heard = session.encode(self.score, self.seed)
        drawn = blank(session).with_latents(self._latents(session))
        return {
            "piece": compose.apply(heard, compose.reconstruct(session, heard)),
            "drawn": compose.apply(drawn, compose.reconstruct(session, drawn)),
        }

    def _latents(self, session: Session) -> dict[str, Tensor]:
        """The same latents whenever asked: from samples/latents.safetensors, drawn and written the first time."""
        path = self.out / "samples" / "latents.safetensors"
        try:
            return load(path.read_bytes())
        except FileNotFoundError:
            pass
        except SafetensorError as error:
            raise MorphonyError(f"{path} holds no latents.") from error
        piece, noise = blank(session), torch.Generator().manual_seed(self.seed)
        shapes = {name: getattr(piece, name).shape for name in ("z_global", "z_local", "z_fine")}
        drawn = {name: torch.randn(shape, generator=noise) for name, shape in shapes.items()}
        midi.write_bytes(save(drawn), path)
        return drawn


def blank(session: Session) -> Piece:
    """Eight empty bars of 4/4 for two hands at a piano, with latents of zeros."""
    score, end = blank_score(BARS, (4, 4))
    grid = BarGrid.of(score, end)
    c, nothing = session.config.model, np.zeros(0, BAR_NOTE)
    widths = ((1, c.global_dim), (-(-BARS // PHRASE_BARS), c.local_dim), (BARS, c.latent_dim))
    z_global, z_local, z_fine = (torch.zeros(shape) for shape in widths)
    own, whole = measure_bars(nothing, grid.clocks), measure(nothing, grid.clocks)
    return Piece(score, grid, nothing, conditions_of(grid, len(score.tracks)), z_global, z_local, z_fine, own, whole)


def active_shares(session: Session, scores: Sequence[Score]) -> dict[str, float]:
    """Of each level, the share of dimensions whose posterior mean varies over windows of some pieces."""
    pieces = [session.encode(_opening(score, at)) for score in scores for at in range(0, len(BarGrid.of(score)), BARS)]
    means = {level: torch.cat([getattr(piece, f"z_{level}") for piece in pieces]) for level in LEVELS}
    return {level: float(varying(m).float().mean()) for level, m in means.items()}


def _opening(score: Score, first: int = 0) -> Score:
    """Eight bars of a score from bar `first` on."""
    grid = BarGrid.of(score)
    return cut(score, grid, range(first, min(first + BARS, len(grid))))


def prune(samples: Path, kept: int = KEPT) -> None:
    """Leave at most `kept` steps on disk: the first, the last, and between them about as many at every order of size.

    One goes at a time, that with the nearest neighbours on a logarithmic scale.
    """
    steps = sorted(int(path.name.removeprefix("step-")) for path in samples.glob("step-*"))
    while len(steps) > max(kept, 2):
        gaps = [math.log((steps[i + 1] + 1) / (steps[i - 1] + 1)) for i in range(1, len(steps) - 1)]
        gone = steps.pop(1 + gaps.index(min(gaps)))
        shutil.rmtree(samples / f"step-{gone:07d}")


@contextmanager
def _unnoticed() -> Iterator[None]:
    """Leave torch's threads and its global randomness as they were."""
    threads = torch.get_num_threads()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        torch.set_num_threads(threads)
