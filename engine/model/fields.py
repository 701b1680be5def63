"""How a note's fields become classes and come back: duration, velocity, micro-shift, slots. NumPy only.

A slot is four clocks: the step of the grid the encoder pools into and the decoder writes from.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.tokens.vocab import FAMILIES, PARTS, PITCHES, VELOCITY_STEP

SLOT_CLOCKS = 4
PAGE_SLOTS = 36  # a page of slots has weights of its own: 144 clocks, up to 12/8 and 3/2; longer bars turn the page
MAX_PAGES = 8
N_PITCHES = len(PITCHES)
N_PARTS = len(PARTS)
CELLS_PER_SLOT = SLOT_CLOCKS * N_PITCHES

DURATIONS: NDArray[np.float64] = np.concatenate(
    [np.arange(1, 25), np.arange(26, 49, 2), np.arange(52, 97, 4), np.arange(104, 193, 8), [216, 240, 288, 384]]
).astype(np.float64)  # clocks: exact to a quarter, then ever coarser
_DURATION_EDGES = np.sqrt(DURATIONS[1:] * DURATIONS[:-1])
VELOCITY_BINS = len(FAMILIES["VELOCITY_CHANGE"].values)
VELOCITIES: NDArray[np.float64] = (np.arange(VELOCITY_BINS) * VELOCITY_STEP + (VELOCITY_STEP - 1) / 2).astype(
    np.float64
)
MICRO = np.linspace(-0.5, 0.5, 17)  # clocks


def duration_class(clocks: NDArray[np.floating]) -> NDArray[np.int64]:
    """Nearest duration class, by ratio."""
    return np.searchsorted(_DURATION_EDGES, clocks).astype(np.int64)


def velocity_class(velocity: NDArray[np.integer]) -> NDArray[np.int64]:
    """The velocity bin, as in the 774 tokens."""
    return (velocity.astype(np.int64) // VELOCITY_STEP).clip(0, VELOCITY_BINS - 1)


def micro_class(clocks: NDArray[np.floating]) -> NDArray[np.int64]:
    """Nearest micro-shift class."""
    return np.round((clocks + 0.5) * (len(MICRO) - 1)).astype(np.int64).clip(0, len(MICRO) - 1)
