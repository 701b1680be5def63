"""Generated against real: windows, overlaps and the classifier on music made for it, sampling on a small model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from engine.compose import Request, knobs_of
from engine.decoding import decode
from engine.errors import MorphonyError
from engine.score import midi
from engine.session import Session
from tests import learnt
from tests.engine import small
from tests.engine.small import bar_notes
from trainer.corpus import Corpus
from trainer.evaluate import classifier, evaluate, generated, samples
from trainer.evaluate.classifier import Heard, real_versus, told_apart
from trainer.evaluate.features import features
from trainer.evaluate.generated import histograms, overlaps
from trainer.evaluate.windows import Window, halves, of_corpus, of_piece, shuffled


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session.open(learnt.model_folder(tmp_path_factory.mktemp("models") / "small"), "cpu")


def window(notes: NDArray[np.void], clocks: tuple[int, ...] = (96,) * 8, piece: int = 0) -> Window:
    return Window(notes, np.array(clocks), np.full(len(clocks), 24), 2, piece)


def walk(rng: np.random.Generator, piece: int) -> Window:
    """Eight bars of a line that climbs or falls by steps all the way: what comes next is plain to hear."""
    step = int(rng.choice([-1, 1]))
    start = int(rng.integers(50, 65)) + 8 * (1 - step)
    rows = [(k, 24 * b, start + step * (4 * k + b), 24, 60 + 4 * k) for k in range(8) for b in range(4)]
    return window(bar_notes(*rows), piece=piece)


def walks(pieces: int, each: int = 2) -> list[Window]:
    rng = np.random.default_rng(0)
    return [walk(rng, piece) for piece in range(pieces) for _ in range(each)]


def bars_of(w: Window) -> list[tuple[int, bytes]]:
    """Every bar's length and notes, whatever its number."""
    out = []
    for k, clocks in enumerate(w.clocks):
        notes = w.notes[w.notes["bar"] == k].copy()
        notes["bar"] = 0
        out.append((int(clocks), notes.tobytes()))
    return out


# ---------------------------------------------------------------- windows


def test_windows_of_a_piece_and_of_a_corpus_are_the_same_bars(session: Session, tmp_path: Path) -> None:
    midi.write(small.score(20), tmp_path / "a.mid")
    piece = session.encode(midi.read_notes(tmp_path / "a.mid"))
    mine, cached = of_piece(piece), of_corpus(Corpus.build(tmp_path, tmp_path / "cache"))
    assert [w.first for w in mine] == [w.first for w in cached] == [0, 4, 8, 12]
    for a, b in zip(mine, cached, strict=True):
        assert np.array_equal(a.clocks, b.clocks)
        assert a.parts == b.parts
        assert bars_of(a) == bars_of(b)
    assert bars_of(mine[1])[0] == bars_of(mine[0])[4]
    assert [w.first for w in of_piece(piece, most=2)] == [0, 12]
    assert of_piece(piece, bars=21) == []


def test_random_order_keeps_every_bar_of_a_piece_and_the_lengths_in_their_places() -> None:
    mixed = [replace(w, clocks=np.array([96, 72] * 4)) for w in walks(3)]
    other = shuffled(mixed, 1)
    for piece in range(3):
        before, after = ([b for w in ws if w.piece == piece for b in bars_of(w)] for ws in (mixed, other))
        assert sorted(before) == sorted(after)
        assert before != after
    assert all(np.array_equal(a.clocks, b.clocks) for a, b in zip(mixed, other, strict=True))
    assert all((np.diff(w.notes["bar"]) >= 0).all() for w in other)


def test_halves_share_no_window_and_every_piece() -> None:
    some = walks(5, each=4)
    first, second = halves(some, 0)
    assert {id(w) for w in first} | {id(w) for w in second} == {id(w) for w in some}
    assert len(first) == len(second) == 10
    assert sorted(w.piece for w in first) == sorted(w.piece for w in second)
    assert [w.piece for w in halves(some, 1)[0]] == [w.piece for w in first]
    assert {id(w) for w in halves(some, 1)[0]} != {id(w) for w in first}


# ---------------------------------------------------------------- statistics


def test_the_same_music_overlaps_wholly_and_other_music_where_it_is_the_same() -> None:
    a = window(bar_notes((0, 0, 60, 24, 80), (1, 24, 62, 24, 80)))
    assert set(overlaps([a], [a]).values()) == {1.0}
    b = window(bar_notes((0, 0, 60, 24, 20), (1, 27, 90, 48, 20)))
    found = overlaps([a], [b])
    assert found["pitch"] == found["duration"] == found["onset"] == 0.5
    assert found["velocity"] == 0
    assert found == overlaps([b], [a])


def test_what_the_decoder_has_one_class_for_is_no_difference() -> None:
    a, b = window(bar_notes((0, 0, 60, 24, 80))), window(bar_notes((0, 0, 60, 24.2, 81, 0, 0.25)))
    assert set(overlaps([a], [b]).values()) == {1.0}
    assert all(np.array_equal(*both) for both in zip(features([a]), features([b]), strict=True))


def test_polyphony_counts_notes_that_sound_across_bars_and_not_past_the_window() -> None:
    two = (window(bar_notes((0, 0, 60, 120), (1, 90, 64, 96)), (96, 96)), window(bar_notes((0, 48, 72, 48)), (96, 96)))
    sounding = histograms(two)["polyphony"] * 64  # 16ths of four bars
    assert sounding[:3] == pytest.approx([64 - 20 - 1 - 8, 20 + 1 + 8, 0])
    chord = window(bar_notes((0, 0, 60, 96), (0, 0, 64, 48)), (96,))
    assert histograms([chord])["polyphony"][:3] == pytest.approx([0, 0.5, 0.5])


# ---------------------------------------------------------------- the classifier


def test_how_two_bars_go_together_does_not_depend_on_the_key() -> None:
    up = [replace(w, notes=w.notes.copy()) for w in walks(3)]
    for w in up:
        w.notes["pitch"] += 5
    (bars, pairs), (higher, same) = features(walks(3)), features(up)
    assert np.allclose(pairs, same, atol=1e-5)
    assert not np.allclose(bars, higher, atol=0.1)


def test_every_window_is_heard_alone() -> None:
    some = walks(4)
    one, together = features(some[2:3]), features(some)
    assert np.allclose(one[0][0], together[0][2])
    assert np.allclose(one[1][0], together[1][2])


def test_windows_of_a_piece_are_learnt_from_or_judged_never_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    monkeypatch.setattr(classifier, "LEAST_STEPS", 2)
    a, b = walks(20), shuffled(walks(20), 1)
    right = dict(zip(("a", "b"), told_apart(Heard.of(a), Heard.of(b), 0), strict=True))
    judged = {name: {w.piece for w, r in zip(a, right[name], strict=True) if np.isfinite(r)} for name in "ab"}
    learnt_from = {w.piece for w, r in zip(a, right["a"], strict=True) if np.isnan(r)}
    assert judged["a"] == judged["b"]
    assert len(judged["a"]) == 6
    assert not judged["a"] & learnt_from


def test_bars_in_random_order_are_told_from_music_and_halves_of_music_are_not() -> None:
    music = walks(90, each=1)  # so that both sets hold the same bars, window by window
    assert real_versus(music, shuffled(music, 1), 0) >= 0.9
    music = walks(45)
    assert abs(real_versus(*halves(music, 1), 0) - 0.5) < 0.25


def test_a_seed_says_what_is_judged_and_what_is_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    monkeypatch.setattr(classifier, "LEAST_STEPS", 5)
    before = torch.random.get_rng_state()
    a, b = Heard.of(walks(20)), Heard.of(shuffled(walks(20), 1))
    first, again, other = (told_apart(a, b, seed) for seed in (0, 0, 1))
    assert np.array_equal(first, again, equal_nan=True)
    assert not np.array_equal(first, other, equal_nan=True)
    assert torch.equal(before, torch.random.get_rng_state())  # what else is drawn does not notice


def test_a_rare_set_is_not_lost_by_never_being_said() -> None:
    often, rare = walks(30, each=4), [w for w in walks(30, each=1) if w.piece % 2]
    right = told_apart(Heard.of(often), Heard.of(rare), 0)
    assert all(np.nanmean(x) > 0.15 for x in right)


def test_one_piece_is_too_few() -> None:
    with pytest.raises(MorphonyError, match="too few pieces"):
        real_versus(walks(1), shuffled(walks(1), 0), 0)


# ---------------------------------------------------------------- out of a model


def like() -> list[Window]:
    return [window(small.tune(8), piece=3), window(small.tune(8)[:0], (72,) * 8, piece=5)]


def test_new_windows_have_the_meters_of_others_and_the_notes_of_their_seed(session: Session) -> None:
    first, again, other = (samples.sample_windows(session, like(), seed) for seed in (1, 1, 2))
    for a, b, c, given in zip(first, again, other, like(), strict=True):
        assert np.array_equal(a.clocks, given.clocks)
        assert a.piece == given.piece
        assert np.array_equal(a.notes, b.notes)
        assert not np.array_equal(a.notes, c.notes)
        assert len(a.notes)
        assert (a.notes["onset"] < a.clocks[a.notes["bar"]]).all()


def test_a_window_is_drawn_as_it_is_alone(session: Session) -> None:
    """Each from a seed of its own, counted up from the first."""
    both, last = samples.sample_windows(session, like(), 4), samples.sample_windows(session, like()[1:], 5)
    assert np.array_equal(both[1].notes, last[0].notes)


def test_a_bare_model_says_what_the_session_decodes(session: Session) -> None:
    conditions = samples.conditions_of_windows(like())
    noise = torch.Generator().manual_seed(3)
    widths = ((2, small.MODEL.global_dim), (4, small.MODEL.local_dim), (16, small.MODEL.latent_dim))
    z = tuple(torch.randn(*w, generator=noise) for w in widths)
    knobs = knobs_of(session, Request(blend=False))
    spoken = decode(session, samples.silent(conditions, z), list(range(16)), knobs)
    bare = samples.greedy(session.model, z, conditions)
    assert len(bare)
    assert sorted(bare.tolist()) == sorted(spoken.tolist())


@pytest.mark.parametrize("draw", [samples.from_levels, samples.from_posterior])
def test_a_model_whose_prior_is_untrained_can_be_drawn_from(session: Session, draw: object) -> None:
    assert callable(draw)
    heard = [window(small.tune(8, shift), piece=shift) for shift in range(6)]
    first, again = draw(session.model, heard, 1), draw(session.model, heard, 1)
    assert all(np.array_equal(a.notes, b.notes) for a, b in zip(first, again, strict=True))
    assert [w.piece for w in first] == list(range(6))
    assert len({w.notes.tobytes() for w in first}) == 6


def test_the_aggregate_posterior_has_the_mean_and_covariance_of_what_was_heard() -> None:
    noise = torch.Generator().manual_seed(0)
    mixing = torch.tensor([[1.0, 0.8], [0, 0.6]])
    rows = torch.randn(400, 2, generator=noise) @ mixing + torch.tensor([3.0, -1])
    drawn = samples._like(rows, 20000, noise)
    assert torch.allclose(drawn.mean(0), rows.mean(0), atol=0.05)
    assert torch.allclose(drawn.T.cov(), rows.T.cov(), atol=0.05)


# ---------------------------------------------------------------- the figures


def judged(windows: list[Window], told: dict[str, list[tuple[list[float], list[float]]]]) -> generated.Judged:
    as_arrays = {k: [(np.array(a), np.array(b)) for a, b in by_seed] for k, by_seed in told.items()}
    return generated.Judged(windows, windows, windows, as_arrays)


def test_the_best_seed_counts_both_sets_weigh_the_same_and_a_verdict_needs_its_checks() -> None:
    nothing = ([np.nan], [np.nan])
    one = judged(walks(1), {"classifier": [([1, 1, 1], [0]), ([1], [1]), nothing]})
    other = judged(walks(1), {"classifier": [nothing, ([0], [1]), nothing]})
    found = generated.verdicts([one, other])
    assert found["classifier"] == 0.75  # by seed: (1 + 0) / 2, (1/2 + 1) / 2, none
    assert "classifier_reliable" not in found
    assert found["overlap.pitch"] == 1
    seeds = [([1], [1]), ([0], [1]), ([0], [0])]
    checks = {"classifier_shuffled": seeds, "classifier_halves": seeds}
    assert generated.verdicts([judged(walks(1), checks)])["classifier_reliable"] == 1
    checks["classifier_halves"] = [([1], [1])] * 3
    assert generated.verdicts([judged(walks(1), checks)])["classifier_reliable"] == 0
    checks = {"classifier_shuffled": [([0], [1])] * 3, "classifier_halves": seeds}
    assert generated.verdicts([judged(walks(1), checks)])["classifier_reliable"] == 0


def test_the_job_judges_pieces_together(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generated, "SEEDS", (0,))
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    monkeypatch.setattr(classifier, "LEAST_STEPS", 3)
    for i in range(4):
        midi.write(small.score(12, shift=i), tmp_path / f"{i}.mid")
    job = evaluate(session, tmp_path, figures=("generated",))
    while True:
        try:
            next(job)
        except StopIteration as end:
            found = end.value["figures"]["all"]
            break
    accuracies = {n: v for n, v in found.items() if n.startswith(("classifier", "naturalness"))}
    assert set(accuracies) == {
        "classifier", "classifier_shuffled", "classifier_halves", "classifier_reliable", "naturalness",
    }  # fmt: skip
    assert all(0 <= v <= 1 for v in accuracies.values())
    assert {n for n in found if n.startswith("overlap.")} == {
        f"overlap.{n}" for n in ("pitch", "duration", "onset", "velocity", "polyphony")
    }
