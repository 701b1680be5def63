"""The piano roll as one widget: ruler, keyboard, notes, velocity lane, overview, and the keys that work in it.

The rest of the window sees only this class. What it shows lives in `RollState`, what it edits in the `Document`.
"""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt, Signal
from PySide6.QtGui import QAction, QKeySequence, QShowEvent
from PySide6.QtWidgets import QGridLayout, QWidget

from app.document import Document
from app.roll.canvas import Canvas
from app.roll.corners import Corner, SnapButton
from app.roll.keyboard import Keyboard
from app.roll.layers.notes import name_of
from app.roll.overview import Overview
from app.roll.ruler import Ruler
from app.roll.shortcuts import SHORTCUTS, Shortcut
from app.roll.state import RollState
from app.roll.velocity import VelocityLane
from engine.score.edit import Rows


class RollView(QWidget):
    """Give it a `Document`; tell it where the music is; listen to its signals."""

    selection_changed = Signal(object)  # sorted rows of document.score.notes
    seek_requested = Signal(int)  # tick
    bars_selected = Signal(object)  # range of bars, 0-based, half open | None
    loop_requested = Signal(object)  # (first tick, last tick) | None
    auditioned = Signal(int, int, int)  # pitch, velocity (0: stop), track
    hover_text = Signal(str)  # what the pointer is at, for a status line; "" when nowhere
    follow_changed = Signal(bool)  # whether pages turn now

    def __init__(self, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.document = document
        self.state = RollState(document, self)
        self.canvas = Canvas(self.state, self)
        self.ruler = Ruler(self.state, self)
        self.keyboard = Keyboard(self.state, self)
        self.velocity_lane = VelocityLane(self.state, self)
        self.overview = Overview(self.state, self)
        self.snap_button = SnapButton(self.state, self)
        self._overview_corner = Corner("", self)
        self._fitted = False
        self._followed = True
        self._grid = grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(0)
        for row, (left, right) in enumerate(
            (
                (self.snap_button, self.ruler),
                (self.keyboard, self.canvas),
                (Corner(self.tr("Velocity"), self), self.velocity_lane),
                (self._overview_corner, self.overview),
            )
        ):
            grid.addWidget(left, row, 0)
            grid.addWidget(right, row, 1)
        grid.setRowStretch(1, 1)
        grid.setColumnStretch(1, 1)
        self.setFocusProxy(self.canvas)
        self.setAccessibleName(self.tr("Piano roll"))
        self._actions = {shortcut.name: self._action(shortcut) for shortcut in SHORTCUTS}
        self._connect()

    def _connect(self) -> None:
        state = self.state
        state.selection_changed.connect(self.selection_changed)
        state.seek_requested.connect(self.seek_requested)
        state.bars_selected.connect(self.bars_selected)
        state.loop_requested.connect(self.loop_requested)
        state.auditioned.connect(self.auditioned)
        state.quantising_requested.connect(self._ask_how_to_quantise)
        state.hover_changed.connect(lambda _: self.hover_text.emit(self._hovered()))
        for signal in (state.options_changed, state.view_changed, state.playhead_moved):
            signal.connect(self._tell_follow)
        state.options_changed.connect(self._show_options)
        self._show_options()

    # ------------------------------------------------------------------ for the window

    def action(self, name: str) -> QAction:
        """One of the roll's actions by its name in the table of shortcuts, for a menu."""
        return self._actions[name]

    @property
    def selection(self) -> Rows:
        """Sorted rows of the selected notes."""
        return self.state.selection

    def select(self, rows: Rows) -> None:
        """Select exactly these rows."""
        self.state.select(rows)

    @property
    def follow(self) -> bool:
        """Whether pages turn with the playhead (a manual scroll suspends it until play starts again)."""
        return self.state.follow and not self.state.follow_suspended

    @follow.setter
    def follow(self, on: bool) -> None:
        self.state.set_option(follow=on)

    def set_playhead(self, tick: float) -> None:
        """Move the playhead; paints a strip, no note."""
        self.state.set_playhead(tick)

    def set_playing(self, playing: bool) -> None:
        """Tell whether music plays: keys light up, following resumes."""
        self.state.set_playing(playing)

    def set_loop(self, loop: tuple[int, int] | None) -> None:
        """Show a loop, in ticks, without asking for one."""
        self.state.set_option(loop=loop)

    def select_bars(self, bars: range | None) -> None:
        """Mark bars as a drag in the ruler does."""
        self.state.select_bars(bars)

    def set_track(self, track: int | None) -> None:
        """Edit one track only, the others dim; None: all."""
        self.state.set_option(track=track)

    def add_lane(self, left: QWidget, lane: QWidget) -> None:
        """One more lane, under that of the velocities."""
        row = self._grid.rowCount()
        self._grid.addWidget(left, row - 1, 0)
        self._grid.addWidget(lane, row - 1, 1)
        self._grid.addWidget(self._overview_corner, row, 0)
        self._grid.addWidget(self.overview, row, 1)

    def visible_ticks(self) -> tuple[float, float]:
        """First and last tick in sight."""
        return self.state.view.ticks

    def scroll_to(self, tick: float) -> None:
        """Bring a tick to the left edge."""
        self.state.look(self.state.view.at(left=tick))

    def zoom_to_fit(self) -> None:
        """Show the whole piece."""
        self.state.zoom_to_fit()

    # ------------------------------------------------------------------ keys

    def _action(self, shortcut: Shortcut) -> QAction:
        action = QAction(self.tr(shortcut.text), self)
        action.setObjectName(shortcut.name)
        action.setShortcuts([QKeySequence(key) for key in shortcut.keys])
        action.setShortcutContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        action.setCheckable(shortcut.name in ("pencil", "snap", "ghosts", "scale", "follow"))
        action.triggered.connect(lambda: self._run(shortcut))
        self.addAction(action)
        return action

    def _run(self, shortcut: Shortcut) -> None:
        if shortcut.name == "select_none" and self._let_go():
            return
        if self.canvas.gesture is None and self.velocity_lane.gesture is None:  # keys wait for the hand
            shortcut.run(self.state)
        self._show_options()

    def _ask_how_to_quantise(self) -> None:
        from app.panels.quantise import QuantiseOptions

        panel = QuantiseOptions(self.state, self)
        panel.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        panel.move(self.canvas.mapToGlobal(QPoint(16, 16)))
        panel.show()

    def _let_go(self) -> bool:
        """Esc first ends a drag, then a proposal; only then the selection goes."""
        if self.canvas.cancel() or self.velocity_lane.cancel():
            return True
        if self.document.proposal is not None:
            self.document.preview(None)
            return True
        return False

    def _show_options(self) -> None:
        state = self.state
        for name, on in (
            ("pencil", state.pencil),
            ("snap", state.snap.on),
            ("ghosts", state.show_ghosts),
            ("scale", state.show_scale),
            ("follow", self.follow),
        ):
            self._actions[name].setChecked(on)

    def _tell_follow(self, *_: object) -> None:
        if self.follow != self._followed:
            self._followed = self.follow
            self._actions["follow"].setChecked(self.follow)
            self.follow_changed.emit(self.follow)

    def _hovered(self) -> str:
        if self.state.hover is None:
            return ""
        tick, pitch = self.state.hover
        grid = self.state.grid
        bar = int(grid.bar_of(tick))
        beat = (tick - grid.starts[bar]) * grid.denominators[bar] / 4 / grid.ticks_per_quarter
        text = f"{name_of(pitch)}  {bar + 1}.{int(max(beat, 0)) + 1}"
        row = self.canvas.hovered_row
        return (
            text
            if row < 0
            else self.tr("{place}  velocity {velocity}").format(place=text, velocity=self.state.index.velocity[row])
        )

    # ------------------------------------------------------------------ events

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if not self._fitted:
            self._fitted = True
            self._grid.activate()
            self.state.show_start()
