"""Everything the studio can be told to do, as data: name, words, keys, menu. Knows no widget and no engine.

The menus, the shortcut sheet (F1) and the palette (Ctrl+P) are made from this table.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verb:
    """One command. `keys` are Qt key sequences; the first is the one menus show."""

    name: str
    text: str
    keys: tuple[str, ...] = ()
    menu: str = ""
    checkable: bool = False
    line_before: bool = False


VERBS = (
    Verb("open", "Open…", ("Ctrl+O",), "File"),
    Verb("save", "Save project", ("Ctrl+S",), "File", line_before=True),
    Verb("save_as", "Save project as…", ("Ctrl+Shift+S",), "File"),
    Verb("export_midi", "Export .mid…", ("Ctrl+E",), "File", line_before=True),
    Verb("export_wav", "Export .wav…", ("Ctrl+Shift+E",), "File"),
    Verb("quit", "Quit", ("Ctrl+Q",), "File", line_before=True),
    Verb("undo", "Undo", ("Ctrl+Z",), "Edit"),
    Verb("redo", "Redo", ("Ctrl+Shift+Z", "Ctrl+Y"), "Edit"),
    Verb("vary", "Vary it", ("Ctrl+R",), "Edit", line_before=True),
    Verb("reset", "All sliders back", ("Ctrl+0",), "Edit"),
    Verb("play", "Play or pause", ("Space",), "Play"),
    Verb("stop", "Stop", ("Return", "Enter"), "Play"),
    Verb("to_start", "To the start", ("Home",), "Play"),
    Verb("to_end", "To the end", ("End",), "Play"),
    Verb("loop", "Loop the selection", ("L",), "Play", checkable=True, line_before=True),
    Verb("follow", "Follow the playhead", ("F",), "Play", checkable=True),
    Verb("panic", "All notes off", ("Ctrl+.", "Ctrl+Shift+P"), "Play", line_before=True),
    Verb("sliders", "Sliders", ("Ctrl+1",), "View", checkable=True),
    Verb("training", "Fine-tuning", ("Ctrl+2",), "View", checkable=True),
    Verb("theme", "Light theme", ("Ctrl+Shift+L",), "View", checkable=True, line_before=True),
    Verb("shortcuts", "Keys and gestures", ("F1",), "Help"),
    Verb("palette", "Find a command…", ("Ctrl+P",), "Help"),
)

MENUS = ("File", "Edit", "Play", "View", "Help")

GESTURES = {
    "Roll": (
        ("Draw a note", "Click with the pencil (B); drag for its length"),
        ("Select", "Drag on empty; Shift adds; Ctrl+A all"),
        ("Erase", "Right-drag, Del or Backspace"),
        ("Copy, cut, paste, duplicate", "Ctrl+C, Ctrl+X, Ctrl+V, Ctrl+D"),
        ("Transpose, by an octave, in the scale", "Up/Down, Shift+Up/Down, Alt+Up/Down"),
        ("Nudge, by one tick, lengthen", "Left/Right, Alt+Left/Right, Shift+Left/Right"),
        ("Quantise, snap on and off", "Q, N; Alt while dragging"),
        ("Zoom time, zoom pitch", "Ctrl+wheel, Ctrl+Shift+wheel"),
        ("Pan", "Wheel, Shift+wheel, middle-drag"),
        ("Choose bars, loop them", "Drag in the ruler, L"),
    ),
    "Sliders": (
        ("Move", "Drag, arrows, wheel once chosen; Page Up/Down by half a σ"),
        ("Back to the piece", "Double-click, 0 or Del"),
        ("Lock", "Click the lock"),
    ),
    "Files": (
        ("Open a song", "Drop a .mid or .morphony on the window"),
        ("Fine-tune", "Drop a folder on the window"),
    ),
}
