"""What a matching engine reports, and the state that follows from it.

The life of an order, as its events tell it. Every accepted order ends in exactly one of the last three:

    Refused                            never became an order
    Accepted ─▶ Armed… ─▶ Triggered ─▶ (as below; what fires on arrival is not armed)
    Accepted ─▶ Filled… ─▶ Rested ─▶ Filled… ─▶ Closed · Canceled · Expired
                            └─ Amended ─┘  keeping its place, or losing it and then trading or resting anew

`LevelChanged` follows the fills, cancellations or amendments that made it: one for each level that one action
touched, in the order in which it touched them, so that a book fed by them alone is never crossed either.
A `CloseOrderDue` follows the fill it is for.

All times are microseconds since 1970, all numbers exact. Events are frozen, compare by value, and are tagged
for JSON in either direction (`{"event":"Filled",…}`), where a small Decimal reads 5E-7.
"""

from __future__ import annotations

from decimal import Decimal  # noqa: TC003 - msgspec looks at annotations when it decodes

from msgspec import Struct

from krakenws.exchange.orders import BUY, SELL, CloseOrder, NewOrder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias


class Event(Struct, frozen=True, gc=False, tag_field="event", tag=True):
    """What all of them are."""


class Accepted(Event, frozen=True):
    """A new order was taken in."""

    order: NewOrder
    time_us: int


class Refused(Event, frozen=True):
    """A request changed nothing. `error` is Kraken's text; `order_id` is the order asked for or about."""

    order_id: str
    error: str
    time_us: int


class Armed(Event, frozen=True):
    """An order waits for the last trade to reach `trigger_price`; again whenever a trailing stop moves."""

    order_id: str
    trigger_price: Decimal
    time_us: int


class Triggered(Event, frozen=True):
    """A last trade at `last_price` reached `trigger_price`; without a `limit_price` it is at market now."""

    order_id: str
    trigger_price: Decimal
    last_price: Decimal
    limit_price: Decimal | None
    time_us: int


class Rested(Event, frozen=True):
    """What is left of an order entered the book, last in its level."""

    order_id: str
    side: str
    price: Decimal
    left: Decimal
    time_us: int


class Filled(Event, frozen=True):
    """A trade: one fill of each of two orders.

    Attributes:
        trade_id: counts the engine's trades.
        taker_side: `buy` or `sell`.
        taker_type: `market` or `limit`: how the taker traded, whatever its order type was before a trigger.
    """

    trade_id: int
    maker_id: str
    taker_id: str
    price: Decimal
    qty: Decimal
    taker_side: str
    taker_type: str
    time_us: int


class CloseOrderDue(Event, frozen=True):
    """A fill of an order with a conditional close: submit the close order, on `side`, for `qty`.

    Source: v1 "Add Order", `close[…]`: the quantity is the fill's (v1.md 9.1).
    """

    parent_id: str
    side: str
    qty: Decimal
    close: CloseOrder
    time_us: int


class Amended(Event, frozen=True):
    """An order was changed in place, or without `kept_priority` left the book: fills or `Rested` follow."""

    order_id: str
    qty: Decimal
    left: Decimal
    limit_price: Decimal | None
    trigger_price: Decimal | None
    kept_priority: bool
    time_us: int


class Closed(Event, frozen=True):
    """An order is filled. Only one by quote quantity has something `left`: less than a lot would cost."""

    order_id: str
    left: Decimal
    time_us: int


class Canceled(Event, frozen=True):
    """An order ended with something `left`, for `reason`."""

    order_id: str
    reason: str
    left: Decimal
    time_us: int


class Expired(Event, frozen=True):
    """A GTD order's time came with something `left`."""

    order_id: str
    left: Decimal
    time_us: int


class LevelChanged(Event, frozen=True):
    """The total of a level of the book after an action; zero when the level is gone."""

    side: str
    price: Decimal
    qty: Decimal
    time_us: int


if TYPE_CHECKING:
    EngineEvent: TypeAlias = (
        Accepted
        | Refused
        | Armed
        | Triggered
        | Rested
        | Filled
        | CloseOrderDue
        | Amended
        | Closed
        | Canceled
        | Expired
        | LevelChanged
    )


class BookState(Struct, frozen=True):
    """Every live order and where it stands.

    Attributes:
        bids: (price, [(order id, left), …]), highest price first, in time priority.
        asks: the same, lowest price first.
        waiting: order id to trigger price.
    """

    bids: list[tuple[Decimal, list[tuple[str, Decimal]]]]
    asks: list[tuple[Decimal, list[tuple[str, Decimal]]]]
    waiting: dict[str, Decimal]


def replay(events: Iterable[EngineEvent]) -> BookState:
    """Return the state that a log of events leads to, beginning with an empty book."""
    waiting: dict[str, Decimal] = {}
    resting: dict[str, Rested] = {}  # in order of arrival, which is time priority within each price
    left: dict[str, Decimal] = {}
    for event in events:
        if isinstance(event, Armed):
            waiting[event.order_id] = event.trigger_price
        elif isinstance(event, Triggered):
            waiting.pop(event.order_id, None)
        elif isinstance(event, Rested):
            resting[event.order_id] = event
            left[event.order_id] = event.left
        elif isinstance(event, Filled):
            left[event.maker_id] -= event.qty
        elif isinstance(event, Amended) and event.kept_priority:
            left[event.order_id] = event.left
        elif isinstance(event, Amended | Closed | Canceled | Expired):
            waiting.pop(event.order_id, None)
            resting.pop(event.order_id, None)
            left.pop(event.order_id, None)
    sides: dict[str, dict[Decimal, list[tuple[str, Decimal]]]] = {BUY: {}, SELL: {}}
    for order_id, rested in resting.items():
        sides[rested.side].setdefault(rested.price, []).append((order_id, left[order_id]))
    return BookState(sorted(sides[BUY].items(), reverse=True), sorted(sides[SELL].items()), waiting)
