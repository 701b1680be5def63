"""A loaded model with its codec and device: what callers hold. Encodes a score into a `Piece` of latents.

N bars, P phrases, A = 12 attributes; F, L, G widths of the fine, local and global level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine import devices
from engine.attributes import NAMES, SPECS, measure, measure_bars
from engine.checkpoint import Checkpoint
from engine.config import Config
from engine.errors import MorphonyError
from engine.model.batch import PHRASE_BARS, Bars, Notes, Offsets, beat_clocks
from engine.model.decoder import Decodes
from engine.model.fields import N_PARTS
from engine.model.instant import Latents
from engine.model.vaegan import MusicTransformerVAEGAN, beside
from engine.sampling import Rows
from engine.score import Score
from engine.score.timing import BarGrid
from engine.style import Style, Styles
from engine.tokens.bars import part_tracks, to_bars

STARTER = Path(__file__).resolve().parent.parent / "assets" / "models" / "starter"
ENCODE_BARS = 64  # bars encoded at once; whole phrases


@dataclass(frozen=True, slots=True)
class SliderSpec:
    """One slider a model offers."""

    name: str
    label: str
    description: str
    kind: str  # "attribute", "colour" or "style"
    unit: str
    sd: float  # one sigma, in the attribute's own unit; 1 for the others
    quantiles: tuple[float, ...] | None  # 101 of the corpus, 0 to 100 %
    rho: float | None  # measured correlation of slider and re-measured attribute


@dataclass(frozen=True, slots=True, eq=False)
class Remembered:
    """One bar as the decoder says it with every named slider at rest. S slots, C width."""

    laid: Tensor  # (S, C) its latents, laid out
    logits: NDArray[np.float32]  # (S * 4, 88) relative to the threshold
    slots: Tensor  # (S, C)
    candidates: Rows  # cells anywhere near the threshold
    by: str  # hash of the session that decoded it


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """A score as the model sees it. Frozen; safe to hand between threads."""

    score: Score
    grid: BarGrid
    bars: NDArray[np.void]  # BAR_NOTE of the source
    conditions: Bars
    z_global: Tensor  # (1, G)
    z_local: Tensor  # (P, L)
    z_fine: Tensor  # (N, F)
    own: NDArray[np.float64]  # (N, A) attributes of each bar
    attributes: NDArray[np.float64]  # (A,) over the whole piece
    cache: dict[int, Remembered] = field(default_factory=dict)  # by bar

    def __len__(self) -> int:
        return len(self.grid)

    def with_latents(self, latents: Mapping[str, Tensor]) -> Piece:
        """The same conditions with other latents. Raises MorphonyError when their shapes do not fit."""
        for name in ("z_global", "z_local", "z_fine"):
            if name not in latents or latents[name].shape != getattr(self, name).shape:
                raise MorphonyError(f"These latents do not fit: {name} should be {tuple(getattr(self, name).shape)}.")
        z_global, z_local, z_fine = (latents[n] for n in ("z_global", "z_local", "z_fine"))
        return replace(self, z_global=z_global, z_local=z_local, z_fine=z_fine, cache={})


class Session:
    """A model ready to use. One thread at a time."""

    def __init__(
        self,
        model: MusicTransformerVAEGAN,
        saved: Checkpoint,
        device: torch.device,
        reason: str,
        styles: Sequence[Style] = (),
    ) -> None:
        self.model, self.device, self.device_reason = model.eval().to(device), device, reason
        self.config: Config = saved.config
        if model.events is None:
            self.decoder: Decodes = model.decoder  # what bars are decoded with
        self.base = saved.hash
        self.styles = Styles(model, styles)
        self.hash = self.base + self.styles.tag
        facts = saved.facts
        self.deviations = _deviations(saved)
        self.colours = saved.tensors("colours") if facts.get("colours") else {}
        self.sliders = () if model.events is not None else _sliders(facts, self.styles)
        self.facts = facts

    @classmethod
    def open(
        cls,
        model_dir: Path | None = None,
        device: str = "auto",
        adapter: Path | None = None,
        styles: Mapping[Path, float] | None = None,
    ) -> Session:
        """Load a model folder (the starter by default), with styles on top: their folders (or run folders) and how far
        each is turned on, 0 to 1. `adapter` is one more style, turned on in full.
        """
        saved = Checkpoint(model_dir) if model_dir is not None else _starter()
        chosen, reason = devices.choose(device)
        if chosen.type == "cpu":
            torch.set_num_threads(1)  # under load two OpenMP threads run many times slower than one
        wanted = ({} if adapter is None else {adapter: 1.0}) | dict(styles or {})
        if wanted and saved.config.model.mode == "transformer":
            raise MorphonyError("A model of events takes no styles.")
        opened = [Style.open(folder, saved.hash, strength) for folder, strength in wanted.items()]
        return cls(_load(saved), saved, chosen, reason, opened)

    def blend(self, *strengths: float) -> None:
        """Turn every style to a strength of its own, 0 to 1, in the order they were opened in; takes milliseconds.

        A piece that was encoded before keeps its latents: encode it anew to hear it as the blend does.
        """
        if len(strengths) != len(self.styles.styles):
            raise MorphonyError(f"There are {len(self.styles.styles)} styles to blend but {len(strengths)} strengths.")
        self.styles.blend(strengths)
        self.hash = self.base + self.styles.tag

    @torch.no_grad()
    def encode(self, score: Score, sample_seed: int | None = None) -> Piece:
        """The posterior mean of every latent (or a sample, with a seed). Raises MorphonyError without pitched notes."""
        if self.model.events is not None:
            raise MorphonyError("This model continues music event by event; it has no latents to encode a piece into.")
        grid = BarGrid.of(score)
        bars = to_bars(score, grid)
        if not len(bars):
            raise MorphonyError("There are no pitched notes between A0 and C8 here for the model to hear.")
        clocks, conditions = grid.clocks, conditions_of(grid, len(part_tracks(score)))
        z_global, z_local, z_fine = self._encode(bars, conditions, sample_seed)
        own = measure_bars(bars, clocks)
        return Piece(score, grid, bars, conditions, z_global, z_local, z_fine, own, measure(bars, clocks))

    def _encode(self, bars: NDArray[np.void], conditions: Bars, seed: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """Bar features chunk by chunk (phrases never straddle chunks), then the ladder over the whole piece."""
        encoder, n = self.model.encoder, len(conditions.clocks)
        ends = np.searchsorted(bars["bar"], np.arange(0, n + ENCODE_BARS, ENCODE_BARS))
        direct, features = [], []
        for i, start in enumerate(range(0, n, ENCODE_BARS)):
            part = bars[ends[i] : ends[i + 1]].copy()
            part["bar"] -= start
            chunk = conditions.select(torch.arange(start, min(start + ENCODE_BARS, n))).to(self.device)
            d, h = encoder.bar_features(Notes.of(part).to(self.device), chunk)
            direct.append(d)
            features.append(h)
        noise = None if seed is None else torch.Generator(device=self.device).manual_seed(seed)
        whole = conditions.to(self.device)
        q = encoder.ladder(torch.cat(direct), torch.cat(features), whole, noise, seed is None)
        return q.z_global.cpu(), q.z_local.cpu(), q.z_fine.cpu()

    def styled(self, piece: Piece, shift: Mapping[str, float]) -> Piece:
        """The piece with its latents where the sliders of instant styles put them; the same one where they rest."""
        return _at(piece, self.styles.moved(_latents(piece), piece.conditions, shift))

    def carried(self, piece: Piece) -> Piece:
        """The piece with its latents where the instant styles that are on have theirs; the same one without any."""
        return _at(piece, self.styles.carried(_latents(piece), piece.conditions))

    @torch.no_grad()
    def slots(self, piece: Piece, bars: Tensor, shift: Tensor, offsets: Offsets) -> Tensor:
        """(K, S, C) decoded slots of some bars, their fine latents moved by `shift` (K, F) or nothing."""
        chosen = piece.conditions.select(bars)
        return self.model.slots(
            piece.z_global.to(self.device),
            piece.z_local.to(self.device),
            (piece.z_fine[bars] + shift).to(self.device),
            chosen.to(self.device),
            offsets.to(self.device),
        )

    @torch.no_grad()
    def laid(self, piece: Piece, bars: Tensor, shift: Tensor | None = None) -> Tensor:
        """(K, S, C) latents of some bars, moved by `shift` (F,), over slots: `slots` before any named slider."""
        chosen = piece.conditions.select(bars)
        z_fine = piece.z_fine[bars] if shift is None else piece.z_fine[bars] + shift
        z = beside(piece.z_global, piece.z_local, z_fine, chosen)
        return self.decoder.laid(z.to(self.device), chosen.to(self.device))


def _latents(piece: Piece) -> Latents:
    return piece.z_global, piece.z_local, piece.z_fine


def _at(piece: Piece, z: Latents) -> Piece:
    """The piece with these latents; itself where they are its own."""
    if all(a is b for a, b in zip(z, _latents(piece), strict=True)):
        return piece
    return replace(piece, z_global=z[0], z_local=z[1], z_fine=z[2], cache={})


def conditions_of(grid: BarGrid, parts: int) -> Bars:
    """What the decoder knows of one piece's bars besides latents: lengths, beats, how many parts play."""
    n = len(grid)
    plays = (np.arange(N_PARTS) < parts).astype(np.float32)
    return Bars(
        clocks=torch.from_numpy(grid.clocks),
        beat=torch.from_numpy(beat_clocks(grid.numerators, grid.denominators)),
        parts=torch.from_numpy(np.tile(plays, (n, 1))),
        place=torch.arange(n) % PHRASE_BARS,
        phrase=torch.arange(n) // PHRASE_BARS,
        piece=torch.zeros(-(-n // PHRASE_BARS), dtype=torch.int64),
    )


def _starter() -> Checkpoint:
    """The model that comes with Morphony; where it is not whole, the sentence says how to get it back."""
    if not STARTER.is_dir():
        raise MorphonyError("The starter model is missing; install Morphony again to get it back.")
    try:
        return Checkpoint(STARTER)
    except MorphonyError as error:
        trouble = str(error).removeprefix(STARTER.name).rstrip(".")
        raise MorphonyError(f"The starter model{trouble}; install Morphony again to get it back.") from error


def _load(saved: Checkpoint) -> MusicTransformerVAEGAN:
    """The model of a checkpoint. Shapes are compared before a byte is allocated, whatever the configuration claims."""
    tensors = saved.tensors()
    with torch.device("meta"):
        fits = MusicTransformerVAEGAN(saved.config.model).fits(tensors)
    if not fits:
        raise MorphonyError(f"{saved.folder.name} does not fit its own configuration.")
    model = MusicTransformerVAEGAN(saved.config.model)
    model.load(tensors)
    return model


def _deviations(saved: Checkpoint) -> NDArray[np.float64]:
    """(12,) one sigma of every named slider; ones for a model of events, which has no sliders."""
    if saved.config.model.mode == "transformer":
        return np.ones(len(NAMES))
    try:
        out = np.array(saved.facts["deviations"], np.float64)
    except (KeyError, TypeError, ValueError) as error:
        raise MorphonyError(f"{saved.folder.name} does not say how far its sliders reach.") from error
    if out.shape != (len(NAMES),) or not np.isfinite(out).all():
        raise MorphonyError(f"{saved.folder.name} does not say how far its sliders reach.")
    return out


def _sliders(facts: Mapping[str, object], styles: Styles) -> tuple[SliderSpec, ...]:
    deviations, quantiles = facts["deviations"], facts.get("quantiles", {})
    rho, colours = facts.get("rho", {}), facts.get("colours", [])
    assert isinstance(deviations, list)
    assert isinstance(quantiles, dict)
    assert isinstance(rho, dict)
    assert isinstance(colours, list)
    named = [
        SliderSpec(
            s.name, s.label, s.description, "attribute", s.unit, float(deviations[i]),
            tuple(quantiles[s.name]) if s.name in quantiles else None, rho.get(s.name),
        )
        for i, s in enumerate(SPECS)
    ]  # fmt: skip
    coloured = [
        SliderSpec(
            c, f"Colour {i + 1}", "A direction the model found by itself: what varies most between bars.",
            "colour", "notes", 1.0, None, None,
        )
        for i, c in enumerate(colours)
    ]  # fmt: skip
    styled = [
        SliderSpec(
            name, f"Style {i + 1}", "A direction in which the music of the style differs from piece to piece.",
            "style", "notes", 1.0, None, None,
        )
        for i, name in enumerate(styles.sliders)
    ]  # fmt: skip
    return tuple(named + coloured + styled)


__all__ = ["Piece", "Session", "SliderSpec"]
