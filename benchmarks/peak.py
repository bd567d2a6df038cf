"""The most memory that one stream takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from benchmarks.contest import Column, Contest, FailedError
from benchmarks.environments import AbsentError
from benchmarks.process import peak_bytes

if TYPE_CHECKING:
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
        if not peak_bytes(os.getpid()):
            raise AbsentError("this system does not tell a process's peak memory")
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
