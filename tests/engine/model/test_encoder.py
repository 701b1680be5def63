"""The encoder: padding is inert, the order of notes means nothing, bars of any length and fullness go in."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.model.batch import Bars, Notes
from engine.model.encoder import Encoder
from engine.model.fields import PAGE_SLOTS, SLOT_CLOCKS
from engine.model.latents import GAMMA
from tests.engine import small


@pytest.fixture
def encoder() -> Encoder:
    return small.model().encoder


def mean(encoder: Encoder, notes: np.ndarray, bars: Bars) -> torch.Tensor:
    with torch.no_grad():
        return encoder(Notes.of(notes), bars, mean=True).z_fine


def test_a_bar_alone_equals_the_bar_in_a_batch_with_longer_bars(encoder: Encoder) -> None:
    """Padding of slots is inert."""
    short = small.bar_notes((0, 0, 60), (0, 24, 64), (0, 71, 67))
    both = np.concatenate([short, small.bar_notes((1, 0, 50), (1, 200, 55), (1, 287, 58))])
    alone = mean(encoder, short, small.conditions([72], [1]))
    together = mean(encoder, both, small.conditions([72, 288], [1, 1]))
    assert torch.allclose(alone[0], together[0], atol=1e-5)


def test_a_phrase_of_three_bars_is_not_disturbed_by_a_phrase_of_four(encoder: Encoder) -> None:
    """Padding of bars within phrases is inert, too."""
    tune = small.tune(7)
    three = tune[tune["bar"] < 3]
    shifted = tune.copy()
    shifted["bar"] = (tune["bar"] + 4) % 7  # the four other bars first
    order = np.lexsort((shifted["part"], shifted["pitch"], shifted["onset"], shifted["bar"]))
    alone = mean(encoder, three, small.conditions([96] * 3))
    four_and_three = mean(encoder, shifted[order], small.conditions([96] * 7, [4, 3]))
    assert torch.allclose(alone, four_and_three[4:], atol=1e-5)


def test_a_phrase_is_the_mean_of_the_bars_it_has(encoder: Encoder) -> None:
    """A phrase of one bar is that bar: the three that are not there count for nothing."""
    encoder.song = torch.nn.ModuleList()  # without attention among the bars
    features = torch.randn(5, small.MODEL.bar_dim)
    with torch.no_grad():
        phrases = encoder.phrase_features(features, small.conditions([96] * 5))
        placed = features + encoder.place(torch.tensor([0, 1, 2, 3, 0]))
    assert torch.allclose(phrases[0], placed[:4].mean(0), atol=1e-6)
    assert torch.allclose(phrases[1], placed[4], atol=1e-6)


def test_the_order_in_which_notes_are_listed_means_nothing(encoder: Encoder) -> None:
    tune = small.tune(4)
    shuffled = tune[np.random.default_rng(0).permutation(len(tune))]
    bars = small.conditions([96] * 4)
    assert torch.allclose(mean(encoder, tune, bars), mean(encoder, shuffled, bars), atol=1e-5)


def test_pieces_in_a_batch_do_not_see_each_other(encoder: Encoder) -> None:
    tune = small.tune(8)
    bars = small.conditions([96] * 8, [4, 4])
    before = mean(encoder, tune, bars)
    other = tune.copy()
    other["pitch"][other["bar"] >= 4] += 1
    after = mean(encoder, other, bars)
    assert torch.equal(before[:4], after[:4])
    assert not torch.allclose(before[4:], after[4:], atol=1e-3)


@pytest.mark.parametrize("field", ["onset", "pitch", "duration", "velocity", "part", "micro"])
def test_every_field_of_a_note_is_heard(encoder: Encoder, field: str) -> None:
    notes = small.bar_notes((0, 12, 60, 24, 80, 0, 0.0))
    changed = notes.copy()
    changed[field] = {"onset": 13, "pitch": 61, "duration": 30, "velocity": 90, "part": 1, "micro": 0.3}[field]
    bars = small.conditions([96])
    assert not torch.allclose(mean(encoder, notes, bars), mean(encoder, changed, bars), atol=1e-4)


@pytest.mark.parametrize(
    ("clocks", "what"), [(288, "12/4"), (192, "8/2, turned into two pages"), (12, "a pickup of 1/8"), (1, "one clock")]
)
def test_bars_of_unusual_length_are_heard_to_their_last_clock(encoder: Encoder, clocks: int, what: str) -> None:
    first, last = small.bar_notes((0, 0, 60)), small.bar_notes((0, clocks - 1, 60))
    bars = small.conditions([clocks])
    a, b = mean(encoder, first, bars), mean(encoder, last, bars)
    assert torch.isfinite(a).all(), what
    assert torch.isfinite(b).all(), what
    assert clocks == 1 or not torch.allclose(a, b, atol=1e-4), what


def test_a_page_of_slots_is_not_the_next_page(encoder: Encoder) -> None:
    """In bars past 144 clocks the same slot of another page is another place."""
    page = PAGE_SLOTS * SLOT_CLOCKS
    bars = small.conditions([2 * page])
    one, two = (mean(encoder, small.bar_notes((0, onset, 60)), bars) for onset in (8, 8 + page))
    assert not torch.allclose(one, two, atol=1e-4)


def test_99_notes_in_a_bar_are_all_heard(encoder: Encoder) -> None:
    """The number of notes in a bar has no silent limit."""
    rng = np.random.default_rng(1)
    cells = rng.choice(96 * 60, 99, replace=False)
    notes = small.bar_notes(*((0, c // 60, 30 + c % 60) for c in cells))
    bars = small.conditions([96])
    whole = mean(encoder, notes, bars)
    assert torch.isfinite(whole).all()
    for left_out in range(0, 99, 9):
        assert not torch.equal(mean(encoder, np.delete(notes, left_out), bars), whole)


def test_empty_bars_and_an_empty_piece_have_latents(encoder: Encoder) -> None:
    empty = mean(encoder, small.bar_notes(), small.conditions([96] * 5))
    assert torch.isfinite(empty).all()
    one_full = mean(encoder, small.bar_notes((2, 0, 60)), small.conditions([96] * 5))
    assert not torch.allclose(one_full[2], empty[2], atol=1e-4)


def test_sixteen_parts_on_one_cell_differ_from_one(encoder: Encoder) -> None:
    bars = small.conditions([96], parts=16)
    all_parts = small.bar_notes(*((0, 0, 60, 24, 80, part) for part in range(16)))
    assert not torch.allclose(mean(encoder, all_parts, bars), mean(encoder, all_parts[:1], bars), atol=1e-3)


def test_the_same_seed_draws_the_same_latents_and_the_mean_draws_none(encoder: Encoder) -> None:
    notes, bars = Notes.of(small.tune(8)), small.conditions([96] * 8)
    with torch.no_grad():
        q = encoder(notes, bars, mean=True)
        one, two, other = (encoder(notes, bars, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(q.z_fine, q.q_fine.mean)
    assert torch.equal(one.z_fine, two.z_fine)
    assert not torch.equal(one.z_fine, other.z_fine)


# ---------------------------------------------------------------- options


def test_without_the_hierarchy_a_bar_is_decoded_from_itself_alone() -> None:
    """Phrase mates reach a bar through the upper latents, and through nothing else."""
    tune, bars = small.tune(8), small.conditions([96] * 8)
    other = tune.copy()
    other["pitch"][other["bar"] == 1] += 3
    for hierarchical in (True, False):
        model = small.model(use_hierarchical=hierarchical)
        cells = []
        with torch.no_grad():
            for notes in (tune, other):
                q = model.encode(Notes.of(notes), bars, mean=True)
                slots = model.slots(q.z_global, q.z_local, q.z_fine, bars, small.offsets(8))
                cells.append(model.decoder.onsets(slots))
        moved = (cells[0] != cells[1]).any(1).tolist()
        assert moved == ([True] * 8 if hierarchical else [bar == 1 for bar in range(8)])


@pytest.mark.parametrize("kind", ["gaussian", "mixture", "flow"])
def test_without_the_hierarchy_the_upper_levels_are_zeros_and_cost_nothing(kind: str) -> None:
    model = small.model(use_hierarchical=False, prior=kind)
    with torch.no_grad():
        q = model.encode(Notes.of(small.tune(8)), small.conditions([96] * 8), torch.Generator().manual_seed(0))
        for level, rows in (("global", 1), ("local", 2)):
            z, normal = getattr(q, f"z_{level}"), getattr(q, f"q_{level}")
            assert not z.any()
            assert model.priors.divergence(level, normal, z).tolist() == [0.0] * rows
            assert not model.priors.sample(level, 3).any()
        assert q.z_fine.any()
        assert model.priors.divergence("fine", q.q_fine, q.z_fine).abs().min() > 0
    assert not [n for n, _ in model.named_parameters() if ".song." in n or ".to_global." in n or ".to_local." in n]


def test_normalised_means_reach_every_level() -> None:
    model = small.model(batch_norm_posterior=True).train()
    runs = [4] * 6
    bars = small.conditions([96] * 24, runs)
    q = model.encode(Notes.of(small.tune(24)), bars, torch.Generator().manual_seed(0))
    for normal in (q.q_local, q.q_fine):
        assert torch.allclose(normal.mean.std(0, correction=0), torch.full(normal.mean.shape[1:], GAMMA), rtol=0.05)
    assert {n.split(".")[1] for n in model.state_dict() if n.endswith("norm.shift")} >= {"to_global", "to_local"}
