"""Odd and broken MIDI files give notes and a warning, or one sentence; none crashes, hangs or fills memory."""

from __future__ import annotations

import random
import re
import time
import tracemalloc
from pathlib import Path

import pytest

from engine.errors import MorphonyError
from engine.score import Event, Meter, Tempo, Track, make_notes
from engine.score.midi import from_bytes, read, to_bytes
from engine.score.midi_chunks import ODDITIES
from engine.score.score import Score
from engine.score.timing import BarGrid

END = b"\x00\xff\x2f\x00"
SCALE = [(96 * i, 96, 60 + 2 * i, 80) for i in range(5)]
BODY = b"".join(b"\x00\x90%c\x50\x60\x80%c\x40" % (p, p) for _, _, p, _ in SCALE)  # a quarter each, at 96 a quarter


def chunk(body: bytes, name: bytes = b"MTrk", length: int | None = None) -> bytes:
    return name + (len(body) if length is None else length).to_bytes(4, "big") + body


def header(kind: int = 1, tracks: int = 1, division: int = 96, extra: bytes = b"") -> bytes:
    body = b"".join(n.to_bytes(2, "big") for n in (kind, tracks, division)) + extra
    return chunk(body, b"MThd")


def song(body: bytes = BODY + END, **head: int) -> bytes:
    return header(**head) + chunk(body)


def running(interruption: bytes) -> bytes:
    """The scale under one status byte, with an event that ends running status after every note."""
    notes = b"".join(b"\x00%c\x50\x60%c\x00\x00" % (p, p) + interruption for _, _, p, _ in SCALE)
    return b"\x00\x90" + notes[1:] + END


def riff(data: bytes) -> bytes:
    inner = b"RMIDdata" + len(data).to_bytes(4, "little") + data
    return b"RIFF" + len(inner).to_bytes(4, "little") + inner


# What is odd, the file, the warning it must give. All of them hold the same five notes.
ODD: list[tuple[str, bytes, str]] = [
    *((f"running status across {n}", song(running(e)), "running") for n, e in {
        "text": b"\xff\x01\x02hi",
        "lyric": b"\xff\x05\x02la",
        "tempo": b"\xff\x51\x03\x07\xa1\x20",
        "sysex": b"\xf0\x02\x01\xf7",
        "escape": b"\xf7\x01\x05",
    }.items()),
    *((f"no end of track, {n}", song(BODY + e), "no end") for n, e in {
        "nothing": b"",
        "a text": b"\x00\xff\x01\x01x",
        "a pedal": b"\x00\xb0\x40\x00",
        "a program": b"\x00\xc0\x05",
        "a bend": b"\x00\xe0\x00\x40",
    }.items()),
    *((f"cut in {n}", song(BODY + e), "cut") for n, e in {
        "a note": b"\x00\x90\x40",
        "a delta": b"\x81",
        "a text": b"\x00\xff\x01\x7fabc",
        "a sysex": b"\x00\xf0\x10\x01",
        "a status": b"\x00",
    }.items()),
    *((f"alien chunk {n}", d, "alien") for n, d in {
        "first": header() + chunk(b"abc", b"XFIH") + chunk(BODY + END),
        "last": song() + chunk(b"karaoke", b"XFKM"),
        "empty": header() + chunk(b"", b"junk") + chunk(BODY + END),
        "holding MTrk": header() + chunk(b"MTr not MThd", b"XXXX") + chunk(BODY + END),
        "without an end": song() + chunk(b"abc", b"XFKM", 9999),
    }.items()),
    *((f"header {6 + n} long", header(extra=bytes(n)) + chunk(BODY + END), "long header") for n in (1, 2, 4, 10, 100)),
    *((f"{n} tracks named", song(tracks=n), "track count") for n in (0, 2, 3, 17, 65535)),
    *((f"RMID {n}", riff(d), "riff") for n, d in {
        "plain": song(),
        "type 0": song(kind=0),
        "two tracks": header(tracks=2) + chunk(END) + chunk(BODY + END),
        "with a meter": song(b"\x00\xff\x58\x04\x03\x02\x18\x08" + BODY + END),
        "named": song(b"\x00\xff\x03\x01a" + BODY + END),
    }.items()),
    *((f"key {k[0]} {k[1]}", song(b"\x00\xff\x59\x02%c%c" % k + BODY + END), "key") for k in (
        (8, 0), (100, 0), (0, 2), (248, 1), (0, 255),
    )),
    *((f"{n} over 127", song(d + END), "data") for n, d in {
        "velocity": BODY.replace(b"\x90\x3c\x50", b"\x90\x3c\xd0"),
        "release": BODY.replace(b"\x80\x3c\x40", b"\x80\x3c\xc0"),
        "controller": b"\x00\xb0\x07\xff" + BODY,
        "program": b"\x00\xc0\x80" + BODY,
        "bend": b"\x00\xe0\x80\x90" + BODY,
    }.items()),
    *((f"tempo {t!r}", song(b"\x00\xff\x51" + t + BODY + END), "tempo") for t in (
        b"\x03\0\0\0", b"\x00", b"\x01\x07", b"\x02\x07\xa1", b"\x04\x07\xa1\x20\x00",
    )),
    *((f"meter {m!r}", song(b"\x00\xff\x58" + m + BODY + END), "meter") for m in (
        b"\x04\x00\x02\x18\x08", b"\x04\x04\xff\x18\x08", b"\x00", b"\x01\x04", b"\x04\x04\x20\x18\x08",
    )),
    *((f"stray {d!r}", song(d + BODY + END), "stray") for d in (
        b"\x00\x40", b"\x00\x40\x00\x41", b"\x05\x7f", b"\x00\x00", b"\x00\x01",
    )),
    *((f"live message {b:#x}", song(b"\x00" + bytes((b,)) + BODY + END), "system") for b in (
        0xF6, 0xF8, 0xFA, 0xFC, 0xFE,
    )),
    *((f"junk of {n}", bytes(range(n)) + song(), "junk") for n in (1, 4, 60, 128, 200)),
    *((f"wrong length {n}", header() + chunk(BODY + END, length=n), "length") for n in (0, 3, 20, 9999, 2**32 - 1)),
    ("no header", chunk(BODY + END), "no header"),
    ("cut header", song()[:10] + song()[14:], "short header"),
    ("type 7", song(kind=7), "format"),
    ("resolution 0", song(division=0), "resolution"),
    ("after the end", song(BODY + END + BODY), "after end"),
    ("five-byte delta", song(b"\x00\xff\x51\x03\0\0\x10\x81\x80\x80\x80\0\xff\x01\0" + BODY + END), "delta"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "oddity"), [o[1:] for o in ODD], ids=[o[0] for o in ODD])
def test_odd_files_give_their_notes_and_say_what_is_odd(data: bytes, oddity: str) -> None:
    score = from_bytes(data)
    assert score.notes["pitch"].tolist() == [row[2] for row in SCALE]
    steps = (score.notes["tick"] - score.notes["tick"][0]).tolist()
    assert steps == [row[0] for row in SCALE]
    assert score.notes["duration"].tolist() == [96] * 5
    assert any(line.startswith(ODDITIES[oddity]) for line in score.warnings)
    assert from_bytes(to_bytes(score)).notes.tolist() == score.notes.tolist()


def test_a_note_never_released_ends_with_its_track() -> None:
    score = from_bytes(song(b"\x00\x90\x20\x50" + BODY + b"\xff\xff\xff\x7f\xff\x2f\x00"))  # the end is years away
    assert score.notes["duration"].max() == 5 * 96
    assert score.warnings == ("A note is never released; it ends with its track.",)


@pytest.mark.parametrize("division", [1, 2, 24, 480, 960, 32767])
def test_every_resolution_reads(division: int) -> None:
    assert from_bytes(song(division=division)).ticks_per_quarter == division
    assert len(BarGrid.of(from_bytes(song(division=division)))) >= 1


@pytest.mark.parametrize(
    ("division", "seconds"), [(0xE728, 0.096), (0xE250, 0.04), (0xE804, 1.0), (0xE304, 96 / 120 * 1.001)]
)
def test_film_frames_keep_their_seconds(division: int, seconds: float) -> None:
    score = from_bytes(song(division=division))
    assert score.tempi[0].microseconds / 1e6 / score.ticks_per_quarter * 96 == pytest.approx(seconds, rel=1e-5)


def test_the_songs_of_a_type_2_file_follow_one_another() -> None:
    waltz = b"\x00\xff\x58\x04\x03\x02\x18\x08\x00\xff\x51\x03\x06\x00\x00" + BODY + END
    score = from_bytes(header(kind=2, tracks=3) + chunk(BODY + END) + chunk(waltz) + chunk(BODY + END))
    firsts = [int(score.notes["tick"][score.notes["track"] == t].min()) for t in range(3)]
    assert firsts == [0, 2 * 4 * 96, 2 * 4 * 96 + 2 * 3 * 96]  # five quarters are two bars of 4/4, and of 3/4
    assert score.meters == (Meter(0, 4, 4), Meter(768, 3, 4), Meter(1344, 4, 4))
    assert [t.tick for t in score.tempi] == [0, 768, 1344]


def test_programs_chosen_in_another_track_count() -> None:
    """Many files choose all sounds in a first track without notes."""
    score = from_bytes(header(tracks=2) + chunk(b"\x00\xc0\x28\x00\xc1\x29" + END) + chunk(BODY + END))
    assert score.tracks == (Track("", 40, 0), Track("", 40, 0))
    assert score.events == (Event(0, 0, b"\xc1\x29"),)


@pytest.mark.parametrize("body", [b"", END, b"\x00\xb0\x40\x7f" + END])
def test_a_file_without_notes_still_opens(body: bytes) -> None:
    score = from_bytes(song(body))
    assert len(score.notes) == 0
    assert ODDITIES["no notes"] + "." in score.warnings


# ---------------------------------------------------------------- limits


def test_a_small_file_that_claims_a_hundred_years_is_refused_at_once() -> None:
    step = b"\xff\xff\xff\x7f"
    data = song(step + b"\x90\x3c\x50" + step + b"\x80\x3c\x40" + END, division=1)
    tracemalloc.start()
    began = time.perf_counter()
    with pytest.raises(MorphonyError, match=r"old.mid lasts 9 years; music longer than 24 hours"):
        from_bytes(data, "old.mid")
    assert time.perf_counter() - began < 0.2
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_so_is_one_with_too_many_bars() -> None:
    step = b"\xff\xff\xff\x7f"
    data = song(b"\x00\xff\x51\x03\x00\x00\x01" + step + b"\x90\x3c\x50\x01\x80\x3c\x40" + END, division=1)
    with pytest.raises(MorphonyError, match="more than 1,000,000 bars"):
        from_bytes(data, "bars.mid")


def test_ticks_beyond_what_32_bits_hold() -> None:
    far = (b"\xff\xff\xff\x7f\xff\x06\x01x" * 9) + BODY
    score = from_bytes(song(b"\x00\xff\x51\x03\x01\x00\x00" + far + END, division=32767))
    assert score.notes["tick"][0] == 9 * 0x0FFFFFFF > 2**31
    assert from_bytes(to_bytes(score)).notes.tolist() == score.notes.tolist()


@pytest.mark.slow
def test_a_million_notes_load_in_five_seconds() -> None:
    rows = make_notes((i * 2, 2, 40 + i % 40, 80, 0) for i in range(1_000_000))
    data = to_bytes(Score(480, (Track(),), rows))
    began = time.perf_counter()
    assert len(from_bytes(data).notes) == 1_000_000
    assert time.perf_counter() - began < 5


def test_more_notes_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.score.midi_parser.MAX_NOTES", 4)
    with pytest.raises(MorphonyError, match="more than 4 notes"):
        from_bytes(song(), "many.mid")


# ---------------------------------------------------------------- mutants


def mutate(data: bytes, rng: random.Random) -> bytes:
    """The bytes with one to six wounds: changed, lost, added, huge or cut off."""
    for _ in range(rng.randint(1, 6)):
        at, n = rng.randrange(max(len(data), 1)), rng.randint(1, 9)
        lost, new = rng.choice(((1, rng.randbytes(1)), (n, b""), (0, rng.randbytes(n)), (4, b"\xff" * 4), (2**30, b"")))
        data = data[:at] + new + data[at + lost :]
    return data


def hunt(sources: list[bytes], count: int) -> None:
    """Every mutant opens or is refused in a sentence, in under a second; what opens can be saved and read again."""
    rng = random.Random(0)
    opened = 0
    slowest = 0.0
    for i in range(count):
        data = mutate(sources[i % len(sources)], rng)
        began = time.perf_counter()
        try:
            score = from_bytes(data, "mutant.mid")
            opened += 1
        except MorphonyError as refusal:
            score, sentence = None, str(refusal)
        slowest = max(slowest, time.perf_counter() - began)
        if score is None:
            assert re.fullmatch(r"mutant\.mid [^\n]+\.", sentence)
        elif i % 10 == 0:
            again = from_bytes(to_bytes(score))
            assert again.notes.tolist() == score.notes.tolist()
            assert again.events == score.events
            assert again.tracks == score.tracks
    print(f"{count:,} mutants: {opened:,} opened, the rest refused in a sentence, slowest {slowest * 1000:.0f} ms")  # noqa: T201
    assert slowest < 1


def test_mutants_of_small_files_never_crash() -> None:
    hunt([o[1] for o in ODD], 2000)


@pytest.mark.slow
def test_ten_thousand_mutants_of_real_files_never_crash(music: Path) -> None:
    files = sorted((music / "finetune").rglob("*.mid"))[::40]
    hunt([path.read_bytes() for path in files], 10_000)


def test_reading_a_real_file_twice_gives_the_same(music: Path) -> None:
    path = next(iter(sorted((music / "pretrain").rglob("*.mid"))))
    assert to_bytes(read(path)) == to_bytes(read(path))


def test_a_tempo_that_is_not_followed_stays_in_the_file() -> None:
    score = from_bytes(song(b"\x00\xff\x51\x03\0\0\0" + BODY + END))
    assert score.tempi == (Tempo(0, 500_000),)
    assert Event(0, 0, b"\xff\x51\0\0\0") in score.events
    assert b"\xff\x51\x03\0\0\0" in to_bytes(score)
