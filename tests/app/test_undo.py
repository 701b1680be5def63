"""Undo and redo over random sequences of everything that edits: each way back leads to the identical objects.

Figure f: fifty sequences with every run, a thousand with `-m slow`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.document import Document
from app.roll.gestures import begin
from app.roll.gestures.gesture import LEFT, RIGHT, Pointer
from app.roll.gestures.paint_velocity import PaintVelocity
from app.roll.shortcuts import SHORTCUTS
from app.roll.state import RollState
from engine.score import conduct, edit, tracks
from engine.score.score import Event, Score, Track, make_notes

KEYS = [s for s in SHORTCUTS if s.group in ("Edit", "Pitch", "Time", "Velocity", "Select", "Tools")]
Numbers = st.integers(0, 2**31)
Do = Callable[[RollState, int], object]


def a_song(seed: int) -> Score:
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, 24))
    lows, highs = (0, 0, 0, 1), (1500, 200, 128, 128)
    rows = [(*(int(rng.integers(a, b)) for a, b in zip(lows, highs, strict=True)), i % 2) for i in range(count)]
    pair = Track("right"), Track("left", 24, 1)
    return Score(96, pair, make_notes(rows), events=(Event(0, 0, bytes((0xB0, 7, 90))),))


def by_key(roll: RollState, n: int) -> None:
    KEYS[n % len(KEYS)].run(roll)


def choose(roll: RollState, n: int) -> None:
    rng = np.random.default_rng(n)
    roll.select(np.flatnonzero(rng.random(len(roll.index)) < 0.4))


def drag(roll: RollState, n: int) -> None:
    """Press somewhere, often on a note, move about, release or call it off."""
    rng = np.random.default_rng(n)
    keys = dict(zip(("shift", "ctrl", "alt"), rng.random(3) < 0.3, strict=True))
    if len(roll.index) and rng.random() < 0.8:
        row = int(rng.integers(len(roll.index)))
        tick, pitch = float(roll.index.tick[row] + rng.integers(0, 40)), int(roll.index.pitch[row])
    else:
        tick, pitch = float(rng.integers(0, 1500)), int(rng.integers(0, 128))
    button = RIGHT if rng.random() < 0.2 else LEFT

    def at(tick: float, pitch: int, double: bool = False) -> Pointer:
        look = roll.view
        seen = Pointer.at(roll, float(look.x_of(tick)), float(look.y_of(pitch)) + look.row / 2, button, double=double)
        return Pointer(**{f: getattr(seen, f) for f in seen.__slots__} | {k: bool(v) for k, v in keys.items()})

    gesture = begin(roll, at(tick, pitch, double=bool(rng.random() < 0.3)))
    if gesture is None:
        return
    here = at(tick, pitch)
    for _ in range(int(rng.integers(0, 4))):
        here = at(tick + float(rng.integers(-200, 200)), int(np.clip(pitch + rng.integers(-14, 15), 0, 127)))
        gesture.drag(here)
    if rng.random() < 0.2:
        gesture.cancel()
    else:
        gesture.release(here)


def paint(roll: RollState, n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.integers(0, 800, 2)
    points = [Pointer(float(v), float(rng.integers(0, 72)), roll.view.tick_of(float(v)), 0, button=LEFT) for v in x]
    gesture = PaintVelocity(roll, points[0], 72.0)
    gesture.drag(points[1])
    gesture.release(points[1])


def of_tracks(roll: RollState, n: int) -> None:
    score, document = roll.score, roll.document
    track = n // 8 % len(score.tracks)
    does: list[Callable[[], Score]] = [
        lambda: tracks.add(score, "more", n % 128), lambda: tracks.remove(score, track),
        lambda: tracks.rename(score, track, str(n % 5)), lambda: tracks.set_program(score, track, n % 128),
        lambda: tracks.set_channel(score, track, n % 16), lambda: tracks.set_volume(score, track, n % 128),
    ]  # fmt: skip
    document.change(does[n % len(does)](), "Track")


def of_time(roll: RollState, n: int) -> None:
    score = roll.score
    changed = (
        conduct.set_tempo(score, n % 2000, 40 + n % 160) if n % 2 else conduct.set_meter(score, n % 4, 2 + n % 5, 4)
    )
    roll.document.change(changed, "Time")


def propose(roll: RollState, n: int) -> None:
    """What a slider does: several proposals, then one is taken or none."""
    document = roll.document
    for by in range(n % 3 + 1):
        document.preview(edit.transpose(document.score, np.arange(len(roll.index)), by - 1).score)
    if n % 4:
        document.accept("Slider")
    else:
        document.preview(None)


DOES: tuple[Do, ...] = (by_key, choose, by_key, drag, drag, paint, of_tracks, of_time, propose)
Sequence = st.tuples(Numbers, st.lists(st.tuples(st.integers(0, len(DOES) - 1), Numbers), max_size=30))


def state(document: Document) -> tuple[Score, Score]:
    return document.score, document.piece_base


def is_identity(sequence: tuple[int, list[tuple[int, int]]]) -> None:
    """Do it all; then undo step by step to the beginning and redo to the end, twice."""
    seed, does = sequence
    song = a_song(seed)
    document = Document(song)
    roll = RollState(document)
    roll.look(roll.view.at(px_per_tick=0.5, left=0.0))
    stack = document.undo_stack
    bytes_of: dict[int, tuple[Any, bytes]] = {}
    for which, n in does:
        DOES[which](roll, n)
        bytes_of[id(document.score)] = document.score, document.score.notes.tobytes()
    steps = stack.index()
    assert steps == stack.count()
    seen = [state(document)]
    for _ in range(steps):
        stack.undo()
        seen.append(state(document))
    assert document.score is song
    for way, back in (
        (stack.redo, reversed(seen[:-1])),
        (stack.undo, iter(seen[1:])),
        (stack.redo, reversed(seen[:-1])),
    ):
        for score, base in back:
            way()
            assert document.score is score
            assert document.piece_base is base
            assert roll.index.tick.tolist() == score.notes["tick"].tolist()  # what is shown is the song
    for score, notes in bytes_of.values():
        assert score.notes.tobytes() == notes  # and nobody has written into it
    stack.clear()
    document._commands.clear()  # Qt has deleted them: none is left for the end of the interpreter to find


@given(Sequence)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.usefixtures("qapp")
def test_undo_and_redo_are_each_others_reverse(sequence: tuple[int, list[tuple[int, int]]]) -> None:
    is_identity(sequence)


@pytest.mark.slow
@given(Sequence)
@settings(max_examples=1000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@pytest.mark.usefixtures("qapp")
def test_a_thousand_sequences(sequence: tuple[int, list[tuple[int, int]]]) -> None:
    is_identity(sequence)
