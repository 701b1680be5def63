"""One file, a folder, a table: the names, the entries, and what stops nothing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.cli.files import each_file, is_many, list_files
from engine.errors import MorphonyError
from trainer import corpus


def copy(path: Path, out: Path | None) -> dict:
    """Stand in for a subcommand: refuse what starts with "bad", else copy."""
    text = path.read_text()
    if text.startswith("bad"):
        raise MorphonyError(f"{path.name} is not music.")
    if out is not None:
        out.write_text(text)
    return {"length": len(text)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "in"
    for name, text in {"b.mid": "ok", "a/one.MID": "fine", "a/two.midi": "bad", "notes.txt": "no music"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "train.tsv").write_text("path\tsplit\ttier\na/one.MID\tvalid\tA\nb.mid\ttrain\tA\nmissing.mid\tvalid\tB\n")
    return root


def test_one_file_returns_its_own_object_and_raises(folder: Path, tmp_path: Path) -> None:
    assert each_file(folder / "b.mid", tmp_path / "x.mid", "", None, copy) == {"length": 2}
    with pytest.raises(MorphonyError, match="not music"):
        each_file(folder / "a/two.midi", None, "", None, copy)


def test_a_folder_is_done_in_order_under_the_same_names_and_a_bad_file_stops_nothing(
    folder: Path, tmp_path: Path
) -> None:
    done = each_file(folder, tmp_path / "out", "", ".wav", copy)
    assert done == {
        "files": [
            {"file": "a/one.MID", "ok": True, "error": None, "length": 4},
            {"file": "a/two.midi", "ok": False, "error": "two.midi is not music."},
            {"file": "b.mid", "ok": True, "error": None, "length": 2},
        ]
    }
    assert sorted(p.relative_to(tmp_path / "out").as_posix() for p in (tmp_path / "out").rglob("*.wav")) == [
        "a/one.wav",
        "b.wav",
    ]


def test_a_table_is_relative_to_its_own_folder_and_filtered(folder: Path) -> None:
    names = [name for name, _ in list_files(folder / "train.tsv", "split=valid")]
    assert names == ["a/one.MID", "missing.mid"]
    done = each_file(folder / "train.tsv", None, "split=valid,tier=A", None, copy)
    assert [entry["file"] for entry in done["files"]] == ["a/one.MID"]
    done = each_file(folder / "train.tsv", None, "tier=B", None, copy)
    assert not done["files"][0]["ok"]
    assert "There is no file" in done["files"][0]["error"]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("splt=valid", "did you mean 'split'"),
        ("split", "not written like column=value"),
        ("tier=Z", "There is no music in .* where tier=Z"),
    ],
)
def test_a_filter_that_cannot_be_is_one_sentence(folder: Path, where: str, message: str) -> None:
    with pytest.raises(MorphonyError, match=message):
        each_file(folder / "train.tsv", None, where, None, copy)


def test_what_cannot_be_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(MorphonyError, match="There is no file or folder"):
        is_many(tmp_path / "nothing")
    with pytest.raises(MorphonyError, match="must be a folder"):
        each_file(folder, folder / "b.mid", "", None, copy)
    with pytest.raises(MorphonyError, match="--where filters the rows"):
        each_file(folder, None, "split=valid", None, copy)
    with pytest.raises(MorphonyError, match="single file"):
        each_file(folder / "b.mid", None, "split=valid", None, copy)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MorphonyError, match=r"There is no music in .*empty\."):
        each_file(tmp_path / "empty", None, "", None, copy)
    (tmp_path / "no.tsv").write_text("name\nx\n")
    with pytest.raises(MorphonyError, match="no column named path"):
        each_file(tmp_path / "no.tsv", None, "", None, copy)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX")
def test_pipes_and_link_loops_are_entries_and_wait_for_nobody(folder: Path) -> None:
    os.mkfifo(folder / "pipe.mid")
    (folder / "loop.mid").symlink_to("loop.mid")
    (folder / "round").symlink_to(folder)
    (folder / "zero.mid").symlink_to("/dev/zero")
    done = {entry["file"]: entry["error"] for entry in each_file(folder, None, "", None, copy)["files"]}
    assert set(done) == {"a/one.MID", "a/two.midi", "b.mid", "pipe.mid", "loop.mid", "round", "zero.mid"}
    assert all("not a file" in done[name] for name in ("pipe.mid", "zero.mid"))


def test_results_never_leave_the_folder_nor_overwrite_each_other(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "out.mid").write_text("ok")
    (folder / "two.tsv").write_text("path\n../out.mid\n")
    assert "leads out of" in each_file(folder / "two.tsv", tmp_path / "out", "", None, copy)["files"][0]["error"]
    (folder / "b.midi").write_text("ok")
    done = each_file(folder, tmp_path / "out", "", ".wav", copy)["files"]
    assert [entry["ok"] for entry in done if entry["file"].startswith("b.")] == [True, False]


def test_a_bug_in_one_file_costs_only_that_file(folder: Path) -> None:
    def work(path: Path, out: Path | None) -> dict:
        return {"x": 1 / (len(path.read_text()) - 2)}

    assert [entry["ok"] for entry in each_file(folder, None, "", None, work)["files"]] == [True, True, False]


@pytest.mark.parametrize(("path", "where"), [("", ""), ("train.tsv", ""), ("train.tsv", "split=valid")])
def test_trainer_and_command_line_see_the_same_files(folder: Path, path: str, where: str) -> None:
    seen = [p for _, p in list_files(folder / path, where)]
    assert seen == [p for p, _ in corpus.list_files(folder / path, where)]
    assert len(seen) >= 2
