"""A MIDI program of somebody else's, for tests: it listens to a port and tells on request what it has heard.

python receiver.py NAME        connect to the output port NAME as soon as there is one
python receiver.py NAME own    offer an input port NAME
"""

import json
import sys
import time

import rtmidi


def main() -> None:
    name, own = sys.argv[1], len(sys.argv) > 2
    heard: list[tuple[float, list[int]]] = []
    clock = 0.0
    # No callback: JACK's thread would wait for Python, and JACK drops what a late client has not taken.
    midi = rtmidi.MidiIn(rtapi=rtmidi.API_UNIX_JACK, name="Receiver", queue_size_limit=100_000)
    midi.ignore_types(sysex=False, timing=False)
    if own:
        midi.open_virtual_port(name)
    else:
        while not (found := [i for i, port in enumerate(midi.get_ports() or []) if name in port]):
            time.sleep(0.02)
        midi.open_port(found[0], "in")
    time.sleep(0.1)  # until the connection carries something
    print("ready", flush=True)  # noqa: T201
    for _ in sys.stdin:
        while event := midi.get_message():
            message, delta = event  # measured in JACK's own thread
            clock += delta
            heard.append((clock, message))
        print(json.dumps(heard), flush=True)  # noqa: T201


main()
