"""Where Morphony starts: a subcommand in the terminal, or the studio when there is none.

Knows how a start can fail (no display, no Qt library) and says so in one sentence; knows nothing of music.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType

from app import cli
from app.cli import output
from engine.errors import MorphonyError

APT_LINE = (
    "On Debian or Ubuntu: sudo apt-get install libegl1 libxkbcommon-x11-0 libxcb-cursor0 libdbus-1-3 libfontconfig1"
)
X11_LIBRARIES = ("libxcb.so.1", "libxcb-cursor.so.0", "libxkbcommon-x11.so.0")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0, 1 (failed, one sentence said), 2 (usage)."""
    multiprocessing.freeze_support()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in cli.COMMANDS:
        signal.signal(signal.SIGTERM, _leave)
        return cli.run_command(arguments[0], arguments[1:])
    parser = cli.top_parser()
    name = parser.parse_args(arguments).file
    song = None if name is None else Path(name)
    if song and not song.exists() and not song.suffix:
        parser.error(cli.no_such("file or command", str(song), cli.COMMANDS))
    try:
        return _open_studio(song)
    except MorphonyError as error:
        output.say(str(error))
        return 1


def _leave(number: int, frame: FrameType | None) -> None:
    """End on SIGTERM the way an error ends: through every `finally`, so that notes go off and files are whole."""
    sys.exit(128 + number)


def _open_studio(song: Path | None) -> int:
    if song and not song.exists():
        raise MorphonyError(f"There is no file {song}.")
    problem = display_problem() if sys.platform.startswith("linux") else None
    if problem:
        raise MorphonyError(problem)
    sys.excepthook = _on_bug
    try:
        from app import studio
    except ImportError as error:
        if ".so" in str(error) or "DLL" in str(error):  # a system library that Qt needs, not a module of ours
            raise MorphonyError(f"The window cannot open: {error}. {APT_LINE}") from None
        raise
    return studio.main(song)


def _on_bug(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Keep the studio running after a mistake of ours: one sentence in the terminal, the details in a file."""
    if isinstance(error, Exception):
        output.say(output.keep_details(error))
    else:
        sys.__excepthook__(kind, error, trace)


def display_problem() -> str | None:
    """Why Qt could not open a window on this Linux session, or None. Qt itself would abort without a sentence."""
    platform = os.environ.get("QT_QPA_PLATFORM", "")
    if platform.partition(":")[0] not in ("", "xcb") or (not platform and os.environ.get("WAYLAND_DISPLAY")):
        return None  # offscreen, vnc and the like; Wayland
    display = os.environ.get("DISPLAY")
    if not display:
        return "There is no display to open a window on: DISPLAY is not set. The subcommands work without one."
    for library in X11_LIBRARIES:
        try:
            loaded = ctypes.CDLL(library)
        except OSError:
            return f"The window cannot open: {library} is missing. {APT_LINE}"
        if library == X11_LIBRARIES[0] and not _answers(loaded):
            return f"The display {display} does not answer, so no window can open. The subcommands work without one."
    return None


def _answers(xcb: ctypes.CDLL) -> bool:
    """True when an X server takes a connection with this session's DISPLAY and authority."""
    xcb.xcb_connect.restype = ctypes.c_void_p
    xcb.xcb_connection_has_error.argtypes = [ctypes.c_void_p]
    xcb.xcb_disconnect.argtypes = [ctypes.c_void_p]
    connection = xcb.xcb_connect(None, None)
    works = xcb.xcb_connection_has_error(connection) == 0
    xcb.xcb_disconnect(connection)
    return bool(works)


if __name__ == "__main__":
    sys.exit(main())
