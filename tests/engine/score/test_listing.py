"""What a path stands for, in the same words for the command line and the trainer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from engine.errors import MorphonyError
from engine.score.listing import SUFFIXES, is_many, list_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.mid", "a/one.MID", "a/two.kar", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "list.tsv").write_text('path\tcorpus\tsplit\na/one.MID\tmine\tvalid\nb.mid\t\ttrain\n"q.mid\t\tvalid\n')
    return tmp_path


def test_a_folder_a_table_and_a_file_are_listed_alike(folder: Path) -> None:
    assert [(f.name, f.corpus) for f in list_files(folder)] == [
        ("a/one.MID", "a"), ("a/two.kar", "a"), ("b.mid", folder.name),
    ]  # fmt: skip
    assert [(f.name, f.corpus) for f in list_files(folder / "list.tsv")] == [
        ("a/one.MID", "mine"), ("b.mid", ""), ('"q.mid', ""),
    ]  # fmt: skip
    assert [f.path for f in list_files(folder / "b.mid")] == [folder / "b.mid"]
    assert list_files(folder / "list.tsv", "split=valid")[0].row["corpus"] == "mine"
    assert is_many(folder)
    assert is_many(folder / "list.tsv")
    assert not is_many(folder / "b.mid")


def test_every_suffix_that_is_read_is_listed(tmp_path: Path) -> None:
    for suffix in SUFFIXES:
        (tmp_path / f"x{suffix.upper()}").write_text("x")
    assert len(list_files(tmp_path)) == len(SUFFIXES) == 5


@pytest.mark.parametrize(
    ("path", "where", "sentence"),
    [
        ("nothing", "", "There is no file or folder"),
        ("b.mid", "split=valid", "is a single file"),
        ("", "split=valid", "is a folder"),
        ("list.tsv", "splt=valid", "did you mean 'split'"),
        ("list.tsv", "split", "column=value"),
        ("gone.tsv", "", r"gone\.tsv cannot be read"),
    ],
)
def test_what_cannot_be_listed_is_one_sentence(folder: Path, path: str, where: str, sentence: str) -> None:
    with pytest.raises(MorphonyError, match=sentence):
        list_files(folder / path, where)


def test_listing_needs_no_torch() -> None:
    code = "import sys, engine.score.listing, engine.score.harmony; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
