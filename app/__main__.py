"""Where Morphony starts: a subcommand in the terminal, or the studio when there is none.

Knows how a start can fail (no display, no Qt library) and says so in one sentence; knows nothing of music.
"""

from __future__ import annotations

import ctypes
import importlib.util
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

QT_PACKAGES = (
    "libegl1 libgl1 libxkbcommon-x11-0 libxcb-cursor0 libxcb-icccm4 libxcb-keysyms1 libxcb-shape0 "
    "libdbus-1-3 libfontconfig1"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line and return its exit code: 0, 1 (failed, one sentence said), 2 (usage)."""
    multiprocessing.freeze_support()
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments == ["--self-test"]:
        from app import self_test

        return self_test.main()
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
            raise MorphonyError(_missing_library(error)) from None
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
        return "There is no display to open a window on (DISPLAY is not set); the subcommands work without one."
    try:
        qt = importlib.util.find_spec("PySide6")
        if qt and qt.origin and (plugin := Path(qt.origin).parent / "Qt/plugins/platforms/libqxcb.so").exists():
            ctypes.CDLL(str(plugin))
        answers = _answers(ctypes.CDLL("libxcb.so.1"))
    except OSError as error:
        return _missing_library(error)
    if not answers:
        return f"The display {display} does not answer, so no window can open; the subcommands work without one."
    return None


def _missing_library(error: Exception) -> str:
    reason = str(error).replace("cannot open shared object file: No such file or directory", "not found")
    return f"The window cannot open ({reason}). On Debian or Ubuntu: sudo apt-get install {QT_PACKAGES}"


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
