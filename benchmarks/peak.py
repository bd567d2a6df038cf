"""Memory: the most that one stream takes, and what a thousand books take for how long."""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.arena import HERE, PYTHON
from benchmarks.contest import Column, Contest, FailedError
from benchmarks.environments import AbsentError
from benchmarks.process import peak_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.arena import Arena


class Peak(Contest):
    """One stream of `ticker`, until its end.

    Args:
        arena: where it takes place.
        scheme: `ws` or `wss`.
        contestants: who takes part.
        count: how many frames.
    """

    references = ("original",)
    columns = (Column("memory", "peak MB", "{:.1f}"),)

    def __init__(self, arena: Arena, scheme: str, contestants: tuple[str, ...], count: int) -> None:
        self.name = f"peak memory, {scheme}"
        self.contestants = contestants
        self._arena = arena
        self._scheme = scheme
        self._count = count

    def prepare(self, who: str) -> None:
        """See that it can take part, and that the system tells."""
        _require_telling_system()
        self._arena.subscriber(who, self._scheme, "", "ticker")

    def measure(self, who: str) -> dict[str, float]:
        """Return megabytes, as they stood when the last lines came."""
        most = lines = 0

        def take(pid: int, data: bytes) -> None:
            nonlocal most, lines
            lines += data.count(b"\n")
            most = max(most, peak_bytes(pid))

        run = self._arena.run(self._arena.subscriber(who, self._scheme, str(self._count), "ticker"), take)
        self._arena.began_ns()
        if lines < self._count:
            raise FailedError(f"exit {run.code}, {lines} lines of {self._count}: {run.errors[-300:]}")
        return {"memory": most / 1e6}


class ManyBooks(Contest):
    """A thousand verified books, whose memory must not grow: `memory.py`, once.

    Args:
        arena: where it takes place.
        updates: of all books together.
    """

    name = "1,000 pairs, book-10, verified"
    contestants = ("in the end", "after a tenth")
    references = ("after a tenth",)
    columns = (Column("memory", "MB occupied", "{:.1f}"), Column("level", "bytes a level", "{:.0f}"))
    rounds = 1

    def __init__(self, arena: Arena, updates: int) -> None:
        self._arena = arena
        self._updates = updates
        self._found: dict[str, dict[str, float]] = {}

    def prepare(self, who: str) -> None:  # noqa: ARG002 - both are the same process
        """See that the system tells."""
        _require_telling_system()

    @contextmanager
    def staged(self) -> Iterator[None]:
        """Let all updates go by."""
        argv = [PYTHON, str(HERE / "memory.py"), "--json", "--updates", str(self._updates)]
        done = subprocess.run(argv, env=self._arena.environ, capture_output=True, text=True, check=False)
        if done.returncode:
            raise FailedError(done.stderr[-300:])
        told = json.loads(done.stdout)
        self._found = {
            "after a tenth": {"memory": told["warm_bytes"] / 1e6},
            "in the end": {"memory": told["end_bytes"] / 1e6, "level": told["books"][0]["level"]},
        }
        yield

    def measure(self, who: str) -> dict[str, float]:
        """Return megabytes of the process, and bytes that each level takes."""
        return self._found[who]


def _require_telling_system() -> None:
    if not peak_bytes(os.getpid()):
        raise AbsentError("this system does not tell a process's memory")
