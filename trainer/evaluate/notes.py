"""How two versions of the same bars compare, note by note. BAR_NOTE arrays in, NumPy only; knows no model.

N bars, M notes. `full` marks bars in which at least one of the two versions has notes: means are taken over those.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.attributes import CLOCKS_PER_16TH

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Notes = NDArray[np.void]  # BAR_NOTE

ONSET_PITCH = ("onset", "pitch")
DENSE = 25  # notes that make a bar dense


def keys(notes: Notes, fields: tuple[str, ...]) -> NDArray[np.int64]:
    """(M,) one number per note; equal where bar and fields are. Durations are compared in 1/16 clock."""
    key = notes["bar"].astype(np.int64)
    for name in fields:
        value = np.round(notes[name] * 16) if name == "duration" else notes[name]
        key = key * 8192 + value.astype(np.int64).clip(0, 8191)
    return key


def tally(a: Notes, b: Notes, n: int, fields: tuple[str, ...] = ONSET_PITCH) -> tuple[Floats, Floats, Floats]:
    """Matches, notes of a, notes of b, in each of n bars; a note matches once, so doublings count."""
    found, index = np.unique(np.concatenate([keys(a, fields), keys(b, fields)]), return_inverse=True)
    times = [np.bincount(i, minlength=len(found)) for i in (index[: len(a)], index[len(a) :])]
    bar = found // 8192 ** len(fields)
    both = np.bincount(bar, np.minimum(*times), minlength=n).astype(np.float64)
    in_a, in_b = (np.bincount(x["bar"], minlength=n).astype(np.float64) for x in (a, b))
    return both, in_a, in_b


def bar_f1(a: Notes, b: Notes, n: int, fields: tuple[str, ...] = ONSET_PITCH) -> tuple[Floats, Bools]:
    """(N,) F1 of each bar and whether it is full; a bar that only one version plays has 0."""
    both, in_a, in_b = tally(a, b, n, fields)
    return 2 * both / np.maximum(in_a + in_b, 1), in_a + in_b > 0


def window_f1(a: Notes, b: Notes, n: int, width: int) -> float:
    """Mean F1 over stretches of `width` bars, each stretch taken as one; NaN where the piece is shorter."""
    both, in_a, in_b = (x[: n // width * width].reshape(-1, width).sum(1) for x in tally(a, b, n))  # each (N // width,)
    return mean_where(2 * both / np.maximum(in_a + in_b, 1), in_a + in_b > 0)


def onset_f1(a: Notes, b: Notes, n: int) -> tuple[Floats, Bools]:
    """(N,) F1 of the set of onset clocks, whatever sounds there."""
    a, b = (x[np.unique(keys(x, ("onset",)), return_index=True)[1]] for x in (a, b))
    return bar_f1(a, b, n, ("onset",))


def chroma(notes: Notes, n: int) -> Floats:
    """(N, 12) notes of each pitch class."""
    return _counts(notes["bar"].astype(np.int64), notes["pitch"].astype(np.int64) % 12, n, 12)


def groove(notes: Notes, n: int) -> Floats:
    """(N, S) onsets in each 16th of the bar: 16 in 4/4."""
    slot = notes["onset"].astype(np.int64) // CLOCKS_PER_16TH
    return _counts(notes["bar"].astype(np.int64), slot, n, int(slot.max(initial=0)) + 1)


def similarity(a: Floats, b: Floats) -> Floats:
    """(N,) cosine, 0 to 100; 0 where one of them is empty."""
    wide = max(a.shape[1], b.shape[1])
    a, b = (np.pad(x, ((0, 0), (0, wide - x.shape[1]))) for x in (a, b))
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosine: Floats = 100 * (a * b).sum(1) / np.maximum(length, 1e-9)
    return cosine


def field_error(a: Notes, b: Notes, field: str) -> float:
    """Mean absolute difference of a field over the notes both versions have; NaN without any."""
    _, i, j = np.intersect1d(keys(a, ONSET_PITCH), keys(b, ONSET_PITCH), return_indices=True)
    return float(np.abs(a[field][i].astype(float) - b[field][j]).mean()) if len(i) else float("nan")


def changed(a: Notes, b: Notes) -> int:
    """Notes by (onset, pitch) that only one of the versions has."""
    n = int(max(a["bar"].max(initial=0), b["bar"].max(initial=0))) + 1
    both, in_a, in_b = tally(a, b, n)
    return int((in_a + in_b - 2 * both).sum())


def mean_where(values: Floats, where: Bools) -> float:
    """The mean of the values that count; NaN without any."""
    return float(values[where].mean()) if where.any() else float("nan")


def _counts(bar: NDArray[np.int64], kind: NDArray[np.int64], n: int, kinds: int) -> Floats:
    return np.bincount(bar * kinds + kind, minlength=n * kinds).reshape(n, kinds).astype(np.float64)
