"""The desk on a market of its users alone: what triggers, changes and refusals do to their money."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.exchange.requests import Refusal
from tests.support.floor import START_US, Floor

if TYPE_CHECKING:
    from krakenws.exchange.records import OrderRecord

D = Decimal
RICH = {"ZUSD": D(10_000_000), "XXBT": D(100)}


class Trading(Floor):
    """With a whale who makes the market, and shorthands."""

    def __init__(self, **wealth: dict[str, Decimal]) -> None:
        super().__init__()
        for name, money in {"whale": RICH, "shark": RICH, **wealth}.items():
            self.open_account(name, money)
        self.now_us = START_US

    def add(self, owner: str, side: str, kind: str, volume: str, price: str = "", **more: Any) -> OrderRecord:
        fields = {"type": side, "ordertype": kind, "volume": volume, "price": price, **more}
        market: Any = self
        return self.desk.add(owner, market, fields, self.now_us)

    def edit(self, record: OrderRecord, **fields: Any) -> OrderRecord:
        market: Any = self
        fields = {"orderid": record.order_id, **fields}
        return self.desk.edit(record.owner, market, fields, self.now_us)[1]

    def amend(self, record: OrderRecord, **fields: Any) -> None:
        self.desk.amend(record.owner, {"txid": record.order_id, **fields}, self.now_us)

    def offer(self, *levels: tuple[str, str], side: str = "sell") -> None:
        for volume, price in levels:
            self.add("whale", side, "limit", volume, price)

    def points(self, owner: str) -> int:
        """What the rate counter shows."""
        return self.desk.files[owner].account.rate_counter("XBT/USD").count(self.now_us)


def refused(request: Any, *args: Any, **fields: Any) -> str:
    with pytest.raises(Refusal) as caught:
        request(*args, **fields)
    return caught.value.code


# ---- what triggers is paid for


def test_a_stop_that_buys_beyond_its_money_fills_as_far_as_it_goes_and_is_cancelled() -> None:
    """Support article "Canceled orders": it will fill as much as possible and then be canceled."""
    floor = Trading(poor={"ZUSD": D(10_100)})
    stop = floor.add("poor", "buy", "stop-loss", "0.1", "100500")
    floor.offer(("0.01", "100500"), ("0.05", "101000"), ("1", "150000"))
    floor.add("shark", "buy", "market", "0.01")
    account = floor.desk.files["poor"].account
    assert (stop.status, stop.reason) == ("canceled", "Insufficient funds")
    assert stop.filled == account.balance("XXBT") == D("0.08339172")
    assert 0 <= account.balance("ZUSD") < D("0.002")
    assert account.available("ZUSD") == account.balance("ZUSD")


def test_what_others_hold_is_not_spent_by_a_stop() -> None:
    floor = Trading(poor={"ZUSD": D(10_500)})
    resting = floor.add("poor", "buy", "limit", "0.01", "40000")
    stop = floor.add("poor", "buy", "stop-loss", "0.1", "100500")
    floor.offer(("0.01", "100500"), ("0.05", "120000"), ("0.001", "150000"), ("1", "150000"))
    floor.add("shark", "buy", "market", "0.01")
    account = floor.desk.files["poor"].account
    assert stop.reason == "Insufficient funds"
    assert account.hold(resting.order_id) == ("ZUSD", D("401.64"))
    assert D("401.64") <= account.balance("ZUSD") < D("401.642")


def test_what_a_stop_earns_is_there_for_the_next_one_of_the_same_action() -> None:
    floor = Trading(poor={"ZUSD": D(10_200), "XXBT": D("0.1")})
    floor.offer(("1", "99000"), side="buy")
    floor.add("poor", "sell", "take-profit", "0.1", "100500")
    second = floor.add("poor", "buy", "stop-loss", "0.1", "100500")
    floor.offer(("0.01", "100500"), ("1", "180000"))
    floor.add("shark", "buy", "market", "0.01")
    assert (second.status, second.filled) == ("closed", D("0.1"))
    assert floor.desk.files["poor"].account.balance("ZUSD") >= 0


def test_what_a_stop_held_is_there_for_the_next_one_of_the_same_action() -> None:
    floor = Trading(poor={"ZUSD": D(20_200), "XXBT": D("0.01")})
    floor.add("poor", "sell", "limit", "0.01", "101000")
    first = floor.add("poor", "buy", "stop-loss", "0.1", "100500")
    second = floor.add("poor", "buy", "stop-loss", "0.09", "100500", stp_type="cancel_oldest")
    floor.offer(("0.01", "100500"), ("1", "200000"))
    floor.add("shark", "buy", "market", "0.01")
    assert (first.status, first.reason) == ("canceled", "Cannot trade with self")
    assert (second.status, second.filled) == ("closed", D("0.09"))


def test_a_trailing_stop_limit_holds_for_the_limit_it_has_been_given_last() -> None:
    floor = Trading(user={"ZUSD": D(10_600)})
    stop = floor.add("user", "buy", "trailing-stop-limit", "0.1", "+500", price2="+1000")
    account = floor.desk.files["user"].account
    assert account.hold(stop.order_id) == ("ZUSD", D("0.1") * 101500 * D("1.0041"))
    floor.amend(stop, limit_price="+5000")
    assert account.hold(stop.order_id) == ("ZUSD", D("0.1") * 105500 * D("1.0041"))
    assert refused(floor.amend, stop, limit_price="+6000") == "EOrder:Insufficient funds"
    floor.offer(("0.01", "100500"), ("1", "105400"))
    floor.add("shark", "buy", "market", "0.01")
    assert (stop.status, stop.limit_price) == ("closed", D(105500))


def test_a_margin_order_that_has_not_the_margin_when_it_fires_is_cancelled() -> None:
    """Support article "Order canceled due to Insufficient margin"."""
    floor = Trading(poor={"ZUSD": D(2_500)})
    more = {"price2": "90000", "leverage": "5"}
    stop = floor.add("poor", "sell", "take-profit-limit", "0.1", "150000", **more)
    floor.offer(("1", "150000"), side="buy")
    floor.add("shark", "sell", "market", "0.01")
    assert (stop.status, stop.reason, stop.filled) == ("canceled", "Insufficient margin", D(0))
    assert floor.desk.files["poor"].account.held("ZUSD") == 0


def test_a_margin_stop_opens_what_its_margin_allows() -> None:
    floor = Trading(poor={"ZUSD": D(2_500)})
    stop = floor.add("poor", "buy", "stop-loss", "0.1", "100500", leverage="5")
    floor.offer(("0.01", "100500"), ("0.05", "120000"), ("1", "150000"))
    floor.add("shark", "buy", "market", "0.01")
    account = floor.desk.files["poor"].account
    assert (stop.status, stop.reason) == ("canceled", "Insufficient margin")
    assert account.position("XBT/USD") == stop.filled > D("0.05")
    assert 0 <= account.available("ZUSD") < D("0.001")


def test_what_closes_a_position_is_never_short_of_margin() -> None:
    floor = Trading(poor={"ZUSD": D(2_500)})
    floor.offer(("0.1", "100000"))
    floor.add("poor", "buy", "market", "0.1", leverage="5")
    stop = floor.add("poor", "sell", "stop-loss", "0.1", "99000", leverage="5", reduce_only=True)
    floor.offer(("0.01", "99000"), ("1", "60000"), side="buy")
    floor.add("shark", "sell", "market", "0.01")
    account = floor.desk.files["poor"].account
    assert (stop.status, account.position("XBT/USD")) == ("closed", D(0))
    assert account.balance("ZUSD") < 0, "a loss on margin leaves a debt"


def test_a_market_order_finds_the_book_that_its_hold_was_reckoned_with_or_stops() -> None:
    """A level that may only reduce has less than it shows, so the order goes further than was foreseen."""
    floor = Trading(poor={"ZUSD": D(10_080)})
    floor.offer(("0.05", "100000"))
    floor.add("shark", "buy", "market", "0.05", leverage="5")
    floor.add("shark", "sell", "limit", "0.1", "100000", leverage="5", reduce_only=True)
    floor.offer(("1", "150000"))
    order = floor.add("poor", "buy", "market", "0.1")
    assert (order.status, order.reason) == ("canceled", "Insufficient funds")
    assert 0 <= floor.desk.files["poor"].account.balance("ZUSD") < D("0.002")


# ---- what is refused changes nothing


def test_a_refused_change_leaves_the_order_what_it_holds_and_its_place_in_the_queue() -> None:
    floor = Trading(user={"ZUSD": D(2_000)}, rival=RICH)
    order = floor.add("user", "buy", "limit", "0.01", "90000", oflags="post")
    floor.add("rival", "buy", "limit", "0.01", "90000")
    floor.offer(("1", "110000"))
    before = floor.desk.files["user"].account.hold(order.order_id), floor.engine.state()
    floor.desk.files["user"].account.add_volume_usd(D(10_000), START_US)  # its fees would be lower now
    for change, fields, error in (
        (floor.edit, {"price": "110000"}, "EOrder:Post only order"),
        (floor.edit, {"volume": "0.1"}, "EOrder:Insufficient funds"),
        (floor.edit, {"volume": "0.00001"}, "EOrder:Order minimum not met"),
        (floor.amend, {"limit_price": "110000"}, "EOrder:Post only order"),
        (floor.amend, {"volume": "0.1"}, "EOrder:Insufficient funds"),
        (floor.amend, {"limit_price": "90000.05"}, None),
    ):
        code = refused(change, order, **fields)
        assert error is None or code == error
        account = floor.desk.files["user"].account
        assert (account.hold(order.order_id), floor.engine.state()) == before
        assert (order.status, account.open_orders("XBT/USD")) == ("open", 1)
    floor.edit(order, price="80000", validate=True)
    assert (floor.desk.files["user"].account.hold(order.order_id), floor.engine.state()) == before


def test_a_waiting_order_that_could_not_be_changed_holds_what_it_held_whatever_the_market_is_now() -> None:
    floor = Trading(user={"ZUSD": D(2_000)})
    stop = floor.add("user", "buy", "trailing-stop", "0.01", "+500")
    account = floor.desk.files["user"].account
    before = account.hold(stop.order_id)
    floor.offer(("0.01", "99000"))
    floor.add("shark", "buy", "market", "0.01")
    assert refused(floor.amend, stop, volume="0.5") == "EOrder:Insufficient funds"
    assert refused(floor.edit, stop, volume="0.5", price="+500") == "EOrder:Insufficient funds"
    assert account.hold(stop.order_id) == before
    assert floor.desk.files["user"].live == {stop.order_id: stop}


def test_validate_tells_what_the_engine_would() -> None:
    floor = Trading()
    floor.offer(("1", "101000"))
    limit = {"price": "101000", "validate": "true"}
    assert (
        refused(floor.add, "shark", "buy", "limit", "1", oflags="post", **limit) == "EOrder:Post only order"
    )
    reduce = {"leverage": "2", "reduce_only": True, **limit}
    error = "EOrder:Reduce only:No position exists"
    assert refused(floor.add, "shark", "buy", "limit", "1", **reduce) == error
    assert floor.add("shark", "buy", "limit", "1", **limit).order_id == ""
    assert floor.desk.files["shark"].account.held("ZUSD") == 0


# ---- reduce-only


def test_a_reduce_only_stop_is_taken_without_a_position_and_looks_for_one_when_it_fires() -> None:
    """Support article "Other order options": accepted even if no position exists when it is created."""
    floor = Trading()
    more = {"leverage": "2", "reduce_only": True}
    stop = floor.add("shark", "sell", "stop-loss", "0.1", "99000", **more)
    other = floor.add("whale", "sell", "stop-loss", "0.1", "98000", **more)
    floor.add("shark", "buy", "limit", "0.1", "100000", leverage="2")
    floor.add("whale", "sell", "limit", "0.1", "100000")
    floor.offer(("1", "99000"), ("1", "98000"), side="buy")
    floor.open_account("third", RICH)
    floor.add("third", "sell", "market", "0.01")
    assert (stop.status, stop.filled) == ("closed", D("0.1"))
    floor.add("third", "sell", "market", "1")
    assert (other.status, other.reason) == ("canceled", "EOrder:Reduce only:No position exists")


@pytest.mark.parametrize("how", ["market", "settle-position"])
def test_reduce_only_orders_in_the_book_end_once_their_position_is_closed(how: str) -> None:
    floor = Trading()
    floor.offer(("1", "100000"))
    floor.add("shark", "buy", "market", "0.1", leverage="2")
    resting = floor.add("shark", "sell", "limit", "0.1", "120000", leverage="2", reduce_only=True)
    floor.add("whale", "buy", "limit", "1", "99000")
    floor.add("shark", "sell", how, "0.1", leverage="2")
    assert (resting.status, resting.reason) == ("canceled", "EOrder:Reduce only:Position is closed")
    assert all(price != 120000 for price, _, _ in floor.engine.levels("sell"))


# ---- the rate counter


def test_a_refused_change_costs_its_fixed_part_alone() -> None:
    """v1.md 11: the fixed part is charged even if validation fails."""
    floor = Trading(user={"ZUSD": D(2_000)})
    order = floor.add("user", "buy", "limit", "0.01", "90000")
    assert floor.points("user") == 1
    refused(floor.add, "user", "buy", "limit", "9", "90000")
    refused(floor.add, "user", "buy", "limit", "0.01", "90000", deadline="2020-01-01T00:00:00Z")
    assert floor.points("user") == 3
    refused(floor.amend, order, volume="9")
    refused(floor.edit, order, volume="9")
    assert floor.points("user") == 5
    floor.amend(order, limit_price="80000")
    assert floor.points("user") == 5 + 1 + 3
    floor.edit(order, price="70000")
    assert floor.points("user") == 9 + 1 + 6


def test_an_amendment_that_cancels_the_rest_costs_what_a_cancellation_costs() -> None:
    """Guide "Spot Atomic Amends": it has the standard cancel rate limit penalty."""
    floor = Trading(user=RICH)
    order = floor.add("user", "buy", "limit", "0.01", "90000")
    floor.add("shark", "sell", "limit", "0.005", "90000")
    floor.amend(order, volume="0.005")
    assert (order.status, order.reason) == ("canceled", "Amended below filled quantity")
    assert floor.points("user") == 1 + 8


def test_the_example_of_kraken_adds_up() -> None:
    """v1.md 11: add, amend at 7 s, cancel 36 s later is 1 + (1 + 2) + 4 before decay."""
    from krakenws.exchange.ratecounter import Tier

    floor = Trading()
    floor.open_account("user", RICH, Tier("steady", 125, 0, 80))
    order = floor.add("user", "buy", "limit", "0.01", "90000")
    floor.now_us += 7_000_000
    floor.amend(order, limit_price="80000")
    floor.now_us += 36_000_000
    floor.desk.cancel(order, floor.now_us)
    assert floor.points("user") == 8
