"""The newest checkpoint damaged in every way we can think of, and at random: the one before loads, and it is said."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from engine import checkpoint
from engine.checkpoint import newest
from engine.config import Config
from tests.engine import small
from trainer.batches import Windows
from trainer.loop import train

WAYS = 300


def cut(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: int(rng.integers(len(data)))]


def zeroed(data: bytes, rng: np.random.Generator) -> bytes:
    first, last = np.sort(rng.integers(len(data), size=2)).tolist()
    return data[:first] + bytes(last + 1 - first) + data[last + 1 :]


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    out[int(rng.integers(len(data)))] ^= 1 << int(rng.integers(8))
    return bytes(out)


def longer(data: bytes, rng: np.random.Generator) -> bytes:
    return data + bytes(int(rng.integers(1, 100)))


def another(data: bytes, rng: np.random.Generator) -> bytes:
    return rng.bytes(len(data))


CHANGES: list[Callable[[bytes, np.random.Generator], bytes]] = [cut, zeroed, flipped, longer, another]


def damage(place: Path, rng: np.random.Generator) -> str:
    """Damage one file of a checkpoint, or take it away; what was done."""
    file = place / str(rng.choice(sorted(p.name for p in place.iterdir())))
    way = int(rng.integers(len(CHANGES) + 1))
    if way == len(CHANGES):
        file.unlink()
        return f"{file.name} gone"
    whole = data = file.read_bytes()
    while data == whole:  # zeros in the place of zeros are no damage
        data = CHANGES[way](whole, rng)
    file.write_bytes(data)
    return f"{file.name} {CHANGES[way].__name__}"


@pytest.fixture(scope="module")
def run(config: Config, windows: Windows, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    facts = {"deviations": small.DEVIATIONS.tolist()}
    list(train(config, windows, windows, out, facts, accelerator="cpu", held_out_windows=1))
    return out


def test_damaged_in_three_hundred_ways_the_one_before_loads_and_it_is_said(run: Path, tmp_path: Path) -> None:
    before = checkpoint.Checkpoint(run / "step-0000008")
    for name in ("step-0000008", "step-0000012"):
        shutil.copytree(run / name, tmp_path / name)
    files = {p: p.read_bytes() for p in (tmp_path / "step-0000012").iterdir()}
    rng = np.random.default_rng(0)
    loaded = 0
    for _ in range(WAYS):
        what = damage(tmp_path / "step-0000012", rng)
        saved, said = newest(tmp_path)
        assert saved is not None, what
        assert saved.folder.name == "step-0000008", what
        assert len(said) == 1, what
        assert said[0].startswith("step-0000012 "), what
        assert said[0].endswith("The one before is used."), what
        loaded += saved.hash == before.hash
        for file, data in files.items():
            if what.startswith(file.name):
                file.write_bytes(data)
    assert loaded == WAYS
    assert checkpoint.is_whole(tmp_path / "step-0000012")


def test_the_last_good_one_is_never_removed(run: Path, tmp_path: Path) -> None:
    """Damaged checkpoints count as none when old ones are cleared away."""
    for step in (4, 8, 12, 16, 20):
        shutil.copytree(run / "step-0000012", tmp_path / f"step-{step:07d}")
    for step in (12, 16, 20):
        (tmp_path / f"step-{step:07d}" / "model.safetensors").write_bytes(b"")
    checkpoint.prune(tmp_path, 2)
    assert [p.name for p in checkpoint.steps(tmp_path)] == ["step-0000004", "step-0000008"]
    shutil.copytree(run / "step-0000012", tmp_path / "step-0000024")
    checkpoint.prune(tmp_path, 2)
    assert [p.name for p in checkpoint.steps(tmp_path)] == ["step-0000008", "step-0000024"]
    checkpoint.prune(tmp_path, 1)
    assert [p.name for p in tmp_path.iterdir()] == ["step-0000024"]


def test_the_best_stay_beside_the_newest(tmp_path: Path) -> None:
    for step, loss in ((2, 3.0), (4, 1.0), (6, 2.0), (8, 5.0), (10, 4.0)):
        facts = {"held_out": {"loss": loss}}
        checkpoint.save(tmp_path / f"step-{step:07d}", {"w": torch.ones(1)}, small.CONFIG, facts)
        checkpoint.prune(tmp_path, 1, 2)
    kept = [int(p.name.partition("-")[2]) for p in checkpoint.steps(tmp_path)]
    assert kept == [4, 6, 10]


def test_what_a_killed_save_left_is_cleared_and_what_it_moved_is_put_back(run: Path, tmp_path: Path) -> None:
    shutil.copytree(run / "best", tmp_path / ".best.0123abcd.old")
    shutil.copytree(run / "best", tmp_path / ".best.0123abcd")
    (tmp_path / ".step-0000004.0123abcd").mkdir()
    (tmp_path / ".mine").mkdir()
    checkpoint.tidy(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mine", "best"]
    assert checkpoint.is_whole(tmp_path / "best")
    shutil.copytree(run / "best", tmp_path / ".best.0123abcd.old")
    checkpoint.tidy(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mine", "best"]


def test_what_is_no_number_is_never_saved(tmp_path: Path) -> None:
    for bad in (float("nan"), float("inf")):
        with pytest.raises(checkpoint.MorphonyError, match="was not saved: w holds values that are no numbers"):
            checkpoint.save(tmp_path / "m", {"w": torch.tensor([1.0, bad])}, small.CONFIG, {})
        with pytest.raises(checkpoint.MorphonyError, match="no numbers"):
            checkpoint.save(tmp_path / "m", {}, small.CONFIG, {}, training={"w": torch.tensor([bad])})
    assert not list(tmp_path.iterdir())
