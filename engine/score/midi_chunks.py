"""The bytes of a MIDI file as timed messages, tolerantly: the frame of the file and the events of its tracks.

Knows the Standard MIDI File format and how real files break it; knows nothing of notes, tracks or scores.
Work and memory grow with the bytes of the file, never with the time it claims to last.
"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field

from engine.errors import MorphonyError

MAX_NOTES = 2_000_000
MAX_EVENTS = 2_000_000
FILLER = b"\xff\x01"  # an empty text: the writer bridges pauses longer than a delta time can say with it
LONGEST_DELTA = 0x0FFFFFFF
FALLBACK_RESOLUTION = 480
_BLOCK = 1 << 20  # bytes between two looks at the limits
_DATA_BYTES = {0x80: 2, 0x90: 2, 0xA0: 2, 0xB0: 2, 0xC0: 1, 0xD0: 1, 0xE0: 2}
_SYSTEM_DATA_BYTES = {0xF1: 1, 0xF2: 2, 0xF3: 1}

ODDITIES = {  # what a file can have wrong, and the words for it
    "riff": "The song is wrapped in a RIFF (RMID) container",
    "junk": "Bytes of something else stand before the MIDI header",
    "no header": "The MIDI header is missing; a quarter is taken as 480 ticks",
    "long header": "The MIDI header is longer than six bytes",
    "short header": "The MIDI header is shorter than six bytes",
    "format": "The format number of the file is unknown; its tracks are played together",
    "type 2": "The file is of type 2: its songs follow one another",
    "track count": "The header names another number of tracks than the file holds",
    "alien": "A chunk that is no track was skipped",
    "length": "A track has a wrong length in its header",
    "cut": "A track is cut short",
    "no end": "A track does not say where it ends",
    "after end": "A track goes on after its end; the rest was ignored",
    "resolution": "The resolution is 0; a quarter is taken as 480 ticks",
    "smpte": "The file counts in film frames; a quarter is taken as one second",
    "running": "Running status continues after a meta or system event",
    "stray": "A byte belongs to no event and was skipped",
    "system": "A system message that only makes sense live was skipped",
    "data": "A value over 127 was lowered to 127",
    "delta": "A time step is longer than the format allows",
    "tempo": "A tempo makes no sense and is not followed",
    "meter": "A time signature makes no sense and is not followed",
    "key": "A key signature makes no sense",
    "unreleased": "A note is never released; it ends with its track",
    "zero": "A note has no length",
    "overlap": "A note starts while its pitch still sounds; the one that began first ends first",
    "name": "A track name is not UTF-8; it is read as Latin-1",
    "no notes": "The file holds no notes",
}


def sentences(odd: Counter[str]) -> tuple[str, ...]:
    """One sentence for each kind of oddity met, with how often."""
    met = [(text, odd[key]) for key, text in ODDITIES.items() if odd[key]]
    return tuple(f"{text} ({n:,} times)." if n > 1 else f"{text}." for text, n in met)


@dataclass(slots=True)
class Chunk:
    """One MTrk as read: note messages apart from everything else."""

    ticks: array[int] = field(default_factory=lambda: array("q"))  # of each note message
    codes: array[int] = field(default_factory=lambda: array("q"))  # status << 16 | pitch << 8 | velocity
    events: list[tuple[int, bytes]] = field(default_factory=list)  # everything else but the end of track


def unwrap(data: bytes, name: str, odd: Counter[str]) -> bytes:
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
        odd["junk"] += 1
    return data[at:]


def read_header(data: bytes, odd: Counter[str]) -> tuple[int, int, int, int, int]:
    """(format, track count, ticks per quarter, tempo in microseconds if counted in frames else 0, next offset)."""
    if data[:4] != b"MThd":
        return 1, data.count(b"MTrk"), FALLBACK_RESOLUTION, 0, 0
    length = int.from_bytes(data[4:8], "big")
    at = 8 + length
    if length > 6:
        odd["long header"] += 1
    track = data.find(b"MTrk", 8)
    if length < 6 or at > len(data) or 8 <= track < 14:
        odd["short header"] += 1
        at = track if track >= 0 else len(data)
    body = data[8 : min(at, 14)].ljust(6, b"\0")
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


def track_spans(data: bytes, at: int, odd: Counter[str]) -> list[tuple[int, int]]:
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


def read_track(data: bytes, room: list[int], name: str, odd: Counter[str]) -> Chunk:
    """Read the events of one track's body; `room` is how many note messages and events may still come."""
    chunk = Chunk()
    try:
        done = _read_events(data, chunk, room, name, odd)
        if not done:
            odd["no end"] += 1
    except IndexError:  # the last event needs more bytes than there are
        odd["cut"] += 1
    return chunk


def _read_events(data: bytes, chunk: Chunk, room: list[int], name: str, odd: Counter[str]) -> bool:
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
