"""Everything there is to do, for menus and for the palette: the verbs of the window and the keys of the roll, joined.

Both come from their tables; nothing is listed here a second time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu

from app.actions import VERBS
from app.roll.shortcuts import SHORTCUTS

OF_THE_WINDOW: Final = "Play"  # the roll's group whose keys and actions the window has itself
MENU_OF_GROUP: Final = {  # the roll's groups of keys -> the menu they stand in
    "Edit": "Edit",
    "Select": "Edit",
    "Tools": "Notes",
    "Pitch": "Notes",
    "Time": "Notes",
    "Velocity": "Notes",
    "Go": "Play",
    "View": "View",
}


@dataclass(frozen=True, slots=True)
class Command:
    """One line of the palette."""

    name: str
    text: str  # without the dots that promise a dialog
    key: str  # the first one, empty without
    action: QAction


def fill_menus(menus: Mapping[str, QMenu], action: Callable[[str], QAction]) -> None:
    """Put the roll's actions into the window's menus, each group after a line."""
    for group, menu in MENU_OF_GROUP.items():
        if menus[menu].actions():
            menus[menu].addSeparator()
        for shortcut in SHORTCUTS:
            if shortcut.group == group:
                menus[menu].addAction(action(shortcut.name))


def commands(window: Mapping[str, QAction], roll: Callable[[str], QAction]) -> Iterator[Command]:
    """Every command, in the order of its table."""
    for verb in VERBS:
        yield Command(verb.name, verb.text.rstrip("…"), verb.keys[0] if verb.keys else "", window[verb.name])
    for shortcut in SHORTCUTS:
        if shortcut.group != OF_THE_WINDOW:
            key = shortcut.keys[0] if shortcut.keys else ""
            yield Command(f"roll.{shortcut.name}", shortcut.text.rstrip("…"), key, roll(shortcut.name))
