"""What happens to the orders of one symbol: how they wait, fire, trade, rest and end.

Theory of this file
-------------------
Two ladders are the book and two more hold what waits for a trigger (`ladder`, `triggers`). An arriving order
trades with the best level of the other side, oldest order first, at that order's price, while its own price
allows; what is left rests at the end of its level, or is cancelled when it may not rest. Then the orders
that those trades triggered are executed, one after the other, each as if it had just arrived; their trades
may trigger more, and every order fires once, so this ends. A trade moves trailing stops and fires triggers
at its own price, but what it fires never runs between two fills of one order.

    begin ─▶ accept · amend_waiting · amend_resting · cancel … ─▶ finish

An action begins with what has expired and finishes with what has fired. Its events are a list that every step
appends to; a level is reported once the step that changed it is over, so that a book fed by the reports is
never crossed. The clearing is asked before an order trades beyond its limit price or position, and told of
each fill at once: what is asked next sees what the fill has cost.

Whether a request is admitted at all is for `matching` to say.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from krakenws.exchange.events import (
    Accepted,
    Amended,
    Armed,
    Canceled,
    Closed,
    CloseOrderDue,
    Expired,
    Filled,
    LevelChanged,
    Rested,
    Triggered,
)
from krakenws.exchange.ladder import Ladder
from krakenws.exchange.live import LiveOrders
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

    from krakenws.exchange.clearing import Clearing
    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.ladder import Level
    from krakenws.exchange.orders import NewOrder

NO_POSITION = "EOrder:Reduce only:No position exists"
POSITION_CLOSED = "EOrder:Reduce only:Position is closed"
SELF_TRADE = "Cannot trade with self"
OUT_OF_FUNDS, OUT_OF_MARGIN = "Insufficient funds", "Insufficient margin"
NO_LIQUIDITY = "Insufficient liquidity"
IOC_REST = "Immediate or cancel"

_SPENT = "spent"


class Execution:
    """The orders of one symbol.

    Args:
        tick_size: what every price is a multiple of.
        lot_size: what every quantity is a multiple of.
        last_price: what triggers and trailing stops refer to before the first trade.
        clearing: whom it asks about money and positions, and tells of fills.
        next_trade_id: the number of the first trade.

    Attributes:
        live: the orders.
        sides: the book, by `buy` and `sell`.
        last_price: of the last trade.
        last_trade: the last trade, None before the first.
    """

    __slots__ = (
        "_clearing",
        "_events",
        "_fired",
        "_lot_size",
        "_moved",
        "_next_trade_id",
        "_now_us",
        "_tick_size",
        "_triggers",
        "last_price",
        "last_trade",
        "live",
        "sides",
    )

    def __init__(
        self,
        tick_size: Decimal,
        lot_size: Decimal,
        last_price: Decimal | None,
        clearing: Clearing,
        next_trade_id: int,
    ) -> None:
        self.live = LiveOrders()
        self.sides = {BUY: Ladder(BUY), SELL: Ladder(SELL)}
        self.last_price = last_price
        self.last_trade: Filled | None = None
        self._tick_size = tick_size
        self._lot_size = lot_size
        self._clearing = clearing
        self._next_trade_id = next_trade_id
        self._triggers = Triggers(tick_size)
        # of the action under way
        self._now_us = 0
        self._events: list[EngineEvent] = []
        self._fired: deque[Order] = deque()
        self._moved: set[str] = set()

    def begin(self, now_us: int) -> list[EngineEvent]:
        """Open an action: expire what is due. Returns the list that the action's events go to."""
        self._now_us = now_us
        self._moved.clear()
        self._events = []
        due = self.live.due(now_us)
        if due:
            self._withdraw_many(due, lambda order: Expired(order.order_id, order.left, now_us))
        return self._events

    def finish(self) -> None:
        """Execute what has triggered, and what that triggers in turn; end what may reduce no further."""
        fired = self._fired
        while fired:
            order = fired.popleft()
            order.waiting = False
            trigger, last = order.trigger_price, self.last_price
            assert trigger is not None and last is not None  # noqa: S101, PT018 - it has fired
            if order.offset is not None:
                limit = to_tick(trigger + order.offset.of(trigger), self._tick_size)
                order.limit_price = max(limit, self._tick_size)
            self._events.append(Triggered(order.order_id, trigger, last, order.limit_price, self._now_us))
            reason = self._unfit(order)
            if reason:
                self._end(order, Canceled(order.order_id, reason, order.left, self._now_us))
            else:
                self._execute(order)
        for owner in sorted(self._moved):
            for order in list(self.live.of(owner)):
                in_the_book = order.new.reduce_only and not order.waiting
                if in_the_book and not self.reducible(owner, order.side):
                    self.cancel((order,), POSITION_CLOSED)

    def moved(self, owner: str) -> None:
        """Note that an owner's position has changed: what may reduce no further ends with the action."""
        self._moved.add(owner)

    def reducible(self, owner: str, side: str) -> Decimal:
        """Return how much an owner may trade on a side until his position is closed."""
        position = self._clearing.position(owner)
        return max(-position if side == BUY else position, ZERO)

    def would_take(self, side: str, price: Decimal | Relative | None) -> bool:
        """Whether a limit order at a price would trade at once."""
        best = self.sides[OPPOSITE[side]].best
        if best is None or not isinstance(price, Decimal):
            return False
        return price >= best.price if side == BUY else price <= best.price

    def accept(self, new: NewOrder) -> None:
        """Take a new order in."""
        order = Order(new, new.order_id, new.owner, new.side, new.qty, new.qty)
        self.live.add(order)
        self._events.append(Accepted(new, self._now_us))
        self._set_limit(order, new.limit_price)
        if new.order_type in TRIGGERED:
            order.waiting = True
            self._set_trigger(order, new.trigger_price)
            self._wait(order)
        else:
            self._execute(order)

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

    def _unfit(self, order: Order) -> str:
        """Return why an order that has triggered is not executed, "" if it is."""
        if order.new.reduce_only and not self.reducible(order.owner, order.side):
            return NO_POSITION
        best = self.sides[OPPOSITE[order.side]].best
        return self._clearing.may_fire(order, None if best is None else best.price, self._now_us)

    def _wait(self, order: Order) -> None:
        """Let an order wait for its trigger price, unless that is reached already."""
        assert order.trigger_price is not None  # noqa: S101 - a triggered type has one
        if self.last_price is not None and self._triggers.reached(order, self.last_price):
            self._fired.append(order)
        else:
            self._triggers.add(order)
            self._events.append(Armed(order.order_id, order.trigger_price, self._now_us))

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
            elif new.reduce_only and not self.reducible(new.owner, new.side):
                reason = POSITION_CLOSED
            else:
                self._rest(order, order.limit_price)
                return
        self._end(order, Canceled(order.order_id, reason, order.left, self._now_us))

    def _rest(self, order: Order, price: Decimal) -> None:
        level = self.sides[order.side].add(price, order)
        self._events.append(Rested(order.order_id, order.side, price, order.left, self._now_us))
        self._report((level,))

    def amend_waiting(
        self,
        order: Order,
        qty: Decimal | None,
        limit_price: Decimal | Relative | None,
        trigger_price: Decimal | Relative | None,
    ) -> None:
        """Change an order that waits for its trigger; what is None stays."""
        self._triggers.remove(order)
        if qty is not None:
            order.qty = order.left = qty
        self._set_limit(order, limit_price)
        self._set_trigger(order, trigger_price)
        self._amended(order, kept_priority=True)
        self._wait(order)

    def amend_resting(
        self, order: Order, qty: Decimal | None, limit_price: Decimal | Relative | None
    ) -> None:
        """Change an order of the book; what is None stays."""
        level = order.level
        assert level is not None  # noqa: S101 - a live order that does not wait rests
        grown = qty - order.qty if qty is not None else ZERO
        moved = limit_price is not None and limit_price != order.limit_price
        kept = not moved and grown <= 0
        if kept:
            level.qty += grown
        else:
            self.sides[order.side].remove(order, level)
        order.qty += grown
        order.left += grown
        self._set_limit(order, limit_price)
        self._amended(order, kept_priority=kept)
        if moved or (kept and grown):
            self._report((level,))
        if not kept:
            self._execute(order)
            if not moved and order.order_id not in self.live:  # it ended instead of resting there again
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

    def cancel(self, orders: Iterable[Order], reason: str) -> None:
        """Cancel orders, then report each level touched once."""
        now_us = self._now_us
        self._withdraw_many(orders, lambda order: Canceled(order.order_id, reason, order.left, now_us))

    def _withdraw_many(self, orders: Iterable[Order], told: Callable[[Order], EngineEvent]) -> None:
        changed: dict[Level, None] = {}
        for order in orders:
            level = self._withdraw(order)
            if level is not None:
                changed[level] = None
            self._events.append(told(order))
        self._report(changed)

    def _withdraw(self, order: Order) -> Level | None:
        """Take a live order out of everything; return its level of the book, if it had one."""
        self._forget(order)
        level = order.level
        if order.waiting:
            self._triggers.remove(order)
            return None
        if level is not None:
            self.sides[order.side].remove(order, level)
        return level

    def _end(self, order: Order, event: Closed | Canceled) -> None:
        """End an order that stands nowhere."""
        self._forget(order)
        self._events.append(event)

    def _forget(self, order: Order) -> None:
        self.live.remove(order)
        self._clearing.ended(order)

    def _report(self, levels: Iterable[Level]) -> None:
        now_us = self._now_us
        for level in levels:
            level.changed_us = now_us
            self._events.append(LevelChanged(level.side, level.price, level.qty, now_us))

    def _match(self, order: Order) -> str:
        """Trade an order level by level; return why it must not go on, "" when book or price ended it."""
        book = self.sides[OPPOSITE[order.side]]
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
                lot_cost = level.price * self._lot_size
                qty = min(order.left // lot_cost * self._lot_size, maker.left)
                if not qty:
                    return _SPENT
            if new.reduce_only:
                qty = min(qty, self.reducible(order.owner, order.side))
                if not qty:
                    return POSITION_CLOSED
            if order.limit_price is None:
                qty = self._clearing.affordable(order, level.price, qty)
                if not qty:
                    return OUT_OF_MARGIN if new.moves_position else OUT_OF_FUNDS
            if maker.new.reduce_only:
                qty = min(qty, self.reducible(maker.owner, maker.side))
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
        self.last_trade = fill = Filled(
            self._next_trade_id, maker.order_id, taker.order_id, price, qty, taker.side, kind, now_us
        )
        self._next_trade_id += 1
        self._events.append(fill)
        self._clearing.filled(fill)
        for order in (maker, taker):
            new = order.new
            if new.close is not None:
                side = OPPOSITE[order.side]
                self._events.append(CloseOrderDue(order.order_id, side, qty, new.close, now_us))
            if new.moves_position:
                self._moved.add(order.owner)
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
        elif maker.new.reduce_only and not self.reducible(maker.owner, maker.side):
            book.remove(maker, level)
            self._end(maker, Canceled(maker.order_id, POSITION_CLOSED, maker.left, self._now_us))
