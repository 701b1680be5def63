"""MIDI files: what is read, what is written, that the two agree, and how nothing is lost on the way to the disk."""

from __future__ import annotations

import csv
import io
import os
from dataclasses import replace
from pathlib import Path

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.errors import MorphonyError
from engine.score import Event, Meter, Score, Tempo, Track, make_notes
from engine.score.midi import from_bytes, only_notes, read, read_notes, to_bytes, write
from engine.score.timing import TempoMap

DEMO = Path(__file__).resolve().parents[3] / "assets" / "demo"

# A whole file by hand: two tracks, a tempo, a meter, a program, a pedal, two notes under running status.
SMALL = bytes.fromhex(
    "4d546864 00000006 0001 0002 0060"  # MThd: type 1, two tracks, 96 ticks a quarter
    "4d54726b 00000013"
    "00 ff5804 03 02 18 08"  # 3/4
    "00 ff5103 0927c0"  # 600,000 us a quarter: 100 BPM
    "00 ff2f00"
    "4d54726b 00000021"
    "00 ff0303 4f626f"  # name "Obo"
    "00 c2 44"  # channel 2, program 68
    "00 b2 40 7f"  # pedal down
    "00 92 3c 50"  # C4 on
    "30 3e 60"  # 48 ticks later D4 on, by running status
    "30 3c 00"  # 48 later C4 off: velocity 0
    "8100 82 3e 00"  # 128 later D4 off
    "00 ff2f00"
)


def same(one: Score, other: Score) -> bool:
    return (
        one.ticks_per_quarter == other.ticks_per_quarter
        and np.array_equal(one.notes, other.notes)
        and (one.tracks, one.meters, one.tempi, one.events) == (other.tracks, other.meters, other.tempi, other.events)
    )


def valid_files(music: Path) -> list[Path]:
    with (music / "valid.tsv").open(encoding="utf-8") as lines:
        return [music / row["path"] for row in csv.DictReader(lines, delimiter="\t")]


def test_a_file_by_hand_reads_as_it_says() -> None:
    score = from_bytes(SMALL)
    assert score.ticks_per_quarter == 96
    assert score.tracks == (Track("Obo", 68, 2),)
    assert score.meters == (Meter(0, 3, 4),)
    assert score.tempi == (Tempo(0, 600_000),)
    assert score.notes.tolist() == [(0, 96, 60, 80, 0), (48, 176, 62, 96, 0)]
    assert score.events == (Event(0, 0, b"\xb2\x40\x7f"),)
    assert score.warnings == ()


def test_one_file_track_with_two_channels_becomes_two_tracks() -> None:
    file = mido.MidiFile(type=0)
    line = mido.MidiTrack([mido.MetaMessage("track_name", name="Band")])
    for channel, program in ((4, 30), (1, 12)):
        line += [
            mido.Message("program_change", channel=channel, program=program),
            mido.Message("note_on", channel=channel, note=60, velocity=70),
            mido.Message("note_off", channel=channel, note=60, time=100),
        ]
    line.insert(4, mido.Message("program_change", channel=4, program=31, time=5))
    file.tracks.append(line)
    score = from_bytes(_saved(file))
    assert score.tracks == (Track("Band", 12, 1), Track("Band", 30, 4))
    assert score.events == (Event(105, 1, b"\xc4\x1f"),)  # a later program change is an event of its track
    assert same(score, from_bytes(to_bytes(score)))


def test_what_belongs_to_no_track_survives() -> None:
    file = mido.MidiFile(type=1)
    head = [("track_name", "My song"), ("copyright", "(c) me"), ("marker", "Verse")]
    file.tracks.append(mido.MidiTrack([mido.MetaMessage(k, **{"name" if "name" in k else "text": t}) for k, t in head]))
    file.tracks.append(
        mido.MidiTrack([mido.MetaMessage("key_signature", key="Eb"), mido.Message("sysex", data=(1, 2, 3), time=9)])
    )
    file.tracks.append(mido.MidiTrack([mido.Message("note_on", note=50), mido.Message("note_off", note=50, time=7)]))
    score = from_bytes(_saved(file))
    assert [e.data for e in score.events] == [
        b"\xff\x03My song",
        b"\xff\x02(c) me",
        b"\xff\x06Verse",
        b"\xff\x59\xfd\x00",
        b"\xf0\x01\x02\x03\xf7",
    ]
    assert {e.track for e in score.events} == {-1}
    assert len(score.tracks) == 1
    assert same(score, from_bytes(to_bytes(score)))


def test_a_bank_is_chosen_before_its_program_and_both_before_the_notes() -> None:
    bank = (Event(0, 0, b"\xb0\x00\x08"), Event(0, 0, b"\xb0\x20\x01"), Event(0, 0, b"\xb0\x07\x64"))
    score = Score(96, (Track("", 5),), make_notes([(0, 96, 60, 64, 0)]), events=bank)
    messages = [m for m in mido.MidiFile(file=io.BytesIO(to_bytes(score))).tracks[1] if not m.is_meta]
    kinds = [(m.type, getattr(m, "control", None)) for m in messages]
    assert kinds == [
        ("control_change", 0),
        ("control_change", 32),
        ("program_change", None),
        ("control_change", 7),
        ("note_on", None),
        ("note_off", None),
    ]


def test_releases_come_before_the_notes_of_their_tick_and_notes_without_length_stay() -> None:
    score = Score(96, (Track(),), make_notes([(0, 96, 60, 64, 0), (96, 0, 60, 65, 0), (96, 48, 60, 66, 0)]))
    assert from_bytes(to_bytes(score)).notes.tolist() == score.notes.tolist()
    assert from_bytes(to_bytes(score)).warnings == ("A note has no length.",)


def test_overlapping_notes_of_one_pitch_pair_first_on_first_off() -> None:
    on, off = mido.Message("note_on", note=60, velocity=80), mido.Message("note_off", note=60)
    line = mido.MidiTrack([on, on.copy(time=10, velocity=90), off.copy(time=10), off.copy(time=10), off.copy(time=5)])
    score = from_bytes(_saved(mido.MidiFile(tracks=[line])))
    assert score.notes.tolist() == [(0, 20, 60, 80, 0), (10, 20, 60, 90, 0)]


def test_a_name_that_is_not_utf8_keeps_its_bytes() -> None:
    raw = to_bytes(Score(96, (Track("Fl?te"),), make_notes([(0, 9, 60, 64, 0)]))).replace(b"Fl?te", b"Fl\xf6te")
    score = from_bytes(raw)
    assert score.tracks[0].name == "Flöte"
    assert b"Fl\xf6te" in to_bytes(score)
    assert same(score, from_bytes(to_bytes(score)))
    renamed = replace(score, tracks=(replace(score.tracks[0], name="Oboe"),))
    assert from_bytes(to_bytes(renamed)).tracks[0].name == "Oboe"


def test_a_pause_longer_than_one_time_step_can_say() -> None:
    late = 3 * 0x0FFFFFFF + 5
    notes = make_notes([(0, 9, 60, 64, 0), (late, 9, 60, 64, 0)])
    score = Score(32767, (Track(),), notes, tempi=(Tempo(0, 1000),))
    assert same(score, from_bytes(to_bytes(score)))


def test_what_the_format_cannot_hold_is_refused_in_words() -> None:
    with pytest.raises(MorphonyError, match="meter 4/3"):
        to_bytes(Score(96, (), make_notes(), meters=(Meter(0, 4, 3),)))
    with pytest.raises(MorphonyError, match="40000 ticks"):
        to_bytes(Score(40000, (), make_notes()))


# ---------------------------------------------------------------- any score


@st.composite
def scores(draw: st.DrawFn) -> Score:
    """A score in the form `read` gives: pairs first-on first-off, a meter and a tempo at 0, events in order."""
    tracks = tuple(
        Track(name, program, channel, channel == 9)
        for name, program, channel in draw(
            st.lists(st.tuples(st.text(max_size=6), st.integers(0, 127), st.integers(0, 15)), max_size=4)
        )
    )
    tick, lines = st.integers(0, 400), st.integers(-1, len(tracks) - 1)
    starts = st.tuples(tick, st.integers(0, 300), st.integers(0, 127), st.integers(1, 127), st.integers(0, 3))
    rows = [r for r in draw(st.lists(starts, max_size=30)) if r[4] < len(tracks)]
    notes = _first_on_first_off(make_notes(rows))
    meters = {0: Meter(0, 4, 4)} | {t: Meter(t, n, 1 << d) for t, n, d in draw(_few(tick, range(1, 17), range(6)))}
    tempi = {0: Tempo(0, 500_000)} | {t: Tempo(t, n) for t, n, _ in draw(_few(tick, range(1, 2**24), range(1)))}
    events = []
    for at, line, kind, payload in draw(
        st.lists(st.tuples(tick, lines, st.integers(0, 5), st.binary(min_size=2, max_size=6)), max_size=12)
    ):
        values = bytes(b & 0x7F for b in payload[:2])
        channel = tracks[line].channel if line >= 0 else 0
        message = (
            bytes((0xB0 | channel,)) + values,
            bytes((0xE0 | channel,)) + values,
            bytes((0xC0 | channel,)) + values[:1],
            b"\xff\x01" + payload,
            b"\xff\x05" + payload,
            b"\xf0" + payload,
        )[kind if line >= 0 else 3 + kind % 3]
        events.append(Event(at, line, message))
    events.sort(key=lambda e: (e.tick, e.track))
    return Score(
        draw(st.integers(1, 32767)),
        tracks,
        notes,
        tuple(m for _, m in sorted(meters.items())),
        tuple(t for _, t in sorted(tempi.items())),
        tuple(events),
    )


def _few(tick: st.SearchStrategy[int], one: range, other: range) -> st.SearchStrategy[list[tuple[int, int, int]]]:
    return st.lists(st.tuples(tick, st.sampled_from(one), st.sampled_from(other)), max_size=4)


def _first_on_first_off(notes: np.ndarray) -> np.ndarray:
    """Give the releases of each line to its notes in their order, as any reader of a file must."""
    notes = Score(1, (), notes).notes.copy()
    for key in {(int(n["track"]), int(n["pitch"])) for n in notes}:
        rows = np.flatnonzero((notes["track"] == key[0]) & (notes["pitch"] == key[1]))
        ends = np.sort(notes["tick"][rows] + notes["duration"][rows])
        notes["duration"][rows] = ends - notes["tick"][rows]
    return notes


@settings(max_examples=300, deadline=None)
@given(scores())
def test_reading_what_was_written_is_the_identity(score: Score) -> None:
    raw = to_bytes(score)
    assert same(from_bytes(raw), score)
    assert to_bytes(from_bytes(raw)) == raw


# ---------------------------------------------------------------- real files


def test_real_files_round_trip(music: Path) -> None:
    files = valid_files(music)
    notes = 0
    for path in files:
        score = read(path)
        again = from_bytes(to_bytes(score))
        assert same(again, score), path.name
        notes += len(score.notes)
    print(f"{len(files)} real files, {notes:,} notes: all the same after writing and reading")  # noqa: T201


def test_the_fast_reader_agrees_with_the_careful_one(music: Path) -> None:
    for path in valid_files(music)[::2]:
        fast, careful = read_notes(path), only_notes(read(path))
        fast_tracks = [(t.name, t.program, t.is_drum) for t in fast.tracks]
        assert fast_tracks == [(t.name, t.program, t.is_drum) for t in careful.tracks], path.name
        assert np.array_equal(fast.notes, careful.notes), path.name
        assert (fast.meters, fast.tempi) == (careful.meters, careful.tempi), path.name


def test_mido_hears_the_same_notes_at_the_same_seconds(music: Path) -> None:
    for path in valid_files(music)[::20]:
        score = read(path)
        onsets = np.sort(TempoMap.of(score).to_seconds(score.notes["tick"]))
        now, heard = 0.0, []
        for message in mido.MidiFile(path):
            now += message.time
            if message.type == "note_on" and message.velocity:
                heard.append(now)
        np.testing.assert_allclose(onsets, heard, atol=0.002)


@pytest.mark.parametrize("path", sorted(DEMO.glob("*.mid")), ids=lambda p: p.stem)
def test_demo_pieces_round_trip(path: Path) -> None:
    score = read(path)
    assert score.warnings == ()
    assert same(from_bytes(to_bytes(score)), score)
    assert np.array_equal(read_notes(path).notes, only_notes(score).notes)


# ---------------------------------------------------------------- the disk


def test_what_is_not_a_midi_file_is_refused_in_one_sentence(tmp_path: Path) -> None:
    pipe, big = tmp_path / "pipe.mid", tmp_path / "big.mid"
    (tmp_path / "empty.mid").touch()
    (tmp_path / "text.mid").write_text("Dear diary")
    (tmp_path / "loop.mid").symlink_to(tmp_path / "loop.mid")
    (tmp_path / "zero.mid").symlink_to("/dev/zero")
    (tmp_path / "headless.mid").write_bytes(SMALL[:14])
    os.mkfifo(pipe)
    with big.open("wb") as file:
        file.truncate(8 << 30)  # sparse: takes no room
    reasons = {
        "pipe.mid": "not a regular file",
        "zero.mid": "not a regular file",
        "": "is a folder, not a file",
        "big.mid": "64 MiB",
        "empty.mid": "is empty",
        "text.mid": "not a MIDI file",
        "loop.mid": "cannot be read",
        "missing.mid": "cannot be read",
        "headless.mid": "no MIDI track",
    }
    for name, reason in reasons.items():
        for reader in (read, read_notes):
            with pytest.raises(MorphonyError, match=reason) as caught:
                reader(tmp_path / name)
            assert (name or tmp_path.name) in str(caught.value)
            assert "\n" not in str(caught.value)


def test_saving_replaces_the_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, score = tmp_path / "song.mid", from_bytes(SMALL)
    write(score, path)
    before = path.read_bytes()
    assert same(read(path), score)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for step in ("fsync", "replace"):
        with monkeypatch.context() as broken:
            broken.setattr(os, step, full)
            with pytest.raises(MorphonyError, match=r"song.mid could not be saved: the disk is full"):
                write(replace(score, tracks=(Track("other"),)), path)
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["song.mid"]


def _saved(file: mido.MidiFile) -> bytes:
    out = io.BytesIO(b"")
    file.save(file=out)
    return out.getvalue()
