"""What the model makes by itself, against held-out music: histograms that overlap, and a classifier that listens.

The classifier's verdict stands beside its two checks: real bars in random order, and two halves of real music.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.attributes import NAMES
from engine.errors import MorphonyError
from engine.model import fields as f
from engine.session import Piece, Session
from trainer.evaluate.bootstrap import Draws, summary
from trainer.evaluate.classifier import SEEDS, Heard, real_versus, told_apart
from trainer.evaluate.decoded import notes_of, within
from trainer.evaluate.samples import from_levels, from_posterior, reconstructed, sample_windows
from trainer.evaluate.windows import Window, halves, of_corpus, of_piece, shuffled, stacked

SLOT = 6  # clocks at which sounding notes are counted
MOST_SOUNDING = 15
RELIABLE = 0.9  # accuracy on real bars in random order from which on a verdict counts
BY_CHANCE = (0.45, 0.55)  # accuracy between two halves of real music

Floats = NDArray[np.float64]


def overlaps(a: Sequence[Window], b: Sequence[Window]) -> dict[str, float]:
    """Overlapped area of the histograms of two sets of windows, 0 to 1, for every statistic."""
    one, other = histograms(a), histograms(b)
    return {name: float(np.minimum(one[name], other[name]).sum()) for name in one}


def histograms(windows: Sequence[Window]) -> dict[str, Floats]:
    """Shares of pitches, duration classes, 32nds of the bar, velocity bins, and numbers of notes that sound at once."""
    return {name: c / max(c.sum(), 1) for name, c in counts(windows).items()}


def counts(windows: Sequence[Window]) -> dict[str, NDArray[np.int64]]:
    """What `histograms` are shares of."""
    notes, clocks = stacked(windows)
    return {
        "pitch": np.bincount(notes["pitch"], minlength=128),
        "duration": np.bincount(f.duration_class(notes["duration"]), minlength=len(f.DURATIONS)),
        "onset": np.bincount(np.minimum(notes["onset"] // 3, 127), minlength=128),
        "velocity": np.bincount(f.velocity_class(notes["velocity"]), minlength=f.VELOCITY_BINS),
        "polyphony": np.bincount(_sounding(notes, clocks, len(windows)), minlength=MOST_SOUNDING + 1),
    }


def _sounding(notes: NDArray[np.void], clocks: NDArray[np.int64], windows: int) -> NDArray[np.int64]:
    """How many notes sound in every SLOT of all windows, MOST_SOUNDING at most; none is heard past its window."""
    slots = -(-clocks // SLOT)
    starts = np.concatenate([[0], np.cumsum(slots)])
    ends = starts[len(clocks) // windows :: len(clocks) // windows]
    first = starts[notes["bar"]] + notes["onset"] // SLOT
    last = first + np.maximum(np.ceil(notes["duration"] / SLOT), 1).astype(np.int64)
    last = np.minimum(last, ends[notes["bar"] // (len(clocks) // windows)])
    change = np.bincount(first, minlength=starts[-1] + 1) - np.bincount(last, minlength=starts[-1] + 1)
    out: NDArray[np.int64] = np.cumsum(change)[:-1].clip(0, MOST_SOUNDING)
    return out


@dataclass(slots=True, eq=False)
class Judged:
    """The windows of one piece, real, morphed and new, and how they were told apart."""

    real: list[Window]
    morphed: list[Window]
    new: list[Window] = field(default_factory=list)
    told: dict[str, list[tuple[Floats, Floats]]] = field(default_factory=dict)  # check -> by seed, each set's windows
    counted: dict[str, dict[str, NDArray[np.int64]]] = field(default_factory=dict)  # "real", "new" -> statistic -> bins

    def counts(self, which: str) -> dict[str, NDArray[np.int64]]:
        """Histogram counts of one set of windows, counted once."""
        if which not in self.counted:
            self.counted[which] = counts(getattr(self, which))
        return self.counted[which]


def windows(session: Session, piece: Piece, _: range) -> Judged:
    """A piece's windows, and each of them with some slider at -1 or +1."""
    real, rng = of_piece(piece), np.random.default_rng(len(piece.bars))
    return Judged(real, [_morphed(session, piece, w, rng) for w in real])


def _morphed(session: Session, piece: Piece, window: Window, rng: np.random.Generator) -> Window:
    bars = range(window.first, window.first + len(window.clocks))
    slider = {str(rng.choice(NAMES)): float(rng.choice([-1, 1]))}
    return replace(window, notes=within(notes_of(session, piece, bars, slider), bars))


def judge(session: Session, found: Sequence[Judged]) -> list[Judged]:
    """The pieces with new windows like their own, and what the classifier said of all of them, by three seeds.

    Where there are too few pieces to learn from, no verdict is given.
    """
    real = [replace(w, piece=i) for i, x in enumerate(found) for w in x.real]
    morphed = [replace(w, piece=i) for i, x in enumerate(found) for w in x.morphed]
    if not real:
        return list(found)
    new, plain = sample_windows(session, real), Heard.of(real)
    for window in new:
        found[window.piece].new.append(window)
    first, second = halves(real, 0)
    checks = {
        "classifier": (plain, Heard.of(new)),
        "classifier_shuffled": (plain, Heard.of(shuffled(real, 0))),
        "classifier_halves": (Heard.of(first), Heard.of(second)),
        "naturalness": (plain, Heard.of(morphed)),
    }
    for name, (a, b) in checks.items():
        try:
            by_seed = [told_apart(a, b, seed) for seed in SEEDS]
        except MorphonyError:
            break
        for i, x in enumerate(found):
            x.told[name] = [(of_a[a.piece == i], of_b[b.piece == i]) for of_a, of_b in by_seed]
    return list(found)


@summary(lambda judged: bool(judged.new))
def verdicts(some: Sequence[Judged], draws: Draws) -> dict[str, Floats]:
    """Overlaps and accuracies over some pieces. The best of three seeds counts; of the two halves, the mean.

    `classifier_reliable` is 1 where both checks hold, else 0.
    """
    real, new = shares(some, draws, "real"), shares(some, draws, "new")
    figures = {f"overlap.{name}": np.minimum(real[name], new[name]).sum(1) for name in new}
    for name in some[0].told:
        by_seed = np.array([accuracy([x.told[name][seed] for x in some], draws) for seed in range(len(SEEDS))])
        heard = np.isfinite(by_seed)
        best = np.where(heard, by_seed, -np.inf).max(0)
        mean = np.where(heard, by_seed, 0).sum(0) / np.maximum(heard.sum(0), 1)
        figures[name] = np.where(heard.any(0), mean if name == "classifier_halves" else best, np.nan)
    if {"classifier_shuffled", "classifier_halves"} <= set(figures):
        shuffled_, halves_ = figures["classifier_shuffled"], figures["classifier_halves"]
        holds = (shuffled_ >= RELIABLE) & (halves_ >= BY_CHANCE[0]) & (halves_ <= BY_CHANCE[1])
        known = np.isfinite(shuffled_) & np.isfinite(halves_)
        figures["classifier_reliable"] = np.where(known, holds, np.nan)
    return figures


def shares(some: Sequence[Judged], draws: Draws, which: str) -> dict[str, Floats]:
    """(R, bins) histograms of one set of windows, every note of the drawn pieces weighing the same."""
    each = [x.counts(which) for x in some]
    total = {name: draws.sum(np.array([c[name] for c in each])) for name in each[0]}
    return {name: c / np.maximum(c.sum(1, keepdims=True), 1) for name, c in total.items()}


def statistics(found: Sequence[Judged]) -> dict[str, Any]:
    """What a plot of overlaps draws: the histograms of held-out and of new music."""
    some = [x for x in found if x.new]
    if not some:
        return {}
    every = Draws.plain(len(some))
    real, new = shares(some, every, "real"), shares(some, every, "new")
    return {name: {"music": real[name][0].tolist(), "new": new[name][0].tolist()} for name in new}


def accuracy(told: Sequence[tuple[Floats, Floats]], draws: Draws) -> Floats:
    """(R,) the mean of both sets' shares of windows told rightly, of those judged; NaN without any on one side."""
    sides = []
    for side in (0, 1):
        judged = [pair[side][np.isfinite(pair[side])] for pair in told]
        n = draws.sum(np.array([len(x) for x in judged]))
        right = draws.sum(np.array([x.sum() for x in judged]))
        sides.append(np.where(n > 0, right / np.maximum(n, 1), np.nan))
    out: Floats = np.mean(sides, 0)
    return out


__all__ = [
    "from_levels",
    "from_posterior",
    "judge",
    "of_corpus",
    "overlaps",
    "real_versus",
    "reconstructed",
    "sample_windows",
    "verdicts",
    "windows",
]
