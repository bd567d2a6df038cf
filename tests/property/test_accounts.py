"""Accounts under any sequence of deposits, orders, fills, amendments and cancels: money is conserved."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from krakenws.core.ratecounter import ADD, AMEND, CANCEL, EDIT, half_points
from krakenws.core.signing import sign
from krakenws.exchange.accounts import Account
from krakenws.exchange.instruments import Instrument, find
from krakenws.exchange.keys import DEMO_KEY, DEMO_SECRET, ApiKeys
from krakenws.exchange.ratecounter import TIERS, RateCounter, Tier
from krakenws.exchange.requests import Refusal
from krakenws.record import replace

ZERO = Decimal(0)
STEP_US = 3_600_000_000 * 13


def _pair(name: str) -> Instrument:
    found = find(name)
    assert found is not None
    return found


# Two pairs that share XBT; one with a rebate for makers, the other with fees that change with volume.
PAIRS = (
    replace(_pair("XBT/USD"), fees_maker=((0, Decimal("-0.02")),)),
    replace(_pair("ADA/XBT"), fees=((0, Decimal("0.4")), (10, Decimal("0.013")))),
    _pair("0G/EUR"),
)
SIDES = st.sampled_from(["buy", "sell"])
ASSETS = sorted({asset for pair in PAIRS for asset in (pair.base, pair.quote)})


class Standing:
    """An open order as the venue would know it."""

    def __init__(
        self,
        owner: Account,
        pair: Instrument,
        side: str,
        qty: Decimal,
        price: Decimal,
        *,
        viqc: bool,
        leverage: int,
    ) -> None:
        self.owner = owner
        self.pair = pair
        self.side = side
        self.left = qty
        self.price = price
        self.viqc = viqc
        self.leverage = leverage


class Ledger(RuleBasedStateMachine):
    """Several accounts that trade with each other at any prices between their limits."""

    leverages = st.just(0)

    def __init__(self) -> None:
        super().__init__()
        self.now_us = 1_700_000_000_000_000
        self.number = 0
        self.deposited = dict.fromkeys(ASSETS, ZERO)
        self.accounts = [Account(name) for name in "abc"]
        self.orders: dict[str, Standing] = {}

    @initialize(amounts=st.lists(st.integers(10**8, 10**12), min_size=15, max_size=15))
    def fund(self, amounts: list[int]) -> None:
        for index, amount in enumerate(amounts):
            self.deposit(index % 3, ASSETS[index % len(ASSETS)], amount)

    @rule(who=st.integers(0, 2), asset=st.sampled_from(ASSETS), amount=st.integers(1, 10**12))
    def deposit(self, who: int, asset: str, amount: int) -> None:
        money = Decimal(amount).scaleb(-6)
        self.deposited[asset] += money
        self.accounts[who].deposit(asset, money)

    @rule(
        who=st.integers(0, 2),
        pair=st.sampled_from(PAIRS),
        side=st.sampled_from(["buy", "sell"]),
        data=st.data(),
    )
    def place(self, who: int, pair: Instrument, side: str, data: st.DataObject) -> None:
        self._place(self.accounts[who], pair, side, data)

    def _place(self, owner: Account, pair: Instrument, side: str, data: st.DataObject) -> str | None:
        """Place an order of any form; None if it was refused."""
        leverage = data.draw(self.leverages)
        viqc = side == "buy" and not leverage and data.draw(st.booleans())
        step = pair.cost_decimals if viqc else pair.lot_decimals
        qty = Decimal(data.draw(st.integers(1, 10**9))).scaleb(-step)
        price = data.draw(st.integers(90, 110)) * pair.tick_size
        before = {asset: owner.held(asset) for asset in ASSETS}
        self.number += 1
        order_id = f"O{self.number}"
        try:
            owner.hold_for(
                order_id, pair, side=side, qty=qty, price=price, at_us=self.now_us, viqc=viqc,
                fee_in_base=data.draw(st.booleans()), leverage=leverage,
                reduce_only=bool(leverage) and not data.draw(st.integers(0, 3)),
            )  # fmt: skip
        except Refusal:
            assert before == {asset: owner.held(asset) for asset in ASSETS}
            return None
        self.orders[order_id] = Standing(owner, pair, side, qty, price, viqc=viqc, leverage=leverage)
        return order_id

    @rule(pair=st.sampled_from(PAIRS), buyer=st.integers(0, 2), seller=st.integers(0, 2), data=st.data())
    def trade(self, pair: Instrument, buyer: int, seller: int, data: st.DataObject) -> None:
        """Two orders that meet at once, unless their prices do not."""
        buy = self._place(self.accounts[buyer], pair, "buy", data)
        sell = self._place(self.accounts[seller], pair, "sell", data)
        if buy and sell and self.orders[buy].price >= self.orders[sell].price:
            self._fill(buy, sell, data)

    @precondition(lambda self: self._crossing())
    @rule(data=st.data())
    def fill(self, data: st.DataObject) -> None:
        self._fill(*data.draw(st.sampled_from(self._crossing())), data)

    def _fill(self, buy: str, sell: str, data: st.DataObject) -> None:
        """Fill two orders at any price between theirs, to any share of what both can."""
        bought, sold = self.orders[buy], self.orders[sell]
        tick, lot = bought.pair.tick_size, Decimal(1).scaleb(-bought.pair.lot_decimals)
        price = sold.price + data.draw(st.integers(0, int((bought.price - sold.price) / tick))) * tick
        most = min(sold.left, bought.left / price if bought.viqc else bought.left)
        qty = most * data.draw(st.sampled_from([100, 100, 1, 37, 99])) / 100 // lot * lot
        if not qty:
            return
        buyer_takes = data.draw(st.booleans())
        costs = [
            self._settle(order_id, price, qty, takes)
            for order_id, takes in ((buy, buyer_takes), (sell, not buyer_takes))
        ]
        assert costs[0] == costs[1]
        for order_id in (buy, sell):
            order = self.orders[order_id]
            order.left -= costs[0] if order.viqc else qty
            if not order.left:
                asset, amount = order.owner.hold(order_id)
                assert amount == 0, f"a filled order still holds {amount} {asset}"
                self._end(order_id)

    def _settle(self, order_id: str, price: Decimal, qty: Decimal, takes: bool) -> Decimal:
        """Settle one side of a trade. A spot order pays out of its hold alone, to the last digit."""
        order = self.orders[order_id]
        asset, _ = order.owner.hold(order_id)
        before = order.owner.available(asset)
        settled = order.owner.settle(
            order_id, price, qty, self.now_us, taker=takes, usd_rate=Decimal(1), trade_id=f"T{order_id}"
        )
        if not order.leverage:
            assert order.owner.available(asset) >= before
        return settled.cost

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), percent=st.integers(1, 300))
    def amend(self, data: st.DataObject, percent: int) -> None:
        order_id = data.draw(st.sampled_from(sorted(self.orders)))
        order = self.orders[order_id]
        lot = Decimal(1).scaleb(-order.pair.lot_decimals)
        qty = order.left if order.viqc else max(lot, order.left * percent / 100 // lot * lot)
        before = order.owner.hold(order_id)
        try:
            order.owner.hold_for(
                order_id, order.pair, side=order.side, qty=qty, price=order.price, at_us=self.now_us,
                viqc=order.viqc, leverage=order.leverage,
            )  # fmt: skip
        except Refusal:
            assert order.owner.hold(order_id) == before
        else:
            order.left = qty

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self._end(data.draw(st.sampled_from(sorted(self.orders))))

    def _crossing(self) -> list[tuple[str, str]]:
        return [
            (buy, sell)
            for buy, bought in self.orders.items()
            for sell, sold in self.orders.items()
            if (bought.side, sold.side, bought.pair) == ("buy", "sell", sold.pair)
            and bought.price >= sold.price
        ]

    def _end(self, order_id: str) -> None:
        self.orders.pop(order_id).owner.release(order_id)

    @rule(steps=st.integers(1, 60))
    def wait(self, steps: int) -> None:
        self.now_us += steps * STEP_US

    @precondition(lambda self: any(account.positions for account in self.accounts))
    @rule(data=st.data(), side=st.sampled_from(["buy", "sell"]), percent=st.integers(0, 110))
    def settle_position(self, data: st.DataObject, side: str, percent: int) -> None:
        account = data.draw(st.sampled_from([account for account in self.accounts if account.positions]))
        pair = data.draw(st.sampled_from([pair for pair in PAIRS if pair.wsname in account.positions]))
        lot = Decimal(1).scaleb(-pair.lot_decimals)
        qty = abs(account.position(pair.wsname)) * percent / 100 // lot * lot
        try:
            account.settle_position(pair, side=side, qty=qty)
        except Refusal as refusal:
            assert refusal.code in {"EOrder:Unknown position", "EOrder:Insufficient funds"}  # noqa: PT017

    @invariant()
    def money_is_conserved(self) -> None:
        for asset in ASSETS:
            total = sum(
                (
                    a.balance(asset) + a.fees_paid.get(asset, ZERO) - a.lent.get(asset, ZERO)
                    for a in self.accounts
                ),
                ZERO,
            )
            assert total == self.deposited[asset], asset

    @invariant()
    def holds_are_those_of_the_open_orders(self) -> None:
        for account in self.accounts:
            naive = dict.fromkeys(ASSETS, ZERO)
            for order_id, order in self.orders.items():
                if order.owner is account:
                    asset, amount = account.hold(order_id)
                    assert amount >= 0
                    naive[asset] += amount
            assert naive == {asset: account.held(asset) for asset in ASSETS}
            for pair in PAIRS:
                open_orders = [o for o in self.orders.values() if o.owner is account and o.pair is pair]
                assert account.open_orders(pair.wsname) == len(open_orders)

    @invariant()
    def nothing_is_spent_twice(self) -> None:
        """Without margin nobody can owe, nor promise what he does not have."""
        for account in self.accounts:
            for asset in ASSETS:
                assert account.available(asset) >= 0, asset

    @invariant()
    def margin_is_that_of_the_positions(self) -> None:
        for account in self.accounts:
            naive = dict.fromkeys(ASSETS, ZERO)
            lent = dict.fromkeys(ASSETS, ZERO)
            for pair in PAIRS:
                for position in account.positions.get(pair.wsname, ()):
                    assert position.qty > 0
                    assert min(position.cost, position.margin) >= 0
                    sign = 1 if position.side == "buy" else -1
                    naive[pair.quote] += position.margin
                    lent[pair.quote] += sign * position.cost
                    lent[pair.base] -= sign * position.qty
            assert naive == {asset: account.margin_used(asset) for asset in ASSETS}
            assert lent == {asset: account.lent.get(asset, ZERO) for asset in ASSETS}


class MarginLedger(Ledger):
    """The same with leverage, where losses and positions closed by others can leave too little."""

    leverages = st.sampled_from([0, 2, 3, 5])

    @invariant()
    def nothing_is_spent_twice(self) -> None:
        for account in self.accounts:
            for asset in ASSETS:
                assert account.held(asset) >= 0
                assert account.margin_used(asset) >= 0


_SETTINGS = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestSpot = Ledger.TestCase
TestSpot.settings = _SETTINGS
TestMargin = MarginLedger.TestCase
TestMargin.settings = _SETTINGS


@given(
    tier=st.sampled_from(sorted(TIERS)),
    moves=st.lists(
        st.tuples(
            st.integers(0, 20_000_000),
            st.sampled_from([ADD, AMEND, EDIT, CANCEL]),
            st.integers(0, 400_000_000),
        ),
        max_size=120,
    ),
)
def test_the_rate_counter_equals_a_naive_recomputation(tier: str, moves: list[tuple[int, str, int]]) -> None:
    """The rule as it is written, in decimal points and seconds."""
    limits: Tier = TIERS[tier]
    pace = Decimal({"starter": "1", "intermediate": "2.34", "pro": "3.75"}[tier])
    counter, points, at_us = RateCounter(limits), ZERO, 0
    for wait_us, transaction, age_us in moves:
        at_us += wait_us
        points = max(ZERO, points - pace * wait_us / 1_000_000)
        cost = Decimal(half_points(transaction, age_us)) / 2
        if points + cost > limits.ceiling:
            with pytest.raises(Refusal):
                counter.charge(at_us, transaction, age_us)
        else:
            counter.charge(at_us, transaction, age_us)
            points += cost
        assert counter.count(at_us) == points.to_integral_value("ROUND_CEILING")


@given(nonces=st.lists(st.integers(0, (1 << 64) + 5), max_size=40))
def test_the_nonces_of_accepted_calls_strictly_rise_within_their_unit(nonces: list[int]) -> None:
    keys = ApiKeys()
    keys.issue(DEMO_KEY, DEMO_SECRET, "demo")
    units = (range(10**12), range(10**12, 10**15), range(10**15, 10**18), range(10**18, 1 << 64))
    largest: dict[range, int] = {}
    for now, nonce in enumerate(nonces):
        body = b"nonce=%d" % nonce
        signature = sign(DEMO_SECRET, "/0", str(nonce), body)
        unit = next((unit for unit in units if nonce in unit), None)
        good = unit is not None and nonce > largest.get(unit, -1)
        try:
            keys.authenticate(DEMO_KEY, signature, "/0", str(nonce), body, address=str(now), now=float(now))
        except Refusal:
            assert not good
        else:
            assert good
            assert unit is not None
            largest[unit] = nonce
