"""The exported decoder says what the decoder says: in every meter, with a style attached, down to the notes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import compose, export
from engine.errors import MorphonyError
from engine.export import NEEDS, OnnxDecoder, export_decoder
from engine.model import adapter
from engine.session import Piece, Session
from tests.engine import small

for name in NEEDS:
    pytest.importorskip(name)

METERS = ([96] * 4, [96, 72, 12, 24], [18], [144, 300, 96])  # the last one turns pages


@pytest.fixture(scope="module")
def folder(session: Session, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small session's decoder, exported."""
    where = tmp_path_factory.mktemp("exported")
    export_decoder(session, where)
    return where


def furthest(session: Session, other: OnnxDecoder, clocks: Sequence[int]) -> tuple[float, float]:
    """How far onset logits are from the session's own, and field logits, in bars of these lengths."""
    bars, offsets = small.conditions(clocks), small.offsets(len(clocks), density=0.7, articulation=-1.0, dynamics=1.3)
    rng = torch.Generator().manual_seed(1)
    c = session.config.model
    z = torch.randn(len(clocks), c.latent_dim + c.local_dim + c.global_dim, generator=rng)
    bar = torch.randint(len(clocks), (40,), generator=rng)
    cell = torch.randint(min(clocks) * 88, (40,), generator=rng)
    said = []
    for decoder in (session.decoder, other):
        with torch.no_grad():
            slots, onsets = decoder.decoded(decoder.laid(z, bars), bars, offsets)
            told = decoder.fields(slots, bar, cell, offsets)
            assert torch.equal(decoder.durations(slots, bar, cell, offsets), told.duration)
        inside = torch.arange(slots.shape[1]) < bars.slots[:, None]
        fields = torch.cat([told.duration, told.velocity, told.micro, told.part], -1)
        said.append((onsets.view(*inside.shape, -1)[inside], fields))
    return tuple(float((a - b).abs().max()) for a, b in zip(*said, strict=True))  # type: ignore[return-value]


def notes_of(session: Session, decoder: object, piece: Piece, request: compose.Request) -> np.ndarray:
    """What a session plays with another decoder; nothing remembered of the one before."""
    other = copy.copy(session)
    other.decoder = decoder  # type: ignore[assignment]
    return np.concatenate([d.notes for d in compose.morph(other, replace(piece, cache={}), request)])


@pytest.mark.parametrize("clocks", METERS, ids=str)
def test_logits_are_the_decoder_s_in_every_meter(session: Session, folder: Path, clocks: list[int]) -> None:
    assert max(furthest(session, OnnxDecoder(folder), clocks)) < 1e-4


@pytest.mark.parametrize("offsets", [{}, {"density": 1.0}, {"register": -1.5}, {"dynamics": 1.0}, {"polyphony": 0.7}])
def test_the_notes_are_the_decoder_s(session: Session, folder: Path, piece: Piece, offsets: dict[str, float]) -> None:
    request = compose.Request(offsets, blend=False)
    ours, theirs = (notes_of(session, d, piece, request) for d in (session.decoder, OnnxDecoder(folder)))
    assert len(ours) > 20
    assert np.array_equal(ours, theirs)


def test_int8_is_smaller_and_plays_nearly_the_same(session: Session, folder: Path, piece: Piece) -> None:
    whole, small_one = ((folder / name).stat().st_size for name in ("decoder.onnx", "decoder.int8.onnx"))
    assert small_one < whole
    int8 = OnnxDecoder(folder, int8=True)
    assert 1e-4 < furthest(session, int8, [96] * 4)[0] < 1.0  # it is another arithmetic, and not another model
    request = compose.Request({"density": 0.5}, blend=False)
    at = [
        set(notes_of(session, d, piece, request)[["bar", "onset", "pitch"]].tolist()) for d in (session.decoder, int8)
    ]
    assert 2 * len(at[0] & at[1]) / (len(at[0]) + len(at[1])) > 0.9


@pytest.mark.slow
def test_a_style_is_exported_with_the_model(session: Session, folder: Path, tmp_path: Path) -> None:
    styled = copy.copy(session)
    styled.model = copy.deepcopy(session.model)
    rng = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for p in adapter.attach(styled.model):
            p.add_(0.05 * torch.randn(p.shape, generator=rng))
    styled.decoder = styled.model.decoder
    export_decoder(styled, tmp_path)
    assert max(furthest(styled, OnnxDecoder(tmp_path), [96, 72])) < 1e-4
    assert max(furthest(styled, OnnxDecoder(folder), [96, 72])) > 1e-2


def test_a_damaged_file_and_a_missing_package_are_said_in_a_sentence(
    session: Session, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "decoder.onnx").write_bytes(b"no graph")
    with pytest.raises(MorphonyError, match=r"decoder\.onnx is not a decoder"):
        OnnxDecoder(tmp_path)
    monkeypatch.setattr(export.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MorphonyError, match="export extra"):
        export_decoder(session, tmp_path)
