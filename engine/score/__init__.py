"""Scores: notes, tracks, meters and tempi as frozen data, with MIDI files at the edge. Free of torch."""

from engine.score.score import NOTE, Event, Meter, Score, Tempo, Track, make_notes

__all__ = ["NOTE", "Event", "Meter", "Score", "Tempo", "Track", "make_notes"]
