"""FluidSynth as Morphony needs it: one synth, its fonts, its sequencer, an audio driver that is known to run.

Knows the C library through pyfluidsynth and turns its silent failures into sentences; knows nothing of scores.
"""

from __future__ import annotations

import contextlib
import ctypes
import ctypes.util
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app.sound import fonts, jack
from app.sound.ports import BEND, CONTROL, KEY_PRESSURE, NOTE_OFF, NOTE_ON, PRESSURE, PROGRAM, SYSEX
from engine.errors import MorphonyError

SAMPLE_RATE = 48_000
GAIN = 0.6  # a loud piano chord of ten notes stays below full scale
TICKS_PER_SECOND = 10_000  # of the sequencer
BLOCK_FRAMES = 64  # FluidSynth starts notes at multiples of this
ANY = -1

INSTALL = {
    "linux": "install it (Debian, Ubuntu: sudo apt-get install libfluidsynth3)",
    "darwin": "install it with Homebrew (brew install fluid-synth)",
    "win32": "put libfluidsynth-3.dll on the PATH (from the FluidSynth download for Windows)",
}
LIBRARIES = ("libfluidsynth.so.3", "libfluidsynth.so.2", "libfluidsynth.3.dylib", "libfluidsynth-3.dll")
DRIVERS: dict[str, tuple[str, ...]] = {
    "linux": ("jack", "pipewire", "pulseaudio", "alsa"),
    "darwin": ("coreaudio",),
    "win32": ("wasapi", "dsound", "waveout"),
}


def platform() -> str:
    """One of "linux" (any other Unix too), "darwin", "win32"."""
    return sys.platform if sys.platform in DRIVERS else "linux"


@cache
def library() -> Any:
    """The module `fluidsynth` with its C library loaded; raises MorphonyError where there is none."""
    find = ctypes.util.find_library
    ctypes.util.find_library = lambda name: _known_library() or find(name)  # type: ignore[assignment]  # put back below
    # On Windows pyfluidsynth adds the current folder to where DLLs are looked for; let it be one of our own.
    safe = contextlib.chdir(Path(__file__).parent) if sys.platform == "win32" else contextlib.nullcontext()
    try:
        with safe, contextlib.redirect_stdout(io.StringIO()):  # it tells what it found, where CI is set
            import fluidsynth
    except (ImportError, OSError, AttributeError):
        raise MorphonyError(f"No sound: the FluidSynth library is not there; {INSTALL[platform()]}.") from None
    finally:
        ctypes.util.find_library = find
    _bind(fluidsynth)
    return fluidsynth


def _known_library() -> str | None:
    """The library by its usual names, beside a bundled program first: quicker and surer than a search."""
    bundle = getattr(sys, "_MEIPASS", None)
    for name in [*(os.path.join(bundle, name) for name in LIBRARIES if bundle), *LIBRARIES]:
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return name
    return None


def _bind(fluidsynth: Any) -> None:
    """Bind what the C library exports and pyfluidsynth leaves out; keep its log off the terminal."""
    pointer, number, short, none = ctypes.c_void_p, ctypes.c_int, ctypes.c_short, None

    def bind(name: str, result: Any, *types: Any) -> None:
        arguments = [(f"a{i}", kind, 1) for i, kind in enumerate(types)]
        setattr(fluidsynth, name, fluidsynth.cfunc(name, result, *arguments))

    bind("fluid_sequencer_remove_events", none, pointer, short, short, number)
    bind("fluid_event_control_change", none, pointer, number, short, number)
    bind("fluid_event_program_change", none, pointer, number, number)
    bind("fluid_event_pitch_bend", none, pointer, number, number)
    bind("fluid_event_channel_pressure", none, pointer, number, number)
    bind("fluid_event_key_pressure", none, pointer, number, short, number)
    bind("fluid_synth_channel_pressure", number, pointer, number, number)
    bind("fluid_synth_key_pressure", number, pointer, number, number, number)
    bind("fluid_synth_write_float", number, pointer, number, pointer, number, number, pointer, number, number)
    bind("fluid_set_log_function", pointer, number, pointer, pointer)
    for level in range(5):
        fluidsynth.fluid_set_log_function(level, None, None)
    with contextlib.suppress(OSError, AttributeError):  # ALSA has a log of its own
        ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(jack.say_nothing())


class Fluid:
    """A synth with one or more fonts, the last one preferred. `open_driver` makes it heard; `render` needs none."""

    def __init__(self, gain: float = GAIN, on_demand: bool = False) -> None:
        self._lib = library()
        settings = {
            "synth.lock-memory": 0,
            "synth.polyphony": 256,
            "synth.dynamic-sample-loading": int(on_demand),  # load samples when a program asks for them
            "audio.period-size": 512 if platform() == "linux" else 64,
            "audio.jack.id": "Morphony Synth",
            "audio.jack.autoconnect": 1,
        }
        self._synth = self._lib.Synth(gain=float(gain), samplerate=float(SAMPLE_RATE), channels=16, **settings)
        self._sequencer = self._lib.Sequencer(time_scale=TICKS_PER_SECOND, use_system_timer=False)
        self._id = self._sequencer.register_fluidsynth(self._synth)
        self._event = self._lib.new_fluid_event()
        self._lib.fluid_event_set_source(self._event, ANY)
        self._lib.fluid_event_set_dest(self._event, self._id)
        self._driver: Any = None
        self.driver_name = ""
        self.font_name = ""

    @classmethod
    def with_fonts(cls, wanted: Sequence[Path], gain: float) -> Fluid:
        """A synth with our own font and, on top of it, the first of the wanted ones that loads."""
        fluid = cls(gain, on_demand=not all(map(fonts.is_small, wanted)))
        own = fluid.load(fonts.OWN)
        if not any(fluid.load(path) for path in wanted) and not own:
            fluid.close()
            raise MorphonyError(
                "No sound: there is no sound font, not even our own; install Morphony again, or any General MIDI font."
            )
        return fluid

    def load(self, font: Path) -> bool:
        """Load a font on top of those there; False when the file is not a sound font."""
        if not fonts.is_sound_font(font) or self._synth.sfload(str(font), 1) == self._lib.FLUID_FAILED:
            return False
        self.font_name = font.name
        return True

    def open_driver(self, names: Sequence[str]) -> bool:
        """Open the first audio driver that really runs."""
        for name in names:
            if name == "jack" and not jack.server_runs():
                continue
            self._synth.setting("audio.driver", name)
            self._driver = self._lib.new_fluid_audio_driver(self._synth.settings, self._synth.synth)
            if self._driver:
                self.driver_name = name
                return True
        return False

    def close(self) -> None:
        """Stop the audio thread and free everything."""
        if self._driver:
            self._lib.delete_fluid_audio_driver(self._driver)
        self._lib.delete_fluid_event(self._event)
        self._sequencer.delete()
        self._synth.delete()

    # ------------------------------------------------------------ messages

    def tick(self) -> int:
        """The sequencer's time, which is the number of frames played so far; moves on in whole audio periods."""
        return int(self._sequencer.get_tick())

    def schedule(self, tick: int, message: bytes) -> None:
        """Have one message carried out by the audio thread at a tick of the sequencer; at once when it is past."""
        if message[0] == SYSEX:
            return
        kind, channel, data = message[0] & 0xF0, message[0] & 0x0F, message[1:]
        lib, event = self._lib, self._event
        fill: dict[int, Callable[[], Any]] = {
            NOTE_OFF: lambda: lib.fluid_event_noteoff(event, channel, data[0]),
            NOTE_ON: lambda: lib.fluid_event_noteon(event, channel, data[0], data[1]),
            KEY_PRESSURE: lambda: lib.fluid_event_key_pressure(event, channel, data[0], data[1]),
            CONTROL: lambda: lib.fluid_event_control_change(event, channel, data[0], data[1]),
            PROGRAM: lambda: lib.fluid_event_program_change(event, channel, data[0]),
            PRESSURE: lambda: lib.fluid_event_channel_pressure(event, channel, data[0]),
            BEND: lambda: lib.fluid_event_pitch_bend(event, channel, data[0] | data[1] << 7),
        }
        fill[kind]()
        lib.fluid_sequencer_send_at(self._sequencer.sequencer, event, max(tick, 0), 1)

    def apply(self, message: bytes) -> None:
        """Carry out one message now."""
        if message[0] == SYSEX:
            return
        kind, channel, data, synth = message[0] & 0xF0, message[0] & 0x0F, message[1:], self._synth
        do: dict[int, Callable[[], Any]] = {
            NOTE_OFF: lambda: synth.noteoff(channel, data[0]),
            NOTE_ON: lambda: synth.noteon(channel, data[0], data[1]),
            KEY_PRESSURE: lambda: self._lib.fluid_synth_key_pressure(synth.synth, channel, data[0], data[1]),
            CONTROL: lambda: synth.cc(channel, data[0], data[1]),
            PROGRAM: lambda: synth.program_change(channel, data[0]),
            PRESSURE: lambda: self._lib.fluid_synth_channel_pressure(synth.synth, channel, data[0]),
            BEND: lambda: synth.pitch_bend(channel, (data[0] | data[1] << 7) - 8192),
        }
        do[kind]()

    def forget(self) -> None:
        """Take everything scheduled out of the sequencer."""
        self._lib.fluid_sequencer_remove_events(self._sequencer.sequencer, ANY, ANY, ANY)

    def release_all(self) -> None:
        """End every note as if its key were let go, and raise the pedals."""
        self._synth.all_notes_off(ANY)
        for channel in range(16):
            for pedal in (64, 66):  # sustain, sostenuto
                self._synth.cc(channel, pedal, 0)

    def cut_all(self) -> None:
        """End every sound at once."""
        self._synth.all_sounds_off(ANY)

    def active_voices(self) -> int:
        """How many voices sound, dying ones included."""
        return int(self._synth.get_active_voice_count())

    # ------------------------------------------------------------ without a driver

    def render(self, frames: int, block: int = 8192) -> Iterator[NDArray[np.float32]]:
        """Yield the next frames of sound as (n, 2) blocks, n <= `block`; full scale is 1."""
        for start in range(0, frames, block):
            n = min(block, frames - start)
            sound = np.empty((n, 2), np.float32)
            at = sound.ctypes.data
            self._lib.fluid_synth_write_float(self._synth.synth, n, at, 0, 2, at, 1, 2)
            yield sound
