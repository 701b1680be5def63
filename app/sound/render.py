"""A score as a .wav file: FluidSynth without a sound card, faster than real time, each onset at its own frame.

Knows no clock; the time of a message decides how many frames are rendered before it is carried out.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import wave
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app.sound import fonts
from app.sound.fluid import BLOCK_FRAMES, GAIN, SAMPLE_RATE, Fluid
from app.sound.ports import Timed
from app.sound.scheduler import all_events
from engine.errors import MorphonyError
from engine.score.score import Score

TAIL_SECONDS = 3.0  # at most: rendering ends when the last voice has died away
MAX_SECONDS = 6 * 3600  # what the 4 GiB of a .wav hold, at 48 kHz in stereo
KNEE = 0.8  # below it sound is untouched; above, it is bent to stay below full scale


def render(score: Score, path: Path, font: Path | None = None) -> tuple[float, str]:
    """Write a score as 16-bit stereo; return its length in seconds and the font's name. Raises MorphonyError."""
    events = all_events(score)
    if events and events[-1][0] > MAX_SECONDS:
        hours = events[-1][0] / 3600
        raise MorphonyError(f"{path.name}: the piece lasts {hours:.1f} hours; a .wav holds {MAX_SECONDS // 3600}.")
    if font and not fonts.is_sound_font(font):
        raise MorphonyError(f"{font} is not a sound font (.sf2 or .sf3).")
    fluid = Fluid.with_fonts(fonts.wanted(font), gain=GAIN)
    if font and fluid.font_name != font.name:
        fluid.close()
        raise MorphonyError(f"The sound font {font} is damaged: it does not load.")
    handle, name = tempfile.mkstemp(suffix=".wav", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file, wave.open(file, "wb") as out:
            out.setnchannels(2)
            out.setsampwidth(2)
            out.setframerate(SAMPLE_RATE)
            for block in sound(fluid, events):
                out.writeframes(np.round(limit(block) * 32767).astype("<i2").tobytes())
            seconds = out.getnframes() / SAMPLE_RATE
        os.replace(name, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        fluid.close()
    return seconds, fluid.font_name


def sound(fluid: Fluid, events: Sequence[Timed]) -> Iterator[NDArray[np.float32]]:
    """Yield (n, 2) blocks: the events from time 0 on, then what dies away after them."""
    done = 0
    for frame, group in groupby(events, key=lambda event: round(event[0] * SAMPLE_RATE / BLOCK_FRAMES) * BLOCK_FRAMES):
        yield from fluid.render(frame - done)
        done = max(done, frame)
        for _, message in group:
            fluid.apply(message)
    for _ in range(round(TAIL_SECONDS * SAMPLE_RATE) // 4800):
        yield from fluid.render(4800)
        if not fluid.active_voices():
            return


def limit(block: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep peaks below full scale by bending them softly; what is below the knee stays as it is."""
    over = np.abs(block) > KNEE
    if not over.any():
        return block
    bent = np.sign(block) * (KNEE + (1 - KNEE) * np.tanh((np.abs(block) - KNEE) / (1 - KNEE)))
    return np.where(over, bent, block).astype(np.float32)
