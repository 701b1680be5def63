"""Which controller moves which slider, and which a slider sends. Pure, and kept as one line of text."""

from __future__ import annotations

import json
from collections.abc import Sequence

from app.panels.sliders import RANGE
from app.sound.ports import CONTROL

CHANNEL = 15  # on which slider moves go out: away from instruments
NUMBERS = (*range(20, 32), *range(102, 120))  # controllers the standard leaves free
Knob = tuple[int, int]  # channel, controller


def value_of(amount: int) -> float:
    """A slider's offset in sigma for a controller's 0 to 127; 64 is the middle, exactly."""
    return (amount - 64) / (63 if amount > 64 else 64) * RANGE


def amount_of(value: float) -> int:
    """A controller's 0 to 127 for a slider's offset."""
    return min(max(round(64 + value / RANGE * (63 if value > 0 else 64)), 0), 127)


class Knobs:
    """Learned controllers over the default ones, which are those that the sliders themselves send."""

    def __init__(self, names: Sequence[str], text: str = "") -> None:
        self.names = tuple(names)
        self.learned: dict[Knob, str] = {}
        try:
            for channel, number, name in json.loads(text or "[]"):
                self.learned[int(channel), int(number)] = str(name)
        except (ValueError, TypeError):
            self.learned.clear()  # a damaged setting is no setting

    def text(self) -> str:
        """What `Knobs` reads back."""
        return json.dumps([[channel, number, name] for (channel, number), name in sorted(self.learned.items())])

    def learn(self, knob: Knob, name: str) -> None:
        """Let a controller move a slider, and no other controller but the default one."""
        self.learned = {k: n for k, n in self.learned.items() if n != name} | {knob: name}

    def slider(self, knob: Knob) -> str | None:
        """The slider that a controller moves."""
        if knob in self.learned:
            return self.learned[knob]
        own = {(CHANNEL, number): name for name, number in zip(self.names, NUMBERS, strict=False)}
        return own.get(knob)

    def message(self, name: str, value: float) -> bytes | None:
        """What a slider's move sends out; None for one slider too many."""
        own = dict(zip(self.names, NUMBERS, strict=False))
        return bytes((CONTROL | CHANNEL, own[name], amount_of(value))) if name in own else None
