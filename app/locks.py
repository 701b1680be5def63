"""Locked notes: which rows of a score they are, and what becomes of them when the score changes. NumPy only.

A lock is a note with all its fields, so it is found again in any score that holds the note.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.roll.index import fingerprints
from engine.score.edit import Rows
from engine.score.score import Score, make_notes

Notes = NDArray[np.void]  # NOTE
NONE: Notes = make_notes()


def rows_of(score: Score, locks: Notes) -> Rows:
    """Rows of the notes that are locked."""
    if not len(locks):
        return np.zeros(0, dtype=np.intp)
    return np.flatnonzero(np.isin(fingerprints(score.notes), fingerprints(locks)))


def are_in(score: Score, locks: Notes) -> bool:
    """Whether the score holds every locked note."""
    return bool(np.isin(fingerprints(locks), fingerprints(score.notes)).all())


def toggled(score: Score, locks: Notes, rows: Rows) -> Notes:
    """Lock the notes of `rows`; where all of them are locked, let them go."""
    now = rows_of(score, locks)
    after = np.setdiff1d(now, rows) if np.isin(rows, now).all() else np.union1d(now, rows)
    return score.notes[after.astype(np.intp)]


def carried(before: Score, locks: Notes, after: Score) -> Notes:
    """The locks after a hand has edited: they move with notes that were moved, and go with those that are gone."""
    if not len(locks):
        return locks
    old, new = fingerprints(before.notes), fingerprints(after.notes)
    locked, gone, come = np.isin(old, fingerprints(locks)), ~np.isin(old, new), ~np.isin(new, old)
    stay = np.isin(new, old[locked])
    if gone.sum() == come.sum() and locked[gone].all():
        stay |= come
    found = after.notes[stay]
    return locks if np.array_equal(found, locks) else found
