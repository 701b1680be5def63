"""Corpus to batches: windows of whole phrases, balanced by piece, of about equal length in slots.

Knows corpora and edits; no model, no optimiser.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from engine.attributes import measure_bars
from engine.config import TrainConfig
from engine.model.batch import PHRASE_BARS, Bars, Notes, Offsets
from engine.model.fields import N_PARTS, SLOT_CLOCKS
from trainer.augment import edit_pairs, transpose
from trainer.corpus import Corpus

BUCKETS = (6, 12, 18, 24, 30, 36, 72, 10**6)  # slots a bar, upper bounds


@dataclass(frozen=True, slots=True)
class Batch:
    """Notes to encode, notes to decode, and what the decoder is told of their difference."""

    source: Notes
    target: Notes
    bars: Bars
    offsets: Offsets
    styles: tuple[str, ...] = ()  # of each piece: the corpus it came from
    deviations: Tensor | None = None  # (12,) one sigma of every attribute

    @property
    def size(self) -> float:
        """Length in 4/4 bars: how much the batch counts among others."""
        return float(self.bars.clocks.sum()) / 96

    def to(self, device: torch.device) -> Batch:
        """The batch on a device."""
        if device.type == "cpu":
            return self
        source, target = self.source.to(device), self.target.to(device)
        bars, offsets = self.bars.to(device), self.offsets.to(device)
        sigma = None if self.deviations is None else self.deviations.to(device)
        return Batch(source, target, bars, offsets, self.styles, sigma)


class Windows:
    """Every window of a corpus (or of some of its pieces), with the odds at which it is drawn."""

    def __init__(
        self,
        corpus: Corpus,
        config: TrainConfig,
        deviations: NDArray[np.float64],
        pieces: Collection[int] | None = None,
    ) -> None:
        self.corpus, self.config, self.deviations, self.pieces = corpus, config, deviations, pieces
        first, piece, odds = [], [], []
        share = piece_odds(corpus, config)
        for i, p in enumerate(corpus.pieces):
            if pieces is not None and i not in pieces:
                continue
            starts = np.arange(p.first_bar, p.first_bar + p.bars, PHRASE_BARS)
            starts = starts[: max(len(starts) - config.window_bars // PHRASE_BARS + 1, 1)]
            first.append(starts)
            piece.append(np.full(len(starts), i))
            odds.append(np.full(len(starts), share[i] / len(starts)))
        self.first, self.piece = np.concatenate(first), np.concatenate(piece)
        odds_each = np.concatenate(odds)
        ends = np.array([p.first_bar + p.bars for p in corpus.pieces])
        self.last = np.minimum(self.first + config.window_bars, ends[self.piece])
        slots = -(-corpus.bars["clocks"].astype(np.int64) // SLOT_CLOCKS)
        longest = np.array([slots[a:b].max() for a, b in zip(self.first, self.last, strict=True)])
        which = np.searchsorted(BUCKETS, longest)
        self.buckets = [np.flatnonzero(which == b) for b in range(len(BUCKETS))]
        self.odds = [odds_each[b] / max(odds_each[b].sum(), 1e-12) for b in self.buckets]
        width = [int(longest[b].max()) if len(b) else 1 for b in self.buckets]
        self.size = [max(config.slots_per_step // (w * config.window_bars), 1) for w in width]
        mass = np.array([odds_each[b].sum() / n for b, n in zip(self.buckets, self.size, strict=True)])
        self.bucket_odds = mass / mass.sum()

    def of_bars(self, bars: int) -> Windows:
        """The same music in windows of another length."""
        return Windows(self.corpus, replace(self.config, window_bars=bars), self.deviations, self.pieces)

    def held_out(self, per_corpus: int) -> Iterator[tuple[str, Batch]]:
        """Fixed windows to measure on; see `held_out` below."""
        return held_out(self, per_corpus)

    def draw(self, rng: Generator) -> Batch:
        """A random batch, transposed and with edited twins."""
        bucket = int(rng.choice(len(self.buckets), p=self.bucket_odds))
        chosen = rng.choice(self.buckets[bucket], self.size[bucket], p=self.odds[bucket])
        return self.make(chosen, rng, self.config.edited_pairs, self.config.transpose)

    def plain(self, rng: Generator) -> Batch:
        """A random batch without edits, transposed as in training."""
        bucket = int(rng.choice(len(self.buckets), p=self.bucket_odds))
        chosen = rng.choice(self.buckets[bucket], self.size[bucket], p=self.odds[bucket])
        return self.make(chosen, rng, 0.0, self.config.transpose)

    def make(
        self, chosen: NDArray[np.integer], rng: Generator | None = None, edited: float = 0.0, semitones: int = 0
    ) -> Batch:
        """The batch of given windows; without `rng` exactly as they are."""
        runs = [np.arange(self.first[w], self.last[w]) for w in chosen]
        rows = np.concatenate(runs)
        notes = self.corpus.read(rows)
        if rng is not None and semitones:
            notes = self._transposed(notes, np.repeat(np.arange(len(runs)), [len(r) for r in runs]), semitones, rng)
        table = self.corpus.bars[rows]
        clocks = table["clocks"].astype(np.int64)
        bars = bars_of(
            clocks, table["beat"].astype(np.int64), runs, [self.corpus.pieces[self.piece[w]].parts for w in chosen]
        )
        more = (
            tuple(self.corpus.pieces[self.piece[w]].corpus for w in chosen),
            torch.from_numpy(self.deviations).float(),
        )
        if rng is None or edited == 0:
            plain = Notes.of(notes)
            return Batch(plain, plain, bars, Offsets.none(len(rows)), *more)
        source, target, known = edit_pairs(notes, clocks, edited, rng)
        return Batch(Notes.of(source), Notes.of(target), bars, self._offsets(source, target, known, clocks), *more)

    def _offsets(
        self, source: NDArray[np.void], target: NDArray[np.void], known: NDArray[np.float64], clocks: NDArray[np.int64]
    ) -> Offsets:
        difference = (measure_bars(target, clocks) - measure_bars(source, clocks)) / self.deviations
        missing = ~np.isfinite(difference)
        difference[missing], known[missing] = 0, 0
        return Offsets(torch.from_numpy(difference.clip(-6, 6)).float(), torch.from_numpy(known).float())

    @staticmethod
    def _transposed(
        notes: NDArray[np.void], window: NDArray[np.integer], semitones: int, rng: Generator
    ) -> NDArray[np.void]:
        of_note = window[notes["bar"]]
        out = notes
        for w in range(int(window.max()) + 1):
            mine = of_note == w
            moved = transpose(notes[mine], int(rng.integers(-semitones, semitones + 1)))
            if moved is not None:
                if out is notes:
                    out = notes.copy()
                out[mine] = moved
        return out


def bars_of(
    clocks: NDArray[np.int64], beat: NDArray[np.int64], runs: list[NDArray[np.integer]], parts: list[int]
) -> Bars:
    """Conditions of several runs of bars, each a piece (or a window of one) that begins with a phrase."""
    place = np.concatenate([np.arange(len(r)) % PHRASE_BARS for r in runs])
    phrases = [-(-len(r) // PHRASE_BARS) for r in runs]
    before = np.concatenate([[0], np.cumsum(phrases)[:-1]])
    phrase = np.concatenate([b + np.arange(len(r)) // PHRASE_BARS for b, r in zip(before, runs, strict=True)])
    plays = np.concatenate([np.tile(np.arange(N_PARTS) < n, (len(r), 1)) for n, r in zip(parts, runs, strict=True)])
    return Bars(
        clocks=torch.from_numpy(clocks),
        beat=torch.from_numpy(beat),
        parts=torch.from_numpy(plays.astype(np.float32)),
        place=torch.from_numpy(place.astype(np.int64)),
        phrase=torch.from_numpy(phrase.astype(np.int64)),
        piece=torch.from_numpy(np.repeat(np.arange(len(runs)), phrases).astype(np.int64)),
    )


def deviations(corpus: Corpus) -> NDArray[np.float64]:
    """(12,) standard deviation of each attribute over the pieces of a corpus: the unit of its slider."""
    spread = np.nanstd(corpus.attribute_table(), axis=0)
    out: NDArray[np.float64] = np.where(np.isfinite(spread) & (spread > 1e-3), spread, 1.0)
    return out


def held_out(windows: Windows, per_corpus: int, seed: int = 0) -> Iterator[tuple[str, Batch]]:
    """Fixed windows of every corpus, in batches of one corpus each: the same ones whenever asked."""
    rng = np.random.default_rng(seed)
    names = np.array([windows.corpus.pieces[i].corpus for i in windows.piece])
    for name in sorted(set(names)):
        of = np.flatnonzero(names == name)
        chosen = np.sort(rng.choice(of, min(per_corpus, len(of)), replace=False))
        for start in range(0, len(chosen), 6):
            yield name, windows.make(chosen[start : start + 6])


def piece_odds(corpus: Corpus, config: TrainConfig) -> NDArray[np.float64]:
    """A piece counts by the square root of its length; corpora share as configured, else as they come."""
    names = np.array([p.corpus for p in corpus.pieces])
    odds = np.sqrt([p.bars for p in corpus.pieces])
    for name, share in config.corpus_weights.items():
        if (names == name).any():
            odds[names == name] *= share / odds[names == name].sum()
    if config.corpus_weights:
        odds[~np.isin(names, list(config.corpus_weights))] = 0
    total = odds.sum()
    return odds / total if total > 0 else np.full(len(odds), 1 / len(odds))
