"""The figures of the evaluation, on notes whose comparison is known by hand and on a small model that knows a tune."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.attributes import NAMES
from engine.model.batch import Notes, Offsets
from engine.score import midi
from engine.session import Piece, Session
from tests import learnt
from tests.engine import small
from tests.engine.small import bar_notes
from trainer.batches import Batch
from trainer.evaluate import evaluate, notes, reconstruction, sliders
from trainer.evaluate.decoded import notes_of
from trainer.objective import Objective


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session.open(learnt.model_folder(tmp_path_factory.mktemp("models") / "small"), "cpu")


@pytest.fixture
def piece(session: Session) -> Piece:
    return session.encode(small.rich_score())


# ---------------------------------------------------------------- notes against notes


def test_a_note_matches_once_by_onset_and_pitch() -> None:
    a = bar_notes((0, 0, 60), (0, 0, 60, 24, 80, 1), (0, 24, 64), (2, 0, 60))
    b = bar_notes((0, 0, 60, 12), (0, 24, 65), (1, 0, 60))
    f1, full = notes.bar_f1(a, b, 4)
    assert f1.tolist() == [2 / 5, 0, 0, 0]  # one of five notes' pairs; a bar that only one version plays has 0
    assert full.tolist() == [True, True, True, False]
    assert notes.bar_f1(a, a, 4)[0].tolist() == [1, 0, 1, 0]


def test_durations_count_where_they_are_asked_for() -> None:
    a, b = bar_notes((0, 0, 60, 24), (0, 24, 62, 24)), bar_notes((0, 0, 60, 12), (0, 24, 62, 24.01))
    assert notes.bar_f1(a, b, 1)[0][0] == 1
    assert notes.bar_f1(a, b, 1, ("onset", "pitch", "duration"))[0][0] == 0.5


def test_onsets_are_a_set_of_clocks() -> None:
    a, b = bar_notes((0, 0, 60), (0, 0, 64), (0, 24, 60)), bar_notes((0, 0, 50), (0, 48, 60))
    assert notes.onset_f1(a, b, 1)[0][0] == 0.5


def test_a_long_window_is_taken_as_one() -> None:
    a, b = bar_notes((0, 0, 60), (1, 0, 60), (1, 24, 60), (1, 48, 60)), bar_notes((1, 0, 60), (1, 24, 60), (1, 48, 60))
    assert notes.window_f1(a, b, 2, 2) == pytest.approx(6 / 7)
    assert np.isnan(notes.window_f1(a, b, 2, 16))


def test_similarities_are_cosines_of_pitch_classes_and_of_16ths() -> None:
    a, b = bar_notes((0, 0, 60), (0, 6, 64)), bar_notes((0, 0, 72), (0, 0, 84))
    assert notes.similarity(notes.chroma(a, 1), notes.chroma(b, 1))[0] == pytest.approx(100 / 2**0.5)
    assert notes.similarity(notes.groove(a, 1), notes.groove(b, 1))[0] == pytest.approx(100 / 2**0.5)
    assert notes.similarity(notes.chroma(a, 1), notes.chroma(a[:0], 1))[0] == 0


def test_field_errors_are_of_the_notes_both_versions_have() -> None:
    a, b = bar_notes((0, 0, 60, 24, 80), (0, 24, 60, 24, 10)), bar_notes((0, 0, 60, 18, 70), (0, 30, 60, 24, 90))
    assert notes.field_error(a, b, "duration") == 6
    assert notes.field_error(a, b, "velocity") == 10
    assert np.isnan(notes.field_error(a, b[:0], "velocity"))


def test_changed_notes_are_those_that_only_one_version_has() -> None:
    a, b = bar_notes((0, 0, 60), (3, 0, 60), (3, 0, 64)), bar_notes((0, 0, 60, 12, 5), (3, 0, 61))
    assert notes.changed(a, a) == 0
    assert notes.changed(a, b) == 3


def test_a_constant_has_no_correlation_and_missing_values_none_either() -> None:
    up = np.arange(5.0)
    assert sliders.spearman(up, up**3) == pytest.approx(1)
    assert sliders.spearman(up, -up) == pytest.approx(-1)
    assert sliders.spearman(up, np.full(5, 0.1) + 1e-12 * up) == 0
    assert sliders.spearman(up, np.array([np.nan, 1, 2, 3, np.nan])) == pytest.approx(1)
    assert sliders.spearman(up, np.full(5, np.nan)) == 0


def test_what_a_slider_leaves_is_measured_on_what_it_should_leave() -> None:
    a = bar_notes((0, 0, 60, 24, 80), (0, 24, 64, 24, 80))
    softer, shorter = a.copy(), a.copy()
    softer["velocity"], shorter["duration"] = 20, 6
    higher, fewer = a.copy(), a[:1]
    higher["pitch"] += 5
    assert sliders.leaves("all but velocities", a, softer, 1) == 1
    assert sliders.leaves("all but velocities", a, shorter, 1) == 0
    assert sliders.leaves("onsets and pitches", a, shorter, 1) == 1
    assert sliders.leaves("onsets and pitches", a, higher, 1) == 0
    assert sliders.leaves("onsets", a, higher, 1) == pytest.approx(100)
    assert sliders.leaves("harmony", a, fewer, 1) == pytest.approx(100 / 2**0.5)


# ---------------------------------------------------------------- the model


def test_only_latents_reach_the_decoder(session: Session, piece: Piece) -> None:
    other = small.tune(8, shift=7)
    assert np.array_equal(notes_of(session, piece, range(8)), notes_of(session, replace(piece, bars=other), range(8)))


def test_a_piece_that_was_learnt_comes_back_and_a_constant_does_not(session: Session, piece: Piece) -> None:
    found = reconstruction.reconstruction(session, piece)
    assert found["note_f1"] > 0.9
    assert found["note_f1"] >= found["exact_bars"]
    assert found["sim_chr"] > 95
    flat = replace(piece, z_fine=torch.zeros_like(piece.z_fine), z_local=torch.zeros_like(piece.z_local), cache={})
    lost, full = notes.bar_f1(piece.bars, notes_of(session, flat, range(8)), 8)
    assert notes.mean_where(lost, full) < found["note_f1"] / 2


def test_latents_of_other_bars_bring_their_own_notes(session: Session, piece: Piece) -> None:
    """Both pieces are the tune, so every bar's latents are known: a swap gives chance, not the bar's own notes."""
    both = [reconstruction.swappable(session, piece)] * 2
    for one in reconstruction.swap(session, both):
        assert one["swap_excess"] == pytest.approx(one["swap_f1"] - one["swap_chance"])
        assert abs(one["swap_excess"]) < 0.1
    assert reconstruction.swap(session, both[:1]) == [{}]


def test_likelihood_is_the_loss_that_training_reports(session: Session, piece: Piece) -> None:
    found = reconstruction.likelihood(session, piece)
    plain = Notes.of(piece.bars)
    batch = Batch(plain, plain, piece.conditions, Offsets.none(len(piece)))
    with torch.no_grad():
        _, values, _ = Objective(session.model, session.config.loss)(batch, 1.0, torch.Generator().manual_seed(0))
    assert found["elbo_nats_per_note"] == pytest.approx(float(values["loss"]), rel=1e-4)
    assert found["kl_fine_nats_per_bar"] == pytest.approx(float(values["kl_fine"]), rel=1e-4)


def test_sliders_of_velocity_are_obeyed_and_move_no_note(session: Session, piece: Piece) -> None:
    figures = sliders.controllability([sliders.sweep(session, piece, range(4))])
    assert figures["rho.dynamics"] > 0.9
    assert figures["kept.dynamics"] == figures["kept.dynamic_spread"] == 1
    assert 0 <= figures["independence"] <= figures["independence_by_piece"] <= 1
    assert {f"rho.{name}" for name in NAMES} <= set(figures)


def test_a_slider_that_comes_back_brings_the_same_notes(session: Session, piece: Piece) -> None:
    figures = sliders.smoothness([sliders.steps(session, piece, range(2))])
    assert figures["returning_percent"] == 100
    assert figures["smooth.notes_moved_by_velocity_and_duration"] == 0
    assert figures["smooth.changes_percent.dynamics"] > 90


# ---------------------------------------------------------------- the job


def test_figures_are_means_over_pieces_by_corpus_and_for_tier_a(session: Session, tmp_path: Path) -> None:
    rows = [("a/0.mid", "a", "A"), ("a/1.mid", "a", "A"), ("b/0.mid", "b", "B"), ("b/none.mid", "b", "B")]
    for i, (name, *_) in enumerate(rows[:3]):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        midi.write(small.score(8, shift=i), tmp_path / name)
    lines = ["path\tcorpus\ttier", *("\t".join(row) for row in rows)]
    (tmp_path / "list.tsv").write_text("\n".join(lines) + "\n")
    result = finished(evaluate(session, tmp_path / "list.tsv", figures=("reconstruction", "swap")))
    each = {f["file"] + f["corpus"]: f for f in result["files"]}
    assert result["pieces"] == {"all": 3, "tier_A": 2, "a": 2, "b": 1}
    mean = (each["0.mida"]["note_f1"] + each["1.mida"]["note_f1"]) / 2
    assert result["figures"]["tier_A"]["note_f1"] == pytest.approx(mean)
    assert result["figures"]["tier_A"] == result["figures"]["a"]
    assert "none.mid" in each["none.midb"]["error"]
    assert "swap_excess" in result["figures"]["b"]


def test_the_limit_is_per_corpus_and_the_worst_corpus_is_named(session: Session, tmp_path: Path) -> None:
    for i, corpus in enumerate(("a", "a", "b")):
        (tmp_path / corpus).mkdir(exist_ok=True)
        midi.write(small.score(4, shift=i), tmp_path / corpus / f"{i}.mid")
    result = finished(evaluate(session, tmp_path, figures=("sliders",), limit=1, bars=range(1)))
    assert result["pieces"] == {"all": 2, "a": 1, "b": 1}
    rho = {corpus: result["figures"][corpus]["rho.density"] for corpus in "ab"}
    assert rho[result["worst_corpus"]["rho.density"]] == min(rho.values())


def test_what_cannot_be_evaluated_is_said(session: Session, tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no music"):
        finished(evaluate(session, tmp_path))
    (tmp_path / "x.mid").write_bytes(b"MThd")
    with pytest.raises(Exception, match=r"could be evaluated: x\.mid"):
        finished(evaluate(session, tmp_path))
    with pytest.raises(Exception, match="no figures called 'beauty'"):
        finished(evaluate(session, tmp_path, figures=("beauty",)))


def finished(job) -> dict:
    while True:
        try:
            next(job)
        except StopIteration as end:
            return end.value
