"""Audits a session: every public feed of a pair is rebuilt from its trades and its books, and compared.

What the exchange sends for one transaction comes together and in this order: trades, ticker, candles, books,
spread; intervals and depths ascending, if they were subscribed so. Trades alone say what candles and tickers
have to say of trades, books alone what the best prices are.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from heapq import nlargest, nsmallest
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Event = dict[str, Any]

MINUTE_US = 60_000_000
DAY_US = 1440 * MINUTE_US
STEP = Decimal("0.00001")
"""The wire's precision of prices on the pairs that are audited."""
_ORDER = {"trade": 0, "ticker": 1, "ohlc": 2, "book": 3, "spread": 4}


class Trade(NamedTuple):
    """One public trade."""

    price: Decimal
    qty: Decimal
    side: str
    ord_type: str
    at_us: int


def microseconds(timestamp: str) -> int:
    """Return an RFC 3339 time as microseconds since 1970."""
    since = datetime.fromisoformat(timestamp) - datetime(1970, 1, 1, tzinfo=UTC)
    return since.days * DAY_US + since.seconds * 1_000_000 + since.microseconds


def trades_of(event: Event) -> list[Trade]:
    """Return the trades of a `trade` event."""
    return [
        Trade(
            Decimal(row["price"]),
            Decimal(row["qty"]),
            row["side"],
            row["ord_type"],
            microseconds(row["timestamp"]),
        )
        for row in event["data"]
    ]


def summary(trades: list[Trade]) -> dict[str, Any]:
    """Return what a candle or a ticker says of trades, by the names of a candle."""
    qty = sum((trade.qty for trade in trades), Decimal(0))
    cost = sum((trade.price * trade.qty for trade in trades), Decimal(0))
    prices = [trade.price for trade in trades]
    return {
        "open": prices[0],
        "high": max(prices),
        "low": min(prices),
        "close": prices[-1],
        "trades": len(trades),
        "volume": qty,
        "vwap": (cost / qty).quantize(STEP),
    }


class _Side(dict[Decimal, Decimal]):
    """Levels of one side of a book: price to quantity."""

    def __init__(self, *, asks: bool) -> None:
        super().__init__()
        self._asks = asks

    def apply(self, rows: Iterable[dict[str, str]], depth: int) -> None:
        for row in rows:
            price, qty = Decimal(row["price"]), Decimal(row["qty"])
            if qty:
                self[price] = qty
            else:
                self.pop(price, None)
        if len(self) > depth:
            for price, _ in self.best()[depth:]:
                del self[price]

    def best(self, count: int | None = None) -> list[tuple[Decimal, Decimal]]:
        choose = nsmallest if self._asks else nlargest
        return choose(len(self) if count is None else count, self.items())


class Audit:
    """One pair's feeds as one client heard them.

    Args:
        before: the trades of the pair before the first one on the feed, since its market opened.

    Attributes:
        trades: those, and all on the feed.
        checked: how many were compared, by what was.
        tops: the ten best bids and asks after each frame that changed them, once all depths are there.
    """

    def __init__(self, before: Iterable[Trade] = ()) -> None:
        self.trades = list(before)
        self.checked = dict.fromkeys(("ticker", "ohlc", "spread", "books", "quotes"), 0)
        self.tops: list[tuple[object, object]] = []
        self._books: dict[int, tuple[_Side, _Side]] = {}
        self._quotes: Event | None = None
        self._last = (-1, 0)
        self._now: dict[str, Event] = {}

    def update(self, event: Event) -> None:
        """Take in one update of the pair, in the order in which they came."""
        channel = event["channel"]
        place = _ORDER[channel], self._rank(event)
        if place <= self._last:
            self.instant()
        self._last = place
        self._now[channel] = event
        read: Callable[[Event], None] = getattr(self, f"_{channel}")
        read(event)

    def _rank(self, event: Event) -> int:
        """Return the place of a book or a candle among those of its kind: books in the order they began."""
        depth = event.get("depth")
        if depth is None:
            return int(event.get("interval", 0))
        begun = [*self._books]
        return begun.index(depth) if depth in begun else len(begun)

    def instant(self) -> None:
        """Compare what is known between two transactions."""
        now, self._now, self._last = self._now, {}, (-1, 0)
        if not self._books:
            return
        *depths, deepest = sorted(self._books)
        asks, bids = (side.best(max(depths, default=10)) for side in self._books[deepest])
        for depth in depths:
            assert [side.best() for side in self._books[depth]] == [asks[:depth], bids[:depth]], (depth, now)
        self.checked["books"] += 1
        best = {}
        for name, side in (("ask", asks), ("bid", bids)):
            best[name], best[f"{name}_qty"] = side[0] if side else (Decimal(0), Decimal(0))
        top = bids[:10], asks[:10]
        if not self.tops or self.tops[-1] != top:
            self.tops.append(top)
        assert best["bid"] < best["ask"] or not asks or not bids
        ticker = now.get("ticker") if "trade" in now else None
        for quotes in (self._quotes, ticker):
            if quotes is not None:
                row = quotes["data"][0]
                assert {name: Decimal(row[name]) for name in best} == best, (quotes, now)
                self.checked["quotes"] += 1

    def _trade(self, event: Event) -> None:
        trades = trades_of(event)
        assert trades, event
        assert len({trade.at_us for trade in trades}) == 1, "trades of one transaction have one time"
        assert not self.trades or trades[0].at_us >= self.trades[-1].at_us
        self.trades += trades

    def _ticker(self, event: Event) -> None:
        (row,) = event["data"]
        at_us = self.trades[-1].at_us if "trade" in self._now else microseconds(event["received"])
        today = [trade for trade in self.trades if trade.at_us >= at_us - at_us % DAY_US]
        since_us = at_us - at_us % MINUTE_US + MINUTE_US - DAY_US
        day = [trade for trade in self.trades if trade.at_us >= since_us]
        for trades, suffix in ((today, "_today"), (day, "")):
            if trades:
                self._compare(
                    row, summary(trades), ("open", "high", "low", "trades", "volume", "vwap"), suffix
                )
        if self.trades:
            assert (Decimal(row["last"]), Decimal(row["last_qty"])) == self.trades[-1][:2]
        self.checked["ticker"] += 1

    def _ohlc(self, event: Event) -> None:
        (row,) = event["data"]
        begin_us, span_us = microseconds(row["interval_begin"]), event["interval"] * MINUTE_US
        assert begin_us % span_us == 0
        assert microseconds(row["timestamp"]) == begin_us + span_us
        trades = [trade for trade in self.trades if begin_us <= trade.at_us < begin_us + span_us]
        self._compare(row, summary(trades), ("open", "high", "low", "close", "trades", "volume", "vwap"))
        assert trades[-1] == self.trades[-1], "the candle is the one of the last trade"
        assert microseconds(row["last_update"]) == trades[-1].at_us
        self.checked["ohlc"] += 1

    def _spread(self, event: Event) -> None:
        assert self._quotes is None or self._quotes["data"] != event["data"]
        self._quotes = event
        if "trade" in self._now:
            assert microseconds(event["data"][0]["timestamp"]) == self.trades[-1].at_us
        self.checked["spread"] += 1

    def _book(self, event: Event) -> None:
        (row,), depth = event["data"], event["depth"]
        if event["type"] == "snapshot":
            self._books[depth] = _Side(asks=True), _Side(asks=False)
        else:
            assert event["trust"] == "verified", event
        for side, rows in zip(self._books[depth], (row["asks"], row["bids"]), strict=True):
            side.apply(rows, depth)

    @staticmethod
    def _compare(row: Event, rebuilt: Event, names: Iterable[str], suffix: str = "") -> None:
        told = {name: Decimal(row[name + suffix]) for name in names}
        assert told == {name: rebuilt[name] for name in names}, (row, suffix)
