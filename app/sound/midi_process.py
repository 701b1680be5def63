"""The process that owns the MIDI port: it keeps the clock, knows which notes are on, and outlives nobody.

Runs apart from Python's other work, so that its timing does not depend on it. Batches of (time, message) come through
a pipe; when the pipe ends, because its owner has closed it or died, every note is ended before this process ends.
"""

from __future__ import annotations

import contextlib
import heapq
import math
import os
import re
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import count
from multiprocessing.connection import Connection
from typing import Any

from app.sound import jack
from app.sound.ports import ending, everything_off, is_note_off, is_note_on, now

CLIENT = "Morphony"
LOOK_SECONDS = 1.0  # how often the ports are looked over
SPIN_SECONDS = 0.002  # nearer than this, sleep exactly instead of waiting for the pipe
DRAIN_SECONDS = 0.1  # what the system's own buffer needs to send the last note-offs before the port closes

LOOPMIDI = (
    "Windows cannot make virtual MIDI ports by itself: install loopMIDI, add a port there, and choose it in Morphony."
)


def working_api(rtmidi: Any) -> Any:
    """Return a rtmidi.MidiOut on the first MIDI system of this machine that answers, or None."""
    order = (rtmidi.API_UNIX_JACK, rtmidi.API_LINUX_ALSA, rtmidi.API_MACOSX_CORE, rtmidi.API_WINDOWS_MM)
    compiled = rtmidi.get_compiled_api()
    for api in (api for api in order if api in compiled):
        with contextlib.suppress(rtmidi.RtMidiError):
            return rtmidi.MidiOut(rtapi=api, name=CLIENT)
    return None


def nobody_answers() -> str:
    """Say that no MIDI system works here."""
    on_linux = sys.platform.startswith("linux")
    if on_linux:
        return "No MIDI output: neither JACK nor ALSA answers; start JACK, or load ALSA's part (sudo modprobe snd-seq)."
    return "No MIDI output: the system's MIDI does not answer; start the computer again."


def find_port(names: Sequence[str], wanted: str) -> int | None:
    """Index of the port a person means: the very name, the name without ALSA's changing numbers, or a part of it."""

    def plain(name: str) -> str:
        return re.sub(r"\s+\d+:\d+$", "", name).casefold()

    for fits in (
        lambda name: name == wanted,
        lambda name: plain(name) == plain(wanted),
        lambda name: wanted.casefold() in name.casefold(),
    ):
        found = [index for index, name in enumerate(names) if fits(name)]
        if found:
            return found[0]
    return None


class Sender:
    """One port, a queue of what is to be sent, and the notes that are on."""

    def __init__(self, pipe: Connection, name: str, is_virtual: bool, orphans: Iterable[tuple[int, int]]) -> None:
        import rtmidi

        self._rtmidi, self._pipe, self._name, self._is_virtual = rtmidi, pipe, name, is_virtual
        self._midi: Any = None
        self._server: jack.Watch | None = None  # where the port is JACK's: a dead server raises nothing
        self._is_open = False
        self._queue: list[tuple[float, int, bytes]] = []
        self._number = count()  # keeps the order of messages with the same time
        self._on = set(orphans)  # (channel, pitch); what an owner before us may have left on
        self._told: tuple[Any, ...] = ()
        self._names: list[str] = []
        self._look_at = 0.0

    def run(self) -> None:
        """Send and take batches until the pipe ends or asks for it."""
        with contextlib.suppress(EOFError, ConnectionError):
            while self._take_all(self._wait()):
                self._send_due()
                if now() >= self._look_at:
                    self._look()

    def close(self) -> None:
        """End every note and give the port back."""
        self._send_all(ending(self._on))
        self._on.clear()
        if self._is_open:
            time.sleep(DRAIN_SECONDS)
        self._close_port()

    def _wait(self) -> float:
        """Sleep until a message is due, unless something comes through the pipe before; return what is left to wait."""
        wait = min(self._queue[0][0] if self._queue else math.inf, self._look_at) - now()
        if wait > SPIN_SECONDS:
            return wait - SPIN_SECONDS
        if wait > 0:
            time.sleep(wait)
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
            self._queue.clear()
            self._send_all(ending(self._on))
            self._on.clear()
            if what == "panic":
                self._send_all(everything_off())
        return True

    def _send_due(self) -> None:
        moment = now()
        while self._queue and self._queue[0][0] <= moment:
            message = heapq.heappop(self._queue)[2]
            if not self._is_open:
                continue  # nobody listens; a note that never began needs no end
            key = message[0] & 15, message[1]
            if is_note_on(message):
                self._on.add(key)
            elif is_note_off(message):
                if key not in self._on:
                    continue  # ended already, by a silence
                self._on.remove(key)
            self._send_all([message])

    def _send_all(self, messages: Iterable[bytes]) -> None:
        if not self._is_open:
            return
        try:
            for message in messages:
                self._midi.send_message(message)
        except self._rtmidi.RtMidiError:
            self._lose()

    # ------------------------------------------------------------ the device

    def _look(self) -> None:
        """Open the port, see whether it is still there, and tell the owner what has changed."""
        self._look_at = now() + LOOK_SECONDS
        try:
            if self._server and self._server.has_ended:
                self._lose()
            if self._midi is None:
                self._begin()
            names = self._midi.get_ports() or [] if self._midi else []
            if names != self._names:
                self._names = names
                self._pipe.send(("names", names))
            if self._midi is None:
                self._tell(False, nobody_answers())
            elif self._is_virtual:
                self._open_virtual()
            else:
                self._open_named(names)
        except self._rtmidi.RtMidiError as error:
            self._lose()
            self._tell(False, f"The MIDI port “{self._name}” does not open: {str(error).rstrip('.')}.")

    def _begin(self) -> None:
        self._midi = working_api(self._rtmidi)
        if self._midi and self._midi.get_current_api() == self._rtmidi.API_UNIX_JACK:
            self._server = jack.Watch()

    def _open_virtual(self) -> None:
        if self._is_open:
            return
        if sys.platform == "win32":
            self._tell(False, LOOPMIDI)
            return
        self._midi.open_virtual_port(self._name)
        self._opened()

    def _open_named(self, names: Sequence[str]) -> None:
        index = find_port(names, self._name)
        if self._is_open and index is None:
            self._lose()
        elif not self._is_open and index is not None:
            self._midi.open_port(index, CLIENT)
            self._opened()
        if index is None:
            others = f" There is: {', '.join(names)}." if names else " There is no other port either."
            self._tell(False, f"There is no MIDI port “{self._name}” now; it is opened when it appears.{others}")

    def _opened(self) -> None:
        """Begin with a clean slate: what an earlier connection has left on ends."""
        self._is_open = True
        time.sleep(DRAIN_SECONDS)  # a new JACK port needs a period or two before it carries anything
        if self._on:
            self._send_all([*ending(self._on), *everything_off()])
            self._on.clear()
        self._tell(True, f"MIDI goes to “{self._name}”.")

    def _lose(self) -> None:
        self._close_port()
        self._look_at = min(self._look_at, now() + LOOK_SECONDS / 2)

    def _close_port(self) -> None:
        self._is_open = False
        if self._midi is not None:
            with contextlib.suppress(self._rtmidi.RtMidiError):
                self._midi.close_port()
            self._midi.delete()
            self._midi = None
        if self._server is not None:
            self._server.close()
            self._server = None

    def _tell(self, ok: bool, sentence: str) -> None:
        if self._told != (ok, sentence):
            self._told = ok, sentence
            self._pipe.send(("status", ok, sentence))


def run(pipe: Connection, name: str, is_virtual: bool, orphans: Sequence[tuple[int, int]]) -> None:
    """The whole life of the process."""
    _be_quiet()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if hasattr(os, "sched_setscheduler"):
        with contextlib.suppress(OSError):  # only where the user may: without it the timing is good, with it better
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))
    try:
        sender = Sender(pipe, name, is_virtual, orphans)
    except ImportError as error:
        with contextlib.suppress(OSError, EOFError):
            pipe.send(("status", False, f"No MIDI output: the library python-rtmidi does not load ({error})."))
            pipe.recv()  # nothing to do until the owner ends
        return
    try:
        sender.run()
    finally:
        sender.close()


def tell_names(pipe: Connection) -> None:
    """Send the names of this machine's MIDI outputs, or the sentence that says why there are none."""
    _be_quiet()
    try:
        import rtmidi
    except ImportError as error:
        pipe.send(f"No MIDI output: the library python-rtmidi does not load ({error}).")
        return
    midi = working_api(rtmidi)
    pipe.send(nobody_answers() if midi is None else list(midi.get_ports() or []))


def _be_quiet() -> None:
    """Leave Ctrl-C to the owner, start no JACK server, and print nothing: the status says it in a sentence."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["JACK_NO_START_SERVER"] = "1"
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
