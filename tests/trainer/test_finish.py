"""From trained weights to a model that ships: colours by measured notes, a prior that learns, a folder that opens."""

from __future__ import annotations

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
from trainer.batches import Windows
from trainer.corpus import Corpus


def test_a_colour_is_as_long_as_the_notes_it_changes(model: MusicTransformerVAEGAN, windows: Windows) -> None:
    """Scaled by measured notes, not by its own sigma."""
    model.eval()
    found = finish.colours(model, windows, 3)
    assert list(found) == [f"colour_{i + 1}" for i in range(finish.COLOURS)]
    directions = torch.stack([d / d.norm() for d in found.values()])
    assert torch.allclose(directions @ directions.T, torch.eye(finish.COLOURS), atol=1e-3)
    rng = np.random.default_rng(0)
    batches = [finish.plain_batch(windows, rng) for _ in range(6)]
    for direction in found.values():
        changed = bars = 0.0
        for b in batches:
            q = model.encode(b.source, b.bars, mean=True)
            before, after = (
                finish._cells(model, q.z_global, q.z_local, q.z_fine + x * direction, b) for x in (0.0, 1.0)
            )
            changed, bars = changed + float((before ^ after).sum()), bars + float(b.bars.clocks.sum()) / 96
        assert changed / bars == pytest.approx(finish.NOTES_PER_SIGMA, rel=0.35)


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
