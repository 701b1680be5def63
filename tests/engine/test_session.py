"""Sessions: what a loaded model offers, long pieces in chunks, styles on top."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine import checkpoint
from engine.attributes import NAMES
from engine.compose import Request, apply, morph
from engine.errors import MorphonyError
from engine.model.adapter import attach, detached
from engine.model.batch import Notes
from engine.session import ENCODE_BARS, STARTER, Session
from tests.engine import small

STYLED = small.score(4)


@pytest.fixture
def model_folder(session: Session, tmp_path: Path) -> Path:
    facts = {"deviations": small.DEVIATIONS.tolist()}
    checkpoint.save(tmp_path / "base", session.model.state_dict(), small.CONFIG, facts)
    return tmp_path / "base"


def style(folder: Path, out: Path, base: str, strength: float = 0.2) -> None:
    model = Session.open(folder, "cpu").model
    torch.manual_seed(0)
    for p in attach(model):
        torch.nn.init.normal_(p, std=strength)
    checkpoint.save(out, detached(model), small.CONFIG, {"base": base})


def test_every_slider_has_what_a_panel_shows(session: Session) -> None:
    assert [s.name for s in session.sliders] == [*NAMES, "colour_1", "colour_2"]
    for slider in session.sliders:
        assert slider.label[0].isupper()
        assert slider.description.endswith(".")
        assert slider.kind in ("attribute", "colour")  # a style brings more
        assert slider.sd > 0
    assert session.device_reason == "cpu: as asked"


def test_a_piece_knows_its_own_attributes(session: Session) -> None:
    piece = session.encode(small.rich_score())
    assert len(piece) == 8
    assert piece.own.shape == (8, 12)
    assert piece.attributes.shape == (12,)
    assert piece.z_global.shape == (1, 8)
    assert piece.z_local.shape == (2, 8)
    assert piece.z_fine.shape == (8, 16)


def test_a_long_piece_encoded_in_chunks_equals_the_whole(session: Session) -> None:
    score = small.score(2 * ENCODE_BARS + 3)
    piece = session.encode(score)
    with torch.no_grad():
        whole = session.model.encode(Notes.of(piece.bars), piece.conditions, mean=True)
    assert torch.allclose(piece.z_fine, whole.z_fine, atol=1e-5)
    assert torch.allclose(piece.z_local, whole.z_local, atol=1e-5)
    assert torch.allclose(piece.z_global, whole.z_global, atol=1e-5)


def test_encoding_is_the_mean_unless_a_seed_is_given(session: Session) -> None:
    score = small.rich_score()
    mean, again, drawn, same = (session.encode(score, seed) for seed in (None, None, 1, 1))
    assert torch.equal(mean.z_fine, again.z_fine)
    assert torch.equal(drawn.z_fine, same.z_fine)
    assert not torch.equal(mean.z_fine, drawn.z_fine)


def test_a_style_changes_the_notes_at_the_same_latents(session: Session, model_folder: Path, tmp_path: Path) -> None:
    plain = Session.open(model_folder, "cpu")
    style(model_folder, tmp_path / "style", plain.hash)
    styled = Session.open(model_folder, "cpu", adapter=tmp_path / "style")
    assert styled.hash.startswith(plain.hash)
    assert styled.hash != plain.hash
    piece = plain.encode(small.rich_score())
    before = apply(piece, morph(plain, piece, Request(blend=False)))
    other = styled.encode(small.rich_score()).with_latents(
        {"z_global": piece.z_global, "z_local": piece.z_local, "z_fine": piece.z_fine}
    )
    after = apply(other, morph(styled, other, Request(blend=False)))
    assert before.notes.tobytes() != after.notes.tobytes()


def test_a_style_is_found_in_its_run_folder(session: Session, model_folder: Path, tmp_path: Path) -> None:
    style(model_folder, tmp_path / "run" / "best", Session.open(model_folder, "cpu").hash)
    assert "+" in Session.open(model_folder, "cpu", adapter=tmp_path / "run").hash


def test_a_style_of_another_model_is_refused(session: Session, model_folder: Path, tmp_path: Path) -> None:
    style(model_folder, tmp_path / "style", "0123456789abcdef")
    with pytest.raises(MorphonyError, match="style was made for another model"):
        Session.open(model_folder, "cpu", adapter=tmp_path / "style")
    with pytest.raises(MorphonyError, match=r"There is no model folder .*nothing"):
        Session.open(model_folder, "cpu", adapter=tmp_path / "nothing")


@pytest.mark.skipif(not STARTER.is_dir(), reason="starter model: assets/models/starter is not there")
def test_the_starter_model_opens_and_returns_the_source() -> None:
    """Names and shapes of its tensors still load."""
    session = Session.open(device="cpu")
    assert set(NAMES) < {s.name for s in session.sliders}
    piece = session.encode(STYLED)
    assert apply(piece, morph(session, piece, Request())).notes.tobytes() == STYLED.notes.tobytes()
    assert np.isfinite(session.deviations).all()
