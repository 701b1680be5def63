"""How well new bars sit between their neighbours, judged on notes alone. NumPy only, knows no model.

N bars of a piece; the piece's own bars say how alike neighbours are in it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.attributes import CLOCKS_PER_16TH, measure

STRANGE = 3.0  # sigma: what an attribute counts that only one side has

Floats = NDArray[np.float64]


def likeness(notes: NDArray[np.void], bars: int) -> tuple[Floats, Floats]:
    """(N - 1,) cosines of every bar with the next: of their pitch classes, of their onsets by 16th; NaN by silence."""
    bar = notes["bar"].astype(np.int64)
    slot = notes["onset"].astype(np.int64) // CLOCKS_PER_16TH
    return _cosines(bar, notes["pitch"].astype(np.int64) % 12, bars), _cosines(bar, slot, bars)


def strangeness(
    notes: NDArray[np.void],
    source: NDArray[np.void],
    clocks: NDArray[np.int64],
    scope: range,
    near: Sequence[int],
    deviations: Floats,
) -> float:
    """How far the bars in scope of `notes` (BAR_NOTE) are from their place in the `source` piece; lower fits better.

    The twelve attributes beside those of the bars `near`, in sigma, and how much more or less alike successive bars
    are than the source's other bars: a copy of a neighbour is as strange as a stranger.
    """
    n = len(clocks)
    off = np.abs(measure(notes, clocks, scope) - measure(source, clocks, near)) / deviations
    total = float(np.nan_to_num(off, nan=STRANGE).mean())
    seams = np.arange(max(scope.start - 1, 0), min(scope.stop, n - 1))
    for found, own in zip(likeness(notes, n), likeness(source, n), strict=True):
        usual = np.delete(own, seams)
        if np.isfinite(usual).any():
            total += abs(float(np.nan_to_num(found[seams]).mean()) - float(np.nanmean(usual)))
    return total


def _cosines(bar: NDArray[np.int64], kind: NDArray[np.int64], bars: int) -> Floats:
    kinds = int(kind.max(initial=0)) + 1
    counts = np.bincount(bar * kinds + kind, minlength=bars * kinds).reshape(bars, kinds).astype(np.float64)
    length = np.linalg.norm(counts, axis=1)
    product = length[:-1] * length[1:]
    out: Floats = np.where(product > 0, (counts[:-1] * counts[1:]).sum(1) / np.maximum(product, 1e-9), np.nan)
    return out
