"""A style on top of a frozen model: low-rank changes of its weight matrices (LoRA, Hu et al. 2021)
and a learned vector added in every decoder layer (in-attention bias).

R rank. An adapter is a few hundred kilobytes of tensors and never touches the base weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

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


def attach(
    model: MusicTransformerVAEGAN, tensors: Mapping[str, Tensor] | None = None, rank: int = RANK
) -> list[nn.Parameter]:
    """Put an adapter on a model and return its parameters; with tensors, one that was saved.

    Raises MorphonyError when saved tensors do not fit the model.
    """
    parameters: list[nn.Parameter] = []
    for name, layer in list(_places(model)):
        saved = None
        if tensors is not None:
            if f"{name}.a" not in tensors or f"{name}.b" not in tensors:
                raise MorphonyError("This style does not fit the model: some of its layers are missing.")
            saved = tensors[f"{name}.a"], tensors[f"{name}.b"]
        rows, columns = layer.weight.shape
        low = LowRank(rows, columns, rank if saved is None else len(saved[0]))
        if saved is not None:
            if saved[0].shape != low.a.shape or saved[1].shape != low.b.shape:
                raise MorphonyError("This style does not fit the model: its layers have other sizes.")
            with torch.no_grad():
                low.a.copy_(saved[0])
                low.b.copy_(saved[1])
        parametrize.register_parametrization(layer, "weight", low.to(layer.weight.device))
        parameters += [low.a, low.b]
    style = model.decoder.style.detach().clone() if tensors is None else tensors.get(BIAS)
    if style is None or style.shape != model.decoder.style.shape:
        raise MorphonyError("This style does not fit the model: its in-attention bias has another size.")
    del model.decoder.style  # a buffer of zeros until now
    bias = nn.Parameter(style.to(layer.weight.device))
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
