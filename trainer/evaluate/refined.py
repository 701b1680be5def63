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
from trainer.evaluate.classifier import SEEDS, Heard, told_apart
from trainer.evaluate.generated import overlaps
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
    return draw_latents(session, conditions, seed, 1.0)


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


def verdicts(found: Sequence[Compared]) -> Figures:
    """Figures of every source and way, and of music itself; accuracies are means over the classifier's seeds."""
    some = [x for x in found if x.made]
    if not some:
        return {}
    real = [w for x in some for w in x.real]
    out = {f"music.{name}": value for name, value in plain(real).items()}
    for name in some[0].made:
        new = [w for x in some for w in x.made[name]]
        out |= {f"{name}.{key}": value for key, value in (plain(new) | against(new, real)).items()}
    for name in some[0].told:
        by_seed = [_accuracy([x.told[name][seed] for x in some]) for seed in range(len(SEEDS))]
        out |= {f"{name}.told": float(np.mean(by_seed)), f"{name}.told_spread": float(np.std(by_seed, ddof=1))}
    return {name: value for name, value in out.items() if np.isfinite(value)}


def plain(windows: Sequence[Window]) -> Figures:
    """Notes a 4/4 bar, and mean cosines of the pitch classes and onsets of neighbouring bars (the seams of each)."""
    alike = [likeness(w.notes, len(w.clocks)) for w in windows]
    chroma, onset = (np.concatenate([pair[i] for pair in alike]) for i in (0, 1))
    quarters = sum(float(w.clocks.sum()) for w in windows) / 96
    notes = sum(len(w.notes) for w in windows) / max(quarters, 1e-9)
    return {"notes_a_bar": notes, "chroma_alike": float(np.nanmean(chroma)), "onset_alike": float(np.nanmean(onset))}


def against(new: Sequence[Window], real: Sequence[Window]) -> Figures:
    """Overlaps of statistics, their mean, and F1 of notes with the windows that latents may have come from."""
    each = overlaps(new, real)
    a, b = stacked(real)[0], stacked(new)[0]
    f1 = compare.mean_where(*compare.bar_f1(a, b, sum(len(w.clocks) for w in real)))
    return {f"overlap_{name}": value for name, value in each.items()} | {
        "overlap": float(np.mean(list(each.values()))),
        "f1": f1,
    }


def _accuracy(told: Sequence[tuple[Floats, Floats]]) -> float:
    sides = [np.concatenate([pair[side] for pair in told]) for side in (0, 1)]
    return float(np.mean([np.nanmean(x) if np.isfinite(x).any() else np.nan for x in sides]))


__all__ = ["Compared", "judge", "made", "verdicts", "windows"]
