"""What a matching engine asks of whoever clears its trades, and tells him, while an action is under way.

A stop that fires, or a fill that closes a position, changes what the next order of the same action may do. So
the money of a fill moves when the fill happens, not when its action is over, and an order that comes to life
is asked for with the funds as they are then: nothing need be lent, and nothing is promised twice.

    may_fire     an order has triggered: may it go on?
    affordable   an order without a limit price meets a level: how much of it can its owner pay for?
    filled       a trade: move the money
    ended        an order has ended: give back what it holds
"""

from __future__ import annotations

from krakenws.exchange.orders import ZERO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from decimal import Decimal

    from krakenws.exchange.events import Filled
    from krakenws.exchange.orders import Order


class Clearing:
    """A clearing without limits: everybody can pay for everything, and nobody has a position."""

    def position(self, owner: str) -> Decimal:
        """Return an owner's margin position, positive when long: reduce-only orders trade no more."""
        del owner
        return ZERO

    def may_fire(self, order: Order, best: Decimal | None, now_us: int) -> str:
        """Return why an order that has triggered is cancelled instead, "" if it is not.

        Args:
            order: no longer waiting, its limit price known.
            best: the best price of the other side.
            now_us: the time of the action.
        """
        del order, best, now_us
        return ""

    def affordable(self, order: Order, price: Decimal, qty: Decimal) -> Decimal:
        """Return how much of a quantity an order without a limit price can pay for, in whole lots."""
        del order, price
        return qty

    def filled(self, fill: Filled) -> None:
        """Move the money of a trade."""

    def ended(self, order: Order) -> None:
        """Give back what an order holds."""
