"""The machine around Morphony: which system libraries are missing, and the line that gets them.

Standard library only, any Python from 3.9 on. Knows nothing of Python packages; asks the loader and PATH, never a
package database, so that any distribution's way of providing a library counts.
"""

import ctypes
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple, Optional


class SetupError(Exception):
    """Why the set-up cannot go on: its text is one clear sentence, with the line to type where there is one."""


class Need(NamedTuple):
    """A library (by the name the loader knows) or a program, and the packages that bring it."""

    name: str
    packages: dict[str, str]  # by package manager


def _need(name: str, apt: str, dnf: str, pacman: str, brew: str = "") -> Need:
    return Need(name, {"apt-get": apt, "dnf": dnf, "pacman": pacman, "brew": brew})


WINDOW = (
    _need("libEGL.so.1", "libegl1", "libglvnd-egl", "libglvnd"),
    _need("libGL.so.1", "libgl1", "libglvnd-glx", "libglvnd"),
    _need("libxkbcommon-x11.so.0", "libxkbcommon-x11-0", "libxkbcommon-x11", "libxkbcommon-x11"),
    _need("libxcb-cursor.so.0", "libxcb-cursor0", "xcb-util-cursor", "xcb-util-cursor"),
    _need("libxcb-icccm.so.4", "libxcb-icccm4", "xcb-util-wm", "xcb-util-wm"),
    _need("libxcb-keysyms.so.1", "libxcb-keysyms1", "xcb-util-keysyms", "xcb-util-keysyms"),
    _need("libxcb-shape.so.0", "libxcb-shape0", "libxcb", "libxcb"),
    _need("libdbus-1.so.3", "libdbus-1-3", "dbus-libs", "dbus"),
    _need("libfontconfig.so.1", "libfontconfig1", "fontconfig", "fontconfig"),
)
# Debian's libfluidsynth3 wants a General MIDI font beside it, and takes one under the GPL unless another is named
SYNTH = (_need("libfluidsynth.so.3", "libfluidsynth3 fluidr3mono-gm-soundfont", "fluidsynth-libs", "fluidsynth"),)
TESTS = (
    _need("jackd", "jackd2", "jack-audio-connection-kit", "jack2"),
    _need("Xvfb", "xvfb", "xorg-x11-server-Xvfb", "xorg-server-xvfb"),
    _need("xdotool", "xdotool", "xdotool", "xdotool"),
)
MAC_SYNTH = (_need("libfluidsynth.3.dylib", "", "", "", "fluid-synth"),)
INSTALL = {  # without what a package merely recommends
    "apt-get": "apt-get install -y --no-install-recommends",
    "dnf": "dnf install -y --setopt=install_weak_deps=False",
    "pacman": "pacman -S --needed --noconfirm",
    "brew": "brew install",
}


def say(sentence: str) -> None:
    """Write one line on stderr."""
    print(sentence, file=sys.stderr, flush=True)


def needs(tests: bool) -> tuple[Need, ...]:
    """What this kind of system has to bring."""
    of_system = {"Linux": WINDOW + SYNTH + (TESTS if tests else ()), "Darwin": MAC_SYNTH}
    return of_system.get(platform.system(), ())


def missing(wanted: Sequence[Need]) -> list[Need]:
    """The needs that neither the loader nor PATH can meet."""
    return [need for need in wanted if not _is_there(need.name)]


def _is_there(name: str) -> bool:
    if ".so" not in name and ".dylib" not in name:
        return shutil.which(name) is not None
    places = [name] if ".so" in name else [name, "/opt/homebrew/lib/" + name, "/usr/local/lib/" + name]
    for place in places:
        try:
            ctypes.CDLL(place)
        except OSError:
            continue
        return True
    return False


def manager() -> Optional[str]:
    """The package manager of this system, or None."""
    return next((name for name in INSTALL if shutil.which(name)), None)


def line_to_type(names: list[str], tool: Optional[str]) -> str:
    """The one line that installs these packages, as a person types it."""
    if tool is None:
        return "your system's package manager: " + " ".join(names)
    quiet = INSTALL[tool].replace(" -y", "").replace(" --noconfirm", "")
    return ("" if tool == "brew" else "sudo ") + quiet + " " + " ".join(names)


def packages(wanted: Sequence[Need], tool: str = "apt-get") -> list[str]:
    """What brings these needs, by the names of one package manager."""
    return [name for need in wanted for name in (need.packages.get(tool) or need.name).split()]


def what_to_type(wanted: Sequence[Need]) -> str:
    """One sentence that names what is missing and the line that gets it."""
    tool = manager()
    names = ", ".join(need.name for need in wanted)
    return f"Missing on this system: {names}. To get it: {line_to_type(packages(wanted, tool or ''), tool)}"


def install_by_apt(names: list[str]) -> bool:
    """Install through apt-get where that needs no password; True when all of them went in."""
    rights = _rights()
    if rights is None or not shutil.which("apt-get"):
        return False
    say(f"Installing from the system's packages: {' '.join(names)}.")
    install = rights + INSTALL["apt-get"].split() + names
    return _quiet(install) or (_quiet([*rights, "apt-get", "update"]) and _quiet(install))


def _rights() -> Optional[list[str]]:
    """What goes before a command that only root may give: nothing, sudo, or None when it would ask for a password."""
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        return []
    return ["sudo", "-n"] if shutil.which("sudo") and _quiet(["sudo", "-n", "true"]) else None


def _quiet(command: list[str]) -> bool:
    environment = dict(os.environ, DEBIAN_FRONTEND="noninteractive")
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return done.returncode == 0
