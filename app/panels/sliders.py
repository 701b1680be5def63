"""The sliders as objects: values, locks, where the piece sits, and the scope they act on.

Widgets subscribe to these; nothing here paints, and nothing here knows the engine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from engine.attributes import SPECS

RANGE = 2.0  # standard deviations either way
SNAP = 0.08  # closer to the piece's own value than this is the piece's own value


@dataclass(frozen=True, slots=True, eq=False)
class SliderInfo:
    """What a slider says of itself. `quantiles` (101,) of the corpus in the attribute's unit, if measured."""

    name: str
    label: str
    description: str
    kind: str = "attribute"  # or "colour"
    unit: str = ""
    sd: float = 1.0
    quantiles: NDArray[np.float64] | None = None
    rho: float | None = None


ATTRIBUTE_INFOS = tuple(SliderInfo(s.name, s.label, s.description, unit=s.unit) for s in SPECS)


class SliderModel(QObject):
    """One slider: its offset from the piece's own value, in standard deviations."""

    changed = Signal()  # anything a view shows
    grabbed = Signal()  # a drag begins
    moved = Signal()  # the user moved it
    released = Signal()  # a drag ended

    def __init__(self, info: SliderInfo, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.info = info
        self.value = 0.0
        self.own: float | None = None  # the piece's own value in the attribute's unit
        self.locked = False
        self.why_disabled = ""  # one sentence; empty when the slider may be moved
        self.held = False

    @property
    def enabled(self) -> bool:
        """Whether the user may move it now."""
        return not self.why_disabled and not self.locked

    def grab(self) -> None:
        """A drag begins: moves until `release` are one step."""
        if self.enabled and not self.held:
            self.held = True
            self.grabbed.emit()

    def move(self, value: float) -> None:
        """The user asks for `value`; clipped to the range, snapped softly at 0."""
        value = float(np.clip(value, -RANGE, RANGE))
        value = 0.0 if abs(value) < SNAP else round(value, 3)
        if self.enabled and value != self.value:
            self.value = value
            self.changed.emit()
            self.moved.emit()

    def release(self) -> None:
        """The drag ends."""
        if self.held:
            self.held = False
            self.released.emit()

    def show(self, value: float, own: float | None) -> None:
        """Follow the song: another value or another place of the piece, not by the user's hand."""
        if (value, own) != (self.value, self.own):
            self.value, self.own = value, own
            self.changed.emit()

    def describe(self, info: SliderInfo) -> None:
        """Take the model's own description of this slider (distribution, measured correlation)."""
        self.info = info
        self.changed.emit()

    def set_locked(self, locked: bool) -> None:
        """A locked slider moves for nobody."""
        if locked != self.locked:
            self.locked = locked
            self.changed.emit()

    def disable(self, why: str) -> None:
        """Disable with the reason as a sentence, or enable with an empty one."""
        if why != self.why_disabled:
            self.why_disabled = why
            self.changed.emit()


class MorphState(QObject):
    """All sliders and the bars they act on."""

    moved = Signal(str)  # name: the user moved this slider
    grabbed = Signal(str)
    released = Signal(str)
    scope_changed = Signal()  # bars is another range
    sliders_changed = Signal()  # there are other sliders than before

    def __init__(self, infos: Iterable[SliderInfo] = ATTRIBUTE_INFOS, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.sliders: dict[str, SliderModel] = {}
        self.selection: range | None = None  # bars chosen in the roll
        self.whole_piece = True
        self.set_infos(infos)

    def set_infos(self, infos: Iterable[SliderInfo]) -> None:
        """Describe the sliders anew: known ones are kept, others come and go."""
        infos = list(infos)
        before = list(self.sliders)
        for info in infos:
            if info.name in self.sliders:
                self.sliders[info.name].describe(info)
            else:
                self.sliders[info.name] = self._make(info)
        for name in set(before) - {info.name for info in infos}:
            self.sliders.pop(name).deleteLater()
        if before != list(self.sliders):
            self.sliders_changed.emit()

    def _make(self, info: SliderInfo) -> SliderModel:
        model = SliderModel(info, self)
        model.moved.connect(lambda: self.moved.emit(info.name))
        model.grabbed.connect(lambda: self.grabbed.emit(info.name))
        model.released.connect(lambda: self.released.emit(info.name))
        return model

    def __getitem__(self, name: str) -> SliderModel:
        return self.sliders[name]

    @property
    def offsets(self) -> dict[str, float]:
        """The sliders that stand off zero."""
        return {name: s.value for name, s in self.sliders.items() if s.value}

    @property
    def bars(self) -> range | None:
        """Bars the sliders act on; None is the whole piece."""
        return None if self.whole_piece else self.selection

    @property
    def held(self) -> bool:
        """Whether a drag is under way."""
        return any(s.held for s in self.sliders.values())

    def show(self, offsets: Mapping[str, float], own: Mapping[str, float | None]) -> None:
        """Follow the song: every slider at once."""
        for name, slider in self.sliders.items():
            slider.show(float(offsets.get(name, 0.0)), own.get(name))

    def disable(self, why: str) -> None:
        """Disable every slider with one reason, or enable them with an empty one."""
        for slider in self.sliders.values():
            slider.disable(why)

    def set_selection(self, bars: range | None) -> None:
        """The bars chosen in the roll; without any the scope is the piece again."""
        before = self.bars
        self.selection = bars
        if bars is None:
            self.whole_piece = True
        if self.bars != before or bars is not None:
            self.scope_changed.emit()

    def set_whole_piece(self, whole: bool) -> None:
        """Choose the scope: the whole piece or the chosen bars."""
        whole = whole or self.selection is None
        if whole != self.whole_piece:
            self.whole_piece = whole
            self.scope_changed.emit()
