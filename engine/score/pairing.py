"""First-on first-off: which release ends which note. Knows neither files nor tokens, only keys in order of time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def first_on_first_off(key: NDArray[np.int64], is_on: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Pair note-ons with note-offs of the same key, the oldest sounding note first.

    `key` (M,) names channel and pitch of each message, in order of time; `is_on` (M,) tells ons from offs.
    Returns (M,) the index of the off that ends each on, -1 for an on never ended (and for every off); and (M,)
    whether the on came while its key still sounded. An off without a sounding note ends nothing.
    """
    order = np.argsort(key, kind="stable")
    key, is_on = key[order], is_on[order]
    new = np.ones(len(key), bool)
    new[1:] = key[1:] != key[:-1]
    group = np.cumsum(new) - 1
    step = np.where(is_on, 1, -1)
    walk = np.cumsum(step)
    floor = -group * (2 * len(key) + 2)  # each group walks below all groups before, so one running minimum serves all
    depth = walk - (walk - step)[new][group] + floor
    before = np.concatenate([[0], depth[:-1]])[: len(key)]
    lowest = np.minimum(np.minimum.accumulate(before), floor)
    ends_one = ~is_on & (depth >= lowest)
    sounding = depth - np.minimum(lowest, depth)

    rank_on: NDArray[np.int64] = np.cumsum(is_on) - is_on  # how many came before
    rank_off: NDArray[np.int64] = np.cumsum(ends_one) - ends_one
    place = rank_on[new][group] + rank_off - rank_off[new][group]  # the k-th off of a group ends its k-th on
    ended_by = np.full(int(is_on.sum()), -1, np.int64)
    ended_by[place[ends_one]] = order[ends_one]

    release = np.full(len(key), -1, np.int64)
    release[order[is_on]] = ended_by
    overlaps = np.zeros(len(key), bool)
    overlaps[order] = is_on & (sounding > 1)
    return release, overlaps
