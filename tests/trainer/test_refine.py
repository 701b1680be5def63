"""A refiner learns on a frozen model to make sense of drafts that went astray, and is compared with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import config
from engine.checkpoint import Checkpoint
from engine.compose import Request, blind, knobs_of
from engine.decoding import decode
from engine.errors import MorphonyError
from engine.model.batch import Notes, Offsets
from engine.model.vaegan import MusicTransformerVAEGAN
from engine.refining import refine as write_anew
from engine.session import Session
from tests import learnt
from tests.engine import small
from trainer import recipe, refine
from trainer.batches import Batch, Windows
from trainer.evaluate import classifier, refined
from trainer.evaluate.notes import bar_f1

CONFIG = config.override(small.CONFIG, {"model.refiner": True, "model.refiner_dim": 48})
BARS = small.conditions([96] * 8)
PHRASE = small.conditions([96] * 4)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learnt.model_folder(tmp_path_factory.mktemp("model") / "base")


def with_refiner(base: Path) -> MusicTransformerVAEGAN:
    torch.manual_seed(0)
    model = MusicTransformerVAEGAN(CONFIG.model)
    model.load(Checkpoint(base).tensors())
    return model.eval()


class OneBatch(Windows):
    """The same windows at every step."""

    def __init__(self, windows: Windows) -> None:
        self.__dict__.update(windows.__dict__)
        notes = Notes.of(small.tune(4))
        self.batch = Batch(notes, notes, PHRASE, Offsets.none(4))

    def plain(self, rng: np.random.Generator) -> Batch:
        return self.batch


def test_latents_astray_keep_their_mean_and_covariance(base: Path) -> None:
    model, notes, noise = with_refiner(base), Notes.of(small.tune(8)), torch.Generator().manual_seed(0)
    with torch.no_grad():
        q = model.encode(notes, BARS, noise)
        here = refine.astray(q, BARS, torch.zeros(1), noise)
        drawn = torch.stack([refine.astray(q, BARS, torch.ones(1), noise)[2] for _ in range(800)])
        near = torch.stack([refine.astray(q, BARS, torch.full((1,), 0.3), noise)[2] for _ in range(200)])
    assert torch.allclose(here[2], q.z_fine, atol=1e-5)
    assert torch.equal(here[0], q.z_global)
    spread = q.z_fine.std(0)
    assert torch.allclose(drawn.mean((0, 1)), q.z_fine.mean(0), atol=0.1 * float(spread.max()))
    assert torch.allclose(drawn.flatten(0, 1).std(0), spread, rtol=0.15)
    assert float((near.mean(0) - q.z_fine).norm()) < 0.2 * float((drawn.mean(0) - q.z_fine).norm())


def test_a_refiner_learns_its_bars_whatever_the_draft_says(base: Path, windows: Windows, tmp_path: Path) -> None:
    """One phrase by heart: a tenth of the draft's nats, and more of its notes when it writes alone."""
    model, source = with_refiner(base), OneBatch(windows)
    before = {n: t.clone() for n, t in model.state_dict().items() if not n.startswith("refiner")}
    *_, last = refine.train_refiner(model, source, windows, 300)
    assert last.held_out is not None
    assert {"refined.0", "draft.0", "refined.1.when", "draft.0.5.part"} <= set(last.held_out)
    assert all(torch.equal(t, model.state_dict()[n]) for n, t in before.items())
    found = refine.compared(model, [source.batch])
    assert found["refined.0"] < 0.1 * found["draft.0"]
    assert found["refined.1"] < 0.4 * found["draft.1"]
    refine.write(Checkpoint(base), model, tmp_path / "refined")
    session, noise = Session.open(tmp_path / "refined", "cpu"), torch.Generator().manual_seed(1)
    piece, truth = session.encode(small.score(4)), small.tune(4)
    with torch.no_grad():
        q = session.model.encode(source.batch.source, PHRASE, noise)
    for far in (0.0, 0.6):
        z = refine.astray(q, PHRASE, torch.full((1,), far), noise)
        lost = replace(blind(piece), z_global=z[0], z_local=z[1], z_fine=z[2], cache={})
        drafted = decode(session, lost, list(range(4)), knobs_of(session, Request(blend=False)))
        anew = write_anew(session, lost, [list(range(4))], knobs_of(session, Request(blend=False, refine=far)))
        assert bar_f1(truth, anew, 4)[0].mean() > bar_f1(truth, drafted, 4)[0].mean(), far


def test_a_model_is_given_a_refiner_and_keeps_the_rest(base: Path, good_folder: Path, tmp_path: Path) -> None:
    music = recipe.Music(good_folder, cache=tmp_path / "cache")
    assert list(recipe.teach_refiner(base, music, tmp_path / "model", 3))[-1].n == 3
    saved, mine = Checkpoint(tmp_path / "model"), Checkpoint(base).tensors()
    assert all(torch.equal(saved.tensors()[n], t) for n, t in mine.items())
    assert saved.config.model.refiner
    assert set(saved.tensors("colours")) == {"colour_1"}
    assert list(recipe.teach_refiner(tmp_path / "model", music, tmp_path / "more", 2))[-1].n == 2  # goes on with it
    assert Session.open(tmp_path / "more", "cpu").model.refiner is not None


def test_the_comparison_takes_the_same_latents_both_ways(
    base: Path, good_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = with_refiner(base)
    refine.write(Checkpoint(base), model, tmp_path / "model")
    session = Session.open(tmp_path / "model", "cpu")
    monkeypatch.setattr(refined, "SEEDS", (0, 1))
    monkeypatch.setattr(classifier, "LEAST_STEPS", 4)  # its verdict is not what is tested here
    monkeypatch.setattr(classifier, "EPOCHS", 1)
    monkeypatch.setattr(refined, "WAYS", {name: refined.WAYS[name] for name in ("draft", "refined")})
    monkeypatch.setattr(refined, "SOURCES", {"own": refined.SOURCES["own"]})
    from trainer.evaluate import evaluate

    job = evaluate(session, good_folder, figures=("refined",))
    while True:
        try:
            next(job)
        except StopIteration as end:
            found = end.value["figures"]["all"]
            break
    assert found["own.refined.f1"] == pytest.approx(found["own.draft.f1"], abs=0.15)  # untrained: nearly the draft
    assert 0 < found["own.draft.f1"] < 1
    assert {"music.chroma_alike", "own.draft.overlap", "own.refined.notes_a_bar", "own.refined.told"} <= set(found)
    with pytest.raises(MorphonyError, match="no refiner"):
        list(evaluate(Session.open(base, "cpu"), good_folder, figures=("refined",)))


def test_figures_of_every_source_come_from_the_same_draws(base: Path, tmp_path: Path) -> None:
    refine.write(Checkpoint(base), with_refiner(base), tmp_path / "model")
    session = Session.open(tmp_path / "model", "cpu")
    like = refined.of_piece(session.encode(small.score()))
    for source in refined.SOURCES:
        first, again = (refined.made(session, like, source, refined.WAYS["refined_drawn"]) for _ in range(2))
        assert [w.notes.tobytes() for w in first] == [w.notes.tobytes() for w in again], source
