"""One side of training: an optimiser, the weights it moves, and its step. In vae_gan two play against each other."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from trainer.processes import is_sharded, local, placed, whole


class Side:
    """AdamW (Loshchilov and Hutter 2019) on some weights, through Fabric."""

    def __init__(
        self, fabric: Fabric, trained: Sequence[nn.Parameter], lr: float, betas: tuple[float, float], decay: float
    ) -> None:
        self.fabric, self.trained = fabric, list(trained)
        self.fused = not is_sharded(fabric) and getattr(fabric.strategy.precision, "scaler", None) is None
        plain = torch.optim.AdamW(self.trained, lr=lr, betas=betas, weight_decay=decay, fused=self.fused)
        self.optimiser: Any = fabric.setup_optimizers(plain)

    def step(self, lr: float, clip: float, module: nn.Module) -> float:
        """Clip the gradients' length, move unless it is no number, and forget them. Returns the length before.

        Under loss scaling a length that is no number makes the scaler lower its scale, which is its way.
        """
        if all(p.grad is None for p in self.trained):
            return 0.0
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        norm = whole(
            self.fabric.clip_gradients(module, self.optimiser, max_norm=clip, error_if_nonfinite=False)  # type: ignore[arg-type]
        )
        length = float(norm)
        if math.isfinite(length) or self.scale is not None:
            self.optimiser.step()
        self.forget()
        return length

    def forget(self) -> None:
        """Drop the gradients."""
        self.optimiser.zero_grad(set_to_none=True)

    @property
    def scale(self) -> float | None:
        """What losses are multiplied by before their gradients are taken; None where they are not."""
        scaler = getattr(self.fabric.strategy.precision, "scaler", None)
        return None if scaler is None else float(scaler.get_scale())

    def tensors(self, prefix: str) -> dict[str, Tensor]:
        """The optimiser's state, whole, by the place of the weight it belongs to."""
        return {f"{prefix}.{i}.{k}": whole(v) for i, k, v in self._state()}

    def held(self) -> list[Tensor]:
        """The part of it that this process holds, sharing memory."""
        return [local(v) for _, _, v in self._state()]

    def copy(self) -> list[dict[str, Tensor]]:
        """The same as it lies in this process, by weight."""
        return [{k: v.clone() for k, v in self.optimiser.state[p].items()} for p in self.trained]

    def put(self, copy: Sequence[Mapping[str, Tensor]]) -> None:
        """Put back what `copy` gave, which stays as it is."""
        for p, kept in zip(self.trained, copy, strict=True):
            self.optimiser.state[p] = {k: v.clone() for k, v in kept.items()}

    def _state(self) -> list[tuple[int, str, Tensor]]:
        state = self.optimiser.state
        return [(i, k, v) for i, p in enumerate(self.trained) for k, v in state[p].items() if isinstance(v, Tensor)]

    def restore(self, prefix: str, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave."""
        for i, p in enumerate(self.trained):
            mine = f"{prefix}.{i}."
            kept = {k.removeprefix(mine): v for k, v in tensors.items() if k.startswith(mine)}
            step = {"step": kept.pop("step").to(p.device if self.fused else "cpu")} if "step" in kept else {}
            self.optimiser.state[p] = step | {k: placed(v, p) for k, v in kept.items()}
