"""What a composer does with the model beyond sliders, put together: proposals, takes, pad, lane, limits.

Joins their parts to the window; each stands in a file of its own and is made when first asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QFileDialog, QWidget

from app.document import Document
from app.files import MIDI_SUFFIXES, Files, load
from app.limits import Limits
from app.morphing import Morphing, MorphPoint
from app.pad import Pad
from app.panels.proposal import ProposalStrip
from app.project import Project
from app.proposals import Proposals, Stage
from app.recipe import Recipe
from app.roll.view import RollView
from app.settings import Settings
from app.take import SLOTS, Take
from app.takes import Takes
from app.variations import Variations
from app.window import Window
from app.worker import EngineThread
from engine.score.score import Score

if TYPE_CHECKING:
    from app.panels.lane import LatentLane
    from app.panels.limits import LimitsStrip

MAKERS = {  # action -> verb of a recipe
    "regenerate": "regenerate",
    "variation": "vary",
    "continue": "continue",
    "transfer": "transfer",
    "new_piece": "new",
}
CORNER_TAKES = 12  # offered for a corner of the pad
Put = Callable[[str, Score], None]  # where a name and a score go
CornerChoice = tuple[str, Callable[[Put], None]]
ANSWERS = ("accept", "reject", "next_proposal", "last_proposal")
REFRESH_MS = 30  # after the last change of a selection


class Desk(QObject):
    """One constructor tells what there is."""

    problem = Signal(str)

    def __init__(
        self,
        document: Document,
        window: Window,
        roll: RollView,
        engine: EngineThread,
        morphing: Morphing,
        files: Files,
        settings: Settings,
    ) -> None:
        super().__init__(window)
        self.document, self.window, self.roll = document, window, roll
        self.engine, self.morphing, self.files, self.settings = engine, morphing, files, settings
        self.proposals = Proposals(document, roll.state, engine, self)
        self.strip: ProposalStrip | None = None
        self.takes = Takes(document, engine, self)
        self.variations = Variations(document, engine, self.proposals, self)
        right = Qt.DockWidgetArea.RightDockWidgetArea
        self.takes_dock = window.add_dock("takes", self.tr("Takes"), self._takes_panel, right)
        self.pad = Pad(document, engine, self)
        self.pad_dock = window.add_dock("pad", self.tr("Morph pad"), self._pad_panel, right)
        for dock in (self.takes_dock, self.pad_dock):
            dock.hide()
        self.lane: LatentLane | None = None
        self.limits_strip: LimitsStrip | None = None
        self._lent: list[tuple[QAction, list[QKeySequence]]] = []
        self._refresh = QTimer(self, singleShot=True, interval=REFRESH_MS)
        self._refresh.timeout.connect(self.refresh)
        morphing.tracks = self.proposals.tracks
        self._wire()
        self.refresh()

    def _wire(self) -> None:
        window, proposals = self.window, self.proposals
        for name, do in {
            "regenerate": proposals.regenerate,
            "variation": proposals.vary,
            "continue": proposals.go_on,
            "transfer": self.ask_transfer,
            "new_piece": self.ask_new,
            "lock_notes": lambda: self.document.lock(self.roll.selection),
            "accept": proposals.accept,
            "reject": self._reject,
            "next_proposal": proposals.next,
            "last_proposal": proposals.previous,
            "keep_take": self._keep_take,
            "grid": self._show_grid,
            **{f"take_{i + 1}": partial(self.takes.press, slot) for i, slot in enumerate(SLOTS)},
        }.items():
            window[name].triggered.connect(lambda _=False, do=do: do())
        proposals.problem.connect(self.problem)
        proposals.changed.connect(self._on_proposals)
        window["lanes"].toggled.connect(self._show_lane)
        window["limits"].toggled.connect(self._show_limits)
        self.pad.problem.connect(self.problem)
        self.pad.committed.connect(self.takes.add)
        proposals.limits = self.pad.limits = self._limits
        self.takes.problem.connect(self.problem)
        self.takes.notice.connect(window.messages.notice)
        self.takes.edited.connect(self.document.undo_stack.resetClean)
        self.takes.restored.connect(self._on_restored)
        proposals.accepted.connect(self._on_accepted)
        self.morphing.committed.connect(
            lambda recipe, score, words: self.takes.add(self.document.piece_base, recipe, score, words)
        )
        self.document.loaded.connect(self._on_loaded)
        self.engine.ready.connect(self._refresh.start)
        self.engine.failed.connect(self._refresh.start)

    # What can be done now

    def _on_proposals(self) -> None:
        if (self.proposals.stage is not Stage.NONE) != bool(self._lent):
            self._answer(self.proposals.stage is not Stage.NONE)
        self._refresh.start()

    def _answer(self, on: bool) -> None:
        """While a proposal is there, its answers have their keys, which others lend them."""
        if on and self.strip is None:
            self.strip = ProposalStrip(self.proposals, self.window.actions_by_name, self.window.centralWidget())
            self.window.add_strip(self.strip)
        if on:
            keys = {key for name in ANSWERS for key in self.window[name].shortcuts()}
            for action in (*self.window.actions(), *self.roll.actions()):
                its = action.shortcuts()
                if keys & set(its) and action.objectName() not in {f"action_{name}" for name in ANSWERS}:
                    self._lent.append((action, its))
                    action.setShortcuts([key for key in its if key not in keys])
        else:
            for action, its in self._lent:
                action.setShortcuts(its)
            self._lent.clear()
        for name in ANSWERS:
            self.window.enable(name, "" if on else self.tr("There is no proposal to answer."))

    def refresh(self) -> None:
        """Say of every action whether it can be done, and why not."""
        for name, verb in MAKERS.items():
            self.window.enable(name, self.proposals.why_not(verb))
        self.window.enable("grid", self.proposals.why_not("vary"))
        chosen = len(self.roll.selection)
        self.window.enable("lock_notes", "" if chosen else self.tr("Select notes to lock them."))
        if self.proposals.stage is Stage.NONE:
            for name in ANSWERS:
                self.window.enable(name, self.tr("There is no proposal to answer."))

    def _reject(self) -> None:
        """Esc first ends a drag, as ever in the roll."""
        if not (self.roll.canvas.cancel() or self.roll.velocity_lane.cancel()):
            self.proposals.reject()

    # Takes

    def _takes_panel(self) -> QWidget:
        from app.panels.takes import TakesPanel

        return TakesPanel(self.takes, self.variations, self.window.actions_by_name)

    def _on_accepted(self, base: Score, recipe: Recipe, score: Score, words: str) -> None:
        self.takes.add(base, recipe, score, words)
        if not self.settings.get("takes_offered", bool):
            self.settings.set("takes_offered", True)
            self.takes_dock.show()

    def _keep_take(self) -> None:
        self.takes.keep()
        self.takes_dock.show()

    def _show_grid(self) -> None:
        from app.panels.takes import TakesPanel

        self.takes_dock.show()
        self.variations.ask()
        panel = self.takes_dock.widget()
        if isinstance(panel, TakesPanel):
            panel.grid.setFocus()

    def _on_restored(self, take: Take, score: Score) -> None:
        recipe = take.recipe
        if recipe.verb == "morph":
            point = MorphPoint(recipe.offsets, recipe.bars, recipe.seed, recipe.lanes)
            self.morphing.remember(score, point)

    def _on_loaded(self, score: Score) -> None:
        self.takes.load([])
        self._put_limits(Limits())

    def restore(self, opened: Project) -> None:
        """Take in what a project brings."""
        self._put_limits(opened.limits)
        self.document.put_locks(self.document.score.notes[list(opened.note_locks)])
        self.takes.load(list(opened.takes))

    # The pad

    def _pad_panel(self) -> QWidget:
        from app.panels.pad import PadPanel

        return PadPanel(self.pad, self._corner_choices)

    def _corner_choices(self) -> list[CornerChoice]:
        """The song, the newest takes whose notes are at hand, a file."""

        def bring(name: str, score: Score) -> Callable[[Put], None]:
            return lambda put: put(name, score)

        known = [(take.title, score) for take in self.takes.items if (score := self.takes.score_of(take)) is not None]
        choices = [(self.tr("The song as it is"), bring(self.files.name, self.document.score))]
        choices += [(name, bring(name, score)) for name, score in reversed(known[-CORNER_TAKES:])]
        return [*choices, (self.tr("A file…"), self._ask_corner)]

    def _ask_corner(self, put: Put) -> None:
        name = self._ask_song(self.tr("A piece for a corner"))
        if name:
            self.corner_from_file(Path(name), put)

    def corner_from_file(self, path: Path, put: Put) -> None:
        """Put the music in a file into a corner."""
        self.files.background.run(lambda: load(path), lambda found: put(path.stem, found.score), self.problem.emit)

    # The lane, the limits

    def _show_lane(self, on: bool) -> None:
        if self.lane is None:
            from app.panels.lane import LaneButton, LatentLane

            self.lane = LatentLane(self.roll.state, self.morphing, self.roll)
            self._lane_button = LaneButton(self.lane, self.roll)
            self.roll.add_lane(self._lane_button, self.lane)
        self.lane.setVisible(on)
        self._lane_button.setVisible(on)

    def _show_limits(self, on: bool) -> None:
        if self.limits_strip is None:
            from app.panels.limits import LimitsStrip

            self.limits_strip = LimitsStrip(self.window.centralWidget())
            self.limits_strip.show_limits(self.morphing.limits)
            self.limits_strip.changed.connect(self._on_limits)
            self.window.add_strip(self.limits_strip)
        self.limits_strip.setVisible(on)

    def _limits(self) -> Limits:
        """What is written in the strip, be it right or wrong."""
        return self.morphing.limits if self.limits_strip is None else self.limits_strip.limits()

    def _on_limits(self, limits: Limits) -> None:
        self.morphing.limits = limits if not limits.trouble() else Limits()
        self.document.undo_stack.resetClean()
        self._refresh.start()

    def _put_limits(self, limits: Limits) -> None:
        self.morphing.limits = limits
        if self.limits_strip is not None:
            self.limits_strip.show_limits(limits)
        elif limits:
            self.window["limits"].setChecked(True)

    # Wishes that need a dialog

    def _ask_song(self, title: str) -> str:
        kinds = self.tr("Songs ({0})").format(" ".join(f"*{s}" for s in MIDI_SUFFIXES))
        name, _ = QFileDialog.getOpenFileName(self.window, title, self.settings.get("folder", str), kinds)
        return name

    def ask_transfer(self) -> None:
        """Ask whose manner."""
        name = self._ask_song(self.tr("In the manner of"))
        if name:
            self.transfer(Path(name))

    def transfer(self, path: Path) -> None:
        """Have the selection, or the piece, in the manner of the music in a file."""

        def found(project: Project) -> None:
            self.proposals.transfer(project.score, path.stem)

        self.files.background.run(lambda: load(path), found, self.problem.emit)

    def ask_new(self) -> None:
        """Ask for what new piece."""
        from app.panels.new_piece import NewPiece

        dialog = NewPiece(self.window)
        dialog.accepted.connect(lambda: self.proposals.new(*dialog.wish()))
        dialog.open()
