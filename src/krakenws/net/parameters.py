"""What type checkers know of the catalog, which they cannot read: names and legal values of parameters.

Nothing here is needed at run time; a test holds it to the catalog.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Literal, TypeAlias, TypedDict

Amount: TypeAlias = str | Decimal | int
"""Decimal text or an exact number; never a float."""
Api: TypeAlias = Literal[1, 2]
Depth: TypeAlias = Literal[10, 25, 100, 500, 1000]
"""Levels on each side."""
Interval: TypeAlias = Literal[1, 5, 15, 30, 60, 240, 1440, 10080, 21600]
"""Minutes."""
Overflow: TypeAlias = Literal["block", "drop", "raise"]
Side: TypeAlias = Literal["buy", "sell"]
ClosingType: TypeAlias = Literal[
    "limit",
    "stop-loss",
    "take-profit",
    "stop-loss-limit",
    "take-profit-limit",
    "trailing-stop",
    "trailing-stop-limit",
]
OrderType: TypeAlias = Literal["market", ClosingType, "settle-position"]
TimeInForce: TypeAlias = Literal["GTC", "IOC", "GTD"]
OrderFlags: TypeAlias = str | Iterable[Literal["fciq", "fcib", "post", "viqc", "nompp"]]
"""One, several joined by commas, or several."""
EditFlags: TypeAlias = str | Iterable[Literal["post", "fciq", "fcib", "viqc"]]


class Reading(TypedDict, total=False):
    """How any channel is read."""

    api: Api | None
    overflow: Overflow
    max_events: int


class BookParams(Reading, total=False):
    """Of `book`."""

    depth: Depth


class CandleParams(Reading, total=False):
    """Of `ohlc`."""

    interval: Interval


class OpenOrdersParams(Reading, total=False):
    """Of `openOrders`."""

    ratecounter: bool
    rebased: bool


class OwnTradesParams(Reading, total=False):
    """Of `ownTrades`."""

    snapshot: bool
    consolidate_taker: bool
    rebased: bool


class BalancesParams(Reading, total=False):
    """Of `balances`."""

    snapshot: bool
    rebased: bool
    users: Literal["all"]


class AnyParams(BookParams, CandleParams, OpenOrdersParams, OwnTradesParams, BalancesParams, total=False):
    """Of a channel whose name is known at run time only."""


class MoreOfAnOrder(TypedDict, total=False):
    """What few orders say."""

    margin: bool
    close_ordertype: ClosingType
    close_price: Amount
    close_price2: Amount
    stp_type: Literal["cancel_newest", "cancel_oldest", "cancel_both"]
    sender_sub_id: str
    trading_agreement: Literal["agree"]
