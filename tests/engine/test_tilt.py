"""Tilts on made-up logits: targets are met, in the right direction, without leaving the rules of their stage."""

from __future__ import annotations

import numpy as np
import pytest

from engine import tilt
from engine.attributes import INDEX, NAMES, measure_bars, measure_one
from engine.model import fields as f
from engine.sampling import Rows, hold_counts, rows_above, rows_at
from tests.engine import small

BARS = 8
CLOCKS = np.full(BARS, 96)


@pytest.fixture(scope="module")
def landscape() -> np.ndarray:
    """(8, 96, 88) logits of a model that knows a tune and finds its neighbourhood likely: smooth in pitch and time."""
    rng = np.random.default_rng(0)
    notes = small.tune(BARS)
    grid = np.full((BARS, 96, 88), -7.0)
    pitch = np.arange(88) + 21
    for bar, onset, height in zip(notes["bar"], notes["onset"], notes["pitch"].astype(int), strict=True):
        near = 2.4 - np.abs(pitch - height) * 0.35 - 1.2 * np.isin((pitch - height) % 12, (1, 2, 6, 10, 11))
        for clock in range(0, 96, 6):
            far = 2.5 + 0.02 * abs(clock - onset) if clock != onset else 0.0
            grid[bar, clock] = np.maximum(grid[bar, clock], near - far - 2.0)
        grid[bar, onset] = np.maximum(grid[bar, onset], near - 3.0)
        grid[bar, onset, height - 21] = 3.0
    return (grid + rng.normal(0, 1.0, grid.shape)).astype(np.float32)


def solved(landscape: np.ndarray, name: str, offset: float) -> tuple[Rows, np.ndarray, np.ndarray]:
    """Rows, what sounds at rest, and what sounds with one slider moved."""
    free = name in tilt.ONSET_STAGE
    at_rest = rows_above(landscape, CLOCKS)
    sounding = at_rest.logit > 0
    anchor = tilt.Anchor.of(at_rest.notes(sounding[None]))
    rows, counts = at_rest, np.zeros(0, np.int64)
    if not free:
        places = np.stack([at_rest.bar, at_rest.onset], -1)[sounding]
        places, counts = np.unique(places, axis=0, return_counts=True)
        rows = rows_at(landscape, CLOCKS, places)
    select = (lambda x: x > 0) if free else (lambda x: hold_counts(x, counts))
    reference = select(rows.logit[None])[0]
    rest = tilt.gauge(rows, reference[None], name, offset > 0, anchor)[0]
    step = offset * float(small.DEVIATIONS[INDEX[name]])
    logits = tilt.solve(
        rows, rows.logit, name, step, rest, reference, lambda _, x: select(x), anchor, np.arange(BARS), grows=free
    )
    return rows, reference, select(logits[None])[0]


def value(rows: Rows, chosen: np.ndarray, name: str) -> np.ndarray:
    return measure_one(name, rows.notes(chosen[None]), rows.clocks)


@pytest.mark.parametrize("name", tilt.ONSET_STAGE + tilt.PITCH_STAGE)
def test_the_measured_attribute_follows_the_slider(landscape: np.ndarray, name: str) -> None:
    """Trap 14: judged on what the chosen cells measure, never on how far logits moved."""
    means = []
    for offset in (-1.5, -0.75, 0.0, 0.75, 1.5):
        rows, _, chosen = solved(landscape, name, offset)
        means.append(np.nanmean(value(rows, chosen, name)))
    tolerance = 0.1 * small.DEVIATIONS[INDEX[name]]
    assert (np.diff(means) > -tolerance).all(), means
    span = 0.6 if name == "range" else 1.0  # the nearest wider pitch is no likelier here than the widest: it stays
    assert means[-1] - means[0] > span * small.DEVIATIONS[INDEX[name]], means


@pytest.mark.parametrize("name", ["density", "rhythm", "register", "polyphony"])
def test_targets_that_can_be_reached_are_met(landscape: np.ndarray, name: str) -> None:
    """The mean over bars: a single bar moves in whole notes, rounded up or down by its own dither."""
    for offset in (-0.5, 0.5, 1.0):
        rows, reference, chosen = solved(landscape, name, offset)
        sigma, rest = small.DEVIATIONS[INDEX[name]], value(rows, reference, name)
        anchor = tilt.Anchor.of(rows.notes(reference[None]))
        wanted = np.nanmean(tilt.target(name, rest, offset * sigma, anchor))
        assert np.nanmean(value(rows, chosen, name)) == pytest.approx(wanted, abs=0.3 * sigma)


@pytest.mark.parametrize("name", NAMES)
def test_amounts_shrink_towards_nothing_and_never_past_it(name: str) -> None:
    """Downward a slider begins with the slope of its offset, and even far down something is left."""
    rest, anchor = np.array([2.0]), tilt.Anchor(60.0, 24.0, np.ones(12))
    down = [float(tilt.target(name, rest, step, anchor)[0]) for step in (0.0, -0.01, -1.0, -3.0, -9.0)]
    assert down[0] == 2.0
    assert (np.diff(down) < 0).all()
    if name in tilt.AMOUNT_NAMES:
        assert down[0] - down[1] == pytest.approx(0.01, rel=0.01)
        assert down[-1] > 0


@pytest.mark.parametrize("name", tilt.PITCH_STAGE)
def test_pitch_sliders_hold_the_number_of_notes_of_every_onset(landscape: np.ndarray, name: str) -> None:
    rows, reference, chosen = solved(landscape, name, 1.5)
    assert np.array_equal(np.bincount(rows.place[reference]), np.bincount(rows.place[chosen]))


@pytest.mark.parametrize("name", sorted({*tilt.DIRECTIONS} - {"range", "pitch_variety"}))  # steered by the piece
def test_bars_are_tilted_independently(landscape: np.ndarray, name: str) -> None:
    """Another bar's music changes nothing here, so bars can be decoded in any chunk."""
    other = landscape.copy()
    other[3] = np.roll(other[3], 2, axis=-1)
    rows, _, chosen = solved(landscape, name, 1.0)
    changed, _, after = solved(other, name, 1.0)
    for bar in (0, 1, 2, 4, 5, 6, 7):
        one = np.stack([rows.onset, rows.pitch], -1)[chosen & (rows.bar == bar)]
        two = np.stack([changed.onset, changed.pitch], -1)[after & (changed.bar == bar)]
        assert np.array_equal(one, two), bar


def test_every_named_slider_has_its_stage() -> None:
    fields = {"articulation", "dynamics", "dynamic_spread"}
    assert set(tilt.DIRECTIONS) == set(tilt.ONSET_STAGE) | set(tilt.PITCH_STAGE) == set(NAMES) - fields


@pytest.mark.parametrize("name", tilt.ONSET_STAGE + tilt.PITCH_STAGE)
def test_an_empty_bar_is_left_alone(name: str) -> None:
    """A bar without notes has no register to move; nothing fails, nothing appears by a pitch slider."""
    silent = np.full((BARS, 96, 88), -8.5, np.float32)
    silent[0, 0, 40] = 3.0
    _, reference, chosen = solved(silent, name, 1.0)
    assert reference.sum() == 1
    assert np.isfinite(chosen.sum())


# ---------------------------------------------------------------- fields of notes

LOGITS = np.random.default_rng(3).normal(0, 2, (40, len(f.DURATIONS)))
SCALE = np.log2(f.DURATIONS)


def test_a_note_s_class_moves_one_way_as_its_centre_moves() -> None:
    centres = np.linspace(-1, 10, 200)[:, None].repeat(40, 1)
    classes = tilt.nudge(LOGITS, SCALE, centres)
    assert (np.diff(classes, axis=0) >= 0).all()
    assert (classes[0] == 0).all()
    assert (classes[-1] == len(SCALE) - 1).all()


def test_classes_meet_a_goal_that_can_be_met() -> None:
    bar = np.arange(40) // 5
    start = SCALE[LOGITS.argmax(-1)]

    def measure(classes: np.ndarray) -> np.ndarray:
        notes = np.zeros(classes.size, small.bar_notes().dtype)
        notes["bar"] = np.tile(bar, len(classes)) + np.repeat(np.arange(len(classes)), 40) * 8
        notes["duration"] = f.DURATIONS[classes].reshape(-1)
        return measure_bars(notes, np.full(8 * len(classes), 96))[:, INDEX["articulation"]].reshape(len(classes), 8)

    rest = measure(LOGITS.argmax(-1)[None])[0]
    for factor in (0.5, 1.5):
        goal = rest * factor
        reached = measure(tilt.solve_classes(LOGITS, SCALE, start, bar, goal, measure)[None])[0]
        assert np.abs(reached - goal).max() <= 0.25 * goal.max()


def test_a_goal_that_is_no_number_leaves_the_notes() -> None:
    bar = np.zeros(40, np.int64)
    start = SCALE[LOGITS.argmax(-1)]
    same = tilt.solve_classes(LOGITS, SCALE, start, bar, np.array([np.nan]), lambda c: np.ones((len(c), 1)))
    assert np.array_equal(same, tilt.nudge(LOGITS, SCALE, start))
