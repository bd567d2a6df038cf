"""The matching engine of one symbol: orders in, events out, by price-time priority.

Theory of this file
-------------------
Two ladders are the book and two more hold what waits for a trigger (`ladder`, `triggers`). An arriving order
trades with the best level of the other side, oldest order first, at that order's price, while its own price
allows; what is left rests at the end of its level, or is cancelled when it may not rest. Then the orders
that those trades triggered are executed, one after the other, each as if it had just arrived; their trades
may trigger more, and every order fires once, so this ends. A trade moves trailing stops and fires triggers
at its own price, but what it fires never runs between two fills of one order.

Every method is one atomic action: it takes the time and returns the events it caused, in order. It first
expires what is due by then, so nothing trades past its expiry; a request that is refused changes nothing
else. The engine knows no balances, fees, rate limits, minimums or permissions: those are its venue's. It
asks the venue one thing, an owner's position, to which reduce-only orders are limited; fills of the action
under way count, though the venue has not heard of them yet.

What each mode admits; expiry goes on in all of them:

    online        everything
    limit_only    limit orders, amend, cancel; matching; what waited may still trigger
    post_only     post-only limit orders, cancel, amendments in the book that do not take
    cancel_only   cancel
    maintenance   nothing

Documented by Kraken: post-only is refused rather than repriced; self-trade prevention goes by the arriving
order's mode; an amendment keeps ids, fills and "where possible" the place in the queue, and one to less than
is filled cancels the rest; a reduce-only order trades what it can, and the rest is cancelled. Chosen here,
where it is silent: a lower quantity keeps the place, a higher one or another price loses it, as elsewhere;
and the wording of those reasons below that no page of Kraken's shows.

Source: docs.kraken.com: v1 "Add Order", "Amend Order", "Edit Order", "Cancel Order", "System Status" (v1.md
5.3, 8.2, 9.1 to 9.4); guides "Spot Atomic Amends" and "Spot Error Messages"; support article "Self-trading
prevention".
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal
from heapq import heapify, heappop, heappush
from itertools import count

from krakenws.exchange.admission import Admission
from krakenws.exchange.events import (
    Accepted,
    Amended,
    Armed,
    BookState,
    Canceled,
    Closed,
    CloseOrderDue,
    Expired,
    Filled,
    LevelChanged,
    Refused,
    Rested,
    Triggered,
)
from krakenws.exchange.ladder import Ladder
from krakenws.exchange.orders import (
    BUY,
    CANCEL_NEWEST,
    CANCEL_OLDEST,
    IOC,
    LIMIT,
    MARKET,
    OPPOSITE,
    SELL,
    TRIGGERED,
    ZERO,
    Order,
    Relative,
)
from krakenws.exchange.triggers import Triggers, to_tick

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.ladder import Level
    from krakenws.exchange.orders import NewOrder

ONLINE, LIMIT_ONLY, POST_ONLY = "online", "limit_only", "post_only"
CANCEL_ONLY, MAINTENANCE = "cancel_only", "maintenance"
_CLOSED_BY_MODE = {
    LIMIT_ONLY: "EService:Market in limit_only mode",
    POST_ONLY: "EService:Market in post_only mode",
    CANCEL_ONLY: "EService:Market in cancel_only mode",
    MAINTENANCE: "EService:Unavailable",
}

UNKNOWN_ORDER = "EOrder:Unknown order"
WOULD_TAKE = "EOrder:Post only order"
NO_POSITION = "EOrder:Reduce only:No position exists"

USER_REQUESTED = "User requested"
SELF_TRADE = "Cannot trade with self"
POSITION_CLOSED = "EOrder:Reduce only:Position is closed"
REPLACED = "Order replaced"
NO_LIQUIDITY = "Insufficient liquidity"
IOC_REST = "Immediate or cancel"
AMENDED_BELOW_FILLED = "Amended below filled quantity"

_SPENT = "spent"


class Engine:
    """The book, the waiting orders and the last trade of one symbol.

    Ids are the caller's, unique among live orders; an order that ended is forgotten. A `ValueError` is a
    defect of the caller, never a matter of what a trader sent.

    Args:
        symbol: under the caller's name for it.
        tick_size: what every price is a multiple of.
        lot_size: what every quantity is a multiple of.
        last_price: what triggers and trailing stops refer to before the first trade.
        position: an owner's position, positive when long; asked about reduce-only orders.
        next_trade_id: the number of the first trade.

    Attributes:
        last_price: of the last trade.
        last_trade: the last trade, None before the first.
    """

    def __init__(
        self,
        symbol: str,
        *,
        tick_size: Decimal,
        lot_size: Decimal,
        last_price: Decimal | None = None,
        position: Callable[[str], Decimal] | None = None,
        next_trade_id: int = 1,
    ) -> None:
        self.symbol = symbol
        self.tick_size = tick_size
        self.lot_size = lot_size
        self.last_price = last_price
        self.last_trade: Filled | None = None
        self._mode = ONLINE
        self._position = position
        self._next_trade_id = next_trade_id
        self._admission = Admission(tick_size, lot_size)
        self._sides = {BUY: Ladder(BUY), SELL: Ladder(SELL)}
        self._triggers = Triggers(tick_size)
        self._orders: dict[str, Order] = {}
        self._owners: dict[str, dict[str, Order]] = {}
        self._expiries: list[tuple[int, int, Order]] = []
        self._arrivals = count()
        # of the action under way
        self._now_us = 0
        self._events: list[EngineEvent] = []
        self._fired: deque[Order] = deque()
        self._net: dict[str, Decimal] = {}

    # What may be asked of it

    def submit(self, new: NewOrder, now_us: int) -> list[EngineEvent]:
        """Return the events of a new order: `Refused`, or `Accepted` and all that follows from it.

        Raises:
            ValueError: its id belongs to a live order.
        """
        events = self._begin(now_us, new.order_id)
        error = self._refusal(new)
        if error:
            events.append(Refused(new.order_id, error, now_us))
        else:
            self._accept(new)
        return events

    def cancel(self, order_id: str, now_us: int, reason: str = USER_REQUESTED) -> list[EngineEvent]:
        """Return the events of cancelling an order: `Canceled` and its level's change, or `Refused`."""
        return self.cancel_many((order_id,), now_us, reason)

    def cancel_many(
        self, order_ids: Iterable[str], now_us: int, reason: str = USER_REQUESTED
    ) -> list[EngineEvent]:
        """Return the events of cancelling several orders, then one `LevelChanged` for each level touched.

        For `cancelAll` and the dead man's switch give it the ids of `orders_of`.
        """
        events = self._begin(now_us)
        changed: dict[Level, None] = {}
        for order_id in order_ids:
            order = self._orders.get(order_id)
            if self._mode == MAINTENANCE or order is None:
                error = _CLOSED_BY_MODE[MAINTENANCE] if self._mode == MAINTENANCE else UNKNOWN_ORDER
                events.append(Refused(order_id, error, now_us))
                continue
            level = self._withdraw(order)
            if level is not None:
                changed[level] = None
            events.append(Canceled(order_id, reason, order.left, now_us))
        self._report(changed)
        return events

    def amend(
        self,
        order_id: str,
        now_us: int,
        *,
        qty: Decimal | None = None,
        limit_price: Decimal | Relative | None = None,
        trigger_price: Decimal | Relative | None = None,
        post_only: bool = False,
    ) -> list[EngineEvent]:
        """Return the events of changing an order in place: `Amended` and what follows from it, or `Refused`.

        Args:
            order_id: which one.
            now_us: the time.
            qty: the new quantity, what is filled included; at or below that, the rest is cancelled.
            limit_price: the new one, `Relative` for a `trailing-stop-limit` that waits.
            trigger_price: the new one of an order that waits, `Relative` for a trailing one, which keeps
                the extreme it has seen.
            post_only: refuse a price at which the order would take, as for an order that is post-only itself.

        Source: v1 "Amend Order" (v1.md 9.2) and the guide "Spot Atomic Amends".
        """
        events = self._begin(now_us)
        order = self._orders.get(order_id)
        if order is None:
            error = _CLOSED_BY_MODE[MAINTENANCE] if self._mode == MAINTENANCE else UNKNOWN_ORDER
        else:
            error = self._amendment_refusal(order, qty, (limit_price, trigger_price), post_only=post_only)
        if error or order is None:
            events.append(Refused(order_id, error, now_us))
        elif qty is not None and qty <= order.filled:
            self._cancel(order, AMENDED_BELOW_FILLED)
        elif order.waiting:
            self._amend_waiting(order, qty, limit_price, trigger_price)
        else:
            self._amend_resting(order, qty, limit_price)
        self._run_fired()
        return events

    def replace(self, order_id: str, new: NewOrder, now_us: int) -> list[EngineEvent]:
        """Return the events of `editOrder`: one order cancelled and another taken in, or `Refused`.

        What Kraken asks of the old order (not triggered, no conditional close, …) is for the venue to check.

        Raises:
            ValueError: the new id belongs to a live order.

        Source: v1 "Edit Order" (v1.md 9.3).
        """
        events = self._begin(now_us, new.order_id)
        order = self._orders.get(order_id)
        error = self._refusal(new) or (UNKNOWN_ORDER if order is None else "")
        if error or order is None:
            events.append(Refused(new.order_id, error, now_us))
        else:
            self._cancel(order, REPLACED)
            self._accept(new)
        return events

    def expire(self, now_us: int) -> list[EngineEvent]:
        """Return the events of the orders that are due; every other action begins with them."""
        return self._begin(now_us)

    @property
    def mode(self) -> str:
        """What is admitted, see above; `online` at first."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode != ONLINE and mode not in _CLOSED_BY_MODE:
            raise ValueError(f"there is no engine mode {mode!r}")
        self._mode = mode

    # What may be known of it

    @property
    def best_bid(self) -> tuple[Decimal, Decimal, int] | None:
        """The highest bid: price, quantity, time of its last change in microseconds."""
        level = self._sides[BUY].best
        return None if level is None else (level.price, level.qty, level.changed_us)

    @property
    def best_ask(self) -> tuple[Decimal, Decimal, int] | None:
        """The lowest ask: price, quantity, time of its last change in microseconds."""
        level = self._sides[SELL].best
        return None if level is None else (level.price, level.qty, level.changed_us)

    @property
    def next_expiry_us(self) -> int | None:
        """When to call `expire` next; None when no order will expire."""
        expiries = self._expiries
        while expiries and not self._lives(expiries[0][2]):
            heappop(expiries)
        return expiries[0][0] if expiries else None

    def levels(self, side: str, limit: int | None = None) -> list[tuple[Decimal, Decimal, int]]:
        """Return the first levels of a side, best first: price, quantity, time of the last change."""
        return [(level.price, level.qty, level.changed_us) for level in self._sides[side].levels(limit)]

    def order(self, order_id: str) -> Order | None:
        """Return a live order."""
        return self._orders.get(order_id)

    def orders_of(self, owner: str) -> list[Order]:
        """Return an owner's live orders, oldest first."""
        return list(self._owners.get(owner, {}).values())

    def state(self) -> BookState:
        """Return every live order and where it stands: what `replay` makes of all events so far."""
        bids, asks = (
            [
                (level.price, [(order_id, order.left) for order_id, order in level.orders.items()])
                for level in self._sides[side].levels()
            ]
            for side in (BUY, SELL)
        )
        waiting = {
            order_id: order.trigger_price
            for order_id, order in self._orders.items()
            if order.waiting and order.trigger_price is not None
        }
        return BookState(bids, asks, waiting)

    # Admission

    def _begin(self, now_us: int, new_id: str | None = None) -> list[EngineEvent]:
        """Open an action: expire what is due. Returns the list that the action's events go to."""
        if new_id in self._orders:
            raise ValueError(f"order {new_id} of {self.symbol} is alive, so its id cannot be given again")
        self._now_us = now_us
        self._net.clear()
        events = self._events = []
        expiries = self._expiries
        if expiries and expiries[0][0] <= now_us:
            changed: dict[Level, None] = {}
            while expiries and expiries[0][0] <= now_us:
                order = heappop(expiries)[2]
                if self._lives(order):
                    level = self._withdraw(order)
                    if level is not None:
                        changed[level] = None
                    events.append(Expired(order.order_id, order.left, now_us))
            self._report(changed)
        return events

    def _refusal(self, new: NewOrder) -> str:
        """Return Kraken's text for why an order is not taken in, "" when it is."""
        mode = self._mode
        if mode != ONLINE and not (
            new.order_type == LIMIT and (mode == LIMIT_ONLY or (mode == POST_ONLY and new.post_only))
        ):
            return _CLOSED_BY_MODE[mode]
        error = self._admission.order_error(new, self.last_price, self._now_us)
        if error:
            return error
        if new.reduce_only and not self._reducible(new.owner, new.side):
            return NO_POSITION
        return WOULD_TAKE if new.post_only and self._would_take(new.side, new.limit_price) else ""

    def _amendment_refusal(
        self,
        order: Order,
        qty: Decimal | None,
        prices: tuple[Decimal | Relative | None, Decimal | Relative | None],
        *,
        post_only: bool,
    ) -> str:
        """Return why an order is not amended; what is not amended is checked as it stands."""
        if self._mode in {CANCEL_ONLY, MAINTENANCE} or (self._mode == POST_ONLY and order.waiting):
            return _CLOSED_BY_MODE[self._mode]
        limit, trigger = prices
        would_take = not order.waiting and self._would_take(order.side, limit)
        if limit is None:
            limit = order.offset if order.waiting and order.offset else order.limit_price
        if trigger is None and order.waiting:
            trigger = order.trail or order.trigger_price
        kind = order.new.order_type if order.waiting else LIMIT
        error = (self._admission.qty_error(qty) if qty is not None else "") or self._admission.prices_error(
            kind, order.side, qty or order.qty, (limit, trigger), self.last_price
        )
        if error or not would_take:
            return error
        if post_only or order.new.post_only:
            return WOULD_TAKE
        return _CLOSED_BY_MODE[POST_ONLY] if self._mode == POST_ONLY else ""

    def _would_take(self, side: str, price: Decimal | Relative | None) -> bool:
        best = self._sides[OPPOSITE[side]].best
        if best is None or not isinstance(price, Decimal):
            return False
        return price >= best.price if side == BUY else price <= best.price

    def _reducible(self, owner: str, side: str) -> Decimal:
        """Return how much an owner may trade on a side until his position is closed."""
        position = (self._position(owner) if self._position else ZERO) + self._net.get(owner, ZERO)
        return max(-position if side == BUY else position, ZERO)

    # The life of an order

    def _accept(self, new: NewOrder) -> None:
        order = Order(new, new.order_id, new.owner, new.side, new.qty, new.qty)
        self._orders[new.order_id] = order
        self._owners.setdefault(new.owner, {})[new.order_id] = order
        self._events.append(Accepted(new, self._now_us))
        if new.expire_us is not None:
            self._remember_expiry(new.expire_us, order)
        self._set_limit(order, new.limit_price)
        if new.order_type in TRIGGERED:
            order.waiting = True
            self._set_trigger(order, new.trigger_price)
            self._wait(order)
        else:
            self._execute(order)
        self._run_fired()

    def _remember_expiry(self, expire_us: int, order: Order) -> None:
        """Put an order among those that will expire; those that ended before are swept out at times."""
        expiries = self._expiries
        if len(expiries) > 64 and len(expiries) > 2 * len(self._orders):
            expiries[:] = [expiry for expiry in expiries if self._lives(expiry[2])]
            heapify(expiries)
        heappush(expiries, (expire_us, next(self._arrivals), order))

    def _lives(self, order: Order) -> bool:
        return self._orders.get(order.order_id) is order

    @staticmethod
    def _set_limit(order: Order, price: Decimal | Relative | None) -> None:
        if isinstance(price, Relative):
            order.offset = price
        elif price is not None:
            order.limit_price = price

    def _set_trigger(self, order: Order, price: Decimal | Relative | None) -> None:
        if isinstance(price, Relative):
            assert self.last_price is not None  # noqa: S101 - refused otherwise
            order.peak = order.peak or self.last_price
            order.trail = price
            order.trigger_price = self._triggers.trailed(order)
        elif price is not None:
            order.trigger_price = price

    def _wait(self, order: Order) -> None:
        """Let an order wait for its trigger price, unless that is reached already."""
        assert order.trigger_price is not None  # noqa: S101 - a triggered type has one
        if self.last_price is not None and self._triggers.reached(order, self.last_price):
            self._fired.append(order)
        else:
            self._triggers.add(order)
            self._events.append(Armed(order.order_id, order.trigger_price, self._now_us))

    def _run_fired(self) -> None:
        """Execute what has triggered, and what that triggers in turn."""
        fired = self._fired
        while fired:
            order = fired.popleft()
            order.waiting = False
            trigger, last = order.trigger_price, self.last_price
            assert trigger is not None and last is not None  # noqa: S101, PT018 - it has fired
            self._events.append(Triggered(order.order_id, trigger, last, self._now_us))
            if order.offset is not None:
                limit = to_tick(trigger + order.offset.of(trigger), self.tick_size)
                order.limit_price = max(limit, self.tick_size)
            if order.new.reduce_only and not self._reducible(order.owner, order.side):
                self._end(order, Canceled(order.order_id, NO_POSITION, order.left, self._now_us))
            else:
                self._execute(order)

    def _execute(self, order: Order) -> None:
        """Match an order as far as it goes, then let the rest of it rest or end."""
        new = order.new
        reason = self._match(order)
        if not order.left or (reason == _SPENT and order.filled):
            self._end(order, Closed(order.order_id, order.left, self._now_us))
            return
        if reason == _SPENT:
            reason = NO_LIQUIDITY
        if not reason:
            if order.limit_price is None:
                reason = NO_LIQUIDITY
            elif new.time_in_force == IOC:
                reason = IOC_REST
            elif new.reduce_only and not self._reducible(new.owner, new.side):
                reason = POSITION_CLOSED
            else:
                self._rest(order, order.limit_price)
                return
        self._end(order, Canceled(order.order_id, reason, order.left, self._now_us))

    def _rest(self, order: Order, price: Decimal) -> None:
        level = self._sides[order.side].add(price, order)
        self._events.append(Rested(order.order_id, order.side, price, order.left, self._now_us))
        self._report((level,))

    def _amend_waiting(
        self,
        order: Order,
        qty: Decimal | None,
        limit_price: Decimal | Relative | None,
        trigger_price: Decimal | Relative | None,
    ) -> None:
        self._triggers.remove(order)
        if qty is not None:
            order.qty = order.left = qty
        self._set_limit(order, limit_price)
        self._set_trigger(order, trigger_price)
        self._amended(order, kept_priority=True)
        self._wait(order)

    def _amend_resting(
        self, order: Order, qty: Decimal | None, limit_price: Decimal | Relative | None
    ) -> None:
        level = order.level
        assert level is not None  # noqa: S101 - a live order that does not wait rests
        grown = qty - order.qty if qty is not None else ZERO
        moved = limit_price is not None and limit_price != order.limit_price
        kept = not moved and grown <= 0
        if kept:
            level.qty += grown
        else:
            self._sides[order.side].remove(order, level)
        order.qty += grown
        order.left += grown
        self._set_limit(order, limit_price)
        self._amended(order, kept_priority=kept)
        if moved or (kept and grown):
            self._report((level,))
        if not kept:
            self._execute(order)
            if not moved and order.order_id not in self._orders:  # it ended instead of resting there again
                self._report((level,))

    def _amended(self, order: Order, *, kept_priority: bool) -> None:
        self._events.append(
            Amended(
                order.order_id,
                order.qty,
                order.left,
                order.limit_price,
                order.trigger_price,
                kept_priority,
                self._now_us,
            )
        )

    def _cancel(self, order: Order, reason: str) -> None:
        level = self._withdraw(order)
        self._events.append(Canceled(order.order_id, reason, order.left, self._now_us))
        if level is not None:
            self._report((level,))

    def _withdraw(self, order: Order) -> Level | None:
        """Take a live order out of everything; return its level of the book, if it had one."""
        self._forget(order)
        level = order.level
        if order.waiting:
            self._triggers.remove(order)
            return None
        if level is not None:
            self._sides[order.side].remove(order, level)
        return level

    def _end(self, order: Order, event: Closed | Canceled) -> None:
        """End an order that stands nowhere."""
        self._forget(order)
        self._events.append(event)

    def _forget(self, order: Order) -> None:
        del self._orders[order.order_id]
        theirs = self._owners[order.owner]
        del theirs[order.order_id]
        if not theirs:
            del self._owners[order.owner]

    def _report(self, levels: Iterable[Level]) -> None:
        now_us = self._now_us
        for level in levels:
            level.changed_us = now_us
            self._events.append(LevelChanged(level.side, level.price, level.qty, now_us))

    # Matching

    def _match(self, order: Order) -> str:
        """Trade an order level by level; return why it must not go on, "" when book or price ended it."""
        book = self._sides[OPPOSITE[order.side]]
        limit, buying = order.limit_price, order.side == BUY
        changed: list[Level] = []
        reason = ""
        while order.left and not reason and (level := book.best) is not None:
            if limit is not None and (level.price > limit if buying else level.price < limit):
                break
            before = level.qty
            reason = self._match_level(order, book, level)
            if level.qty != before:
                changed.append(level)
        self._report(changed)
        return reason

    def _match_level(self, order: Order, book: Ladder, level: Level) -> str:
        """Trade an order with one level, oldest maker first; return why it must not go on, or ""."""
        new = order.new
        while level.orders and order.left:
            maker = next(iter(level.orders.values()))
            if maker.owner == order.owner:
                if new.stp_type != CANCEL_NEWEST:
                    book.remove(maker, level)
                    self._end(maker, Canceled(maker.order_id, SELF_TRADE, maker.left, self._now_us))
                if new.stp_type != CANCEL_OLDEST:
                    return SELF_TRADE
                continue
            qty = min(order.left, maker.left)
            if new.viqc:
                lot_cost = level.price * self.lot_size
                qty = min(order.left // lot_cost * self.lot_size, maker.left)
                if not qty:
                    return _SPENT
            if new.reduce_only:
                qty = min(qty, self._reducible(order.owner, order.side))
                if not qty:
                    return POSITION_CLOSED
            if maker.new.reduce_only:
                qty = min(qty, self._reducible(maker.owner, maker.side))
            if qty:
                self._fill(maker, order, level, qty)
            self._settle_maker(maker, book, level)
        return ""

    def _fill(self, maker: Order, taker: Order, level: Level, qty: Decimal) -> None:
        """Trade a quantity between two orders at the level's price."""
        price, now_us = level.price, self._now_us
        level.qty -= qty
        maker.left -= qty
        maker.filled += qty
        taker.left -= price * qty if taker.new.viqc else qty
        taker.filled += qty
        kind = MARKET if taker.limit_price is None else LIMIT
        self.last_trade = Filled(
            self._next_trade_id, maker.order_id, taker.order_id, price, qty, taker.side, kind, now_us
        )
        self._next_trade_id += 1
        self._events.append(self.last_trade)
        for order in (maker, taker):
            new = order.new
            if new.close is not None:
                side = OPPOSITE[order.side]
                self._events.append(CloseOrderDue(order.order_id, side, qty, new.close, now_us))
            if new.moves_position:
                change = qty if order.side == BUY else -qty
                self._net[order.owner] = self._net.get(order.owner, ZERO) + change
        if price != self.last_price:
            self.last_price = price
            if self._triggers:
                self._trigger(price)

    def _trigger(self, price: Decimal) -> None:
        """Let those that wait see a trade."""
        for order in self._triggers.follow(price):
            assert order.trigger_price is not None  # noqa: S101 - it has just moved
            self._events.append(Armed(order.order_id, order.trigger_price, self._now_us))
        self._fired.extend(self._triggers.fired(price))

    def _settle_maker(self, maker: Order, book: Ladder, level: Level) -> None:
        """End a maker that is filled, or that may reduce no further."""
        if not maker.left:
            book.remove(maker, level)
            self._end(maker, Closed(maker.order_id, ZERO, self._now_us))
        elif maker.new.reduce_only and not self._reducible(maker.owner, maker.side):
            book.remove(maker, level)
            self._end(maker, Canceled(maker.order_id, POSITION_CLOSED, maker.left, self._now_us))
