"""The event transformer: logits of the next token, from the past and the meter alone; near uniform until taught."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine import config
from engine.config import ModelConfig
from engine.model import views
from engine.model.attention import REGISTRY
from engine.model.events import EventTransformer
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.score.timing import BarGrid
from engine.tokens import codec
from engine.tokens.places import BarLines, places
from engine.tokens.vocab import FAMILIES, SIZE
from tests.engine import small

TINY = ModelConfig(mode="transformer", layers=2, hidden_dim=12, heads=3, window=4, landmarks=3)
SPECIFIED = config.parse("model: {mode: transformer, layers: 4, hidden_dim: 256}").model
EVERY = sorted(REGISTRY)
LENGTH = 45


@pytest.fixture(autouse=True)
def short_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "RUN", 16)
    monkeypatch.setattr(views, "PIECE", 8)


def transformer(c: ModelConfig = TINY, seed: int = 0, **changes: object) -> EventTransformer:
    torch.manual_seed(seed)
    made = MusicTransformerVAEGAN(replace(c, **changes)).eval().events
    assert made is not None
    return made


def stream(length: int = LENGTH, batch: int = 1, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Tokens (B, T) with places (B, T, 3) in 4/4, both by chance."""
    chance = torch.Generator().manual_seed(seed)
    ids = torch.randint(4, SIZE, (batch, length), generator=chance)
    clocks = torch.randint(0, 13, (batch, length), generator=chance).cumsum(1)
    return ids, torch.stack([clocks % 24, clocks // 24 % 4, clocks // 96 % 4], -1)


def piece() -> tuple[Tensor, Tensor]:
    """Hand-written music as the codec writes it, each token where the meter has it."""
    score = small.score()
    ids = codec.encode(score).ids
    at = places(ids, BarLines.of(BarGrid.of(score)))
    return torch.from_numpy(ids).long()[None], torch.from_numpy(at)[None]


def pieces(made: EventTransformer, ids: Tensor, at: Tensor, counts: list[int]) -> Iterator[Tensor]:
    cache, start = made.new_cache(), 0
    for count in counts:
        yield made(ids[:, start : start + count], at[:, start : start + count], cache)
        start += count
    assert start == ids.shape[1]


# ---------------------------------------------------------------- the next token


@pytest.mark.parametrize("c", [TINY, SPECIFIED, replace(SPECIFIED, hidden_dim=1024, layers=1)])
def test_untrained_it_knows_nothing_its_loss_is_the_logarithm_of_the_vocabulary(c: ModelConfig) -> None:
    """Trap 2: logits scored against the token they were made from would begin far below."""
    made = transformer(c)
    for ids, at in (stream(400), piece()):
        with torch.no_grad():
            logits = made(ids, at)
        loss = F.cross_entropy(logits[0, :-1], ids[0, 1:]).item()
        assert loss == pytest.approx(math.log(SIZE), rel=0.02)


def test_what_it_learns_to_say_at_each_token_is_the_next_one() -> None:
    made = transformer(hidden_dim=32, heads=2, layers=1)
    ids, at = (x[:, :60] for x in piece())
    optimiser = torch.optim.AdamW(made.parameters(), lr=1e-2, fused=True)
    for _ in range(80):
        loss = F.cross_entropy(made(ids, at)[0, :-1], ids[0, 1:])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    said = made(ids, at)[0].argmax(-1)
    assert (said[:-1] == ids[0, 1:]).float().mean() > 0.9
    assert (said == ids[0]).float().mean() < 0.2


def test_the_embedding_of_a_token_is_its_output_too() -> None:
    made = transformer()
    ids, at = stream()
    unheard = next(t for t in range(SIZE) if t not in ids)
    made(ids, at)[..., unheard].sum().backward()
    assert made.token.weight.grad[unheard].abs().sum() > 0
    assert sum(p.shape[0] == SIZE for p in made.parameters()) == 1


# ---------------------------------------------------------------- the past alone


@pytest.mark.parametrize("cached", [False, True])
@pytest.mark.parametrize("name", EVERY)
def test_no_logit_hears_of_a_later_token(name: str, cached: bool) -> None:
    """Trap 1, by gradient: of the logits at t, on what the model was fed at u."""
    made, fed = transformer(attention=name), []
    made.token.register_forward_hook(lambda *args: fed.append(args[2].detach().requires_grad_()) or fed[-1])
    ids, at = stream()
    logits = torch.cat(list(pieces(made, ids, at, [10] * 4 + [1] * 5)), 1) if cached else made(ids, at)
    direction = torch.randn(SIZE, generator=torch.Generator().manual_seed(2))
    for t in (0, 1, 3, 4, 15, 16, 31, 32, LENGTH - 1):
        score = (logits[0, t] * direction).sum()
        grads = torch.autograd.grad(score, fed, retain_graph=True, allow_unused=True, materialize_grads=True)
        moved = torch.cat(grads, 1)[0].norm(dim=-1)
        assert moved[t] > 0
        assert t == 0 or moved[:t].max() > 0
        assert (moved[t + 1 :] == 0).all()


@pytest.mark.parametrize("name", EVERY)
def test_tokens_fed_in_pieces_are_tokens_fed_at_once(name: str) -> None:
    made = transformer(attention=name)
    ids, at = stream(batch=2)
    with torch.no_grad():
        whole = made(ids, at)
        for counts in ([1] * LENGTH, [20, 1, 1, 7, 16], [LENGTH]):
            assert torch.allclose(torch.cat(list(pieces(made, ids, at, counts)), 1), whole, atol=1e-5)


@pytest.mark.parametrize("name", EVERY)
def test_padding_at_the_end_and_music_to_come_change_nothing_before(name: str) -> None:
    made = transformer(attention=name)
    ids, at = stream()
    padded = torch.full_like(ids, FAMILIES["PAD"].first)
    with torch.no_grad():
        alone = made(ids, at)
        for after in (padded, stream(seed=5)[0]):
            longer = made(torch.cat([ids, after], 1), torch.cat([at, at.flip(1)], 1))
            assert torch.allclose(longer[:, :LENGTH], alone, atol=1e-5)


# ---------------------------------------------------------------- the meter


def test_it_hears_the_meter_and_never_the_index() -> None:
    """In one layer the past is a set: with its places it may be reordered, but not moved in the bar."""
    made = transformer(layers=1)
    ids, at = stream()
    order = torch.cat(
        [torch.randperm(LENGTH - 1, generator=torch.Generator().manual_seed(3)), torch.tensor([LENGTH - 1])]
    )
    with torch.no_grad():
        last = made(ids, at)[:, -1]
        assert torch.allclose(made(ids[:, order], at[:, order])[:, -1], last, atol=1e-5)
        for axis in range(3):
            elsewhere = at.clone()
            elsewhere[..., axis] = (elsewhere[..., axis] + 1) % 4
            assert not torch.allclose(made(ids, elsewhere)[:, -1], last, atol=1e-4)


def test_a_place_beyond_the_last_one_known_counts_as_that() -> None:
    made = transformer()
    ids, at = stream(3)
    far, last = at.clone(), at.clone()
    far[..., 0], far[..., 1], last[..., 0], last[..., 1] = 90, 40, 47, 15
    with torch.no_grad():
        assert torch.equal(made(ids, far), made(ids, last))


# ---------------------------------------------------------------- size and memory


def test_the_specified_test_configuration_stays_below_its_size() -> None:
    made = MusicTransformerVAEGAN(SPECIFIED)
    assert 4e6 < sum(t.nbytes for t in made.state_dict().values()) <= 11.7e6


@pytest.mark.parametrize("name", EVERY)
def test_checkpointing_gives_the_same_loss_and_gradients(name: str) -> None:
    ids, at = stream()
    out = []
    for on in (False, True):
        made = transformer(attention=name, checkpointing=on).train()
        assert all(block.checkpointing == on for block in made.blocks)
        loss = F.cross_entropy(made(ids, at)[0, :-1], ids[0, 1:])
        out.append([loss.detach(), *torch.autograd.grad(loss, list(made.parameters()))])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*out, strict=True))
