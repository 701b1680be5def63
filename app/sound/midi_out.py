"""A MIDI output port for live playing, as its owner sees it: a pipe to the process that has the port.

Knows how to start that process, to start it again when it dies, and to hand it batches; it never touches a device.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Sequence
from typing import Any

from app.sound import midi_process
from app.sound.ports import Status, Timed, is_note_on, now
from engine.errors import MorphonyError

VIRTUAL_NAME = "Morphony Out"
BATCH = 256  # messages in one piece through the pipe: more would make the other side late while it reads them
RESTART_SECONDS = 0.5


class MidiOut:
    """A Port: an existing port by name, or a virtual one that other programs connect to."""

    def __init__(self, name: str, is_virtual: bool) -> None:
        self.name = name
        self.is_virtual = is_virtual
        self.names: tuple[str, ...] = ()  # every MIDI output of this machine, kept up to date by `poll`
        self._status = Status(False, f"The MIDI port “{name}” is being opened.")
        self._used: set[tuple[int, int]] = set()  # (channel, pitch) of the notes sent since the last silence
        self._is_closed = False
        self._start()

    @classmethod
    def open(cls, name: str) -> MidiOut:
        """Play to the port of this name (or a part of it), now and whenever it comes back."""
        return cls(name, is_virtual=False)

    @classmethod
    def open_virtual(cls, name: str = VIRTUAL_NAME) -> MidiOut:
        """Make a port that a DAW can listen to; on Windows the status says what to install instead."""
        return cls(name, is_virtual=True)

    @property
    def status(self) -> Status:
        """How the port is, as of the last `poll`."""
        return self._status

    @property
    def pid(self) -> int | None:
        """The process that has the port."""
        return self._process.pid

    def send(self, events: Sequence[Timed]) -> None:
        """Take a batch ahead of time."""
        self._used.update((message[0] & 15, message[1]) for _, message in events if is_note_on(message))
        for start in range(0, len(events), BATCH):
            self._ask("events", list(events[start : start + BATCH]))

    def silence(self) -> None:
        """End the notes that are on and forget what is queued."""
        self._ask("silence")
        self._used.clear()

    def panic(self) -> None:
        """Silence, then CC120 and CC123 on all sixteen channels."""
        self._ask("panic")
        self._used.clear()

    def poll(self) -> None:
        """Read what the process has to tell; start it again if it has died."""
        if self._is_closed:
            return
        try:
            while self._pipe.poll(0):
                self._hear(*self._pipe.recv())
        except (EOFError, OSError):
            self._restart()

    def wait_until_open(self, seconds: float = 5.0) -> Status:
        """Wait for the first answer of the device; for programs without a window."""
        deadline = now() + seconds
        while self._is_opening and now() < deadline:
            with contextlib.suppress(OSError):
                self._pipe.poll(0.05)
            self.poll()
        return self._status

    def close(self) -> None:
        """End every note and the process."""
        if self._is_closed:
            return
        self._is_closed = True
        self._ask("close")
        self._pipe.close()
        self._process.join(2.0)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._process.close()
        self._status = Status(False, f"The MIDI port “{self.name}” is closed.")

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, self.name, self.is_virtual, tuple(self._used))
        self._process = context.Process(target=midi_process.run, args=arguments, name="morphony-midi", daemon=True)
        self._process.start()
        theirs.close()
        self._started_at = now()
        self._is_opening = True

    def _restart(self) -> None:
        if now() - self._started_at < RESTART_SECONDS:
            return
        self._process.kill()
        self._process.join()
        self._process.close()
        self._pipe.close()
        self._status = Status(False, f"The MIDI process has ended; “{self.name}” is being opened again.")
        self._start()

    def _ask(self, what: str, *rest: Any) -> None:
        with contextlib.suppress(OSError):  # it has died: `poll` starts it again
            self._pipe.send((what, *rest))

    def _hear(self, what: str, *rest: Any) -> None:
        if what == "names":
            self.names = tuple(rest[0])
        elif what == "status":
            self._status = Status(*rest)
            self._is_opening = False


def list_ports() -> list[str]:
    """The MIDI outputs of this machine, asked in a process of its own; a window has `names` instead."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=midi_process.tell_names, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    try:
        answer = ours.recv() if ours.poll(5.0) else "The MIDI system of this machine does not answer."
    except EOFError:
        answer = "The MIDI system of this machine cannot be asked."
    finally:
        ours.close()
        process.kill()
        process.join()
        process.close()
    if isinstance(answer, str):
        raise MorphonyError(answer)
    return list(answer)
