"""How a score came out of another: everything the engine must be told to make it again, note for note.

Data only, so it crosses threads and is kept with takes. Knows no engine and no Qt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app.limits import Limits
from engine.score.score import Score
from engine.score.timing import BarGrid

VERBS = ("morph", "regenerate", "vary", "continue", "transfer", "new", "between")
FINE = 0.05  # sigma: bars of a lane that are nearer to each other than this are alike
NOTHING: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Recipe:
    """What to do to a base score. Fields that a verb does not ask for are left alone."""

    offsets: Mapping[str, float] = field(default_factory=dict)  # sliders, in sigma from the base's own value
    bars: range | None = None  # what may change; None is the whole piece
    tracks: frozenset[int] | None = None  # only these change; None is all
    seed: int = 0
    first: int = 0  # the bar done first
    verb: str = "morph"  # one of VERBS
    locks: frozenset[int] = NOTHING  # rows of the base's notes that stay, bit for bit
    only: frozenset[int] = NOTHING  # rows that are replaced, where notes are the selection
    limits: Limits = field(default_factory=Limits)
    lanes: Mapping[str, tuple[float, ...]] = field(default_factory=dict)  # more sigma for each bar, by slider
    amount: float = 0.5  # how far a variation or a transfer goes
    temperature: float = 1.0  # of the latents drawn for new bars
    count: int = 0  # bars that are added, or that a new piece has
    meter: tuple[int, int] = (4, 4)
    programs: tuple[int, ...] = ()  # who plays a new piece; nobody named: two hands at a piano
    others: tuple[Score, ...] = ()  # the manner of a transfer; the corners of a pad
    place: tuple[float, float] = (0.0, 0.0)  # between the corners: 0 is left and top, 1 right and bottom

    def but(self, **changes: Any) -> Recipe:
        """The same with other fields."""
        return replace(self, **changes)

    def offsets_at(self, bar: int) -> dict[str, float]:
        """Where the sliders stand in one bar, lanes rounded to FINE; a lane rests after its end."""
        out = dict(self.offsets)
        for name, lane in self.lanes.items():
            out[name] = out.get(name, 0.0) + round((lane[bar] if bar < len(lane) else 0.0) / FINE) * FINE
        return {name: value for name, value in out.items() if value}

    def span(self, base: Score) -> int:
        """How many bars it is about: what progress is counted in."""
        if self.verb in ("continue", "new"):
            return self.count
        return len(BarGrid.of(base)) if self.bars is None else len(self.bars)

    def to_json(self, others: list[int]) -> dict[str, Any]:
        """Plain values; what is as usual is left out. `others` stand for the scores, kept elsewhere."""
        said: dict[str, Any] = {"verb": self.verb, "seed": self.seed}
        if self.offsets:
            said["offsets"] = dict(self.offsets)
        if self.bars is not None:
            said["bars"] = [self.bars.start, self.bars.stop]
        for name in ("tracks", "locks", "only"):
            rows = getattr(self, name)
            if rows is not None and (rows or name == "tracks"):
                said[name] = _runs(rows)
        if self.limits:
            said["limits"] = self.limits.to_json()
        if self.lanes:
            said["lanes"] = {name: [round(v, 3) for v in values] for name, values in self.lanes.items()}
        for name in ("first", "amount", "temperature", "count"):
            if getattr(self, name) != getattr(PLAIN, name):
                said[name] = getattr(self, name)
        for name in ("meter", "programs", "place"):
            if getattr(self, name) != getattr(PLAIN, name):
                said[name] = list(getattr(self, name))
        if others:
            said["others"] = others
        return said

    @classmethod
    def from_json(cls, data: Mapping[str, Any], scores: tuple[Score, ...]) -> Recipe:
        """Plain values back; KeyError, TypeError, ValueError or IndexError where they do not fit."""
        if data["verb"] not in VERBS:
            raise ValueError(data["verb"])
        bars = data.get("bars")
        return cls(
            offsets={str(k): float(v) for k, v in data.get("offsets", {}).items()},
            bars=None if bars is None else range(int(bars[0]), int(bars[1])),
            tracks=_rows(data["tracks"]) if "tracks" in data else None,
            seed=int(data["seed"]),
            first=int(data.get("first", 0)),
            verb=str(data["verb"]),
            locks=_rows(data.get("locks", [])),
            only=_rows(data.get("only", [])),
            limits=Limits.from_json(data.get("limits", {})),
            lanes={str(k): tuple(map(float, v)) for k, v in data.get("lanes", {}).items()},
            amount=float(data.get("amount", PLAIN.amount)),
            temperature=float(data.get("temperature", PLAIN.temperature)),
            count=int(data.get("count", 0)),
            meter=(int(data.get("meter", (4, 4))[0]), int(data.get("meter", (4, 4))[1])),
            programs=tuple(map(int, data.get("programs", ()))),
            others=tuple(scores[int(i)] for i in data.get("others", [])),
            place=(float(data.get("place", (0, 0))[0]), float(data.get("place", (0, 0))[1])),
        )


PLAIN = Recipe()
MAX_ROWS = 2_000_000


def _runs(rows: frozenset[int]) -> list[list[int]]:
    """Rows as [first, last] of each run: many locked notes stay few numbers."""
    out: list[list[int]] = []
    for row in sorted(rows):
        if out and row == out[-1][1] + 1:
            out[-1][1] = row
        else:
            out.append([row, row])
    return out


def _rows(runs: Any) -> frozenset[int]:
    pairs = [(int(a), int(b)) for a, b in runs]
    if any(a < 0 or b < a for a, b in pairs) or sum(b - a + 1 for a, b in pairs) > MAX_ROWS:
        raise ValueError("rows")
    return frozenset(row for a, b in pairs for row in range(a, b + 1))
