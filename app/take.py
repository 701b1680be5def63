"""One take as data: what it was made of and how, about 1 KB, and its picture. Knows no Qt and no engine.

Its notes are not kept: the recipe makes them again, and they are the same ones where the model is.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from app.recipe import Recipe
from engine.score.score import Score

SLOTS: Final = "ABCD"
PICTURE: Final = (24, 56)  # rows of pitch, columns of time


@dataclass(frozen=True, slots=True, eq=False)
class Take:
    """One take. `base` is what the recipe was applied to."""

    base: Score
    recipe: Recipe
    model: str  # hash of the weights and styles
    words: str  # how it came about
    name: str = ""  # given by the user
    starred: bool = False
    picture: bytes = b""  # PICTURE bits, packed
    notes: str = ""  # digest of its notes: whether they came back the same
    slot: str = ""  # one of SLOTS, or none

    @property
    def title(self) -> str:
        """Its own name, or how it came about."""
        return self.name or self.words

    def to_json(self, scores: list[Score]) -> dict[str, Any]:
        """Plain values; scores it refers to are put into `scores`, each once."""
        said = {
            "base": _index(scores, self.base),
            "recipe": self.recipe.to_json([_index(scores, score) for score in self.recipe.others]),
            "model": self.model,
            "words": self.words,
            "picture": base64.b64encode(self.picture).decode(),
            "notes": self.notes,
        }
        return said | {k: v for k in ("name", "starred", "slot") if (v := getattr(self, k))}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], scores: tuple[Score, ...]) -> Take:
        """Plain values back; KeyError, TypeError, ValueError or IndexError where they do not fit."""
        slot = str(data.get("slot", ""))
        return cls(
            scores[int(data["base"])],
            Recipe.from_json(data["recipe"], scores),
            str(data["model"]),
            str(data["words"]),
            str(data.get("name", "")),
            bool(data.get("starred")),
            base64.b64decode(str(data["picture"]), validate=True),
            str(data["notes"]),
            slot if slot in tuple(SLOTS) else "",
        )


def _index(scores: list[Score], score: Score) -> int:
    """Where a score is in the table; it is put there if it is not."""
    for i, known in enumerate(scores):
        if known is score:
            return i
    scores.append(score)
    return len(scores) - 1


def picture_of(score: Score) -> bytes:
    """The piece as PICTURE bits: what sounds when, its own pitch range from top to bottom."""
    rows, columns = PICTURE
    out = np.zeros(PICTURE, bool)
    if len(score.notes):
        pitch, low = score.notes["pitch"].astype(int), int(score.notes["pitch"].min())
        span = max(int(pitch.max()) - low, 12)
        y = rows - 1 - (pitch - low) * (rows - 1) // span
        scale = columns / max(score.end_tick, 1)
        first = (score.notes["tick"] * scale).astype(int).clip(0, columns - 1)
        last = ((score.notes["tick"] + score.notes["duration"]) * scale).astype(int).clip(first + 1, columns)
        for a, b, row in zip(first.tolist(), last.tolist(), y.tolist(), strict=True):
            out[row, a:b] = True
    return np.packbits(out).tobytes()


def bits_of(picture: bytes) -> NDArray[np.bool_]:
    """PICTURE of booleans; a damaged one is empty."""
    count = PICTURE[0] * PICTURE[1]
    bits = np.unpackbits(np.frombuffer(picture, np.uint8))
    return bits[:count].reshape(PICTURE).astype(bool) if len(bits) >= count else np.zeros(PICTURE, bool)


def digest(score: Score) -> str:
    """Sixteen letters that are the same for the same notes."""
    return hashlib.sha256(score.notes.tobytes()).hexdigest()[:16]
