"""What the named sliders do to decoded notes: whether they are obeyed, what they leave alone, how smoothly they move.

A = 12 sliders and as many attributes, P = 9 positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from engine.attributes import NAMES, SPECS, measure
from engine.session import Piece, Session
from trainer.evaluate import notes as compare
from trainer.evaluate.bootstrap import Draws, Summary, summary
from trainer.evaluate.decoded import notes_of, within

POSITIONS = np.linspace(-2, 2, 9)
REST = 4  # the position at which nothing moves
PIECE_BARS = 64  # of a piece that is swept as a whole
SINGLE_BARS = 2  # of a piece that are swept one by one
STEPS = np.linspace(-2, 2, 41).round(1)
WINDOW = 4  # bars in which smoothness is measured
NOT_MOVED = ("articulation", "dynamics", "dynamic_spread")  # sliders that leave every onset and pitch alone

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Swept:
    """One piece with every slider at every position, the others at rest."""

    rho: Floats  # (A, A) Spearman of slider i and attribute j
    kept: Floats  # (A,) how much of what slider i should leave alone is still there at -1 and +1
    response: Floats  # (A, P) slider i's own attribute, in its sigma from where it is with every slider at rest
    own: Floats  # (N, A) attributes of the piece's source bars

    @property
    def mine(self) -> Floats:
        """(A,) Spearman of each slider and its own attribute."""
        return np.diag(self.rho)

    @property
    def slope(self) -> Floats:
        """(A,) sigma the attribute moves per sigma asked, by least squares: 1 is as asked; NaN without a value."""
        return np.array([slope(POSITIONS, r) for r in self.response])


def sweep(session: Session, piece: Piece, bars: range) -> Swept:
    """Measure all sliders on some bars of a piece."""
    bars = sounding(piece, bars)
    clocks = piece.grid.clocks[bars.start : bars.stop]
    at_rest = within(notes_of(session, piece, bars), bars)
    rho, kept = np.zeros((len(NAMES), len(NAMES))), np.full(len(NAMES), np.nan)
    response = np.zeros((len(NAMES), len(POSITIONS)))
    for i, name in enumerate(NAMES):
        takes = {x: within(notes_of(session, piece, bars, {name: x}), bars) if x else at_rest for x in POSITIONS}
        attributes = np.array([measure(take, clocks) for take in takes.values()])
        rho[i] = [spearman(POSITIONS, attributes[:, j]) for j in range(len(NAMES))]
        kept[i] = np.mean([leaves(SPECS[i].keeps, at_rest, takes[x], len(bars)) for x in (-1.0, 1.0)])
        response[i] = (attributes[:, i] - attributes[REST, i]) / session.deviations[i]
    return Swept(rho, kept, response, piece.own)


def sweep_whole(session: Session, piece: Piece, _: range) -> Swept:
    """Measure all sliders on the whole piece, its first PIECE_BARS where it is longer."""
    return sweep(session, piece, range(PIECE_BARS))


def sweep_bars(session: Session, piece: Piece, _: range) -> Swept:
    """Measure all sliders on single bars with music, spread over the piece; the mean of them."""
    played = np.unique(piece.bars["bar"])
    chosen = played[np.unique(np.linspace(0, len(played) - 1, SINGLE_BARS + 2)[1:-1].round().astype(int))]
    each = [sweep(session, piece, range(int(b), int(b) + 1)) for b in chosen]
    kept, response = ([getattr(s, name) for s in each] for name in ("kept", "response"))
    return Swept(np.mean([s.rho for s in each], 0), _mean(kept), _mean(response), piece.own)


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


def obedience(prefix: str = "") -> Summary[Swept]:
    """A summary of sweeps whose figures begin with `prefix`: the scope they were taken in."""

    @summary()
    def figures(swept: Sequence[Swept], draws: Draws) -> dict[str, Floats]:
        """Mean over pieces of each slider's own rho, slope, what it keeps, and how little it drags along."""
        every = np.array([s.rho for s in swept])
        rho, strict = draws.mean(every), draws.mean(np.abs(every))
        own, kept, slope = (draws.mean(np.array([getattr(s, n) for s in swept])) for n in ("mine", "kept", "slope"))
        natural, off = natural_correlation(swept, draws), ~np.eye(len(NAMES), dtype=bool)
        out = {f"rho.{name}": own[:, i] for i, name in enumerate(NAMES)} | {"rho": own.mean(1)}
        out |= {f"kept.{name}": kept[:, i] for i, name in enumerate(NAMES)}
        out |= {f"slope.{name}": slope[:, i] for i, name in enumerate(NAMES)} | {"slope": slope.mean(1)}
        out["independence"] = np.maximum(np.abs(rho) - natural, 0)[:, off].mean(1)
        out["independence_by_piece"] = np.maximum(strict - natural, 0)[:, off].mean(1)
        return {f"{prefix}{name}": value for name, value in out.items()}

    return figures


controllability, whole_piece, one_bar = obedience(), obedience("piece."), obedience("bar.")


def natural_correlation(swept: Sequence[Swept], draws: Draws) -> Floats:
    """(R, A, A) absolute Spearman of the attributes over all source bars that have every one of them."""
    known = [s.own[np.isfinite(s.own).all(1)] for s in swept]
    own, owner = np.concatenate(known), np.repeat(np.arange(len(known)), [len(k) for k in known])
    if len(own) < 3:
        return np.zeros((len(draws.index), len(NAMES), len(NAMES)))
    return np.abs(draws.rank_correlation(own, own.round(9), owner))


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


@summary(lambda stepped: stepped.notes > 0)
def smoothness(stepped: Sequence[Stepped], draws: Draws) -> dict[str, Floats]:
    """Over all windows that have notes: how many notes a tenth of a sigma moves, and that a slider comes back."""
    changed = np.array([s.changed for s in stepped])  # (P, A, 40)
    share = 100 * changed / np.array([s.notes for s in stepped])[:, None, None]
    moved, returned = (draws.mean(np.array([getattr(s, n) for s in stepped])) for n in ("moved", "returned"))
    moving = [i for i, name in enumerate(NAMES) if name not in NOT_MOVED]
    still = [i for i, name in enumerate(NAMES) if name in NOT_MOVED]

    def quantile(values: Floats, q: float) -> Floats:
        return draws.quantile(values.reshape(len(values), -1), [q])[:, 0]

    figures = {
        "smooth.median_notes": quantile(changed[:, moving], 0.5),
        "smooth.p95_percent": quantile(share[:, moving], 0.95),
        "smooth.notes_moved_by_velocity_and_duration": draws.sum(changed[:, still].sum((1, 2))),
        "smooth.moves_that_change_something_percent": 100 * moved.mean(1),
        "returning_percent": 100 * returned.mean(1),
    }
    figures |= {f"smooth.p95_percent.{NAMES[i]}": quantile(share[:, i], 0.95) for i in moving}
    return figures | {f"smooth.changes_percent.{name}": 100 * moved[:, i] for i, name in enumerate(NAMES)}


def responses(swept: Sequence[Swept]) -> dict[str, Any]:
    """What a plot of obedience draws: quartiles over pieces of every slider's response, in sigma."""
    every = np.array([s.response for s in swept])  # (pieces, A, P)
    known = {name: every[np.isfinite(every[:, i]).all(1), i] for i, name in enumerate(NAMES)}
    quartiles = {name: np.percentile(x, (25, 50, 75), axis=0).tolist() for name, x in known.items() if len(x)}
    return {"positions": POSITIONS.tolist(), "quartiles": quartiles}


def slope(x: Floats, y: Floats) -> float:
    """Least squares; NaN where fewer than two values are known."""
    known = np.isfinite(y)
    if known.sum() < 2:
        return float("nan")
    x, y = x[known] - x[known].mean(), y[known]
    return float(x @ y / (x @ x))


def _mean(values: Sequence[Floats]) -> Floats:
    """The mean of some arrays, missing values (NaN) left out."""
    known = np.isfinite(values)
    total, count = np.where(known, values, 0.0).sum(0), known.sum(0)
    out: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return out
