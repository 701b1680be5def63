"""Jobs beside morphing: what each leaves alone bit for bit, and that what it makes follows what was asked."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from engine.attributes import INDEX, measure
from engine.compose import (
    PATHS,
    Locks,
    Request,
    Style,
    apply,
    continue_,
    generate,
    infill,
    interpolate,
    morph,
    run,
    transfer,
    vary,
)
from engine.compose.candidates import draw
from engine.compose.fit import likeness, strangeness
from engine.errors import MorphonyError
from engine.generation import ensemble
from engine.masks import Masks
from engine.model.latents import slerp
from engine.score import Event, Meter, Score, Track, harmony, make_notes, midi
from engine.score.timing import BarGrid
from engine.session import Piece, Session
from engine.tokens.bars import is_modelled, rows_of, to_bars
from tests.engine import small

BAR = 1920  # ticks


def bytes_of(score: Score, keep: np.ndarray) -> list[bytes]:
    return sorted(note.tobytes() for note in score.notes[keep])


def bar_numbers(score: Score) -> np.ndarray:
    """The bar of each note, to the nearest clock."""
    return (score.notes["tick"] + 10) // BAR


def share_changed(piece: Piece, score: Score) -> float:
    one, two = ({(n["bar"], n["onset"], n["pitch"]) for n in x} for x in (piece.bars, to_bars(score, piece.grid)))
    return len(one ^ two) / len(one | two)


def untouched(source: Score, score: Score) -> bool:
    """Everything the model does not speak for, counted and compared."""
    same_notes = bytes_of(score, ~is_modelled(score)) == bytes_of(source, ~is_modelled(source))
    rest = [(s.events, s.tempi, s.meters, s.tracks, s.ticks_per_quarter) for s in (source, score)]
    return same_notes and rest[0] == rest[1] and int((~is_modelled(source)).sum()) == 72


# ---------------------------------------------------------------- continue


@pytest.mark.parametrize("bars", [1, 3, 6])
def test_a_continuation_leaves_the_piece_bit_for_bit_and_adds_its_bars(
    session: Session, piece: Piece, bars: int
) -> None:
    done = []
    job = continue_(session, piece, bars, Request(seed=2))
    try:
        while True:
            done.append(next(job))
    except StopIteration as end:
        score = end.value
    assert [b for part in done for b in part.bars] == list(range(8, 8 + bars))
    assert untouched(piece.score, score)
    old = bar_numbers(score) < 8
    assert bytes_of(score, old) == bytes_of(piece.score, np.ones(len(piece.score.notes), bool))
    new = score.notes[~old]
    assert len(new)
    assert (new["tick"] + new["duration"]).max() <= (8 + bars) * BAR
    assert set(new["track"].tolist()) <= {0, 1, 3}  # the parts that play; the drums are at rest


def test_a_piece_that_ends_within_a_phrase_goes_on_in_it(session: Session) -> None:
    piece = session.encode(small.score(6))
    score = run(continue_(session, piece, 5))
    assert np.array_equal(score.notes[: len(piece.score.notes)], piece.score.notes)
    assert len(BarGrid.of(score)) in (10, 11)


def test_new_bars_keep_the_last_meter(session: Session) -> None:
    """A meter written after the last note says nothing about the piece, so nothing about how it goes on."""
    score = Score(
        96,
        small.score().tracks,
        make_notes([(i * 48, 40, 60 + i % 9, 80, 0) for i in range(40)]),
        (Meter(0, 4, 4), Meter(768, 3, 4), Meter(99_000, 7, 8)),
    )
    longer = run(continue_(session, score, 4))
    before, after = BarGrid.of(score), BarGrid.of(longer, int(BarGrid.of(score).starts[-1]) + 4 * 288)
    assert len(after) == len(before) + 4
    assert set(after.numerators[len(before) :]) == {3}
    assert np.array_equal(longer.notes[: len(score.notes)], score.notes)


def test_a_continuation_follows_its_seed_and_its_sliders(session: Session, piece: Piece) -> None:
    one, again, other = (run(continue_(session, piece, 4, Request(seed=seed))) for seed in (1, 1, 2))
    assert one.notes.tobytes() == again.notes.tobytes() != other.notes.tobytes()
    louder = run(continue_(session, piece, 4, Request({"dynamics": 1.5}, seed=1)))
    assert (
        louder.notes[bar_numbers(louder) >= 8]["velocity"].mean()
        > one.notes[bar_numbers(one) >= 8]["velocity"].mean() + 8
    )
    assert bytes_of(louder, bar_numbers(louder) < 8) == bytes_of(one, bar_numbers(one) < 8)


def test_new_bars_depend_on_the_bars_around_them_and_on_no_other(session: Session, piece: Piece) -> None:
    """Not on the seed alone: the prior is given the latents of known bars, and of none that is not there yet."""

    def drawn(*changed: int, end: int = 8) -> torch.Tensor:
        z_fine = piece.z_fine.clone()
        z_fine[list(changed)] += 1.0
        return draw(session, replace(piece, z_fine=z_fine), range(5, 7), end, [3, 4], 1.0)

    assert drawn().shape == (2, 2, 16)
    assert not torch.allclose(drawn()[0], drawn()[1])
    for known in (0, 3, 4, 7):
        assert not torch.allclose(drawn(known), drawn()), known
    for itself in (5, 6):
        assert torch.allclose(drawn(itself), drawn()), itself
    assert torch.allclose(drawn(7, end=7), drawn(end=7))
    one = draw(session, piece, range(5, 7), 8, [4], 1.0)
    assert torch.allclose(one[0], drawn()[1], atol=1e-5)  # candidates do not depend on how many there are


@pytest.mark.parametrize("bars", [0, -1, 5000])
def test_a_continuation_of_no_possible_length_is_refused(session: Session, piece: Piece, bars: int) -> None:
    with pytest.raises(MorphonyError, match="1 to 1024 bars"):
        run(continue_(session, piece, bars))


# ---------------------------------------------------------------- infill


@pytest.mark.parametrize("bars", [range(5, 8), range(2), range(3, 4), range(8)])
def test_infilling_changes_its_bars_and_no_other_note(session: Session, piece: Piece, bars: range) -> None:
    score = run(infill(session, piece, bars, Request(seed=4)))
    assert untouched(piece.score, score)
    inside = [np.isin(bar_numbers(s), bars) & is_modelled(s) for s in (piece.score, score)]
    assert bytes_of(score, ~inside[1]) == bytes_of(piece.score, ~inside[0])
    assert bytes_of(score, inside[1]) != bytes_of(piece.score, inside[0])


def test_bars_before_silent_last_ones_are_filled_in(session: Session) -> None:
    held = make_notes([(i * BAR, BAR // 2, 60 + i, 80, 0) for i in range(6)] + [(5 * BAR, 3 * BAR, 48, 80, 0)])
    source = Score(480, (Track("Piano"),), held)
    made = run(infill(session, session.encode(source), range(3, 5)))
    assert bytes_of(made, bar_numbers(made) == 5) == bytes_of(source, bar_numbers(source) == 5)


def test_infilling_survives_the_file_it_is_written_to(session: Session, tmp_path) -> None:
    """Notes held over into the new bars keep their length: no new note strikes a key that is still down."""
    struck = set(small.score().notes["pitch"].tolist())
    held = make_notes([(4 * BAR - 480, 2 * BAR, p, 90, p % 2) for p in range(48, 90) if p not in struck])
    source = replace(small.score(), notes=np.concatenate([small.score().notes, held]))
    midi.write(source, tmp_path / "source.mid")
    assert np.array_equal(midi.read(tmp_path / "source.mid").notes, source.notes)
    piece = session.encode(source)
    noise = piece.with_latents({n: getattr(piece, n) + 0.5 for n in ("z_global", "z_local", "z_fine")})
    for seed in range(3):
        score = run(infill(session, noise, range(4, 6), Request({"density": 3.0}, seed=seed, temperature=1.0)))
        midi.write(score, tmp_path / "x.mid")
        read = midi.read(tmp_path / "x.mid")
        outside = [~np.isin(bar_numbers(s), [4, 5]) for s in (source, read)]
        assert bytes_of(read, outside[1]) == bytes_of(source, outside[0])


def test_only_the_chosen_tracks_are_filled_in(session: Session, piece: Piece) -> None:
    score = run(infill(session, piece, range(2, 6), Request(tracks=frozenset({0}), seed=1)))
    for track in range(4):
        same = bytes_of(score, score.notes["track"] == track) == bytes_of(
            piece.score, piece.score.notes["track"] == track
        )
        assert same == (track != 0)


def test_more_candidates_fit_no_worse(session: Session, piece: Piece) -> None:
    """What the choice among candidates is judged by, measured here again on the notes that come out."""

    def strange(candidates: int) -> float:
        score, total = piece.score, 0.0
        for seed in range(3):
            score = run(infill(session, piece, range(3, 5), Request(seed=seed), candidates=candidates))
            notes, outside = to_bars(score, piece.grid), piece.bars[~np.isin(piece.bars["bar"], [3, 4])]
            total += strangeness(notes, outside, piece.grid.clocks, range(3, 5), [1, 2, 5, 6], session.deviations)
        return total

    assert strange(12) < strange(1)


def test_a_bar_fits_best_where_it_comes_from(session: Session, piece: Piece) -> None:
    """And silence, noise and another register fit worse."""
    clocks, scope, near = piece.grid.clocks, range(3, 5), [1, 2, 5, 6]
    outside = piece.bars[~np.isin(piece.bars["bar"], scope)]

    def strange(notes: np.ndarray) -> float:
        return strangeness(notes, outside, clocks, scope, near, session.deviations)

    own = strange(piece.bars)
    high = piece.bars.copy()
    high["pitch"][np.isin(high["bar"], scope)] += 24
    assert own < strange(high)
    assert own < strange(outside)
    assert likeness(piece.bars, 8)[0].shape == (7,)


def test_bars_that_are_not_there_cannot_be_filled_in(session: Session, piece: Piece) -> None:
    with pytest.raises(MorphonyError, match="0:8"):
        run(infill(session, piece, range(6, 12)))
    with pytest.raises(MorphonyError, match="no bars"):
        run(infill(session, piece, range(3, 3)))
    with pytest.raises(MorphonyError, match="candidate"):
        run(infill(session, piece, range(3, 4), candidates=0))


# ---------------------------------------------------------------- vary


def test_a_variation_of_nothing_is_the_piece_and_more_of_it_leads_farther(session: Session, piece: Piece) -> None:
    for seed in range(3):
        scores = [run(vary(session, piece, amount, Request(seed=seed))) for amount in (0, 0.1, 0.4, 0.8, 1.4, 2.0)]
        assert scores[0].notes.tobytes() == piece.score.notes.tobytes()
        changed = [share_changed(piece, score) for score in scores]
        assert all(a <= b + 0.03 for a, b in pairwise(changed)), changed
        assert changed[-1] > changed[2] > changed[0] == 0
        assert all(untouched(piece.score, score) for score in scores)


def test_seeds_are_different_variations_and_stay_within_their_bars(session: Session, piece: Piece) -> None:
    one, again, other = (run(vary(session, piece, 1.0, Request(seed=seed, bars=range(2, 5)))) for seed in (1, 1, 2))
    assert one.notes.tobytes() == again.notes.tobytes() != other.notes.tobytes()
    outside = ~np.isin(bar_numbers(one), [2, 3, 4])
    assert bytes_of(one, outside) == bytes_of(piece.score, ~np.isin(bar_numbers(piece.score), [2, 3, 4]))


@pytest.mark.parametrize("amount", [-0.1, 2.1, float("nan")])
def test_no_variation_goes_back_or_too_far(session: Session, piece: Piece, amount: float) -> None:
    with pytest.raises(MorphonyError, match="from 0 to 2"):
        run(vary(session, piece, amount))


# ---------------------------------------------------------------- locks

SLIDERS = {"density": 2.0, "register": 1.0, "dynamics": 1.5, "articulation": -1.0}


@pytest.mark.parametrize("offsets", [SLIDERS, {"dynamics": 0.2}, {}])
@pytest.mark.parametrize("masks", [Masks(), Masks(scale=(harmony.scale("F# major"),), max_notes=1)])
def test_what_is_locked_stays_bit_for_bit(session: Session, piece: Piece, offsets: dict, masks: Masks) -> None:
    locks = Locks(frozenset({2, 5}), frozenset({1}), frozenset({0, 20, 40, 61}))
    score = apply(piece, morph(session, piece, Request(offsets, locks=locks, masks=masks)))
    for bar in (2, 5):
        assert bytes_of(score, bar_numbers(score) == bar) == bytes_of(piece.score, bar_numbers(piece.score) == bar)
    assert bytes_of(score, score.notes["track"] == 1) == bytes_of(piece.score, piece.score.notes["track"] == 1)
    there = {note.tobytes() for note in score.notes}
    assert all(piece.score.notes[row].tobytes() in there for row in (0, 20, 40, 61))
    if offsets == SLIDERS:
        assert bytes_of(score, bar_numbers(score) == 3) != bytes_of(piece.score, bar_numbers(piece.score) == 3)


def test_locked_notes_survive_the_file_they_are_written_to(session: Session, piece: Piece, tmp_path) -> None:
    rows = frozenset(range(0, len(piece.score.notes), 3))
    score = apply(piece, morph(session, piece, Request({"density": 2.0, "articulation": 2.0}, locks=Locks(notes=rows))))
    midi.write(score, tmp_path / "x.mid")
    read = {note.tobytes() for note in midi.read(tmp_path / "x.mid").notes}
    assert all(piece.score.notes[row].tobytes() in read for row in rows)


def test_locks_hold_in_every_job(session: Session, piece: Piece) -> None:
    asked = Request(locks=Locks(bars=frozenset({3}), tracks=frozenset({0})), seed=1)
    style = Style.of([session.encode(small.score(8, 7))])
    for job in (
        infill(session, piece, range(2, 6), asked),
        vary(session, piece, 1.5, asked),
        transfer(session, piece, style, 1.0, asked),
    ):
        score = run(job)
        for keep in (lambda s: bar_numbers(s) == 3, lambda s: s.notes["track"] == 0):
            assert bytes_of(score, keep(score)) == bytes_of(piece.score, keep(piece.score))
        assert score.notes.tobytes() != piece.score.notes.tobytes()


def test_rows_point_at_the_notes_they_stand_for(piece: Piece) -> None:
    notes = piece.score.notes[rows_of(piece.score, piece.grid)]
    assert np.array_equal(notes["pitch"], piece.bars["pitch"])
    assert np.array_equal(notes["velocity"], piece.bars["velocity"])


# ---------------------------------------------------------------- interpolate


@pytest.mark.parametrize("path", PATHS)
def test_every_path_goes_from_one_piece_to_the_other(session: Session, piece: Piece, path: str) -> None:
    a, b = torch.randn(5, 8), torch.randn(5, 8)
    assert torch.allclose(PATHS[path](a, b, 0.0), a, atol=1e-5)
    assert torch.allclose(PATHS[path](a, b, 1.0), b, atol=1e-5)
    other = session.encode(small.score(8, 5))
    score = run(interpolate(session, piece, other, 0.4, path=path))
    assert len(score.notes)


def test_bar_by_bar_a_piece_begins_as_one_and_ends_as_the_other(session: Session, piece: Piece) -> None:
    a, b = torch.randn(4, 8), torch.randn(4, 8)
    half = PATHS["bars"](a, b, 0.5)
    assert torch.allclose(half[:2], a[:2], atol=1e-5)
    assert torch.allclose(half[2:], b[2:], atol=1e-5)
    assert torch.allclose(PATHS["bars"](a, b, 0.375)[2:3], slerp(a[2:3], b[2:3], 0.5), atol=1e-5)


def test_an_unknown_path_is_refused_with_the_choices(session: Session, piece: Piece) -> None:
    with pytest.raises(MorphonyError, match="slerp, lerp, bars"):
        run(interpolate(session, piece, piece, 0.5, path="detour"))


# ---------------------------------------------------------------- transfer


def quiet_and_dense() -> Score:
    notes = [(bar * BAR + i * 120, 60, 60 + (i * 5 + bar) % 12, 30 + i % 3, 0) for bar in range(8) for i in range(16)]
    return Score(480, small.score().tracks, make_notes(notes))


def test_a_transfer_comes_nearer_the_style_and_keeps_the_harmony(session: Session, piece: Piece) -> None:
    style = Style.of([session.encode(quiet_and_dense())])
    distances = []
    for strength in (0.0, 0.5, 1.0):
        score = run(transfer(session, piece, style, strength))
        found = measure(to_bars(score, piece.grid), piece.grid.clocks)
        carried = [INDEX[n] for n in ("dynamics", "articulation", "density")]
        distances.append(np.abs(style.offsets(found, session.deviations))[carried].mean())
        assert untouched(piece.score, score)
    assert distances[0] > distances[1] > distances[2]
    assert run(transfer(session, piece, style, 0.0)) is piece.score


def test_a_style_counts_each_piece_once(session: Session, piece: Piece) -> None:
    short, long = session.encode(small.score(2)), piece
    style = Style.of([short, long])
    assert np.allclose(style.attributes, (short.attributes + long.attributes) / 2)
    assert torch.allclose(style.z_local, (short.z_local.mean(0) + long.z_local.mean(0))[None] / 2)
    with pytest.raises(MorphonyError, match="at least one piece"):
        Style.of([])


def test_a_strength_is_a_share(session: Session, piece: Piece) -> None:
    with pytest.raises(MorphonyError, match=r"0 to 1, not 1\.5"):
        run(transfer(session, piece, Style.of([piece]), 1.5))


# ---------------------------------------------------------------- generate, and models of another kind


@pytest.mark.parametrize("parts", [1, 2, 3, 4])
def test_new_music_is_for_the_parts_asked_for(session: Session, parts: int) -> None:
    score = run(
        generate(session, 4, seed=1, tracks=ensemble(parts), request=Request(masks=Masks(pitch_range=(48, 72))))
    )
    assert len(score.tracks) == parts
    assert len({t.channel for t in score.tracks}) == parts
    assert not any(t.is_drum for t in score.tracks)
    assert len(score.notes)
    assert score.notes["track"].max() < parts
    assert 48 <= score.notes["pitch"].min() <= score.notes["pitch"].max() <= 72


def test_programs_are_those_asked_for() -> None:
    assert [t.program for t in ensemble(2, (40, 42))] == [40, 42]
    for wrong, sentence in (
        ((5, None), "1 to 4 parts, not 5"),
        ((2, (40,)), "2 parts but 1 programs"),
        ((1, (200,)), "0 to 127"),
    ):
        with pytest.raises(MorphonyError, match=sentence):
            ensemble(*wrong)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"temperature": -1.0}, "temperature is 0 or more"),
        ({"temperature": float("nan")}, "temperature is 0 or more"),
        ({"top_k": -1}, "top-k counts"),
        ({"top_p": 0.0}, "top-p is a share"),
        ({"beam": 0}, "beam is 1 to"),
    ],
)
def test_a_request_that_cannot_be_is_one_sentence(wrong: dict, sentence: str) -> None:
    with pytest.raises(MorphonyError, match=sentence):
        Request(**wrong)


def test_a_beam_comes_nearer_to_what_a_slider_asks_than_the_tilt_alone(session: Session, piece: Piece) -> None:
    """Judged on re-measured notes: of the likeliest sets of each bar the nearest is taken, the greedy one included."""
    clocks = piece.grid.clocks
    rest = apply(piece, morph(session, piece, Request(blend=False)))
    start = measure(to_bars(rest, piece.grid), clocks)[INDEX["density"]]

    def miss(beam: int) -> float:
        off = 0.0
        for amount in (0.35, 0.85, 1.15):
            score = apply(piece, morph(session, piece, Request({"density": amount}, beam=beam, blend=False)))
            found = measure(to_bars(score, piece.grid), clocks)[INDEX["density"]]
            off += abs(found - start - amount * session.deviations[INDEX["density"]])
        return off

    assert miss(32) <= miss(1)


def test_a_beam_serves_any_goal(session: Session, piece: Piece) -> None:
    """A goal of the caller's: as few notes as the likeliest sets allow."""

    def few(notes: np.ndarray, clocks: np.ndarray) -> np.ndarray:
        return np.bincount(notes["bar"], minlength=len(clocks)).astype(float)

    plain, sparse = (
        apply(piece, morph(session, piece, Request(blend=False, beam=beam, goal=few, masks=Masks(), away=1.0)))
        for beam in (1, 16)
    )
    assert len(sparse.notes) < len(plain.notes)


def test_a_pedal_that_is_down_at_the_end_is_still_the_source_s(session: Session) -> None:
    score = replace(small.score(), events=(Event(8 * BAR - 10, 0, b"\xb0\x40\x7f"),))
    assert run(continue_(session, score, 1)).events == score.events
