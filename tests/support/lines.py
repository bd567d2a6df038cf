"""Clients of a session's Unix socket: plain sockets, read in one thread."""

from __future__ import annotations

import json
import selectors
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

from tests.support.command import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable


class Client:
    """One connection.

    Attributes:
        lines: what it read so far, whole lines without their ends.
        gone: the other side ended it.
    """

    def __init__(self, readers: Readers, path: str) -> None:
        self.lines: list[bytes] = []
        self.gone = False
        self._rest = b""
        self._events: list[dict[str, Any]] = []
        self._readers = readers
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(DEADLINE_S)
        self.socket.connect(path)

    def send(self, text: str) -> None:
        """Send lines."""
        self.socket.sendall(text.encode())

    def take(self) -> None:
        """Read what is there."""
        try:
            data = self.socket.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self.gone = True
            self._readers.forget(self)
        *whole, self._rest = (self._rest + data).split(b"\n")
        self.lines += whole

    def kill(self) -> None:
        """Close it whatever is unread, as the kernel does for a process that crashed."""
        self._readers.forget(self)
        self.socket.close()

    @property
    def events(self) -> list[dict[str, Any]]:
        """What it read so far."""
        self._events += [json.loads(line) for line in self.lines[len(self._events) :]]
        return self._events

    def wait(self, condition: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Wait until what was read fulfils a condition; return it."""
        self._readers.wait(lambda: condition(self.events), self)
        return self.events

    def streams(self, lines: int) -> None:
        """Wait until it has read more than so many lines."""
        self._readers.wait(lambda: len(self.lines) > lines, self)

    def answer(self, id_: str | int) -> dict[str, Any]:
        """Wait for the answer to a line."""
        mark = b'"id":%s,' % json.dumps(id_).encode()

        def found() -> dict[str, Any] | None:
            """Answers come late in what was read: look from its end."""
            return next((json.loads(line) for line in reversed(self.lines) if mark in line[:300]), None)

        answer: dict[str, Any] = self._readers.wait(found, self)
        return answer


class Readers:
    """Reads for all clients in one thread; a context manager."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._selector = selectors.DefaultSelector()
        self._news = threading.Condition(threading.RLock())
        self._stopping = False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.clients: list[Client] = []

    def connect(self, *, reads: bool = True) -> Client:
        """Connect; one that does not read is left to itself."""
        client = Client(self, self._path)
        self.clients.append(client)
        if reads:
            self.adopt(client)
        return client

    def adopt(self, client: Client) -> None:
        """Read for a client from here on."""
        with self._news:
            self._selector.register(client.socket, selectors.EVENT_READ, client)

    def forget(self, client: Client) -> None:
        """Read no more for a client."""
        with self._news:
            if client.socket.fileno() in self._selector.get_map():
                self._selector.unregister(client.socket)

    def wait(self, condition: Callable[[], Any], client: Client | None = None) -> Any:
        """Wait until something is true, with a deadline."""
        until = time.monotonic() + DEADLINE_S
        with self._news:
            while not (found := condition()):
                seen = client.lines[-3:] if client else ""
                assert time.monotonic() < until, f"it did not come; read last: {seen}"
                self._news.wait(0.05)  # it may depend on more than what is read here
        return found

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select(0.05):
                with self._news:
                    if key.fileobj.fileno() >= 0:  # type: ignore[union-attr]  # sockets only
                        key.data.take()
                    self._news.notify_all()

    def __enter__(self) -> Readers:  # noqa: PYI034
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping = True
        self._thread.join(DEADLINE_S)
        for client in self.clients:
            client.socket.close()
        self._selector.close()
