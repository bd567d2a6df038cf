"""Orders by price, best price first and oldest order first: one side of a book.

A ladder is a dict of levels and a sorted list of their keys. The best level is last in the list, where
inserting and deleting shift next to nothing, and one ascending order serves both directions because the keys
of a lowest-first ladder are negated. A level is a dict of orders: it keeps their order of arrival and lets
one go without looking for it. So the best level costs O(1), adding to a level or cancelling O(1), and
only a level that appears or disappears costs a search.

Orders that wait for a trigger price are kept in ladders as well: their best level is the next to fire.
"""

from __future__ import annotations

from bisect import bisect_left, insort

from krakenws.exchange.orders import BUY, ZERO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from decimal import Decimal

    from krakenws.exchange.orders import Order


class Level:
    """The orders at one price, oldest first.

    Attributes:
        side: `buy` or `sell`.
        price: as the first order here wrote it.
        qty: the sum of what is left of the orders.
        orders: by id, in time priority.
        changed_us: when `qty` last changed, microseconds since 1970.
    """

    __slots__ = ("changed_us", "key", "orders", "price", "qty", "side")

    def __init__(self, side: str, price: Decimal, key: Decimal) -> None:
        self.side = side
        self.price = price
        self.key = key
        self.qty = ZERO
        self.orders: dict[str, Order] = {}
        self.changed_us = 0


class Ladder:
    """The levels of one side.

    Attributes:
        side: `buy` puts the highest price first, `sell` the lowest.
        best: the first level, or None.
    """

    __slots__ = ("_keys", "_levels", "best", "side")

    def __init__(self, side: str) -> None:
        self.side = side
        self._keys: list[Decimal] = []
        self._levels: dict[Decimal, Level] = {}
        self.best: Level | None = None

    def add(self, price: Decimal, order: Order) -> Level:
        """Put an order last in its level and return the level."""
        key = price if self.side == BUY else -price
        level = self._levels.get(key)
        if level is None:
            level = self._levels[key] = Level(self.side, price, key)
            insort(self._keys, key)
            if self._keys[-1] is key:
                self.best = level
        level.orders[order.order_id] = order
        level.qty += order.left
        order.level = level
        return level

    def remove(self, order: Order, level: Level) -> None:
        """Take an order out of its level; an empty level goes with it."""
        del level.orders[order.order_id]
        level.qty -= order.left
        order.level = None
        if not level.orders:
            keys = self._keys
            if keys[-1] == level.key:
                keys.pop()
                self.best = self._levels[keys[-1]] if keys else None
            else:
                del keys[bisect_left(keys, level.key)]
            del self._levels[level.key]

    def levels(self, count: int | None = None) -> list[Level]:
        """Return the first levels, best first; all of them without a count."""
        keys = self._keys if count is None else self._keys[-count:] if count > 0 else []
        return [self._levels[key] for key in reversed(keys)]
