"""Candles of every interval, the day so far and the last 24 hours, from one pair's trades.

Theory of this file
-------------------
A trade touches one candle, that of its minute. All other spans are whole numbers of minutes and start at
multiples of themselves since 1970, so a minute that is over is folded into the candle of each interval
(so days begin at 00:00 UTC and weeks on Thursday, as Kraken's do). What is asked for is that fold and the
running minute put together: an interval costs nothing until it is asked for, and trades cost no memory.

A candle exists once a trade fell into it; an interval without trades has none. The last 24 hours move on by
whole minutes. Trades come in order of time.

Source: v1.md 6.1 and 6.2; the 720 candles are REST `OHLC`'s.
"""

from __future__ import annotations

from collections import deque
from decimal import Decimal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

INTERVALS = (1, 5, 15, 30, 60, 240, 1440, 10080, 21600)
"""Minutes. Source: v1.md 5.4."""

MINUTE_US = 60_000_000
DAY_MINUTES = 1440
_DAY_US = DAY_MINUTES * MINUTE_US
_KEPT = 720
_ZERO = Decimal(0)


class Candle:
    """The trades of a span of time.

    Attributes:
        start_us: when the span begins, microseconds since 1970.
        last_us: when its last trade was.
        open: price of its first trade.
        high: highest price.
        low: lowest price.
        close: price of its last trade.
        qty: quantity traded, in the base asset.
        cost: sum of price times quantity, in the quote asset.
        count: number of trades.
    """

    __slots__ = ("close", "cost", "count", "high", "last_us", "low", "open", "qty", "start_us")

    def __init__(self, start_us: int, price: Decimal) -> None:
        self.start_us = start_us
        self.last_us = start_us
        self.open = self.high = self.low = self.close = price
        self.qty = self.cost = _ZERO
        self.count = 0

    @property
    def vwap(self) -> Decimal:
        """The volume weighted average price; 0 without a trade."""
        return self.cost / self.qty if self.qty else _ZERO

    def trade(self, price: Decimal, qty: Decimal, at_us: int) -> None:
        """Add a trade."""
        if price > self.high:
            self.high = price
        elif price < self.low:
            self.low = price
        self.close = price
        self.qty += qty
        self.cost += price * qty
        self.count += 1
        self.last_us = at_us

    def append(self, later: Candle) -> None:
        """Add the trades of a later candle."""
        self.high = max(self.high, later.high)
        self.low = min(self.low, later.low)
        self.close = later.close
        self.qty += later.qty
        self.cost += later.cost
        self.count += later.count
        self.last_us = later.last_us


def joined(candles: Iterable[Candle], start_us: int) -> Candle | None:
    """Return one candle of several, oldest first, under a start of its own; None of none."""
    whole: Candle | None = None
    for candle in candles:
        if whole is None:
            whole = Candle(start_us, candle.open)
        whole.append(candle)
    return whole


class Candles:
    """All candles of one pair.

    Attributes:
        minute: the latest minute that had a trade, or None before the first.
    """

    __slots__ = ("_closed", "_day", "_day_of", "_folded", "minute")

    def __init__(self) -> None:
        self.minute: Candle | None = None
        self._folded: dict[int, Candle] = {}  # by interval: of the minutes before `minute`
        self._closed: dict[int, deque[Candle]] = {
            interval: deque(maxlen=DAY_MINUTES if interval == 1 else _KEPT) for interval in INTERVALS
        }
        self._day: Candle | None = None
        self._day_of: tuple[int, int] | None = None

    def trade(self, price: Decimal, qty: Decimal, at_us: int) -> None:
        """Add a trade."""
        minute = self.minute
        if minute is None or at_us >= minute.start_us + MINUTE_US:
            if minute is not None:
                self._fold(minute)
            minute = self.minute = Candle(at_us - at_us % MINUTE_US, price)
        minute.trade(price, qty, at_us)

    def latest(self, interval: int) -> Candle | None:
        """Return the latest candle of an interval (minutes), closed or not; None before the first trade."""
        minute = self.minute
        if interval == 1 or minute is None:
            return minute
        start_us = minute.start_us - minute.start_us % (interval * MINUTE_US)
        folded = self._folded.get(interval)
        if folded is None or folded.start_us != start_us:
            return joined([minute], start_us)
        return joined([folded, minute], start_us)

    def history(self, interval: int) -> list[Candle]:
        """Return the candles of an interval, oldest first, at most 720 before the latest, which is last."""
        latest = self.latest(interval)
        if latest is None:
            return []
        candles = list(self._closed[interval])[-_KEPT:]
        folded = self._folded.get(interval)
        if folded is not None and folded.start_us != latest.start_us:
            candles.append(folded)
        return [*candles[-_KEPT:], latest]

    def today(self, now_us: int) -> Candle | None:
        """Return the candle of the day of `now_us`, which begins at 00:00 UTC; None when it had no trade."""
        day = self.latest(DAY_MINUTES)
        return day if day is not None and day.start_us == now_us - now_us % _DAY_US else None

    def last_day(self, now_us: int) -> Candle | None:
        """Return the 24 hours up to `now_us`, to the minute, as one candle; None when they had no trade."""
        minute = self.minute
        since_us = now_us - now_us % MINUTE_US + MINUTE_US - _DAY_US
        if minute is None or minute.start_us < since_us:
            return None
        if self._day_of != (since_us, minute.start_us):  # once a minute
            self._day_of = (since_us, minute.start_us)
            self._day = joined(
                (candle for candle in self._closed[1] if candle.start_us >= since_us), since_us
            )
        return joined([minute] if self._day is None else [self._day, minute], since_us)

    def _fold(self, minute: Candle) -> None:
        """Add a minute that is over to the candle of each interval."""
        self._closed[1].append(minute)
        for interval in INTERVALS[1:]:
            start_us = minute.start_us - minute.start_us % (interval * MINUTE_US)
            folded = self._folded.get(interval)
            if folded is not None and folded.start_us == start_us:
                folded.append(minute)
                continue
            if folded is not None:
                self._closed[interval].append(folded)
            started = self._folded[interval] = Candle(start_us, minute.open)
            started.append(minute)
