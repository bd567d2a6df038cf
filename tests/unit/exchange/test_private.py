"""Private frames that no capture shows; `conformance/test_private_captures.py` has those that one does."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest

from krakenws.exchange import private
from krakenws.exchange.accounts import Settlement
from krakenws.exchange.checks import read_order
from krakenws.exchange.instruments import Instrument, find
from krakenws.exchange.records import CANCELED, FillRecord, OrderRecord, consolidate, make_fill, make_id

NOW = 1_795_000_000_123_456


def _pair(name: str) -> Instrument:
    found = find(name)
    assert found is not None
    return found


XBT = _pair("XBT/USD")


def _order(order_id: str = "O1", opened_us: int = NOW, /, **fields: object) -> OrderRecord:
    asked = {"type": "buy", "ordertype": "limit", "price": "60000.5", "volume": "0.01", **fields}
    asked = {name.replace("__", "[") + "]" * ("__" in name): value for name, value in asked.items()}
    return OrderRecord(order_id, "me", XBT, read_order(asked, XBT, Decimal(64000), NOW), opened_us)


def _entries(payload: bytes) -> dict[str, dict[str, object]]:
    assert json.dumps(json.loads(payload), separators=(",", ":")).encode() == payload, "compact"
    return {key: value for entry in json.loads(payload) for key, value in entry.items()}


def test_full_entries_have_their_keys_in_ascii_order_whatever_is_set() -> None:
    order = _order(
        leverage="5",
        cl_ord_id="mine",
        close__ordertype="limit",
        close__price="70000",
        expiretm="+60",
        starttm="+9",
    )
    ((order_id, told),) = _entries(private.pending(order, ratecount=3)).items()
    assert order_id == "O1"
    assert list(told) == sorted(told)
    assert told["ratecount"] == 3
    assert told["margin"] is True
    assert told["cl_ord_id"] == "mine"
    assert told["contingent"] == {"ordertype": "limit", "price": "70000"}
    assert told["starttm"] == "1795000009.123456"
    assert told["expiretm"] == "1795000060.123456"
    assert told["timeinforce"] == "GTD"
    ((_, amended),) = _entries(private.amended(order)).items()
    assert list(amended) == sorted(amended)
    assert (amended["amended"], amended["amend_reason"]) == (True, "User requested")


@pytest.mark.parametrize(
    ("fields", "price", "price2", "order", "answer"),
    [
        (
            {"ordertype": "market", "price": None}, "0.00000", "0.00000",
            "buy 0.01000000 XBT/USD @ market 0.00000", "buy 0.01000000 XBTUSD @ market",
        ),
        (
            {"leverage": "5"}, "60000.50000", "0.00000",
            "buy 0.01000000 XBT/USD @ limit 60000.50000 with 5:1 leverage",
            "buy 0.01000000 XBTUSD @ limit 60000.5 with 5:1 leverage",
        ),
        (
            {"ordertype": "stop-loss", "type": "sell", "price": "50000"}, "50000.00000", "0.00000",
            "sell 0.01000000 XBT/USD @ stop loss 50000.00000", "sell 0.01000000 XBTUSD @ stop loss 50000.0",
        ),
        (
            {"ordertype": "take-profit-limit", "price": "50000", "price2": "50001"},
            "50000.00000", "50001.00000",
            "buy 0.01000000 XBT/USD @ take profit 50000.00000 -> limit 50001.00000",
            "buy 0.01000000 XBTUSD @ take profit 50000.0 -> limit 50001.0",
        ),
        (
            {"ordertype": "trailing-stop-limit", "price": "+5%", "price2": "-1.5"},
            "+5.0000%", "-1.50000",
            "buy 0.01000000 XBT/USD @ trailing stop +5.0000% -> limit -1.50000",
            "buy 0.01000000 XBTUSD @ trailing stop +5.0000% -> limit -1.5",
        ),
    ],
)  # fmt: skip
def test_orders_are_described_in_krakens_words(
    fields: dict[str, object], price: str, price2: str, order: str, answer: str
) -> None:
    told = _order(**fields)
    descr = _entries(private.pending(told))["O1"]["descr"]
    assert isinstance(descr, dict)
    assert (descr["price"], descr["price2"], descr["order"]) == (price, price2, order)
    assert private.describe(told) == answer


def test_a_conditional_close_is_described() -> None:
    order = _order(close__ordertype="stop-loss-limit", close__price="38000", close__price2="36000")
    descr = _entries(private.pending(order))["O1"]["descr"]
    assert isinstance(descr, dict)
    assert descr["close"] == "close position @ stop loss 38000 -> limit 36000"


def test_a_snapshot_is_newest_first_and_may_be_empty() -> None:
    orders = [_order("O1", NOW), _order("O3", NOW + 2), _order("O2", NOW + 2)]
    assert list(_entries(private.orders_snapshot(orders))) == ["O2", "O3", "O1"]
    assert private.orders_snapshot([]) == b"[]" == private.trades_snapshot([])


def test_pending_comes_first_however_far_the_order_has_got() -> None:
    order = _order()
    order.opened()
    assert _entries(private.pending(order))["O1"]["status"] == "pending"
    assert _entries(private.orders_snapshot([order]))["O1"]["status"] == "open"


def test_the_average_price_is_over_all_fills() -> None:
    order = _order()
    order.fill(Decimal(60000), Decimal("0.001"), Settlement(Decimal(60), Decimal("0.24")))
    order.fill(Decimal(50000), Decimal("0.002"), Settlement(Decimal(100), Decimal("0.40")))
    assert private.filled(order, ratecount=1) == (
        b'[{"O1":{"vol_exec":"0.00300000","cost":"160.00000","fee":"0.64000","avg_price":"53333.33333",'
        b'"userref":0,"ratecount":1}}]'
    )


def test_a_triggered_order_tells_its_prices() -> None:
    order = _order(ordertype="take-profit-limit", price="50000", price2="50001", userref="7")
    order.trigger(Decimal(50000), Decimal(50001))
    order.opened()
    assert _entries(private.triggered(order))["O1"] == {
        "status": "open",
        "misc": "touched",
        "stopprice": "50000.00000",
        "limitprice": "50001.00000",
        "userref": 7,
    }
    stop = _order(ordertype="stop-loss", price="70000")
    stop.trigger(Decimal(70000), None)
    assert _entries(private.triggered(stop))["O1"]["misc"] == "stopped"


def test_an_amended_order_shows_its_new_numbers_and_a_new_age() -> None:
    order = _order()
    order.amend(Decimal("0.02"), Decimal(61000), None, NOW + 5)
    told = _entries(private.amended(order))["O1"]
    assert told["vol"] == "0.02000000"
    descr = told["descr"]
    assert isinstance(descr, dict)
    assert descr["order"] == "buy 0.02000000 XBT/USD @ limit 61000.00000"
    assert (order.opened_us, order.changed_us) == (NOW, NOW + 5)


def test_a_cancelled_child_names_its_parent_and_its_reason() -> None:
    terms = _order().terms
    order = OrderRecord("O2", "me", XBT, terms, NOW, parent_id="O1")
    assert _entries(private.pending(order))["O2"]["refid"] == "O1"
    order.end(CANCELED, NOW, "Insufficient funds")
    told = _entries(private.ended(order))["O2"]
    assert list(told)[-1] == "cancel_reason"
    assert told["lastupdated"] == "1795000000.123456"


def _fill(trade_id: str, order: OrderRecord, price: str, qty: str, position_id: str = "") -> FillRecord:
    cost = Decimal(price) * Decimal(qty)
    settled = Settlement(cost, cost / 1000, cost / 5 if position_id else Decimal(0), position_id)
    return make_fill(trade_id, order, Decimal(price), Decimal(qty), settled, at_us=NOW)


def test_new_trades_carry_the_references_that_the_snapshot_leaves_out() -> None:
    fills = [
        _fill("T1", _order(userref="7"), "60000", "0.01"),
        _fill("T2", _order(cl_ord_id="mine", leverage="5"), "60000", "0.01", "TPOS"),
    ]
    told = _entries(private.trades(fills))
    assert (told["T1"]["userref"], told["T2"]["cl_ord_id"]) == (7, "mine")
    assert (told["T1"]["postxid"], told["T2"]["postxid"]) == ("TKH2SE-M7IF5-CFI7LT", "TPOS")
    assert told["T2"]["margin"] == "120.00000"
    assert list(_entries(private.trades_snapshot(fills))["T1"])[-1] == "vol"


def test_the_snapshot_has_the_last_fifty_trades() -> None:
    order = _order()
    told = list(_entries(private.trades_snapshot([_fill(f"T{n}", order, "1", "1") for n in range(60)])))
    assert told == [f"T{n}" for n in range(59, 9, -1)]


def test_the_fills_of_a_taker_are_merged() -> None:
    taker, other = _order("O1"), _order("O2")
    merged = consolidate(
        [
            _fill("T1", taker, "60000", "0.001"),
            _fill("T2", other, "60000", "0.001"),
            _fill("T3", taker, "61000", "0.003"),
        ]
    )
    assert [fill.trade_id for fill in merged] == ["T1", "T2"]
    first = merged[0]
    assert (first.price, first.qty, first.cost) == (Decimal(60750), Decimal("0.004"), Decimal(243))
    assert first.fee == Decimal("0.243")


def test_ids_are_made_of_letters_and_the_digits_2_to_7() -> None:
    assert make_id("O", bytes(10)) == "OAAAAA-AAAAA-AAAAAA"
    assert make_id("T", bytes([255] * 10)) == "T77777-77777-777777"
    assert make_id("O", bytes(range(10))) != make_id("O", bytes(range(1, 11)))
