"""The matching engine of one symbol: orders in, events out, by price-time priority.

Theory of this file
-------------------
An engine says which requests are admitted and what may be known; what then happens to the orders, by
price-time priority, is the work of `execution`.

Every method is one atomic action: it takes the time and returns the events it caused, in order. It first
expires what is due by then, so nothing trades past its expiry; a request that is refused changes nothing
else. The engine knows no balances, fees, rate limits, minimums or permissions: those are its venue's. Where
they matter in the middle of an action it asks its `Clearing`, which hears of each fill as it happens.

Documented by Kraken: post-only is refused rather than repriced; self-trade prevention goes by the arriving
order's mode; an amendment keeps ids, fills and "where possible" the place in the queue, and one to less than
is filled cancels the rest; a reduce-only order trades what it can, and the rest is cancelled; one that waits
for a trigger needs a position only then; an order for which the money does not last fills as much as possible
and is then cancelled. Chosen here, where it is silent: a lower quantity keeps the place, a higher one or
another price loses it, as elsewhere; an order that cannot pay for one more lot has not the money; reduce-only
orders in the book end once their position is closed; and the wording of those reasons below that no page of
Kraken's shows.

Source: docs.kraken.com: v1 "Add Order", "Amend Order", "Edit Order", "Cancel Order" (v1.md 8.2, 9.1 to 9.4);
guides "Spot Atomic Amends" and "Spot Error Messages"; support articles "Self-trading prevention", "Canceled
orders" (235162907), "Order canceled due to Insufficient margin" (217696017), "Other order options"
(7987518770708).
"""

from __future__ import annotations

from krakenws.exchange.admission import Admission
from krakenws.exchange.clearing import Clearing
from krakenws.exchange.events import (
    BookState,
    Filled,
    Refused,
)
from krakenws.exchange.execution import NO_POSITION, Execution
from krakenws.exchange.modes import (
    MAINTENANCE,
    MODES,
    ONLINE,
    POST_ONLY,
    admits,
    admits_amending,
    closed_by,
)
from krakenws.exchange.orders import (
    BUY,
    LIMIT,
    SELL,
    TRIGGERED,
    Order,
    Relative,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.orders import NewOrder

UNKNOWN_ORDER = "EOrder:Unknown order"
WOULD_TAKE = "EOrder:Post only order"
USER_REQUESTED = "User requested"
REPLACED = "Order replaced"
AMENDED_BELOW_FILLED = "Amended below filled quantity"


class Engine:
    """The book, the waiting orders and the last trade of one symbol.

    Ids are the caller's, unique among live orders; an order that ended is forgotten. A `ValueError` is a
    defect of the caller, never a matter of what a trader sent.

    Args:
        symbol: under the caller's name for it.
        tick_size: what every price is a multiple of.
        lot_size: what every quantity is a multiple of.
        last_price: what triggers and trailing stops refer to before the first trade.
        clearing: whom it asks about money and positions, and tells of fills.
        next_trade_id: the number of the first trade.
    """

    def __init__(
        self,
        symbol: str,
        *,
        tick_size: Decimal,
        lot_size: Decimal,
        last_price: Decimal | None = None,
        clearing: Clearing | None = None,
        next_trade_id: int = 1,
    ) -> None:
        self.symbol = symbol
        self.tick_size = tick_size
        self.lot_size = lot_size
        self._mode = ONLINE
        self._admission = Admission(tick_size, lot_size)
        self._run = Execution(tick_size, lot_size, last_price, clearing or Clearing(), next_trade_id)

    # What may be asked of it

    def submit(self, new: NewOrder, now_us: int) -> list[EngineEvent]:
        """Return the events of a new order: `Refused`, or `Accepted` and all that follows from it.

        Raises:
            ValueError: its id belongs to a live order.
        """
        events = self._begin(now_us, new.order_id)
        error = self.refusal(new, now_us)
        if error:
            events.append(Refused(new.order_id, error, now_us))
        else:
            self._run.accept(new)
            self._run.finish()
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
        found: dict[str, Order] = {}
        for order_id in order_ids:
            order = self._run.live.get(order_id)
            if self._mode == MAINTENANCE or order is None or order_id in found:
                events.append(Refused(order_id, self._unknown(), now_us))
            else:
                found[order_id] = order
        self._run.cancel(found.values(), reason)
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
        order = self._run.live.get(order_id)
        if order is None:
            error = self._unknown()
        else:
            error = self._amendment_refusal(order, qty, (limit_price, trigger_price), post_only=post_only)
        if error or order is None:
            events.append(Refused(order_id, error, now_us))
        elif qty is not None and qty <= order.filled:
            self._run.cancel((order,), AMENDED_BELOW_FILLED)
        elif order.waiting:
            self._run.amend_waiting(order, qty, limit_price, trigger_price)
        else:
            self._run.amend_resting(order, qty, limit_price)
        self._run.finish()
        return events

    def replace(self, order_id: str, new: NewOrder, now_us: int) -> list[EngineEvent]:
        """Return the events of `editOrder`: one order cancelled and another taken in, or `Refused`.

        What Kraken asks of the old order (not triggered, no conditional close, …) is for the venue to check.

        Raises:
            ValueError: the new id belongs to a live order.

        Source: v1 "Edit Order" (v1.md 9.3).
        """
        events = self._begin(now_us, new.order_id)
        order = self._run.live.get(order_id)
        error = self.refusal(new, now_us) or ("" if order is not None else UNKNOWN_ORDER)
        if error or order is None:
            events.append(Refused(new.order_id, error, now_us))
        else:
            self._run.cancel((order,), REPLACED)
            self._run.accept(new)
            self._run.finish()
        return events

    def expire(self, now_us: int) -> list[EngineEvent]:
        """Return the events of the orders that are due; every other action begins with them."""
        return self._begin(now_us)

    def position_changed(self, owner: str, now_us: int) -> list[EngineEvent]:
        """Return the events of a change of an owner's position that no trade of this engine has made."""
        events = self._begin(now_us)
        self._run.moved(owner)
        self._run.finish()
        return events

    @property
    def mode(self) -> str:
        """What is admitted, see above; `online` at first."""
        return self._mode

    @mode.setter
    def mode(self, mode: str) -> None:
        if mode not in MODES:
            raise ValueError(f"there is no engine mode {mode!r}")
        self._mode = mode

    # What may be known of it

    @property
    def last_price(self) -> Decimal | None:
        """The price of the last trade."""
        return self._run.last_price

    @property
    def last_trade(self) -> Filled | None:
        """The last trade, None before the first."""
        return self._run.last_trade

    @property
    def best_bid(self) -> tuple[Decimal, Decimal, int] | None:
        """The highest bid: price, quantity, time of its last change in microseconds."""
        level = self._run.sides[BUY].best
        return None if level is None else (level.price, level.qty, level.changed_us)

    @property
    def best_ask(self) -> tuple[Decimal, Decimal, int] | None:
        """The lowest ask: price, quantity, time of its last change in microseconds."""
        level = self._run.sides[SELL].best
        return None if level is None else (level.price, level.qty, level.changed_us)

    @property
    def next_expiry_us(self) -> int | None:
        """When to call `expire` next; None when no order will expire."""
        return self._run.live.next_expiry_us

    def levels(self, side: str, limit: int | None = None) -> list[tuple[Decimal, Decimal, int]]:
        """Return the first levels of a side, best first: price, quantity, time of the last change."""
        return [(level.price, level.qty, level.changed_us) for level in self._run.sides[side].levels(limit)]

    def order(self, order_id: str) -> Order | None:
        """Return a live order."""
        return self._run.live.get(order_id)

    def orders_of(self, owner: str) -> list[Order]:
        """Return an owner's live orders, oldest first."""
        return list(self._run.live.of(owner))

    def state(self) -> BookState:
        """Return every live order and where it stands: what `replay` makes of all events so far."""
        bids, asks = (
            [
                (level.price, [(order_id, order.left) for order_id, order in level.orders.items()])
                for level in self._run.sides[side].levels()
            ]
            for side in (BUY, SELL)
        )
        waiting = {
            order.order_id: order.trigger_price
            for order in self._run.live
            if order.waiting and order.trigger_price is not None
        }
        return BookState(bids, asks, waiting)

    # Admission

    def _begin(self, now_us: int, new_id: str | None = None) -> list[EngineEvent]:
        """Open an action and return the list that its events go to."""
        if new_id in self._run.live:
            raise ValueError(f"order {new_id} of {self.symbol} is alive, so its id cannot be given again")
        return self._run.begin(now_us)

    def refusal(self, new: NewOrder, now_us: int) -> str:
        """Return Kraken's text for why an order would not be taken in, "" if it would."""
        if not admits(self._mode, new):
            return closed_by(self._mode)
        error = self._admission.order_error(new, self.last_price, now_us)
        if error:
            return error
        if (
            new.reduce_only
            and new.order_type not in TRIGGERED
            and not self._run.reducible(new.owner, new.side)
        ):
            return NO_POSITION
        return WOULD_TAKE if new.post_only and self._run.would_take(new.side, new.limit_price) else ""

    def _unknown(self) -> str:
        """Return why a request about an order that does not live is refused."""
        return closed_by(MAINTENANCE) if self._mode == MAINTENANCE else UNKNOWN_ORDER

    def _amendment_refusal(
        self,
        order: Order,
        qty: Decimal | None,
        prices: tuple[Decimal | Relative | None, Decimal | Relative | None],
        *,
        post_only: bool,
    ) -> str:
        """Return why an order is not amended; what is not amended is checked as it stands."""
        if not admits_amending(self._mode, waiting=order.waiting):
            return closed_by(self._mode)
        limit, trigger = prices
        would_take = not order.waiting and self._run.would_take(order.side, limit)
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
        return closed_by(POST_ONLY) if self._mode == POST_ONLY else ""
