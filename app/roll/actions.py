"""What a key or a menu does in the roll: small functions of its state. Knows no widget, key or menu."""

from __future__ import annotations

import numpy as np

from app.roll.index import NOBODY
from app.roll.snap import Snap
from app.roll.state import RollState
from engine.score import edit
from engine.score.edit import Edited
from engine.score.score import make_notes

VELOCITY_STEP = 4


def select_all(roll: RollState) -> None:
    """Select every note that can be edited."""
    roll.select(roll.editable(np.arange(len(roll.index), dtype=np.intp)))


def select_none(roll: RollState) -> None:
    """Let go of notes and bars."""
    roll.select(NOBODY)
    roll.select_bars(None)


def select_neighbour(roll: RollState, by: int, extend: bool = False) -> None:
    """Go to the next (1) or last (-1) note in time; with nothing selected, to the one nearest the playhead."""
    rows = roll.editable(np.arange(len(roll.index), dtype=np.intp))
    if not len(rows):
        return
    if len(roll.selection):
        edge = roll.selection[-1] if by > 0 else roll.selection[0]
        place = int(np.searchsorted(rows, edge)) + by
    else:
        place = int(np.searchsorted(roll.index.tick[rows], roll.playhead)) - (by < 0)
    row = rows[[int(np.clip(place, 0, len(rows) - 1))]]
    roll.select(np.union1d(roll.selection, row) if extend else row)
    roll.show_rows(row)
    _hear(roll)


def delete(roll: RollState) -> None:
    """Delete the selected notes."""
    if len(roll.selection):
        roll.edit(Edited(edit.delete(roll.score, roll.selection), NOBODY), "Delete notes")


def copy(roll: RollState) -> None:
    """Put the selected notes on the clipboard."""
    if len(roll.selection):
        roll.clip = edit.copy(roll.score, roll.selection)


def cut(roll: RollState) -> None:
    """Copy, then delete."""
    copy(roll)
    delete(roll)


def paste(roll: RollState) -> None:
    """Insert the clipboard at the playhead."""
    if roll.clip is not None and len(roll.clip.notes):
        tick = roll.snap.snapped(roll.playhead, roll.grid, roll.view.px_per_tick)
        roll.edit(edit.paste(roll.score, roll.clip, tick, roll.track), "Paste notes")
        roll.show_rows(roll.selection)


def duplicate(roll: RollState) -> None:
    """Repeat the selection right after itself, at a distance of whole steps."""
    if not len(roll.selection):
        return
    notes = roll.score.notes[roll.selection]
    start = int(notes["tick"].min())
    span = int((notes["tick"] + notes["duration"]).max()) - start
    step = roll.step(start)
    distance = (
        max(round(np.ceil(span / step - 0.25)), 1) * step
    )  # a note held a little over the step counts as the step
    roll.edit(edit.duplicate(roll.score, roll.selection, distance), "Duplicate notes")
    roll.show_rows(roll.selection)


def transpose(roll: RollState, semitones: int) -> None:
    """Move up or down; a group that would leave the range stays."""
    roll.edit(edit.transpose(roll.score, roll.selection, semitones), "Transpose notes")
    roll.show_rows(roll.selection)
    _hear(roll)


def transpose_in_scale(roll: RollState, steps: int) -> None:
    """Move by steps of the scale the song moves in."""
    classes = roll.scale.pitch_classes if roll.scale else frozenset(range(12))
    roll.edit(edit.transpose_in_scale(roll.score, roll.selection, steps, classes), "Transpose in scale")
    roll.show_rows(roll.selection)
    _hear(roll)


def nudge(roll: RollState, direction: int, fine: bool = False) -> None:
    """Move by one step, or by one tick."""
    ticks = direction * (1 if fine else roll.step(_first_tick(roll)))
    roll.edit(edit.move(roll.score, roll.selection, ticks), "Nudge notes")
    roll.show_rows(roll.selection)


def lengthen(roll: RollState, direction: int) -> None:
    """Make notes longer or shorter by one step; never shorter than an eighth of one."""
    step = roll.step(_first_tick(roll))
    roll.edit(
        edit.resize(roll.score, roll.selection, direction * step, minimum=max(step // 8, 1)), "Change note lengths"
    )


def louder(roll: RollState, direction: int) -> None:
    """Change the velocity of the selected notes."""
    roll.edit(edit.shift_velocity(roll.score, roll.selection, direction * VELOCITY_STEP), "Change velocity")
    _hear(roll)


def quantise(roll: RollState) -> None:
    """Pull onsets to the grid, as was chosen last: those of the selection, or of all notes."""
    rows = roll.selection if len(roll.selection) else roll.editable(np.arange(len(roll.index), dtype=np.intp))
    chosen, was_empty, how = rows, not len(roll.selection), roll.quantising
    snap = Snap(how.division or roll.snap.division)
    step = snap.step(roll.grid, roll.view.px_per_tick, _first_tick(roll))
    edited = edit.quantise(roll.score, chosen, roll.grid, step, how.strength, how.swing, how.ends)
    roll.edit(Edited(edited.score, NOBODY) if was_empty else edited, "Quantise notes")


def quantise_options(roll: RollState) -> None:
    """Ask how to quantise; the window opens the panel."""
    roll.quantising_requested.emit()


def move_starts(roll: RollState, direction: int) -> None:
    """Let notes begin a step later or earlier and end where they did."""
    step = roll.step(_first_tick(roll))
    edited = edit.resize(roll.score, roll.selection, direction * step, "start", minimum=max(step // 8, 1))
    roll.edit(edited, "Change note lengths")


def ramp_velocity(roll: RollState) -> None:
    """Let velocities run evenly from the first selected note to the last."""
    roll.edit(edit.ramp_velocity(roll.score, roll.selection), "Ramp velocities")


def move_playhead(roll: RollState, bars: int) -> None:
    """Go to the next bar line, or to the one before the playhead."""
    grid, here = roll.grid, roll.playhead
    bar = int(grid.bar_of(here))
    wanted = bar + bars if bars > 0 or here <= grid.starts[bar] else bar
    roll.seek_requested.emit(int(grid.starts[max(min(wanted, len(grid) - 1), 0)]))


def insert(roll: RollState) -> None:
    """Write a note at the playhead, at the pitch last pointed at or selected, and step on: note entry by keys."""
    tick = roll.snap.snapped(roll.playhead, roll.grid, roll.view.px_per_tick)
    step = roll.step(tick)
    pitch = int(roll.index.pitch[roll.selection[-1]]) if len(roll.selection) else 60
    note = make_notes([(tick, round(roll.pen_length) or step, pitch, roll.pen_velocity, roll.pen_track)])
    roll.edit(edit.insert(roll.score, note), "Insert note")
    roll.show_rows(roll.selection)
    _hear(roll)
    roll.seek_requested.emit(tick + step)


def toggle(roll: RollState, option: str) -> None:
    """Turn pencil, show_ghosts, show_scale or follow on or off."""
    roll.set_option(**{option: not getattr(roll, option)})


def toggle_snap(roll: RollState) -> None:
    """Snap or not."""
    roll.set_snap(on=not roll.snap.on)


def next_track(roll: RollState, by: int = 1) -> None:
    """Edit one track after another, then all again."""
    choices: list[int | None] = [None, *range(len(roll.score.tracks))]
    roll.set_option(track=choices[(choices.index(roll.track) + by) % len(choices)])


def loop_selection(roll: RollState) -> None:
    """Loop the marked bars, else the bars of the selected notes; a loop that is already so ends."""
    bars = roll.bars if roll.bars is not None else _bars_of_selection(roll)
    wanted = None if bars is None else (int(roll.grid.starts[bars.start]), int(roll.grid.starts[bars.stop]))
    roll.request_loop(None if wanted == roll.loop else wanted)


def mark_bars(roll: RollState) -> None:
    """Mark the bars of the selected notes; with nothing selected, or once more, let the bars go."""
    bars = _bars_of_selection(roll)
    roll.select_bars(None if bars == roll.bars else bars)


def zoom(roll: RollState, factor: float) -> None:
    """Zoom in time about the playhead if it is in sight, else about the middle."""
    x = roll.view.x_of(roll.playhead)
    roll.look(roll.view.zoomed(factor, x if 0 <= x <= roll.view.width else roll.view.width / 2))


def zoom_rows(roll: RollState, factor: float) -> None:
    """Make rows higher or lower."""
    roll.look(roll.view.stretched(factor, roll.view.height / 2))


def page(roll: RollState, direction: int) -> None:
    """Scroll by most of a page."""
    roll.look(roll.view.scrolled(direction * roll.view.width * 0.8))


def scroll_rows(roll: RollState, direction: int) -> None:
    """Scroll by half a page up (-1) or down (1)."""
    roll.look(roll.view.scrolled(0, direction * roll.view.height / 2))


def _bars_of_selection(roll: RollState) -> range | None:
    if not len(roll.selection):
        return None
    ends = (roll.index.tick[roll.selection].min(), max(roll.index.end[roll.selection].max() - 1, 0))
    first, last = (int(bar) for bar in roll.grid.bar_of(ends))
    return range(first, max(first, last) + 1)


def _first_tick(roll: RollState) -> float:
    return float(roll.index.tick[roll.selection].min()) if len(roll.selection) else roll.playhead


def _hear(roll: RollState) -> None:
    """Sound the selected note; a group stays silent but for a chord that begins at once."""
    rows = roll.selection
    if not 0 < len(rows) <= 8 or np.ptp(roll.index.tick[rows]) > 0:
        return
    for row in rows:
        roll.auditioned.emit(int(roll.index.pitch[row]), int(roll.index.velocity[row]), int(roll.index.track[row]))
