"""What a sound port is: something that takes timed MIDI messages ahead of time and can fall silent.

Knows the shape of MIDI messages and the clock they are stamped with; knows no device and no library.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

# Seconds on the clock every process of this machine shares. On Linux and macOS it is time.monotonic's own clock;
# on Windows time.monotonic only ticks every 16 ms, and this one does not.
now = time.perf_counter

Timed = tuple[float, bytes]  # (seconds on `now`, one MIDI message)

CHANNELS = range(16)
DRUM_CHANNEL = 9
NOTE_OFF, NOTE_ON, KEY_PRESSURE, CONTROL, PROGRAM, PRESSURE, BEND = 0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0, 0xE0
SYSEX = 0xF0
PULSE, START, CONTINUE, STOP = b"\xf8", b"\xfa", b"\xfb", b"\xfc"  # MIDI clock: 24 pulses a quarter
SONG_POSITION = 0xF2  # and two bytes: sixteenths from the beginning
BANK, SUSTAIN, SOUND_OFF, RESET_CONTROLLERS, NOTES_OFF = 0, 64, 120, 121, 123


@dataclass(frozen=True, slots=True)
class Status:
    """How a port is: `ok`, and one sentence for the light that shows it."""

    ok: bool
    sentence: str


class Port(Protocol):
    """Where music goes. A port that cannot sound says so in `status` and takes every call all the same."""

    @property
    def status(self) -> Status:
        """How the port is now."""

    def send(self, events: Sequence[Timed]) -> None:
        """Take a batch ahead of time; what is already late sounds at once."""

    def silence(self) -> None:
        """End the notes this port has on, raise the pedals, forget what is queued."""

    def panic(self) -> None:
        """Silence, then CC120 and CC123 on all sixteen channels."""

    def poll(self) -> None:
        """Look after the device; called several times a second, returns within milliseconds."""

    def close(self) -> None:
        """Fall silent and give the device back."""


def is_note_on(message: bytes) -> bool:
    """True for a note-on that starts a note (velocity 0 ends one)."""
    return message[0] & 0xF0 == NOTE_ON and message[2] > 0


def is_note_off(message: bytes) -> bool:
    """True for both forms of note-off."""
    return message[0] & 0xF0 == NOTE_OFF or (message[0] & 0xF0 == NOTE_ON and message[2] == 0)


def state_key(message: bytes) -> tuple[int, int] | None:
    """What a message sets until another of the same key replaces it: (status, controller), None if nothing lasts."""
    kind = message[0] & 0xF0
    if kind == CONTROL:
        return (message[0], message[1]) if message[1] < SOUND_OFF else None
    if kind == KEY_PRESSURE:
        return message[0], message[1]
    return (message[0], -1) if kind in (PROGRAM, PRESSURE, BEND) else None


def ending(on: Collection[tuple[int, int]]) -> Iterator[bytes]:
    """Note-offs for the (channel, pitch) pairs that are on, then the pedals up on every channel."""
    for channel, pitch in sorted(on):
        yield bytes((NOTE_OFF | channel, pitch, 64))
    for channel in CHANNELS:
        yield bytes((CONTROL | channel, SUSTAIN, 0))


def everything_off() -> Iterator[bytes]:
    """CC123 and CC120 on all sixteen channels: what a panic adds."""
    for channel in CHANNELS:
        yield bytes((CONTROL | channel, NOTES_OFF, 0))
        yield bytes((CONTROL | channel, SOUND_OFF, 0))
