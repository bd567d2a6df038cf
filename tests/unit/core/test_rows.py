"""Rows: v2's names, the wire's digits, exact times."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import to_builtins
from msgspec.json import encode

from krakenws.core.catalog import CHANNEL, PRIVATE, Entry
from krakenws.core.dialect import BookChanges, Malformed
from krakenws.core.events import Route, Update
from krakenws.core.rows import rows_of, utc
from krakenws.core.schema import schema
from krakenws.core.v1_entries import ENTRIES
from tests.updates import update_of

BALANCES = Entry(api=2, name="balances", kind=CHANNEL, access=PRIVATE, help="Balances.", rows="Balance")


def rows(frame: bytes | str) -> list[dict[str, Any]]:
    """The rows as JSON has them."""
    found: list[dict[str, Any]] = json.loads(encode(rows_of(update_of(frame))))
    return found


def orders(**fields: object) -> list[dict[str, Any]]:
    return rows(json.dumps([[{"OABCDE-FGHIJ-KLMNOP": fields}], "openOrders", {"sequence": 2}]))


def balances(data: str) -> list[dict[str, Any]]:
    frame = f'{{"channel":"balances","type":"update","data":{data},"sequence":3}}'.encode()
    update = Update(Route(BALANCES, {}, "balances", ""), frame, 0, False, None, None)
    found: list[dict[str, Any]] = json.loads(encode(rows_of(update)))
    return found


@pytest.mark.parametrize(
    ("epoch", "text"),
    [
        ("1616333924.737428", "2021-03-21T13:38:44.737428Z"),
        ("0.000001", "1970-01-01T00:00:00.000001Z"),
        ("1700000000", "2023-11-14T22:13:20.000000Z"),
        ("1700000000.5", "2023-11-14T22:13:20.500000Z"),
        ("253402300799.999999", "9999-12-31T23:59:59.999999Z"),
        ("1700000000.123456789", "2023-11-14T22:13:20.123456789Z"),
        ("1709164800.000000", "2024-02-29T00:00:00.000000Z"),
    ],
)
def test_epoch_text_becomes_rfc_3339_digit_for_digit(epoch: str, text: str) -> None:
    assert utc(epoch) == text


@pytest.mark.parametrize(
    "epoch",
    ["", ".", ".5", "-1.0", "1e9", "nan", "1 ", "1.٣", "٣", "253402300800.0", "1.5.5", "9" * 5000, "0x10"],
)
def test_text_that_is_no_epoch_time_is_malformed(epoch: str) -> None:
    with pytest.raises(Malformed):
        utc(epoch)


def test_a_ticker_has_the_day_under_v2_names_and_today_beside_it() -> None:
    frame = """[340,{"a":["101.20",3,"3.50000000"],"b":["101.10",0,"0.25000000"],"c":["101.15","0.01000000"],
        "v":["10.00000000","20.00000000"],"p":["100.10","100.20"],"t":[5,9],"l":["99.10","98.10"],
        "h":["102.10","103.10"],"o":["100.00","97.00"]},"ticker","XBT/EUR"]"""
    assert rows(frame) == [
        {
            "bid": "101.10",
            "bid_qty": "0.25000000",
            "ask": "101.20",
            "ask_qty": "3.50000000",
            "last": "101.15",
            "last_qty": "0.01000000",
            "volume": "20.00000000",
            "vwap": "100.20",
            "low": "98.10",
            "high": "103.10",
            "open": "97.00",
            "trades": 9,
            "volume_today": "10.00000000",
            "vwap_today": "100.10",
            "low_today": "99.10",
            "high_today": "102.10",
            "open_today": "100.00",
            "trades_today": 5,
        }
    ]


def test_trades_keep_their_order_and_show_misc_only_when_there_is_any() -> None:
    frame = """[1,[["7.10","0.50000000","1700000000.000001","b","m",""],
        ["7.20","1.50000000","1700000000.000002","s","l","x"]],"trade","XBT/USD"]"""
    assert rows(frame) == [
        {
            "price": "7.10",
            "qty": "0.50000000",
            "side": "buy",
            "ord_type": "market",
            "timestamp": "2023-11-14T22:13:20.000001Z",
        },
        {
            "price": "7.20",
            "qty": "1.50000000",
            "side": "sell",
            "ord_type": "limit",
            "timestamp": "2023-11-14T22:13:20.000002Z",
            "misc": "x",
        },
    ]


def test_a_spread_begins_with_the_bid() -> None:
    """Quirk F11."""
    frame = '[1,["7.10","7.20","1700000000.000001","0.50000000","1.50000000"],"spread","XBT/USD"]'
    assert rows(frame) == [
        {
            "bid": "7.10",
            "ask": "7.20",
            "bid_qty": "0.50000000",
            "ask_qty": "1.50000000",
            "timestamp": "2023-11-14T22:13:20.000001Z",
        }
    ]


def test_a_candle_begins_its_interval_before_its_end() -> None:
    """Quirk K1: element 0 is the last update, not the start."""
    frame = """[1,["1700001000.250000","1700002800.000000","1.0","4.0","0.5","2.0","1.7","9.00000000",12],
        "ohlc-60","XBT/USD"]"""
    assert rows(frame) == [
        {
            "open": "1.0",
            "high": "4.0",
            "low": "0.5",
            "close": "2.0",
            "trades": 12,
            "volume": "9.00000000",
            "vwap": "1.7",
            "interval_begin": "2023-11-14T22:00:00.000000Z",
            "interval": 60,
            "timestamp": "2023-11-14T23:00:00.000000Z",
            "last_update": "2023-11-14T22:30:00.250000Z",
        }
    ]


def test_a_count_may_come_as_text() -> None:
    frame = '[1,["1.5","60.0","1","1","1","1","1","1","12"],"ohlc-1","XBT/USD"]'
    assert rows(frame)[0]["trades"] == 12


def test_a_book_frame_has_both_sides_in_wire_order_and_the_checksum_of_its_last_object() -> None:
    """Quirks B1, B2, B11."""
    frame = """[1,{"a":[["7.30","0.00000000","1.5"],["7.20","1.00000000","1.6","r"]]},
        {"b":[["7.10","2.00000000","1.7"]],"c":"4294967295"},"book-10","XBT/USD"]"""
    assert rows(frame) == [
        {
            "asks": [{"price": "7.30", "qty": "0.00000000"}, {"price": "7.20", "qty": "1.00000000"}],
            "bids": [{"price": "7.10", "qty": "2.00000000"}],
            "checksum": 4294967295,
        }
    ]


def test_an_empty_snapshot_is_a_row_without_checksum() -> None:
    assert rows('[1,{"as":[],"bs":[]},"book-25","XBT/USD"]') == [{"asks": [], "bids": []}]


def test_arrays_may_grow_and_objects_may_gain_fields() -> None:
    """Quirks P1, B3."""
    trade = '[1,[["7.10","0.5","1700000000.1","b","m","",9,{"x":[]}]],"trade","XBT/USD"]'
    spread = '[1,["7.10","7.20","1700000000.1","0.5","1.5","new"],"spread","XBT/USD"]'
    assert rows(trade)[0]["price"] == "7.10"
    assert rows(spread)[0]["ask_qty"] == "1.5"
    assert orders(status="open", novelty={"a": [1]}) == [
        {"order_id": "OABCDE-FGHIJ-KLMNOP", "order_status": "open"}
    ]


def test_a_new_order_is_told_in_full() -> None:
    found = orders(
        avg_price="0.00",
        cost="0.00",
        descr={
            "close": "close position @ limit 12.00",
            "leverage": "5:1",
            "order": "buy 1.50000000 XBT/USD @ limit 9.50",
            "ordertype": "limit",
            "pair": "XBT/USD",
            "price": "9.50",
            "price2": "0.00",
            "type": "buy",
        },
        contingent={"ordertype": "stop-loss-limit", "price": "8.00", "price2": "7.90", "oflags": ""},
        expiretm="1700003600.000000",
        fee="0.00",
        limitprice="0.00",
        misc="",
        oflags="fciq,post",
        opentm="1700000000.000001",
        refid=None,
        starttm=None,
        status="pending",
        stopprice="0.00",
        timeinforce="GTD",
        userref=0,
        vol="1.50000000",
        vol_exec="0.00000000",
        ratecount=7,
    )
    assert found == [
        {
            "order_id": "OABCDE-FGHIJ-KLMNOP",
            "symbol": "XBT/USD",
            "side": "buy",
            "order_type": "limit",
            "order_qty": "1.50000000",
            "cum_qty": "0.00000000",
            "cum_cost": "0.00",
            "avg_price": "0.00",
            "fee": "0.00",
            "limit_price": "9.50",
            "order_status": "pending",
            "time_in_force": "GTD",
            "open_time": "2023-11-14T22:13:20.000001Z",
            "expire_time": "2023-11-14T23:13:20.000000Z",
            "oflags": "fciq,post",
            "leverage": "5:1",
            "contingent_order_type": "stop-loss-limit",
            "contingent_limit_price": "7.90",
            "contingent_stop_price": "8.00",
            "ratecount": 7,
            "descr": "buy 1.50000000 XBT/USD @ limit 9.50",
            "close": "close position @ limit 12.00",
        }
    ]


def test_a_delta_has_only_what_changed() -> None:
    """Quirk P4."""
    assert orders(
        lastupdated="1700000000.5", status="canceled", userref=0, cancel_reason="User requested"
    ) == [
        {
            "order_id": "OABCDE-FGHIJ-KLMNOP",
            "order_status": "canceled",
            "timestamp": "2023-11-14T22:13:20.500000Z",
            "reason": "User requested",
        }
    ]


@pytest.mark.parametrize(
    ("given", "shown"), [(0, None), (None, None), ("0", None), (17, 17), ("17", 17), (-17, -17)]
)
def test_a_userref_is_a_number_or_text_or_null_and_zero_is_none(given: object, shown: int | None) -> None:
    """Quirk P10."""
    assert orders(userref=given)[0].get("order_userref") == shown


def test_a_stop_order_has_its_trigger_and_its_limit() -> None:
    descr = {"ordertype": "stop-loss-limit", "price": "9.00", "price2": "8.90"}
    (order,) = orders(descr=descr, stopprice="0.00", limitprice="0.00")
    assert (order["stop_price"], order["limit_price"]) == ("9.00", "8.90")
    (order,) = orders(descr=descr, stopprice="9.10", limitprice="8.95")
    assert (order["stop_price"], order["limit_price"]) == ("9.10", "8.95")


def test_zero_times_of_an_order_are_no_times() -> None:
    assert orders(expiretm="0.000000", starttm="0", opentm=None, lastupdated="") == [
        {"order_id": "OABCDE-FGHIJ-KLMNOP"}
    ]


def test_a_fill_has_its_own_order_position_and_userref() -> None:
    frame = """[[{"TAAAAA-BBBBB-CCCCCC":{"cost":"19.00","fee":"0.05","margin":"0.00",
        "ordertxid":"OAAAAA-BBBBB-CCCCCC","ordertype":"limit","pair":"XBT/EUR","postxid":17,
        "price":"9.50","time":"1700000000.000009","type":"sell","vol":"2.00000000","userref":3}}],
        "ownTrades",{"sequence":2}]"""
    assert rows(frame) == [
        {
            "exec_id": "TAAAAA-BBBBB-CCCCCC",
            "order_id": "OAAAAA-BBBBB-CCCCCC",
            "symbol": "XBT/EUR",
            "side": "sell",
            "order_type": "limit",
            "last_qty": "2.00000000",
            "last_price": "9.50",
            "cost": "19.00",
            "fee": "0.05",
            "timestamp": "2023-11-14T22:13:20.000009Z",
            "margin": "0.00",
            "order_userref": 3,
            "position_id": "17",
        }
    ]


def test_balances_keep_the_digits_of_their_numbers() -> None:
    """Quirk B7: a double would say 0.1 and -19.9743."""
    assert balances(
        '[{"asset":"XBT","balance":0.1000000000,"wallets":[{"type":"spot","id":"main","balance":5e-8}]},'
        '{"asset":"USD","amount":-19.97430,"fee":0.0000,"balance":12345678901234567890.12,"user":null}]'
    ) == [
        {
            "asset": "XBT",
            "balance": "0.1000000000",
            "wallets": [{"type": "spot", "id": "main", "balance": "0.00000005"}],
        },
        {"asset": "USD", "balance": "12345678901234567890.12", "amount": "-19.97430", "fee": "0.0000"},
    ]


@pytest.mark.parametrize("balance", ["null", '"1.0"', "{}", "[1]", "true", "1e999999999", "1e-99"])
def test_a_balance_that_is_no_amount_is_malformed(balance: str) -> None:
    with pytest.raises(Malformed):
        balances(f'[{{"asset":"USD","balance":{balance}}}]')


@pytest.mark.parametrize(
    "frame",
    [
        '[1,{"a":["1",1,"1"]},"ticker","XBT/USD"]',
        '[1,[],"ticker","XBT/USD"]',
        '[1,[["1","1","1.5","x","m",""]],"trade","XBT/USD"]',
        '[1,[["1","1","soon","b","m",""]],"trade","XBT/USD"]',
        '[1,[[1.5,"1","1.5","b","m",""]],"trade","XBT/USD"]',
        '[1,["1","1","1.5"],"spread","XBT/USD"]',
        '[1,["1.5","59.0","1","1","1","1","1","1",-1],"ohlc-1","XBT/USD"]',
        '[1,["1.5","59.0","1","1","1","1","1","1",1],"ohlc-1","XBT/USD"]',
        '[1,{"a":[["1"]]},"book-10","XBT/USD"]',
        '[1,{"a":[[1,2]]},"book-10","XBT/USD"]',
        '[1,{"a":["12"]},"book-10","XBT/USD"]',
        '[1,{"a":[],"c":"4294967296"},"book-10","XBT/USD"]',
        '[[{"O":{"userref":2147483648}}],"openOrders"]',
        '[[{"O":{"vol":1.5}}],"openOrders"]',
        '[["O"],"openOrders"]',
        '[[{"T":{"price":"1"}}],"ownTrades"]',
    ],
)
def test_a_payload_of_another_shape_is_malformed_and_not_quoted(frame: str) -> None:
    with pytest.raises(Malformed) as raised:
        rows(frame)
    assert frame not in str(raised.value)


def test_a_channel_without_rows_is_malformed() -> None:
    entry = Entry(api=1, name="balances", kind=CHANNEL, access=PRIVATE, help="None.")
    with pytest.raises(Malformed):
        rows_of(Update(Route(entry, {}, "balances", ""), b"[]", 0, False, None, None))


def test_the_levels_of_a_kept_book_become_rows_as_well() -> None:
    """`--book full` hands over tuples of the book."""
    update = update_of('[1,{"a":[["7.30","1.0","1.5"]],"c":"1"},"book-10","XBT/USD"]')
    update.body = BookChanges([("7.30", "1.0")], [], 1, False)
    assert to_builtins(rows_of(update)) == [
        {"asks": [{"price": "7.30", "qty": "1.0"}], "bids": [], "checksum": 1}
    ]


def test_the_schema_knows_every_channel_and_never_null_but_for_an_open_gap() -> None:
    found = schema(ENTRIES)
    names = {reference["$ref"].rpartition("/")[2] for reference in found["oneOf"]}
    channels = {"update_" + entry.name for entry in ENTRIES if entry.rows}
    assert channels <= names
    assert names <= set(found["$defs"])
    assert json.dumps(found).count('"null"') == 1
    assert found["$defs"]["gap"]["properties"]["to"]["anyOf"][1] == {"type": "null"}


def test_the_schema_describes_every_field_of_every_row() -> None:
    definitions = schema(ENTRIES)["$defs"]
    for name in ("Ticker", "Spread", "Trade", "Candle", "Order", "Fill", "Level"):
        for field, described in definitions[name]["properties"].items():
            assert described.get("description"), f"{name}.{field}"
            assert described.get("type") in {"string", "integer", "boolean"}, f"{name}.{field}"
