"""A model on disk: a folder with safetensors weights, the configuration and a manifest written last.

A folder without a manifest, or whose files do not match it, is not a checkpoint. Nothing is ever unpickled, and nothing
that is no number is ever saved.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from torch import Tensor

from engine import config as configuration
from engine.config import Config
from engine.errors import MorphonyError, reason
from engine.tokens import vocab

FORMAT = 1
MAX_BYTES = 2 << 30
_FRESH = re.compile(r"\.(step-\d+|best|model)\.[0-9a-f]{8}(\.old)?")  # what `save` writes beside a checkpoint
REQUIRED = ("model.safetensors", "config.yaml", "facts.json")


def save(
    folder: Path, weights: Mapping[str, Tensor], config: Config, facts: Mapping[str, Any], **more: Mapping[str, Tensor]
) -> None:
    """Write a checkpoint beside `folder` and move it into place; `more` are further tensor files by name.

    Raises MorphonyError when it cannot be written or holds what is no number; what was there before then still is.
    """
    for name, tensor in (pair for tensors in (weights, *more.values()) for pair in tensors.items()):
        if not bool(torch.isfinite(tensor).all()):
            raise MorphonyError(f"{folder.name} was not saved: {name} holds values that are no numbers.")
    files = {"model.safetensors": _tensor_bytes(weights)}
    files |= {f"{name}.safetensors": _tensor_bytes(tensors) for name, tensors in more.items()}
    files["config.yaml"] = yaml.safe_dump(configuration.to_plain(config), sort_keys=False).encode()
    files["facts.json"] = json.dumps(dict(facts), indent=1).encode()
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    manifest = {"format": FORMAT, "vocabulary": vocab.VERSION, "sha256": sums}
    files["manifest.json"] = json.dumps(manifest, indent=1).encode()  # last: without it the folder is no checkpoint
    fresh = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        fresh.mkdir(parents=True)
        for name, data in files.items():
            with (fresh / name).open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
        _settle(fresh)
        _replace(folder, fresh)
        _settle(folder.parent)
    except OSError as error:
        raise MorphonyError(f"{folder.name} could not be saved: {reason(error)}.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return save_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def _settle(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can be asked for that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _replace(folder: Path, fresh: Path) -> None:
    if not folder.exists():
        fresh.rename(folder)
        return
    old = folder.with_name(f"{fresh.name}.old")
    folder.rename(old)
    try:
        fresh.rename(folder)
    except OSError:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _manifest(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a checkpoint, by name."""
    try:
        manifest = json.loads(_bytes(folder / "manifest.json"))
        sums = {str(name): str(digest) for name, digest in manifest["sha256"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MorphonyError(f"{folder.name} has no readable manifest.json, as a model must.") from error
    if manifest.get("format") != FORMAT or manifest.get("vocabulary") != vocab.VERSION:
        raise MorphonyError(f"{folder.name} was written by another version of Morphony.")
    missing = [name for name in REQUIRED if name not in sums]
    if missing:
        raise MorphonyError(f"{folder.name} is damaged: its manifest does not name {missing[0]}.")
    return sums


def _verified(folder: Path, sums: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """Name and contents of each file, one at a time. Raises MorphonyError for the first that is not as signed."""
    for name, digest in sums.items():
        try:
            if Path(name).name != name:
                raise OSError(name)
            data = _bytes(folder / name)
        except (OSError, ValueError) as error:  # ValueError: a name with a NUL
            raise MorphonyError(f"{folder.name} is damaged: {name} cannot be read.") from error
        if hashlib.sha256(data).hexdigest() != digest:
            raise MorphonyError(f"{folder.name} is damaged: {name} does not match its manifest.")
        yield name, data


def _bytes(path: Path) -> bytes:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
        raise OSError(f"{path.name} is not a regular file of at most {MAX_BYTES} bytes")
    return path.read_bytes()


class Checkpoint:
    """A verified checkpoint folder. Raises MorphonyError with one sentence when it is not whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise MorphonyError(f"There is no model folder {folder}.")
        sums = _manifest(folder)
        self._files = dict(_verified(folder, sums))
        self.hash = hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def config(self) -> Config:
        """The configuration it was trained with."""
        text = self._files["config.yaml"].decode(errors="replace")
        return configuration.parse(text, f"{self.folder.name}/config.yaml")

    @property
    def facts(self) -> dict[str, Any]:
        """What is known of the model besides weights: steps, attribute units, sliders."""
        try:
            out = json.loads(self._files["facts.json"])
        except (ValueError, RecursionError) as error:
            raise MorphonyError(f"{self.folder.name} is damaged: facts.json cannot be read.") from error
        if not isinstance(out, dict):
            raise MorphonyError(f"{self.folder.name} is damaged: facts.json holds no facts.")
        return out

    def tensors(self, name: str = "model", device: str = "cpu") -> dict[str, Tensor]:
        """One tensor file, with whatever further parts of it there are: NAME.safetensors, NAME-PART.safetensors.

        In the order of their names: safetensors gives each process an order of its own, and those that share out the
        tensors of a checkpoint must agree on which comes next.
        """
        parts = [n for n in self._files if n.startswith(f"{name}-") and n.endswith(".safetensors")]
        try:
            loaded = load_bytes(self._files[f"{name}.safetensors"])
            for part in parts:
                loaded |= load_bytes(self._files[part])
        except (KeyError, SafetensorError, ValueError) as error:
            raise MorphonyError(f"{self.folder.name} is damaged: {name}.safetensors cannot be read.") from error
        return {name: loaded[name].to(torch.device(device)) for name in sorted(loaded)}


# ---------------------------------------------------------------- a run's checkpoints: step-N below one folder


def newest(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest whole checkpoint `step-*` below `folder`, and a sentence for each one passed over."""
    passed: list[str] = []
    for place in sorted(folder.glob("step-*"), reverse=True):
        try:
            saved = Checkpoint(place)
        except MorphonyError as error:
            passed.append(str(error))
        else:
            return saved, [f"{sentence} The one before is used." for sentence in passed]
    return None, passed


def is_whole(folder: Path) -> bool:
    """Whether a folder is a checkpoint whose every file is as it was written."""
    try:
        for _ in _verified(folder, _manifest(folder)):
            pass
    except MorphonyError:
        return False
    return True


def steps(folder: Path) -> list[Path]:
    """The whole checkpoints below `folder`, oldest first."""
    return [place for place in sorted(folder.glob("step-*")) if is_whole(place)]


def held_out_loss(place: Path) -> float:
    """What a checkpoint was measured at when it was written; infinity when it was not measured then."""
    held_out = Checkpoint(place).facts.get("held_out")
    return float(held_out["loss"]) if held_out else math.inf


def prune(folder: Path, keep: int, keep_best: int = 0) -> None:
    """Remove checkpoints older than the `keep` newest whole ones, but for the `keep_best` of the lowest loss.

    One that is damaged counts as none, so there are always `keep` to go back to once so many were written.
    """
    there = steps(folder)
    if len(there) <= keep:
        return
    older = there[:-keep]
    best = sorted(older, key=held_out_loss)[:keep_best] if keep_best else []
    for place in folder.glob("step-*"):
        if place.name < there[-keep].name and place not in best:
            gone = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")  # at once, so that none is ever half there
            place.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)


def tidy(folder: Path) -> None:
    """Remove what a killed `save` left below `folder`, and put back what it had moved aside."""
    for old in folder.glob(".*.old"):
        name = old.name.split(".")[1]
        if not (folder / name).exists():
            old.rename(folder / name)
    for left in folder.glob(".*.*"):
        if left.is_dir() and _FRESH.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)
