"""A MIDI port as its owner sees it: a pipe to the process that has the port, started again when it dies.

Never touches a device. `midi_out` and `midi_in` say what goes through the pipe.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable
from typing import Any

from app.sound import midi_device
from app.sound.ports import Status, now
from engine.errors import MorphonyError

RESTART_SECONDS = 0.5


class PortProcess:
    """Start the process, hear what it tells, start it again."""

    WORKER: Callable[..., None]  # what the process does: a module's function, called with a pipe first

    def __init__(self, name: str, is_virtual: bool) -> None:
        self.name = name
        self.is_virtual = is_virtual
        self.names: tuple[str, ...] = ()  # every port of this kind on this machine, kept up to date by `poll`
        self._status = Status(False, f"The MIDI port “{name}” is being opened.")
        self._is_closed = False
        self._start()

    @property
    def status(self) -> Status:
        """How the port is, as of the last `poll`."""
        return self._status

    @property
    def pid(self) -> int | None:
        """The process that has the port."""
        return self._process.pid

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
        """End what the process does, and the process."""
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

    def _arguments(self) -> tuple[Any, ...]:
        return self.name, self.is_virtual

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        worker = type(self).WORKER
        self._process = context.Process(
            target=worker, args=(theirs, *self._arguments()), name="morphony-midi", daemon=True
        )
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


def list_ports(kind: str = "MidiOut") -> list[str]:
    """The MIDI outputs ("MidiOut") or inputs ("MidiIn") of this machine, asked in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=midi_device.tell_names, args=(theirs, kind), daemon=True)
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
