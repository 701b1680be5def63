"""Styles on a session: off they are not there, on they add up, and an instant one has sliders that move its music."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from engine import checkpoint, compose
from engine.errors import MorphonyError
from engine.generation import draw_latents
from engine.model.adapter import attach, detached
from engine.model.batch import Bars
from engine.model.instant import CODES, InstantStyle
from engine.model.vaegan import beside
from engine.session import Piece, Session
from engine.style import Style, Styles, is_style
from tests.engine import small


@pytest.fixture(scope="module")
def base(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of `session` as a folder without colours."""
    folder = tmp_path_factory.mktemp("style") / "base"
    checkpoint.save(folder, session.model.state_dict(), small.CONFIG, {"deviations": small.DEVIATIONS.tolist()})
    return folder


def adapter(base: Path, out: Path, seed: int) -> Path:
    opened = Session.open(base, "cpu")
    torch.manual_seed(seed)
    for p in attach(opened.model):
        torch.nn.init.normal_(p, std=0.2)
    checkpoint.save(out, detached(opened.model), small.CONFIG, {"base": opened.hash})
    return out


def latents(piece: Piece) -> torch.Tensor:
    return beside(piece.z_global, piece.z_local, piece.z_fine, piece.conditions)


def instant(base: Path, out: Path, seed: int) -> Path:
    """A style as it begins: principal components of one tune's latents."""
    opened = Session.open(base, "cpu")
    made = InstantStyle.of(opened.config.model)
    torch.manual_seed(seed)
    own = torch.cat([latents(opened.encode(small.score(16, seed), s)) for s in range(3)])
    made.begin(own, torch.randn(64, own.shape[1]), (16, 4, 1))
    checkpoint.save(out, made.state_dict(), small.CONFIG, {"base": opened.hash, "kind": "instant"})
    return out


@pytest.fixture(scope="module")
def styles(base: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters and two instant styles."""
    folder = tmp_path_factory.mktemp("styles")
    made = {f"adapter{i}": adapter(base, folder / f"adapter{i}", i) for i in (1, 2)}
    return made | {f"instant{i}": instant(base, folder / f"instant{i}", i) for i in (1, 2)}


def played(session: Session, piece: Piece, **sliders: float) -> list[tuple[float, ...]]:
    request = compose.Request(sliders, blend=False)
    return [tuple(n) for part in compose.morph(session, piece, request) for n in part.notes.tolist()]


def grid(session: Session, piece: Piece) -> torch.Tensor:
    """Onset logits of a piece at rest: finer than its notes."""
    bars = torch.arange(len(piece))
    slots = session.slots(piece, bars, torch.zeros(len(piece), 16), small.offsets(len(piece)))
    return session.model.decoder.onsets(slots).detach()


def test_strength_0_is_the_base_model_to_the_bit_and_by_name(base: Path, styles: dict[str, Path]) -> None:
    plain, off = Session.open(base, "cpu"), Session.open(base, "cpu", styles={styles["adapter1"]: 0.0})
    piece = plain.encode(small.score(4))
    same = off.encode(small.score(4))
    assert off.hash == plain.hash
    assert torch.equal(latents(piece), latents(same))
    assert torch.equal(grid(plain, piece), grid(off, piece))
    assert played(plain, piece) == played(off, same)


def test_a_blend_is_known_by_its_styles_and_strengths_and_goes_back(base: Path, styles: dict[str, Path]) -> None:
    session = Session.open(base, "cpu", styles={styles["adapter1"]: 1.0, styles["adapter2"]: 0.5})
    piece = session.encode(small.score(4))
    seen = {}
    for strengths in ((1.0, 0.5), (0.5, 0.5), (0.0, 1.0), (1.0, 0.5)):
        session.blend(*strengths)
        told = session.hash, played(session, piece), grid(session, piece)
        if strengths in seen:
            assert seen[strengths][:2] == told[:2]
            assert torch.equal(seen[strengths][2], told[2])
        seen[strengths] = told
    assert len({told[0] for told in seen.values()}) == 3
    assert not torch.allclose(seen[1.0, 0.5][2], seen[0.0, 1.0][2], atol=1e-2)


def test_a_piece_is_not_remembered_as_another_blend_played_it(base: Path, styles: dict[str, Path]) -> None:
    session, fresh = (Session.open(base, "cpu", styles={styles["adapter1"]: s}) for s in (1.0, 0.0))
    piece = session.encode(small.score(4))
    played(session, piece)
    session.blend(0.0)
    assert played(session, piece) == played(fresh, fresh.encode(small.score(4)).with_latents(of(piece)))


def of(piece: Piece) -> dict[str, torch.Tensor]:
    return {name: getattr(piece, name) for name in ("z_global", "z_local", "z_fine")}


def test_blending_takes_milliseconds_on_the_starter_model() -> None:
    session, other = Session.open(device="cpu"), Session.open(device="cpu").model
    torch.manual_seed(0)
    attach(other)
    tensors = detached(other)
    session.styles = Styles(session.model, [Style(name, "adapter", name, tensors) for name in "ab"])
    taken = []
    for strength in np.linspace(0, 1, 12):
        began = time.process_time()
        session.blend(float(strength), 1 - float(strength))
        taken.append(time.process_time() - began)
    assert np.median(taken) < 0.05


def test_an_instant_style_offers_eight_sliders(base: Path, styles: dict[str, Path]) -> None:
    one = Session.open(base, "cpu", styles={styles["instant1"]: 1.0})
    two = Session.open(base, "cpu", styles={styles["instant1"]: 1.0, styles["instant2"]: 0.3})
    for session, count in ((one, CODES), (two, 2 * CODES)):
        styled = [s for s in session.sliders if s.kind == "style"]
        assert [s.name for s in styled] == [f"style_{i + 1}" for i in range(count)]
        assert all(s.unit == "notes" and s.description.endswith(".") for s in styled)


def test_its_sliders_at_rest_are_the_source_and_moved_they_move_latents_and_notes(
    base: Path, styles: dict[str, Path]
) -> None:
    session = Session.open(base, "cpu", styles={styles["instant1"]: 1.0})
    piece = session.encode(small.score(8))
    at_rest = compose.apply(piece, compose.morph(session, piece, compose.Request({"style_1": 0.0})))
    assert at_rest.notes.tobytes() == piece.score.notes.tobytes()
    assert session.styled(piece, {"style_1": 0.0}) is piece
    far = session.styled(piece, {"style_1": 2.0})
    farther = session.styled(piece, {"style_1": 4.0})
    assert all(not torch.equal(of(far)[name], of(piece)[name]) for name in of(piece))  # every level goes along
    assert torch.allclose(latents(farther) - latents(piece), 2 * (latents(far) - latents(piece)), atol=1e-4)
    there = session.styled(far, {"style_1": -2.0})
    assert torch.allclose(latents(there), latents(piece), atol=1e-4)
    assert played(session, piece, style_1=3.0) != played(session, piece)


def test_a_bar_hears_the_slider_the_same_whichever_bars_are_decoded(base: Path, styles: dict[str, Path]) -> None:
    session = Session.open(base, "cpu", styles={styles["instant1"]: 1.0})
    piece = session.encode(small.score(8))

    def notes(bars: range | None) -> list[tuple[float, ...]]:
        request = compose.Request({"style_2": 2.0}, bars=bars, blend=False)
        every = [tuple(n) for part in compose.morph(session, piece, request) for n in part.notes.tolist()]
        return sorted(n for n in every if n[0] in (2, 3))

    assert notes(range(2, 4)) == notes(None)


def conditions(pieces: int) -> Bars:
    return small.conditions([96] * (8 * pieces), pieces=[8] * pieces)


def test_what_is_drawn_lies_where_the_style_is(base: Path, styles: dict[str, Path]) -> None:
    folder = styles["instant1"]
    plain, half, styled = (Session.open(base, "cpu", styles={folder: s}) for s in (0.0, 0.5, 1.0))
    bars, style = conditions(6), InstantStyle.of(plain.config.model, checkpoint.Checkpoint(folder).tensors())
    drawn = {x: draw_latents(x, bars, 3, 1.0) for x in (plain, half, styled)}
    bare = draw_latents(Session.open(base, "cpu"), bars, 3, 1.0)
    assert all(torch.equal(a, b) for a, b in zip(drawn[plain], bare, strict=True))
    own = latents(plain.encode(small.score(16, 1)))
    strange = {x: float(style.scaled(beside(*z, bars)).mean(0).sub(style.there).norm()) for x, z in drawn.items()}
    assert strange[styled] < strange[half] < strange[plain]
    near = (beside(*drawn[styled], bars).mean(0) - own.mean(0)).norm()
    assert near < (beside(*drawn[plain], bars).mean(0) - own.mean(0)).norm()


def test_a_transfer_to_an_instant_style_is_off_at_0(base: Path, styles: dict[str, Path]) -> None:
    session = Session.open(base, "cpu", styles={styles["instant1"]: 1.0})
    piece = session.encode(small.score(8, 4))
    score = compose.run(compose.transfer(session, piece, None, 0.0))
    assert score is piece.score
    moved = session.carried(piece)
    assert not torch.equal(moved.z_fine, piece.z_fine)


def test_what_is_no_style_of_this_model_is_refused_in_a_sentence(
    base: Path, styles: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(MorphonyError, match="another model"):
        Session.open(None, "cpu", styles={styles["instant1"]: 1.0})
    with pytest.raises(MorphonyError, match=r"0 to 1, not 1\.5"):
        Session.open(base, "cpu", styles={styles["adapter1"]: 1.5})
    opened = Session.open(base, "cpu")
    checkpoint.save(tmp_path / "odd", {"a": torch.zeros(1)}, small.CONFIG, {"base": opened.hash, "kind": "instant"})
    with pytest.raises(MorphonyError, match="does not fit"):
        Session.open(base, "cpu", styles={tmp_path / "odd": 1.0})
    checkpoint.save(tmp_path / "new", {"a": torch.zeros(1)}, small.CONFIG, {"base": opened.hash, "kind": "other"})
    with pytest.raises(MorphonyError, match="kind 'other'"):
        Session.open(base, "cpu", styles={tmp_path / "new": 1.0})
    checkpoint.save(tmp_path / "hollow", {"a": torch.zeros(1)}, small.CONFIG, {"base": opened.hash})
    hollow = save({"a": torch.tensor([float("nan")])})  # as no checkpoint of ours is written
    (tmp_path / "hollow" / "model.safetensors").write_bytes(hollow)
    manifest = json.loads((tmp_path / "hollow" / "manifest.json").read_text())
    manifest["sha256"]["model.safetensors"] = hashlib.sha256(hollow).hexdigest()
    (tmp_path / "hollow" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(MorphonyError, match="no numbers"):
        Session.open(base, "cpu", styles={tmp_path / "hollow": 1.0})
    with pytest.raises(MorphonyError, match="0 styles to blend but 1"):
        opened.blend(0.5)


def test_a_folder_is_a_style_when_it_says_what_for(base: Path, styles: dict[str, Path], tmp_path: Path) -> None:
    assert is_style(styles["instant1"])
    assert is_style(styles["adapter1"])
    assert not is_style(base)
    assert not is_style(tmp_path / "nowhere")
