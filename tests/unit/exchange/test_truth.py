"""The exchange's own account, and that the same seed and the same requests make the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from hashlib import sha256
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.exchange.orders import BUY, SELL
from krakenws.exchange.truth import Truth
from tests.support.command import ROOT
from tests.support.truth import Rebuilt
from tests.support.venue import START_S, START_US, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS = ("XBT/USD", "ETH/EUR", "XBT/EUR", "EUR/USD")
CHANNELS: tuple[tuple[str, dict[str, int]], ...] = (
    ("trade", {}),
    ("ticker", {}),
    ("ohlc", {"interval": 5}),
    ("spread", {}),
    ("book", {"depth": 25}),
)
KINDS = ("market", "limit", "limit", "limit", "stop-loss", "take-profit-limit", "trailing-stop")


def orders(count: int, seed: int) -> list[tuple[float, str, dict[str, Any]]]:
    """Return requests of every kind and when each is made, in seconds from the start."""
    random = Random(seed)
    at_s, made = 0.0, []
    for _ in range(count):
        at_s += random.uniform(0.1, 3.0)
        pair, middle = random.choice((("XBT/USD", 84000), ("ETH/EUR", 2400), ("XBT/EUR", 73000)))
        order: dict[str, Any] = {
            "pair": pair,
            "type": random.choice(["buy", "sell"]),
            "ordertype": random.choice(KINDS),
            "volume": "0.2" if pair == "ETH/EUR" else "0.03",
        }
        price = str(middle * random.randint(990, 1010) // 1000)
        if order["ordertype"] == "trailing-stop":
            order["price"] = "+0.05%"
        elif order["ordertype"] != "market":
            order["price"] = price
        if order["ordertype"] == "take-profit-limit":
            order["price2"] = price
        order |= random.choice(
            ({}, {}, {"expiretm": "+7"}, {"starttm": "+5"}, {"oflags": "fcib"}, {"leverage": "2"})
        )
        made.append((at_s, "addOrder", order))
        if random.random() < 0.1:
            made.append((at_s, *random.choice((("cancelAll", {}), ("cancelAllOrdersAfter", {"timeout": 2})))))
    return made


def session(*, seed: int = 3, steps: bool = True, crowd: bool = False, tells: bool = True) -> list[bytes]:
    """Return every byte that two connections hear during a session, and the account if it is kept.

    Args:
        seed: of the exchange.
        steps: whether the exchange is woken whenever it wants, or with each request only.
        crowd: whether somebody else watches every pair.
        tells: whether it keeps its account.
    """
    exchange = Exchange(seed, PAIRS, tells=tells)
    watcher, trader = exchange.public(), exchange.private()
    if crowd:
        other = exchange.public()
        for pair in PAIRS:
            other.subscribe("book", pair, depth=1000)
    for name, options in CHANNELS:
        watcher.send("subscribe", pair=["XBT/USD", "ETH/EUR"], subscription={"name": name, **options})
    for name in ("openOrders", "ownTrades"):
        trader.send("subscribe", subscription={"name": name, "token": trader.token})
    for at_s, event, fields in orders(60, seed=5):
        if steps:
            exchange.wait(START_S + at_s - exchange.now)
        exchange.now = START_S + at_s
        trader.send(event, **fields)
    exchange.wait(1.0)
    account = [json.dumps(line).encode() for line in exchange.truth]
    return [b"\n".join(part) for part in (watcher.frames(), trader.frames(), account)]


@pytest.fixture(scope="module")
def heard() -> list[bytes]:
    """The session of which every other one must be a copy."""
    return session()


# -- the account


def test_orders_money_and_books_follow_from_the_account_alone() -> None:
    exchange = Exchange(3, PAIRS)
    trader = exchange.private()
    for at_s, event, fields in orders(200, seed=9):
        exchange.wait(START_S + at_s - exchange.now)
        trader.say(event, **fields)
    rebuilt = Rebuilt(json.loads(json.dumps(line)) for line in exchange.truth)
    file = exchange.venue.desk.files["demo"]
    owned = {asset: amount for asset, amount in rebuilt.balances["demo"].items() if amount}
    assert owned == {asset: amount for asset, amount in file.account.balances.items() if amount}
    records = [*file.ended, *(record for record in file.live.values())]
    assert rebuilt.orders.keys() == {record.order_id for record in records}
    for record in records:
        order = rebuilt.orders[record.order_id]
        assert order.status == record.status.replace("pending", "open")
        assert (order.filled, order.cost, order.fee) == (record.filled, record.cost, record.fee)
    assert {order.status for order in rebuilt.orders.values()} >= {"open", "closed", "canceled", "expired"}
    assert rebuilt.fills.keys() == {fill.trade_id for fill in file.fills}
    for pair, market in exchange.venue.markets.items():
        for side in (BUY, SELL):
            assert rebuilt.books[pair][side] == {p: qty for p, qty, _ in market.engine.levels(side)}
        assert [t["trade_id"] for t in rebuilt.trades[pair]] == [t.trade_id for t in market.trades]
    told = {line["event"] for line in rebuilt.lines}
    assert told >= {"Scheduled", "Armed", "Triggered", "Rested", "Switch", "SwitchFired"}


def test_the_account_begins_with_settings_books_and_balances_and_goes_on_in_order_of_time() -> None:
    exchange = Exchange(pairs=["XBT/USD", "ETH/EUR"], rate=200)
    exchange.public().subscribe("trade", "ETH/EUR")
    exchange.wait(3.0)
    lines = Rebuilt(exchange.truth).lines
    assert [line["event"] for line in lines[:4]] == ["Started", "Book", "Book", "Account"]
    assert {line["event"] for line in lines[4:]} == {"Market"}
    assert {line["pair"] for line in lines[4:]} == {"XBT/USD", "ETH/EUR"}
    assert all(line["time_us"] == START_US for line in lines[:4])


def test_a_machine_that_is_too_slow_keeps_the_order_of_time() -> None:
    exchange = Exchange(pairs=["XBT/USD", "ETH/USD"], rate=5000)
    client, trader = exchange.public(), exchange.private()
    client.subscribe("trade", "XBT/USD", "ETH/USD")
    for _ in range(20):
        exchange.now += 1.0
        exchange.venue.on_deadline(exchange.now)
        trader.market("buy", "0.001")
        exchange.venue.faults.add([{"fault": "expire_tokens"}], exchange.now)
        exchange.venue.suffer(exchange.venue.faults, exchange.now)
        trader = exchange.private()
    rebuilt = Rebuilt(exchange.truth)
    assert rebuilt.lines[-1]["time_us"] < exchange.venue.at_us(exchange.now) - 1_000_000
    assert len(rebuilt.fills) >= 20
    assert sum(line["event"] == "Fault" for line in rebuilt.lines) == 20


def test_what_is_refused_is_told_with_what_was_asked_and_no_secret() -> None:
    exchange = Exchange()
    client = exchange.private()
    client.add(type="buy", ordertype="market", volume="500", userref="7")
    client.ask("cancelOrder", txid=["OADMSD-7AGC3-IMB46A"])
    with pytest.raises(AssertionError, match="Insufficient funds"):
        exchange.rest("AddOrder", pair="XBTUSD", type="buy", ordertype="market", volume="500")
    told = [line for line in exchange.truth if line["event"] == "Refused"]
    assert [(line["method"], line["error"]) for line in told] == [
        ("addOrder", "EOrder:Insufficient funds"),
        ("cancelOrder", "EOrder:Unknown order"),
        ("AddOrder", "EOrder:Insufficient funds"),
    ]
    assert told[0]["asked"] == {
        "pair": "XBT/USD",
        "type": "buy",
        "ordertype": "market",
        "volume": "500",
        "userref": "7",
    }
    assert client.token not in json.dumps(exchange.truth)


def test_small_numbers_are_written_out() -> None:
    lines: list[dict[str, object]] = []
    Truth(lines.append).tell("Tiny", 1, qty=Decimal("1E-8"), parts=[{"price": Decimal("5E-7")}])
    assert lines == [
        {"seq": 1, "time_us": 1, "event": "Tiny", "qty": "0.00000001", "parts": [{"price": "0.0000005"}]}
    ]


# -- the same bytes


@pytest.mark.parametrize(
    "again",
    [
        pytest.param(lambda: session(steps=False), id="woken by requests only"),
        pytest.param(lambda: session(crowd=True), id="watched by somebody else"),
        pytest.param(lambda: session(tells=False), id="without an account"),
        pytest.param(lambda: session(tells=False, steps=False), id="without an account, seldom woken"),
    ],
)
def test_the_same_seed_and_the_same_requests_make_the_same_bytes(
    heard: list[bytes], again: Callable[[], list[bytes]]
) -> None:
    for then, now in zip(heard, again(), strict=True):
        assert sha256(then).digest() == sha256(now).digest() or not now
    assert all(len(part) > 100_000 for part in heard[::2])
    assert session(seed=4)[0] != heard[0]


def test_another_process_makes_the_same_bytes(heard: list[bytes]) -> None:
    program = (
        f"import sys; sys.path.append({str(ROOT)!r});"  # at the end: the drop-in has the package's name
        "from tests.unit.exchange.test_truth import session; from hashlib import sha256;"
        "print(*(sha256(part).hexdigest() for part in session()))"
    )
    run = subprocess.run(
        [sys.executable, "-P", "-c", program],
        env={**os.environ, "PYTHONHASHSEED": "123"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.split() == [sha256(part).hexdigest() for part in heard]
