"""What a verified v1 book update costs: krakenws's `Book` beside what one would write or install instead.

    PYTHONPATH=src python benchmarks/book.py [DEPTH]

Every book gets the same frames, made here, and must find the same checksums. Then they take turns, and the
best of their rounds counts: read the ratios, microseconds belong to one machine. Last come the time of a
whole snapshot and the memory of a level, for the deepest book. With a DEPTH, microseconds come as JSON.
"""
# ruff: noqa: D102 - every book has the three methods of Verifiable

from __future__ import annotations

import importlib
import json
import random
import sys
import time
import tracemalloc
from bisect import bisect_left, insort
from decimal import Decimal
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol
from zlib import crc32

from krakenws.core.book import Book

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Levels = list[tuple[str, ...]]
    Frame = tuple[Levels, Levels]

DEPTHS = (10, 100, 1000)
FRAMES = 2000
ROUNDS = 9


class Verifiable(Protocol):
    """What all books here do: take a snapshot, apply a frame, tell the checksum."""

    def snapshot(self, asks: Levels, bids: Levels) -> None: ...
    def update(self, asks: Levels, bids: Levels) -> None: ...
    def checksum(self) -> int: ...


def checksum_of(levels: Iterable[tuple[str, str]]) -> int:
    text = "".join(
        price.replace(".", "").lstrip("0") + qty.replace(".", "").lstrip("0") for price, qty in levels
    )
    return crc32(text.encode())


class SortingBook:
    """A dict a side, sorted whenever order is needed: the first thing one writes."""

    def __init__(self, depth: int) -> None:
        self.depth = depth

    def snapshot(self, asks: Levels, bids: Levels) -> None:
        self.sides: tuple[dict[float, tuple[str, str]], dict[float, tuple[str, str]]] = ({}, {})
        self.update(asks, bids)

    def update(self, asks: Levels, bids: Levels) -> None:
        for side, changes, sign in zip(self.sides, (asks, bids), (1, -1), strict=True):
            for price, qty, *_ in changes:
                key = sign * float(price)
                if float(qty):
                    side[key] = (price, qty)
                else:
                    side.pop(key, None)
            for key in sorted(side)[self.depth :]:
                del side[key]

    def checksum(self) -> int:
        return checksum_of(side[key] for side in self.sides for key in sorted(side)[:10])


class BisectingBook(SortingBook):
    """A dict a side beside a sorted list of its keys."""

    def snapshot(self, asks: Levels, bids: Levels) -> None:
        self.keys: tuple[list[float], list[float]] = ([], [])
        super().snapshot(asks, bids)

    def update(self, asks: Levels, bids: Levels) -> None:
        for side, keys, changes, sign in zip(self.sides, self.keys, (asks, bids), (1, -1), strict=True):
            for price, qty, *_ in changes:
                key = sign * float(price)
                if float(qty):
                    if key not in side:
                        insort(keys, key)
                    side[key] = (price, qty)
                elif key in side:
                    del side[key], keys[bisect_left(keys, key)]
            while len(keys) > self.depth:
                del side[keys.pop()]

    def checksum(self) -> int:
        return checksum_of(
            side[key] for side, keys in zip(self.sides, self.keys, strict=True) for key in keys[:10]
        )


class SortedDictBook(SortingBook):
    """A `sortedcontainers.SortedDict` a side."""

    def snapshot(self, asks: Levels, bids: Levels) -> None:
        sorted_dict: Any = importlib.import_module("sortedcontainers").SortedDict
        self.sorted: tuple[Any, Any] = (sorted_dict(), sorted_dict())
        self.update(asks, bids)

    def update(self, asks: Levels, bids: Levels) -> None:
        for side, changes, sign in zip(self.sorted, (asks, bids), (1, -1), strict=True):
            for price, qty, *_ in changes:
                key = sign * float(price)
                if float(qty):
                    side[key] = (price, qty)
                else:
                    side.pop(key, None)
            while len(side) > self.depth:
                side.popitem()

    def checksum(self) -> int:
        return checksum_of(level for side in self.sorted for level in side.values()[:10])


class OrderBookBook:
    """The library `order-book`, written in C, as cryptofeed uses it."""

    def __init__(self, depth: int) -> None:
        self.depth = depth

    def snapshot(self, asks: Levels, bids: Levels) -> None:
        self.book: Any = importlib.import_module("order_book").OrderBook(
            max_depth=self.depth, checksum_format="KRAKEN", max_depth_strict=self.depth != DEPTHS[-1]
        )
        self.update(asks, bids)

    def update(self, asks: Levels, bids: Levels) -> None:
        for side, changes in ((self.book.asks, asks), (self.book.bids, bids)):
            for price, qty, *_ in changes:
                key, size = Decimal(price), Decimal(qty)
                if size:
                    side[key] = size
                elif key in side:
                    del side[key]

    def checksum(self) -> int:
        found: int = self.book.checksum()
        return found


def market(depth: int, frames: int) -> tuple[Frame, list[Frame]]:
    """Make a snapshot and updates as Kraken sends them.

    Near the best level, one side and mostly one level a frame; where a level goes, the one that comes into
    the window is republished behind its delete.
    """
    rng = random.Random(depth)  # the same frames in every run

    def qty() -> str:
        return f"{rng.expovariate(0.5) + 0.00000001:.8f}"

    def level(side: dict[int, str], tick: int, *more: str) -> tuple[str, ...]:
        return (f"{tick / 10:.5f}", side.get(tick, "0.00000000"), "1690246089.638648", *more)

    best, sides = 270_000, tuple[dict[int, str], dict[int, str]](({}, {}))
    for side, sign in zip(sides, (1, -1), strict=True):
        side.update({best + sign * (1 + n + rng.randrange(2)): qty() for n in range(0, 4 * depth, 2)})
    asks, bids = (
        [level(side, tick) for tick in sorted(side, key=lambda tick: abs(tick - best))[:depth]]
        for side in sides
    )
    updates: list[Frame] = []
    while len(updates) < frames:
        at = rng.randrange(2)
        side, sign = sides[at], (1, -1)[at]
        ticks = sorted(side, key=lambda tick: abs(tick - best))
        near = min(int(rng.expovariate(0.15)), depth - 1)
        tick = ticks[near]
        if rng.random() < 0.4 and len(ticks) > depth:
            del side[tick]
            changes = [level(side, tick), level(side, ticks[depth], "r")]
        else:
            tick = tick if rng.random() < 0.6 else max(tick * sign - 1, best * sign + 1) * sign
            side[tick] = qty()
            changes = [level(side, tick)]
        updates.append(([], changes) if at else (changes, []))
    return (asks, bids), updates


def time_a_round(book: Verifiable, snapshot: Frame, updates: list[Frame]) -> float:
    """Microseconds for each update and its checksum."""
    book.snapshot(*snapshot)
    update, checksum = book.update, book.checksum
    started = time.perf_counter()
    for asks, bids in updates:
        update(asks, bids)
        checksum()
    return (time.perf_counter() - started) / len(updates) * 1e6


def require_agreement(books: list[Verifiable], snapshot: Frame, updates: list[Frame]) -> None:
    for book in books:
        book.snapshot(*snapshot)
    for asks, bids in updates:
        for book in books:
            book.update(asks, bids)
        if len({book.checksum() for book in books}) != 1:
            sys.exit("the books disagree")


def report_a_deep_book() -> None:
    (asks, bids), _ = market(DEPTHS[-1], 0)
    tracemalloc.start()
    book = Book("XBT/USD", DEPTHS[-1])
    book.snapshot(asks, bids)
    used_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    best_s = min(_seconds(lambda: book.snapshot(asks, bids)) for _ in range(ROUNDS))
    count = len(asks) + len(bids)
    print(
        f"snapshot of {count} levels: {best_s * 1e3:.2f} ms; memory: {used_bytes / count:.0f} bytes a level"
    )


def _seconds(run: Callable[[], None]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def makers() -> dict[str, Callable[[int], Verifiable]]:
    """Return all books that can be made here."""
    found: dict[str, Callable[[int], Verifiable]] = {
        "krakenws": lambda depth: Book("XBT/USD", depth),
        "dict + bisect": BisectingBook,
        "dict + sort": SortingBook,
    }
    if find_spec("sortedcontainers"):
        found["sortedcontainers"] = SortedDictBook
    if find_spec("order_book"):
        found["order-book"] = OrderBookBook
    return found


def best_of(depth: int, rounds: int) -> dict[str, float]:
    """Return microseconds an update, by book."""
    snapshot, updates = market(depth, FRAMES)
    books = {name: make(depth) for name, make in makers().items()}
    require_agreement(list(books.values()), snapshot, updates[: FRAMES // 10])
    best = dict.fromkeys(books, float("inf"))
    for _ in range(rounds):
        for name, book in books.items():
            best[name] = min(best[name], time_a_round(book, snapshot, updates))
    return best


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(best_of(int(sys.argv[1]), 1)))
        return
    print(f"{'depth':>5}  {'book':<18}{'µs/update':>10}  times krakenws")
    for depth in DEPTHS:
        best = best_of(depth, ROUNDS)
        for name, cost in best.items():
            print(f"{depth:>5}  {name:<18}{cost:>10.2f}  {cost / best['krakenws']:.1f}")
    report_a_deep_book()


if __name__ == "__main__":
    main()
