"""The panel of named sliders with their scope. Shows a `MorphState`; whoever listens to that does the morphing."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QButtonGroup,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app import theme
from app.panels.slider import MARGIN, SliderView
from app.panels.sliders import MorphState

WIDTH = 304


class LatentsPanel(QWidget):
    """Scope on top, then a slider a row, attributes first and colours after them."""

    reset_requested = Signal()

    def __init__(self, state: MorphState, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.state = state
        self.views: dict[str, SliderView] = {}
        self.setObjectName("latents")
        self.setFixedWidth(WIDTH)
        self._piece = self._scope_button(self.tr("Piece"), True)
        self._bars = self._scope_button(self.tr("Selection"), False)
        self.status = QLabel()
        self.status.setProperty("dim", True)
        self.status.setWordWrap(True)
        self.status.setContentsMargins(MARGIN, 0, MARGIN, 8)
        self.status.hide()
        self.reset = QToolButton()
        self.reset.setToolTip(self.tr("All sliders back: the piece as it was, note for note"))
        self.reset.setAccessibleName(self.tr("All sliders back"))
        self.reset.clicked.connect(self.reset_requested)
        self._rows = QVBoxLayout()
        self._rows.setContentsMargins(0, 0, 0, 8)
        self._rows.setSpacing(0)
        self._lay_out()
        state.sliders_changed.connect(self._rebuild)
        state.scope_changed.connect(self._show_scope)
        theme.themes.changed.connect(self._dress)
        self._rebuild()
        self._show_scope()
        self._dress()

    def _scope_button(self, text: str, whole: bool) -> QPushButton:
        button = QPushButton(text)
        button.setCheckable(True)
        button.setProperty("segment", True)
        button.clicked.connect(lambda: self.state.set_whole_piece(whole))
        return button

    def _lay_out(self) -> None:
        scope = QHBoxLayout()
        scope.setContentsMargins(MARGIN, 8, 8, 8)
        scope.setSpacing(0)
        group = QButtonGroup(self)
        for button in (self._piece, self._bars):
            group.addButton(button)
            scope.addWidget(button, 1)
        scope.addSpacing(8)
        scope.addWidget(self.reset)
        inner = QWidget()
        inner.setLayout(self._rows)
        area = QScrollArea()
        area.setWidget(inner)
        area.setWidgetResizable(True)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)  # the sliders in it take the keys, and come into view with them
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(scope)
        layout.addWidget(self.status)
        layout.addWidget(area, 1)

    def _rebuild(self) -> None:
        while (item := self._rows.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.deleteLater()
        self.views = {}
        kind = "attribute"
        before: QWidget = self.reset
        for name, model in self.state.sliders.items():
            if model.info.kind != kind:
                kind = model.info.kind
                heading = QLabel(self.tr("Style") if kind == "style" else self.tr("Colour"))
                heading.setProperty("dim", True)
                heading.setContentsMargins(MARGIN, 8, 0, 0)
                self._rows.addWidget(heading)
            self.views[name] = SliderView(model)
            self._rows.addWidget(self.views[name])
            self.setTabOrder(before, self.views[name])
            before = self.views[name]
        self._rows.addStretch(1)

    def _show_scope(self) -> None:
        bars = self.state.selection
        self._piece.setChecked(self.state.bars is None)
        self._bars.setChecked(self.state.bars is not None)
        self._bars.setEnabled(bars is not None)
        if bars is None:
            self._bars.setText(self.tr("Selection"))
            self._bars.setToolTip(self.tr("Choose bars in the ruler of the roll first."))
        else:
            last = bars.stop
            text = self.tr("Bar {0}").format(last) if len(bars) == 1 else self.tr("Bars {0}-{1}")
            self._bars.setText(text.format(bars.start + 1, last))
            self._bars.setToolTip(self.tr("Move only the bars chosen in the roll."))

    def say(self, sentence: str) -> None:
        """Say why the sliders rest, above them; nothing with an empty sentence."""
        self.status.setText(sentence)
        self.status.setVisible(bool(sentence))

    def _dress(self) -> None:
        self.reset.setIcon(theme.icon("reset", theme.current().text_dim))
