"""A MIDI output port for live playing: hands batches to the process that has it (`midi_process`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from app.sound import midi_process
from app.sound.midi_port import PortProcess, list_ports
from app.sound.ports import Timed, is_note_on

VIRTUAL_NAME = "Morphony Out"
BATCH = 256  # messages in one piece through the pipe: more would make the other side late while it reads them


class MidiOut(PortProcess):
    """A Port: an existing port by name, or a virtual one that other programs connect to."""

    WORKER = staticmethod(midi_process.run)

    def __init__(self, name: str, is_virtual: bool) -> None:
        self._used: set[tuple[int, int]] = set()  # (channel, pitch) of the notes sent since the last silence
        self.lateness: list[float] = []  # seconds, of the messages of the last measurement
        super().__init__(name, is_virtual)

    @classmethod
    def open(cls, name: str) -> MidiOut:
        """Play to the port of this name (or a part of it), now and whenever it comes back."""
        return cls(name, is_virtual=False)

    @classmethod
    def open_virtual(cls, name: str = VIRTUAL_NAME) -> MidiOut:
        """Make a port that a DAW can listen to; on Windows the status says what to install instead."""
        return cls(name, is_virtual=True)

    def send(self, events: Sequence[Timed]) -> None:
        """Take a batch ahead of time."""
        self._used.update((message[0] & 15, message[1]) for _, message in events if is_note_on(message))
        for start in range(0, len(events), BATCH):
            self._ask("events", list(events[start : start + BATCH]))

    def silence(self) -> None:
        """End the notes that are on and forget what is queued; stop the clock if it runs."""
        self._ask("silence")
        self._used.clear()

    def panic(self) -> None:
        """Silence, then CC120 and CC123 on all sixteen channels."""
        self._ask("panic")
        self._used.clear()

    def measure(self) -> None:
        """Note how late each message leaves, from now on; once more: have it in `lateness` after a `poll`."""
        self._ask("measure")

    def _hear(self, what: str, *rest: Any) -> None:
        if what == "lateness":
            self.lateness = list(rest[0])
        else:
            super()._hear(what, *rest)

    def _arguments(self) -> tuple[Any, ...]:
        return self.name, self.is_virtual, tuple(self._used)


__all__ = ["VIRTUAL_NAME", "MidiOut", "list_ports"]
