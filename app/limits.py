"""What may sound, as a musician writes it: key, range, voices, chords. Empty is no preference.

Text, so that it can be shown, saved and edited again; `masks` is what the engine reads. Knows no Qt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from engine.errors import MorphonyError
from engine.masks import Masks
from engine.score import harmony


@dataclass(frozen=True, slots=True)
class Limits:
    """One choice of limits."""

    scale: str = ""  # "D minor", or one a bar: "C major | A minor"
    low: int | None = None  # lowest MIDI pitch, allowed
    high: int | None = None  # highest, allowed
    loose: bool = False  # the range leans instead of forbidding
    chords: str = ""  # "C | Am F | G7", from the start again at the end
    voices: int | None = None  # notes that sound at once, at most

    def masks(self) -> Masks:
        """As the engine reads them. Raises MorphonyError where the text means nothing."""
        reach = None
        if self.low is not None or self.high is not None:
            reach = (0 if self.low is None else self.low, 127 if self.high is None else self.high)
        return Masks(
            harmony.scales(self.scale) if self.scale.strip() else (),
            reach,
            self.loose and reach is not None,
            harmony.chords(self.chords) if self.chords.strip() else (),
            self.voices,
        )

    def trouble(self) -> str:
        """Why these limits cannot be kept, as a sentence; empty when they can."""
        try:
            self.masks()
        except MorphonyError as error:
            return str(error)
        return ""

    def __bool__(self) -> bool:
        return self != Limits(loose=self.loose)

    def to_json(self) -> dict[str, Any]:
        """Plain values; what has no preference is left out."""
        return {name: value for name, value in asdict(self).items() if value not in ("", None, False)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Limits:
        """Plain values back; TypeError or ValueError where they do not fit."""
        whole = {name: None if data.get(name) is None else int(data[name]) for name in ("low", "high", "voices")}
        return cls(
            scale=str(data.get("scale", "")), loose=bool(data.get("loose")), chords=str(data.get("chords", "")), **whole
        )
