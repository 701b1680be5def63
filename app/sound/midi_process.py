"""The process that owns a MIDI output: it keeps the clock, knows which notes are on, and outlives nobody.

Runs apart from Python's other work, so that its timing does not depend on it. Batches of (time, message) come through
a pipe; when the pipe ends, because its owner has closed it or died, every note is ended before this process ends.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import time
from collections.abc import Iterable, Sequence
from itertools import count
from multiprocessing.connection import Connection

from app.sound import midi_device
from app.sound.midi_device import Device
from app.sound.ports import CONTINUE, START, STOP, ending, everything_off, is_note_off, is_note_on, now

SPIN_SECONDS = 0.002  # nearer than this, the pipe is no longer waited for
LAST_SECONDS = 0.0002  # and nearer than this the clock is watched; all 2 ms would use up a real-time process's share


class Sender(Device):
    """One port, a queue of what is to be sent, the notes that are on, and whether the clock of others runs by us."""

    def __init__(self, pipe: Connection, name: str, is_virtual: bool, orphans: Iterable[tuple[int, int]]) -> None:
        super().__init__(pipe, name, is_virtual)
        self._queue: list[tuple[float, int, bytes]] = []
        self._number = count()  # keeps the order of messages with the same time
        self._on = set(orphans)  # (channel, pitch); what an owner before us may have left on
        self._clock_runs = False
        self._lateness: list[float] | None = None  # seconds after its time that each message left, while measured

    def run(self) -> None:
        """Send and take batches until the pipe ends or asks for it."""
        with contextlib.suppress(EOFError, ConnectionError):
            while self._take_all(self._wait()):
                self._send_due()
                if now() >= self._look_at:
                    self.look()

    def close(self) -> None:
        """End every note and give the port back."""
        self._fall_silent()
        if self._is_open:
            time.sleep(midi_device.SETTLE_SECONDS)
        self._close_port()

    def _wait(self) -> float:
        """How long the pipe may be waited for: until 2 ms before a message is due; those are slept and spun away."""
        due = min(self._queue[0][0] if self._queue else math.inf, self._look_at)
        wait = due - now()
        if wait > SPIN_SECONDS:
            return wait - SPIN_SECONDS
        if wait > LAST_SECONDS:
            time.sleep(wait - LAST_SECONDS)
        while now() < due:
            pass
        return 0.0

    def _take_all(self, timeout: float) -> bool:
        """Carry out what the owner asks; False when it asks to end."""
        while self._pipe.poll(timeout):
            timeout = 0.0
            what, *rest = self._pipe.recv()
            if what == "events":
                for moment, message in rest[0]:
                    heapq.heappush(self._queue, (moment, next(self._number), message))
                return True  # see first whether something is due
            if what == "close":
                return False
            if what == "measure":
                if self._lateness is not None:
                    self._pipe.send(("lateness", self._lateness))
                self._lateness = []
                continue
            self._queue.clear()
            self._fall_silent()
            if what == "panic":
                self._send_all(everything_off())
        return True

    def _fall_silent(self) -> None:
        """End the notes that are on, and stop those who follow our clock."""
        self._send_all(ending(self._on))
        self._on.clear()
        if self._clock_runs:
            self._clock_runs = False
            self._send_all([STOP])

    def _send_due(self) -> None:
        moment = now()
        while self._queue and self._queue[0][0] <= moment:
            due, _, message = heapq.heappop(self._queue)
            if not self._is_open:
                continue  # nobody listens; a note that never began needs no end
            if message in (START, CONTINUE, STOP):
                self._clock_runs = message != STOP
            elif is_note_on(message):
                self._on.add((message[0] & 15, message[1]))
            elif is_note_off(message):
                key = message[0] & 15, message[1]
                if key not in self._on:
                    continue  # ended already, by a silence
                self._on.remove(key)
            self._send_all([message])
            if self._lateness is not None:
                self._lateness.append(now() - due)

    def _send_all(self, messages: Iterable[bytes]) -> None:
        if not self._is_open:
            return
        try:
            for message in messages:
                self._midi.send_message(message)
        except self._rtmidi.RtMidiError:
            self._lose()

    def _opened(self) -> None:
        """Begin with a clean slate: what an earlier connection has left on ends."""
        super()._opened()
        if self._on:
            self._send_all([*ending(self._on), *everything_off()])
            self._on.clear()


def run(pipe: Connection, name: str, is_virtual: bool, orphans: Sequence[tuple[int, int]]) -> None:
    """The whole life of the process."""
    sender = midi_device.begin(pipe, Sender, name, is_virtual, orphans)
    if sender is None:
        return
    try:
        sender.run()
    finally:
        sender.close()
