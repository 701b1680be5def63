"""What to do to a piece, as data: sliders, scope, sampling, masks, locks. Decodes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from engine.attributes import INDEX, NAMES
from engine.decoding import Knobs
from engine.errors import MorphonyError
from engine.masks import Masks
from engine.sampling import Goal
from engine.session import Session

CHUNK = 4  # bars decoded together first: what a drag shows
CHUNK_AFTER = 16  # and then: a bar takes half the time among so many
MAX_BEAM = 256


@dataclass(frozen=True, slots=True)
class Locks:
    """What stays as it is, bit for bit, and takes in nothing new where it is a bar or a track."""

    bars: frozenset[int] = frozenset()
    tracks: frozenset[int] = frozenset()
    notes: frozenset[int] = frozenset()  # rows of the piece's `score.notes`

    def __bool__(self) -> bool:
        return bool(self.bars or self.tracks or self.notes)


@dataclass(frozen=True, slots=True)
class Request:
    """What to do to a piece. Offsets are in sigma from the piece's own value."""

    offsets: Mapping[str, float] = field(default_factory=dict)
    bars: range | None = None  # scope; None is the whole piece
    tracks: frozenset[int] | None = None  # only these tracks change; None is all
    seed: int = 0
    temperature: float = 0.0
    blend: bool = True
    first: int = 0  # the bar to do first: where the playhead is
    top_k: int = 0  # see engine.filters and engine.sampling.likely_cells; 0 is all
    top_p: float = 1.0
    beam: int = 1  # of so many likeliest note sets of a bar the one nearest the sliders, or the goal, is taken
    goal: Goal | None = None
    masks: Masks = field(default_factory=Masks)
    locks: Locks = field(default_factory=Locks)
    away: float = 0.0  # how far, in sigma, the latents are from the source's own: the blend ends there too
    refine: float | None = None  # write drafted notes anew; 0 (as drafted) to 1: how far astray drafts are taken to be

    def __post_init__(self) -> None:
        if not (np.isfinite(self.temperature) and self.temperature >= 0):
            raise MorphonyError(f"A temperature is 0 or more, not {self.temperature}.")
        if self.top_k < 0:
            raise MorphonyError(f"top-k counts candidates from 0 (all of them) on, not {self.top_k}.")
        if not 0 < self.top_p <= 1:
            raise MorphonyError(f"top-p is a share above 0 and up to 1, not {self.top_p}.")
        if not 1 <= self.beam <= MAX_BEAM:
            raise MorphonyError(f"A beam is 1 to {MAX_BEAM} wide, not {self.beam}.")
        if self.refine is not None and not 0 <= self.refine <= 1:
            raise MorphonyError(f"Drafts are refined by 0 to 1, not {self.refine}.")

    def still(self) -> bool:
        """Whether the source's own bars are what is asked for."""
        return self.blend and not any(self.offsets.values()) and not self.masks and not self.away


@dataclass(frozen=True, slots=True, eq=False)
class BarsDone:
    """Some bars, finished: their new notes as BAR_NOTE, numbered as in the piece."""

    bars: tuple[int, ...]
    notes: NDArray[np.void]


def order(scope: range, first: int) -> list[list[int]]:
    """Chunks of the scope: the one that begins at `first`, then those after it, then those before."""
    start = min(max(first, scope.start), max(scope.stop - 1, scope.start))
    edges = [start, *range(start + CHUNK, scope.stop, CHUNK_AFTER), scope.stop]
    ahead = [list(range(a, b)) for a, b in pairwise(edges) if a < b]
    behind = [list(range(max(b - CHUNK_AFTER, scope.start), b)) for b in range(start, scope.start, -CHUNK_AFTER)]
    return ahead + behind


def knobs_of(session: Session, request: Request) -> Knobs:
    """The request's offsets, sorted into named sliders and colours, and how to choose."""
    named = np.full(len(NAMES), np.nan)
    colours = {}
    for name, value in request.offsets.items():
        if not np.isfinite(value):
            raise MorphonyError(f"The slider {name} needs a number, not {value}.")
        if name in INDEX:
            named[INDEX[name]] = value
        elif name in session.colours or name in session.styles.sliders:
            colours[name] = float(value)
        else:
            known = ", ".join(s.name for s in session.sliders)
            raise MorphonyError(f"There is no slider called {name!r}; the model has {known}.")
    return Knobs(
        named,
        colours,
        request.seed,
        request.temperature,
        request.blend,
        request.top_k,
        request.top_p,
        request.beam,
        request.goal,
        request.masks,
        request.away,
        request.refine,
    )
