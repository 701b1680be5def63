"""Which code made a cache: a number, and a digest of the modules that decide what a bar is.

A change to any of them, a comment even, makes caches anew: rather once too often than music read two ways.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
from functools import cache
from pathlib import Path

VERSION = 3
MODULES = (
    "engine.score.score",
    "engine.score.timing",
    "engine.score.pairing",
    "engine.score.listing",
    "engine.score.midi",
    "engine.score.midi_chunks",
    "engine.score.midi_parser",
    "engine.score.midi_quick",
    "engine.tokens.vocab",
    "engine.attributes",
    "trainer.corpus.bars",
    "trainer.corpus.measuring",
    "trainer.corpus.reading",
    "trainer.corpus.cache",
)


@cache
def code() -> str:
    """A few words that change with the code; where only an installer's archive is there, its version speaks for it."""
    digest = hashlib.sha256(f"{VERSION} {importlib.metadata.version('symusic')}".encode())
    for name in MODULES:
        spec = importlib.util.find_spec(name)
        source = Path(spec.origin) if spec and spec.origin else Path()
        if source.suffix == ".py" and source.is_file():
            digest.update(source.read_bytes())
        else:
            digest.update(importlib.metadata.version("morphony").encode())
    return digest.hexdigest()
