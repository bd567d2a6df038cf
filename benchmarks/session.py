"""A round trip through a warm `session`: a line on its stdin, the answer's line on its stdout.

A ping goes to the load generator, which answers at once; an order that is only validated goes to the sandbox.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from itertools import count, cycle
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import TYPE_CHECKING

from benchmarks.contest import Column, Contest, FailedError
from benchmarks.process import DEADLINE_S
from benchmarks.sandbox import Socket, exchange, token_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from benchmarks.arena import Arena

    Ask = Callable[[int], bytes]
    """Asks under a number; returns what came up to the answer."""

_RELAY = Path(__file__).resolve().parent / "relay.py"
_WARM_UP = 100
"""Questions before it counts: a session knows a line again that came twice, and there are many pairs."""
_PAIRS = (
    *("XBT/USD", "ETH/USD", "XBT/EUR", "ETH/EUR", "SOL/USD", "XRP/USD", "ADA/USD", "XDG/USD", "LTC/USD"),
    *("DOT/USD", "LINK/USD", "BCH/USD", "ATOM/USD", "UNI/USD", "USDT/USD", "USDC/USD", "EUR/USD", "XMR/USD"),
    *("AAVE/USD", "PAXG/USD", "LTC/EUR", "XLM/EUR", "XTZ/EUR", "MLN/EUR", "0G/EUR"),
)
"""Each has a rate counter of its own, and a validated order counts as well."""
_MEMBERS = {"type": "buy", "ordertype": "limit", "price": "1", "validate": "true"}
_ORDER = json.dumps(_MEMBERS, separators=(",", ":"))[1:-1]


class RoundTrip(Contest):
    """Questions that are asked one at a time, of contestants that stay open for a round.

    Args:
        arena: how contestants are started.
        trips: questions a turn.
    """

    columns = (Column("p50", "p50 µs", "{:,.0f}"), Column("p99", "p99 µs", "{:,.0f}"))
    answered: tuple[bytes, ...]
    """One of these is in each answer."""

    def __init__(self, arena: Arena, trips: int) -> None:
        self.turns = 3
        self._arena = arena
        self._trips = trips
        self._numbers = count(1)
        self._asks: dict[str, Ask] = {}
        self._stack = ExitStack()

    def open(self, who: str) -> AbstractContextManager[Ask]:
        """Start a contestant."""
        raise NotImplementedError

    def prepare(self, who: str) -> None:
        """See that it can take part."""
        with self.staged():
            self._warm(who)

    @contextmanager
    def staged(self) -> Iterator[None]:
        """Keep whoever is opened until the round ends."""
        with ExitStack() as self._stack:
            self._asks = {}
            yield

    def _warm(self, who: str) -> Ask:
        if who not in self._asks:
            ask = self._asks[who] = self._stack.enter_context(self.open(who))
            for _ in range(_WARM_UP):
                ask(next(self._numbers))
        return self._asks[who]

    def measure(self, who: str) -> dict[str, float]:
        """Return percentiles in microseconds."""
        ask, took_us = self._warm(who), []
        for _ in range(self._trips):
            number = next(self._numbers)
            began_ns = time.perf_counter_ns()
            answer = ask(number)
            took_us.append((time.perf_counter_ns() - began_ns) / 1000)
            if not any(text in answer for text in self.answered):
                raise FailedError(f"answered {answer.decode()}")
        took_us.sort()
        return {"p50": took_us[len(took_us) // 2], "p99": took_us[len(took_us) * 99 // 100]}


class Pings(RoundTrip):
    """A ping to the load generator."""

    name = "session ping"
    contestants = ("session", "websocat", "socket")
    references = ("websocat", "socket")
    answered = (b'"pong"',)

    def open(self, who: str) -> AbstractContextManager[Ask]:
        """Start a contestant."""
        url = self._arena.url("ws", "")
        if who == "socket":
            return _asking(Socket(url), lambda number: (_ping(number), _reqid(number)))
        if who == "websocat":
            argv = self._arena.websocat("ws", "")
            return _piped(argv, self._arena.environ, _ping, _reqid)
        environ = {**self._arena.environ, "KRAKENWS_PUBLIC_URL": url}
        return _piped(
            [*self._arena.command, "session", "-q"], environ, lambda n: f'{{"id":{n},"do":"ping"}}', _id
        )


class Orders(RoundTrip):
    """`addOrder validate=true` to the sandbox; the session also holds it to the rules of its pair."""

    name = "session addOrder"
    contestants = ("session", "session --listen", "relay", "socket", "socket-blind")
    references = ("socket", "socket-blind")
    answered = (b'"ok"', b'"accepted"')

    def __init__(self, arena: Arena, trips: int) -> None:
        super().__init__(arena, trips)
        self._environ: dict[str, str] = {}
        self._told: dict[str, str] = {}
        self._pairs = cycle(_PAIRS)

    @contextmanager
    def staged(self) -> Iterator[None]:
        """Run a sandbox beside the contestants."""
        with (
            exchange("--pairs", ",".join(_PAIRS), "--rate", "1") as (_, self._told),
            TemporaryDirectory() as home,
            super().staged(),
        ):
            self._environ = {
                "PATH": os.environ["PATH"],
                "HOME": home,
                "KRAKENWS_PUBLIC_URL": self._told["public"],
                "KRAKENWS_PRIVATE_URL": self._told["private"],
                "KRAKENWS_REST_URL": self._told["REST"],
                "KRAKEN_API_KEY": self._told["API key"],
                "KRAKEN_API_SECRET": self._told["API secret"],
            }
            yield

    def _line(self, number: int) -> str:
        return f'{{"id":{number},"do":"addOrder",{self._order(number)}}}'

    def _order(self, number: int) -> str:
        """Return an order that was not sent before, as text of JSON."""
        return f'{_ORDER},"volume":"{100 + number % 5000 / 1000:.3f}","pair":"{next(self._pairs)}"'

    def _members(self, number: int) -> dict[str, str]:
        """Return such an order as a program has it."""
        return {**_MEMBERS, "volume": f"{100 + number % 5000 / 1000:.3f}", "pair": next(self._pairs)}

    def open(self, who: str) -> AbstractContextManager[Ask]:
        """Start a contestant."""
        if who == "session":
            return _piped([*self._arena.command, "session", "-q"], self._environ, self._line, _id)
        if who == "session --listen":
            return self._served()
        token = token_of(self._told)
        if who == "relay":
            environ = {**self._environ, "KRAKEN_WS_TOKEN": token}
            return _piped([sys.executable, "-P", str(_RELAY)], environ, self._line, _id)
        if who == "socket":
            return _reading(Socket(self._told["private"]), token, self._members)
        head = f'{{"event":"addOrder","token":"{token}"'
        return _asking(
            Socket(self._told["private"]),
            lambda number: (
                f'{head},{self._order(number)},"reqid":{number}}}',
                b'"addOrderStatus"',
            ),
        )

    @contextmanager
    def _served(self) -> Iterator[Ask]:
        """Run a session on a Unix socket."""
        path = f"{self._environ['HOME']}/socket"
        argv = [*self._arena.command, "session", "-q", "--listen", f"unix:{path}"]
        with _running(argv, self._environ) as process, socket.socket(socket.AF_UNIX) as client:
            assert process.stdout is not None
            process.stdout.readline()
            client.settimeout(DEADLINE_S)
            client.connect(path)

            def ask(number: int) -> bytes:
                client.sendall(self._line(number).encode() + b"\n")
                return _answer(lambda: client.recv(65536), _id(number))

            yield ask


def _ping(number: int) -> str:
    return f'{{"event":"ping","reqid":{number}}}'


def _reqid(number: int) -> bytes:
    return f'"reqid": {number}}}'.encode()


def _id(number: int) -> bytes:
    return f'"id":{number},'.encode()


@contextmanager
def _asking(client: Socket, question: Callable[[int], tuple[str, bytes]]) -> Iterator[Ask]:
    """Ask on a plain socket, in this process: the least there is."""

    def ask(number: int) -> bytes:
        text, mark = question(number)
        client.send(text)
        return client.wait_for(mark)

    with client.socket:
        yield ask


@contextmanager
def _reading(client: Socket, token: str, order: Callable[[int], dict[str, str]]) -> Iterator[Ask]:
    """Ask on a plain socket as a program does: a frame masked at random, an answer that is read."""

    def ask(number: int) -> bytes:
        request = {"event": "addOrder", "token": token, **order(number), "reqid": number}
        client.send(json.dumps(request), os.urandom(4))
        while True:
            frame = client.wait_for(b'"addOrderStatus"')
            answer = json.loads(frame)
            if answer["event"] == "addOrderStatus" and answer.get("reqid") == number:
                return frame

    with client.socket:
        yield ask


@contextmanager
def _piped(
    argv: list[str], environ: dict[str, str], line: Callable[[int], str], mark: Callable[[int], bytes]
) -> Iterator[Ask]:
    """Ask a process by a line, and wait for the line that bears a mark."""
    with _running(argv, environ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, from_ = process.stdin.fileno(), process.stdout.fileno()

        def ask(number: int) -> bytes:
            os.write(to, line(number).encode() + b"\n")
            return _answer(lambda: os.read(from_, 65536), mark(number))

        yield ask


@contextmanager
def _running(argv: list[str], environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ) as process:
        watchdog = Timer(DEADLINE_S, process.kill)
        watchdog.start()
        try:
            yield process
        finally:
            watchdog.cancel()
            process.terminate()


def _answer(read: Callable[[], bytes], mark: bytes) -> bytes:
    """Read on until a line with the mark has ended."""
    data = b""
    while mark not in data or not data.endswith(b"\n"):
        news = read()
        if not news:
            raise FailedError(f"it ended after {data.decode()[-300:]}")
        data += news
    return data
