"""What a client of the exchange owns, owes and has promised.

Theory of this file
-------------------
Each open order *holds* what its fills can cost at worst: a purchase its price and the taker's fee in quote
currency, a sale its base currency, a margin order its initial margin and fee. What is available is the
balance less all holds and the margin of positions.

    hold_for ──▶ held ── settle, each fill ──▶ held for what is left ── release ──▶ gone
        └─ refused: nothing changed                  put_back ◀── what was held before

An order without a limit price may meet worse prices than anybody foresaw. It is never filled beyond what it
holds and what is available then: `affordable` says how far that reaches.

Money is neither made nor lost: over all accounts and for each asset, balances plus fees paid less what the
exchange has lent for margin positions is what was deposited, to the last digit. Three rules see to that. The
cost of a fill follows from its price and quantity alone, so buyer and seller agree on it. All amounts are cut
off, never rounded up, and the sum of the parts cut off is never more than the whole cut off: any number of
partial fills fits into what the order holds. And the fee rates of an order are those at the time it was
placed, or last changed.

Kraken does not publish how it rounds; every captured cost and fee agrees with cutting off at the decimals of
the wire, which are used here (see `holds`), so the feeds add up to the balances.

A margin order that opens lends its cost (or base currency) and sets margin aside, in the pair's own quote
currency; one that closes pays profit or loss, oldest position first. A loss may leave a debt: a balance below
zero. Not modelled: collateral in other currencies, opening and rollover fees, liquidation (`margin_level` is
there for whoever wants to).

Source: v1.md sections 8.2, 9.1 and 11; auth.md 5.3; the support pages on fees, order holds and margin.
"""

from __future__ import annotations

from decimal import Decimal

from krakenws.exchange.holds import Hold, cut, money_step
from krakenws.exchange.ledger import Posting
from krakenws.exchange.orders import BUY, OPPOSITE, ZERO
from krakenws.exchange.positions import Position, opening_cost
from krakenws.exchange.ratecounter import INTERMEDIATE, RateCounter
from krakenws.exchange.requests import Refusal
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from krakenws.exchange.instruments import Instrument
    from krakenws.exchange.ratecounter import Tier

INSUFFICIENT_FUNDS = "EOrder:Insufficient funds"
MARGIN_LEVEL_TOO_LOW = "EOrder:Margin level too low"
ORDERS_LIMIT_EXCEEDED = "EOrder:Orders limit exceeded"
UNKNOWN_POSITION = "EOrder:Unknown position"

DAY_US = 86_400_000_000
_FEE_DAYS = 30

DEMO_BALANCES = {
    asset: Decimal(amount)
    for asset, amount in (
        ("ZUSD", "100000"),
        ("ZEUR", "100000"),
        ("USDT", "50000"),
        ("USDC", "50000"),
        ("XXBT", "5"),
        ("XETH", "50"),
        ("SOL", "500"),
        ("XXRP", "20000"),
        ("XXDG", "100000"),
    )
}
"""What the demo account begins with."""


@record
class Settlement:
    """What one fill came to for one of its two orders.

    Attributes:
        cost: price times quantity, in quote currency.
        fee: in quote currency, also where it was charged in base; negative is a rebate.
        margin: initial margin set aside for what it opened.
        position_id: the position it opened or closed last; "" for spot.
        postings: how balances changed.
    """

    cost: Decimal
    fee: Decimal
    margin: Decimal = ZERO
    position_id: str = ""
    postings: tuple[Posting, ...] = ()


class Account:
    """One client's money, by asset (REST keys: `XXBT`, `ZUSD`), and open orders.

    Attributes:
        name: what keys and tokens name.
        tier: limits on rate and open orders.
        fees_paid: by asset, rebates subtracted.
        lent: by asset, what the exchange has put up for open positions; negative is what it keeps of them.
        positions: by wsname, oldest first; never empty lists.
    """

    def __init__(
        self, name: str, tier: Tier = INTERMEDIATE, balances: Mapping[str, Decimal] | None = None
    ) -> None:
        self.name = name
        self.tier = tier
        self.fees_paid: dict[str, Decimal] = {}
        self.lent: dict[str, Decimal] = {}
        self.positions: dict[str, list[Position]] = {}
        self._balances: dict[str, Decimal] = dict(balances or {})
        self._held: dict[str, Decimal] = {}
        self._margin: dict[str, Decimal] = {}
        self._holds: dict[str, Hold] = {}
        self._open: dict[str, int] = {}
        self._counters: dict[str, RateCounter] = {}
        self._volume_usd: dict[int, Decimal] = {}

    @property
    def balances(self) -> Mapping[str, Decimal]:
        """What is owned, by asset, holds included; assets once owned stay, with zero."""
        return self._balances

    def balance(self, asset: str) -> Decimal:
        """Return what is owned of an asset, holds included."""
        return self._balances.get(asset, ZERO)

    def held(self, asset: str) -> Decimal:
        """Return what open orders hold of an asset."""
        return self._held.get(asset, ZERO)

    def margin_used(self, asset: str) -> Decimal:
        """Return what is set aside for open positions."""
        return self._margin.get(asset, ZERO)

    def available(self, asset: str) -> Decimal:
        """Return what may be spent. Losses on margin can bring it below zero."""
        return self.balance(asset) - self.held(asset) - self.margin_used(asset)

    def hold(self, order_id: str) -> tuple[str, Decimal]:
        """Return asset and amount that an open order holds.

        Raises:
            KeyError: it is not open.
        """
        hold = self._holds[order_id]
        return hold.asset, hold.amount

    def open_orders(self, pair: str) -> int:
        """Return how many orders are open on a pair (wsname)."""
        return self._open.get(pair, 0)

    def rate_counter(self, pair: str) -> RateCounter:
        """Return the account's counter on a pair (wsname)."""
        counter = self._counters.get(pair)
        if counter is None:
            counter = self._counters[pair] = RateCounter(self.tier)
        return counter

    def deposit(self, asset: str, amount: Decimal) -> Posting:
        """Add to a balance."""
        return self._post(asset, amount)

    # Fees

    def trade_volume_usd(self, at_us: int) -> Decimal:
        """Return the volume of the last thirty days, today included."""
        first = at_us // DAY_US - _FEE_DAYS + 1
        return sum((usd for day, usd in self._volume_usd.items() if day >= first), ZERO)

    def add_volume_usd(self, usd: Decimal, at_us: int) -> None:
        """Count traded volume towards the fee schedule."""
        day = at_us // DAY_US
        self._volume_usd[day] = self._volume_usd.get(day, ZERO) + usd
        for old in [known for known in self._volume_usd if known <= day - _FEE_DAYS]:
            del self._volume_usd[old]

    def fee_rates(self, instrument: Instrument, at_us: int) -> tuple[Decimal, Decimal]:
        """Return the taker's and the maker's rate, as fractions of the cost.

        Source: auth.md 5.3, `fees` and `fees_maker`.
        """
        volume = self.trade_volume_usd(at_us)
        return _rate(instrument.fees, volume), _rate(instrument.fees_maker or instrument.fees, volume)

    # Orders

    def hold_for(
        self,
        order_id: str,
        instrument: Instrument,
        *,
        side: str,
        qty: Decimal,
        price: Decimal,
        at_us: int,
        viqc: bool = False,
        fee_in_base: bool = False,
        leverage: int = 0,
        reduce_only: bool = False,
    ) -> Hold | None:
        """Set aside what an order can cost; called again for the same order, replace what it holds.

        Returns what it held before, for `put_back`.

        Args:
            order_id: the order.
            instrument: what is traded.
            side: `buy` or `sell`.
            qty: what is left to fill, in base currency, or with `viqc` to spend.
            price: the worst it can fill at: its limit, or for a market order the last level it will reach.
            at_us: when; decides the fee rates.
            viqc: volume in quote currency, purchases only.
            fee_in_base: the `fcib` flag.
            leverage: 0 is spot.
            reduce_only: it closes at most, so it needs no margin; the engine sees to it.

        Raises:
            Refusal: too many open orders on the pair, or too little money; nothing changed.
        """
        pair = instrument.wsname
        old = self._holds.get(order_id)
        if old is None and self.open_orders(pair) >= self.tier.open_orders:
            raise Refusal(ORDERS_LIMIT_EXCEEDED)
        new = Hold(instrument, side, qty, price, self.fee_rates(instrument, at_us))
        if leverage:
            new.leverage = leverage
            new.closes = qty if reduce_only else min(qty, self._closable(order_id, pair, side))
        else:
            new.viqc, new.fee_in_base = viqc, fee_in_base
            new.asset = instrument.quote if side == BUY else instrument.base
        new.amount = new.need()
        freed = old.amount if old is not None and old.asset == new.asset else ZERO
        if new.amount > max(ZERO, self.available(new.asset) + freed):
            raise Refusal(MARGIN_LEVEL_TOO_LOW if leverage else INSUFFICIENT_FUNDS)
        self.put_back(order_id, new)
        return old

    def release(self, order_id: str) -> Hold | None:
        """Give back what an order still holds: it is no longer open. None for an unknown one."""
        hold = self._holds.pop(order_id, None)
        if hold is not None:
            _add(self._held, hold.asset, -hold.amount)
            self._open[hold.instrument.wsname] -= 1
        return hold

    def put_back(self, order_id: str, hold: Hold) -> None:
        """Let an order hold exactly what it held before a change that was refused, and be open again."""
        self.release(order_id)
        self._holds[order_id] = hold
        pair = hold.instrument.wsname
        self._open[pair] = self.open_orders(pair) + 1
        _add(self._held, hold.asset, hold.amount)

    def affordable(self, order_id: str, price: Decimal, qty: Decimal) -> Decimal:
        """Return how much of a quantity an open order can take at a price: with its hold and what is left.

        Raises:
            KeyError: the order is not open.
        """
        hold = self._holds[order_id]
        closable = ZERO
        if hold.leverage:
            closable = sum((p.qty for p in self._opposite(hold.instrument.wsname, hold.side)), ZERO)
        room = hold.amount + self.available(hold.asset)  # what others hold is not for it
        return hold.affordable(price, qty, room, closable)

    def settle(
        self,
        order_id: str,
        price: Decimal,
        qty: Decimal,
        at_us: int,
        *,
        taker: bool,
        usd_rate: Decimal = ZERO,
        trade_id: str = "",
    ) -> Settlement:
        """Exchange money for a fill of an open order, and hold only what the rest of it needs.

        Args:
            order_id: the order, which stays open until `release`.
            price: of the fill, no worse than the order holds for.
            qty: of the fill, in base currency.
            at_us: when.
            taker: whether this order was the taker.
            usd_rate: US dollars for one of the quote currency, for the thirty days' volume.
            trade_id: names a position that the fill opens.

        Raises:
            KeyError: the order is not open.
            ValueError: the fill costs more than the order holds and the account has; nothing changed.
        """
        hold = self._holds[order_id]
        cost = cut(price * qty, hold.step)
        rate = hold.taker if taker else hold.maker
        fee = cut(cost * rate, hold.step)
        margin, position_id = ZERO, ""
        postings: tuple[Posting, ...]
        if hold.leverage:
            margin, position_id, profit = self._settle_margin(order_id, hold, qty, cost, trade_id)
            _add(self.fees_paid, hold.instrument.quote, fee)
            postings = (self._post(hold.instrument.quote, profit, fee),)
        else:
            postings = self._settle_spot(hold, qty, cost, rate)
        if not postings:
            raise ValueError(f"a fill of {order_id} costs more than the order holds and the account has")
        hold.qty = max(ZERO, hold.qty - (cost if hold.viqc else qty))
        need = hold.need()
        _add(self._held, hold.asset, need - hold.amount)
        hold.amount = need
        self.add_volume_usd(cost * usd_rate, at_us)
        return Settlement(cost, fee, margin, position_id, postings)

    def _settle_spot(self, hold: Hold, qty: Decimal, cost: Decimal, rate: Decimal) -> tuple[Posting, ...]:
        """Move the money of a fill, first what is given; nothing moved if there is not enough."""
        base, quote = hold.instrument.base, hold.instrument.quote
        fee_asset, fee = hold.fee(cost, qty, rate)
        amounts = {quote: -cost, base: qty} if hold.side == BUY else {base: -qty, quote: cost}
        fees = {fee_asset: fee}
        given = fees.get(hold.asset, ZERO) - amounts[hold.asset]
        # What was held is paid even when a loss on margin has eaten it since: then a debt remains.
        if given > hold.amount + max(ZERO, self.available(hold.asset)):
            return ()
        _add(self.fees_paid, fee_asset, fee)
        return tuple(self._post(asset, amount, fees.get(asset, ZERO)) for asset, amount in amounts.items())

    # Margin

    def position(self, pair: str) -> Decimal:
        """Return what is open on a pair (wsname): above zero is long."""
        return sum((p.qty if p.side == BUY else -p.qty for p in self.positions.get(pair, ())), ZERO)

    def margin_level(self, asset: str, marks: Mapping[str, tuple[str, Decimal]]) -> Decimal | None:
        """Return equity in percent of used margin, or None without positions in this quote currency.

        Args:
            asset: the quote currency.
            marks: by wsname its quote currency and the price to value positions at.

        Source: `margin_call` 80, `margin_stop` 40 in AssetPairs (auth.md 5.3).
        """
        used = self.margin_used(asset)
        if not used:
            return None
        equity = self.balance(asset)
        for pair, positions in self.positions.items():
            quote, price = marks[pair]
            if quote == asset:
                equity += sum((_sign(p.side) * (p.qty * price - p.cost) for p in positions), ZERO)
        return equity / used * 100

    def settle_position(self, instrument: Instrument, *, side: str, qty: Decimal) -> tuple[Posting, Posting]:
        """Pay a position off with own money at its opening cost, oldest first; there is no trade.

        Args:
            instrument: what is traded.
            side: of the order: `sell` settles long positions.
            qty: how much of it; zero is all.

        Raises:
            Refusal: there is no such position, or not the money. Nothing changed.
        """
        pair, step = instrument.wsname, money_step(instrument)
        opened = self._opposite(pair, side)
        total = sum((p.qty for p in opened), ZERO)
        left = qty or total
        if not opened or left > total:
            raise Refusal(UNKNOWN_POSITION)
        if side == BUY:
            short_of = left > self.available(instrument.base)
        else:
            short_of = cut(opening_cost(opened, left), step) > self.available(instrument.quote)
        if short_of:
            raise Refusal(INSUFFICIENT_FUNDS)
        direction = _sign(OPPOSITE[side])
        paid, taken = ZERO, left
        for position in opened:
            part = min(left, position.qty)
            cost, margin = position.take(part, step)
            paid += cost
            self._lend(instrument, -direction * cost, direction * part)
            _add(self._margin, instrument.quote, -margin)
            left -= part
        self._drop_closed(pair)
        return self._post(instrument.quote, -direction * paid), self._post(instrument.base, direction * taken)

    def _settle_margin(
        self, order_id: str, hold: Hold, qty: Decimal, cost: Decimal, trade_id: str
    ) -> tuple[Decimal, str, Decimal]:
        """Close what there is to close, open the rest; return margin set aside, position and profit."""
        instrument, step = hold.instrument, hold.step
        profit = ZERO
        left, left_cost, position_id = qty, cost, ""
        for position in self._opposite(instrument.wsname, hold.side):
            if not left:
                break
            part = min(left, position.qty)
            closing_cost = left_cost if part == left else cut(cost * part / qty, step)
            opening_cost, margin = position.take(part, step)
            direction = _sign(position.side)
            profit += direction * (closing_cost - opening_cost)
            self._lend(instrument, -direction * opening_cost, direction * part)
            _add(self._margin, instrument.quote, -margin)
            left -= part
            left_cost -= closing_cost
            position_id = position.position_id
        self._drop_closed(instrument.wsname)
        hold.closes = max(ZERO, hold.closes - (qty - left))
        if not left:
            return ZERO, position_id, profit
        margin = cut(left_cost / hold.leverage, step)
        position = self._opened_by(order_id, instrument.wsname, hold.side, trade_id)
        position.qty += left
        position.cost += left_cost
        position.margin += margin
        direction = _sign(hold.side)
        self._lend(instrument, direction * left_cost, -direction * left)
        _add(self._margin, instrument.quote, margin)
        return margin, position.position_id, profit

    def _opened_by(self, order_id: str, pair: str, side: str, trade_id: str) -> Position:
        positions = self.positions.setdefault(pair, [])
        if not (positions and positions[-1].order_id == order_id):
            positions.append(Position(trade_id or order_id, order_id, side))
        return positions[-1]

    def _opposite(self, pair: str, side: str) -> list[Position]:
        return [p for p in self.positions.get(pair, ()) if p.side != side]

    def _closable(self, order_id: str, pair: str, side: str) -> Decimal:
        """Return what other orders have not yet been counted on to close."""
        closable = sum((p.qty for p in self._opposite(pair, side)), ZERO)
        if closable:  # rare: spot orders never look at the others
            closable -= sum(
                (
                    hold.closes
                    for other, hold in self._holds.items()
                    if other != order_id and hold.instrument.wsname == pair and hold.side == side
                ),
                ZERO,
            )
        return max(ZERO, closable)

    def _drop_closed(self, pair: str) -> None:
        left = [p for p in self.positions.get(pair, ()) if p.qty]
        if left:
            self.positions[pair] = left
        else:
            self.positions.pop(pair, None)

    def _lend(self, instrument: Instrument, quote: Decimal, base: Decimal) -> None:
        _add(self.lent, instrument.quote, quote)
        _add(self.lent, instrument.base, base)

    def _post(self, asset: str, amount: Decimal, fee: Decimal = ZERO) -> Posting:
        _add(self._balances, asset, amount - fee)
        return Posting(asset, amount, fee, self._balances[asset])


def _add(amounts: dict[str, Decimal], asset: str, amount: Decimal) -> None:
    amounts[asset] = amounts.get(asset, ZERO) + amount


def _sign(side: str) -> int:
    return 1 if side == BUY else -1


def _rate(schedule: Sequence[tuple[int, Decimal]], volume: Decimal) -> Decimal:
    """Return the fraction that a schedule of (volume from, percent) asks for."""
    percent = ZERO
    for above, at in schedule:
        if above > volume:
            break
        percent = at
    return percent / 100
