"""Candles: where they begin and end, and what is kept of them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from krakenws.exchange.candles import DAY_MINUTES, INTERVALS, MINUTE_US, Candle, Candles

MIDNIGHT_US = 1_795_305_600_000_000  # 2026-11-22T00:00:00Z, a Sunday
DAY_US = DAY_MINUTES * MINUTE_US


def candles(*trades: tuple[int, int, int]) -> Candles:
    """Candles of trades given as (minutes since midnight, price, quantity)."""
    made = Candles()
    for minutes, price, qty in trades:
        made.trade(Decimal(price), Decimal(qty), MIDNIGHT_US + minutes * MINUTE_US)
    return made


def summary(candle: Candle | None) -> tuple[int, ...] | None:
    """Minutes from midnight to start and last trade, then open, high, low, close, quantity, cost, count."""
    if candle is None:
        return None
    times = ((at_us - MIDNIGHT_US) // MINUTE_US for at_us in (candle.start_us, candle.last_us))
    prices = (candle.open, candle.high, candle.low, candle.close, candle.qty, candle.cost)
    return (*times, *map(int, prices), candle.count)


def test_a_candle_sums_its_trades_up() -> None:
    made = candles((61, 10, 1), (62, 14, 2), (62, 8, 1), (64, 9, 4))
    assert summary(made.latest(5)) == (60, 64, 10, 14, 8, 9, 8, 82, 4)
    assert summary(made.latest(1)) == (64, 64, 9, 9, 9, 9, 4, 36, 1)


def test_a_candle_that_is_over_stays_the_latest_until_there_is_a_trade() -> None:
    made = candles((59, 10, 1))
    assert summary(made.latest(5)) == (55, 59, 10, 10, 10, 10, 1, 10, 1)
    made.trade(Decimal(11), Decimal(1), MIDNIGHT_US + 300 * MINUTE_US)
    assert summary(made.latest(5)) == (300, 300, 11, 11, 11, 11, 1, 11, 1)


def test_the_last_microsecond_of_a_minute_belongs_to_it() -> None:
    made = candles((0, 10, 1))
    made.trade(Decimal(11), Decimal(1), MIDNIGHT_US + MINUTE_US - 1)
    assert summary(made.latest(1)) == (0, 0, 10, 11, 10, 11, 2, 21, 2)


@pytest.mark.parametrize("interval", INTERVALS)
def test_before_the_first_trade_there_is_no_candle(interval: int) -> None:
    assert Candles().latest(interval) is None
    assert Candles().history(interval) == []
    assert Candles().today(MIDNIGHT_US) is Candles().last_day(MIDNIGHT_US) is None


def test_weeks_begin_on_thursday_as_multiples_since_1970() -> None:
    week = candles((0, 10, 1)).latest(10080)
    assert week is not None
    assert week.start_us == MIDNIGHT_US - 3 * DAY_US


def test_history_is_oldest_first_without_empty_candles_and_ends_with_the_latest() -> None:
    made = candles((0, 10, 1), (4, 11, 1), (17, 12, 1), (33, 13, 1))
    assert [summary(candle) for candle in made.history(5)] == [
        (0, 4, 10, 11, 10, 11, 2, 21, 2),
        (15, 17, 12, 12, 12, 12, 1, 12, 1),
        (30, 33, 13, 13, 13, 13, 1, 13, 1),
    ]
    assert len(made.history(1)) == 4


def test_history_keeps_720_candles_before_the_latest() -> None:
    made = candles(*((minute, 10, 1) for minute in range(0, 5 * 730, 5)))
    for interval in (1, 5):
        history = made.history(interval)
        assert len(history) == 721
        assert history[-1].start_us == MIDNIGHT_US + 5 * 729 * MINUTE_US


def test_today_begins_at_midnight_and_is_none_without_a_trade() -> None:
    made = candles((-1, 9, 1), (0, 10, 1), (5, 11, 1))
    assert summary(made.today(MIDNIGHT_US + 6 * MINUTE_US)) == (0, 5, 10, 11, 10, 11, 2, 21, 2)
    assert made.today(MIDNIGHT_US + DAY_US) is None


def test_24_hours_lose_a_trade_to_the_minute() -> None:
    made = candles((0, 10, 1), (1, 20, 1), (700, 30, 1))
    at_us = MIDNIGHT_US + DAY_US
    assert summary(made.last_day(at_us - 1)) == (0, 700, 10, 30, 10, 30, 3, 60, 3)
    assert summary(made.last_day(at_us)) == (1, 700, 20, 30, 20, 30, 2, 50, 2)
    assert summary(made.last_day(at_us + MINUTE_US)) == (2, 700, 30, 30, 30, 30, 1, 30, 1)
    assert made.last_day(at_us + 700 * MINUTE_US) is None


def test_24_hours_count_a_trade_as_soon_as_it_is_made() -> None:
    made = candles((0, 10, 1), (700, 30, 1))
    at_us = MIDNIGHT_US + 701 * MINUTE_US
    for count in (3, 4, 5):
        made.last_day(at_us)
        made.trade(Decimal(5), Decimal(1), at_us)
        day = made.last_day(at_us)
        assert day is not None
        assert day.count == count
        assert day.low == 5


def test_the_average_price_weighs_by_volume_and_is_0_without_any() -> None:
    minute = candles((0, 10, 1), (0, 20, 3)).minute
    assert minute is not None
    assert minute.vwap == Decimal("17.5")
    assert Candle(MIDNIGHT_US, Decimal(10)).vwap == 0


def test_a_year_of_trades_is_kept_in_bounded_memory() -> None:
    made = candles(*((minute, 10, 1) for minute in range(0, 525_600, 30)))
    assert sum(len(made.history(interval)) for interval in INTERVALS) < 720 * len(INTERVALS)
