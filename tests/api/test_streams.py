"""Streams of the Python API: what they bring, how they share a connection, and how they end."""

from __future__ import annotations

import asyncio
import gc
import logging
from typing import TYPE_CHECKING, Any

import pytest

import krakenws
from tests.support.api import client, names, run, take, updates, wait_until
from tests.support.pairs import store_pairs
from tests.support.scripts import OPEN_ORDERS, TICKER, TRADE, Ladder, acknowledges, streams
from tests.support.server import Connection, acks, exchange, refusal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.server import ScriptedServer

LIFE = ["connected", "status", "subscribed"]


def serves(client: Connection) -> None:
    """Acknowledge and unsubscribe whatever is asked for; a ticker, a trade or a book follows at once."""
    client.greet()
    ladder = Ladder()
    while True:
        asked = client.expect()
        if asked["event"] == "ping":
            client.send({"event": "pong", "reqid": asked["reqid"]})
        elif asked["event"] == "unsubscribe":
            client.send(*({**ack, "status": "unsubscribed"} for ack in acks(asked)))
        elif asked["event"] == "subscribe":
            name = asked["subscription"]["name"]
            data = {
                "ticker": [TICKER],
                "trade": [TRADE],
                "book": [ladder.snapshot(), ladder.update("64001.10000", "7")],
            }
            client.send(*acks(asked), *data.get(name, ()))


def asked(server: ScriptedServer) -> list[tuple[str, str]]:
    """Return what was subscribed and unsubscribed so far."""
    return [
        (message["event"], message["subscription"]["name"])
        for message in server.messages()
        if "subscription" in message
    ]


def test_a_stream_tells_the_life_of_its_connection_and_typed_rows() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            events = await take(kraken.stream("ticker", "xbt/usd"), 4)
            assert names(events) == [*LIFE, "update"]
            update = events[-1]
            assert isinstance(update, krakenws.Update)
            assert (update.channel, update.symbol, update.frame) == ("ticker", "XBT/USD", TICKER.encode())
            (row,) = update.rows()
            assert isinstance(row, krakenws.Ticker)
            assert row.bid == "64010.10000"

    with exchange(serves) as server:
        run(main())


def test_streams_of_one_endpoint_share_one_connection_which_is_kept() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            tickers, trades = kraken.stream("ticker", "XBT/USD"), kraken.stream("trade", "XBT/USD")
            told = await asyncio.gather(updates(tickers, 1), updates(trades, 1))
            assert [names(events)[-2:] for events in told] == [["subscribed", "update"]] * 2
            tickers.close()
            trades.close()
            await kraken.ping()
            await updates(kraken.stream("book", "XBT/USD"), 1)

    with exchange(serves) as server:
        run(main())
    assert len(server.connections) == 1


def test_streams_of_one_pair_at_two_intervals_are_each_told_what_is_about_them() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            candles = [
                kraken.stream("ohlc", "XBT/USD", interval=1),
                kraken.stream("ohlc", "XBT/USD", interval=60),
            ]
            told = [await take(stream, 3) for stream in candles]
            await kraken.ping()
            assert [names(events) for events in told] == [LIFE, LIFE]
            assert [event.params["interval"] for _, _, event in told] == [1, 60]  # type: ignore[union-attr]
            candles[1].close()
            await kraken.ping()  # its answer is behind that to the end of the other
            assert [stream.waiting_events for stream in candles] == [0, 0]

    with exchange(serves) as server:
        run(main())
    assert asked(server) == [("subscribe", "ohlc"), ("subscribe", "ohlc"), ("unsubscribe", "ohlc")]


def test_nothing_is_opened_before_it_is_needed() -> None:
    async def main() -> None:
        async with client(server):
            await asyncio.sleep(0)

    with exchange(serves) as server:
        run(main())
    assert server.accepted == 0


def test_public_and_private_feeds_have_a_connection_each() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            await updates(kraken.stream("openOrders"), 1)
            await updates(kraken.stream("ticker", "XBT/USD"), 1)

    with exchange(serves, streams(OPEN_ORDERS)) as server:
        run(main())
    assert [connection.path for connection in server.connections] == ["/auth", "/"]
    assert server.messages("/auth")[0]["subscription"]["token"] == "a-token-for-a-test"


def test_a_late_reader_of_a_book_begins_with_the_book_at_hand_and_asks_nobody() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            first = kraken.stream("book", "XBT/USD")
            events = await updates(first, 2)
            late = await take(kraken.stream("book", "XBT/USD"), 2)
            assert names(late) == ["subscribed", "update"]
            update = late[-1]
            assert isinstance(update, krakenws.Update)
            assert (update.snapshot, update.trust, update.frame) == (True, "verified", b"")
            (levels,) = update.rows()
            assert isinstance(events[-1], krakenws.Update)
            (last,) = events[-1].rows()
            assert levels.asks[0] == krakenws.Level("64001.10000", "7")
            assert levels.checksum == last.checksum

    with exchange(serves) as server:
        run(main())
    assert asked(server) == [("subscribe", "book")]


def test_the_last_reader_of_a_feed_unsubscribes_and_no_other() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            async with kraken.stream("ticker", "XBT/USD") as one, kraken.stream("ticker", "XBT/USD") as other:
                await updates(one, 1)
                one.close()
                await kraken.ping()
                assert asked(server) == [("subscribe", "ticker")]
                assert names(await take(other, 1)) == ["connected"]
            await wait_until(lambda: asked(server)[1:] == [("unsubscribe", "ticker")])

    with exchange(serves) as server:
        run(main())


def test_a_loop_that_is_left_unsubscribes_without_a_word() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            async for event in kraken.stream("ticker", "XBT/USD"):
                if isinstance(event, krakenws.Update):
                    break
            await wait_until(lambda: asked(server)[1:] == [("unsubscribe", "ticker")])
            assert names(await updates(kraken.stream("ticker", "XBT/USD"), 1))[-1] == "update"

    with exchange(serves) as server:
        run(main())


def test_a_task_that_is_cancelled_while_it_waits_unsubscribes() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            seen = asyncio.Event()
            stream = kraken.stream("ticker", "XBT/USD")  # held here, too

            async def read() -> None:
                async for event in stream:
                    if isinstance(event, krakenws.Update):
                        seen.set()

            task = asyncio.create_task(read())
            await seen.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await wait_until(lambda: asked(server)[1:] == [("unsubscribe", "ticker")])

    with exchange(serves) as server:
        run(main())


def test_a_stream_is_not_told_that_the_one_before_it_was_unsubscribed() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            before = kraken.stream("ticker", "XBT/USD")
            await updates(before, 1)
            before.close()
            after = kraken.stream("ticker", "XBT/USD")
            assert names(await updates(after, 1)) == ["subscribed", "update"]

    with exchange(serves) as server:
        run(main())


def test_next_gives_nothing_when_nothing_comes_and_the_stream_goes_on() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            stream = kraken.stream("ticker", "XBT/USD")
            assert names(await updates(stream, 1))[-1] == "update"
            assert await stream.next(0.02) is None
            other = kraken.stream("ticker", "XBT/USD", "ETH/EUR")
            event = await other.next(10)
            assert event is not None
            assert event.name == "subscribed"

    with exchange(serves) as server:
        run(main())


def test_a_refused_pair_is_told_and_the_others_stream_on() -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="subscribe")
        client.send(refusal(asked, "DOG/CAT", "Currency pair not supported DOG/CAT"))
        client.send(*acks({**asked, "pair": ["XBT/USD"]}), TICKER)
        client.hold()

    async def main() -> None:
        async with client(server) as kraken:
            told = await updates(kraken.stream("ticker", "DOG/CAT", "XBT/USD"), 1)
            assert names(told) == ["connected", "status", "refused", "subscribed", "update"]

    with exchange(script) as server:
        run(main())


def test_a_stream_of_nothing_but_refused_pairs_ends_with_the_refusal_and_the_connection_stays() -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="subscribe")
        client.send(refusal(asked, "DOG/CAT", "Currency pair not supported DOG/CAT"))
        client.send(*acks(client.expect(event="subscribe")), TICKER)
        client.hold()

    async def main() -> None:
        async with client(server) as kraken:
            stream = kraken.stream("ticker", "DOG/CAT")
            assert names(await take(stream, 3))[-1] == "refused"
            with pytest.raises(krakenws.RequestRejected, match="Currency pair not supported DOG/CAT"):
                await anext(stream)
            with pytest.raises(StopAsyncIteration):
                await anext(stream)
            await updates(kraken.stream("ticker", "XBT/USD"), 1)

    with exchange(script) as server:
        run(main())
    assert len(server.connections) == 1


def test_words_that_do_not_fit_the_catalog_open_nothing() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            for words, params, sentence in (
                (("tikcer", "XBT/USD"), {}, "there is no tikcer; did you mean ticker"),
                (("book", "XBT/USD"), {"depth": 42}, "depth=42 is not offered"),
                (("ticker",), {}, "ticker needs a pair"),
                (("ticker", "XBT/USD"), {"api": 2}, "there is no ticker in API v2: it is one of v1"),
                (("ticker", "XBTUSD"), {}, "did you mean XBT/USD"),
                (("ticker", "XBT/USD"), {"depth": 10}, "has no parameter depth"),
                (
                    ("addOrder",),
                    {"pair": "XBT/USD", "type": "buy", "ordertype": "market", "volume": 1},
                    "is a command",
                ),
                (("ticker", "XBT/USD"), {"overflow": "spill"}, "overflow='spill' is not offered"),
                (("ticker", "XBT/USD"), {"max_events": 0}, "max_events=0 is below 1"),
            ):
                with pytest.raises(krakenws.UsageError, match=sentence):
                    kraken.stream(*words, **params)

    with exchange(serves) as server:
        run(main())
    assert server.accepted == 0


def test_one_feed_is_not_asked_for_twice_with_different_parameters() -> None:
    async def main() -> None:
        async with client(server) as kraken, kraken.stream("openOrders"):
            with pytest.raises(krakenws.UsageError, match="openOrders is open with other parameters"):
                kraken.stream("openOrders", ratecounter=True)

    with exchange(serves, acknowledges) as server:
        run(main())


def test_a_connection_that_cannot_be_made_ends_the_streams_that_wait_for_it() -> None:
    async def main() -> None:
        async with krakenws.connect(public_url="ws://127.0.0.1:9") as kraken:
            one, other = kraken.stream("ticker", "XBT/USD"), kraken.stream("trade", "XBT/USD")
            for stream in (one, other):
                assert names(await take(stream, 1)) == ["disconnected"]
                with pytest.raises(krakenws.ConnectionFailed, match=r"could not connect to 127\.0\.0\.1:9"):
                    await anext(stream)
            with pytest.raises(krakenws.ConnectionFailed):
                await kraken.ping()

    run(main())


def test_a_connection_that_is_lost_while_nobody_needs_it_is_made_anew_when_somebody_does() -> None:
    def ends(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="ping")
        client.send({"event": "pong", "reqid": asked["reqid"]})
        client.end()

    async def main() -> None:
        async with client(server) as kraken:
            await kraken.ping()
            await wait_until(server.connections[0].gone.is_set)
            assert names(await updates(kraken.stream("ticker", "XBT/USD"), 1))[-1] == "update"

    with exchange([ends, serves]) as server:
        run(main())
    assert len(server.connections) == 2


def test_a_client_is_opened_once() -> None:
    async def main() -> None:
        kraken = client(server)
        async with kraken:
            pass
        with pytest.raises(krakenws.UsageError, match="opened once: make another one"):
            await kraken.__aenter__()

    with exchange() as server:
        run(main())


def test_closing_the_client_ends_its_streams_and_leaves_nothing_open() -> None:
    async def main() -> list[str]:
        async with client(server) as kraken:
            stream = kraken.stream("ticker", "XBT/USD")
            reader = asyncio.create_task(_all(stream))
            await wait_until(lambda: asked(server))
            await kraken.ping()
        told = await reader
        with pytest.raises(krakenws.UsageError, match="closed"):
            kraken.stream("ticker", "XBT/USD")
        return names(told)

    async def _all(stream: krakenws.Stream[Any]) -> list[Any]:
        return [event async for event in stream]

    with exchange(serves) as server:
        assert run(main()) == [*LIFE, "update"]
        assert server.connections[0].gone.wait(10)
        assert server.connections[0].close_code == 1000
    gc.collect()  # a socket that was left open would warn, which is an error here


def test_credentials_that_cannot_be_used_are_called_what_the_caller_calls_them() -> None:
    async def main(credentials: dict[str, Any], said: str) -> None:
        urls: dict[str, Any] = {"private_url": f"{server.url}/auth", "rest_url": "http://127.0.0.1:9"}
        async with krakenws.connect(**urls, **credentials) as kraken:
            with pytest.raises(krakenws.CredentialsError, match=said) as caught:
                await updates(kraken.stream("openOrders"), 1)
        assert not any(secret in str(caught.value) for secret in credentials.values())

    with exchange(serves) as server:
        run(main({"token": "two words"}, "^token= holds no token"))
        run(main({"api_key": "a-public-key", "api_secret": "no base64!"}, "api_key= and api_secret="))


def test_a_client_is_used_inside_its_block() -> None:
    async def main() -> None:
        kraken = krakenws.connect()
        with pytest.raises(krakenws.UsageError, match="async with"):
            kraken.stream("ticker", "XBT/USD")

    run(main())


def test_what_heals_is_logged_and_nothing_is_printed(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    def ends(client: Connection) -> None:
        client.serve(TICKER)
        client.end()

    async def main() -> None:
        async with client(server) as kraken:
            await updates(kraken.stream("ticker", "XBT/USD"), 2)

    with exchange([ends, streams(TICKER)]) as server, caplog.at_level(logging.INFO, "krakenws"):
        run(main())
    said = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert said == ["public connection lost: the other side ended the connection; connecting again now"]
    assert capfd.readouterr() == ("", "")
    assert "a-token-for-a-test" not in caplog.text


def test_the_working_directory_may_have_been_deleted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with client(server) as kraken:
            await updates(kraken.stream("ticker", "XBT/USD"), 1)

    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with exchange(serves) as server:
        run(main())


def test_a_list_of_pairs_that_could_not_be_renewed_is_said_to_be_old(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> list[str]:
        async with krakenws.connect(rest_url=nobody) as kraken:
            return await kraken.pairs("XBT/US?")

    nobody = "http://127.0.0.1:1"
    store_pairs(tmp_path / "cache" / "krakenws", url=nobody, age_s=30 * 86400.0)
    assert run(main()) == ["XBT/USD"]
    (said,) = caplog.messages
    assert said.startswith("the list of pairs is the one of ")


def test_an_event_loop_that_is_closed_is_no_trouble_to_a_stream_that_outlives_it() -> None:
    async def main() -> krakenws.Stream[Any]:
        async with client(server) as kraken:
            stream = kraken.stream("ticker", "XBT/USD")
            await updates(stream, 1)
            return stream

    with exchange(serves) as server:
        stream = run(main())
    del stream
    gc.collect()
