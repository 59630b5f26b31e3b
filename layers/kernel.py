"""Build the kernels, ``lib/millrace/<room>/kernel/source``: C, and a little Zig, with zig's compiler.

There are two: ``scoring``, which ``predict`` carries, and ``csvfile``, which the workers use. One build of
each is for Lambda, ``.build/kernel/<target>/<room>.so``, and ``build.py`` puts it into the zips. The other is
for this machine and lies beside the module, where a checkout and its wheel find it; on Linux and x86-64 the
two are the same file. Each is made only when something in it changed.

The processor's wider vectors are chosen at run time, so one file serves every x86-64. Additions keep their
order and are not fused: the kernels' answers are those of the rules in Python.

Usage: ``kernel.py``; ``make setup`` runs it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "lib" / "millrace"
ROOMS = ("scoring", "csvfile")
"""The rooms with a kernel."""
ZIG = ROOT / ".tools" / "zig"
LAMBDA = "x86_64-linux-gnu.2.28"
"""The template's ``Architectures``; Amazon Linux 2023 has a newer glibc."""
FLAGS = (
    "-std=c11",
    "-O3",
    "-g0",
    "-s",
    "-fPIC",
    "-shared",
    "-ffp-contract=off",
    "-Wall",
    "-Wextra",
    "-Werror",
)
ZIG_FLAGS = ("-OReleaseFast", "-fstrip", "-fPIC")
LIBRARIES = {"linux": ("-nostdlib", "-lc", "-lm")}
"""The platform's own ``exp`` and ``log``, as Python uses them, not those that zig brings."""


def main() -> int:
    """Build all; return the exit code."""
    for room in ROOMS:
        built(room, LAMBDA)
        target = PACKAGE / room / "kernel" / "kernel.so"
        own = built(room, here())
        if not target.exists() or target.read_bytes() != own.read_bytes():
            part = target.with_suffix(f".{os.getpid()}.part")
            shutil.copyfile(own, part)
            part.replace(target)
    return 0


def here() -> str:
    """Return this machine's target."""
    machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(platform.machine().lower(), platform.machine())
    if sys.platform == "darwin":
        return f"{machine}-macos"
    return LAMBDA if machine == "x86_64" else f"{machine}-linux-gnu.2.28"


def built(room: str, target: str) -> Path:
    """Return a room's library for a target, built unless it is there."""
    folder = PACKAGE / room / "kernel" / "source"
    sources = sorted(path for path in folder.iterdir() if path.suffix in (".c", ".h", ".zig"))
    digest = hashlib.sha256(target.encode())
    for path in [*sources, Path(__file__), ROOT / "locks" / "zig.txt"]:
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    library = ROOT / ".build" / "kernel" / target / f"{room}.so"
    note = library.with_suffix(".key")
    if library.exists() and note.exists() and note.read_text("utf-8") == digest.hexdigest():
        return library
    print(f"kernel: {room}, {target}", flush=True)
    library.parent.mkdir(parents=True, exist_ok=True)
    part = library.with_suffix(f".{os.getpid()}.part")
    units = [path for path in sources if path.suffix == ".c"]
    for source in (path for path in sources if path.suffix == ".zig"):
        units.append(library.with_name(f"{source.stem}.{os.getpid()}.o"))
        zig("build-obj", "-target", target, *ZIG_FLAGS, f"-femit-bin={units[-1]}", source)
    system = LIBRARIES.get("linux" if "-linux-" in target else "", ())
    zig("cc", "-target", target, *FLAGS, "-o", part, *units, *system)
    for unit in set(units) - set(sources):
        unit.unlink()
    part.replace(library)
    note.write_text(digest.hexdigest(), "utf-8")
    return library


def zig(*words: str | Path) -> None:
    """Run the compiler."""
    caches = {f"ZIG_{kind}_CACHE_DIR": str(ZIG / "cache") for kind in ("GLOBAL", "LOCAL")}
    done = subprocess.run(
        [ZIG / "bin" / "python", "-m", "ziglang", *map(str, words)],
        cwd=ROOT,
        env=os.environ | caches,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"zig {words[0]} failed:\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    sys.exit(main())
