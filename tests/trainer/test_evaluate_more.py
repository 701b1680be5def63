"""The way between pieces, coherence, copies, scopes and calibration: on music known by hand and on a small model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.attributes import NAMES
from engine.score import midi
from engine.session import Piece, Session
from tests import learnt
from tests.engine import small
from tests.engine.small import bar_notes
from trainer.corpus import Corpus
from trainer.evaluate import between, coherence, copies, evaluate, sliders
from trainer.evaluate.definitions import DEFINITIONS, define
from trainer.evaluate.run import USUAL
from trainer.evaluate.windows import Window


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return Session.open(learnt.model_folder(tmp_path_factory.mktemp("models") / "small"), "cpu")


def piece(session: Session, bars: int = 16, shift: int = 0) -> Piece:
    return session.encode(small.score(bars, shift))


def window(*rows: tuple[float, ...], bars: int = 8) -> Window:
    return Window(bar_notes(*rows), np.full(bars, 96), np.full(bars, 24))


# ---------------------------------------------------------------- sliders: scopes and calibration


def test_slope_is_what_an_attribute_moves_for_what_is_asked() -> None:
    at = sliders.POSITIONS
    assert sliders.slope(at, 0.5 * at + 3) == pytest.approx(0.5)
    assert sliders.slope(at, np.where(at < 0, np.nan, 2 * at)) == pytest.approx(2)
    assert np.isnan(sliders.slope(at, np.full(9, np.nan)))


def test_every_scope_is_measured_on_its_own_bars(session: Session) -> None:
    one = piece(session)
    eight, whole = sliders.sweep(session, one, range(8)), sliders.sweep_whole(session, one, range(8))
    single = sliders.sweep_bars(session, one, range(8))
    for swept in (eight, whole, single):
        dynamics = NAMES.index("dynamics")
        assert swept.rho[dynamics, dynamics] > 0.9
        assert 0.5 < swept.slope[dynamics] < 1.5
        assert swept.response[dynamics, sliders.REST] == 0
    assert not np.array_equal(eight.response, whole.response)
    figures = {**sliders.whole_piece([whole]), **sliders.one_bar([single])}
    assert {
        f"{scope}.{f}" for scope in ("piece", "bar") for f in ("rho.density", "slope.density", "independence")
    } <= set(figures)


# ---------------------------------------------------------------- between


def test_a_way_between_pieces_moves_steadily_from_one_to_the_other(session: Session) -> None:
    a, b = piece(session), piece(session, shift=7)
    (there, back) = between.between(session, [a, b])
    for found in (there, back):
        assert found["between.notes_from_a"] > 0.7
        assert found["between.notes_to_b"] > 0.7
        assert found["between.register"] > 0.7  # a fifth apart is more than half a sigma


def test_a_piece_only_meets_pieces_of_its_own_meter(session: Session) -> None:
    from tests.trainer.conftest import waltz

    four, three = piece(session), session.encode(waltz())
    assert between.between(session, [four, three]) == [{}, {}]
    assert between.between(session, [four]) == [{}]
    kinds = [[(96, 24)] * 3, [(72, 24)] * 3, [(96, 24)] * 2]
    assert [between._next(kinds, i) for i in range(3)] == [2, None, 0]


def test_a_beginning_is_where_the_music_begins(session: Session) -> None:
    one = piece(session, 24)
    begun = between.beginning(session, one, range(1))
    assert len(begun) == between.BARS
    assert np.array_equal(begun.bars, one.bars[one.bars["bar"] < between.BARS])


# ---------------------------------------------------------------- coherence


def test_bars_that_repeat_are_alike_and_bars_of_other_notes_are_not() -> None:
    same = window(*[(b, 24 * i, 60 + 4 * i) for b in range(8) for i in range(3)])
    turns = window(*[(b, 12 * (b % 2), 60 + b % 2) for b in range(8)])
    values = dict(zip(coherence.MEASURES, coherence.measured([same, turns]).T, strict=True))
    for name in ("chroma_next", "rhythm_next"):
        assert values[name] == pytest.approx([100, 0])
    for name in ("chroma_4_bars", "rhythm_4_bars"):
        assert values[name] == pytest.approx([100, 100])


def test_the_key_of_a_phrase_is_that_of_its_scale() -> None:
    scale, other = [60, 62, 64, 65, 67, 69, 71, 72, 67, 64, 60, 60], [66, 68, 70, 71, 73, 75, 77, 78, 73, 70, 66, 66]
    stays = window(*[(b, 8 * i, p) for b in range(8) for i, p in enumerate(scale)])
    leaves = window(*[(b, 8 * i, p) for b in range(8) for i, p in enumerate(scale if b < 4 else other)])
    kept, clear = coherence.measured([stays, leaves])[:, 4:].T
    assert kept[0] == 100
    assert kept[1] <= 50
    assert clear[0] > 0.9 > clear[1]
    major = coherence.fits(np.bincount(np.array(scale) % 12, minlength=12)[None].astype(float))[0]
    assert major.argmax() == 0  # C major
    assert coherence.fits(np.zeros((1, 12)))[0].tolist() == [0.0] * 24


def test_new_music_like_music_lies_between_its_quartiles_half_of_the_time(rng) -> None:
    def pieces(shift: float) -> list[coherence.Coherent]:
        width = len(coherence.MEASURES)
        return [
            coherence.Coherent([], rng.normal(size=(n, width)), rng.normal(shift, size=(n, width)))
            for n in rng.integers(1, 5, size=200)
        ]

    like, unlike = coherence.coherence(pieces(0)), coherence.coherence(pieces(4))
    assert like["coherence.inside_percent"] == pytest.approx(50, abs=4)
    assert unlike["coherence.inside_percent"] < 3
    assert like["coherence.key_kept.music_25"] == pytest.approx(-0.67, abs=0.15)
    assert like["coherence.key_kept"] == pytest.approx(0, abs=0.15)


# ---------------------------------------------------------------- copies


def test_music_the_model_could_have_copied_shares_long_runs(session: Session, tmp_path: Path) -> None:
    midi.write(small.score(16), tmp_path / "known.mid")
    reference = Corpus.build(tmp_path, tmp_path / "cache")
    known, new = piece(session), piece(session, shift=3)
    unlike = session.encode(replace(small.score(16), notes=_turned(small.score(16).notes)))
    found = copies.compare(session, [copies.windows(session, p, range(1)) for p in (known, new, unlike)], reference)
    same, transposed, other = (x.of_real[0] for x in found)
    assert same == transposed > 30  # transposing hides nothing
    assert other < same / 3
    figures = copies.runs(found)
    assert figures["copies.excess"] == figures["copies.run_new"] - figures["copies.run_music"]
    assert figures["copies.longest_music"] == same
    assert figures["copies.longest_new"] >= 0


def _turned(notes: np.ndarray) -> np.ndarray:
    """Other intervals in another rhythm."""
    out = notes.copy()
    rng = np.random.default_rng(0)
    out["pitch"] = rng.integers(50, 80, len(out))
    out["tick"] += rng.integers(0, 4, len(out)) * 120
    return out[np.argsort(out["tick"], kind="stable")]


# ---------------------------------------------------------------- the job


def test_every_group_on_any_folder_with_intervals_definitions_and_what_plots_draw(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trainer.evaluate import classifier, generated, latents

    for module, name, value in (
        (generated, "SEEDS", (0,)), (classifier, "EPOCHS", 1), (classifier, "LEAST_STEPS", 3),
        (latents, "TAKES", 4), (latents, "ACTIVE_BARS", 2), (sliders, "PIECE_BARS", 2), (sliders, "SINGLE_BARS", 1),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    for i in range(3):
        midi.write(small.score(16, shift=i), tmp_path / f"{i}.mid")
    reference = Corpus.build(tmp_path, tmp_path / "cache")
    job = evaluate(session, tmp_path, figures=USUAL, bars=range(1), reference=reference, resamples=50)
    names = set()
    while True:
        try:
            names.add(next(job).name)
        except StopIteration as end:
            result = end.value
            break
    assert {"intervals of all", "generated", "copies"} <= names
    figures, sure = result["figures"]["all"], result["intervals"]["all"]
    assert set(figures) == set(sure)
    for name, value in figures.items():
        assert sure[name]["figure"] == value
        assert sure[name]["n"] < 2 or sure[name]["low"] <= sure[name]["high"]
        assert define(name).words, name
    wide = {name for name, found in sure.items() if found["n"] > 1 and found["low"] < found["high"]}
    assert {"elbo_nats_per_note", "overlap.pitch", "smooth.p95_percent", "independence", "latents.scc"} <= wide
    assert {"sliders", "generated"} == set(result["details"])
    assert result["skipped"] == {}
    assert result["definitions"]["swap_excess"]["aim"] == "<= 0.05"


def test_copies_are_skipped_with_a_sentence_where_there_is_no_reference(session: Session, tmp_path: Path) -> None:
    midi.write(small.score(8), tmp_path / "a.mid")
    job = evaluate(session, tmp_path, figures=("reconstruction", "copies"))
    while True:
        try:
            next(job)
        except StopIteration as end:
            result = end.value
            break
    assert "--reference" in result["skipped"]["copies"]
    assert "note_f1" in result["figures"]["all"]
    with pytest.raises(Exception, match="--reference"):
        next(evaluate(session, tmp_path, figures=("copies",)))


def test_limits_say_what_meets_them() -> None:
    f1, halves = define("note_f1"), define("classifier_halves")
    assert (f1.aim(), f1.meets(0.95), f1.meets(0.949)) == (">= 0.95", True, False)
    assert (halves.aim(), halves.meets(0.5), halves.meets(0.56)) == ("0.45 to 0.55", True, False)
    assert define("rho.density").least == define("piece.rho.leaps").least == 0.95
    assert (define("kept.register").least, define("kept.density").least) == (95, 90)
    assert define("kl_fine_nats_per_bar").meets(3) is None
    assert define("coherence.key_kept.music_25").words
    assert all(d.words for d in DEFINITIONS.values())
