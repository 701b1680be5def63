"""The way from one piece to another: which path the latents take, and the piece at one place of it; or between four.

R rows (bars, phrases or pieces), Z latent width.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.attributes import INDEX, measure
from engine.compose.morph import apply, blind, morph
from engine.compose.request import CHUNK_AFTER, BarsDone, Request, knobs_of
from engine.decoding import decode
from engine.errors import MorphonyError
from engine.model.latents import slerp
from engine.score import Score
from engine.score.cut import cut
from engine.session import Piece, Session

LED = ("density", "rhythm", "dynamics", "articulation")  # with pitches led as well, those of the others leap

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
    nearer one. `request` brings sliders, masks and filters. The middle between two pieces is thinner than either, so
    some attributes are led as well: sliders bring those of LED to their share of the way from a's value to b's.
    """
    if path not in PATHS:
        raise MorphonyError(f"There is no path {path!r}, only {', '.join(PATHS)}.")
    if share in (0, 1):
        return (b if share else a).score
    way = PATHS[path]
    levels = [_way(way, za, zb, share) for za, zb in zip(_latents(a), _latents(b), strict=True)]
    ends = () if way is barwise else ((a, 1 - share), (b, share))  # bar by bar nothing is in the middle
    return (yield from _decoded(session, a if share < 0.5 else b, levels, ends, seed, temperature, request))


def among(
    session: Session,
    corners: Sequence[Piece],
    x: float,
    y: float,
    seed: int = 0,
    temperature: float = 0.0,
    request: Request | None = None,
) -> Generator[BarsDone, None, Score]:
    """The piece at a place between four: top left, top right, bottom left, bottom right; x and y go from 0 to 1.

    Latents turn along the arcs of the upper and of the lower edge, then from one to the other. In a corner it is that
    piece's own score; else it has as many bars as the shortest, and all else is the nearest one's.
    """
    if len(corners) != 4:
        raise MorphonyError(f"There are four corners to be between, not {len(corners)}.")
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise MorphonyError(f"A place between four pieces goes from 0 to 1 both ways, not to {x:g}, {y:g}.")
    near = corners[2 * round(y) + round(x)]
    if x in (0, 1) and y in (0, 1):
        return near.score
    tables = zip(*(_latents(piece) for piece in corners), strict=True)
    levels = [_way(slerp, _way(slerp, a, b, x), _way(slerp, c, d, x), y) for a, b, c, d in tables]
    shares = (1 - x) * (1 - y), x * (1 - y), (1 - x) * y, x * y
    ends = tuple(zip(corners, shares, strict=True))
    return (yield from _decoded(session, near, levels, ends, seed, temperature, request))


def _latents(piece: Piece) -> tuple[Tensor, Tensor, Tensor]:
    return piece.z_global, piece.z_local, piece.z_fine


def _way(path: Path, a: Tensor, b: Tensor, share: float) -> Tensor:
    """The rows that both have, `share` of the way."""
    rows = min(len(a), len(b))
    return path(a[:rows], b[:rows], share)


def _decoded(
    session: Session,
    near: Piece,
    levels: Sequence[Tensor],
    ends: Sequence[tuple[Piece, float]],
    seed: int,
    temperature: float,
    request: Request | None,
) -> Generator[BarsDone, None, Score]:
    """What latents of all three levels say, in the meters, tempi and tracks of the piece they are nearest to."""
    z_global, z_local, z_fine = levels
    n = len(z_fine)
    between = replace(blind(near), z_global=z_global, z_local=z_local, z_fine=z_fine, cache={})
    asked = replace(request or Request(), bars=range(n), seed=seed, temperature=temperature, blend=False)
    asked = replace(asked, offsets=_led(session, between, asked, ends, n))
    done = []
    for part in morph(session, between, asked):
        done.append(part)
        yield part
    score = apply(near, done)
    return score if n == len(near) else cut(score, near.grid, range(n))


def _led(
    session: Session, between: Piece, request: Request, ends: Sequence[tuple[Piece, float]], count: int
) -> dict[str, float]:
    """Offsets that bring the attributes of what is decoded to the mean of what the ends have, by their shares."""
    wanted, still = dict(request.offsets), replace(request, offsets={})
    near = [(piece, share) for piece, share in ends if share > 0]
    if not near:
        return wanted
    goal = sum(share * _heard(session, blind(piece), still, count) for piece, share in near)
    missing = (goal - _heard(session, between, still, count)) / session.deviations
    for name in LED:
        if np.isfinite(missing[INDEX[name]]):
            wanted[name] = wanted.get(name, 0.0) + float(missing[INDEX[name]])
    return wanted


def _heard(session: Session, piece: Piece, request: Request, count: int) -> NDArray[np.float64]:
    """(12,) attributes of the first `count` bars as they are decoded."""
    knobs = knobs_of(session, request)
    chunks = [list(range(i, min(i + CHUNK_AFTER, count))) for i in range(0, count, CHUNK_AFTER)]
    return measure(np.concatenate([decode(session, piece, c, knobs) for c in chunks]), piece.grid.clocks[:count])
