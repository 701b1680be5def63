"""A MIDI input port: what a keyboard, a knob box or a DAW's clock says, each message with the moment it came."""

from __future__ import annotations

from typing import Any

from app.sound import midi_listener
from app.sound.midi_port import PortProcess
from app.sound.ports import Timed

VIRTUAL_NAME = "Morphony In"


class MidiIn(PortProcess):
    """An existing port by name, or a virtual one that other programs send to; `take` what has come."""

    WORKER = staticmethod(midi_listener.run)

    def __init__(self, name: str, is_virtual: bool) -> None:
        self._heard: list[Timed] = []
        super().__init__(name, is_virtual)

    @classmethod
    def open(cls, name: str) -> MidiIn:
        """Listen to the port of this name (or a part of it), now and whenever it comes back."""
        return cls(name, is_virtual=False)

    @classmethod
    def open_virtual(cls, name: str = VIRTUAL_NAME) -> MidiIn:
        """Make a port that others send to."""
        return cls(name, is_virtual=True)

    def fileno(self) -> int:
        """What an event loop may watch: readable when something has come. Another one after a restart."""
        return self._pipe.fileno()

    def take(self) -> list[Timed]:
        """(seconds on `now`, message) of all that has come since the last time, in order."""
        self.poll()
        heard, self._heard = self._heard, []
        return heard

    def _hear(self, what: str, *rest: Any) -> None:
        if what == "heard":
            self._heard += rest[0]
        else:
            super()._hear(what, *rest)
