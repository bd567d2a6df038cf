"""Readers that are slower than the data: what is bounded, what waits, what is dropped and told."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

import krakenws
from tests.support.api import client, names, run, wait_until
from tests.support.scripts import TRADE, Ladder
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from collections.abc import Callable

    from krakenws import Event, Stream, Update

FLOOD = 20_000
BOUND = 100
ONE_READ = 65536 // len(TRADE) + 1
"""What one read of the socket may bring on top of the bound."""


class Flooding:
    """An exchange that sends more than any buffer takes, and knows how far it came."""

    def __init__(self, *frames: str, at_once: int = 10) -> None:
        self.frames = frames
        self._at_once = at_once
        self.sent = 0
        self.done = threading.Event()

    def __call__(self, client: Connection) -> None:
        client.narrow(65536)
        client.greet()
        client.send(*acks(client.expect(event="subscribe")))
        for at in range(0, len(self.frames), self._at_once):
            client.send_together(*self.frames[at : at + self._at_once])
            self.sent = at + self._at_once
        self.done.set()
        while True:
            asked = client.expect()
            if asked["event"] == "ping":
                client.send({"event": "pong", "reqid": asked["reqid"]})


def numbered(count: int) -> list[str]:
    return [TRADE.replace("0.01000000", f"{number}.0") for number in range(count)]


def numbers(events: list[Update | Event]) -> list[int]:
    return [int(event.rows()[0].qty[:-2]) for event in events if isinstance(event, krakenws.Update)]


async def until(stream: Stream[Any], over: Callable[[list[Update | Event]], bool]) -> list[Update | Event]:
    told: list[Update | Event] = []
    while not over(told):
        told.append(await anext(stream))
    return told


def test_block_stops_the_exchange_and_loses_nothing() -> None:
    flooding = Flooding(*numbered(FLOOD))

    async def main() -> list[Update | Event]:
        async with client(server, quiet_s=0.1, dead_s=0.1) as kraken:
            stream = kraken.stream("trade", "XBT/USD", max_events=BOUND)
            await wait_until(lambda: stream.waiting_events > BOUND)
            held = -1
            while held != flooding.sent:  # the buffers of the system fill up, too
                held = flooding.sent
                await asyncio.sleep(0.3)
            assert not flooding.done.is_set()
            assert stream.waiting_events <= BOUND + ONE_READ
            return await until(stream, lambda told: names(told).count("update") == FLOOD)

    with exchange(flooding) as server:
        told = run(main(), 60)
    assert numbers(told) == list(range(FLOOD))
    assert "disconnected" not in names(told)


def test_a_wait_that_is_worth_a_word_is_told() -> None:
    flooding = Flooding(*numbered(FLOOD))

    async def main() -> list[Update | Event]:
        async with client(server) as kraken:
            stream = kraken.stream("trade", "XBT/USD", max_events=BOUND)
            await wait_until(lambda: stream.waiting_events > BOUND)
            await asyncio.sleep(1.1)
            return await until(stream, lambda told: "lagging" in names(told))

    with exchange(flooding) as server:
        lagging = run(main(), 60)[-1]
    assert isinstance(lagging, krakenws.Lagging)
    assert lagging.policy == "block"
    assert lagging.blocked_s is not None
    assert lagging.blocked_s >= 1.0


def test_a_full_stream_that_is_closed_keeps_no_other_one_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("krakenws.net.aiofeeds._NOTICEABLE_S", 0.0)  # however short: it is told
    flooding = Flooding(*numbered(FLOOD))

    async def main() -> None:
        async with client(server) as kraken:
            full = kraken.stream("trade", "XBT/USD", max_events=BOUND)
            other = kraken.stream("trade", "XBT/USD", max_events=2 * FLOOD)
            await wait_until(lambda: full.waiting_events > BOUND)
            full.close()
            await wait_until(lambda: other.waiting_events >= FLOOD)

    with exchange(flooding) as server:
        run(main(), 60)


def test_who_awaits_an_answer_does_not_wait_for_his_own_full_stream() -> None:
    flooding = Flooding(*numbered(FLOOD))

    async def main() -> None:
        async with client(server, quiet_s=0.1, dead_s=0.1) as kraken:
            stream = kraken.stream("trade", "XBT/USD", max_events=BOUND)
            await wait_until(lambda: stream.waiting_events > BOUND)
            await asyncio.sleep(0.5)
            await kraken.ping()
            stream.close()
            await kraken.ping()
            assert len(server.connections) == 1

    with exchange(flooding) as server:
        run(main(), 60)


def test_a_book_is_not_current_while_a_full_stream_keeps_its_connection_from_being_read(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def script(client: Connection) -> None:
        client.greet()
        ladder = Ladder()
        client.send(*acks(client.expect(event="subscribe")), ladder.snapshot())
        client.send(ladder.update("64001.10000", "7"))
        client.send(*acks(client.expect(event="subscribe")), *numbered(2 * BOUND))
        client.hold()

    async def main() -> None:
        async with client(server) as kraken, kraken.book("XBT/USD") as book:
            assert book.trusted
            forgotten = kraken.stream("trade", "XBT/USD", max_events=BOUND)
            await wait_until(lambda: not book.trusted)
            assert (book.best_bid, book.best_ask, book.bids(), book.asks()) == (None, None, [], [])
            (said,) = [record.message for record in caplog.records if "is not read" in record.message]
            assert said.endswith("a full stream: trade XBT/USD")
            await until(forgotten, lambda told: "lagging" in names(told))
            await book.ready(20)
            assert book.best_ask == krakenws.Level("64001.10000", "7")

    with exchange(script) as server:
        run(main(), 60)


@pytest.mark.parametrize("at_once", [10, 3 * BOUND])
def test_drop_leaves_out_what_is_too_much_and_counts_every_message(at_once: int) -> None:
    flooding = Flooding(*numbered(FLOOD), at_once=at_once)

    async def main() -> list[Update | Event]:
        async with client(server) as kraken:
            stream = kraken.stream("trade", "XBT/USD", overflow="drop", max_events=BOUND)
            await wait_until(flooding.done.is_set)
            await kraken.ping()  # everything has come before the pong
            assert stream.waiting_events <= BOUND
            return await until(stream, lambda told: "lagging" in names(told))

    with exchange(flooding) as server:
        told = run(main(), 60)
    lagging = told[-1]
    assert isinstance(lagging, krakenws.Lagging)
    kept = numbers(told)
    assert kept == list(range(len(kept)))
    assert len(kept) + (lagging.dropped_total or 0) == FLOOD
    assert lagging.dropped == [{"channel": "trade", "symbol": "XBT/USD", "count": FLOOD - len(kept)}]


def test_a_dropped_book_goes_on_behind_a_gap_from_a_snapshot_that_verifies() -> None:
    ladder = Ladder()
    frames = [ladder.snapshot(), *(ladder.update("64001.10000", f"{n}.5") for n in range(1, 3000))]
    flooding = Flooding(*frames)

    async def main() -> list[Update | Event]:
        async with client(server) as kraken:
            stream = kraken.stream("book", "XBT/USD", overflow="drop", max_events=BOUND)
            await wait_until(flooding.done.is_set)
            await kraken.ping()
            return await until(stream, lambda told: names(told)[-3:] == ["lagging", "gap", "update"])

    with exchange(flooding) as server:
        *_, gap, update = run(main(), 60)
    assert isinstance(gap, krakenws.Gap)
    assert (gap.channel, gap.symbol, gap.cause) == ("book", "XBT/USD", "lagging")
    assert isinstance(update, krakenws.Update)
    assert (update.snapshot, update.trust) == (True, "verified")
    (levels,) = update.rows()
    assert levels.asks[0] == krakenws.Level("64001.10000", "2999.5")
    assert levels.checksum == int(ladder.checksum)


def test_raise_ends_the_stream_behind_what_it_had_and_no_other_one() -> None:
    flooding = Flooding(*numbered(FLOOD))

    async def main() -> None:
        async with client(server) as kraken:
            impatient = kraken.stream("trade", "XBT/USD", overflow="raise", max_events=BOUND)
            patient = kraken.stream("trade", "XBT/USD", max_events=2 * FLOOD)
            await wait_until(flooding.done.is_set)
            await kraken.ping()
            with pytest.raises(krakenws.SinkError, match="read too slowly: 100 events wait"):
                await until(impatient, lambda _: False)
            told = await until(patient, lambda told: names(told).count("update") == FLOOD)
            assert numbers(told) == list(range(FLOOD))

    with exchange(flooding) as server:
        run(main(), 60)


def test_raise_works_for_the_only_reader_of_a_connection_as_well() -> None:
    flooding = Flooding(*numbered(FLOOD))

    async def main() -> None:
        async with client(server) as kraken:
            stream = kraken.stream("trade", "XBT/USD", overflow="raise", max_events=10 * ONE_READ)
            await wait_until(flooding.done.is_set)
            with pytest.raises(krakenws.SinkError, match="read too slowly"):
                await until(stream, lambda _: False)
            await kraken.ping()
            assert len(server.connections) == 1

    with exchange(flooding) as server:
        run(main(), 60)


def test_a_batch_is_all_that_has_come() -> None:
    flooding = Flooding(*numbered(500))

    async def main() -> None:
        async with client(server) as kraken:
            stream = kraken.stream("trade", "XBT/USD")
            await wait_until(flooding.done.is_set)
            await kraken.ping()
            assert numbers(await stream.batch()) == list(range(500))
            assert stream.waiting_events == 0
            stream.close()
            assert await stream.batch() == []

    with exchange(flooding) as server:
        run(main(), 60)


def test_memory_is_flat_however_long_a_stream_is_read() -> None:
    import tracemalloc

    flooding = Flooding(*numbered(FLOOD))

    async def main() -> int:
        grown = 0
        async with client(server) as kraken:
            stream = kraken.stream("trade", "XBT/USD")
            for at in range(FLOOD):
                while (await anext(stream)).name != "update":
                    pass
                if at == FLOOD // 4:
                    tracemalloc.start()
            grown, _ = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        return grown

    with exchange(flooding) as server:
        assert run(main(), 60) < 1 << 20
