"""A style on top of a frozen model: low-rank changes of its weight matrices (LoRA, Hu et al. 2021)
and a learned vector added in every decoder layer (in-attention bias).

R rank. An adapter is a few hundred kilobytes of tensors and never touches the base weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from engine.errors import MorphonyError
from engine.model.vaegan import MusicTransformerVAEGAN

RANK = 8
BIAS = "decoder.style"


class LowRank(nn.Module):
    """W + B A, with B zero at the start: attaching changes nothing until it is trained."""

    def __init__(self, rows: int, columns: int, rank: int) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.randn(rank, columns) * columns**-0.5)
        self.b = nn.Parameter(torch.zeros(rows, rank))

    def forward(self, weight: Tensor) -> Tensor:
        """(rows, columns) the adapted weight."""
        return weight + self.b @ self.a


def _places(model: MusicTransformerVAEGAN) -> Iterator[tuple[str, nn.Linear]]:
    """Every linear layer of encoder and decoder; not the prior, not the refiner."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and not name.startswith(("prior", "refiner")):
            yield name, module


def attach(model: MusicTransformerVAEGAN, rank: int = RANK) -> list[nn.Parameter]:
    """Put a new adapter on a model, to be trained, and return its parameters."""
    parameters: list[nn.Parameter] = []
    for _, layer in list(_places(model)):
        rows, columns = layer.weight.shape
        low = LowRank(rows, columns, rank)
        parametrize.register_parametrization(layer, "weight", low.to(layer.weight.device))
        parameters += [low.a, low.b]
    bias = nn.Parameter(model.decoder.style.detach().clone())
    del model.decoder.style  # a buffer of zeros until now
    model.decoder.register_parameter("style", bias)
    return [*parameters, bias]


def detached(model: MusicTransformerVAEGAN) -> dict[str, Tensor]:
    """A copy of the adapter's own tensors, for saving."""
    return {name: tensor.detach().clone() for name, tensor in _tensors(model).items()}


def _tensors(model: MusicTransformerVAEGAN) -> dict[str, Tensor]:
    out = {BIAS: model.decoder.style}
    for name, layer in _places(model):
        if parametrize.is_parametrized(layer, "weight"):
            low = layer.get_submodule("parametrizations.weight.0")
            assert isinstance(low, LowRank)
            out[f"{name}.a"], out[f"{name}.b"] = low.a, low.b
    return out


@torch.no_grad()
def restore(model: MusicTransformerVAEGAN, tensors: Mapping[str, Tensor]) -> None:
    """Put saved adapter tensors back into a model that already carries an adapter of the same shape."""
    for name, mine in _tensors(model).items():
        mine.copy_(tensors[name])


def scaled(tensors: Mapping[str, Tensor], strength: float) -> dict[str, Tensor]:
    """The adapter whose changes are `strength` times those of another: between the base model and it."""
    return {name: t if name.endswith(".a") else t * strength for name, t in tensors.items()}


class Blend:
    """A model with some saved adapters on it, each at a strength of its own; nothing is left of them at 0."""

    def __init__(self, model: MusicTransformerVAEGAN, adapters: Sequence[Mapping[str, Tensor]]) -> None:
        for tensors in adapters:
            _check(model, tensors)
        self.layers = [(layer, layer.weight.detach().clone()) for _, layer in _places(model)]
        device = model.decoder.style.device
        names = [name for name, _ in _places(model)]
        self.low = [[(t[f"{n}.b"].to(device), t[f"{n}.a"].to(device)) for n in names] for t in adapters]
        self.style, self.biases = model.decoder.style, [t[BIAS].to(device) for t in adapters]

    @torch.no_grad()
    def set(self, strengths: Sequence[float]) -> None:
        """W + sum of strength x B A in every layer, from the base weights each time."""
        on = [i for i, strength in enumerate(strengths) if strength]
        for k, (layer, base) in enumerate(self.layers):
            layer.weight.copy_(base)
            for i in on:
                layer.weight.addmm_(*self.low[i][k], alpha=strengths[i])
        self.style.zero_()
        for i in on:
            self.style.add_(self.biases[i], alpha=strengths[i])


def _check(model: MusicTransformerVAEGAN, tensors: Mapping[str, Tensor]) -> None:
    """Raises MorphonyError when an adapter does not fit the model."""
    for name, layer in _places(model):
        if f"{name}.a" not in tensors or f"{name}.b" not in tensors:
            raise MorphonyError("This style does not fit the model: some of its layers are missing.")
        (rows, columns), a, b = layer.weight.shape, tensors[f"{name}.a"], tensors[f"{name}.b"]
        if a.shape != (b.shape[-1], columns) or b.shape != (rows, len(a)):
            raise MorphonyError("This style does not fit the model: its layers have other sizes.")
    if BIAS not in tensors or tensors[BIAS].shape != model.decoder.style.shape:
        raise MorphonyError("This style does not fit the model: its in-attention bias has another size.")
