"""Configuration: what is not understood is refused by name, what is shipped loads."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import yaml

from engine import config
from engine.config import Config, ModelConfig, TrainConfig, load, override, parse, to_plain
from engine.errors import MorphonyError

ASSETS = Path(__file__).resolve().parents[2] / "assets"
SHIPPED = sorted([*(ASSETS / "configs").glob("*.yaml"), *(ASSETS / "models").glob("*/config.yaml")])


@pytest.mark.parametrize("path", SHIPPED, ids=lambda p: f"{p.parent.name}/{p.name}")
def test_every_shipped_file_loads(path: Path) -> None:
    loaded = load(path)
    assert loaded.model.mode in ("transformer", "vae", "vae_gan")
    assert parse(yaml.safe_dump(to_plain(loaded))) == loaded  # and survives being written


def test_an_empty_file_is_the_default() -> None:
    assert parse("") == Config()


def test_a_preset_is_found_by_its_bare_name() -> None:
    assert load(Path("tiny")) == load(ASSETS / "configs" / "tiny.yaml")
    with pytest.raises(MorphonyError, match="could not be read"):
        load(Path("tyni"))


def test_settings_change_by_their_dotted_names_and_are_checked() -> None:
    made = override(Config(), {"model.prior": "flow", "train.steps": 7})
    assert (made.model.prior, made.train.steps) == ("flow", 7)
    assert Config().model.prior == "gaussian"
    with pytest.raises(MorphonyError, match="did you mean 'prior'"):
        override(Config(), {"model.piror": "flow"})
    with pytest.raises(MorphonyError, match="kl_schedule must be one of linear, cyclical, cosine, adaptive"):
        override(Config(), {"loss.kl_schedule": "liner"})


def test_values_arrive_with_their_types() -> None:
    made = parse("model: {hidden_dim: 64}\ntrain: {lr: 1, corpus_weights: {a: 1}}\nloss: {off: [kl_fine, part]}")
    assert made.model.hidden_dim == 64
    assert isinstance(made.train.lr, float)
    assert dict(made.train.corpus_weights) == {"a": 1.0}
    assert made.loss.off == ("kl_fine", "part")


def test_a_configuration_cannot_be_changed_by_accident() -> None:
    made = parse("train: {corpus_weights: {a: 1}}")
    with pytest.raises(TypeError):
        made.train.corpus_weights["a"] = 2.0  # type: ignore[index]
    with pytest.raises(AttributeError):
        made.train.lr = 2.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("model: {hiden_dim: 64}", r"model has an unknown key 'hiden_dim'; did you mean 'hidden_dim'\?"),
        ("modle: {}", r"unknown key 'modle'; did you mean 'model'\?"),
        ("train: {zzz: 1}", "train has an unknown key 'zzz'$"),
        ("model: {hidden_dim: wide}", "hidden_dim must be of type int, not 'wide'"),
        ("model: {hidden_dim: 1.5}", "hidden_dim must be of type int, not 1.5"),
        ("model: {heads: true}", "heads must be of type int, not True"),
        ("train: {lr: fast}", "lr must be of type float, not 'fast'"),
        ("train: {lr: true}", "lr must be of type float, not True"),
        ("train: {lr: .nan}", "lr must be a finite number"),
        ("train: {corpus_weights: {a: b}}", "corpus_weights.a must be of type float"),
        ("train: {corpus_weights: [1]}", "corpus_weights must be of type"),
        ("loss: {off: kl_fine}", "off must be of type tuple"),
        ("loss: {off: [1]}", "off must be of type str"),
        ("model: 3", "model must hold keys and values, not int"),
        ("[1, 2]", "must hold keys and values, not list"),
        ("model: {mode: [", "is not valid YAML"),
        ("a: b: c", "is not valid YAML"),
        ("model: {heads: 0}", "heads must be from 1 to"),
        ("model: {hidden_dim: 1000000000}", "hidden_dim must be from 1 to"),
        ("model: {threshold: 1.0}", "threshold must be from 0.01 to 0.99"),
        ("!!python/object/apply:os.system ['true']", "is not valid YAML"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(MorphonyError, match=sentence) as caught:
        parse(text, "my.yaml")
    said = str(caught.value)
    assert said.startswith("my.yaml")
    assert "\n" not in said
    assert len(said) < 250


HOSTILE = {
    "large": "# " + "x" * config.MAX_YAML_BYTES,
    "brackets": "[" * 20_000 + "]" * 20_000,
    "braces": "{a: " * 20 + "}" * 20,
    "dashes": "- " * 20_000,
    "indents": "\n".join(" " * i + "a:" for i in range(300)),
    "laughs": "\n".join(["a0: &a0 [lol]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9))]),
    "laughs in a value": "model: {heads: &a [" + "x," * 9 + "]}\n",
    "nested laughs": "model:\n heads:\n"
    + "\n".join(f"  - &a{i} [{', '.join([f'*a{i - 1}'] * 9) if i else 'lol'}]" for i in range(9)),
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_files_are_refused_at_once(text: str) -> None:
    began = time.process_time()
    with pytest.raises(MorphonyError) as caught:
        parse(text)
    assert time.process_time() - began < 1.0
    assert len(str(caught.value)) < 300


def test_a_file_that_is_not_there_or_not_text_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(MorphonyError, match=r"none\.yaml could not be read"):
        load(tmp_path / "none.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MorphonyError, match=r"bytes\.yaml could not be read"):
        load(tmp_path / "bytes.yaml")


def test_heads_divide_the_width() -> None:
    assert ModelConfig(heads=6).heads_for(192) == 6
    assert ModelConfig(heads=6).heads_for(256) == 4
    assert ModelConfig(heads=6).heads_for(7) == 1


def test_windows_are_whole_phrases() -> None:
    """Trap 9: windows are whole bars, and whole phrases of four."""
    assert TrainConfig().window_bars % 4 == 0
    with pytest.raises(MorphonyError, match="window_bars must be a multiple of 4"):
        parse("train: {window_bars: 6}")
