"""Jobs that make music, each a generator of finished bars: every yield is a place to show them, or to stop.

`morph` is behind all of them; a job that makes a new score ends with it (`run` drives it there).
"""

from __future__ import annotations

from engine.compose.between import PATHS, among, interpolate
from engine.compose.create import continue_, generate
from engine.compose.morph import apply, blind, morph, reconstruct, run
from engine.compose.redraw import infill, vary
from engine.compose.request import BarsDone, Locks, Request, knobs_of, order
from engine.compose.transfer import Style, transfer

__all__ = [
    "PATHS",
    "BarsDone",
    "Locks",
    "Request",
    "Style",
    "among",
    "apply",
    "blind",
    "continue_",
    "generate",
    "infill",
    "interpolate",
    "knobs_of",
    "morph",
    "order",
    "reconstruct",
    "run",
    "transfer",
    "vary",
]
