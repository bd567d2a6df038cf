"""The orders that live in one engine: by id, by owner, and by the time at which they expire."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from krakenws.exchange.orders import Order

_SWEPT_ABOVE = 64


class LiveOrders:
    """The live orders; one that ended is forgotten, and its id is free."""

    __slots__ = ("_arrivals", "_by_owner", "_expiries", "_orders", "get")

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}
        self._by_owner: dict[str, dict[str, Order]] = {}
        self._expiries: list[tuple[int, int, Order]] = []
        self._arrivals = count()
        self.get = self._orders.get
        """The order of an id, or None."""

    def __contains__(self, order_id: object) -> bool:
        return order_id in self._orders

    def __iter__(self) -> Iterator[Order]:
        return iter(self._orders.values())

    def of(self, owner: str) -> Iterable[Order]:
        """Return an owner's orders, oldest first."""
        return self._by_owner.get(owner, {}).values()

    def add(self, order: Order) -> None:
        """Let an order live, until it ends or expires."""
        self._orders[order.order_id] = order
        self._by_owner.setdefault(order.owner, {})[order.order_id] = order
        expire_us = order.new.expire_us
        if expire_us is not None:
            expiries = self._expiries
            if len(expiries) > _SWEPT_ABOVE and len(expiries) > 2 * len(self._orders):
                expiries[:] = [expiry for expiry in expiries if self._lives(expiry[2])]
                heapify(expiries)
            heappush(expiries, (expire_us, next(self._arrivals), order))

    def remove(self, order: Order) -> None:
        """Forget an order."""
        del self._orders[order.order_id]
        theirs = self._by_owner[order.owner]
        del theirs[order.order_id]
        if not theirs:
            del self._by_owner[order.owner]

    @property
    def next_expiry_us(self) -> int | None:
        """When the next order expires; None when none will."""
        expiries = self._expiries
        while expiries and not self._lives(expiries[0][2]):
            heappop(expiries)
        return expiries[0][0] if expiries else None

    def due(self, now_us: int) -> list[Order]:
        """Return the orders whose time has come, the earliest first; whoever asks removes them."""
        expiries, due = self._expiries, []
        while expiries and expiries[0][0] <= now_us:
            order = heappop(expiries)[2]
            if self._lives(order):
                due.append(order)
        return due

    def _lives(self, order: Order) -> bool:
        return self._orders.get(order.order_id) is order
