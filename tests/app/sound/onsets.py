"""Hears when notes begin: where the sound at a note's own partials rises most, near where it is expected.

A step in a partial's level is found by comparing the 20 ms after a moment with the 20 ms before it; so neither other
notes nor a long decay move the answer, and a note that is not there gives a random one.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

HOP = 0.001  # seconds
WINDOW = 20  # hops on either side
REACH = 60  # hops around the expected moment in which the onset is looked for


def errors(
    sound: NDArray[np.floating], rate: int, seconds: Sequence[float], pitches: Sequence[int], most: float = 5.0
) -> tuple[NDArray[np.float64], float]:
    """(notes,) onset minus expected onset in seconds, less the constant latency; and that latency, 0 to `most`."""
    times, keys = np.asarray(seconds, dtype=float), np.asarray(pitches)

    def found(latency: float, every: int = 1) -> NDArray[np.float64]:
        pairs = zip(times[::every], keys[::every], strict=True)
        return np.array([onset(sound, rate, t + latency, int(p)) - t for t, p in pairs])

    some = max(len(times) // 100, 1)  # music repeats itself, so the likely latencies are tried on a hundred notes
    tried = [(found(latency, some), latency) for latency in coarse_latencies(sound, rate, times, most)]
    best = max(tried, key=lambda pair: share_within(pair[0] - np.median(pair[0])))
    constant = float(np.median(found(float(np.median(best[0])))))
    again = found(constant)
    constant = float(np.median(again))
    return again - constant, constant


def share_within(error: NDArray[np.float64], seconds: float = 0.015) -> float:
    """Share of notes whose onset is within so many seconds."""
    return float((np.abs(error) <= seconds).mean())


def onset(sound: NDArray[np.floating], rate: int, near: float, pitch: int) -> float:
    """Moment within 60 ms of `near` at which the note's partials rise most."""
    f0 = 440 * 2 ** ((pitch - 69) / 12)
    partials = [n * f0 for n in range(1, 40) if 150 <= n * f0 <= 6000][:8]
    hop = round(HOP * rate)
    count = 2 * (REACH + WINDOW)
    start = round(near / HOP) - REACH - WINDOW
    piece = np.zeros(count * hop)
    first = max(start * hop, 0)
    have = sound[first : (start + count) * hop]
    piece[first - start * hop :][: len(have)] = have
    t = np.arange(len(piece)) / rate
    turned = piece * np.exp(-2j * np.pi * np.outer(partials, t))  # (partials, samples)
    total = np.concatenate(
        [np.zeros((len(partials), 1)), np.cumsum(turned.reshape(len(partials), count, hop).sum(2), axis=1)], axis=1
    )
    level = np.abs(total[:, WINDOW:] - total[:, :-WINDOW])  # (partials, moments): of the window that begins there
    rise = np.maximum(level[:, WINDOW:] - level[:, :-WINDOW], 0) / (level.max(axis=1, keepdims=True) + 1e-9)
    weight = level.max(axis=1, keepdims=True)
    best = int((rise * np.sqrt(weight)).sum(0).argmax())
    return (start + WINDOW + best) * HOP


def coarse_latencies(
    sound: NDArray[np.floating], rate: int, seconds: NDArray[np.float64], most: float, count: int = 6
) -> list[float]:
    """The likeliest delays of the whole, by comparing where the sound rises with where notes are due."""
    hop = round(HOP * rate)
    bright = np.diff(sound.astype(float), prepend=0.0)  # attacks are bright
    energy = np.sqrt((bright[: len(bright) // hop * hop].reshape(-1, hop) ** 2).sum(1))
    smooth = np.convolve(energy, np.ones(5) / 5, mode="same")
    rise = np.maximum(np.diff(np.log(smooth + 1e-4), prepend=0.0), 0)
    due = np.zeros(len(rise))
    places = np.round(np.unique(seconds) / HOP).astype(int)
    due[places[places < len(due)]] = 1
    size = 1 << (2 * len(rise) - 1).bit_length()
    due = np.convolve(due, np.ones(7), "same")
    match = np.fft.irfft(np.fft.rfft(rise, size) * np.conj(np.fft.rfft(due, size)), size)[: round(most / HOP) + 1]
    likely = []
    for _ in range(count):
        at = int(match.argmax())
        likely.append(at * HOP)
        match[max(at - 30, 0) : at + 30] = -np.inf
    return likely
