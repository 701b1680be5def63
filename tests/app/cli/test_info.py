"""`morphony info`: what it says of the demo pieces, of folders with broken files, and of a file that is none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from app.cli import run_command
from engine.attributes import NAMES

DEMO = Path(__file__).resolve().parents[3] / "assets" / "demo"


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert run_command("info", [*arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_it_says_what_a_piece_holds(capsys: pytest.CaptureFixture[str]) -> None:
    said = asked(capsys, str(DEMO / "groove.mid"))
    assert said["bars"] == 32
    assert said["meters"] == [{"tick": 0, "meter": "4/4"}]
    assert said["tempi"] == [{"tick": 0, "microseconds": 625000, "bpm": 96.0}]
    tracks = said["tracks"]
    assert [t["name"] for t in tracks] == ["Vibraphone", "Electric piano", "Bass", "Drums"]
    assert [t["is_drum"] for t in tracks] == [False, False, False, True]
    assert sum(t["notes"] for t in tracks) == said["notes"]
    assert said["modelled_notes"] == said["notes"] - tracks[3]["notes"]
    assert said["first_onset_s"] == 0
    assert 79 < said["last_onset_s"] < said["end_s"] < 80.1
    assert list(said["attributes"]) == list(NAMES)
    assert said["warnings"] == []


def test_a_folder_is_gone_through_whatever_lies_in_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "sub").mkdir()
    shutil.copy(DEMO / "sarabande.mid", tmp_path / "sub" / "good.mid")
    (tmp_path / "bad.mid").write_text("no music")
    said = asked(capsys, str(tmp_path))
    assert [(f["file"], f["ok"]) for f in said["files"]] == [("bad.mid", False), ("sub/good.mid", True)]
    assert said["files"][0]["error"].startswith("bad.mid is not a MIDI file")
    assert said["files"][1]["bars"] == 32


def test_a_file_that_is_none_fails_with_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.mid").touch()
    assert run_command("info", [str(tmp_path / "bad.mid")]) == 1
    assert capsys.readouterr().err == "bad.mid is empty.\n"


def test_the_text_form_shows_numbers_as_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("info", [str(DEMO / "nocturne.mid")]) == 0
    assert "program 0" in capsys.readouterr().out
