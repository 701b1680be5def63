"""Well-formed MIDI files at the speed of symusic, as columns of numbers; whatever may be read otherwise is refused.

Knows bytes and symusic's objects. A refusal is None: the tolerant reader (`midi_parser`) then finds the reason.
"""

from __future__ import annotations

import itertools
import re
from typing import Any, NamedTuple

import numpy as np
import symusic
from numpy.typing import NDArray

from engine.score.score import DEFAULT_TEMPO, DRUM_CHANNEL, NOTE, Meter, Score, Tempo, Track, pitched_channel

_DELTA = rb"[\x80-\xff]{0,3}[\0-\x7f]"
_SOUND = re.compile(  # events of channels with two data bytes, each with those that share its status byte
    rb"(?:%b[\x80-\xbf\xe0-\xef][\0-\x7f]{2}(?:%b[\0-\x7f]{2})*+)*+" % (_DELTA, _DELTA)
)
_STEP = re.compile(_DELTA)
_MAYBE_PROGRAM = re.compile(rb"[\xc0-\xcf][\0-\x7f]")  # every program change, and by chance something else
_DENOMINATORS = tuple(1 << n for n in range(8))


class Line(NamedTuple):
    """One line of notes; the columns hold one row a note, in order of time."""

    name: str
    program: int
    is_drum: bool
    tick: NDArray[np.integer]
    duration: NDArray[np.integer]
    pitch: NDArray[np.integer]
    velocity: NDArray[np.integer]


class Lines(NamedTuple):
    """What a scan needs of a file: lines that hold notes, meters and tempi in order of time, each from tick 0 on."""

    ticks_per_quarter: int
    lines: list[Line]
    meters: list[tuple[int, int, int]]  # tick, numerator, denominator
    tempi: tuple[list[int], list[int]]  # ticks, microseconds a quarter

    def score(self) -> Score:
        """The same as a `Score`; channels are not known here, so pitched tracks are numbered past the drums'."""
        lines, counts = self.lines, [len(line.tick) for line in self.lines]
        notes = np.empty(sum(counts), NOTE)
        for name in ("tick", "duration", "pitch", "velocity"):
            np.concatenate([getattr(line, name) for line in lines], out=notes[name], casting="unsafe")
        notes["track"] = np.repeat(np.arange(len(lines)), counts)
        return Score(
            self.ticks_per_quarter,
            tuple(
                Track(line.name, line.program, DRUM_CHANNEL if line.is_drum else pitched_channel(i), line.is_drum)
                for i, line in enumerate(lines)
            ),
            notes,
            tuple(Meter(*meter) for meter in self.meters),
            tuple(map(Tempo, *self.tempi)),
        )


def read(data: bytes, programs: bool = True) -> Lines | None:
    """The notes, meters and tempi of a file, or None where our own reading may differ.

    Without `programs` that of a line may be another than it plays by, when a chunk has left it to a different one.
    """
    if not is_well_formed(data):
        return None
    try:
        song: Any = symusic.Score.from_midi(data)  # its stubs know none of the members used below
    except Exception:  # symusic raises a dozen kinds
        return None
    lines = []
    for track in song.tracks:
        columns = track.notes.numpy()
        tick, duration = columns["time"], columns["duration"]
        if not len(tick):
            continue
        if (tick | duration).min() < 0:
            return None  # one beyond 2**31, wrapped
        lines.append(
            Line(track.name, track.program, track.is_drum, tick, duration, columns["pitch"], columns["velocity"])
        )
    if not lines or (_may_be_torn(lines, data, programs) and not _programs_are_plain(data, programs)):
        return None
    meters = {m.time: (m.time, m.numerator, m.denominator) for m in song.time_signatures}
    if not all(numerator and denominator in _DENOMINATORS for _, numerator, denominator in meters.values()):
        return None
    tempi = _tempi(song.tempos.numpy())
    if tempi is None:
        return None
    return Lines(song.ticks_per_quarter, lines, [m for _, m in sorted(({0: (0, 4, 4)} | meters).items())], tempi)


def _tempi(columns: dict[str, NDArray[np.integer]]) -> tuple[list[int], list[int]] | None:
    """Ticks and microseconds a quarter; of several on one tick the last holds. None where one is 0."""
    at = dict(zip(columns["time"].tolist(), columns["mspq"].tolist(), strict=True))
    if not all(at.values()):
        return None
    if 0 not in at:
        at[0] = DEFAULT_TEMPO
    ticks = sorted(at)
    return ticks, [at[tick] for tick in ticks]


def is_well_formed(data: bytes) -> bool:
    """Whether the frame of the file is exactly as the standard says, so that symusic reads it safely and rightly."""
    kind, count, division = (int.from_bytes(data[i : i + 2], "big") for i in (8, 10, 12))
    if data[:8] != b"MThd\0\0\0\6" or kind > 1 or not 1 <= division < 0x8000:
        return False
    at, tracks = 14, 0
    while at < len(data):
        if data[at : at + 4] != b"MTrk":
            return False
        at += 8 + int.from_bytes(data[at + 4 : at + 8], "big")
        tracks += 1
        if at > len(data) or data[at - 3 : at] != b"\xff\x2f\0":
            return False
    return tracks == count > 0


def _may_be_torn(lines: list[Line], data: bytes, programs: bool) -> bool:
    """Whether two neighbours could be one line that changes its program half-way, which symusic tears in two."""
    alike = any(
        a.program != b.program and a.is_drum == b.is_drum and a.name == b.name for a, b in itertools.pairwise(lines)
    )
    return alike and (not programs or any(map(_may_change, data.split(b"MTrk"))))


def _may_change(chunk: bytes) -> bool:
    """Whether there could be two program changes."""
    first = _MAYBE_PROGRAM.search(chunk)
    return first is not None and _MAYBE_PROGRAM.search(chunk, first.end()) is not None


def _programs_are_plain(data: bytes, programs: bool) -> bool:
    """Whether, in a well-formed file, every line keeps one program; with `programs`: the one that symusic sees.

    Reads every event (without `programs` only where one may change): each is as the standard says, no channel changes
    its program within a chunk once it has one or has played, and none plays by a program that another chunk chose.
    """
    at, chosen, borrowed = 14, set[int](), set[int]()
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at + 4 : at + 8], "big")
        chunk = data[at + 8 : end]
        at = end
        if not programs and not _may_change(chunk):
            continue
        found = _programs(chunk)
        if found is None:
            return False
        chosen |= {channel for channel, program in found[0].items() if program}
        borrowed |= found[1] - found[0].keys()
    return not (programs and chosen & borrowed)


def _programs(chunk: bytes) -> tuple[dict[int, int], set[int]] | None:
    """{channel: program} and the channels that play in a chunk; None where an event is odd or a program changes."""
    i, status, programs, played = 0, 0, dict[int, int](), set[int]()
    while True:
        sound = _SOUND.match(chunk, i)
        if sound and sound.end() > i:
            played |= {b & 15 for b in set(sound[0]) if 0x90 <= b <= 0x9F}  # maybe more: some are parts of times
            i, status = sound.end(), 0
        step = _STEP.match(chunk, i)
        if step is None or step.end() + 1 >= len(chunk):
            return None
        i = step.end()
        byte = chunk[i]
        if byte in (0xFF, 0xF0):
            if chunk[i : i + 2] == b"\xff\x2f":
                return programs, played
            i, status = i + 1 + (byte == 0xFF), 0
            length = _STEP.match(chunk, i)
            if length is None:
                return None
            size = 0
            for digit in length[0]:
                size = size << 7 | digit & 0x7F
            i = length.end() + size
            continue
        if 0xC0 <= byte < 0xE0:
            status, i = byte, i + 1
        if not status or i >= len(chunk) or chunk[i] >= 0x80:
            return None
        if status < 0xD0:
            channel = status & 15
            if channel in programs or channel in played:
                return None
            programs[channel] = chunk[i]
        i += 1
