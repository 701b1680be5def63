"""The subcommands that need the model, on real files, with a small model that has learnt one tune."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from app import cli
from app.cli import bench
from engine.attributes import NAMES
from engine.score import Score, midi
from engine.score.timing import BarGrid
from engine.tokens.bars import is_modelled, to_bars

TINY = """
model: {hidden_dim: 16, heads: 2, decoder_layers: 1, slot_dim: 8, bar_dim: 16, note_dim: 8, latent_dim: 8,
        local_dim: 4, global_dim: 4, prior_dim: 16, prior_layers: 1}
train: {steps: 6, prior_steps: 3, evaluate_every: 3, checkpoint_every: 3, slots_per_step: 200}
"""

Capture = pytest.CaptureFixture[str]


def done(capsys: Capture, *words: object) -> dict:
    """The JSON of a subcommand that goes well."""
    code = cli.run_command(str(words[0]), [*map(str, words[1:]), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


def refused(capsys: Capture, *words: object) -> str:
    """The one sentence of a subcommand that fails."""
    assert cli.run_command(str(words[0]), [*map(str, words[1:])]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    return err.strip().splitlines()[-1]


def unmodelled(score: Score) -> tuple:
    """All the model does not speak for."""
    return score.notes[~is_modelled(score)].tobytes(), score.events, score.meters, score.tempi, score.tracks


def some_music(folder: Path) -> Path:
    """Four short pieces and a file that is none."""
    from tests.engine import small

    folder.mkdir()
    for i in range(4):
        midi.write(small.score(8, shift=i), folder / f"{i}.mid")
    (folder / "broken.mid").write_bytes(b"MThd is not enough")
    return folder


# ---------------------------------------------------------------- reconstruct


def test_reconstruct_keeps_bars_meters_tempi_and_all_that_is_not_modelled(model, tune, tmp_path, capsys) -> None:
    said = done(capsys, "reconstruct", tune, tmp_path / "out.mid", "--mean", "--model", model)
    before, after = midi.read(tune), midi.read(tmp_path / "out.mid")
    assert unmodelled(after) == unmodelled(before)
    assert len(BarGrid.of(after)) == len(BarGrid.of(before)) == said["bars"]
    assert said["from"] == "mean"
    assert said["note_f1"] > 0.9


def test_latents_alone_decode_to_the_same_notes_in_another_process(model, tune, tmp_path, capsys) -> None:
    z = tmp_path / "z.safetensors"
    done(capsys, "reconstruct", tune, tmp_path / "a.mid", "--latents", z, "--model", model, "--seed", 5)
    again = [sys.executable, "-m", "app", "reconstruct", tune, tmp_path / "b.mid", "--latents", z, "--model", model]
    said = subprocess.run([*again, "--json"], capture_output=True, text=True, check=True)
    assert json.loads(said.stdout.splitlines()[-1])["from"] == "latents"
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()
    assert {name: len(z) for name, z in load_file(z).items()} == {"z_global": 1, "z_local": 2, "z_fine": 8}


def test_a_constant_in_place_of_the_latents_loses_the_music(model, tune, tmp_path, capsys) -> None:
    z = tmp_path / "z.safetensors"
    kept = done(capsys, "reconstruct", tune, tmp_path / "a.mid", "--latents", z, "--mean", "--model", model)
    save_file({name: torch.zeros_like(t) for name, t in load_file(z).items()}, z)
    lost = done(capsys, "reconstruct", tune, tmp_path / "b.mid", "--latents", z, "--model", model)
    assert kept["note_f1"] > 0.9
    assert lost["note_f1"] < 0.5


def test_a_sample_follows_its_seed(model, tune, tmp_path, capsys) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        z = tmp_path / f"{name}.safetensors"
        done(capsys, "reconstruct", tune, tmp_path / "o.mid", "--latents", z, "--model", model, "--seed", seed)
    a, b, c = (load_file(tmp_path / f"{name}.safetensors")["z_fine"] for name in "abc")
    assert torch.equal(a, b)
    assert not torch.equal(a, c)


def test_latents_of_another_piece_are_refused(model, tune, tmp_path, capsys) -> None:
    save_file({"z_global": torch.zeros(1, 8)}, tmp_path / "z")
    (tmp_path / "junk").write_bytes(b"junk")
    words = ("reconstruct", tune, tmp_path / "o.mid", "--model", model, "--latents")
    assert "do not fit" in refused(capsys, *words, tmp_path / "z")
    assert "holds no latents" in refused(capsys, *words, tmp_path / "junk")


def test_a_folder_is_reconstructed_file_by_file(model, tmp_path, capsys) -> None:
    music = some_music(tmp_path / "music")
    said = done(capsys, "reconstruct", music, tmp_path / "out", "--latents", tmp_path / "z", "--model", model)
    assert [(f["file"], f["ok"]) for f in said["files"]] == [(f"{i}.mid", True) for i in range(4)] + [
        ("broken.mid", False)
    ]
    assert sorted(p.name for p in (tmp_path / "z").iterdir()) == [f"{i}.safetensors" for i in range(4)]


# ---------------------------------------------------------------- morph and sweep


def test_morph_moves_the_attribute_and_nothing_outside_its_bars(model, tune, tmp_path, capsys) -> None:
    words = ("morph", tune, tmp_path / "out.mid", "--set", "dynamics=1.5", "--bars", "4:6", "--model", model)
    said = done(capsys, *words)
    before, after = midi.read(tune), midi.read(tmp_path / "out.mid")
    grid = BarGrid.of(before)
    old, new = to_bars(before, grid), to_bars(after, grid)
    outside = (old["bar"] < 4) | (old["bar"] >= 6)
    assert np.array_equal(old[outside], new[(new["bar"] < 4) | (new["bar"] >= 6)])
    assert unmodelled(after) == unmodelled(before)
    assert said["bars"] == [4, 6]
    assert said["after"]["dynamics"] > said["before"]["dynamics"] + 10


def test_morph_with_every_slider_at_rest_is_the_piece_itself(model, tune, tmp_path, capsys) -> None:
    done(capsys, "morph", tune, tmp_path / "out.mid", "--model", model)
    assert np.array_equal(midi.read(tmp_path / "out.mid").notes, midi.read(tune).notes)


def test_the_scope_widens_bars_to_phrases(model, tune, tmp_path, capsys) -> None:
    words = ("morph", tune, tmp_path / "out.mid", "--set", "register=1", "--bars", "5:6", "--model", model)
    assert done(capsys, *words, "--scope", "phrase")["bars"] == [4, 8]
    assert done(capsys, *words, "--scope", "bar")["bars"] == [5, 6]


def test_a_slider_or_bars_that_are_not_there_are_refused(model, tune, tmp_path, capsys) -> None:
    words = ("morph", tune, tmp_path / "out.mid", "--model", model)
    assert "did you mean 'density'" in refused(capsys, *words, "--set", "densitee=1")
    assert "0:8" in refused(capsys, *words, "--set", "density=1", "--bars", "6:12")


def test_sweep_writes_every_position_of_the_bars_asked_for(model, tune, tmp_path, capsys) -> None:
    words = ("sweep", tune, tmp_path / "out", "--sliders", "dynamics,density", "--steps", 5, "--bars", "2:5")
    said = done(capsys, *words, "--model", model)
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert said["positions"] == index["positions"] == [-2, -1, 0, 1, 2]
    files = index["files"][0]["written"]
    assert [f["file"] for f in files] == [f"tune/{s}_{x}.mid" for s in ("dynamics", "density") for x in range(-2, 3)]
    assert {len(BarGrid.of(midi.read(tmp_path / "out" / f["file"]))) for f in files} == {3}
    loudness = [f["attributes"]["dynamics"] for f in files[:5]]
    assert loudness == sorted(loudness)
    assert loudness[0] < loudness[4]
    at_rest = [(tmp_path / "out" / "tune" / f"{s}_0.mid").read_bytes() for s in ("dynamics", "density")]
    assert at_rest[0] == at_rest[1]


def test_sweep_knows_all_named_sliders_and_many_files(model, tmp_path, capsys) -> None:
    music = some_music(tmp_path / "music")
    said = done(capsys, "sweep", music, tmp_path / "out", "--steps", 2, "--bars", "0:1", "--model", model)
    assert said["sliders"] == list(NAMES)
    assert [f["ok"] for f in said["files"]] == [True] * 4 + [False]
    assert len(list((tmp_path / "out" / "3").glob("*.mid"))) == 2 * len(NAMES)


# ---------------------------------------------------------------- interpolate and generate


def test_interpolation_ends_with_the_pieces_themselves(model, tune, tmp_path, capsys) -> None:
    music = some_music(tmp_path / "music")
    said = done(capsys, "interpolate", tune, music / "2.mid", tmp_path / "out", "--steps", 4, "--model", model)
    paths = [tmp_path / "out" / f["file"] for f in said["files"]]
    assert paths[0].read_bytes() == tune.read_bytes()
    assert paths[-1].read_bytes() == (music / "2.mid").read_bytes()
    assert len({p.read_bytes() for p in paths}) == 4
    assert [round(f["share"], 3) for f in said["files"]] == [0, 0.333, 0.667, 1]


def test_interpolation_is_as_long_as_the_shorter_piece_and_says_so(model, tune, tmp_path, capsys) -> None:
    from tests.engine import small

    midi.write(small.score(3), tmp_path / "short.mid")
    words = ["interpolate", tune, tmp_path / "short.mid", tmp_path / "out", "--steps", "3", "--model", model]
    assert cli.run_command("interpolate", [str(w) for w in words[1:]]) == 0
    assert "tune.mid is longer" in capsys.readouterr().err
    assert len(BarGrid.of(midi.read(tmp_path / "out" / "1_0.500.mid"))) <= 3


def test_generation_follows_its_seed_and_its_meter(model, tmp_path, capsys) -> None:
    words = ("--bars", 6, "--meter", "3/4", "--set", "density=2", "--temperature", 0.8, "--model", model)
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        done(capsys, "generate", tmp_path / f"{name}.mid", *words, "--seed", seed)
    a, b, c = ((tmp_path / f"{name}.mid").read_bytes() for name in "abc")
    assert a == b
    assert a != c
    score = midi.read(tmp_path / "a.mid")
    assert [(m.numerator, m.denominator) for m in score.meters] == [(3, 4)]
    assert len(score.notes)
    assert len(BarGrid.of(score)) <= 6


def test_generation_of_many_is_a_folder_with_a_seed_each(model, tmp_path, capsys) -> None:
    words = ("--count", 3, "--bars", 2, "--seed", 7, "--model", model)
    said = done(capsys, "generate", tmp_path / "out", *words)
    assert [(f["file"], f["seed"]) for f in said["files"]] == [("0.mid", 7), ("1.mid", 8), ("2.mid", 9)]
    assert "1 to" in refused(capsys, "generate", tmp_path / "x.mid", "--bars", 0, "--model", model)


# ---------------------------------------------------------------- train, personalise, evaluate, bench


def test_scan_lists_every_file_with_its_reason(tmp_path, capsys) -> None:
    music = some_music(tmp_path / "music")
    shutil.copy(music / "0.mid", music / "twin.mid")
    said = done(capsys, "scan", music)
    assert (said["kept"], said["left_out"]) == (4, 2)
    wrong = {f["file"]: f["error"] for f in said["files"] if not f["ok"]}
    assert "broken.mid" in wrong["broken.mid"]
    assert "same notes as 0.mid" in wrong["twin.mid"]
    assert said["duplicates"] == 1
    assert {f["file"]: f["same_as"] for f in said["files"] if f["same_as"]} == {"twin.mid": "0.mid"}
    assert said["hours"] == pytest.approx(said["seconds"] / 3600, abs=1e-3)
    assert sum(m["bars"] for m in said["meters"]) == said["bars"]
    assert said["training"] is None


def test_scan_says_how_long_a_run_would_take_from_steps_of_it(tmp_path, capsys) -> None:
    music = some_music(tmp_path / "music")
    (tmp_path / "tiny.yaml").write_text(TINY)
    said = done(capsys, "scan", music, "--time", "--config", tmp_path / "tiny.yaml")["training"]
    assert said["steps"] == 6
    assert said["seconds_per_step"] > 0
    assert said["seconds"] == pytest.approx(6 * said["seconds_per_step"], rel=0.1, abs=0.1)
    assert "steps of this run timed on this device" in said["from"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["music", "tiny.yaml"]


def test_train_resumes_and_finishes_a_model_that_opens(tmp_path, capsys, monkeypatch) -> None:
    from trainer import recipe

    monkeypatch.setattr(recipe, "RHO_PIECES", 1)
    music, run = some_music(tmp_path / "music"), tmp_path / "run"
    (tmp_path / "tiny.yaml").write_text(TINY)
    words = ("train", music, "--config", tmp_path / "tiny.yaml", "--out", run, "--cache", tmp_path / "cache")
    first = done(capsys, *words, "--steps", 3)
    assert (first["steps"], first["model"]) == (3, None)
    assert "holds a run already" in refused(capsys, *words)
    more = ("--resume", "--finish", "--valid", music / "0.mid")
    done(capsys, *words, *more)
    rows = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
    assert [r["n"] for r in rows] == [1, 2, 3, 4, 5, 6]
    assert rows[-1]["held_out"]["loss"] > 0
    facts = json.loads((run / "model" / "facts.json").read_text())
    assert set(facts["rho"]) == set(NAMES)
    said = done(capsys, "generate", tmp_path / "g.mid", "--bars", 1, "--model", run / "model")
    assert said["bars"] == 1


def test_train_refiner_adds_one_to_a_model_and_making_music_takes_it(model, tune, tmp_path, capsys) -> None:
    music, run = some_music(tmp_path / "music"), tmp_path / "run"
    said = done(capsys, "train", music, "--refiner", model, "--out", run, "--steps", 2, "--cache", tmp_path / "cache")
    assert said["steps"] == 2
    assert said["held_out"]["refined.0"] > 0
    jobs = {"continue": ["--bars", 2], "infill": ["--bars", "2:4"], "vary": ["--amount", 1]}
    for job, words in jobs.items():
        done(capsys, job, tune, tmp_path / f"{job}.mid", *words, "--refine", "--model", run / "model")
    words = ("generate", tmp_path / "g.mid", "--bars", 2, "--seed", 3, "--temperature", 1, "--model")
    found = []
    for more in (["--refine"], ["--refine", 0.2], []):
        done(capsys, *words, run / "model", *more)
        found.append(midi.read(tmp_path / "g.mid").notes.tobytes())
    assert found[0] != found[2]
    assert "no refiner" in refused(capsys, *words, model, "--refine")
    assert "neither a slider" in refused(capsys, *words, run / "model", "--refine", "--set", "density=1")
    assert "0 to 1" in refused(capsys, *words, run / "model", "--refine", 2)


def test_personalise_says_whether_it_helped_and_its_style_opens(model, tmp_path, capsys, tune) -> None:
    music = some_music(tmp_path / "music")
    words = ("--out", tmp_path / "style", "--base", music, "--cache", tmp_path / "cache", "--model", model)
    said = done(capsys, "personalise", music, *words, "--steps", 16)
    assert said["improved"] == (said["after"]["loss"] < said["before"]["loss"])
    assert said["improved"]
    assert said["change_percent"] < 0
    assert said["seconds"] > 0
    assert said["scan"]["kept"] == 4
    assert [f["file"] for f in said["scan"]["left_out"]] == ["broken.mid"]
    off = ("--style", f"{tmp_path / 'style'}:0", "--model", model)
    for name, options in (
        ("plain", ("--model", model)),
        ("off", off),
        ("on", (*off[2:], "--style", tmp_path / "style")),
    ):
        done(capsys, "generate", tmp_path / f"{name}.mid", "--bars", 4, *options)
    plain, none, _ = ((tmp_path / f"{name}.mid").read_bytes() for name in ("plain", "off", "on"))
    assert plain == none


def test_an_instant_style_of_one_file_has_sliders_that_morph_and_sweep(model, tmp_path, capsys, tune) -> None:
    from tests.engine import small

    style, mine = tmp_path / "style", tmp_path / "mine.mid"
    midi.write(small.score(24), mine)
    said = done(capsys, "personalise", mine, "--kind", "instant", "--steps", 80, "--out", style, "--model", model)
    assert said["improved"]
    assert said["samples"] == ["before.mid", "after.mid"]
    options = ("--style", style, "--model", model)
    for value in (0, 2):
        done(capsys, "morph", tune, tmp_path / f"{value}.mid", "--set", f"style_1={value}", *options)
    rest, moved = (midi.read(tmp_path / f"{value}.mid") for value in (0, 2))
    assert rest.notes.tobytes() == midi.read(tune).notes.tobytes()
    assert rest.notes.tobytes() != moved.notes.tobytes()
    swept = done(capsys, "sweep", tune, tmp_path / "swept", "--sliders", "style_1,style_8", "--steps", 3, *options)
    assert len(swept["written"]) == 6
    wrong = refused(capsys, "morph", tune, tmp_path / "x.mid", "--set", "style_1=1", "--model", model)
    assert "no slider 'style_1'" in wrong


def test_a_style_that_is_none_is_refused(model, tmp_path, capsys, tune) -> None:
    words = ("morph", tune, tmp_path / "out.mid", "--model", model)
    assert "no model folder" in refused(capsys, *words, "--style", tmp_path / "nothing")
    with pytest.raises(SystemExit):
        cli.run_command("morph", [*map(str, words[1:]), "--style", "bach:1.5"])
    assert "from 0 to 1" in capsys.readouterr().err


def test_evaluate_prints_a_table_and_saves_what_it_found(model, tune, tmp_path, capsys) -> None:
    shutil.copy(tune, tmp_path / "tune.mid")
    (tmp_path / "list.tsv").write_text("path\tcorpus\ttier\ntune.mid\tours\tA\nnone.mid\tours\tA\n")
    words = ("evaluate", tmp_path / "list.tsv", "--where", "tier=A", "--figures", "reconstruction,likelihood")
    said = done(capsys, *words, "--out", tmp_path / "out", "--model", model)
    assert said["pieces"] == {"all": 1, "tier_A": 1, "ours": 1}
    assert said["figures"]["tier_A"]["note_f1"] > 0.9
    assert [f["ok"] for f in said["files"]] == [True, False]
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text()) == said
    assert "note_f1 " in (tmp_path / "out" / "evaluation.txt").read_text()


def test_bench_measures_styles(model, tmp_path, capsys, monkeypatch) -> None:
    from trainer.personalise import instant, weights

    monkeypatch.setattr(instant, "STEPS", 5)
    monkeypatch.setitem(weights.KINDS, "adapter", replace(weights.KINDS["adapter"], steps=8))
    said = done(capsys, "bench", some_music(tmp_path / "music"), "--only", "styles", "--model", model)
    assert said["styles.instant_1.files"] == 1
    assert said["styles.instant.files"] == said["styles.adapter.files"] == 5
    assert said["styles.instant.cpu_s"] > 0
    assert said["styles.adapter.s"] > 0


def test_evaluate_shows_its_table_and_draws_pictures(model, tune, tmp_path, capsys, monkeypatch) -> None:
    from trainer.evaluate import sliders

    monkeypatch.setattr(sliders, "POSITIONS", np.array([-1.0, 0, 1]))
    monkeypatch.setattr(sliders, "REST", 1)
    words = ["evaluate", tune, "--figures", "reconstruction,likelihood,sliders,copies", "--bars", "0:1"]
    words += ["--resamples", 0, "--plots", tmp_path, "--model", model]
    assert cli.run_command("evaluate", list(map(str, words[1:]))) == 0
    out, err = capsys.readouterr()
    assert out.startswith("figure ")
    assert "note_f1 " in out
    assert "--reference" in out
    assert "0/1" in err
    assert sorted(p.name for p in tmp_path.glob("*.png")) == ["notes.png", "rate.png", "sliders.png"]


def test_bench_measures_what_it_is_asked_for(tune, capsys, model, monkeypatch) -> None:
    said = done(capsys, "bench", tune, "--only", "codec,read,drag", "--model", model)
    assert said["codec.encode_notes_per_s"] > 0
    assert said["read.mido_to_every_event"] > 0
    assert said["drag.4.p95_ms"] >= said["drag.4.p50_ms"] > said["drag.4.floor_ms"] > 0
    assert said["drag.4.flat_ratio"] == pytest.approx(said["drag.4.flat_ms"] / said["drag.4.p50_ms"])
    monkeypatch.setattr(bench, "SCANNED", 30)
    said = done(capsys, "bench", tune, "--only", "scan")
    assert said["scan.files"] == 30
    assert said["scan.scan_files_per_s"] > 0
    assert said["scan.cache_to_symusic"] > 0
    assert "There is no benchmark 'speed'" in refused(capsys, "bench", tune, "--only", "speed")
