"""What an open order may still need of its owner's money, and what the fills of it come to.

All amounts are cut off at the decimals of the wire (or `cost_decimals`, where they are fewer), never rounded
up, so the sum of any number of partial fills is never more than what the order held for all of it.

Source: see `accounts`.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from krakenws.exchange.orders import SELL, ZERO

TYPE_CHECKING = False
if TYPE_CHECKING:
    from krakenws.exchange.instruments import Instrument


def money_step(instrument: Instrument) -> Decimal:
    """Return the smallest amount of quote currency that costs and fees of a pair are counted in."""
    return Decimal(1).scaleb(-min(instrument.cost_decimals, instrument.wire_price_decimals))


def lot_step(instrument: Instrument) -> Decimal:
    """Return the smallest amount of base currency of a pair."""
    return Decimal(1).scaleb(-instrument.lot_decimals)


def cut(amount: Decimal, step: Decimal) -> Decimal:
    """Return an amount cut off at a step."""
    return amount.quantize(step, ROUND_DOWN)


class Hold:
    """What an open order may still need.

    Attributes:
        instrument: what is traded.
        side: `buy` or `sell`.
        qty: what is left to fill; in quote currency with `viqc`.
        price: the worst it can fill at, as far as anybody knows.
        taker: the taker's fee rate, as a fraction of the cost.
        maker: the maker's.
        step: of costs and fees in quote currency.
        viqc: volume in quote currency.
        fee_in_base: the fee is paid in base currency.
        leverage: 0 is spot.
        closes: how much of `qty` closes a position, which needs no margin.
        asset: of which something is held.
        amount: how much.
    """

    __slots__ = (
        "amount",
        "asset",
        "closes",
        "fee_in_base",
        "instrument",
        "leverage",
        "maker",
        "price",
        "qty",
        "side",
        "step",
        "taker",
        "viqc",
    )

    def __init__(
        self, instrument: Instrument, side: str, qty: Decimal, price: Decimal, rates: tuple[Decimal, Decimal]
    ) -> None:
        self.instrument = instrument
        self.side = side
        self.qty = qty
        self.price = price
        self.taker, self.maker = rates
        self.step = money_step(instrument)
        self.fee_in_base = self.viqc = False
        self.leverage = 0
        self.closes = ZERO
        self.asset = instrument.quote
        self.amount = ZERO

    def need(self) -> Decimal:
        """Return what the rest of the order can cost at worst."""
        rate = max(self.taker, self.maker, ZERO)
        if self.leverage:
            opens = max(ZERO, self.qty - self.closes)
            margin = cut(opens * self.price / self.leverage, self.step)
            return margin + cut(self.qty * self.price * rate, self.step)
        if self.side == SELL:
            return (
                self.qty + cut(self.qty * rate, lot_step(self.instrument)) if self.fee_in_base else self.qty
            )
        cost = self.qty if self.viqc else self.qty * self.price
        return cut(cost if self.fee_in_base else cost * (1 + rate), self.step)

    def fee(self, cost: Decimal, qty: Decimal, rate: Decimal) -> tuple[str, Decimal]:
        """Return the asset in which a fill's fee is paid, and the fee."""
        if self.fee_in_base:
            return self.instrument.base, cut(qty * rate, lot_step(self.instrument))
        return self.instrument.quote, cut(cost * rate, self.step)

    def affordable(self, price: Decimal, qty: Decimal, room: Decimal, closable: Decimal) -> Decimal:
        """Return how much of a quantity a taker can pay for, in whole lots; what closes a position always.

        Args:
            price: of the fill.
            qty: what there is to trade, in base currency.
            room: how much of `asset` there is for it.
            closable: how much of an opposite position there is.
        """
        closes = min(qty, closable) if self.leverage else ZERO
        opens = qty - closes
        cost = cut(price * opens, self.step)
        fee_asset, fee = self.fee(cost, opens, self.taker)
        if self.leverage:
            room -= cut(price * closes * self.taker, self.step)
            bill, unit = (
                cut(cost / self.leverage, self.step) + fee,
                price / self.leverage + price * self.taker,
            )
        else:
            bill, unit = (qty, Decimal(1)) if self.side == SELL else (cost, price)
            if fee_asset == self.asset:
                bill, unit = bill + fee, unit * (1 + self.taker)
        if bill <= room:
            return qty
        lot = lot_step(self.instrument)
        return closes + max(ZERO, room) // (unit * lot) * lot
