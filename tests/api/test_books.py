"""Live books: prices from verified data or none at all."""

from __future__ import annotations

import pytest

import krakenws
from tests.support.api import client, run, wait_until
from tests.support.scripts import Ladder, streams
from tests.support.server import Connection, acks, exchange, refusal


def serves_a_book(client: Connection) -> None:
    ladder = Ladder()
    client.serve(ladder.snapshot(), ladder.update("64001.10000", "7"))
    client.hold()


def test_a_book_shows_its_levels_best_first_once_a_checksum_has_proved_it() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            book = kraken.book("XBT/USD")
            assert (book.best_bid, book.best_ask, book.bids(), book.asks()) == (None, None, [], [])
            assert repr(book) == "<LiveBook XBT/USD, not trusted>"
            await book.ready(10)
            assert book.trusted
            assert book.best_ask == krakenws.Level("64001.10000", "7") == book.asks(1)[0]
            assert book.best_bid == krakenws.Level("64000.10000", "2.00000000") == book.bids(1)[0]
            assert [len(book.bids()), len(book.asks()), len(book.asks(3))] == [10, 10, 3]
            assert repr(book) == "<LiveBook XBT/USD 64000.10000 / 64001.10000>"
            assert book.received_ns > 0

    with exchange(serves_a_book) as server:
        run(main())


def test_a_snapshot_alone_proves_nothing() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            async for event in kraken.stream("book", "XBT/USD"):
                if isinstance(event, krakenws.Update):
                    break
            with pytest.raises(TimeoutError):
                await kraken.book("XBT/USD").ready(0.05)

    with exchange(streams(Ladder().snapshot())) as server:
        run(main())


def test_a_book_has_no_prices_from_a_wrong_checksum_until_it_is_healed() -> None:
    def script(client: Connection) -> None:
        ladder = Ladder()
        client.serve(ladder.snapshot(), ladder.update("64001.10000", "7"))
        pong = {**client.expect(event="ping"), "event": "pong"}
        client.send(ladder.update("64002.10000", "8", checksum="1"), pong)
        client.expect(event="unsubscribe")
        again = client.expect(event="subscribe")
        pong = {**client.expect(event="ping"), "event": "pong"}
        client.send(pong, *acks(again), ladder.snapshot())
        client.send(ladder.update("64003.10000", "9"))
        client.hold()

    async def main() -> None:
        async with client(server) as kraken, kraken.book("XBT/USD") as book:
            assert book.trusted
            await kraken.ping()
            await wait_until(lambda: not book.trusted)
            assert (book.best_bid, book.asks()) == (None, [])
            await kraken.ping()
            await book.ready(10)
            assert book.asks(3)[-1] == krakenws.Level("64003.10000", "9")

    with exchange(script) as server:
        run(main())


def test_a_lost_connection_takes_the_prices_and_a_new_one_brings_them_back() -> None:
    def ends(client: Connection) -> None:
        ladder = Ladder()
        client.serve(ladder.snapshot(), ladder.update("64001.10000", "7"))
        client.expect(event="ping")
        client.end()

    async def main() -> None:
        async with client(server) as kraken, kraken.book("XBT/USD") as book:
            with pytest.raises(krakenws.ConnectionFailed):
                await kraken.ping()
            assert not book.trusted
            await book.ready(10)
            assert book.best_ask is not None

    with exchange([ends, serves_a_book]) as server:
        run(main())


def test_changes_for_which_there_was_no_time_are_one_change() -> None:
    def script(client: Connection) -> None:
        ladder = Ladder()
        client.serve(ladder.snapshot(), ladder.update("64001.10000", "7"))
        pong = {**client.expect(event="ping"), "event": "pong"}
        client.send_together(*(ladder.update("64001.10000", str(qty)) for qty in range(1, 100)))
        client.send(pong)
        client.send({**client.expect(event="ping"), "event": "pong"}, ladder.update("64001.10000", "200"))
        client.hold()

    async def changes() -> list[str]:
        seen = []
        async with client(server) as kraken, kraken.book("XBT/USD") as book:
            await book.changed()
            await kraken.ping()
            await book.changed()
            seen.append(_ask(book))
            await kraken.ping()
            while _ask(book) != "200":
                await book.changed()
            seen.append(_ask(book))
            return seen

    with exchange(script) as server:
        assert run(changes()) == ["99", "200"]


def _ask(book: krakenws.LiveBook) -> str:
    assert book.best_ask is not None
    return book.best_ask.qty


def test_a_book_is_iterated_over_as_it_changes() -> None:
    async def main() -> None:
        async with client(server) as kraken, kraken.book("XBT/USD") as book:
            async for _ in book:
                assert _ask(book) == "7"
                break

    with exchange(serves_a_book) as server:
        run(main())


def test_a_book_that_nobody_holds_is_unsubscribed() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            await kraken.book("XBT/USD").ready()
            await wait_until(lambda: server.messages()[-1]["event"] == "unsubscribe")

    with exchange(serves_a_book) as server:
        run(main())


def test_a_refused_pair_is_an_error_where_the_book_is_awaited() -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="subscribe")
        client.send(refusal(asked, "DOG/CAT", "Currency pair not supported DOG/CAT"))
        client.hold()

    async def main() -> None:
        async with client(server) as kraken:
            with pytest.raises(krakenws.RequestRejected, match="not supported DOG/CAT"):
                async with kraken.book("DOG/CAT"):
                    pass

    with exchange(script) as server:
        run(main())


def test_a_book_that_is_closed_has_no_prices_and_unsubscribes() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            async with kraken.book("XBT/USD") as book:
                pass
            assert book.best_bid is None
            with pytest.raises(krakenws.ConnectionFailed, match="is closed"):
                await book.changed()
            assert [_ async for _ in book] == []
            await wait_until(lambda: server.messages()[-1]["event"] == "unsubscribe")

    with exchange(serves_a_book) as server:
        run(main())


def test_a_book_without_verification_is_refused() -> None:
    async def main() -> None:
        async with krakenws.connect(options=krakenws.Options(verify=False)) as kraken:
            with pytest.raises(krakenws.UsageError, match=r"Options\.verify"):
                kraken.book("XBT/USD")

    run(main())
