"""Every key of the roll, described once: menus, the shortcut sheet and the tests are derived from this table.

Space, Enter, Home, End, undo and redo belong to the window around it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from app.roll import actions
from app.roll.state import RollState


@dataclass(frozen=True, slots=True)
class Shortcut:
    """One action: its name, keys as `QKeySequence` reads them, what it says, what it does."""

    name: str
    keys: tuple[str, ...]
    text: str
    group: str
    run: Callable[[RollState], None]


SHORTCUTS: Final = (
    Shortcut("select_all", ("Ctrl+A",), "Select all notes", "Select", actions.select_all),
    Shortcut("select_none", ("Esc",), "Select nothing", "Select", actions.select_none),
    Shortcut("next_note", ("Ctrl+Right",), "Next note", "Select", partial(actions.select_neighbour, by=1)),
    Shortcut("last_note", ("Ctrl+Left",), "Previous note", "Select", partial(actions.select_neighbour, by=-1)),
    Shortcut(
        "add_next",
        ("Ctrl+Shift+Right",),
        "Add the next note",
        "Select",
        partial(actions.select_neighbour, by=1, extend=True),
    ),
    Shortcut(
        "add_last",
        ("Ctrl+Shift+Left",),
        "Add the previous note",
        "Select",
        partial(actions.select_neighbour, by=-1, extend=True),
    ),
    Shortcut("cut", ("Ctrl+X",), "Cut", "Edit", actions.cut),
    Shortcut("copy", ("Ctrl+C",), "Copy", "Edit", actions.copy),
    Shortcut("paste", ("Ctrl+V",), "Paste at the playhead", "Edit", actions.paste),
    Shortcut("duplicate", ("Ctrl+D",), "Duplicate", "Edit", actions.duplicate),
    Shortcut("delete", ("Del", "Backspace"), "Delete", "Edit", actions.delete),
    Shortcut("insert", ("Ins",), "Insert a note at the playhead", "Edit", actions.insert),
    Shortcut("up", ("Up",), "Up a semitone", "Pitch", partial(actions.transpose, semitones=1)),
    Shortcut("down", ("Down",), "Down a semitone", "Pitch", partial(actions.transpose, semitones=-1)),
    Shortcut("octave_up", ("Shift+Up", "Ctrl+Up"), "Up an octave", "Pitch", partial(actions.transpose, semitones=12)),
    Shortcut(
        "octave_down", ("Shift+Down", "Ctrl+Down"), "Down an octave", "Pitch", partial(actions.transpose, semitones=-12)
    ),
    Shortcut("scale_up", ("Alt+Up",), "Up in the scale", "Pitch", partial(actions.transpose_in_scale, steps=1)),
    Shortcut("scale_down", ("Alt+Down",), "Down in the scale", "Pitch", partial(actions.transpose_in_scale, steps=-1)),
    Shortcut("later", ("Right",), "Later by a step", "Time", partial(actions.nudge, direction=1)),
    Shortcut("earlier", ("Left",), "Earlier by a step", "Time", partial(actions.nudge, direction=-1)),
    Shortcut("later_fine", ("Alt+Right",), "Later by a tick", "Time", partial(actions.nudge, direction=1, fine=True)),
    Shortcut(
        "earlier_fine", ("Alt+Left",), "Earlier by a tick", "Time", partial(actions.nudge, direction=-1, fine=True)
    ),
    Shortcut("longer", ("Shift+Right",), "Longer by a step", "Time", partial(actions.lengthen, direction=1)),
    Shortcut("shorter", ("Shift+Left",), "Shorter by a step", "Time", partial(actions.lengthen, direction=-1)),
    Shortcut("start_later", ("Alt+Shift+Right",), "Begin later", "Time", partial(actions.move_starts, direction=1)),
    Shortcut("start_earlier", ("Alt+Shift+Left",), "Begin earlier", "Time", partial(actions.move_starts, direction=-1)),
    Shortcut("quantise", ("Q",), "Quantise", "Time", actions.quantise),
    Shortcut("quantise_options", ("Shift+Q",), "Quantise options…", "Time", actions.quantise_options),
    Shortcut("louder", ("Alt+Shift+Up",), "Louder", "Velocity", partial(actions.louder, direction=1)),
    Shortcut("softer", ("Alt+Shift+Down",), "Softer", "Velocity", partial(actions.louder, direction=-1)),
    Shortcut("ramp", ("Alt+Shift+R",), "Ramp from first to last", "Velocity", actions.ramp_velocity),
    Shortcut("pencil", ("B",), "Pencil", "Tools", partial(actions.toggle, option="pencil")),
    Shortcut("snap", ("N",), "Snap to grid", "Tools", actions.toggle_snap),
    Shortcut(
        "ghosts",
        ("G",),
        "Ghost of the piece before the last change",
        "Tools",
        partial(actions.toggle, option="show_ghosts"),
    ),
    Shortcut("scale", ("K",), "Tint the rows of the scale", "Tools", partial(actions.toggle, option="show_scale")),
    Shortcut("track", ("T",), "Edit the next track only", "Tools", actions.next_track),
    Shortcut("mark_bars", ("M",), "Mark the bars of the selection", "Select", actions.mark_bars),
    Shortcut("bar_on", (".",), "Playhead to the next bar", "Go", partial(actions.move_playhead, bars=1)),
    Shortcut("bar_back", (",",), "Playhead to the last bar", "Go", partial(actions.move_playhead, bars=-1)),
    Shortcut("loop", ("L",), "Loop the selection", "Play", actions.loop_selection),
    Shortcut("follow", ("F",), "Follow the playhead", "Play", partial(actions.toggle, option="follow")),
    Shortcut("zoom_in", ("Ctrl++", "Ctrl+="), "Zoom in", "View", partial(actions.zoom, factor=1.25)),
    Shortcut("zoom_out", ("Ctrl+-",), "Zoom out", "View", partial(actions.zoom, factor=0.8)),
    Shortcut(
        "rows_higher", ("Ctrl+Shift++", "Ctrl+Shift+="), "Higher rows", "View", partial(actions.zoom_rows, factor=1.2)
    ),
    Shortcut(
        "rows_lower", ("Ctrl+Shift+-", "Ctrl+_"), "Lower rows", "View", partial(actions.zoom_rows, factor=1 / 1.2)
    ),
    Shortcut("zoom_fit", ("Ctrl+0",), "Show the whole piece", "View", RollState.zoom_to_fit),
    Shortcut("rows_up", ("Ctrl+PgUp",), "Scroll up", "View", partial(actions.scroll_rows, direction=-1)),
    Shortcut("rows_down", ("Ctrl+PgDown",), "Scroll down", "View", partial(actions.scroll_rows, direction=1)),
    Shortcut("page_left", ("PgUp",), "A page to the left", "View", partial(actions.page, direction=-1)),
    Shortcut("page_right", ("PgDown",), "A page to the right", "View", partial(actions.page, direction=1)),
)
