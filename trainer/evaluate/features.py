"""What a listener could compare windows by: each bar for itself, and how every two bars of a window go together.

NumPy only; learns nothing. W windows of N bars, K = W * N bars in all, M notes, F and G numbers of a bar and of a pair.
Pairs are described by what does not change when both are transposed, so that few windows teach much.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.attributes import measure_bars
from engine.model.fields import DURATIONS, N_PITCHES, duration_class, velocity_class
from engine.tokens.vocab import PITCHES
from trainer.evaluate.windows import Window, stacked

Floats = NDArray[np.float32]
SLOTS = 24  # 16ths of a bar that are told apart
NEAR_END = 6  # clocks: a note that sounds so shortly before the bar line is heard across it
OCTAVE = 12
LEAP = 3.0  # semitones in which the likeness of two pitches falls to 1/e
NONE = -1e3  # pitch of nothing, farther from any other than pitches lie apart


def features(windows: Sequence[Window]) -> tuple[Floats, Floats]:
    """(W, N, F) of each bar and (W, N, N, G) of each pair, the first before the second."""
    w = len(windows)
    notes, clocks = stacked(windows)
    rolls, scalars, edges = _rolls(notes, clocks), _scalars(notes, clocks), _edges(notes, len(clocks))
    bars = np.concatenate([*rolls.values(), scalars], 1).reshape(w, len(clocks) // w, -1)
    views = {name: roll.reshape(w, len(clocks) // w, -1) for name, roll in rolls.items()}
    return bars.astype(np.float32), np.concatenate(
        [
            *(_cosine(views[v])[..., None] for v in ("groove", "pitch", "chroma", "duration", "velocity")),
            _cosine(_joint(notes, len(clocks)).reshape(w, len(clocks) // w, -1))[..., None],
            _shifted(views["pitch"], views["pitch"], OCTAVE),
            _shifted(views["last"], views["first"], OCTAVE),
            _shifted(views["tied"], views["first"], 2),
            np.stack([_cosine(views["chroma"], np.roll(views["chroma"], -s, -1)) for s in range(1, OCTAVE)], -1),
            _steps(edges.reshape(w, len(clocks) // w, -1)),
            np.abs(_differences(scalars.reshape(w, len(clocks) // w, -1))),
        ],
        -1,
    ).astype(np.float32)


def _rolls(notes: NDArray[np.void], clocks: NDArray[np.int64]) -> dict[str, Floats]:
    """(K, ...) views of the notes of each bar."""
    bar, pitch, onset = notes["bar"], notes["pitch"].astype(int) - PITCHES.start, notes["onset"].astype(int)
    end, k = onset + notes["duration"], len(clocks)
    over, late = end > clocks[bar] + 1, end >= clocks[bar] - NEAR_END
    early = onset < 2 * NEAR_END
    count = np.maximum(np.bincount(bar, minlength=k), 1)[:, None]
    duration = duration_class(notes["duration"])
    return {
        "groove": np.minimum(_counted(bar, np.minimum(onset // 6, SLOTS - 1), k, SLOTS), 4),
        "pitch": np.minimum(_counted(bar, pitch, k, N_PITCHES), 3),
        "chroma": _counted(bar, notes["pitch"] % OCTAVE, k, OCTAVE) / count,
        "duration": _counted(bar, duration // 4, k, len(DURATIONS) // 4 + 1) / count,
        "velocity": _counted(bar, velocity_class(notes["velocity"]) // 2, k, 16) / count,
        "first": np.minimum(_counted(bar[early], pitch[early], k, N_PITCHES), 1),
        "last": np.minimum(_counted(bar[late], pitch[late], k, N_PITCHES), 1),
        "tied": np.minimum(_counted(bar[over], pitch[over], k, N_PITCHES), 1),
    }


def _counted(bar: NDArray[np.integer], kind: NDArray[np.integer], k: int, kinds: int) -> Floats:
    flat = np.bincount(bar.astype(np.int64) * kinds + kind, minlength=k * kinds)
    return flat.reshape(k, kinds).astype(np.float32)


def _joint(notes: NDArray[np.void], k: int) -> Floats:
    """(K, SLOTS * 88) where and what: equal for bars that repeat each other."""
    slot = np.minimum(notes["onset"].astype(np.int64) // 6, SLOTS - 1)
    return _counted(notes["bar"], slot * N_PITCHES + notes["pitch"] - PITCHES.start, k, SLOTS * N_PITCHES)


def _scalars(notes: NDArray[np.void], clocks: NDArray[np.int64]) -> Floats:
    """(K, 14) the named attributes, the number of notes and the bar's length."""
    own = np.nan_to_num(measure_bars(notes, clocks))
    count = np.log1p(np.bincount(notes["bar"], minlength=len(clocks)))
    return np.concatenate([own, count[:, None], clocks[:, None] / 96], 1).astype(np.float32)


def _edges(notes: NDArray[np.void], k: int) -> Floats:
    """(K, 4) highest and lowest pitch of the last onset, then of the first; NONE in a bar without notes."""
    out = np.full((k, 4), NONE, np.float32)
    pitch, onset = notes["pitch"].astype(int), notes["onset"].astype(int)
    for column, (time, height) in enumerate([(onset, pitch), (onset, -pitch), (-onset, pitch), (-onset, -pitch)]):
        order = np.lexsort((height, time, notes["bar"]))
        out[notes["bar"][order], column] = pitch[order]  # the last one written stays
    return out


def _steps(edges: Floats) -> Floats:
    """(W, N, N, 6) top and bottom line from the end of one bar to the beginning of the other: how near, where to."""
    out = []
    for line in (0, 1):
        step = edges[:, None, :, 2 + line] - edges[:, :, None, line]
        known = np.abs(step) < -NONE / 2
        out += [np.exp(-np.abs(step) / LEAP), np.where(known, step.clip(-24, 24), 0), known & (step == 0)]
    return np.stack(out, -1).astype(np.float32)


def _differences(scalars: Floats) -> Floats:
    out: Floats = scalars[:, None] - scalars[:, :, None]
    return out


def _cosine(a: Floats, b: Floats | None = None) -> Floats:
    """(W, N, N) of every two bars; 0 where one is empty."""
    b = a if b is None else b
    length = np.linalg.norm(a, axis=-1)[:, :, None] * np.linalg.norm(b, axis=-1)[:, None]
    out: Floats = a @ b.swapaxes(1, 2) / np.maximum(length, 1e-6)
    return out


def _shifted(a: Floats, b: Floats, most: int) -> Floats:
    """(W, N, N, 2 * most + 1) the same with the second bar transposed by up to `most` semitones either way."""
    wide = np.pad(b, ((0, 0), (0, 0), (most, most)))
    return np.stack([_cosine(a, wide[..., s : s + a.shape[-1]]) for s in range(2 * most + 1)], -1)
