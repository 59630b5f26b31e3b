"""Run one sandbox: the real runtime interface client, in a process that dies with its platform.

This file is a program run by the interpreter of the functions' runtime, as ``bootstrap.py FD HANDLER``.
It imports nothing but the standard library and ``awslambdaric``. ``FD`` is the read end of a pipe that
nobody writes to: it ends when the platform does, however that happens.
"""

import os
import signal
import sys
import threading

from awslambdaric.__main__ import main  # type: ignore[import-untyped,unused-ignore]


def _die_with_platform(descriptor: int) -> None:
    os.read(descriptor, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    threading.Thread(target=_die_with_platform, args=(int(sys.argv[1]),), daemon=True).start()
    main(["bootstrap", sys.argv[2]])
