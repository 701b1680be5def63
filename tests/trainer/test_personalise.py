"""Fine-tuning: learns on some pieces, is judged on others, and is called better only when it is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import checkpoint
from engine.checkpoint import Checkpoint
from engine.errors import MorphonyError
from engine.score import midi
from engine.session import Session
from tests.engine import small
from trainer.personalise import personalise, split


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that has learnt one tune."""
    torch.set_num_threads(1)
    made = small.model(3)
    small.learn(made, small.tune(8), small.conditions([96] * 8), 60)
    folder = tmp_path_factory.mktemp("models") / "base"
    checkpoint.save(folder, made.state_dict(), small.CONFIG, {"deviations": small.DEVIATIONS.tolist()})
    return folder


@pytest.fixture(scope="module")
def finished(base: Path, good_folder: Path, tmp_path_factory: pytest.TempPathFactory):
    """One run of sixty steps over the folder of tunes."""
    out, cache = tmp_path_factory.mktemp("style"), tmp_path_factory.mktemp("cache")
    steps = list(personalise(base, good_folder, out, steps=60, base=good_folder / "one", cache=cache))
    return out, steps


def test_the_first_step_measures_before_and_the_style_is_better_after(finished) -> None:
    _, steps = finished
    measured = [s.held_out["loss"] for s in steps if s.held_out]
    assert steps[0].n == 0
    assert steps[0].held_out is not None
    assert min(measured[1:]) < measured[0]


def test_the_log_is_what_was_yielded(finished) -> None:
    out, steps = finished
    lines = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    assert [(line["n"], line["train"], line["held_out"]) for line in lines] == [
        (s.n, s.train, s.held_out) for s in steps
    ]


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
    resumed = list(personalise(base, folder, tmp_path / "cut", **options, resume=True))
    assert [s.train for s in resumed] == [s.train for s in whole[-len(resumed) :]]
    newest = sorted(p.name for p in (tmp_path / "whole").glob("step-*"))[-1]
    one, two = (Checkpoint(tmp_path / run / newest).tensors() for run in ("whole", "cut"))
    assert all(torch.equal(one[n], two[n]) for n in one)


def test_a_kind_that_is_not_built_is_refused(base: Path, good_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MorphonyError, match="'instant' is not built yet"):
        list(personalise(base, good_folder, tmp_path, kind="instant"))


def test_losses_are_numbers(finished) -> None:
    _, steps = finished
    assert all(np.isfinite(list(s.train.values())).all() for s in steps if s.train)
