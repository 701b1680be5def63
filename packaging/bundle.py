"""Build the program as one folder: `.venv/bin/python packaging/bundle.py [OUT]`, on the system it is meant for.

Four steps: PyInstaller by morphony.spec, the licences of all that came in, the self-test of the result, its size. On
Linux an AppImage as well where `appimagetool` is on PATH. Needs the extra: `pip install -e .[bundle]`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import third_party

ROOT = Path(__file__).resolve().parent.parent
CLEAN = ("PATH", "HOME", "LANG", "USER", "DISPLAY", "SYSTEMROOT", "TEMP", "TMP")  # what the self-test may see
DESKTOP = """[Desktop Entry]
Type=Application
Name=Morphony
Comment=Morph music by its latent sliders
Exec=morphony %f
Icon=morphony
Categories=AudioVideo;Audio;Midi;
MimeType=audio/midi;
"""


def main(arguments: Sequence[str]) -> int:
    """Build, write the licences, try it; 1 where the built program does not work."""
    out = Path(arguments[0] if arguments else ROOT / "dist").resolve()
    folder = build(out)
    (folder / "THIRD-PARTY.txt").write_text(third_party.text(folder), encoding="utf-8")
    shutil.copy(ROOT / "LICENSE", folder)
    done = self_test(folder)
    report = {"self_test": json.loads(done.stdout.splitlines()[-1] if done.stdout else "{}"), "exit": done.returncode}
    print(json.dumps({"folder": str(folder), "megabytes": megabytes(folder), **report}))
    if done.returncode:
        print(done.stderr[-2000:], file=sys.stderr)
        return 1
    if sys.platform.startswith("linux"):
        appimage(folder, out)
    return 0


def build(out: Path) -> Path:
    """Run PyInstaller; return the folder it made."""
    with tempfile.TemporaryDirectory(prefix="morphony-build-") as work:
        command = [sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN"]
        places = ["--distpath", str(out), "--workpath", work, str(ROOT / "packaging" / "morphony.spec")]
        subprocess.run([*command, *places], check=True, cwd=ROOT)
    return out / "morphony"


def self_test(folder: Path) -> subprocess.CompletedProcess[str]:
    """Start the built program with nothing of this Python around it."""
    program = folder / ("morphony.exe" if os.name == "nt" else "morphony")
    clean = {name: os.environ[name] for name in CLEAN if name in os.environ}
    return subprocess.run(
        [str(program), "--self-test"], env=clean, cwd=folder.parent, capture_output=True, text=True, timeout=600
    )


def megabytes(folder: Path) -> int:
    """What the files of a folder weigh; links count nothing."""
    return round(sum(p.stat().st_size for p in folder.rglob("*") if p.is_file() and not p.is_symlink()) / 1e6)


def appimage(folder: Path, out: Path) -> None:
    """Wrap the folder into one file that runs; says so where the tool for it is not there."""
    tool = shutil.which("appimagetool")
    if tool is None:
        print("No AppImage: appimagetool is not on PATH.", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="morphony-appdir-") as name:
        root = Path(name) / "Morphony.AppDir"
        shutil.copytree(folder, root / "usr" / "bin", symlinks=True)
        shutil.copy(ROOT / "assets" / "icons" / "morphony.svg", root / "morphony.svg")
        (root / "morphony.desktop").write_text(DESKTOP)
        (root / "AppRun").symlink_to("usr/bin/morphony")
        subprocess.run([tool, str(root), str(out / "Morphony-x86_64.AppImage")], check=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
