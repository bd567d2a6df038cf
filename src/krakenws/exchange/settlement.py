"""The money of the users' orders on one pair: held before they trade, moved with each fill.

The matching engine asks and tells this in the middle of an action (see `clearing`); the traders' own orders,
which nobody has a file on, are not its business. What a fill came to waits here, in order, until the desk
tells of it.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from krakenws.exchange.changes import worst_price
from krakenws.exchange.clearing import Clearing
from krakenws.exchange.execution import OUT_OF_FUNDS, OUT_OF_MARGIN
from krakenws.exchange.orders import BUY, ZERO
from krakenws.exchange.requests import Refusal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from krakenws.exchange.accounts import Account, Settlement
    from krakenws.exchange.events import Filled
    from krakenws.exchange.files import File
    from krakenws.exchange.holds import Hold
    from krakenws.exchange.market import Market
    from krakenws.exchange.orders import Order, Relative
    from krakenws.exchange.records import OrderRecord


class PairSettlement(Clearing):
    """The users' orders on one pair, and their money.

    Args:
        pair: its wsname.
        files: by account name.
        new_id: makes the id of a fill.
        usd_rate: US dollars for one of the pair's quote currency at a time.

    Attributes:
        live: the orders that have not ended, or whose end has not been told.
        settled: the ids of the fills that have not been told, and what they came to.
    """

    def __init__(
        self,
        pair: str,
        files: Mapping[str, File],
        *,
        new_id: Callable[[str], str],
        usd_rate: Callable[[int], Decimal],
    ) -> None:
        self.live: dict[str, OrderRecord] = {}
        self.settled: deque[tuple[str, Settlement]] = deque()
        self._pair = pair
        self._files = files
        self._new_id = new_id
        self._usd_rate = usd_rate

    # Asked by the desk

    def hold(
        self,
        market: Market,
        record: OrderRecord,
        now_us: int,
        *,
        qty: Decimal | None = None,
        limit: Decimal | Relative | None = None,
        trigger: Decimal | Relative | None = None,
    ) -> Hold | None:
        """Set aside what an order can cost; what is not given is as the record has it.

        Returns what it held before.

        Raises:
            Refusal: there is not enough; nothing changed.
        """
        left = record.terms.qty if qty is None else qty
        price = limit if isinstance(limit, Decimal) else record.limit_price
        if price is None:
            price = worst_price(market, record, left, limit, trigger)
        best = market.engine.best_bid
        return self._hold(record, left, price, None if best is None else best[0], now_us)

    def _hold(
        self, record: OrderRecord, qty: Decimal, price: Decimal, best_bid: Decimal | None, now_us: int
    ) -> Hold | None:
        terms = record.terms
        if terms.leverage and terms.side != BUY and best_bid is not None:
            price = max(price, best_bid)  # a sale above its limit needs more margin
        return self._account(record).hold_for(
            record.order_id,
            record.instrument,
            side=terms.side,
            qty=qty,
            price=price,
            at_us=now_us,
            viqc=terms.viqc,
            fee_in_base=terms.fee_in_base,
            leverage=terms.leverage,
            reduce_only=terms.reduce_only,
        )

    def _account(self, record: OrderRecord) -> Account:
        return self._files[record.owner].account

    # Asked and told by the engine

    def position(self, owner: str) -> Decimal:
        """Return an owner's margin position."""
        file = self._files.get(owner)
        return ZERO if file is None else file.account.position(self._pair)

    def may_fire(self, order: Order, best: Decimal | None, now_us: int) -> str:
        """Return why a triggered order is cancelled: the limit price that it has now may be beyond its owner.

        Without a limit price it is filled as far as the money goes, and asks at each level.
        """
        record = self.live.get(order.order_id)
        if record is None or order.limit_price is None:
            return ""
        if order.offset is None and not record.terms.leverage:  # what it holds is for this very price
            return ""
        try:
            self._hold(record, order.left, order.limit_price, best, now_us)
        except Refusal:
            return OUT_OF_MARGIN if record.terms.leverage else OUT_OF_FUNDS
        return ""

    def affordable(self, order: Order, price: Decimal, qty: Decimal) -> Decimal:
        """Return how much of a quantity an order without a limit price can pay for."""
        record = self.live.get(order.order_id)
        return qty if record is None else self._account(record).affordable(order.order_id, price, qty)

    def filled(self, fill: Filled) -> None:
        """Move the money of a user's half of a trade, or of both halves."""
        for order_id, taker in ((fill.maker_id, False), (fill.taker_id, True)):
            record = self.live.get(order_id)
            if record is not None:
                trade_id = self._new_id("T")
                settlement = self._account(record).settle(
                    order_id,
                    fill.price,
                    fill.qty,
                    fill.time_us,
                    taker=taker,
                    usd_rate=self._usd_rate(fill.time_us),
                    trade_id=trade_id,
                )
                self.settled.append((trade_id, settlement))

    def ended(self, order: Order) -> None:
        """Give back what an order still holds."""
        record = self.live.get(order.order_id)
        if record is not None:
            self._account(record).release(order.order_id)
