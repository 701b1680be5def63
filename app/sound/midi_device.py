"""One MIDI port of this machine, in or out: found by its name or made, watched, and opened again when it comes back.

Lives in a process of its own (`midi_process`, `midi_listener`); tells its owner through the pipe how the port is.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

from app.sound import jack
from app.sound.ports import now

LOOK_SECONDS = 1.0  # how often the ports are looked over
SETTLE_SECONDS = 0.1  # what a new port needs before it carries anything, and a closing one to send its last

LOOPMIDI = (
    "Windows cannot make virtual MIDI ports by itself: install loopMIDI, add a port there, and choose it in Morphony."
)


def working(rtmidi: Any, kind: str, client: str) -> Any:
    """Return rtmidi's MidiIn or MidiOut on the first MIDI system of this machine that answers, or None."""
    order = (rtmidi.API_UNIX_JACK, rtmidi.API_LINUX_ALSA, rtmidi.API_MACOSX_CORE, rtmidi.API_WINDOWS_MM)
    compiled = rtmidi.get_compiled_api()
    more = {"queue_size_limit": 65_536} if kind == "MidiIn" else {}
    for api in (api for api in order if api in compiled):
        with contextlib.suppress(rtmidi.RtMidiError):
            return getattr(rtmidi, kind)(rtapi=api, name=client, **more)
    return None


def nobody_answers(kind: str = "MidiOut") -> str:
    """Say that no MIDI system works here."""
    what = "No MIDI output" if kind == "MidiOut" else "No MIDI input"
    on_linux = sys.platform.startswith("linux")
    if on_linux:
        return f"{what}: neither JACK nor ALSA answers; start JACK, or load ALSA's part (sudo modprobe snd-seq)."
    return f"{what}: the system's MIDI does not answer; start the computer again."


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


class Device:
    """The port; subclasses send or listen. `look` now and then keeps it open."""

    KIND = "MidiOut"  # the class of rtmidi
    CLIENT = "Morphony"
    WORDS = "MIDI goes to “{}”."

    def __init__(self, pipe: Connection, name: str, is_virtual: bool) -> None:
        import rtmidi

        self._rtmidi, self._pipe, self._name, self._is_virtual = rtmidi, pipe, name, is_virtual
        self._midi: Any = None
        self._server: jack.Watch | None = None  # where the port is JACK's: a dead server raises nothing
        self._is_open = False
        self._told: tuple[Any, ...] = ()
        self._names: list[str] = []
        self._look_at = 0.0

    def look(self) -> None:
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
                self._tell(False, nobody_answers(self.KIND))
            elif self._is_virtual:
                self._open_virtual()
            else:
                self._open_named(names)
        except self._rtmidi.RtMidiError as error:
            self._lose()
            self._tell(False, f"The MIDI port “{self._name}” does not open: {str(error).rstrip('.')}.")

    def _begin(self) -> None:
        self._midi = working(self._rtmidi, self.KIND, self.CLIENT)
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
            self._midi.open_port(index, self.CLIENT)
            self._opened()
        if index is None:
            others = f" There is: {', '.join(names)}." if names else " There is no other port either."
            self._tell(False, f"There is no MIDI port “{self._name}” now; it is opened when it appears.{others}")

    def _opened(self) -> None:
        self._is_open = True
        time.sleep(SETTLE_SECONDS)
        self._tell(True, self.WORDS.format(self._name))

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


def begin(pipe: Connection, make: type[Device], *arguments: Any) -> Any:
    """Dress a fresh process for MIDI and return its device; None where the library does not load, the owner told."""
    be_quiet()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    raise_priority()
    try:
        return make(pipe, *arguments)
    except ImportError as error:
        with contextlib.suppress(OSError, EOFError):
            what = "output" if make.KIND == "MidiOut" else "input"
            pipe.send(("status", False, f"No MIDI {what}: the library python-rtmidi does not load ({error})."))
            pipe.recv()  # nothing to do until the owner ends
        return None


def raise_priority() -> None:
    """Ask to be served first, where the user may: without it the timing is good, with it better."""
    with contextlib.suppress(OSError, AttributeError):
        if sys.platform == "win32":
            import ctypes

            ctypes.windll.winmm.timeBeginPeriod(1)  # sleeps end within a millisecond instead of sixteen
            ctypes.windll.kernel32.SetPriorityClass(ctypes.windll.kernel32.GetCurrentProcess(), 0x80)  # high
        elif sys.platform == "darwin":
            os.nice(-10)
        else:
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))


def tell_names(pipe: Connection, kind: str) -> None:
    """Send the names of this machine's MIDI outputs or inputs, or the sentence that says why there are none."""
    be_quiet()
    try:
        import rtmidi
    except ImportError as error:
        pipe.send(f"No MIDI output: the library python-rtmidi does not load ({error}).")
        return
    midi = working(rtmidi, kind, Device.CLIENT)
    pipe.send(nobody_answers(kind) if midi is None else list(midi.get_ports() or []))


def be_quiet() -> None:
    """Leave Ctrl-C to the owner, start no JACK server, and print nothing: the status says it in a sentence."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["JACK_NO_START_SERVER"] = "1"
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
