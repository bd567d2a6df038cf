"""API v1: its channels and commands, and how its frames are read and made.

Source: docs.kraken.com, Spot WebSocket API v1; where captured frames disagree, the frames are right
(`quirks.md`). v1 numbers are quoted text, data frames are arrays read from their ends, everything else is an
object with `event`.
"""

from __future__ import annotations

from krakenws.core.catalog import (
    AMOUNT,
    AMOUNT_OR_ZERO,
    BOOLEAN,
    BOOLEAN_TEXT,
    CHANNEL,
    CLIENT_ID,
    COMMAND,
    IDS,
    INT32_TEXT,
    INTEGER,
    LEVERAGE,
    LIMIT,
    PAIR,
    PAIRS,
    PRICE,
    PRIVATE,
    PUBLIC,
    TEXT,
    TIME,
    TIMESTAMP,
    WORD,
    WORDS,
    Entry,
    Param,
    is_zero,
)
from krakenws.core.dialect import (
    ACK,
    DATA,
    ERROR,
    HEARTBEAT,
    PONG,
    REPLY,
    STATUS,
    UNKNOWN,
    BookChanges,
    Dialect,
    Envelope,
    Malformed,
    decode,
    encode,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
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
_PRICED = frozenset(_ORDER_TYPES[1:-1])
_TWO_PRICES = frozenset(name for name in _ORDER_TYPES if name.endswith("-limit"))


def _priced(values: Values, prefix: str = "", suffix: str = "") -> Wrong | None:
    """Which prices an order type needs. Source: v1 addOrder, `price` and `price2`."""
    first, second = f"{prefix}price{suffix}", f"{prefix}price2{suffix}"
    type_, price, price2 = (values.get(name) for name in (f"{prefix}ordertype{suffix}", first, second))
    of = f"{prefix}ordertype{suffix}={type_}"
    if type_ in _PRICED and price is None:
        return first, f"{of} needs {first}="
    if type_ in _TWO_PRICES and price2 is None:
        return second, f"{of} needs {second}=, its limit price"
    if price2 is not None and type_ not in _TWO_PRICES:
        return second, f"{of} has no {second}; only {', '.join(sorted(_TWO_PRICES))} have one"
    if str(type_).startswith("trailing-stop") and not str(price).startswith("+"):
        return first, f"{of} needs a relative price such as {first}=+1.5%"
    return None


def _order_rules(values: Values) -> Wrong | None:
    """Combinations Kraken documents as refused. Source: v1 addOrder."""
    flags = str(values.get("oflags", "")).split(",")
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
    given = [name for name in values if name.startswith("close[")]
    if not given:
        return None
    if "close[ordertype]" not in values:
        return "close[ordertype]", f"{given[0]} needs close[ordertype]="
    return _priced(values, "close[", "]")


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

_REPLIES = frozenset(entry.reply for entry in ENTRIES if entry.trading)
_CHANNELS = {entry.name: entry for entry in ENTRIES if entry.kind == CHANNEL}
_RESULT_NAMES = {
    "txid": "order_id",
    "originaltxid": "original_order_id",
    "currentTime": "current_time",
    "triggerTime": "trigger_time",
}
_SUFFIX = {"book": "depth", "ohlc": "interval"}


class DialectV1(Dialect):
    """API v1. Source: v1.md sections 4 to 9."""

    api = 1
    path = ""
    entries = ENTRIES

    def tail(self, frame: bytes) -> bytes:
        """Return `"channelName","pair"]` of a data frame: channel ids are not to be trusted (quirk F4)."""
        return frame[frame.rfind(b',"', 0, frame.rfind(b',"')) :]

    def tail_of(self, channel: str, symbol: str) -> bytes:
        return f',"{channel}","{symbol}"]'.encode("utf-8", "surrogatepass")  # JSON can name half a character

    def classify(self, frame: bytes) -> Envelope:
        message = decode(frame)
        if isinstance(message, list):
            return _data(message)
        if not isinstance(message, dict):
            raise Malformed("neither an array nor an object")
        return _event(message)

    def book(self, frame: bytes) -> BookChanges:
        """Both sides may come in one frame, the checksum in its last object (quirks B1, B2)."""
        message = decode(frame)
        asks: list[Any] = []
        bids: list[Any] = []
        checksum = None
        snapshot = False
        try:
            if len(message) == 4 and len(one := message[1]) == 2 and "c" in one:  # nearly every frame
                changed, other = one.get("a", ()), one.get("b", ())
                if type(changed) is list or type(other) is list:
                    return BookChanges(changed, other, int(one["c"]), False)
            for part in message[1:-2]:
                for name, value in part.items():
                    if name == "c":
                        checksum = int(value)
                        continue
                    snapshot = snapshot or name in {"as", "bs"}
                    side = asks if name in {"a", "as"} else bids if name in {"b", "bs"} else None
                    if side is not None:
                        side.extend(value)
        except (TypeError, ValueError, AttributeError, LookupError, OverflowError):
            raise Malformed("not the shape of a book") from None
        if not snapshot and not asks and not bids and checksum is None:
            raise Malformed("a book frame without levels")
        return BookChanges(asks, bids, checksum, snapshot)

    def items_told_once(self, entry: Entry, body: Any) -> list[tuple[str, Any]] | None:
        if entry is not OWN_TRADES or not all(isinstance(part, dict) for part in body):
            return None
        return [(name, {name: fields}) for part in body for name, fields in part.items()]

    def status_details(self, envelope: Envelope) -> tuple[str, str]:
        connection_id = envelope.body.get("connectionID")
        return _text_of(envelope.body, "version"), "" if connection_id is None else str(connection_id)

    def confirmed(self, envelope: Envelope) -> dict[str, Any]:
        subscription = envelope.body.get("subscription")
        given = subscription if isinstance(subscription, dict) else {}
        return {name: value for name, value in given.items() if name not in {"name", "token"}}

    def method(self, envelope: Envelope) -> str:
        return envelope.name.removesuffix("Status")

    def result(self, envelope: Envelope) -> dict[str, Any]:
        return {
            _RESULT_NAMES.get(name, name): value
            for name, value in envelope.body.items()
            if name not in {"event", "status", "reqid", "errorMessage"}
        }

    def channel(self, entry: Entry, values: Values) -> str:
        suffix = _SUFFIX.get(entry.name)
        return f"{entry.name}-{values[suffix]}" if suffix else entry.name

    def parse_channel(self, channel: str) -> tuple[Entry, Values] | None:
        name, _, number = channel.partition("-")
        entry = _CHANNELS.get(name)
        suffix = _SUFFIX.get(name)
        if entry is None or channel != (f"{name}-{number}" if suffix else name):
            return None
        if suffix is None:
            return entry, {}
        if not (number.isascii() and number.isdigit() and len(number) <= 5 and int(number)):
            return None
        return entry, {suffix: int(number)}

    def subscribe(
        self, entry: Entry, values: Values, symbols: Sequence[str], token: str, *, leave: bool = False
    ) -> bytes:
        """Only fields of the channel are sent: others are refused (quirk F2), a missing name too (F1)."""
        fields = (
            ("depth", "interval")
            if leave
            else tuple(name for name in values if name not in {"pair", "reqid"})
        )
        subscription: dict[str, Any] = {"name": entry.name, **{n: values[n] for n in fields if n in values}}
        if token:
            subscription["token"] = token
        message: dict[str, Any] = {
            "event": "unsubscribe" if leave else "subscribe",
            "subscription": subscription,
        }
        if symbols:
            message["pair"] = list(symbols)
        if "reqid" in values:
            message["reqid"] = values["reqid"]
        return encode(message)

    def ping(self, req_id: int) -> bytes:
        return encode({"event": "ping", "reqid": req_id})

    def command(self, entry: Entry, values: Values, token: str, req_id: int | None) -> bytes:
        message: dict[str, Any] = {"event": entry.name}
        if token:
            message["token"] = token
        message.update(values)
        if req_id is not None:
            message["reqid"] = req_id
        return encode(message)


def _data(message: list[Any]) -> Envelope:
    """Read a data array from its ends: it may have grown in the middle (quirks B1, F3) or behind (P1)."""
    if len(message) >= 4 and isinstance(message[-1], str) and isinstance(message[-2], str):
        return Envelope(DATA, message[1:-2], channel=message[-2], symbol=message[-1])
    if len(message) >= 2 and isinstance(message[0], list) and isinstance(message[1], str):
        tail = message[2] if len(message) > 2 else None
        sequence = tail.get("sequence") if isinstance(tail, dict) else None
        return Envelope(
            DATA, message[0], channel=message[1], sequence=sequence if isinstance(sequence, int) else None
        )
    raise Malformed("an array that names no channel")


def _text_of(message: dict[str, Any], name: str) -> str:
    value = message.get(name)
    return value if isinstance(value, str) else ""


def _event(message: dict[str, Any]) -> Envelope:
    event = _text_of(message, "event")
    if event == "heartbeat":
        return Envelope(HEARTBEAT, message)
    req_id = message.get("reqid")
    req_id = req_id if isinstance(req_id, int) and not isinstance(req_id, bool) else None
    if event == "pong":
        return Envelope(PONG, message, req_id=req_id, name=event)
    if event == "systemStatus":
        return Envelope(STATUS, message, status=_text_of(message, "status"))
    error = _text_of(message, "errorMessage")
    if event == "subscriptionStatus":
        return _ack(message, req_id, error)
    if event in _REPLIES:
        if not error and message.get("status") != "ok":
            error = "(no reason given)"
        return Envelope(
            REPLY, message, req_id=req_id, name=event, error=error, symbol=_text_of(message, "pair")
        )
    if event == "error" or isinstance(message.get("Error"), str):
        return Envelope(
            ERROR, message, req_id=req_id, error=error or _text_of(message, "Error") or "(no reason given)"
        )
    return Envelope(UNKNOWN, message, name=event, req_id=req_id)


def _ack(message: dict[str, Any], req_id: int | None, error: str) -> Envelope:
    """Acks come one a pair; refusals may lack channel and pair (quirk F8), private acks have no pair (P3)."""
    subscription = message.get("subscription")
    asked = subscription if isinstance(subscription, dict) else {}
    name = _text_of(asked, "name")
    channel = _text_of(message, "channelName")
    if not channel and name:
        suffix = asked.get(_SUFFIX.get(name, ""))
        channel = f"{name}-{suffix}" if suffix is not None else name
    status = _text_of(message, "status")
    return Envelope(
        ACK,
        message,
        channel=channel,
        symbol=_text_of(message, "pair"),
        name=name or channel.partition("-")[0],
        req_id=req_id,
        error=error or ("(no reason given)" if status == "error" else ""),
        status=status,
    )


V1 = DialectV1()
