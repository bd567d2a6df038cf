"""Makes `src/krakenws/exchange/demo_v1.jsonl`: a minute of three invented markets, every checksum right.

    python tools/make_demo_recording.py

The markets are random walks from a fixed seed; nothing in them was ever traded. Each event is a quote or a
trade, and ticker, trade, spread, candle and book always tell the same story about it.
"""

# ruff: noqa: D102, D103, INP001, S311 - a small script, and its randomness has to be repeatable

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from krakenws.core.book import Book

SEED = 20261122
BEGIN_S = 1795335600.0  # Sunday 2026-11-22 08:20:00 UTC
LENGTH_S = 60.0
EVENTS_PER_S = 5.0  # most make two frames, trades four or five
DEPTH = 10
LEVELS = 18  # kept outside the window too, so that levels leave it and come back
TARGET = Path(__file__).parents[1] / "src" / "krakenws" / "exchange" / "demo_v1.jsonl"


class Market:
    """One pair: prices in ticks, quantities in units of 10**-8."""

    def __init__(
        self,
        pair: str,
        *,
        number: int,
        mid: str,
        tick: str,
        decimals: int,
        typical_qty: float,
        rng: random.Random,
    ) -> None:
        self.pair = pair
        self.number = number
        self.rng = rng
        self.decimals = decimals
        self.tick = round(float(tick) * 10**decimals)
        self.typical_qty = typical_qty
        middle = round(float(mid) / float(tick))
        self.asks: dict[int, tuple[int, float]] = {}
        self.bids: dict[int, tuple[int, float]] = {}
        for side, direction in ((self.asks, 1), (self.bids, -1)):
            price = middle + (direction > 0)
            while len(side) < LEVELS:
                side[price] = (self.quantity(), BEGIN_S - rng.uniform(0, 40))
                price += direction * rng.choice((1, 1, 1, 2, 3, 5))
        self.book = Book(pair, DEPTH)
        self.seen: list[dict[int, tuple[int, float]]] = [{}, {}]
        self.best: tuple[object, ...] = ()
        self.last = (middle, self.quantity())
        open_24h = middle - round(middle * rng.uniform(-0.015, 0.015)) or middle
        self.open = (open_24h + round((middle - open_24h) * 0.6), open_24h)
        self.high = [max(middle, *self.open) + 20, max(middle, *self.open) + 45]
        self.low = [min(middle, *self.open) - 20, min(middle, *self.open) - 45]
        if min(self.low) <= middle * 0.9:  # few ticks to the price
            self.high = [max(middle, *self.open) + 1] * 2
            self.low = [min(middle, *self.open) - 1] * 2
        self.count = [rng.randrange(2000, 4000), rng.randrange(9000, 12000)]
        self.volume = [round(count * typical_qty * 0.6 * 1e8) for count in self.count]
        self.value = [volume * middle for volume in self.volume]
        self.candle: list[int] = []

    def quantity(self) -> int:
        return max(1000, round(self.rng.lognormvariate(0, 1.1) * self.typical_qty * 1e8))

    def price_text(self, ticks: int) -> str:
        return fixed(ticks * self.tick, self.decimals)

    def quote(self, now_s: float) -> list[str]:
        """Somebody places, changes or cancels an order: spread (when the best changed) and book frames."""
        for _ in range(self.rng.choice((1, 1, 1, 2))):
            side, direction = self.rng.choice(((self.asks, 1), (self.bids, -1)))
            best = min(side) if direction > 0 else max(side)
            other = max(self.bids) if direction > 0 else min(self.asks)
            choice = self.rng.random()
            if choice < 0.22 and len(side) > DEPTH + 2:
                del side[self.rng.choice(sorted(side, key=lambda price: abs(price - best))[:6])]
            elif choice < 0.32 and (other - best) * direction < -1:
                side[best - direction] = (self.quantity(), now_s)
            else:
                offset = min(int(self.rng.expovariate(0.25)), 22)
                side[best + direction * offset] = (self.quantity(), now_s)
        return [*self.spread_frame(now_s), *self.book_frame(now_s)]

    def trade(self, now_s: float) -> list[str]:
        """Somebody takes: trade, ticker, candle, and what it does to spread and book."""
        is_buy = self.rng.random() < 0.5
        side = self.asks if is_buy else self.bids
        left = round(self.quantity() * self.rng.uniform(0.2, 2.5))
        trades: list[list[str]] = []
        while left > 0 and len(side) > DEPTH + 1 and len(trades) < 3:
            price = min(side) if is_buy else max(side)
            qty = min(left, side[price][0])
            left -= qty
            rest = side[price][0] - qty
            if rest:
                side[price] = (rest, now_s)
            else:
                del side[price]
            trades.append(
                [self.price_text(price), fixed(qty, 8), seconds(now_s), "b" if is_buy else "s", "m", ""]
            )
            self.account(price, qty)
        if not trades:
            return self.quote(now_s)
        return [
            self.frame(1, trades, "trade"),
            self.ticker_frame(),
            self.candle_frame(now_s),
            *self.spread_frame(now_s),
            *self.book_frame(now_s),
        ]

    def account(self, price: int, qty: int) -> None:
        self.last = (price, qty)
        for day in (0, 1):
            self.volume[day] += qty
            self.value[day] += qty * price
            self.count[day] += 1
            self.high[day] = max(self.high[day], price)
            self.low[day] = min(self.low[day], price)
        if not self.candle:
            self.candle = [price, price, price, price, 0, 0, 0]
        open_, high, low, _, volume, value, count = self.candle
        self.candle = [
            open_, max(high, price), min(low, price), price, volume + qty, value + qty * price, count + 1,
        ]  # fmt: skip

    def ticker_frame(self) -> str:
        ask, bid = min(self.asks), max(self.bids)
        payload: dict[str, Any] = {
            "a": [self.price_text(ask), self.asks[ask][0] // 10**8, fixed(self.asks[ask][0], 8)],
            "b": [self.price_text(bid), self.bids[bid][0] // 10**8, fixed(self.bids[bid][0], 8)],
            "c": [self.price_text(self.last[0]), fixed(self.last[1], 8)],
            "v": [fixed(volume, 8) for volume in self.volume],
            "p": [self.vwap(value, volume) for value, volume in zip(self.value, self.volume, strict=True)],
            "t": self.count,
            "l": [self.price_text(price) for price in self.low],
            "h": [self.price_text(price) for price in self.high],
            "o": [self.price_text(price) for price in self.open],
        }
        return self.frame(4, payload, "ticker")

    def vwap(self, value: int, volume: int) -> str:
        return fixed(value * self.tick // volume, self.decimals)

    def candle_frame(self, now_s: float) -> str:
        open_, high, low, close, volume, value, count = self.candle
        prices = [self.price_text(price) for price in (open_, high, low, close)]
        end_s = now_s // 60 * 60 + 60
        payload = [seconds(now_s), seconds(end_s), *prices, self.vwap(value, volume), fixed(volume, 8), count]
        return self.frame(7, payload, "ohlc-1")

    def spread_frame(self, now_s: float) -> list[str]:
        ask, bid = min(self.asks), max(self.bids)
        best = (bid, self.bids[bid][0], ask, self.asks[ask][0])
        if best == self.best:
            return []
        self.best = best
        payload = [
            self.price_text(bid), self.price_text(ask), seconds(now_s),
            fixed(self.bids[bid][0], 8), fixed(self.asks[ask][0], 8),
        ]  # fmt: skip
        return [self.frame(5, payload, "spread")]

    def snapshot_frame(self) -> str:
        sides = [[self.level(price, side) for price in self.window(side)] for side in (self.asks, self.bids)]
        self.seen = [{price: side[price] for price in self.window(side)} for side in (self.asks, self.bids)]
        self.book.snapshot(*sides)
        return self.frame(0, {"as": sides[0], "bs": sides[1]}, f"book-{DEPTH}")

    def book_frame(self, now_s: float) -> list[str]:
        """What changed in the window; levels pushed out of it are not told, those that come back are "r"."""
        changes = [self.changes(0, self.asks, now_s), self.changes(1, self.bids, now_s)]
        if not any(changes):
            return []
        self.book.update(*changes)
        parts: list[dict[str, Any]] = [
            {name: levels} for name, levels in zip("ab", changes, strict=True) if levels
        ]
        parts[-1]["c"] = str(self.book.checksum())
        return [compact([16 * self.number, *parts, f"book-{DEPTH}", self.pair])]

    def changes(self, index: int, side: dict[int, tuple[int, float]], now_s: float) -> list[list[str]]:
        before, window = self.seen[index], self.window(side)
        gone = [
            [self.price_text(price), fixed(0, 8), seconds(now_s)] for price in before if price not in side
        ]
        told = []
        for price in window:
            if before.get(price) != side[price]:
                returns = price not in before and side[price][1] < now_s
                told.append([*self.level(price, side), *(["r"] if returns else [])])
        self.seen[index] = {price: side[price] for price in window}
        return gone + told

    def window(self, side: dict[int, tuple[int, float]]) -> list[int]:
        return sorted(side, reverse=side is self.bids)[:DEPTH]

    def level(self, price: int, side: dict[int, tuple[int, float]]) -> list[str]:
        qty, stamp = side[price]
        return [self.price_text(price), fixed(qty, 8), seconds(stamp)]

    def frame(self, kind: int, payload: object, channel: str) -> str:
        return compact([16 * self.number + kind, payload, channel, self.pair])


def fixed(units: int, decimals: int) -> str:
    whole, fraction = divmod(units, 10**decimals)
    return f"{whole}.{fraction:0{decimals}d}"


def seconds(time_s: float) -> str:
    return f"{time_s:.6f}"


def compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def recording(seed: int) -> list[tuple[float, str]]:
    """Return (seconds, frame), in order."""
    rng = random.Random(seed)
    markets = [
        Market("XBT/USD", number=21, mid="64010.1", tick="0.1", decimals=5, typical_qty=0.08, rng=rng),
        Market("ETH/EUR", number=54, mid="1531.42", tick="0.01", decimals=5, typical_qty=1.4, rng=rng),
        Market(
            "XDG/XBT",
            number=117,
            mid="0.00000151",
            tick="0.00000001",
            decimals=9,
            typical_qty=9000.0,
            rng=rng,
        ),
    ]
    now_s = BEGIN_S + 0.3
    frames = []
    for market in markets:
        frames += [(now_s, market.snapshot_frame()), (now_s, market.ticker_frame())]
        frames += [(now_s, frame) for frame in market.spread_frame(now_s)]
        now_s += 0.05
    while now_s < BEGIN_S + LENGTH_S:
        market = rng.choices(markets, (5, 4, 1))[0]
        event = market.trade if rng.random() < 0.35 else market.quote
        frames += [(now_s, frame) for frame in event(now_s - 0.02)]
        now_s += rng.expovariate(EVENTS_PER_S)
    return frames


def main() -> None:
    """Write the recording and say what it is."""
    frames = recording(SEED)
    lines = [compact({"t": f"{time_s:.6f}", "dir": "in", "frame": frame}) for time_s, frame in frames]
    TARGET.write_text("\n".join(lines) + "\n", encoding="ascii")
    print(f"{len(frames)} frames, {TARGET.stat().st_size} bytes, {len(frames) / LENGTH_S:.1f} frames/s")


if __name__ == "__main__":
    main()
