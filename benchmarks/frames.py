"""Frames as Kraken sends them, made here: the same ones in every run, without end, books with true checksums.

A `Stream` is what a subscription brings: the first frame at once, then a cycle of frames that may be repeated
as often as wanted. A book's cycle ends where it began: behind its updates come those that restore the
snapshot's levels, so that each checksum of each repetition is right.
"""

from __future__ import annotations

import random

from benchmarks.book import market
from krakenws.core.book import Book

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from benchmarks.book import Frame, Levels

PAIR = "XBT/USD"
CYCLE = 2000
BOOK_CYCLE = 10_000
"""Frames of a cycle; of a book's, before the restoring ones, which must be few beside them."""
_TIME = "1690246089.638648"


class Stream:
    """What one subscription brings.

    Attributes:
        first: the frame that follows the ack: a book's snapshot.
        cycle: the frames that follow it, over and over.
    """

    def __init__(self, first: bytes, cycle: list[bytes]) -> None:
        self.first = first
        self.cycle = cycle


def stream(channel: str) -> Stream:
    """Return the stream of a channel by its name on the wire: `ticker`, `trade`, `book-10`."""
    name, _, depth = channel.partition("-")
    if name == "book":
        return _book(channel, int(depth))
    make = {"ticker": _ticker, "trade": _trade}[name]
    rng = random.Random(channel)
    first, *cycle = [make(rng) for _ in range(CYCLE + 1)]
    return Stream(first, cycle)


def stamped_trade(moment_ns: int) -> bytes:
    """Return a trade whose time is a moment of the sender's clock, in 20 digits."""
    return _data(f'[["64000.10000","0.02063928","{moment_ns:020d}","b","m",""]]', "trade")


def _data(body: str, channel: str) -> bytes:
    return f'[340,{body},"{channel}","{PAIR}"]'.encode()


def _price(rng: random.Random) -> str:
    return f"{64000 + rng.randrange(-900, 900)}.{rng.randrange(10)}0000"


def _qty(rng: random.Random) -> str:
    return f"{rng.expovariate(0.5) + 0.00000001:.8f}"


def _ticker(rng: random.Random) -> bytes:
    prices = [_price(rng) for _ in range(9)]
    return _data(
        f'{{"a":["{prices[0]}",{rng.randrange(20)},"{_qty(rng)}"],"b":["{prices[1]}",0,"{_qty(rng)}"],'
        f'"c":["{prices[2]}","{_qty(rng)}"],"v":["1398.10636219","5589.26295766"],'
        f'"p":["{prices[3]}","{prices[4]}"],"t":[{rng.randrange(10000, 20000)},66788],'
        f'"l":["{prices[5]}","{prices[6]}"],"h":["{prices[7]}","64811.10000"],'
        f'"o":["{prices[8]}","63709.90000"]}}',
        "ticker",
    )


def _trade(rng: random.Random) -> bytes:
    """Mostly one trade a frame, as on the wire."""
    count = rng.choice((1, 1, 1, 1, 2, 3))
    trades = (
        f'["{_price(rng)}","{_qty(rng)}","{_TIME}","{rng.choice("bs")}","{rng.choice("ml")}",""]'
        for _ in range(count)
    )
    return _data(f"[{','.join(trades)}]", "trade")


def _book(channel: str, depth: int) -> Stream:
    (asks, bids), updates = market(depth, BOOK_CYCLE)
    book = Book(PAIR, depth)
    book.snapshot(asks, bids)
    first = _data(f'{{"as":{_levels(asks)},"bs":{_levels(bids)}}}', channel)
    cycle = [_book_update(book, update, channel) for update in updates]
    for levels, now, on_side in ((asks, book.asks, _asks), (bids, book.bids, _bids)):
        cycle += [_book_update(book, on_side(change), channel) for change in _restoring(levels, now())]
    return Stream(first, cycle)


def _asks(change: Levels) -> Frame:
    return change, []


def _bids(change: Levels) -> Frame:
    return [], change


def _restoring(wanted: Levels, present: Iterable[tuple[str, str]]) -> Iterable[Levels]:
    """Deletes first: what a full side pushes out would be lost."""
    have = dict(present)
    want = {price: qty for price, qty, *_ in wanted}
    for price in have.keys() - want.keys():
        yield [(price, "0.00000000", _TIME)]
    for price, qty in want.items():
        if have.get(price) != qty:
            yield [(price, qty, _TIME)]


def _book_update(book: Book, update: Frame, channel: str) -> bytes:
    asks, bids = update
    book.update(asks, bids)
    sides = "".join(f'"{name}":{_levels(levels)},' for name, levels in (("a", asks), ("b", bids)) if levels)
    return _data(f'{{{sides}"c":"{book.checksum()}"}}', channel)


def _levels(levels: Levels) -> str:
    return "[" + ",".join("[" + ",".join(f'"{text}"' for text in level) + "]" for level in levels) + "]"
