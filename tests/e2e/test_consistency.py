"""One truth, all channels: the feeds of a session, own orders and fills, and the exchange's account agree."""

from __future__ import annotations

import json
import time
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

from krakenws.core.signing import sign
from krakenws.exchange.keys import DEMO_KEY, DEMO_SECRET
from tests.e2e.test_sandbox import Desk, sandbox
from tests.support.audit import DAY_US, Audit, Trade, microseconds, trades_of
from tests.support.command import DEADLINE_S
from tests.support.truth import Rebuilt
from tests.support.venue import Exchange

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command, Process

    Event = dict[str, Any]

PAIR = "XBT/USD"
PUBLIC = (
    f"trade {PAIR} + ticker {PAIR} + ohlc {PAIR} 1 + ohlc {PAIR} 5 + spread {PAIR}"
    f" + book {PAIR} 10 + book {PAIR} 100 + book {PAIR} 1000"
)
PRIVATE = "openOrders + ownTrades consolidate_taker=false"
ORDERS = (
    "type=buy ordertype=market volume=0.3",
    "type=sell ordertype=market volume=0.00123456",
    "type=buy ordertype=market volume=500 oflags=viqc",
    "type=sell ordertype=limit price=83000 volume=0.2 oflags=fcib",
    "type=buy ordertype=limit price=84000 volume=0.1",
    "type=sell ordertype=limit price=84000 volume=0.1",
    "type=buy ordertype=limit price=85000 volume=0.05 timeinforce=IOC",
    "type=buy ordertype=market volume=0.1 leverage=3",
    "type=sell ordertype=stop-loss price=90000 volume=0.1",
    "type=buy ordertype=limit price=60000 volume=0.1",
    "type=buy ordertype=market volume=500",
)
TRADES = 40
"""So many frames of them, among some thousands of other ones."""


def history(rest_url: str) -> list[Trade]:
    """Return all trades of a market that is young, from REST."""
    with urlopen(f"{rest_url}/0/public/Trades?pair={PAIR}", timeout=DEADLINE_S) as answer:
        result = json.loads(answer.read(), parse_float=Decimal)["result"]
    rows = result.pop(next(name for name in result if name != "last"))
    assert [row[-1] for row in rows] == list(range(1, len(rows) + 1)), "more trades than REST keeps"
    sides, types = {"b": "buy", "s": "sell"}, {"m": "market", "l": "limit"}
    return [
        Trade(Decimal(price), Decimal(qty), sides[side], types[kind], int(at * 1_000_000))
        for price, qty, at, side, kind, *_ in rows
    ]


def balances(rest_url: str) -> dict[str, Decimal]:
    """Return the demo account's balances, from REST."""
    path, nonce = "/0/private/Balance", str(time.time_ns())
    body = f"nonce={nonce}".encode()
    headers = {"API-Key": DEMO_KEY, "API-Sign": sign(DEMO_SECRET, path, nonce, body)}
    request = Request(rest_url + path, body, headers)
    with urlopen(request, timeout=DEADLINE_S) as answer:
        return {asset: Decimal(amount) for asset, amount in json.loads(answer.read())["result"].items()}


def follow_to_the_end(feeds: Process, ended: int) -> None:
    """Read until so many orders have ended, all fills are on the trade feed, and enough else was said."""
    trades, fills_us, trades_us = 0, 0, 0
    while trades < TRADES or ended or trades_us <= fills_us:
        event = feeds.event("update")
        if event["channel"] == "openOrders":
            ended -= sum(row.get("order_status") in {"closed", "canceled"} for row in event["data"])
        elif event["channel"] == "ownTrades":
            fills_us = max([fills_us, *(microseconds(row["timestamp"]) for row in event["data"])])
        elif event["channel"] == "trade":
            trades += 1
            trades_us = trades_of(event)[-1].at_us


def test_all_feeds_of_a_session_own_fills_and_the_truth_file_agree(krakenws: Command, tmp_path: Path) -> None:
    log = tmp_path / "truth.jsonl"
    with sandbox(krakenws, "--pairs", PAIR, "--rate", "150", "--truth", str(log)) as (_, told):
        desk = Desk(krakenws, told)
        with desk.follow(*f"{PUBLIC} + {PRIVATE}".split()) as feeds:
            for _ in range(10):
                feeds.event("subscribed")
            answers = [desk.run("addOrder", f"pair={PAIR}", *words.split()) for words in ORDERS]
            assert [answer.code for answer in answers] == [0] * (len(ORDERS) - 1) + [5]
            assert desk.run("cancelAll").code == 0
            follow_to_the_end(feeds, ended=len(ORDERS) - 1)
            feeds.interrupt()
            result = feeds.finish()
        assert result.code == 0, result.err
        trades, owned = history(told["REST"]), balances(told["REST"])
        lines = [json.loads(line) for line in log.read_text().rpartition("\n")[0].splitlines()]
    updates = [event for event in result.events if event["event"] == "update"]
    heard = [trade for event in updates if event["channel"] == "trade" for trade in trades_of(event)]
    first = trades.index(heard[0])
    assert trades[first : first + len(heard)] == heard
    audit = audited(updates, before=trades[:first])
    assert min(audit.checked.values()) >= TRADES, audit.checked
    exchange = compare_with_truth(lines, trades, audit)
    compare_account(exchange, updates, owned, heard)


def test_candles_days_and_the_last_24_hours_turn_over_as_the_trades_say(
    krakenws: Command, tmp_path: Path
) -> None:
    exchange = Exchange(rate=0.08)
    client = exchange.public()
    for words in PUBLIC.split(" + "):
        name, pair, *number = words.split()
        option = {"depth" if name == "book" else "interval": int(n) for n in number}
        client.send("subscribe", pair=[pair], subscription={"name": name, **option})
    for _ in range(26 * 6):
        exchange.now += 600.0
        exchange.venue.on_deadline(exchange.now)
    frames = tmp_path / "frames"
    frames.write_bytes(b"\n".join(client.frames()))
    result = krakenws.run("decode", str(frames), "-ojson")
    assert result.code == 0, result.err
    audit = audited([event for event in result.events if event["event"] == "update"], before=[])
    assert min(audit.checked.values()) > 100, audit.checked
    assert audit.trades[-1].at_us - audit.trades[0].at_us > DAY_US


def test_two_processes_with_the_same_seed_are_the_same_exchange(krakenws: Command) -> None:
    """Also when only one of them is watched."""
    options = ("--pairs", "XBT/USD,ETH/EUR,XDG/XBT", "--rate", "100", "--truth", "-")
    with sandbox(krakenws, *options) as (one, told), sandbox(krakenws, *options) as (other, _):
        assert Desk(krakenws, told).run("book", "ETH/EUR", "100", "--count", "50").code == 0
        first, second = ([json.loads(process.note('{"seq"')) for _ in range(800)] for process in (one, other))
    for lines in (first, second):
        start_us = lines[0]["time_us"]
        for line in lines:
            line["time_us"] -= start_us
    assert first == second
    assert {line["event"] for line in first} == {"Started", "Book", "Account", "Market"}


def audited(updates: list[Event], before: list[Trade]) -> Audit:
    """Return the audit of a session's public feeds."""
    audit = Audit(before)
    for event in updates:
        if event.get("symbol"):
            audit.update(event)
    return audit


def compare_with_truth(lines: list[Event], trades: list[Trade], audit: Audit) -> Rebuilt:
    """Compare all trades, and each best ten levels that the client saw, with the exchange's account."""
    exchange = Rebuilt()
    tops: list[tuple[object, object]] = []
    for line in lines:
        exchange.read(line)
        if exchange.books and (not tops or exchange.top(PAIR) != tops[-1]):
            tops.append(exchange.top(PAIR))
    told = [
        Trade(Decimal(t["price"]), Decimal(t["qty"]), t["side"], t["ord_type"], t["time_us"])
        for t in exchange.trades[PAIR]
    ]
    assert told[: len(trades)] == trades
    begin = tops.index(audit.tops[0])
    assert tops[begin : begin + len(audit.tops)] == audit.tops
    return exchange


def compare_account(
    exchange: Rebuilt, updates: list[Event], owned: dict[str, Decimal], heard: list[Trade]
) -> None:
    """Compare own orders, fills and money with the exchange's account, and fills with the trade feed."""
    fills = {
        row["exec_id"]: row for event in updates if event["channel"] == "ownTrades" for row in event["data"]
    }
    assert fills.keys() == exchange.fills.keys()
    public = {trade[0:2] + trade[4:] for trade in heard}
    for exec_id, fill in fills.items():
        line = exchange.fills[exec_id]
        for name, theirs in (("last_price", "price"), ("last_qty", "qty"), ("cost", "cost"), ("fee", "fee")):
            assert Decimal(fill[name]) == Decimal(line[theirs]), (fill, line)
        price, qty = Decimal(fill["last_price"]), Decimal(fill["last_qty"])
        assert (price, qty, microseconds(fill["timestamp"])) in public
    orders: dict[str, Event] = {}
    for event in updates:
        for row in event["data"] if event["channel"] == "openOrders" else ():
            orders.setdefault(row["order_id"], {}).update(row)
    assert orders.keys() == exchange.orders.keys()
    for order_id, row in orders.items():
        order = exchange.orders[order_id]
        assert row["order_status"] == order.status
        mine = [fill for fill in fills.values() if fill["order_id"] == order_id]
        for name, part, known in (
            ("cum_qty", "last_qty", order.filled),
            ("cum_cost", "cost", order.cost),
            ("fee", "fee", order.fee),
        ):
            assert Decimal(row[name]) == known == sum((Decimal(fill[part]) for fill in mine), Decimal(0))
    whole = exchange.balances["demo"]
    assert owned == {asset: whole[asset].quantize(cut, ROUND_DOWN) for asset, cut in owned.items()}
