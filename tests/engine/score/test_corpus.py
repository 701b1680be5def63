"""Inputs that fuzzing found to take a way of their own through the reader (`fuzz.py`), replayed."""

from __future__ import annotations

import re
import time
from pathlib import Path

from engine.errors import MorphonyError
from engine.score.midi import from_bytes, to_bytes

INPUTS = [bytes.fromhex(line) for line in (Path(__file__).parent / "corpus.txt").read_text().split()]


def test_every_kept_input_opens_and_can_be_saved_or_is_refused_in_a_sentence() -> None:
    opened, refusals, slowest = 0, [], 0.0
    for data in INPUTS:
        began = time.process_time()
        try:
            score = from_bytes(data, "input.mid")
        except MorphonyError as refusal:
            refusals.append(str(refusal))
        else:
            opened += 1
            assert from_bytes(to_bytes(score)).notes.tolist() == score.notes.tolist()
        slowest = max(slowest, time.process_time() - began)
    assert opened > 50
    assert len(refusals) > 10
    assert all(re.fullmatch(r"input\.mid [^\n]+\.", sentence) for sentence in refusals)
    assert slowest < 1
