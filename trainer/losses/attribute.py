"""The named attributes as losses: of the decoded notes against the target's, and of the latents (AR-VAE).

Off unless a configuration switches them on: the sliders learn more from edited twins (see the notes on the model), so
these are for comparison and for finishing. K bars, A attributes, Z width of the fine latent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.attributes import INDEX, NAMES
from engine.model import soft
from engine.model.fields import N_PITCHES
from engine.model.soft import SoftBars
from engine.model.soft_attributes import measure
from trainer.losses.registry import Decoded, register

STEEPEST = 3.0  # times the batch's mean: no bar's gradient is longer
SHARPNESS = 10.0  # of the sign agreement, as in the paper

REASONS = {
    "density": "Keeps a bar as busy as it was asked to be, whichever notes it is made of.",
    "rhythm": "Keeps how many 16ths are struck, which a count of notes does not tell from chords.",
    "syncopation": "Keeps the balance of on-beat and off-beat onsets, which a shifted 16th hardly costs elsewhere.",
    "polyphony": "Keeps how many notes sound at once, where onsets and durations meet.",
    "register": "Keeps a bar in its octave: a cell an octave off costs the likelihood no more than one beside it.",
    "range": "Keeps the outermost notes, two among many and the first that a listener hears missing.",
    "articulation": "Keeps the median length of notes, so that staccato does not drift to the corpus mean.",
    "dynamics": "Keeps how loud a bar is as a whole, where each note's own bin is hard to tell.",
    "dynamic_spread": "Keeps loud and soft apart: a likelihood is satisfied by velocities that hug the mean.",
    "leaps": "Keeps the top line moving by as much as it did, by step or by leap.",
    "pitch_variety": "Keeps how many pitch classes share a bar, against decoders that fall back on the tonic chord.",
    "consonance": "Keeps how rough or smooth a bar's notes agree, where one wrong semitone changes the sound.",
}


class _Calm(torch.autograd.Function):
    """Identity forward; backward a bar whose gradient is far longer than the batch's mean is shortened to it."""

    @staticmethod
    def forward(ctx: Any, grid: Tensor) -> Tensor:
        """(K, ...) as it is."""
        return grid.view_as(grid)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """(K, ...) with no row longer than STEEPEST times the mean length."""
        rows = gradients[0].flatten(1)
        length = rows.norm(dim=1)
        longest = STEEPEST * length.mean()
        out: Tensor = gradients[0] * (longest / length.clamp(min=1e-12)).clamp(max=1).view(-1, 1, 1)
        return out


def calm(bars: SoftBars) -> SoftBars:
    """The same bars, of which none can drown the others' gradients however steep its attribute is."""
    onset, duration, velocity = (
        _Calm.apply(grid)  # type: ignore[no-untyped-call]  # torch gives functions of one's own no types
        for grid in (bars.onset, bars.duration, bars.velocity)
    )
    return SoftBars(onset, duration, velocity, bars.inside)


def _sigma(d: Decoded) -> Tensor:
    """(12,) one deviation of every attribute; 1 where no corpus gave any."""
    return torch.ones(len(NAMES), device=d.onsets.device) if d.deviations is None else d.deviations


def _kept(name: str) -> Callable[[Decoded], Tensor]:
    def attribute(d: Decoded) -> Tensor:
        said, said_any = measure(name, calm(d.fake))
        meant, meant_any = measure(name, d.real)
        apart = (said - meant) / _sigma(d)[INDEX[name]]
        off = F.huber_loss(apart, torch.zeros_like(apart), reduction="none")
        return d.over_bars(f"attribute_{name}", off * (said_any & meant_any))

    attribute.__doc__ = f"Huber distance of the decoded {name} from the target's, in deviations of the corpus."
    return attribute


for _name in NAMES:
    register(f"attribute_{_name}", "attribute", 0.5, REASONS[_name], styled=True)(_kept(_name))


@register(
    "latent_order",
    "attribute",
    1.0,
    "Reserves a bar latent for each attribute, so that the analysis can ask how well latents alone order bars.",
    coupled="every two bars",
)
def latent_order(d: Decoded) -> Tensor:
    """Disagreement (0 to 2) of two bars' order in latent i with their order in attribute i (Pati and Lerch 2021)."""
    encoded = soft.real(d.source or d.target, d.bars, d.onsets.shape[1] // N_PITCHES)
    measured = [measure(name, encoded) for name in NAMES[: d.posterior.z_fine.shape[1]]]
    wanted = torch.stack([_apart(value).sign() * (known[:, None] & known) for value, known in measured], -1)
    said = torch.tanh(SHARPNESS * _apart(d.posterior.z_fine[:, : len(measured)]))  # (K, K, A)
    return ((said - wanted).abs() * (wanted != 0)).mean((0, 1)).sum() * d.shares.sum()


def _apart(x: Tensor) -> Tensor:
    """(K, K, ...) difference of every two rows."""
    return x[:, None] - x[None]
