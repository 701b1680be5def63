"""The subcommands that look at a run: its log, and the loss around its weights."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from app import cli
from engine.score import midi
from tests.engine import small

Capture = pytest.CaptureFixture[str]


def done(capsys: Capture, *words: object) -> dict:
    code = cli.run_command(str(words[0]), [*map(str, words[1:]), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


def refused(capsys: Capture, *words: object) -> str:
    assert cli.run_command(str(words[0]), [*map(str, words[1:])]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    return err.strip().splitlines()[-1]


def a_log(folder: Path, worse_from: int) -> Path:
    folder.mkdir(exist_ok=True)
    rows = []
    for n in range(1, 301):
        loss = 400.0 + n % 7 if n >= worse_from else 20 + 300 * math.exp(-n / 50) + n % 7
        held = {"loss": loss, "onset": loss} if n % 30 == 0 else None
        rows.append({"n": n, "steps": 300, "seconds": n / 2, "train": {"onset": loss}, "held_out": held, "message": ""})
    rows[10]["train"]["onset"] = float("nan")  # as json writes it
    (folder / "steps.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_a_log_is_read_for_warnings_and_trends(tmp_path, capsys) -> None:
    said = done(capsys, "watch", a_log(tmp_path / "run", 250), "--tensorboard")
    assert said["steps"] == 300
    assert [(w["name"], w["over"]) for w in said["warnings"]][:1] == [("not_a_number", 27)]
    assert [w["name"] for w in said["warnings"]][1:] == ["divergence"]
    assert 250 <= said["warnings"][1]["n"] < 275
    assert said["trends"]["train"]["onset"]["n"] == 100
    assert len(list((tmp_path / "run" / "events").iterdir())) == 1
    healthy = done(capsys, "watch", a_log(tmp_path / "run", 999))
    assert [w["name"] for w in healthy["warnings"]] == ["not_a_number"]
    assert healthy["trends"]["train"]["onset"]["direction"] == "falls"
    assert healthy["trends"]["held_out"]["loss"]["slope"] < 0


def test_a_folder_without_a_run_is_a_sentence(tmp_path, capsys) -> None:
    assert "there is no steps.jsonl" in refused(capsys, "watch", tmp_path)
    (tmp_path / "steps.jsonl").write_text("")
    assert "holds no step yet" in refused(capsys, "watch", tmp_path)


def test_a_landscape_is_a_picture_and_figures(model, tmp_path, capsys) -> None:
    music = tmp_path / "music"
    music.mkdir()
    midi.write(small.score(8), music / "a.mid")
    words = ("landscape", model, music, "--out", tmp_path / "land.png", "--cache", tmp_path / "cache")
    shape = ("--lines", 2, "--points", 9, "--grid", 3)
    said = done(capsys, *words, *shape)
    assert (tmp_path / "land.png").read_bytes().startswith(b"\x89PNG")
    assert said["lines"][0][4] == said["lines"][1][4] == said["centre"]
    assert [len(said["grid"]), len(said["grid"][0])] == [3, 3]
    assert said["bars"] == 8
    assert all(value > 0 for value in said["curvature"])  # a model that has learnt the tune sits in a valley
    assert said["sharpness"] > 0
    assert "must be an odd number" in refused(capsys, *words, "--points", 10)
    assert "no model folder" in refused(capsys, "landscape", tmp_path / "none", *words[2:])
    (tmp_path / "empty").mkdir()
    assert "neither a model nor a run" in refused(capsys, "landscape", tmp_path / "empty", *words[2:])


def test_training_leaves_events_samples_and_a_diary(tmp_path, capsys) -> None:
    from tests.app.cli.test_model_commands import TINY, some_music

    music, run = some_music(tmp_path / "music"), tmp_path / "run"
    (tmp_path / "tiny.yaml").write_text(TINY)
    words = ("train", music, "--config", tmp_path / "tiny.yaml", "--cache", tmp_path / "cache", "--out")
    said = done(capsys, *words, run, "--piece", music / "1.mid")
    assert said["warnings"] == []
    assert {"events", "samples", "monitor.jsonl"} <= {p.name for p in run.iterdir()}
    heard = sorted(p.relative_to(run / "samples").as_posix() for p in (run / "samples").rglob("*.mid"))
    assert heard == [f"step-000000{n}/{name}.mid" for n in (3, 6) for name in ("drawn", "piece")]
    done(capsys, *words, tmp_path / "plain", "--no-tensorboard", "--no-samples")
    assert not {"events", "samples"} & {p.name for p in (tmp_path / "plain").iterdir()}
