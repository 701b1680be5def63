"""Which MIDI messages fall due when: a pure function of the score, where playing began, and the clock.

Knows neither ports nor threads nor the time: the caller says up to which moment it wants the messages. What has been
handed out is committed; a new score, a loop or an end takes hold after it. Every note handed out gets its note-off,
also when the score that held it has been replaced.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from app.sound.ports import (
    CONTINUE,
    NOTE_OFF,
    NOTE_ON,
    PULSE,
    SONG_POSITION,
    START,
    STOP,
    SYSEX,
    Timed,
    state_key,
)
from app.sound.timeline import State, Timeline, is_registered, track_state
from engine.score.score import Score
from engine.score.timing import CLOCKS_PER_QUARTER

SHIFT_BEATS = 1 / 8  # a note that a new score moves by less than this is the same note and is not struck again
LEAST_LOOP_BEATS = 1 / 8
CUE_SECONDS = 0.002  # start and continue go out so long before the pulse they announce
MOST_SIXTEENTHS = 2**14 - 1  # what a song position can say
REMEMBERED_SECONDS = 1.0  # how long ago a key may have been pressed whose place is asked for


class Tempi(Protocol):
    """A map between ticks and seconds: a score's own, or a steady pace set from outside."""

    def to_seconds(self, ticks: ArrayLike) -> NDArray[np.float64]:
        """Seconds at each tick."""

    def to_ticks(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Ticks at each second."""


@dataclass(frozen=True, slots=True)
class Steady:
    """So many ticks a second, whatever the score says."""

    rate: float

    def to_seconds(self, ticks: ArrayLike) -> NDArray[np.float64]:
        """Seconds at each tick."""
        return np.asarray(ticks, dtype=np.float64) / self.rate

    def to_ticks(self, seconds: ArrayLike) -> NDArray[np.float64]:
        """Ticks at each second."""
        return np.asarray(seconds, dtype=np.float64) * self.rate


@dataclass(frozen=True, slots=True)
class Segment:
    """From the moment `wall` on, playing goes on from `tick` at the pace of `tempi`."""

    wall: float
    tick: float
    tempi: Tempi


@dataclass(slots=True)
class Sounding:
    """A note that has its note-on but not yet its note-off."""

    onset: float  # tick
    end: float  # tick


Key = tuple[int, int]  # channel, pitch


class Scheduler:
    """Plays one score from `tick` at the moment `wall` (seconds); `advance` hands out what comes."""

    def __init__(
        self,
        score: Score,
        tick: float,
        wall: float,
        loop: tuple[int, int] | None = None,
        timeline: Timeline | None = None,  # of this score, where there is one already
        clock: bool = False,  # send the MIDI clock as well
        until: float = 0.0,  # play on to this tick even when no note is left
    ) -> None:
        self._timeline = timeline or Timeline.of(score)
        self._tempi: Tempi = self._timeline.tempo
        self._is_steered = False
        self._clock, self._until = clock, until
        self._clock_from, self._cue, self._clock_runs = 0.0, False, False
        self._segments = deque([Segment(wall, tick, self._tempi)])
        self._tick, self._wall = tick, wall  # handed out up to here
        self._sounding: dict[Key, Sounding] = {}
        self._struck: dict[tuple[Key, int], float] = {}  # (key, onset) that counts as struck already -> its end
        self._state: State = {}
        self._sequence: list[bytes] = []  # (N)RPN messages the ports have had
        self._chase_from: float | None = tick
        self._loop: tuple[int, int] | None = None
        self._set_clock(tick)
        self.set_loop(loop)

    @property
    def tick(self) -> float:
        """Everything before this tick has been handed out."""
        return self._tick

    @property
    def wall(self) -> float:
        """Everything before this moment has been handed out."""
        return self._wall

    @property
    def end_wall(self) -> float | None:
        """The moment the music ends, once it has been handed out to the end."""
        return self._wall if self._is_over() else None

    def state(self) -> list[bytes]:
        """What holds at this moment, for a port that joins in."""
        return [*self._state.values(), *self._sequence]

    def position(self, wall: float) -> float:
        """Tick heard at the moment `wall`, now or a moment ago."""
        while len(self._segments) > 1 and self._segments[1].wall <= wall - REMEMBERED_SECONDS:
            self._segments.popleft()
        here = next((s for s in reversed(self._segments) if s.wall <= wall), self._segments[0])
        return float(here.tempi.to_ticks(here.tempi.to_seconds(here.tick) + max(wall - here.wall, 0.0)))

    def steer(self, rate: float) -> None:
        """Go on at so many ticks a second, whatever the score's own tempi are."""
        self._tempi, self._is_steered = Steady(rate), True
        self._begin(self._wall, self._tick)

    def set_loop(self, loop: tuple[int, int] | None) -> None:
        """Repeat the ticks [a, b) from now on; None plays on."""
        least = self._timeline.score.ticks_per_quarter * LEAST_LOOP_BEATS
        self._loop = loop if loop and loop[1] - loop[0] >= least else None

    def delay(self, wall: float) -> None:
        """Go on at the later moment `wall` (the computer slept): what is missed is not made up for."""
        self._segments.clear()
        self._begin(wall, self._tick)

    def replace(self, score: Score) -> None:
        """Go on with another score after what has been handed out; notes that sound go on sounding."""
        scale = score.ticks_per_quarter / self._timeline.score.ticks_per_quarter
        timeline = Timeline.of(score, self._timeline)
        if scale != 1:
            self._tick *= scale
            self._clock_from *= scale
            self._until *= scale
            if isinstance(self._tempi, Steady):
                self._tempi = Steady(self._tempi.rate * scale)
            for note in self._sounding.values():
                note.onset, note.end = note.onset * scale, note.end * scale
        if timeline.initial is not self._timeline.initial:  # other events or other instruments
            self._chase_from = self._tick
        self._struck = {}
        self._timeline = timeline
        if not self._is_steered:
            self._tempi = timeline.tempo
        self._begin(self._wall, self._tick)
        self._adopt()

    def _adopt(self) -> None:
        """Find each sounding note in the new score, where it or its shifted self takes over its end."""
        reach = self._timeline.score.ticks_per_quarter * SHIFT_BEATS
        for key, note in self._sounding.items():
            near = [
                row
                for row in self._timeline.notes_between(note.onset - reach, note.onset + reach)
                if (self._timeline.channels[row["track"]], int(row["pitch"])) == key
            ]
            same = min(near, key=lambda row: abs(int(row["tick"]) - note.onset), default=None)
            if same is not None:
                note.end = _end(same)
                if same["tick"] >= self._tick:
                    self._struck[key, int(same["tick"])] = note.end

    # ------------------------------------------------------------ handing out

    def advance(self, wall: float) -> list[Timed]:
        """Messages due before the moment `wall` and not handed out yet, in order of time."""
        out: list[Timed] = []
        while self._wall < wall and not self._is_over():
            tempo = self._tempi
            here = float(tempo.to_seconds(self._tick))
            stop = float(tempo.to_ticks(here + wall - self._wall))
            loop = self._loop_ahead()
            wraps = loop is not None and stop >= loop[1]
            stop = min(stop, loop[1] if loop else self._last_tick())
            ends = self._ends_at(stop)
            messages = list(self._messages(self._tick, stop, wraps or ends))
            moments = self._wall + (tempo.to_seconds([tick for tick, _ in messages]) - here)
            out += [(_announced(float(t), data), data) for t, (_, data) in zip(moments, messages, strict=True)]
            self._wall = self._wall + float(tempo.to_seconds(stop)) - here if wraps or ends else wall
            self._tick = stop
            if loop and wraps:
                self._begin(self._wall, loop[0])
                self._chase_from = self._tick
                self._set_clock(self._tick)
        return out

    def _begin(self, wall: float, tick: float) -> None:
        self._wall, self._tick = wall, tick
        self._segments.append(Segment(wall, tick, self._tempi))

    def _loop_ahead(self) -> tuple[int, int] | None:
        """The loop, unless playing is already past its end and so goes on to the end of the piece."""
        return self._loop if self._loop and self._tick < self._loop[1] else None

    def _last_tick(self) -> float:
        """Where the music ends: the last note of the score or one that still sounds."""
        return max([self._timeline.end_tick, self._until, *(note.end for note in self._sounding.values())])

    def _ends_at(self, tick: float) -> bool:
        return self._loop_ahead() is None and tick >= self._last_tick()

    def _is_over(self) -> bool:
        return not self._sounding and self._ends_at(self._tick)

    def _messages(self, start: float, stop: float, final: bool) -> Iterator[tuple[float, bytes]]:
        """(tick, message) for [start, stop); `final` ends what still sounds at `stop`."""
        yield from self._chase()
        notes = ((int(row["tick"]), 1, row) for row in self._timeline.notes_between(start, stop))
        events = ((event.tick, 0, event) for event in self._timeline.events_between(start, stop))
        pulses = ((tick, -1, data) for tick, data in self._pulses(start, stop))
        for tick, kind, item in heapq.merge(pulses, events, notes, key=lambda entry: entry[:2]):
            if kind < 0:
                yield tick, item
                continue
            yield from self._offs(tick)
            if kind:
                yield from self._strike(int(tick), item)
            else:
                track_state(self._state, item.data)
                if is_registered(item.data):
                    self._sequence.append(item.data)
                yield tick, item.data if item.data[0] != SYSEX or item.data[-1] == 0xF7 else item.data + b"\xf7"
        if final:
            yield from self._offs(stop)
            for key in list(self._sounding):
                yield self._off(stop, key)
        else:
            yield from self._offs(stop, inclusive=False)

    def _set_clock(self, tick: float) -> None:
        """Let the clock go on from the first sixteenth at or after a tick: a song position says nothing finer."""
        sixteenth = self._timeline.score.ticks_per_quarter / 4
        self._clock_from, self._cue = math.ceil(tick / sixteenth - 1e-6) * sixteenth, self._clock

    def _pulses(self, start: float, stop: float) -> Iterator[tuple[float, bytes]]:
        """The clock's messages for [start, stop): where it begins, and 24 pulses a quarter."""
        if not self._clock:
            return
        quarter = self._timeline.score.ticks_per_quarter
        if self._cue and start <= self._clock_from < stop:
            if self._clock_runs:  # a loop begins again
                yield self._clock_from, STOP
            self._cue, self._clock_runs = False, True
            sixteenths = min(round(self._clock_from * 4 / quarter), MOST_SIXTEENTHS)
            if sixteenths == 0:
                yield self._clock_from, START
            else:
                yield self._clock_from, bytes((SONG_POSITION, sixteenths & 127, sixteenths >> 7))
                yield self._clock_from, CONTINUE
        first = math.floor(max(start, self._clock_from) * CLOCKS_PER_QUARTER / quarter)
        last = math.ceil(stop * CLOCKS_PER_QUARTER / quarter)
        for number in range(first, last + 1):
            tick = number * quarter / CLOCKS_PER_QUARTER
            if max(start, self._clock_from) <= tick < stop:
                yield tick, PULSE

    def _chase(self) -> Iterator[tuple[float, bytes]]:
        """After a jump: what would hold here had the piece been played from its beginning, and does not yet."""
        if self._chase_from is None:
            return
        tick, self._chase_from = self._chase_from, None
        wanted = self._timeline.state_at(tick)
        due_anyway = {state_key(event.data) for event in self._timeline.events_between(tick, tick + 0.5)}
        for key, data in wanted.items():
            if self._state.get(key) != data and key not in due_anyway:
                yield tick, data
        self._state |= wanted
        sequence = self._timeline.sequences_at(tick)
        if sequence != self._sequence:
            self._sequence = sequence
            for data in sequence:
                yield tick, data

    def _strike(self, tick: int, row: object) -> Iterator[tuple[float, bytes]]:
        key = self._timeline.channels[row["track"]], int(row["pitch"])  # type: ignore[index]  # NumPy row
        end = _end(row)
        if (key, tick) in self._struck and key in self._sounding:
            del self._struck[key, tick]
            self._sounding[key].end = max(end, self._sounding[key].end)
            return
        if key in self._sounding:  # one key of one channel cannot sound twice: the second stroke takes it over
            end = max(end, self._sounding[key].end)
            yield self._off(tick, key)
        self._sounding[key] = Sounding(tick, end)
        yield tick, bytes((NOTE_ON | key[0], key[1] & 127, max(1, int(row["velocity"]) & 127)))  # type: ignore[index]  # NumPy row

    def _offs(self, tick: float, inclusive: bool = True) -> Iterator[tuple[float, bytes]]:
        """Note-offs of what ends by `tick`, in order; a note that has become too short ends at once."""
        ends = sorted((note.end, key) for key, note in self._sounding.items() if note.end <= tick)
        for end, key in (pair for pair in ends if inclusive or pair[0] < tick):
            yield self._off(max(end, self._tick), key)

    def _off(self, tick: float, key: Key) -> tuple[float, bytes]:
        del self._sounding[key]
        return tick, bytes((NOTE_OFF | key[0], key[1] & 127, 64))


def _announced(moment: float, message: bytes) -> float:
    """When a message goes out: what announces a pulse, before it."""
    return moment - CUE_SECONDS if message in (START, CONTINUE, STOP) or message[0] == SONG_POSITION else moment


def _end(row: object) -> float:
    return int(row["tick"]) + max(int(row["duration"]), 1)  # type: ignore[index]  # NumPy row


def all_events(score: Score) -> list[Timed]:
    """The whole score as (seconds from its beginning, message), in order: what a file renderer plays."""
    return Scheduler(score, 0, 0.0).advance(float("inf"))
