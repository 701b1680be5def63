"""The look of Morphony as data: colours, sizes and the small style sheet made from them.

Widgets read tokens from `current()` and repaint on `themes.changed`. Nothing here knows any widget of the studio.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from PySide6.QtCore import QByteArray, QObject, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QIcon, QPainter, QPalette, QPixmap
from PySide6.QtWidgets import QApplication

ICONS: Final = Path(__file__).resolve().parent.parent / "assets" / "icons"


@dataclass(frozen=True, slots=True)
class Theme:
    """One set of tokens. Colours are hex strings that `QColor` reads; lengths are pixels."""

    name: str
    dark: bool
    ground: str  # behind everything
    panel: str  # the bars and panels around the roll
    field: str  # inputs, slider tracks
    hover: str  # a control under the pointer
    row_white: str  # roll: rows of white keys
    row_black: str  # roll: rows of black keys
    line_bar: str  # roll: bar lines, clear
    line_beat: str  # roll: beat lines, faint
    hairline: str  # one pixel between parts of the window
    text: str
    text_dim: str
    accent: str  # the playhead and whatever is live
    on_accent: str  # text on the accent
    proposal: str  # what the model proposes
    danger: str  # only for danger
    track_hues: tuple[str, ...]  # by track index, modulo; distinct under the common colour blindnesses
    grid: int = 8
    radius: int = 4
    font_small: int = 11
    font_body: int = 13
    font_large: int = 18
    stroke: float = 1.5
    fade_ms: int = 400  # how long a changed note glows


DARK: Final = Theme(
    name="dark",
    dark=True,
    ground="#121319",
    panel="#191b22",
    field="#23262f",
    hover="#2c303b",
    row_white="#181a21",
    row_black="#13141a",
    line_bar="#3a3f4c",
    line_beat="#242731",
    hairline="#2a2d37",
    text="#e7e9ef",
    text_dim="#9aa0b0",
    accent="#4fd6be",
    on_accent="#06221d",
    proposal="#f2b84b",
    danger="#ff6b6b",
    track_hues=("#7aa7ff", "#5cc79a", "#d98bc6", "#e8a25c", "#b49cf5", "#6fd0ea", "#c9b79c", "#e6d667"),
)

LIGHT: Final = Theme(
    name="light",
    dark=False,
    ground="#f4f5f8",
    panel="#ffffff",
    field="#eceef3",
    hover="#e2e5ec",
    row_white="#fbfbfd",
    row_black="#f0f1f6",
    line_bar="#b9bfcc",
    line_beat="#e1e4eb",
    hairline="#d9dce4",
    text="#1a1c23",
    text_dim="#5b6172",
    accent="#00806c",
    on_accent="#ffffff",
    proposal="#a86200",
    danger="#c62828",
    track_hues=("#2f62c9", "#1d7f55", "#a23f8b", "#b4620e", "#6a4bc4", "#0f7f9e", "#7d6748", "#8a7a00"),
)


class Themes(QObject):
    """Holds the theme in use and says when it changes."""

    changed = Signal(object)  # Theme

    def __init__(self) -> None:
        super().__init__()
        self.theme: Theme = DARK

    def use(self, theme: Theme) -> None:
        """Make `theme` current, restyle the running application, if any, and tell everyone."""
        self.theme = theme
        app = QApplication.instance()
        if isinstance(app, QApplication):
            apply(app)
        self.changed.emit(theme)


themes = Themes()


def current() -> Theme:
    """The theme in use."""
    return themes.theme


def by_name(name: str) -> Theme:
    """The theme called `name`; dark for a name nobody knows."""
    return LIGHT if name == LIGHT.name else DARK


def figures(size: int | None = None, weight: QFont.Weight = QFont.Weight.Normal) -> QFont:
    """The system font with digits of one width, `size` in pixels: for positions and values."""
    font = QFont(QApplication.font())
    font.setPixelSize(size or current().font_body)
    font.setWeight(weight)
    font.setFeature(QFont.Tag("tnum"), 1)
    return font


def icon(name: str, colour: str | None = None) -> QIcon:
    """The icon `name` of assets/icons in `colour` (default: text), with a dim disabled state; drawn for high-DPI."""
    result = QIcon()
    result.addPixmap(_drawn(name, colour or current().text), QIcon.Mode.Normal)
    result.addPixmap(_drawn(name, current().line_bar), QIcon.Mode.Disabled)
    return result


def _drawn(name: str, colour: str, side: int = 20, ratio: int = 2) -> QPixmap:
    from PySide6.QtSvg import QSvgRenderer

    source = (ICONS / f"{name}.svg").read_text(encoding="utf-8").replace("currentColor", colour)
    pixmap = QPixmap(side * ratio, side * ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    QSvgRenderer(QByteArray(source.encode())).render(painter, QRectF(0, 0, side * ratio, side * ratio))
    painter.end()
    pixmap.setDevicePixelRatio(ratio)
    return pixmap


def apply(app: QApplication) -> None:
    """Dress the application in the current theme: Fusion, palette, font size and style sheet."""
    theme = current()
    if app.style().objectName().lower() != "fusion":
        app.setStyle("Fusion")
    app.styleHints().setColorScheme(Qt.ColorScheme.Dark if theme.dark else Qt.ColorScheme.Light)
    font = app.font()
    font.setPixelSize(theme.font_body)
    app.setFont(font)
    app.setPalette(_palette(theme))
    app.setStyleSheet(style_sheet(theme))


def _palette(theme: Theme) -> QPalette:
    palette = QPalette()
    role = QPalette.ColorRole
    for where, colour in {
        role.Window: theme.panel,
        role.WindowText: theme.text,
        role.Base: theme.field,
        role.AlternateBase: theme.panel,
        role.Text: theme.text,
        role.Button: theme.field,
        role.ButtonText: theme.text,
        role.BrightText: theme.danger,
        role.Highlight: theme.accent,
        role.HighlightedText: theme.on_accent,
        role.Link: theme.accent,
        role.ToolTipBase: theme.field,
        role.ToolTipText: theme.text,
        role.PlaceholderText: theme.text_dim,
    }.items():
        palette.setColor(where, QColor(colour))
    for where in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, where, QColor(theme.text_dim).darker(130 if theme.dark else 80))
    return palette


def style_sheet(theme: Theme) -> str:
    """The few rules that the palette cannot say."""
    t = theme
    half = t.grid // 2
    return f"""
    QMainWindow, QDialog {{ background: {t.panel}; }}
    QMainWindow::separator {{ background: {t.hairline}; width: 1px; height: 1px; }}
    QToolTip {{ background: {t.field}; color: {t.text}; border: 1px solid {t.hairline}; padding: {half}px {t.grid}px; }}
    QPushButton, QComboBox {{ background: {t.field}; border: 1px solid {t.hairline}; border-radius: {t.radius}px;
        padding: 0 {t.grid * 3 // 2}px; min-height: {t.grid * 4 - 2}px; }}
    QPushButton:hover, QComboBox:hover {{ background: {t.hover}; }}
    QPushButton:focus, QComboBox:focus, QToolButton:focus {{ border: 1px solid {t.accent}; }}
    QPushButton:pressed {{ background: {t.hairline}; }}
    QPushButton:disabled {{ color: {t.text_dim}; background: transparent; }}
    QPushButton[primary="true"] {{ background: {t.accent}; color: {t.on_accent}; border-color: {t.accent};
        font-weight: 600; }}
    QPushButton[primary="true"]:focus {{ border: 1px solid {t.text}; }}
    QPushButton[primary="true"]:disabled {{ background: {t.field}; color: {t.text_dim}; border-color: {t.hairline}; }}
    QComboBox::drop-down {{ border: none; width: {t.grid * 3}px; }}
    QComboBox::down-arrow {{ image: url({ICONS.as_posix()}/down.svg); width: {t.grid * 2}px; height: {t.grid * 2}px; }}
    QComboBox QAbstractItemView {{ background: {t.panel}; border: 1px solid {t.line_bar}; outline: none;
        selection-background-color: {t.hover}; selection-color: {t.text}; padding: {half}px; }}
    QCheckBox {{ spacing: {t.grid}px; }}
    QCheckBox::indicator {{ width: {t.grid * 2 - 2}px; height: {t.grid * 2 - 2}px; border: 1px solid {t.line_bar};
        border-radius: {t.radius - 1}px; background: {t.field}; }}
    QCheckBox::indicator:checked {{ background: {t.accent}; border-color: {t.accent};
        image: url({ICONS.as_posix()}/check.svg); }}
    QCheckBox:focus::indicator {{ border-color: {t.accent}; }}
    QToolButton {{ background: transparent; border: 1px solid transparent; border-radius: {t.radius}px;
        padding: {half}px; }}
    QToolButton:hover {{ background: {t.hover}; }}
    QToolButton:checked {{ background: {t.field}; }}
    QToolButton::menu-indicator {{ image: none; }}
    QToolButton[letter="true"] {{ color: {t.text_dim}; background: {t.field}; font-weight: 600; }}
    QToolButton[letter="true"]:checked {{ color: {t.on_accent}; background: {t.accent}; }}
    QSlider::groove:horizontal {{ height: {half}px; background: {t.field}; border-radius: 2px; }}
    QSlider::sub-page:horizontal {{ background: {t.accent}; border-radius: 2px; }}
    QSlider::handle:horizontal {{ background: {t.text}; width: {t.grid * 3 // 2}px; height: {t.grid * 3 // 2}px;
        margin: -{half}px 0; border-radius: {t.grid * 3 // 4}px; }}
    QSlider::handle:horizontal:focus, QSlider::handle:horizontal:hover {{ border: 2px solid {t.accent}; }}
    QMenuBar {{ background: {t.panel}; padding: 0 {half}px; }}
    QMenuBar::item {{ background: transparent; padding: {half}px {t.grid}px; border-radius: {t.radius}px; }}
    QMenuBar::item:selected {{ background: {t.hover}; }}
    QMenu {{ background: {t.panel}; border: 1px solid {t.hairline}; padding: {half}px; }}
    QMenu::item {{ padding: {half + 2}px {t.grid * 3}px; border-radius: {t.radius}px; }}
    QMenu::item:selected {{ background: {t.hover}; color: {t.text}; }}
    QMenu::item:disabled {{ color: {t.text_dim}; }}
    QMenu::separator {{ height: 1px; background: {t.hairline}; margin: {half}px {t.grid}px; }}
    QScrollArea, QAbstractScrollArea {{ border: none; background: transparent; }}
    QScrollBar:vertical {{ background: transparent; width: {t.grid}px; margin: 0; }}
    QScrollBar:horizontal {{ background: transparent; height: {t.grid}px; margin: 0; }}
    QScrollBar::handle {{ background: {t.hover}; border-radius: {half}px; min-height: {t.grid * 3}px;
        min-width: {t.grid * 3}px; }}
    QScrollBar::add-line, QScrollBar::sub-line {{ width: 0; height: 0; }}
    QScrollBar::add-page, QScrollBar::sub-page {{ background: transparent; }}
    QProgressBar {{ background: {t.field}; border: none; border-radius: 2px; max-height: {half}px; }}
    QProgressBar::chunk {{ background: {t.accent}; border-radius: 2px; }}
    QLineEdit, QAbstractSpinBox {{ background: {t.field}; border: 1px solid {t.hairline}; border-radius: {t.radius}px;
        min-height: {t.grid * 4 - 2}px; }}
    QLineEdit {{ padding: 0 {t.grid}px; }}
    QAbstractSpinBox {{ padding-left: {t.grid}px; }}
    QAbstractSpinBox QLineEdit {{ background: transparent; border: none; padding: 0 {t.grid}px; min-height: 0; }}
    QAbstractSpinBox::up-button, QAbstractSpinBox::down-button {{ width: 0; height: 0; border: none; }}
    QLineEdit:focus, QAbstractSpinBox:focus {{ border-color: {t.accent}; }}
    QLabel[dim="true"] {{ color: {t.text_dim}; }}
    QLabel[small="true"] {{ font-size: {t.font_small}px; }}
    QPushButton[segment="true"] {{ border-radius: 0; }}
    QPushButton[segment="true"]:checked {{ background: {t.hover}; color: {t.text}; border-color: {t.line_bar}; }}
    QPushButton[segment="true"]:!checked {{ color: {t.text_dim}; background: transparent; }}
    QPushButton[large="true"] {{ min-height: {t.grid * 5}px; padding: 0 {t.grid * 2}px;
        font-size: {t.font_body + 1}px; }}
    QPushButton[quiet="true"] {{ background: transparent; border-color: transparent; }}
    QPushButton[quiet="true"]:hover {{ background: {t.hover}; }}
    QFrame#transport {{ background: {t.panel}; border: none; border-bottom: 1px solid {t.hairline}; }}
    QFrame#start_strip {{ background: {t.ground}; border: none; border-bottom: 1px solid {t.hairline}; }}
    QFrame#message_strip {{ background: {t.field}; border: none; border-top: 1px solid {t.hairline}; }}
    QFrame#proposal_strip {{ background: {t.panel}; border: none; border-top: 2px solid {t.proposal}; }}
    QFrame#limits_strip {{ background: {t.panel}; border: none; border-top: 1px solid {t.hairline}; }}
    QFrame#dock_title {{ background: {t.panel}; border: none; border-bottom: 1px solid {t.hairline}; }}
    #popover {{ background: {t.panel}; border: 1px solid {t.line_bar}; }}
    QListWidget {{ background: {t.field}; border: 1px solid {t.hairline}; border-radius: {t.radius}px; outline: none; }}
    QListWidget::item {{ padding: {half}px {t.grid}px; border-radius: {t.radius}px; }}
    QListWidget::item:selected {{ background: {t.hover}; color: {t.text}; }}
    QTableView {{ background: {t.panel}; selection-background-color: {t.hover}; selection-color: {t.text};
        outline: none; }}
    QTableView::item {{ padding: 0 {t.grid}px; }}
    QTableView::item:focus {{ border: 1px solid {t.accent}; }}
    QTableView QLineEdit {{ min-height: 0; border-radius: 0; border-color: {t.accent}; }}
    QHeaderView {{ background: {t.panel}; }}
    QHeaderView::section {{ background: {t.panel}; color: {t.text_dim}; border: none;
        border-bottom: 1px solid {t.hairline}; padding: {half}px {t.grid}px; font-size: {t.font_small}px; }}
    QTreeWidget#palette {{ background: {t.field}; border: 1px solid {t.hairline}; border-radius: {t.radius}px;
        outline: none; }}
    QTreeWidget#palette::item {{ padding: {half}px {t.grid}px; }}
    QTreeWidget#palette::item:selected {{ background: {t.hover}; color: {t.text}; }}
    QLabel[strong="true"] {{ font-weight: 600; }}
    QLabel[danger="true"] {{ color: {t.danger}; }}
    QLabel[title="true"] {{ font-size: {t.font_large}px; }}
    """
