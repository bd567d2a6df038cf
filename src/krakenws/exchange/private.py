"""openOrders and ownTrades on API v1: payloads for `Subscription.publish`, which numbers them.

An order is told in full when it is first seen and when it is amended, otherwise only what changed:

    pending(order)     everything, `status` pending
    opened(order)      status
    filled(order)      quantities and money, no status
    triggered(order)   the trigger, which has fired (not captured; inferred)
    ended(order)       status, time, quantities and money, the reason of a cancellation

Prices and money have the decimals of the pair's wire, quantities eight, times six. Keys stand in the order of
the captured frames: ASCII in full entries, the order of the list above in changes. What is not set is null, 0
or "" as captured, never left out.

Source: v1.md 7.1 to 7.3, 9.1; captured frames of 2022 and 2023; quirks P2, P4, P6, P10.
"""

from __future__ import annotations

from json import dumps

from krakenws.exchange.orders import ZERO
from krakenws.exchange.records import PENDING, money_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from krakenws.exchange.orders import CloseOrder
    from krakenws.exchange.records import FillRecord, OrderRecord

    Entry = dict[str, object]

SNAPSHOT_TRADES = 50
SPOT_POSITION = "TKH2SE-M7IF5-CFI7LT"
"""`postxid` of every fill that belongs to no position: in captures of two accounts and Kraken's own pages."""
_QTY_DECIMALS = 8


def orders_snapshot(orders: Iterable[OrderRecord], ratecount: int | None = None) -> bytes:
    """Return all open orders in full, newest first."""
    newest = sorted(orders, key=lambda order: (-order.opened_us, order.order_id))
    return _payload([{order.order_id: _entry(order, ratecount)} for order in newest])


def pending(order: OrderRecord, ratecount: int | None = None) -> bytes:
    """Return the first word of a new order; its status is still `pending`, whatever became of it since."""
    entry = _entry(order, ratecount)
    entry["status"] = PENDING
    return _payload([{order.order_id: entry}])


def opened(order: OrderRecord, ratecount: int | None = None) -> bytes:
    """Return that an order is in the book."""
    return _change(order, {"status": "open"}, ratecount)


def filled(order: OrderRecord, ratecount: int | None = None) -> bytes:
    """Return what an order has filled so far."""
    return _change(order, _progress(order), ratecount)


def triggered(order: OrderRecord, ratecount: int | None = None) -> bytes:
    """Return that a stop or take-profit order has fired."""
    entry = _entry(order, None)
    names = ("status", "misc", "stopprice", "limitprice")
    return _change(order, {name: entry[name] for name in names}, ratecount)


def amended(order: OrderRecord, reason: str = "User requested", ratecount: int | None = None) -> bytes:
    """Return an amended order in full."""
    entry = {"amend_reason": reason, "amended": True, **_entry(order, ratecount)}
    return _payload([{order.order_id: entry}])


def ended(order: OrderRecord, ratecount: int | None = None) -> bytes:
    """Return the last word on an order."""
    change: Entry = {"lastupdated": time_text(order.ended_us), "status": order.status, **_progress(order)}
    return _change(order, change, ratecount, order.reason)


def trades_snapshot(fills: Sequence[FillRecord]) -> bytes:
    """Return the last fifty fills, newest first; they have neither userref nor cl_ord_id.

    Args:
        fills: all of the account's, oldest first.
    """
    return _payload([{fill.trade_id: _trade(fill)} for fill in reversed(fills[-SNAPSHOT_TRADES:])])


def trades(fills: Sequence[FillRecord]) -> bytes:
    """Return new fills, in order."""
    entries: list[Entry] = []
    for fill in fills:
        entry = _trade(fill)
        if fill.order.terms.userref:
            entry["userref"] = fill.order.terms.userref
        if fill.order.terms.cl_ord_id:
            entry["cl_ord_id"] = fill.order.terms.cl_ord_id
        entries.append({fill.trade_id: entry})
    return _payload(entries)


def describe(order: OrderRecord) -> str:
    """Return `descr` of an answer: `buy 10.00000000 USDTUSD @ limit 0.9980 with 5:1 leverage`."""
    return _sentence(order, order.instrument.altname, order.instrument.pair_decimals, bare_market=True)


def time_text(at_us: int) -> str:
    """Return microseconds since 1970 as seconds, `1700076648.883709`."""
    return f"{at_us // 1_000_000}.{at_us % 1_000_000:06d}"


def _entry(order: OrderRecord, ratecount: int | None) -> Entry:
    """Return everything about an order, keys in ASCII order."""
    terms, decimals = order.terms, order.instrument.wire_price_decimals
    zero = money_text(ZERO, decimals)
    fired = order.triggered
    entry: Entry = {"avg_price": money_text(order.avg_price, decimals)}
    if terms.cl_ord_id:
        entry["cl_ord_id"] = terms.cl_ord_id
    if terms.close is not None:
        entry["contingent"] = _contingent(terms.close)
    entry |= {
        "cost": money_text(order.cost, decimals),
        "descr": _descr(order),
        "expiretm": None if terms.expire_us is None else time_text(terms.expire_us),
        "fee": money_text(order.fee, decimals),
        "limitprice": money_text(order.limit_price or ZERO, decimals) if fired else zero,
    }
    if terms.leverage:
        entry["margin"] = True
    entry |= {
        "misc": _misc(order),
        "oflags": terms.oflags,
        "opentm": time_text(order.opened_us),
    }
    if ratecount is not None:
        entry["ratecount"] = ratecount
    return entry | {
        "refid": order.parent_id or None,
        "starttm": None if terms.start_us is None else time_text(terms.start_us),
        "status": order.status,
        "stopprice": money_text(order.trigger_price or ZERO, decimals) if fired else zero,
        "timeinforce": terms.time_in_force,
        "userref": terms.userref,
        "vol": money_text(order.qty, _QTY_DECIMALS),
        "vol_exec": money_text(order.filled, _QTY_DECIMALS),
    }


def _descr(order: OrderRecord) -> Entry:
    terms, instrument = order.terms, order.instrument
    price, price2 = order.price_texts(instrument.wire_price_decimals)
    return {
        "close": None if terms.close is None else _closing(terms.close),
        "leverage": f"{terms.leverage}:1" if terms.leverage else None,
        "order": _sentence(order, instrument.wsname, instrument.wire_price_decimals, bare_market=False),
        "ordertype": terms.order_type,
        "pair": instrument.wsname,
        "price": price,
        "price2": price2,
        "type": terms.side,
    }


def _sentence(order: OrderRecord, pair: str, decimals: int, *, bare_market: bool) -> str:
    """Return an order in words; on the feed even a market order names a price, of zero."""
    terms = order.terms
    price, price2 = order.price_texts(decimals)
    words = terms.order_type.removesuffix("-limit").replace("-", " ")
    text = f"{terms.side} {money_text(order.qty, _QTY_DECIMALS)} {pair} @ {words}"
    if terms.limit_price is not None or terms.trigger_price is not None or not bare_market:
        text += f" {price}"
    if terms.limit_price is not None and terms.trigger_price is not None:
        text += f" -> limit {price2}"
    return f"{text} with {terms.leverage}:1 leverage" if terms.leverage else text


def _closing(close: CloseOrder) -> str:
    words = close.order_type.removesuffix("-limit").replace("-", " ")
    return f"close position @ {words} {close.price}" + (f" -> limit {close.price2}" if close.price2 else "")


def _contingent(close: CloseOrder) -> Entry:
    entry: Entry = {"ordertype": close.order_type, "price": close.price}
    return entry | {"price2": close.price2} if close.price2 else entry


def _misc(order: OrderRecord) -> str:
    """Return how a trigger fired: `stopped` against its owner, `touched` in his favour."""
    if not order.triggered:
        return ""
    return "touched" if order.terms.order_type.startswith("take-profit") else "stopped"


def _progress(order: OrderRecord) -> Entry:
    decimals = order.instrument.wire_price_decimals
    return {
        "vol_exec": money_text(order.filled, _QTY_DECIMALS),
        "cost": money_text(order.cost, decimals),
        "fee": money_text(order.fee, decimals),
        "avg_price": money_text(order.avg_price, decimals),
    }


def _change(order: OrderRecord, change: Entry, ratecount: int | None, reason: str = "") -> bytes:
    change["userref"] = order.terms.userref
    if reason:
        change["cancel_reason"] = reason
    if ratecount is not None:
        change["ratecount"] = ratecount
    return _payload([{order.order_id: change}])


def _trade(fill: FillRecord) -> Entry:
    order, decimals = fill.order, fill.order.instrument.wire_price_decimals
    return {
        "cost": money_text(fill.cost, decimals),
        "fee": money_text(fill.fee, decimals),
        "margin": money_text(fill.margin, decimals),
        "ordertxid": order.order_id,
        "ordertype": order.terms.order_type,
        "pair": order.instrument.wsname,
        "postxid": fill.position_id or SPOT_POSITION,
        "price": money_text(fill.price, decimals),
        "time": time_text(fill.at_us),
        "type": order.terms.side,
        "vol": money_text(fill.qty, _QTY_DECIMALS),
    }


def _payload(entries: Sequence[Entry]) -> bytes:
    return dumps(entries, separators=(",", ":")).encode()
