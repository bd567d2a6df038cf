"""Typed rows: what the data of a frame means, the same for both APIs, under v2's field names.

Prices, quantities, amounts and fees are decimal text with the wire's digits; counts are integers; times are
RFC 3339 text in UTC with microseconds. A field that the exchange did not send is None, and is left out of
JSON. Rows of public channels do not repeat the symbol, which is in their update.

The decimal pattern is said in the JSON Schema only: checking it again on each number would cost more than
decoding the frame. This module needs msgspec, and is imported when the first row is made.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from msgspec import Meta, Struct

from krakenws.core.dialect import Malformed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from krakenws.core.events import Update

    Reader: TypeAlias = Callable[[Update], list[Any]]

DECIMAL = r"^-?[0-9]+(\.[0-9]+)?$"
"""What a price, quantity, amount or fee looks like."""


def _says(text: str) -> Meta:
    return Meta(description=text)


def _decimal(text: str) -> Meta:
    return Meta(description=text, extra_json_schema={"pattern": DECIMAL})


def _time(text: str) -> Meta:
    return Meta(description=text, extra_json_schema={"format": "date-time"})


def _number(text: str, at_least: int = 0, at_most: int = (1 << 63) - 1) -> Meta:
    """The limits are the readers' to hold: a JSON writer of 64-bit integers takes no others."""
    return Meta(description=text, extra_json_schema={"minimum": at_least, "maximum": at_most})


class Ticker(Struct, frozen=True, omit_defaults=True, gc=False):
    """Best bid and ask, last trade, and the figures of the last 24 hours and of today (since 00:00 UTC)."""

    bid: Annotated[str, _decimal("best bid, quote currency (v1 b[0])")]
    bid_qty: Annotated[str, _decimal("quantity at the best bid, base currency (v1 b[2])")]
    ask: Annotated[str, _decimal("best ask, quote currency (v1 a[0])")]
    ask_qty: Annotated[str, _decimal("quantity at the best ask, base currency (v1 a[2])")]
    last: Annotated[str, _decimal("price of the last trade (v1 c[0])")]
    volume: Annotated[str, _decimal("volume of 24 h, base currency (v1 v[1])")]
    vwap: Annotated[str, _decimal("volume-weighted average price of 24 h (v1 p[1])")]
    low: Annotated[str, _decimal("lowest price of 24 h (v1 l[1])")]
    high: Annotated[str, _decimal("highest price of 24 h (v1 h[1])")]
    last_qty: Annotated[str | None, _decimal("quantity of the last trade, base currency (v1 c[1])")] = None
    open: Annotated[str | None, _decimal("price 24 h ago (v1 o[1])")] = None
    trades: Annotated[int | None, _number("trades in 24 h (v1 t[1])")] = None
    volume_today: Annotated[str | None, _decimal("volume today, base currency (v1 v[0])")] = None
    vwap_today: Annotated[str | None, _decimal("volume-weighted average price today (v1 p[0])")] = None
    low_today: Annotated[str | None, _decimal("lowest price today (v1 l[0])")] = None
    high_today: Annotated[str | None, _decimal("highest price today (v1 h[0])")] = None
    open_today: Annotated[str | None, _decimal("first price today (v1 o[0])")] = None
    trades_today: Annotated[int | None, _number("trades today (v1 t[0])")] = None


class Level(Struct, frozen=True, gc=False):
    """One price level of a book; in changes, quantity zero removes it."""

    price: Annotated[str, _decimal("quote currency")]
    qty: Annotated[str, _decimal("base currency; zero removes the level")]


class Levels(Struct, frozen=True, omit_defaults=True):
    """The level changes of one book frame in wire order; of a snapshot: its levels, best first."""

    asks: list[Level]
    bids: list[Level]
    checksum: Annotated[
        int | None, _number("CRC32 that the exchange sent with the frame (v1 c)", at_most=(1 << 32) - 1)
    ] = None


class Spread(Struct, frozen=True, gc=False):
    """Best bid and ask. v1 only; v2 says the same with a ticker of its `bbo` trigger."""

    bid: Annotated[str, _decimal("best bid, quote currency")]
    ask: Annotated[str, _decimal("best ask, quote currency")]
    bid_qty: Annotated[str, _decimal("quantity at the best bid, base currency")]
    ask_qty: Annotated[str, _decimal("quantity at the best ask, base currency")]
    timestamp: Annotated[str, _time("when the quote changed")]


class Trade(Struct, frozen=True, omit_defaults=True, gc=False):
    """One trade; side and order type are the taker's."""

    price: Annotated[str, _decimal("quote currency")]
    qty: Annotated[str, _decimal("base currency")]
    side: Annotated[str, Meta(description="of the taker", extra_json_schema={"enum": ["buy", "sell"]})]
    ord_type: Annotated[str, _says("of the taker: limit or market")]
    timestamp: Annotated[str, _time("when it was matched")]
    misc: Annotated[str | None, _says("v1's miscellaneous text, when there is any")] = None
    trade_id: Annotated[int | None, _number("the pair's number of it; v1 streams none")] = None
    source: Annotated[str | None, _says("backfill: REST told it, the stream had missed it")] = None


class Candle(Struct, frozen=True, omit_defaults=True, gc=False):
    """One candle, running or last; final only when a later one begins or its end has passed (quirk K2)."""

    open: Annotated[str, _decimal("first price")]
    high: Annotated[str, _decimal("highest price")]
    low: Annotated[str, _decimal("lowest price")]
    close: Annotated[str, _decimal("last price")]
    trades: Annotated[int, _number("trades in the interval")]
    volume: Annotated[str, _decimal("base currency")]
    vwap: Annotated[str, _decimal("volume-weighted average price")]
    interval_begin: Annotated[str, _time("start of the interval (v1 etime less the interval, quirk K1)")]
    interval: Annotated[int, _number("minutes", at_least=1)]
    timestamp: Annotated[str, _time("end of the interval (v1 etime)")]
    last_update: Annotated[str | None, _time("last trade in it (v1 element 0)")] = None


class Order(Struct, frozen=True, omit_defaults=True, gc=False):
    """One of your orders. Updates carry only what changed: merge them by `order_id` (quirk P4)."""

    order_id: Annotated[str, _says("the exchange's id")]
    symbol: Annotated[str | None, _says("the pair (v1 descr.pair)")] = None
    side: Annotated[str | None, _says("buy or sell (v1 descr.type)")] = None
    order_type: Annotated[str | None, _says("limit, market, stop-loss … (v1 descr.ordertype)")] = None
    order_qty: Annotated[str | None, _decimal("base currency; quote with oflags viqc (v1 vol)")] = None
    cum_qty: Annotated[str | None, _decimal("filled so far, as order_qty (v1 vol_exec)")] = None
    cum_cost: Annotated[str | None, _decimal("cost so far, quote currency (v1 cost)")] = None
    avg_price: Annotated[str | None, _decimal("average price of its fills; 0 before (v1 avg_price)")] = None
    fee: Annotated[str | None, _decimal("fee so far, quote currency (v1 fee)")] = None
    limit_price: Annotated[
        str | None,
        _says("limit as ordered; once triggered, the actual one (v1 descr.price, descr.price2, limitprice)"),
    ] = None
    stop_price: Annotated[
        str | None, _says("trigger as ordered; of trailing types the actual one (v1 descr.price, stopprice)")
    ] = None
    order_status: Annotated[
        str | None, _says("v1's word as sent: pending, open, closed, canceled, expired (v1 status)")
    ] = None
    time_in_force: Annotated[str | None, _says("GTC, IOC or GTD (v1 timeinforce)")] = None
    order_userref: Annotated[
        int | None, _number("your number; v1's 0 is none", -(1 << 31), (1 << 31) - 1)
    ] = None
    cl_ord_id: Annotated[str | None, _says("your id of it")] = None
    ext_ord_id: Annotated[str | None, _says("a partner's id of it")] = None
    ord_ref_id: Annotated[str | None, _says("the order it comes from (v1 refid)")] = None
    position_id: Annotated[str | None, _says("the position it is for (v1 descr.position)")] = None
    timestamp: Annotated[str | None, _time("last change (v1 lastupdated)")] = None
    open_time: Annotated[str | None, _time("when it was placed (v1 opentm)")] = None
    effective_time: Annotated[str | None, _time("when it starts (v1 starttm)")] = None
    expire_time: Annotated[str | None, _time("when it ends (v1 expiretm)")] = None
    oflags: Annotated[str | None, _says("comma list: post, fcib, fciq, viqc, nompp")] = None
    misc: Annotated[str | None, _says("comma list: stopped, touched, liquidation, partial")] = None
    leverage: Annotated[str | None, _says("as sent, such as 5:1 (v1 descr.leverage)")] = None
    margin: Annotated[bool | None, _says("whether it is funded on margin")] = None
    display_qty: Annotated[str | None, _decimal("iceberg: visible quantity (v1 display_volume)")] = None
    display_qty_remain: Annotated[
        str | None, _decimal("iceberg: what is left of it (v1 display_volume_remain)")
    ] = None
    contingent_order_type: Annotated[str | None, _says("closing order's type (v1 contingent.ordertype)")] = (
        None
    )
    contingent_limit_price: Annotated[str | None, _says("closing order's limit")] = None
    contingent_stop_price: Annotated[str | None, _says("closing order's trigger")] = None
    reason: Annotated[str | None, _says("why it was canceled or closed (v1 cancel_reason)")] = None
    amended: Annotated[bool | None, _says("whether it was amended")] = None
    amend_reason: Annotated[str | None, _says("why it was amended")] = None
    sender_sub_id: Annotated[str | None, _says("self-trade prevention id")] = None
    ratecount: Annotated[int | None, _number("rate counter, with ratecounter=true")] = None
    descr: Annotated[str | None, _says("the order as a phrase (v1 descr.order)")] = None
    close: Annotated[str | None, _says("its closing order as a phrase (v1 descr.close)")] = None


class Fill(Struct, frozen=True, omit_defaults=True, gc=False):
    """One of your trades. A new subscription sends the last fifty again: tell them by `exec_id` (P6)."""

    exec_id: Annotated[str, _says("the trade's id")]
    order_id: Annotated[str, _says("the order it filled (v1 ordertxid)")]
    symbol: Annotated[str, _says("the pair (v1 pair)")]
    side: Annotated[str, _says("buy or sell (v1 type)")]
    order_type: Annotated[str, _says("the order's type (v1 ordertype)")]
    last_qty: Annotated[str, _decimal("base currency (v1 vol)")]
    last_price: Annotated[str, _decimal("quote currency (v1 price)")]
    cost: Annotated[str, _decimal("quote currency")]
    fee: Annotated[str, _decimal("quote currency")]
    timestamp: Annotated[str, _time("when it was matched (v1 time)")]
    margin: Annotated[str | None, _decimal("initial margin, quote currency")] = None
    margin_borrow: Annotated[bool | None, _says("whether it borrowed on margin")] = None
    order_userref: Annotated[
        int | None, _number("your number; v1's 0 is none", -(1 << 31), (1 << 31) - 1)
    ] = None
    cl_ord_id: Annotated[str | None, _says("your id of the order")] = None
    position_id: Annotated[str | None, _says("the position it belongs to (v1 postxid)")] = None
    ext_exec_id: Annotated[str | None, _says("a partner's id of it")] = None


class Wallet(Struct, frozen=True, gc=False):
    """One wallet's part of a balance."""

    type: Annotated[str, _says("spot or earn")]
    id: Annotated[str, _says("main, flexible, bonded, liquid or locked")]
    balance: Annotated[str, _decimal("units of the asset")]


class Balance(Struct, frozen=True, omit_defaults=True):
    """An asset's balance: in a snapshot with its wallets, in an update with the ledger entry behind it."""

    asset: Annotated[str, _says("BTC, USD …")]
    balance: Annotated[str, _decimal("units of the asset; in an update: of the wallet")]
    asset_class: Annotated[str | None, _says("currency …")] = None
    wallets: Annotated[list[Wallet] | None, _says("snapshots: its parts")] = None
    amount: Annotated[str | None, _decimal("change, signed")] = None
    fee: Annotated[str | None, _decimal("units of the asset")] = None
    ledger_id: Annotated[str | None, _says("the ledger entry's id")] = None
    ref_id: Annotated[str | None, _says("what caused it: of a trade, the trade's id")] = None
    timestamp: Annotated[str | None, _time("when it was booked")] = None
    type: Annotated[str | None, _says("trade, deposit, withdrawal, transfer …")] = None
    subtype: Annotated[str | None, _says("finer than type")] = None
    category: Annotated[str | None, _says("the exchange's grouping of types")] = None
    wallet_type: Annotated[str | None, _says("spot or earn")] = None
    wallet_id: Annotated[str | None, _says("main, flexible, bonded, liquid or locked")] = None
    user: Annotated[str | None, _says("the account it is of, with users=all")] = None


ROWS: dict[str, type[Struct]] = {
    "Ticker": Ticker,
    "Level": Levels,
    "Spread": Spread,
    "Trade": Trade,
    "Candle": Candle,
    "Order": Order,
    "Fill": Fill,
    "Balance": Balance,
}
"""The row type of each word that an entry's `rows` may be."""


def rows_of(update: Update) -> list[Any]:
    """Return the rows of one data frame, in wire order.

    Raises:
        Malformed: the payload does not have its channel's shape.
    """
    route = update.route
    reader = route.reader
    if reader is None:
        reader = route.reader = _reader(route.entry.api, route.entry.rows)
    return reader(update)


def _reader(api: int, rows: str) -> Reader:
    """Import here, as `v1_rows` and `v2_rows` import this module."""
    from krakenws.core import v1_rows, v2_rows

    reader = {1: v1_rows.READERS, 2: v2_rows.READERS}.get(api, {}).get(rows)
    if reader is None:
        raise Malformed("data of a channel that has no known rows")
    return reader


def utc(epoch: str) -> str:
    """Return RFC 3339 UTC of epoch seconds as text: microseconds, and finer digits where the wire has them.

    Text and integer arithmetic: a double cannot hold today's microseconds exactly for long.

    Raises:
        Malformed: it is no such text, or after the year 9999.
    """
    seconds, _, fraction = epoch.partition(".")
    if len(fraction) < 6:
        fraction = fraction.ljust(6, "0")
    if not (fraction.isascii() and fraction.isdigit()):
        raise Malformed("a time that is no decimal number of seconds")
    return f"{second(seconds)}.{fraction}Z"


@lru_cache(maxsize=4096)  # thousands of rows share a second
def second(text: str) -> str:
    """Return RFC 3339 UTC, without zone and fraction, of whole epoch seconds.

    Raises:
        Malformed: they are not digits, or after the year 9999.
    """
    from datetime import UTC, datetime

    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) < 253_402_300_800):
        raise Malformed("a time that is no decimal number of seconds")
    return datetime.fromtimestamp(int(text), UTC).isoformat()[:19]


def schema_of(types: Sequence[type[Struct]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return JSON Schemas of row types and the definitions they refer to, as `#/$defs/NAME`.

    A field that is None is not written, so null is nobody's value and left out.
    """
    from msgspec.json import schema_components

    schemas, components = schema_components(types, ref_template="#/$defs/{name}")
    return list(schemas), _without_null(components)


def _without_null(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_null(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {
        name: _without_null(value)
        for name, value in schema.items()
        if not (name == "anyOf" or (name == "default" and value is None))
    }
    for choice in schema.get("anyOf", ()):
        if choice != {"type": "null"}:
            plain = {**_without_null(choice), **plain}
    return plain
