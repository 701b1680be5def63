"""Files to bars: every file accounted for, the cache equal to reading directly."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from engine.attributes import measure
from engine.errors import MorphonyError
from engine.score import Meter, Score, Tempo, Track, make_notes, midi
from engine.score.timing import BarGrid
from engine.tokens.bars import to_bars
from tests.engine import small
from trainer.corpus import Corpus, index, list_files, scan, version
from trainer.corpus.bars import to_pieces
from trainer.corpus.cache import _put, is_whole
from trainer.corpus.reading import read_file

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


def copies(good_folder: Path, folder: Path) -> Path:
    shutil.copytree(good_folder, folder)
    for path in folder.rglob("*.mid"):
        os.utime(path, (1_700_000_000, 1_700_000_000))
    return folder


def test_a_change_of_content_is_seen_behind_equal_size_and_time(good_folder: Path, tmp_path: Path) -> None:
    """What an index of names, sizes and times alone would miss."""
    folder = copies(good_folder, tmp_path / "music")
    first = Corpus.build(folder, tmp_path / "cache")
    changed = folder / "one" / "tune0.mid"
    data = changed.read_bytes()
    at = data.index(b"\x90") + 2
    changed.write_bytes(data[:at] + bytes([data[at] ^ 3]) + data[at + 1 :])
    os.utime(changed, (1_700_000_000, 1_700_000_000))
    second = Corpus.build(folder, tmp_path / "cache")
    assert second.folder != first.folder
    assert second.notes.tobytes() != first.notes.tobytes()


def test_new_times_alone_make_no_new_cache(good_folder: Path, tmp_path: Path) -> None:
    folder = copies(good_folder, tmp_path / "music")
    first = Corpus.build(folder, tmp_path / "cache").folder
    (folder / "one" / "tune0.mid").touch()
    assert Corpus.build(folder, tmp_path / "cache").folder == first


def test_an_unchanged_folder_is_opened_without_reading_it(
    good_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copies(good_folder, tmp_path / "music")
    monkeypatch.setattr(index, "GRAIN_NS", 0)
    Corpus.build(folder, tmp_path / "cache")
    monkeypatch.setattr(index, "_content", lambda files, i: pytest.fail(f"{files.names[i]} was read"))
    assert len(Corpus.build(folder, tmp_path / "cache").pieces) == 7


def test_another_version_of_the_code_makes_its_own(
    good_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Corpus.build(good_folder, tmp_path / "cache").folder
    monkeypatch.setattr(version, "code", lambda: "another")
    assert Corpus.build(good_folder, tmp_path / "cache").folder != first


def test_every_module_that_decides_what_a_bar_is_counts_into_the_version(monkeypatch: pytest.MonkeyPatch) -> None:
    said = version.code()
    for name in version.MODULES:
        monkeypatch.setattr(version, "MODULES", tuple(m for m in version.MODULES if m != name))
        assert version.code.__wrapped__() != said
        monkeypatch.undo()


@pytest.mark.parametrize("name", ["notes", "bars", "pieces", "names", "reports", "corpus.json"])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_a_damaged_cache_is_made_again(small_cache: Corpus, tmp_path: Path, name: str, how: str) -> None:
    whole = small_cache.folder
    place = tmp_path / "cache" / whole.name
    shutil.copytree(whole, place)
    assert is_whole(place)
    path = place / name
    data = path.read_bytes()
    if how == "gone":
        path.unlink()
    elif how == "cut":
        path.write_bytes(data[:-1])
    else:
        middle = len(data) // 2
        path.write_bytes(data[:middle] + bytes([data[middle] ^ 0x80]) + data[middle + 1 :])
    assert not is_whole(place)
    fresh = tmp_path / "cache" / "fresh.tmp"
    shutil.copytree(whole, fresh)
    _put(fresh, place)  # what building ends with
    assert is_whole(place)
    assert sorted(p.name for p in place.parent.iterdir()) == [place.name]


@pytest.fixture(scope="module")
def small_cache(good_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus.build(good_folder, tmp_path_factory.mktemp("cache"))


def test_a_damaged_cache_and_a_damaged_index_are_no_obstacle(good_folder: Path, tmp_path: Path) -> None:
    built = Corpus.build(good_folder, tmp_path)
    (built.folder / "notes").write_bytes(b"")
    next(tmp_path.glob("files-*.npy")).write_bytes(b"nonsense")
    again = Corpus.build(good_folder, tmp_path)
    assert again.folder == built.folder
    assert len(again.notes) > 0
    assert not list(tmp_path.glob("*.tmp"))


def test_two_runs_that_build_at_once_get_the_same(good_folder: Path, tmp_path: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        one, two = pool.map(lambda _: Corpus.build(good_folder, tmp_path, workers=1), range(2))
    assert one.folder == two.folder
    assert one.notes.tobytes() == two.notes.tobytes()
    assert is_whole(one.folder)
    assert not list(tmp_path.glob("*.tmp"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="limits of a process: not on this system")
def test_a_full_disk_is_a_sentence_and_leaves_nothing(good_folder: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: writing fails as it does there."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(MorphonyError, match=r"The bars could not be kept in .*: "):
            Corpus.build(good_folder, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((tmp_path / "cache").iterdir()) == []
    assert len(Corpus.build(good_folder, tmp_path / "cache").pieces) == 7


def test_what_a_killed_run_left_is_swept_when_it_is_old(good_folder: Path, tmp_path: Path) -> None:
    for name, age in (("building-old.tmp", 2 * 86_400), ("building-new.tmp", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "notes").write_bytes(b"half")
        for path in (tmp_path / name / "notes", tmp_path / name):
            os.utime(path, (time.time() - age,) * 2)
    Corpus.build(good_folder, tmp_path)
    assert [p.name for p in tmp_path.glob("*.tmp")] == ["building-new.tmp"]


def test_reports_and_sums_are_kept_with_the_bars(corpus: Corpus, good_folder: Path) -> None:
    reports = list(corpus.reports())
    assert [r.path for r in reports] == [r.path for r in scan(good_folder)]
    said = corpus.summary().plain()
    assert (said["kept"], said["duplicates"]) == (7, 0)
    assert said["notes"] == len(corpus.notes)
    assert said["meters"] == [
        {"meter": "4/4", "bars": sum(r.meters.get("4/4", 0) for r in reports), "pieces": 6},
        {"meter": "3/4", "bars": 10, "pieces": 1},
        {"meter": "1/4", "bars": 1, "pieces": 1},
    ]


def test_the_same_music_at_another_resolution_and_tempo_is_a_duplicate(tmp_path: Path) -> None:
    score = small.score(4)
    fine = score.notes.copy()
    fine["tick"] *= 20
    fine["duration"] *= 20
    midi.write(score, tmp_path / "a.mid")
    other = Score(score.ticks_per_quarter * 20, score.tracks, fine, finer(score), (Tempo(0, 400_000),))
    midi.write(other, tmp_path / "b.mid")
    reports = list(scan(tmp_path))
    assert [r.same_as for r in reports] == ["", "a.mid"]


def finer(score: Score) -> tuple[Meter, ...]:
    return tuple(Meter(m.tick * 20, m.numerator, m.denominator) for m in score.meters)


def test_a_folder_that_does_not_open_is_listed(
    good_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copies(good_folder, tmp_path / "music")
    real = os.scandir

    def shut(path: Path) -> object:
        if Path(path).name == "one":
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(os, "scandir", shut)
    reports = list(scan(folder))
    assert (reports[0].path, reports[0].ok) == ("one", False)
    assert reports[0].reason.startswith("one cannot be read: ")
    assert sum(r.ok for r in reports) == 3


def test_bars_made_together_are_those_made_alone(music: Path) -> None:
    """Some files of the music, in one pass and as `to_bars` and `measure` give each."""
    paths = sorted(music.rglob("*.mid"))[::40]
    found = [read_file(str(path)) for path in paths]
    pieces = to_pieces([result[0] for _, _, result in found if result is not None])
    for path, piece in zip(paths, pieces, strict=True):
        score = midi.read_notes(path)
        grid = BarGrid.of(score)
        direct = to_bars(score, grid)
        assert piece is not None
        for name in ("onset", "pitch", "velocity", "part"):
            assert np.array_equal(piece.notes[name], direct[name]), (path.name, name)
        assert np.array_equal(piece.bars["first"], np.searchsorted(direct["bar"], np.arange(len(grid))))
        assert np.array_equal(piece.bars["clocks"], grid.clocks)
        assert np.allclose(piece.attributes, measure(direct, grid.clocks), rtol=1e-12, atol=1e-12), path.name
