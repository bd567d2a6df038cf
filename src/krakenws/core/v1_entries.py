"""API v1: what may be said, its channels and commands. Help and a usage error need no more than this of it.

Source: docs.kraken.com, Spot WebSocket API v1; where captured frames disagree, the frames are right
(`quirks.md`).
"""

from __future__ import annotations

from krakenws.core.catalog import CHANNEL, COMMAND, PRIVATE, PUBLIC, Entry, Param
from krakenws.core.kinds import (
    AMOUNT,
    AMOUNT_OR_ZERO,
    BOOLEAN,
    BOOLEAN_TEXT,
    CLIENT_ID,
    IDS,
    INT32_TEXT,
    INTEGER,
    LEVERAGE,
    LIMIT,
    PAIR,
    PAIRS,
    PRICE,
    TEXT,
    TIME,
    TIMESTAMP,
    WORD,
    WORDS,
    is_zero,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from krakenws.core.catalog import Values, Wrong

_DOCS = "https://docs.kraken.com/api/docs/websocket-v1/"
_PAIRS = Param(
    "pair", PAIRS, "pairs to follow; patterns such as '*/USD' are expanded", required=True, example="XBT/USD"
)
_REQID = Param("reqid", INTEGER, "a number of yours that the answer echoes", example="7")
_NEEDS_AUTH = "needs a WebSocket token: see 'krakenws token --help'"
_CHECKED = (
    "held to the pair's decimals, tick and minimums before it is sent (--no-check: as typed), and to the"
    " [policy] of config.toml; --dry-run prints the frame instead"
)
_DEADLINE = Param(
    "deadline",
    TIMESTAMP,
    "refuse the request after this time, 0.5 to 60 s ahead",
    example="2026-11-22T10:00:05.000Z",
)
_DEPTHS = (10, 25, 100, 500, 1000)
_INTERVALS = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
_REBASED = Param("rebased", BOOLEAN, "show xStocks in rebased units", default=True)
_ORDER_TYPES = (
    "market",
    "limit",
    "stop-loss",
    "take-profit",
    "stop-loss-limit",
    "take-profit-limit",
    "trailing-stop",
    "trailing-stop-limit",
    "settle-position",
)
_CLOSE_TYPES = _ORDER_TYPES[1:-1]
_CLOSE_NAMES = ("close[ordertype]", "close[price]", "close[price2]")
_CLOSING = frozenset(_CLOSE_NAMES)
_PRICED = frozenset(_ORDER_TYPES[1:-1])
_TWO_PRICES = frozenset(name for name in _ORDER_TYPES if name.endswith("-limit"))


def _priced(values: Values, names: tuple[str, str, str] = ("ordertype", "price", "price2")) -> Wrong | None:
    """Which prices an order type needs. Source: v1 addOrder, `price` and `price2`."""
    kind, first, second = names
    type_, price, price2 = values.get(kind), values.get(first), values.get(second)
    if type_ in _PRICED and price is None:
        field, wrong = first, f"needs {first}="
    elif type_ in _TWO_PRICES and price2 is None:
        field, wrong = second, f"needs {second}=, its limit price"
    elif price2 is not None and type_ not in _TWO_PRICES:
        field, wrong = second, f"has no {second}; only {', '.join(sorted(_TWO_PRICES))} have one"
    elif str(type_).startswith("trailing-stop") and not str(price).startswith("+"):
        field, wrong = first, f"needs a relative price such as {first}=+1.5%"
    else:
        return None
    return field, f"{kind}={type_} {wrong}"


def _order_rules(values: Values) -> Wrong | None:
    """Combinations Kraken documents as refused. Source: v1 addOrder."""
    flags = str(values["oflags"]).split(",") if "oflags" in values else ()
    if is_zero(str(values["volume"])) and values["ordertype"] != "settle-position":
        return "volume", "volume=0 is for ordertype=settle-position only, where it means the whole position"
    if values["ordertype"] == "market" and "price" in values:
        return "price", "ordertype=market has no price; for a limit order say ordertype=limit"
    if "post" in flags and values["ordertype"] != "limit":
        return "oflags", "oflags=post needs ordertype=limit"
    if "viqc" in flags and (values["ordertype"] != "market" or values["type"] != "buy"):
        return "oflags", "oflags=viqc needs ordertype=market type=buy"
    if "fcib" in flags and "fciq" in flags:
        return "oflags", "oflags=fcib and oflags=fciq exclude each other"
    if values.get("timeinforce") == "GTD" and "expiretm" not in values:
        return "expiretm", "timeinforce=GTD needs expiretm="
    if "userref" in values and "cl_ord_id" in values:
        return "cl_ord_id", "userref and cl_ord_id exclude each other"
    return None


def _close_rules(values: Values) -> Wrong | None:
    if _CLOSING.isdisjoint(values):
        return None
    if "close[ordertype]" not in values:
        first = next(name for name in values if name in _CLOSING)
        return "close[ordertype]", f"{first} needs close[ordertype]="
    return _priced(values, _CLOSE_NAMES)


def _names_one_order(values: Values) -> Wrong | None:
    if ("txid" in values) == ("cl_ord_id" in values):
        return "txid", f"needs one of txid=, cl_ord_id={', not both' if 'txid' in values else ''}"
    return None


def _names_orders(values: Values) -> Wrong | None:
    """Userrefs are among the `txid` on the wire."""
    if "txid" not in values and "cl_ord_id" not in values:
        return "txid", "needs one of txid=, userref=, cl_ord_id="
    if "txid" in values and "cl_ord_id" in values:
        return "cl_ord_id", "cl_ord_id= cannot be combined with txid= or userref="
    return None


def _edits_something(values: Values) -> Wrong | None:
    if any(name in values for name in ("volume", "price", "price2", "oflags", "newuserref")):
        return None
    return "volume", "needs something to change: volume=, price=, price2=, oflags= or newuserref="


def _amends_something(values: Values) -> Wrong | None:
    if any(
        name in values for name in ("volume", "display_volume", "limit_price", "trigger_price", "post_only")
    ):
        return None
    return (
        "volume",
        "needs something to change: volume=, limit_price=, trigger_price=, display_volume= or post_only=",
    )


def _below_a_day(values: Values) -> Wrong | None:
    """Source: v2 cancel_all_orders_after: below 86400 seconds."""
    timeout = values["timeout"]
    if isinstance(timeout, int) and timeout >= 86400:
        return "timeout", "timeout= must be below 86400 seconds"
    return None


def _public(name: str, text: str, rows: str, *params: Param, examples: tuple[str, ...], **more: Any) -> Entry:
    return Entry(
        api=1,
        name=name,
        kind=CHANNEL,
        access=PUBLIC,
        help=text,
        params=(_PAIRS, *params, _REQID),
        rows=rows,
        examples=examples,
        source=f"{_DOCS}{name}",
        **more,
    )


def _private(
    name: str, text: str, rows: str, *params: Param, examples: tuple[str, ...], **more: Any
) -> Entry:
    return Entry(
        api=1,
        name=name,
        kind=CHANNEL,
        access=PRIVATE,
        help=text,
        params=(*params, _REQID),
        rows=rows,
        examples=examples,
        source=f"{_DOCS}{name.lower()}",
        owes_snapshot=True,
        notes=(_NEEDS_AUTH, *more.pop("notes", ())),
        **more,
    )


def _trading(name: str, text: str, *params: Param, examples: tuple[str, ...], **more: Any) -> Entry:
    return Entry(
        api=1,
        name=name,
        kind=COMMAND,
        access=PRIVATE,
        help=text,
        params=(*params, _REQID),
        reply=f"{name}Status",
        trading=True,
        examples=examples,
        source=f"{_DOCS}{name.lower()}",
        notes=(
            "sent at most once; exit code 0 accepted, 5 refused, 6 outcome unknown",
            *more.pop("notes", ()),
            _NEEDS_AUTH,
        ),
        **more,
    )


PING = Entry(
    api=1,
    name="ping",
    kind=COMMAND,
    access=PUBLIC,
    help="Ask the exchange for a pong and print how long it took.",
    params=(_REQID,),
    reply="pong",
    examples=("ping", "ping reqid=42"),
    source=f"{_DOCS}ping",
)
TICKER = _public(
    "ticker",
    "Best bid and ask, last trade, and the day's figures, on each trade.",
    "Ticker",
    examples=("ticker XBT/USD ETH/EUR XDG/XBT",),
    notes=("sent on trades only: on a quiet pair bid and ask can be stale; 'spread' follows every quote",),
)
OHLC = _public(
    "ohlc",
    "Candles: the running one again on each trade.",
    "Candle",
    Param("interval", INTEGER, "minutes a candle", choices=_INTERVALS, default=1, always=True, bare=True),
    examples=("ohlc LTC/EUR XBT/USD 60",),
    notes=("no frame closes a candle: it is final when a later one begins or its end has passed",),
)
TRADE = _public(
    "trade",
    "Every trade: price, quantity, side and order type of the taker.",
    "Trade",
    examples=("trade XBT/USD",),
    notes=("no snapshot and no trade ids: what happened while a connection was down is not in the stream",),
)
SPREAD = _public(
    "spread",
    "Best bid and ask with their quantities, on each change.",
    "Spread",
    examples=("spread XBT/USD XBT/EUR",),
)
BOOK = _public(
    "book",
    "Order book: a snapshot, then changed levels, proved by checksum.",
    "Level",
    Param("depth", INTEGER, "price levels on each side", choices=_DEPTHS, default=10, always=True, bare=True),
    examples=("book ETH/USD 10", "book XBT/USD ETH/USD 25 --book top"),
    owes_snapshot=True,
    notes=(
        "the checksum covers the best ten levels of each side; levels beyond them are outside any checksum",
        "quantity 0 removes a level; levels pushed out of the depth are not announced",
    ),
)
OPEN_ORDERS = _private(
    "openOrders",
    "Your open orders: all of them, then every change.",
    "Order",
    Param("ratecounter", BOOLEAN, "add the rate counter to each update", default=False),
    _REBASED,
    examples=("openOrders", "openOrders ratecounter=true"),
    notes=("updates carry only what changed: merge them by order_id",),
)
OWN_TRADES = _private(
    "ownTrades",
    "Your trades: the last fifty, then each fill.",
    "Fill",
    Param("snapshot", BOOLEAN, "begin with the last fifty trades", default=True),
    Param("consolidate_taker", BOOLEAN, "merge the fills of one taker order", default=True),
    _REBASED,
    examples=("ownTrades", "ownTrades snapshot=false"),
)
BALANCES = _private(
    "balances",
    "Never existed on v1: sent as the original script sends it; the exchange's answer decides.",
    "",
    examples=("balances --api 1",),
    explicit=True,
)
ADD_ORDER = _trading(
    "addOrder",
    "Place one order.",
    Param("pair", PAIR, "the pair", required=True, example="XBT/USD"),
    Param("type", WORD, "side of the order", required=True, choices=("buy", "sell"), example="buy"),
    Param("ordertype", WORD, "how it executes", required=True, choices=_ORDER_TYPES, example="limit"),
    Param(
        "volume",
        AMOUNT_OR_ZERO,
        "quantity in base units (in quote units with oflags=viqc)",
        required=True,
        example="0.125",
    ),
    Param(
        "price", PRICE, "limit price, or the trigger of stop, take-profit and trailing types", example="7500"
    ),
    Param(
        "price2", LIMIT, "limit price of the stop-loss-limit, take-profit-limit, trailing-stop-limit types"
    ),
    Param("leverage", LEVERAGE, "margin factor the pair offers, 2 to 5 and more", example="5"),
    Param("margin", BOOLEAN, "use the pair's highest leverage", default=False),
    Param("reduce_only", BOOLEAN, "margin orders: only reduce a position", default=False),
    Param(
        "oflags",
        WORDS,
        "fciq fee in quote, fcib fee in base, post: maker only, viqc: volume in quote, nompp",
        choices=("fciq", "fcib", "post", "viqc", "nompp"),
        example="post",
    ),
    Param(
        "timeinforce", WORD, "how long it stands", choices=("GTC", "IOC", "GTD"), default="GTC", example="IOC"
    ),
    Param("starttm", TIME, "when it starts: 0 now, +SECONDS, or unix time", example="+10"),
    Param("expiretm", TIME, "when it ends: 0 never, +SECONDS, or unix time", example="+3600"),
    _DEADLINE,
    Param(
        "userref",
        INT32_TEXT,
        "a number of yours, not unique; without it or cl_ord_id a number of ours is sent",
        example="1771",
    ),
    Param("cl_ord_id", CLIENT_ID, "an id of yours, unique among open orders", example="my-7"),
    Param("validate", BOOLEAN_TEXT, "only check the order, place nothing", default="false", example="true"),
    Param(
        "close[ordertype]",
        WORD,
        "type of the order that closes the fill",
        choices=_CLOSE_TYPES,
        example="limit",
    ),
    Param("close[price]", PRICE, "its price or trigger", example="11000"),
    Param("close[price2]", LIMIT, "its limit price"),
    Param(
        "stp_type",
        WORD,
        "self-trade prevention",
        choices=("cancel_newest", "cancel_oldest", "cancel_both"),
        default="cancel_newest",
    ),
    Param("sender_sub_id", TEXT, "self-trade prevention for institutions"),
    Param("trading_agreement", WORD, "legacy, German residents", choices=("agree",)),
    rules=(_order_rules, _priced, _close_rules),
    notes=(_CHECKED,),
    examples=(
        "addOrder pair=XBT/EUR type=sell ordertype=limit price=7500 volume=0.125",
        "addOrder pair=XBT/USD type=buy ordertype=market volume=0.002 leverage=5",
        "addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01 validate=true",
    ),
)
AMEND_ORDER = _trading(
    "amendOrder",
    "Change an order in place; it keeps its id and, where possible, its place in the queue.",
    Param("txid", TEXT, "the order's id", example="OGTT3Y-C6I3P-XRI6HX"),
    Param("cl_ord_id", CLIENT_ID, "or your own id of it"),
    Param("pair", PAIR, "needed for pairs that are not crypto"),
    Param("volume", AMOUNT, "new quantity; below what is filled cancels the rest", example="0.2"),
    Param("display_volume", AMOUNT, "iceberg orders: visible quantity"),
    Param("limit_price", PRICE, "new limit price", example="7600"),
    Param("trigger_price", PRICE, "new trigger price"),
    Param("post_only", BOOLEAN, "refuse a price that would take", default=False),
    _DEADLINE,
    rules=(_names_one_order, _amends_something),
    notes=(_CHECKED,),
    examples=("amendOrder txid=OGTT3Y-C6I3P-XRI6HX limit_price=7600",),
)
EDIT_ORDER = _trading(
    "editOrder",
    "Cancel an order and place its changed copy: new id, new place in the queue.",
    Param("orderid", TEXT, "id or userref of the order", required=True, example="OGTT3Y-C6I3P-XRI6HX"),
    Param("pair", PAIR, "its pair, which cannot change", required=True, example="XBT/USD"),
    Param("volume", AMOUNT, "new quantity; Kraken documents it as required", example="0.2"),
    Param("price", PRICE, "new price", example="7600"),
    Param("price2", LIMIT, "new second price"),
    Param(
        "oflags",
        WORDS,
        "only post means anything here; empty clears it",
        choices=("post", "fciq", "fcib", "viqc"),
    ),
    Param(
        "newuserref",
        INT32_TEXT,
        "userref of the new order; without it the old one's is dropped and a number of ours sent",
    ),
    Param("validate", BOOLEAN, "only check, change nothing", default=False),
    rules=(_edits_something,),
    notes=(_CHECKED,),
    examples=("editOrder orderid=OGTT3Y-C6I3P-XRI6HX pair=XBT/USD price=7600 volume=0.2",),
)
CANCEL_ORDER = _trading(
    "cancelOrder",
    "Cancel orders by id, userref or your own id.",
    Param(
        "txid",
        IDS,
        "order ids; a number is taken as a userref",
        example="OADMSD-7AGC3-IMB46A,OD6VRE-HCSPM-CKORER",
    ),
    Param("userref", IDS, "userrefs; one may stand for many orders", wire="txid", example="1771"),
    Param("cl_ord_id", IDS, "ids of yours"),
    rules=(_names_orders,),
    answers="txid",
    examples=("cancelOrder txid=OADMSD-7AGC3-IMB46A,OD6VRE-HCSPM-CKORER", "cancelOrder userref=1771"),
)
CANCEL_ALL = _trading("cancelAll", "Cancel all open orders of the account.", examples=("cancelAll",))
CANCEL_ALL_ORDERS_AFTER = _trading(
    "cancelAllOrdersAfter",
    "Dead man's switch: cancel all orders of the account unless renewed in time.",
    Param("timeout", INTEGER, "seconds until it fires; 0 switches it off", required=True, example="60"),
    rules=(_below_a_day,),
    examples=("cancelAllOrdersAfter timeout=60", "cancelAllOrdersAfter timeout=0"),
)

ENTRIES: tuple[Entry, ...] = (
    TICKER,
    BOOK,
    SPREAD,
    OHLC,
    TRADE,
    OPEN_ORDERS,
    OWN_TRADES,
    BALANCES,
    ADD_ORDER,
    AMEND_ORDER,
    EDIT_ORDER,
    CANCEL_ORDER,
    CANCEL_ALL,
    CANCEL_ALL_ORDERS_AFTER,
    PING,
)
PLACING = frozenset(entry.name for entry in (ADD_ORDER, EDIT_ORDER, AMEND_ORDER))
"""The commands that put an order into the book or change one there; all others only take away."""
