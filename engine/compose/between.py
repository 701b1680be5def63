"""The way from one piece to another: which path the latents take, and the piece at one place of it.

R rows (bars, phrases or pieces), Z latent width.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import replace

import torch
from torch import Tensor

from engine.compose.morph import apply, blind, morph
from engine.compose.request import BarsDone, Request
from engine.errors import MorphonyError
from engine.model.latents import slerp
from engine.score import Score
from engine.score.cut import cut
from engine.session import Piece, Session

Path = Callable[[Tensor, Tensor, float], Tensor]  # rows of a (R, Z), of b (R, Z) and the share of b, to rows (R, Z)


def barwise(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Row after row turns from a to b, the last one first: in between a piece begins as a and ends as b."""
    turned = (share * len(a) - torch.arange(len(a) - 1, -1, -1)).clamp(0, 1)
    return torch.cat([slerp(a[i : i + 1], b[i : i + 1], float(t)) for i, t in enumerate(turned)])


def straight(a: Tensor, b: Tensor, share: float) -> Tensor:
    """The straight line, whose middle lies nearer the origin than either end."""
    return torch.lerp(a, b, share)


PATHS: dict[str, Path] = {"slerp": slerp, "lerp": straight, "bars": barwise}


def interpolate(
    session: Session,
    a: Piece,
    b: Piece,
    share: float,
    seed: int = 0,
    temperature: float = 0.0,
    path: str = "slerp",
    request: Request | None = None,
) -> Generator[BarsDone, None, Score]:
    """The piece at `share` (0 to 1) of the way from a to b; ends with its score, at 0 and 1 with a's and b's own.

    Latents go from one to the other level by level, phrase by phrase, bar by bar, along one of PATHS. In between the
    piece has as many bars as the shorter one; meters, tempi, tracks and all that is not modelled are those of the
    nearer one. `request` brings sliders, masks and filters.
    """
    if path not in PATHS:
        raise MorphonyError(f"There is no path {path!r}, only {', '.join(PATHS)}.")
    if share in (0, 1):
        return (b if share else a).score
    near, n = (a if share < 0.5 else b), min(len(a), len(b))
    phrases, way = min(len(a.z_local), len(b.z_local)), PATHS[path]
    between = replace(
        blind(near),
        z_global=way(a.z_global, b.z_global, share),
        z_local=way(a.z_local[:phrases], b.z_local[:phrases], share),
        z_fine=way(a.z_fine[:n], b.z_fine[:n], share),
        cache={},
    )
    asked = replace(request or Request(), bars=range(n), seed=seed, temperature=temperature, blend=False)
    done = []
    for part in morph(session, between, asked):
        done.append(part)
        yield part
    score = apply(near, done)
    return score if n == len(near) else cut(score, near.grid, range(n))
