"""Whatever JSON a frame is, it becomes rows or is malformed; and no output format fails on it."""

from __future__ import annotations

import contextlib
import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from msgspec.json import encode

from krakenws.core.catalog import Bound
from krakenws.core.dialect import BookChanges, Malformed
from krakenws.core.events import Route, Update
from krakenws.core.rows import rows_of, utc
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import BOOK, OHLC, OPEN_ORDERS, OWN_TRADES, SPREAD, TICKER, TRADE
from krakenws.sinks import Out, open_sink

ROUTES = [
    Route(TICKER, {}, "ticker", "XBT/USD"),
    Route(TRADE, {}, "trade", "XBT/USD"),
    Route(SPREAD, {}, "spread", "XBT/USD"),
    Route(OHLC, {"interval": 21600}, "ohlc-21600", "XBT/USD"),
    Route(BOOK, {"depth": 10}, "book-10", "XBT/USD"),
    Route(OPEN_ORDERS, {}, "openOrders", ""),
    Route(OWN_TRADES, {}, "ownTrades", ""),
]
# Values that a frame may have, and things that look like them.
TEXTS = st.one_of(
    st.text(max_size=8),
    st.sampled_from(["b", "s", "l", "m", "1.5", "0.00000000", "1616333924.737428", "-1", "1e9", "\x1b[2J"]),
)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS
_NAMES = """a b c v p t l h o as bs OABC descr userref vol status pair price cost fee time type ordertype
    ordertxid contingent lastupdated"""
KEYS = st.sampled_from(_NAMES.split())
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(KEYS, inner, max_size=9),
    max_leaves=25,
)


class Nowhere(Out):
    """Takes everything."""

    def write(self, data: bytes) -> None:
        data.decode()  # what leaves is UTF-8, whatever came


def updates(payload: Any) -> list[Update]:
    """The same payload as data of each channel, as the protocol would hand it over."""
    found = []
    for route in ROUTES:
        tail = [route.channel, route.symbol] if route.symbol else [route.channel, {"sequence": 2}]
        frame = json.dumps([1, payload, *tail] if route.symbol else [payload, *tail]).encode()
        body: Any = None if route.symbol else payload
        if route.entry is BOOK:
            with contextlib.suppress(Malformed):
                body = V1.book(frame)
        found.append(Update(route, frame, 1, isinstance(body, BookChanges) and body.snapshot, None, body))
    return found


@given(VALUES)
@example({"a": [["1", "2"]], "c": "99999999999999999999"})
@example([{"OABC": {"userref": 1 << 70}}])
@example([{"OABC": {"status": "\ud800"}}])
@example(["1.5", "1616333924.737428", "1", "1", "1", "1", "1", "1", 1 << 70])
def test_any_payload_becomes_rows_or_is_malformed(payload: Any) -> None:
    for update in updates(payload):
        with contextlib.suppress(Malformed, UnicodeEncodeError):
            encode(rows_of(update))


@given(VALUES)
@example([{"OABC": {"status": "\ud800"}}])
@example([["1.5", "\ud800", "1616333924.737428", "b", "m", "\ud800"]])
def test_no_output_format_fails_on_any_payload(payload: Any) -> None:
    said: list[str] = []
    for update in updates(payload):
        for name in ("json", "csv", "text"):
            sink = open_sink(name, Nowhere(-1), bound=[Bound(update.route.entry, {})], warn=said.append)
            sink.write([update])
            sink.close()


@given(st.integers(0, 253_402_300_799), st.integers(0, 999_999))
def test_a_time_keeps_its_microseconds(second: int, microsecond: int) -> None:
    from datetime import datetime

    text = utc(f"{second}.{microsecond:06d}")
    back = datetime.fromisoformat(text)
    assert back.microsecond == microsecond
    assert int((back - datetime.fromisoformat("1970-01-01T00:00:00Z")).total_seconds()) == second
    assert len(text) == 27


@given(st.text(max_size=25))
def test_any_text_is_a_time_or_malformed(text: str) -> None:
    with contextlib.suppress(Malformed):
        assert utc(text).endswith("Z")
