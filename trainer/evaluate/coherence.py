"""Whether new pieces hang together as music does: harmony and rhythm of bars near each other, and the key they stay in.

What music itself does is measured in the same way: a value is judged by where it lies among that of held-out music.
B bars of a window, W windows of a piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from engine.model.batch import PHRASE_BARS
from engine.session import Piece, Session
from trainer.evaluate import notes as compare
from trainer.evaluate.bootstrap import Draws, summary
from trainer.evaluate.samples import sample_windows
from trainer.evaluate.windows import Window, of_piece

BARS = 16
PER_PIECE = 4  # windows of a piece
FAR = 4  # bars between two that are compared, beside neighbours
MAJOR = np.array([6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88])  # Krumhansl & Kessler 1982
MINOR = np.array([6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17])
KEYS = np.array([np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)])  # (24, 12)
MEASURES = ("chroma_next", "chroma_4_bars", "rhythm_next", "rhythm_4_bars", "key_kept", "key_clarity")

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Coherent:
    """Windows of one piece and as many new ones like them."""

    real: list[Window]
    of_real: Floats  # (W, MEASURES)
    of_new: Floats  # (W, MEASURES); empty until new windows are drawn


def windows(_: Session, piece: Piece, __: range) -> Coherent:
    """The windows of a piece and what they measure."""
    real = of_piece(piece, BARS, PER_PIECE)
    return Coherent(real, measured(real), np.zeros((0, len(MEASURES))))


def draw(session: Session, found: Sequence[Coherent]) -> list[Coherent]:
    """The pieces with new windows beside their own."""
    like = [replace(w, piece=i) for i, x in enumerate(found) for w in x.real]
    new: list[list[Window]] = [[] for _ in found]
    for window in sample_windows(session, like) if like else []:
        new[window.piece].append(window)
    return [replace(x, of_new=measured(own)) for x, own in zip(found, new, strict=True)]


def measured(some: Sequence[Window]) -> Floats:
    """(W, MEASURES) cosines (0 to 100) of pitch classes and of onsets, neighbours and FAR bars apart, and of the key
    the share (0 to 100) of phrases that are in the window's own and how well the window fits it (correlation).
    """
    return np.array([_measured(w) for w in some]).reshape(-1, len(MEASURES))


def _measured(window: Window) -> list[float]:
    n = len(window.clocks)
    chroma, rhythm = compare.chroma(window.notes, n), compare.groove(window.notes, n)
    cosines = [_apart(view, k) for view in (chroma, rhythm) for k in (1, FAR)]
    phrases = chroma[: n // PHRASE_BARS * PHRASE_BARS].reshape(-1, PHRASE_BARS, 12).sum(1)
    whole = fits(chroma.sum(0)[None])[0]
    played = phrases.sum(1) > 0
    same = fits(phrases[played]).argmax(1) == whole.argmax()
    return [*cosines, 100 * float(same.mean()) if played.any() else np.nan, float(whole.max())]


def _apart(view: Floats, k: int) -> float:
    """Mean cosine of bars k apart, 0 where one of the two is empty; pairs of two empty bars are left out."""
    full = (view[:-k].sum(1) > 0) | (view[k:].sum(1) > 0)
    return compare.mean_where(compare.similarity(view[:-k], view[k:]), full)


def fits(chroma: Floats) -> Floats:
    """(K, 24) correlation of chroma (K, 12) with the profile of every major and minor key; 0 for silence."""
    off, profile = chroma - chroma.mean(1, keepdims=True), KEYS - KEYS.mean(1, keepdims=True)
    length = np.linalg.norm(off, axis=1)[:, None] * np.linalg.norm(profile, axis=1)
    out: Floats = off @ profile.T / np.maximum(length, 1e-9)
    return out


@summary(lambda x: len(x.of_new) > 0)
def coherence(found: Sequence[Coherent], draws: Draws) -> dict[str, Floats]:
    """The mean of new pieces, the quartiles of music, and the share of new pieces between them (half of music is)."""
    real, new = _padded([x.of_real for x in found]), _padded([x.of_new for x in found])
    figures: dict[str, Floats] = {}
    inside = []
    for i, name in enumerate(MEASURES):
        low, middle, high = draws.quantile(real[..., i], (0.25, 0.5, 0.75)).T
        total, known = draws.sum(np.nan_to_num(new[..., i]).sum(1)), draws.sum(np.isfinite(new[..., i]).sum(1))
        within = draws.count_between(new[..., i], low, high)
        figures |= {
            f"coherence.{name}": total / np.maximum(known, 1),
            f"coherence.{name}.music_25": low,
            f"coherence.{name}.music_50": middle,
            f"coherence.{name}.music_75": high,
            f"coherence.{name}.inside_percent": 100 * within / np.maximum(known, 1),
        }
        inside.append(figures[f"coherence.{name}.inside_percent"])
    return figures | {"coherence.inside_percent": np.mean(inside, 0)}


def _padded(each: Sequence[Floats]) -> Floats:
    """(P, W, MEASURES), NaN where a piece has fewer windows than another."""
    out = np.full((len(each), max(map(len, each)), len(MEASURES)), np.nan)
    for i, x in enumerate(each):
        out[i, : len(x)] = x
    return out
