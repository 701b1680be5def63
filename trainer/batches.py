"""Corpus to batches: windows of whole phrases, balanced by piece, of about equal length in slots.

Knows corpora and edits; no model, no optimiser.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor

from engine.attributes import measure_bars
from engine.config import TrainConfig
from engine.model.batch import PHRASE_BARS, Bars, Notes, Offsets
from engine.model.fields import N_PARTS, SLOT_CLOCKS
from trainer.augment import Spans, augmented, edit_pairs, transpose
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
    edges: Tensor | None = None  # (B, 2) bool: whether a window has its piece's first bar, its last

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
        return Batch(source, target, bars, offsets, self.styles, sigma, self.edges)


class Windows:
    """Every window of a corpus (or of some of its pieces), with the odds at which it is drawn.

    A few numbers a window and none a note: what is drawn is read from the corpus then.
    """

    def __init__(
        self,
        corpus: Corpus,
        config: TrainConfig,
        deviations: NDArray[np.float64],
        pieces: Collection[int] | None = None,
    ) -> None:
        self.corpus, self.config, self.deviations, self.pieces = corpus, config, deviations, pieces
        table, share = corpus.pieces.table, piece_odds(corpus, config)
        chosen = np.arange(len(table)) if pieces is None else np.array(sorted(pieces), dtype=np.int64)
        bars = table["bars"][chosen].astype(np.int64)
        first = table["first_bar"][chosen]
        count = np.maximum(-(-bars // PHRASE_BARS) - config.window_bars // PHRASE_BARS + 1, 1)
        within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
        self.first = np.repeat(first, count) + PHRASE_BARS * within
        self.piece = np.repeat(chosen, count)
        self.last = np.minimum(self.first + config.window_bars, np.repeat(first + bars, count))
        self.edges = np.stack([within == 0, self.last == np.repeat(first + bars, count)], -1)
        odds = np.repeat(share[chosen] / count, count)
        longest = self._longest()
        which = np.searchsorted(BUCKETS, longest)
        if config.notes_per_step:
            which = which + len(BUCKETS) * notes_class(self.notes)
        if config.curriculum:
            self.complexity = complexity(self.notes, self.last - self.first, table["parts"][self.piece])
        order = np.lexsort((self.complexity, which)) if config.curriculum else np.argsort(which, kind="stable")
        kinds = np.arange(len(BUCKETS)) if not config.notes_per_step else np.unique(which)
        cuts = np.searchsorted(which[order], [*kinds, kinds[-1] + 1])
        self.buckets = [order[a:b] for a, b in pairwise(cuts)]
        self.odds = [odds[b] / max(odds[b].sum(), 1e-12) for b in self.buckets]
        width = [int(longest[b].max()) if len(b) else 1 for b in self.buckets]
        self.size = [self._fits(w, config.window_bars, b) for w, b in zip(width, self.buckets, strict=True)]
        self.mass = np.array([odds[b].sum() for b in self.buckets])
        mass = self.mass / np.array(self.size)
        self.bucket_odds = mass / mass.sum()
        self._cdf = [p.cumsum() for p in self.odds]
        for cdf in self._cdf:
            cdf /= cdf[-1] if len(cdf) and cdf[-1] > 0 else 1.0

    @property
    def notes(self) -> NDArray[np.int64]:
        """(windows,) how many notes each holds."""
        begin, end = self.corpus.note_range(self.first, self.last)
        counts: NDArray[np.int64] = end - begin
        return counts

    def _longest(self) -> NDArray[np.int64]:
        """(windows,) slots of the longest bar of each: the maximum over its phrases, which windows share."""
        slots = -(-self.corpus.bars["clocks"].astype(np.int32) // SLOT_CLOCKS)
        longest: NDArray[np.int64] = slots[self.first].astype(np.int64)
        for step in range(1, self.config.window_bars):
            at = self.first + step
            inside = at < self.last
            longest[inside] = np.maximum(longest[inside], slots[at[inside]])
        return longest

    def _fits(self, width: int, bars: int, windows: NDArray[np.int64]) -> int:
        """How many windows of a bucket make a batch."""
        fit = self.config.slots_per_step // (width * bars)
        if self.config.notes_per_step and len(windows):
            fit = min(fit, self.config.notes_per_step // max(int(self.notes[windows].max()), 1))
        return max(fit, 1)

    def of_bars(self, bars: int) -> Windows:
        """The same music in windows of another length."""
        return Windows(self.corpus, replace(self.config, window_bars=bars), self.deviations, self.pieces)

    def held_out(self, per_corpus: int) -> Iterator[tuple[str, Batch]]:
        """Fixed windows to measure on; see `held_out` below."""
        return held_out(self, per_corpus)

    def draw(self, rng: Generator, progress: float = 1.0) -> Batch:
        """A random batch at a share of the run, edited as configured, and with edited twins."""
        if progress < self.config.curriculum:
            return self._draw_simple(rng, progress)
        bucket = int(rng.choice(len(self.buckets), p=self.bucket_odds))
        # as rng.choice(windows, size, p=odds) draws them, without summing the odds of every window each time
        chosen = self.buckets[bucket][self._cdf[bucket].searchsorted(rng.random(self.size[bucket]), side="right")]
        return self.make(chosen, rng, self.config.edited_pairs, self.config.transpose, progress)

    def _draw_simple(self, rng: Generator, progress: float) -> Batch:
        """A batch of the simplest windows, cut to their first phrases: as many and as long as the progress allows."""
        start, way = self.config.curriculum_start, progress / self.config.curriculum
        share = start + (1 - start) * way
        limit = np.quantile(self.complexity, share)
        reach = [int(np.searchsorted(self.complexity[b], limit, side="right")) for b in self.buckets]
        mass = np.array([m * (cdf[k - 1] if k else 0.0) for m, cdf, k in zip(self.mass, self._cdf, reach, strict=True)])
        if not mass.sum() > 0:  # the simplest are all of music that is never drawn
            return self.draw(rng)
        phrases = self.config.window_bars // PHRASE_BARS
        length = PHRASE_BARS * max(round(phrases * way), 1)
        size = [n * self.config.window_bars // length for n in self.size]
        odds = mass / np.array(size)
        bucket = int(rng.choice(len(self.buckets), p=odds / odds.sum()))
        cdf = self._cdf[bucket][: reach[bucket]]
        chosen = self.buckets[bucket][cdf.searchsorted(rng.random(size[bucket]) * cdf[-1], side="right")]
        return self.make(chosen, rng, self.config.edited_pairs, self.config.transpose, progress, length)

    def plain(self, rng: Generator) -> Batch:
        """A random batch without edits, transposed as in training."""
        bucket = int(rng.choice(len(self.buckets), p=self.bucket_odds))
        chosen = rng.choice(self.buckets[bucket], self.size[bucket], p=self.odds[bucket])
        return self.make(chosen, rng, 0.0, self.config.transpose)

    def make(
        self,
        chosen: NDArray[np.integer],
        rng: Generator | None = None,
        edited: float = 0.0,
        semitones: int = 0,
        progress: float = 1.0,
        length: int = 0,
    ) -> Batch:
        """The batch of given windows, or of their first `length` bars; without `rng` exactly as they are."""
        last = self.last if not length else np.minimum(self.last, self.first + length)
        runs = [np.arange(self.first[w], last[w]) for w in chosen]
        rows = np.concatenate(runs)
        notes, table = self.corpus.read(rows), self.corpus.bars[rows]
        clocks, beat = table["clocks"].astype(np.int64), table["beat"].astype(np.int64)
        pieces = self.corpus.pieces.table[self.piece[chosen]]
        parts = pieces["parts"].tolist()
        if rng is not None:
            of_bar = np.repeat(np.arange(len(runs)), [len(r) for r in runs])
            if semitones and _happens(self.config.augment.transpose.at(progress), rng):
                notes = self._transposed(notes, of_bar[notes["bar"]], len(runs), semitones, rng)
            if self.config.augment.edits:
                notes, parts = augmented(notes, Spans(clocks, beat, of_bar), parts, self.config.augment, progress, rng)
        bars = bars_of(clocks, beat, runs, parts)
        names = self.corpus.pieces.corpora
        edges = self.edges[chosen] & np.stack([np.ones(len(chosen), bool), last[chosen] == self.last[chosen]], -1)
        styles = tuple(names[i] for i in pieces["corpus"].tolist())
        more = styles, torch.from_numpy(self.deviations).float(), torch.from_numpy(edges)
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
        notes: NDArray[np.void], of_note: NDArray[np.integer], windows: int, semitones: int, rng: Generator
    ) -> NDArray[np.void]:
        out = notes
        for w in range(windows):
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


def notes_class(notes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(windows,) in which half octave of note counts each lies, so that a batch is of windows about equally full."""
    octave: NDArray[np.int64] = np.ceil(2 * np.log2(np.maximum(notes, 1))).astype(np.int64)
    return octave


def complexity(notes: NDArray[np.int64], bars: NDArray[np.int64], parts: NDArray[np.integer]) -> NDArray[np.float64]:
    """(windows,) what a curriculum goes by: notes a bar, and half as many again for every doubling of the parts."""
    out: NDArray[np.float64] = notes / bars * (1 + np.log2(np.maximum(parts, 1)) / 2)
    return out


def _happens(chance: float, rng: Generator) -> bool:
    """True with a probability; what is certain either way takes no number from `rng`."""
    return chance > 0 and (chance >= 1 or rng.random() < chance)


def deviations(corpus: Corpus) -> NDArray[np.float64]:
    """(12,) standard deviation of each attribute over the pieces of a corpus: the unit of its slider."""
    spread = np.nanstd(corpus.attribute_table(), axis=0)
    out: NDArray[np.float64] = np.where(np.isfinite(spread) & (spread > 1e-3), spread, 1.0)
    return out


def held_out(windows: Windows, per_corpus: int, seed: int = 0) -> Iterator[tuple[str, Batch]]:
    """Fixed windows of every corpus, in batches of one corpus each: the same ones whenever asked."""
    rng = np.random.default_rng(seed)
    corpora = windows.corpus.pieces.corpora
    mine = windows.corpus.pieces.table["corpus"][windows.piece]
    for name in sorted(corpora[i] for i in np.unique(mine)):
        of = np.flatnonzero(mine == corpora.index(name))
        chosen = np.sort(rng.choice(of, min(per_corpus, len(of)), replace=False))
        for start in range(0, len(chosen), 6):
            yield name, windows.make(chosen[start : start + 6])


def piece_odds(corpus: Corpus, config: TrainConfig) -> NDArray[np.float64]:
    """A piece counts by the square root of its length; corpora share as configured, else as they come."""
    table, corpora = corpus.pieces.table, corpus.pieces.corpora
    odds = np.sqrt(table["bars"].astype(np.int64))
    for name, share in config.corpus_weights.items():
        mine = table["corpus"] == corpora.index(name) if name in corpora else np.zeros(len(table), bool)
        if mine.any():
            odds[mine] *= share / odds[mine].sum()
    if config.corpus_weights:
        odds[~np.isin(table["corpus"], [i for i, name in enumerate(corpora) if name in config.corpus_weights])] = 0
    total = odds.sum()
    return odds / total if total > 0 else np.full(len(odds), 1 / len(odds))
