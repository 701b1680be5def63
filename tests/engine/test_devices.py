"""The device and its reason; machines are made up where this one has no such device."""

from __future__ import annotations

import pytest
import torch

from engine import devices
from engine.errors import MorphonyError


def machine(monkeypatch: pytest.MonkeyPatch, cuda: bool = False, mps: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Card 9000")
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("cuda", "mps", "asked", "kind", "reason"),
    [
        (False, False, "auto", "cpu", "no CUDA or Apple graphics processor was found"),
        (True, False, "auto", "cuda", "Card 9000"),
        (False, True, "auto", "mps", "graphics processor of this Mac"),
        (True, True, "auto", "cuda", "Card 9000"),
        (True, False, "cpu", "cpu", "as asked"),
        (True, True, "mps", "mps", "Mac"),
    ],
)
def test_the_best_device_there_is_or_the_one_asked_for(monkeypatch, cuda, mps, asked, kind, reason) -> None:
    machine(monkeypatch, cuda, mps)
    device, said = devices.choose(asked)
    assert device.type == kind
    assert said.startswith(f"{kind}: ")
    assert reason in said


@pytest.mark.parametrize("asked", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(monkeypatch, asked: str) -> None:
    machine(monkeypatch)
    with pytest.raises(MorphonyError, match=f"no {asked} device"):
        devices.choose(asked)


def test_a_device_nobody_makes_is_refused_with_the_choices() -> None:
    with pytest.raises(MorphonyError, match="'tpu'; choose one of auto, cuda, mps, cpu"):
        devices.choose("tpu")
