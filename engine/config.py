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

PRESETS = Path(__file__).resolve().parent.parent / "assets" / "configs"
MAX_YAML_BYTES = 64 * 1024
MAX_YAML_DEPTH = 12
PHRASE_BARS = 4  # bars that share a local latent
MODES = ("transformer", "vae", "vae_gan")
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
STRATEGIES = ("ddp", "sharded")
RATES = ("hold", "cosine", "plateau", "constant")

T = TypeVar("T")
_BRIEF = reprlib.Repr()
_BRIEF.maxlevel = 1  # a value in a sentence is short, whatever the file nests


def _limit(config: object, low: float, high: float, *names: str) -> None:
    """Raises MorphonyError for a field outside its limits (both allowed)."""
    for name in names:
        value = getattr(config, name)
        if not low <= value <= high:
            raise MorphonyError(f"{name} must be from {low:g} to {high:g}, not {value}.")


def _one_of(config: object, name: str, choices: tuple[str, ...]) -> None:
    """Raises MorphonyError for a name that is none of the choices."""
    value = getattr(config, name)
    if value not in choices:
        raise MorphonyError(f"{name} must be one of {', '.join(choices)}, not {value!r}.")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """Shape of the model. Widths are channels, layers are counts."""

    mode: str = "vae"  # transformer, vae or vae_gan
    attention: str = "full"  # a name in engine.model.attention.REGISTRY
    window: int = 256  # positions a local attention sees
    landmarks: int = 64  # summaries of earlier windows that hierarchical attention adds
    checkpointing: bool = False  # recompute activations while training: less memory, a third more time
    layers: int = 4  # of transformer mode
    hidden_dim: int = 192  # width of a decoder slot
    heads: int = 6
    decoder_layers: int = 3
    encoder_layers: int = 1  # attention layers over the bars of a phrase
    discriminator_layers: int = 3  # of each scale of the critic, in vae_gan mode
    slot_dim: int = 96  # width of an encoder slot
    bar_dim: int = 256  # width of a bar vector
    note_dim: int = 128  # width of the heads that give a note its duration, velocity, micro-shift and part
    latent_dim: int = 256  # fine: one per bar
    local_dim: int = 64  # one per phrase of four bars
    global_dim: int = 64  # one per piece
    use_hierarchical: bool = True  # without it the phrase and piece latents carry nothing
    beta_vae: bool = True  # without it every divergence weighs 1, as in a plain VAE
    batch_norm_posterior: bool = False  # posterior means normalised over the batch (Zhu et al. 2020)
    prior: str = "gaussian"  # of the latents in the ELBO: a name in engine.model.level_priors.REGISTRY
    prior_components: int = 16  # of the mixture
    prior_flows: int = 4  # coupling layers of the flow
    prior_dim: int = 256  # width of the conditional prior over bars
    prior_layers: int = 6
    prior_steps: int = 5  # of its solver, two passes each, for a window of sixteen bars
    upper_prior: str = "level"  # of new phrase and piece latents: the level's own, or "fitted" to those music has
    refiner: bool = False  # with a part that writes drafted notes anew, one by one
    refiner_dim: int = 128  # its width
    refiner_layers: int = 2
    threshold: float = 0.4  # a cell becomes a note above this probability

    def __post_init__(self) -> None:
        widths = ("hidden_dim", "slot_dim", "bar_dim", "note_dim", "latent_dim", "local_dim", "global_dim", "prior_dim")
        _limit(self, 1, 8192, *widths, "refiner_dim")
        layers = ("layers", "decoder_layers", "encoder_layers", "prior_layers", "refiner_layers")
        _limit(self, 1, 64, "heads", *layers, "discriminator_layers")
        _limit(self, 1, 1024, "prior_components", "prior_flows", "prior_steps", "landmarks")
        _limit(self, 1, 1 << 20, "window")
        _limit(self, 0.01, 0.99, "threshold")
        _one_of(self, "mode", MODES)
        _one_of(self, "upper_prior", ("level", "fitted"))

    def heads_for(self, width: int) -> int:
        """The configured number of heads, or the next smaller one that divides `width`."""
        return next(h for h in range(self.heads, 0, -1) if width % h == 0)


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights of the loss terms, by name; a term not named keeps its registry's weight."""

    weights: Mapping[str, float] = field(default_factory=dict)
    on: tuple[str, ...] = ()  # terms or groups switched on besides reconstruction and divergence
    off: tuple[str, ...] = ()  # terms or groups switched off
    style_weights: Mapping[str, Mapping[str, float]] = field(default_factory=dict)  # style (corpus) -> term -> factor
    balance: str = "fixed"  # of the terms: fixed weights, or learned by uncertainty (Kendall et al. 2018)
    beta: float = 1.0  # scales every KL weight
    kl_schedule: str = "linear"  # linear, cyclical, cosine or adaptive
    kl_warmup: float = 0.2  # share of the run (of each cycle) over which the KL weights rise from 0
    kl_cycles: int = 4  # of the cyclical schedule
    kl_target: float = 150.0  # nats per 4/4 bar that the adaptive schedule holds
    free_bits: float = 0.25  # nats a dimension, for the two upper levels
    free_bits_fine: float = 0.0  # the same for the bar latent
    word_dropout: float = 0.0  # share of notes (or events) hidden from what reads them while training
    critic_start: float = 0.6  # share of the run after which the critic begins to learn (stage 2)
    adversarial_start: float = 0.7  # share after which the decoder hears it (stage 3)
    critic_every: int = 2  # the decoder hears the critic every k-th step

    def __post_init__(self) -> None:
        _limit(self, 0, 1, "kl_warmup", "word_dropout", "critic_start", "adversarial_start")
        _limit(self, 0, 100, "free_bits", "free_bits_fine", "beta")
        _limit(self, 0, 10**6, "kl_target")
        _limit(self, 1, 1000, "kl_cycles", "critic_every")
        _one_of(self, "balance", ("fixed", "uncertainty"))
        _one_of(self, "kl_schedule", ("linear", "cyclical", "cosine", "adaptive"))


@dataclass(frozen=True, slots=True)
class Chance:
    """How probable something is as a run goes on: from `start` to `end` in a straight line, then as it is."""

    start: float = 0.0
    end: float = 0.0
    until: float = 1.0  # share of the run after which it is `end`

    def __post_init__(self) -> None:
        _limit(self, 0, 1, "start", "end", "until")

    def at(self, progress: float) -> float:
        """The probability at a share of the run."""
        there = min(progress / self.until, 1.0) if self.until else 1.0
        return self.start + (self.end - self.start) * there


@dataclass(frozen=True, slots=True)
class AugmentConfig:
    """How often each edit of `trainer.augment.WINDOW_EDITS` is made to a window of bars; events are only transposed."""

    transpose: Chance = Chance(1.0, 1.0)  # by up to train.transpose semitones
    tempo: Chance = Chance()  # played slower or faster: what is early or late is less or more of a beat
    swing: Chance = Chance()  # the second half of beats (or of half beats) later
    dynamics: Chance = Chance()  # softer, louder, flatter, steeper, swelling
    drop_parts: Chance = Chance()  # some of the parts silent and gone, never all
    substitute: Chance = Chance()  # parts change their numbers among themselves, or one moves by an octave

    @property
    def edits(self) -> bool:
        """Whether anything but transposition is ever done."""
        names = ("tempo", "swing", "dynamics", "drop_parts", "substitute")
        return any(max(getattr(self, name).start, getattr(self, name).end) > 0 for name in names)


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """How a run proceeds."""

    seed: int = 1
    steps: int = 30_000
    prior_steps: int = 3000  # of the prior over bars, afterwards
    slots_per_step: int = 1152  # a batch holds this many slots of 4 clocks: 48 bars of 4/4
    notes_per_step: int = 0  # a batch holds at most so many notes as well, one window at least; 0: as they come
    window_bars: int = 8  # consecutive bars of one piece, whole phrases of four
    accumulate: int = 1  # batches whose gradients one step adds up; with several processes, so many in each
    precision: str = "32-true"  # or bf16-mixed, or 16-mixed (with loss scaling); losses are summed in 32 bits in each
    strategy: str = "ddp"  # of several processes: ddp, or sharded (FSDP2) where a model does not fit one device
    lr: float = 2e-3  # highest learning rate
    lr_schedule: str = "hold"  # a name in trainer.schedules.RATES: hold, cosine, plateau, constant
    lr_warmup: int = 200  # steps of a linear rise, before any schedule
    plateau_patience: int = 3  # measurements without a better held-out loss before schedule plateau lowers the rate
    plateau_factor: float = 0.5  # by how much it does
    weight_decay: float = 0.01
    clip: float = 1.0  # longest gradient
    ema: float = 0.999  # how much of the averaged weights a step keeps
    average: str = "none"  # of the kept checkpoints, at the end: none, last or best; shipped only where it is better
    snapshot_every: int = 50  # steps between the states in memory that a run returns to when numbers fail
    edited_pairs: float = 0.5  # share of bars that decode an edited twin
    transpose: int = 6  # semitones either way
    augment: AugmentConfig = AugmentConfig()  # how often windows are edited as the run goes on
    curriculum: float = 0.0  # share of the run over which windows go from short and simple to all there are; 0: all
    curriculum_start: float = 0.25  # share of the windows, the simplest, that a curriculum begins with
    event_window: int = 1024  # tokens of a piece that transformer mode learns from at once; shorter pieces are whole
    events_per_step: int = 4096  # a batch of transformer mode holds this many tokens
    corpus_weights: Mapping[str, float] = field(default_factory=dict)  # share of a corpus in the batches
    evaluate_every: int = 1000
    checkpoint_every: int = 1000
    keep: int = 2  # newest whole checkpoints that stay
    keep_best: int = 0  # further ones that stay because their held-out loss is the best
    stop_on: tuple[str, ...] = (
        "loss",
    )  # held-out figures, such as loss and f1, any of which shows that a run improves
    patience: int = 8  # measurements in which none of them has improved before the run stops
    threads: int = 1

    def __post_init__(self) -> None:
        _limit(
            self, 1, 10**9, "steps", "prior_steps", "slots_per_step", "evaluate_every", "checkpoint_every", "patience"
        )
        _limit(self, 1, 10**9, "snapshot_every", "plateau_patience")
        _limit(self, 0, 10**9, "seed", "lr_warmup")
        _limit(self, 1, 4096, "accumulate")
        _limit(self, 1, 1000, "keep")
        _limit(self, 0, 1000, "keep_best")
        _limit(self, 0.01, 1, "plateau_factor")
        _one_of(self, "precision", PRECISIONS)
        _one_of(self, "strategy", STRATEGIES)
        _one_of(self, "lr_schedule", RATES)
        _one_of(self, "average", ("none", "last", "best"))
        _limit(self, 1, 256, "threads")
        _limit(self, 0, 24, "transpose")
        _limit(self, 0, 1, "lr", "weight_decay", "ema", "edited_pairs", "curriculum")
        _limit(self, 0.01, 1, "curriculum_start")
        _limit(self, 0, 10**9, "notes_per_step")
        _limit(self, PHRASE_BARS, 1024, "window_bars")
        _limit(self, 8, 1 << 20, "event_window", "events_per_step")
        if not self.stop_on:
            raise MorphonyError("stop_on must name at least one held-out figure, such as loss.")
        if self.window_bars % PHRASE_BARS:
            raise MorphonyError(f"window_bars must be a multiple of {PHRASE_BARS}: windows are whole phrases.")


@dataclass(frozen=True, slots=True)
class Config:
    """The whole of a YAML file."""

    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    train: TrainConfig = TrainConfig()


def load(path: Path) -> Config:
    """Read a YAML file, or a preset by its bare name. Raises MorphonyError with one sentence when it cannot be used."""
    preset = PRESETS / f"{path.name}.yaml"
    if not path.suffix and path.name == str(path) and preset.is_file() and not path.exists():
        path = preset
    return build(Config, read(path), path.name)


def parse(text: str, name: str = "configuration") -> Config:
    """Read YAML text; `name` is what error sentences call it."""
    return build(Config, plain(text, name), name)


def override(config: Config, changes: Mapping[str, object]) -> Config:
    """The same configuration with some keys changed, each written like "model.prior"."""
    data = to_plain(config)
    for key, value in changes.items():
        section, _, name = key.partition(".")
        if section not in data or not name:
            raise MorphonyError(f"{key!r} names no setting; write one like model.prior or train.steps.")
        data[section][name] = value
    return build(Config, data, "configuration")


def read(path: Path) -> object:
    """Plain data of a YAML file. Raises MorphonyError with one sentence when it cannot be used."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MorphonyError(f"{path.name} could not be read: {error}.") from error
    return plain(text, path.name)


def plain(text: str, name: str) -> object:
    """Plain data of YAML text, within limits of size and depth."""
    if len(text) > MAX_YAML_BYTES:
        raise MorphonyError(f"{name} is larger than {MAX_YAML_BYTES // 1024} KiB, which no configuration needs.")
    depth = deepest = 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        deepest = max(deepest, depth)
    if deepest > MAX_YAML_DEPTH:
        raise MorphonyError(f"{name} is nested more than {MAX_YAML_DEPTH} levels deep.")
    try:
        return _Loader(text).get_single_data() or {}
    except (yaml.YAMLError, RecursionError) as error:
        raise MorphonyError(f"{name} is not valid YAML: {str(error).splitlines()[0]}.") from error


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
        inner = typing.get_args(kind)[1]
        return types.MappingProxyType({str(k): _convert(inner, v, f"{name}.{k}") for k, v in value.items()})
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
            out[f.name] = {k: dict(v) if isinstance(v, Mapping) else v for k, v in value.items()}
        else:
            out[f.name] = list(value) if isinstance(value, tuple) else value
    return out
