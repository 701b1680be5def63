"""What each step learns from: micro-batches drawn by key, shared out among processes, halved when memory is short.

Micro-batch m of a step belongs to process m mod W of W, so two processes see what one alone sees in two micro-batches.
The next step's music is prepared in a thread while this one's is learnt. Knows no model.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, replace
from types import TracebackType
from typing import Protocol

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor

from engine.config import TrainConfig
from engine.model.batch import Notes, Offsets
from trainer import keys
from trainer.batches import Batch
from trainer.events import EventBatch

AnyBatch = Batch | EventBatch


class Source(Protocol):
    """What a run draws its batches from: `Windows`, `EventWindows`, or a mixture."""

    def draw(self, rng: np.random.Generator, progress: float = 1.0) -> AnyBatch:
        """A random batch for a run that is so far along, from 0 to 1."""
        ...


class Draws:
    """Micro-batches of every step, for one process. Its thread ends with the `with` it is opened in."""

    def __init__(self, source: Source, config: TrainConfig, fabric: Fabric) -> None:
        self.source, self.config, self.fabric = source, config, fabric
        self.pool = ThreadPoolExecutor(1, "music")
        self.ahead: tuple[int, Future[list[AnyBatch]]] | None = None

    def __enter__(self) -> Draws:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.pool.shutdown(cancel_futures=True)

    def at(self, step: int) -> list[AnyBatch]:
        """The micro-batches of a step (from 0) that are this process's; the same ones whenever asked."""
        drawn = self.ahead[1].result() if self.ahead is not None and self.ahead[0] == step else self._drawn(step)
        if step + 1 < self.config.steps:
            self.ahead = step + 1, self.pool.submit(self._drawn, step + 1)
        return drawn

    def numbers(self) -> range:
        """Which of a step's micro-batches are this process's."""
        return range(self.fabric.global_rank, self.fabric.world_size * self.config.accumulate, self.fabric.world_size)

    def _drawn(self, step: int) -> list[AnyBatch]:
        progress = step / self.config.steps
        return [self.source.draw(keys.music(self.config.seed, step, m), progress=progress) for m in self.numbers()]


# ---------------------------------------------------------------- smaller batches


def halves(batch: AnyBatch) -> list[AnyBatch]:
    """A batch as two of about as many windows; itself where it is one window."""
    if isinstance(batch, EventBatch):
        rows = len(batch.ids)
        cuts = [slice(0, rows // 2), slice(rows // 2, rows)] if rows > 1 else [slice(0, rows)]
        return [EventBatch(batch.ids[cut], batch.places[cut], batch.mask[cut]) for cut in cuts]
    pieces = batch.bars.n_pieces
    if pieces < 2:
        return [batch]
    return [_of_pieces(batch, first, last) for first, last in ((0, pieces // 2), (pieces // 2, pieces))]


def _of_pieces(batch: Batch, first: int, last: int) -> Batch:
    """The windows of a batch from the first to the one before the last, counted anew."""
    phrases = torch.nonzero((batch.bars.piece >= first) & (batch.bars.piece < last))[:, 0]
    rows = torch.nonzero(torch.isin(batch.bars.phrase, phrases))[:, 0]
    bars = batch.bars.select(rows)
    bars = replace(bars, phrase=bars.phrase - phrases[0], piece=batch.bars.piece[phrases] - first)
    source, target = (_of_bars(notes, rows) for notes in (batch.source, batch.target))
    offsets = Offsets(batch.offsets.value[rows], batch.offsets.known[rows])
    edges = None if batch.edges is None else batch.edges[first:last]
    styles = batch.styles[first:last]
    return replace(batch, source=source, target=target, bars=bars, offsets=offsets, styles=styles, edges=edges)


def _of_bars(notes: Notes, rows: Tensor) -> Notes:
    """The notes of neighbouring bars, numbered from the first of them."""
    mine = (notes.bar >= rows[0]) & (notes.bar <= rows[-1])
    kept = {field.name: getattr(notes, field.name)[mine] for field in fields(notes)}
    return Notes(**(kept | {"bar": kept["bar"] - rows[0]}))
