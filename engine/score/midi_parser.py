"""MIDI bytes to a `Score`: tracks, paired notes, meters and tempi out of the messages of a file.

What can be heard is kept, what is odd becomes a warning. Knows nothing about paths or disks.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from engine.errors import MorphonyError
from engine.score.midi_chunks import (
    MAX_EVENTS,
    MAX_NOTES,
    Chunk,
    read_header,
    read_track,
    sentences,
    track_spans,
    unwrap,
)
from engine.score.pairing import first_on_first_off
from engine.score.score import DEFAULT_TEMPO, DRUM_CHANNEL, NOTE, Event, Meter, Score, Tempo, Track
from engine.score.timing import MAX_BARS, TempoMap, count_bars

MAX_HOURS = 24


def parse(data: bytes, name: str = "The file") -> Score:
    """Read a whole MIDI file from memory. Raises MorphonyError, a sentence naming `name`, if nothing can be read."""
    odd: Counter[str] = Counter()
    data = unwrap(data, name, odd)
    kind, count, resolution, smpte_tempo, at = read_header(data, odd)
    chunks: list[Chunk] = []
    room = [2 * MAX_NOTES + 2, MAX_EVENTS]
    for begin, end in track_spans(data, at, odd):
        chunks.append(read_track(data[begin:end], room, name, odd))
        room = [room[0] - len(chunks[-1].ticks), room[1] - len(chunks[-1].events)]
    if not chunks:
        raise MorphonyError(f"{name} holds no MIDI track.")
    if count != len(chunks):
        odd["track count"] += 1
    if kind == 2 and len(chunks) > 1:
        odd["type 2"] += 1
        _lay_end_to_end(chunks, resolution)
    score = _assemble(chunks, resolution, smpte_tempo, odd)
    if not len(score.notes):
        odd["no notes"] += 1
    check_limits(score, name)
    return replace(score, warnings=sentences(odd))


def check_limits(score: Score, name: str) -> None:
    """Raise MorphonyError for a score no part of the program should have to hold."""
    if len(score.notes) > MAX_NOTES:
        raise MorphonyError(f"{name} holds more than {MAX_NOTES:,} notes, which is the limit.")
    quarters = score.end_tick / score.ticks_per_quarter
    at_most = quarters * max(t.microseconds for t in score.tempi) / 3.6e9
    hours = at_most if at_most <= MAX_HOURS else float(TempoMap.of(score).to_seconds(score.end_tick)) / 3600
    if hours > MAX_HOURS:
        span = f"{hours / 8766:,.0f} years" if hours > 8766 else f"{hours:,.0f} hours"
        raise MorphonyError(f"{name} lasts {span}; music longer than {MAX_HOURS} hours is not opened.")
    shortest = min(m.numerator / m.denominator for m in score.meters)  # of a whole note
    if quarters / 4 / shortest + len(score.meters) > MAX_BARS and count_bars(score) > MAX_BARS:
        raise MorphonyError(f"{name} has more than {MAX_BARS:,} bars, which is the limit.")


def _lay_end_to_end(chunks: list[Chunk], resolution: int) -> None:
    """Type 2: move each song to the bar line after the one before, with its own tempo and meter."""
    offset = 0
    for chunk in chunks:
        heads = {data[1] for tick, data in chunk.events if tick == 0 and data[0] == 0xFF}
        if 0x58 not in heads:
            chunk.events.insert(0, (0, b"\xff\x58\x04\x02\x18\x08"))
        if 0x51 not in heads:
            chunk.events.insert(0, (0, b"\xff\x51" + DEFAULT_TEMPO.to_bytes(3, "big")))
        end = max([*chunk.ticks[-1:], *(tick for tick, _ in chunk.events[-1:]), 1])
        last, meter = max((e for e in chunk.events if e[1][:2] == b"\xff\x58" and len(e[1]) >= 4), key=lambda e: e[0])
        bar = max(resolution * 4 * max(meter[2], 1) >> min(meter[3], 7), 1)
        chunk.ticks = array("q", [t + offset for t in chunk.ticks])
        chunk.events = [(t + offset, d) for t, d in chunk.events]
        offset += last + -(-(end - last) // bar) * bar


def _assemble(chunks: list[Chunk], resolution: int, smpte_tempo: int, odd: Counter[str]) -> Score:
    """Make tracks of the chunks, notes of the note messages, and sort out meters and tempi."""
    meters: dict[int, Meter] = {}
    tempi: dict[int, Tempo] = {}
    for chunk in chunks:
        chunk.events = [e for e in chunk.events if not _take_timing(*e, meters, tempi, odd)]
    if smpte_tempo:
        tempi = {0: Tempo(0, smpte_tempo)}
    meters.setdefault(0, Meter(0, 4, 4))
    tempi.setdefault(0, Tempo(0, DEFAULT_TEMPO))
    notes, owner = _notes(chunks, resolution, odd)
    tracks, events = _tracks(chunks, notes, owner, odd)
    by_tick = [m for _, m in sorted(meters.items())]
    return Score(resolution, tracks, notes, tuple(by_tick), tuple(t for _, t in sorted(tempi.items())), events)


def _take_timing(tick: int, data: bytes, meters: dict[int, Meter], tempi: dict[int, Tempo], odd: Counter[str]) -> bool:
    """File a tempo or time signature under its tick (the last one holds); True when it is one that makes sense."""
    if data[0] != 0xFF:
        return False
    if data[1] == 0x51:
        microseconds = int.from_bytes(data[2:5], "big")
        if len(data) == 5 and microseconds:
            tempi[tick] = Tempo(tick, microseconds)
            return True
        odd["tempo"] += 1
    elif data[1] == 0x58:
        if len(data) >= 4 and data[2] and data[3] <= 7:
            meters[tick] = Meter(tick, data[2], 1 << data[3])
            return True
        odd["meter"] += 1
    elif data[1] == 0x59 and not (len(data) == 4 and (data[2] <= 7 or data[2] >= 249) and data[3] <= 1):
        odd["key"] += 1
    return False


def _notes(chunks: list[Chunk], resolution: int, odd: Counter[str]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
    """NOTE rows (track not yet filled in) and, for each, chunk << 4 | channel."""
    counts = [len(c.ticks) for c in chunks]
    tick = np.concatenate([np.frombuffer(c.ticks, np.int64) for c in chunks])
    code = np.concatenate([np.frombuffer(c.codes, np.int64) for c in chunks])
    velocity, pitch, status = code & 0x7F, code >> 8 & 0x7F, code >> 16
    owner = np.repeat(np.arange(len(chunks)), counts) << 4 | status & 0xF
    is_on = (status >= 0x90) & (velocity > 0)
    release, overlaps = first_on_first_off(owner << 7 | pitch, is_on)
    release, tick_on, owner = release[is_on], tick[is_on], owner[is_on]
    held = release < 0
    last = np.array([c.ticks[-1] if len(c.ticks) else 0 for c in chunks])[owner >> 4]
    ends = np.where(held, np.where(last > tick_on, last, tick_on + resolution), tick[release])
    notes = np.zeros(len(tick_on), NOTE)
    notes["tick"], notes["duration"] = tick_on, ends - tick_on
    notes["pitch"], notes["velocity"] = pitch[is_on], velocity[is_on]
    odd.update(unreleased=int(held.sum()), overlap=int(overlaps.sum()), zero=int((notes["duration"] == 0).sum()))
    return notes, owner


def _tracks(
    chunks: list[Chunk], notes: NDArray[np.void], owner: NDArray[np.int64], odd: Counter[str]
) -> tuple[tuple[Track, ...], tuple[Event, ...]]:
    """One Track per chunk and sounding channel; fills notes["track"]. Events of chunks without channels get -1."""
    lines, where = np.unique(owner, return_inverse=True)
    first_onset = np.full(len(lines), np.iinfo(np.int64).max)
    np.minimum.at(first_onset, where, notes["tick"])
    index_of = np.zeros(len(lines), np.int64)
    tracks: list[Track] = []
    events: list[Event] = []
    everywhere = [(t, c, d[0] & 0xF, d[1]) for c, k in enumerate(chunks) for t, d in k.events if d[0] & 0xF0 == 0xC0]
    for number, chunk in enumerate(chunks):
        here = np.flatnonzero(lines >> 4 == number)
        onsets = {int(lines[i]) & 0xF: int(first_onset[i]) for i in here}
        if not onsets:
            onsets = _silent_channel(chunk)
        index_of[here] = len(tracks) + np.arange(len(here))
        name = _take_name(chunk, odd) if onsets else ""
        index = {channel: len(tracks) + k for k, channel in enumerate(onsets)}
        programs = _take_programs(chunk, onsets)
        for channel, onset in onsets.items():
            program = programs.get(channel)
            if program is None:  # another chunk may have chosen the sound of this channel
                earlier = [p for t, c, ch, p in everywhere if ch == channel and t <= onset and c != number]
                program = earlier[-1] if earlier else 0
            tracks.append(Track(name, program, channel, channel == DRUM_CHANNEL))
        default = min(index.values(), default=-1)
        for tick, data in chunk.events:
            own = index.get(data[0] & 0xF, default) if data[0] < 0xF0 else default
            events.append(Event(tick, own, data))
    notes["track"] = index_of[where]
    events.sort(key=lambda e: (e.tick, e.track))
    return tuple(tracks), tuple(events)


def _silent_channel(chunk: Chunk) -> dict[int, int]:
    """{channel: never} of a chunk without notes: its first program change's, else its first message's; else {}."""
    spoken = [d[0] for _, d in chunk.events if d[0] < 0xF0]
    chosen = [s for s in spoken if s & 0xF0 == 0xC0] or spoken
    return {chosen[0] & 0xF: np.iinfo(np.int64).max} if chosen else {}


def _take_programs(chunk: Chunk, onsets: dict[int, int]) -> dict[int, int]:
    """Remove and return each channel's first program change, where it comes no later than the first note."""
    seen: set[int] = set()
    taken: dict[int, int] = {}
    kept = []
    for tick, data in chunk.events:
        channel = data[0] & 0xF
        if data[0] & 0xF0 == 0xC0 and channel in onsets and channel not in seen:
            seen.add(channel)
            if tick <= onsets[channel]:
                taken[channel] = data[1]
                continue
        kept.append((tick, data))
    chunk.events = kept
    return taken


def decode_name(raw: bytes) -> tuple[str, bool]:
    """A track name as text and whether its bytes were UTF-8; other bytes are read as Latin-1."""
    try:
        return raw.decode("utf-8"), True
    except UnicodeDecodeError:
        return raw.decode("latin-1"), False


def _take_name(chunk: Chunk, odd: Counter[str]) -> str:
    """The first track name; removed from the events unless its bytes could not be written again from the text."""
    for i, (_, data) in enumerate(chunk.events):
        if data[:2] == b"\xff\x03":
            name, is_utf8 = decode_name(data[2:])
            if is_utf8:
                del chunk.events[i]
            else:
                odd["name"] += 1
            return name
    return ""
