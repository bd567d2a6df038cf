"""A process from start to exit, its output read through a pipe."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from threading import Timer
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

DEADLINE_S = 60.0
READ_BYTES = 1 << 20


class Run(NamedTuple):
    """What is left of a process."""

    code: int
    errors: str


def run(argv: list[str], take: Callable[[int, bytes], None], environ: Mapping[str, str]) -> Run:
    """Run a process; `take` gets its number and its output, as it comes."""
    with (
        tempfile.TemporaryFile("w+", errors="replace") as errors,
        subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environ
        ) as process,
    ):
        assert process.stdout is not None
        watchdog = Timer(DEADLINE_S, process.kill)
        watchdog.start()
        while data := os.read(process.stdout.fileno(), READ_BYTES):
            take(process.pid, data)
        code = process.wait()
        watchdog.cancel()
        errors.seek(0)
        return Run(code, errors.read())


def cpu_ns(pid: int) -> int:
    """Return the processor time a running process has had, all threads; 0 where the system does not tell."""
    if sys.platform != "linux":
        return 0
    return time.clock_gettime_ns(~pid << 3 | 2)  # how clock_getcpuclockid(3) makes the clock of a process


def peak_bytes(pid: int) -> int:
    """Return the most memory a running process has had so far; 0 where the system does not tell.

    Not what `wait4` reports: that begins with what its parent had at the fork.
    """
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0
