"""The process that listens to a MIDI input and hands on what it hears, stamped with the clock all processes share.

Apart from the window, so that no frozen moment there loses a message or bends its time.
"""

from __future__ import annotations

import contextlib
import math
import time
from multiprocessing.connection import Connection

from app.sound import midi_device
from app.sound.midi_device import Device
from app.sound.ports import Timed, now

POLL_SECONDS = 0.002  # stamps are made by the driver's own thread: this only delays, it does not blur
CLOCK_DRIFT = 1e-4  # by how much the driver's clock may run away from ours, seconds a second


class Listener(Device):
    """One input port."""

    KIND = "MidiIn"
    CLIENT = "Morphony In"
    WORDS = "MIDI comes from “{}”."

    def __init__(self, pipe: Connection, name: str, is_virtual: bool) -> None:
        super().__init__(pipe, name, is_virtual)
        self._stamp = 0.0  # the driver's clock, from the first message on
        self._offset = math.inf  # our clock minus the driver's: the least ever seen is the truth
        self._heard_at = now()

    def run(self) -> None:
        """Listen until the pipe ends or asks for it."""
        with contextlib.suppress(EOFError, OSError):
            while not self._pipe.poll(0):
                if now() >= self._look_at:
                    self.look()
                if heard := self._take():
                    self._pipe.send(("heard", heard))
                time.sleep(POLL_SECONDS if self._is_open else 0.05)

    def close(self) -> None:
        """Give the port back."""
        self._close_port()

    def _take(self) -> list[Timed]:
        """Everything that has come since, in order."""
        heard: list[Timed] = []
        while self._is_open and (event := self._midi.get_message()):
            message, delta = event
            moment = now()
            self._stamp += delta
            self._offset += CLOCK_DRIFT * (moment - self._heard_at)
            self._heard_at = moment
            self._offset = min(self._offset, moment - self._stamp)
            heard.append((self._stamp + self._offset, bytes(message)))
        return heard

    def _opened(self) -> None:
        self._midi.ignore_types(sysex=True, timing=False, active_sense=True)
        self._stamp, self._offset = 0.0, math.inf
        super()._opened()


def run(pipe: Connection, name: str, is_virtual: bool) -> None:
    """The whole life of the process."""
    listener = midi_device.begin(pipe, Listener, name, is_virtual)
    if listener is None:
        return
    try:
        listener.run()
    finally:
        listener.close()
