"""Private frames and their money, made here from the same orders and fills, against those Kraken sent."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

import pytest

from krakenws.core.v1_entries import OPEN_ORDERS, OWN_TRADES
from krakenws.exchange import private
from krakenws.exchange.accounts import Account, Settlement
from krakenws.exchange.checks import read_order
from krakenws.exchange.instruments import Instrument, find
from krakenws.exchange.protocol import ServerProtocol, Subscription
from krakenws.exchange.records import FillRecord, OrderRecord, make_fill
from krakenws.exchange.v1 import V1
from krakenws.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from krakenws.core.catalog import Entry

    ReadCapture = Callable[[str], list[tuple[str | None, str, str]]]

RECORDED = ("v1_private_2022.jsonl", "v1_private_2023.jsonl")
LIFE = ("v1_examples_from_docs.jsonl", "OKB55A-UEMMN-YUXM2A")
"""Another recorded order's life, which Kraken's pages do not have."""


class Wire:
    """A client that keeps what it is sent."""

    dialect = V1

    def __init__(self) -> None:
        self.frames: list[str] = []

    def publish(self, frame: bytes) -> None:
        self.frames.append(frame.decode())

    def send(self, entry: Entry, payload: bytes, sequence: int) -> str:
        subscription = Subscription(cast("ServerProtocol", self), "", entry, {}, "")
        subscription.sequence = sequence - 1
        subscription.publish(payload)
        return self.frames.pop()


@pytest.fixture
def private_frames(read_capture: ReadCapture) -> list[str]:
    frames = [text for name in RECORDED for _, way, text in read_capture(name) if way == "in"]
    frames += [text for _, _, text in read_capture(LIFE[0]) if text.startswith(f'[[{{"{LIFE[1]}')]
    return frames


def _data(frames: list[str], channel: str) -> Iterator[tuple[str, list[dict[str, Any]], int]]:
    for text in frames:
        frame = json.loads(text)
        if isinstance(frame, list) and frame[1] == channel:
            yield text, frame[0], frame[2]["sequence"]


def _instrument(pair: str, money: str) -> Instrument:
    """The pair with the wire decimals of the capture, whatever its minimums are today."""
    known = find("XBT/USD")
    assert known is not None
    wire = len(money.partition(".")[2])
    zero = Decimal(0)
    return replace(
        known, wsname=pair, wire_price_decimals=wire, pair_decimals=wire, cost_decimals=wire,
        tick_size=Decimal(1).scaleb(-wire), ordermin=zero, costmin=zero,
    )  # fmt: skip


def _micro(seconds: str) -> int:
    whole, _, fraction = seconds.partition(".")
    return int(whole + fraction)


def _order(order_id: str, told: dict[str, Any]) -> OrderRecord:
    """An order as it must have been asked for; an order told in part was one like any other."""
    descr = told.get("descr") or {"ordertype": "limit", "type": "buy", "pair": "XBT/USD", "price": "1"}
    fields = {
        "ordertype": descr["ordertype"],
        "type": descr["type"],
        "price": descr["price"],
        "volume": told.get("vol", "1"),
        "oflags": told.get("oflags", "fciq"),
    }
    terms = read_order(fields, _instrument(descr["pair"], told.get("cost", "0.00000")), None, 0)
    order = OrderRecord(
        order_id,
        "someone",
        _instrument(descr["pair"], told.get("cost", "0.00000")),
        terms,
        _micro(told.get("opentm", "0.000000")),
    )
    order.status = told.get("status", "open")
    return order


def _remake(orders: dict[str, OrderRecord], entries: list[dict[str, Any]]) -> bytes:
    """What this exchange says where Kraken said `entries`."""
    if len(entries) != 1 or "descr" in next(iter(entries[0].values())):
        for entry in entries:
            orders.update((order_id, _order(order_id, told)) for order_id, told in entry.items())
        told_now = [orders[order_id] for entry in entries for order_id in entry]
        is_new = any(order.status == "pending" for order in told_now)
        return private.pending(told_now[0]) if is_new else private.orders_snapshot(told_now)
    ((order_id, told),) = entries[0].items()
    order = orders.setdefault(order_id, _order(order_id, told))
    if "vol_exec" not in told:
        return private.opened(order)
    if Decimal(told["vol_exec"]) > order.filled:
        money = Settlement(Decimal(told["cost"]), Decimal(told["fee"]))
        order.fill(Decimal(told["avg_price"]), Decimal(told["vol_exec"]), money)
    if "status" not in told:
        return private.filled(order)
    order.end(told["status"], _micro(told["lastupdated"]), told.get("cancel_reason", ""))
    return private.ended(order)


def test_open_orders_frames_are_made_byte_for_byte(private_frames: list[str]) -> None:
    """Snapshot, pending, open, fill, closed, canceled, expired: keys, their order, padding, null and 0."""
    orders: dict[str, OrderRecord] = {}
    seen = 0
    for text, entries, sequence in _data(private_frames, "openOrders"):
        assert Wire().send(OPEN_ORDERS, _remake(orders, entries), sequence) == text
        seen += 1
    assert seen >= 16
    assert {order.status for order in orders.values()} >= {"closed", "canceled", "expired", "open"}


def _fill(trade_id: str, told: dict[str, Any]) -> FillRecord:
    descr = {
        "ordertype": told["ordertype"],
        "type": told["type"],
        "pair": told["pair"],
        "price": told["price"],
    }
    order = _order(told["ordertxid"], {"descr": descr, "vol": told["vol"], "cost": told["cost"]})
    price, qty, cost, fee, margin = (
        Decimal(told[name]) for name in ("price", "vol", "cost", "fee", "margin")
    )
    return make_fill(trade_id, order, price, qty, Settlement(cost, fee, margin), at_us=_micro(told["time"]))


def test_own_trades_frames_are_made_byte_for_byte(private_frames: list[str]) -> None:
    seen = 0
    for text, entries, sequence in _data(private_frames, "ownTrades"):
        fills = [_fill(trade_id, told) for entry in entries for trade_id, told in entry.items()]
        payload = private.trades_snapshot(fills[::-1]) if sequence == 1 else private.trades(fills)
        assert Wire().send(OWN_TRADES, payload, sequence) == text
        seen += 1
    assert seen >= 2


def test_costs_and_fees_come_to_what_kraken_charged(private_frames: list[str]) -> None:
    """Each captured trade again, at the rates of its year: 0.16 % for makers, 0.26 % for takers."""
    seen = 0
    for _, entries, _ in _data(private_frames, "ownTrades"):
        for entry in entries:
            for trade_id, told in entry.items():
                _assert_settles(_fill(trade_id, told), Decimal("0.16"))
                seen += 1
    for _, entries, _ in _data(private_frames, "openOrders"):
        ((order_id, told),) = entries[0].items() if len(entries) == 1 else [("", {})]
        if Decimal(told.get("avg_price", 0)) and "status" in told:
            trade = told | {
                "price": told["avg_price"], "vol": told["vol_exec"], "ordertxid": order_id, "margin": "0",
                "ordertype": "limit", "type": "buy", "pair": "XBT/USD", "time": told["lastupdated"],
            }  # fmt: skip
            _assert_settles(_fill("T", trade), Decimal("0.26"))
            seen += 1
    assert seen >= 4


def _assert_settles(fill: FillRecord, percent: Decimal) -> None:
    instrument = replace(fill.order.instrument, fees=((0, percent),), fees_maker=())
    account = Account("someone", balances={instrument.quote: Decimal(1000)})
    account.hold_for("O", instrument, side="buy", qty=fill.qty, price=fill.price, at_us=0)
    settled = account.settle("O", fill.price, fill.qty, 0, taker=True)
    assert (settled.cost, settled.fee) == (fill.cost, fill.fee)


def test_the_answer_describes_the_order_in_krakens_words(read_capture: ReadCapture) -> None:
    frames = [
        json.loads(text) for _, way, text in read_capture(RECORDED[0]) if way == "in" and "descr" in text
    ]
    answer = next(frame for frame in frames if isinstance(frame, dict))
    usdt = find("USDT/USD")
    assert usdt is not None
    fields = {"ordertype": "limit", "type": "buy", "price": "0.9980", "volume": "10.0", "oflags": "post"}
    order = OrderRecord(answer["txid"], "someone", usdt, read_order(fields, usdt, None, 0), 0)
    assert private.describe(order) == answer["descr"]
