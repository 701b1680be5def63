"""What a run came to, for the ear and in words: the same seed before and after, and whether it plays back by heart.

Knows sessions and windows; not how a style was made. W windows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.compose import generate, run
from engine.score import midi
from engine.session import Session
from trainer.evaluate.generated import overlaps
from trainer.evaluate.samples import sample_windows
from trainer.evaluate.windows import Window
from trainer.memorisation import Memorised, Steps, against, lines, runs_of

BARS = 16  # of the samples for the ear
WINDOWS = 32  # of new music, for the meter and the statistics
STYLED = 10_000  # added to a run's seed for what is drawn to be judged


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What new music is judged by: windows of music of the style that was not learned, and the lines of what was."""

    held_out: Sequence[Window]
    learned: Sequence[Sequence[Steps]]
    shared: Sequence[int]  # notes of the longest run each held-out window shares with what was learned

    @classmethod
    def of(cls, held_out: Sequence[Window], learned: Sequence[Sequence[Steps]]) -> Known:
        """Of pieces that are on one side or the other."""
        return cls(held_out, learned, runs_of([_lines(w) for w in held_out], learned))

    @classmethod
    def of_one(cls, windows: Sequence[Window]) -> Known:
        """Of one piece, which is both: how much a window shares with the others of its piece is what is usual in it."""
        every = [_lines(w) for w in windows]
        apart = [[o for w, o in zip(windows, every, strict=True) if _apart(w, at)] for at in windows]
        shared = [n for own, others in zip(every, apart, strict=True) if others for n in runs_of([own], others)]
        return cls(windows, every, shared)


def _lines(window: Window) -> list[Steps]:
    return lines(window.notes, window.clocks)


def _apart(a: Window, b: Window) -> bool:
    return a.piece != b.piece or abs(a.first - b.first) >= len(a.clocks)


def judged(before: Session, after: Session, known: Known, seed: int) -> dict[str, Any]:
    """Overlap of statistics with held-out music before and after, on the same seeds; and the memorisation meter."""
    if not known.held_out:
        return {"memorisation": None, "said": "The pieces are too short to say whether new music repeats them."}
    n = max(WINDOWS // len(known.held_out), 1)
    spread = np.linspace(0, len(known.held_out) - 1, min(WINDOWS, len(known.held_out))).round().astype(int)
    like = [known.held_out[i] for i in spread] * n
    made = [sample_windows(session, like, seed + STYLED) for session in (before, after)]
    alike = [overlaps([w for w in some if len(w.notes)] or some, known.held_out) for some in made]
    heard: Memorised | None = against(runs_of([_lines(w) for w in made[1]], known.learned), known.shared)
    return {
        "overlap_before": alike[0],
        "overlap_after": alike[1],
        "memorisation": None if heard is None else heard.facts(),
        "said": "There is too little music to say whether it is repeated." if heard is None else heard.words(),
    }


def sample(before: Session, after: Session, like: Sequence[Window], out: Path, seed: int) -> list[str]:
    """Write before.mid and after.mid: new music of the same latents and seed, in the style's commonest meter."""
    meters = Counter((int(c), int(b)) for w in like for c, b in zip(w.clocks, w.beat, strict=True))
    clocks, beat = meters.most_common(1)[0][0] if meters else (96, 24)
    meter = _meter(clocks, beat)
    names = []
    for name, session in (("before.mid", before), ("after.mid", after)):
        midi.write(run(generate(session, BARS, meter, seed=seed)), out / name)
        names.append(name)
    return names


def _meter(clocks: int, beat: int) -> tuple[int, int]:
    """The meter of a bar so long with beats so long; 4/4 where none is."""
    unit = {36: 12, 72: 24, 18: 6}.get(beat, beat)
    denominator = 96 // unit if unit and 96 % unit == 0 else 0
    fits = denominator in (1, 2, 4, 8, 16, 32) and clocks % unit == 0 and 1 <= clocks // unit <= 32
    return (clocks // unit, denominator) if fits else (4, 4)


def write(result: dict[str, Any], out: Path) -> None:
    """Keep the result beside what it is about."""
    out.mkdir(parents=True, exist_ok=True)
    midi.write_bytes(json.dumps(result, indent=1).encode(), out / "result.json")
