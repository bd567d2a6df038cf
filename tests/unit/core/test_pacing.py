"""Back-off, budgets and pace are arithmetic."""

from __future__ import annotations

import pytest

from krakenws.core.pacing import Backoff, Budget, Pace


def test_the_first_tries_are_instant_then_jittered_between_5_and_30_seconds() -> None:
    low, high = Backoff(lambda: 0.0), Backoff(lambda: 0.999)
    assert [low.next_delay() for _ in range(5)] == [0.0, 0.0, 1.0, 5.0, 5.0]
    assert [high.next_delay() for _ in range(4)][-1] == pytest.approx(29.975)


def test_a_polite_delay_is_at_least_what_is_asked() -> None:
    backoff = Backoff(lambda: 0.0)
    assert [backoff.next_delay(5.0) for _ in range(4)] == [5.0, 5.0, 5.0, 5.0]


def test_only_reset_makes_it_instant_again() -> None:
    backoff = Backoff(lambda: 0.0)
    for _ in range(5):
        backoff.next_delay()
    backoff.reset()
    assert backoff.next_delay() == 0.0


def test_a_budget_never_allows_more_than_its_limit_in_any_window() -> None:
    budget = Budget(3, 10.0)
    made: list[float] = []
    now = 0.0
    while len(made) < 50:
        wait = budget.spend(now)
        assert wait == budget.delay(now) or wait == 0.0
        if wait == 0.0:
            made.append(now)
            now += 0.7
        else:
            now += wait
    for at in made:
        assert sum(at - 10.0 + 1e-6 < other <= at for other in made) <= 3


def test_a_refused_attempt_costs_nothing() -> None:
    budget = Budget(1, 10.0)
    assert budget.spend(0.0) == 0.0
    assert budget.spend(4.0) == 6.0
    assert budget.spend(4.0) == 6.0
    assert budget.spend(10.0) == 0.0


def test_a_pace_lets_a_burst_through_and_then_its_rate() -> None:
    pace = Pace(rate=20.0, burst=10)
    times: list[float] = []
    now = 0.0
    while len(times) < 30:
        wait = pace.delay(now)
        if wait > 0.0:
            now += wait
        else:
            pace.spend()
            times.append(now)
    assert times[9] == 0.0
    assert times[29] == pytest.approx(1.0)


def test_a_pace_that_was_overdrawn_pays_back() -> None:
    pace = Pace(rate=10.0, burst=1)
    for _ in range(3):
        pace.spend()
    assert pace.delay(0.0) == pytest.approx(0.3)
    assert pace.delay(0.3) == pytest.approx(0.0)


def test_a_clock_that_steps_back_gives_nothing() -> None:
    pace = Pace(rate=10.0, burst=1)
    assert pace.delay(5.0) == 0.0
    pace.spend()
    assert pace.delay(1.0) == pytest.approx(0.1)
