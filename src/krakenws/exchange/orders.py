"""An order as it is handed to the matching engine, and the engine's own record of it while it lives.

A `NewOrder` is what was asked for and never changes. An `Order` is where it has got to: what an amendment
changed, what is left, and where it is: in the book, among the triggers, or in the middle of being matched.
Numbers are exact; a relative price stays `Relative` only where it moves with the market (trailing stops), any
other one is resolved before it comes here (`triggers.resolve_price`).

Source: Kraken's "Add Order" pages of API v1 and v2 (v1.md 9.1).
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.exchange.ladder import Level

BUY, SELL = "buy", "sell"
OPPOSITE = {BUY: SELL, SELL: BUY}

LIMIT = "limit"
MARKET = "market"
STOP_LOSS, STOP_LOSS_LIMIT = "stop-loss", "stop-loss-limit"
TAKE_PROFIT, TAKE_PROFIT_LIMIT = "take-profit", "take-profit-limit"
TRAILING_STOP, TRAILING_STOP_LIMIT = "trailing-stop", "trailing-stop-limit"
SETTLE_POSITION = "settle-position"
TRAILING = frozenset({TRAILING_STOP, TRAILING_STOP_LIMIT})
TAKING_PROFIT = frozenset({TAKE_PROFIT, TAKE_PROFIT_LIMIT})
TRIGGERED = frozenset({STOP_LOSS, STOP_LOSS_LIMIT}) | TAKING_PROFIT | TRAILING
LIMITED = frozenset({LIMIT, STOP_LOSS_LIMIT, TAKE_PROFIT_LIMIT, TRAILING_STOP_LIMIT})
ORDER_TYPES = TRIGGERED | LIMITED | {MARKET, SETTLE_POSITION}

GTC, IOC, GTD = "GTC", "IOC", "GTD"
TIMES_IN_FORCE = frozenset({GTC, IOC, GTD})
CANCEL_NEWEST, CANCEL_OLDEST, CANCEL_BOTH = "cancel_newest", "cancel_oldest", "cancel_both"
STP_TYPES = frozenset({CANCEL_NEWEST, CANCEL_OLDEST, CANCEL_BOTH})

ZERO = Decimal(0)


class Relative(Struct, frozen=True, gc=False):
    """A distance from a price that is not known yet: `amount` in the quote currency, or percent of it."""

    amount: Decimal
    percent: bool = False

    def of(self, reference: Decimal) -> Decimal:
        """Return the distance at a reference price, unrounded and with its sign."""
        return reference * self.amount / 100 if self.percent else self.amount


class CloseOrder(Struct, frozen=True, gc=False):
    """A conditional close: the order to place for what its parent fills, in the words of `close[…]`.

    Prices stay text, since a relative one is relative to the last trade when the close order is placed.
    """

    order_type: str
    price: str = ""
    price2: str = ""


class NewOrder(Struct, frozen=True, gc=False):
    """What was asked for.

    Attributes:
        order_id: unique among the engine's live orders.
        owner: whom self-trade prevention and reduce-only are about.
        side: `buy` or `sell`.
        order_type: one of `ORDER_TYPES`.
        qty: in the base currency; with `viqc` the quote currency to spend.
        limit_price: of the types in `LIMITED`; of `trailing-stop-limit` a `Relative` to the trigger price.
        trigger_price: of the types in `TRIGGERED`; of trailing ones the `Relative` distance, positive.
        time_in_force: `GTC`, `IOC`, or `GTD` with `expire_us`.
        expire_us: when it expires, microseconds since 1970.
        post_only: refused when it would take (`oflags` `post`; limit orders).
        reduce_only: fills no more than its owner's position.
        margin: its fills change its owner's position; implied by `reduce_only` and `settle-position`.
        viqc: volume in quote currency (market buys).
        stp_type: what happens when it meets an order of its owner.
        close: the conditional close, if any.
    """

    order_id: str
    owner: str
    side: str
    order_type: str
    qty: Decimal
    limit_price: Decimal | Relative | None = None
    trigger_price: Decimal | Relative | None = None
    time_in_force: str = GTC
    expire_us: int | None = None
    post_only: bool = False
    reduce_only: bool = False
    margin: bool = False
    viqc: bool = False
    stp_type: str = CANCEL_NEWEST
    close: CloseOrder | None = None

    @property
    def moves_position(self) -> bool:
        """Whether its fills change its owner's position."""
        return self.margin or self.reduce_only or self.order_type == SETTLE_POSITION


class Order(Struct, eq=False):
    """A live order. The engine alone changes it; everyone else reads.

    Attributes:
        new: what was asked for.
        order_id: `new.order_id`, and so for `owner` and `side`.
        qty: the order's quantity as last amended, what is filled included.
        left: what may still be filled, in the unit of `qty`.
        filled: base quantity filled so far.
        limit_price: the price it trades up to; None trades at any price, or is not known before the trigger.
        trigger_price: where it fires; a trailing stop's moves.
        trail: a trailing stop's distance.
        offset: from the trigger price of a `trailing-stop-limit` to its limit price.
        peak: the best last trade a trailing stop has seen.
        waiting: True until it has triggered.
        level: where it stands, in the book or among the triggers.
    """

    new: NewOrder
    order_id: str
    owner: str
    side: str
    qty: Decimal
    left: Decimal
    filled: Decimal = ZERO
    limit_price: Decimal | None = None
    trigger_price: Decimal | None = None
    trail: Relative | None = None
    offset: Relative | None = None
    peak: Decimal = ZERO
    waiting: bool = False
    level: Level | None = None
