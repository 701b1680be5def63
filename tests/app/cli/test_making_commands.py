"""The subcommands that make notes, on real files: what they keep, what they refuse, and that failures cost nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from app import cli
from engine.score import Score, midi
from engine.score.timing import BarGrid
from engine.tokens.bars import is_modelled, to_bars
from tests.engine import small

Capture = pytest.CaptureFixture[str]
BAR = 1920
JOBS = {
    "continue": ["--bars", "2"],
    "infill": ["--bars", "2:4"],
    "vary": ["--amount", "0.8"],
    "morph": ["--set", "density=1"],
}


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


def misused(capsys: Capture, *words: object) -> str:
    with pytest.raises(SystemExit, match="2"):
        cli.run_command(str(words[0]), [*map(str, words[1:])])
    return capsys.readouterr().err


def unmodelled(score: Score) -> tuple:
    return score.notes[~is_modelled(score)].tobytes(), score.events, score.meters, score.tempi, score.tracks


def in_bars(score: Score, bars: range) -> list[tuple]:
    chosen = np.isin((score.notes["tick"] + 10) // BAR, bars) & is_modelled(score)
    return sorted(note.tobytes() for note in score.notes[chosen])


# ---------------------------------------------------------------- each does its thing


def test_continue_keeps_the_file_and_adds_bars(model, tune, tmp_path, capsys) -> None:
    said = done(capsys, "continue", tune, tmp_path / "out.mid", "--bars", 3, "--model", model, "--seed", 1)
    before, after = midi.read(tune), midi.read(tmp_path / "out.mid")
    assert unmodelled(after) == unmodelled(before)
    assert in_bars(after, range(8)) == in_bars(before, range(8))
    assert said["bars"] == len(BarGrid.of(before)) == 8
    assert said["new_notes"] == len(after.notes) - len(before.notes) > 0
    assert len(BarGrid.of(after)) <= 11


def test_infill_changes_its_bars_alone(model, tune, tmp_path, capsys) -> None:
    said = done(capsys, "infill", tune, tmp_path / "out.mid", "--bars", "5:7", "--model", model)
    before, after = midi.read(tune), midi.read(tmp_path / "out.mid")
    assert unmodelled(after) == unmodelled(before)
    for bar in range(8):
        assert (in_bars(after, range(bar, bar + 1)) == in_bars(before, range(bar, bar + 1))) == (bar not in (5, 6)), bar
    assert said["bars"] == [5, 7]
    assert said["notes_after"] == len(in_bars(after, range(5, 7)))


def test_vary_goes_as_far_as_it_is_told(model, tune, tmp_path, capsys) -> None:
    words = ("vary", tune, tmp_path / "out.mid", "--model", model, "--amount")
    changed = [done(capsys, *words, amount)["changed"] for amount in (0, 0.5, 2)]
    assert changed[0] == 0 < changed[2]
    assert changed[1] <= changed[2]
    done(capsys, *words, 0)
    assert np.array_equal(midi.read(tmp_path / "out.mid").notes, midi.read(tune).notes)


def test_many_variations_are_a_folder_with_a_seed_each(model, tune, tmp_path, capsys) -> None:
    said = done(capsys, "vary", tune, tmp_path / "out", "--count", 3, "--amount", 1.5, "--seed", 4, "--model", model)
    assert [(v["file"], v["seed"]) for v in said["written"]] == [("0.mid", 4), ("1.mid", 5), ("2.mid", 6)]
    assert len({(tmp_path / "out" / f"{i}.mid").read_bytes() for i in range(3)}) == 3
    assert "--count" in refused(capsys, "vary", tune, tmp_path / "x", "--count", 0, "--model", model)
    assert "must be a folder" in refused(
        capsys, "vary", tune, tmp_path / "out" / "0.mid", "--count", 2, "--model", model
    )


def test_transfer_reports_how_far_it_came(model, tune, tmp_path, capsys) -> None:
    style = tmp_path / "style"
    style.mkdir()
    quiet = small.score(8, 2)
    notes = quiet.notes.copy()
    notes["velocity"], notes["duration"] = 20, 60
    midi.write(Score(480, quiet.tracks, notes), style / "quiet.mid")
    (style / "broken.mid").write_bytes(b"no music")
    words = ("transfer", tune, tmp_path / "out.mid", "--model", model, "--style")
    said = done(capsys, *words, style)
    assert said["distance_after"] < said["distance_before"]
    assert 0 < said["sim_chroma"] <= 100
    assert unmodelled(midi.read(tmp_path / "out.mid")) == unmodelled(midi.read(tune))
    same = done(capsys, *words, style / "quiet.mid", "--strength", 0)
    assert same["distance_after"] == same["distance_before"]
    (tmp_path / "empty").mkdir()
    assert "no music in" in refused(capsys, *words, tmp_path / "empty")
    assert "There is no file or folder" in refused(capsys, *words, tmp_path / "nowhere")


def test_generation_for_several_parts_in_a_key(model, tmp_path, capsys) -> None:
    words = ("--bars", 4, "--tracks", 3, "--key", "D major", "--range", "50:70", "--max-notes", 2, "--model", model)
    said = done(capsys, "generate", tmp_path / "out.mid", *words)
    score = midi.read(tmp_path / "out.mid")
    assert said["tracks"] == 3 == len([t for t in score.tracks if t.name])
    assert len(score.notes)
    assert np.isin(score.notes["pitch"] % 12, [2, 4, 6, 7, 9, 11, 1]).all()
    assert 50 <= score.notes["pitch"].min() <= score.notes["pitch"].max() <= 70
    done(capsys, "generate", tmp_path / "out.mid", "--bars", 2, "--programs", "73,42", "--model", model)
    assert [t.program for t in midi.read(tmp_path / "out.mid").tracks][-2:] == [73, 42]
    assert "1 to 4 parts" in refused(capsys, "generate", tmp_path / "x.mid", "--tracks", 9, "--model", model)


@pytest.mark.parametrize("path", ["lerp", "bars"])
def test_interpolation_takes_the_path_it_is_told(model, tune, tmp_path, capsys, path: str) -> None:
    midi.write(small.score(8, 3), tmp_path / "b.mid")
    words = ("interpolate", tune, tmp_path / "b.mid", tmp_path / "out", "--steps", 3, "--model", model, "--path")
    assert len(done(capsys, *words, path)["files"]) == 3
    assert "slerp, lerp, bars" in refused(capsys, *words, "detour")


# ---------------------------------------------------------------- locks and masks


@pytest.mark.parametrize("command", ["infill", "vary", "morph"])
def test_what_is_locked_stays_in_the_file(model, tune, tmp_path, capsys, command: str) -> None:
    locks = ("--lock", "bars=2:3", "--lock", "tracks=1", "--lock", "pitches=72:76", "--lock", "notes=0,30")
    done(capsys, command, tune, tmp_path / "out.mid", *JOBS[command], *locks, "--model", model)
    before, after = midi.read(tune), midi.read(tmp_path / "out.mid")
    assert in_bars(after, range(2, 3)) == in_bars(before, range(2, 3))
    there = {note.tobytes() for note in after.notes}
    locked = (before.notes["track"] == 1) | ((before.notes["pitch"] >= 72) & (before.notes["pitch"] <= 76))
    locked[[0, 30]] = True
    assert all(note.tobytes() in there for note in before.notes[locked])
    assert not np.array_equal(before.notes, after.notes)


@pytest.mark.parametrize("command", JOBS)
def test_masks_hold_in_every_command(model, tune, tmp_path, capsys, command: str) -> None:
    (tmp_path / "chart.txt").write_text("C | F G\n")
    masks = ("--scale", "C major", "--pitch-range", "48:80", "--chords", tmp_path / "chart.txt", "--max-notes", 3)
    drawn = ("--temperature", 0.8, "--top-k", 6, "--top-p", 0.95, "--beam", 4)
    done(capsys, command, tune, tmp_path / "out.mid", *JOBS[command], *masks, *drawn, "--model", model)
    score = midi.read(tmp_path / "out.mid")
    bars = to_bars(score, BarGrid.of(score))
    new = {"continue": range(8, 10), "infill": range(2, 4)}.get(command, range(8))
    for note in bars[np.isin(bars["bar"], new)]:
        chord = {0, 4, 7} if note["bar"] % 2 == 0 else ({5, 9, 0} if note["onset"] < 48 else {7, 11, 2})
        assert note["pitch"] % 12 in chord
        assert 48 <= note["pitch"] <= 80


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--scale", "H moll"], "is not a scale like C major"),
        (["--chords", "Xyz"], "is not a chord like"),
        (["--pitch-range", "72:48"], "is not a range of MIDI pitches"),
        (["--lock", "tune=3"], "is none of bars=4:6"),
        (["--lock", "bars=6:2"], "is not a run of bars"),
    ],
)
def test_what_cannot_be_read_is_a_usage_error(model, tune, tmp_path, capsys, words: list[str], sentence: str) -> None:
    assert sentence in misused(capsys, "morph", tune, tmp_path / "out.mid", "--model", model, *words)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--loose"], "--loose says how --pitch-range is meant"),
        (["--max-notes", "0"], "At least one note"),
        (["--temperature", "-1"], "temperature is 0 or more"),
        (["--top-p", "0"], "top-p is a share"),
        (["--beam", "0"], "beam is 1 to"),
        (["--scale", "C major", "--chords", "F#"], "no pitch in common"),
        (["--set", "densitee=1"], "did you mean 'density'"),
    ],
)
@pytest.mark.parametrize("command", ["morph", "continue"])
def test_a_failure_is_one_sentence_and_overwrites_nothing(
    model, tune, tmp_path, capsys, command: str, words: list[str], sentence: str
) -> None:
    out = tmp_path / "out.mid"
    out.write_bytes(b"what was there before")
    extra = JOBS[command] if "--set" not in words else []
    assert sentence in refused(capsys, command, tune, out, *extra, *words, "--model", model)
    assert out.read_bytes() == b"what was there before"


@pytest.mark.parametrize("command", ["continue", "infill", "vary"])
def test_a_folder_goes_on_past_a_broken_file(model, tune, tmp_path, capsys, command: str) -> None:
    music = tmp_path / "music"
    music.mkdir()
    (music / "a.mid").write_bytes(tune.read_bytes())
    (music / "b.mid").write_bytes(b"MThd is not enough")
    said = done(capsys, command, music, tmp_path / "out", *JOBS[command], "--model", model)
    assert [(f["file"], f["ok"]) for f in said["files"]] == [("a.mid", True), ("b.mid", False)]
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["a.mid"]


@pytest.mark.parametrize("command", ["continue", "infill", "vary"])
def test_the_same_seed_writes_the_same_file(model, tune, tmp_path, capsys, command: str) -> None:
    words = (*JOBS[command], "--temperature", 0.7, "--model", model, "--seed")
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        done(capsys, command, tune, tmp_path / name, *words, seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c
