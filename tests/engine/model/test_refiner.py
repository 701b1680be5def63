"""The refiner: exact odds out of independent cells, nothing of the future, and the draft itself until it has learnt."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from engine.model import fields as f
from engine.model.batch import Bars, Notes, Offsets
from engine.model.draft import IMPOSSIBLE, Draft
from engine.model.refiner import REACH, Refiner, Tokens, nats
from engine.model.vaegan import MusicTransformerVAEGAN
from tests.engine import small

BARS = small.conditions([96, 96, 72, 24, 96, 96], [4, 2])
WIDE = replace(small.MODEL, refiner=True, refiner_dim=32, refiner_layers=2)
AWAY = torch.tensor([0.3, 0.9])
ROW = BARS.piece[BARS.phrase]


@pytest.fixture(scope="module")
def notes() -> Notes:
    found = small.tune(6)
    found = found[found["onset"] < BARS.clocks.numpy()[found["bar"]]]
    doubled = found[::5].copy()
    doubled["part"] += 1
    return Notes.of(small.bar_notes(*[tuple(n[x] for x in NAMES) for n in [*found, *doubled]]))


NAMES = ("bar", "onset", "pitch", "duration", "velocity", "part")


@pytest.fixture(scope="module")
def draft() -> Draft:
    noise = torch.Generator().manual_seed(2)
    slots = torch.randn(6, 24, small.MODEL.hidden_dim, generator=noise)
    return Draft(slots, 2 * torch.randn(6, 24 * f.CELLS_PER_SLOT, generator=noise) - 4, BARS)


def living(seed: int = 0) -> Refiner:
    """A refiner whose every parameter has some effect."""
    torch.manual_seed(seed)
    made = Refiner(WIDE)
    with torch.no_grad():
        for p in made.parameters():
            if not p.any():
                p.normal_(std=0.1)
    return made.eval()


def told(model: MusicTransformerVAEGAN, draft: Draft, t: Tokens):
    note = t.pitch >= 0
    return model.decoder.fields(draft.slots, t.bar[note], (t.clock * 88 + t.pitch)[note], Offsets.none(6))


def test_the_chain_has_the_likelihood_of_the_independent_cells(notes: Notes, draft: Draft) -> None:
    t = Tokens.of(notes, BARS, ROW)
    found = nats(None, t, draft, told(small.model(), draft, t), AWAY)
    sounds = torch.zeros_like(draft.cells)
    sounds[notes.bar, notes.onset, notes.pitch] = 1
    inside = (torch.arange(96) < BARS.clocks[:, None])[..., None]
    bernoulli = F.binary_cross_entropy_with_logits(draft.cells, sounds, reduction="none") * inside
    assert float(found["when"] + found["which"]) == pytest.approx(float(bernoulli.sum()), rel=1e-4)


def test_the_next_note_has_the_odds_of_the_cells_passed(draft: Draft) -> None:
    bar, clock, lowest = torch.tensor([2]), torch.tensor([40]), torch.tensor([60])
    p = torch.sigmoid(draft.cells[2].double())
    p[BARS.clocks[2] :] = 0
    flat, start = p.flatten(), 40 * 88 + 60
    quiet = torch.cat([torch.ones(start + 1), torch.cumprod(1 - flat[start:-1], 0)])
    wanted = (flat * quiet * (torch.arange(len(flat)) >= start)).view(-1, 88)
    when, which = draft.when(bar, clock, lowest).exp()[0], draft.which(bar, clock, lowest).exp()[0]
    assert torch.allclose(when[:-1].double(), wanted.sum(1), atol=1e-5)
    assert float(when.sum()) == pytest.approx(1, abs=1e-4)
    assert torch.allclose(which.double(), wanted[40] / wanted[40].sum(), atol=1e-4)
    assert float(draft.when(bar, clock, torch.tensor([88]))[0, 40]) == IMPOSSIBLE  # nothing is above the last key


def test_an_untrained_refiner_is_the_draft(notes: Notes, draft: Draft) -> None:
    t = Tokens.of(notes, BARS, ROW)
    fields = told(small.model(), draft, t)
    torch.manual_seed(1)
    with torch.no_grad():
        alone, refined, changed = (nats(r, t, draft, fields, AWAY) for r in (None, Refiner(WIDE), living()))
    for name, value in alone.items():
        assert float(refined[name]) == pytest.approx(float(value), rel=1e-6), name
        assert abs(float(changed[name] - value)) > 1e-2, name


def test_notes_of_one_cell_are_one_token_with_several_parts(notes: Notes) -> None:
    t = Tokens.of(notes, BARS, ROW)
    cells = torch.unique(torch.stack([notes.bar, notes.onset, notes.pitch]), dim=1)
    assert int((t.pitch >= 0).sum()) == cells.shape[1] < len(notes.bar)
    assert float(t.parts.sum()) == len(notes.bar)
    place = t.bar * 10**6 + t.clock * 100 + t.pitch
    assert (place.diff() > 0).all()
    assert t.at.tolist() == [i for n in torch.bincount(t.row).tolist() for i in range(n)]


def test_no_state_sees_a_later_note_or_another_row() -> None:
    """By gradient, longer than attention reaches."""
    refiner, length = living(), REACH + 40
    x = torch.randn(2, length, 32, requires_grad=True)
    for at in (0, 57, length - 1):
        (found,) = torch.autograd.grad(refiner.read(x, AWAY)[0, at, :5].sum(), x)  # the sum of all is constant
        moves = found.abs().sum(-1) > 0
        assert not moves[1].any()
        assert not moves[0, at + 1 :].any()
        assert moves[0, max(at - REACH + 1, 0) : at + 1].all()


def test_a_note_is_said_before_it_is_heard(notes: Notes, draft: Draft) -> None:
    refiner, t = living(), Tokens.of(notes, BARS, ROW)
    changed = replace(t, velocity=t.velocity.clone(), duration=t.duration.clone())
    at = int(torch.nonzero(t.pitch >= 0)[9])
    changed.velocity[at], changed.duration[at] = 3, 40
    keys = refiner.clock_keys(draft)
    with torch.no_grad():
        a, b = (refiner.when(refiner.states(x, draft, AWAY), x, draft, keys) for x in (t, changed))
    moved = (a - b).abs().amax(1) > 0
    assert not moved[:at].any()
    assert moved[at]
    assert not moved[t.row != t.row[at]].any()


def test_reading_bit_by_bit_is_reading_at_once() -> None:
    refiner, length = living(), REACH + 24
    x = torch.randn(2, length, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        whole, cache = refiner.read(x, AWAY), refiner.new_cache()
        parts = [refiner.read(x[:, a:b], AWAY, cache) for a, b in ((0, 200), *((i, i + 1) for i in range(200, length)))]
    assert torch.allclose(torch.cat(parts, 1), whole, atol=1e-5)


def test_rows_are_what_each_would_be_alone(notes: Notes, draft: Draft) -> None:
    refiner, t = living(), Tokens.of(notes, BARS, ROW)
    with torch.no_grad():
        both = refiner.states(t, draft, AWAY)
        mine = t.row == 1
        alone = replace(t, **{name: getattr(t, name)[mine] for name in ("at", "bar", "clock", "pitch", "duration")})
        alone = replace(alone, row=t.row[mine] * 0, velocity=t.velocity[mine], parts=t.parts[mine])
        one = refiner.states(alone, draft, AWAY[1:])
    assert torch.allclose(both[mine], one, atol=1e-5)


@pytest.mark.parametrize(("mine", "theirs"), [(True, False), (False, True), (True, True)])
def test_a_checkpoint_opens_with_and_without_a_refiner(mine: bool, theirs: bool) -> None:
    saved = MusicTransformerVAEGAN(replace(WIDE, refiner=theirs)).state_dict()
    model = MusicTransformerVAEGAN(replace(WIDE, refiner=mine))
    assert model.fits(saved)
    model.load(saved)
    assert torch.equal(model.decoder.lay_out, saved["decoder.lay_out"])
    assert (model.refiner is not None) == mine
    if mine and theirs:
        assert model.refiner is not None
        assert torch.equal(model.refiner.pitch.weight, saved["refiner.pitch.weight"])


def test_bars_of_many_meters_are_one_sequence(draft: Draft) -> None:
    bars: Bars = small.conditions([48, 24])
    t = Tokens.of(Notes.of(small.bar_notes((1, 3, 60))), bars, torch.zeros(2, dtype=torch.int64))
    clock, after = t.following(48)
    assert clock.tolist() == [48, 3, 48]
    assert after.tolist()[1] == 2
