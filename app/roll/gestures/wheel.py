"""The wheel: scrolls (Shift: in time), zooms about the pointer (Ctrl: time, Ctrl+Shift: rows), and on a selected note,
or on any note with Alt, changes velocity. Steps are notches of the wheel, fractions on fine ones.
"""

from __future__ import annotations

import time

import numpy as np

from app.roll.gestures.gesture import Pointer
from app.roll.state import RollState
from engine.score import edit

NOTCH_PX = 56.0
ZOOM = 1.2  # per notch
LOUDER = 4  # velocity per notch
PAUSE = 0.7  # seconds without a notch end an undo step


class Wheel:
    """Turns notches into looks and edits; notches close in time make one undo step."""

    def __init__(self, roll: RollState) -> None:
        self.roll = roll
        self._key: object = object()
        self._last = 0.0
        self._rest = 0.0  # of a velocity, below one

    def turn(self, at: Pointer, across: float, down: float) -> None:
        """Notches to the right and downwards, as the hand moves the paper's window."""
        if at.ctrl and at.shift:
            self.roll.look(self.roll.view.stretched(ZOOM**-down, at.y))
        elif at.ctrl:
            self.roll.look(self.roll.view.zoomed(ZOOM**-down, at.x))
        elif at.row >= 0 and (at.alt or (at.row in self.roll.selection and not at.shift and not across)):
            self.velocity(at, -(down or across))
        elif at.shift:
            self.roll.look(self.roll.view.scrolled((across or down) * NOTCH_PX))
        else:
            self.roll.look(self.roll.view.scrolled(across * NOTCH_PX, down * NOTCH_PX))

    def velocity(self, at: Pointer, notches: float) -> None:
        """Make the note under the pointer, and the selection it is in, louder or softer."""
        now = time.monotonic()
        if now - self._last > PAUSE:
            self._key, self._rest = object(), 0.0
        self._last = now
        self._rest += notches * LOUDER
        by = int(self._rest)
        self._rest -= by
        selected = at.row in self.roll.selection
        rows = self.roll.selection if selected else np.array([at.row], dtype=np.intp)
        if by:
            edited = edit.shift_velocity(self.roll.score, rows, by)
            self.roll.edit(edited, "Change velocity", self._key)
