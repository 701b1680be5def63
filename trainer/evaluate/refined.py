"""Does the refiner earn its place? The same latents and seeds as drafted and as refined, against held-out music.

Latents are a prior's draws, posterior samples led astray, and posterior samples as they are. For each: whether a
classifier tells the windows from music, how far their statistics agree, how alike neighbouring bars are, notes a bar,
and for the last how many notes survive. W windows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from engine.compose import Request, knobs_of
from engine.compose.fit import likeness
from engine.decoding import decode
from engine.errors import MorphonyError
from engine.generation import draw_latents
from engine.model.batch import Bars, Notes
from engine.refining import refine
from engine.session import Piece, Session
from trainer.evaluate import notes as compare
from trainer.evaluate.bootstrap import Draws, summary
from trainer.evaluate.classifier import SEEDS, Heard, told_apart
from trainer.evaluate.generated import accuracy, counts
from trainer.evaluate.samples import Latents, blocks, conditions_of_windows, cut, silent
from trainer.evaluate.windows import Window, halves, of_piece, shuffled, stacked
from trainer.refine import astray

MOST = 4  # windows of a piece that take part
FAR = 0.6  # of the way that posterior samples are led astray

Floats = NDArray[np.float64]
Figures = dict[str, float]
Way = tuple[float | None, float]  # what `Request.refine` says, and the temperature of notes
WAYS: dict[str, Way] = {
    "draft": (None, 0.0),
    "draft_drawn": (None, 1.0),
    "refined": (0.8, 0.0),
    "refined_drawn": (0.8, 1.0),
}


def from_prior(session: Session, windows: Sequence[Window], conditions: Bars, seed: int) -> Latents:
    """What the model's own prior draws."""
    return draw_latents(session, conditions, seed, 1.0, begins=False, ends=False)


@torch.no_grad()
def from_posterior(session: Session, windows: Sequence[Window], conditions: Bars, seed: int, far: float) -> Latents:
    """A sample of each window's posterior, `far` of the way astray."""
    noise, device = torch.Generator().manual_seed(seed), session.device
    bars = conditions.to(device)
    q = session.model.encode(Notes.of(stacked(windows)[0]).to(device), bars, noise if device.type == "cpu" else None)
    z = astray(q, bars, torch.full((conditions.n_pieces,), far, device=device), noise)
    return z[0].cpu(), z[1].cpu(), z[2].cpu()


Source = Callable[[Session, Sequence[Window], Bars, int], Latents]
SOURCES: dict[str, Source] = {
    "prior": from_prior,
    "astray": lambda s, w, c, seed: from_posterior(s, w, c, seed, FAR),
    "own": lambda s, w, c, seed: from_posterior(s, w, c, seed, 0.0),
}


def made(session: Session, like: Sequence[Window], source: str, way: Way, seed: int = 0) -> list[Window]:
    """(W) windows with the meters and parts of given ones, from latents of a source, decoded in a way."""
    out = []
    for first, some in blocks(like):
        conditions = conditions_of_windows(some)
        piece = silent(conditions, SOURCES[source](session, some, conditions, seed + first))
        out += cut(_decoded(session, piece, some, way, seed + first), some)
    return out


def _decoded(session: Session, piece: Piece, windows: Sequence[Window], way: Way, seed: int) -> NDArray[np.void]:
    refined, warmth = way
    knobs = knobs_of(session, Request(seed=seed, temperature=warmth, blend=False, refine=refined))
    starts = np.cumsum([0, *(len(w.clocks) for w in windows)]).tolist()
    if refined is None:
        return decode(session, piece, list(range(starts[-1])), knobs)
    return refine(session, piece, [list(range(a, b)) for a, b in pairwise(starts)], knobs)


@dataclass(slots=True, eq=False)
class Compared:
    """The windows of one piece, real and made in every way, and how they were told apart."""

    real: list[Window]
    made: dict[str, list[Window]] = field(default_factory=dict)  # "source.way" -> windows
    told: dict[str, list[tuple[Floats, Floats]]] = field(default_factory=dict)  # check -> by seed, each set's windows


def windows(session: Session, piece: Piece, _: range) -> Compared:
    """A piece's windows."""
    if session.model.refiner is None:
        raise MorphonyError("This model has no refiner to compare with its drafts.")
    return Compared(of_piece(piece, most=MOST))


def judge(session: Session, found: Sequence[Compared]) -> list[Compared]:
    """The pieces with windows made from every source in every way, and what the classifier said of them."""
    for i, x in enumerate(found):
        x.real = [replace(w, piece=i) for w in x.real]
    real = [w for x in found for w in x.real]
    if not real:
        return list(found)
    first, second = halves(real, 0)
    pairs = {"check.shuffled": (real, shuffled(real, 0)), "check.halves": (first, second)}
    for source in SOURCES:
        for name, way in WAYS.items():
            new = made(session, real, source, way)
            pairs[f"{source}.{name}"] = real, new
            for window in new:
                found[window.piece].made.setdefault(f"{source}.{name}", []).append(window)
    for name, (a, b) in pairs.items():
        try:
            by_seed = [told_apart(Heard.of(a), Heard.of(b), seed) for seed in SEEDS]
        except MorphonyError:  # too few pieces for a verdict
            break
        of_a, of_b = np.array([w.piece for w in a]), np.array([w.piece for w in b])
        for i, x in enumerate(found):
            x.told[name] = [(right_a[of_a == i], right_b[of_b == i]) for right_a, right_b in by_seed]
    return list(found)


@summary(lambda compared: bool(compared.made), lambda _, __: True)
def verdicts(some: Sequence[Compared], draws: Draws) -> dict[str, Floats]:
    """Figures of every source and way, and of music itself; accuracies are means over the classifier's seeds."""
    sets = {"music": [x.real for x in some]} | {name: [x.made[name] for x in some] for name in some[0].made}
    out: dict[str, Floats] = {}
    music = _shares(sets["music"], draws)
    for name, windows in sets.items():
        rows = [
            plain(w) | ({} if name == "music" else {"f1": _f1(w, x.real)}) for w, x in zip(windows, some, strict=True)
        ]
        means = draws.mean(np.array([list(row.values()) for row in rows]))
        out |= {f"{name}.{key}": column for key, column in zip(rows[0], means.T, strict=True)}
        if name != "music":
            own = _shares(windows, draws)
            each = {f"{name}.overlap_{key}": np.minimum(music[key], own[key]).sum(1) for key in own}
            out |= each | {f"{name}.overlap": np.mean(list(each.values()), 0)}
    for name in some[0].told:
        by_seed = np.array([accuracy([x.told[name][seed] for x in some], draws) for seed in range(len(SEEDS))])
        out |= {f"{name}.told": by_seed.mean(0), f"{name}.told_spread": by_seed.std(0, ddof=1)}
    return out


def plain(windows: Sequence[Window]) -> Figures:
    """Notes a 4/4 bar, and mean cosines of the pitch classes and onsets of neighbouring bars (the seams of each)."""
    alike = [likeness(w.notes, len(w.clocks)) for w in windows]
    chroma, onset = (np.concatenate([pair[i] for pair in alike]) for i in (0, 1))
    quarters = sum(float(w.clocks.sum()) for w in windows) / 96
    notes = sum(len(w.notes) for w in windows) / max(quarters, 1e-9)
    return {"notes_a_bar": notes, "chroma_alike": _mean(chroma), "onset_alike": _mean(onset)}


def _f1(new: Sequence[Window], real: Sequence[Window]) -> float:
    """F1 of notes with the windows that latents may have come from."""
    a, b = stacked(real)[0], stacked(new)[0]
    return compare.mean_where(*compare.bar_f1(a, b, sum(len(w.clocks) for w in real)))


def _shares(windows: Sequence[Sequence[Window]], draws: Draws) -> dict[str, Floats]:
    """(R, bins) histograms, every note of the drawn pieces weighing the same."""
    each = [counts(w) for w in windows]
    total = {name: draws.sum(np.array([c[name] for c in each])) for name in each[0]}
    return {name: c / np.maximum(c.sum(1, keepdims=True), 1) for name, c in total.items()}


def _mean(values: Floats) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


__all__ = ["Compared", "judge", "made", "verdicts", "windows"]
