"""What the named sliders do to decoded notes: whether they are obeyed, what they leave alone, how smoothly they move.

A = 12 sliders and as many attributes, P = 9 positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from engine.attributes import NAMES, SPECS, measure
from engine.session import Piece, Session
from trainer.evaluate import notes as compare
from trainer.evaluate.decoded import notes_of, within

POSITIONS = np.linspace(-2, 2, 9)
STEPS = np.linspace(-2, 2, 41).round(1)
WINDOW = 4  # bars in which smoothness is measured
NOT_MOVED = ("articulation", "dynamics", "dynamic_spread")  # sliders that leave every onset and pitch alone

Figures = dict[str, float]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """One piece with every slider at every position, the others at rest."""

    rho: Floats  # (A, A) Spearman of slider i and attribute j
    kept: Floats  # (A,) how much of what slider i should leave alone is still there at -1 and +1
    own: Floats  # (N, A) attributes of the piece's source bars


def sweep(session: Session, piece: Piece, bars: range) -> Swept:
    """Measure all sliders on some bars of a piece."""
    bars = sounding(piece, bars)
    clocks = piece.grid.clocks[bars.start : bars.stop]
    at_rest = within(notes_of(session, piece, bars), bars)
    rho, kept = np.zeros((len(NAMES), len(NAMES))), np.full(len(NAMES), np.nan)
    for i, name in enumerate(NAMES):
        takes = {x: within(notes_of(session, piece, bars, {name: x}), bars) if x else at_rest for x in POSITIONS}
        attributes = np.array([measure(take, clocks) for take in takes.values()])
        rho[i] = [spearman(POSITIONS, attributes[:, j]) for j in range(len(NAMES))]
        kept[i] = np.mean([leaves(SPECS[i].keeps, at_rest, takes[x], len(bars)) for x in (-1.0, 1.0)])
    return Swept(rho, kept, piece.own)


def sounding(piece: Piece, bars: range) -> range:
    """These bars of the piece, cut to its length; if the music begins later, as many from its first notes on."""
    played = np.unique(piece.bars["bar"])
    first = bars.start if ((played >= bars.start) & (played < bars.stop)).any() else int(played[0])
    return range(first, min(first + len(bars), len(piece)))


def leaves(what: str, a: compare.Notes, b: compare.Notes, n: int) -> float:
    """How much of what a slider should keep is kept: note F1 (0 to 1), or a cosine (0 to 100)."""
    if what == "all but velocities":
        return compare.mean_where(*compare.bar_f1(a, b, n, ("onset", "pitch", "duration")))
    f1, full = compare.bar_f1(a, b, n)
    if what == "onsets and pitches":
        return compare.mean_where(f1, full)
    view = compare.groove if what == "onsets" else compare.chroma
    return compare.mean_where(compare.similarity(view(a, n), view(b, n)), full)


def controllability(swept: Sequence[Swept]) -> Figures:
    """Mean over pieces of each slider's own rho, of what it keeps, and how little it drags along."""
    rho = np.mean([s.rho for s in swept], 0)
    strict = np.mean([np.abs(s.rho) for s in swept], 0)
    kept = np.array([_mean([s.kept[i] for s in swept]) for i in range(len(NAMES))])
    own = np.concatenate([s.own for s in swept])
    natural = natural_correlation(own[np.isfinite(own).all(1)])
    off = ~np.eye(len(NAMES), dtype=bool)
    figures = {f"rho.{name}": float(rho[i, i]) for i, name in enumerate(NAMES)}
    figures["rho"] = float(np.diag(rho).mean())
    figures |= {f"kept.{name}": float(kept[i]) for i, name in enumerate(NAMES)}
    figures["independence"] = float(np.maximum(np.abs(rho) - natural, 0)[off].mean())
    figures["independence_by_piece"] = float(np.maximum(strict - natural, 0)[off].mean())
    return figures


def natural_correlation(own: Floats) -> Floats:
    """(A, A) absolute Spearman of the attributes over source bars (N, A)."""
    if len(own) < 3:
        return np.zeros((len(NAMES), len(NAMES)))
    pairs = [[abs(spearman(own[:, i], own[:, j])) for j in range(len(NAMES))] for i in range(len(NAMES))]
    return np.array(pairs)


def spearman(x: Floats, y: Floats) -> float:
    """Rank correlation; 0 where one is constant. Missing values (an attribute of no notes) are left out."""
    known = np.isfinite(x) & np.isfinite(y)
    if known.sum() < 2 or np.ptp(x[known]) == 0 or np.ptp(y[known].round(9)) == 0:
        return 0.0
    return float(np.corrcoef(rankdata(x[known]), rankdata(y[known].round(9)))[0, 1])


@dataclass(frozen=True, slots=True, eq=False)
class Stepped:
    """One window of a piece with every slider moved in steps of a tenth."""

    changed: Floats  # (A, 40) notes by (onset, pitch) that come or go at each step
    notes: int  # in the window, at rest
    moved: Floats  # (A,) share of 1-sigma moves after which anything is different
    returned: Floats  # (A,) 1 where going away and coming back gave identical notes


def steps(session: Session, piece: Piece, bars: range) -> Stepped:
    """Move every slider from -2 to +2, then go back to 0 and to 1 and compare with the first time."""
    bars = sounding(piece, bars[:WINDOW])
    changed, moved, returned = np.zeros((len(NAMES), len(STEPS) - 1)), np.zeros(len(NAMES)), np.zeros(len(NAMES))
    at_rest = notes_of(session, piece, bars)
    for i, name in enumerate(NAMES):
        takes = [notes_of(session, piece, bars, {name: x}) if x else at_rest for x in STEPS]
        changed[i] = [compare.changed(a, b) for a, b in pairwise(takes)]
        whole = takes[::10]
        moved[i] = np.mean([not np.array_equal(a, b) for a, b in pairwise(whole)])
        back = notes_of(session, piece, bars), notes_of(session, piece, bars, {name: 1.0})
        returned[i] = np.array_equal(back[0], at_rest) and np.array_equal(back[1], takes[30])
    return Stepped(changed, len(at_rest), moved, returned)


def smoothness(stepped: Sequence[Stepped]) -> Figures:
    """Over all windows that have notes: how many notes a tenth of a sigma moves, and that a slider comes back."""
    some = [s for s in stepped if s.notes]
    if not some:
        return {}
    moving = [i for i, name in enumerate(NAMES) if name not in NOT_MOVED]
    still = [i for i, name in enumerate(NAMES) if name in NOT_MOVED]
    figures = {
        "smooth.median_notes": float(np.median([s.changed[moving] for s in some])),
        "smooth.p95_percent": float(np.percentile([100 * s.changed[moving] / s.notes for s in some], 95)),
        "smooth.notes_moved_by_velocity_and_duration": float(np.sum([s.changed[still] for s in some])),
        "smooth.moves_that_change_something_percent": float(100 * np.mean([s.moved for s in some])),
        "returning_percent": float(100 * np.mean([s.returned for s in some])),
    }
    for i in moving:
        share = [100 * s.changed[i] / s.notes for s in some]
        figures[f"smooth.p95_percent.{NAMES[i]}"] = float(np.percentile(share, 95))
    for i, name in enumerate(NAMES):
        figures[f"smooth.changes_percent.{name}"] = float(100 * np.mean([s.moved[i] for s in some]))
    return figures


def _mean(values: Sequence[float]) -> float:
    finite = [v for v in values if np.isfinite(v)]
    return float(np.mean(finite)) if finite else float("nan")
