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
    clock = [0.0]

    def hear(event: tuple[list[int], float], _: object) -> None:
        message, delta = event  # delta is measured in JACK's own thread, so Python's delays do not enter
        clock[0] += delta
        heard.append((clock[0], message))

    midi = rtmidi.MidiIn(rtapi=rtmidi.API_UNIX_JACK, name="Receiver")
    midi.ignore_types(sysex=False)
    midi.set_callback(hear)
    if own:
        midi.open_virtual_port(name)
    else:
        while not (found := [i for i, port in enumerate(midi.get_ports() or []) if name in port]):
            time.sleep(0.02)
        midi.open_port(found[0], "in")
    print("ready", flush=True)  # noqa: T201
    for _ in sys.stdin:
        print(json.dumps(heard), flush=True)  # noqa: T201
    midi.cancel_callback()
    midi.close_port()
    midi.delete()


main()
