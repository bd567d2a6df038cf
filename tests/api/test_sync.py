"""The blocking façade: the same names, the same results, for scripts without asyncio."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

import krakenws
from tests.api.test_books import serves_a_book
from tests.api.test_streams import serves
from tests.support.api import names
from tests.support.command import DEADLINE_S
from tests.support.scripts import SPREAD, TICKER, accepts, refuses, streams
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from krakenws.sync import Client, Stream
    from tests.support.server import ScriptedServer

ORDER: dict[str, Any] = {"type": "buy", "ordertype": "limit", "volume": "0.01", "price": "9000"}


def client(server: ScriptedServer) -> Client:
    return krakenws.sync.connect(public_url=server.url, private_url=f"{server.url}/auth")


def test_a_stream_is_iterated_over_and_left_by_break() -> None:
    told = []
    with exchange(serves) as server, client(server) as kraken:
        for event in kraken.stream("ticker", "XBT/USD"):
            told.append(event)
            if isinstance(event, krakenws.Update):
                break
    assert names(told) == ["connected", "status", "subscribed", "update"]


def test_next_gives_nothing_when_nothing_comes() -> None:
    with exchange(streams(TICKER)) as server, client(server) as kraken:
        with kraken.stream("ticker", "XBT/USD") as stream:
            while (event := stream.next(10)) is not None and event.name != "update":
                pass
            assert event is not None
            assert stream.next(0.01) is None
        assert stream.next(1) is None
        assert list(stream) == []


def test_a_book_is_read_from_another_thread_than_the_one_that_keeps_it() -> None:
    with exchange(serves_a_book) as server, client(server) as kraken, kraken.book("XBT/USD") as book:
        assert book.trusted
        assert book.changed().best_ask == krakenws.Level("64001.10000", "7") == book.asks(1)[0]
        assert book.best_bid == book.bids(1)[0]
        assert (book.symbol, book.depth) == ("XBT/USD", 10)


def test_orders_have_the_same_verdicts_and_errors() -> None:
    with exchange(private=accepts) as server, client(server) as kraken:
        assert kraken.add_order("XBT/USD", **ORDER).order_id == "OGTT3Y-C6I3P-XRI6HX"
    with (
        exchange(private=refuses("EOrder:Insufficient funds")) as server,
        client(server) as kraken,
        pytest.raises(krakenws.OrderRejected, match="Insufficient funds"),
    ):
        kraken.add_order("XBT/USD", **ORDER)


def test_threads_that_use_one_name_send_one_order_and_have_its_verdict() -> None:
    told: list[krakenws.OrderAdded] = []
    with exchange(private=accepts) as server, client(server) as kraken:
        threads = [
            threading.Thread(
                target=lambda: told.append(kraken.add_order("XBT/USD", **ORDER, intent="monday"))
            )
            for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert [one.order_id for one in told] == ["OGTT3Y-C6I3P-XRI6HX"] * 4
    assert len(server.sent("addOrder")) == 1


def test_many_threads_use_one_client() -> None:
    with exchange(serves) as server, client(server) as kraken:
        told: list[krakenws.Pong] = []
        threads = [threading.Thread(target=lambda: told.append(kraken.ping())) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
    assert len({pong.req_id for pong in told}) == len(threads)
    assert len(server.connections) == 1


def test_a_signal_handler_may_close_the_stream_that_its_thread_reads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A handler runs in the thread that it interrupts, here in the middle of fetching."""
    with exchange(streams(TICKER)) as server, client(server) as kraken:
        stream = kraken.stream("ticker", "XBT/USD")
        call = kraken._call

        def interrupted(coroutine: Any) -> Any:
            monkeypatch.undo()
            stream.close()
            return call(coroutine)

        monkeypatch.setattr(kraken, "_call", interrupted)
        told: list[Any] = []
        reading = threading.Thread(target=lambda: told.append(list(stream)), daemon=True)
        reading.start()
        reading.join(20)
    assert told == [[]]


def test_threads_that_share_a_stream_have_each_event_once_among_them() -> None:
    count = 3000
    go_on = threading.Event()

    def script(client: Connection) -> None:
        client.greet()
        client.send(*acks(client.expect(event="subscribe")))
        go_on.wait(20)
        for number in range(count):
            client.send(SPREAD.replace("64010.00000", f"{number}.00000"))
        client.hold()

    taken: list[str] = []
    ends: list[object] = []

    def read(stream: Stream[Any]) -> None:
        try:
            for event in stream:
                if isinstance(event, krakenws.Update):
                    taken.append(event.rows()[0].bid)
        except Exception as error:  # noqa: BLE001 - whatever it is
            ends.append(error)
        else:
            ends.append("end")

    with exchange(script) as server, client(server) as kraken, kraken.stream("spread", "XBT/USD") as stream:
        threads = [threading.Thread(target=read, args=(stream,), daemon=True) for _ in range(4)]
        for thread in threads:
            thread.start()
        go_on.set()
        due = time.monotonic() + DEADLINE_S
        while len(taken) < count and time.monotonic() < due:
            taken += [
                event.rows()[0].bid for event in [stream.next(0.01)] if isinstance(event, krakenws.Update)
            ]
        stream.close()
        for thread in threads:
            thread.join(20)
    assert sorted(taken) == sorted(f"{number}.00000" for number in range(count))
    assert ends == ["end"] * len(threads)


def test_threads_that_still_call_a_client_that_is_closed_are_told_so_and_never_hang() -> None:
    ends: list[BaseException] = []

    def call_on(kraken: Client) -> None:
        try:
            while True:
                kraken.ping()
        except krakenws.KrakenWSError as error:
            ends.append(error)

    with exchange(serves) as server:
        for _ in range(10):
            with client(server) as kraken:
                threads = [threading.Thread(target=call_on, args=(kraken,), daemon=True) for _ in range(4)]
                for thread in threads:
                    thread.start()
                kraken.ping()
            for thread in threads:
                thread.join(20)
    assert len(ends) == 40
    assert all(isinstance(end, krakenws.UsageError | krakenws.ConnectionFailed) for end in ends)


def test_a_call_that_comes_while_the_thread_ends_is_refused() -> None:
    with exchange(serves) as server:
        kraken = client(server).__enter__()
        thread = kraken._thread
        assert thread is not None
        kraken.close()
        answered = kraken._client.ping()
        with pytest.raises(krakenws.UsageError, match="not open"):
            thread.call(answered)


def test_leaving_the_block_ends_the_thread() -> None:
    with exchange(serves) as server, client(server) as kraken:
        kraken.ping()
        assert any(thread.name == "krakenws" for thread in threading.enumerate())
    assert not any(thread.name == "krakenws" for thread in threading.enumerate())
    with pytest.raises(krakenws.UsageError, match=r"with krakenws\.sync\.connect"):
        kraken.ping()


def test_an_error_of_a_stream_is_raised_where_it_is_read() -> None:
    with krakenws.sync.connect(public_url="ws://127.0.0.1:9") as kraken:
        stream = kraken.stream("ticker", "XBT/USD")
        assert next(stream).name == "disconnected"
        with pytest.raises(krakenws.ConnectionFailed, match=r"could not connect to 127\.0\.0\.1:9"):
            next(stream)
        assert list(stream) == []


def test_both_clients_have_the_same_names() -> None:
    from krakenws import LiveBook, Stream, sync

    for ours, theirs in ((krakenws.Client, sync.Client), (Stream, sync.Stream), (LiveBook, sync.LiveBook)):
        only_async = {"batch", "aclose", "waiting_events"}
        public = {name for name in vars(ours) if not name.startswith("_")} - only_async
        assert public <= {name for name in dir(theirs) if not name.startswith("_")}
