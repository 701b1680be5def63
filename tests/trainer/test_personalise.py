"""Fine-tuning: learns on some pieces, is judged on others, and is called better only when it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine import checkpoint, compose
from engine.checkpoint import Checkpoint
from engine.errors import MorphonyError
from engine.score import midi
from engine.session import Piece, Session
from tests.engine import small
from trainer.finish import NOTES_PER_SIGMA
from trainer.loop import Step
from trainer.personalise import personalise, split, weights
from trainer.personalise.weights import FORGOTTEN


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that has learnt one tune."""
    torch.set_num_threads(1)
    made = small.model(3)
    small.learn(made, small.tune(8), small.conditions([96] * 8), 60)
    small.rouse(made, small.tune(8), small.conditions([96] * 8))
    folder = tmp_path_factory.mktemp("models") / "base"
    checkpoint.save(folder, made.state_dict(), small.CONFIG, {"deviations": small.DEVIATIONS.tolist()})
    return folder


@pytest.fixture(scope="module")
def finished(base: Path, good_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """One run of sixty steps over the folder of tunes."""
    out, cache = tmp_path_factory.mktemp("style"), tmp_path_factory.mktemp("cache")
    steps = list(personalise(base, good_folder, out, steps=60, base=good_folder / "one", cache=cache))
    return out, steps


def result_of(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / "result.json").read_text())
    return found


def test_what_was_found_comes_first_then_the_losses_before_and_the_style_is_better_after(finished) -> None:
    out, steps = finished
    assert steps[0].message.startswith("7 pieces can be used")
    measured = [s.held_out["loss"] for s in steps if s.held_out]
    assert steps[1].n == 0
    assert steps[1].held_out is not None
    assert min(measured[1:]) < measured[0]
    result = result_of(out)
    assert result["improved"]
    assert result["after"]["loss"] < result["before"]["loss"]
    assert result["after"]["base_loss"] <= (1 + FORGOTTEN) * result["before"]["base_loss"]
    assert result["scan"]["kept"] == 7
    assert not result["cancelled"]


def test_the_log_is_what_was_yielded(finished) -> None:
    out, steps = finished
    lines = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    assert [(line["n"], line["train"], line["held_out"]) for line in lines] == [
        (s.n, s.train, s.held_out) for s in steps[1:-1]
    ]


def test_the_same_seed_is_heard_before_and_after(finished, base: Path) -> None:
    out, _ = finished
    scores = [midi.read(out / name) for name in ("before.mid", "after.mid")]
    assert all(len(score.notes) for score in scores)
    again = [
        compose.run(compose.generate(session, 16, (4, 4), seed=0))
        for session in (Session.open(base, "cpu"), Session.open(base, "cpu", styles={out: 1.0}))
    ]
    for score, other in zip(scores, again, strict=True):
        assert np.array_equal(np.sort(score.notes["pitch"]), np.sort(other.notes["pitch"]))


def test_what_new_music_repeats_is_measured_and_said(finished) -> None:
    out, steps = finished
    told = result_of(out)["memorisation"]
    assert told["windows"] >= 4
    assert "New music" in steps[-1].message


def test_where_music_of_the_base_would_be_forgotten_the_style_is_held_back(finished) -> None:
    out, _ = finished
    tried = result_of(out)["strengths"]
    chosen = result_of(out)["after"]
    good = [t for t in tried if t["base_loss"] <= (1 + FORGOTTEN) * result_of(out)["before"]["base_loss"]]
    assert chosen == min(good, key=lambda t: t["loss"])


def test_the_style_opens_on_its_model_and_changes_notes_at_the_same_latents(finished, base: Path) -> None:
    out, _ = finished
    plain, styled = Session.open(base, "cpu"), Session.open(base, "cpu", adapter=out)
    piece = plain.encode(small.score(4))
    free = small.offsets(4)
    before, after = (
        s.model.decoder.onsets(s.slots(piece, torch.arange(4), torch.zeros(4, 16), free)) for s in (plain, styled)
    )
    assert not torch.allclose(before, after, atol=1e-3)
    weights = Checkpoint(out / "best").tensors()
    assert all(n == "decoder.style" or n.endswith((".a", ".b")) for n in weights)  # the adapter alone


def test_no_paths_are_kept_in_a_style(finished, good_folder: Path) -> None:
    out, _ = finished
    for file in (out / "best").iterdir():
        assert str(good_folder.parent).encode() not in file.read_bytes()


def test_pieces_are_learnt_from_or_measured_on_never_both() -> None:
    for pieces in (2, 3, 10, 200):
        learned, held = split(pieces, seed=1)
        assert learned | held == set(range(pieces))
        assert not learned & held
        assert learned
        assert held
    assert split(50, 1) == split(50, 1) != split(50, 2)


def test_one_piece_is_too_few_and_two_equal_ones_are_one(base: Path, good_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for name in ("a.mid", "b.mid"):
        shutil.copy(good_folder / "one" / "tune0.mid", folder / name)
    with pytest.raises(MorphonyError, match="at least two different pieces"):
        list(personalise(base, folder, tmp_path / "out", steps=2, base=good_folder, cache=tmp_path / "cache"))


def test_an_interrupted_run_continues_to_the_bit(base: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for i in range(3):
        midi.write(small.score(4, i), folder / f"{i}.mid")
    options = {"steps": 16, "base": folder, "cache": tmp_path / "cache"}
    whole = list(personalise(base, folder, tmp_path / "whole", **options))
    job = personalise(base, folder, tmp_path / "cut", **options)
    for step in job:
        if step.n == 9:
            job.close()
    assert result_of(tmp_path / "cut")["cancelled"]
    resumed = list(personalise(base, folder, tmp_path / "cut", **options, resume=True))
    assert [s.train for s in resumed[1:]] == [s.train for s in whole[-len(resumed) + 1 :]]
    newest = sorted(p.name for p in (tmp_path / "whole").glob("step-*"))[-1]
    one, two = (Checkpoint(tmp_path / run / newest).tensors() for run in ("whole", "cut"))
    assert all(torch.equal(one[n], two[n]) for n in one)


@pytest.mark.parametrize("kind", ["instant", "adapter"])
def test_it_can_be_called_off_while_the_music_is_read(base: Path, good_folder: Path, tmp_path: Path, kind: str) -> None:
    out, cache = tmp_path / "style", tmp_path / "cache"
    with pytest.raises(MorphonyError, match="Reading the music was called off"):
        next(personalise(base, good_folder, out, kind=kind, cache=cache, cancelled=lambda: True))
    assert not (out / "best").exists()
    assert not list(cache.glob("corpus-*"))


def test_a_way_that_is_not_known_is_refused(base: Path, good_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MorphonyError, match="called 'deep', only instant, adapter, full"):
        list(personalise(base, good_folder, tmp_path, kind="deep"))


def test_a_run_that_helps_nobody_leaves_no_style(base: Path, good_folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(weights, "FORGOTTEN", -1.0)  # nothing may cost the base music anything
    options = {"steps": 8, "base": good_folder / "one", "cache": tmp_path / "cache"}
    last = list(personalise(base, good_folder, tmp_path / "out", **options))[-1]
    assert not result_of(tmp_path / "out")["improved"]
    assert "no style" in last.message
    assert not (tmp_path / "out" / "best").exists()


def test_all_weights_become_a_model_of_its_own(base: Path, good_folder: Path, tmp_path: Path) -> None:
    options = {"kind": "full", "steps": 40, "base": good_folder / "one", "cache": tmp_path / "cache"}
    last = list(personalise(base, good_folder, tmp_path / "out", **options))[-1]
    result = result_of(tmp_path / "out")
    assert result["improved"]
    assert result["after"]["loss"] < result["before"]["loss"]
    assert last.facts["result"] == result
    opened = Session.open(tmp_path / "out" / "model", "cpu")
    plain = Session.open(base, "cpu")
    assert opened.hash != plain.hash
    assert not torch.equal(opened.model.decoder.cells.weight, plain.model.decoder.cells.weight)


# ---------------------------------------------------------------- instant


@pytest.fixture(scope="module")
def instant(base: Path, good_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Step]]:
    """An instant style of the folder of tunes."""
    out = tmp_path_factory.mktemp("instant")
    return out, list(personalise(base, good_folder, out, kind="instant", steps=60))


def test_an_instant_style_says_of_held_out_bars_what_the_model_did_not_know(instant) -> None:
    out, steps = instant
    result = result_of(out)
    assert steps[0].message.startswith("7 pieces can be used")
    assert result["improved"]
    assert result["after"]["loss"] < steps[0].held_out["loss"] == result["before"]["loss"]
    assert result["after"]["explained"] > 0.2
    assert steps[-1].facts["result"]["change_percent"] < 0


def test_one_sigma_of_each_of_its_sliders_changes_as_many_notes(instant, base: Path) -> None:
    out, _ = instant
    session = Session.open(base, "cpu", styles={out: 1.0})
    piece = session.encode(small.score(12, 2))
    rest = cells(session, piece)
    changed = {}
    for slider in (s.name for s in session.sliders if s.kind == "style"):
        moved = [len(cells(session, session.styled(piece, {slider: x})) ^ rest) for x in (-1.0, 1.0)]
        changed[slider] = float(np.mean(moved)) / len(piece)
    assert len(changed) == 8
    assert NOTES_PER_SIGMA / 3 < np.median(list(changed.values())) < NOTES_PER_SIGMA * 3


def cells(session: Session, piece: Piece) -> set[tuple[int, ...]]:
    notes = np.concatenate([d.notes for d in compose.reconstruct(session, piece)])
    return set(map(tuple, notes[["bar", "onset", "pitch"]].tolist()))


def test_one_file_is_enough(base: Path, good_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    midi.write(small.score(16, 3), folder / "tune.mid")
    last = list(personalise(base, folder, tmp_path / "out", kind="instant", steps=80))[-1]
    assert result_of(tmp_path / "out")["improved"]
    assert (tmp_path / "out" / "after.mid").exists()
    assert last.n == 80
    midi.write(small.score(3), folder / "tune.mid")
    with pytest.raises(MorphonyError, match="too short"):
        list(personalise(base, folder, tmp_path / "out2", kind="instant", steps=5))


def test_cancelled_an_instant_style_keeps_its_best(base: Path, good_folder: Path, tmp_path: Path) -> None:
    job = personalise(base, good_folder, tmp_path, kind="instant", steps=400)
    for step in job:
        if step.n == 110:
            job.close()
    assert result_of(tmp_path)["cancelled"]
    assert Session.open(base, "cpu", styles={tmp_path: 1.0}).sliders[-1].name == "style_8"


def test_losses_are_numbers(finished) -> None:
    _, steps = finished
    assert all(np.isfinite(list(s.train.values())).all() for s in steps if s.train)
