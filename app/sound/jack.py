"""Whether a JACK server runs, and when it ends. Asks the JACK library itself, which FluidSynth and rtmidi do not.

Knows no audio and no MIDI: a client that has no ports.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import sys
from functools import cache
from typing import Any

NO_START_SERVER = 1  # option of jack_client_open
Shutdown = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def say_nothing() -> ctypes.c_void_p:
    """A C function for libraries that want to print a text: it takes one and does nothing with it."""
    return ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p)


@cache
def library() -> Any:
    """The JACK library with its messages silenced, or None."""
    name = ctypes.util.find_library("jack") if sys.platform.startswith("linux") else None
    if not name:
        return None
    try:
        jack = ctypes.CDLL(name)
        jack.jack_set_error_function(say_nothing())
        jack.jack_set_info_function(say_nothing())
        jack.jack_client_open.restype = ctypes.c_void_p
        jack.jack_client_open.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p]
        jack.jack_client_close.argtypes = [ctypes.c_void_p]
        jack.jack_on_shutdown.argtypes = [ctypes.c_void_p, Shutdown, ctypes.c_void_p]
        jack.jack_activate.argtypes = [ctypes.c_void_p]
    except (OSError, AttributeError):
        return None
    return jack


class Watch:
    """A client that does nothing but notice the end of its server."""

    def __init__(self, name: str = "Morphony watch") -> None:
        self._jack = library()
        self.has_ended = False
        self._notice = Shutdown(self._end)  # kept alive as long as JACK may call it
        self._client = self._jack and self._jack.jack_client_open(name.encode(), NO_START_SERVER, None)
        if self._client:
            self._jack.jack_on_shutdown(self._client, self._notice, None)
            self._jack.jack_activate(self._client)

    @property
    def found(self) -> bool:
        """True when there was a server to watch."""
        return bool(self._client)

    def close(self) -> None:
        """Leave the server."""
        if self._client:
            self._jack.jack_client_close(self._client)
            self._client = None

    def _end(self, _: object) -> None:
        self.has_ended = True


def server_runs() -> bool:
    """True when a JACK server answers; never starts one."""
    watch = Watch("Morphony look")
    found = watch.found
    watch.close()
    return found
