"""What the piano roll shows and where its hand is: the model behind the widgets of the roll.

Holds the view, the selection and the tools, and passes edits to the `Document`. Paints nothing, handles no event.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PySide6.QtCore import QObject, Signal

from app.document import Document
from app.roll.coordinates import Coordinates
from app.roll.index import NOBODY, NoteIndex, fingerprints
from app.roll.snap import Quantising, Snap
from app.roll.traces import Traces
from engine.score.edit import Clip, Edited, Rows
from engine.score.scale import Scale, estimate
from engine.score.score import Score
from engine.score.timing import BarGrid

FOLLOW_EDGE, FOLLOW_MARGIN = 0.92, 0.06  # of the width: where a page turns, where the playhead then stands
START_BARS = 16  # shown when a long piece is opened
ROOM_BARS = 8  # empty bars after the end, to write in


class RollState(QObject):
    """The roll's model. Rows are indices into `document.score.notes`."""

    notes_changed = Signal()
    proposal_changed = Signal()  # the song is as it was; what lies over it is another
    view_changed = Signal()
    selection_changed = Signal(object)  # Rows
    options_changed = Signal()  # pencil, snap, track, ghosts, scale, bars, loop, follow
    playhead_moved = Signal(float, float)  # ticks: from, to
    hover_changed = Signal(object)  # (tick, pitch) | None
    seek_requested = Signal(int)  # tick
    bars_selected = Signal(object)  # range of bars, 0-based | None
    loop_requested = Signal(object)  # (first tick, last tick) | None
    quantising_requested = Signal()  # somebody wants to choose how
    auditioned = Signal(int, int, int)  # pitch, velocity (0: stop), track

    def __init__(self, document: Document, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.document = document
        self.view = Coordinates()
        self.traces = Traces(document.score)
        self.selection: Rows = NOBODY
        self.snap = Snap()
        self.quantising = Quantising()
        self.pencil = False
        self.track: int | None = None  # the only one that can be edited; None: all
        self.pen_track = 0  # where drawn notes go
        self.pen_length = 0.0  # ticks; 0: one step
        self.pen_velocity = 96
        self.show_ghosts = True
        self.show_scale = False
        self.bars: range | None = None
        self.loop: tuple[int, int] | None = None
        self.playhead = 0.0
        self.playing = False
        self.follow = True
        self.follow_suspended = False
        self.hover: tuple[float, int] | None = None
        self.clip: Clip | None = None
        self._edited: Edited | None = None
        self._scale: tuple[Score, Scale | None] | None = None
        self._read(document.score)
        document.loaded.connect(self._on_loaded)
        document.changed.connect(self._on_changed)
        document.previewed.connect(self._on_previewed)
        document.locks_changed.connect(self.options_changed)

    # ------------------------------------------------------------------ the song

    @property
    def score(self) -> Score:
        """The document's score."""
        return self.document.score

    @property
    def scale(self) -> Scale | None:
        """The scale the song most likely moves in; worked out when first asked for."""
        if self._scale is None or self._scale[0] is not self.score:
            self._scale = (self.score, estimate(self.score))
        return self._scale[1]

    def edit(self, edited: Edited, text: str, merge_key: object | None = None) -> None:
        """Make an edit the song and its rows the selection."""
        self._edited = edited
        if edited.score is self.score:
            self.select(edited.rows)
        else:
            self.document.change(edited.score, text, merge_key)
        self._edited = None

    def _on_loaded(self, score: Score) -> None:
        self.bars = None
        self.track = None
        self._read(score)
        self.traces.begin(score)
        self.select(NOBODY)
        self.show_start()
        self.options_changed.emit()
        self.notes_changed.emit()

    def _on_changed(self, score: Score) -> None:
        before, rows = self._shown, self.selection
        if before is score:
            return
        self._read(score)
        by_hand = self._edited is not None and self._edited.score is score
        self.traces.arrive(score, self.document.previous, by_hand)
        self.selection = NOBODY
        self.notes_changed.emit()
        self.select(self._edited.rows if by_hand and self._edited else _found_again(before, rows, score))

    def _on_previewed(self, score: Score | None) -> None:
        self.traces.propose(score)
        self.proposal_changed.emit()

    def _read(self, score: Score) -> None:
        self._shown = score
        self.index = NoteIndex(score.notes)
        song = BarGrid.of(score)
        bar_ticks = int(song.starts[-1] - song.starts[-2])
        self.bar_count = len(song) if len(score.notes) else 0
        end = max(int(song.starts[-1]) + ROOM_BARS * bar_ticks, 16 * bar_ticks)
        self.grid = BarGrid.of(score, end)
        self.view = self.view.at(extent=float(self.grid.starts[-1]))
        pitched = [i for i, track in enumerate(score.tracks) if not track.is_drum]
        if self.pen_track >= len(score.tracks):
            self.pen_track = pitched[0] if pitched else 0

    # ------------------------------------------------------------------ selection and tools

    def editable(self, rows: Rows) -> Rows:
        """Those of `rows` on the track being edited."""
        return rows if self.track is None else rows[self.index.track[rows] == self.track]

    def select(self, rows: Rows) -> None:
        """Select exactly these rows."""
        rows = np.unique(np.asarray(rows, dtype=np.intp))
        if len(rows):
            first = rows[0]
            self.pen_track = int(self.index.track[first])
        if not np.array_equal(rows, self.selection):
            self.selection = rows
            self.selection_changed.emit(rows)

    def set_option(self, **options: object) -> None:
        """Set pencil, snap, track, show_ghosts, show_scale, follow or loop, and tell."""
        for name, value in options.items():
            if not hasattr(self, name):
                raise AttributeError(name)
            setattr(self, name, value)
        if "follow" in options:
            self.follow_suspended = False
        if self.track is not None:
            self.pen_track = self.track
            self.select(self.editable(self.selection))
        self.options_changed.emit()

    def set_snap(self, division: str | None = None, on: bool | None = None) -> None:
        """Choose a division, or turn snapping on or off."""
        self.set_option(snap=Snap(division or self.snap.division, self.snap.on if on is None else on))

    def step(self, tick: float | None = None) -> int:
        """Ticks of one snap step, also when snapping is off."""
        place = self.playhead if tick is None else tick
        return max(round(self.snap.step(self.grid, self.view.px_per_tick, place)), 1)

    def select_bars(self, bars: range | None) -> None:
        """Mark whole bars (0-based, half open); a running loop follows them."""
        if bars == self.bars:
            return
        self.bars = bars
        if self.loop is not None and bars is not None:
            self.request_loop((int(self.grid.starts[bars.start]), int(self.grid.starts[bars.stop])))
        self.options_changed.emit()
        self.bars_selected.emit(bars)

    def request_loop(self, loop: tuple[int, int] | None) -> None:
        """Ask for a loop; whoever plays sets it."""
        self.loop = loop
        self.options_changed.emit()
        self.loop_requested.emit(loop)

    def set_hover(self, hover: tuple[float, int] | None) -> None:
        """Where the pointer is, in music; None outside."""
        if hover != self.hover:
            self.hover = hover
            self.hover_changed.emit(hover)

    # ------------------------------------------------------------------ where one looks

    def look(self, view: Coordinates, by_hand: bool = True) -> None:
        """Show another part; doing so by hand suspends following until play starts again."""
        if view == self.view:
            return
        if by_hand and self.playing and view.left != self.view.left:
            self.follow_suspended = True
        self.view = view
        self.view_changed.emit()

    def zoom_to_fit(self) -> None:
        """Show the whole piece, or eight bars of an empty one."""
        if len(self.index):
            stop = float(self.grid.starts[min(self.bar_count, len(self.grid))])
            view = self.view.fitted(0.0, stop, *self._pitch_range())
        else:
            view = self.view.fitted(0.0, float(self.grid.starts[min(8, len(self.grid))]))
        self.look(view, by_hand=False)

    def _pitch_range(self) -> tuple[int, int]:
        return max(int(self.index.pitch.min()) - 4, 0), min(int(self.index.pitch.max()) + 4, 127)

    def show_start(self) -> None:
        """Show the beginning: all of a short piece, sixteen bars of a long one."""
        self.zoom_to_fit()
        if self.bar_count > START_BARS:
            stop = float(self.grid.starts[START_BARS])
            self.look(self.view.fitted(0.0, stop, *self._pitch_range()), by_hand=False)

    def set_playhead(self, tick: float) -> None:
        """Move the playhead; turns the page when following."""
        before, self.playhead = self.playhead, float(tick)
        if before == self.playhead:
            return
        if self.follow and self.playing and not self.follow_suspended:
            share = self.view.x_of(tick) / max(self.view.width, 1)
            if not 0 <= share <= FOLLOW_EDGE:
                self.look(
                    self.view.at(left=tick - FOLLOW_MARGIN * self.view.width / self.view.px_per_tick), by_hand=False
                )
        self.playhead_moved.emit(before, self.playhead)

    def set_playing(self, playing: bool) -> None:
        """Tell the roll that music plays: it follows again, and keys light up."""
        self.playing = playing
        if playing:
            self.follow_suspended = False
        self.playhead_moved.emit(self.playhead, self.playhead)

    def show_rows(self, rows: Rows) -> None:
        """Scroll no further than needed for these notes to be seen."""
        if not len(rows):
            return
        v, i = self.view, self.index
        left, right = float(i.tick[rows].min()), float(i.end[rows].max())
        low, high = int(i.pitch[rows].min()), int(i.pitch[rows].max())
        dx = min(v.x_of(left) - 8, 0.0) or max(min(v.x_of(right) + 8 - v.width, v.x_of(left) - 8), 0.0)
        dy = min(v.y_of(high), 0.0) or max(min(v.y_of(low) + v.row - v.height, v.y_of(high)), 0.0)
        if dx or dy:
            self.look(replace(v).scrolled(dx, dy), by_hand=False)


def _found_again(before: Score, rows: Rows, after: Score) -> Rows:
    """The selected notes in another score; where some are gone and as many have come, those (an undone move)."""
    if not len(rows):
        return NOBODY
    old, new = fingerprints(before.notes), fingerprints(after.notes)
    found = np.isin(new, old[rows])
    come = ~np.isin(new, old)
    if found.sum() + come.sum() == len(rows):
        found |= come
    return np.flatnonzero(found)
