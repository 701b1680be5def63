"""How long a style takes from a folder of music, row 12 of the speeds: instant on one file and on all, then an adapter.

Each is a whole run of `personalise`, from reading files to the verdict; `cpu_s` is the processor time of it.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

FILES = 20


def measured(model: Path | None, paths: Sequence[Path], seed: int) -> dict[str, float]:
    """Seconds of each kind, and what the adapter's held-out losses came to, in percent."""
    some, out = paths[:FILES], dict[str, float]()
    with tempfile.TemporaryDirectory() as place:
        runs = {"instant_1": some[:1], "instant": some, **({"adapter": some} if len(some) > 1 else {})}
        for name, used in runs.items():
            kind = name.partition("_")[0]
            table = Path(place) / f"{name}.tsv"
            table.write_text("path\n" + "".join(f"{path.resolve()}\n" for path in used), encoding="utf-8")
            result, times = _run(model, table, Path(place) / name, kind, seed)
            out |= {f"{name}.{key}": value for key, value in times.items()} | {f"{name}.files": len(used)}
            for key in ("change_percent", "base_change_percent"):
                if result.get(key) is not None:
                    out[f"{name}.{key}"] = result[key]
    return out


def _run(model: Path | None, table: Path, out: Path, kind: str, seed: int) -> tuple[dict[str, Any], dict[str, float]]:
    from trainer.personalise import personalise

    began, busy = time.perf_counter(), time.process_time()
    *_, last = personalise(model, table, out, kind=kind, seed=seed, cache=out.with_suffix(".cache"))
    return last.facts["result"], {"s": time.perf_counter() - began, "cpu_s": time.process_time() - busy}
