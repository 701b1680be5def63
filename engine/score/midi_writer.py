"""A `Score` to the bytes of a Standard MIDI File, type 1: the same score gives the same bytes.

The first track holds tempi, meters and whatever belongs to no track; then comes one track per `Track`.
Within a tick: releases, then events, then notes, so that reading finds the same pairs again.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.errors import MorphonyError
from engine.score.midi_chunks import FILLER, LONGEST_DELTA
from engine.score.midi_parser import decode_name
from engine.score.score import Event, Meter, Score, Track

_BANK_SELECT = (0, 32)  # controllers that must come before the program change they belong to
# Order within a tick: (rank, running number, message).
_RELEASE, _HEAD, _EVENT, _NOTE = range(4)
Row = tuple[int, int, int, bytes]  # tick, rank, running number, message as in `Event.data`


def to_bytes(score: Score) -> bytes:
    """The whole file. Raises MorphonyError for what the format cannot say."""
    if not 1 <= score.ticks_per_quarter <= 0x7FFF:
        raise MorphonyError(f"A MIDI file cannot have {score.ticks_per_quarter} ticks a quarter, only 1 to 32767.")
    by_track: list[list[Event]] = [[] for _ in range(len(score.tracks) + 1)]
    for event in score.events:
        by_track[event.track + 1].append(event)
    starts = np.searchsorted(np.sort(score.notes["track"], kind="stable"), np.arange(len(score.tracks) + 1))
    by_line = score.notes[np.argsort(score.notes["track"], kind="stable")]
    bodies = [_conductor(score, by_track[0])]
    for i, track in enumerate(score.tracks):
        bodies.append(_track(track, by_line[starts[i] : starts[i + 1]], by_track[i + 1]))
    header = b"MThd" + (6).to_bytes(4, "big") + (1).to_bytes(2, "big")
    header += len(bodies).to_bytes(2, "big") + score.ticks_per_quarter.to_bytes(2, "big")
    return header + b"".join(b"MTrk" + len(b).to_bytes(4, "big") + b for b in bodies)


def _conductor(score: Score, events: list[Event]) -> bytes:
    rows: list[Row] = []
    for meter in score.meters:
        rows.append((meter.tick, _HEAD, len(rows), b"\xff\x58" + _meter_payload(meter)))
    for tempo in score.tempi:
        microseconds = min(max(tempo.microseconds, 1), 0xFFFFFF)
        rows.append((tempo.tick, _HEAD, len(rows), b"\xff\x51" + microseconds.to_bytes(3, "big")))
    rows += [(e.tick, _EVENT, i, e.data) for i, e in enumerate(events)]
    return _body(rows)


def _meter_payload(meter: Meter) -> bytes:
    """Numerator, exponent of the denominator, clocks per metronome click, 32nds per quarter."""
    exponent = meter.denominator.bit_length() - 1
    if not (1 <= meter.numerator <= 255 and 1 <= meter.denominator <= 128 and meter.denominator == 1 << exponent):
        raise MorphonyError(f"A MIDI file cannot hold the meter {meter.numerator}/{meter.denominator}.")
    compound = meter.denominator >= 8 and meter.numerator % 3 == 0
    click = max(96 // meter.denominator * (3 if compound else 1), 1)
    return bytes((meter.numerator, exponent, click, 8))


def _track(track: Track, notes: NDArray[np.void], events: list[Event]) -> bytes:
    rows: list[Row] = [(e.tick, _EVENT, i, e.data) for i, e in enumerate(events)]
    first_onset = int(notes["tick"].min()) if len(notes) else None
    rows.append(_program_row(track, first_onset, events))
    named = [e for e in events if e.data[:2] == b"\xff\x03"]
    if (track.name or named) and not (named and decode_name(named[0].data[2:]) == (track.name, False)):
        rows.append((0, _HEAD, -1, b"\xff\x03" + track.name.encode("utf-8", "replace")))
    on, off = 0x90 | track.channel, 0x80 | track.channel
    for i, (tick, duration, pitch, velocity) in enumerate(
        zip(*(notes[f].tolist() for f in ("tick", "duration", "pitch", "velocity")), strict=True)
    ):
        rows.append((tick, _NOTE, 2 * i, bytes((on, min(pitch, 127), min(max(velocity, 1), 127)))))
        end_rank = _RELEASE if duration > 0 else _NOTE
        rows.append((tick + max(duration, 0), end_rank, 2 * i + 1, bytes((off, min(pitch, 127), 64))))
    return _body(rows)


def _program_row(track: Track, first_onset: int | None, events: list[Event]) -> Row:
    """The program change: after the bank it is chosen from, before later changes and the first note."""
    place = (0, _HEAD, 0)
    for i, event in enumerate(events):
        if (first_onset is not None and event.tick > first_onset) or event.data[0] & 0xF0 == 0xC0:
            break
        if event.data[0] == 0xB0 | track.channel and event.data[1] in _BANK_SELECT:
            place = (event.tick, _EVENT, i)
    return (*place, bytes((0xC0 | track.channel, min(track.program, 127))))


def _body(rows: list[Row]) -> bytes:
    """Messages in order, each after its delta time, and the end of the track."""
    rows.sort(key=lambda row: row[:3])  # stable: the program change follows the bank select it shares a place with
    out = bytearray()
    now = 0
    for tick, _, _, message in rows:
        delta = tick - now
        if delta < 0x80:
            out.append(max(delta, 0))
        else:
            while delta > LONGEST_DELTA:
                out += _number(LONGEST_DELTA) + FILLER + b"\0"
                delta -= LONGEST_DELTA
            out += _number(delta)
        now = max(tick, now)
        if message[0] == 0xFF:
            out += message[:2] + _number(len(message) - 2) + message[2:]
        elif message[0] >= 0xF0:
            out += message[:1] + _number(len(message) - 1) + message[1:]
        else:
            out += message
    return bytes(out + b"\x00\xff\x2f\x00")


def _number(value: int) -> bytes:
    """A variable-length number: seven bits a byte, the highest first."""
    out = [value & 0x7F]
    while value := value >> 7:
        out.append(value & 0x7F | 0x80)
    return bytes(reversed(out))
