"""What an order may come to: how much of which currency, at which price at worst.

A limit counts at its limit, a trigger at its trigger, a market order at what walking the book costs; a
relative price is added to the best price, whatever its sign. What cannot be known is None. Decimals are
exact: of Kraken's digits, and of products thanks to `EXACT`.
"""

from __future__ import annotations

from decimal import ROUND_UP, Context, Decimal

from krakenws.core.ordercheck import is_relative
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from krakenws.core.catalog import Bound

    Levels = Sequence[tuple[str, str]]
    """(price, qty), best first."""

EXACT = Context(prec=500)
_ROUND_UP = Context(prec=28, rounding=ROUND_UP)
_ZERO = Decimal(0)
_PRICES = ("price", "price2", "limit_price", "trigger_price")
_OPPOSITE = {"buy": "sell", "sell": "buy"}


@record
class Quote:
    """Both sides of a verified book, best first."""

    asks: Levels
    bids: Levels

    def of(self, side: str) -> Levels:
        """Return the levels that an order of this side takes from."""
        return self.bids if side == "sell" else self.asks

    def best(self, side: str) -> Decimal:
        """Return what an order of this side pays or gets at best."""
        return Decimal(self.of(side)[0][0])


@record
class Exposure:
    """What one order may come to: what is recorded of it, and counted towards the day.

    Attributes:
        pair: v1 name, or "": it names none.
        volume: decimal text in base currency, or "": unknown, or an edit that leaves it as it is.
        notional: decimal text in quote currency, or "": unknown.
    """

    pair: str
    volume: str = ""
    notional: str = ""


@record
class HeldPrice:
    """A limit price that the price collar holds to a reference.

    Attributes:
        name: the parameter.
        text: the price as given, relative or not.
        trigger: the trigger price it stands behind, or None: the best price is the reference.
        side: `buy` or `sell`.
    """

    name: str
    text: str
    trigger: Decimal | None
    side: str


class Sizing:
    """A command of `v1_entries.PLACING`, read as far as a policy asks.

    Attributes:
        name: the command.
        pair: v1 name, or "".
        base: its base currency.
        quote: its quote currency.
        side: `buy`, `sell`, or "": the command does not say.
        volume: None where it is not given, or 0: the whole position.
        viqc: whether the volume is in quote currency.
        at_market: whether it takes what is there at once.
    """

    __slots__ = ("_values", "at_market", "base", "name", "pair", "quote", "side", "viqc", "volume")

    def __init__(self, bound: Bound) -> None:
        self.name = bound.entry.name
        self._values = {name: value for name, value in bound.values.items() if isinstance(value, str)}
        self.pair = self._get("pair")
        self.base, _, self.quote = self.pair.partition("/")
        self.side = self._get("type")
        self.viqc = "viqc" in self._get("oflags").split(",")
        self.at_market = self._get("ordertype") in {"market", "settle-position"}
        volume = self._get("volume")
        self.volume = Decimal(volume) if volume.strip("0.") else None

    def _get(self, name: str) -> str:
        return self._values.get(name, "")

    @property
    def _given_prices(self) -> list[str]:
        return [price for price in map(self._get, _PRICES) if price]

    @property
    def keeps_volume(self) -> bool:
        """Whether it changes an order without naming a volume."""
        return self.name != "addOrder" and not self._get("volume")

    @property
    def notional_needs_quote(self) -> bool:
        """Whether its notional depends on the market."""
        depends = self.at_market or any(map(is_relative, self._given_prices))
        return self.volume is not None and not self.viqc and depends

    def exposure(self, quote: Quote | None) -> Exposure:
        """Return what it may come to, as far as that is known."""
        volume, notional = self.volume, self._notional(quote)
        if self.viqc and volume is not None:
            volume = None if quote is None else _ROUND_UP.divide(volume, quote.best("buy"))
        return Exposure(
            self.pair, "" if volume is None else plain(volume), "" if notional is None else plain(notional)
        )

    def _notional(self, quote: Quote | None) -> Decimal | None:
        if self.volume is None or self.viqc:
            return self.volume
        if self.at_market:
            walked = None if quote is None else self.walk(quote)
            return None if walked is None else walked[0]
        price = self._worst_price(quote)
        return None if price is None else EXACT.multiply(self.volume, price)

    def _worst_price(self, quote: Quote | None) -> Decimal | None:
        given = self._given_prices
        relative = [price for price in given if is_relative(price)]
        if not given or (relative and quote is None):
            return None
        best = _ZERO if quote is None else quote.best(self.side)
        worst = max((Decimal(price) for price in given if price not in relative), default=best)
        for price in relative:
            amount, of_percent = distance(price)
            if of_percent:
                amount = EXACT.divide(EXACT.multiply(best, amount), Decimal(100))
            worst = EXACT.add(worst, amount)
        return worst

    def walk(self, quote: Quote) -> tuple[Decimal, Decimal] | None:
        """Return cost and worst price of taking the volume at once; None when the book does not hold it."""
        left, cost = self.volume, _ZERO
        if left is None:
            return None
        for price, qty in quote.of(self.side):
            value = EXACT.multiply(Decimal(price), Decimal(qty))
            taken = min(left, value if self.viqc else Decimal(qty))
            cost = EXACT.add(cost, taken if self.viqc else EXACT.multiply(taken, Decimal(price)))
            left = EXACT.subtract(left, taken)
            if not left:
                return cost, Decimal(price)
        return None

    def held_prices(self) -> list[HeldPrice]:
        """Return each limit price, the conditional close's among them; twice where the side is not known."""
        if self.name == "addOrder":
            return [
                *self._limit("price", "price2", self._get("ordertype"), self.side),
                *self._limit(
                    "close[price]", "close[price2]", self._get("close[ordertype]"), _OPPOSITE[self.side]
                ),
            ]
        return [
            HeldPrice(name, self._get(name), None, side)
            for name in ("price", "price2", "limit_price")
            if self._get(name)
            for side in _OPPOSITE
        ]

    def _limit(self, first: str, second: str, type_: str, side: str) -> list[HeldPrice]:
        if type_ == "limit":
            return [HeldPrice(first, self._get(first), None, side)]
        if not type_.endswith("-limit"):
            return []
        trigger = self._get(first)
        return [
            HeldPrice(second, self._get(second), None if is_relative(trigger) else Decimal(trigger), side)
        ]

    def unknown(self) -> str:
        """Say why volume or notional is not known."""
        if self.volume is None:
            return "say volume=" if self.keeps_volume else "volume=0 does not say how much"
        if self.at_market or self._given_prices or self.viqc:
            return f"the verified book of {self.pair} was not there in time, or does not hold the volume"
        return "say the price, too"


def distance(price: str) -> tuple[Decimal, bool]:
    """Return how far a relative price is from what it is relative to, and whether that is in percent."""
    return Decimal(price.removesuffix("%").lstrip("+-#")), price.endswith("%")


def plain(number: Decimal) -> str:
    """Return decimal text, without an exponent and without zeros at its end."""
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text
