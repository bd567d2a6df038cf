"""The rate counter: what transactions cost, how it decays, when it refuses."""

from __future__ import annotations

import pytest

from krakenws.core.ratecounter import ADD, AMEND, BATCH_ADD, CANCEL, EDIT, half_points
from krakenws.exchange.ratecounter import (
    CALLS_EXCEEDED,
    INTERMEDIATE,
    PRO,
    STARTER,
    TIERS,
    CallCounter,
    RateCounter,
    Tier,
)
from krakenws.exchange.requests import Refusal

SECOND = 1_000_000
START = 1_700_000_000 * SECOND
FROZEN = Tier("frozen", 60, 0, 60)


@pytest.mark.parametrize(
    ("transaction", "points"),
    [
        (ADD, [1, 1, 1, 1, 1, 1, 1]),
        (AMEND, [4, 3, 2, 1, 1, 1, 1]),
        (EDIT, [7, 6, 5, 3, 2, 1, 1]),
        (CANCEL, [8, 6, 5, 4, 2, 1, 0]),
    ],
)
def test_a_transaction_costs_more_the_younger_its_order_is(transaction: str, points: list[int]) -> None:
    """The table of v1.md section 11, at the last instant of each column and the first of the next."""
    ages_s = [5, 10, 15, 45, 90, 300]
    last = [half_points(transaction, age * SECOND - 1) / 2 for age in ages_s]
    first = [half_points(transaction, age * SECOND) / 2 for age in ages_s]
    assert last == points[:6]
    assert first == points[1:]


def test_a_batch_of_adds_costs_half_a_point_each() -> None:
    assert half_points(BATCH_ADD, orders=15) == 15


def test_krakens_own_example_counts_to_eight() -> None:
    counter = RateCounter(FROZEN)
    counter.charge(START, ADD)
    counter.charge(START + 7 * SECOND, AMEND, 7 * SECOND)
    counter.charge(START + 43 * SECOND, CANCEL, 36 * SECOND)
    assert counter.count(START + 43 * SECOND) == 8


@pytest.mark.parametrize(("tier", "left"), [(STARTER, 50), (INTERMEDIATE, 102), (PRO, 143)])
def test_the_counter_decays_at_the_pace_of_its_tier(tier: Tier, left: int) -> None:
    """After ten seconds; 125 - 23.4 = 101.6 and 180 - 37.5 = 142.5 are told rounded up."""
    counter = RateCounter(tier)
    for _ in range(tier.ceiling):
        counter.charge(START, ADD)
    assert counter.count(START) == tier.ceiling
    assert counter.count(START + 10 * SECOND) == left
    assert counter.count(START + 1000 * SECOND) == 0


def test_over_the_ceiling_nothing_is_counted_and_waiting_helps() -> None:
    counter = RateCounter(STARTER)
    for _ in range(60):
        counter.charge(START, ADD)
    for _ in range(5):
        with pytest.raises(Refusal, match="EOrder:Rate limit exceeded"):
            counter.charge(START, ADD)
    with pytest.raises(Refusal):
        counter.charge(START + SECOND - 1, ADD)
    counter.charge(START + SECOND, ADD)
    assert counter.count(START + SECOND) == 60


def test_a_free_cancel_passes_at_the_ceiling() -> None:
    counter = RateCounter(STARTER)
    for _ in range(60):
        counter.charge(START, ADD)
    counter.charge(START, CANCEL, 300 * SECOND)


def test_a_clock_that_steps_back_neither_adds_nor_decays() -> None:
    counter = RateCounter(STARTER)
    counter.charge(START, ADD)
    assert counter.count(START - 100 * SECOND) == 1
    assert counter.count(START + SECOND) == 0


def test_tiers_are_found_by_name() -> None:
    assert {name: (tier.ceiling, tier.open_orders) for name, tier in TIERS.items()} == {
        "starter": (60, 60),
        "intermediate": (125, 80),
        "pro": (180, 225),
    }


def calls(counter: CallCounter, method: str, count: int, at_us: int = START) -> list[str]:
    """Make so many REST calls at once; what each was refused with."""
    told = []
    for _ in range(count):
        try:
            counter.charge(at_us, method)
            told.append("")
        except Refusal as refusal:
            told.append(refusal.code)
    return told


@pytest.mark.parametrize(
    ("tier", "method", "taken"),
    [
        (STARTER, "Balance", 15),
        (INTERMEDIATE, "Balance", 20),
        (PRO, "GetWebSocketsToken", 20),
        (INTERMEDIATE, "TradesHistory", 5),
    ],
)
def test_a_key_may_make_as_many_rest_calls_as_its_tier_allows(tier: Tier, method: str, taken: int) -> None:
    assert calls(CallCounter(tier), method, taken + 1) == [""] * taken + [CALLS_EXCEEDED]


@pytest.mark.parametrize(("tier", "seconds"), [(STARTER, 4), (INTERMEDIATE, 2), (PRO, 1)])
def test_calls_are_forgotten_at_the_pace_of_the_tier(tier: Tier, seconds: int) -> None:
    counter = CallCounter(tier)
    calls(counter, "Balance", tier.call_ceiling)
    assert calls(counter, "Balance", 2, START + seconds * SECOND) == ["", CALLS_EXCEEDED]


def test_who_goes_on_after_a_refusal_is_refused_for_longer_but_not_for_ever() -> None:
    counter = CallCounter(PRO)
    assert all(calls(counter, "Balance", 1000)[20:])
    assert calls(counter, "Balance", 1, START + 20 * SECOND) == [CALLS_EXCEEDED]
    assert calls(counter, "Balance", 1, START + 22 * SECOND) == [""]


def test_orders_by_rest_cost_no_calls_and_are_never_one_too_many() -> None:
    counter = CallCounter(STARTER)
    assert not any(calls(counter, "AddOrder", 50))
    assert calls(counter, "Balance", 16)[-1] == CALLS_EXCEEDED
    assert calls(counter, "CancelOrder", 1) == [""]
