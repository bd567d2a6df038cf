"""Kraken's REST API as the exchange answers it: routing, parameters, signatures and the envelope.

Theory of this file
-------------------
A request goes in, an answer comes out; sockets are elsewhere. `RestApi` knows how Kraken's REST talks, a
`RestBackend` knows what there is to say. Every call is one entry of a table; its function reads parameters
and asks the backend. What is refused is raised as `Refusal` in Kraken's words and leaves in the envelope, at
HTTP status 200: `{"error":["EGeneral:…"]}`, without a result.

A private call is checked in this order: method, then key, signature and nonce (`keys.py`), permission, and
its cost to the key's counter, and only then its parameters. Public calls take GET and POST, private ones POST
alone (quirk T8).

`/sandbox/faults` is not Kraken's: it lists, adds and clears faults, for callers on this machine only.

Source: auth.md sections 1 to 7; docs.kraken.com/api/docs/rest-api.
"""

from __future__ import annotations

from datetime import UTC, datetime
from json import loads
from urllib.parse import parse_qsl

from msgspec.json import Encoder

from krakenws.core.kinds import CLIENT_ID
from krakenws.core.v1_entries import ADD_ORDER
from krakenws.errors import UsageError
from krakenws.exchange.checks import NO_INDEX
from krakenws.exchange.fault_rules import (
    ACCEPT_THEN_CUT,
    EXCEEDED_RATE,
    INVALID_SESSION,
    LOSE_ANSWER,
    NO_ACK,
    REFUSE,
    parse_faults,
)
from krakenws.exchange.requests import Refusal
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from krakenws.exchange.faults import FaultPlan
    from krakenws.exchange.instruments import Asset, Instrument
    from krakenws.exchange.keys import ApiKeys, Grant

    Json = object
    """What becomes JSON; a Decimal becomes a number with all its digits."""
    Fields = dict[str, str]
    """Parameters as text, as forms carry them. An empty one is left out: it was not given."""

FAULTS_PATH = "/sandbox/faults"
_INVALID = "EGeneral:Invalid arguments"
_INTERNAL = "EGeneral:Internal error"
_UNKNOWN_METHOD = "EGeneral:Unknown method"
_UNKNOWN_PAIR = "EQuery:Unknown asset pair"
_UNKNOWN_ASSET = "EQuery:Unknown asset"
_REFUSALS = {EXCEEDED_RATE: "EAPI:Rate limit exceeded", INVALID_SESSION: "ESession:Invalid session"}
_INTERVALS = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_ENCODER = Encoder(decimal_format="number")


@record
class HttpRequest:
    """One HTTP request.

    Attributes:
        method: in capitals.
        path: what is asked for, as sent, without its query.
        query: the query's fields in order, decoded.
        headers: by name in small letters.
        body: as received.
        peer: the address it came from, without the port.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    headers: Mapping[str, str]
    body: bytes
    peer: str


@record
class HttpResponse:
    """One answer.

    Attributes:
        status: the HTTP status; `reason` is its phrase, "" for the usual one.
        body: its bytes.
        content_type: what they are.
        withheld: it never comes: the connection stays and is silent.
        cut: the connection ends instead.
    """

    status: int
    body: bytes
    content_type: str = "application/json; charset=utf-8"
    reason: str = ""
    withheld: bool = False
    cut: bool = False


class RestBackend:
    """What an exchange offers to its REST callers. Rows and entries have Kraken's shapes.

    Every method may raise `Refusal`. Decimals in what it returns are sent as JSON numbers, text as text.

    Attributes:
        keys: the API keys it has issued.
    """

    keys: ApiKeys

    def now_us(self, now: float, /) -> int:
        """Return microseconds since 1970."""
        raise NotImplementedError

    def failed(self, error: Exception, now: float, /) -> None:
        """Take note of a mistake of our own, which the caller is told of as an internal error."""

    def count_public(self, address: str, now: float, /) -> None:
        """Count a public call of an address, which may be one too many."""

    def count_private(self, key: str, account: str, method: str, now: float, /) -> None:
        """Count a call of an API key and its account, which may be one too many."""

    def system_status(self) -> str:
        """Return the status of the exchange, `online`."""
        raise NotImplementedError

    def assets(self) -> Sequence[Asset]:
        """Return what can be held."""
        raise NotImplementedError

    def instruments(self) -> Sequence[Instrument]:
        """Return the pairs that are traded."""
        raise NotImplementedError

    def find(self, name: str, /) -> Instrument | None:
        """Return a traded pair by any of its names, or None."""
        raise NotImplementedError

    def pair_status(self, instrument: Instrument, /) -> str:
        """Return a pair's own status, `online`."""
        raise NotImplementedError

    def ticker(self, instrument: Instrument, /) -> Json:
        """Return `{"a": …, "b": …, …}` of one pair."""
        raise NotImplementedError

    def depth(self, instrument: Instrument, count: int, /) -> Json:
        """Return `{"asks": rows, "bids": rows}` of (price, volume, unix time), best first."""
        raise NotImplementedError

    def trades(self, instrument: Instrument, since_ns: int | None, count: int, /) -> tuple[Json, str]:
        """Return rows of trades later than a time, oldest first, and the nanoseconds of the last."""
        raise NotImplementedError

    def spread(self, instrument: Instrument, since_s: int | None, /) -> tuple[Json, int]:
        """Return rows of (unix time, bid, ask) from a time on, and the time of the last."""
        raise NotImplementedError

    def ohlc(self, instrument: Instrument, interval_minutes: int, since_s: int | None, /) -> tuple[Json, int]:
        """Return candles later than a time, the last one unfinished, and the time of the last finished."""
        raise NotImplementedError

    def websockets_token(self, grant: Grant, now: float, /) -> tuple[str, int]:
        """Return a fresh token and the seconds within which it must be used."""
        raise NotImplementedError

    def balance(self, grant: Grant, now: float, /) -> Json:
        """Return the balances, text by asset."""
        raise NotImplementedError

    def open_orders(self, grant: Grant, fields: Fields, now: float, /) -> Json:
        """Return the open orders by id; fields: trades, userref, cl_ord_id."""
        raise NotImplementedError

    def closed_orders(self, grant: Grant, fields: Fields, now: float, /) -> tuple[Json, int]:
        """Return a page of closed orders by id, and how many there are in all.

        Fields: trades, userref, cl_ord_id, start, end, ofs, closetime.
        """
        raise NotImplementedError

    def query_orders(self, grant: Grant, txids: Sequence[str], fields: Fields, now: float, /) -> Json:
        """Return certain orders by id, those that are known; fields: trades, userref, consolidate_taker."""
        raise NotImplementedError

    def trades_history(self, grant: Grant, fields: Fields, now: float, /) -> tuple[Json, int]:
        """Return a page of own trades by id, and how many there are in all.

        Fields: type, trades, start, end, ofs, consolidate_taker.
        """
        raise NotImplementedError

    def add_order(self, grant: Grant, instrument: Instrument, fields: Fields, now: float, /) -> Json:
        """Place an order and return `{"descr": …, "txid": […]}`; the fields bear API v1's names."""
        raise NotImplementedError

    def cancel_order(self, grant: Grant, field: str, value: str, now: float, /) -> int:
        """Cancel what one field names (txid, userref, cl_ord_id) and return how many orders that was."""
        raise NotImplementedError


class RestApi:
    """Answers HTTP requests for a backend.

    Args:
        backend: what there is to say.
        faults: what may go wrong on purpose, and what `/sandbox/faults` changes; None for neither.
    """

    def __init__(self, backend: RestBackend, faults: FaultPlan | None = None) -> None:
        self._backend = backend
        self._faults = faults

    def answer(self, request: HttpRequest, now: float) -> HttpResponse:
        """Return the answer to a request; whatever it asks, and whatever goes wrong here, there is one."""
        try:
            return self._answer(request, now)
        except Exception as error:  # noqa: BLE001 - a caller's connection must outlive our mistakes
            self._backend.failed(error, now)
            return _envelope([_INTERNAL])

    def _answer(self, request: HttpRequest, now: float) -> HttpResponse:
        if request.path == FAULTS_PATH and self._faults is not None:
            return _change_faults(self._faults, request, now)
        if self._faults is not None and self._faults.active:
            page = self._faults.page(request.path, now, upgrade=False)
            if page is not None:
                return HttpResponse(page.status, page.body, "text/html; charset=UTF-8", page.reason)
        root, _, method = request.path.rpartition("/")
        public, private = _PUBLIC.get(method), _PRIVATE.get(method)
        if root == "/0/public" and public is not None:
            return self._call(method, lambda: self._public(public, request, now), now)
        if root == "/0/private" and private is not None:
            return self._call(method, lambda: self._private(method, private, request, now), now)
        if request.path.startswith("/0/"):
            return _envelope([_UNKNOWN_METHOD])
        return _plain(
            404, "API v1 is served at / and /auth (private), v2 at /v2 and /auth/v2, REST below /0\n"
        )

    def _call(self, method: str, call: Callable[[], Json], now: float) -> HttpResponse:
        """Carry out a call, unless a fault strikes it."""
        rule = self._faults.called(method, now) if self._faults is not None and self._faults.active else None
        fault = "" if rule is None else rule.name
        if fault == NO_ACK:
            return HttpResponse(0, b"", withheld=True)
        if fault in _REFUSALS:
            return _envelope([_REFUSALS[fault]])
        if rule is not None and fault == REFUSE:
            return _envelope([rule.options["error"]])
        try:
            response = _envelope([], call())
        except Refusal as refusal:
            response = _envelope([refusal.code])
        if fault in {LOSE_ANSWER, ACCEPT_THEN_CUT}:
            return HttpResponse(0, b"", withheld=fault == LOSE_ANSWER, cut=fault == ACCEPT_THEN_CUT)
        return response

    def _public(self, call: _Public, request: HttpRequest, now: float) -> Json:
        self._backend.count_public(request.peer, now)
        return call(self._backend, _public_fields(request), now)

    def _private(self, method: str, call: _Private, request: HttpRequest, now: float) -> Json:
        if request.method != "POST":
            raise Refusal(_INVALID)
        try:
            fields = _read_body(request)
        except Refusal:  # a call that cannot be read cannot be signed either
            fields = {}
        key = request.headers.get("api-key", "")
        grant = self._backend.keys.authenticate(
            key,
            request.headers.get("api-sign", ""),
            request.path,
            fields.pop("nonce", ""),
            request.body,
            otp=fields.pop("otp", ""),
            address=request.peer,
            now=now,
        )
        grant.require(_RIGHTS.get(method, method))
        self._backend.count_private(key, grant.account, method, now)
        return call(self._backend, grant, fields, now)


if TYPE_CHECKING:
    _Public = Callable[[RestBackend, Fields, float], Json]
    _Private = Callable[[RestBackend, Grant, Fields, float], Json]


def _envelope(errors: list[str], result: Json = None) -> HttpResponse:
    """Return Kraken's envelope; beside an error there is no result, as quirk T4 has it."""
    return HttpResponse(
        200, _ENCODER.encode({"error": errors} if errors else {"error": [], "result": result})
    )


def _plain(status: int, text: str) -> HttpResponse:
    return HttpResponse(status, text.encode(), "text/plain; charset=utf-8")


# -- parameters


def _public_fields(request: HttpRequest) -> Fields:
    if request.method not in {"GET", "HEAD", "POST"}:
        raise Refusal(_INVALID)
    fields = {name: value for name, value in request.query if value}
    return {**fields, **_read_body(request)} if request.body else fields


def _read_body(request: HttpRequest) -> Fields:
    """Return the fields of a form or of a JSON object, as text.

    Raises:
        Refusal: it is neither.
    """
    try:
        text = request.body.decode()
        if text.lstrip().startswith("{"):
            message: dict[str, object] = loads(
                text, parse_int=str, parse_float=str, parse_constant=_refuse_constant
            )
            fields = dict(_flat(message))
            "".join(
                (*fields, *fields.values())
            ).encode()  # half a surrogate pair is an error of Unicode, a ValueError
            return fields
        return {name: value for name, value in parse_qsl(text, strict_parsing=bool(text)) if value}
    except (ValueError, RecursionError):
        raise Refusal(_INVALID) from None


def _refuse_constant(_name: str) -> None:
    raise ValueError


def _flat(message: Mapping[str, object], within: str = "") -> Iterable[tuple[str, str]]:
    """Yield what a form would carry: `close[price]` for `{"close": {"price": …}}`, lists with commas."""
    for name, value in message.items():
        field = f"{within}[{name}]" if within else name
        if isinstance(value, dict) and not within:
            yield from _flat(value, field)
        elif isinstance(value, bool):
            yield field, "true" if value else "false"
        elif isinstance(value, list) and all(isinstance(item, str) for item in value):
            yield field, ",".join(value)
        elif isinstance(value, str):
            if value:
                yield field, value
        elif value is not None:
            raise ValueError


def _whole(fields: Fields, name: str, default: int | None, low: int, high: int) -> int | None:
    """Return a whole number within bounds, or the default where none is given."""
    text = fields.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 20 and low <= int(text) <= high):
        raise Refusal(f"{_INVALID}:{name}")
    return int(text)


def _choice(fields: Fields, name: str, *choices: str) -> str:
    """Return one of some words; the first is the default."""
    value = fields.get(name, choices[0])
    if value not in choices:
        raise Refusal(f"{_INVALID}:{name}")
    return value


def _since(fields: Fields, digits: int) -> int | None:
    """Return `since` in units of 10^-digits seconds; callers give seconds or those units, or a fraction."""
    text = fields.get("since")
    if text is None:
        return None
    whole, _, fraction = text.partition(".")
    if not (whole.isascii() and whole.isdigit() and len(whole) <= 20 and _is_fraction(fraction)):
        raise Refusal(f"{_INVALID}:since")
    if len(whole) > 11:  # no time in seconds
        return int(whole)
    return int((whole + fraction[:digits].ljust(digits, "0")) if digits else whole)


def _is_fraction(digits: str) -> bool:
    return not digits or (digits.isascii() and digits.isdigit())


def _pair(backend: RestBackend, fields: Fields) -> tuple[str, Instrument]:
    """Return a pair and the name it is answered under: as asked with a slash, else its REST key."""
    if "pair" not in fields:
        raise Refusal(_INVALID)
    instrument = backend.find(fields["pair"])
    if instrument is None:
        raise Refusal(_UNKNOWN_PAIR)
    return _answer_name(fields["pair"], instrument), instrument


def _answer_name(asked: str, instrument: Instrument) -> str:
    return asked if "/" in asked else instrument.rest_key


def _pairs(backend: RestBackend, fields: Fields) -> list[tuple[str, Instrument]]:
    """Return the pairs asked for under the names asked for; all of them, by REST key, if none is named."""
    if "pair" not in fields:
        return [(instrument.rest_key, instrument) for instrument in backend.instruments()]
    found: list[tuple[str, Instrument]] = []
    for name in fields["pair"].split(","):
        instrument = backend.find(name.strip())
        if instrument is None:
            raise Refusal(_UNKNOWN_PAIR)
        found.append((name.strip(), instrument))
    return found


# -- public calls


def _time(backend: RestBackend, _fields: Fields, now: float) -> Json:
    unix = backend.now_us(now) // 1_000_000
    when = _utc(unix)
    day, month = _DAYS[when.weekday()], _MONTHS[when.month - 1]  # strftime would speak the user's language
    return {"unixtime": unix, "rfc1123": f"{day}, {when.day:02} {month} {when:%y %H:%M:%S} +0000"}


def _system_status(backend: RestBackend, _fields: Fields, now: float) -> Json:
    when = _utc(backend.now_us(now) // 1_000_000)
    return {"status": backend.system_status(), "timestamp": f"{when:%Y-%m-%dT%H:%M:%SZ}"}


def _utc(unix_s: int) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


def _assets(backend: RestBackend, fields: Fields, _now: float) -> Json:
    if _choice(fields, "aclass", "currency", "tokenized_asset") != "currency":
        return {}
    assets = backend.assets()
    if "asset" in fields:
        known = {name: asset for asset in assets for name in (asset.key, asset.altname)}
        names = [name.strip() for name in fields["asset"].split(",")]
        if not known.keys() >= set(names):
            raise Refusal(_UNKNOWN_ASSET)
        assets = [known[name] for name in names]
    return {
        asset.key: {
            "aclass": "currency",
            "altname": asset.altname,
            "decimals": asset.decimals,
            "display_decimals": asset.display_decimals,
            "status": "enabled",
        }
        for asset in assets
    }


def _asset_pairs(backend: RestBackend, fields: Fields, _now: float) -> Json:
    info = _choice(fields, "info", *_INFO)
    if _choice(fields, "aclass_base", "currency", "tokenized_asset") != "currency":
        return {}
    entries = {name: _entry(i, backend.pair_status(i)) for name, i in _pairs(backend, fields)}
    shown = _INFO[info]
    if not shown:
        return entries
    return {name: {field: entry[field] for field in shown} for name, entry in entries.items()}


_INFO: dict[str, tuple[str, ...]] = {
    "info": (),
    "leverage": ("leverage_buy", "leverage_sell"),
    "fees": ("fees", "fees_maker", "fee_volume_currency"),
    "margin": ("margin_call", "margin_stop"),
}


def _entry(instrument: Instrument, status: str) -> dict[str, Json]:
    """Return one entry of `AssetPairs`. Source: auth.md 5.3."""
    entry: dict[str, Json] = {
        "altname": instrument.altname,
        "wsname": instrument.wsname,
        "aclass_base": "currency",
        "base": instrument.base,
        "aclass_quote": "currency",
        "quote": instrument.quote,
        "lot": "unit",
        "cost_decimals": instrument.cost_decimals,
        "pair_decimals": instrument.pair_decimals,
        "lot_decimals": instrument.lot_decimals,
        "lot_multiplier": 1,
        "leverage_buy": instrument.leverage_buy,
        "leverage_sell": instrument.leverage_sell,
        "fees": instrument.fees,
        "fees_maker": instrument.fees_maker,
        "fee_volume_currency": "ZUSD",
        "margin_call": 80,
        "margin_stop": 40,
        "ordermin": format(instrument.ordermin, "f"),
        "costmin": format(instrument.costmin, "f"),
        "tick_size": format(instrument.tick_size, "f"),
        "status": status,
    }
    if not instrument.wsname:  # quirk A5
        del entry["wsname"]
    return entry


def _ticker(backend: RestBackend, fields: Fields, _now: float) -> Json:
    return {_answer_name(name, i): backend.ticker(i) for name, i in _pairs(backend, fields)}


def _depth(backend: RestBackend, fields: Fields, _now: float) -> Json:
    name, instrument = _pair(backend, fields)
    return {name: backend.depth(instrument, _whole(fields, "count", 100, 1, 500) or 100)}


def _trades(backend: RestBackend, fields: Fields, _now: float) -> Json:
    name, instrument = _pair(backend, fields)
    count = _whole(fields, "count", 1000, 1, 1000) or 1000
    rows, last = backend.trades(instrument, _since(fields, 9), count)
    return {name: rows, "last": last}


def _spread(backend: RestBackend, fields: Fields, _now: float) -> Json:
    name, instrument = _pair(backend, fields)
    rows, last = backend.spread(instrument, _since(fields, 0))
    return {name: rows, "last": last}


def _ohlc(backend: RestBackend, fields: Fields, _now: float) -> Json:
    name, instrument = _pair(backend, fields)
    interval = _choice({"interval": "1", **fields}, "interval", *map(str, _INTERVALS))
    rows, last = backend.ohlc(instrument, int(interval), _since(fields, 0))
    return {name: rows, "last": last}


# -- private calls


def _websockets_token(backend: RestBackend, grant: Grant, _fields: Fields, now: float) -> Json:
    token, expires_s = backend.websockets_token(grant, now)
    return {"token": token, "expires": expires_s}


def _balance(backend: RestBackend, grant: Grant, _fields: Fields, now: float) -> Json:
    return backend.balance(grant, now)


def _open_orders(backend: RestBackend, grant: Grant, fields: Fields, now: float) -> Json:
    return {"open": backend.open_orders(grant, fields, now)}


def _closed_orders(backend: RestBackend, grant: Grant, fields: Fields, now: float) -> Json:
    _choice(fields, "closetime", "both", "open", "close")
    _whole(fields, "ofs", 0, 0, 1 << 31)
    closed, count = backend.closed_orders(grant, fields, now)
    return {"closed": closed, "count": count}


def _query_orders(backend: RestBackend, grant: Grant, fields: Fields, now: float) -> Json:
    txids = [txid.strip() for txid in fields.get("txid", "").split(",") if txid.strip()]
    if not 1 <= len(txids) <= 50:
        raise Refusal(_INVALID)
    return backend.query_orders(grant, txids, fields, now)


def _trades_history(backend: RestBackend, grant: Grant, fields: Fields, now: float) -> Json:
    _whole(fields, "ofs", 0, 0, 1 << 31)
    trades, count = backend.trades_history(grant, fields, now)
    return {"trades": trades, "count": count}


def _add_order(backend: RestBackend, grant: Grant, fields: Fields, now: float) -> Json:
    """REST calls one field `stptype` and writes its words with hyphens; all others are API v1's."""
    order = {name: value for name, value in fields.items() if name not in _ONLY_REST}
    if "stptype" in fields:
        order["stp_type"] = fields["stptype"].replace("-", "_")
    if _choice(fields, "trigger", "last", "index") == "index":
        raise Refusal(NO_INDEX)
    for name in order:
        if name not in _ORDER_FIELDS:
            raise Refusal(f"{_INVALID}:{name}")
    if "cl_ord_id" in order:
        try:
            CLIENT_ID.parse(order["cl_ord_id"])
        except ValueError:
            raise Refusal(f"{_INVALID}:cl_ord_id") from None
    for name in ("pair", "type", "ordertype", "volume"):
        if name not in order:
            raise Refusal(f"{_INVALID}:{name}")
    instrument = backend.find(order["pair"])
    if instrument is None:
        raise Refusal(_UNKNOWN_PAIR)
    return backend.add_order(grant, instrument, order, now)


def _cancel_order(backend: RestBackend, grant: Grant, fields: Fields, now: float) -> Json:
    given = [name for name in ("txid", "cl_ord_id", "userref") if name in fields]
    if len(given) != 1:
        raise Refusal(_INVALID)
    return {"count": backend.cancel_order(grant, given[0], fields[given[0]], now)}


_ONLY_REST = frozenset({"stptype", "trading_agreement", "trigger"})
_ORDER_FIELDS = frozenset(param.wire or param.name for param in ADD_ORDER.params) - {"reqid"}

_PUBLIC: dict[str, _Public] = {
    "Time": _time,
    "SystemStatus": _system_status,
    "Assets": _assets,
    "AssetPairs": _asset_pairs,
    "Ticker": _ticker,
    "Depth": _depth,
    "Trades": _trades,
    "Spread": _spread,
    "OHLC": _ohlc,
}
_PRIVATE: dict[str, _Private] = {
    "GetWebSocketsToken": _websockets_token,
    "Balance": _balance,
    "OpenOrders": _open_orders,
    "ClosedOrders": _closed_orders,
    "QueryOrders": _query_orders,
    "TradesHistory": _trades_history,
    "AddOrder": _add_order,
    "CancelOrder": _cancel_order,
}
CALLS = (*_PUBLIC, *_PRIVATE)
"""The names of all calls."""
_RIGHTS = {"AddOrder": "addOrder", "CancelOrder": "cancelOrder"}
"""Calls whose permission is named after the WebSocket method that does the same."""


# -- faults


def _change_faults(faults: FaultPlan, request: HttpRequest, now: float) -> HttpResponse:
    """List (GET), add (POST) or clear (DELETE) faults; the list that results is answered."""
    if not is_loopback(request.peer):
        return _plain(403, "faults are switched from this machine only\n")
    if request.method == "POST":
        try:
            faults.add(parse_faults(request.body), now)
        except UsageError as error:
            return HttpResponse(400, _ENCODER.encode({"error": [str(error)]}))
    elif request.method == "DELETE":
        faults.clear()
    elif request.method not in {"GET", "HEAD"}:
        return _plain(405, "faults: GET lists, POST adds, DELETE clears\n")
    return _envelope([], faults.rules())


def is_loopback(address: str) -> bool:
    """Whether an IP address is this machine's own."""
    return address == "::1" or address.removeprefix("::ffff:").startswith("127.")
