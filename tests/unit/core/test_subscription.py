"""The states of one subscription, without a conversation around them."""

from __future__ import annotations

import pytest

from krakenws.core import v1_entries
from krakenws.core.dialect import Malformed
from krakenws.core.events import Gap, Route, Update
from krakenws.core.subscription import ASKED, BROKEN, LIVE, WANTED, Subscription
from krakenws.core.v1 import V1
from krakenws.options import Options

SNAPSHOT = b'[1,{"as":[["2","1"]],"bs":[["1","1"]]},"book-10","X/Y"]'
UPDATE = b'[1,{"b":[["1","2"]]},"book-10","X/Y"]'
WRONG = b'[1,{"b":[["1","2"]],"c":"7"},"book-10","X/Y"]'


def book(options: Options | None = None, *, adopted: bool = False) -> Subscription:
    route = Route(v1_entries.BOOK, {"depth": 10}, "book-10", "X/Y")
    return Subscription(route, options or Options(), adopted=adopted)


def ticker() -> Subscription:
    return Subscription(Route(v1_entries.TICKER, {}, "ticker", "X/Y"), Options())


def receive(subscription: Subscription, frame: bytes) -> list[type]:
    events = subscription.receive(frame, 5, 5.0, V1)
    return [type(event) for event in events]


def test_it_is_wanted_then_asked_then_live() -> None:
    subscription = ticker()
    assert (subscription.state, subscription.plain) == (WANTED, False)
    subscription.asked(5.0, 1)
    assert (subscription.state, subscription.due, subscription.tries) == (ASKED, 5.0, 1)
    assert subscription.confirmed(10.0)
    assert (subscription.state, subscription.due, subscription.plain) == (LIVE, None, True)
    assert not subscription.confirmed(10.0)


def test_only_what_owes_a_snapshot_is_due_after_its_ack() -> None:
    subscription = book()
    subscription.asked(5.0, 1)
    subscription.confirmed(10.0)
    assert (subscription.state, subscription.due, subscription.settled) == (LIVE, 10.0, False)
    assert receive(subscription, SNAPSHOT) == [Update]
    assert (subscription.due, subscription.tries, subscription.settled) == (None, 1, True)


def test_a_book_always_needs_a_look_and_a_ticker_never() -> None:
    assert book().needs_a_look
    assert not ticker().needs_a_look
    assert Subscription(Route(v1_entries.OPEN_ORDERS, {}, "openOrders", ""), Options()).needs_a_look


def test_data_of_what_was_not_asked_for_changes_nothing() -> None:
    subscription = ticker()
    assert receive(subscription, b"[]") == []
    assert subscription.state == WANTED


def test_too_busy_leaves_a_broken_subscription_broken() -> None:
    subscription = book()
    subscription.asked(5.0, 1)
    subscription.confirmed(10.0)
    receive(subscription, SNAPSHOT)
    assert receive(subscription, WRONG) == [Gap]
    subscription.later(7.0)
    assert (subscription.state, subscription.due) == (BROKEN, 7.0)
    asked = ticker()
    asked.asked(5.0, 1)
    asked.later(7.0)
    assert asked.state == WANTED


def test_a_broken_book_takes_nothing_but_a_snapshot() -> None:
    subscription = book()
    subscription.asked(5.0, 1)
    receive(subscription, SNAPSHOT)
    receive(subscription, WRONG)
    assert subscription.route.book is None
    assert not subscription.confirmed(10.0)
    assert receive(subscription, UPDATE) == []
    assert receive(subscription, SNAPSHOT) == [Gap, Update]
    assert subscription.route.book is not None


def test_an_adopted_book_passes_on_what_it_cannot_prove() -> None:
    assert receive(book(adopted=True), UPDATE) == [Update]
    assert receive(book(Options(book="top"), adopted=True), UPDATE) == []


def test_a_level_that_is_none_is_malformed() -> None:
    subscription = book()
    subscription.asked(5.0, 1)
    with pytest.raises(Malformed):
        receive(subscription, b'[1,{"as":[["x","1"]],"bs":[]},"book-10","X/Y"]')


def test_a_loss_before_any_ack_announces_no_gap() -> None:
    subscription = ticker()
    subscription.asked(5.0, 1)
    subscription.lost("cut", 3)
    subscription.asked(5.0, 2)
    assert receive(subscription, b"[]") == [Update]


def test_a_gap_that_is_announced_before_the_ack_ends_as_well() -> None:
    subscription = book()
    subscription.asked(5.0, 1)
    (gap,) = subscription.disproved("malformed", 5, 5.0)
    assert isinstance(gap, Gap)
    assert gap.to_ns is None
    subscription.confirmed(10.0)
    assert receive(subscription, SNAPSHOT) == [Gap, Update]
    assert subscription.tally.gaps == 1
