"""The figures of an evaluation as text: each with its limits, its aim, a column a corpus, and the worst one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

MARKS = {True: "met", False: "missed", None: ""}


def table(result: Mapping[str, Any]) -> list[str]:
    """A figure a line: tier A (or all pieces) with its interval, then every corpus."""
    from trainer.evaluate.definitions import define

    figures, sure = result["figures"], result["intervals"]
    main = next(name for name in ("tier_A", "all") if name in figures)
    others = [name for name in figures if name != main]
    names = list(dict.fromkeys(name for column in (main, *others) for name in figures[column]))
    rows = [["figure", main, "95 % interval", "aim", "", *others, "worst corpus"]]
    rows.append(["pieces", str(result["pieces"][main]), "", "", "", *(str(result["pieces"][n]) for n in others), ""])
    for name in names:
        value, definition = figures[main].get(name), define(name)
        met = None if value is None else definition.meets(value)
        cells = [_number(figures[n].get(name)) for n in others]
        first = [name, _number(value), _limits(sure[main].get(name)), definition.aim(), MARKS[met]]
        rows.append([*first, *cells, result["worst_corpus"].get(name, "")])
    return [*_aligned(rows), *result.get("skipped", {}).values()]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _limits(found: Mapping[str, float | None] | None) -> str:
    if found is None or found["low"] is None or found["high"] is None:
        return ""
    return f"[{found['low']:.3f}, {found['high']:.3f}]"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns as wide as their longest cell, words to the left and numbers to the right."""
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    left = (0, 3, 4, len(wide) - 1)
    return [
        "  ".join(
            c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in enumerate(zip(row, wide, strict=True))
        ).rstrip()
        for row in rows
    ]
