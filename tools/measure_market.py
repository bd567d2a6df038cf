"""Prints how the sandbox's book-10 stream compares with captured ones: the table of `docs/market.md`.

    python tools/measure_market.py

Everything is measured on book-10 frames. Captures of another depth or API are put through the sandbox's own
`BookFeed` first, so that both halves of the table are counted by the same code; its frames equal captured
ones (tests/conformance). Captured frames are looked for in $KRAKENWS_CAPTURES or ../shared/captures.
"""

# ruff: noqa: D102, D103, INP001 - a small script

from __future__ import annotations

import json
import os
import time
from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from statistics import mean, median, pstdev
from typing import TYPE_CHECKING, Any

from krakenws.exchange.bookfeed import BookFeed
from krakenws.exchange.events import Filled, LevelChanged
from krakenws.exchange.instruments import INSTRUMENTS, Instrument
from krakenws.exchange.matching import Engine
from krakenws.exchange.traders import Traders, uniform

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from krakenws.exchange.events import EngineEvent

    Frame = tuple[float | None, str]  # seconds, text

SEED = 1
BEGIN_US = 1_795_324_223_000_000
WARM_UP, ACTIONS = 5_000, 20_000
CAPTURES = Path(os.environ.get("KRAKENWS_CAPTURES", Path(__file__).parents[2] / "shared" / "captures"))
SIDES = {"a": "sell", "b": "buy", "as": "sell", "bs": "buy"}

BOOK_1000, REPUBLISHED = "v1_book1000_four_pairs.jsonl", "v1_book10_xdgusd_republished.jsonl"
V2 = "v2_book10_trade_ethusd.jsonl"
# a captured pair, its file, its tick then, and the sandbox's pair of that character today
PAIRS = (
    ("ETH/USD", V2, "0.01", "ETH/USD"),
    ("XDG/USD", REPUBLISHED, "0.0000001", "XDG/USD"),
    ("SC/EUR", BOOK_1000, "0.00001", "XLM/EUR"),
    ("XBT/CHF", BOOK_1000, "0.1", "XBT/GBP"),
    ("ADA/XBT", BOOK_1000, "0.00000001", "USDT/USD"),
    ("GRT/ETH", BOOK_1000, "0.0000001", "ETH/CHF"),
)


class Count:
    """What a stream of book-10 frames is like."""

    def __init__(self, tick: str | Decimal) -> None:
        self.tick = Decimal(tick)
        self.books: dict[str, dict[Decimal, Decimal]] = {"a": {}, "b": {}}
        self.at_s: list[float] = []
        self.changes: list[int] = []
        self.kinds = dict.fromkeys(("new", "changed", "deleted", "republished"), 0)
        self.both = self.twice = 0
        self.spreads: list[Decimal] = []
        self.gaps: list[Decimal] = []
        self.levels: list[int] = []
        self.prices: list[Decimal] = []

    def add(self, frame: Frame) -> None:
        at_s, text = frame
        parts = json.loads(text)[1:-2]
        if "as" in parts[0]:
            for name, book in self.books.items():
                book.update((Decimal(level[0]), Decimal(level[1])) for level in parts[0][f"{name}s"])
            return
        if at_s is not None:
            self.at_s.append(at_s)
        levels = [(name, level) for part in parts for name in "ab" for level in part.get(name, ())]
        self.changes.append(len(levels))
        self.both += len({name for name, _ in levels}) == 2
        self.twice += len({(name, level[0]) for name, level in levels}) < len(levels)
        for name, level in levels:
            self.kinds[self._apply(self.books[name], level)] += 1
        self._measure()

    @staticmethod
    def _apply(book: dict[Decimal, Decimal], level: list[str]) -> str:
        price, qty = Decimal(level[0]), Decimal(level[1])
        if not qty:
            book.pop(price, None)
            return "deleted"
        stood, book[price] = price in book, qty
        return "republished" if len(level) > 3 else "changed" if stood else "new"

    def _measure(self) -> None:
        asks, bids = sorted(self.books["a"])[:10], sorted(self.books["b"], reverse=True)[:10]
        for name, prices in (("a", asks), ("b", bids)):
            self.books[name] = {price: self.books[name][price] for price in prices}
            self.gaps += (abs(one - other) for one, other in pairwise(prices))
            self.levels.append(len(prices))
        if asks and bids:
            self.spreads.append(asks[0] - bids[0])
            self.prices.append(asks[0])

    def facts(self) -> dict[str, str]:
        """Return what was counted, by name."""
        waits = [later - sooner for sooner, later in pairwise(self.at_s)]
        frames, changes = len(self.changes), sum(self.changes)
        bp = 10_000 / mean(self.prices)
        spread, gap = median(self.spreads), mean(self.gaps)
        return {
            "frames a second": f"{1 / mean(waits):.3g}",
            "time between frames, deviation / mean": f"{pstdev(waits) / mean(waits):.1f}",
            "changes a frame": f"{changes / frames:.2f}",
            **{f"{kind}, % of changes": f"{100 * count / changes:.0f}" for kind, count in self.kinds.items()},
            "frames of both sides, ‰": f"{1000 * self.both / frames:.1f}",
            "frames with a price twice, ‰": f"{1000 * self.twice / frames:.1f}",
            "spread, median, ticks": f"{spread / self.tick:.0f}",
            "spread, median, bp": f"{spread * bp:.2g}",
            "gap between levels, median, ticks": f"{median(self.gaps) / self.tick:.0f}",
            "gap between levels, mean, bp": f"{gap * bp:.2g}",
            "levels a side": f"{mean(self.levels):.1f}",
        }


# ---- the captures


def captured(pair: str, file: str) -> Iterator[Frame]:
    """Return a pair's captured book frames as book-10 frames of API v1, the snapshot first."""
    messages = (json.loads(line) for line in (CAPTURES / file).read_text().splitlines())
    frames = ((record["t"], json.loads(record["frame"])) for record in messages)
    if file == V2:
        return _from_v2(frame for _, frame in frames if frame.get("channel") == "book")
    books = ((t, frame) for t, frame in frames if isinstance(frame, list) and frame[-1] == pair)
    if file == BOOK_1000:
        return _from_depth_1000(pair, books)
    return ((max(float(e[2]) for e in _entries(frame)), json.dumps(frame)) for _, frame in books)


def _entries(frame: list[Any]) -> list[list[str]]:
    return [
        entry for part in frame[1:-2] for name, entries in part.items() if name != "c" for entry in entries
    ]


def _from_depth_1000(pair: str, books: Iterable[tuple[str, list[Any]]]) -> Iterator[Frame]:
    feed = BookFeed(pair, 0, 9, 8)
    for t, frame in books:
        for part in frame[1:-2]:
            for name, entries in part.items():
                for entry in entries if name != "c" else ():
                    at_us = int(entry[2].replace(".", ""))
                    feed.change(SIDES[name], Decimal(entry[0]), Decimal(entry[1]), at_us)
        if "as" in frame[1]:
            feed.open(10)
            yield float(t), feed.snapshot(10).decode()
        else:
            yield from ((float(t), made.decode()) for _, made in feed.frames())


def _from_v2(books: Iterable[dict[str, Any]]) -> Iterator[Frame]:
    """Write v2 as v1: a level that comes in at the window's end after a delete is one republished."""
    shown: dict[str, set[float]] = {"asks": set(), "bids": set()}
    for frame in books:
        data = frame["data"][0]
        parts: dict[str, list[list[str]]] = {}
        for side, prices in shown.items():
            sign = 1 if side == "asks" else -1
            room = False
            for entry in data[side]:
                price, qty = entry["price"], entry["qty"]
                again = room and price not in prices and all(sign * price > sign * one for one in prices)
                room = room or not qty
                (prices.add if qty else prices.discard)(price)
                parts.setdefault(side[0], []).append([str(price), str(qty), "", *(["r"] if again else [])])
            shown[side] = set(sorted(prices, reverse=side == "bids")[:10])
        if frame["type"] == "snapshot":
            parts = {f"{side}s": entries for side, entries in parts.items()}
        at_s = datetime.fromisoformat(data["timestamp"]).timestamp()
        yield at_s, json.dumps([0, parts, "book-10", "ETH/USD"])


# ---- the sandbox


class Market:
    """A pair of the sandbox, run through simulated time."""

    def __init__(self, instrument: Instrument) -> None:
        lot_size = Decimal(1).scaleb(-instrument.lot_decimals)
        self.engine = Engine(
            instrument.wsname,
            tick_size=instrument.tick_size,
            lot_size=lot_size,
            last_price=instrument.start_price,
        )
        self.traders = Traders(instrument, uniform(SEED, instrument.wsname))
        self.feed = BookFeed(instrument.wsname, 0, instrument.wire_price_decimals, 8)
        self.at_us = BEGIN_US
        self.trades = self.cpu_ns = 0

    def frames(self) -> Iterator[Frame]:
        self._take_in(self.traders.seed_book(self.engine, self.at_us))
        for _ in range(WARM_UP):
            self._act()
        self.trades = self.cpu_ns = 0
        self.feed.open(10)
        yield self.at_us / 1e6, self.feed.snapshot(10).decode()
        for _ in range(ACTIONS):
            self._act()
            yield from ((self.at_us / 1e6, frame.decode()) for _, frame in self.feed.frames())

    def _act(self) -> None:
        self.at_us += int(self.traders.next_s() * 1e6)
        began_ns = time.process_time_ns()
        events = self.traders.act(self.engine, self.at_us)
        self.cpu_ns += time.process_time_ns() - began_ns
        self._take_in(events)

    def _take_in(self, events: Iterable[EngineEvent]) -> None:
        for event in events:
            if isinstance(event, LevelChanged):
                self.feed.change(event.side, event.price, event.qty, event.time_us)
            elif isinstance(event, Filled):
                self.trades += 1


def sandbox(pair: str) -> tuple[dict[str, str], Market]:
    """Return a pair's facts, and its market after it was measured."""
    instrument = next(one for one in INSTRUMENTS if one.wsname == pair)
    market, count = Market(instrument), Count(instrument.tick_size)
    for frame in market.frames():
        count.add(frame)
    return count.facts(), market


def main() -> None:
    columns: list[list[str]] = []
    speeds: list[float] = []
    trades: list[float] = []
    names: list[str] = []
    for pair, file, tick, ours in PAIRS:
        count = Count(tick)
        for frame in captured(pair, file):
            count.add(frame)
        facts, market = sandbox(ours)
        names = list(facts)
        head = pair if pair == ours else f"{pair} · {ours}"
        cells = zip(count.facts().values(), facts.values(), strict=True)
        columns.append([head, "---", *(f"{theirs} · {mine}" for theirs, mine in cells)])
        speeds.append(market.cpu_ns / ACTIONS / 1000)
        trades.append(1000 * market.trades / ACTIONS)
    for row in zip(["captured · sandbox", "---", *names], *columns, strict=True):
        print(f"| {' | '.join(row)} |")
    print(f"\nOf 1,000 actions {min(trades):.0f} to {max(trades):.0f} are trades. ", end="")
    print(f"An action, matching included, takes {min(speeds):.0f} to {max(speeds):.0f} µs.")


if __name__ == "__main__":
    main()
