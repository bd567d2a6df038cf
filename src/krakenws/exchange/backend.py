"""What the sandbox tells its REST callers: the same markets, orders and money in REST's shapes.

Prices and money have the wire's decimals, candles the pair's. A lag that faults switch on shows orders and
trades as they were so many seconds ago; balances are always of today.

Source: docs.kraken.com/api/docs/rest-api; captured answers of 2025 and 2026; auth.md section 5.
"""

from __future__ import annotations

from contextlib import contextmanager
from decimal import Decimal
from json import loads

from krakenws.exchange import private
from krakenws.exchange.instruments import ASSETS, find
from krakenws.exchange.limits import Callers
from krakenws.exchange.matching import UNKNOWN_ORDER
from krakenws.exchange.orders import ZERO
from krakenws.exchange.ratecounter import CallCounter
from krakenws.exchange.records import OPEN, PENDING, consolidate, cut_text, money_text
from krakenws.exchange.requests import Refusal
from krakenws.exchange.rest import RestApi, RestBackend

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from krakenws.exchange.files import File
    from krakenws.exchange.instruments import Asset, Instrument
    from krakenws.exchange.keys import Grant
    from krakenws.exchange.market import Market
    from krakenws.exchange.records import FillRecord, OrderRecord
    from krakenws.exchange.rest import Fields, HttpRequest, HttpResponse, Json
    from krakenws.exchange.sandbox import SandboxVenue

PAGE = 50
"""Closed orders or trades in one answer."""
_QTY_DECIMALS = 8


class SandboxRest(RestApi):
    """Answers for the sandbox, which learns the time from each request."""

    def __init__(self, backend: SandboxBackend) -> None:
        super().__init__(backend, backend.venue.faults)
        self._venue = backend.venue

    def answer(self, request: HttpRequest, now: float) -> HttpResponse:
        """Return the answer to a request."""
        self._venue.catch_up(now)
        return super().answer(request, now)


class SandboxBackend(RestBackend):
    """The sandbox as REST sees it."""

    def __init__(self, venue: SandboxVenue) -> None:
        self.venue = venue
        self.keys = venue.keys
        self._callers = Callers()
        self._counters: dict[str, CallCounter] = {}

    def now_us(self, now: float, /) -> int:
        """Return microseconds since 1970."""
        return self.venue.at_us(now)

    def count_public(self, address: str, now: float, /) -> None:
        """Count a public call, if the venue has limits."""
        if self.venue.limits is not None:
            self._callers.count(address, self.venue.limits, now)

    def count_private(self, key: str, account: str, method: str, now: float, /) -> None:
        """Count a call of a key, if the venue has limits."""
        if self.venue.limits is not None:
            tier = self.venue.desk.files[account].account.tier
            self._counters.setdefault(key, CallCounter(tier)).charge(self.venue.at_us(now), method)

    def system_status(self) -> str:
        """Return the status of the exchange."""
        return self.venue.status

    def assets(self) -> Sequence[Asset]:
        """Return all that can be held."""
        return ASSETS

    def instruments(self) -> Sequence[Instrument]:
        """Return the pairs that are traded."""
        return [market.instrument for market in self.venue.markets.values()]

    def find(self, name: str, /) -> Instrument | None:
        """Return a traded pair by any of its names."""
        instrument = find(name)
        return instrument if instrument is not None and instrument.wsname in self.venue.markets else None

    def pair_status(self, instrument: Instrument, /) -> str:
        """Return a pair's own status."""
        return instrument.status

    def failed(self, error: Exception, now: float, /) -> None:
        """Tell the truth log."""
        self.venue.failed(error, now)

    # Public

    def ticker(self, instrument: Instrument, /) -> Json:
        """Return the pair's ticker; `o` is today's alone."""
        market = self._market(instrument)
        frame = market.feeds.snapshot("ticker", self.venue.now_us)
        fields: dict[str, Json] = loads(frame or b"[0,{}]")[1]
        opening = fields["o"]
        return {**fields, "o": opening[0] if isinstance(opening, list) else opening}

    def depth(self, instrument: Instrument, count: int, /) -> Json:
        """Return the book."""
        sides = self._market(instrument).feeds.book.levels(count)
        asks, bids = ([(price, qty, int(time.partition(".")[0])) for price, qty, time in s] for s in sides)
        return {"asks": asks, "bids": bids}

    def trades(self, instrument: Instrument, since_ns: int | None, count: int, /) -> tuple[Json, str]:
        """Return the trades later than a time, of the last thousand."""
        decimals = instrument.wire_price_decimals
        trades = list(self._market(instrument).trades)
        if since_ns is None:
            trades = trades[-count:]
        else:
            trades = [trade for trade in trades if trade.time_us * 1000 > since_ns][:count]
        last = trades[-1].time_us * 1000 if trades else since_ns or self.venue.now_us * 1000
        rows = [
            (
                money_text(t.price, decimals),
                money_text(t.qty, _QTY_DECIMALS),
                _seconds(t.time_us),
                t.taker_side[0],
                t.taker_type[0],
                "",
                t.trade_id,
            )
            for t in trades
        ]
        return rows, str(last)

    def spread(self, instrument: Instrument, since_s: int | None, /) -> tuple[Json, int]:
        """Return the last changes of the best prices."""
        spreads = self._market(instrument).spreads
        rows = [(us // 1_000_000, bid, ask) for us, bid, ask in spreads]
        last = rows[-1][0] if rows else self.venue.now_us // 1_000_000
        return [row for row in rows if since_s is None or row[0] >= since_s], last

    def ohlc(self, instrument: Instrument, interval_minutes: int, since_s: int | None, /) -> tuple[Json, int]:
        """Return the candles that had trades."""
        candles = self._market(instrument).feeds.candles.history(interval_minutes)
        decimals = instrument.pair_decimals
        rows = [
            (
                c.start_us // 1_000_000,
                *(money_text(price, decimals) for price in (c.open, c.high, c.low, c.close, c.vwap)),
                money_text(c.qty, _QTY_DECIMALS),
                c.count,
            )
            for c in candles
            if since_s is None or c.start_us > since_s * 1_000_000
        ]
        return rows, candles[-2].start_us // 1_000_000 if len(candles) > 1 else 0

    # Private

    def websockets_token(self, grant: Grant, now: float, /) -> tuple[str, int]:
        """Return a fresh token and how long it may wait for its first use."""
        return self.venue.issue_token(grant, now), int(self.venue.tokens.life_s)

    def balance(self, grant: Grant, now: float, /) -> Json:
        """Return what is owned, holds included."""
        self.venue.catch_up(now)
        decimals = {asset.key: asset.decimals for asset in ASSETS}
        owned = self._file(grant).account.balances
        return {asset: cut_text(amount, decimals.get(asset, 8)) for asset, amount in owned.items()}

    def open_orders(self, grant: Grant, fields: Fields, now: float, /) -> Json:
        """Return the open orders, newest first."""
        as_of_us = self._as_of(now)
        file = self._file(grant)
        records = [*file.ended, *file.live.values()] if as_of_us < self.venue.now_us else file.live.values()
        chosen = [
            record
            for record in _filtered(records, fields)
            if record.opened_us <= as_of_us and not 0 < record.ended_us <= as_of_us
        ]
        return {r.order_id: self._order(file, r, fields, as_of_us) for r in reversed(chosen)}

    def closed_orders(self, grant: Grant, fields: Fields, now: float, /) -> tuple[Json, int]:
        """Return the orders that have ended, newest first."""
        as_of_us = self._as_of(now)
        file = self._file(grant)
        start, end = _span(fields)
        by_opening = fields.get("closetime") == "open"
        chosen = [
            record
            for record in _filtered(reversed(file.ended), fields)
            if record.ended_us <= as_of_us
            and start < _seconds(record.opened_us if by_opening else record.ended_us) <= end
        ]
        page = chosen[int(fields.get("ofs", "0")) :][:PAGE]
        return {r.order_id: self._order(file, r, fields, as_of_us) for r in page}, len(chosen)

    def query_orders(self, grant: Grant, txids: Sequence[str], fields: Fields, now: float, /) -> Json:
        """Return certain orders."""
        as_of_us = self._as_of(now)
        file = self._file(grant)
        known = {
            record.order_id: record
            for record in _filtered((*file.ended, *file.live.values()), fields)
            if record.opened_us <= as_of_us
        }
        found = [known[txid] for txid in txids if txid in known]
        if not found:
            raise Refusal(UNKNOWN_ORDER)
        return {record.order_id: self._order(file, record, fields, as_of_us) for record in found}

    def trades_history(self, grant: Grant, fields: Fields, now: float, /) -> tuple[Json, int]:
        """Return own trades, newest first; a taker's are merged if that is asked for."""
        as_of_us = self._as_of(now)
        start, end = _span(fields)
        fills = [
            f for f in self._file(grant).fills if f.at_us <= as_of_us and start < _seconds(f.at_us) <= end
        ]
        if fields.get("consolidate_taker") == "true":
            fills = consolidate(fills)
        fills.reverse()
        page = fills[int(fields.get("ofs", "0")) :][:PAGE]
        return {fill.trade_id: _trade(fill) for fill in page}, len(fills)

    def add_order(self, grant: Grant, instrument: Instrument, fields: Fields, now: float, /) -> Json:
        """Place an order."""
        market = self.venue.markets[instrument.wsname]
        at_us = market.advance(self.venue.catch_up(now))
        with self._telling(grant, "AddOrder", fields):
            record = self.venue.desk.add(grant.account, market, fields, at_us)
        answer: dict[str, Json] = {"descr": {"order": private.describe(record)}}
        if record.order_id:
            answer["txid"] = [record.order_id]
        return answer

    def cancel_order(self, grant: Grant, field: str, value: str, now: float, /) -> int:
        """Cancel what is named."""
        file, now_us = self._file(grant), self.venue.catch_up(now)
        found = file.by_client_id(value) if field == "cl_ord_id" else file.named(value)
        with self._telling(grant, "CancelOrder", {field: value}):
            if not found:
                raise Refusal(UNKNOWN_ORDER)
            for record in found:
                self.venue.desk.cancel(record, now_us)
        return len(found)

    @contextmanager
    def _telling(self, grant: Grant, method: str, asked: Fields) -> Iterator[None]:
        """Tell the truth log of a refusal."""
        try:
            yield
        except Refusal as refusal:
            self.venue.refused(grant.account, method, asked, refusal.code)
            raise

    def _market(self, instrument: Instrument) -> Market:
        market = self.venue.markets[instrument.wsname]
        market.advance(self.venue.reached_us)
        return market

    def _file(self, grant: Grant) -> File:
        return self.venue.desk.files[grant.account]

    def _as_of(self, now: float) -> int:
        lag_s = self.venue.faults.rest_lag_s(now) if self.venue.faults.active else 0.0
        return self.venue.catch_up(now) - round(lag_s * 1_000_000)

    def _order(self, file: File, record: OrderRecord, fields: Fields, as_of_us: int) -> Json:
        """Return one order as it was at a time."""
        fills = [f for f in file.fills if f.order is record and f.at_us <= as_of_us]
        entry = _order(record, fills, as_of_us)
        if fields.get("trades") == "true":
            entry["trades"] = [fill.trade_id for fill in fills]
        return entry


def _filtered(records: Iterable[OrderRecord], fields: Mapping[str, str]) -> list[OrderRecord]:
    """Return the orders with the userref or the client's id that is asked for."""
    userref, cl_ord_id = fields.get("userref"), fields.get("cl_ord_id")
    return [
        record
        for record in records
        if (userref is None or str(record.terms.userref) == userref)
        and (cl_ord_id is None or record.terms.cl_ord_id == cl_ord_id)
    ]


def _span(fields: Mapping[str, str]) -> tuple[Decimal, Decimal]:
    """Return `start`, which is exclusive, and `end`, which is inclusive, in unix seconds."""
    return _unix(fields, "start", "-1"), _unix(fields, "end", "1e12")


def _unix(fields: Mapping[str, str], name: str, default: str) -> Decimal:
    try:
        time = Decimal(fields.get(name, default))
    except ArithmeticError:
        raise Refusal(f"EGeneral:Invalid arguments:{name}") from None
    if not time.is_finite():
        raise Refusal(f"EGeneral:Invalid arguments:{name}")
    return time


def _seconds(at_us: int) -> Decimal:
    return Decimal(at_us).scaleb(-6)


def _order(record: OrderRecord, fills: Sequence[FillRecord], as_of_us: int) -> dict[str, Json]:
    terms, decimals = record.terms, record.instrument.wire_price_decimals
    price, price2 = record.price_texts(record.instrument.pair_decimals)
    has_ended = 0 < record.ended_us <= as_of_us
    filled = sum((fill.qty for fill in fills), ZERO)
    notional = sum((fill.price * fill.qty for fill in fills), ZERO)
    zero = money_text(ZERO, decimals)
    entry: dict[str, Json] = {
        "refid": record.parent_id or None,
        "userref": terms.userref or None,
        "status": record.status if has_ended or record.status == PENDING else OPEN,
        "opentm": _seconds(record.opened_us),
        "starttm": 0 if terms.start_us is None else _seconds(terms.start_us),
        "expiretm": 0 if terms.expire_us is None else _seconds(terms.expire_us),
        "descr": {
            "pair": record.instrument.altname,
            "aclass": "forex",
            "type": terms.side,
            "ordertype": terms.order_type,
            "price": price,
            "price2": price2,
            "leverage": f"{terms.leverage}:1" if terms.leverage else "none",
            "order": private.describe(record),
            "close": "",
        },
        "vol": money_text(record.qty, _QTY_DECIMALS),
        "vol_exec": money_text(filled, _QTY_DECIMALS),
        "cost": money_text(sum((fill.cost for fill in fills), ZERO), decimals),
        "fee": money_text(sum((fill.fee for fill in fills), ZERO), decimals),
        "price": money_text(notional / filled if filled else ZERO, decimals),
        "stopprice": money_text(record.trigger_price or ZERO, decimals) if record.triggered else zero,
        "limitprice": money_text(record.limit_price or ZERO, decimals) if record.triggered else zero,
        "misc": "",
        "oflags": terms.oflags,
    }
    if terms.cl_ord_id:
        entry["cl_ord_id"] = terms.cl_ord_id
    if has_ended:
        entry["reason"] = record.reason or None
        entry["closetm"] = _seconds(record.ended_us)
    return entry


def _trade(fill: FillRecord) -> Json:
    order, decimals = fill.order, fill.order.instrument.wire_price_decimals
    return {
        "ordertxid": order.order_id,
        "postxid": fill.position_id or private.SPOT_POSITION,
        "pair": order.instrument.rest_key,
        "time": _seconds(fill.at_us),
        "type": order.terms.side,
        "ordertype": order.terms.order_type,
        "price": money_text(fill.price, decimals),
        "cost": money_text(fill.cost, decimals),
        "fee": money_text(fill.fee, decimals),
        "vol": money_text(fill.qty, _QTY_DECIMALS),
        "margin": money_text(fill.margin, decimals),
        "leverage": str(order.terms.leverage),
        "misc": "",
    }
