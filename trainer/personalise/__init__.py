"""Personalising a model, three ways: a style in seconds, an adapter in minutes, all its weights in hours.

A run is called improved only when held-out loss fell. Every run reports what was found in the folder first, and at its
end writes `result.json`, `before.mid` and `after.mid` of the same seed, and what the memorisation meter says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import platformdirs

from engine.errors import MorphonyError
from engine.style import INSTANT
from trainer.loop import Step
from trainer.personalise.instant import learn
from trainer.personalise.music import split
from trainer.personalise.weights import KINDS as DEEPER
from trainer.personalise.weights import fine_tune

KINDS = (INSTANT, *DEEPER)


def personalise(
    model_dir: Path | None,
    folder: Path,
    out: Path,
    *,
    kind: str = "adapter",
    steps: int | None = None,
    seed: int = 0,
    where: str = "",
    base: Path | None = None,
    resume: bool = False,
    cache: Path | None = None,
    accelerator: str = "auto",
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """Learn from the music in `folder`; the steps of the run, the first with held-out losses before, the last after.

    Writes `steps.jsonl` (but for an instant style) and, when held-out loss improved, `best`: the style that
    `Session.open(styles={out: 1.0})` loads; `full` writes `model`, a model folder of its own. `base` is music to replay
    (default: the demo pieces). Cancelled, it keeps the best so far. Raises MorphonyError when nothing can be used,
    and when `cancelled()` while the music is read.
    """
    if kind not in KINDS:
        raise MorphonyError(f"There is no way of personalising called {kind!r}, only {', '.join(KINDS)}.")
    if kind == INSTANT:
        yield from learn(model_dir, folder, out, steps=steps, seed=seed, where=where, cancelled=cancelled)
        return
    place = cache or Path(platformdirs.user_cache_dir("Morphony", appauthor=False))
    yield from fine_tune(
        DEEPER[kind], model_dir, folder, out, steps=steps, seed=seed, where=where, base=base, resume=resume,
        cache=place, accelerator=accelerator, cancelled=cancelled,
    )  # fmt: skip


__all__ = ["KINDS", "personalise", "split"]
