"""The users' orders: from a request to the engine, and from the engine's events to money and private feeds.

Theory of this file
-------------------
    request ─▶ deadline ─▶ rate counter ─▶ terms ─▶ mode ─▶ hold ─▶ engine ─┐
                                                                            ▼
    private feeds, records, balances, truth log ◀─ digest ◀─ events ─▶ market (public feeds)

A request changes nothing unless the engine takes it; only the rate counter is charged whatever comes of it.
What becomes of an order is learned from the engine's events alone, whether a request of its owner caused them
or somebody else's trade. One transaction's fills of one account are one ownTrades frame.

An order with a later start is held for, pending, and handed to the engine when its time has come. A stop that
buys at any price may find the market beyond what it holds for; what its owner then lacks, the exchange lends.

Chosen here, where Kraken is silent: a cancelled conditional close is told like any order; a close order that
is refused is dropped, and logged; cancelling all is free of the rate counter; an edited order keeps what is
filled on the old one and is placed for the rest.

Source: v1.md sections 7, 9 and 11.
"""

from __future__ import annotations

from collections import deque
from contextlib import suppress
from decimal import ROUND_CEILING, Decimal
from heapq import heappop, heappush

from krakenws.errors import place_of
from krakenws.exchange import balances, private
from krakenws.exchange.changes import INVALID, amended_prices, edited_fields, text_of, worst_price
from krakenws.exchange.checks import (
    ORDER_MINIMUM,
    check_status,
    is_userref,
    read_deadline,
    read_order,
    read_volume,
)
from krakenws.exchange.events import (
    Accepted,
    Amended,
    Canceled,
    Closed,
    CloseOrderDue,
    Expired,
    Filled,
    Refused,
    Triggered,
)
from krakenws.exchange.ledger import CREDIT, MARGIN, SETTLED, TRADE, LedgerEntry
from krakenws.exchange.margin import check_margin
from krakenws.exchange.matching import UNKNOWN_ORDER, USER_REQUESTED
from krakenws.exchange.orders import (
    BUY,
    SETTLE_POSITION,
    ZERO,
    Relative,
)
from krakenws.exchange.ratecounter import ADD, AMEND, CANCEL, EDIT
from krakenws.exchange.records import (
    CANCELED,
    CLOSED,
    EXPIRED,
    ID_BYTES,
    PENDING,
    OrderRecord,
    consolidate,
    make_fill,
    make_id,
)
from krakenws.exchange.requests import Refusal
from krakenws.exchange.triggers import to_tick
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from krakenws.exchange.accounts import Account
    from krakenws.exchange.checks import Terms
    from krakenws.exchange.draws import Draws
    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.ledger import Posting
    from krakenws.exchange.market import Market
    from krakenws.exchange.protocol import Subscription
    from krakenws.exchange.records import FillRecord

    Fields = Mapping[str, object]

ENDED_KEPT = 10_000
"""Ended orders, and fills, that an account remembers."""
INVALID_ORDER = "EOrder:Invalid order"
SCHEDULED_LIMIT = "EOrder:Scheduled orders limit exceeded"


class File:
    """What the exchange keeps of one account's trading.

    Attributes:
        account: its money.
        live: its orders that have not ended, oldest first.
        ended: its last ones that have, oldest first.
        fills: its last ones, oldest first.
        subscriptions: who listens, by channel.
        switch_us: when the dead man's switch cancels everything; None when it is off.
    """

    __slots__ = ("account", "ended", "fills", "live", "subscriptions", "switch_us")

    def __init__(self, account: Account) -> None:
        self.account = account
        self.live: dict[str, OrderRecord] = {}
        self.ended: deque[OrderRecord] = deque(maxlen=ENDED_KEPT)
        self.fills: deque[FillRecord] = deque(maxlen=ENDED_KEPT)
        self.subscriptions: dict[str, list[Subscription]] = {
            "openOrders": [],
            "ownTrades": [],
            "balances": [],
        }
        self.switch_us: int | None = None

    def named(self, name: str) -> list[OrderRecord]:
        """Return the live orders of an id or a userref; v1 calls both txid (v1.md 9.4)."""
        record = self.live.get(name)
        if record is not None:
            return [record]
        if not is_userref(name) or not int(name):
            return []
        return [record for record in self.live.values() if record.terms.userref == int(name)]

    def by_client_id(self, cl_ord_id: str) -> list[OrderRecord]:
        """Return the live order of a client's own id, in a list, or an empty one."""
        return [record for record in self.live.values() if record.terms.cl_ord_id == cl_ord_id]


class Desk:
    """All accounts' trading.

    Args:
        markets: by wsname.
        draws: for the ids of orders and trades.
        tell: the truth log: takes an event, its time, and its fields by name.

    Attributes:
        files: by account name.
        status: the system's, which decides what is taken.
    """

    def __init__(self, markets: Mapping[str, Market], draws: Draws, tell: Callable[..., None]) -> None:
        self.files: dict[str, File] = {}
        self.status = "online"
        self._markets = markets
        self._draws = draws
        self._tell = tell
        self._live: dict[str, dict[str, OrderRecord]] = {wsname: {} for wsname in markets}
        self._asked: dict[str, dict[str, object]] = {}
        self._starts: list[tuple[int, str, OrderRecord]] = []

    def open_account(self, account: Account) -> None:
        """Let an account trade."""
        self.files[account.name] = File(account)

    def position(self, owner: str, pair: str) -> Decimal:
        """Return an owner's margin position on a pair (wsname)."""
        known = self.files.get(owner)
        return ZERO if known is None else known.account.position(pair)

    def orders_on(self, pair: str) -> Mapping[str, OrderRecord]:
        """Return the users' live orders on a pair (wsname), by id."""
        return self._live[pair]

    def failed(self, error: Exception, now_us: int) -> None:
        """Tell the truth log of a mistake of our own: its kind and place, as its text may hold a secret."""
        self._tell("InternalError", now_us, error=type(error).__name__, place=place_of(error))

    # Feeds

    def join(self, owner: str, subscription: Subscription, now_us: int) -> None:
        """Send a new subscriber of a private channel its snapshot, and from then on every frame."""
        file = self.files[owner]
        if subscription.channel == "openOrders" or subscription.values.get("snapshot", True):
            subscription.publish(self._snapshot(file, subscription, now_us), snapshot=True)
        file.subscriptions[subscription.channel].append(subscription)

    def _snapshot(self, file: File, subscription: Subscription, now_us: int) -> bytes:
        account = file.account
        if subscription.channel == "balances":
            return balances.snapshot(account.balances)
        if subscription.channel == "ownTrades":
            return private.trades_snapshot(list(file.fills)[-private.SNAPSHOT_TRADES :])
        count = None
        if subscription.values.get("ratecounter"):
            count = max((account.rate_counter(pair).count(now_us) for pair in self._markets), default=0)
        return private.orders_snapshot(file.live.values(), count)

    def leave(self, subscription: Subscription) -> None:
        """Send it nothing more; its token may be void by now, so nobody says whose it was."""
        for file in self.files.values():
            listeners = file.subscriptions[subscription.channel]
            if subscription in listeners:
                listeners.remove(subscription)

    # Requests

    def add(self, owner: str, market: Market, fields: Fields, now_us: int) -> OrderRecord:
        """Place an order and return its record; with `validate` nothing is placed and its id is "".

        Raises:
            Refusal: in Kraken's words; nothing changed but the rate counter.
        """
        file, instrument = self.files[owner], market.instrument
        read_deadline(text_of(fields, "deadline"), now_us)
        file.account.rate_counter(instrument.wsname).charge(now_us, ADD)
        terms = read_order(fields, instrument, market.engine.last_price, now_us)
        self._check_modes(market, terms)
        if terms.cl_ord_id and file.by_client_id(terms.cl_ord_id):
            raise Refusal(INVALID + "cl_ord_id")
        self._check_limits(file, market, terms, now_us)
        record = OrderRecord(self.new_id("O"), owner, instrument, terms, now_us)
        if terms.order_type == SETTLE_POSITION:
            return self._settle(file, record, now_us)
        self._hold(file.account, market, record, now_us)
        if terms.validate:
            file.account.release(record.order_id)
            record.order_id = ""
            return record
        self._asked[record.order_id] = {n: v for n, v in fields.items() if v not in (None, "")}
        if terms.start_us is not None:
            self._register(file, record)
            heappush(self._starts, (terms.start_us, record.order_id, record))
            self._publish(record, private.pending, now_us)
            order = terms.order(record.order_id, owner)
            self._tell_order("Scheduled", record, now_us, start_us=terms.start_us, order=order)
            return record
        self._submit(file, market, record, now_us)
        return record

    def amend(self, owner: str, fields: Fields, now_us: int) -> OrderRecord:
        """Change an order in place and return its record. Source: v1.md 9.2.

        Raises:
            Refusal: in Kraken's words.
        """
        file = self.files[owner]
        read_deadline(text_of(fields, "deadline"), now_us)
        cl_ord_id = text_of(fields, "cl_ord_id")
        found = file.by_client_id(cl_ord_id) if cl_ord_id else file.named(text_of(fields, "txid"))
        if len(found) != 1:
            raise Refusal(UNKNOWN_ORDER)
        record = found[0]
        instrument, account = record.instrument, file.account
        market = self._markets[instrument.wsname]
        account.rate_counter(instrument.wsname).charge(now_us, AMEND, now_us - record.changed_us)
        now_us = market.advance(now_us)
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
        if left > 0:
            self._hold(account, market, record, now_us, qty=left, limit=limit, trigger=trigger)
        events = market.engine.amend(
            record.order_id,
            now_us,
            qty=qty,
            limit_price=limit,
            trigger_price=trigger,
            post_only=fields.get("post_only") is True,
        )
        market.take(events, now_us)
        error = _refusal(events, record.order_id)
        if error:
            self._restore(file, market, record, now_us)
            raise Refusal(error)
        return record

    def edit(self, owner: str, market: Market, fields: Fields, now_us: int) -> tuple[str, OrderRecord]:
        """Replace an order; return the old one's id and the new one's record. Source: v1.md 9.3.

        Raises:
            Refusal: in Kraken's words.
        """
        file, pair = self.files[owner], market.instrument.wsname
        found = [r for r in file.named(text_of(fields, "orderid")) if r.instrument.wsname == pair]
        if len(found) != 1:
            raise Refusal(UNKNOWN_ORDER)
        old = found[0]
        file.account.rate_counter(pair).charge(now_us, EDIT, now_us - old.changed_us)
        if old.triggered or old.terms.close is not None or old.terms.cl_ord_id or old.status == PENDING:
            raise Refusal(INVALID_ORDER)
        asked = edited_fields(old, self._asked.get(old.order_id, {}), fields)
        terms = read_order(asked, market.instrument, market.engine.last_price, now_us)
        self._check_modes(market, terms)
        if terms.qty <= old.filled:
            raise Refusal(INVALID + "volume")
        terms = replace(terms, qty=terms.qty - old.filled)
        self._check_limits(file, market, terms, now_us)
        record = OrderRecord(self.new_id("O"), owner, market.instrument, terms, now_us)
        file.account.release(old.order_id)
        try:
            self._hold(file.account, market, record, now_us)
        except Refusal:
            self._restore(file, market, old, now_us)
            raise
        if terms.validate:
            file.account.release(record.order_id)
            self._restore(file, market, old, now_us)
            record.order_id = ""
            return old.order_id, record
        self._register(file, record)
        self._asked[record.order_id] = asked
        events = market.engine.replace(old.order_id, terms.order(record.order_id, owner), now_us)
        error = _refusal(events, record.order_id)
        if error:
            self._drop(file, record)
        market.take(events, now_us)
        if error:
            self._restore(file, market, old, now_us)
            raise Refusal(error)
        return old.order_id, record

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
        self._tell("Switch", now_us, account=owner, fires_us=file.switch_us)
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
                    self._tell("SwitchFired", now_us, account=owner)
                    self.cancel_all(owner, now_us, "Cancel all orders after timeout")
            if self._starts and self._starts[0][0] == due_us:
                record = heappop(self._starts)[2]
                if record.status != PENDING:  # the switch was as quick
                    continue
                market, file = self._markets[record.instrument.wsname], self.files[record.owner]
                at_us = market.advance(now_us)
                try:
                    self._submit(file, market, record, at_us, was_pending=True)
                except Refusal as refusal:
                    self._end(file, record, CANCELED, at_us, refusal.code)

    # From events

    def digest(self, market: Market, events: Sequence[EngineEvent], now_us: int) -> None:
        """Take in what one transaction did to users' orders."""
        live = self._live[market.instrument.wsname]
        fills: dict[str, list[tuple[FillRecord, bool]]] = {}
        closes: list[tuple[OrderRecord, CloseOrderDue]] = []
        for at, event in enumerate(events):
            if isinstance(event, Filled):
                for order_id, taker in ((event.maker_id, False), (event.taker_id, True)):
                    if order_id in live:
                        fill = self._fill(live[order_id], event, market, taker=taker)
                        fills.setdefault(fill.order.owner, []).append((fill, taker))
            elif isinstance(event, CloseOrderDue):
                if event.parent_id in live:
                    closes.append((live[event.parent_id], event))
            elif isinstance(event, Accepted):
                record = live.get(event.order.order_id)
                if record is not None:
                    self._accepted(record, now_us)
            elif isinstance(event, Amended):
                record = live.get(event.order_id)
                if record is not None:
                    record.amend(event.qty, event.limit_price, event.trigger_price, now_us)
                    self._publish(record, _amended, now_us)
            elif isinstance(event, Triggered):
                record = live.get(event.order_id)
                if record is not None:
                    self._triggered(record, event, market, events[at:])
            elif isinstance(event, Closed | Canceled | Expired):
                record = live.get(event.order_id)
                if record is not None:
                    status = (
                        CLOSED
                        if isinstance(event, Closed)
                        else EXPIRED
                        if isinstance(event, Expired)
                        else CANCELED
                    )
                    reason = event.reason if isinstance(event, Canceled) else ""
                    self._end(self.files[record.owner], record, status, now_us, reason)
        for owner, theirs in fills.items():
            self._publish_fills(self.files[owner], theirs)
        for parent, due in closes:
            self._place_close(parent, due, market, now_us)

    def _accepted(self, record: OrderRecord, now_us: int) -> None:
        if record.terms.start_us is None:
            self._publish(record, private.pending, now_us)
        record.opened()
        self._publish(record, private.opened, now_us)

    def _fill(self, record: OrderRecord, event: Filled, market: Market, *, taker: bool) -> FillRecord:
        account, trade_id = self.files[record.owner].account, self.new_id("T")
        settlement = account.settle(
            record.order_id,
            event.price,
            event.qty,
            event.time_us,
            taker=taker,
            usd_rate=self._usd_rate(market, event.time_us),
            trade_id=trade_id,
        )
        record.fill(event.price, event.qty, settlement)
        fill = make_fill(trade_id, record, event.price, event.qty, settlement, at_us=event.time_us)
        self.files[record.owner].fills.append(fill)
        self._tell_order(
            "Settled",
            record,
            event.time_us,
            exec_id=trade_id,
            trade_id=event.trade_id,
            role="taker" if taker else "maker",
            price=event.price,
            qty=event.qty,
            cost=fill.cost,
            fee=fill.fee,
        )
        self._publish(record, private.filled, event.time_us)
        kind = MARGIN if record.terms.leverage else TRADE
        self._enter(record.owner, kind, trade_id, settlement.postings, event.time_us)
        return fill

    def _triggered(
        self, record: OrderRecord, event: Triggered, market: Market, after: Sequence[EngineEvent]
    ) -> None:
        """An order came to life: hold what it needs now, before its fills are settled."""
        limit = record.terms.limit_price
        if isinstance(limit, Relative):
            tick = market.instrument.tick_size
            limit = max(to_tick(event.trigger_price + limit.of(event.trigger_price), tick), tick)
        elif record.limit_price is not None:
            limit = record.limit_price
        record.trigger(event.trigger_price, limit)
        prices = [e.price for e in after if isinstance(e, Filled) and e.taker_id == record.order_id]
        worst = limit or max(prices, default=event.last_price)
        account = self.files[record.owner].account
        left = record.qty - record.filled
        try:
            self._hold(account, market, record, event.time_us, qty=left, limit=worst)
        except Refusal:
            self._lend(account, record, left, worst, event.time_us)
            with suppress(Refusal):  # nothing to reduce: the engine has found that out as well
                self._hold(account, market, record, event.time_us, qty=left, limit=worst)
        self._publish(record, private.triggered, event.time_us)

    def _lend(self, account: Account, record: OrderRecord, qty: Decimal, price: Decimal, at_us: int) -> None:
        """Lend what an order that has already been executed lacks."""
        instrument = record.instrument
        asset, held = account.hold(record.order_id)
        rate = max(*account.fee_rates(instrument, at_us), ZERO)
        need = (qty * price * (1 + rate)).quantize(
            Decimal(1).scaleb(-instrument.cost_decimals), ROUND_CEILING
        )
        if record.terms.side != BUY and not record.terms.leverage:
            need = qty * (1 + rate)
        short = need - held - account.available(asset)
        if short > 0:
            posting = account.deposit(asset, short)
            account.lent[asset] = account.lent.get(asset, ZERO) + short
            self._tell_order("Lent", record, at_us, asset=asset, amount=short)
            self._enter(record.owner, CREDIT, record.order_id, [posting], at_us)

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
            file = self.files[parent.owner]
            self._hold(file.account, market, record, now_us)
            self._asked[record.order_id] = fields
            self._submit(file, market, record, now_us)
        except Refusal as refusal:
            self._tell_order("CloseOrderRefused", parent, now_us, error=refusal.code)

    # Steps

    def _submit(
        self, file: File, market: Market, record: OrderRecord, now_us: int, *, was_pending: bool = False
    ) -> None:
        """Hand an order that is held for to the engine."""
        if not was_pending:
            self._register(file, record)
        new = record.terms.order(record.order_id, record.owner)
        events = market.engine.submit(new, now_us)
        error = _refusal(events, record.order_id)
        if error and not was_pending:
            self._drop(file, record)
        market.take(events, now_us)
        if error:
            raise Refusal(error)

    def _register(self, file: File, record: OrderRecord) -> None:
        file.live[record.order_id] = self._live[record.instrument.wsname][record.order_id] = record

    def _drop(self, file: File, record: OrderRecord) -> None:
        """Forget an order: it has ended, or never was one."""
        file.account.release(record.order_id)
        self._asked.pop(record.order_id, None)
        file.live.pop(record.order_id, None)
        self._live[record.instrument.wsname].pop(record.order_id, None)

    def _end(self, file: File, record: OrderRecord, status: str, now_us: int, reason: str) -> None:
        record.end(status, now_us, reason)
        self._drop(file, record)
        file.ended.append(record)
        self._tell_order(
            "Ended",
            record,
            now_us,
            status=status,
            reason=reason,
            qty=record.qty,
            filled=record.filled,
            cost=record.cost,
            fee=record.fee,
        )
        self._publish(record, private.ended, now_us)

    def _settle(self, file: File, record: OrderRecord, now_us: int) -> OrderRecord:
        """Settle a position with own money: an order that is done at once."""
        terms = record.terms
        if terms.validate:
            record.order_id = ""
            return record
        postings = file.account.settle_position(record.instrument, side=terms.side, qty=terms.qty)
        self._tell_order("PositionSettled", record, now_us, side=terms.side, qty=terms.qty)
        self._register(file, record)
        self._accepted(record, now_us)
        self._enter(record.owner, SETTLED, record.order_id, postings, now_us)
        self._end(file, record, CLOSED, now_us, "")
        return record

    def _cancel(self, records: Iterable[OrderRecord], now_us: int, reason: str) -> None:
        by_pair: dict[str, list[OrderRecord]] = {}
        for record in records:
            if record.status == PENDING:
                self._end(self.files[record.owner], record, CANCELED, now_us, reason)
            else:
                by_pair.setdefault(record.instrument.wsname, []).append(record)
        for pair, theirs in by_pair.items():
            market = self._markets[pair]
            at_us = market.advance(now_us)
            ids = [record.order_id for record in theirs if record.order_id in self._live[pair]]
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

    def _hold(
        self,
        account: Account,
        market: Market,
        record: OrderRecord,
        now_us: int,
        *,
        qty: Decimal | None = None,
        limit: Decimal | Relative | None = None,
        trigger: Decimal | Relative | None = None,
    ) -> None:
        """Set aside what an order can cost; what is not given is as the record has it."""
        terms = record.terms
        left = terms.qty if qty is None else qty
        price = limit if isinstance(limit, Decimal) else record.limit_price
        if price is None:
            price = worst_price(market, record, left, trigger)
        elif terms.leverage and terms.side != BUY and market.engine.best_bid is not None:
            price = max(price, market.engine.best_bid[0])  # a sale above its limit needs more margin
        account.hold_for(
            record.order_id,
            market.instrument,
            side=terms.side,
            qty=left,
            price=price,
            at_us=now_us,
            viqc=terms.viqc,
            fee_in_base=terms.fee_in_base,
            leverage=terms.leverage,
            reduce_only=terms.reduce_only,
        )

    def _restore(self, file: File, market: Market, record: OrderRecord, now_us: int) -> None:
        """Hold again what an order held before a change that was refused.

        One that could not be placed any more, as its position is gone, is cancelled.
        """
        if record.order_id in file.live:
            try:
                self._hold(file.account, market, record, now_us, qty=record.qty - record.filled)
            except Refusal as refusal:
                self._cancel([record], now_us, refusal.code)

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

    # Telling

    def _enter(
        self, owner: str, kind: tuple[str, str], ref_id: str, postings: Iterable[Posting], at_us: int
    ) -> None:
        """Enter changes of an account's balances in its ledger, and tell who listens to them."""
        for posting in postings:
            entry = LedgerEntry(self.new_id("L"), ref_id, kind, posting, at_us)
            self._tell(
                "Ledger",
                at_us,
                account=owner,
                ledger_id=entry.ledger_id,
                ref_id=ref_id,
                type=kind[0],
                asset=posting.asset,
                amount=posting.amount,
                fee=posting.fee,
                balance=posting.balance,
            )
            for subscription in self.files[owner].subscriptions["balances"]:
                subscription.publish(balances.update(entry))

    def _publish(
        self, record: OrderRecord, payload: Callable[[OrderRecord, int | None], bytes], now_us: int
    ) -> None:
        """Tell the openOrders subscribers of a change; those who asked for it with the rate counter."""
        file = self.files[record.owner]
        made: dict[bool, bytes] = {}
        for subscription in file.subscriptions["openOrders"]:
            counted = bool(subscription.values.get("ratecounter"))
            if counted not in made:
                count = file.account.rate_counter(record.instrument.wsname).count(now_us) if counted else None
                made[counted] = payload(record, count)
            subscription.publish(made[counted])

    @staticmethod
    def _publish_fills(file: File, fills: Sequence[tuple[FillRecord, bool]]) -> None:
        """Tell the ownTrades subscribers of one transaction's fills; a taker's are merged unless unwanted."""
        for subscription in file.subscriptions["ownTrades"]:
            told = [fill for fill, _ in fills]
            if subscription.values.get("consolidate_taker", True):
                told = [fill for fill, taker in fills if not taker]
                told += consolidate([fill for fill, taker in fills if taker])
            subscription.publish(private.trades(told))

    def _tell_order(self, event: str, record: OrderRecord, now_us: int, **more: object) -> None:
        self._tell(
            event,
            now_us,
            order_id=record.order_id,
            account=record.owner,
            pair=record.instrument.wsname,
            **more,
        )


def _amended(record: OrderRecord, ratecount: int | None) -> bytes:
    return private.amended(record, ratecount=ratecount)


def _refusal(events: Sequence[EngineEvent], order_id: str) -> str:
    """Return why the engine refused an order, "" if it did not."""
    return next((e.error for e in events if isinstance(e, Refused) and e.order_id == order_id), "")
