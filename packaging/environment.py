"""Morphony's own Python: finds a 3.12 or 3.11 that works, keeps .venv as pyproject.toml and constraints.txt ask.

Standard library only, any Python from 3.9 on. Safe to interrupt: a set-up that did not end starts anew next time.
"""

import contextlib
import glob
import hashlib
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, Optional

import host
from host import SetupError, say

ROOT = Path(__file__).resolve().parent.parent
VERSIONS = ((3, 12), (3, 11))
CPU_TORCH = "https://download.pytorch.org/whl/cpu"
PROBE = (
    "import sys\n"
    "try:\n    import ensurepip, venv\n    whole = 1\n"
    "except ImportError:\n    whole = 0\n"
    "print(sys.version_info[0], sys.version_info[1], whole, sys.maxsize > 2**32)"
)
GET_PYTHON = {
    "dnf": "sudo dnf install python3.12",
    "pacman": "sudo pacman -S --needed uv && uv python install 3.12",
    "brew": "brew install python@3.12",
    "winget": "winget install --exact --id Python.Python.3.12",
}
GET_BY_UV = "curl -LsSf https://astral.sh/uv/install.sh | sh && ~/.local/bin/uv python install 3.12"


class Python(NamedTuple):
    """An interpreter that answered: how to call it, its version, whether it can make virtual environments."""

    command: tuple[str, ...]
    version: tuple[int, int]
    whole: bool


# ---------------------------------------------------------------- which Python


def candidates() -> Iterator[tuple[str, ...]]:
    """Yield what may be a Python 3.12 or 3.11: this one, those on PATH, and those where installers put them."""
    yield (sys.executable,)
    if os.name == "nt":
        yield from (("py", f"-{major}.{minor}") for major, minor in VERSIONS)
    names = [f"python{major}.{minor}" for major, minor in VERSIONS]
    folders = [*os.environ.get("PATH", "").split(os.pathsep), "/usr/bin", "/usr/local/bin", "/opt/homebrew/bin"]
    for name in [*names, "python3", "python"]:
        for folder in dict.fromkeys(filter(None, folders)):
            if os.access(os.path.join(folder, name), os.X_OK):
                yield (os.path.join(folder, name),)
    for name in names:  # what pyenv and uv keep, if not on PATH
        version = name[len("python") :]
        for place in (f".pyenv/versions/{version}*/bin", f".local/share/uv/python/cpython-{version}*/bin"):
            for found in sorted(glob.glob(str(Path.home() / place / name)), reverse=True):
                yield (found,)


def probe(command: tuple[str, ...]) -> Optional[Python]:
    """Run an interpreter and see what it is; None when it does not answer (a pyenv shim, a Windows store stub)."""
    try:
        done = subprocess.run(
            [*command, "-E", "-c", PROBE], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    words = done.stdout.split()
    if done.returncode or len(words) != 4 or words[3] != b"True":
        return None
    return Python(command, (int(words[0]), int(words[1])), words[2] == b"1")


def find_python() -> Python:
    """Find the first interpreter that will do. Raises SetupError with the one line that gets one."""
    halves = []
    for command in candidates():
        found = probe(command)
        if found is None or found.version not in VERSIONS:
            continue
        if found.whole:
            return found
        halves.append(found)
    if halves:
        return _with_venv(halves[0])
    raise SetupError("Morphony needs Python 3.12 or 3.11, and none was found. To get it: " + line_for_python())


def _with_venv(half: Python) -> Python:
    """Complete a Debian Python, which comes without the module that makes virtual environments."""
    package = "python{}.{}-venv".format(*half.version)
    whole = probe(half.command) if host.install_by_apt([package]) else None
    if whole is not None and whole.whole:
        return whole
    name = "{}.{}".format(*half.version)
    line = host.line_to_type([package], "apt-get") if shutil.which("apt-get") else line_for_python()
    raise SetupError(f"Python {name} is here, but without its venv module. To get it: {line}")


def line_for_python() -> str:
    """The one line that gets a Python that will do on this system."""
    if os.name == "nt":
        return GET_PYTHON["winget"]
    tool = host.manager()
    if tool == "apt-get":
        for major, minor in VERSIONS:
            name = f"python{major}.{minor}"
            known = subprocess.run(["apt-cache", "show", name], capture_output=True, check=False)
            if known.returncode == 0 and known.stdout:
                return host.line_to_type([name, name + "-venv"], tool)
    return GET_PYTHON.get(tool or "", GET_BY_UV)


# ---------------------------------------------------------------- the environment


class Environment:
    """One virtual environment for one checkout, and the stamp in it that says what it was made for."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.folder = root / ".venv"
        self.stamp = self.folder / "morphony-setup.json"
        self.unfinished = self.folder / "morphony-unfinished"
        self.log = root / ".cache" / "setup.log"
        self._lock: tuple[int, ...] = ()

    def program(self, name: str) -> Path:
        """Where a program of the environment is."""
        return self.folder / "Scripts" / (name + ".exe") if os.name == "nt" else self.folder / "bin" / name

    def key(self) -> str:
        """What the environment is made from, as a hash: two files and the place of the checkout."""
        parts = [(self.root / name).read_bytes() for name in ("pyproject.toml", "packaging/constraints.txt")]
        return hashlib.sha256(b"\0".join([*parts, os.fsencode(self.root)])).hexdigest()

    def stamped(self) -> dict[str, object]:
        """What the stamp says, empty where it is missing, damaged or of another state of the checkout."""
        try:
            found = json.loads(self.stamp.read_text(encoding="utf-8"))
            usable = found["key"] == self.key() and self.program("python").exists() and not self.unfinished.exists()
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return found if usable else {}

    def ready(self, tests: bool = False) -> None:
        """Make everything ready that a start (or a test run) needs; nearly free when it already is."""
        kind = "tests" if tests else "studio"
        if self.stamped().get(kind) == "whole":
            return
        with self._alone():
            stamped = self.stamped()
            if kind not in stamped:
                self._install(tests)
            lacking = self._libraries(tests, stamped.get(kind))
            known = {"key": self.key(), **self.stamped(), kind: lacking or "whole"}
            if tests:
                known.setdefault("studio", lacking or "whole")
            self._write(self.stamp, json.dumps(known))

    def _libraries(self, tests: bool, lacked: object) -> list[str]:
        """Provide system libraries, and name those that stay away; what failed once is not tried again, only said."""
        wanted = host.missing(host.needs(tests))
        names = [need.name for need in wanted]
        if not wanted or (names != lacked and host.install_by_apt(host.packages(wanted))):
            wanted = host.missing(wanted)
        if wanted:
            say(host.what_to_type(wanted))
        return [need.name for need in wanted]

    def _install(self, tests: bool) -> None:
        if not self._is_usable():
            python = find_python()
            say("Making .venv with Python {}.{}.".format(*python.version))
            self._run([*python.command, "-m", "venv", "--clear", str(self.folder)], "The environment could not be made")
        self._write(self.unfinished, "")
        try:
            self._install_torch()
            say("Installing the other packages (in a new environment: about 180 MB to download, 600 MB on disk).")
            target = str(self.root) + ("[test]" if tests else "")
            self._pip("-c", str(self.root / "packaging" / "constraints.txt"), "-e", target)
        except SetupError:
            self.unfinished.unlink()  # pip ended by itself, so nothing is half written
            raise
        self._write(self.stamp, json.dumps({"key": self.key()}))
        self.unfinished.unlink()

    def _is_usable(self) -> bool:
        """True for an environment of a right version, with pip, whose last set-up was not cut off."""
        python = self.program("python")
        if self.unfinished.exists() or not python.exists():
            return False
        found = probe((str(python),))
        has_pip = subprocess.run([str(python), "-m", "pip", "--version"], capture_output=True, check=False)
        return found is not None and found.version in VERSIONS and has_pip.returncode == 0

    # ------------------------------------------------------------ packages

    def _install_torch(self) -> None:
        """Install the pinned torch first: the CPU build where no NVIDIA driver is, for it is fifteen times smaller."""
        constraints = (self.root / "packaging" / "constraints.txt").read_text(encoding="utf-8")
        pinned = re.search(r"^torch==(\S+)", constraints, re.MULTILINE)
        if pinned is None:
            raise SetupError("packaging/constraints.txt names no version of torch.")
        version = pinned.group(1)
        ask = f"import importlib.metadata as m; v = m.version('torch'); assert v.split('+')[0] == '{version}'"
        if subprocess.run([str(self.program("python")), "-c", ask], capture_output=True, check=False).returncode == 0:
            return None
        if platform.system() == "Linux" and not has_nvidia():
            say(f"Installing torch {version} for the CPU: about 190 MB to download, 700 MB on disk.")
            cpu = ["--no-deps", f"torch=={version}+cpu"]
            for where in ([], ["--index-url", CPU_TORCH, "--retries", "1", "--timeout", "20"]):
                with contextlib.suppress(SetupError):
                    return self._pip(*where, *cpu)
            say("No CPU build can be reached, so the default one is taken: up to 3 GB to download, 6 GB on disk.")
        elif platform.system() == "Linux":
            say(f"Installing torch {version} for this NVIDIA GPU: about 3 GB to download, 6 GB on disk.")
        else:
            say(f"Installing torch {version}: 80 to 250 MB to download.")
        return self._pip("-c", str(self.root / "packaging" / "constraints.txt"), f"torch=={version}")

    def _pip(self, *arguments: str) -> None:
        pip = [str(self.program("python")), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        self._run([*pip, "--progress-bar", "off", *arguments], "The packages could not be installed")

    def _run(self, command: list[str], failed: str) -> None:
        """Run a step with its output in the log; large downloads are said, a failure is one sentence."""
        hidden = ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")
        clean = {name: value for name, value in os.environ.items() if name not in hidden}
        last = ""
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"\n$ {' '.join(command)}\n")
            step = subprocess.Popen(
                command,
                env=clean,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                pass_fds=self._lock,  # a step that outlives us (kill -9) keeps the next start waiting
            )
            with step:
                for line in step.stdout or ():
                    log.write(line)
                    large = re.match(r"\s*Downloading \S*?([\w.]+?)-\d\S* \((\d{2,}\.?\d*) MB\)", line)
                    if large:
                        say(f"  downloading {large.group(1)}, {large.group(2)} MB")
                    if line.strip() and not line.startswith("[notice]") and not last.startswith("ERROR"):
                        last = line.strip()
        if step.returncode:
            raise SetupError(f"{failed}: {last} (the whole story is in {self.log})")

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the set-up lock, so that two starts at once do not install into each other."""
        self.log.parent.mkdir(exist_ok=True)
        with (self.log.parent / "setup.lock").open("w") as lock:
            try:
                import fcntl
            except ImportError:  # Windows: two first starts at once are left to luck
                yield
                return
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                say("Another start is setting this checkout up; waiting for it.")
                fcntl.flock(lock, fcntl.LOCK_EX)
            self._lock = (lock.fileno(),)
            yield

    @staticmethod
    def _write(path: Path, text: str) -> None:
        path.with_suffix(".new").write_text(text, encoding="utf-8")
        path.with_suffix(".new").replace(path)


def has_nvidia() -> bool:
    """True where an NVIDIA driver runs."""
    return os.path.exists("/proc/driver/nvidia/version") or shutil.which("nvidia-smi") is not None
