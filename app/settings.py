"""What the studio remembers between starts: one INI file in the user's configuration folder.

Knows names, types and defaults, nothing of the widgets that ask.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final, TypeVar

from platformdirs import user_config_path
from PySide6.QtCore import QByteArray, QSettings

T = TypeVar("T", str, int, float, bool)

DEFAULTS: Final[dict[str, str | int | float | bool]] = {
    "theme": "dark",
    "folder": "",  # where the last file dialog was
    "midi_port": "",  # name of the output port; empty is the virtual port
    "midi_in": "",  # name of the input port; "*" is one of our own, empty none
    "sync": False,  # follow the MIDI clock that comes in
    "clock_out": False,  # send the MIDI clock with the notes
    "metronome": False,
    "count_in": 0,  # bars of clicks before playing
    "cc_out": False,  # slider moves go out as controllers
    "knobs": "",  # learned controllers, as JSON
    "start_strip": True,  # the three first actions are shown
    "follow": True,
    "takes_offered": False,  # the dock of takes has opened by itself once
    "step_seconds": 0.6,  # what one fine-tuning step took last time, for the estimate
}


def default_path() -> Path:
    """The INI file of the person at the computer."""
    return user_config_path("morphony", appauthor=False) / "studio.ini"


class Settings:
    """Typed access to the INI file; an unknown name is an error, a damaged value is its default."""

    def __init__(self, path: Path | None = None) -> None:
        self._store = QSettings(str(path or default_path()), QSettings.Format.IniFormat)

    def get(self, name: str, kind: type[T]) -> T:
        """The remembered value of `name` as `kind`, or its default."""
        default = DEFAULTS[name]
        try:
            value = self._store.value(name, default, type=kind)
        except (TypeError, ValueError):
            value = default
        return value if isinstance(value, kind) else kind(str(value))

    def set(self, name: str, value: str | int | float | bool) -> None:
        """Remember `value`; it must be of the default's type."""
        if type(value) is not type(DEFAULTS[name]):
            raise TypeError(f"setting {name} is a {type(DEFAULTS[name]).__name__}, not a {type(value).__name__}")
        self._store.setValue(name, value)

    def bytes(self, name: str) -> QByteArray:
        """A remembered window state; empty when there is none."""
        value = self._store.value(f"window/{name}")
        return value if isinstance(value, QByteArray) else QByteArray()

    def set_bytes(self, name: str, value: QByteArray) -> None:
        """Remember a window state."""
        self._store.setValue(f"window/{name}", value)

    def sync(self) -> None:
        """Write the file now."""
        self._store.sync()
