"""`morphony play IN`: a file live, through the built-in synth or a MIDI port; Ctrl-C ends it with all notes off."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from app.cli import output
from app.sound.midi_out import MidiOut
from app.sound.synth import SynthOut
from app.sound.transport import State, Transport
from engine.errors import MorphonyError
from engine.score import midi

FEED_SECONDS = 0.04
CONNECT_SECONDS = 3.0  # what a person or a program needs to connect to a new virtual port
FADE_SECONDS = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", type=Path, metavar="IN", help="a .mid file")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--port", metavar="NAME", help="a MIDI port of this machine, by its name or a part of it")
    where.add_argument("--virtual", metavar="NAME", help="make a virtual port of this name and play into it")
    where.add_argument("--synth", action="store_true", help="the built-in synth (the default)")
    parser.add_argument("--font", type=Path, metavar="FILE", help="a sound font for the synth")
    parser.add_argument(
        "--wait",
        type=float,
        metavar="S",
        help=f"seconds before the first note (default {CONNECT_SECONDS:g} if virtual)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    score = midi.read(args.input)
    wait = args.wait if args.wait is not None else CONNECT_SECONDS if args.virtual else 0.0
    transport = Transport(score)
    port = open_port(args)
    transport.set_ports([port])
    try:
        status = port.wait_until_open()
        if not status.ok:
            raise MorphonyError(status.sentence)
        output.say(status.sentence)
        began = time.monotonic()
        while time.monotonic() < began + wait:
            time.sleep(FEED_SECONDS)
            transport.feed()
        transport.play()
        while transport.state is State.PLAYING:
            time.sleep(FEED_SECONDS)
            transport.feed()
        if isinstance(port, SynthOut):
            time.sleep(FADE_SECONDS)
    finally:
        transport.close()
    return {"file": args.input, "notes": len(score.notes), "played": True, "through": status.sentence}


def open_port(args: argparse.Namespace) -> MidiOut | SynthOut:
    """The port a command line asks for; the synth without one."""
    if args.port:
        return MidiOut.open(args.port)
    return MidiOut.open_virtual(args.virtual) if args.virtual else SynthOut(args.font)
