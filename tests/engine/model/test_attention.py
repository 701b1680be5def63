"""Attention by name: a new one is one function; masks hide; parity with PyTorch's own layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from engine.errors import MorphonyError
from engine.model.attention import REGISTRY, Block, register
from engine.model.batch import Notes
from engine.model.vaegan import MusicTransformerVAEGAN
from tests.engine import small


@pytest.fixture
def mean_attention() -> Iterator[str]:
    @register("mean")
    def mean(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        if mask is None:
            return v.mean(-2, keepdim=True).expand_as(v)
        weight = mask.transpose(-1, -2).to(v.dtype)
        return ((v * weight).sum(-2, keepdim=True) / weight.sum(-2, keepdim=True)).expand_as(v)

    yield "mean"
    del REGISTRY["mean"]


def test_a_new_attention_is_one_registered_function(mean_attention: str) -> None:
    """Trap 5 and 6's cure: names, not flags. The whole model builds and runs with it, by configuration alone."""
    made = MusicTransformerVAEGAN(replace(small.MODEL, attention=mean_attention)).eval()
    notes, bars = Notes.of(small.tune(4)), small.conditions([96] * 4)
    q = made.encode(notes, bars, mean=True)
    slots = made.slots(q.z_global, q.z_local, q.z_fine, bars, small.offsets(4, density=1.0))
    assert torch.isfinite(made.decoder.onsets(slots)).all()


def test_an_attention_nobody_registered_is_refused_by_name() -> None:
    with pytest.raises(MorphonyError, match=r"'ful'.*'full'"):
        MusicTransformerVAEGAN(replace(small.MODEL, attention="ful"))


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_what_the_mask_hides_changes_nothing(name: str) -> None:
    torch.manual_seed(0)
    block = Block(16, 2, name).eval()
    x = torch.randn(1, 6, 16)
    mask = torch.tensor([[True, True, True, True, False, False]])
    other = x.clone()
    other[:, 4:] = 100.0
    with torch.no_grad():
        assert torch.allclose(block(x, mask)[:, :4], block(other, mask)[:, :4], atol=1e-6)
        assert torch.allclose(block(x, mask)[:, :4], block(x[:, :4]), atol=1e-6)


def test_a_block_equals_pytorch_s_own_layer() -> None:
    torch.manual_seed(0)
    block = Block(16, 2, "full")
    reference = nn.TransformerEncoderLayer(
        16, 2, 32, dropout=0.0, activation=lambda x: nn.functional.gelu(x, approximate="tanh"),
        batch_first=True, norm_first=True,
    )  # fmt: skip
    pairs = [
        (reference.self_attn.in_proj_weight, block.qkv.weight),
        (reference.self_attn.in_proj_bias, block.qkv.bias),
        (reference.self_attn.out_proj.weight, block.out.weight),
        (reference.self_attn.out_proj.bias, block.out.bias),
        (reference.linear1.weight, block.up.weight),
        (reference.linear1.bias, block.up.bias),
        (reference.linear2.weight, block.down.weight),
        (reference.linear2.bias, block.down.bias),
    ]
    with torch.no_grad():
        for theirs, ours in pairs:
            theirs.copy_(ours)
        x = torch.randn(3, 7, 16)
        assert torch.allclose(reference(x), block(x), atol=1e-5)


def test_a_condition_begins_without_effect_and_can_have_one() -> None:
    torch.manual_seed(0)
    block = Block(16, 2, "full", condition=4)
    x, condition = torch.randn(2, 5, 16), torch.randn(2, 4)
    with torch.no_grad():
        assert torch.equal(block(x, None, condition), block(x))
        block.film.weight.normal_()
        assert not torch.allclose(block(x, None, condition), block(x))
