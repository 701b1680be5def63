"""Which Python is taken, and what is said where none is; and the same for system libraries."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake programs are shell scripts")


def test_a_shim_that_does_not_answer_is_passed_over(program, packaging, bare: Path) -> None:
    program(bare / "bin", "python3.12", "echo 'pyenv: python3.12: command not found' >&2; exit 127")
    good = program(bare / "bin", "python3.11", "echo 3 11 1 True")
    assert packaging.environment.find_python().command == (str(good),)


def test_3_12_goes_before_3_11_and_others_are_passed_over(packaging, bare: Path, program) -> None:
    program(bare / "bin", "python3", "echo 3 13 1 True")
    program(bare / "bin", "python3.11", "echo 3 11 1 True")
    best = program(bare / "bin", "python3.12", "echo 3 12 1 True")
    assert packaging.environment.find_python().command == (str(best),)


@pytest.mark.parametrize("place", [".pyenv/versions/3.12.1/bin", ".local/share/uv/python/cpython-3.12.7-linux/bin"])
def test_what_installers_keep_off_path_is_found_last(packaging, bare: Path, program, place: str) -> None:
    hidden = program(bare / "home" / place, "python3.12", "echo 3 12 1 True")
    assert packaging.environment.find_python().command == (str(hidden),)
    own = program(bare / "bin", "python3", "echo 3 11 1 True")
    assert packaging.environment.find_python().command == (str(own),)


def test_probe_reads_a_real_interpreter(packaging) -> None:
    found = packaging.environment.probe((sys.executable,))
    assert found == ((sys.executable,), sys.version_info[:2], True)
    assert packaging.environment.probe(("/no/such/python",)) is None


@pytest.mark.parametrize(
    ("tool", "line"),
    [
        ("dnf", "sudo dnf install python3.12"),
        ("pacman", "uv python install 3.12"),
        ("brew", "brew install python@3.12"),
        ("", "uv python install 3.12"),
    ],
)
def test_without_a_python_the_line_that_gets_one_is_said(program, packaging, bare: Path, tool: str, line: str) -> None:
    if tool:
        program(bare / "bin", tool, "exit 0")
    with pytest.raises(packaging.host.SetupError, match="none was found") as said:
        packaging.environment.find_python()
    assert line in str(said.value)
    assert len(str(said.value).splitlines()) == 1


def test_on_debian_the_line_names_a_python_that_apt_knows(program, packaging, bare: Path) -> None:
    program(bare / "bin", "apt-get", "exit 1")
    program(bare / "bin", "apt-cache", '[ "$2" = python3.11 ] && echo Package: python3.11 || exit 100')
    assert packaging.environment.line_for_python() == (
        "sudo apt-get install --no-install-recommends python3.11 python3.11-venv"
    )
    program(bare / "bin", "apt-cache", "exit 100")
    assert "uv python install 3.12" in packaging.environment.line_for_python()


def test_windows_is_told_of_winget(packaging, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaging.environment.os, "name", "nt")
    line = packaging.environment.line_for_python()
    first = [c for c, _ in zip(packaging.environment.candidates(), range(3), strict=False)]
    monkeypatch.undo()
    assert line == "winget install --exact --id Python.Python.3.12"
    assert first[1:] == [("py", "-3.12"), ("py", "-3.11")]


def test_a_python_without_venv_is_told_how_to_get_it(program, packaging, bare: Path) -> None:
    program(bare / "bin", "apt-get", "exit 1")
    program(bare / "bin", "python3.11", "echo 3 11 0 True")
    with pytest.raises(packaging.host.SetupError) as said:
        packaging.environment.find_python()
    assert str(said.value) == (
        "Python 3.11 is here, but without its venv module. "
        "To get it: sudo apt-get install --no-install-recommends python3.11-venv"
    )


def test_root_gets_venv_without_being_asked(program, packaging, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaging.host.os, "geteuid", lambda: 0)
    python = program(bare / "bin", "python3.11", f"[ -e {bare}/venv ] && echo 3 11 1 True || echo 3 11 0 True")
    program(bare / "bin", "apt-get", f"case $* in *python3.11-venv) : > {bare}/venv ;; *) exit 1 ;; esac")
    assert packaging.environment.find_python() == ((str(python),), (3, 11), True)


def test_what_is_missing_is_one_line_to_type(program, packaging, bare: Path) -> None:
    host = packaging.host
    need = host.Need("libnothing.so.9", {"apt-get": "libnothing9 nothing-data", "dnf": "nothing-libs"})
    assert host.missing([need]) == [need]
    program(bare / "bin", "dnf", "exit 0")
    assert host.what_to_type([need]).endswith("sudo dnf install --setopt=install_weak_deps=False nothing-libs")
    program(bare / "bin", "apt-get", "exit 0")
    assert host.what_to_type([need]) == (
        "Missing on this system: libnothing.so.9. "
        "To get it: sudo apt-get install --no-install-recommends libnothing9 nothing-data"
    )
    assert not host.install_by_apt(["libnothing9"])  # would ask for a password


def test_programs_are_looked_for_on_path(program, packaging, bare: Path) -> None:
    need = packaging.host.Need("xdotool", {})
    assert packaging.host.missing([need])
    program(bare / "bin", "xdotool", "exit 0")
    assert not packaging.host.missing([need])
