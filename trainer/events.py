"""Files to event tokens to batches to one loss: what `transformer` mode learns from.

Tokens are cached beside the bars of a corpus and found again as they are; files are read only there.
B rows, T tokens, M tokens of a whole corpus, P pieces, V = 774.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor, nn

from engine.config import LossConfig, TrainConfig
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.score import midi
from engine.score.timing import BarGrid
from engine.tokens.codec import encode
from engine.tokens.context import bar_starts, head
from engine.tokens.places import SHIFTS, BarLines, clocks_of
from engine.tokens.vocab import FAMILIES, PITCHES, SIZE
from trainer.batches import piece_odds
from trainer.corpus import Corpus
from trainer.losses import MODEL, check
from trainer.losses.registry import DYNAMICS, NOTES, TIMING

VERSION = 1
FILES = ("ids", "places", "cuts", "firsts")
ROWS = 6  # held-out windows in a batch
_PAD, _START, _UNK = (FAMILIES[name].first for name in ("PAD", "START", "UNK"))
_ON, _OFF = FAMILIES["NOTE_ON"], FAMILIES["NOTE_OFF"]
WEIGHTS = {"NOTE_ON": NOTES, "NOTE_OFF": NOTES, "TIME_SHIFT": TIMING, "VELOCITY_CHANGE": DYNAMICS}  # others: 1


@dataclass(frozen=True, slots=True)
class EventBatch:
    """Rows of tokens with their places; `mask` is True for tokens to predict, not for padding or what is given."""

    ids: Tensor  # (B, T) int64
    places: Tensor  # (B, T, 3) int64
    mask: Tensor  # (B, T) bool

    @property
    def size(self) -> float:
        """Notes to predict: how much the batch counts among others."""
        return float((self.mask & (self.ids >= _ON.first) & (self.ids < _ON.ids.stop)).sum())

    def to(self, device: torch.device) -> EventBatch:
        """The batch on a device."""
        return EventBatch(self.ids.to(device), self.places.to(device), self.mask.to(device))


class EventCorpus:
    """Tokens of many pieces, memory-mapped. Opened with `EventCorpus.build`."""

    def __init__(self, corpus: Corpus, place: Path) -> None:
        self.corpus = corpus
        ids, places, cuts, firsts = (np.load(place / f"{name}.npy", mmap_mode="r") for name in FILES)
        self.ids: NDArray[np.int16] = ids  # (M,)
        self.places: NDArray[np.uint8] = places  # (M, 3)
        self.cuts: NDArray[np.int32] = cuts  # where a bar begins, counted within its piece
        self.firsts: NDArray[np.int64] = firsts  # (P + 1, 2) first token and first cut of each piece

    @classmethod
    def build(cls, folder: Path, cache: Path, where: str = "") -> EventCorpus:
        """Open the tokens of these files below `cache`, making them first if they are not there."""
        corpus = Corpus.build(folder, cache, where)
        place = corpus.folder / f"events-{VERSION}"
        if not place.exists():
            _write(folder.parent if folder.is_file() else folder, corpus, place)
        return cls(corpus, place)

    def piece(self, index: int) -> tuple[NDArray[np.int16], NDArray[np.uint8], NDArray[np.int32]]:
        """Tokens, places and cuts of one piece."""
        (a, first), (b, last) = self.firsts[index].tolist(), self.firsts[index + 1].tolist()
        return self.ids[a:b], self.places[a:b], self.cuts[first:last]


class _Growing:
    """An .npy file that grows by rows: nothing of them stays in memory, however many pieces there are."""

    def __init__(self, path: Path, dtype: type, *row: int) -> None:
        self.file, self.dtype, self.row, self.rows = path.open("wb"), np.dtype(dtype), row, 0
        self._head()

    def add(self, rows: NDArray[Any]) -> None:
        """(N, *row) more of them."""
        self.file.write(np.ascontiguousarray(rows, self.dtype).data)
        self.rows += len(rows)

    def __enter__(self) -> _Growing:
        return self

    def __exit__(self, *_: object) -> None:
        with self.file:
            self.file.seek(0)
            self._head()

    def _head(self) -> None:
        """NumPy leaves room in it for the number of rows to grow."""
        about = {"descr": self.dtype.str, "fortran_order": False, "shape": (self.rows, *self.row)}
        np.lib.format.write_array_header_1_0(self.file, about)


def _write(root: Path, corpus: Corpus, place: Path) -> None:
    fresh = place.with_name(f"{place.name}.{os.getpid()}.tmp")
    fresh.mkdir()
    try:
        _tables(root, corpus, [fresh / f"{name}.npy" for name in FILES])
    except BaseException:
        shutil.rmtree(fresh)
        raise
    if place.exists():  # another run was quicker
        shutil.rmtree(fresh)
    else:
        fresh.rename(place)


def _tables(root: Path, corpus: Corpus, paths: list[Path]) -> None:
    with (
        _Growing(paths[0], np.int16) as ids,
        _Growing(paths[1], np.uint8, 3) as places,
        _Growing(paths[2], np.int32) as cuts,
        _Growing(paths[3], np.int64, 2) as firsts,
    ):
        firsts.add(np.zeros((1, 2)))
        for piece in corpus.pieces:
            score = midi.read(root / piece.path)
            tokens, lines = encode(score).ids, BarLines.of(BarGrid.of(score))
            clocks = clocks_of(tokens)
            ids.add(tokens)
            places.add(lines.at(clocks))
            cuts.add(bar_starts(tokens, lines.bar_of(clocks)))
            firsts.add(np.array([(ids.rows, cuts.rows)]))


class EventWindows:
    """Windows of a corpus (or of some of its pieces), each piece as likely as its length asks for."""

    def __init__(self, corpus: EventCorpus, config: TrainConfig, pieces: Collection[int] | None = None) -> None:
        self.corpus, self.config = corpus, config
        odds = piece_odds(corpus.corpus, config)
        self.pieces = np.array(sorted(range(len(odds)) if pieces is None else pieces))
        self.odds = odds[self.pieces] / max(odds[self.pieces].sum(), 1e-12)
        self.rows = max(config.events_per_step // config.event_window, 1)

    def draw(self, rng: Generator, progress: float = 1.0) -> EventBatch:
        """A random batch, each row transposed by itself."""
        rows = []
        for piece in rng.choice(self.pieces, self.rows, p=self.odds).tolist():
            ids, places, given = self.window(piece, rng)
            rows.append((transposed(ids, self.config.transpose, rng), places, given))
        return batch_of(rows)

    def window(self, piece: int, rng: Generator | None = None) -> tuple[NDArray[np.int16], NDArray[np.uint8], int]:
        """Tokens, places and how many of them are given: a piece from its start, or (with `rng`) from any bar.

        What does not begin with the piece begins with a head: tempo, sounding notes, part and velocity, said again.
        """
        ids, places, cuts = self.corpus.piece(piece)
        length = self.config.event_window
        latest = max(len(ids) - length, 0)
        at = 0 if rng is None else int(cuts[np.searchsorted(cuts, rng.integers(latest + 1), side="right") - 1])
        if at == 0:
            return ids[:length], places[:length], 1
        given = head(ids[:at])
        rest = slice(at, at + max(length - len(given), 1))
        there = np.concatenate([np.repeat(places[at : at + 1], len(given), 0), places[rest]])
        return np.concatenate([given, ids[rest]]), there, len(given)

    def held_out(self, per_corpus: int, seed: int = 0) -> Iterator[tuple[str, EventBatch]]:
        """The beginnings of fixed pieces of every corpus, in batches of one corpus each: the same whenever asked."""
        rng = np.random.default_rng(seed)
        names = np.array([self.corpus.corpus.pieces[i].corpus for i in self.pieces])
        for name in sorted(set(names)):
            of = self.pieces[names == name]
            chosen = np.sort(rng.choice(of, min(per_corpus, len(of)), replace=False))
            for start in range(0, len(chosen), ROWS):
                yield name, batch_of([self.window(int(i)) for i in chosen[start : start + ROWS]])


def batch_of(rows: list[tuple[NDArray[np.int16], NDArray[np.uint8], int]]) -> EventBatch:
    """Rows side by side, padded at their ends."""
    shape = len(rows), max(len(ids) for ids, _, _ in rows)
    all_ids, all_places, mask = np.full(shape, _PAD, np.int64), np.zeros((*shape, 3), np.int64), np.zeros(shape, bool)
    for row, (ids, places, given) in enumerate(rows):
        all_ids[row, : len(ids)], all_places[row, : len(ids)] = ids, places
        mask[row, given : len(ids)] = True
    return EventBatch(torch.from_numpy(all_ids), torch.from_numpy(all_places), torch.from_numpy(mask))


def transposed(ids: NDArray[np.int16], semitones: int, rng: Generator) -> NDArray[np.int16]:
    """The tokens some semitones higher or lower, at most so many, as far as every pitch stays a pitch."""
    pitched = (ids >= _ON.first) & (ids < _OFF.ids.stop)  # the two families stand side by side
    pitch = (ids[pitched] - _ON.first) % len(PITCHES)
    if not len(pitch):
        return ids
    low, high = max(-semitones, -int(pitch.min())), min(semitones, len(PITCHES) - 1 - int(pitch.max()))
    return ids + (pitched * int(rng.integers(low, high + 1))).astype(np.int16)


class EventObjective(nn.Module):
    """The next event at every place, with the perceptual weights of its family. Called as `trainer.objective` is."""

    def __init__(self, model: MusicTransformerVAEGAN, config: LossConfig) -> None:
        super().__init__()
        check(config)
        self.model, self.config = model, config
        self.spread = nn.ParameterDict()
        self.weights = nn.Buffer(weights(), persistent=False)

    def amount(self, batch: EventBatch) -> float:
        """What the objective of a batch was divided by: tokens to predict, by their weights."""
        return float((self.weights[batch.ids[:, 1:]] * batch.mask[:, 1:]).sum())

    def forward(
        self,
        batch: EventBatch,
        warmup: float,
        generator: torch.Generator | None = None,
        mean: bool = False,
        side: str = MODEL,
        skip: tuple[str, ...] = (),
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The weighted mean of nats a token, what runs are compared by, and the logits (B, T - 1, V).

        "loss" is nats per note and free of weights; "next_event" and the families are nats per 4/4 bar.
        """
        assert self.model.events is not None
        read = batch.ids[:, :-1]
        if self.config.word_dropout and generator is not None and self.model.training:
            read = hidden(read, self.config.word_dropout, generator)
        logits = self.model.events(read, batch.places[:, :-1]).float()
        target, counts = batch.ids[:, 1:], batch.mask[:, 1:]
        nats = F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none").view(target.shape) * counts
        weight = self.weights[target] * counts
        return (nats * weight).sum() / weight.sum().clamp(min=1), self._values(nats.detach(), target, counts), logits

    def _values(self, nats: Tensor, target: Tensor, counts: Tensor) -> dict[str, Tensor]:
        shifts = torch.as_tensor(SHIFTS, device=target.device)
        bars = ((shifts[target] * counts).sum() / 96).clamp(min=1 / 96)
        values = {"loss": nats.sum(), "next_event": nats.sum() / bars, "token": nats.sum() / counts.sum().clamp(min=1)}
        for name, family in FAMILIES.items():
            mine = (target >= family.first) & (target < family.ids.stop)
            if name == "NOTE_ON":
                values["loss"] = values["loss"] / (mine & counts).sum().clamp(min=1)
            if len(family.ids) > 1:
                values[name.lower()] = (nats * mine).sum() / bars
        return values


def weights() -> Tensor:
    """(V,) the perceptual weight of every token."""
    out = torch.ones(SIZE)
    for name, weight in WEIGHTS.items():
        out[FAMILIES[name].first : FAMILIES[name].ids.stop] = weight
    return out


def hidden(ids: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """The tokens with a random share of them unknown, START aside: word dropout (Bowman et al. 2016)."""
    gone = torch.rand(ids.shape, generator=generator, device=ids.device) < share
    return ids.masked_fill(gone & (ids != _START), _UNK)
