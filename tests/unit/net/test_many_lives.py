"""A run that loses its connections two thousand times, on real sockets."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core import pacing
from krakenws.core.catalog import bind
from krakenws.core.events import Disconnected, Gap, Update
from krakenws.core.redaction import Redactor, Secret
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import OPEN_ORDERS, TICKER
from krakenws.net.credentials import Token
from krakenws.net.loop import Run
from krakenws.net.stop import Stop
from krakenws.options import Options
from krakenws.sinks import Out
from tests.support import scripts
from tests.support.server import exchange, frame_of
from tests.support.sizes import bytes_held_by

if TYPE_CHECKING:
    from tests.support.server import Connection, Script

LIVES = 2000


def dies(how: str, frame: str) -> Script:
    """Serve one frame, then end the connection in one of many ways."""

    def script(client: Connection) -> None:
        client.serve(frame)
        if how == "reset":
            client.reset()
        elif how == "end":
            client.end()
        elif how == "close":
            client.close(1001, "going away")
        elif how == "half a frame":
            client.raw(frame_of(b"{}")[:-1])
            client.end()
        else:
            client.raw(b"\x83\x00")  # an opcode that is none
            client.hold()

    return script


WAYS = ("reset", "end", "close", "half a frame", "garbage")


class Tokens:
    """Counts how often a token was asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def find_token(self) -> Token:
        self.asked += 1
        return Token(Secret("a token of ours"), "here", renewable=True)

    renew = find_token


class Watcher:
    """Counts events, and measures the run on the way."""

    wants_events = True
    waiting = ()

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self.gap_before_data = True
        self.held: list[int] = []
        self.files: list[int] = []
        self.run: Run | None = None
        self._broken: set[str] = set()

    def sent(self, frames: list[bytes]) -> None:
        raise AssertionError(frames)

    received = sent

    def drained(self) -> None:
        raise AssertionError

    def write(self, events: list[Any]) -> None:
        for event in events:
            self.counts[type(event).__name__] += 1
            if isinstance(event, Disconnected):
                self._broken.add("ticker" if event.endpoint == "public" else "openOrders")
            elif isinstance(event, Gap):
                self._broken.discard(event.channel)
            elif isinstance(event, Update):
                self.gap_before_data = self.gap_before_data and event.route.entry.name not in self._broken
                if self.counts["Update"] % (LIVES // 10) == 0 and self.run is not None:
                    self.held.append(bytes_held_by(self.run._links))
                    self.files.append(len(os.listdir("/dev/fd")))


@pytest.mark.skipif(not os.path.isdir("/dev/fd"), reason="open files are counted in /dev/fd")
def test_two_thousand_lost_connections_leave_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "_INSTANT_S", (0.0,) * (2 * LIVES))
    public = [dies(WAYS[life % len(WAYS)], scripts.TICKER) for life in range(LIVES)]
    private = [dies(WAYS[life % len(WAYS)], scripts.OPEN_ORDERS) for life in range(LIVES)]
    tokens, watcher = Tokens(), Watcher()
    with exchange(public, private) as server, Stop() as stop:
        watcher.run = run = Run(
            Options(public_url=server.url, private_url=f"{server.url}/auth"),
            watcher,
            Out(-1),
            redactor=Redactor(),
            credentials=tokens,  # type: ignore[arg-type]  # as much of it as the loop uses
            note=lambda _: None,
            warn=lambda _: None,
            tell_lag=lambda _: None,
            stop=stop,
            count=LIVES,
        )
        run.add(V1, bind(TICKER, ["XBT/USD"]))
        run.add(V1, bind(OPEN_ORDERS, []))
        run.run()
        run.judge()
        connections = len(server.at("/auth"))
        assert tokens.asked in {connections, connections + 1}  # the last one may have been on its way
    assert watcher.counts["Update"] == LIVES
    assert watcher.counts["Disconnected"] >= LIVES - 2
    assert watcher.counts["Connected"] >= LIVES
    assert watcher.gap_before_data
    assert max(watcher.held[1:]) - min(watcher.held[1:]) < 20_000, watcher.held
    assert max(watcher.files) - min(watcher.files) < 10, watcher.files
