"""Model folders: whole or refused in one sentence, whatever happened to them."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save as tensor_bytes

from engine import checkpoint
from engine.checkpoint import Checkpoint, newest
from engine.errors import MorphonyError
from engine.session import Session
from tests.engine import small


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "model"
    facts = {"deviations": [1.0] * 12, "note": "é"}
    checkpoint.save(place, small.model().state_dict(), small.CONFIG, facts, extra={"a": torch.arange(3)})
    return place


def test_what_is_saved_is_what_is_read(folder: Path) -> None:
    saved, weights = Checkpoint(folder), small.model().state_dict()
    assert saved.config == small.CONFIG
    assert saved.facts == {"deviations": [1.0] * 12, "note": "é"}
    assert saved.tensors().keys() == weights.keys()
    assert all(torch.equal(saved.tensors()[name], weights[name]) for name in weights)
    assert saved.tensors("extra")["a"].tolist() == [0, 1, 2]
    assert sorted(p.name for p in folder.parent.iterdir()) == ["model"]  # nothing left beside it


def test_tensors_come_in_the_order_of_their_names_in_every_process(tmp_path: Path) -> None:
    """Processes that share out the tensors of a checkpoint one by one would else mix them up."""
    weights = {f"w{i}": torch.full((2,), float(i)) for i in range(40)}
    checkpoint.save(tmp_path / "m", weights, small.CONFIG, {})
    read = Checkpoint(tmp_path / "m").tensors()
    assert list(read) == sorted(weights)
    assert all(torch.equal(read[name], w) for name, w in weights.items())


def test_the_hash_is_of_the_contents(folder: Path) -> None:
    before = Checkpoint(folder).hash
    shutil.copytree(folder, folder.parent / "copy")
    assert Checkpoint(folder.parent / "copy").hash == before
    checkpoint.save(folder, small.model(1).state_dict(), small.CONFIG, {})
    assert Checkpoint(folder).hash != before


def test_saving_over_a_checkpoint_replaces_it_whole(folder: Path) -> None:
    checkpoint.save(folder, {"w": torch.ones(2)}, small.CONFIG, {"n": 2})
    assert Checkpoint(folder).facts == {"n": 2}
    assert not (folder / "extra.safetensors").exists()
    assert len(list(folder.parent.iterdir())) == 1


def test_no_path_and_no_user_is_written(folder: Path) -> None:
    for file in folder.iterdir():
        assert str(folder.parent).encode() not in file.read_bytes()


# ---------------------------------------------------------------- damage


def signed(folder: Path, **contents: bytes) -> None:
    """Write files with a manifest that matches them: damage that no checksum finds."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    for name, data in contents.items():
        name = name.replace("_", ".")
        (folder / name).write_bytes(data)
        manifest["sha256"][name] = hashlib.sha256(data).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def edited(folder: Path, change: Callable[[dict], object]) -> None:
    manifest = json.loads((folder / "manifest.json").read_bytes())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def pipe(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "model.safetensors")


def endless(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").symlink_to("/dev/zero")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "no folder": shutil.rmtree,
    "no manifest": lambda f: (f / "manifest.json").unlink(),
    "empty manifest": lambda f: (f / "manifest.json").write_bytes(b""),
    "manifest of zeros": lambda f: (f / "manifest.json").write_bytes(bytes(400)),
    "manifest a list": lambda f: (f / "manifest.json").write_text("[]"),
    "manifest a number": lambda f: (f / "manifest.json").write_text("3"),
    "manifest a word": lambda f: (f / "manifest.json").write_text('"sha256"'),
    "manifest too deep": lambda f: (f / "manifest.json").write_text("[" * 100_000),
    "manifest not text": lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe"),
    "manifest names no sums": lambda f: edited(f, lambda m: m.pop("sha256")),
    "sums a list": lambda f: edited(f, lambda m: m.update(sha256=[["model.safetensors", "0"]])),
    "sums a word": lambda f: edited(f, lambda m: m.update(sha256="abc")),
    "another format": lambda f: edited(f, lambda m: m.update(format=99)),
    "another vocabulary": lambda f: edited(f, lambda m: m.update(vocabulary=0)),
    "no weights named": lambda f: edited(f, lambda m: m["sha256"].pop("model.safetensors")),
    "no configuration named": lambda f: edited(f, lambda m: m["sha256"].pop("config.yaml")),
    "no facts named": lambda f: edited(f, lambda m: m["sha256"].pop("facts.json")),
    "a way out of the folder": lambda f: edited(f, lambda m: m["sha256"].update({"../../etc/passwd": "0"})),
    "an absolute name": lambda f: edited(f, lambda m: m["sha256"].update({"/etc/passwd": "0"})),
    "a name with a NUL": lambda f: edited(f, lambda m: m["sha256"].update({"a\0b": "0"})),
    "the folder above": lambda f: edited(f, lambda m: m["sha256"].update({"..": "0"})),
    "no weights": lambda f: (f / "model.safetensors").unlink(),
    "weights cut": lambda f: (f / "model.safetensors").write_bytes((f / "model.safetensors").read_bytes()[:-9]),
    "weights of zeros": lambda f: (f / "model.safetensors").write_bytes(bytes(1000)),
    "weights a folder": lambda f: ((f / "model.safetensors").unlink(), (f / "model.safetensors").mkdir()),
    "weights a pipe": pipe,
    "manifest endless": endless,
    "configuration changed": lambda f: (f / "config.yaml").write_text("model: {heads: 1}"),
    "extra cut": lambda f: (f / "extra.safetensors").write_bytes(b""),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_damage_is_one_sentence_that_names_the_model(folder: Path, damage: Callable[[Path], object]) -> None:
    damage(folder)
    with pytest.raises(MorphonyError, match="model") as caught:
        Checkpoint(folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_flipped_bit_anywhere_is_found(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for file in ("model.safetensors", "config.yaml", "facts.json", "extra.safetensors"):
        whole = (folder / file).read_bytes()
        for at in rng.integers(0, len(whole), 12):
            flipped = bytearray(whole)
            flipped[at] ^= 1 << int(rng.integers(8))
            (folder / file).write_bytes(flipped)
            with pytest.raises(MorphonyError, match="does not match its manifest"):
                Checkpoint(folder)
        (folder / file).write_bytes(whole)


WEIGHTS = small.model().state_dict()
HOSTILE: dict[str, dict[str, bytes]] = {
    "weights that are none": {"model_safetensors": b"\x80\x04pickle"},
    "a header of 2^60 bytes": {"model_safetensors": (1 << 60).to_bytes(8, "little") + b"{}"},
    "a tensor past the end": {
        "model_safetensors": (64).to_bytes(8, "little")
        + b'{"w":{"dtype":"F32","shape":[9,9],"data_offsets":[0,324]}}'.ljust(64)
    },
    "other tensors": {"model_safetensors": tensor_bytes({"w": torch.ones(1)})},
    "other shapes": {"model_safetensors": tensor_bytes(WEIGHTS | {"encoder.meter.bias": torch.ones(1)})},
    "a model larger than memory": {"config_yaml": b"model: {hidden_dim: 8192, latent_dim: 8192, bar_dim: 8192}"},
    "a mode that is not built": {"config_yaml": b"model: {mode: quantum}"},
    "a configuration that is none": {"config_yaml": b"\xff\xff"},
    "facts that are none": {"facts_json": b"{"},
    "facts too deep": {"facts_json": b"[" * 100_000},
    "facts a list": {"facts_json": b"[]"},
    "no deviations": {"facts_json": b"{}"},
    "deviations a word": {"facts_json": b'{"deviations": "wide"}'},
    "too few deviations": {"facts_json": b'{"deviations": [1, 2]}'},
    "colours that are not there": {"facts_json": json.dumps({"deviations": [1] * 12, "colours": ["c"]}).encode()},
}


@pytest.mark.parametrize("contents", HOSTILE.values(), ids=HOSTILE)
def test_a_well_signed_but_wrong_model_is_one_sentence_too(folder: Path, contents: dict[str, bytes]) -> None:
    signed(folder, **contents)
    with pytest.raises(MorphonyError) as caught:
        Session.open(folder, "cpu")
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- the newest of several


def run_of(tmp_path: Path, steps: int = 3) -> Path:
    for step in range(1, steps + 1):
        checkpoint.save(tmp_path / f"step-{step:07d}", {"w": torch.ones(1)}, small.CONFIG, {"step": step})
    return tmp_path


def test_the_newest_whole_checkpoint_is_used_and_every_damaged_one_is_told(tmp_path: Path) -> None:
    folder = run_of(tmp_path)
    (folder / "step-0000003" / "facts.json").write_text("{")
    (folder / "step-0000002" / "manifest.json").unlink()
    saved, passed = newest(folder)
    assert saved is not None
    assert saved.facts["step"] == 1
    assert [said.split(" ")[0] for said in passed] == ["step-0000003", "step-0000002"]
    assert all(said.endswith("The one before is used.") for said in passed)


def test_without_a_whole_checkpoint_there_is_none(tmp_path: Path) -> None:
    assert newest(tmp_path) == (None, [])
    assert newest(tmp_path / "nowhere") == (None, [])
    (run_of(tmp_path, 1) / "step-0000001" / "manifest.json").unlink()
    saved, passed = newest(tmp_path)
    assert saved is None
    assert len(passed) == 1
    assert "is used" not in passed[0]


def test_a_save_that_fails_leaves_the_old_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = Checkpoint(folder).hash
    for failing in range(1, 6):
        calls = 0

        def fsync(fd: int, failing: int = failing) -> None:
            nonlocal calls
            calls += 1
            if calls == failing:
                raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", fsync)
            with pytest.raises((OSError, MorphonyError)):
                checkpoint.save(folder, small.model(1).state_dict(), small.CONFIG, {}, extra={})
        assert Checkpoint(folder).hash == before
        assert [p.name for p in folder.parent.iterdir()] == ["model"]


def test_a_configuration_read_back_is_equal_in_every_field(tmp_path: Path) -> None:
    config = replace(small.CONFIG, train=replace(small.CONFIG.train, lr=1.23e-5, corpus_weights={"a": 0.5}))
    checkpoint.save(tmp_path / "m", {"w": torch.ones(1)}, config, {})
    assert Checkpoint(tmp_path / "m").config == config
