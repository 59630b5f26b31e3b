"""Build the scoring kernel, ``lib/millrace/scoring/kernel/source``, with zig's C compiler.

One build is for Lambda, ``.build/kernel/<target>/kernel.so``, and ``build.py`` puts it into the zips. The
other is for this machine and lies beside the module, where a checkout and its wheel find it; on Linux and
x86-64 the two are the same file. Each is made only when something in it changed.

The processor's wider vectors are chosen at run time (``source/kernel.h``), so one file serves every x86-64.
Additions keep their order and are not fused: the kernel's answers are the row path's.

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
PLACE = ROOT / "lib" / "millrace" / "scoring" / "kernel"
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
LIBRARIES = {"linux": ("-nostdlib", "-lc", "-lm")}
"""The platform's own ``exp`` and ``log``, as Python uses them, not those that zig brings."""


def main() -> int:
    """Build both; return the exit code."""
    built(LAMBDA)
    target = PLACE / "kernel.so"
    own = built(here())
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


def built(target: str) -> Path:
    """Return the library for a target, built unless it is there."""
    sources = sorted((PLACE / "source").glob("*.[ch]"))
    digest = hashlib.sha256(target.encode())
    for path in [*sources, Path(__file__), ROOT / "locks" / "zig.txt"]:
        digest.update(f"\0{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    library = ROOT / ".build" / "kernel" / target / "kernel.so"
    note = library.with_suffix(".key")
    if library.exists() and note.exists() and note.read_text("utf-8") == digest.hexdigest():
        return library
    print(f"kernel: {target}", flush=True)
    library.parent.mkdir(parents=True, exist_ok=True)
    part = library.with_suffix(f".{os.getpid()}.part")
    command = [
        *(ZIG / "bin" / "python", "-m", "ziglang", "cc", "-target", target, *FLAGS, "-o", part),
        *(path for path in sources if path.suffix == ".c"),
        *LIBRARIES.get("linux" if "-linux-" in target else "", ()),
    ]
    caches = {f"ZIG_{kind}_CACHE_DIR": str(ZIG / "cache") for kind in ("GLOBAL", "LOCAL")}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=ROOT,
        env=os.environ | caches,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"zig cc failed:\n{done.stdout}{done.stderr}")
    part.replace(library)
    note.write_text(digest.hexdigest(), "utf-8")
    return library


if __name__ == "__main__":
    sys.exit(main())
