"""The whole sound of a machine goes away while playing, and comes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from app.sound import fonts
from app.sound.midi_out import MidiOut
from app.sound.ports import now
from app.sound.synth import SynthOut


@pytest.mark.slow
def test_both_ports_say_so_and_play_again_when_the_server_is_back(own_jack_server: Callable[[], Any]) -> None:
    server = own_jack_server()
    ports = (MidiOut.open_virtual(), SynthOut(fonts.OWN))
    try:
        assert all(port.wait_until_open().ok for port in ports)
        slowest = 0.0

        def look_after(wanted: bool, seconds: float = 8.0) -> bool:
            nonlocal slowest
            end = now() + seconds
            while now() < end and not all(port.status.ok == wanted for port in ports):
                began = now()
                for port in ports:
                    port.poll()
                    port.send([(now() + 0.1, bytes((0x90, 60, 80))), (now() + 0.15, bytes((0x80, 60, 64)))])
                slowest = max(slowest, now() - began)
                time.sleep(0.04)
            return all(port.status.ok == wanted for port in ports)

        server.kill()
        assert look_after(False)
        assert "No MIDI output" in ports[0].status.sentence
        assert "No sound" in ports[1].status.sentence
        own_jack_server()
        assert look_after(True)
        assert slowest < 0.25
    finally:
        for port in ports:
            port.close()
