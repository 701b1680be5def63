"""Coverage-guided fuzzing of the MIDI reader: `python tests/engine/score/fuzz.py FOLDER [-max_total_time=1800]`.

Needs atheris (`pip install -e .[fuzz]`, Linux and macOS). FOLDER takes what is found on the way; it begins with what
earlier runs found, which `corpus.txt` keeps, an input a line, in hex. A crash, ten seconds' work or half a gigabyte
ends it, and leaves the input that did it. `test_corpus.py` replays the kept inputs in every run of the tests.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["engine"]):
    from engine.errors import MorphonyError
    from engine.score.midi import from_bytes, to_bytes
    from engine.score.score import Score

LIMITS = ["-timeout=10", "-rss_limit_mb=1200", "-malloc_limit_mb=500", "-max_len=4096"]


def once(data: bytes) -> None:
    """What opens can be written and reads back the same; what does not is refused in one sentence."""
    score = opened(data)
    again = opened(written(score)) if score else None
    if score and again and again.notes.tolist() != score.notes.tolist():
        raise AssertionError("what was written reads otherwise")


def opened(data: bytes) -> Score | None:
    """The score, or None where it is refused as it should be."""
    try:
        return from_bytes(data, "input.mid")
    except MorphonyError as refusal:
        if re.fullmatch(r"input\.mid [^\n]+\.", str(refusal)):
            return None
        raise AssertionError(f"this is no sentence: {refusal}") from refusal


def written(score: Score) -> bytes:
    """The score as a file; a file without notes where the format cannot hold it."""
    try:
        return to_bytes(score)
    except MorphonyError:
        return b""


def plant(folder: Path) -> None:
    """Put the kept inputs where the fuzzer looks for them."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate((Path(__file__).parent / "corpus.txt").read_text().split()):
        (folder / f"kept-{number}").write_bytes(bytes.fromhex(line))


if __name__ == "__main__":
    plant(Path(sys.argv[1]))
    atheris.Setup([sys.argv[0], *LIMITS, *sys.argv[1:]], once)
    atheris.Fuzz()
