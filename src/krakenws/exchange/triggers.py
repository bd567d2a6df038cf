"""Prices relative to the market, and the orders that wait until the market reaches theirs.

Theory of this file
-------------------
An order with a trigger price waits on one of two ladders, whatever its type. Those that fire when the last
trade *rises* to their price (a stop-loss that buys, a take-profit that sells) stand lowest first; those that
fire when it *falls* to it (a stop-loss that sells, a take-profit that buys) highest first. So the next order
to fire is always the best of its ladder, and a trade that fires none costs two comparisons.

    stop-loss, trailing-stop   buy: rising    sell: falling     the market turns against the trader
    take-profit                buy: falling   sell: rising      the market moves in his favour

A trailing stop is a stop-loss whose price follows the best trade it has seen since it was accepted: a sale's
peak, a purchase's low. Each trade at a new extreme looks at every trailing order, since each has an
extreme of its own.

What Kraken does not document is chosen here: a price already reached on arrival fires at once; a relative
price is rounded half-even to the tick; `#` puts the price on the side of the market where an order of that
type has something to wait for (a limit or take-profit that buys and a stop that sells below the last trade,
the others above).

Source: docs.kraken.com, v1 "Add Order" and "Edit Order": `price`, `price2`, relative prices (v1.md 9.1).
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

from krakenws.exchange.ladder import Ladder
from krakenws.exchange.orders import BUY, LIMIT, SELL, TAKING_PROFIT, ZERO, Relative

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.exchange.orders import Order


def rises(side: str, order_type: str) -> bool:
    """Whether an order waits for the market to rise to its trigger price, not to fall to it."""
    return (side == BUY) != (order_type in TAKING_PROFIT)


def to_tick(price: Decimal, tick_size: Decimal) -> Decimal:
    """Return the multiple of the tick size nearest to a price, half to even."""
    return (price / tick_size).to_integral_value(ROUND_HALF_EVEN) * tick_size


def resolve_price(
    text: str, reference: Decimal | None, side: str, order_type: str, tick_size: Decimal
) -> Decimal:
    """Return the absolute price that a text means.

    Args:
        text: `9000.5`, or `+`, `-` or `#` and a distance, which a `%` may follow.
        reference: the last trade, which relative prices are relative to; None before the first one.
        side: `buy` or `sell`: with the order type it says what `#` stands for.
        order_type: not a trailing one, whose distances are read by `parse_distance`.
        tick_size: what relative prices are rounded to; absolute ones come back as written, on tick or not.

    Raises:
        ValueError: the text is no price, has nothing to be relative to, or comes to zero or less.

    Source: v1 "Add Order", `price` and `price2` (v1.md 9.1).
    """
    prefix, distance = _split(text)
    if not prefix:
        price = distance.amount
    elif reference is None:
        raise ValueError(f"nothing was traded yet that {text!r} could be relative to")
    else:
        above = prefix == "+"
        if prefix == "#":
            above = side == SELL if order_type == LIMIT else rises(side, order_type)
        by = distance.of(reference)
        price = to_tick(reference + by if above else reference - by, tick_size)
    if price <= 0:
        raise ValueError(f"{text!r} is not a price above zero")
    return price


def parse_distance(text: str, *, signed: bool = False) -> Relative:
    """Return a trailing stop's distance (`+5`, `+1.5%`), or with `signed` its limit price's (`-0.5` too).

    Raises:
        ValueError: the text is not a distance with such a prefix.

    Source: v1 "Add Order": trailing types must use `+`, whose direction is automatic; their `price2` is an
    offset from the trigger price, `+` or `-` (v1.md 9.1).
    """
    prefix, distance = _split(text)
    if prefix != "+" and not (signed and prefix == "-"):
        raise ValueError(f"{text!r} should start with {'+ or -' if signed else '+'}")
    return Relative(-distance.amount, distance.percent) if prefix == "-" else distance


def _split(text: str) -> tuple[str, Relative]:
    """Return the prefix of a price, "" for an absolute one, and what follows it."""
    prefix = text[:1] if text[:1] in {"+", "-", "#"} else ""
    percent = bool(prefix) and text.endswith("%")
    number = text[len(prefix) : -1 if percent else None]
    if not (number.isascii() and number.replace(".", "", 1).isdigit()):
        raise ValueError(f"{text!r} is not a price")
    return prefix, Relative(Decimal(number), percent)


class Triggers:
    """The orders that wait, and which of them a trade wakes."""

    __slots__ = ("_falling", "_rising", "_tick_size", "_trailing")

    def __init__(self, tick_size: Decimal) -> None:
        self._tick_size = tick_size
        self._rising = Ladder(SELL)
        self._falling = Ladder(BUY)
        self._trailing: dict[str, Order] = {}

    def __bool__(self) -> bool:
        return self._rising.best is not None or self._falling.best is not None

    def trailed(self, order: Order) -> Decimal:
        """Return the trigger price of a trailing stop at the extreme it has seen."""
        distance = order.trail.of(order.peak) if order.trail is not None else ZERO
        return to_tick(order.peak + distance if order.side == BUY else order.peak - distance, self._tick_size)

    def reached(self, order: Order, last: Decimal) -> bool:
        """Whether a last trade fires an order."""
        price = order.trigger_price
        assert price is not None  # noqa: S101 - every waiting order has one
        return last >= price if rises(order.side, order.new.order_type) else last <= price

    def add(self, order: Order) -> None:
        """Let an order wait."""
        assert order.trigger_price is not None  # noqa: S101
        self._ladder(order).add(order.trigger_price, order)
        if order.trail is not None:
            self._trailing[order.order_id] = order

    def remove(self, order: Order) -> None:
        """Let an order wait no longer."""
        if order.level is not None:
            self._ladder(order).remove(order, order.level)
            self._trailing.pop(order.order_id, None)

    def follow(self, last: Decimal) -> list[Order]:
        """Move the trailing stops after a trade; return those whose trigger price changed."""
        moved = []
        for order in self._trailing.values():
            if last < order.peak if order.side == BUY else last > order.peak:
                order.peak = last
                price = self.trailed(order)
                if price != order.trigger_price and order.level is not None:
                    ladder = self._ladder(order)
                    ladder.remove(order, order.level)
                    ladder.add(price, order)
                    order.trigger_price = price
                    moved.append(order)
        return moved

    def fired(self, last: Decimal) -> list[Order]:
        """Take out the orders that a last trade fires: the first price reached first, then the oldest."""
        orders: list[Order] = []
        while (level := self._rising.best) is not None and last >= level.price:
            orders += self._take(level.orders)
        while (level := self._falling.best) is not None and last <= level.price:
            orders += self._take(level.orders)
        return orders

    def _take(self, orders: dict[str, Order]) -> list[Order]:
        taken = list(orders.values())
        for order in taken:
            self.remove(order)
        return taken

    def _ladder(self, order: Order) -> Ladder:
        return self._rising if rises(order.side, order.new.order_type) else self._falling
