"""The player in a Qt event loop, with the transport test's idea of a port: a list."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from pytestqt.qtbot import QtBot

from app.sound.player import Player
from app.sound.ports import Status, Timed, is_note_on, now
from engine.score.score import Score, Track, make_notes


class Port:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.status = Status(True, "A list.")
        self.sent: list[Timed] = []
        self.calls: list[str] = []

    def send(self, events: Sequence[Timed]) -> None:
        self.sent += events

    def silence(self) -> None:
        self.calls.append("silence")

    def panic(self) -> None:
        self.calls.append("panic")

    def poll(self) -> None:
        pass

    def close(self) -> None:
        self.calls.append("close")


@pytest.fixture
def port() -> Port:
    return Port()


@pytest.fixture
def player(qtbot: QtBot, port: Port) -> Iterator[Player]:
    score = Score(480, (Track(),), make_notes((i * 96, 90, 60 + i, 80, 0) for i in range(10)))
    made = Player(score)
    made.set_ports([port])
    yield made
    made.close()


def test_it_plays_by_itself_and_tells_when_it_begins_and_ends(qtbot: QtBot, player: Player, port: Port) -> None:
    told: list[str] = []
    player.state_changed.connect(told.append)
    began = now()
    with qtbot.waitSignal(player.state_changed, check_params_cb=lambda state: state == "stopped", timeout=5000):
        player.play()
    assert told == ["playing", "stopped"]
    ons = [(moment, data[1]) for moment, data in port.sent if is_note_on(data)]
    assert [pitch for _, pitch in ons] == list(range(60, 70))
    assert all(moment > began for moment, _ in ons)
    assert [b - a for (a, _), (b, _) in pairwise(ons)] == pytest.approx([0.1] * 9)


def test_the_position_moves_while_playing_and_stays_while_paused(qtbot: QtBot, player: Player) -> None:
    player.play()
    qtbot.waitUntil(lambda: player.position_tick() > 200, timeout=3000)
    player.toggle()
    assert player.state == "paused"
    here = player.position_tick()
    qtbot.wait(60)
    assert player.position_tick() == here
    player.stop()
    assert (player.state, player.position_tick()) == ("stopped", 0)


def test_a_ports_change_of_status_is_told(qtbot: QtBot, player: Player, port: Port) -> None:
    with qtbot.waitSignal(player.status_changed, timeout=2000) as caught:
        port.status = Status(False, "The list is full.")
    assert caught.args == [port, Status(False, "The list is full.")]


def test_a_long_look_ahead_bridges_a_frozen_window(player: Player, port: Port) -> None:
    player.set_look_ahead(2.0)
    player.play()
    assert len([data for _, data in port.sent if is_note_on(data)]) == 10


def test_panic_and_close_reach_the_port(player: Player, port: Port) -> None:
    player.play()
    player.panic()
    assert "panic" in port.calls
    assert player.state != "playing"
    player.close()
    assert port.calls[-1] == "close"
