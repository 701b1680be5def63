"""Score -> 774 ids -> Score: what must come back, on pieces made up here, on the demo pieces and on real files."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import symusic
from hypothesis import given, settings
from hypothesis import strategies as st
from miditok import MIDILike, TokenizerConfig
from numpy.typing import NDArray

from engine.score import Event, Score, Tempo, Track, make_notes, midi
from engine.score.timing import CLOCKS_PER_QUARTER, TempoMap
from engine.tokens import codec
from engine.tokens.bars import is_modelled, part_tracks
from engine.tokens.codec import Tokens, decode, encode
from engine.tokens.vocab import FAMILIES, SIZE, TEMPO_BPM

DEMO = sorted((Path(__file__).resolve().parents[3] / "assets" / "demo").glob("*.mid"))


def words(tokens: Tokens) -> list[str]:
    """The ids in words: ON60, SHIFT24 ..."""
    out = []
    for token in tokens.ids.tolist():
        name, family = next((n, f) for n, f in FAMILIES.items() if token in f.ids)
        short = name.removeprefix("NOTE_").removeprefix("TIME_").removesuffix("_CHANGE")
        out.append(short if len(family.ids) == 1 else f"{short}{family.value(token)}")
    return out


def score_of(
    rows: list[tuple[int, int, int, int, int]], tpq: int = 24, tracks: int = 1, events: tuple[Event, ...] = ()
) -> Score:
    return Score(tpq, tuple(Track("", 10 * i, i) for i in range(tracks)), make_notes(rows), events=events)


# ---------------------------------------------------------------- what is written


def test_a_phrase_in_words() -> None:
    pedal = (Event(0, 0, b"\xb0\x40\x7f"), Event(24, 0, b"\xb0\x40\x50"), Event(48, 0, b"\xb0\x40\x00"))
    score = score_of(
        [(0, 24, 60, 80, 0), (0, 48, 64, 80, 0), (24, 24, 62, 100, 0), (48, 12, 48, 100, 1)], tracks=2, events=pedal
    )
    assert " ".join(words(encode(score))) == (
        "START TEMPO20 INSTRUMENT0 SUSTAIN1 VELOCITY20 ON60 ON64 SHIFT24 OFF60 VELOCITY25 ON62 "
        "SHIFT24 OFF62 OFF64 SUSTAIN0 INSTRUMENT1 ON48 SHIFT12 OFF48 END"
    )
    assert encode(score).programs == (0, 10)
    assert encode(score).ids.dtype == np.int16


def test_a_long_silence_is_whole_shifts_and_the_rest() -> None:
    for silence, shifts in (
        (512, [512]),
        (513, [512, 1]),
        (1024, [512, 512]),
        (1536, [512] * 3),
        (2000, [512] * 3 + [464]),
    ):
        said = words(encode(score_of([(silence, 0, 60, 80, 0)])))
        assert said[2 : 2 + len(shifts)] == [f"SHIFT{n}" for n in shifts]
        assert not said[2 + len(shifts)].startswith("SHIFT")


def test_notes_without_length_survive() -> None:
    score = score_of([(0, 0, 60, 80, 0), (0, 0, 60, 90, 0), (0, 24, 60, 100, 0), (24, 0, 60, 80, 0)])
    assert decode(encode(score)).notes["duration"].tolist() == [0, 0, 24, 0]
    assert "ON60 OFF60 VELOCITY22 ON60 OFF60 VELOCITY25 ON60 SHIFT24 OFF60" in " ".join(words(encode(score)))


def test_doublings_and_overlaps_pair_first_on_first_off_in_each_part() -> None:
    rows = [(0, 48, 60, 80, 0), (24, 48, 60, 90, 0), (0, 96, 60, 70, 1), (24, 24, 60, 60, 1)]
    back = decode(encode(score_of(rows, tracks=2))).notes
    assert back.tolist() == [(0, 48, 60, 82, 0), (0, 48, 60, 70, 1), (24, 48, 60, 90, 0), (24, 72, 60, 62, 1)]


def test_what_has_no_token_is_left_out() -> None:
    tracks = (Track("", 0, 0), Track("", 0, 9, True), *(Track("", i, i % 8) for i in range(17)))
    rows = [(0, 24, p, 80, 0) for p in (20, 21, 108, 109)] + [(0, 24, 60, 80, t) for t in range(1, 19)]
    tokens = encode(Score(24, tracks, make_notes(rows)))
    back = decode(tokens)
    assert len(tokens.programs) == 16
    assert sorted(back.notes["pitch"].tolist()) == [21, *[60] * 15, 108]


def test_tempi_fall_into_bins_and_only_changes_are_said() -> None:
    tempi = tuple(Tempo(24 * i, round(60e6 / bpm)) for i, bpm in enumerate((60, 60.5, 61, 90, 20, 999)))
    score = Score(24, (Track(),), make_notes([(0, 24, 60, 80, 0)]), tempi=tempi)
    said = [w for w in words(encode(score)) if w.startswith("TEMPO")]
    assert said == ["TEMPO10", "TEMPO16", "TEMPO0", "TEMPO31"]
    back = decode(encode(score))
    assert [t.tick for t in back.tempi] == [0, 72, 96, 120]
    assert [60e6 / t.microseconds for t in back.tempi] == pytest.approx(
        [TEMPO_BPM[b] for b in (10, 16, 0, 31)], rel=1e-5
    )


def test_a_pedal_on_a_track_of_its_own_goes_to_the_part_on_its_channel() -> None:
    tracks = (Track("pedal", 0, 3), Track("left", 0, 2), Track("right", 0, 3))
    score = Score(
        24, tracks, make_notes([(0, 24, 40, 80, 1), (0, 24, 60, 80, 2)]), events=(Event(6, 0, b"\xb3\x40\x40"),)
    )
    assert "SHIFT6 SUSTAIN1 SHIFT18 INSTRUMENT0 OFF40 INSTRUMENT1 OFF60" in " ".join(words(encode(score)))
    events = decode(encode(score)).events
    assert [(e.tick, e.track, e.data[1:]) for e in events] == [(6, 1, b"\x40\x7f")]


def test_an_empty_score_is_three_tokens() -> None:
    assert words(encode(score_of([]))) == ["START", "TEMPO20", "END"]
    assert len(decode(encode(score_of([]))).notes) == 0


# ---------------------------------------------------------------- what is read


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, SIZE - 1), max_size=200))
def test_any_ids_have_a_reading_and_reading_is_stable(ids: list[int]) -> None:
    score = decode(Tokens(np.array(ids, np.int16), ()))
    assert (score.notes["duration"] >= 0).all()
    once = encode(score)
    assert np.array_equal(encode(decode(once)).ids, once.ids)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 5000), st.integers(0, 900), st.integers(21, 108), st.integers(1, 127), st.integers(0, 2)
        ),
        max_size=40,
    ),
    st.sampled_from([1, 24, 96, 100, 120, 480, 960, 1024]),
)
def test_onset_pitch_part_and_velocity_bin_always_come_back(
    rows: list[tuple[int, int, int, int, int]], tpq: int
) -> None:
    score = score_of(rows, tpq, tracks=3)
    compare(score)


def compare(score: Score) -> Counter[str]:
    """Check one score against its way through the tokens; counts of notes and of those not within half a clock."""
    notes = score.notes[is_modelled(score)]
    part = np.searchsorted(part_tracks(score), notes["track"])
    back = decode(encode(score)).notes
    assert len(back) == len(notes)
    clocks = CLOCKS_PER_QUARTER / score.ticks_per_quarter
    here = np.lexsort((notes["tick"], notes["pitch"], part))
    there = np.lexsort((back["tick"], back["pitch"], back["track"]))
    mine, theirs = notes[here], back[there]
    assert np.array_equal(part[here], theirs["track"])
    assert np.array_equal(mine["pitch"], theirs["pitch"])
    assert (np.abs(mine["tick"] * clocks - theirs["tick"]) <= 0.5).all()
    assert np.array_equal(mine["velocity"] // 4, theirs["velocity"] // 4)
    exact_ends = sounding_ends(mine, part[here])
    within = np.abs((exact_ends - mine["tick"]) * clocks - theirs["duration"]) <= 0.5 + 1e-9
    overlaps = overlapped(mine, part[here])
    assert (within | overlaps).all()
    assert (np.abs((exact_ends - mine["tick"]) * clocks - theirs["duration"]) <= 1.5).all()
    return Counter(notes=len(notes), beyond_half=int((~within).sum()))


def sounding_ends(notes: NDArray[np.void], part: NDArray[np.int64]) -> NDArray[np.int64]:
    """(notes,) where each ends once releases are given out first-on first-off; notes sorted by part, pitch, tick."""
    ends = (notes["tick"] + notes["duration"]).copy()
    line = part << 7 | notes["pitch"]
    order = np.lexsort((ends, line))
    return ends[order]


def overlapped(notes: NDArray[np.void], part: NDArray[np.int64]) -> NDArray[np.bool_]:
    """(notes,) True where the same pitch of the same part already sounds, or just ends."""
    line = part << 7 | notes["pitch"]
    ends = sounding_ends(notes, part)
    out = np.zeros(len(notes), bool)
    out[1:] = (line[1:] == line[:-1]) & (ends[:-1] >= notes["tick"][1:])
    return out


def pedals(score: Score) -> list[tuple[int, int, bool]]:
    """(clock, part, down) of every pedal change of the parts' own tracks."""
    tracks = part_tracks(score).tolist()
    channels = {score.tracks[t].channel: p for p, t in reversed(list(enumerate(tracks)))}
    down, out = dict.fromkeys(range(len(tracks)), False), []
    for event in score.events:
        if event.data[0] & 0xF0 == 0xB0 and event.data[1] == 64:
            part = tracks.index(event.track) if event.track in tracks else channels.get(event.data[0] & 0xF)
            if part is not None and down[part] != (event.data[2] >= 64):
                down[part] = event.data[2] >= 64
                clock = int(np.floor(event.tick * CLOCKS_PER_QUARTER / score.ticks_per_quarter + 0.5))
                out.append((clock, part, down[part]))
    return sorted(out, key=lambda row: row[:2])


# ---------------------------------------------------------------- real files


def valid_files(music: Path) -> list[Path]:
    with (music / "valid.tsv").open(encoding="utf-8") as lines:
        return [music / row["path"] for row in csv.DictReader(lines, delimiter="\t")]


def check_files(files: list[Path]) -> Counter[str]:
    total: Counter[str] = Counter()
    for path in files:
        score = midi.read(path)
        total += compare(score)
        back = decode(encode(score))
        assert pedals(back) == pedals(score), path.name
        total["pedals"] += len(pedals(score))
        total["files"] += 1
        again = encode(back)
        assert np.array_equal(again.ids, encode(score).ids), path.name
    return total


def test_real_files_keep_every_note_and_pedal(music: Path) -> None:
    total = check_files(valid_files(music))
    kept = f"{total['files']} files: all {total['notes']:,} notes and {total['pedals']:,} pedal changes kept"
    beyond = f"{total['beyond_half']} durations beyond half a clock, all of notes that overlap their own pitch"
    print(f"{kept}; {beyond}")  # noqa: T201 - the figure
    assert total["files"] >= 200
    assert total["beyond_half"] <= total["notes"] * 1e-4


@pytest.mark.parametrize("path", DEMO, ids=lambda p: p.stem)
def test_demo_pieces_keep_every_note_and_pedal(path: Path) -> None:
    assert check_files([path])["beyond_half"] == 0


def test_nothing_drifts_in_ten_minutes() -> None:
    """Steps that are no whole number of clocks, for ten minutes and more: the last note is as exact as the first."""
    tpq, step = 480, 111  # 5.55 clocks
    score = score_of([(i * step, 50, 60 + i % 12, 80, 0) for i in range(5400)], tpq)
    assert TempoMap.of(score).to_seconds(score.end_tick) > 600
    back = decode(encode(score)).notes["tick"]
    error = np.abs(back - score.notes["tick"] * 24 / tpq)
    assert error.max() <= 0.5
    assert error[-1] <= 0.5


def test_velocities_come_back_within_their_bin_and_settle() -> None:
    score = score_of([(i * 24, 24, 60, v, 0) for i, v in enumerate(range(1, 128))])
    once = decode(encode(score)).notes["velocity"]
    assert (once // 4 == score.notes["velocity"] // 4).all()
    assert np.array_equal(decode(encode(decode(encode(score)))).notes["velocity"], once)


def test_miditok_keeps_the_same_notes(tmp_path: Path) -> None:
    """Another codec as oracle, on the notes it can hold."""
    score = midi.read(next(p for p in DEMO if p.stem == "sarabande"))
    settings_ = TokenizerConfig(
        beat_res={(0, 24): 24}, num_velocities=32, use_programs=True, one_token_stream_for_programs=True
    )
    theirs = MIDILike(settings_)
    heard = theirs.decode(theirs(symusic.Score.from_midi(midi.to_bytes(score))))
    ours = decode(encode(score))
    found = Counter((round(n.time * 24 / heard.tpq), n.pitch) for track in heard.tracks for n in track.notes)
    kept = Counter(zip(ours.notes["tick"].tolist(), ours.notes["pitch"].tolist(), strict=True))
    assert set(found) == set(kept)


def test_clocks_are_whole_number_arithmetic() -> None:
    far = np.array([2**40 + 1])
    assert codec.to_clocks(far, 480).tolist() == [round((2**40 + 1) * 24 / 480)]
    nearest: Callable[[int], int] = lambda t: int(codec.to_clocks(np.array([t]), 48)[0])  # noqa: E731
    assert [nearest(t) for t in range(5)] == [0, 1, 1, 2, 2]
