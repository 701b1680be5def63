"""Styles on a model: what is in the folder that `personalise` wrote, and how far each is turned on.

An adapter's strength scales its changes of the weights, so 0 is the base model to the bit and two adapters add up.
An instant style's strength says how far towards it new bars are drawn; its sliders are there at any strength.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from engine.checkpoint import Checkpoint
from engine.errors import MorphonyError
from engine.model.adapter import Blend
from engine.model.batch import Bars
from engine.model.instant import CODES, InstantStyle, Latents
from engine.model.vaegan import MusicTransformerVAEGAN

ADAPTER, INSTANT = "adapter", "instant"
PREFIX = "style_"  # of the sliders of instant styles


@dataclass(frozen=True, slots=True, eq=False)
class Style:
    """One style and how far it is turned on, 0 to 1."""

    name: str
    kind: str
    hash: str
    tensors: Mapping[str, Tensor]
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.strength <= 1:
            raise MorphonyError(f"The strength of a style is 0 to 1, not {self.strength:g}.")

    @classmethod
    def open(cls, folder: Path, base: str, strength: float = 1.0) -> Style:
        """The style in a folder (or in the run's `best` inside it). Raises MorphonyError if it is another model's."""
        saved = Checkpoint(folder / "best" if (folder / "best").is_dir() else folder)
        if saved.facts.get("base") != base:
            raise MorphonyError(f"The style {folder.name} was made for another model.")
        tensors = saved.tensors()
        if not all(bool(torch.isfinite(t).all()) for t in tensors.values()):
            raise MorphonyError(f"The style {folder.name} is damaged: it holds values that are no numbers.")
        return cls(folder.name, str(saved.facts.get("kind", ADAPTER)), saved.hash, tensors, strength)


class Styles:
    """The styles of one session, on its model. Blended anew in milliseconds."""

    def __init__(self, model: MusicTransformerVAEGAN, styles: Sequence[Style]) -> None:
        self.styles = tuple(styles)
        for style in self.styles:
            if style.kind not in (ADAPTER, INSTANT):
                raise MorphonyError(f"The style {style.name} is of the kind {style.kind!r}, which is not known here.")
        adapters = [style.tensors for style in self.styles if style.kind == ADAPTER]
        self._blend = Blend(model, adapters) if adapters else None
        self.instant = tuple(InstantStyle.of(model.config, s.tensors) for s in self.styles if s.kind == INSTANT)
        self.blend([style.strength for style in self.styles])

    def __bool__(self) -> bool:
        return bool(self.styles)

    @property
    def tag(self) -> str:
        """What is added to the model's hash; nothing for styles that are off."""
        on = [s for s in self.styles if s.strength or s.kind == INSTANT]
        return "".join(f"+{s.hash}" + (f"*{s.strength:g}" if s.strength != 1 else "") for s in on)

    @property
    def sliders(self) -> tuple[str, ...]:
        """Names of the sliders of instant styles, CODES of each."""
        return tuple(f"{PREFIX}{i + 1}" for i in range(CODES * len(self.instant)))

    def blend(self, strengths: Sequence[float]) -> None:
        """Turn every style to a strength of its own, in their order."""
        self.styles = tuple(replace(s, strength=x) for s, x in zip(self.styles, strengths, strict=True))
        if self._blend is not None:
            self._blend.set([s.strength for s in self.styles if s.kind == ADAPTER])

    @torch.no_grad()
    def moved(self, z: Latents, bars: Bars, shift: Mapping[str, float]) -> Latents:
        """Latents of a piece with the sliders of instant styles where `shift` says; the same ones where all rest."""
        out, at = z, [shift.get(name, 0.0) for name in self.sliders]
        for i, instant in enumerate(self.instant):
            sliders = torch.tensor(at[CODES * i : CODES * (i + 1)])
            if bool(sliders.any()):
                out = instant.moved(out, bars, sliders)
        return out

    @torch.no_grad()
    def carried(self, z: Latents, bars: Bars) -> Latents:
        """Latents that were drawn from the prior, carried to where the instant styles that are on have their bars."""
        on = [s.strength for s in self.styles if s.kind == INSTANT]
        ways = [i.carried(z, bars, x) for i, x in zip(self.instant, on, strict=True) if x]
        if not ways:
            return z
        a, b, c = (z[level] + sum(way[level] - z[level] for way in ways) for level in range(3))
        return a, b, c


def is_style(folder: Path) -> bool:
    """True for a folder that `personalise` wrote, or the run's `best` inside it. Reads no tensors."""
    for place in (folder / "best", folder):
        try:
            return "base" in json.loads((place / "facts.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
    return False
