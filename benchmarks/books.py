"""The Book class alone, beside the designs in book.py, in a process of its own."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from benchmarks.arena import HERE
from benchmarks.contest import Column, Contest, FailedError
from benchmarks.environments import AbsentError
from benchmarks.process import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.arena import Arena


class Books(Contest):
    """One update and its checksum, over and over.

    Args:
        arena: where the rivals' environment is.
        depth: levels a side.
    """

    contestants = ("krakenws", "order-book", "sortedcontainers", "dict + bisect", "dict + sort")
    references = ("krakenws",)
    columns = (Column("us", "µs an update", "{:.2f}"),)

    def __init__(self, arena: Arena, depth: int) -> None:
        self.name = f"book class, depth {depth}"
        self._arena = arena
        self._depth = depth
        self._found: dict[str, float] = {}

    def _python(self) -> str:
        return self._arena.environments.program("books")

    def prepare(self, who: str) -> None:  # noqa: ARG002 - all run together
        """See that the libraries are there."""
        self._python()

    @contextmanager
    def staged(self) -> Iterator[None]:
        """Let all take their turns in one process."""
        argv = [self._python(), str(HERE / "book.py"), str(self._depth)]
        environ = {**self._arena.environ, "PYTHONPATH": str(HERE.parent / "src")}
        done = subprocess.run(
            argv, env=environ, capture_output=True, text=True, timeout=DEADLINE_S, check=False
        )
        if done.returncode:
            raise FailedError(done.stderr[-300:])
        self._found = json.loads(done.stdout)
        yield

    def measure(self, who: str) -> dict[str, float]:
        """Return microseconds."""
        if who not in self._found:
            raise AbsentError(f"{who} is not installed")
        return {"us": self._found[who]}
