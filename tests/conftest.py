"""What every test may ask for: real music, a display of its own; and the noise that makes a test fail.

Knows nothing of the parts under test. Tests that need the music skip by name where it is not there.
"""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ARCHIVE = ROOT.parent / "shared" / "midi" / "midi-train.tar.xz"
UNPACKED = ROOT / ".cache" / "midi-train"


def pytest_configure(config: pytest.Config) -> None:
    """Set the stage before Qt or torch is imported: no window on the desk, one thread, no user settings touched."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # torch.set_num_threads(1), for child processes as well
    os.environ.setdefault("MKL_NUM_THREADS", "1")
    home = tempfile.mkdtemp(prefix="morphony-tests-")
    config.add_cleanup(lambda: shutil.rmtree(home, ignore_errors=True))
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        os.environ[f"XDG_{name}_HOME"] = str(Path(home) / name.lower())


# ---------------------------------------------------------------- which tests run beside others

NEED_TIME = {"_jack_process", "own_jack_server"}  # fixtures of tests that cannot share the processor


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let packaging/test.py run tests in two passes, whatever else it is asked for."""
    parser.addoption("--alone", choices=("only", "never"), help="only the tests marked `alone`, or only the others")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark what needs the machine for itself, and keep what this pass is for."""
    for item in items:
        if NEED_TIME & set(getattr(item, "fixturenames", ())):
            item.add_marker("alone")
    asked = config.getoption("--alone")
    if asked is not None:
        left = [item for item in items if (item.get_closest_marker("alone") is None) == (asked == "only")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in set(left)]


# ---------------------------------------------------------------- music


def unpack(archive: Path, target: Path) -> Path:
    """Unpack the archive's one folder as `target`: whole or not at all, also with two test runs at once."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as fresh, tarfile.open(archive) as tar:
        for member in tar:
            source = tar.extractfile(member)  # None for folders and other things that are not files
            if source is None or ".." in Path(member.name).parts:
                continue
            path = Path(fresh) / member.name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            with source, path.open("wb") as out:
                shutil.copyfileobj(source, out)
        try:
            (Path(fresh) / "midi-train").rename(target)
        except OSError:  # the other run was quicker
            if not (target / "train.tsv").exists():
                raise
    return target


@pytest.fixture(scope="session")
def music() -> Path:
    """The folder with train.tsv and valid.tsv: MORPHONY_DATA, else ../shared/midi unpacked once into .cache/."""
    named = os.environ.get("MORPHONY_DATA")
    if named:
        found = [p for p in (Path(named), Path(named) / "midi-train") if (p / "train.tsv").exists()]
        if found:
            return found[0]
        pytest.skip(f"music: MORPHONY_DATA={named} holds no train.tsv")
    if (UNPACKED / "train.tsv").exists():
        return UNPACKED
    if not ARCHIVE.exists():
        pytest.skip("music: neither MORPHONY_DATA nor ../shared/midi/midi-train.tar.xz is there")
    return unpack(ARCHIVE, UNPACKED)


# ---------------------------------------------------------------- a display


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """The DISPLAY of an X server of the tests' own, for windows that need focus, real mouse events or drag and drop."""
    program = shutil.which("Xvfb")
    if program is None:
        pytest.skip("display: Xvfb is not installed")
    reading, writing = os.pipe()
    command = [program, "-displayfd", str(writing), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(writing)
    with os.fdopen(reading) as answer:
        number = answer.readline().strip()  # empty when the server could not start
    if not number:
        server.wait()
        pytest.skip("display: Xvfb does not start here")
    yield f":{number}"
    server.terminate()
    server.wait()


# ---------------------------------------------------------------- noise


@pytest.fixture(autouse=True)
def no_threads_left() -> Iterator[None]:
    """Fail a test that leaves a Python thread running. Threads that Qt or C libraries own are not seen here."""
    before = set(threading.enumerate())
    yield
    deadline = time.monotonic() + 2
    while left := [t for t in threading.enumerate() if t not in before and _is_ours(t)]:
        if time.monotonic() > deadline:
            pytest.fail(f"threads left running: {', '.join(t.name for t in left)}")
        time.sleep(0.01)


def _is_ours(thread: threading.Thread) -> bool:
    """False for what Python shows of foreign threads (never removed), and for tqdm's monitor (lives on by design)."""
    return not isinstance(thread, threading._DummyThread) and type(thread).__name__ != "TMonitor"


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.name}: {record.getMessage()}")


@pytest.fixture(autouse=True)
def no_stray_log_lines(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that logs a warning without looking at it (through `caplog`)."""
    collector = _Collector()
    logging.getLogger().addHandler(collector)
    yield
    logging.getLogger().removeHandler(collector)
    if collector.lines and "caplog" not in request.fixturenames:
        pytest.fail("stray log lines: " + "; ".join(collector.lines))
