"""THIRD-PARTY.txt: everything a built bundle holds that is not ours, with version, licence and the licence's text.

Generated from the bundle's own files. Python packages tell by their metadata; for shared libraries that came from the
system the package manager is asked who owns them (Debian's dpkg; elsewhere they are listed by name). Libraries under
the LGPL stay files of their own beside the program: put another build of the same name there, and that one is used.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

COMMON = Path("/usr/share/common-licenses")
ALWAYS = ("LGPL-2.1", "LGPL-3", "GPL-3")  # the texts that Qt, PySide6, FluidSynth, glib and JACK point to
LIBRARY = re.compile(r"\.(so(\.\d+)*|dylib|dll|pyd)$")
HEAD = """Morphony is under the Apache License 2.0 (LICENSE). This bundle also holds the work of others, listed here.

Qt, PySide6 and Shiboken, FluidSynth, glib, libsndfile, libinstpatch, JACK and PulseAudio's libraries are under the
GNU Lesser General Public License. They are shared libraries, files of their own in this folder: you may replace each by
another build of the same name, and Morphony will use that one. Their sources are at qt.io, fluidsynth.org,
gitlab.gnome.org/GNOME/glib, jackaudio.org and in your distribution's source packages.
"""


class Part(NamedTuple):
    """One work of others."""

    name: str
    version: str
    licence: str
    text: str


def text(bundle: Path) -> str:
    """The whole file for a bundle's folder."""
    parts = sorted({*python_parts(bundle), *system_parts(bundle), python_itself()}, key=lambda part: part.name.lower())
    listed = "\n".join(f"  {part.name} {part.version}: {part.licence}" for part in parts)
    texts = [f"{'=' * 100}\n{part.name} {part.version}\n{part.licence}\n\n{part.text}" for part in parts if part.text]
    common = [f"{'=' * 100}\n{name}\n\n{(COMMON / name).read_text()}" for name in ALWAYS if (COMMON / name).exists()]
    return "\n".join([HEAD, listed, "", *texts, *common])


def python_parts(bundle: Path) -> Iterator[Part]:
    """The Python packages whose modules or files are in the bundle."""
    inside = {path.name.split(".")[0] for path in (bundle / "_internal").iterdir()} | archived(bundle)
    owners = metadata.packages_distributions()
    for name in sorted({owner for module in inside for owner in owners.get(module, ())} - {"morphony"}):
        found = metadata.distribution(name)
        files = [f for f in found.files or () if re.search(r"(?i)(licen[cs]e|copying|notice)", f.name)]
        texts = [Path(str(f.locate())) for f in files if not f.name.endswith((".py", ".pyc"))]
        words = "\n\n".join(path.read_text(encoding="utf-8", errors="replace") for path in texts if path.is_file())
        yield Part(found.metadata["Name"], found.version, licence_of(found), words)


def archived(bundle: Path) -> set[str]:
    """Top-level modules inside the program's own archive."""
    from PyInstaller.archive.readers import CArchiveReader

    program = next(path for name in ("morphony", "morphony.exe") if (path := bundle / name).exists())
    reader = CArchiveReader(str(program))
    names = (name for entry in reader.toc if entry.endswith(".pyz") for name in reader.open_embedded_archive(entry).toc)
    return {name.split(".")[0] for name in names}


def licence_of(found: metadata.Distribution) -> str:
    """What a package says of its licence, on one line."""
    told = found.metadata
    classified = [c.split(" :: ")[-1] for c in told.get_all("Classifier") or () if c.startswith("License ::")]
    named = [*(told.get_all("License-Expression") or ()), "; ".join(classified), *(told.get_all("License") or ())]
    said = next(filter(None, named), "see its text below")
    return " ".join(said.split())[:120]


def system_parts(bundle: Path) -> Iterator[Part]:
    """The shared libraries at the bundle's top, which the system's packages own."""
    ours = sorted(
        p.name for p in (bundle / "_internal").iterdir() if LIBRARY.search(p.name) and "cpython" not in p.name
    )
    owners: dict[str, str] = {}
    for name in ours:
        owner = owner_of(name)
        owners.setdefault(owner or name, name)
    for owner, name in owners.items():
        copyright_file = Path("/usr/share/doc") / owner.split(":")[0] / "copyright"
        words = copyright_file.read_text(encoding="utf-8", errors="replace") if copyright_file.exists() else ""
        licences = sorted(set(re.findall(r"(?m)^License: *(\S.*)$", words)))
        named = ", ".join(licences)[:200] or named_in(words)
        yield Part(owner.split(":")[0], f"({name})", named, words)


def named_in(words: str) -> str:
    """The licences that an older kind of copyright file points to."""
    found = sorted(set(re.findall(r"common-licenses/([\w.-]+\w)", words)))
    return ", ".join(found) or "see its text below"


def owner_of(library: str) -> str | None:
    """Debian's package that installed a library of this name."""
    if not sys.platform.startswith("linux"):
        return None
    try:
        done = subprocess.run(["dpkg", "-S", f"*/{library}"], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.split(": ")[0].split(",")[0] if done.returncode == 0 and done.stdout else None


def python_itself() -> Part:
    """The interpreter in the bundle."""
    places = [Path(sys.base_prefix) / "LICENSE.txt", Path(metadata.__file__).parents[1] / "LICENSE.txt"]
    found = next(
        (path.read_text(encoding="utf-8") for path in places if path.exists()), "https://docs.python.org/license"
    )
    return Part("Python", sys.version.split()[0], "PSF-2.0", found)
