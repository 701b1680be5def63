"""Attention by name: a new one is one function; nobody sees the future or padding; each equals its dense definition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from engine.errors import MorphonyError
from engine.model import attention, views
from engine.model.attention import REGISTRY, Block, Cache, register
from engine.model.batch import Notes
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.model.views import Scope
from tests.engine import small

EVERY = sorted(REGISTRY)
LOCAL = sorted(set(REGISTRY) - {"full"})
WIDTH, HEADS, WINDOW, LANDMARKS, LENGTH = 12, 3, 4, 3, 45  # a head for every scale; windows and blocks end mid-run


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty positions cross as many borders as forty thousand would."""
    monkeypatch.setattr(views, "RUN", 16)
    monkeypatch.setattr(views, "PIECE", 8)


@pytest.fixture
def mean_attention() -> Iterator[str]:
    @register("mean")
    def mean(q: Tensor, k: Tensor, v: Tensor, scope: Scope) -> Tensor:
        weight = torch.ones(len(v), v.shape[2]) if scope.mask is None else scope.mask.to(v.dtype)
        weight = weight[:, None, :, None]
        return ((v * weight).sum(-2, keepdim=True) / weight.sum(-2, keepdim=True)).expand_as(q)

    yield "mean"
    del REGISTRY["mean"]


def block_of(name: str, causal: bool = True, **changes: object) -> Block:
    torch.manual_seed(0)
    return Block(WIDTH, HEADS, name, None, Scope(causal, WINDOW, LANDMARKS), **changes)


def music(length: int = LENGTH, batch: int = 1) -> Tensor:
    return torch.randn(batch, length, WIDTH, generator=torch.Generator().manual_seed(1))


def padding(length: int = LENGTH) -> Tensor:
    """(3, T) at the end, at the start, in the middle; whole cells and parts of cells."""
    mask = torch.ones(3, length, dtype=torch.bool)
    mask[0, -6:] = mask[1, :9] = mask[2, 6:11] = False
    return mask


# ---------------------------------------------------------------- names


def test_a_new_attention_is_one_registered_function(mean_attention: str) -> None:
    """Trap 5 and 6's cure: names, not flags. The whole model builds and runs with it, by configuration alone."""
    made = MusicTransformerVAEGAN(replace(small.MODEL, attention=mean_attention)).eval()
    notes, bars = Notes.of(small.tune(4)), small.conditions([96] * 4)
    q = made.encode(notes, bars, mean=True)
    slots = made.slots(q.z_global, q.z_local, q.z_fine, bars, small.offsets(4, density=1.0))
    assert torch.isfinite(made.decoder.onsets(slots)).all()
    events = MusicTransformerVAEGAN(replace(small.MODEL, attention=mean_attention, mode="transformer")).events
    assert torch.isfinite(events(torch.zeros(1, 5, dtype=torch.long), torch.zeros(1, 5, 3, dtype=torch.long))).all()


def test_an_attention_nobody_registered_is_refused_by_name() -> None:
    with pytest.raises(MorphonyError, match=r"'ful'.*'full'"):
        MusicTransformerVAEGAN(replace(small.MODEL, attention="ful"))


def test_a_configuration_sets_window_and_landmarks_of_every_block() -> None:
    made = MusicTransformerVAEGAN(replace(small.MODEL, attention="hierarchical", window=8, landmarks=5))
    blocks = [m for m in made.modules() if isinstance(m, Block)]
    assert blocks
    assert all((b.scope.window, b.scope.landmarks) == (8, 5) for b in blocks)


# ---------------------------------------------------------------- who sees whom


def influence(block: Block, x: Tensor, cached: bool = False) -> Tensor:
    """(T, T) by gradient: how much position u (columns) moves what comes out at t (rows)."""
    x = x.clone().requires_grad_()
    cache = Cache() if cached else None
    out = torch.cat([block(part, cache=cache) for part in (x.split(7, 1) if cached else [x])], 1)
    direction = torch.randn(WIDTH, generator=torch.Generator().manual_seed(2))
    rows = [torch.autograd.grad((out[0, t] * direction).sum(), x, retain_graph=True)[0] for t in range(x.shape[1])]
    return torch.stack([row[0].norm(dim=-1) for row in rows])


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_nothing_moves_what_came_before_it(name: str, cached: bool) -> None:
    """Trap 1, by gradient."""
    moved = influence(block_of(name), music(), cached)
    assert moved.triu(1).max() == 0
    assert (moved.diagonal() > 0).all()
    assert (moved.tril(-1).sum(1)[1:] > 0).all()


@pytest.mark.parametrize("name", EVERY)
def test_without_causality_both_sides_count(name: str) -> None:
    moved = influence(block_of(name, causal=False), music())
    assert (moved.tril(-1).sum(1)[1:] > 0).all()
    assert (moved.triu(1).sum(1)[:-1] > 0).all()


@pytest.mark.parametrize("name", ["hierarchical", "multi_scale"])
def test_summaries_reach_further_than_the_window(name: str) -> None:
    assert influence(block_of(name), music())[-1, : LENGTH - 2 * WINDOW].max() > 0
    assert influence(block_of("sliding_window"), music())[-1, : LENGTH - WINDOW].max() == 0


@pytest.mark.parametrize("name", EVERY)
def test_a_longer_piece_changes_nothing_earlier(name: str) -> None:
    block, x = block_of(name), music()
    with torch.no_grad():
        whole = block(x)
        for length in (1, 4, 5, 16, 17, 31, 32, 44):
            assert torch.allclose(block(x[:, :length]), whole[:, :length], atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_what_the_mask_hides_changes_nothing(name: str, causal: bool) -> None:
    block, x, mask = block_of(name, causal), music(batch=3), padding()
    other = torch.where(mask[..., None], x, 100.0)
    with torch.no_grad():
        once, again = block(x, mask), block(other, mask)
        alone = block(x[:1, :-6])
    assert torch.isfinite(again).all()
    assert torch.allclose(once[mask], again[mask], atol=1e-5)
    assert torch.allclose(once[:1, :-6], alone, atol=1e-5)


# ---------------------------------------------------------------- dense definitions


def definition(name: str, head: int, q: Tensor, k: Tensor, v: Tensor, scope: Scope) -> Tensor:
    """(B, T, D) of one head by one masked softmax over every position and every cell, all written out."""
    t, window = q.shape[1], scope.window
    size = {"full": 1, "sliding_window": 1, "hierarchical": window}.get(name, (1, 4, 16)[head % 3])
    real = torch.ones(len(q), t, dtype=torch.bool) if scope.mask is None else scope.mask
    cells = [range(start, min(start + size, t)) for start in range(0, t, size)]
    weight = torch.stack([torch.zeros(len(q), t).index_fill(1, torch.tensor(c), 1) for c in cells], 1) * real[:, None]
    mean = weight / weight.sum(2, keepdim=True).clamp(min=1)
    seen = torch.zeros(len(q), t, t + len(cells), dtype=torch.bool)
    for i in range(t):
        for j in range(t):
            near = {"full": True, "multi_scale": abs(i - j) < window if size == 1 else i // size == j // size}
            allowed = near.get(name, abs(i - j) < window) and (j <= i or not scope.causal)
            seen[:, i, j] = (real[:, j] | (i == j)) & allowed
        for c, cell in enumerate(cells):
            away, over = abs(i // size - c), cell.stop <= i and cell.stop - cell.start == size
            sides = scope.landmarks if scope.causal else -(-scope.landmarks // 2)
            far = {"hierarchical": 0 < away <= sides, "multi_scale": size > 1 and 0 < away < window}.get(name, False)
            seen[:, i, t + c] = far and (over or not scope.causal)
    seen[:, :, t:] &= (weight.sum(2) > 0)[:, None]
    keys, values = (torch.cat([x, mean @ x], 1) for x in (k, v))
    return F.scaled_dot_product_attention(q, keys, values, attn_mask=seen)


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_each_equals_its_definition_by_a_dense_mask(name: str, causal: bool, padded: bool) -> None:
    q, k, v = torch.randn(3, 3, HEADS, LENGTH, 5, generator=torch.Generator().manual_seed(3))
    mask = padding() if padded else None
    scope = Scope(causal, WINDOW, LANDMARKS, mask)
    told = torch.stack([definition(name, h, q[:, h], k[:, h], v[:, h], scope) for h in range(HEADS)], 1)
    asked = torch.ones(3, LENGTH, dtype=torch.bool) if mask is None else mask
    with torch.no_grad():
        assert torch.allclose(
            REGISTRY[name](q, k, v, scope).transpose(1, 2)[asked], told.transpose(1, 2)[asked], atol=1e-5
        )
    got = REGISTRY[name](*(x.clone().requires_grad_() for x in (q, k, v)), scope)
    assert torch.allclose(got.transpose(1, 2)[asked], told.transpose(1, 2)[asked], atol=1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_where_the_window_holds_everything_a_block_equals_pytorch_s_own_layer(name: str, causal: bool) -> None:
    torch.manual_seed(0)
    heads = 1 if name == "multi_scale" else 2  # one head is the one at the scale of single positions
    block = Block(16, heads, name, None, Scope(causal, window=7))
    reference = nn.TransformerEncoderLayer(
        16, heads, 32, dropout=0.0, activation=lambda x: nn.functional.gelu(x, approximate="tanh"),
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
        future = nn.Transformer.generate_square_subsequent_mask(7) if causal else None
        assert torch.allclose(reference(x, future, is_causal=causal), block(x), atol=1e-5)


# ---------------------------------------------------------------- decoding, training, cost


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_fed_in_pieces_through_a_cache_is_fed_at_once(name: str, padded: bool) -> None:
    block, x = block_of(name), music(batch=3)
    mask = padding() if padded else torch.ones(3, LENGTH, dtype=torch.bool)
    cache, at, out = Cache(), 0, []
    with torch.no_grad():
        for count in (1, 2, 5, 9, 1, 14, *[1] * 13):
            so_far = mask[:, : at + count] if padded else None
            out.append(block(x[:, at : at + count], so_far, cache=cache))
            at += count
        assert at == LENGTH
        whole = block(x, mask if padded else None)
    assert torch.allclose(torch.cat(out, 1)[mask], whole[mask], atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_rows_chosen_from_a_cache_go_on_alone(name: str) -> None:
    block, x, rows = block_of(name), music(batch=3), torch.tensor([2, 0, 2])
    with torch.no_grad():
        cache = Cache()
        block(x[:, :40], cache=cache)
        chosen, rest = cache.select(rows), x[:, 40:]
        went_on = block(rest[rows], cache=chosen)
        assert torch.allclose(block(rest, cache=cache), block(x)[:, 40:], atol=1e-5)
        assert torch.allclose(went_on, block(x)[rows][:, 40:], atol=1e-5)


def kept_for_the_gradient(block: Block, x: Tensor) -> tuple[list[Tensor], int]:
    """Gradients of a loss, and the bytes that autograd held on to for them."""
    kept = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.nbytes) or t, lambda t: t):
        loss = block(x).pow(2).mean()
    return [loss.detach(), *torch.autograd.grad(loss, list(block.parameters()))], sum(kept)


@pytest.mark.parametrize("name", EVERY)
def test_checkpointing_gives_the_same_gradients_and_keeps_less(name: str) -> None:
    plain, whole = kept_for_the_gradient(block_of(name).train(), music())
    again, less = kept_for_the_gradient(block_of(name, checkpointing=True).train(), music())
    assert all(torch.allclose(a, b, atol=1e-7) for a, b in zip(plain, again, strict=True))
    assert less < whole / 4


class Written(TorchDispatchMode):
    """Counts the numbers that operations write: the most at once, and all together."""

    def __init__(self) -> None:
        super().__init__()
        self.largest = self.total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple) else (out,):
            if isinstance(x, Tensor) and not (args and isinstance(args[0], Tensor) and x._is_view()):
                self.largest, self.total = max(self.largest, x.numel()), self.total + x.numel()
        return out


def written(name: str, length: int, mask: bool, gradient: bool) -> Written:
    q, k, v = (torch.randn(1, HEADS, length, 2, requires_grad=gradient) for _ in range(3))
    shown = torch.ones(1, length, dtype=torch.bool) if mask else None
    with Written() as count:
        out = REGISTRY[name](q, k, v, Scope(True, WINDOW, LANDMARKS, shown))
        if gradient:
            out.sum().backward()
    return count


@pytest.mark.parametrize("name", EVERY)
def test_no_mask_is_ever_as_large_as_the_square_of_the_length(name: str) -> None:
    for mask in (False, True):
        assert written(name, 512, mask, False).largest <= 2.1 * written(name, 256, mask, False).largest


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("name", LOCAL)
def test_the_work_of_local_attention_grows_with_the_length(name: str, gradient: bool) -> None:
    assert written(name, 512, False, gradient).total <= 2.1 * written(name, 256, False, gradient).total


def test_a_long_piece_is_fed_forward_in_rows_that_change_nothing() -> None:
    block, x = block_of("sliding_window"), music(attention.ROWS + 100)
    with torch.no_grad():
        rows = block(x)
    assert torch.allclose(rows, block(x), atol=1e-5)


def test_a_condition_begins_without_effect_and_can_have_one() -> None:
    torch.manual_seed(0)
    block = Block(16, 2, "full", condition=4)
    x, condition = torch.randn(2, 5, 16), torch.randn(2, 4)
    with torch.no_grad():
        assert torch.equal(block(x, None, condition), block(x))
        block.film.weight.normal_()
        assert not torch.allclose(block(x, None, condition), block(x))
