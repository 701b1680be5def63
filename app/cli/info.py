"""`morphony info IN`: what a MIDI file holds. Reads notes and counts; knows no model."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from app.cli import arguments, files
from engine import attributes
from engine.score import Score, midi
from engine.score.timing import BarGrid, TempoMap
from engine.tokens import bars


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a .mid file, a folder, or a .tsv with a path column")
    arguments.add_where(parser)


def run(args: argparse.Namespace) -> dict[str, Any]:
    return files.each_file(args.input, None, args.where, None, lambda path, _: describe(midi.read(path)))


def describe(score: Score) -> Mapping[str, Any]:
    """What `info` says of one score; the attributes are of its modelled notes, None where there are none."""
    grid, seconds = BarGrid.of(score), TempoMap.of(score)
    counts = np.bincount(score.notes["track"], minlength=len(score.tracks)).tolist()
    onsets = score.notes["tick"]
    modelled = bars.to_bars(score, grid)
    return {
        "notes": len(score.notes),
        "modelled_notes": len(modelled),
        "bars": len(grid) if len(onsets) else 0,
        "ticks_per_quarter": score.ticks_per_quarter,
        "first_onset_s": float(seconds.to_seconds(onsets.min())) if len(onsets) else None,
        "last_onset_s": float(seconds.to_seconds(onsets.max())) if len(onsets) else None,
        "end_s": float(seconds.to_seconds(score.end_tick)),
        "meters": [{"tick": m.tick, "meter": f"{m.numerator}/{m.denominator}"} for m in score.meters],
        "tempi": [{"tick": t.tick, "microseconds": t.microseconds, "bpm": 60e6 / t.microseconds} for t in score.tempi],
        "tracks": [
            {
                "name": track.name,
                "program": track.program,
                "channel": track.channel,
                "is_drum": track.is_drum,
                "notes": count,
            }
            for track, count in zip(score.tracks, counts, strict=True)
        ],
        "events": len(score.events),
        "attributes": dict(zip(attributes.NAMES, attributes.measure(modelled, grid.clocks, None), strict=True))
        if len(modelled)
        else None,
        "warnings": score.warnings,
    }
