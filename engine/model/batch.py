"""What the model is fed: bars in one flat list, with their phrase and their piece by index.

K bars in all, M notes in all, P phrases, B pieces. No padding but for slots.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.attributes import NAMES
from engine.config import PHRASE_BARS as PHRASE_BARS
from engine.model import fields as f
from engine.score.timing import beat_clocks as beat_clocks
from engine.tokens.vocab import PITCHES


@dataclass(frozen=True, slots=True)
class Notes:
    """Notes of K bars, as class indices."""

    bar: Tensor  # (M,) int64, 0 to K-1
    onset: Tensor  # (M,) clocks
    micro: Tensor  # (M,)
    pitch: Tensor  # (M,) 0 to 87
    duration: Tensor  # (M,)
    velocity: Tensor  # (M,)
    part: Tensor  # (M,)

    @classmethod
    def of(cls, notes: NDArray[np.void]) -> Notes:
        """From BAR_NOTE; its `bar` must count bars of the batch."""
        return cls(
            bar=torch.from_numpy(notes["bar"].astype(np.int64)),
            onset=torch.from_numpy(notes["onset"].astype(np.int64)),
            micro=torch.from_numpy(f.micro_class(notes["micro"])),
            pitch=torch.from_numpy(notes["pitch"].astype(np.int64) - PITCHES.start),
            duration=torch.from_numpy(f.duration_class(notes["duration"])),
            velocity=torch.from_numpy(f.velocity_class(notes["velocity"])),
            part=torch.from_numpy(notes["part"].astype(np.int64)),
        )

    @property
    def cell(self) -> Tensor:
        """(M,) index of each note's cell in its bar: clock x pitch."""
        return self.onset * f.N_PITCHES + self.pitch

    def to(self, device: torch.device) -> Notes:
        """The same on a device."""
        return _moved(self, device)


@dataclass(frozen=True, slots=True)
class Bars:
    """What is known of K bars before any note: the conditions of encoder and decoder."""

    clocks: Tensor  # (K,) int64 length
    beat: Tensor  # (K,) int64 clocks in a beat (36 in compound meters)
    parts: Tensor  # (K, 16) float, 1 for the parts that play in the piece
    place: Tensor  # (K,) int64 bar in phrase, 0 to 3
    phrase: Tensor  # (K,) int64 index of its phrase
    piece: Tensor  # (P,) int64 index of each phrase's piece

    @property
    def slots(self) -> Tensor:
        """(K,) number of slots of each bar."""
        return (self.clocks + f.SLOT_CLOCKS - 1) // f.SLOT_CLOCKS

    @property
    def n_pieces(self) -> int:
        """B."""
        return int(self.piece.max()) + 1 if len(self.piece) else 0

    def to(self, device: torch.device) -> Bars:
        """The same on a device."""
        return _moved(self, device)

    def select(self, index: Tensor) -> Bars:
        """Only some bars, still pointing at the same phrases and pieces."""
        return Bars(
            self.clocks[index], self.beat[index], self.parts[index], self.place[index], self.phrase[index], self.piece
        )


@dataclass(frozen=True, slots=True)
class Offsets:
    """Slider offsets of K bars in standard deviations; where `known` is 0 the attribute is free to follow."""

    value: Tensor  # (K, 12)
    known: Tensor  # (K, 12) float 0 or 1

    @classmethod
    def none(cls, k: int) -> Offsets:
        """No slider moved, none held."""
        return cls(torch.zeros(k, len(NAMES)), torch.zeros(k, len(NAMES)))

    @property
    def flat(self) -> Tensor:
        """(K, 24) values, zero where unknown, then the flags."""
        return torch.cat([self.value * self.known, self.known], dim=-1)

    def to(self, device: torch.device) -> Offsets:
        """The same on a device."""
        return _moved(self, device)


T = TypeVar("T", Notes, Bars, Offsets)


def _moved(value: T, device: torch.device) -> T:
    return type(value)(**{field.name: getattr(value, field.name).to(device) for field in fields(value)})
