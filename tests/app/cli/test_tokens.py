"""`morphony tokens`: the ids of a piece, and the way back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.cli import run_command
from engine.score import midi
from engine.tokens.codec import Tokens, decode

DEMO = Path(__file__).resolve().parents[3] / "assets" / "demo"


def test_ids_are_printed_and_written_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "back.mid"
    assert run_command("tokens", [str(DEMO / "nocturne.mid"), "--back", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (said["vocabulary"], said["ids"][0], said["ids"][-1]) == (774, 1, 2)
    assert said["tokens"] == len(said["ids"])
    assert said["written"] == str(out)
    written = midi.read(out)
    meant = decode(Tokens(np.array(said["ids"], np.int16), tuple(said["programs"])))
    assert np.array_equal(written.notes, meant.notes)
    assert len(written.notes) == len(midi.read(DEMO / "nocturne.mid").notes) == said["notes"]


def test_what_has_no_token_is_counted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("tokens", [str(DEMO / "groove.mid"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    drums = [t.is_drum for t in midi.read(DEMO / "groove.mid").tracks].index(True)
    notes = midi.read(DEMO / "groove.mid").notes
    assert said["notes_without_token"] == int((notes["track"] == drums).sum())


def test_a_folder_goes_back_into_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command("tokens", [str(DEMO), "--back", str(tmp_path / "out"), "--json"]) == 0
    said = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(f["ok"] for f in said["files"])
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["groove.mid", "nocturne.mid", "sarabande.mid"]
