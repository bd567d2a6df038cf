"""What an order must look like to be taken in, in Kraken's error strings; "" where nothing is wrong.

Only what an order shows by itself, beside the last trade that a trailing stop starts from. Balances,
minimums, limits and permissions are the venue's; modes, positions and post-only the engine's.

Numbers are exact as long as the decimal context has its default 28 digits: `MAX_QTY` and `MAX_COST_DIGITS`
see to that, far beyond any real market.

Source: guide "Spot Error Messages" (v1.md 8.2); v1 "Add Order" for which field belongs to which order type
(v1.md 9.1). Kraken does not say which field its `Invalid arguments:` names; here it is v1's.
"""

from __future__ import annotations

from decimal import Decimal

from krakenws.exchange.orders import (
    BUY,
    GTD,
    IOC,
    LIMIT,
    LIMITED,
    MARKET,
    OPPOSITE,
    ORDER_TYPES,
    SELL,
    STP_TYPES,
    TIMES_IN_FORCE,
    TRAILING,
    TRAILING_STOP_LIMIT,
    TRIGGERED,
    Relative,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.exchange.orders import NewOrder

OFF_TICK = "EOrder:Tick size check failed"
INVALID_PRICE = "EOrder:Invalid price"
NO_REFERENCE = "EGeneral:Invalid arguments:Index unavailable"
INVALID = "EGeneral:Invalid arguments:"

MAX_QTY = Decimal(10) ** 15
MAX_COST_DIGITS = 27


class Admission:
    """The checks of one symbol.

    Args:
        tick_size: what every price is a multiple of.
        lot_size: what every base quantity is a multiple of.
    """

    __slots__ = ("_lot_size", "_max_cost", "_tick_size")

    def __init__(self, tick_size: Decimal, lot_size: Decimal) -> None:
        self._tick_size = tick_size
        self._lot_size = lot_size
        self._max_cost = tick_size * lot_size * 10**MAX_COST_DIGITS

    def order_error(self, new: NewOrder, last_price: Decimal | None, now_us: int) -> str:
        """Return what is wrong with a new order."""
        kind = new.order_type
        for value, choices, field in (
            (kind, ORDER_TYPES, "ordertype"),
            (new.side, OPPOSITE, "type"),
            (new.time_in_force, TIMES_IN_FORCE, "timeinforce"),
            (new.stp_type, STP_TYPES, "stp_type"),
        ):
            if value not in choices:
                return INVALID + field
        error = self.qty_error(new.qty, in_lots=not new.viqc) or self.prices_error(
            kind, new.side, new.qty, (new.limit_price, new.trigger_price), last_price
        )
        if error:
            return error
        if (new.time_in_force == GTD) != (new.expire_us is not None):
            return INVALID + "expiretm"
        if new.expire_us is not None and new.expire_us <= now_us:
            return INVALID + "expiretm"
        if new.post_only and (kind != LIMIT or new.time_in_force == IOC):
            return INVALID + "oflags"
        if new.viqc and (kind != MARKET or new.side != BUY or new.moves_position):
            return INVALID + "oflags"
        return ""

    def qty_error(self, qty: Decimal, *, in_lots: bool = True) -> str:
        """Return what is wrong with a quantity; one in the quote currency is not counted in lots."""
        if not 0 < qty < MAX_QTY or (in_lots and qty % self._lot_size):
            return INVALID + "volume"
        return ""

    def prices_error(
        self,
        kind: str,
        side: str,
        qty: Decimal,
        prices: tuple[Decimal | Relative | None, Decimal | Relative | None],
        last_price: Decimal | None,
    ) -> str:
        """Return what is wrong with the limit and the trigger price of an order of some type."""
        limit, trigger = prices
        if kind in TRAILING:
            if not isinstance(trigger, Relative) or trigger.amount <= 0:
                return INVALID + "price"
            if last_price is None:
                return NO_REFERENCE
            if side == SELL and trigger.of(last_price) >= last_price:
                return INVALID_PRICE
            fits = isinstance(limit, Relative) if kind == TRAILING_STOP_LIMIT else limit is None
            return "" if fits else INVALID + "price2"
        error = ""
        if kind in LIMITED:
            error = self._price_error(limit, qty, "price" if kind == LIMIT else "price2")
        elif limit is not None:
            error = INVALID + ("price2" if kind in TRIGGERED else "price")
        if kind in TRIGGERED:
            return error or self._price_error(trigger, qty, "price")
        return error or (INVALID + "price" if trigger is not None else "")

    def _price_error(self, price: Decimal | Relative | None, qty: Decimal, field: str) -> str:
        if not isinstance(price, Decimal):
            return INVALID + field
        if price <= 0:
            return INVALID_PRICE
        if price * qty >= self._max_cost:
            return INVALID + "volume"
        return OFF_TICK if price % self._tick_size else ""
