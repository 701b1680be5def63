"""MIDI bytes to a `Score`, tolerantly: what can be heard is kept, what is odd becomes a warning.

Knows the Standard MIDI File format and how real files break it; knows nothing about paths or disks.
Work and memory grow with the bytes of the file, never with the time it claims to last.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from engine.errors import MorphonyError
from engine.score.pairing import first_on_first_off
from engine.score.score import DEFAULT_TEMPO, DRUM_CHANNEL, NOTE, Event, Meter, Score, Tempo, Track
from engine.score.timing import MAX_BARS, TempoMap, count_bars

MAX_NOTES = 2_000_000
MAX_EVENTS = 2_000_000
MAX_HOURS = 24
FILLER = b"\xff\x01"  # an empty text: the writer bridges pauses longer than a delta time can say with it
LONGEST_DELTA = 0x0FFFFFFF
FALLBACK_RESOLUTION = 480
_BLOCK = 1 << 20  # bytes between two looks at the limits
_DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
_SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}

ODDITIES = {  # what a file can have wrong: the sentence shown, {n} is how often
    "riff": "the song is wrapped in a RIFF (RMID) container",
    "junk": "{n} bytes stand before the MIDI header",
    "no header": "the MIDI header is missing; the resolution is taken as 480 ticks a quarter",
    "long header": "the MIDI header is longer than six bytes",
    "short header": "the MIDI header is shorter than six bytes",
    "format": "the file format number is unknown; its tracks are played together",
    "type 2": "the file is of type 2: its {n} songs follow one another",
    "track count": "the header names another number of tracks than the file holds",
    "alien": "{n} chunks that are not tracks were skipped",
    "length": "{n} tracks have a wrong length in their header",
    "cut": "{n} tracks are cut short",
    "no end": "{n} tracks do not say where they end",
    "after end": "{n} tracks go on after their end; the rest was ignored",
    "resolution": "the resolution is 0; it is taken as 480 ticks a quarter",
    "smpte": "the file counts in film frames; a quarter is taken as one second",
    "running": "running status continues after a meta or system event {n} times",
    "stray": "{n} bytes belong to no event and were skipped",
    "system": "{n} live-only system messages were skipped",
    "data": "{n} values over 127 were lowered to 127",
    "delta": "{n} time steps are longer than the format allows",
    "tempo": "{n} tempo events make no sense and were not followed",
    "meter": "{n} time signatures make no sense and were not followed",
    "key": "{n} key signatures make no sense",
    "unreleased": "{n} notes are never released; they end with their track",
    "zero": "{n} notes have no length",
    "overlap": "{n} notes start while the same pitch still sounds; each ends at the first release left",
    "name": "{n} track names are not UTF-8; they are read as Latin-1",
    "no notes": "the file holds no notes",
}


@dataclass(slots=True)
class _Chunk:
    """One MTrk as read: note messages apart from everything else."""

    ticks: array[int] = field(default_factory=lambda: array("q"))  # of each note message
    codes: array[int] = field(default_factory=lambda: array("q"))  # status << 16 | pitch << 8 | velocity
    events: list[tuple[int, bytes]] = field(default_factory=list)  # everything else but the end of track


def parse(data: bytes, name: str = "The file") -> Score:
    """Read a whole MIDI file from memory. Raises MorphonyError, a sentence naming `name`, if nothing can be read."""
    odd: Counter[str] = Counter()
    data = _unwrap(data, name, odd)
    kind, count, resolution, smpte_tempo, at = _header(data, odd)
    chunks: list[_Chunk] = []
    room = [2 * MAX_NOTES + 2, MAX_EVENTS]
    for begin, end in _track_chunks(data, at, odd):
        chunks.append(_parse_track(data[begin:end], room, name, odd))
        room = [room[0] - len(chunks[-1].ticks), room[1] - len(chunks[-1].events)]
    if not chunks:
        raise MorphonyError(f"{name} holds no MIDI track.")
    if count != len(chunks):
        odd["track count"] += 1
    if kind == 2 and len(chunks) > 1:
        odd["type 2"] = len(chunks)
        _lay_end_to_end(chunks, resolution)
    score = _assemble(chunks, resolution, smpte_tempo, odd)
    if not len(score.notes):
        odd["no notes"] += 1
    check_limits(score, name)
    return replace(score, warnings=tuple(text.format(n=odd[key]) for key, text in ODDITIES.items() if odd[key]))


def check_limits(score: Score, name: str) -> None:
    """Raise MorphonyError for a score no part of the program should have to hold."""
    if len(score.notes) > MAX_NOTES:
        raise MorphonyError(f"{name} holds more than {MAX_NOTES:,} notes, which is the limit.")
    hours = float(TempoMap.of(score).to_seconds(score.end_tick)) / 3600
    if hours > MAX_HOURS:
        span = f"{hours / 8766:,.0f} years" if hours > 8766 else f"{hours:,.0f} hours"
        raise MorphonyError(f"{name} lasts {span}; music longer than {MAX_HOURS} hours is not opened.")
    if count_bars(score) > MAX_BARS:
        raise MorphonyError(f"{name} has more than {MAX_BARS:,} bars, which is the limit.")


def _unwrap(data: bytes, name: str, odd: Counter[str]) -> bytes:
    """The bytes from the MIDI header (or, without one, the first track) on."""
    if not data:
        raise MorphonyError(f"{name} is empty.")
    at = data.find(b"MThd")
    if at < 0:
        at = data.find(b"MTrk")
        if at < 0:
            raise MorphonyError(f"{name} is not a MIDI file: it has neither a MIDI header nor a MIDI track.")
        odd["no header"] += 1
    elif data[:4] == b"RIFF":
        odd["riff"] += 1
    elif at:
        odd["junk"] = at
    return data[at:]


def _header(data: bytes, odd: Counter[str]) -> tuple[int, int, int, int, int]:
    """(format, track count, ticks per quarter, tempo in microseconds if counted in frames else 0, next offset)."""
    if data[:4] != b"MThd":
        return 1, data.count(b"MTrk"), FALLBACK_RESOLUTION, 0, 0
    length = int.from_bytes(data[4:8], "big")
    at = 8 + length
    if length > 6:
        odd["long header"] += 1
    if length < 6 or at > len(data):
        odd["short header"] += 1
        found = data.find(b"MTrk")
        at = found if found >= 0 else len(data)
    body = data[8:14].ljust(6, b"\0")
    kind, count, division = (int.from_bytes(body[i : i + 2], "big") for i in (0, 2, 4))
    if kind > 2:
        odd["format"] += 1
    if division & 0x8000:  # negative frames a second, then ticks a frame
        odd["smpte"] += 1
        frames = 256 - (division >> 8)
        tempo = round(1e6 * 30 / 29.97) if frames == 29 else 1_000_000
        return kind, count, max((30 if frames == 29 else frames) * (division & 0xFF), 1), tempo, at
    if division == 0:
        odd["resolution"] += 1
    return kind, count, division or FALLBACK_RESOLUTION, 0, at


def _track_chunks(data: bytes, at: int, odd: Counter[str]) -> list[tuple[int, int]]:
    """(begin, end) of every MTrk's body; a wrong length is mended by looking for the next chunk."""
    spans = []
    if data[at : at + 4] != b"MTrk" and not _is_chunk_id(data[at : at + 4]):
        at = max(data.find(b"MTrk"), 0)
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
        sound = end == len(data) or (end + 8 <= len(data) and _is_chunk_id(data[end : end + 4]))
        if data[at : at + 4] == b"MTrk":
            if not sound:
                following = data.find(b"MTrk", at + 8)
                tail = 0 <= len(data) - end < 8 and following < 0
                if not tail:
                    odd["length"] += 1
                    end = following if following >= 0 else len(data)
            spans.append((at + 8, min(end, len(data))))
        else:
            odd["alien"] += 1
            if not sound:
                following = data.find(b"MTrk", at + 4)
                end = following if following >= 0 else len(data)
        at = end
    return spans


def _is_chunk_id(four: bytes) -> bool:
    return len(four) == 4 and all(32 <= b < 127 for b in four)


def _parse_track(data: bytes, room: list[int], name: str, odd: Counter[str]) -> _Chunk:
    """Read the events of one track's body; `room` is how many note messages and events may still come."""
    chunk = _Chunk()
    try:
        done = _read_events(data, chunk, room, name, odd)
        if not done:
            odd["no end"] += 1
    except IndexError:  # the last event needs more bytes than there are
        odd["cut"] += 1
    return chunk


def _read_events(data: bytes, chunk: _Chunk, room: list[int], name: str, odd: Counter[str]) -> bool:
    """Fill `chunk`; True when the end-of-track event was met. Raises IndexError where the bytes run out."""
    add_tick, add_code, add_event = chunk.ticks.append, chunk.codes.append, chunk.events.append
    i, tick, status, interrupted, size = 0, 0, 0, False, len(data)
    while i < size:
        if len(chunk.ticks) > room[0] or len(chunk.events) > room[1]:
            raise MorphonyError(f"{name} holds more than {MAX_NOTES:,} notes or other events, which is the limit.")
        stop = min(size, i + _BLOCK)
        while i < stop:
            byte = data[i]
            i += 1
            delta = byte
            if byte >= 0x80:
                delta, i = _long_delta(data, i, byte & 0x7F, odd)
                tick += delta
            else:
                tick += byte
            byte = data[i]
            if byte >= 0x80:
                i += 1
                if byte >= 0xF0:
                    interrupted = True
                    if byte == 0xFF:
                        kind = data[i]
                        begin, end = _payload(data, i + 1, odd)
                        i = end
                        if kind == 0x2F:
                            if end < size:
                                odd["after end"] += 1
                            return True
                        if begin == end and kind == 1 and delta == LONGEST_DELTA:
                            continue  # FILLER
                        add_event((tick, b"\xff%c" % kind + data[begin:end]))
                    elif byte in (0xF0, 0xF7):
                        begin, end = _payload(data, i, odd)
                        i = end
                        add_event((tick, b"%c" % byte + data[begin:end]))
                    else:
                        odd["system"] += 1
                        i += _SYSTEM_DATA_BYTES.get(byte, 0)
                    continue
                status, interrupted = byte, False
            elif not status:
                odd["stray"] += 1
                i += 1
                continue
            elif interrupted:
                odd["running"] += 1
                interrupted = False
            if status < 0xA0:
                first, second = data[i], data[i + 1]
                i += 2
                if (first | second) & 0x80:
                    odd["data"] += 1
                    first, second = min(first, 127), min(second, 127)
                add_tick(tick)
                add_code(status << 16 | first << 8 | second)
                continue
            length = _DATA_BYTES[status & 0xF0]
            values = data[i : i + length]
            i += length
            if i > size:
                raise IndexError
            if max(values) > 127:
                odd["data"] += 1
                values = bytes(min(v, 127) for v in values)
            add_event((tick, b"%c" % status + values))
    return False


def _long_delta(data: bytes, i: int, value: int, odd: Counter[str]) -> tuple[int, int]:
    """Finish a variable-length number whose first byte's seven bits are `value`; (number, next offset)."""
    for _ in range(4):
        byte = data[i]
        i += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            break
    if value > LONGEST_DELTA:
        odd["delta"] += 1
    return value, i


def _payload(data: bytes, i: int, odd: Counter[str]) -> tuple[int, int]:
    """(begin, end) of a length-prefixed payload at `i`. Raises IndexError when it is not all there."""
    length = data[i]
    i += 1
    if length >= 0x80:
        length, i = _long_delta(data, i, length & 0x7F, odd)
    if i + length > len(data):
        raise IndexError
    return i, i + length


def _lay_end_to_end(chunks: list[_Chunk], resolution: int) -> None:
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


def _assemble(chunks: list[_Chunk], resolution: int, smpte_tempo: int, odd: Counter[str]) -> Score:
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


def _notes(chunks: list[_Chunk], resolution: int, odd: Counter[str]) -> tuple[NDArray[np.void], NDArray[np.int64]]:
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
    chunks: list[_Chunk], notes: NDArray[np.void], owner: NDArray[np.int64], odd: Counter[str]
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


def _silent_channel(chunk: _Chunk) -> dict[int, int]:
    """{channel: never} of a chunk without notes: its first program change's, else its first message's; else {}."""
    spoken = [d[0] for _, d in chunk.events if d[0] < 0xF0]
    chosen = [s for s in spoken if s & 0xF0 == 0xC0] or spoken
    return {chosen[0] & 0xF: np.iinfo(np.int64).max} if chosen else {}


def _take_programs(chunk: _Chunk, onsets: dict[int, int]) -> dict[int, int]:
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


def _take_name(chunk: _Chunk, odd: Counter[str]) -> str:
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
