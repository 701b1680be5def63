"""A style: nothing at first, whole when loaded, never in the base weights."""

from __future__ import annotations

import pytest
import torch

from engine.errors import MorphonyError
from engine.model.adapter import RANK, attach, detached
from engine.model.batch import Notes, Offsets
from engine.model.vaegan import MusicTransformerVAEGAN
from tests.engine import small

NOTES, BARS = Notes.of(small.tune(4)), small.conditions([96] * 4)


def played(model: MusicTransformerVAEGAN) -> torch.Tensor:
    with torch.no_grad():
        q = model.encode(NOTES, BARS, mean=True)
        return model.decoder.onsets(model.slots(q.z_global, q.z_local, q.z_fine, BARS, Offsets.none(4)))


def base_weights(model: MusicTransformerVAEGAN) -> dict[str, torch.Tensor]:
    return {n.replace(".parametrizations.weight.original", ".weight"): p for n, p in model.state_dict().items()}


def test_attaching_changes_nothing_until_it_is_trained() -> None:
    model = small.model()
    before = played(model)
    parameters = attach(model)
    assert torch.equal(played(model), before)
    with torch.no_grad():
        for p in parameters:
            p.add_(0.05)
    assert not torch.allclose(played(model), before, atol=1e-3)


def test_a_saved_style_plays_the_same_on_another_copy_of_the_model() -> None:
    styled, other = small.model(), small.model()
    for p in attach(styled):
        torch.nn.init.normal_(p, std=0.1)
    tensors = detached(styled)
    attach(other, tensors)
    assert torch.equal(played(other), played(styled))
    assert sum(t.numel() for t in tensors.values()) < sum(p.numel() for p in styled.parameters()) / 2


def test_training_a_style_leaves_the_base_weights_alone() -> None:
    model = small.model()
    before = {n: p.clone() for n, p in model.state_dict().items()}
    model.requires_grad_(False)
    parameters = attach(model)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert {id(p) for p in trained} == {id(p) for p in parameters}
    optimiser = torch.optim.AdamW(trained, lr=0.1)
    q = model.encode(NOTES, BARS, mean=True)
    slots = model.slots(q.z_global, q.z_local, q.z_fine, BARS, Offsets.none(4))
    model.decoder.onsets(slots).pow(2).mean().backward()
    optimiser.step()
    after = base_weights(model)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert any(p.grad.abs().sum() > 0 for p in parameters)


def test_a_style_of_another_model_is_refused_in_one_sentence() -> None:
    model = small.model()
    attach(model)
    tensors = detached(model)
    with pytest.raises(MorphonyError, match="other sizes"):
        attach(small.model(hidden_dim=64), tensors)
    missing = {name: t for name, t in tensors.items() if not name.startswith("decoder.cells")}
    with pytest.raises(MorphonyError, match="layers are missing"):
        attach(small.model(), missing)
    without = {name: t for name, t in tensors.items() if name != "decoder.style"}
    with pytest.raises(MorphonyError, match="in-attention bias"):
        attach(small.model(), without)


def test_the_rank_is_the_saved_one() -> None:
    model = small.model()
    attach(model, rank=RANK // 2)
    other = small.model()
    attach(other, detached(model))
    assert detached(other)["decoder.cells.a"].shape[0] == RANK // 2
