"""How long the loop leaves an exchange alone, gets what only blocking calls give, and waits for output."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core.catalog import bind, find
from krakenws.core.events import Disconnected, Lagging, Unanswered, Update
from krakenws.core.redaction import Redactor, Secret
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES, PING, TICKER
from krakenws.errors import ConnectionFailed, KrakenWSError, RequestRejected
from krakenws.net import errand
from krakenws.net.credentials import Credentials, Token
from krakenws.net.loop import Run
from krakenws.net.rest import TryLater
from krakenws.net.shell import patience_s
from krakenws.net.stop import Stop
from krakenws.options import Options
from krakenws.sinks import Out, Sink
from tests.support import scripts
from tests.support.scripts import OPEN_ORDERS, streams
from tests.support.server import PATIENCE_S, Connection, exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from krakenws.core.events import Event

DEADLINE_S = 20.0


@pytest.mark.parametrize(
    ("error", "wait_s"),
    [
        (ConnectionFailed("connection refused"), 0.0),
        (ConnectionFailed("HTTP 403", 403), 60.0),
        (ConnectionFailed("HTTP 429", 429), 5.0),
        (ConnectionFailed("HTTP 520", 520), 5.0),
        (ConnectionFailed("HTTP 404", 404), 0.0),
        (ConnectionFailed("HTTP 429", 429, 30.0), 30.0),
        (ConnectionFailed("HTTP 503", 503, 1.0), 5.0),
        (ConnectionFailed("HTTP 403", 403, 120.0), 120.0),
        (TryLater("EGeneral:Temporary lockout", 900.0), 900.0),
        (RequestRejected("EQuery:Unknown asset pair"), 5.0),
    ],
)
def test_a_refusal_is_followed_as_late_as_it_asks(error: KrakenWSError, wait_s: float) -> None:
    assert patience_s(error) == wait_s


class Watcher:
    """A sink that tells each event to a function."""

    wants_events = True
    waiting = ()

    def __init__(self, heed: Callable[[Any], None]) -> None:
        self._heed = heed

    def sent(self, frames: list[bytes]) -> None:
        raise AssertionError(frames)

    received = sent

    def drained(self) -> None:
        raise AssertionError

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
        Out(-1),
        redactor=Redactor(),
        credentials=credentials,  # type: ignore[arg-type]
        note=lambda _: None,
        warn=lambda _: None,
        tell_lag=lambda _: None,
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


class Sleeper(Sink):
    """Output that stands still once, at the first data, for `stood_s` after `until`."""

    def __init__(self, until: threading.Event, stood_s: float) -> None:
        self.out = Out(-1)
        self.told: list[Update | Event] = []
        self._until = until
        self._stood_s = stood_s

    def write(self, events: Sequence[Update | Event]) -> None:
        self.told += events
        if not self.out.stood_s and type(events[-1]) is Update:
            assert self._until.wait(PATIENCE_S)
            threading.Event().wait(self._stood_s)
            self.out.stood_s += self._stood_s


def test_what_came_while_output_stood_still_is_read_before_an_answer_is_called_late() -> None:
    """The answer lies behind a lot of data, and its deadline passed long before it can be read."""
    answered = threading.Event()

    def script(client: Connection) -> None:
        client.greet()
        client.expect(event="subscribe")
        client.expect(event="ping")
        client.send(*[scripts.TICKER] * 1000)
        client.send({"event": "pong"})
        answered.set()
        client.hold()

    sink = Sleeper(answered, stood_s=0.3)
    sentences: list[str] = []
    redactor = Redactor()
    with exchange(script) as server, Stop() as stop:
        options = Options(public_url=server.url, ack_timeout_s=0.05, quiet_s=0.1, dead_s=0.05)
        nowhere: dict[str, Any] = {"working_dir": "", "program_dir": "", "config_dir": ""}
        credentials = Credentials(options, redactor, lambda _: 0, environ={}, **nowhere)
        run = Run(
            options,
            sink,
            sink.out,
            redactor=redactor,
            credentials=credentials,
            note=sentences.append,
            warn=sentences.append,
            tell_lag=sentences.append,
            stop=stop,
            count=1000,
        )
        run.add(V1, bind(TICKER, ["XBT/USD"]))
        run.add(V1, bind(PING, []))
        run.run()
    kinds = [type(event) for event in sink.told]
    assert kinds.count(Update) == 1000
    assert Unanswered not in kinds
    (lag,) = [event for event in sink.told if isinstance(event, Lagging)]
    assert (lag.policy, lag.blocked_s) == ("block", 0.3)
    assert len(sentences) == 1
