"""A score as MIDI messages on its own tick line: which note, which channel, which controller holds where.

Pure: knows the score, not the clock.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.sound.ports import BEND, CONTROL, DRUM_CHANNEL, PROGRAM, RESET_CONTROLLERS, SYSEX, state_key
from engine.score.score import Event, Score
from engine.score.timing import TempoMap

State = dict[tuple[int, int], bytes]  # state_key -> the message that holds
REGISTERED = (6, 38, 96, 97, 98, 99, 100, 101)  # (N)RPN and data entry: only their sequence has a meaning
SURVIVES_RESET = (0, 7, 10, 32, 91, 93)  # controllers that CC121 leaves alone (recommended practice RP-015)
DEFAULT_CONTROLS = {7: 100, 8: 64, 10: 64, 11: 127, 91: 40, **dict.fromkeys(range(70, 80), 64)}


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """A score prepared for playing; making one costs well under a millisecond for thousands of notes."""

    score: Score
    tempo: TempoMap
    channels: tuple[int, ...]  # of each track
    events: tuple[Event, ...]  # those a port can take, sorted by tick
    event_ticks: tuple[int, ...]
    initial: State  # what holds before the first event

    @classmethod
    def of(cls, score: Score, before: Timeline | None = None) -> Timeline:
        """Prepare a score; the events of the timeline `before` are kept where they are the same."""
        channels = tuple(DRUM_CHANNEL if t.is_drum else t.channel & 15 for t in score.tracks)
        tempo = TempoMap.of(score)
        if before and before.score.events is score.events and before.score.tracks == score.tracks:
            return cls(score, tempo, channels, before.events, before.event_ticks, before.initial)
        events = tuple(sorted((e for e in score.events if _can_sound(e.data)), key=lambda e: e.tick))
        initial: State = {}
        for event in events:
            key = state_key(event.data)
            if key and event.data[0] & 0xF0 != PROGRAM and not is_registered(event.data):
                initial[key] = _default(event.data)
        for track, channel in reversed(tuple(zip(score.tracks, channels, strict=True))):
            initial[PROGRAM | channel, -1] = bytes((PROGRAM | channel, track.program & 127))
        return cls(score, tempo, channels, events, tuple(e.tick for e in events), initial)

    @property
    def end_tick(self) -> int:
        """Where the last note ends; a note of no length counts one tick."""
        notes = self.score.notes
        return max(self.score.end_tick, int(notes["tick"][-1]) + 1) if len(notes) else 0

    def notes_between(self, start: float, stop: float) -> NDArray[np.void]:
        """Notes (NOTE rows, sorted by tick) with start <= tick < stop."""
        ticks = self.score.notes["tick"]
        first, last = np.searchsorted(ticks, [start, stop], side="left")
        return self.score.notes[first:last]

    def events_between(self, start: float, stop: float) -> Iterator[Event]:
        """Events with start <= tick < stop, in file order."""
        return iter(self.events[bisect_left(self.event_ticks, start) : bisect_left(self.event_ticks, stop)])

    def state_at(self, tick: float) -> State:
        """What holds just before `tick`: programs, controllers, bends; banks come before their program."""
        state = dict(self.initial)
        for event in self.events_between(-np.inf, tick):
            track_state(state, event.data)
        return dict(sorted(state.items(), key=_chase_order))

    def sequences_at(self, tick: float) -> list[bytes]:
        """(N)RPN messages before `tick` in file order, which cannot be told from the latest values alone."""
        return [e.data for e in self.events_between(-np.inf, tick) if is_registered(e.data)]


def track_state(state: State, message: bytes) -> None:
    """Enter one message into a state; CC121 takes what it resets out again."""
    key = state_key(message)
    if key and not is_registered(message):
        state[key] = message
    elif message[0] & 0xF0 == CONTROL and message[1] == RESET_CONTROLLERS:
        for held in [k for k in state if k[0] & 0x0F == message[0] & 0x0F and _is_reset(k)]:
            state[held] = _default(state[held])


def _is_reset(key: tuple[int, int]) -> bool:
    kind = key[0] & 0xF0
    return kind != PROGRAM and (kind != CONTROL or key[1] not in SURVIVES_RESET)


def _can_sound(data: bytes) -> bool:
    lengths = {0xA0: 3, 0xB0: 3, 0xC0: 2, 0xD0: 2, 0xE0: 3}
    if not data:
        return False
    return data[0] == SYSEX or (len(data) == lengths.get(data[0] & 0xF0, 0) and all(byte < 128 for byte in data[1:]))


def is_registered(message: bytes) -> bool:
    """True for a part of an (N)RPN sequence."""
    return message[0] & 0xF0 == CONTROL and message[1] in REGISTERED


def _default(message: bytes) -> bytes:
    """Return the same message with the value a synth holds when nobody has set one."""
    kind = message[0] & 0xF0
    if kind == BEND:
        return bytes((message[0], 0, 64))
    if kind == CONTROL:
        return bytes((message[0], message[1], DEFAULT_CONTROLS.get(message[1], 0)))
    return message[:-1] + b"\0"


def _chase_order(item: tuple[tuple[int, int], bytes]) -> tuple[int, int, int]:
    (status, number), _ = item
    is_bank = status & 0xF0 == CONTROL and number in (0, 32)
    return status & 0x0F, 0 if is_bank else 1 if status & 0xF0 == PROGRAM else 2, number
