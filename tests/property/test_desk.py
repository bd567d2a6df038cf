"""Users who can pay for little, and send whatever comes to mind: nobody owes, and nothing is promised twice.

Three users of the real desk and the real engine, and one with more money than all of them, trade with nobody
but each other, so that what they have and have paid is what they began with, to the last digit. After each
request, and at each fill, what they own is held against what their open orders need, computed anew from the
records.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from krakenws.exchange.requests import Refusal
from tests.support.floor import START_US, Floor

if TYPE_CHECKING:
    from krakenws.exchange.events import Filled
    from krakenws.exchange.records import OrderRecord

ZERO = Decimal(0)
WEALTH = {"ZUSD": Decimal("1500.12345"), "XXBT": Decimal("0.0151")}
USERS = ("ann", "bob", "cid")
WHALE, WHALES_WEALTH = "whale", {"ZUSD": Decimal(100_000), "XXBT": Decimal(1)}
ticks = st.integers(-12, 12)
volumes = st.sampled_from(["0.0001", "0.00123456", "0.005", "0.0099", "0.02"])
users = st.sampled_from(USERS)
sides = st.sampled_from(["buy", "sell"])
index = st.integers(0, 10**6)
flags = st.sampled_from(["", "", "post", "fcib", "fciq"])
extras = st.fixed_dictionaries(
    {},
    optional={
        "expiretm": st.just("+3"),
        "starttm": st.just("+2"),
        "stp_type": st.sampled_from(["cancel_oldest", "cancel_both"]),
        "close[ordertype]": st.just("limit"),
    },
)
kinds = st.sampled_from(
    [
        "stop-loss",
        "take-profit",
        "stop-loss-limit",
        "take-profit-limit",
        "trailing-stop",
        "trailing-stop-limit",
    ]
)


def price_of(ticks_away: int) -> str:
    return str(100_000 + 500 * ticks_away)


class Traders(RuleBasedStateMachine):
    """Spot orders of every type, changed and cancelled."""

    def __init__(self) -> None:
        super().__init__()
        self.now_us = START_US
        self.floor: Any = Floor()
        self.desk = self.floor.desk
        for name in USERS:
            self.floor.open_account(name, WEALTH)
        self.floor.open_account(WHALE, WHALES_WEALTH)
        clearing: Any = self.desk._settlements["XBT/USD"]
        settle = clearing.filled

        def filled(fill: Filled) -> None:
            settle(fill)
            self.nobody_owes()

        clearing.filled = filled

    # -- requests

    def add(self, owner: str, **fields: str) -> None:
        if "close[ordertype]" in fields:
            fields["close[price]"] = price_of(3 if fields["type"] == "buy" else -3)
        with suppress(Refusal):
            self.desk.add(owner, self.floor, fields, self.now_us)

    @rule(owner=users, side=sides, volume=volumes, away=ticks, oflags=flags, more=extras)
    def limit(
        self, owner: str, side: str, volume: str, *, away: int, oflags: str, more: dict[str, str]
    ) -> None:
        price = price_of(away)
        self.add(owner, type=side, ordertype="limit", volume=volume, price=price, oflags=oflags, **more)

    @rule(owner=users, volume=volumes)
    def quote(self, owner: str, volume: str) -> None:
        """Both sides, so that there is something to trade with, and gaps to fall through."""
        for side, away in (("buy", -9), ("buy", -1), ("sell", 1), ("sell", 9)):
            self.add(owner, type=side, ordertype="limit", volume=volume, price=price_of(away))

    @rule(owner=users, side=sides, volume=volumes, oflags=st.sampled_from(["", "fcib"]))
    def market(self, owner: str, side: str, volume: str, oflags: str) -> None:
        self.add(owner, type=side, ordertype="market", volume=volume, oflags=oflags)

    @rule(owner=users, spend=st.sampled_from(["7", "400.5", "1490"]))
    def spend(self, owner: str, spend: str) -> None:
        self.add(owner, type="buy", ordertype="market", volume=spend, oflags="viqc")

    @rule(owner=users, side=sides, volume=volumes, away=ticks, kind=kinds, more=extras)
    def trigger(
        self, owner: str, side: str, volume: str, *, away: int, kind: str, more: dict[str, str]
    ) -> None:
        fields = {"price": "+250" if kind.startswith("trailing") else price_of(away)}
        if kind.endswith("-limit"):
            fields["price2"] = "+900"
        self.add(owner, type=side, ordertype=kind, volume=volume, **fields, **more)

    @rule(owner=users, kind=st.sampled_from(["stop-loss", "trailing-stop", "trailing-stop-limit"]))
    def last_money(self, owner: str, kind: str) -> None:
        """A stop that buys for all there is, and may find the market beyond it."""
        last = self.floor.engine.last_price
        assert last is not None
        money = self.desk.files[owner].account.available("ZUSD")
        volume = (money / (last + 250) / Decimal("1.0042")).quantize(Decimal("1e-8"), ROUND_DOWN)
        fields = {"price": str(last + 250) if kind == "stop-loss" else "+250"}
        if kind.endswith("-limit"):
            fields["price2"] = "+100"
        self.add(owner, type="buy", ordertype=kind, volume=str(volume), **fields)

    @rule(side=sides, gap=st.integers(1, 40))
    def sweep(self, side: str, gap: int) -> None:
        """The whale leaves a hole in the book and trades at its edge, which sets off whatever waits there."""
        last = self.floor.engine.last_price
        assert last is not None
        sign = 1 if side == "buy" else -1
        offered = "sell" if side == "buy" else "buy"
        for away, volume in ((50, "0.0001"), (300, "0.0001"), (300 + 50 * gap, "0.5")):
            self.add(WHALE, type=offered, ordertype="limit", volume=volume, price=str(last + sign * away))
        for _ in range(2):
            self.add(USERS[gap % 3], type=side, ordertype="market", volume="0.0001")

    @precondition(lambda self: self.records())
    @rule(which=index, volume=st.none() | volumes, away=ticks, validate=st.booleans())
    def edit(self, which: int, volume: str | None, away: int, validate: bool) -> None:
        record = self.records()[which % len(self.records())]
        fields: dict[str, object] = {"orderid": record.order_id, "price": price_of(away)}
        fields |= {"volume": volume or "", "validate": validate}
        before = self.everything()
        try:
            self.desk.edit(record.owner, self.floor, fields, self.now_us)
        except Refusal:
            assert self.everything() == before
        else:
            assert not validate or self.everything() == before

    @precondition(lambda self: self.records())
    @rule(which=index, volume=st.none() | volumes, away=st.none() | ticks, post_only=st.booleans())
    def amend(self, which: int, volume: str | None, away: int | None, post_only: bool) -> None:
        record = self.records()[which % len(self.records())]
        waits = record.terms.trigger_price is not None and not record.triggered
        fields: dict[str, object] = {"txid": record.order_id, "volume": volume or "", "post_only": post_only}
        if away is not None:
            fields["trigger_price" if waits else "limit_price"] = price_of(away)
        before = self.everything()
        try:
            self.desk.amend(record.owner, fields, self.now_us)
        except Refusal:
            assert self.everything() == before

    @precondition(lambda self: self.records())
    @rule(which=index)
    def cancel(self, which: int) -> None:
        self.desk.cancel(self.records()[which % len(self.records())], self.now_us)

    @rule(owner=users, timeout_s=st.integers(0, 2))
    def cancel_all_after(self, owner: str, timeout_s: int) -> None:
        self.desk.set_switch(owner, timeout_s, self.now_us)

    @rule(seconds=st.integers(1, 3))
    def wait(self, seconds: int) -> None:
        until_us = self.now_us + seconds * 1_000_000
        while (due_us := self.desk.next_us) is not None and due_us <= until_us:
            self.now_us = due_us
            self.desk.on_time(due_us)
        self.now_us = self.floor.advance(until_us)

    # -- what must hold

    def records(self) -> list[OrderRecord]:
        return [record for file in self.desk.files.values() for record in file.live.values()]

    def everything(self) -> object:
        """All that a refused request must not change."""
        accounts = [file.account for file in self.desk.files.values()]
        return (
            self.floor.engine.state(),
            [(dict(a.balances), dict(a._held), dict(a._open)) for a in accounts],
            {r.order_id: (r.qty, r.filled, r.limit_price, r.trigger_price, r.status) for r in self.records()},
            {r.order_id: self.desk.files[r.owner].account._holds[r.order_id] for r in self.records()},
            {r.order_id: self.desk.files[r.owner].account.hold(r.order_id) for r in self.records()},
        )

    def nobody_owes(self) -> None:
        for file in self.desk.files.values():
            for asset, amount in file.account.balances.items():
                assert amount >= 0, (file.account.name, asset)

    @invariant()
    def money_is_conserved_and_nobody_promises_what_he_has_not(self) -> None:
        self.nobody_owes()
        accounts = [file.account for file in self.desk.files.values()]
        for asset, amount in WEALTH.items():
            total = sum(a.balance(asset) + a.fees_paid.get(asset, ZERO) for a in accounts)
            assert total == 3 * amount + WHALES_WEALTH[asset]
            for account in accounts:
                assert account.available(asset) >= 0
        assert not any(account.lent for account in accounts)
        assert not self.desk._settlements["XBT/USD"].settled

    @invariant()
    def an_account_holds_what_its_open_orders_need_and_no_more(self) -> None:
        for file in self.desk.files.values():
            held = dict.fromkeys(WEALTH, ZERO)
            for record in file.live.values():
                asset, amount = file.account.hold(record.order_id)
                assert amount == self.need(record)
                held[asset] += amount
            assert held == {asset: file.account.held(asset) for asset in WEALTH}
            assert file.account.open_orders("XBT/USD") == len(file.live)

    def need(self, record: OrderRecord) -> Decimal:
        """What the rest of an order can cost at worst; of one without a limit as was foreseen."""
        hold = self.desk.files[record.owner].account._holds[record.order_id]
        left, rate = record.qty - record.filled, hold.taker
        if record.terms.side == "sell":
            fee = left * rate if record.terms.fee_in_base else ZERO
            return left + fee.quantize(Decimal("1e-8"), ROUND_DOWN)
        price = record.limit_price or hold.price
        cost = left * price * (1 if record.terms.fee_in_base else 1 + rate)
        return cost.quantize(Decimal("1e-5"), ROUND_DOWN)

    @invariant()
    def the_desk_and_the_engine_know_the_same_orders(self) -> None:
        for owner, file in self.desk.files.items():
            begun = {r.order_id: r for r in file.live.values() if r.status != "pending"}
            orders = {order.order_id: order for order in self.floor.engine.orders_of(owner)}
            assert begun.keys() == orders.keys()
            for order_id, order in orders.items():
                record = begun[order_id]
                assert (record.qty, record.filled) == (order.qty, order.filled)
                assert order.waiting or record.limit_price == order.limit_price
                assert record.triggered == (order.new.trigger_price is not None and not order.waiting)


class MarginTraders(Traders):
    """Every third order is on margin, and every second of those may only reduce: losses can leave debts."""

    placed = 0

    def add(self, owner: str, **fields: str) -> None:
        self.placed += 1
        if self.placed % 3 == 0 and "viqc" not in fields.get("oflags", ""):
            fields["leverage"] = "3"
            more: dict[str, Any] = {"reduce_only": self.placed % 6 == 0}
            fields |= more
        super().add(owner, **fields)

    @rule(owner=users, side=sides)
    def settle_position(self, owner: str, side: str) -> None:
        super().add(owner, type=side, ordertype="settle-position", volume="0", leverage="3")

    def nobody_owes(self) -> None:
        """Somebody may, here."""

    @invariant()
    def money_is_conserved_and_nobody_promises_what_he_has_not(self) -> None:
        accounts = [file.account for file in self.desk.files.values()]
        for asset, amount in WEALTH.items():
            total = sum(
                a.balance(asset) + a.fees_paid.get(asset, ZERO) - a.lent.get(asset, ZERO) for a in accounts
            )
            assert total == 3 * amount + WHALES_WEALTH[asset]
        assert sum(account.position("XBT/USD") for account in accounts) == -sum(
            account.lent.get("XXBT", ZERO) for account in accounts
        )

    @invariant()
    def an_account_holds_what_its_open_orders_need_and_no_more(self) -> None:
        for file in self.desk.files.values():
            held = dict.fromkeys(WEALTH, ZERO)
            for record in file.live.values():
                asset, amount = file.account.hold(record.order_id)
                assert amount == file.account._holds[record.order_id].need() >= 0
                held[asset] += amount
            assert held == {asset: file.account.held(asset) for asset in WEALTH}

    @invariant()
    def what_may_only_reduce_has_something_to_reduce(self) -> None:
        for owner, file in self.desk.files.items():
            position = file.account.position("XBT/USD")
            for order in self.floor.engine.orders_of(owner):
                if order.new.reduce_only and not order.waiting:
                    assert position < 0 if order.side == "buy" else position > 0


_SETTINGS = settings(max_examples=100, stateful_step_count=40, deadline=None)
TestTraders = Traders.TestCase
TestTraders.settings = _SETTINGS
TestMarginTraders = MarginTraders.TestCase
TestMarginTraders.settings = _SETTINGS
