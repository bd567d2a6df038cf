"""Trading through the Python API: each request is sent once, and ends as a typed verdict or an exception."""

from __future__ import annotations

import asyncio
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

import krakenws
from krakenws.record import replace
from tests.api.test_books import serves_a_book
from tests.support.api import client, run, updates, wait_until
from tests.support.command import DEADLINE_S
from tests.support.pairs import ROWS, store_pairs
from tests.support.scripts import OWN_TRADES, Ladder, accepts, answers, refuses
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from pathlib import Path

    from krakenws import Client

    Call = Callable[[Client], Awaitable[Any]]

ORDER: dict[str, Any] = {"type": "buy", "ordertype": "limit", "volume": "0.01", "price": Decimal("9000.50")}


def never_answers(client: Connection) -> None:
    client.greet()
    client.hold()


def vanishes(client: Connection) -> None:
    client.greet()
    client.expect(event="addOrder")
    client.end()


async def order(kraken: Client) -> Any:
    return await kraken.add_order("xbt/usd", **ORDER)


CLOSING: dict[str, Any] = {"close_ordertype": "limit", "close[price]": 11000}
CALLS: dict[str, tuple[Call, dict[str, Any]]] = {
    "addOrder": (
        lambda kraken: kraken.add_order(
            "btc/usd", **ORDER, oflags=["post", "fciq"], validate=True, userref=7, **CLOSING
        ),
        {
            "pair": "XBT/USD",
            "type": "buy",
            "ordertype": "limit",
            "volume": "0.01",
            "price": "9000.50",
            "oflags": "post,fciq",
            "userref": "7",
            "validate": "true",
            "close[ordertype]": "limit",
            "close[price]": "11000",
        },
    ),
    "amendOrder": (
        lambda kraken: kraken.amend_order(txid="OGTT3Y-C6I3P-XRI6HX", limit_price="7600", post_only=True),
        {"txid": "OGTT3Y-C6I3P-XRI6HX", "limit_price": "7600", "post_only": True},
    ),
    "editOrder": (
        lambda kraken: kraken.edit_order(
            "OGTT3Y-C6I3P-XRI6HX", "XBT/USD", price=Decimal("1E+4"), volume=2, newuserref=9
        ),
        {
            "orderid": "OGTT3Y-C6I3P-XRI6HX",
            "pair": "XBT/USD",
            "price": "10000",
            "volume": "2",
            "newuserref": "9",
        },
    ),
    "cancelOrder": (
        lambda kraken: kraken.cancel_order(userref=[1771]),
        {"txid": ["1771"]},
    ),
    "cancelAll": (lambda kraken: kraken.cancel_all(), {}),
    "cancelAllOrdersAfter": (lambda kraken: kraken.cancel_all_orders_after(60), {"timeout": 60}),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_each_method_sends_its_command_in_the_exchanges_words(name: str) -> None:
    call, fields = CALLS[name]

    async def main() -> Any:
        async with client(server) as kraken:
            return await call(kraken)

    with exchange(private=accepts) as server:
        verdict = run(main())
    (sent,) = server.sent(name)
    assert sent.pop("token") == "a-token-for-a-test"
    assert sent.pop("reqid") == verdict.req_id
    assert sent == {"event": name, **fields}
    assert isinstance(verdict, krakenws.Verdict)


def test_a_private_connection_in_use_is_kept_by_a_subscription_until_the_user_has_one() -> None:
    """Source: v1.md section 3: without a private subscription the exchange closes the connection."""

    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="addOrder")
        client.send({"event": "addOrderStatus", "status": "ok", "reqid": asked["reqid"], "txid": "O"})
        asked = client.expect(event="subscribe")
        assert asked["subscription"].pop("token")
        assert asked["subscription"] == {"name": "ownTrades", "snapshot": False}
        client.send(*acks(asked), OWN_TRADES)
        asked = client.expect(event="unsubscribe")
        client.send(*({**ack, "status": "unsubscribed"} for ack in acks(asked)))
        client.send(*acks(client.expect(event="subscribe")), OWN_TRADES)
        client.hold()

    async def main() -> None:
        async with client(server) as kraken:
            await order(kraken)
            await wait_until(lambda: server.sent("subscribe"))
            told = await updates(kraken.stream("ownTrades"), 1)
            assert isinstance(told[-1], krakenws.Update)
            assert told[-1].snapshot
            assert len(server.connections) == 1

    with exchange(private=script) as server:
        run(main())


def test_a_verdict_has_what_the_exchange_said() -> None:
    async def main() -> krakenws.OrderAdded:
        async with client(server) as kraken:
            return await kraken.add_order("XBT/USD", **ORDER)

    with exchange(private=answers({"txid": "OGTT3Y-C6I3P-XRI6HX", "descr": "buy 0.01", "news": 1})) as server:
        verdict = run(main())
    assert (verdict.order_id, verdict.descr) == ("OGTT3Y-C6I3P-XRI6HX", "buy 0.01")
    assert verdict.result == {"order_id": "OGTT3Y-C6I3P-XRI6HX", "descr": "buy 0.01", "news": 1}
    assert verdict.received_ns > 0
    assert verdict.rate == {"symbol": "XBT/USD", "counter": 1.0}


def test_an_order_that_never_left_is_not_in_the_rate_counter() -> None:
    go_on = threading.Event()

    def script(client: Connection) -> None:
        go_on.wait(DEADLINE_S)
        accepts(client)

    async def main() -> krakenws.OrderAdded:
        async with client(server) as kraken:
            unwanted = asyncio.create_task(order(kraken))
            await wait_until(lambda: kraken._shell._awaited)
            unwanted.cancel()
            await asyncio.gather(unwanted, return_exceptions=True)
            go_on.set()
            return await kraken.add_order("XBT/USD", **ORDER)

    with exchange(private=script) as server:
        verdict = run(main())
    assert len(server.sent("addOrder")) == 1
    assert verdict.rate == {"symbol": "XBT/USD", "counter": 1.0}


def test_a_cancel_of_two_orders_is_two_requests_and_one_verdict() -> None:
    """v1 would answer once for each order of one request, without naming it (quirk O5)."""

    async def main() -> krakenws.OrdersCancelled:
        async with client(server) as kraken:
            return await kraken.cancel_order("OADMSD-7AGC3-IMB46A", userref=1771)

    with exchange(private=accepts) as server:
        verdict = run(main())
    assert (verdict.count, verdict.orders) == (None, ("OADMSD-7AGC3-IMB46A", "1771"))
    assert [one["txid"] for one in server.sent("cancelOrder")] == [["OADMSD-7AGC3-IMB46A"], ["1771"]]


def test_a_refusal_is_an_exception_with_the_exchanges_code() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            with pytest.raises(krakenws.OrderRejected) as refused:
                await order(kraken)
            assert refused.value.code == "EOrder:Insufficient funds"
            assert str(refused.value) == "addOrder refused: EOrder:Insufficient funds"

    with exchange(private=refuses("EOrder:Insufficient funds")) as server:
        run(main())


def test_a_key_that_may_not_trade_is_a_matter_of_credentials() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            with pytest.raises(krakenws.CredentialsError, match="Permission denied"):
                await order(kraken)

    with exchange(private=refuses("EGeneral:Permission denied")) as server:
        run(main())


@pytest.mark.parametrize("script", [never_answers, vanishes])
def test_an_order_without_an_answer_has_an_unknown_outcome_and_is_sent_once(script: Any) -> None:
    async def main() -> None:
        async with client(server, ack_timeout_s=0.2, look_ups_s=()) as kraken:
            with pytest.raises(krakenws.OutcomeUnknown, match="addOrder: outcome unknown"):
                await order(kraken)

    with exchange(private=script) as server:
        run(main())
    assert len(server.sent("addOrder")) == 1


@pytest.mark.parametrize("validate", [None, True])
def test_closing_the_client_leaves_the_outcome_of_an_order_on_its_way_unknown(validate: bool | None) -> None:
    async def main() -> None:
        async with client(server) as kraken:
            asked = asyncio.create_task(kraken.add_order("XBT/USD", **ORDER, validate=validate))
            await wait_until(lambda: server.sent("addOrder"))
        with pytest.raises(krakenws.OutcomeUnknown, match="closed before it was answered") as unknown:
            await asked
        assert ("reconcile" in str(unknown.value)) == (not validate), "what was only checked has no row"

    with exchange(private=never_answers) as server:
        run(main())


def test_an_order_that_is_cancelled_before_it_left_is_never_sent() -> None:
    def late(client: Connection) -> None:
        client.accept()
        assert cancelled.wait(10)
        client.greet()
        client.hold()

    async def main() -> None:
        async with client(server) as kraken:
            asked = asyncio.create_task(order(kraken))
            await wait_until(lambda: server.connections)
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            cancelled.set()
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(kraken.cancel_all(), 0.3)

    cancelled = threading.Event()
    with exchange(private=late) as server:
        run(main())
    assert server.sent("addOrder") == []
    assert len(server.sent("cancelAll")) == 1


def test_the_answer_to_an_order_that_nobody_awaits_any_more_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    left = threading.Event()

    def slow(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="addOrder")
        assert left.wait(10)
        client.send({"event": "addOrderStatus", "status": "ok", "reqid": asked["reqid"], "txid": "OGTT3Y"})
        asked = client.expect(event="cancelAll")
        client.send({"event": "cancelAllStatus", "status": "ok", "reqid": asked["reqid"], "count": 1})
        client.hold()

    async def main() -> None:
        async with client(server) as kraken:
            asked = asyncio.create_task(order(kraken))
            await wait_until(lambda: server.sent("addOrder"))
            asked.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asked
            left.set()
            assert (await kraken.cancel_all()).count == 1

    with exchange(private=slow) as server:
        run(main())
    assert "nobody waits any more for this answer" in caplog.text
    assert "OGTT3Y" in caplog.text
    assert len(server.sent("addOrder")) == 1


def test_an_order_that_finds_no_connection_in_time_is_not_sent_later() -> None:
    def slow(client: Connection) -> None:
        client.accept()
        client.hold()

    async def main() -> None:
        async with client(server, connect_timeout_s=0.1, reconnect=1000) as kraken:
            with pytest.raises(
                krakenws.ConnectionFailed, match=r"addOrder was not sent: .* not ready within 0\.3 s"
            ):
                await order(kraken)

    with exchange(private=slow) as server:
        run(main())
    assert server.sent("addOrder") == []


def test_a_float_is_refused_and_so_is_what_the_catalog_does_not_know() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            for changes, sentence in (
                ({"price": 0.1}, "price=0.1 is a float, which is not exact: write '0.1'"),
                ({"reqid": 7.0}, "reqid=7.0 is a float, which is not exact: write 7$"),
                ({"price": object()}, "price is object, not text"),
                ({"price": Decimal("NaN")}, "price=NaN is not a number"),
                ({"type": "hold"}, "type=hold is not offered"),
                ({"colour": "red"}, "addOrder has no parameter colour"),
                ({"ordertype": "market"}, "ordertype=market has no price"),
            ):
                with pytest.raises(krakenws.UsageError, match=sentence):
                    await kraken.add_order("XBT/USD", **{**ORDER, **changes})

    with exchange(private=accepts) as server:
        run(main())
    assert server.accepted == 0


def test_an_order_that_breaks_a_rule_of_its_pair_is_refused_before_anything_is_opened() -> None:
    async def main() -> None:
        async with client(server) as kraken:
            with pytest.raises(krakenws.UsageError, match=r"price=9000\.123 has 3 decimals, XBT/USD takes 1"):
                await kraken.add_order("XBT/USD", **{**ORDER, "price": "9000.123"})

    with exchange(private=accepts) as server:
        run(main())
    assert server.accepted == 0


def test_the_users_policy_holds_for_the_api_and_never_for_a_cancel(home: Any) -> None:
    (home / "config" / "krakenws").mkdir(parents=True)
    policy = '[policy]\npairs = ["ETH/*"]\nmax_volume_per_order = { ETH = 1 }\n'
    (home / "config" / "krakenws" / "config.toml").write_text(policy)

    async def main() -> None:
        async with client(server) as kraken:
            with pytest.raises(krakenws.PolicyRefused, match="XBT/USD"):
                await order(kraken)
            with pytest.raises(krakenws.PolicyRefused, match="max_volume_per_order"):
                await kraken.add_order("ETH/USD", type="buy", ordertype="limit", volume="2", price="900")
            assert server.accepted == 0
            await kraken.cancel_all()

    with exchange(private=accepts) as server:
        run(main())
    assert len(server.sent("cancelAll")) == 1
    assert server.sent("addOrder") == []


def test_what_a_policy_has_to_know_is_asked_beside_the_clients_own_connection(home: Any) -> None:
    (home / "config" / "krakenws").mkdir(parents=True)
    policy = "[policy]\nprice_collar_percent = 5\n"
    (home / "config" / "krakenws" / "config.toml").write_text(policy)

    def book(client: Connection) -> None:
        ladder = Ladder()
        client.serve(ladder.snapshot(), ladder.update("64001.1", "7"))
        client.hold()

    async def main() -> None:
        async with client(server) as kraken:
            with pytest.raises(krakenws.PolicyRefused, match="price_collar_percent"):
                await kraken.add_order("XBT/USD", **{**ORDER, "price": "90000"})

    with exchange(book, accepts) as server:
        run(main())
    assert server.messages("/auth") == []


def test_a_policy_that_cannot_be_read_opens_no_client(home: Any) -> None:
    (home / "config" / "krakenws").mkdir(parents=True)
    (home / "config" / "krakenws" / "config.toml").write_text("[policy]\npears = 1\n")

    async def main() -> None:
        with pytest.raises(krakenws.UsageError, match="pears"):
            async with krakenws.connect():
                pass

    run(main())


def test_without_credentials_a_private_call_says_what_is_missing(home: Any) -> None:
    (home / "WS_Token").unlink()

    async def main() -> None:
        async with client(server) as kraken:
            with pytest.raises(krakenws.CredentialsError, match="there is no WebSocket token"):
                await order(kraken)
            with pytest.raises(krakenws.CredentialsError, match="there is no WebSocket token"):
                await anext(kraken.stream("openOrders"))

    with exchange(private=accepts) as server:
        run(main())


@pytest.mark.parametrize("given", ["token", "token_file"])
def test_a_token_that_is_given_is_the_one_that_is_used(home: Any, given: str) -> None:
    (home / "other").write_text("another-token")
    (home / "other").chmod(0o600)
    value = {"token": "another-token", "token_file": str(home / "other")}[given]

    async def main() -> None:
        urls = {"public_url": server.url, "private_url": f"{server.url}/auth"}
        async with krakenws.connect(**urls, **{given: value}) as kraken:  # type: ignore[arg-type]  # all are str
            await kraken.cancel_all()

    with exchange(private=accepts) as server:
        run(main())
    assert server.messages("/auth")[0]["token"] == "another-token"


def test_half_a_key_is_refused() -> None:
    with pytest.raises(krakenws.UsageError, match="needs both api_key= and api_secret="):
        krakenws.connect(api_key="an-api-key")


def test_many_orders_at_once_get_each_its_own_answer() -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = [client.expect(event="addOrder") for _ in range(20)]
        for one in reversed(asked):
            answer = {"event": "addOrderStatus", "status": "ok", "reqid": one["reqid"]}
            client.send({**answer, "txid": f"O{one['userref']}"})
        client.hold()

    async def main() -> list[krakenws.OrderAdded]:
        async with client(server) as kraken:
            return await asyncio.gather(
                *(kraken.add_order("XBT/USD", **ORDER, userref=number) for number in range(1, 21))
            )

    with exchange(private=script) as server:
        verdicts = run(main())
    assert [verdict.order_id for verdict in verdicts] == [f"O{number}" for number in range(1, 21)]


def test_a_market_order_is_held_to_the_least_cost_at_the_price_of_a_live_book(home: Path) -> None:
    """As in a session: somebody has looked at the price already."""
    store_pairs(home / "cache" / "krakenws", rows=tuple(replace(row, costmin="50") for row in ROWS))
    market: dict[str, Any] = {"type": "buy", "ordertype": "market", "volume": "0.0005"}

    async def main() -> None:
        async with client(server) as kraken:
            await kraken.add_order("XBT/USD", **market)  # nobody knows what that costs
            async with kraken.book("XBT/USD"):
                with pytest.raises(krakenws.UsageError, match=r"at 64001\.10000 costs 32\.00055 USD, below"):
                    await kraken.add_order("XBT/USD", **market)
                await kraken.add_order("XBT/USD", **{**market, "volume": "0.001"})

    with exchange(serves_a_book, accepts) as server:
        run(main())
    assert [one["volume"] for one in server.sent("addOrder")] == ["0.0005", "0.001"]
