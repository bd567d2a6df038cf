"""Orders and fills as the exchange keeps them for their owner, whichever feed or call asks for them.

The matching engine knows what an order does in the book; here is what it has cost, when, and why it ended.

    pending ── opened ──▶ open ── fill… ──▶ closed
       └──────────────────┴── end ──▶ canceled, expired

Source: v1.md 7.1 and 7.2.
"""

from __future__ import annotations

from base64 import b32encode
from decimal import ROUND_DOWN, Decimal, localcontext

from krakenws.core.rows import second
from krakenws.exchange.orders import ZERO, Relative
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.exchange.accounts import Settlement
    from krakenws.exchange.checks import Terms
    from krakenws.exchange.instruments import Instrument

PENDING, OPEN, CLOSED, CANCELED, EXPIRED = "pending", "open", "closed", "canceled", "expired"
ID_BYTES = 10
"""Randomness in an id."""


class OrderRecord:
    """One order.

    Attributes:
        order_id: `O…`.
        owner: name of the account.
        instrument: what is traded.
        terms: what was asked for.
        status: of the diagram above.
        opened_us: when it was taken in; all times are microseconds since 1970.
        changed_us: when it was taken in or last amended; its age in the rate counter's eyes.
        ended_us: when it ended, or 0.
        qty: as last amended, in base currency (in quote currency with `viqc`).
        limit_price: as last amended or triggered.
        trigger_price: likewise.
        triggered: whether it has.
        filled: base quantity.
        cost: of its fills, in quote currency.
        fee: likewise.
        reason: why it was cancelled.
        parent_id: the order whose conditional close it is, or "".
    """

    __slots__ = (
        "_notional",
        "changed_us",
        "cost",
        "ended_us",
        "fee",
        "filled",
        "instrument",
        "limit_price",
        "opened_us",
        "order_id",
        "owner",
        "parent_id",
        "qty",
        "reason",
        "status",
        "terms",
        "trigger_price",
        "triggered",
    )

    def __init__(
        self,
        order_id: str,
        owner: str,
        instrument: Instrument,
        terms: Terms,
        opened_us: int,
        *,
        parent_id: str = "",
    ) -> None:
        self.order_id = order_id
        self.owner = owner
        self.instrument = instrument
        self.terms = terms
        self.status = PENDING
        self.opened_us = self.changed_us = opened_us
        self.ended_us = 0
        self.qty = terms.qty
        self.limit_price = terms.limit_price if isinstance(terms.limit_price, Decimal) else None
        self.trigger_price = terms.trigger_price if isinstance(terms.trigger_price, Decimal) else None
        self.triggered = False
        self.filled = self.cost = self.fee = self._notional = ZERO
        self.reason = ""
        self.parent_id = parent_id

    @property
    def avg_price(self) -> Decimal:
        """What was paid for a unit, unrounded; zero before the first fill."""
        return self._notional / self.filled if self.filled else ZERO

    def opened(self) -> None:
        """The engine has taken it in."""
        self.status = OPEN

    def fill(self, price: Decimal, qty: Decimal, settlement: Settlement) -> None:
        """Count a fill."""
        self.filled += qty
        self.cost += settlement.cost
        self.fee += settlement.fee
        self._notional += price * qty

    def trigger(self, trigger_price: Decimal, limit_price: Decimal | None) -> None:
        """It has become a market or limit order."""
        self.triggered = True
        self.trigger_price = trigger_price
        self.limit_price = limit_price

    def amend(
        self, qty: Decimal, limit_price: Decimal | None, trigger_price: Decimal | None, at_us: int
    ) -> None:
        """It was changed in place."""
        self.qty = qty
        self.limit_price = limit_price
        self.trigger_price = trigger_price
        self.changed_us = at_us

    def end(self, status: str, at_us: int, reason: str = "") -> None:
        """It is `CLOSED`, `CANCELED` or `EXPIRED`."""
        self.status = status
        self.ended_us = at_us
        self.reason = reason

    def price_texts(self, decimals: int) -> tuple[str, str]:
        """Return `price` and `price2` as Kraken lists them: those the order type has, else zero."""
        limit = _price_text(self.limit_price, self.terms.limit_price, decimals)
        if self.terms.trigger_price is None:
            return limit, money_text(ZERO, decimals)
        return _price_text(self.trigger_price, self.terms.trigger_price, decimals), limit


@record
class FillRecord:
    """One order's half of a trade, or with `consolidate` of several.

    Attributes:
        trade_id: `T…`.
        position_id: the position it belongs to, "" for spot.
        at_us: microseconds since 1970.
    """

    trade_id: str
    order: OrderRecord
    price: Decimal
    qty: Decimal
    cost: Decimal
    fee: Decimal
    margin: Decimal
    position_id: str
    at_us: int


def make_fill(
    trade_id: str, order: OrderRecord, price: Decimal, qty: Decimal, settlement: Settlement, *, at_us: int
) -> FillRecord:
    """Return the record of a fill and what it came to."""
    return FillRecord(
        trade_id,
        order,
        price,
        qty,
        settlement.cost,
        settlement.fee,
        settlement.margin,
        settlement.position_id,
        at_us,
    )


def consolidate(fills: Sequence[FillRecord]) -> list[FillRecord]:
    """Return fills with those of one order in one transaction merged, under the id of the first.

    Only a taker has several there. The price is their average, unrounded.

    Source: v1 ownTrades, `consolidate_taker`.
    """
    merged: dict[tuple[str, int], FillRecord] = {}
    for fill in fills:
        one = fill.order.order_id, fill.at_us
        first = merged.get(one)
        if first is None:
            merged[one] = fill
            continue
        qty = first.qty + fill.qty
        merged[one] = FillRecord(
            first.trade_id,
            first.order,
            (first.price * first.qty + fill.price * fill.qty) / qty,
            qty,
            first.cost + fill.cost,
            first.fee + fill.fee,
            first.margin + fill.margin,
            first.position_id,
            fill.at_us,
        )
    return list(merged.values())


def make_id(letter: str, random: bytes) -> str:
    """Return an id as Kraken makes them, `OGTT3Y-C6I3P-XRI6HX`.

    Args:
        letter: `O` for orders, `T` for trades, positions and amendments.
        random: ten bytes.
    """
    text = b32encode(random).decode()
    return f"{letter}{text[:5]}-{text[5:10]}-{text[10:]}"


def money_text(amount: Decimal, decimals: int) -> str:
    """Return an amount with exactly so many decimals."""
    return f"{amount:.{decimals}f}"


def cut_text(amount: Decimal, decimals: int) -> str:
    """Return an amount with exactly so many decimals, never more than there is."""
    with localcontext(rounding=ROUND_DOWN):
        return money_text(amount, decimals)


def utc_text(at_us: int) -> str:
    """Return microseconds since 1970 as RFC 3339 UTC, `2024-05-24T14:01:53.526524Z`."""
    return f"{second(str(at_us // 1_000_000))}.{at_us % 1_000_000:06d}Z"


def _price_text(now: Decimal | None, asked: Decimal | Relative | None, decimals: int) -> str:
    if now is None and isinstance(asked, Relative):
        return f"{asked.amount:+.4f}%" if asked.percent else f"{asked.amount:+.{decimals}f}"
    return money_text(now or ZERO, decimals)
