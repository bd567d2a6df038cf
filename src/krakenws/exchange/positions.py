"""What margin orders have opened: one position for each order, closed oldest first."""

from __future__ import annotations

from krakenws.exchange.holds import cut
from krakenws.exchange.orders import ZERO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal


class Position:
    """What margin orders have opened: `qty` still open, its opening `cost`, and the `margin` set aside."""

    __slots__ = ("cost", "margin", "order_id", "position_id", "qty", "side")

    def __init__(self, position_id: str, order_id: str, side: str) -> None:
        self.position_id = position_id
        self.order_id = order_id
        self.side = side
        self.qty = self.cost = self.margin = ZERO

    def take(self, qty: Decimal, step: Decimal) -> tuple[Decimal, Decimal]:
        """Take a quantity off and return its share of opening cost and margin; the last share is the rest."""
        if qty == self.qty:
            cost, margin = self.cost, self.margin
        else:
            cost = cut(self.cost * qty / self.qty, step)
            margin = cut(self.margin * qty / self.qty, step)
        self.qty -= qty
        self.cost -= cost
        self.margin -= margin
        return cost, margin


def opening_cost(positions: Sequence[Position], qty: Decimal) -> Decimal:
    """Return the opening cost of the first `qty` of positions, unrounded."""
    cost = ZERO
    for position in positions:
        part = min(qty, position.qty)
        cost += position.cost * part / position.qty
        qty -= part
    return cost
