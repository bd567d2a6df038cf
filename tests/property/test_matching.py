"""The matching engine against naive models, under any sequence of requests.

`NaiveMatcher` is price-time priority as one would say it in a sentence: a flat list, and at each step the
best price and then the earliest arrival. `Market` is every rule at once: any order type, any mode, any
amendment, and after each action the invariants, each of them computed from the events alone.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from krakenws.exchange.clearing import Clearing
from krakenws.exchange.events import (
    Accepted,
    Amended,
    Armed,
    Canceled,
    Closed,
    CloseOrderDue,
    Expired,
    Filled,
    LevelChanged,
    Refused,
    Rested,
    Triggered,
    replay,
)
from krakenws.exchange.matching import Engine
from krakenws.exchange.modes import CANCEL_ONLY, LIMIT_ONLY, MAINTENANCE, ONLINE, POST_ONLY
from krakenws.exchange.orders import (
    OPPOSITE,
    ORDER_TYPES,
    TRAILING,
    TRIGGERED,
    CloseOrder,
    NewOrder,
    Relative,
)

if TYPE_CHECKING:
    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.orders import Order

TICK, LOT = Decimal("0.1"), Decimal("0.00000001")
EXACT = Context(prec=200, traps=[Inexact])
OWNERS = ("ann", "bob", "cid", "dan", "eve")

sides = st.sampled_from(["buy", "sell"])
prices = st.integers(95, 105).map(lambda ticks: ticks * TICK)
qtys = st.sampled_from(["1", "2", "0.5", "3.00000001", "0.00000001", "1.50"]).map(Decimal)
owners = st.sampled_from(OWNERS)
stp_types = st.sampled_from(["cancel_newest", "cancel_oldest", "cancel_both"])
index = st.integers(0, 10**6)


# ---- price-time priority, and what an amendment does to it


class Resting:
    """An order of the naive matcher: no level, no side's list, only when it arrived."""

    def __init__(self, order_id: str, owner: str, side: str, price: Decimal | None, qty: Decimal) -> None:
        self.order_id, self.owner, self.side, self.price = order_id, owner, side, price
        self.qty, self.left, self.arrival = qty, qty, 0


class NaiveMatcher:
    """Limit and market orders, by the book and at any cost."""

    def __init__(self) -> None:
        self.resting: list[Resting] = []
        self.fills: list[tuple[str, str, Decimal, Decimal]] = []
        self.clock = 0

    def best_for(self, order: Resting) -> Resting | None:
        """The one it trades with next: the best price, then the earliest arrival."""
        sign = 1 if order.side == "buy" else -1
        eligible = [
            (sign * maker.price, maker.arrival, maker)
            for maker in self.resting
            if maker.side != order.side
            and maker.price is not None
            and (order.price is None or sign * maker.price <= sign * order.price)
        ]
        return min(eligible)[2] if eligible else None

    def run(self, order: Resting, *, stp_type: str, rests: bool) -> None:
        self.clock += 1
        order.arrival = self.clock
        while order.left and (maker := self.best_for(order)) is not None:
            if maker.owner == order.owner:
                if stp_type != "cancel_newest":
                    self.resting.remove(maker)
                if stp_type != "cancel_oldest":
                    return
                continue
            qty = min(order.left, maker.left)
            self.fills.append((maker.order_id, order.order_id, maker.price or Decimal(0), qty))
            order.left -= qty
            maker.left -= qty
            if not maker.left:
                self.resting.remove(maker)
        if order.left and rests:
            self.resting.append(order)

    def amend(self, order: Resting, qty: Decimal, price: Decimal, stp_type: str) -> None:
        if qty <= order.qty - order.left:
            self.resting.remove(order)
            return
        keeps = price == order.price and qty <= order.qty
        order.left += qty - order.qty
        order.qty, order.price = qty, price
        if not keeps:
            self.resting.remove(order)
            self.run(order, stp_type=stp_type, rests=True)

    def side(self, side: str) -> list[tuple[Decimal, list[tuple[str, Decimal]]]]:
        levels: dict[Decimal, list[Resting]] = defaultdict(list)
        for order in self.resting:
            if order.side == side and order.price is not None:
                levels[order.price].append(order)
        return [
            (price, [(o.order_id, o.left) for o in sorted(levels[price], key=lambda o: o.arrival)])
            for price in sorted(levels, reverse=side == "buy")
        ]


few_prices = st.integers(99, 101).map(lambda ticks: ticks * TICK)
limits = st.tuples(st.just("submit"), sides, few_prices, qtys, owners, stp_types, st.just("GTC"))
requests = st.one_of(
    limits,
    limits,
    st.tuples(
        st.just("submit"),
        sides,
        st.none() | few_prices,
        qtys,
        owners,
        stp_types,
        st.sampled_from(["GTC", "IOC"]),
    ),
    st.tuples(st.just("post"), sides, few_prices, qtys, owners),
    st.tuples(st.just("cancel"), index),
    st.tuples(st.just("amend"), index, st.none() | qtys, st.none() | few_prices),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(requests, min_size=20, max_size=40))
def test_trades_and_queues_are_those_of_the_naive_matcher(script: list[tuple[object, ...]]) -> None:
    engine, naive = Engine("XBT/USD", tick_size=TICK, lot_size=LOT), NaiveMatcher()
    fills: list[tuple[str, str, Decimal, Decimal]] = []
    stp: dict[str, str] = {}
    for number, request in enumerate(script):
        order_id, events = f"O{number}", list[object]()
        match request:
            case ("submit", str(side), price, Decimal() as qty, str(owner), str(stp_type), str(tif)):
                limit = price if isinstance(price, Decimal) else None
                kind = "market" if limit is None else "limit"
                new = NewOrder(order_id, owner, side, kind, qty, limit, time_in_force=tif, stp_type=stp_type)
                stp[order_id] = stp_type
                events += engine.submit(new, number)
                rests = limit is not None and tif == "GTC"
                naive.run(Resting(order_id, owner, side, limit, qty), stp_type=stp_type, rests=rests)
            case ("post", str(side), Decimal() as price, Decimal() as qty, str(owner)):
                stp[order_id] = "cancel_newest"
                order = Resting(order_id, owner, side, price, qty)
                taking = naive.best_for(order) is not None
                events += engine.submit(
                    NewOrder(order_id, owner, side, "limit", qty, price, post_only=True), 0
                )
                assert isinstance(events[0], Refused) == taking
                if not taking:
                    naive.run(order, stp_type="", rests=True)
            case ("cancel", int(which)) if naive.resting:
                order = naive.resting.pop(which % len(naive.resting))
                events += engine.cancel(order.order_id, number)
            case ("amend", int(which), new_qty, new_price) if naive.resting:
                order = naive.resting[which % len(naive.resting)]
                live = engine.order(order.order_id)
                assert live is not None
                assert order.price is not None
                qty = new_qty if isinstance(new_qty, Decimal) else order.qty
                price = new_price if isinstance(new_price, Decimal) else order.price
                events += engine.amend(order.order_id, number, qty=qty, limit_price=price)
                if not isinstance(events[0], Refused):
                    naive.amend(order, qty, price, stp[order.order_id])
                else:
                    assert live.new.post_only
        fills += [(e.maker_id, e.taker_id, e.price, e.qty) for e in events if isinstance(e, Filled)]
        assert fills == naive.fills
        assert engine.state().bids == naive.side("buy")
        assert engine.state().asks == naive.side("sell")


# ---- everything at once


class Waiting:
    """What a naive reader of the events knows of an order that waits for its trigger."""

    def __init__(self, new: NewOrder, last: Decimal) -> None:
        self.new = new
        self.trigger = new.trigger_price
        self.extreme = last
        self.follow(last)

    def follow(self, last: Decimal) -> None:
        """A trailing stop keeps its distance from the best price it has seen."""
        if not isinstance(self.new.trigger_price, Relative):
            return
        distance = self.new.trigger_price
        buys = self.new.side == "buy"
        self.extreme = min(self.extreme, last) if buys else max(self.extreme, last)
        by = self.extreme * distance.amount / 100 if distance.percent else distance.amount
        price = self.extreme + by if buys else self.extreme - by
        self.trigger = (price / TICK).quantize(Decimal(1), ROUND_HALF_EVEN) * TICK

    def reached(self, last: Decimal) -> bool:
        assert isinstance(self.trigger, Decimal)
        up = (self.new.side == "buy") != self.new.order_type.startswith("take-profit")
        return last >= self.trigger if up else last <= self.trigger


class Positions(Clearing):
    """Who has which position, told of each fill as it happens."""

    def __init__(self, market: Market) -> None:
        self.market = market

    def position(self, owner: str) -> Decimal:
        return self.market.positions[owner]

    def filled(self, fill: Filled) -> None:
        for order_id in (fill.maker_id, fill.taker_id):
            order = self.market.orders[order_id]
            if order.moves_position:
                self.market.moves_position(order, fill.qty)


class Market(RuleBasedStateMachine):
    """Five owners, a long, a short and three without a position, and every request there is."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = defaultdict(Decimal, ann=Decimal(3), bob=Decimal("-2.5"))
        self.last = Decimal(10)
        self.engine = Engine(
            "XBT/USD",
            tick_size=TICK,
            lot_size=LOT,
            last_price=self.last,
            clearing=Positions(self),
        )
        self.now_us = 0
        self.log: list[EngineEvent] = []
        self.orders: dict[str, NewOrder] = {}
        self.objects: dict[str, Order] = {}
        self.qty: dict[str, Decimal] = {}
        self.executed: dict[str, Decimal] = defaultdict(Decimal)
        self.paid: dict[str, Decimal] = defaultdict(Decimal)
        self.left_at_end: dict[str, Decimal] = {}
        self.book: dict[str, dict[Decimal, tuple[Decimal, int]]] = {"buy": {}, "sell": {}}
        self.waiting: dict[str, Waiting] = {}
        self.due: list[str] = []

    # -- requests

    def new(self, side: str, kind: str, qty: Decimal, owner: str, **more: object) -> NewOrder:
        order = NewOrder(f"O{len(self.orders)}", owner, side, kind, qty, **more)  # type: ignore[arg-type]
        self.orders[order.order_id] = order
        return order

    def submit(self, order: NewOrder) -> None:
        self.take(self.engine.submit(order, self.now_us))

    @rule(
        side=sides,
        price=prices,
        qty=qtys,
        owner=owners,
        more=st.fixed_dictionaries(
            {
                "stp_type": stp_types,
                "time_in_force": st.sampled_from(["GTC", "GTC", "IOC", "GTD"]),
                "close": st.none() | st.just(CloseOrder("take-profit", "+5%")),
            },
            optional={"margin": st.just(True), "reduce_only": st.just(True)},
        ),
    )
    def limit(self, side: str, price: Decimal, qty: Decimal, owner: str, more: dict[str, object]) -> None:
        expire_us = self.now_us + 3 if more["time_in_force"] == "GTD" else None
        self.submit(self.new(side, "limit", qty, owner, limit_price=price, expire_us=expire_us, **more))

    @rule(side=sides, price=prices, qty=qtys, owner=owners)
    def post(self, side: str, price: Decimal, qty: Decimal, owner: str) -> None:
        self.submit(self.new(side, "limit", qty, owner, limit_price=price, post_only=True))

    @rule(owner=owners, reduce_only=st.booleans())
    def quote(self, owner: str, reduce_only: bool) -> None:
        """Two levels of both sides, so that there is something to trade with."""
        for side, sign in (("buy", -1), ("sell", 1)):
            for ticks in (1, 2):
                price = Decimal(10) + sign * ticks * TICK
                new = self.new(
                    side, "limit", Decimal("0.75"), owner, limit_price=price, reduce_only=reduce_only
                )
                self.submit(new)

    @rule(
        side=sides,
        qty=qtys,
        owner=owners,
        stp_type=stp_types,
        how=st.sampled_from(["market", "settle-position", "margin", "reduce_only"]),
    )
    def market(self, side: str, qty: Decimal, owner: str, stp_type: str, how: str) -> None:
        flags: dict[str, object] = {how: True} if how in {"margin", "reduce_only"} else {}
        kind = "market" if flags else how
        self.submit(self.new(side, kind, qty, owner, stp_type=stp_type, **flags))

    @rule(qty=st.sampled_from(["0.00000005", "5", "12.3456789", "40"]).map(Decimal), owner=owners)
    def spend(self, qty: Decimal, owner: str) -> None:
        self.submit(self.new("buy", "market", qty, owner, viqc=True))

    @rule(
        side=sides,
        kind=st.sampled_from(sorted(TRIGGERED)),
        qty=qtys,
        owner=owners,
        price=prices,
        distance=st.sampled_from([Relative(Decimal("0.2")), Relative(Decimal(1), percent=True)]),
    )
    def trigger(
        self, side: str, kind: str, qty: Decimal, owner: str, *, price: Decimal, distance: Relative
    ) -> None:
        trails = kind in TRAILING
        more: dict[str, object] = {"trigger_price": distance if trails else price}
        if kind.endswith("-limit"):
            more["limit_price"] = Relative(Decimal("-0.1")) if trails else price + TICK
        self.submit(self.new(side, kind, qty, owner, **more))

    @rule(side=sides, owner=owners, price=prices)
    def protect(self, side: str, owner: str, price: Decimal) -> None:
        """A stop that may only reduce."""
        new = self.new(side, "stop-loss", Decimal(9), owner, trigger_price=price, reduce_only=True)
        self.submit(new)

    @rule(which=index)
    def cancel(self, which: int) -> None:
        if self.orders:
            self.take(self.engine.cancel(f"O{which % len(self.orders)}", self.now_us))

    @rule(owner=owners)
    def cancel_all(self, owner: str) -> None:
        ids = [order.order_id for order in self.engine.orders_of(owner)]
        events = self.engine.cancel_many(ids, self.now_us)
        self.take(events)
        changed = [(e.side, e.price) for e in events if isinstance(e, LevelChanged) and e.time_us]
        assert len(changed) == len(set(changed)) or any(isinstance(e, Expired) for e in events)
        assert not self.engine.orders_of(owner)

    @rule(which=index, qty=st.none() | qtys, price=st.none() | prices, post_only=st.booleans())
    def amend(self, which: int, qty: Decimal | None, price: Decimal | None, post_only: bool) -> None:
        live = [order for order in self.objects.values() if self.engine.order(order.order_id)]
        if not live:
            return
        order = live[which % len(live)]
        events = self.engine.amend(
            order.order_id, self.now_us, qty=qty, limit_price=price, post_only=post_only
        )
        if post_only:
            takers = {e.taker_id for e in events if isinstance(e, Filled)}
            assert order.order_id not in takers
        self.take(events)

    @rule(which=index, price=prices)
    def amend_trigger(self, which: int, price: Decimal) -> None:
        ids = [i for i, waiting in self.waiting.items() if waiting.new.order_type not in TRAILING]
        if ids:
            order_id = ids[which % len(ids)]
            self.take(self.engine.amend(order_id, self.now_us, trigger_price=price))

    @rule(which=index, price=prices, qty=qtys)
    def replace(self, which: int, price: Decimal, qty: Decimal) -> None:
        if self.orders:
            old = self.orders[f"O{which % len(self.orders)}"]
            new = self.new(old.side, "limit", qty, old.owner, limit_price=price)
            events = self.engine.replace(old.order_id, new, self.now_us)
            self.take(events)

    @rule(us=st.integers(1, 4))
    def pass_time(self, us: int) -> None:
        due = self.engine.next_expiry_us
        self.now_us += us
        events = self.engine.expire(self.now_us)
        assert any(isinstance(e, Expired) for e in events) == (due is not None and due <= self.now_us)
        self.take(events)

    @rule(
        mode=st.sampled_from([LIMIT_ONLY, POST_ONLY, CANCEL_ONLY, MAINTENANCE]),
        which=index,
        side=sides,
        price=prices,
        request=st.sampled_from(["limit", "post", "spend", "cancel", "amend", "pass_time"]),
    )
    def in_another_mode(self, mode: str, which: int, side: str, price: Decimal, request: str) -> None:
        self.engine.mode = mode
        one = Decimal(1)
        match request:
            case "limit":
                self.submit(self.new(side, "limit", one, "ann", limit_price=price))
            case "post":
                self.post(side, price, one, "bob")
            case "spend":
                self.spend(one, "cid")
            case "cancel":
                self.cancel(which)
            case "amend":
                self.amend(which, None, price, False)
            case "pass_time":
                self.pass_time(2)
        self.engine.mode = ONLINE

    # -- what the events say

    def take(self, events: list[EngineEvent]) -> None:
        """Read the events of one action as an outsider would, and hold each against the rules."""
        self.log += events
        for event in events:
            assert event.time_us == self.now_us
            match event:
                case Accepted(order=order):
                    self.accepted(order)
                case Filled():
                    self.filled(event)
                case Amended(order_id=order_id, qty=qty, trigger_price=trigger):
                    self.qty[order_id] = qty
                    if order_id in self.waiting and order_id not in self.due:
                        self.amended_trigger(order_id, trigger)
                case Armed(order_id=order_id, trigger_price=trigger):
                    assert self.waiting[order_id].trigger == trigger
                case Triggered(order_id=order_id):
                    self.due.remove(order_id)
                    del self.waiting[order_id]
                case Closed(order_id=order_id) | Canceled(order_id=order_id) | Expired(order_id=order_id):
                    assert order_id not in self.left_at_end
                    self.left_at_end[order_id] = event.left
                    self.waiting.pop(order_id, None)
                case LevelChanged(side=side, price=price, qty=qty):
                    self.book[side][price] = (qty, event.time_us)
                    if not qty:
                        del self.book[side][price]
                    assert not crossed(self.book)
                case _:
                    assert isinstance(event, Refused | Rested | CloseOrderDue)
        assert self.due == []
        matching = self.engine.mode in {ONLINE, LIMIT_ONLY}
        assert matching or not any(isinstance(event, Filled) for event in events)
        self.close_orders(events)

    def accepted(self, order: NewOrder) -> None:
        self.qty[order.order_id] = order.qty
        live = self.engine.order(order.order_id)
        if live is not None:
            self.objects[order.order_id] = live
        if order.order_type in TRIGGERED:
            waiting = self.waiting[order.order_id] = Waiting(order, self.last)
            if waiting.reached(self.last):
                self.due.append(order.order_id)

    def amended_trigger(self, order_id: str, trigger: Decimal | None) -> None:
        waiting = self.waiting[order_id]
        if waiting.new.order_type not in TRAILING:
            waiting.trigger = trigger
        if waiting.reached(self.last):
            self.due.append(order_id)

    def filled(self, fill: Filled) -> None:
        maker, taker = self.orders[fill.maker_id], self.orders[fill.taker_id]
        assert fill.qty > 0
        assert maker.owner != taker.owner
        assert not taker.post_only or self.was_amended(taker.order_id)
        assert {maker.side, taker.side} == {"buy", "sell"}
        assert taker.side == fill.taker_side
        for order in (maker, taker):
            self.executed[order.order_id] += fill.qty
            cost = EXACT.multiply(fill.price, fill.qty)
            self.paid[order.order_id] = EXACT.add(self.paid[order.order_id], cost)
            if isinstance(order.limit_price, Decimal) and not self.was_amended(order.order_id):
                assert (
                    fill.price <= order.limit_price
                    if order.side == "buy"
                    else fill.price >= order.limit_price
                )
        self.last = fill.price
        for order_id, waiting in self.waiting.items():
            if order_id not in self.due:
                waiting.follow(self.last)
                if waiting.reached(self.last):
                    self.due.append(order_id)

    def moves_position(self, order: NewOrder, qty: Decimal) -> None:
        """A fill on margin; one that may only reduce does."""
        before = self.positions[order.owner]
        after = before + qty if order.side == "buy" else before - qty
        if order.reduce_only:
            assert abs(after) < abs(before)
            assert before * after >= 0
        self.positions[order.owner] = after

    def was_amended(self, order_id: str) -> bool:
        return any(isinstance(e, Amended) and e.order_id == order_id for e in self.log)

    def close_orders(self, events: list[EngineEvent]) -> None:
        due = [(e.parent_id, e.side, e.qty) for e in events if isinstance(e, CloseOrderDue)]
        fills = [e for e in events if isinstance(e, Filled)]
        assert due == [
            (order_id, OPPOSITE[self.orders[order_id].side], fill.qty)
            for fill in fills
            for order_id in (fill.maker_id, fill.taker_id)
            if self.orders[order_id].close
        ]

    # -- what must hold at rest

    @invariant()
    def the_book_is_not_crossed_and_its_feed_is_the_book(self) -> None:
        for side in ("buy", "sell"):
            fed = sorted(((p, *rest) for p, rest in self.book[side].items()), reverse=side == "buy")
            assert self.engine.levels(side) == fed
            assert self.engine.levels(side, 2) == fed[:2]
        assert self.engine.best_bid == next(iter(self.engine.levels("buy")), None)
        assert self.engine.best_ask == next(iter(self.engine.levels("sell")), None)
        assert not crossed(self.book)

    @invariant()
    def the_log_replays_to_the_state(self) -> None:
        state = self.engine.state()
        assert replay(self.log) == state
        for side, levels in (("buy", state.bids), ("sell", state.asks)):
            totals = [(price, sum(left for _, left in orders)) for price, orders in levels]
            assert totals == [(price, qty) for price, qty, _ in self.engine.levels(side)]
        assert state.waiting == {i: w.trigger for i, w in self.waiting.items()}
        assert not any(waiting.reached(self.last) for waiting in self.waiting.values())
        assert self.engine.last_price == self.last

    @invariant()
    def quantity_is_conserved(self) -> None:
        for order_id, qty in self.qty.items():
            live = self.engine.order(order_id)
            assert (live is None) == (order_id in self.left_at_end)
            left = self.left_at_end[order_id] if live is None else live.left
            quote = self.orders[order_id].viqc
            done = self.paid[order_id] if quote else self.executed[order_id]
            assert done + left == qty
            if live is not None:
                assert live.filled == self.executed[order_id]
                assert left > 0

    @invariant()
    def money_is_conserved(self) -> None:
        bought = sum((self.paid[i] for i, o in self.orders.items() if o.side == "buy"), Decimal(0))
        sold = sum((self.paid[i] for i, o in self.orders.items() if o.side == "sell"), Decimal(0))
        assert bought == sold

    @invariant()
    def owners_have_their_live_orders(self) -> None:
        live = [i for i in self.qty if self.engine.order(i)]
        theirs = [o.order_id for owner in OWNERS for o in self.engine.orders_of(owner)]
        assert sorted(theirs) == sorted(live)
        for order_id in live:
            expire_us = self.orders[order_id].expire_us
            assert expire_us is None or expire_us > self.now_us


def crossed(book: dict[str, dict[Decimal, tuple[Decimal, int]]]) -> bool:
    return bool(book["buy"]) and bool(book["sell"]) and max(book["buy"]) >= min(book["sell"])


Market.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestMarket = Market.TestCase


def test_the_market_knows_every_order_type() -> None:
    assert {"limit", "market", "settle-position"} | TRIGGERED == ORDER_TYPES
