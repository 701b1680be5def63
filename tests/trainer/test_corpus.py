"""Files to bars: every file accounted for, the cache equal to reading directly."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from engine.attributes import measure
from engine.errors import MorphonyError
from engine.score import Score, Track, make_notes, midi
from engine.score.timing import BarGrid
from engine.tokens.bars import to_bars
from tests.engine import small
from trainer.corpus import Corpus, list_files, scan

BROKEN = {
    "broken.mid": b"MThd\0\0\0\6\0\1\0\1",
    "empty.mid": b"",
    "text.mid": b"this is no MIDI file",
    "zeros.mid": bytes(5000),
}


@pytest.fixture
def mixed_folder(tmp_path: Path) -> Path:
    """Good files among everything that is not."""
    folder = tmp_path / "mixed"
    (folder / "inside").mkdir(parents=True)
    midi.write(small.score(4), folder / "good.mid")
    midi.write(small.score(4, 1), folder / "inside" / "good.MID")
    shutil.copy(folder / "good.mid", folder / "inside" / "copy.midi")
    kit = Score(24, (Track(is_drum=True, channel=9),), make_notes([(0, 12, 36, 90, 0)]))
    midi.write(kit, folder / "drums.mid")
    for name, data in BROKEN.items():
        (folder / name).write_bytes(data)
    os.mkfifo(folder / "pipe.mid")
    (folder / "endless.mid").symlink_to("/dev/zero")
    (folder / "nowhere.mid").symlink_to(folder / "gone.mid")
    (folder / "loop.mid").symlink_to(folder / "loop.mid")
    with (folder / "sparse.mid").open("wb") as file:
        file.truncate(8 << 30)
    (folder / "notes.txt").write_text("not music")
    (folder / "folder.mid").mkdir()
    return folder


def test_the_report_lists_every_file_with_its_reason(mixed_folder: Path) -> None:
    """Trap 11: 194 of 197 files failed silently to load."""
    began = time.monotonic()
    reports = {r.path: r for r in scan(mixed_folder)}
    assert time.monotonic() - began < 20
    bad = {*BROKEN, "drums.mid", "pipe.mid", "endless.mid", "nowhere.mid", "loop.mid", "sparse.mid"}
    assert set(reports) == bad | {"good.mid", "inside/copy.midi", "inside/good.MID"}
    kept = {path for path, r in reports.items() if r.ok}
    assert kept == {"good.mid", "inside/good.MID"}
    for path, report in reports.items():
        if path in kept:
            assert report.reason == ""
            assert (report.bars, report.notes) == (4, len(small.tune(4)))
            assert report.seconds > 7
        else:
            assert Path(path).name in report.reason
            assert report.reason.endswith(".")
            assert "\n" not in report.reason
            assert str(mixed_folder) not in report.reason
    assert "same notes as good.mid" in reports["inside/copy.midi"].reason
    assert "no pitched notes" in reports["drums.mid"].reason
    assert "not a regular file" in reports["pipe.mid"].reason


def test_a_table_chooses_by_its_columns_and_lists_what_is_missing(mixed_folder: Path) -> None:
    table = mixed_folder / "table.tsv"
    rows = ["path\tcorpus\tsplit", "good.mid\tmine\ttrain", "inside/good.MID\tmine\tvalid", "gone.mid\tmine\ttrain"]
    table.write_text("\n".join(rows) + "\n")
    assert [p.name for p, _ in list_files(table, "split=train")] == ["good.mid", "gone.mid"]
    reports = list(scan(table, "split=train,corpus=mine"))
    assert [(r.path, r.ok, r.corpus) for r in reports] == [("good.mid", True, "mine"), ("gone.mid", False, "mine")]
    assert "gone.mid cannot be read" in reports[1].reason


@pytest.mark.parametrize(("where", "sentence"), [("split", "column=value"), ("colour=red", "no column named colour")])
def test_a_filter_that_cannot_be_read_is_refused(mixed_folder: Path, where: str, sentence: str) -> None:
    (mixed_folder / "table.tsv").write_text("path\tsplit\ngood.mid\ttrain\n")
    with pytest.raises(MorphonyError, match=sentence):
        list(scan(mixed_folder / "table.tsv", where))


def test_a_table_without_paths_and_a_folder_that_is_none_are_refused(tmp_path: Path) -> None:
    (tmp_path / "table.tsv").write_text("file\nx.mid\n")
    with pytest.raises(MorphonyError, match="no column named path"):
        list(scan(tmp_path / "table.tsv"))
    with pytest.raises(MorphonyError, match=r"There is no file or folder .*nowhere"):
        list(scan(tmp_path / "nowhere"))
    with pytest.raises(MorphonyError, match=r"none\.tsv cannot be read"):
        list(scan(tmp_path / "none.tsv"))


def test_the_cache_equals_reading_directly(corpus: Corpus, good_folder: Path) -> None:
    assert len(corpus.pieces) == 7
    for piece in corpus.pieces:
        score = midi.read_notes(good_folder / piece.path)
        grid = BarGrid.of(score)
        direct = to_bars(score, grid)
        cached = corpus.read(np.arange(piece.first_bar, piece.first_bar + piece.bars))
        for name in ("bar", "onset", "pitch", "velocity", "part"):
            assert np.array_equal(cached[name], direct[name]), name
        assert np.allclose(cached["duration"], direct["duration"], atol=1 / 32)
        assert np.allclose(cached["micro"], direct["micro"], atol=1 / 200)
        assert corpus.bars["clocks"][piece.first_bar : piece.first_bar + piece.bars].tolist() == grid.clocks.tolist()
        assert np.allclose(piece.attributes, measure(direct, grid.clocks))
        assert piece.corpus == Path(piece.path).parent.name


def test_the_cache_equals_reading_real_music(music: Path, tmp_path: Path) -> None:
    folder = sorted((music / "finetune").iterdir())[0]
    for path in sorted(folder.glob("*.mid"))[:6]:
        shutil.copy(path, tmp_path / path.name)
    corpus = Corpus.build(tmp_path, tmp_path / "cache")
    for piece in corpus.pieces:
        score = midi.read_notes(tmp_path / piece.path)
        direct = to_bars(score, BarGrid.of(score))
        cached = corpus.read(np.arange(piece.first_bar, piece.first_bar + piece.bars))
        assert np.array_equal(cached[["bar", "onset", "pitch", "part"]], direct[["bar", "onset", "pitch", "part"]])


def test_bars_are_read_in_any_order_and_repeatedly(corpus: Corpus) -> None:
    wanted = [9, 2, 2, len(corpus.bars) - 1]
    together = corpus.read(wanted)
    for place, bar in enumerate(wanted):
        alone = corpus.read([bar])
        mine = together[together["bar"] == place]
        assert np.array_equal(mine[["onset", "pitch"]], alone[["onset", "pitch"]])
    assert len(corpus.read([])) == 0


def test_windows_and_bars_are_whole(corpus: Corpus) -> None:
    """Trap 9: windows cut notes from their ends. A note lies in one bar and carries its duration, ties included."""
    last = np.append(corpus.bars["first"][1:], len(corpus.notes))
    assert (corpus.bars["first"] <= last).all()
    clocks = np.repeat(corpus.bars["clocks"], last - corpus.bars["first"])
    assert (corpus.notes["onset"] < clocks).all()


def test_a_cache_is_found_again_until_a_file_changes(good_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "music"
    shutil.copytree(good_folder, folder)
    first = Corpus.build(folder, tmp_path / "cache").folder
    assert Corpus.build(folder, tmp_path / "cache").folder == first
    midi.write(small.score(2, 7), folder / "one" / "tune0.mid")
    assert Corpus.build(folder, tmp_path / "cache").folder != first
    assert all("tmp" not in p.name for p in (tmp_path / "cache").iterdir())


def test_a_folder_of_nothing_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "bare").mkdir()
    with pytest.raises(MorphonyError, match=r"Nothing in bare can be used: it holds no MIDI files\."):
        Corpus.build(tmp_path / "bare", tmp_path / "cache")
    (tmp_path / "bare" / "bad.mid").write_bytes(b"")
    with pytest.raises(MorphonyError, match=r"Nothing in bare can be used: bad\.mid "):
        Corpus.build(tmp_path / "bare", tmp_path / "cache")
