"""Edits of the tracks of a score: names, instruments, channels, volumes; each a pure function from `Score` to `Score`.

A program, a volume and a channel belong to a channel of MIDI, so a track that shares one is given its own first.
An edit that changes nothing returns the very same `Score`. Nothing here knows about windows or undo.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np

from engine.errors import MorphonyError
from engine.score.score import DRUM_CHANNEL, Event, Score, Track

DEFAULT_VOLUME: Final = 100  # what General MIDI says holds without a controller
MOST_TRACKS: Final = 999
_CONTROL, _PROGRAM, _VOLUME, _BANKS = 0xB0, 0xC0, 7, (0, 32)
_NAME = b"\xff\x03"


def add(score: Score, name: str = "", program: int = 0) -> Score:
    """One more track at the end, on a channel nobody uses where there is one."""
    if len(score.tracks) >= MOST_TRACKS:
        raise MorphonyError(f"A song holds {MOST_TRACKS} tracks at most.")
    channel = free_channel(score)
    track = Track(name, program, channel if channel is not None else 0)
    return replace(score, tracks=(*score.tracks, track))


def remove(score: Score, index: int) -> Score:
    """Without a track, its notes and its events; those after it move up. The last one stays."""
    if len(score.tracks) < 2:
        return score
    notes = score.notes[score.notes["track"] != index].copy()
    notes["track"] -= notes["track"] > index
    events = tuple(replace(e, track=e.track - 1) if e.track > index else e for e in score.events if e.track != index)
    return replace(score, tracks=score.tracks[:index] + score.tracks[index + 1 :], notes=notes, events=events)


def rename(score: Score, index: int, name: str) -> Score:
    """Give a track a name; what the file said of it goes."""
    if name == score.tracks[index].name:
        return score
    kept = tuple(e for e in score.events if not (e.track == index and e.data[:2] == _NAME))
    return _with(replace(score, events=kept), index, name=name)


def set_program(score: Score, index: int, program: int) -> Score:
    """Give a track an instrument (0 to 127) from its beginning to its end."""
    if program == score.tracks[index].program and not _changes_program(score, index):
        return score
    score = own_channel(score, index)
    kept = tuple(e for e in score.events if not (e.track == index and _chooses_program(e.data)))
    return _with(replace(score, events=kept), index, program=program)


def set_channel(score: Score, index: int, channel: int) -> Score:
    """Move a track to a channel (0 to 15) with all it says; the tenth is the drums'."""
    track = score.tracks[index]
    if channel == track.channel and track.is_drum == (channel == DRUM_CHANNEL):
        return score
    events = tuple(replace(e, data=_moved(e.data, channel)) if e.track == index else e for e in score.events)
    return _with(replace(score, events=events), index, channel=channel, is_drum=channel == DRUM_CHANNEL)


def volume(score: Score, index: int) -> int:
    """The volume a track begins with (0 to 127)."""
    found = [e for e in score.events if e.track == index and _is_volume(e.data)]
    return min(found, key=lambda e: e.tick).data[2] if found else DEFAULT_VOLUME


def set_volume(score: Score, index: int, value: int) -> Score:
    """Let a track begin with a volume; later changes of it keep their proportion."""
    before = volume(score, index)
    if value == before:
        return score
    score = own_channel(score, index)
    mine = [e for e in score.events if e.track == index and _is_volume(e.data)]
    if not mine:
        first = Event(0, index, bytes((_CONTROL | score.tracks[index].channel, _VOLUME, value)))
        return replace(score, events=(first, *score.events))
    ratio = value / before if before else None
    start = min(e.tick for e in mine)

    def turned(event: Event) -> Event:
        old = event.data[2]
        new = value if event.tick == start or ratio is None else int(np.clip(round(old * ratio), 0, 127))
        return replace(event, data=event.data[:2] + bytes((new,)))

    events = tuple(turned(e) if e.track == index and _is_volume(e.data) else e for e in score.events)
    return replace(score, events=events)


def free_channel(score: Score) -> int | None:
    """The first channel no track uses, the drums' left out; None when there is none."""
    used = {track.channel for track in score.tracks} | {DRUM_CHANNEL}
    return next((channel for channel in range(16) if channel not in used), None)


def own_channel(score: Score, index: int) -> Score:
    """Move a pitched track that shares its channel to one of its own, while there is one."""
    track = score.tracks[index]
    shared = any(other.channel == track.channel for i, other in enumerate(score.tracks) if i != index)
    channel = free_channel(score)
    if not shared or track.is_drum or channel is None:
        return score
    return set_channel(score, index, channel)


def _with(score: Score, index: int, **fields: object) -> Score:
    tracks = list(score.tracks)
    tracks[index] = replace(tracks[index], **fields)  # type: ignore[arg-type]  # fields of Track by name
    return replace(score, tracks=tuple(tracks))


def _changes_program(score: Score, index: int) -> bool:
    return any(e.track == index and _chooses_program(e.data) for e in score.events)


def _chooses_program(data: bytes) -> bool:
    kind = data[0] & 0xF0
    return kind == _PROGRAM or (kind == _CONTROL and data[1] in _BANKS)


def _is_volume(data: bytes) -> bool:
    return data[0] & 0xF0 == _CONTROL and data[1] == _VOLUME


def _moved(data: bytes, channel: int) -> bytes:
    return bytes((data[0] & 0xF0 | channel,)) + data[1:] if 0x80 <= data[0] < 0xF0 else data
