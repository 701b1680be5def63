"""Edits: each changes what it is about, leaves what it must, and always yields a bar."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.attributes import INDEX, NAMES, measure_bars
from engine.config import AugmentConfig, Chance
from engine.tokens.bars import BAR_NOTE
from tests.engine import small
from trainer import augment
from trainer.augment import (
    EDITS,
    WINDOW_EDITS,
    Spans,
    augmented,
    change_dynamics,
    change_tempo,
    drop_parts,
    edit_pairs,
    substitute,
    swing,
    transpose,
)

CLOCKS = 96
TUNE = small.tune(8)
FLAT = small.bar_notes(*((0, 6 * i, 60 + i % 5, 12, 64) for i in range(12)))
OFF_BEAT = small.bar_notes(*((0, 6 * i, 60 + i % 5, 6, 64) for i in (0, 1, 3, 4, 7, 8, 9, 12, 14, 15)))
BY_NAME = {edit.__name__: (edit, about) for edit, about, _ in EDITS}


def bar(index: int) -> np.ndarray:
    return TUNE[TUNE["bar"] == index]


def value(notes: np.ndarray, name: str) -> float:
    notes = notes.copy()
    notes["bar"] = 0
    return float(measure_bars(notes, np.array([CLOCKS]))[0, INDEX[name]])


def many(edit: Callable, notes: np.ndarray, times: int = 60) -> list[np.ndarray]:
    return [edit(notes, CLOCKS, np.random.default_rng(seed)) for seed in range(times)]


random_bar = st.lists(
    st.tuples(
        st.just(0),
        st.integers(0, CLOCKS - 1),
        st.integers(21, 108),
        st.integers(1, 400),
        st.integers(1, 127),
        st.integers(0, 15),
    ),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("name", BY_NAME)
@settings(max_examples=25, deadline=None)
@given(random_bar, st.integers(0, 2**32))
def test_every_edit_of_every_bar_is_a_bar(name: str, rows: list, seed: int) -> None:
    before = small.bar_notes(*rows)
    kept = before.copy()
    after = BY_NAME[name][0](before, CLOCKS, np.random.default_rng(seed))
    assert before.tobytes() == kept.tobytes()  # the source is not touched
    assert (after["bar"] == 0).all()
    assert (after["onset"] >= 0).all()
    assert (after["onset"] < CLOCKS).all()
    assert ((after["pitch"] >= 21) & (after["pitch"] <= 108)).all()
    assert ((after["velocity"] >= 1) & (after["velocity"] <= 127)).all()
    assert (after["duration"] >= 1).all()
    assert len(after) <= len(before)
    order = np.lexsort((after["part"], after["pitch"], after["onset"]))
    assert np.array_equal(after["onset"][order], after["onset"])


@pytest.mark.parametrize("name", BY_NAME)
def test_an_edit_changes_what_it_is_about(name: str) -> None:
    """In at least two thirds of the draws, by measuring the notes."""
    edit, about = BY_NAME[name]
    source = {"spread_velocity": FLAT, "move_onsets": OFF_BEAT}.get(name, bar(0))
    moved = [any(value(out, a) != value(source, a) for a in about) for out in many(edit, source)]
    assert np.mean(moved) > 0.66


@pytest.mark.parametrize(
    ("name", "attribute", "direction"),
    [
        ("thin_notes", "density", -1),
        ("thin_onsets", "rhythm", -1),
        ("thin_chords", "polyphony", -1),
        ("thin_chords", "density", -1),
        ("snap_pitches", "pitch_variety", -1),
    ],
)
def test_edits_that_take_away_never_add(name: str, attribute: str, direction: int) -> None:
    edit, _ = BY_NAME[name]
    for out in many(edit, bar(1)):
        change = value(out, attribute) - value(bar(1), attribute)
        assert change * direction >= 0 or np.isnan(change)


@pytest.mark.parametrize(
    "name",
    [
        "shift_register",
        "scale_durations",
        "shift_velocity",
        "spread_velocity",
        "stretch_range",
        "move_onsets",
    ],
)
def test_edits_of_two_directions_go_both_ways(name: str) -> None:
    edit, (attribute, *_) = BY_NAME[name]
    source = OFF_BEAT if name == "move_onsets" else bar(0)
    changes = np.array([value(out, attribute) - value(source, attribute) for out in many(edit, source, 200)])
    assert (changes > 0).sum() > 15
    assert (changes < 0).sum() > 15


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("shift_register", ("onset", "duration", "velocity", "part")),
        ("scale_durations", ("onset", "pitch", "velocity", "part")),
        ("shift_velocity", ("onset", "pitch", "duration", "part")),
        ("spread_velocity", ("onset", "pitch", "duration", "part")),
    ],
)
def test_edits_leave_the_other_fields_alone(name: str, kept: tuple[str, ...]) -> None:
    for out in many(BY_NAME[name][0], bar(2)):
        assert all(np.array_equal(out[field], bar(2)[field]) for field in kept)


def test_thinning_chords_keeps_every_onset_and_thinning_keeps_notes_as_they_are() -> None:
    for out in many(augment.thin_chords, bar(0)):
        assert set(out["onset"]) == set(bar(0)["onset"])
    for edit in (augment.thin_notes, augment.thin_onsets, augment.thin_chords):
        assert all({n.tobytes() for n in out} <= {n.tobytes() for n in bar(0)} for out in many(edit, bar(0)))


def test_stretching_the_range_keeps_the_harmony() -> None:
    for out in many(augment.stretch_range, bar(0)):
        assert set(out["pitch"] % 12) <= set(bar(0)["pitch"] % 12)
        assert set(out["onset"]) == set(bar(0)["onset"])


def test_a_transposition_moves_every_note_or_none() -> None:
    moved = transpose(TUNE, 5)
    assert moved is not None
    assert np.array_equal(moved["pitch"].astype(int) - TUNE["pitch"], np.full(len(TUNE), 5))
    assert transpose(TUNE, 60) is None
    assert transpose(TUNE, -60) is None
    assert transpose(small.bar_notes(), 5) is not None


def test_every_attribute_has_its_edit() -> None:
    assert {a for _, about, _ in EDITS for a in about} == set(NAMES)


# ---------------------------------------------------------------- pairs


def test_pairs_are_edited_in_the_share_asked_for_and_in_both_directions(rng: np.random.Generator) -> None:
    notes = np.concatenate([TUNE] * 40)
    notes["bar"] = np.repeat(np.arange(40), len(TUNE)) * 8 + notes["bar"]
    clocks = np.full(320, CLOCKS)
    source, target, known = edit_pairs(notes, clocks, 0.5, rng)
    pairs = [(source[source["bar"] == b], target[target["bar"] == b], notes[notes["bar"] == b]) for b in range(320)]
    differ = np.array([s.tobytes() != t.tobytes() for s, t, _ in pairs])
    assert 0.4 < differ.mean() < 0.55  # some edits change nothing
    original = [(s.tobytes() == n.tobytes(), t.tobytes() == n.tobytes()) for s, t, n in pairs]
    assert all(one or other for one, other in original)
    first = sum(one and not other for one, other in original)
    assert 0.3 < first / differ.sum() < 0.7
    assert known.shape == (320, 12)
    assert set(np.unique(known)) == {0, 1}
    assert 0.1 < known.mean() < 0.5  # mostly free: slider dropout
    assert (known[differ].sum(1) > 0).all()  # what an edit is about is always told


def test_without_a_share_every_bar_is_paired_with_itself(rng: np.random.Generator) -> None:
    source, target, _ = edit_pairs(TUNE, np.full(8, CLOCKS), 0.0, rng)
    assert source.tobytes() == target.tobytes() == TUNE.tobytes()


def test_empty_bars_pass_through(rng: np.random.Generator) -> None:
    source, target, _ = edit_pairs(small.bar_notes((1, 0, 60)), np.full(3, CLOCKS), 1.0, rng)
    assert set(source["bar"]) | set(target["bar"]) <= {1}


# ---------------------------------------------------------------- windows


@st.composite
def windows_of_notes(draw: st.DrawFn) -> tuple[np.ndarray, Spans]:
    """One to three windows of a few bars in various meters, with any notes a file can put there."""
    per_window = draw(st.lists(st.integers(1, 4), min_size=1, max_size=3))
    meters = [draw(st.sampled_from([(96, 24), (72, 24), (72, 36), (24, 24), (84, 12), (12, 24)])) for _ in per_window]
    clocks = np.concatenate([np.full(n, m[0]) for n, m in zip(per_window, meters, strict=True)])
    beat = np.concatenate([np.full(n, m[1]) for n, m in zip(per_window, meters, strict=True)])
    spans = Spans(clocks, beat, np.repeat(np.arange(len(per_window)), per_window))
    rows = draw(
        st.lists(
            st.tuples(
                st.integers(0, len(clocks) - 1),
                st.integers(0, 95),
                st.integers(21, 108),
                st.integers(0, 400),
                st.integers(1, 127),
                st.integers(0, 15),
                st.integers(-50, 50),
            ),
            max_size=60,
            unique_by=lambda r: (r[0], r[1] % int(clocks[r[0]]), r[2], r[5]),
        )
    )
    notes = np.zeros(len(rows), BAR_NOTE)
    for i, (bar_, onset, pitch, duration, velocity, part, micro) in enumerate(rows):
        notes[i] = (bar_, onset % int(clocks[bar_]), micro / 100, pitch, duration, velocity, part)
    return notes[np.lexsort((notes["part"], notes["pitch"], notes["onset"], notes["bar"]))], spans


def check_valid(notes: np.ndarray, spans: Spans) -> None:
    assert ((notes["bar"] >= 0) & (notes["bar"] < len(spans.clocks))).all()
    assert ((notes["onset"] >= 0) & (notes["onset"] < spans.clocks[notes["bar"]])).all()
    assert (np.abs(notes["micro"]) <= 0.5).all()
    assert ((notes["pitch"] >= 21) & (notes["pitch"] <= 108)).all()
    assert ((notes["velocity"] >= 1) & (notes["velocity"] <= 127)).all()
    assert (np.isfinite(notes["duration"]) & (notes["duration"] >= 0)).all()
    assert (notes["part"] < 16).all()
    order = np.lexsort((notes["part"], notes["pitch"], notes["onset"], notes["bar"]))
    assert np.array_equal(order, np.arange(len(notes)))
    cells = notes[["bar", "onset", "pitch", "part"]]
    assert len(np.unique(cells)) == len(notes)


@pytest.mark.parametrize("name", WINDOW_EDITS)
@settings(max_examples=30, deadline=None)
@given(windows_of_notes(), st.integers(0, 2**32))
def test_every_edit_of_every_window_leaves_bars(name: str, made: tuple, seed: int) -> None:
    notes, spans = made
    kept, chance = notes.copy(), replace(AugmentConfig(), **{name: Chance(1, 1)})
    parts = [16] * (int(spans.window.max()) + 1)
    out, plays = augmented(notes, spans, parts, chance, 1.0, np.random.default_rng(seed))
    again, _ = augmented(notes, spans, parts, chance, 1.0, np.random.default_rng(seed))
    assert notes.tobytes() == kept.tobytes()
    assert out.tobytes() == again.tobytes()
    check_valid(out, spans)
    window = spans.window[out["bar"]]
    for w, n in enumerate(plays):
        assert (out["part"][window == w] < n).all()
    if name != "drop_parts":
        assert plays == parts
        assert len(out) <= len(notes)
    if name in ("tempo", "dynamics", "drop_parts"):
        fields = {"tempo": ["micro"], "dynamics": ["velocity"], "drop_parts": ["part"]}[name]
        same = [f for f in BAR_NOTE.names if f not in fields]
        if name != "drop_parts":
            assert np.array_equal(out[same], notes[same])


def lines(*rows: tuple[int, int, int, int, int, int]) -> tuple[np.ndarray, Spans]:
    notes = small.bar_notes(*rows)
    return notes, Spans(np.array([96, 96]), np.array([24, 24]), np.array([0, 0]))


def test_swing_delays_what_lies_off_the_beat_and_nothing_on_it() -> None:
    notes, spans = lines(*((0, 12 * i, 60 + i, 12, 64) for i in range(8)))
    later = []
    for seed in range(40):
        out = swing(notes, spans, np.random.default_rng(seed))
        place = out["onset"] + out["micro"]
        assert np.allclose(place[::2], 24 * np.arange(4), atol=1e-4)
        assert ((place[1::2] - notes["onset"][1::2]) >= -1e-4).all()
        assert (place[1::2] <= 24 * np.arange(4) + 16 + 1e-3).all()  # two to one at most
        ends = place + out["duration"]
        assert np.allclose(ends[:-1], place[1:], atol=1e-3)  # what touched still touches
        later.append(float(place[1] - 12))
    assert max(later) > 3
    waltz = Spans(np.array([72]), np.array([36]), np.array([0]))
    assert swing(notes[:5], waltz, np.random.default_rng(0)).tobytes() == notes[:5].tobytes()


def test_a_tempo_is_seen_in_what_is_early_or_late_and_not_in_written_music() -> None:
    notes, spans = lines(*((0, 12 * i, 60, 12, 64) for i in range(8)))
    assert change_tempo(notes, spans, np.random.default_rng(1)).tobytes() == notes.tobytes()
    played = notes.copy()
    played["micro"] = np.linspace(-0.3, 0.3, 8)
    heard = [change_tempo(played, spans, np.random.default_rng(seed))["micro"] for seed in range(40)]
    ratios = [float(micro[0] / played["micro"][0]) for micro in heard]
    assert min(ratios) < 0.85
    assert max(ratios) > 1.15
    assert min(ratios) > 0.7
    assert max(ratios) < 1.4


def test_dropped_parts_are_gone_and_the_others_numbered_anew() -> None:
    notes, spans = lines(*((0, 12 * i, 60 + part, 12, 64, part) for i in range(4) for part in (0, 1, 2)))
    left = set()
    for seed in range(40):
        config = replace(AugmentConfig(), drop_parts=Chance(1, 1))
        out, plays = augmented(notes, spans, [5], config, 1.0, np.random.default_rng(seed))
        pitches = [sorted(set(out["pitch"][out["part"] == p].tolist())) for p in range(plays[0])]
        assert 1 <= plays[0] <= 2
        assert all(len(p) == 1 for p in pitches)  # each part is one of the lines, in their order
        assert pitches == sorted(pitches)
        left.add(tuple(p[0] for p in pitches))
    assert len(left) > 3
    alone = notes[notes["part"] == 0]
    assert drop_parts(alone, spans, np.random.default_rng(0)).tobytes() == alone.tobytes()


def test_a_substitute_plays_the_same_notes_by_another_number_or_an_octave_away() -> None:
    notes, spans = lines(*((0, 12 * i, 60 + part, 12, 64, part) for i in range(4) for part in (0, 1, 2)))
    kinds = set()
    for seed in range(40):
        out = substitute(notes, spans, np.random.default_rng(seed))
        assert len(out) == len(notes)
        if sorted(out["pitch"].tolist()) == sorted(notes["pitch"].tolist()):
            kinds.add("numbers")
            assert set(out["part"].tolist()) == {0, 1, 2}
        else:
            kinds.add("octave")
            moved = np.setdiff1d(out["pitch"], notes["pitch"])
            assert len(moved) == 1
            assert int(moved[0]) % 12 in {0, 1, 2}
    assert kinds == {"numbers", "octave"}


def test_dynamics_change_loudness_and_can_swell() -> None:
    notes, spans = lines(*((b, 12 * i, 60, 12, 64) for b in (0, 1) for i in range(8)))
    heard = [change_dynamics(notes, spans, np.random.default_rng(s))["velocity"].astype(int) for s in range(40)]
    assert len({int(v.mean()) for v in heard}) > 10
    assert any(v[-1] - v[0] > 8 for v in heard)
    assert any(v[0] - v[-1] > 8 for v in heard)


@pytest.mark.parametrize("progress", [0.0, 0.25, 0.5, 1.0])
def test_an_edit_happens_as_often_as_its_schedule_says(progress: float) -> None:
    notes, spans = lines(*((0, 12 * i, 60, 12, 64, 0) for i in range(8)))
    notes["micro"] = 0.2
    config = replace(AugmentConfig(), tempo=Chance(0.8, 0.2, until=0.5))
    rng, expected = np.random.default_rng(0), {0.0: 0.8, 0.25: 0.5, 0.5: 0.2, 1.0: 0.2}[progress]
    changed = [augmented(notes, spans, [1], config, progress, rng)[0].tobytes() != notes.tobytes() for _ in range(600)]
    assert np.mean(changed) == pytest.approx(expected, abs=0.06)
