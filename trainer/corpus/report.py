"""What a scan says: of every file, and of all of them together. Plain data, no disks, no processes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file."""

    path: str  # relative to the folder scanned
    corpus: str
    ok: bool
    reason: str  # why it was left out; empty when kept
    notes: int = 0
    bars: int = 0
    seconds: float = 0.0
    same_as: str = ""  # the file whose notes it repeats, which is why it was left out
    meters: Mapping[str, int] = field(default_factory=dict)  # {"4/4": bars}


@dataclass(slots=True)
class Summary:
    """The sums of a scan, kept while its reports go by."""

    kept: int = 0
    left_out: int = 0
    duplicates: int = 0  # among those left out
    notes: int = 0
    bars: int = 0
    seconds: float = 0.0
    meters: Counter[str] = field(default_factory=Counter)  # bars of each
    pieces_in: Counter[str] = field(default_factory=Counter)  # pieces that have a bar of each
    corpora: Counter[str] = field(default_factory=Counter)  # pieces of each

    def add(self, report: FileReport) -> None:
        """Count one file in."""
        if not report.ok:
            self.left_out += 1
            self.duplicates += bool(report.same_as)
            return
        self.kept += 1
        self.notes, self.bars, self.seconds = (
            self.notes + report.notes,
            self.bars + report.bars,
            self.seconds + report.seconds,
        )
        self.meters.update(report.meters)
        self.pieces_in.update(report.meters.keys())
        self.corpora[report.corpus] += 1

    def plain(self) -> dict[str, Any]:
        """Ready for JSON; meters by how many bars they have."""
        return {
            "kept": self.kept,
            "left_out": self.left_out,
            "duplicates": self.duplicates,
            "notes": self.notes,
            "bars": self.bars,
            "seconds": round(self.seconds, 1),
            "hours": round(self.seconds / 3600, 3),
            "corpora": dict(self.corpora.most_common()),
            "meters": [
                {"meter": name, "bars": bars, "pieces": self.pieces_in[name]}
                for name, bars in self.meters.most_common()
            ],
        }
