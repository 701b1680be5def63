"""Frozen configuration of model and training, read from YAML. Unknown keys are errors that name the nearest known one.

Free of torch: the window reads settings before torch has loaded.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import reprlib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml

from engine.errors import MorphonyError

MAX_YAML_BYTES = 64 * 1024
MAX_YAML_DEPTH = 12
PHRASE_BARS = 4  # bars that share a local latent

T = TypeVar("T")
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 1  # a value in a sentence is short, whatever the file nests


def _limit(config: object, low: float, high: float, *names: str) -> None:
    """Raises MorphonyError for a field outside its limits (both allowed)."""
    for name in names:
        value = getattr(config, name)
        if not low <= value <= high:
            raise MorphonyError(f"{name} must be from {low:g} to {high:g}, not {value}.")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Shape of the model. Widths are channels, layers are counts."""

    mode: str = "vae"
    attention: str = "full"  # a name in engine.model.attention.REGISTRY
    hidden_dim: int = 192  # width of a decoder slot
    heads: int = 6
    decoder_layers: int = 3
    encoder_layers: int = 1  # attention layers over the bars of a phrase
    slot_dim: int = 96  # width of an encoder slot
    bar_dim: int = 256  # width of a bar vector
    note_dim: int = 128  # width of the heads that give a note its duration, velocity, micro-shift and part
    latent_dim: int = 256  # fine: one per bar
    local_dim: int = 64  # one per phrase of four bars
    global_dim: int = 64  # one per piece
    prior_dim: int = 256  # width of the conditional prior over bars
    prior_layers: int = 3
    threshold: float = 0.4  # a cell becomes a note above this probability

    def __post_init__(self) -> None:
        widths = ("hidden_dim", "slot_dim", "bar_dim", "note_dim", "latent_dim", "local_dim", "global_dim", "prior_dim")
        _limit(self, 1, 8192, *widths)
        _limit(self, 1, 64, "heads", "decoder_layers", "encoder_layers", "prior_layers")
        _limit(self, 0.01, 0.99, "threshold")

    def heads_for(self, width: int) -> int:
        """The configured number of heads, or the next smaller one that divides `width`."""
        return next(h for h in range(self.heads, 0, -1) if width % h == 0)


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights of the loss terms, by name; a term not named keeps its registry's weight."""

    weights: Mapping[str, float] = field(default_factory=dict)
    off: tuple[str, ...] = ()  # terms switched off
    kl_warmup: float = 0.2  # share of the run over which the KL weights (betas) rise from 0
    free_bits: float = 0.25  # nats a dimension, for the two upper levels

    def __post_init__(self) -> None:
        _limit(self, 0, 1, "kl_warmup")
        _limit(self, 0, 100, "free_bits")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How a run proceeds."""

    seed: int = 1
    steps: int = 30_000
    slots_per_step: int = 1152  # a batch holds this many slots of 4 clocks: 48 bars of 4/4
    window_bars: int = 8  # consecutive bars of one piece, whole phrases of four
    lr: float = 2e-3
    lr_warmup: int = 200
    weight_decay: float = 0.01
    clip: float = 1.0
    ema: float = 0.999
    edited_pairs: float = 0.5  # share of bars that decode an edited twin
    transpose: int = 6  # semitones either way
    corpus_weights: Mapping[str, float] = field(default_factory=dict)  # share of a corpus in the batches
    evaluate_every: int = 1000
    checkpoint_every: int = 1000
    patience: int = 8  # evaluations without a better held-out loss before the run stops
    threads: int = 1

    def __post_init__(self) -> None:
        _limit(self, 1, 10**9, "steps", "slots_per_step", "evaluate_every", "checkpoint_every", "patience")
        _limit(self, 0, 10**9, "seed", "lr_warmup")
        _limit(self, 1, 256, "threads")
        _limit(self, 0, 24, "transpose")
        _limit(self, 0, 1, "lr", "weight_decay", "ema", "edited_pairs")
        _limit(self, PHRASE_BARS, 1024, "window_bars")
        if self.window_bars % PHRASE_BARS:
            raise MorphonyError(f"window_bars must be a multiple of {PHRASE_BARS}: windows are whole phrases.")


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of a YAML file."""

    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()


def load(path: Path) -> Config:
    """Read a YAML file. Raises MorphonyError with one sentence when it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MorphonyError(f"{path.name} could not be read: {error}.") from error
    return parse(text, path.name)


def parse(text: str, name: str = "configuration") -> Config:
    """Read YAML text; `name` is what error sentences call it."""
    if len(text) > MAX_YAML_BYTES:
        raise MorphonyError(f"{name} is larger than {MAX_YAML_BYTES // 1024} KiB, which no configuration needs.")
    depth = deepest = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    if deepest > MAX_YAML_DEPTH:
        raise MorphonyError(f"{name} is nested more than {MAX_YAML_DEPTH} levels deep.")
    try:
        data = _Loader(text).get_single_data()
    except (yaml.YAMLError, RecursionError) as error:
        raise MorphonyError(f"{name} is not valid YAML: {str(error).splitlines()[0]}.") from error
    return build(Config, data or {}, name)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which only true and false are booleans, as in YAML 1.2: `off` is a key of ours."""

    yaml_implicit_resolvers = {  # noqa: RUF012  # PyYAML declares it on instances
        first: [(tag, pattern) for tag, pattern in kinds if tag != "tag:yaml.org,2002:bool" or first in "tTfF"]
        for first, kinds in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


def build(cls: type[T], data: object, name: str) -> T:
    """Make a frozen dataclass from plain data, refusing unknown keys and wrong types by name."""
    if not isinstance(data, Mapping):
        raise MorphonyError(f"{name} must hold keys and values, not {type(data).__name__}.")
    hints = typing.get_type_hints(cls)
    known = {f.name for f in dataclasses.fields(cls)}  # type: ignore[arg-type]  # T is always one of ours
    values: dict[str, Any] = {}
    for key, value in data.items():
        if key not in known:
            near = difflib.get_close_matches(str(key), known, 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise MorphonyError(f"{name} has an unknown key {_BRIEF.repr(key)}{hint}")
        values[key] = _convert(hints[key], value, f"{name}: {key}")
    try:
        return cls(**values)
    except MorphonyError as error:
        raise MorphonyError(f"{name}: {error}") from None


def _convert(kind: Any, value: object, name: str) -> object:
    if dataclasses.is_dataclass(kind):
        return build(kind, value, name)  # type: ignore[arg-type]  # is_dataclass has no narrowing to a type
    origin = typing.get_origin(kind)
    if origin is tuple and isinstance(value, list):
        return tuple(_convert(typing.get_args(kind)[0], v, name) for v in value)
    if origin in (dict, Mapping, typing.get_origin(Mapping[str, float])) and isinstance(value, Mapping):
        return types.MappingProxyType({str(k): _convert(float, v, f"{name}.{k}") for k, v in value.items()})
    if kind is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise MorphonyError(f"{name} must be a finite number, not {value}.")
        return float(value)
    if isinstance(kind, type) and isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return value
    wanted = getattr(kind, "__name__", str(kind))
    raise MorphonyError(f"{name} must be of type {wanted}, not {_BRIEF.repr(value)}.")


def to_plain(config: object) -> dict[str, Any]:
    """Plain dictionaries and lists, ready for YAML or JSON."""
    out: dict[str, Any] = {}
    for f in dataclasses.fields(config):  # type: ignore[arg-type]  # called with our dataclasses only
        value = getattr(config, f.name)
        if dataclasses.is_dataclass(value):
            out[f.name] = to_plain(value)
        elif isinstance(value, Mapping):
            out[f.name] = dict(value)
        else:
            out[f.name] = list(value) if isinstance(value, tuple) else value
    return out
