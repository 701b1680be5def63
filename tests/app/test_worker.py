"""The engine's thread with a fake model: order, newest value wins, cancelling, errors kept, nothing left running."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytestqt.qtbot import QtBot

from app.worker import Engine, EngineState, EngineThread, JobEnd
from engine.errors import MorphonyError
from engine.score.score import Score, Track, make_notes
from tests.app import fakes


def a_score(bars: int = 40) -> Score:
    return Score(480, (Track(),), make_notes([(i * 480, 240, 60, 80, 0) for i in range(bars * 4)]))


def slow_engine(seconds: float) -> Engine:
    engine = fakes.open_engine()
    return dataclasses.replace(engine, morph=lambda piece, request: fakes.morph(piece, request, seconds))


@pytest.fixture
def start(qtbot: QtBot) -> Iterator[Callable[..., EngineThread]]:
    threads: list[EngineThread] = []

    def make(opener: Callable[..., Engine] = fakes.open_engine, wait: bool = True) -> EngineThread:
        thread = EngineThread(opener)
        threads.append(thread)
        thread.start()
        thread.load()
        if wait:
            qtbot.waitUntil(lambda: thread.state is EngineState.READY)
        return thread

    yield make
    for thread in threads:
        thread.stop()
        assert thread.state is EngineState.STOPPED


def test_it_loads_in_a_thread_of_its_own_and_says_the_device(qtbot: QtBot, start: Callable[..., EngineThread]) -> None:
    where: list[int] = []

    def opener(model: Path | None, adapter: Path | None) -> Engine:
        where.append(threading.get_ident())
        return fakes.open_engine()

    thread = EngineThread(opener)
    with qtbot.waitSignal(thread.ready) as ready:
        thread.start()
        thread.load()
    assert ready.args == ["cpu: a model of the tests"]
    assert where[0] != threading.get_ident()
    thread.stop()


def test_a_model_that_does_not_load_is_a_sentence_and_can_be_tried_again(qtbot: QtBot) -> None:
    attempts: list[int] = []

    def opener(model: Path | None, adapter: Path | None) -> Engine:
        attempts.append(1)
        if len(attempts) == 1:
            raise MorphonyError("The starter model is missing.")
        return fakes.open_engine()

    thread = EngineThread(opener)
    thread.start()
    with qtbot.waitSignal(thread.failed) as failed:
        thread.load()
    assert failed.args == ["The starter model is missing."]
    assert isinstance(thread.error, MorphonyError)
    qtbot.waitUntil(lambda: thread.state is EngineState.FAILED)
    with qtbot.waitSignal(thread.ready):
        thread.load()
    thread.stop()


def test_jobs_wait_for_the_model(qtbot: QtBot) -> None:
    thread = EngineThread(fakes.open_engine)
    thread.start()
    score = a_score()
    thread.encode(score)
    with qtbot.waitSignal(thread.encoded) as encoded:
        thread.load()
    assert encoded.args[0].score is score
    thread.stop()


def test_bars_at_the_playhead_come_first_and_the_last_score_is_whole(
    qtbot: QtBot, start: Callable[..., EngineThread]
) -> None:
    thread = start()
    piece = fakes.encode(a_score())
    bars: list[int] = []
    scores: list[Any] = []
    thread.bars_done.connect(lambda _, done: bars.extend(done.bars))
    thread.score_done.connect(lambda _, score: scores.append(score))
    with qtbot.waitSignal(thread.finished_job):
        thread.request(piece, fakes.Request({"register": 1.0}, first=20))
    qtbot.waitUntil(lambda: len(bars) == 40)
    assert bars[:4] == [20, 21, 22, 23]
    assert (scores[-1].notes["pitch"] == 66).all()
    assert (scores[0].notes["pitch"] == 66).sum() == 16


def test_the_newest_value_wins(qtbot: QtBot, start: Callable[..., EngineThread]) -> None:
    thread = start(lambda *_: slow_engine(0.01))
    piece = fakes.encode(a_score())
    finished: list[int] = []
    thread.finished_job.connect(finished.append)
    ids = [thread.request(piece, fakes.Request({"register": i / 10})) for i in range(1, 11)]
    qtbot.waitUntil(lambda: ids[-1] in finished)
    assert finished == [ids[-1]] or finished == [ids[0], ids[-1]]


def test_bars_not_yet_done_keep_the_last_value(qtbot: QtBot, start: Callable[..., EngineThread]) -> None:
    thread = start(lambda *_: slow_engine(0.005))
    piece = fakes.encode(a_score())
    with qtbot.waitSignal(thread.finished_job):
        thread.request(piece, fakes.Request({"register": 1.0}))
    with qtbot.waitSignal(thread.score_done) as first:
        thread.request(piece, fakes.Request({"register": 2.0}))
    pitches = first.args[1].notes["pitch"]
    assert set(pitches.tolist()) == {66, 72}


def test_cancel_ends_a_job_at_its_next_bars(qtbot: QtBot, start: Callable[..., EngineThread]) -> None:
    thread = start(lambda *_: slow_engine(0.02))
    piece = fakes.encode(a_score(400))
    finished: list[int] = []
    thread.finished_job.connect(finished.append)
    with qtbot.waitSignal(thread.bars_done):
        thread.request(piece, fakes.Request({"register": 1.0}))
    job = thread._desk.current
    assert job is not None
    thread.cancel()
    qtbot.waitUntil(lambda: thread.state is EngineState.READY, timeout=500)
    assert job.end is JobEnd.CANCELLED
    assert finished == []


def test_a_failing_job_is_a_sentence_and_the_thread_lives(qtbot: QtBot, start: Callable[..., EngineThread]) -> None:
    def morph(piece: Any, request: Any) -> Iterator[Any]:
        if request.seed == 1:
            raise MorphonyError("This bar is too dense.")
        return fakes.morph(piece, request)

    thread = start(lambda *_: dataclasses.replace(fakes.open_engine(), morph=morph))
    piece = fakes.encode(a_score())
    with qtbot.waitSignal(thread.job_failed) as failed:
        job = thread.request(piece, fakes.Request({"register": 1.0}, seed=1))
    assert failed.args == [job, "This bar is too dense."]
    with qtbot.waitSignal(thread.finished_job):
        thread.request(piece, fakes.Request({"register": 1.0}))


def test_a_style_that_does_not_load_keeps_the_model(qtbot: QtBot) -> None:
    def opener(model: Path | None, adapter: Path | None) -> Engine:
        if adapter is not None:
            raise MorphonyError("That folder holds no style.")
        return fakes.open_engine()

    thread = EngineThread(opener)
    with qtbot.waitSignal(thread.ready):
        thread.start()
        thread.load()
    with qtbot.waitSignal(thread.failed):
        thread.load(adapter=Path("nowhere"))
    qtbot.waitUntil(lambda: thread.state is EngineState.READY)
    assert thread.engine is not None
    thread.stop()
