"""From trained weights to a model that ships: colours by measured notes, a prior that learns, a folder that opens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.attributes import NAMES
from engine.config import Config
from engine.model.batch import Notes
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.session import Session
from tests.engine import small
from trainer import finish
from trainer.batches import Batch, Windows
from trainer.corpus import Corpus


@pytest.fixture(scope="module")
def model() -> MusicTransformerVAEGAN:
    torch.set_num_threads(1)
    made = small.model(3)
    small.learn(made, small.tune(8), small.conditions([96] * 8), 100)
    return made


def test_a_colour_is_as_long_as_the_notes_it_changes(model: MusicTransformerVAEGAN, windows: Windows) -> None:
    """Scaled by measured notes, not by its own sigma."""
    model.eval()
    found = finish.colours(model, windows, 3)
    assert list(found) == [f"colour_{i + 1}" for i in range(finish.COLOURS)]
    directions = torch.stack([d / d.norm() for d in found.values()])
    assert torch.allclose(directions @ directions.T, torch.eye(finish.COLOURS), atol=1e-3)
    rng = np.random.default_rng(0)
    batches = [finish._plain(windows, rng) for _ in range(6)]
    for direction in found.values():
        changed = bars = 0.0
        for b in batches:
            q = model.encode(b.source, b.bars, mean=True)
            before, after = (
                finish._cells(model, q.z_global, q.z_local, q.z_fine + x * direction, b) for x in (0.0, 1.0)
            )
            changed, bars = changed + float((before ^ after).sum()), bars + float(b.bars.clocks.sum()) / 96
        assert changed / bars == pytest.approx(finish.NOTES_PER_SIGMA, rel=0.35)


def test_the_prior_learns_and_nothing_else_moves(model: MusicTransformerVAEGAN, windows: Windows) -> None:
    before = {n: p.clone() for n, p in model.named_parameters() if not n.startswith("prior")}
    steps = list(finish.train_prior(model, windows, windows, 40))
    assert [s.n for s in steps] == list(range(1, 41))
    first, last = (np.mean([s.train["loss"] for s in part]) for part in (steps[:5], steps[-5:]))
    assert last < first
    assert steps[-1].held_out is not None
    after = dict(model.named_parameters())
    assert all(torch.equal(after[n], p) for n, p in before.items())


def test_a_trained_prior_knows_what_follows_what(windows: Windows) -> None:
    """Bars in their order ask for fewer nats than the same bars shuffled; an untrained prior does not care."""
    made = small.model(4)
    small.learn(made, small.tune(8), small.conditions([96] * 8), 40)
    with torch.no_grad():
        made.encoder.to_fine.logvar.bias.fill_(-4.0)  # an encoder that is sure of its bars
    still = Windows(windows.corpus, replace(windows.config, transpose=0), windows.deviations)
    before = finish.order_gain(made, still)
    assert abs(before[1] - before[0]) < 1
    for _ in finish.train_prior(made, still, still, 200):
        pass
    true, shuffled = finish.order_gain(made, still)
    assert true < before[0]
    assert shuffled - true > 1


def test_shuffled_windows_hold_the_same_bars(windows: Windows) -> None:
    """Every bar keeps its notes and its length, and stays within its window."""
    batch = windows.make(np.arange(len(windows.first)))
    moved = finish._shuffled(batch, np.random.default_rng(0))

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
    list(finish.train_prior(made, windows, windows, 1))
    assert made.prior.upper is not None
    batch = windows.make(np.arange(len(windows.first)))
    z_global, z_local = finish.upper_latents(made, batch, torch.Generator().manual_seed(5))
    standard = torch.distributions.Normal(0.0, 1.0)
    of_piece, of_phrase = made.prior.upper.log_prob(z_global, z_local)
    assert of_piece.mean() > standard.log_prob(z_global).sum(-1).mean()
    assert of_phrase.mean() > standard.log_prob(z_local).sum(-1).mean()
    finish.ship(made, asked, {"deviations": small.DEVIATIONS.tolist()}, {}, tmp_path / "model")
    shipped = Session.open(tmp_path / "model", "cpu").model.prior.upper
    assert shipped is not None
    assert torch.allclose(shipped.mean, made.prior.upper.mean, atol=2e-3)


def test_quantiles_are_the_corpus_own(corpus: Corpus) -> None:
    spread = finish.quantiles(corpus)
    assert list(spread) == list(NAMES)
    for i, name in enumerate(NAMES):
        column = corpus.attribute_table()[:, i]
        assert len(spread[name]) == 101
        assert spread[name][0] == pytest.approx(column.min(), abs=1e-4)
        assert spread[name][100] == pytest.approx(column.max(), abs=1e-4)
        assert (np.diff(spread[name]) >= 0).all()


def test_what_ships_opens_and_plays_the_same_notes(
    model: MusicTransformerVAEGAN, config: Config, corpus: Corpus, tmp_path
) -> None:
    facts = {"deviations": small.DEVIATIONS.tolist(), "quantiles": finish.quantiles(corpus)}
    finish.ship(model, config, facts, {"colour_1": torch.ones(small.MODEL.latent_dim)}, tmp_path / "model")
    session = Session.open(tmp_path / "model", "cpu")
    assert session.sliders[-1].name == "colour_1"
    assert len(session.sliders[0].quantiles or ()) == 101
    assert session.config == config
    notes, bars = Notes.of(small.tune(8)), small.conditions([96] * 8)
    with torch.no_grad():
        played = []
        for each in (model.eval(), session.model):
            q = each.encode(notes, bars, mean=True)
            slots = each.slots(q.z_global, q.z_local, q.z_fine, bars, small.offsets(8))
            played.append(each.decoder.onsets(slots) > -0.4)
    assert float((played[0] ^ played[1]).float().sum()) <= 2  # half precision costs next to nothing
