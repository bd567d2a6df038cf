"""The users' orders: from a request to the engine, and from the engine's events to money and private feeds.

Theory of this file
-------------------
    request ─▶ rate counter ─▶ deadline ─▶ terms ─▶ mode ─▶ hold ─▶ engine ─▶ settlement (money, at each fill)
                                                                      │
    private feeds, records, truth log ◀─ digest ◀─ events ◀───────────┴─▶ market (public feeds)

A request changes nothing unless the engine takes it; only the fixed part of the rate counter is charged
whatever comes of it. An order that could not be changed holds exactly what it held before. What becomes of an
order is learned from the engine's events alone, whether a request of its owner caused them or somebody else's
trade. One transaction's fills of one account are one ownTrades frame.

An order with a later start is held for, pending, and handed to the engine when its time has come.

Documented by Kraken: an edited order is cancelled when its change has succeeded, so a refused edit leaves it
alone, and its userref is not kept; an amendment that cancels the rest costs what a cancellation costs. Chosen
here, where Kraken is silent: a cancelled conditional close is told like any order; a close order that is
refused is dropped, and logged; cancelling all is free of the rate counter; an edited order keeps what is
filled on the old one and is placed for the rest.

Source: v1.md sections 7, 9 and 11; REST "Edit Order"; guide "Spot Atomic Amends".
"""

from __future__ import annotations

from decimal import Decimal
from heapq import heapify, heappop, heappush

from krakenws.core.ratecounter import ADD, AMEND, CANCEL, EDIT
from krakenws.exchange import private
from krakenws.exchange.bookkeeping import Bookkeeping
from krakenws.exchange.changes import INVALID, amended_prices, edited_fields, ends_it, text_of
from krakenws.exchange.checks import (
    MONTH_US,
    ORDER_MINIMUM,
    check_status,
    read_deadline,
    read_order,
    read_volume,
)
from krakenws.exchange.events import Refused
from krakenws.exchange.files import File
from krakenws.exchange.ledger import SETTLED
from krakenws.exchange.margin import check_margin
from krakenws.exchange.matching import UNKNOWN_ORDER, USER_REQUESTED
from krakenws.exchange.orders import SETTLE_POSITION, ZERO
from krakenws.exchange.records import (
    CANCELED,
    CLOSED,
    ID_BYTES,
    PENDING,
    OrderRecord,
    make_id,
)
from krakenws.exchange.reports import Reports
from krakenws.exchange.requests import Refusal
from krakenws.exchange.settlement import PairSettlement
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from krakenws.exchange.accounts import Account
    from krakenws.exchange.checks import Terms
    from krakenws.exchange.clearing import Clearing
    from krakenws.exchange.draws import Draws
    from krakenws.exchange.events import CloseOrderDue, EngineEvent
    from krakenws.exchange.holds import Hold
    from krakenws.exchange.instruments import Instrument
    from krakenws.exchange.market import Market

    Fields = Mapping[str, object]

INVALID_ORDER = "EOrder:Invalid order"
SCHEDULED_LIMIT = "EOrder:Scheduled orders limit exceeded"
_SWEPT_ABOVE = 64


class Desk:
    """All accounts' trading.

    Args:
        markets: by wsname.
        draws: for the ids of orders and trades.
        tell: the truth log: takes an event, its time, and its fields by name.

    Attributes:
        files: by account name.
        reports: what is told of it.
        status: the system's, which decides what is taken.
    """

    def __init__(self, markets: Mapping[str, Market], draws: Draws, tell: Callable[..., None]) -> None:
        self.files: dict[str, File] = {}
        self.reports = Reports(self.files, markets, tell)
        self.status = "online"
        self._markets = markets
        self._draws = draws
        self._settlements: dict[str, PairSettlement] = {}
        self._books = Bookkeeping(self.files, self._settlements, self.reports, self.new_id)
        self._starts: list[tuple[int, str, OrderRecord]] = []

    def open_account(self, account: Account) -> None:
        """Let an account trade."""
        self.files[account.name] = File(account)

    def open_pair(self, instrument: Instrument) -> Clearing:
        """Let a pair be traded; return whom its engine is to ask and tell."""
        pair = instrument.wsname
        settlement = self._settlements[pair] = PairSettlement(
            pair,
            self.files,
            new_id=self.new_id,
            usd_rate=lambda at_us: self._usd_rate(self._markets[pair], at_us),
        )
        return settlement

    def orders_on(self, pair: str) -> Mapping[str, OrderRecord]:
        """Return the users' live orders on a pair (wsname), by id."""
        return self._settlements[pair].live

    # Requests

    def add(self, owner: str, market: Market, fields: Fields, now_us: int) -> OrderRecord:
        """Place an order and return its record; with `validate` nothing is placed and its id is "".

        Raises:
            Refusal: in Kraken's words; nothing changed but the rate counter.
        """
        file, instrument = self.files[owner], market.instrument
        file.account.rate_counter(instrument.wsname).charge(now_us, ADD)
        read_deadline(text_of(fields, "deadline"), now_us)
        terms = read_order(fields, instrument, market.engine.last_price, now_us)
        self._check_modes(market, terms)
        if terms.cl_ord_id and file.by_client_id(terms.cl_ord_id):
            raise Refusal(INVALID + "cl_ord_id")
        self._check_limits(file, market, terms, now_us)
        record = OrderRecord(self.new_id("O"), owner, instrument, terms, now_us)
        if terms.order_type == SETTLE_POSITION:
            return self._settle(file, market, record, now_us)
        self._settlement(record).hold(market, record, now_us)
        if terms.validate:
            file.account.release(record.order_id)
            return self._validated(market, record, now_us)
        self._books.register(record, {n: v for n, v in fields.items() if v not in (None, "")})
        if terms.start_us is None:
            self._submit(market, record, now_us)
        else:
            self._schedule(record, terms.start_us, now_us)
        return record

    def amend(self, owner: str, fields: Fields, now_us: int) -> OrderRecord:
        """Change an order in place and return its record. Source: v1.md 9.2.

        Raises:
            Refusal: in Kraken's words; the order and what it holds are as before.
        """
        file = self.files[owner]
        cl_ord_id = text_of(fields, "cl_ord_id")
        found = file.by_client_id(cl_ord_id) if cl_ord_id else file.named(text_of(fields, "txid"))
        if len(found) != 1:
            raise Refusal(UNKNOWN_ORDER)
        record = found[0]
        counter = file.account.rate_counter(record.instrument.wsname)
        transaction = CANCEL if ends_it(record, fields) else AMEND
        penalty = counter.charge(now_us, transaction, now_us - record.changed_us)
        try:
            read_deadline(text_of(fields, "deadline"), now_us)
            self._amend(file, record, fields, self._markets[record.instrument.wsname].advance(now_us))
        except Refusal:
            counter.forgive(penalty)
            raise
        return record

    def _amend(self, file: File, record: OrderRecord, fields: Fields, now_us: int) -> None:
        instrument = record.instrument
        market = self._markets[instrument.wsname]
        if record.order_id not in file.live:
            raise Refusal(UNKNOWN_ORDER)
        if record.status == PENDING:
            raise Refusal(INVALID_ORDER)
        if fields.get("display_volume"):
            raise Refusal(INVALID + "display_volume")
        qty = read_volume(text_of(fields, "volume"), instrument) if fields.get("volume") else None
        if qty is not None and qty < instrument.ordermin and qty > record.filled:
            raise Refusal(ORDER_MINIMUM)
        limit, trigger = amended_prices(record, fields, market)
        left = (record.qty if qty is None else qty) - record.filled
        held: Hold | None = None
        if left > 0:
            settlement = self._settlement(record)
            held = settlement.hold(market, record, now_us, qty=left, limit=limit, trigger=trigger)
        events = market.engine.amend(
            record.order_id,
            now_us,
            qty=qty,
            limit_price=limit,
            trigger_price=trigger,
            post_only=fields.get("post_only") is True,
        )
        error = _refusal(events, record.order_id)
        if error and held is not None:
            file.account.put_back(record.order_id, held)
        market.take(events, now_us)
        if error:
            raise Refusal(error)

    def edit(self, owner: str, market: Market, fields: Fields, now_us: int) -> tuple[str, OrderRecord]:
        """Replace an order; return the old one's id and the new one's record. Source: v1.md 9.3.

        Raises:
            Refusal: in Kraken's words; the old order and what it holds are as before.
        """
        file, pair = self.files[owner], market.instrument.wsname
        counter = file.account.rate_counter(pair)
        found = [r for r in file.named(text_of(fields, "orderid")) if r.instrument.wsname == pair]
        if len(found) != 1:
            counter.charge(now_us, EDIT, MONTH_US)  # the fixed part: nothing young was touched
            raise Refusal(UNKNOWN_ORDER)
        old = found[0]
        penalty = counter.charge(now_us, EDIT, now_us - old.changed_us)
        try:
            return old.order_id, self._edit(file, market, old, fields, now_us)
        except Refusal:
            counter.forgive(penalty)
            raise

    def _edit(self, file: File, market: Market, old: OrderRecord, fields: Fields, now_us: int) -> OrderRecord:
        if old.triggered or old.terms.close is not None or old.terms.cl_ord_id or old.status == PENDING:
            raise Refusal(INVALID_ORDER)
        asked = edited_fields(old, self._books.asked(old), fields)
        terms = read_order(asked, market.instrument, market.engine.last_price, now_us)
        self._check_modes(market, terms)
        if terms.qty <= old.filled:
            raise Refusal(INVALID + "volume")
        terms = replace(terms, qty=terms.qty - old.filled)
        self._check_limits(file, market, terms, now_us)
        record = OrderRecord(self.new_id("O"), old.owner, market.instrument, terms, now_us)
        account = file.account
        held = account.release(old.order_id)  # what the old order holds is there for the new one
        assert held is not None  # noqa: S101 - it is open
        try:
            self._settlement(record).hold(market, record, now_us)
        except Refusal:
            account.put_back(old.order_id, held)
            raise
        if terms.validate:
            account.release(record.order_id)
            account.put_back(old.order_id, held)
            return self._validated(market, record, now_us)
        self._books.register(record, asked)
        events = market.engine.replace(old.order_id, terms.order(record.order_id, old.owner), now_us)
        error = _refusal(events, record.order_id)
        if error:
            self._books.drop(record)
            account.put_back(old.order_id, held)
        market.take(events, now_us)
        if error:
            raise Refusal(error)
        return record

    def cancel(self, record: OrderRecord, now_us: int, reason: str = USER_REQUESTED) -> None:
        """Cancel one live order, charged to the rate counter.

        Raises:
            Refusal: in Kraken's words.
        """
        file, pair = self.files[record.owner], record.instrument.wsname
        if self.status == "maintenance":
            check_status(self.status, record.terms)
        file.account.rate_counter(pair).charge(now_us, CANCEL, now_us - record.changed_us)
        self._cancel([record], now_us, reason)

    def cancel_all(self, owner: str, now_us: int, reason: str = USER_REQUESTED) -> int:
        """Cancel all orders of an account and return how many there were.

        Raises:
            Refusal: the system is in maintenance.
        """
        records = list(self.files[owner].live.values())
        if self.status == "maintenance" and records:
            check_status(self.status, records[0].terms)
        self._cancel(records, now_us, reason)
        return len(records)

    def set_switch(self, owner: str, timeout_s: int, now_us: int) -> int | None:
        """Let the dead man's switch fire after a time, in seconds, 0 for never; return when, or None."""
        file = self.files[owner]
        file.switch_us = now_us + timeout_s * 1_000_000 if timeout_s else None
        self.reports.tell("Switch", now_us, account=owner, fires_us=file.switch_us)
        return file.switch_us

    # Time

    @property
    def next_us(self) -> int | None:
        """When an order begins or a switch fires next: microseconds since 1970, or None."""
        while self._starts and self._starts[0][2].status != PENDING:
            heappop(self._starts)
        times = [file.switch_us for file in self.files.values() if file.switch_us is not None]
        return min((*times, self._starts[0][0]) if self._starts else times, default=None)

    def on_time(self, now_us: int) -> None:
        """Begin the orders and fire the switches that are due."""
        while (due_us := self.next_us) is not None and due_us <= now_us:
            for owner, file in self.files.items():
                if file.switch_us == due_us:
                    if self.status == "maintenance":  # v1.md 9.6: everything goes when the engine returns
                        file.switch_us = now_us + 1_000_000
                        continue
                    file.switch_us = None
                    self.reports.tell("SwitchFired", now_us, account=owner)
                    self.cancel_all(owner, now_us, "Cancel all orders after timeout")
            if self._starts and self._starts[0][0] == due_us:
                record = heappop(self._starts)[2]
                if record.status != PENDING:  # the switch was as quick
                    continue
                market = self._markets[record.instrument.wsname]
                at_us = market.advance(now_us)
                try:
                    self._submit(market, record, at_us)
                except Refusal as refusal:
                    self._books.end(record, CANCELED, at_us, refusal.code)

    # From events

    def digest(self, market: Market, events: Sequence[EngineEvent], now_us: int) -> None:
        """Take in what one transaction did to users' orders; place the conditional closes that are due."""
        for parent, due in self._books.digest(market.instrument.wsname, events, now_us):
            self._place_close(parent, due, market, now_us)

    def _place_close(self, parent: OrderRecord, due: CloseOrderDue, market: Market, now_us: int) -> None:
        """Place the conditional close of a fill, its relative prices taken from the market as it is now."""
        fields: dict[str, object] = {
            "type": due.side,
            "ordertype": due.close.order_type,
            "price": due.close.price,
            "price2": due.close.price2,
            "volume": format(due.qty, "f"),
            "leverage": str(parent.terms.leverage) if parent.terms.leverage else "",
            "userref": str(parent.terms.userref) if parent.terms.userref else "",
            "reduce_only": bool(parent.terms.leverage),
        }
        try:
            terms = read_order(fields, market.instrument, market.engine.last_price, now_us)
            record = OrderRecord(
                self.new_id("O"), parent.owner, market.instrument, terms, now_us, parent_id=parent.order_id
            )
            self._settlement(record).hold(market, record, now_us)
            self._books.register(record, fields)
            self._submit(market, record, now_us)
        except Refusal as refusal:
            self.reports.truth("CloseOrderRefused", parent, now_us, error=refusal.code)

    # Steps

    def _submit(self, market: Market, record: OrderRecord, now_us: int) -> None:
        """Hand an order that is held for to the engine.

        Raises:
            Refusal: in Kraken's words; one that was pending still is, another one is forgotten.
        """
        new = record.terms.order(record.order_id, record.owner)
        events = market.engine.submit(new, now_us)
        error = _refusal(events, record.order_id)
        if error and record.terms.start_us is None:
            self._books.drop(record)
        market.take(events, now_us)
        if error:
            raise Refusal(error)

    def _settle(self, file: File, market: Market, record: OrderRecord, now_us: int) -> OrderRecord:
        """Settle a position with own money: an order that is done at once."""
        terms = record.terms
        if terms.validate:
            record.order_id = ""
            return record
        postings = file.account.settle_position(record.instrument, side=terms.side, qty=terms.qty)
        self.reports.truth("PositionSettled", record, now_us, side=terms.side, qty=terms.qty)
        self._books.register(record, {})
        self._books.accept(record, now_us)
        self._books.enter(record.owner, SETTLED, record.order_id, postings, now_us)
        self._books.end(record, CLOSED, now_us)
        market.take(market.engine.position_changed(record.owner, now_us), now_us)
        return record

    def _validated(self, market: Market, record: OrderRecord, now_us: int) -> OrderRecord:
        """Return the record of an order that would be taken in, without an id.

        Raises:
            Refusal: it would not.
        """
        if record.terms.start_us is None:
            error = market.engine.refusal(record.terms.order("", record.owner), now_us)
            if error:
                raise Refusal(error)
        record.order_id = ""
        return record

    def _schedule(self, record: OrderRecord, start_us: int, now_us: int) -> None:
        """Let an order wait until it begins; those that ended before that are swept out at times."""
        starts = self._starts
        live = sum(len(settlement.live) for settlement in self._settlements.values())
        if len(starts) > max(_SWEPT_ABOVE, 2 * live):
            starts[:] = [start for start in starts if start[2].status == PENDING]
            heapify(starts)
        heappush(starts, (start_us, record.order_id, record))
        self.reports.order(record, private.pending, now_us)
        order = record.terms.order(record.order_id, record.owner)
        self.reports.truth("Scheduled", record, now_us, start_us=start_us, order=order)

    def _cancel(self, records: Iterable[OrderRecord], now_us: int, reason: str) -> None:
        by_pair: dict[str, list[OrderRecord]] = {}
        for record in records:
            if record.status == PENDING:
                self._books.end(record, CANCELED, now_us, reason)
            else:
                by_pair.setdefault(record.instrument.wsname, []).append(record)
        for pair, theirs in by_pair.items():
            market = self._markets[pair]
            at_us = market.advance(now_us)
            ids = [record.order_id for record in theirs if record.order_id in self._settlements[pair].live]
            market.take(market.engine.cancel_many(ids, at_us, reason), at_us)

    def _check_modes(self, market: Market, terms: Terms) -> None:
        check_status(self.status, terms)
        check_status(market.instrument.status, terms)

    def _check_limits(self, file: File, market: Market, terms: Terms, now_us: int) -> None:
        """Pass if the account's tier allows one more order like this."""
        if terms.start_us is not None:
            scheduled = sum(record.status == PENDING for record in file.live.values())
            if scheduled >= file.account.tier.scheduled_orders:
                raise Refusal(SCHEDULED_LIMIT)
        asked = terms.limit_price
        price = asked if isinstance(asked, Decimal) else market.engine.last_price
        check_margin(
            file.account,
            market.instrument.wsname,
            terms,
            price or market.instrument.start_price,
            lambda pair: self._usd_rate(self._markets[pair], now_us),
        )

    def _settlement(self, record: OrderRecord) -> PairSettlement:
        return self._settlements[record.instrument.wsname]

    def _usd_rate(self, market: Market, at_us: int) -> Decimal:
        """Return US dollars for one of a pair's quote currency; by way of bitcoin where there is no pair."""
        quote = market.instrument.quote
        if quote == "ZUSD":
            return Decimal(1)
        last = {
            (m.instrument.base, m.instrument.quote): m.price_at(at_us)
            for m in self._markets.values()
            if quote in {m.instrument.base, m.instrument.quote} or m.instrument.wsname == "XBT/USD"
        }
        if (quote, "ZUSD") in last:
            return last[quote, "ZUSD"]
        bitcoin, other = last.get(("XXBT", "ZUSD")), last.get(("XXBT", quote))
        return bitcoin / other if bitcoin and other else ZERO

    def new_id(self, letter: str) -> str:
        """Return a fresh id: `O` for orders, `L` for entries of the ledger, `T` for everything else."""
        return make_id(letter, self._draws.take(ID_BYTES))


def _refusal(events: Sequence[EngineEvent], order_id: str) -> str:
    """Return why the engine refused an order, "" if it did not."""
    return next((e.error for e in events if isinstance(e, Refused) and e.order_id == order_id), "")
