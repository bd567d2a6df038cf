"""Another program that has locked the journal, and a market that goes on meanwhile."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from tests.support.command import DEADLINE_S
from tests.support.scripts import TICKER
from tests.support.server import Connection, acks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WAYS = ["for writing", "for itself"]
"""How to lock it: others may read it, or they may not."""
_HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
if sys.argv[2] == "for itself":
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(journal: Path, how: str = WAYS[0]) -> Iterator[Callable[[], None]]:
    """Lock the journal in another process; gives what releases it."""
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(journal), how],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdin is not None
    assert holder.stdout is not None

    def release() -> None:
        holder.communicate(timeout=DEADLINE_S)

    try:
        assert holder.stdout.readline() == "locked\n"
        yield release
    finally:
        holder.kill()
        if not holder.stdin.closed:
            holder.communicate()


class Market:
    """A ticker that ticks when it is told to."""

    def __init__(self) -> None:
        self._go_on = threading.Semaphore(0)
        self._over = threading.Event()

    def script(self, client: Connection) -> None:
        """Serve it."""
        client.greet()
        client.send(*acks(client.expect(event="subscribe")))
        while self._go_on.acquire(timeout=DEADLINE_S) and not self._over.is_set():
            client.send(TICKER)
        client.hold()

    def tick(self) -> None:
        """Tick once."""
        self._go_on.release()

    def close(self) -> None:
        """Tick no more."""
        self._over.set()
        self._go_on.release()
