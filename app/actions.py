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
    Verb("copy_file", "Copy as .mid file", ("Ctrl+Shift+C",), "File"),
    Verb("quit", "Quit", ("Ctrl+Q",), "File", line_before=True),
    Verb("undo", "Undo", ("Ctrl+Z",), "Edit"),
    Verb("redo", "Redo", ("Ctrl+Shift+Z", "Ctrl+Y"), "Edit"),
    Verb("vary", "Vary it", ("Ctrl+R",), "Edit", line_before=True),
    Verb("reset", "All sliders back", ("Ctrl+Shift+R",), "Edit"),
    Verb("add_track", "Add a track", ("Ctrl+T",), "Edit", line_before=True),
    Verb("tempo", "Change tempo…", ("Ctrl+Shift+T",), "Edit"),
    Verb("meter", "Change meter…", ("Ctrl+Shift+M",), "Edit"),
    Verb("regenerate", "Regenerate the selection", ("R",), "Make"),
    Verb("variation", "Vary the selection or the piece", ("V",), "Make"),
    Verb("continue", "Continue after the last bar", ("C",), "Make"),
    Verb("transfer", "In the manner of a file…", ("Ctrl+M",), "Make"),
    Verb("new_piece", "New piece…", ("Ctrl+N",), "Make"),
    Verb("lock_notes", "Lock or unlock the selected notes", ("Ctrl+L",), "Make", line_before=True),
    Verb("accept", "Accept the proposal", ("Return", "Enter"), "Make", line_before=True),
    Verb("reject", "Reject the proposal", ("Esc",), "Make"),
    Verb("next_proposal", "Next proposal", ("N",), "Make"),
    Verb("last_proposal", "Previous proposal", ("Shift+N",), "Make"),
    Verb("keep_take", "Keep this as a take", ("Ctrl+K",), "Takes"),
    Verb("take_1", "Take A", ("1",), "Takes", line_before=True),
    Verb("take_2", "Take B", ("2",), "Takes"),
    Verb("take_3", "Take C", ("3",), "Takes"),
    Verb("take_4", "Take D", ("4",), "Takes"),
    Verb("grid", "Nine variations", ("Ctrl+G",), "Takes", line_before=True),
    Verb("play", "Play or pause", ("Space",), "Play"),
    Verb("stop", "Stop", ("Return", "Enter"), "Play"),
    Verb("to_start", "To the start", ("Home",), "Play"),
    Verb("to_end", "To the end", ("End",), "Play"),
    Verb("loop", "Loop the selection", ("L",), "Play", checkable=True, line_before=True),
    Verb("follow", "Follow the playhead", ("F",), "Play", checkable=True),
    Verb("record", "Record what is played in", ("Shift+R",), "Play", checkable=True),
    Verb("panic", "All notes off", ("Ctrl+.", "Ctrl+Shift+P"), "Play", line_before=True),
    Verb("sliders", "Sliders", ("Ctrl+1",), "View", checkable=True),
    Verb("training", "Fine-tuning", ("Ctrl+2",), "View", checkable=True),
    Verb("tracks", "Tracks", ("Ctrl+4",), "View", checkable=True),
    Verb("events", "Events", ("Ctrl+5",), "View", checkable=True),
    Verb("takes", "Takes", ("Ctrl+3",), "View", checkable=True),
    Verb("pad", "Morph pad", ("Ctrl+6",), "View", checkable=True),
    Verb("lanes", "Latent lane", ("Ctrl+7",), "View", checkable=True),
    Verb("limits", "What may sound", ("Ctrl+8",), "View", checkable=True),
    Verb("live", "Live", ("Ctrl+9",), "View", checkable=True),
    Verb("theme", "Light theme", ("Ctrl+Shift+L",), "View", checkable=True, line_before=True),
    Verb("shortcuts", "Keys and gestures", ("F1",), "Help"),
    Verb("palette", "Find a command…", ("Ctrl+P",), "Help"),
    Verb("about", "About Morphony", (), "Help", line_before=True),
)

MENUS = ("File", "Edit", "Notes", "Make", "Takes", "Play", "View", "Help")

GESTURES = {
    "Mouse": (
        ("Draw a note, its length", "Click with the pencil, drag"),
        ("Select, add", "Drag on empty, Shift+drag"),
        ("Copy, erase", "Ctrl+drag, right-drag"),
        ("Move, without snapping", "Drag, Alt+drag"),
        ("Change length", "Drag an edge of a note"),
        ("Velocity, a straight ramp", "Drag in the lane, Shift+drag"),
        ("Velocity of a note", "Wheel on a chosen one, Alt+wheel"),
        ("Move the playhead", "Click in the ruler"),
        ("Zoom time, zoom pitch", "Ctrl+wheel, Ctrl+Shift+wheel"),
        ("Scroll, pan", "Wheel, Shift+wheel, middle-drag"),
        ("Choose bars", "Drag in the ruler"),
        ("Slider: move", "Drag, arrows, wheel once chosen"),
        ("Slider: back, lock", "Double-click or 0, click the lock"),
        ("Into another program", "Drag the handle in the transport"),
        ("Open a song, fine-tune", "Drop a .mid, drop a folder"),
    ),
}
