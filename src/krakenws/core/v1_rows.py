"""How the data of API v1 becomes rows: the shapes of its payloads, and what their parts are in v2's words.

Public frames are decoded once, straight into these structs; arrays may have grown at their ends and objects
by any field (quirks P1, B3). Books and private channels were decoded on the way, for their checksums and
sequence numbers, and come as the update's body.

Source: v1.md sections 6 and 7.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from msgspec import DecodeError, Meta, Struct, ValidationError, convert
from msgspec.json import Decoder
from msgspec.structs import replace

from krakenws.core.dialect import BookChanges, Malformed
from krakenws.core.rows import Candle, Fill, Level, Levels, Order, Spread, Ticker, Trade, utc

if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.core.events import Update
    from krakenws.core.rows import Reader

Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Userref = Annotated[int, Meta(ge=-(1 << 31), le=(1 << 31) - 1)]


class _Quote(Struct, array_like=True, gc=False):
    price: str
    whole_lots: Any
    qty: str


class _Last(Struct, array_like=True, gc=False):
    price: str
    qty: str


class _Figures(Struct, array_like=True, gc=False):
    today: str
    day: str


class _Counts(Struct, array_like=True, gc=False):
    today: Count
    day: Count


class TickerPayload(Struct, gc=False):
    """Source: v1.md 6.1."""

    a: _Quote
    b: _Quote
    c: _Last
    v: _Figures
    p: _Figures
    t: _Counts
    l: _Figures  # noqa: E741 - the wire's name
    h: _Figures
    o: _Figures


class CandlePayload(Struct, array_like=True, gc=False):
    """Source: v1.md 6.2."""

    time: str
    etime: str
    open: str
    high: str
    low: str
    close: str
    vwap: str
    volume: str
    count: Count


class TradePayload(Struct, array_like=True, gc=False):
    """Source: v1.md 6.3."""

    price: str
    volume: str
    time: str
    side: str
    order_type: str
    misc: str = ""


class SpreadPayload(Struct, array_like=True, gc=False):
    """Source: v1.md 6.4: the first element is the bid (quirk F11)."""

    bid: str
    ask: str
    time: str
    bid_volume: str
    ask_volume: str


class _TickerFrame(Struct, array_like=True, gc=False):
    channel_id: Any
    payload: TickerPayload


class _CandleFrame(Struct, array_like=True, gc=False):
    channel_id: Any
    payload: CandlePayload


class _TradeFrame(Struct, array_like=True, gc=False):
    channel_id: Any
    payload: list[TradePayload]


class _SpreadFrame(Struct, array_like=True, gc=False):
    channel_id: Any
    payload: SpreadPayload


class OrderDescription(Struct):
    """`descr` of an order; null and "" both mean nothing."""

    pair: str | None = None
    position: str | None = None
    type: str | None = None
    ordertype: str | None = None
    price: str | None = None
    price2: str | None = None
    leverage: str | None = None
    order: str | None = None
    close: str | None = None


class Contingent(Struct):
    """The conditional close of an order."""

    ordertype: str | None = None
    price: str | None = None
    price2: str | None = None


class OrderPayload(Struct):
    """Source: v1.md 7.2: a delta has only what changed; `userref` is 0 when unset (quirk P10)."""

    refid: str | None = None
    userref: Userref | None = None
    cl_ord_id: str | None = None
    ext_ord_id: str | None = None
    status: str | None = None
    opentm: str | None = None
    starttm: str | None = None
    expiretm: str | None = None
    lastupdated: str | None = None
    descr: OrderDescription | None = None
    vol: str | None = None
    vol_exec: str | None = None
    display_volume: str | None = None
    display_volume_remain: str | None = None
    cost: str | None = None
    fee: str | None = None
    avg_price: str | None = None
    stopprice: str | None = None
    limitprice: str | None = None
    misc: str | None = None
    oflags: str | None = None
    timeinforce: str | None = None
    contingent: Contingent | None = None
    margin: bool | None = None
    cancel_reason: str | None = None
    amended: bool | None = None
    amend_reason: str | None = None
    sender_sub_id: str | None = None
    ratecount: Count | None = None


class FillPayload(Struct):
    """Source: v1.md 7.1: `postxid` is text on the wire although documented as an integer."""

    ordertxid: str
    pair: str
    time: str
    type: str
    ordertype: str
    price: str
    cost: str
    fee: str
    vol: str
    margin: str | None = None
    margin_borrow: bool | None = None
    postxid: str | int | None = None
    userref: Userref | None = None
    cl_ord_id: str | None = None
    ext_exec_id: str | None = None


# Not strict: counts are documented as text in places, and came as numbers in every capture.
_decode_ticker = Decoder(_TickerFrame, strict=False).decode
_decode_candle = Decoder(_CandleFrame, strict=False).decode
_decode_trade = Decoder(_TradeFrame, strict=False).decode
_decode_spread = Decoder(_SpreadFrame, strict=False).decode
_BROKEN = (DecodeError, UnicodeDecodeError, RecursionError)  # DecodeError includes ValidationError
_SIDES = {"b": "buy", "s": "sell", "buy": "buy", "sell": "sell"}
BACKFILL = "backfill"
"""The source of rows that REST told."""
_ORDER_TYPES = {"m": "market", "l": "limit"}


def _ticker(update: Update) -> list[Ticker]:
    try:
        day = _decode_ticker(update.frame).payload
    except _BROKEN as error:
        raise _malformed("ticker", error) from None
    return [
        Ticker(
            day.b.price,
            day.b.qty,
            day.a.price,
            day.a.qty,
            day.c.price,
            day.v.day,
            day.p.day,
            day.l.day,
            day.h.day,
            day.c.qty,
            day.o.day,
            day.t.day,
            day.v.today,
            day.p.today,
            day.l.today,
            day.h.today,
            day.o.today,
            day.t.today,
        )
    ]


def _candle(update: Update) -> list[Candle]:
    try:
        candle = _decode_candle(update.frame).payload
    except _BROKEN as error:
        raise _malformed("ohlc", error) from None
    interval = update.route.values.get("interval", 1)
    if not isinstance(interval, int) or interval < 1:
        raise Malformed("an ohlc channel without an interval")
    return [
        Candle(
            open=candle.open,
            high=candle.high,
            low=candle.low,
            close=candle.close,
            trades=candle.count,
            volume=candle.volume,
            vwap=candle.vwap,
            interval_begin=utc(_minutes_before(candle.etime, interval)),
            interval=interval,
            timestamp=utc(candle.etime),
            last_update=utc(candle.time),
        )
    ]


def _minutes_before(epoch: str, minutes: int) -> str:
    seconds, dot, fraction = epoch.partition(".")
    if not (seconds.isascii() and seconds.isdigit() and len(seconds) < 20):
        raise Malformed("a time that is no decimal number of seconds")
    return f"{int(seconds) - minutes * 60}{dot}{fraction}"


def _trades(update: Update) -> list[Trade]:
    if update.body is not None:  # filled in from REST
        return update.body  # type: ignore[no-any-return]  # what `rest_trades` made
    try:
        return _as_trades(_decode_trade(update.frame).payload)
    except _BROKEN as error:
        raise _malformed("trade", error) from None


def _as_trades(payloads: list[TradePayload]) -> list[Trade]:
    try:
        return [
            Trade(
                trade.price,
                trade.volume,
                _SIDES[trade.side],
                _ORDER_TYPES.get(trade.order_type, trade.order_type),
                utc(trade.time),
                trade.misc or None,
            )
            for trade in payloads
        ]
    except KeyError:
        raise Malformed("a trade whose side is neither b nor s") from None


def rest_trades(result: object) -> tuple[list[Trade], int]:
    """Return the trades of a REST answer, oldest first, and the nanoseconds from which to ask on.

    Args:
        result: of `/0/public/Trades`, numbers with a point as text.

    Raises:
        Malformed: it has no such shape.

    Source: docs.kraken.com, REST "Get Recent Trades".
    """
    try:
        ((_, rows),) = ((name, value) for name, value in result.items() if name != "last")  # type: ignore[attr-defined]  # else AttributeError
        told = _as_trades(convert([row[:6] for row in rows], list[TradePayload]))
        trades = [
            replace(trade, trade_id=int(row[6]), source=BACKFILL)
            for trade, row in zip(told, rows, strict=True)
        ]
        return trades, int(result["last"])  # type: ignore[index]  # else TypeError
    except (AttributeError, TypeError, LookupError, ValueError) as error:
        raise Malformed(f"not the shape of REST trades: {error}") from None


def _spread(update: Update) -> list[Spread]:
    try:
        spread = _decode_spread(update.frame).payload
    except _BROKEN as error:
        raise _malformed("spread", error) from None
    return [Spread(spread.bid, spread.ask, spread.bid_volume, spread.ask_volume, utc(spread.time))]


def book_rows(update: Update) -> list[Levels]:
    """Return the one row of a book frame. Both APIs: the dialect has made `BookChanges` of it."""
    changes = update.body
    if not isinstance(changes, BookChanges):
        raise Malformed("a book frame without levels")
    checksum = changes.checksum
    if checksum is not None and not 0 <= checksum < 1 << 32:
        raise Malformed("a checksum of more than 32 bits")
    return [Levels(_levels(changes.asks), _levels(changes.bids), checksum)]


def _levels(levels: Sequence[Sequence[str]]) -> list[Level]:
    """Check what msgspec checks elsewhere: books were decoded by the standard library."""
    rows: list[Level] = []
    append = rows.append
    try:
        for level in levels:
            price, qty = level[0], level[1]
            if price.__class__ is not str or qty.__class__ is not str or level.__class__ is str:
                raise TypeError  # noqa: TRY301 - told below
            append(Level(price, qty))
    except (TypeError, LookupError):
        raise Malformed("a book level that is not a list of price and quantity texts") from None
    return rows


def _orders(update: Update) -> list[Order]:
    try:
        found = convert(update.body, list[dict[str, OrderPayload]], strict=False)
    except (ValidationError, RecursionError) as error:
        raise _malformed("openOrders", error) from None
    return [_order(order_id, order) for orders in found for order_id, order in orders.items()]


def _order(order_id: str, order: OrderPayload) -> Order:
    descr = order.descr or OrderDescription()
    limit, stop = _prices(descr.ordertype, descr.price, descr.price2)
    close = order.contingent or Contingent()
    close_limit, close_stop = _prices(close.ordertype, close.price, close.price2)
    return Order(
        order_id=order_id,
        symbol=descr.pair or None,
        side=descr.type or None,
        order_type=descr.ordertype or None,
        order_qty=order.vol,
        cum_qty=order.vol_exec,
        cum_cost=order.cost,
        avg_price=order.avg_price,
        fee=order.fee,
        limit_price=_nonzero(order.limitprice) or limit,
        stop_price=_nonzero(order.stopprice) or stop,
        order_status=order.status or None,
        time_in_force=order.timeinforce or None,
        order_userref=order.userref or None,
        cl_ord_id=order.cl_ord_id or None,
        ext_ord_id=order.ext_ord_id or None,
        ord_ref_id=order.refid or None,
        position_id=descr.position or None,
        timestamp=_time(order.lastupdated),
        open_time=_time(order.opentm),
        effective_time=_time(order.starttm),
        expire_time=_time(order.expiretm),
        oflags=order.oflags or None,
        misc=order.misc or None,
        leverage=descr.leverage or None,
        margin=order.margin,
        display_qty=order.display_volume,
        display_qty_remain=order.display_volume_remain,
        contingent_order_type=close.ordertype or None,
        contingent_limit_price=close_limit,
        contingent_stop_price=close_stop,
        reason=order.cancel_reason or None,
        amended=order.amended,
        amend_reason=order.amend_reason or None,
        sender_sub_id=order.sender_sub_id or None,
        ratecount=order.ratecount,
        descr=descr.order or None,
        close=descr.close or None,
    )


def _prices(order_type: str | None, price: str | None, price2: str | None) -> tuple[str | None, str | None]:
    """Return limit and trigger of an order: what `price` and `price2` are depends on its type.

    v1's own `limitprice` is no help: it is 0 on every limit order captured, and is set by a trigger only.
    """
    if order_type == "limit":
        return _nonzero(price), None
    return _nonzero(price2), _nonzero(price)


def _nonzero(price: str | None) -> str | None:
    return price if price and price.strip("0.") else None


def _time(epoch: str | None) -> str | None:
    """Null, "" and 0 all mean: not set."""
    return utc(epoch) if _nonzero(epoch) and epoch else None


def _fills(update: Update) -> list[Fill]:
    try:
        found = convert(update.body, list[dict[str, FillPayload]], strict=False)
    except (ValidationError, RecursionError) as error:
        raise _malformed("ownTrades", error) from None
    return [
        Fill(
            exec_id=exec_id,
            order_id=fill.ordertxid,
            symbol=fill.pair,
            side=fill.type,
            order_type=fill.ordertype,
            last_qty=fill.vol,
            last_price=fill.price,
            cost=fill.cost,
            fee=fill.fee,
            timestamp=utc(fill.time),
            margin=fill.margin,
            margin_borrow=fill.margin_borrow,
            order_userref=fill.userref or None,
            cl_ord_id=fill.cl_ord_id or None,
            position_id=str(fill.postxid) if fill.postxid else None,
            ext_exec_id=fill.ext_exec_id or None,
        )
        for fills in found
        for exec_id, fill in fills.items()
    ]


def _malformed(channel: str, error: Exception) -> Malformed:
    return Malformed(f"not the shape of {channel}: {error}")


READERS: dict[str, Reader] = {
    "Ticker": _ticker,
    "Level": book_rows,
    "Spread": _spread,
    "Trade": _trades,
    "Candle": _candle,
    "Order": _orders,
    "Fill": _fills,
}
"""What reads each kind of rows."""
