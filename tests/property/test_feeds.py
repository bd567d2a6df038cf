"""The public channels of a random market agree: with each other, naive arithmetic and the client's book.

Everything is judged from the frames alone, read by the client's own dialect; the naive sides are written from
v1.md 6.1 to 6.5 at any cost.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hypothesis import given, settings
from hypothesis import strategies as st

from krakenws.core.book import Book
from krakenws.core.v1 import V1
from krakenws.exchange.candles import INTERVALS
from krakenws.exchange.feeds import PublicFeeds
from krakenws.exchange.instruments import INSTRUMENTS, Instrument, find

if TYPE_CHECKING:
    from collections.abc import Sequence

    Level = tuple[str, int]
    Change = tuple[str, Decimal, Decimal, int]
    Trade = tuple[Decimal, Decimal, str, str, int]

START_US = 1_795_324_223_123_456
MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
DEPTHS = (2, 3, 10, 11)
"""Kraken has none below ten. Small windows overflow more often, but verify no checksum over ten levels."""

SIDES = st.sampled_from(["buy", "sell"])
QTYS = st.sampled_from([Decimal(0), Decimal(0), *map(Decimal, ("0.00000001", "0.5", "12", "1000.25"))])


def markets(prices: int) -> st.SearchStrategy[tuple[set[Level], list[list[tuple[str, int, Decimal]]]]]:
    """Return levels missing at first, then transactions, among so few prices that windows overflow, run short
    and see one price more than once in a frame.
    """
    ticks = st.integers(1, prices)
    changes = st.tuples(st.sampled_from(["buy", "sell", "sell", "sell"]), ticks, QTYS)
    return st.tuples(
        st.sets(st.tuples(SIDES, ticks), max_size=prices),
        st.lists(st.lists(changes, min_size=1, max_size=8), min_size=4, max_size=25),
    )


def instrument_named(name: str) -> Instrument:
    instrument = find(name)
    assert instrument is not None
    return instrument


class BookListener:
    """A client of one depth: its book, and what it may say about every frame."""

    def __init__(self, feeds: PublicFeeds, depth: int) -> None:
        self.feeds = feeds
        self.channel = f"book-{depth}"
        self.book = Book(feeds.instrument.wsname, depth)
        frame = feeds.snapshot(self.channel, START_US)
        assert frame is not None
        levels = V1.book(frame)
        assert levels.snapshot
        self.book.snapshot(levels.asks, levels.bids)
        feeds.open(self.channel)
        self.check()

    def hear(self, frame: bytes) -> None:
        changes = V1.book(frame)
        for side, held in ((changes.asks, self.book.asks()), (changes.bids, self.book.bids())):
            known = {price for price, _ in held}
            for price, qty, *_ in side:  # no stray delete
                assert Decimal(qty) or price in known
                (known.add if Decimal(qty) else known.discard)(price)
        self.book.update(changes.asks, changes.bids)
        assert self.book.depth < 10 or self.book.checksum() == changes.checksum

    def check(self) -> None:
        for side, levels in enumerate(self.feeds.book.levels(self.book.depth)):
            held = (self.book.asks(), self.book.bids())[side]
            assert held == [(price, qty) for price, qty, _ in levels]


def changes_of(
    instrument: Instrument, transaction: Sequence[tuple[str, int, Decimal]], at_us: int
) -> list[Change]:
    """Asks above the start price, bids below it."""
    return [
        (
            side,
            instrument.start_price + instrument.tick_size * (ticks if side == "sell" else -ticks),
            qty,
            at_us + number,
        )
        for number, (side, ticks, qty) in enumerate(transaction)
    ]


@settings(max_examples=200)
@given(
    st.sampled_from(INSTRUMENTS),
    markets(4) | markets(14),
    st.integers(0, 25),
)
def test_books_of_every_depth_verify_for_whoever_joins_whenever(
    instrument: Instrument,
    market: tuple[set[Level], list[list[tuple[str, int, Decimal]]]],
    joins_at: int,
) -> None:
    """Checksums, windows, and not one delete of a level that the client does not hold."""
    feeds = PublicFeeds(instrument)
    missing, transactions = market
    levels = [(side, ticks, Decimal(1)) for side in ("buy", "sell") for ticks in range(1, 15)]
    resting = [level for level in levels if level[:2] not in missing]
    feeds.levels_changed(changes_of(instrument, resting, START_US))
    assert feeds.frames(START_US) == []
    listeners = [BookListener(feeds, depth) for depth in DEPTHS]
    for number, transaction in enumerate(transactions):
        if number == joins_at:
            listeners.append(BookListener(feeds, 10))
        at_us = START_US + 1000 * (number + 1)
        feeds.levels_changed(changes_of(instrument, transaction, at_us))
        frames = feeds.frames(at_us)
        assert len(dict(frames)) == len(frames), "more than one frame a channel"
        for listener in listeners:
            frame = dict(frames).get(listener.channel)
            if frame is not None:
                listener.hear(frame)
            listener.check()


GAPS_US = st.sampled_from(
    [0, 1, 999_999, MINUTE_US // 2, MINUTE_US, 7 * MINUTE_US, 700 * MINUTE_US, DAY_US, 17 * DAY_US]
)
TRADES = st.lists(
    st.lists(st.tuples(st.integers(1, 9), st.integers(1, 10**10), SIDES, GAPS_US), min_size=1, max_size=4),
    max_size=15,
)


def naive_candles(trades: Sequence[Trade], interval: int) -> dict[int, list[Any]]:
    """By end of the span: [last time, end, open, high, low, close, cost, quantity, count]."""
    candles: dict[int, list[Any]] = {}
    span_us = interval * MINUTE_US
    for price, qty, _, _, at_us in trades:
        end_us = (at_us // span_us + 1) * span_us
        candle = candles.setdefault(
            end_us, [0, end_us, price, price, price, price, Decimal(0), Decimal(0), 0]
        )
        candle[0] = at_us
        candle[3], candle[4], candle[5] = max(candle[3], price), min(candle[4], price), price
        candle[6] += price * qty
        candle[7] += qty
        candle[8] += 1
    return candles


def microseconds(text: str) -> int:
    seconds, micro = text.split(".")
    assert len(micro) == 6
    return int(seconds) * 1_000_000 + int(micro)


def trades_in(frame: bytes) -> list[Trade]:
    sides, types = {"b": "buy", "s": "sell"}, {"m": "market", "l": "limit"}
    return [
        (Decimal(price), Decimal(qty), sides[side], types[type_], microseconds(time))
        for price, qty, time, side, type_, misc in json.loads(frame)[1]
        if misc == ""
    ]


def same_candle(shown: list[Any], candle: list[Any], instrument: Instrument) -> bool:
    last, end, *prices, vwap, qty, count = shown
    step = Decimal(1).scaleb(-instrument.wire_price_decimals)
    return (
        [microseconds(last), microseconds(end), *map(Decimal, prices)] == candle[:6]
        and abs(Decimal(vwap) - candle[6] / candle[7]) <= step / 2
        and [Decimal(qty), count] == candle[7:]
    )


class Listener:
    """A client of every channel: what it heard, and what must follow from it."""

    def __init__(self, feeds: PublicFeeds, now_us: int, trades_before: Sequence[Trade]) -> None:
        self.feeds = feeds
        self.instrument = feeds.instrument
        self.trades = list(trades_before)
        self.candles: dict[int, dict[int, list[Any]]] = {interval: {} for interval in INTERVALS}
        self.top = BookListener(feeds, 10)
        self.ticker: dict[str, Any] = {}
        for channel in ("trade", "spread", "ticker", *(f"ohlc-{interval}" for interval in INTERVALS)):
            feeds.open(channel)
            frame = feeds.snapshot(channel, now_us)
            assert (frame is None) == (
                channel in {"trade", "spread"} or ("ohlc" in channel and not self.trades)
            )
            if frame is not None:
                self.hear(channel, frame)
        self.check(now_us)

    def hear(self, channel: str, frame: bytes) -> None:
        message = json.loads(frame)
        assert message[-2:] == [channel, self.instrument.wsname]
        if channel == "trade":
            self.trades += trades_in(frame)
        elif channel == "ticker":
            self.ticker = message[1]
        elif channel.startswith("book"):
            self.top.hear(frame)
        elif channel.startswith("ohlc"):
            self.candles[int(channel[5:])][microseconds(message[1][1])] = message[1]
        else:
            assert channel == "spread"
            bid, ask, _, bid_qty, ask_qty = message[1]
            assert (self.top.book.best_bid() or self.nothing) == (bid, bid_qty)
            assert (self.top.book.best_ask() or self.nothing) == (ask, ask_qty)

    @property
    def nothing(self) -> tuple[str, str]:
        return "0." + "0" * self.instrument.wire_price_decimals, "0." + "0" * 8

    def check(self, now_us: int) -> None:
        """Compare candles and ticker with the trades, and the ticker with the book."""
        self.top.check()
        for interval, shown in self.candles.items():
            naive = naive_candles(self.trades, interval)
            assert set(shown) <= set(naive)
            assert sorted(naive)[-len(shown) :] == sorted(shown) or not shown
            assert all(same_candle(candle, naive[end], self.instrument) for end, candle in shown.items())
        ticker = self.ticker
        for name, level in (("a", self.top.book.best_ask()), ("b", self.top.book.best_bid())):
            price, qty = level or self.nothing
            assert ticker[name] == [price, int(Decimal(qty)), qty]
        if self.trades:
            assert list(map(Decimal, ticker["c"])) == list(self.trades[-1][:2])
        self.check_span(0, now_us - now_us % DAY_US)
        self.check_span(1, now_us - now_us % MINUTE_US + MINUTE_US - DAY_US)

    def check_span(self, which: int, since_us: int) -> None:
        """Check the ticker's day (0) or 24 hours (1)."""
        shown = {name: self.ticker[name][which] for name in "vptlho"}
        trades = [trade for trade in self.trades if trade[4] >= since_us]
        last = self.trades[-1][0] if self.trades else self.instrument.start_price
        prices = [trade[0] for trade in trades] or [last]
        qty = sum((trade[1] for trade in trades), Decimal(0))
        assert (Decimal(shown["v"]), shown["t"]) == (qty, len(trades))
        assert list(map(Decimal, (shown["l"], shown["h"], shown["o"]))) == [
            min(prices),
            max(prices),
            prices[0],
        ]
        cost = sum((trade[0] * trade[1] for trade in trades), Decimal(0))
        vwap = cost / qty if trades else Decimal(0)
        assert abs(Decimal(shown["p"]) - vwap) <= Decimal(1).scaleb(-self.instrument.wire_price_decimals) / 2


@given(st.sampled_from(["XBT/USD", "GRT/ETH", "XBT/JPY"]), TRADES, st.integers(0, 15))
def test_ticker_and_candles_follow_from_the_trades_for_whoever_joins_whenever(
    name: str, transactions: list[list[tuple[int, int, str, int]]], joins_at: int
) -> None:
    """Days without trades, candles closed in the middle of a transaction, spans of fifteen days."""
    instrument = instrument_named(name)
    feeds, now_us = PublicFeeds(instrument), START_US
    listeners = [Listener(feeds, now_us, [])]
    told: list[Trade] = []
    for number, transaction in enumerate(transactions):
        if number == joins_at:
            listeners.append(Listener(feeds, now_us, told))
        trades: list[Trade] = []
        for ticks, lots, side, gap_us in transaction:
            now_us += gap_us
            price = instrument.start_price + ticks * instrument.tick_size
            trades.append((price, Decimal(lots).scaleb(-8), side, "market", now_us))
        last = trades[-1]
        feeds.levels_changed([(last[2], last[0], last[1] if lots % 2 else Decimal(0), now_us)])
        feeds.traded(trades)
        told += trades
        frames = feeds.frames(now_us)
        for listener in listeners:
            for channel, frame in sorted(frames, key=lambda item: item[0] == "spread"):  # after its book
                listener.hear(channel, frame)
            assert listener.trades == told
            listener.check(now_us)
    for interval in INTERVALS:
        history = feeds.candles.history(interval)
        naive = naive_candles(told, interval)
        assert [candle.start_us + interval * MINUTE_US for candle in history] == list(naive)
        assert [[candle.cost, candle.qty, candle.count] for candle in history] == [
            candle[6:] for candle in naive.values()
        ]
