"""Somebody else's audio program, for tests: it records two JACK ports until its input ends, and saves a .npy.

    python recorder.py OUT.npy LEFT RIGHT

Every period is put where JACK's frame clock says it belongs, so a period that was missed is a gap and moves nothing.
"""

import ctypes
import ctypes.util
import sys
import time

import numpy as np

MAX_FRAMES = 48_000 * 240
NO_START_SERVER, IS_INPUT = 1, 1
Process = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_uint32, ctypes.c_void_p)


def main() -> None:
    out, sources = sys.argv[1], sys.argv[2:4]
    jack = ctypes.CDLL(ctypes.util.find_library("jack"))
    pointer, text = ctypes.c_void_p, ctypes.c_char_p
    for name, result, *arguments in (
        ("jack_client_open", pointer, text, ctypes.c_int, pointer),
        ("jack_port_register", pointer, pointer, text, text, ctypes.c_ulong, ctypes.c_ulong),
        ("jack_port_by_name", pointer, pointer, text),
        ("jack_port_get_buffer", pointer, pointer, ctypes.c_uint32),
        ("jack_last_frame_time", ctypes.c_uint32, pointer),
        ("jack_set_process_callback", ctypes.c_int, pointer, Process, pointer),
        ("jack_activate", ctypes.c_int, pointer),
        ("jack_deactivate", ctypes.c_int, pointer),
        ("jack_client_close", ctypes.c_int, pointer),
        ("jack_connect", ctypes.c_int, pointer, text, text),
    ):
        function = getattr(jack, name)
        function.restype, function.argtypes = result, arguments

    client = jack.jack_client_open(b"recorder", NO_START_SERVER, None)
    ports = [
        jack.jack_port_register(client, side, b"32 bit float mono audio", IS_INPUT, 0) for side in (b"left", b"right")
    ]
    sound = np.zeros(MAX_FRAMES, np.float32)
    start, end = [0], [0]

    def process(frames: int, _: object) -> int:
        moment = jack.jack_last_frame_time(client)
        start[0] = start[0] or moment
        at = moment - start[0]
        if at + frames <= MAX_FRAMES:
            for port in ports:
                heard = (ctypes.c_float * frames).from_address(jack.jack_port_get_buffer(port, frames))
                sound[at : at + frames] += np.frombuffer(heard, np.float32) / 2
            end[0] = at + frames
        return 0

    callback = Process(process)  # kept alive while JACK may call it
    jack.jack_set_process_callback(client, callback, None)
    jack.jack_activate(client)
    for source, side in zip(sources, (b"recorder:left", b"recorder:right"), strict=True):
        while not jack.jack_port_by_name(client, source.encode()):
            time.sleep(0.02)
        jack.jack_connect(client, source.encode(), side)
    print("ready", flush=True)  # noqa: T201
    sys.stdin.read()
    jack.jack_deactivate(client)
    jack.jack_client_close(client)
    np.save(out, sound[: end[0]])


main()
