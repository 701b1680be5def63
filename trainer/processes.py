"""One process or many: the Fabric that a run goes through, and what its processes must agree on.

`torchrun` says how many processes there are; alone there is one. Sharded (FSDP2), every process holds a part of each
weight: `local` is the part, `whole` the weight, `placed` the way back. Knows no loss and no optimiser.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins.precision import MixedPrecision
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.strategies.model_parallel import ModelParallelStrategy
from lightning.fabric.strategies.strategy import Strategy
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from engine.config import TrainConfig
from engine.errors import MorphonyError
from engine.model.attention import Block


class Mixed(MixedPrecision):
    """Autocast and loss scaling as Fabric's own, but batches and results keep their types: lengths are no bfloat16."""

    def convert_input(self, data: Any) -> Any:
        """A batch as it is."""
        return data

    def convert_output(self, data: Any) -> Any:
        """Results as they are."""
        return data


def launched(config: TrainConfig, accelerator: str = "auto") -> Fabric:
    """A Fabric that is ready: of this process alone, or of all that torchrun started, on however many machines.

    Raises MorphonyError for a precision that the strategy cannot have.
    """
    here, everywhere = int(os.environ.get("LOCAL_WORLD_SIZE", 1)), int(os.environ.get("WORLD_SIZE", 1))
    if everywhere > 1 and (config.strategy, config.precision) == ("sharded", "16-mixed"):
        raise MorphonyError("Shards have no common loss scale: with strategy sharded use precision bf16-mixed.")
    strategy: str | Strategy = "auto"
    if everywhere > 1:
        strategy = _sharded(everywhere) if config.strategy == "sharded" else DDPStrategy(find_unused_parameters=True)
    mixed: list[Any] = [] if config.precision == "32-true" else [_mixed(config.precision, accelerator)]
    nodes = everywhere // here
    fabric = Fabric(accelerator=accelerator, devices=here, num_nodes=nodes, strategy=strategy, plugins=mixed)
    fabric.launch()
    return fabric


def _mixed(precision: str, accelerator: str) -> Mixed:
    known = {"gpu": "cuda", "auto": "cuda" if torch.cuda.is_available() else "cpu"}
    return Mixed(precision, known.get(accelerator, accelerator))  # type: ignore[arg-type]  # checked by TrainConfig


def _sharded(processes: int) -> ModelParallelStrategy:
    return ModelParallelStrategy(_shard, data_parallel_size=processes, tensor_parallel_size=1)


def _shard(module: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Attention blocks by themselves, everything else together; what does not learn stays whole."""
    still = {p for p in module.parameters() if not p.requires_grad}
    for part in module.modules():
        if isinstance(part, Block) and not still.intersection(part.parameters()):
            fully_shard(part, mesh=mesh["data_parallel"], reshard_after_forward=True)
    fully_shard(module, mesh=mesh["data_parallel"], reshard_after_forward=True, ignored_params=still)
    return module


class Touching(nn.Module):
    """A module whose every learning weight has a gradient, if of zeros: shards are exchanged in groups that agree."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, *args: Any, **options: Any) -> tuple[Tensor, Any, Any]:
        """As the module within, whose first result is its objective."""
        objective, *others = self.inner(*args, **options)
        if torch.is_grad_enabled() and objective.requires_grad:
            here = [p for p in self.inner.parameters() if not isinstance(p, DTensor)]  # blocks are together elsewhere
            every = [p.sum() for p in here if p.requires_grad]
            objective = objective + 0.0 * torch.stack(every).sum()
        return objective, *(x.clone() if isinstance(x, Tensor) else x for x in others)  # FSDP2 wants no views


def is_sharded(fabric: Fabric) -> bool:
    """Whether every process holds but a part of each weight."""
    return isinstance(fabric.strategy, ModelParallelStrategy)


# ---------------------------------------------------------------- numbers


def summed(fabric: Fabric, values: Sequence[float]) -> list[float]:
    """Numbers added up over all processes, the same on each."""
    if fabric.world_size == 1:
        return list(values)
    table = torch.tensor(values, dtype=torch.float64, device=fabric.device)
    total: Tensor = fabric.all_reduce(table, reduce_op="sum")  # type: ignore[assignment]  # a tensor as given
    return [float(x) for x in total.tolist()]


def agreed(fabric: Fabric, values: Sequence[float]) -> list[float]:
    """The first process's numbers, on all of them."""
    return summed(fabric, values if fabric.is_global_zero else [0.0] * len(values))


def averaged(fabric: Fabric, gradients: Sequence[Tensor]) -> None:
    """Make gradients their mean over all processes, in one message."""
    if fabric.world_size == 1 or not gradients:
        return
    flat = torch.cat([g.flatten() for g in gradients])
    mean: Tensor = fabric.all_reduce(flat, reduce_op="mean")  # type: ignore[assignment]  # a tensor as given
    for own, part in zip(gradients, torch.split(mean, [g.numel() for g in gradients]), strict=True):
        own.copy_(part.view_as(own))


# ---------------------------------------------------------------- tensors


def local(tensor: Tensor) -> Tensor:
    """The part of a weight that this process holds, sharing its memory; all of it where it is whole."""
    plain = tensor.detach()
    part: Tensor = plain.to_local() if isinstance(plain, DTensor) else plain
    return part


def whole(tensor: Tensor) -> Tensor:
    """A weight in one piece. All processes must ask."""
    plain = tensor.detach()
    full: Tensor = plain.full_tensor() if isinstance(plain, DTensor) else plain
    return full


def placed(tensor: Tensor, like: Tensor) -> Tensor:
    """A weight in one piece as another lies: on its device, sharded as it is. All processes must ask."""
    tensor = tensor.to(like.device)
    if not isinstance(like, DTensor):
        return tensor
    return distribute_tensor(tensor.contiguous(), like.device_mesh, like.placements)


def all_placed(tensors: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same for tensors by name; what has no counterpart stays as it is."""
    return {name: placed(t, like[name]) if name in like else t for name, t in tensors.items()}
