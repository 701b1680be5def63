"""First-on first-off, against the plain loop it replaces."""

from __future__ import annotations

from collections import defaultdict, deque

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from engine.score.pairing import first_on_first_off


def by_hand(keys: list[int], ons: list[bool]) -> tuple[list[int], list[bool]]:
    sounding: dict[int, deque[int]] = defaultdict(deque)
    release, overlaps = [-1] * len(keys), [False] * len(keys)
    for i, (key, on) in enumerate(zip(keys, ons, strict=True)):
        if on:
            overlaps[i] = bool(sounding[key])
            sounding[key].append(i)
        elif sounding[key]:
            release[sounding[key].popleft()] = i
    return release, overlaps


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60))
def test_it_is_the_loop_with_a_queue_for_each_key(messages: list[tuple[int, bool]]) -> None:
    keys, ons = [k for k, _ in messages], [on for _, on in messages]
    release, overlaps = first_on_first_off(np.array(keys, np.int64), np.array(ons, bool))
    assert (release.tolist(), overlaps.tolist()) == by_hand(keys, ons)
