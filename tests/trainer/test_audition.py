"""Music along the way: the same latents at every checkpoint, few files, and a run that does not notice."""

from __future__ import annotations

import hashlib
import itertools
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine import checkpoint
from engine.config import Config
from engine.score import midi
from engine.score.timing import BarGrid
from engine.session import Session
from tests import learnt
from tests.engine import small
from trainer.audition import BARS, KEPT, Audition, active_shares, prune
from trainer.batches import Windows
from trainer.loop import Step, train
from trainer.monitor import monitored

FACTS = {"deviations": small.DEVIATIONS.tolist()}


def step(n: int) -> Step:
    return Step(n, 100, 1.0, {})


@pytest.fixture(scope="module")
def tune(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tune") / "tune.mid"
    midi.write(small.score(12), path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return learnt.model_folder(tmp_path_factory.mktemp("models") / "small")


def put(model: Path, out: Path, n: int, louder: float = 0.0) -> None:
    """A checkpoint of the learnt model at a step; `louder` moves its decoder a little."""
    saved = checkpoint.Checkpoint(model)
    weights = {k: v + louder * ("decoder.cells.bias" in k) for k, v in saved.tensors().items()}
    checkpoint.save(out / f"step-{n:07d}", weights, saved.config, FACTS)


def digests(out: Path, names: list[str]) -> list[str]:
    return [hashlib.sha256((out / name).read_bytes()).hexdigest() for name in names]


def test_every_checkpoint_is_heard_with_the_same_latents(model: Path, tune: Path, tmp_path: Path) -> None:
    for n, louder in ((10, 0.0), (20, 0.0), (30, 3.0)):
        put(model, tmp_path, n, louder)
    heard = [Audition(tmp_path, piece=tune).at(step(n)) for n in (10, 20, 30)]  # each as after a stop
    assert heard[0]["samples"] == ["samples/step-0000010/piece.mid", "samples/step-0000010/drawn.mid"]
    one, same, other = (digests(tmp_path, h["samples"]) for h in heard)
    assert one == same
    assert one[0] != other[0]
    assert one[1] != other[1]
    score = midi.read(tmp_path / heard[0]["samples"][0])
    assert len(BarGrid.of(score)) <= BARS
    assert len(score.notes) > 20
    assert set(heard[0]["activity"]) == {"global", "local", "fine"}
    assert all(0 <= share <= 1 for share in heard[0]["activity"].values())
    assert Audition(tmp_path, piece=tune).at(step(15)) == {}


def test_a_model_whose_latents_say_nothing_has_no_active_dimensions(model: Path) -> None:
    session, score = Session.open(model, "cpu"), small.score(32)
    assert active_shares(session, [score])["fine"] > 0.5
    with torch.no_grad():
        for p in session.model.encoder.parameters():
            p.zero_()
    assert active_shares(session, [score])["fine"] == 0


def test_training_does_not_notice(config: Config, windows: Windows, tmp_path: Path) -> None:
    """The same losses with and without an audience; threads and randomness as they were."""
    short = replace(config, train=replace(config.train, steps=8))

    def job(out: Path) -> list[Step]:
        steps = train(short, windows, windows, out, FACTS, accelerator="cpu", held_out_windows=1)
        heard = out.name == "heard"
        return list(monitored(steps, short, out, tensorboard=False, audition=Audition(out) if heard else None))

    heard, alone = job(tmp_path / "heard"), job(tmp_path / "alone")
    assert [s.train for s in heard] == [s.train for s in alone]
    assert [s.n for s in heard if "samples" in s.facts] == [4, 8]
    rows = [json.loads(line) for line in (tmp_path / "heard" / "monitor.jsonl").read_text().splitlines()]
    assert [row["samples"] for row in rows if "samples" in row] == [s.facts["samples"] for s in heard[3::4]]
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    Audition(tmp_path / "heard").at(step(8))
    assert torch.get_num_threads() == threads
    assert torch.equal(torch.get_rng_state(), state)


def test_a_style_is_heard_before_and_after(model: Path, tune: Path, tmp_path: Path) -> None:
    from engine.model.adapter import attach, detached

    session = Session.open(model, "cpu")
    parameters = attach(session.model)
    with torch.no_grad():
        for p in parameters:
            p.add_(0.3 * torch.randn(p.shape, generator=torch.Generator().manual_seed(0)))
    facts = {"base": checkpoint.Checkpoint(model).hash}
    checkpoint.save(tmp_path / "step-0000010", detached(session.model), session.config, facts)
    audition = Audition(tmp_path, base=model, piece=tune)
    before, after = audition.at(step(0)), audition.at(step(10))
    assert before["samples"][0] == "samples/step-0000000/piece.mid"
    assert digests(tmp_path, before["samples"]) != digests(tmp_path, after["samples"])


def test_an_audition_that_fails_is_said_once_and_the_run_goes_on(tune: Path, tmp_path: Path) -> None:
    (tmp_path / "step-0000002").mkdir()
    (tmp_path / "step-0000003").mkdir()
    steps = list(
        monitored([step(1), step(2), step(3)], small.CONFIG, tmp_path, audition=Audition(tmp_path, piece=tune))
    )
    assert ["manifest" in s.message for s in steps] == [False, True, False]


def test_few_steps_stay_on_disk_the_first_and_the_last_among_them(tmp_path: Path) -> None:
    kept: list[int] = []
    for n in range(500, 50_001, 500):
        (tmp_path / f"step-{n:07d}").mkdir()
        prune(tmp_path)
        kept = sorted(int(p.name[5:]) for p in tmp_path.iterdir())
        assert len(kept) <= KEPT
        assert (kept[0], kept[-1]) == (500, n)
    ratios = [b / a for a, b in itertools.pairwise(kept)]
    assert max(ratios) < 3  # none of them far from the next
