"""How long the loop leaves an exchange alone, and how it gets what only blocking calls give."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core.catalog import bind, find
from krakenws.core.events import Disconnected, Update
from krakenws.core.redaction import Redactor, Secret
from krakenws.core.v1 import ENTRIES, V1
from krakenws.errors import ConnectionFailed, KrakenWSError, RequestRejected
from krakenws.net import errand
from krakenws.net.credentials import Token
from krakenws.net.loop import Run, patience_s
from krakenws.net.rest import TryLater
from krakenws.net.stop import Stop
from krakenws.options import Options
from tests.support.scripts import OPEN_ORDERS, streams
from tests.support.server import Connection, exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEADLINE_S = 20.0


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (ConnectionFailed("connection refused"), 0.0),
        (ConnectionFailed("HTTP 403", 403), 60.0),
        (ConnectionFailed("HTTP 429", 429), 5.0),
        (ConnectionFailed("HTTP 520", 520), 5.0),
        (ConnectionFailed("HTTP 404", 404), 0.0),
        (TryLater("EGeneral:Temporary lockout", 900.0), 900.0),
        (RequestRejected("EQuery:Unknown asset pair"), 5.0),
    ],
)
def test_a_refusal_is_followed_as_late_as_it_asks(error: KrakenWSError, wait_s: float) -> None:
    assert patience_s(error) == wait_s


class Watcher:
    """A sink that tells each event to a function."""

    wants_events = True

    def __init__(self, heed: Callable[[Any], None]) -> None:
        self._heed = heed

    def sent(self, frames: list[bytes]) -> None:
        raise AssertionError(frames)

    received = sent

    def write(self, events: list[Any]) -> None:
        for event in events:
            self._heed(event)


class SlowCredentials:
    """Gives a token for the first connection at once, and for the second when `free` is set."""

    def __init__(self) -> None:
        self.free = threading.Event()
        self.calls = 0

    def find_token(self) -> Token:
        self.calls += 1
        if self.calls > 1:
            assert self.free.wait(DEADLINE_S)
        return Token(Secret(f"a-token-of-call-{self.calls}"), "a test", renewable=False)

    renew = find_token


@contextmanager
def running(url: str, credentials: SlowCredentials, heed: Callable[[Any, Stop], None]) -> Iterator[Run]:
    """Give a run of `openOrders`."""
    stop = Stop()  # not entered: no signals here
    run = Run(
        Options(private_url=f"{url}/auth", connect_timeout_s=0.2),
        Watcher(lambda event: heed(event, stop)),
        redactor=Redactor(),
        credentials=credentials,  # type: ignore[arg-type]
        note=lambda _: None,
        warn=lambda _: None,
        stop=stop,
        for_s=DEADLINE_S,
    )
    entry = find(ENTRIES, "openOrders")
    assert entry is not None
    run.add(V1, bind(entry, []))
    yield run
    stop.__exit__()


def served_then_cut(client: Connection) -> None:
    client.serve(OPEN_ORDERS)
    client.close(1001)


def test_a_call_for_a_token_that_outlasts_its_attempt_serves_the_next() -> None:
    """So that neither threads nor REST calls pile up while REST hangs."""
    credentials = SlowCredentials()
    causes, updates = [], 0

    def heed(event: object, stop: Stop) -> None:
        nonlocal updates
        if isinstance(event, Disconnected):
            causes.append(event.cause)
            if len(causes) == 3:
                credentials.free.set()
        elif isinstance(event, Update):
            updates += 1
            stop.set = updates == 2

    with (
        exchange(private=[served_then_cut, streams(OPEN_ORDERS)]) as server,
        running(server.url, credentials, heed) as run,
    ):
        run.run()
    assert updates == 2
    assert causes[1:] == ["https://api.kraken.com gave no token within 0.2 s"] * 2
    assert credentials.calls == 2
    assert [message["subscription"]["token"] for message in server.messages("/auth")] == [
        "a-token-of-call-1",
        "a-token-of-call-2",
    ]


def test_a_machine_out_of_threads_is_a_connection_that_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(errand, "start_new_thread", refuse)
    with running("ws://127.0.0.1:1", SlowCredentials(), lambda *_: None) as run:
        run.run()
        with pytest.raises(ConnectionFailed, match="can't start new thread"):
            run.judge()
