"""From a folder of music to a model the studio opens, as one generator."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engine.compose import Request, apply, morph
from engine.config import Config
from engine.errors import MorphonyError
from engine.session import Session
from tests.engine import small
from trainer import refine
from trainer.recipe import Music, make, split


def test_a_folder_becomes_a_model_that_opens(config: Config, good_folder: Path, tmp_path: Path) -> None:
    short = replace(config, train=replace(config.train, steps=8, prior_steps=4))
    music = Music(good_folder, cache=tmp_path / "cache")
    steps = list(make(short, music, tmp_path / "out", accelerator="cpu", finished=True))
    assert [s.n for s in steps] == [*range(1, 9), *range(1, 5)]
    assert set(steps[-1].train) == {"prior"}
    session = Session.open(tmp_path / "out" / "model", "cpu")
    assert len(session.sliders) > 12
    assert all(s.quantiles is not None for s in session.sliders if s.kind == "attribute")
    piece = session.encode(small.score(4))
    assert apply(piece, morph(session, piece, Request())).notes.tobytes() == piece.score.notes.tobytes()
    with pytest.raises(MorphonyError, match="holds a run already"):
        next(make(short, music, tmp_path / "out"))


def test_a_configuration_that_asks_for_a_refiner_finishes_with_one(
    config: Config, good_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:

    monkeypatch.setattr(refine, "STEPS", 2)
    asked = replace(config, train=replace(config.train, steps=4, prior_steps=2))
    asked = replace(asked, model=replace(asked.model, refiner=True, refiner_dim=32))
    music = Music(good_folder, cache=tmp_path / "cache")
    *_, last = make(asked, music, tmp_path / "out", accelerator="cpu", finished=True)
    assert set(last.train) == {"refiner"}
    model = Session.open(tmp_path / "out" / "model", "cpu").model
    assert model.refiner is not None
    assert model.refiner.ask.weight.any()  # it has learnt something


def test_pieces_are_learnt_from_or_measured_on_never_both(config: Config, good_folder: Path, tmp_path: Path) -> None:
    learned, held = split(config, Music(good_folder, cache=tmp_path))
    assert set(learned.piece.tolist()) | set(held.piece.tolist()) == set(range(7))
    assert not set(learned.piece.tolist()) & set(held.piece.tolist())


def test_a_folder_of_one_piece_is_too_little(config: Config, good_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    shutil.copy(good_folder / "two" / "waltz.mid", tmp_path / "mine")
    with pytest.raises(MorphonyError, match="at least two different pieces; mine has one"):
        split(config, Music(tmp_path / "mine", cache=tmp_path / "cache"))
