"""`morphony render`: a file, a folder, and what is refused."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import pytest

from app import cli
from app.sound import fonts
from engine.score import midi
from engine.score.score import Score, Track, make_notes


@pytest.fixture
def song(tmp_path: Path) -> Path:
    folder = tmp_path / "songs"
    folder.mkdir()
    midi.write(Score(480, (Track(),), make_notes((i * 240, 200, 60 + i, 80, 0) for i in range(8))), folder / "a.mid")
    return folder / "a.mid"


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict]:
    code = cli.run_command("render", [*map(str, arguments), "--font", str(fonts.OWN), "--json"])
    return code, json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_file_becomes_a_wav(song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, result = run(capsys, song, tmp_path / "a.wav")
    assert code == 0
    assert (result["notes"], result["font"]) == (8, "morphony.sf2")
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getnframes() / file.getframerate() == pytest.approx(result["seconds"], abs=0.001)


def test_a_folder_becomes_a_folder_and_a_bad_file_stops_nothing(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (song.parent / "b.mid").write_bytes(b"no music")
    code, result = run(capsys, song.parent, tmp_path / "out")
    assert code == 0
    assert [(entry["file"], entry["ok"]) for entry in result["files"]] == [("a.mid", True), ("b.mid", False)]
    assert (tmp_path / "out" / "a.wav").exists()


def test_a_folder_that_is_not_there_is_a_sentence(
    song: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, result = run(capsys, song, tmp_path / "nowhere" / "a.wav")
    assert code == 1
    assert "nowhere" in result["error"]
