"""Locked notes are bit-identical after whatever the model does: random recipes in a row, with the real model."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from app import making
from app.limits import Limits
from app.recipe import Recipe
from app.roll.index import fingerprints
from engine import compose
from engine.score.score import Score, Track, make_notes
from engine.session import Session


@pytest.fixture(scope="module")
def session() -> Session:
    return Session.open()


def a_song(bars: int = 8) -> Score:
    """Two hands and drums, nothing on a grid of the model's own."""
    rng = np.random.default_rng(1)
    right = [(i * 241, 233, 60 + int(p), 70 + i % 40, 0) for i, p in enumerate(rng.integers(0, 20, bars * 7))]
    left = [(i * 959 + 7, 901, 40 + int(p), 60, 1) for i, p in enumerate(rng.integers(0, 12, bars * 2))]
    drums = [(i * 480, 100, 36, 100, 2) for i in range(bars * 4)]
    tracks = (Track("Right"), Track("Left", 0, 1), Track("Drums", 0, 9, True))
    return Score(480, tracks, make_notes(right + left + drums))


def a_recipe(rng: np.random.Generator, score: Score, locks: frozenset[int], verb: str) -> Recipe:
    """Anything a hand could ask for."""
    first = int(rng.integers(0, 7))
    bars = range(first, first + int(rng.integers(1, 3)))
    names = rng.choice(["density", "register", "rhythm", "dynamics", "polyphony"], 2, replace=False)
    offsets = {str(name): float(rng.uniform(-2, 2)) for name in names}
    lanes = {"density": tuple(rng.uniform(-2, 2, 8).tolist())} if verb == "morph" and rng.random() < 0.3 else {}
    limits = (Limits(), Limits("C major", 48, 84), Limits("D minor", high=90, voices=4))[int(rng.integers(3))]
    here = np.flatnonzero((score.notes["tick"] // 1920 == first) & (score.notes["track"] == 0))
    only = frozenset(map(int, here[:3])) - locks if rng.random() < 0.3 else frozenset()
    whole = verb in ("transfer", "between", "continue") or (verb == "morph" and rng.random() < 0.5)
    return Recipe(
        verb=verb, offsets=offsets if verb == "morph" else {}, bars=None if whole else bars, locks=locks,
        tracks=frozenset({0}) if rng.random() < 0.2 else None, seed=int(rng.integers(0, 1 << 30)),
        limits=limits, lanes=lanes,
        only=only if verb in ("regenerate", "vary") else frozenset(), amount=float(rng.uniform(0.1, 1)),
        count=1, others=(score,) if verb == "transfer" else (score, a_song(), score, a_song()),
        place=(float(rng.uniform()), float(rng.uniform())),
    )  # fmt: skip


@pytest.mark.parametrize("count", [12, pytest.param(1000, marks=pytest.mark.slow)])
def test_locked_notes_are_bit_identical_after_random_operations(session: Session, count: int) -> None:
    rng, score = np.random.default_rng(count), a_song()
    encode = lru_cache(4)(session.encode)
    verbs = ["morph", "regenerate", "vary", "transfer", "between", "continue"]
    held = score.notes[np.sort(rng.choice(len(score.notes), 20, replace=False))]
    for i in range(count):
        rows = np.flatnonzero(np.isin(fingerprints(score.notes), fingerprints(held)))
        assert len(rows) == len(held)
        verb = verbs[i % len(verbs)]
        made = compose.run(making.make(session, encode, score, a_recipe(rng, score, frozenset(map(int, rows)), verb)))
        found = np.isin(fingerprints(made.notes), fingerprints(held))
        assert (made.notes[found] == held).all(), f"{verb}, operation {i}"
        if verb != "continue":  # the song stays as long as it is
            score = made
    assert not np.array_equal(score.notes, a_song().notes)
