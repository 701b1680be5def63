"""`morphony bench --only decoder`: the same drags with the decoder as it is and as exported; whether notes agree."""

from __future__ import annotations

import importlib.util
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from engine.model.decoder import Decodes
    from engine.session import Piece, Session

Dragged = Sequence[tuple["Piece", int]]  # pieces, and the bar the playhead is at


def compared(
    session: Session, pieces: Dragged, sliders: Sequence[str], sizes: Sequence[int], values: Sequence[float]
) -> dict[str, float]:
    """Milliseconds of slider events by way and size, taken in turns; notes of the longest drags against eager's.

    Without the packages of the export extra there is only `eager`.
    """
    with tempfile.TemporaryDirectory() as folder:
        ways = _ways(session, Path(folder))
        out: dict[str, float] = {}
        for bars in sizes:
            times, notes = _drags(session, ways, pieces, sliders, bars, values)
            for way, taken in times.items():
                keys = (f"{way}.{bars}.p50_ms", f"{way}.{bars}.p95_ms", f"{way}.{bars}.cpu_p50_ms")
                wall, cpu = np.array(taken).T * 1000
                out |= dict(zip(keys, map(float, (*np.percentile(wall, [50, 95]), np.median(cpu))), strict=True))
        for way in list(ways)[1:]:
            out |= {f"{way}.{key}": value for key, value in _agreement(notes["eager"], notes[way]).items()}
    return out


def _ways(session: Session, folder: Path) -> dict[str, Decodes]:
    from engine.export import NEEDS, OnnxDecoder, export_decoder

    ways: dict[str, Decodes] = {"eager": session.decoder}
    if all(importlib.util.find_spec(name) for name in NEEDS):
        export_decoder(session, folder)
        ways |= {"onnx": OnnxDecoder(folder), "int8": OnnxDecoder(folder, int8=True)}
    return ways


def _drags(
    session: Session,
    ways: Mapping[str, Decodes],
    pieces: Dragged,
    sliders: Sequence[str],
    bars: int,
    values: Sequence[float],
) -> tuple[dict[str, list[tuple[float, float]]], dict[str, list[NDArray[np.void]]]]:
    """Seconds by the clock and of the processor for each event of each way, and the notes it led to."""
    from engine import compose

    times: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    notes: dict[str, list[NDArray[np.void]]] = {way: [] for way in ways}
    for piece, first in pieces:
        own = {way: replace(piece, cache={}) for way in ways}
        scope = range(first, min(first + bars, len(piece)))
        for number, (name, value) in enumerate([("", 0.0), *((n, v) for n in sliders for v in values)]):
            for way, decoder in ways.items():
                session.decoder = decoder
                request = compose.Request({name: value} if name else {}, scope, first=first, blend=bool(name))
                began, cpu = time.perf_counter(), time.process_time()
                done = list(compose.morph(session, own[way], request))
                compose.apply(piece, done)
                if number:  # the first one fills what is remembered
                    times[way].append((time.perf_counter() - began, time.process_time() - cpu))
                    notes[way].append(np.concatenate([part.notes for part in done]))
    session.decoder = ways["eager"]
    return times, notes


def _agreement(ours: Sequence[NDArray[np.void]], theirs: Sequence[NDArray[np.void]]) -> dict[str, float]:
    """Share of all notes that are the same in every field, and F1 of (bar, onset, pitch)."""
    place = ["bar", "onset", "pitch"]
    whole = [(a.tolist(), b.tolist()) for a, b in zip(ours, theirs, strict=True)]
    places = [(a[place].tolist(), b[place].tolist()) for a, b in zip(ours, theirs, strict=True)]
    return {"identical_share": _shared(whole), "note_f1": _shared(places)}


def _shared(pairs: Sequence[tuple[list[tuple[float, ...]], list[tuple[float, ...]]]]) -> float:
    """F1 of what the two sides of all pairs have in common, a doubling counted once."""
    sets = [(set(a), set(b)) for a, b in pairs]
    return 2 * sum(len(a & b) for a, b in sets) / max(sum(len(a) + len(b) for a, b in sets), 1)
