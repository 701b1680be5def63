"""Morphing: what a slider may touch and what it may not, and that going back is going home."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.attributes import INDEX, NAMES, SPECS, measure
from engine.compose import Request, apply, blind, generate, interpolate, morph, order, reconstruct, run
from engine.errors import MorphonyError
from engine.score import Meter, Score, Track, make_notes
from engine.score.timing import BarGrid
from engine.session import Piece, Session
from engine.tokens.bars import is_modelled, to_bars
from tests.engine import small

SLIDERS = (*NAMES, "colour_1", "colour_2")
REACHABLE = ("density", "rhythm", "polyphony", "articulation", "dynamics", "dynamic_spread")
"""What a model that knows one tune can move; where other pitches come from is for `evaluate` to measure."""


def morphed(session: Session, piece: Piece, **request: object) -> Score:
    offsets = {name: request.pop(name) for name in list(request) if name in SLIDERS}
    return apply(piece, morph(session, piece, Request(offsets, **request)))


def rows(score: Score, *names: str) -> list[tuple]:
    names = names or ("tick", "duration", "pitch", "velocity", "track")
    return sorted(tuple(n[name].item() for name in names) for n in score.notes)


def bars_of(score: Score) -> np.ndarray:
    return to_bars(score, BarGrid.of(score))


# ---------------------------------------------------------------- order of work


@given(st.integers(0, 60), st.integers(0, 60), st.integers(-5, 70))
def test_every_bar_of_the_scope_is_done_once_the_first_one_first(start: int, length: int, first: int) -> None:
    scope = range(start, start + length)
    chunks = order(scope, first)
    assert sorted(b for chunk in chunks for b in chunk) == list(scope)
    assert all(1 <= len(chunk) <= (16 if i else 4) for i, chunk in enumerate(chunks))
    assert all(chunk == list(range(chunk[0], chunk[-1] + 1)) for chunk in chunks)
    if first in scope:
        assert chunks[0][0] == first


def test_work_is_handed_over_chunk_by_chunk(session: Session, piece: Piece) -> None:
    job = morph(session, piece, Request({"density": 1.0}, first=5))
    done = next(job)
    assert done.bars == (5, 6, 7)
    assert set(done.notes["bar"]) <= {5, 6, 7}
    assert next(job).bars == (0, 1, 2, 3, 4)


# ---------------------------------------------------------------- zero, and back to it


def test_at_zero_the_source_comes_back_bit_for_bit(session: Session, piece: Piece) -> None:
    for offsets in ({}, {"density": 0.0, "register": -0.0}, {"colour_1": 0.0}):
        score = apply(piece, morph(session, piece, Request(offsets)))
        assert score.notes.tobytes() == piece.score.notes.tobytes()


note = st.tuples(
    st.integers(0, 6000), st.integers(0, 3000), st.integers(0, 127), st.integers(1, 127), st.integers(0, 2)
)  # fmt: skip


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(note, min_size=1, max_size=30), st.sampled_from([1, 24, 96, 100, 480, 32767]), st.data())
def test_whatever_the_score_zero_returns_it(session: Session, notes: list, ppq: int, data: st.DataObject) -> None:
    """Any resolution, any meters, overlaps, doublings, drums, notes the model does not hear."""
    meters = st.lists(
        st.tuples(st.integers(0, 4000), st.integers(1, 13), st.sampled_from([1, 2, 4, 8, 16])), max_size=2
    )
    given_meters = (Meter(0, 4, 4), *(Meter(*m) for m in data.draw(meters)))
    tracks = (Track("a"), Track("b", channel=1), Track("kit", channel=9, is_drum=True))
    score = Score(ppq, tracks, make_notes(notes), given_meters)
    if not is_modelled(score).any():
        return
    piece = session.encode(score)
    again = apply(piece, morph(session, piece, Request({"density": 0.0})))
    assert again.notes.tobytes() == score.notes.tobytes()
    assert (again.meters, again.tempi, again.tracks) == (score.meters, score.tempi, score.tracks)


@pytest.mark.parametrize("name", SLIDERS)
def test_returning_a_slider_restores_every_note(session: Session, piece: Piece, name: str) -> None:
    first = morphed(session, piece, **{name: 0.8})
    morphed(session, piece, **{name: -1.5})
    assert morphed(session, piece, **{name: 0.8}).notes.tobytes() == first.notes.tobytes()
    assert morphed(session, piece, **{name: 0.0}).notes.tobytes() == piece.score.notes.tobytes()
    fresh = session.encode(piece.score)  # nothing remembered
    assert morphed(session, fresh, **{name: 0.8}).notes.tobytes() == first.notes.tobytes()


def test_the_playhead_decides_what_is_first_not_what_it_is(session: Session, piece: Piece) -> None:
    request = {"density": 1.0, "register": 0.5, "temperature": 0.5, "seed": 3}
    assert rows(morphed(session, piece, **request)) == rows(morphed(session, piece, **request, first=6))


# ---------------------------------------------------------------- what a slider may touch


@pytest.mark.parametrize("name", SLIDERS)
def test_what_the_model_does_not_speak_stays_bit_for_bit(session: Session, piece: Piece, name: str) -> None:
    """Drums, notes out of range, pedal, controllers, bends, lyrics, markers, tempi, meters, tracks: counted."""
    source = piece.score
    score = morphed(session, piece, **{name: 1.5})
    silent, still = source.notes[~is_modelled(source)], score.notes[~is_modelled(score)]
    assert len(silent) == 64 + 8  # drums, and notes below A0
    assert still.tobytes() == silent.tobytes()
    assert len(score.events) == 7
    assert score.events is source.events
    assert (score.tempi, score.meters, score.tracks) == (source.tempi, source.meters, source.tracks)
    assert score.ticks_per_quarter == source.ticks_per_quarter


@pytest.mark.parametrize("blend", [True, False])
@pytest.mark.parametrize("amount", [-2.0, -0.3, 0.3, 2.0])
@pytest.mark.parametrize(
    ("name", "free"), [("articulation", "duration"), ("dynamics", "velocity"), ("dynamic_spread", "velocity")]
)
def test_articulation_and_dynamics_move_no_onset_and_no_pitch(
    session: Session, piece: Piece, name: str, free: str, amount: float, blend: bool
) -> None:
    kept = [field for field in ("tick", "duration", "pitch", "velocity", "track") if field != free]
    rest = morphed(session, piece, blend=blend)
    moved = morphed(session, piece, **{name: amount}, blend=blend)
    assert rows(moved, *kept) == rows(rest, *kept)
    assert abs(amount) < 1 or rows(moved, free) != rows(rest, free)


@pytest.mark.parametrize("name", ["register", "leaps", "pitch_variety", "consonance", "range"])
def test_pitch_sliders_keep_every_onset_and_its_number_of_cells(session: Session, piece: Piece, name: str) -> None:
    def cells(score: Score) -> list[tuple]:
        return sorted({(n["bar"], n["onset"], n["pitch"]) for n in bars_of(score)})

    rest, moved = (morphed(session, piece, blend=False, **at) for at in ({}, {name: 1.5}))
    assert [c[:2] for c in cells(rest)] == [c[:2] for c in cells(moved)]


def test_only_the_bars_in_scope_change(session: Session, piece: Piece) -> None:
    score = morphed(session, piece, bars=range(2, 5), density=2.0, register=1.0)
    for bar in range(8):
        here = (piece.score.notes["tick"] // 1920) == bar
        now = (score.notes["tick"] // 1920) == bar
        same = score.notes[now].tobytes() == piece.score.notes[here].tobytes()
        assert same == (bar not in (2, 3, 4)), bar
    with pytest.raises(MorphonyError, match="0:8"):
        list(morph(session, piece, Request(bars=range(4, 9))))


def test_only_the_chosen_tracks_change(session: Session, piece: Piece) -> None:
    score = morphed(session, piece, tracks=frozenset({1}), density=1.5, register=-1.0)
    for track in range(4):
        same = (
            score.notes[score.notes["track"] == track].tobytes()
            == piece.score.notes[piece.score.notes["track"] == track].tobytes()
        )
        assert same == (track != 1), track


@pytest.mark.parametrize("name", SLIDERS)
@pytest.mark.parametrize("amount", [-6.0, -1.0, 1.0, 6.0])
def test_notes_are_always_playable(session: Session, piece: Piece, name: str, amount: float) -> None:
    notes = np.concatenate([d.notes for d in morph(session, piece, Request({name: amount}, temperature=0.4))])
    assert (notes["onset"] >= 0).all()
    assert (notes["onset"] < 96).all()
    assert ((notes["pitch"] >= 21) & (notes["pitch"] <= 108)).all()
    assert ((notes["velocity"] >= 1) & (notes["velocity"] <= 127)).all()
    assert (notes["duration"] > 0).all()
    assert (notes["part"] < 3).all()
    assert len(np.unique(notes[["bar", "onset", "pitch", "part", "micro"]])) == len(notes)


# ---------------------------------------------------------------- sliders do what they say


@pytest.mark.parametrize("name", NAMES)
def test_a_slider_moves_its_attribute_as_measured_on_the_notes(session: Session, piece: Piece, name: str) -> None:
    """Trap 14: a latent that follows an attribute while the notes do not. Judged on re-measured notes only."""
    values = []
    for amount in (-2.0, 0.0, 2.0):
        score = morphed(session, piece, **{name: amount}, blend=False)
        values.append(measure(bars_of(score), piece.grid.clocks)[INDEX[name]])
    assert values[0] <= values[1] <= values[2], values
    if name in REACHABLE:
        assert values[2] - values[0] > 0.3 * small.DEVIATIONS[INDEX[name]], values


def test_two_sliders_at_once_both_move(session: Session, piece: Piece) -> None:
    rest = measure(bars_of(morphed(session, piece, blend=False)), piece.grid.clocks)
    both = morphed(session, piece, dynamics=1.0, dynamic_spread=1.0, density=1.0, blend=False)
    moved = (measure(bars_of(both), piece.grid.clocks) - rest) / small.DEVIATIONS
    for name in ("dynamics", "dynamic_spread", "density"):
        assert moved[INDEX[name]] > 0.2, name


def test_a_slider_nobody_knows_is_refused_with_the_choices(session: Session, piece: Piece) -> None:
    with pytest.raises(MorphonyError, match=r"no slider called 'densty'.*density"):
        list(morph(session, piece, Request({"densty": 1.0})))
    with pytest.raises(MorphonyError, match="density needs a number, not nan"):
        list(morph(session, piece, Request({"density": float("nan")})))


# ---------------------------------------------------------------- continuity


def changed(a: Score, b: Score) -> int:
    """Size of the symmetric difference of (onset, pitch)."""
    one, two = ({(n["tick"].item(), n["pitch"].item()) for n in s.notes} for s in (a, b))
    return len(one ^ two)


@pytest.mark.parametrize("name", ["density", "register", "colour_1"])
def test_a_drag_changes_few_notes_at_a_time(session: Session, piece: Piece, name: str) -> None:
    scores = [morphed(session, piece, **{name: float(x)}) for x in np.linspace(0, 1, 21)]
    steps = [changed(a, b) for a, b in pairwise(scores)]
    total = len(piece.bars)
    assert max(steps) <= 0.3 * total
    assert np.median(steps) <= 0.1 * total


def test_the_first_touch_is_nearer_the_source_with_the_blend(session: Session, piece: Piece) -> None:
    """A model that knows the piece badly would otherwise jump at the first touch."""
    noise = {n: getattr(piece, n) + 0.8 for n in ("z_global", "z_local", "z_fine")}
    vague = piece.with_latents(noise)
    touched = changed(morphed(session, vague, density=0.02), piece.score)
    alone = changed(morphed(session, vague, density=0.02, blend=False), piece.score)
    assert touched < alone


def test_temperature_draws_by_seed(session: Session, piece: Piece) -> None:
    def drawn(seed: int) -> bytes:
        return morphed(session, piece, temperature=0.8, seed=seed, blend=False).notes.tobytes()

    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


# ---------------------------------------------------------------- nothing but latents


@pytest.mark.parametrize("request_", [{}, *({name: 1.0} for name in SLIDERS if name not in ("range", "pitch_variety"))])
def test_without_the_blend_no_note_of_the_source_is_read(session: Session, piece: Piece, request_: dict) -> None:
    """Trap 3: what is decoded from latents is the same whether the source's notes are there or not."""
    seeing = [d.notes for d in morph(session, piece, Request(request_, blend=False))]
    unseeing = [d.notes for d in morph(session, blind(piece), Request(request_, blend=False))]
    assert np.concatenate(seeing).tobytes() == np.concatenate(unseeing).tobytes()


def test_a_tune_that_was_learnt_is_rebuilt_from_its_latents(session: Session, piece: Piece) -> None:
    notes = np.concatenate([d.notes for d in reconstruct(session, piece)])
    cells = {tuple(n) for n in notes[["bar", "onset", "pitch", "part"]].tolist()}
    assert cells == {tuple(n) for n in piece.bars[["bar", "onset", "pitch", "part"]].tolist()}


def test_with_other_latents_other_notes_come(session: Session, piece: Piece) -> None:
    """Trap 3: with z swapped bar by bar, the bars come out swapped; with z constant, they come out alike."""
    swapped = piece.with_latents(
        {"z_global": piece.z_global, "z_local": piece.z_local, "z_fine": piece.z_fine[[1, 0, *range(2, 8)]]}
    )
    notes = np.concatenate([d.notes for d in reconstruct(session, swapped)])

    def cells(found: np.ndarray, bar: int) -> set:
        return set(found[found["bar"] == bar][["onset", "pitch"]].tolist())

    def f1(a: set, b: set) -> float:
        return 2 * len(a & b) / max(len(a) + len(b), 1)

    chance = f1(cells(piece.bars, 0), cells(piece.bars, 1))
    assert f1(cells(notes, 0), cells(piece.bars, 0)) <= chance + 0.05
    assert f1(cells(notes, 0), cells(piece.bars, 1)) > 0.8


def test_latents_of_another_shape_are_refused(session: Session, piece: Piece) -> None:
    with pytest.raises(MorphonyError, match=r"z_fine should be \(8, 16\)"):
        piece.with_latents({"z_global": piece.z_global, "z_local": piece.z_local, "z_fine": piece.z_fine[:3]})


# ---------------------------------------------------------------- bars of every kind


def unusual() -> dict[str, Score]:
    def one(rows: list, meters: tuple[Meter, ...], tracks: int = 1, ppq: int = 24) -> Score:
        made = tuple(Track(str(i), channel=i % 9) for i in range(tracks))
        return Score(ppq, made, make_notes(rows), meters)

    rng = np.random.default_rng(0)
    full = sorted({(int(rng.integers(96)), int(rng.integers(24, 100))) for _ in range(120)})[:99]
    return {
        "12/4": one([(t, 20, 60 + t % 7, 80, 0) for t in range(0, 576, 23)], (Meter(0, 12, 4),)),
        "8/2": one([(t, 20, 60 + t % 5, 80, 0) for t in range(0, 400, 31)], (Meter(0, 8, 2),)),
        "a pickup of 1/8": one([(0, 12, 67, 80, 0), (12, 24, 72, 80, 0)], (Meter(0, 1, 8), Meter(12, 4, 4))),
        "a bar of one clock": one([(0, 1, 67, 80, 0), (1, 24, 72, 80, 0)], (Meter(0, 1, 4), Meter(1, 4, 4))),
        "99 notes": one([(t, 12, p, 80, 0) for t, p in full], (Meter(0, 4, 4),)),
        "empty bars": one([(0, 12, 60, 80, 0), (96 * 9, 12, 60, 80, 0)], (Meter(0, 4, 4),)),
        "16 parts": one([(24 * (i % 4), 24, 50 + i, 80, i) for i in range(16)], (Meter(0, 4, 4),), 16),
        "20 tracks": one([(24 * (i % 4), 24, 50 + i, 80, i) for i in range(20)], (Meter(0, 4, 4),), 20),
        "doublings": one([(0, 24, 60, 80, i) for i in range(5)] + [(0, 30, 60, 81, 0)], (Meter(0, 4, 4),), 5),
        "a long note": one([(0, 96 * 40, 60, 80, 0)], (Meter(0, 4, 4),)),
        "one note": one([(5, 0, 60, 80, 0)], (Meter(0, 4, 4),)),
    }


@pytest.mark.parametrize("score", unusual().values(), ids=unusual())
def test_unusual_bars_are_encoded_kept_and_morphed(session: Session, score: Score) -> None:
    piece = session.encode(score)
    assert apply(piece, morph(session, piece, Request())).notes.tobytes() == score.notes.tobytes()
    for offsets in ({"dynamics": 1.0}, {"density": 1.0, "register": -1.0}, {"range": 1.0, "colour_1": 1.0}):
        notes = apply(piece, morph(session, piece, Request(offsets))).notes
        assert len(notes) < 20_000
        assert (notes["tick"] >= 0).all()
        assert (notes["tick"] < piece.grid.starts[-1]).all()
        assert (notes["tick"] + notes["duration"] <= piece.grid.starts[-1]).all()
    moved = apply(piece, morph(session, piece, Request({"dynamics": 1.0})))
    assert rows(moved, "tick", "pitch", "track") == rows(score, "tick", "pitch", "track")


def test_a_score_without_pitched_notes_is_refused_in_one_sentence(session: Session) -> None:
    with pytest.raises(MorphonyError, match="no pitched notes"):
        session.encode(Score(24, (Track(),), make_notes()))
    drums = Score(24, (Track(is_drum=True, channel=9),), make_notes([(0, 10, 36, 90, 0)]))
    with pytest.raises(MorphonyError, match="no pitched notes"):
        session.encode(drums)


# ---------------------------------------------------------------- new music


def test_the_same_seed_makes_the_same_music_in_the_meter_asked_for(session: Session) -> None:
    one, two, other = (run(generate(session, 6, (3, 4), seed=seed)) for seed in (4, 4, 5))
    assert one.notes.tobytes() == two.notes.tobytes()
    assert one.notes.tobytes() != other.notes.tobytes()
    assert one.meters == (Meter(0, 3, 4),)
    assert one.end_tick <= 6 * 3 * 480


@pytest.mark.parametrize("name", NAMES)
def test_sliders_steer_new_music_from_what_it_would_be(session: Session, name: str) -> None:
    """Trap 12: offsets count from what the latents say at rest, not from a placeholder."""
    plain, moved = (run(generate(session, 6, offsets=offsets, seed=1)) for offsets in ({}, {name: 1.5}))
    clocks = np.full(6, 96)
    before, after = (measure(bars_of(s), clocks)[INDEX[name]] for s in (plain, moved))
    assert after > before or name not in REACHABLE
    assert 0 <= after - before < 6 * small.DEVIATIONS[INDEX[name]]
    if name in ("articulation", "dynamics", "dynamic_spread"):
        assert rows(plain, "tick", "pitch") == rows(moved, "tick", "pitch")


@pytest.mark.parametrize(
    ("bars", "meter"), [(0, (4, 4)), (10**6, (4, 4)), (4, (4, 0)), (4, (0, 4)), (4, (4, 3)), (4, (-3, 4))]
)
def test_music_of_no_possible_shape_is_refused(session: Session, bars: int, meter: tuple[int, int]) -> None:
    with pytest.raises(MorphonyError):
        run(generate(session, bars, meter))


def test_between_two_pieces_the_ends_are_the_pieces_themselves(session: Session, piece: Piece) -> None:
    other = session.encode(small.score(5, 4))
    assert run(interpolate(session, piece, other, 0)) is piece.score
    assert run(interpolate(session, piece, other, 1)) is other.score
    middle = [run(interpolate(session, piece, other, share)) for share in (0.25, 0.75)]
    assert all(len(BarGrid.of(score)) <= 5 for score in middle)
    assert middle[0].tracks == piece.score.tracks
    assert middle[1].tracks == other.score.tracks
    assert rows(middle[0]) != rows(middle[1])


def test_every_slider_says_what_it_keeps() -> None:
    assert {s.keeps for s in SPECS} == {"harmony", "onsets", "onsets and pitches", "all but velocities"}


def test_a_source_piece_is_never_changed(session: Session, piece: Piece) -> None:
    before = piece.bars.tobytes(), piece.score.notes.tobytes(), piece.z_fine.clone()
    for name in SLIDERS:
        morphed(session, piece, **{name: 1.0})
    assert piece.bars.tobytes() == before[0]
    assert piece.score.notes.tobytes() == before[1]
    assert (piece.z_fine == before[2]).all()
    assert replace(piece).score is piece.score
