"""Another program has locked the journal: the event loop goes on, and nothing leaves without its row."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

import krakenws
from krakenws.account import open_journal
from krakenws.core.catalog import PRIVATE
from krakenws.core.v1 import V1
from krakenws.net import aiotrading, ledger
from tests.support.api import client, run, updates, wait_until
from tests.support.command import DEADLINE_S
from tests.support.locking import WAYS, Market, locked
from tests.support.scripts import accepted, accepts
from tests.support.server import Connection, exchange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from krakenws import Client, Stream
    from krakenws.core.requests import Request

ORDER: dict[str, Any] = {"type": "buy", "ordertype": "limit", "volume": "0.01", "price": "9000"}


@pytest.fixture(autouse=True)
def journal(home: Path) -> Path:
    """The file, made by an earlier run."""
    journal = open_journal()
    journal.pending()
    journal.close()
    return home / "state" / "krakenws" / "state.db"


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine a test may hold the lock for longer than orders wait."""
    for module in (aiotrading, ledger):
        monkeypatch.setattr(module, "PATIENCE_S", DEADLINE_S)


async def lives(market: Market, stream: Stream[Any]) -> None:
    """Have a stream deliver, update by update."""
    for _ in range(20):
        market.tick()
        await updates(stream, 1)


@pytest.fixture
def market() -> Iterator[Market]:
    market = Market()
    yield market
    market.close()


def states() -> list[tuple[str, str]]:
    journal = open_journal()
    try:
        return [(row.method, row.state) for row in journal.last(100)]
    finally:
        journal.close()


def place(kraken: Client, **more: Any) -> asyncio.Task[krakenws.OrderAdded]:
    return asyncio.create_task(kraken.add_order("XBT/USD", **ORDER, **more))


def put_off(kraken: Client) -> list[Request]:
    """Return what waits for the journal."""
    return kraken._shell._links[V1.api, PRIVATE].protocol.held


async def turns() -> None:
    """Let the loop do what it can do now, timers of the lock included."""
    for _ in range(5):
        await asyncio.sleep(ledger.AGAIN_S)


@pytest.mark.parametrize("how", WAYS)
def test_an_order_waits_for_the_lock_and_streams_do_not(journal: Path, market: Market, how: str) -> None:
    async def main() -> None:
        async with client(server) as kraken:
            stream = kraken.stream("ticker", "XBT/USD")
            with locked(journal, how) as release:
                asked = place(kraken)
                cancel = asyncio.create_task(kraken.cancel_all())
                await lives(market, stream)
                if how == "for writing":  # else they wait to look into it
                    await wait_until(lambda: len(put_off(kraken)) == 2)
                await turns()
                await lives(market, stream)
                assert not server.sent("addOrder")
                assert not server.sent("cancelAll")
                assert not asked.done()
                release()
                assert (await asked).order_id == "OGTT3Y-C6I3P-XRI6HX"
                await cancel
            market.close()

    with exchange(market.script, accepts) as server:
        run(main())
    assert sorted(states()) == [("addOrder", "accepted"), ("cancelAll", "accepted")]


@pytest.mark.parametrize("how", WAYS)
def test_an_order_is_refused_and_never_sent_when_the_lock_stays(
    journal: Path, market: Market, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (aiotrading, ledger):
        monkeypatch.setattr(module, "PATIENCE_S", 0.3)

    async def main() -> None:
        async with client(server) as kraken:
            stream = kraken.stream("ticker", "XBT/USD")
            with locked(journal, how) as release:
                asked = place(kraken)
                await lives(market, stream)
                with pytest.raises(krakenws.SinkError, match=r"state\.db is locked by another") as no:
                    await asked
                assert no.value.retryable
                await lives(market, stream)
                release()
            await kraken.cancel_all()  # behind all that left
            market.close()

    with exchange(market.script, accepts) as server:
        run(main())
    assert not server.sent("addOrder")
    assert states() == [("cancelAll", "accepted")]


def test_what_is_put_off_leaves_in_its_order_and_without_what_was_cancelled_meanwhile(journal: Path) -> None:
    async def main() -> None:
        async with client(server) as kraken:
            await kraken.cancel_all_orders_after(60)  # the connection stands
            with locked(journal) as release:
                asked = [place(kraken, userref=number) for number in (1, 2, 3)]
                await wait_until(lambda: len(put_off(kraken)) == 3)
                last = asyncio.create_task(kraken.cancel_all())
                await wait_until(lambda: len(put_off(kraken)) == 4)
                asked[1].cancel()
                await asyncio.wait([asked[1]])
                release()
                await asyncio.gather(last, *(one for one in asked if one is not asked[1]))

    with exchange(private=accepts) as server:
        run(main())
    sent = [one.get("userref") or one["event"] for one in server.messages("/auth")]
    assert [one for one in sent if one in {"1", "2", "3", "cancelAll"}] == ["1", "3", "cancelAll"]
    assert len(states()) == 4


def test_a_verdict_is_told_at_once_and_written_once_the_lock_is_gone(journal: Path) -> None:
    answer = threading.Event()

    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="addOrder")
        assert answer.wait(DEADLINE_S)
        client.send(accepted(asked))
        client.hold()

    async def main() -> None:
        async with client(server) as kraken:
            asked = place(kraken, intent="monday")
            await wait_until(lambda: server.sent("addOrder"))
            with locked(journal) as release:
                answer.set()
                first = await asked
                again = await place(kraken, intent="monday")
                assert (again.order_id, again.found) == (first.order_id, "journal")
                assert states() == [("addOrder", "open")]
                release()
            await wait_until(lambda: states() == [("addOrder", "accepted")])

    with exchange(private=script) as server:
        run(main())
    assert len(server.sent("addOrder")) == 1


def test_a_verdict_that_cannot_be_written_before_the_client_is_closed_stays_open(
    journal: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = threading.Event()

    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="addOrder")
        assert answer.wait(DEADLINE_S)
        client.send(accepted(asked))
        client.hold()

    async def main() -> None:
        async with client(server) as kraken:
            asked = place(kraken)
            await wait_until(lambda: server.sent("addOrder"))
            holding.append(holder := locked(journal))
            holder.__enter__()
            answer.set()
            await asked

    holding: list[Any] = []
    with exchange(private=script) as server:
        run(main())
    holding[0].__exit__(None, None, None)
    assert "the journal could not be told that addOrder was accepted" in caplog.text
    assert states() == [("addOrder", "open")]
