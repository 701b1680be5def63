"""A style: nothing at first, whole when loaded, never in the base weights."""

from __future__ import annotations

import pytest
import torch

from engine.errors import MorphonyError
from engine.model.adapter import RANK, Blend, attach, detached, restore, scaled
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
    Blend(other, [tensors]).set([1.0])
    assert torch.allclose(played(other), played(styled), atol=1e-4)
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
        Blend(small.model(hidden_dim=64), [tensors])
    missing = {name: t for name, t in tensors.items() if not name.startswith("decoder.cells")}
    with pytest.raises(MorphonyError, match="layers are missing"):
        Blend(small.model(), [missing])
    without = {name: t for name, t in tensors.items() if name != "decoder.style"}
    with pytest.raises(MorphonyError, match="in-attention bias"):
        Blend(small.model(), [without])


def trained(seed: int, rank: int = RANK) -> dict[str, torch.Tensor]:
    """A saved adapter of the small model that changes something everywhere."""
    model = small.model()
    torch.manual_seed(seed)
    for p in attach(model, rank):
        torch.nn.init.normal_(p, std=0.1)
    return detached(model)


def test_the_rank_is_the_saved_one() -> None:
    model = small.model()
    Blend(model, [trained(1, RANK // 2), trained(2, 3)]).set([1.0, 1.0])
    assert torch.isfinite(played(model)).all()


def test_a_saved_style_goes_back_on_to_go_on_being_trained() -> None:
    model, tensors = small.model(), trained(1)
    attach(model)
    restore(model, tensors)
    assert all(torch.equal(detached(model)[name], value) for name, value in tensors.items())


def test_at_strength_0_the_base_is_back_to_the_bit_and_between_lies_between() -> None:
    model, base = small.model(), small.model()
    blend = Blend(model, [trained(1), trained(2)])
    said = {}
    for strengths in ((1.0, 0.0), (0.0, 1.0), (0.5, 0.0), (0.5, 0.5), (0.0, 0.0)):
        blend.set(strengths)
        said[strengths] = played(model)
    assert torch.equal(said[0.0, 0.0], played(base))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), base.parameters(), strict=True))
    apart = [(said[key] - said[0.0, 0.0]).abs().mean() for key in ((0.5, 0.0), (1.0, 0.0))]
    assert 0 < apart[0] < apart[1]
    assert not torch.allclose(said[0.5, 0.5], said[0.5, 0.0], atol=1e-3)


def test_half_a_style_is_one_of_half_the_strength() -> None:
    one, other, tensors = small.model(), small.model(), trained(1)
    Blend(one, [tensors]).set([0.5])
    Blend(other, [scaled(tensors, 0.5)]).set([1.0])
    assert torch.allclose(played(one), played(other), atol=1e-4)
