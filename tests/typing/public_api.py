"""The public API as type checkers see it; never run, checked by mypy with all of `make lint`.

`assert_type` holds what is inferred, and each `type: ignore` a mistake that must be found: one that is not
needed is an error itself.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, assert_type

import krakenws
from krakenws import (
    Balance,
    Candle,
    Event,
    Fill,
    Level,
    Levels,
    Order,
    Spread,
    Stream,
    Ticker,
    Trade,
    Update,
    sync,
)


async def streams_know_their_rows(kraken: krakenws.Client) -> None:
    assert_type(kraken.stream("ticker", "XBT/USD", "ETH/USD"), Stream[Ticker])
    assert_type(kraken.stream("book", "XBT/USD", depth=25), Stream[Levels])
    assert_type(kraken.stream("spread", "XBT/USD"), Stream[Spread])
    assert_type(kraken.stream("ohlc", "XBT/USD", interval=60), Stream[Candle])
    assert_type(kraken.stream("trade", "XBT/USD", overflow="drop", max_events=10), Stream[Trade])
    assert_type(kraken.stream("openOrders", ratecounter=True), Stream[Order])
    assert_type(kraken.stream("ownTrades", snapshot=False), Stream[Fill])
    assert_type(kraken.stream("balances"), Stream[Balance])
    async for event in kraken.stream("ticker", "XBT/USD"):
        assert_type(event, Update[Ticker] | Event)
        if isinstance(event, krakenws.Update):
            assert_type(event.rows(), list[Ticker])
            assert_type(event.rows()[0].bid, str)
            assert_type(event.symbol, str)
        elif isinstance(event, krakenws.Gap):
            assert_type(event.cause, str)
            assert_type(event.to_ns, int | None)


async def a_channel_that_is_known_at_run_time_has_any_rows(kraken: krakenws.Client, name: str) -> None:
    stream = kraken.stream(name, "XBT/USD", depth=25, snapshot=False)
    assert_type(stream, Stream[Any])
    assert_type(await stream.next(1.0), Update[Any] | Event | None)


async def books_have_levels_or_none(kraken: krakenws.Client) -> None:
    async with kraken.book("XBT/USD", depth=100) as book:
        assert_type(book.best_bid, Level | None)
        assert_type(book.asks(3), list[Level])
        assert_type(await book.changed(), krakenws.LiveBook)
        print(book.best_bid.price)  # type: ignore[union-attr]  # there may be none
    kraken.book("XBT/USD", depth=7)  # type: ignore[arg-type]  # no such depth


async def verdicts_are_typed(kraken: krakenws.Client) -> None:
    order = await kraken.add_order(
        "XBT/USD",
        type="buy",
        ordertype="limit",
        volume="0.1",
        price=Decimal(9000),
        oflags=["post", "fciq"],
        close_ordertype="stop-loss",
    )
    assert_type(order, krakenws.OrderAdded)
    assert_type(order.order_id, str)
    assert_type(order.intent, str)
    assert_type(await kraken.amend_order(txid="O", limit_price="1"), krakenws.OrderAmended)
    assert_type(await kraken.edit_order("O", "XBT/USD", price=1), krakenws.OrderEdited)
    assert_type(await kraken.cancel_order("O", "P", userref=7), krakenws.OrdersCancelled)
    assert_type((await kraken.cancel_all(intent="friday")).count, int | None)
    assert_type(await kraken.cancel_all_orders_after(60), krakenws.SwitchSet)
    assert_type((await kraken.ping()).round_trip_s, float | None)
    assert_type(await kraken.pairs("*/USD"), list[str])


async def mistakes_are_found(kraken: krakenws.Client) -> None:
    await kraken.add_order("XBT/USD", type="hold", ordertype="limit", volume="1")  # type: ignore[arg-type]
    await kraken.add_order("XBT/USD", type="buy", ordertype="limit", volume=0.1)  # type: ignore[arg-type]
    await kraken.add_order("XBT/USD", type="buy")  # type: ignore[call-arg]
    await kraken.cancel_order("O", intent=7)  # type: ignore[arg-type]
    krakenws.connect(api_key=b"key")  # type: ignore[arg-type]
    await kraken.add_order("XBT/USD", type="buy", ordertype="limit", volume="1", leverge=2)  # type: ignore[call-arg]
    await kraken.edit_order("O", "XBT/USD", oflags=["maker"])  # type: ignore[list-item]
    krakenws.Options(book="all")  # type: ignore[arg-type]


def a_value_that_a_parameter_does_not_take_is_found(kraken: krakenws.Client, blocking: sync.Client) -> None:
    kraken.stream("book", "XBT/USD", depth=11)  # type: ignore[call-overload]
    kraken.stream("ohlc", "XBT/USD", interval=2)  # type: ignore[call-overload]
    kraken.stream("ticker", "XBT/USD", overflow="spill")  # type: ignore[call-overload]
    kraken.stream("balances", api=3)  # type: ignore[call-overload]
    kraken.stream("openOrders", ratecounter="yes")  # type: ignore[call-overload]
    kraken.stream("trade", "XBT/USD", dpeth=10)  # type: ignore[call-overload]
    blocking.stream("book", "XBT/USD", depth=11)  # type: ignore[call-overload]


def the_blocking_client_is_typed_as_well() -> None:
    with sync.connect(api_key="key", api_secret="secret") as kraken:
        assert_type(kraken, sync.Client)
        for event in kraken.stream("trade", "XBT/USD"):
            assert_type(event, Update[Trade] | Event)
        order = kraken.add_order("XBT/USD", type="buy", ordertype="market", volume=1)
        assert_type(order, krakenws.OrderAdded)
        kraken.add_order("XBT/USD", type="buy", ordertype="market", volume=0.1)  # type: ignore[arg-type]
        assert_type(kraken.book("XBT/USD").best_ask, Level | None)
        assert_type(kraken.ping(), krakenws.Pong)
    sync.connect(api_key=b"key")  # type: ignore[arg-type]


def errors_form_a_tree(error: Exception) -> None:
    if isinstance(error, krakenws.OrderRejected):
        assert_type(error.code, str)
    if isinstance(error, krakenws.OutcomeUnknown):
        assert_type(error.intent, str)
    if isinstance(error, krakenws.KrakenWSError):
        assert_type(error.retryable, bool)
