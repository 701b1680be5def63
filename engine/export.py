"""The decoder for programs without torch: ONNX files, in fp32 and with weights in int8, and a way to run them here.

Three graphs make a decoder: `latents` lays z out over slots, `decoder` turns that and what sliders say into slots and
onset logits, `notes` says what the notes in chosen cells are. Every number of bars, slots and cells fits; a style that
is attached is written as part of the weights.

K bars, S slots, C width of a slot, Z latents side by side, M cells.
"""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.errors import MorphonyError
from engine.model import fields as f
from engine.model.batch import Bars, Offsets
from engine.model.decoder import Decoder, Fields
from engine.session import Session

OPSET = 20  # the first with GELU
NEEDS = ("onnx", "onnxscript", "onnxruntime")
K, S, M = (torch.export.Dim(name) for name in ("bars", "slots", "cells"))


class _Latents(nn.Module):
    """z (K, Z) and the slots' numbers (S,) to (K, S, C)."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor, slot: Tensor) -> Tensor:
        page = slot // f.PAGE_SLOTS
        weights = self.decoder.lay_out[:, slot % f.PAGE_SLOTS]
        turned = self.decoder.page.weight[page.clamp(max=f.MAX_PAGES - 1)] * (page > 0)[:, None]
        return torch.einsum("kz,zsw->ksw", z, weights) + turned


class _Slots(nn.Module):
    """What is laid out (K, S, C), the bars' conditions and the sliders to slots (K, S, C) and onsets (K, S * 352)."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self, laid: Tensor, clocks: Tensor, beat: Tensor, place: Tensor, parts: Tensor, value: Tensor, known: Tensor
    ) -> tuple[Tensor, Tensor]:
        bars = Bars(clocks, beat, parts, place, place, place)
        mask = torch.arange(laid.shape[1]) < bars.slots[:, None]
        slots = self.decoder.attended(laid, bars, Offsets(value, known), mask)
        return slots, self.decoder.onsets(slots)


class _Notes(nn.Module):
    """Slots (K, S, C) and cells of bars (M,) to the logits of their fields."""

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self, slots: Tensor, bar: Tensor, cell: Tensor, value: Tensor, known: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        told = self.decoder.fields(slots, bar, cell, Offsets(value, known))
        return told.duration, told.velocity, told.micro, told.part


@dataclass(frozen=True)
class Graph:
    """One file: what it computes, and which axes of its inputs are of any length."""

    module: type[nn.Module]
    inputs: Mapping[str, Mapping[int, Any]]
    outputs: tuple[str, ...]


_BARS = {0: K}
GRAPHS = {
    "latents": Graph(_Latents, {"z": _BARS, "slot": {0: S}}, ("laid",)),
    "decoder": Graph(
        _Slots,
        {"laid": {0: K, 1: S}, **dict.fromkeys(("clocks", "beat", "place", "parts", "value", "known"), _BARS)},
        ("slots", "onsets"),
    ),
    "notes": Graph(
        _Notes,
        {"slots": {0: K, 1: S}, "bar": {0: M}, "cell": {0: M}, "value": _BARS, "known": _BARS},
        ("duration", "velocity", "micro", "part"),
    ),
}


def export_decoder(session: Session, folder: Path) -> dict[str, Path]:
    """Write the session's decoder: latents.onnx, decoder.onnx, decoder.int8.onnx and notes.onnx, by name.

    int8 are the weights of matrix products, one scale a column; activations are quantised as they come (dynamic).
    Raises MorphonyError where a package for it is missing or the model has no decoder of bars.
    """
    _require(NEEDS)
    if session.model.events is not None:
        raise MorphonyError("This model continues music event by event; it has no decoder of bars to export.")
    folder.mkdir(parents=True, exist_ok=True)
    decoder = copy.deepcopy(session.model.decoder).cpu().eval()
    paths = {name: folder / f"{name}.onnx" for name in (*GRAPHS, "decoder.int8")}
    logging.disable(logging.WARNING)  # both tools speak of steps that do nothing here
    try:
        for name, graph in GRAPHS.items():
            _write(graph, decoder, paths[name])
        _quantise(paths["decoder"], paths["decoder.int8"])
    finally:
        logging.disable(logging.NOTSET)
    return paths


def _write(graph: Graph, decoder: Decoder, path: Path) -> None:
    example = _example(decoder)
    given = tuple(example[name] for name in graph.inputs)
    shapes = tuple(graph.inputs.values())
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # what the exporter says of its own parts
        program = torch.onnx.export(
            graph.module(decoder),
            given,
            dynamo=True,
            opset_version=OPSET,
            input_names=list(graph.inputs),
            output_names=list(graph.outputs),
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert program is not None
    program.save(str(path), external_data=False)


def _example(decoder: Decoder) -> dict[str, Tensor]:
    """Inputs of every graph; their sizes differ from one another, or the exporter would take two for one."""
    c, k, s, m = decoder.c, 3, 5, 7
    ints = {name: torch.full((k,), value) for name, value in {"clocks": 18, "beat": 24, "place": 1}.items()}
    return {
        **ints,
        "z": torch.zeros(k, c.latent_dim + c.local_dim + c.global_dim),
        "slot": torch.arange(s),
        "laid": torch.zeros(k, s, c.hidden_dim),
        "slots": torch.zeros(k, s, c.hidden_dim),
        "parts": torch.ones(k, f.N_PARTS),
        "value": Offsets.none(k).value,
        "known": Offsets.none(k).known,
        "bar": torch.zeros(m, dtype=torch.int64),
        "cell": torch.arange(m),
    }


def _quantise(path: Path, to: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # seven bits: with eight, processors without VNNI saturate when they add up products
    how = {"weight_type": QuantType.QInt8, "per_channel": True, "reduce_range": True}
    quantize_dynamic(path, to, op_types_to_quantize=["MatMul"], **how)


class OnnxDecoder:
    """A decoder of exported files, in place of `session.decoder`. Runs on the processor, on one thread by default."""

    def __init__(self, folder: Path, int8: bool = False, threads: int = 1) -> None:
        _require(("onnxruntime",))
        self._run = {name: _open(folder / f"{name}.onnx", threads) for name in ("latents", "notes")}
        self._run["decoder"] = _open(folder / ("decoder.int8.onnx" if int8 else "decoder.onnx"), threads)

    def laid(self, z: Tensor, bars: Bars) -> Tensor:
        """(K, S, C) latents laid out over slots."""
        return self._ask("latents", z=z, slot=torch.arange(int(bars.slots.max())))[0]

    def decoded(self, laid: Tensor, bars: Bars, offsets: Offsets) -> tuple[Tensor, Tensor]:
        """(K, S, C) slots and (K, S * 4 * 88) onset logits."""
        told = {"value": offsets.value, "known": offsets.known}
        conditions = {name: getattr(bars, name) for name in ("clocks", "beat", "place", "parts")}
        slots, onsets = self._ask("decoder", laid=laid, **conditions, **told)
        return slots, onsets

    def fields(self, slots: Tensor, bar: Tensor, cell: Tensor, offsets: Offsets) -> Fields:
        """What the notes in given cells (M,) of given bars (M,) are."""
        return Fields(*self._ask("notes", slots=slots, bar=bar, cell=cell, value=offsets.value, known=offsets.known))

    def durations(self, slots: Tensor, bar: Tensor, cell: Tensor, offsets: Offsets) -> Tensor:
        """(M, classes) the duration logits of `fields`."""
        return self.fields(slots, bar, cell, offsets).duration

    def velocities(self, slots: Tensor, bar: Tensor, cell: Tensor, offsets: Offsets) -> Tensor:
        """(M, classes) the velocity logits of `fields`."""
        return self.fields(slots, bar, cell, offsets).velocity

    def _ask(self, graph: str, **inputs: Tensor) -> list[Tensor]:
        feed = {name: tensor.numpy(force=True) for name, tensor in inputs.items()}
        return [torch.from_numpy(out) for out in self._run[graph].run(None, feed)]


def _open(path: Path, threads: int) -> Any:
    """A graph ready to run. Raises MorphonyError where it cannot be read."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base but this one
        raise MorphonyError(f"{path.name} is not a decoder that could be run.") from error


def _require(packages: Sequence[str]) -> None:
    missing = [name for name in packages if importlib.util.find_spec(name) is None]
    if missing:
        raise MorphonyError(f"Exporting needs {' and '.join(missing)}; install Morphony with its export extra.")
