"""The matching engine rule by rule: what each request reports, to the last event."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from msgspec import json

from krakenws.exchange.clearing import Clearing
from krakenws.exchange.events import (
    Accepted,
    Amended,
    Armed,
    Canceled,
    Closed,
    CloseOrderDue,
    Event,
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
from krakenws.exchange.orders import CloseOrder, NewOrder, Order, Relative
from krakenws.exchange.triggers import parse_distance, resolve_price

D = Decimal
TICK, LOT = D("0.1"), D("0.00000001")


class Strict(Clearing):
    """Lets nothing fire, and nobody without a limit price trade more than two."""

    def __init__(self) -> None:
        self.ends: list[str] = []
        self.left = D(2)

    def may_fire(self, order: Order, best: Decimal | None, now_us: int) -> str:
        return f"{order.limit_price} {best} {now_us}"

    def affordable(self, order: Order, price: Decimal, qty: Decimal) -> Decimal:
        return min(qty, self.left)

    def filled(self, fill: Filled) -> None:
        self.left -= fill.qty

    def ended(self, order: Order) -> None:
        self.ends.append(order.order_id)


class Positions(Clearing):
    """Owners' positions, which the fills of orders on margin change as they happen."""

    def __init__(self, positions: dict[str, Decimal]) -> None:
        self.positions = positions
        self.engine: Engine | None = None

    def position(self, owner: str) -> Decimal:
        return self.positions.get(owner, D(0))

    def filled(self, fill: Filled) -> None:
        assert self.engine is not None
        for order_id in (fill.maker_id, fill.taker_id):
            order = told(self.engine, order_id)
            if order.new.moves_position:
                change = fill.qty if order.side == "buy" else -fill.qty
                self.positions[order.owner] = self.position(order.owner) + change


def engine(*, last: str | None = "100", positions: dict[str, Decimal] | None = None) -> Engine:
    clearing = Positions({} if positions is None else positions)
    clearing.engine = Engine(
        "XBT/USD",
        tick_size=TICK,
        lot_size=LOT,
        last_price=None if last is None else D(last),
        clearing=clearing,
    )
    return clearing.engine


def limit(order_id: str, side: str, qty: str, price: str, owner: str = "", **more: object) -> NewOrder:
    """A limit order of an owner of its own, unless told whose."""
    return NewOrder(order_id, owner or order_id, side, "limit", D(qty), D(price), **more)  # type: ignore[arg-type]


def market(order_id: str, side: str, qty: str, owner: str = "", **more: object) -> NewOrder:
    return NewOrder(order_id, owner or order_id, side, "market", D(qty), **more)  # type: ignore[arg-type]


def stop(order_id: str, side: str, kind: str, trigger: str, **more: object) -> NewOrder:
    price = Relative(D(trigger[1:])) if trigger.startswith("+") else D(trigger)
    return NewOrder(order_id, order_id, side, kind, D(1), trigger_price=price, **more)  # type: ignore[arg-type]


def book(*orders: NewOrder, last: str | None = "100", positions: dict[str, Decimal] | None = None) -> Engine:
    """An engine in whose book these orders rest since time 1."""
    made = engine(last=last, positions=positions)
    for order in orders:
        made.submit(order, 1)
    return made


def trade_at(made: Engine, price: str, now_us: int = 5) -> list[object]:
    """Let two strangers trade at a price; return what the second one's order caused."""
    name = f"x{price}@{now_us}"
    made.submit(limit(f"{name}-sell", "sell", "1", price), now_us)
    return list(made.submit(limit(f"{name}-buy", "buy", "1", price), now_us))


def reasons(events: list[object]) -> list[str]:
    return [
        event.error if isinstance(event, Refused) else event.reason
        for event in events
        if isinstance(event, Refused | Canceled)
    ]


def told(made: Engine, order_id: str) -> Order:
    order = made.order(order_id)
    assert order is not None
    return order


# ---- the clearing


def test_the_clearing_may_cancel_what_has_triggered_and_hears_of_every_end() -> None:
    clearing = Strict()
    made = Engine("XBT/USD", tick_size=TICK, lot_size=LOT, last_price=D(100), clearing=clearing)
    made.submit(limit("A", "buy", "1", "90", expire_us=4, time_in_force="GTD"), 1)
    made.submit(stop("S", "buy", "trailing-stop-limit", "+1", limit_price=Relative(D("0.5"))), 1)
    assert reasons(trade_at(made, "101", 3)) == ["101.5 None 3"]
    made.expire(4)
    made.submit(limit("B", "buy", "1", "90"), 5)
    made.cancel("B", 5)
    assert clearing.ends == ["x101@3-sell", "x101@3-buy", "S", "A", "B"]


@pytest.mark.parametrize(("more", "reason"), [({}, "funds"), ({"margin": True}, "margin")])
def test_an_order_without_a_limit_trades_what_it_can_pay_for(more: dict[str, Any], reason: str) -> None:
    made = Engine("XBT/USD", tick_size=TICK, lot_size=LOT, clearing=Strict())
    for new in (limit("A", "sell", "1.5", "101"), limit("B", "sell", "3", "102")):
        made.submit(new, 1)
    fills = [e.qty for e in made.submit(limit("L", "buy", "1.5", "101"), 2) if isinstance(e, Filled)]
    assert fills == [D("1.5")], "a limit order is not asked for"
    events = made.submit(market("M", "buy", "3", **more), 3)
    assert [e.qty for e in events if isinstance(e, Filled)] == [D("0.5")]
    assert Canceled("M", f"Insufficient {reason}", D("2.5"), 3) in events


# ---- the book


def test_an_order_that_meets_nobody_rests() -> None:
    made, new = engine(), limit("A", "buy", "1.5", "99.5")
    assert made.submit(new, 7) == [
        Accepted(new, 7),
        Rested("A", "buy", D("99.5"), D("1.5"), 7),
        LevelChanged("buy", D("99.5"), D("1.5"), 7),
    ]
    assert made.best_bid == (D("99.5"), D("1.5"), 7)
    assert made.best_ask is None
    assert made.orders_of("A") == [told(made, "A")]


def test_a_taker_trades_at_the_makers_prices_oldest_first_and_its_rest_rests() -> None:
    made = book(
        limit("A", "sell", "1", "101"), limit("B", "sell", "2", "100.5"), limit("C", "sell", "1", "100.5")
    )
    new = limit("T", "buy", "5", "101.0")
    assert made.submit(new, 9) == [
        Accepted(new, 9),
        Filled(1, "B", "T", D("100.5"), D(2), "buy", "limit", 9),
        Closed("B", D(0), 9),
        Filled(2, "C", "T", D("100.5"), D(1), "buy", "limit", 9),
        Closed("C", D(0), 9),
        Filled(3, "A", "T", D(101), D(1), "buy", "limit", 9),
        Closed("A", D(0), 9),
        LevelChanged("sell", D("100.5"), D(0), 9),
        LevelChanged("sell", D(101), D(0), 9),
        Rested("T", "buy", D(101), D(1), 9),
        LevelChanged("buy", D(101), D(1), 9),
    ]
    assert made.last_price == 101
    assert made.last_trade == Filled(3, "A", "T", D(101), D(1), "buy", "limit", 9)


def test_levels_come_best_first_with_their_total_and_the_time_of_their_last_change() -> None:
    made = book(limit("A", "buy", "1", "99"), limit("B", "buy", "2", "98"), limit("C", "buy", "4", "97"))
    made.submit(limit("D", "buy", "1", "98"), 2)
    made.cancel("C", 3)
    assert made.levels("buy") == [(D(99), D(1), 1), (D(98), D(3), 2)]
    assert made.levels("buy", 1) == [(D(99), D(1), 1)]
    assert made.levels("buy", 0) == made.levels("sell") == []


def test_no_market_order_outlives_the_book() -> None:
    assert reasons([*engine().submit(market("M", "buy", "1"), 1)]) == ["Insufficient liquidity"]
    made = book(limit("A", "sell", "1", "101"))
    assert made.submit(market("T", "buy", "3"), 2)[-1] == Canceled("T", "Insufficient liquidity", D(2), 2)
    assert made.order("T") is None


def test_ioc_leaves_nothing_behind() -> None:
    made = book(limit("A", "sell", "1", "101"))
    events = made.submit(limit("T", "buy", "3", "101", time_in_force="IOC"), 2)
    assert events[-1] == Canceled("T", "Immediate or cancel", D(2), 2)
    assert made.best_bid is None


def test_a_quote_volume_buys_whole_lots_and_what_is_left_is_less_than_one() -> None:
    made = book(limit("A", "sell", "0.5", "100"), limit("B", "sell", "5", "300"))
    events = made.submit(market("T", "buy", "100", viqc=True), 2)
    fills = [(e.price, e.qty) for e in events if isinstance(e, Filled)]
    assert fills == [(D(100), D("0.5")), (D(300), D("0.16666666"))]
    (closed,) = [e for e in events if isinstance(e, Closed) and e.order_id == "T"]
    assert closed.left == 100 - D("0.5") * 100 - D("0.16666666") * 300 == D("0.000002")


def test_a_quote_volume_that_buys_no_lot_is_cancelled() -> None:
    made = book(limit("A", "sell", "1", "100"))
    assert reasons([*made.submit(market("T", "buy", "0.0000009", viqc=True), 2)]) == [
        "Insufficient liquidity"
    ]


def test_settle_position_trades_as_a_market_order() -> None:
    made = book(limit("A", "buy", "3", "99"))
    events = made.submit(NewOrder("S", "S", "sell", "settle-position", D(2)), 2)
    assert Filled(1, "A", "S", D(99), D(2), "sell", "market", 2) in events


def test_a_post_only_order_that_would_take_is_refused() -> None:
    made = book(limit("A", "sell", "1", "101"))
    assert made.submit(limit("P", "buy", "1", "101", post_only=True), 2) == [
        Refused("P", "EOrder:Post only order", 2)
    ]
    assert reasons([*made.submit(limit("P", "buy", "1", "100.9", post_only=True), 2)]) == []


def test_a_live_id_cannot_be_given_twice_and_nothing_is_lost_by_trying() -> None:
    made = book(limit("A", "buy", "1", "99", time_in_force="GTD", expire_us=5))
    with pytest.raises(ValueError, match="A of XBT/USD is alive"):
        made.submit(limit("A", "buy", "1", "99"), 9)
    assert isinstance(made.expire(9)[0], Expired)


def test_what_ended_is_forgotten_and_its_id_is_free() -> None:
    made = book(limit("A", "buy", "1", "99"))
    made.cancel("A", 2)
    assert made.orders_of("A") == []
    assert isinstance(made.submit(limit("A", "buy", "1", "99"), 3)[0], Accepted)


# ---- self-trade prevention


@pytest.mark.parametrize(
    ("stp_type", "cancelled", "resting"),
    [
        ("cancel_newest", ["T"], ["A", "B"]),
        ("cancel_oldest", ["A"], []),
        ("cancel_both", ["A", "T"], ["B"]),
    ],
)
def test_an_owner_never_trades_with_himself(stp_type: str, cancelled: list[str], resting: list[str]) -> None:
    """Ann's order stands between a stranger's and her arriving one, which takes what comes before it."""
    made = book(
        limit("Z", "sell", "1", "100"), limit("A", "sell", "1", "101", "ann"), limit("B", "sell", "1", "102")
    )
    events = made.submit(limit("T", "buy", "2", "102", "ann", stp_type=stp_type), 2)
    assert events[1] == Filled(1, "Z", "T", D(100), D(1), "buy", "limit", 2)
    assert [e.order_id for e in events if isinstance(e, Canceled)] == cancelled
    assert {e.reason for e in events if isinstance(e, Canceled)} == {"Cannot trade with self"}
    assert [order_id for _, orders in made.state().asks for order_id, _ in orders] == resting


# ---- cancel, expire, replace


def test_a_cancelled_order_leaves_its_level() -> None:
    made = book(limit("A", "buy", "1", "99"), limit("B", "buy", "2", "99"))
    assert made.cancel("A", 4) == [
        Canceled("A", "User requested", D(1), 4),
        LevelChanged("buy", D(99), D(2), 4),
    ]
    assert made.cancel("A", 4) == [Refused("A", "EOrder:Unknown order", 4)]


def test_many_cancellations_change_each_level_once() -> None:
    made = book(
        limit("A", "buy", "1", "99", "ann"),
        limit("B", "buy", "2", "99", "ann"),
        limit("C", "sell", "1", "101"),
    )
    ids = [order.order_id for order in made.orders_of("ann")]
    assert made.cancel_many([*ids, "?"], 4, "Dead man") == [
        Refused("?", "EOrder:Unknown order", 4),
        Canceled("A", "Dead man", D(1), 4),
        Canceled("B", "Dead man", D(2), 4),
        LevelChanged("buy", D(99), D(0), 4),
    ]


def test_an_order_expires_before_anything_trades_with_it() -> None:
    made = book(limit("A", "sell", "1", "101", time_in_force="GTD", expire_us=10))
    assert made.next_expiry_us == 10
    assert made.expire(9) == []
    assert made.submit(market("T", "buy", "1"), 10)[:2] == [
        Expired("A", D(1), 10),
        LevelChanged("sell", D(101), D(0), 10),
    ]
    assert made.next_expiry_us is None


def test_orders_that_ended_early_do_not_pile_up_until_they_would_have_expired() -> None:
    made = engine()
    for number in range(1000):
        made.submit(limit(f"O{number}", "buy", "1", "99", time_in_force="GTD", expire_us=10**9), 1)
        made.cancel(f"O{number}", 1)
    assert len(made._run.live._expiries) < 100
    assert made.next_expiry_us is None


def test_a_replaced_order_is_cancelled_and_the_new_one_arrives_last() -> None:
    made = book(limit("A", "buy", "1", "99"), limit("B", "buy", "1", "99"))
    new = limit("C", "buy", "1", "99", "A")
    assert made.replace("A", new, 3) == [
        Canceled("A", "Order replaced", D(1), 3),
        LevelChanged("buy", D(99), D(1), 3),
        Accepted(new, 3),
        Rested("C", "buy", D(99), D(1), 3),
        LevelChanged("buy", D(99), D(2), 3),
    ]
    assert made.state().bids == [(D(99), [("B", D(1)), ("C", D(1))])]


def test_a_refused_replacement_leaves_the_old_order_alone() -> None:
    made = book(limit("A", "buy", "1", "99"))
    assert reasons([*made.replace("A", limit("B", "buy", "1", "99.05"), 3)]) == [
        "EOrder:Tick size check failed"
    ]
    assert reasons([*made.replace("?", limit("B", "buy", "1", "99"), 3)]) == ["EOrder:Unknown order"]
    assert made.state().bids == [(D(99), [("A", D(1))])]


# ---- amend


@pytest.mark.parametrize(
    ("change", "queue", "kept"),
    [
        ({"qty": D("0.5")}, ["A", "B"], True),
        ({"limit_price": D("99.0")}, ["A", "B"], True),
        ({"qty": D("1.5")}, ["B", "A"], False),
        ({"limit_price": D("99.1")}, ["A", "B"], False),
    ],
)
def test_only_less_of_the_same_price_keeps_its_place(
    change: dict[str, Decimal], queue: list[str], kept: bool
) -> None:
    made = book(limit("A", "buy", "1", "99"), limit("B", "buy", "1", "99"))
    events = made.amend("A", 4, **change)  # type: ignore[arg-type]
    assert isinstance(events[0], Amended)
    assert events[0].kept_priority == kept
    assert [order_id for _, orders in made.state().bids for order_id, _ in orders] == queue


def test_an_amended_quantity_counts_what_is_filled() -> None:
    made = book(limit("A", "sell", "3", "101"))
    made.submit(market("T", "buy", "1"), 2)
    assert made.amend("A", 4, qty=D(2)) == [
        Amended("A", D(2), D(1), D(101), None, True, 4),
        LevelChanged("sell", D(101), D(1), 4),
    ]
    assert made.amend("A", 5, qty=D("0.5")) == [
        Canceled("A", "Amended below filled quantity", D(1), 5),
        LevelChanged("sell", D(101), D(0), 5),
    ]


def test_an_order_amended_across_the_spread_takes() -> None:
    made = book(limit("A", "sell", "1", "101"), limit("B", "buy", "2", "99"))
    assert made.amend("B", 4, limit_price=D(101)) == [
        Amended("B", D(2), D(2), D(101), None, False, 4),
        LevelChanged("buy", D(99), D(0), 4),
        Filled(1, "A", "B", D(101), D(1), "buy", "limit", 4),
        Closed("A", D(0), 4),
        LevelChanged("sell", D(101), D(0), 4),
        Rested("B", "buy", D(101), D(1), 4),
        LevelChanged("buy", D(101), D(1), 4),
    ]


def test_a_post_only_amendment_that_would_take_changes_nothing() -> None:
    made = book(
        limit("A", "sell", "1", "101"),
        limit("B", "buy", "1", "99"),
        limit("P", "buy", "1", "98", post_only=True),
    )
    before = made.state()
    assert reasons([*made.amend("B", 4, limit_price=D(101), post_only=True)]) == ["EOrder:Post only order"]
    assert reasons([*made.amend("P", 4, limit_price=D(101))]) == ["EOrder:Post only order"]
    assert reasons([*made.amend("B", 4, limit_price=D("99.05"))]) == ["EOrder:Tick size check failed"]
    assert reasons([*made.amend("B", 4, trigger_price=D(99))]) == ["EGeneral:Invalid arguments:price"]
    assert reasons([*made.amend("?", 4, qty=D(1))]) == ["EOrder:Unknown order"]
    assert made.state() == before


# ---- triggers


@pytest.mark.parametrize(
    ("side", "kind", "trigger", "waits_at", "fires_at"),
    [
        ("sell", "stop-loss", "98", "98.1", "98"),
        ("buy", "stop-loss", "102", "101.9", "102.5"),
        ("sell", "take-profit", "102", "101.9", "102"),
        ("buy", "take-profit", "98", "98.1", "97.5"),
    ],
)
def test_a_trigger_fires_when_the_last_trade_reaches_it(
    side: str, kind: str, trigger: str, waits_at: str, fires_at: str
) -> None:
    made, new = engine(), stop("S", side, kind, trigger)
    assert made.submit(new, 1) == [Accepted(new, 1), Armed("S", D(trigger), 1)]
    assert not any(isinstance(e, Triggered) for e in trade_at(made, waits_at))
    events = trade_at(made, fires_at)
    assert events[-2:] == [
        Triggered("S", D(trigger), D(fires_at), None, 5),
        Canceled("S", "Insufficient liquidity", D(1), 5),
    ]


def test_a_trigger_that_is_reached_on_arrival_fires_at_once() -> None:
    made = book(limit("A", "buy", "1", "99"))
    events = made.submit(stop("S", "sell", "stop-loss", "100"), 2)
    assert events[1:3] == [
        Triggered("S", D(100), D(100), None, 2),
        Filled(1, "A", "S", D(99), D(1), "sell", "market", 2),
    ]


def test_a_triggered_limit_order_rests_at_its_limit_and_replays() -> None:
    made, log = engine(), []
    log += made.submit(stop("S", "sell", "stop-loss-limit", "98", limit_price=D("97.5")), 1)
    assert replay(log) == made.state()
    assert made.state().waiting == {"S": D(98)}
    log += made.submit(limit("b", "buy", "1", "98"), 2)
    log += made.submit(market("s", "sell", "1"), 3)
    assert log[-2] == Rested("S", "sell", D("97.5"), D(1), 3)
    assert replay(log) == made.state()
    assert made.cancel("S", 4)[0] == Canceled("S", "User requested", D(1), 4)


def test_one_sweep_sets_off_stops_in_the_order_of_their_prices_and_they_set_off_others() -> None:
    made = book(
        limit("B1", "buy", "1", "99"),
        limit("B2", "buy", "1", "98"),
        limit("B3", "buy", "9", "90"),
        stop("S3", "sell", "stop-loss", "91"),
        stop("S2", "sell", "stop-loss", "98"),
        stop("S1", "sell", "stop-loss", "99"),
    )
    events = made.submit(market("T", "sell", "2"), 5)
    assert [e.order_id for e in events if isinstance(e, Triggered)] == ["S1", "S2", "S3"]
    first = next(i for i, e in enumerate(events) if isinstance(e, Triggered))
    assert Closed("T", D(0), 5) in events[:first]
    assert made.levels("buy") == [(D(90), D(6), 5)]


def test_a_trailing_stop_follows_the_best_trade_and_fires_at_its_distance() -> None:
    made = book(limit("B", "buy", "5", "50"), stop("S", "sell", "trailing-stop", "+2"))
    assert made.state().waiting == {"S": D(98)}
    assert Armed("S", D(101), 5) in trade_at(made, "103")
    assert told(made, "S").peak == 103
    assert not any(isinstance(e, Armed | Triggered) for e in trade_at(made, "101.1"))
    assert Triggered("S", D(101), D(101), None, 5) in trade_at(made, "101")


def test_a_trailing_stop_that_buys_keeps_its_percentage_to_the_tick() -> None:
    made = engine()
    new = NewOrder("S", "S", "buy", "trailing-stop", D(1), trigger_price=Relative(D("1.5"), percent=True))
    assert made.submit(new, 1)[1] == Armed("S", D("101.5"), 1)
    assert Armed("S", D("90.4"), 5) in trade_at(made, "89.1")  # 90.4365


def test_the_limit_of_a_trailing_stop_limit_is_an_offset_from_where_it_fired() -> None:
    made = book(
        stop("S", "sell", "trailing-stop-limit", "+2", limit_price=Relative(D("-0.5"))),
    )
    assert Rested("S", "sell", D("97.5"), D(1), 5) in trade_at(made, "98")


def test_amending_a_waiting_order_moves_its_trigger() -> None:
    made = book(stop("S", "sell", "stop-loss-limit", "90", limit_price=D(89)))
    assert made.amend("S", 2, trigger_price=D(95), limit_price=D(94), qty=D(3)) == [
        Amended("S", D(3), D(3), D(94), D(95), True, 2),
        Armed("S", D(95), 2),
    ]
    assert made.amend("S", 3, trigger_price=D(100))[1:3] == [
        Triggered("S", D(100), D(100), D(94), 3),
        Rested("S", "sell", D(94), D(3), 3),
    ]


def test_an_amended_trailing_stop_keeps_the_extreme_it_has_seen() -> None:
    made = book(stop("S", "sell", "trailing-stop", "+9"))
    trade_at(made, "105")
    trade_at(made, "100")
    assert made.amend("S", 7, trigger_price=Relative(D(6)))[1] == Armed("S", D(99), 7)
    assert reasons([*made.amend("S", 8, trigger_price=D(99))]) == ["EGeneral:Invalid arguments:price"]


def test_a_waiting_order_expires() -> None:
    made = book(stop("S", "sell", "trailing-stop", "+9", time_in_force="GTD", expire_us=4))
    assert made.expire(4) == [Expired("S", D(1), 4)]
    assert not any(isinstance(e, Armed) for e in trade_at(made, "105"))


# ---- reduce-only and conditional close


def test_reduce_only_without_a_position_to_reduce_is_refused() -> None:
    made = engine(positions={"ann": D(2)})
    for owner, side in (("bob", "sell"), ("ann", "buy")):
        events = made.submit(limit("R", side, "1", "100", owner, reduce_only=True), 1)
        assert reasons([*events]) == ["EOrder:Reduce only:No position exists"]


def test_reduce_only_trades_what_the_position_holds_and_the_rest_is_cancelled() -> None:
    made = book(limit("A", "buy", "9", "99"), positions={"ann": D(2)})
    events = made.submit(market("R", "sell", "5", "ann", reduce_only=True), 2)
    assert [e.qty for e in events if isinstance(e, Filled)] == [D(2)]
    assert reasons([*events]) == ["EOrder:Reduce only:Position is closed"]


def test_the_rest_of_a_reduce_only_order_does_not_rest_once_the_position_is_closed() -> None:
    made = book(limit("A", "buy", "2", "99"), positions={"ann": D(2)})
    events = made.submit(limit("R", "sell", "5", "99", "ann", reduce_only=True), 2)
    assert reasons([*events]) == ["EOrder:Reduce only:Position is closed"]
    assert made.best_ask is None


def test_reduce_only_knows_the_fills_of_the_action_under_way() -> None:
    """One sweep meets two reduce-only orders, and a margin order that closes part of the position first."""
    made = book(
        limit("M", "sell", "1", "100", "ann", margin=True),
        limit("R1", "sell", "2", "101", "ann", reduce_only=True),
        limit("R2", "sell", "2", "102", "ann", reduce_only=True),
        positions={"ann": D("2.5")},
    )
    events = made.submit(limit("T", "buy", "9", "103"), 2)
    assert [(e.maker_id, e.qty) for e in events if isinstance(e, Filled)] == [("M", D(1)), ("R1", D("1.5"))]
    assert [(e.order_id, e.left) for e in events if isinstance(e, Canceled)] == [
        ("R1", D("0.5")),
        ("R2", D(2)),
    ]
    assert Rested("T", "buy", D(103), D("6.5"), 2) in events
    assert made.best_ask is None


def test_an_amended_order_that_ends_instead_of_resting_again_leaves_its_level() -> None:
    positions = {"ann": D(2)}
    made = book(limit("R", "sell", "1", "101", "ann", reduce_only=True), positions=positions)
    positions["ann"] = D(0)
    events = made.amend("R", 2, qty=D(2))
    assert LevelChanged("sell", D("101"), D(0), 2) in events
    assert made.levels("sell") == []


def test_reduce_only_that_triggers_after_the_position_is_gone_is_cancelled() -> None:
    positions = {"S": D(1)}
    made = book(stop("S", "sell", "stop-loss", "98", reduce_only=True), positions=positions)
    positions["S"] = D(0)
    assert reasons(trade_at(made, "98")) == ["EOrder:Reduce only:No position exists"]


def test_each_fill_asks_for_its_own_close_order() -> None:
    close = CloseOrder("take-profit", "#5%")
    made = book(limit("A", "sell", "1", "101"), limit("B", "sell", "2", "102", close=close))
    events = made.submit(limit("T", "buy", "2", "102", close=close), 2)
    assert [e for e in events if isinstance(e, CloseOrderDue)] == [
        CloseOrderDue("T", "sell", D(1), close, 2),
        CloseOrderDue("B", "buy", D(1), close, 2),
        CloseOrderDue("T", "sell", D(1), close, 2),
    ]


# ---- what is refused

REFUSED = [
    (limit("O", "up", "1", "100"), "EGeneral:Invalid arguments:type"),
    (NewOrder("O", "o", "buy", "iceberg", D(1), D(100)), "EGeneral:Invalid arguments:ordertype"),
    (limit("O", "buy", "0", "100"), "EGeneral:Invalid arguments:volume"),
    (limit("O", "buy", "-1", "100"), "EGeneral:Invalid arguments:volume"),
    (limit("O", "buy", "0.000000001", "100"), "EGeneral:Invalid arguments:volume"),
    (limit("O", "buy", "1e15", "100"), "EGeneral:Invalid arguments:volume"),
    (limit("O", "buy", "1e14", "1e14"), "EGeneral:Invalid arguments:volume"),
    (limit("O", "buy", "1", "100.05"), "EOrder:Tick size check failed"),
    (limit("O", "buy", "1", "0"), "EOrder:Invalid price"),
    (NewOrder("O", "o", "buy", "limit", D(1)), "EGeneral:Invalid arguments:price"),
    (NewOrder("O", "o", "buy", "limit", D(1), Relative(D(5))), "EGeneral:Invalid arguments:price"),
    (market("O", "buy", "1", limit_price=D(100)), "EGeneral:Invalid arguments:price"),
    (limit("O", "buy", "1", "100", trigger_price=D(100)), "EGeneral:Invalid arguments:price"),
    (stop("O", "buy", "stop-loss", "100.05"), "EOrder:Tick size check failed"),
    (stop("O", "buy", "stop-loss", "101", limit_price=D(100)), "EGeneral:Invalid arguments:price2"),
    (stop("O", "buy", "stop-loss-limit", "101"), "EGeneral:Invalid arguments:price2"),
    (stop("O", "buy", "stop-loss", "+5"), "EGeneral:Invalid arguments:price"),
    (stop("O", "buy", "trailing-stop", "101"), "EGeneral:Invalid arguments:price"),
    (stop("O", "buy", "trailing-stop", "+0"), "EGeneral:Invalid arguments:price"),
    (stop("O", "sell", "trailing-stop", "+100"), "EOrder:Invalid price"),
    (stop("O", "buy", "trailing-stop", "+5", limit_price=D(90)), "EGeneral:Invalid arguments:price2"),
    (stop("O", "buy", "trailing-stop-limit", "+5", limit_price=D(90)), "EGeneral:Invalid arguments:price2"),
    (limit("O", "buy", "1", "100", time_in_force="FOK"), "EGeneral:Invalid arguments:timeinforce"),
    (limit("O", "buy", "1", "100", time_in_force="GTD"), "EGeneral:Invalid arguments:expiretm"),
    (limit("O", "buy", "1", "100", expire_us=9), "EGeneral:Invalid arguments:expiretm"),
    (limit("O", "buy", "1", "100", time_in_force="GTD", expire_us=1), "EGeneral:Invalid arguments:expiretm"),
    (market("O", "buy", "1", post_only=True), "EGeneral:Invalid arguments:oflags"),
    (limit("O", "buy", "1", "100", post_only=True, time_in_force="IOC"), "EGeneral:Invalid arguments:oflags"),
    (market("O", "sell", "1", viqc=True), "EGeneral:Invalid arguments:oflags"),
    (market("O", "buy", "1", viqc=True, margin=True), "EGeneral:Invalid arguments:oflags"),
    (limit("O", "buy", "1", "100", viqc=True), "EGeneral:Invalid arguments:oflags"),
    (limit("O", "buy", "1", "100", stp_type="cancel-newest"), "EGeneral:Invalid arguments:stp_type"),
]


@pytest.mark.parametrize(("order", "error"), REFUSED)
def test_a_malformed_order_is_refused_in_krakens_words(order: NewOrder, error: str) -> None:
    made = engine()
    assert made.submit(order, 1) == [Refused("O", error, 1)]
    assert made.state() == engine().state()


def test_a_trailing_stop_needs_a_last_trade_to_start_from() -> None:
    events = engine(last=None).submit(stop("S", "sell", "trailing-stop", "+5"), 1)
    assert reasons([*events]) == ["EGeneral:Invalid arguments:Index unavailable"]


def test_a_stop_waits_for_the_first_trade_where_there_was_none() -> None:
    made = book(stop("S", "buy", "stop-loss", "1"), last=None)
    assert Triggered("S", D(1), D(7), None, 5) in trade_at(made, "7")


CLOSED = {
    LIMIT_ONLY: "EService:Market in limit_only mode",
    POST_ONLY: "EService:Market in post_only mode",
    CANCEL_ONLY: "EService:Market in cancel_only mode",
    MAINTENANCE: "EService:Unavailable",
}


@pytest.mark.parametrize(
    ("mode", "admitted"),
    [
        (LIMIT_ONLY, {"limit", "post", "amend", "amend across", "amend waiting", "cancel"}),
        (POST_ONLY, {"post", "amend", "cancel"}),
        (CANCEL_ONLY, {"cancel"}),
        (MAINTENANCE, set[str]()),
    ],
)
def test_each_mode_admits_what_it_says_and_refuses_the_rest_by_name(mode: str, admitted: set[str]) -> None:
    made = book(
        limit("A", "sell", "1", "101"), limit("B", "buy", "1", "99"), stop("S", "buy", "stop-loss", "120")
    )
    made.mode = mode
    answers = {
        "market": made.submit(market("1", "buy", "0.1"), 2),
        "stop": made.submit(stop("2", "buy", "stop-loss", "120"), 2),
        "limit": made.submit(limit("3", "buy", "0.1", "90"), 2),
        "post": made.submit(limit("4", "buy", "0.1", "90", post_only=True), 2),
        "amend": made.amend("B", 2, limit_price=D(98)),
        "amend across": made.amend("B", 2, limit_price=D(101), qty=D("0.5")),
        "amend waiting": made.amend("S", 2, trigger_price=D(130)),
        "cancel": made.cancel("A", 2),
    }
    if mode == LIMIT_ONLY:  # B has taken half of A
        assert [type(event) for event in answers["amend across"]].count(Filled) == 1
    refused = {
        name: reasons([*events])[0] for name, events in answers.items() if isinstance(events[0], Refused)
    }
    assert refused == dict.fromkeys(answers.keys() - admitted, CLOSED[mode])


def test_an_unknown_mode_is_a_defect_of_the_caller() -> None:
    made = engine()
    with pytest.raises(ValueError, match="no engine mode 'closed'"):
        made.mode = "closed"
    assert made.mode == ONLINE


# ---- relative prices


@pytest.mark.parametrize(
    ("text", "side", "kind", "price"),
    [
        ("9857.05", "buy", "limit", "9857.05"),
        ("+5", "sell", "stop-loss", "105"),
        ("-5", "buy", "limit", "95"),
        ("+1.23%", "buy", "limit", "101.2"),
        ("-0.25%", "buy", "limit", "99.8"),
        ("#5", "buy", "limit", "95"),
        ("#5", "sell", "limit", "105"),
        ("#5", "buy", "stop-loss", "105"),
        ("#5", "sell", "stop-loss", "95"),
        ("#5%", "buy", "take-profit", "95"),
        ("#5%", "sell", "take-profit-limit", "105"),
        ("+.05", "buy", "limit", "100"),
        ("+.15", "buy", "limit", "100.2"),
    ],
)
def test_a_relative_price_is_resolved_against_the_last_trade(
    text: str, side: str, kind: str, price: str
) -> None:
    assert resolve_price(text, D(100), side, kind, TICK) == D(price)


@pytest.mark.parametrize(
    "text", ["", "+", "%", "5%", "nan", "1e5", "1_0", "--5", "+-5", "+5%%", " 5", "٣", "."]
)
def test_what_is_no_price_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not a price"):
        resolve_price(text, D(100), "buy", "limit", TICK)


def test_a_price_needs_a_reference_and_to_be_above_zero() -> None:
    with pytest.raises(ValueError, match="relative to"):
        resolve_price("+5", None, "buy", "limit", TICK)
    assert resolve_price("5", None, "buy", "limit", TICK) == 5
    for text in ("-100", "-100%", "0"):
        with pytest.raises(ValueError, match="above zero"):
            resolve_price(text, D(100), "buy", "limit", TICK)


def test_distances_of_trailing_stops_start_with_a_plus_and_those_of_their_limits_with_either() -> None:
    assert parse_distance("+1.5%") == Relative(D("1.5"), percent=True)
    assert parse_distance("-0.5", signed=True) == Relative(D("-0.5"))
    for text, signed in (("-5", False), ("#5", True), ("5", True)):
        with pytest.raises(ValueError, match="should start with"):
            parse_distance(text, signed=signed)


# ---- the log


def test_events_go_to_json_and_back() -> None:
    made = engine()
    events = [
        *made.submit(limit("A", "sell", "0.00000001", "101", close=CloseOrder("limit", "+1")), 1),
        *made.submit(limit("T", "buy", "1", "101"), 2),
    ]
    kinds = Accepted | Rested | Filled | Closed | CloseOrderDue | LevelChanged
    lines = [json.encode(event) for event in events]
    assert (
        lines[1] == b'{"event":"Rested","order_id":"A","side":"sell","price":"101","left":"1E-8","time_us":1}'
    )
    decoder = json.Decoder(kinds)
    assert [decoder.decode(line) for line in lines] == events
    assert all(isinstance(event, Event) for event in events)
