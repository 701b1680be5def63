"""Where sound fonts are: the user's, the system's, and last our own, so that sound never depends on a download."""

from __future__ import annotations

import os
import sys
from pathlib import Path

OWN = Path(__file__).resolve().parents[2] / "assets" / "sounds" / "morphony.sf2"
NAMES = (  # General MIDI fonts as the systems' packages install them, best first
    "default-GM.sf3",
    "default-GM.sf2",
    "FluidR3Mono_GM.sf3",
    "MuseScore_General_Lite.sf3",
    "MS Basic.sf3",
    "MuseScore_General.sf3",
    "FluidR3_GM.sf2",
    "TimGM6mb.sf2",
)
SMALL_BYTES = 16_000_000  # a plain .sf2 up to here loads in a tenth of a second


def folders() -> list[Path]:
    """Folders in which this system keeps sound fonts."""
    if sys.platform == "darwin":
        return [Path.home() / "Library/Audio/Sounds/Banks", Path("/Library/Audio/Sounds/Banks")]
    if sys.platform == "win32":
        return [Path(os.environ.get("PROGRAMDATA", "C:/ProgramData")) / "soundfonts"]
    places = [Path.home() / ".local/share", Path("/usr/local/share"), Path("/usr/share")]
    return [place / folder for place in places for folder in ("sounds/sf3", "sounds/sf2", "soundfonts")]


def system_font() -> Path | None:
    """The best font that the system's packages have installed."""
    found = (folder / name for name in NAMES for folder in folders())
    return next((path.resolve() for path in found if path.is_file()), None)  # "default" is a link, also to an .sf2


def wanted(user: Path | None) -> list[Path]:
    """Fonts to try before our own, in order: the user's, the system's. What is no sound font is left out."""
    return [path for path in (user, system_font()) if path and is_sound_font(path)]


def is_small(path: Path) -> bool:
    """True where loading takes no time to speak of; compressed fonts (.sf3) always take some."""
    return path.suffix.lower() == ".sf2" and path.stat().st_size <= SMALL_BYTES


def is_sound_font(path: Path) -> bool:
    """True where the file begins like one: RIFF, length, sfbk."""
    try:
        with path.open("rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return head[:4] == b"RIFF" and head[8:] == b"sfbk"
