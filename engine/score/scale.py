"""The scale a piece most likely moves in, from its notes alone. Nothing here knows about key signatures or files."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.score.score import Score

NAMES = ("C", "D♭", "D", "E♭", "E", "F", "F♯", "G", "A♭", "A", "B♭", "B")
MODES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
# How well each pitch class fits a key, from listeners' ratings (Krumhansl and Kessler 1982).
PROFILES = {
    "major": (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88),
    "minor": (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17),
}


@dataclass(frozen=True, slots=True)
class Scale:
    """A tonic (0 is C) and a mode."""

    tonic: int
    mode: str

    @property
    def name(self) -> str:
        """As a musician writes it: "E♭ minor"."""
        return f"{NAMES[self.tonic]} {self.mode}"

    @property
    def pitch_classes(self) -> frozenset[int]:
        """The seven pitch classes."""
        return frozenset((self.tonic + step) % 12 for step in MODES[self.mode])


def estimate(score: Score) -> Scale | None:
    """The scale whose profile correlates best with the time each pitch class sounds; None without pitched notes."""
    pitched = np.array([not track.is_drum for track in score.tracks], dtype=bool)
    notes = score.notes[pitched[score.notes["track"]]] if len(pitched) else score.notes[:0]
    weight = np.bincount(notes["pitch"] % 12, weights=np.maximum(notes["duration"], 1), minlength=12)
    if not weight.any() or weight.std() == 0:
        return None
    fits = {
        Scale(tonic, mode): float(np.corrcoef(np.roll(profile, tonic), weight)[0, 1])
        for mode, profile in PROFILES.items()
        for tonic in range(12)
    }
    return max(fits, key=lambda scale: fits[scale])
