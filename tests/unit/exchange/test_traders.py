"""The seeded market: the same from the same seed, always within the rules, neither empty nor boundless."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from statistics import mean, pstdev
from typing import TYPE_CHECKING

import pytest

from krakenws.exchange.events import Accepted, Filled, LevelChanged, Refused
from krakenws.exchange.feeds import PublicFeeds
from krakenws.exchange.instruments import DEEP, INSTRUMENTS, QUIET, THIN, find
from krakenws.exchange.matching import Engine
from krakenws.exchange.modes import CANCEL_ONLY, LIMIT_ONLY, MAINTENANCE, POST_ONLY
from krakenws.exchange.orders import BUY, LIMIT, MARKET, OPPOSITE, SELL, NewOrder
from krakenws.exchange.traders import CHARACTERS, OWNERS, Traders, uniform

if TYPE_CHECKING:
    from krakenws.exchange.events import EngineEvent
    from krakenws.exchange.instruments import Instrument

T = 1_795_324_223_123_456  # 2026-11-22T05:10:23.123456Z
by_pair = pytest.mark.parametrize("instrument", INSTRUMENTS, ids=lambda instrument: instrument.wsname)


def pair(name: str) -> Instrument:
    instrument = find(name)
    assert instrument is not None
    return instrument


class Market:
    """A pair with traders, an empty book and simulated time."""

    def __init__(self, instrument: Instrument, seed: int = 1) -> None:
        self.engine = Engine(
            instrument.wsname,
            tick_size=instrument.tick_size,
            lot_size=Decimal(1).scaleb(-instrument.lot_decimals),
            last_price=instrument.start_price,
        )
        self.traders = Traders(instrument, uniform(seed, instrument.wsname))
        self.at_us = T
        self.events = self.traders.seed_book(self.engine, T)

    def act(self) -> list[EngineEvent]:
        self.at_us += 1 + int(self.traders.next_s() * 1e6)
        events = self.traders.act(self.engine, self.at_us)
        self.events += events
        return events

    def run(self, actions: int) -> list[list[EngineEvent]]:
        return [self.act() for _ in range(actions)]

    def user(self, side: str, qty: str, price: str | None = None) -> list[EngineEvent]:
        kind, limit = (MARKET, None) if price is None else (LIMIT, Decimal(price))
        return self.engine.submit(NewOrder("OUSER", "user", side, kind, Decimal(qty), limit), self.at_us)

    def depth(self) -> tuple[int, int]:
        return len(self.engine.levels(BUY)), len(self.engine.levels(SELL))


def changed(events: list[EngineEvent]) -> list[tuple[str, Decimal]]:
    return [(event.side, event.price) for event in events if isinstance(event, LevelChanged)]


# ---- randomness


def test_numbers_are_in_the_unit_interval_and_evenly_spread() -> None:
    draw = uniform(1, "XBT/USD")
    numbers = [draw() for _ in range(20_000)]
    assert all(0 <= number < 1 for number in numbers)
    tenths = [sum(number // 0.1 == tenth for number in numbers) for tenth in range(10)]
    assert all(1_800 < count < 2_200 for count in tenths)


def test_neighbouring_seeds_and_other_names_give_other_numbers() -> None:
    first = [uniform(seed, name)() for seed in range(50) for name in ("XBT/USD", "XBT/EUR")]
    assert len(set(first)) == 100
    assert 0.4 < mean(first) < 0.6


def frames(seed: int) -> list[bytes]:
    """Everything that a public subscriber of one pair sees."""
    instrument = pair("LTC/USD")
    market, feeds = Market(instrument, seed), PublicFeeds(instrument)
    for channel in ("book-10", "trade", "ticker", "spread", "ohlc-1"):
        feeds.open(channel)
    seen: list[bytes] = []
    for events in (market.events, *market.run(1_500)):
        feeds.levels_changed(
            [(e.side, e.price, e.qty, e.time_us) for e in events if isinstance(e, LevelChanged)]
        )
        feeds.traded(
            [(e.price, e.qty, e.taker_side, e.taker_type, e.time_us) for e in events if isinstance(e, Filled)]
        )
        seen += (frame for _, frame in feeds.frames(market.at_us))
    return seen


def test_the_same_seed_is_the_same_market_byte_for_byte() -> None:
    assert frames(7) == frames(7)


def test_another_seed_is_another_market() -> None:
    assert frames(7) != frames(8)


def test_gaps_between_actions_have_the_mean_asked_for_and_come_in_clusters() -> None:
    traders = Traders(pair("XBT/USD"), uniform(1, "XBT/USD"), 50.0)
    gaps = [traders.next_s() for _ in range(30_000)]
    assert mean(gaps) == pytest.approx(1 / 50, rel=0.05)
    assert 1.7 < pstdev(gaps) / mean(gaps) < 2.1  # one by one at random would be 1


# ---- the book they begin with


@by_pair
def test_the_first_book_fits_the_pair(instrument: Instrument) -> None:
    bids, asks = Market(instrument).depth()
    if instrument.liquidity == QUIET:
        assert 2 <= bids < 10
        assert asks == 1
    elif instrument.liquidity == THIN:
        assert 2 <= bids < 10
        assert 2 <= asks < 10
    else:
        assert min(bids, asks) > (800 if instrument.liquidity == DEEP else 100)


@pytest.mark.parametrize("name", ["XBT/USD", "ETH/USD", "XDG/USD", "XBT/EUR"])
def test_several_pairs_fill_and_keep_a_depth_of_a_thousand(name: str) -> None:
    market = Market(pair(name))
    assert min(market.depth()) >= 1_000
    market.run(5_000)
    assert min(market.depth()) >= 1_000


def test_the_first_book_is_dated_over_the_hour_before() -> None:
    times = [event.time_us for event in Market(pair("XBT/USD")).events]
    assert times == sorted(times)
    assert T - 3_600_000_000 <= times[0] < T - 3_000_000_000
    assert times[-1] == T


# ---- what they do


@by_pair
def test_every_action_keeps_the_rules_and_the_book(instrument: Instrument) -> None:
    """No order of theirs is refused, so all are on tick and lot; the book is neither crossed nor empty."""
    market = Market(instrument)
    empty = 0
    for events in (market.events, *(market.act() for _ in range(800))):
        assert not any(isinstance(event, Refused) for event in events)
        assert all(event.order.owner in OWNERS for event in events if isinstance(event, Accepted))
        bid, ask = market.engine.best_bid, market.engine.best_ask
        empty = empty + 1 if bid is None or ask is None else 0
        assert empty < 3, "an empty side is quoted again at once"
        if bid is not None and ask is not None:
            assert bid[0] < ask[0]


@pytest.mark.parametrize("name", ["USDT/USD", "LTC/USD", "XBT/CHF", "KSM/XBT", "MLN/EUR"])
def test_the_number_of_orders_stays_about_the_same(name: str) -> None:
    market = Market(pair(name))
    character = CHARACTERS[pair(name).liquidity]
    expected = sum(character.near) + 2 * character.far
    for _ in range(10):
        market.run(1_000)
        assert expected * 0.5 < sum(len(market.engine.orders_of(owner)) for owner in OWNERS) < expected * 1.5


def test_a_thin_book_never_fills_a_window_of_ten() -> None:
    market = Market(pair("XBT/CHF"))
    for _ in range(3_000):
        market.act()
        assert max(market.depth()) < 10


def test_both_sides_change_together_rarely() -> None:
    transactions = Market(pair("LTC/USD")).run(20_000)
    both = sum(len({side for side, _ in changed(events)}) == 2 for events in transactions)
    assert 2 <= both <= 60


def test_a_price_changes_several_times_in_one_transaction_now_and_then() -> None:
    changes = [changed(events) for events in Market(pair("LTC/USD")).run(5_000)]
    assert any(max(map(one.count, one), default=0) >= 3 for one in changes)


def test_takers_trade_in_clusters_of_one_direction_and_sweep_levels() -> None:
    transactions = Market(pair("XBT/USD")).run(20_000)
    trades = [[event for event in events if isinstance(event, Filled)] for events in transactions]
    took = [(at, fills[0].taker_side) for at, fills in enumerate(trades) if fills]
    close = [(side, later) for (at, side), (next_at, later) in pairwise(took) if next_at - at < 3]
    assert len(close) > 1.5 * 2 * len(took) ** 2 / len(transactions)  # twice what chance makes
    assert sum(side == later for side, later in close) > 0.55 * len(close)
    assert any(len({fill.price for fill in fills}) >= 3 for fills in trades)
    assert {fill.taker_type for fills in trades for fill in fills} == {LIMIT, MARKET}


def test_the_price_moves_but_does_not_run_away() -> None:
    market = Market(pair("LTC/USD"))
    start = pair("LTC/USD").start_price
    prices = {event.price for events in market.run(20_000) for event in events if isinstance(event, Filled)}
    assert len(prices) > 20
    assert all(start * Decimal("0.9") < price < start * Decimal("1.1") for price in prices)


# ---- beside users


@pytest.mark.parametrize("name", ["XBT/USD", "ADA/XBT", "MLN/EUR"])
@pytest.mark.parametrize("side", [BUY, SELL])
def test_a_user_who_empties_a_side_finds_it_quoted_again(name: str, side: str) -> None:
    market = Market(pair(name))
    market.user(side, "100000000")
    assert not market.engine.levels(OPPOSITE[side])
    market.act()
    assert market.engine.levels(OPPOSITE[side])
    market.run(500)
    orders = [order for owner in OWNERS for order in market.engine.orders_of(owner)]
    expected = CHARACTERS[pair(name).liquidity].near[side == BUY]
    assert sum(order.side == OPPOSITE[side] for order in orders) >= expected / 2


@pytest.mark.parametrize(("side", "price"), [(BUY, "100000"), (SELL, "1"), (SELL, "0.1")])
def test_a_user_who_offers_more_than_the_fair_price_is_filled(side: str, price: str) -> None:
    market = Market(pair("XBT/USD"))
    market.user(side, "1000000", price)
    assert market.engine.order("OUSER") is not None
    market.run(30)
    assert market.engine.order("OUSER") is None
    market.run(300)
    assert min(market.depth()) >= 10


def test_a_users_quote_at_the_best_price_is_taken_in_time() -> None:
    market = Market(pair("XBT/USD"))
    market.run(100)
    best = market.engine.best_bid
    assert best is not None
    market.user(BUY, "0.001", str(best[0] + Decimal("0.1")))
    market.run(3_000)
    assert market.engine.order("OUSER") is None


# ---- in other modes


@pytest.mark.parametrize("mode", [CANCEL_ONLY, MAINTENANCE])
def test_nobody_acts_when_nobody_can_trade(mode: str) -> None:
    market = Market(pair("LTC/USD"))
    market.engine.mode = mode
    assert not any(market.run(200))


@pytest.mark.parametrize(("mode", "traded"), [(POST_ONLY, False), (LIMIT_ONLY, True)])
def test_in_restricted_modes_they_do_only_what_is_admitted(mode: str, traded: bool) -> None:
    market = Market(pair("LTC/USD"))
    market.engine.mode = mode
    events = [event for events in market.run(3_000) for event in events]
    assert events
    assert not any(isinstance(event, Refused) for event in events)
    assert any(isinstance(event, Filled) for event in events) is traded
