"""What a composer does with the model beyond sliders, put together: proposals, locked notes, takes, their actions.

Joins their parts to the window; each stands in a file of its own and is made when first asked for.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QFileDialog, QWidget

from app.document import Document
from app.files import MIDI_SUFFIXES, Files, load
from app.morphing import Morphing, MorphPoint
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

MAKERS = {  # action -> verb of a recipe
    "regenerate": "regenerate",
    "variation": "vary",
    "continue": "continue",
    "transfer": "transfer",
    "new_piece": "new",
}
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
        self.takes_dock.hide()
        self._lent: list[tuple[QAction, list[QKeySequence]]] = []
        self._refresh = QTimer(self, singleShot=True, interval=REFRESH_MS)
        self._refresh.timeout.connect(self.refresh)
        morphing.tracks = lambda: self.proposals.scope().tracks
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
        self.takes.problem.connect(self.problem)
        self.takes.notice.connect(window.messages.notice)
        self.takes.edited.connect(self.document.undo_stack.resetClean)
        self.takes.restored.connect(self._on_restored)
        proposals.accepted.connect(self._on_accepted)
        self.morphing.committed.connect(
            lambda recipe, score, words: self.takes.add(self.document.piece_base, recipe, score, words)
        )
        self.document.loaded.connect(lambda _: self.takes.load([]))
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
        self.takes_dock.show()
        self.variations.ask()
        panel = self.takes_dock.widget()
        if panel is not None and panel.focusProxy() is not None:
            panel.setFocus()

    def _on_restored(self, take: Take, score: Score) -> None:
        recipe = take.recipe
        if recipe.verb == "morph":
            point = MorphPoint(recipe.offsets, recipe.bars, recipe.seed, recipe.lanes)
            self.morphing.remember(score, point)

    def restore(self, opened: Project) -> None:
        """Take in what a project brings."""
        self.document.put_locks(self.document.score.notes[list(opened.note_locks)])
        self.takes.load(list(opened.takes))

    # Wishes that need a dialog

    def ask_transfer(self) -> None:
        """Ask whose manner."""
        name, _ = QFileDialog.getOpenFileName(
            self.window,
            self.tr("In the manner of"),
            self.settings.get("folder", str),
            self.tr("Songs ({0})").format(" ".join(f"*{s}" for s in MIDI_SUFFIXES)),
        )
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
