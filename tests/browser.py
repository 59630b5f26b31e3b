"""Headless Chromium, spoken to over its debugging pipe: JSON messages, each ended by a zero byte.

``python -m tests.browser PAGE FOLDER`` takes screenshots of a page: as a phone and as a screen show it, by
day and by night, and on paper.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

from tests.infra.template import ROOT

FOLDER = ROOT / ".tools" / "chromium" / "browser"
OPTIONS = (
    *("--headless", "--no-sandbox", "--no-zygote", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--hide-scrollbars", "--remote-debugging-pipe"),
)
WIDTHS = (390, 1280)
"""Of a phone, and of a screen; in CSS pixels."""


class Browser:
    """One page of a browser; ``events`` are those since it was last opened."""

    def __enter__(self) -> Self:
        self._profile = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        theirs, self._requests = os.pipe()
        self._answers, ours = os.pipe()
        environ = {
            "HOME": self._profile.name,
            "LD_LIBRARY_PATH": f"{FOLDER / 'lib'}:{FOLDER}",
            "FONTCONFIG_PATH": str(FOLDER),
        }
        command = [str(FOLDER / "chromium"), *OPTIONS, f"--user-data-dir={self._profile.name}"]
        # It reads from descriptor 3 and writes to 4. The pipes may have these numbers: they move first.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (theirs, ours)]
        places = [(os.POSIX_SPAWN_DUP2, end, place) for end, place in zip(ends, (3, 4), strict=True)]
        quiet = [(os.POSIX_SPAWN_OPEN, place, os.devnull, os.O_WRONLY, 0) for place in (1, 2)]
        self._process = os.posix_spawn(command[0], command, environ, file_actions=[*quiet, *places])
        for end in (theirs, ours, *ends):
            os.close(end)
        self._number, self._read, self._session = 0, b"", ""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *about: object) -> None:
        os.kill(self._process, signal.SIGTERM)
        os.waitpid(self._process, 0)
        os.close(self._requests)
        os.close(self._answers)
        self._profile.cleanup()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the debugging protocol and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)

    def open(self, page: Path, *, width: int, dark: bool = False, paper: bool = False) -> None:
        """Open a file as a window of ``width`` pixels shows it, in the light, in the dark or on paper."""
        phone = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", media="print" if paper else "", features=[scheme])
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._next())

    def run(self, script: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def told(self, *methods: str) -> list[dict[str, Any]]:
        """Return the events of some kinds."""
        return [event["params"] for event in self.events if event.get("method") in methods]

    def screenshot(self) -> bytes:
        """Return the whole page as a PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        found = self.call("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def pdf(self) -> bytes:
        """Return the page as it is printed."""
        return base64.b64decode(self.call("Page.printToPDF")["data"])

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._read:
            more = os.read(self._answers, 1 << 16)
            assert more, "the browser has ended"
            self._read += more
        message, _, self._read = self._read.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found


def main(page: Path, folder: Path) -> None:
    """Write screenshots of ``page`` into ``folder``."""
    with Browser() as browser:
        for width in WIDTHS:
            for dark in (False, True):
                browser.open(page, width=width, dark=dark)
                name = f"{page.stem}-{width}-{'dark' if dark else 'light'}.png"
                (folder / name).write_bytes(browser.screenshot())
        (folder / f"{page.stem}.pdf").write_bytes(browser.pdf())


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), Path(sys.argv[2]))
