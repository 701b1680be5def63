"""A model on disk: a folder with safetensors weights, the configuration and a manifest written last.

A folder without a manifest, or whose files do not match it, is not a checkpoint. Nothing is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import uuid
from collections.abc import Mapping
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
REQUIRED = ("model.safetensors", "config.yaml", "facts.json")


def save(
    folder: Path, weights: Mapping[str, Tensor], config: Config, facts: Mapping[str, Any], **more: Mapping[str, Tensor]
) -> None:
    """Write a checkpoint beside `folder` and move it into place; `more` are further tensor files by name.

    Raises MorphonyError when it cannot be written; what was there before then still is.
    """
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
        _replace(folder, fresh)
    except OSError as error:
        raise MorphonyError(f"{folder.name} could not be saved: {reason(error)}.") from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    return save_bytes({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


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


class Checkpoint:
    """A verified checkpoint folder. Raises MorphonyError with one sentence when it is not whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise MorphonyError(f"There is no model folder {folder}.")
        try:
            manifest = json.loads(self._bytes("manifest.json"))
            sums = {str(name): str(digest) for name, digest in manifest["sha256"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise MorphonyError(f"{folder.name} has no readable manifest.json, as a model must.") from error
        if manifest.get("format") != FORMAT or manifest.get("vocabulary") != vocab.VERSION:
            raise MorphonyError(f"{folder.name} was written by another version of Morphony.")
        missing = [name for name in REQUIRED if name not in sums]
        if missing:
            raise MorphonyError(f"{folder.name} is damaged: its manifest does not name {missing[0]}.")
        self._files: dict[str, bytes] = {}
        for name, digest in sums.items():
            try:
                if Path(name).name != name:
                    raise OSError(name)
                self._files[name] = self._bytes(name)
            except (OSError, ValueError) as error:  # ValueError: a name with a NUL
                raise MorphonyError(f"{folder.name} is damaged: {name} cannot be read.") from error
            if hashlib.sha256(self._files[name]).hexdigest() != digest:
                raise MorphonyError(f"{folder.name} is damaged: {name} does not match its manifest.")
        self.hash = hashlib.sha256(json.dumps(sums, sort_keys=True).encode()).hexdigest()[:16]

    def _bytes(self, name: str) -> bytes:
        path = self.folder / name
        found = path.stat()
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
            raise OSError(f"{name} is not a regular file of at most {MAX_BYTES} bytes")
        return path.read_bytes()

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
        """One tensor file, with whatever further parts of it there are: NAME.safetensors, NAME-PART.safetensors."""
        parts = [n for n in self._files if n.startswith(f"{name}-") and n.endswith(".safetensors")]
        try:
            loaded = load_bytes(self._files[f"{name}.safetensors"])
            for part in parts:
                loaded |= load_bytes(self._files[part])
        except (KeyError, SafetensorError, ValueError) as error:
            raise MorphonyError(f"{self.folder.name} is damaged: {name}.safetensors cannot be read.") from error
        return {k: v.to(torch.device(device)) for k, v in loaded.items()}


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
