"""What tests of the app may ask for: a JACK server of their own, a MIDI receiver, a recorder, an ear for onsets."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numpy.typing import NDArray

HERE = Path(__file__).resolve().parent
RATE = 48_000

os.environ["JACK_NO_START_SERVER"] = "1"  # no test may start the real one
os.environ["JACK_DEFAULT_SERVER"] = f"morphony-none-{os.getpid()}"  # nor find it


class JackServer:
    """A JACK server with a dummy sound card. Shorter periods than these lose events on a loaded machine."""

    def __init__(self, name: str, period: int = 256) -> None:
        program = shutil.which("jackd")
        if program is None:
            pytest.skip("jack_server: jackd is not installed")
        # JACK drops a period's events when a client gets no processor in time: real time where the system allows it
        timing = ["-R", "-P", "10"] if may_run_in_real_time() else ["--no-realtime"]
        command = [program, *timing, "-n", name, "-d", "dummy", "-r", str(RATE), "-p", str(period)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 10
        while not jack_ports(name):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                pytest.skip("jack_server: jackd does not start here")
            time.sleep(0.05)

    def kill(self) -> None:
        """End it without a word to its clients."""
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it properly."""
        self._process.terminate()
        self._process.wait()


@pytest.fixture(scope="session")
def _jack_process() -> Iterator[str]:
    """The private name of one server for the whole run."""
    name = server_name("tests")
    server = JackServer(name)
    yield name
    server.close()


@pytest.fixture
def own_jack_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], JackServer]]:
    """Start a server that this test may kill, and once more start it."""
    name = server_name("own")
    monkeypatch.setenv("JACK_DEFAULT_SERVER", name)
    started: list[JackServer] = []

    def start(period: int = 256) -> JackServer:
        started.append(JackServer(name, period))
        return started[-1]

    yield start
    for server in started:
        server.close()


def server_name(kind: str) -> str:
    """One of few names: JACK knows eight servers at most, and takes over from a killed one only under its own name."""
    return f"morphony-{kind}-{os.getpid() % 3}"


def may_run_in_real_time() -> bool:
    """True when a process of this user may ask for a real-time priority."""
    ask = "import os; os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(10))"
    return subprocess.run([sys.executable, "-S", "-c", ask], stderr=subprocess.DEVNULL).returncode == 0


def jack_ports(server: str) -> list[str]:
    """Names of all ports of a JACK server; none when it does not answer."""
    command = ["jack_lsp", "--server", server]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "JACK_DEFAULT_SERVER": server})
    return [line for line in done.stdout.splitlines() if ":" in line] if done.returncode == 0 else []


@pytest.fixture
def jack_server(_jack_process: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make every JACK client of this test, child processes too, find the private server; its name."""
    monkeypatch.setenv("JACK_DEFAULT_SERVER", _jack_process)
    return _jack_process


class Receiver:
    """A process of its own that listens to a MIDI port (or offers one, with `own=True`) and keeps what it hears."""

    def __init__(self, name: str, own: bool = False) -> None:
        command = [sys.executable, str(HERE / "sound" / "receiver.py"), name, *(["own"] if own else [])]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.pid = self._process.pid

    def wait(self, seconds: float = 10) -> Receiver:
        """Wait until it is connected."""
        assert answer(self._process, seconds) == "ready"
        return self

    def report(self) -> list[tuple[float, bytes]]:
        """(seconds on the port's clock, message) of all messages so far, in order of arrival."""
        assert self._process.stdin is not None
        self._process.stdin.write("report\n")
        self._process.stdin.flush()
        return [(moment, bytes(message)) for moment, message in json.loads(answer(self._process, 10))]

    def wait_for(self, count: int, seconds: float = 10) -> list[tuple[float, bytes]]:
        """Report as soon as there are `count` messages."""
        deadline = time.monotonic() + seconds
        while len(heard := self.report()) < count and time.monotonic() < deadline:
            time.sleep(0.02)
        return heard

    def close(self) -> None:
        """End the process."""
        end(self._process)


@pytest.fixture
def receiver(jack_server: str) -> Iterator[Callable[..., Receiver]]:
    """Make receivers: `receiver("Morphony Out")` connects to that port, now or when it appears."""
    made: list[Receiver] = []

    def make(name: str, own: bool = False) -> Receiver:
        made.append(Receiver(name, own))
        return made[-1]

    yield make
    for each in made:
        each.close()


class Recorder:
    """A process of its own that records the synth's two JACK ports."""

    def __init__(self, path: Path, ports: tuple[str, str]) -> None:
        self._path = path
        command = [sys.executable, str(HERE / "sound" / "recorder.py"), str(path), *ports]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert answer(self._process, 15) == "ready"

    def stop(self) -> NDArray[np.float32]:
        """(frames,) what was heard, both sides together, full scale 1, at 48 kHz."""
        self._process.communicate(timeout=30)
        sound: NDArray[np.float32] = np.load(self._path)
        return sound

    def close(self) -> None:
        """End the process."""
        end(self._process)


@pytest.fixture
def record(jack_server: str, tmp_path: Path) -> Iterator[Callable[..., Recorder]]:
    """A function that starts recording the synth; the recorder it returns gives the sound when stopped."""
    made: list[Recorder] = []

    def make(left: str = "Morphony Synth:left", right: str = "Morphony Synth:right") -> Recorder:
        made.append(Recorder(tmp_path / f"recorded-{len(made)}.npy", (left, right)))
        return made[-1]

    yield make
    for each in made:
        each.close()


def answer(process: subprocess.Popen[str], seconds: float) -> str:
    """One line that a process says within so many seconds."""
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    assert ready, f"{process.args} does not answer"
    return process.stdout.readline().strip()


def end(process: subprocess.Popen[str]) -> None:
    """End a process that may have ended, and what connects to it."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            stream.close()


@pytest.fixture(scope="session")
def onsets() -> ModuleType:
    """The module that hears when notes begin: `onsets.errors(sound, rate, seconds, pitches)`."""
    spec = importlib.util.spec_from_file_location("onsets", HERE / "sound" / "onsets.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
