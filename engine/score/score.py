"""The frozen `Score` every part of Morphony passes around.

Times are in *ticks* of the score's own resolution (`ticks_per_quarter`), exactly as in the file;
`engine.score.timing` converts to beats, seconds and bars. Nothing here knows about files or models.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

NOTE = np.dtype(
    [
        ("tick", "i8"),  # onset
        ("duration", "i8"),  # ticks; 0 is legal (real files hold such notes)
        ("pitch", "u1"),  # MIDI note number, 60 is middle C
        ("velocity", "u1"),  # 1 to 127
        ("track", "u2"),  # index into Score.tracks
    ]
)

DEFAULT_TEMPO = 500_000  # microseconds per quarter: what the MIDI file standard says holds without a tempo event
DRUM_CHANNEL = 9  # the tenth, where General MIDI keeps the drum kit


@dataclass(frozen=True, slots=True)
class Track:
    """One line of the score: an instrument on a channel (0 to 15)."""

    name: str = ""
    program: int = 0
    channel: int = 0
    is_drum: bool = False


def pitched_channel(index: int) -> int:
    """A channel for the pitched track at `index`: 0 to 15 in turn, leaving out the drums'."""
    return index % 15 + (index % 15 >= DRUM_CHANNEL)


@dataclass(frozen=True, slots=True)
class Meter:
    """A time signature from `tick` on; denominator is the note value itself (4, 8), not its exponent."""

    tick: int
    numerator: int
    denominator: int


@dataclass(frozen=True, slots=True)
class Tempo:
    """A tempo from `tick` on, in microseconds per quarter note as the file stores it."""

    tick: int
    microseconds: int


@dataclass(frozen=True, slots=True)
class Event:
    """Anything that is not a note, a meter or a tempo: kept byte for byte at its tick.

    `data` is a whole MIDI message (status byte first, channel included) or a meta or sysex event
    (`FF type payload` and `F0 payload`, without the length, which the writer adds). `track` is an index into
    `Score.tracks`, or -1 for what belongs to the song as a whole (title, markers, key of a conductor track).
    """

    tick: int
    track: int
    data: bytes


def make_notes(rows: Iterable[tuple[int, int, int, int, int]] = ()) -> NDArray[np.void]:
    """Build a note array from (tick, duration, pitch, velocity, track) rows."""
    return np.array(list(rows), dtype=NOTE)


@dataclass(frozen=True, slots=True, eq=False)
class Score:
    """A piece. Notes are sorted by (tick, track, pitch) and read-only, so a Score may cross threads freely."""

    ticks_per_quarter: int
    tracks: tuple[Track, ...]
    notes: NDArray[np.void]
    meters: tuple[Meter, ...] = (Meter(0, 4, 4),)
    tempi: tuple[Tempo, ...] = (Tempo(0, DEFAULT_TEMPO),)
    events: tuple[Event, ...] = ()
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        notes = np.array(self.notes, dtype=NOTE)
        key = notes["tick"] << 24 | notes["track"].astype(np.int64) << 8 | notes["pitch"]
        if (key[1:] < key[:-1]).any():
            notes = notes[np.argsort(key, kind="stable")]
        notes.flags.writeable = False
        object.__setattr__(self, "notes", notes)

    @property
    def end_tick(self) -> int:
        """The tick at which the last note ends; 0 without notes."""
        return int((self.notes["tick"] + self.notes["duration"]).max()) if len(self.notes) else 0
