"""The prior over bars learns on a frozen model, knows what follows what, and sees only what it is given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.config import Config
from engine.model.priors import WINDOW
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.session import Session
from tests.engine import small
from trainer import finish, prior
from trainer.batches import Batch, Windows


def test_the_prior_learns_and_nothing_else_moves(model: MusicTransformerVAEGAN, windows: Windows) -> None:
    before = {n: p.clone() for n, p in model.named_parameters() if not n.startswith("prior")}
    steps = list(prior.train_prior(model, windows, windows, 60))
    assert [s.n for s in steps] == list(range(1, 61))
    first, last = (np.mean([s.train["loss"] for s in part]) for part in (steps[:5], steps[-5:]))
    assert first == pytest.approx(2, abs=0.3)
    assert last < first - 0.2
    assert steps[-1].held_out is not None
    after = dict(model.named_parameters())
    assert all(torch.equal(after[n], p) for n, p in before.items())


def test_a_trained_prior_knows_what_follows_what(windows: Windows) -> None:
    """Bars in their order ask for fewer nats than the same bars shuffled; an untrained prior does not care."""
    made = small.model(4)
    small.learn(made, small.tune(8), small.conditions([96] * 8), 40)
    still = Windows(windows.corpus, replace(windows.config, transpose=0), windows.deviations)
    made.requires_grad_(False)
    prior.fit(made, still)
    before = prior.order_gain(made, still)
    assert abs(before[1] - before[0]) < 1
    for _ in prior.train_prior(made, still, still, 300):
        pass
    true, shuffled = prior.order_gain(made, still)
    assert true < before[0]
    assert shuffled - true > 0.5


def test_gaps_are_of_every_kind_and_leave_something_to_draw() -> None:
    there = torch.ones(4000, WINDOW, dtype=torch.bool)
    there[::2, 9:] = False
    known = prior.gaps(there, np.random.default_rng(0))
    assert not (known & ~there).any()
    count, whole = known.sum(1), there.sum(1)
    assert 0.4 < float((count == 0).float().mean()) < 0.6
    assert float((count < whole).float().mean()) > 0.9
    begun = known[:, 0] & ~known[:, 8]
    after = ~known[:, 3] & known[:, 8]
    assert min(float(begun.float().mean()), float(after.float().mean())) > 0.03


def test_windows_of_latents_are_those_of_their_bars(model: MusicTransformerVAEGAN, windows: Windows) -> None:
    batch = windows.make(np.arange(len(windows.first)))
    k = prior.known_of(model.eval(), batch)
    with torch.no_grad():
        whole = model.encode(batch.source, batch.bars, mean=True)
    piece = batch.bars.piece[batch.bars.phrase]
    for row in range(len(k.there)):
        mine = torch.nonzero(piece == row)[:, 0]
        assert torch.equal(k.z_fine[row, k.there[row]], whole.z_fine[mine])
        assert int(k.there[row].sum()) == len(mine)
    piece_of = windows.corpus.pieces
    begins = [windows.first[w] == piece_of[windows.piece[w]].first_bar for w in range(len(windows.first))]
    assert batch.edges is not None
    assert batch.edges[:, 0].tolist() == begins
    assert torch.equal(k.told[:, 0, -2:] > 0, batch.edges)
    short = prior.shortened(k, np.random.default_rng(1))
    assert (short.there.sum(1) >= 1).all()
    assert not (short.there & ~k.there).any()


def test_shuffled_windows_hold_the_same_bars(windows: Windows) -> None:
    """Every bar keeps its notes and its length, and stays within its window."""
    batch = windows.make(np.arange(len(windows.first)))
    moved = prior._shuffled(batch, np.random.default_rng(0))

    def bars(b: Batch) -> list[list[tuple[int, ...]]]:
        piece = b.bars.piece[b.bars.phrase]
        rows = torch.stack([b.source.onset, b.source.pitch, b.source.duration, b.source.part], -1)
        each = [(int(c), *rows[b.source.bar == k].flatten().tolist()) for k, c in enumerate(b.bars.clocks)]
        return [[each[k] for k in torch.nonzero(piece == i)[:, 0].tolist()] for i in range(b.bars.n_pieces)]

    plain, other = bars(batch), bars(moved)
    assert [sorted(w) for w in plain] == [sorted(w) for w in other]
    assert sum(a != b for a, b in zip(plain, other, strict=True)) > len(plain) / 2


def test_upper_latents_are_fitted_along_with_the_prior_and_ship_with_it(
    windows: Windows, config: Config, tmp_path
) -> None:
    """Held-out phrases are likelier than under N(0, 1), whose deviations free bits let posteriors leave."""
    asked = replace(config, model=replace(config.model, upper_prior="fitted"))
    made = small.model(3, upper_prior="fitted")
    list(prior.train_prior(made, windows, windows, 1))
    upper = made.prior.upper
    assert upper is not None
    batch = windows.make(np.arange(len(windows.first)))
    q = made.encode(batch.source, batch.bars, mean=True)
    told, z_global, z_local = prior.upper_of(batch.bars, q, int(torch.bincount(batch.bars.piece).max()))
    standard = torch.distributions.Normal(0.0, 1.0)
    of_piece, of_phrase = upper.log_prob(told, z_global, z_local)
    assert of_piece.mean() > standard.log_prob(z_global).sum(-1).mean()
    assert of_phrase.mean() > standard.log_prob(z_local).sum(-1).mean()
    finish.ship(made, asked, {"deviations": small.DEVIATIONS.tolist()}, {}, tmp_path / "model")
    shipped = Session.open(tmp_path / "model", "cpu").model.prior.upper
    assert shipped is not None
    assert torch.allclose(shipped.lead, upper.lead, atol=2e-3)
