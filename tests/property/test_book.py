"""`Book` against a naive book, written straight from v1.md 6.5 and 6.6: a dict, and sorting every time."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING
from zlib import crc32

from hypothesis import given
from hypothesis import strategies as st

from krakenws.core.book import Book
from krakenws.core.v1 import V1

if TYPE_CHECKING:
    from collections.abc import Sequence

    Level = tuple[str, str]
    Frame = tuple[list[Level], list[Level]]


class NaiveBook:
    """The rules as they are written, at any cost: exact decimals and nothing cached."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.stray_deletes = 0
        self.snapshot([], [])

    def snapshot(self, asks: list[Level], bids: list[Level]) -> None:
        self.sides: tuple[dict[Decimal, Level], dict[Decimal, Level]] = ({}, {})
        self.update(asks, bids)

    def update(self, asks: list[Level], bids: list[Level]) -> None:
        for levels, changes in zip(self.sides, (asks, bids), strict=True):
            for price, qty in changes:
                if Decimal(qty):
                    levels[Decimal(price)] = (price, qty)
                elif levels.pop(Decimal(price), None) is None:
                    self.stray_deletes += 1
        for levels, reverse in zip(self.sides, (False, True), strict=True):
            for key in sorted(levels, reverse=reverse)[self.depth :]:
                del levels[key]

    def best_first(self) -> tuple[list[Level], list[Level]]:
        asks, bids = self.sides
        return [asks[key] for key in sorted(asks)], [bids[key] for key in sorted(bids, reverse=True)]

    def checksum(self) -> int:
        asks, bids = self.best_first()
        numbers = [text for level in asks[:10] + bids[:10] for text in level]
        return crc32("".join(text.replace(".", "").lstrip("0") for text in numbers).encode())


@st.composite
def levels(draw: st.DrawFn, qtys: st.SearchStrategy[str]) -> Level:
    """A price of few ticks, so that prices meet, now and then with more decimals than the others."""
    tick, more = draw(st.integers(0, 40)), draw(st.sampled_from(["", "", "", "0", "00", "5"]))
    return f"{tick // 10}.{tick % 10}{more}", draw(qtys)


SET = st.sampled_from(["1", "0.50", "0.00000001", "12.00000000", "3.25"])
CHANGE = st.one_of(SET, st.sampled_from(["0", "0.00000000"]))


def frames(qtys: st.SearchStrategy[str], size: int) -> st.SearchStrategy[Frame]:
    """Both sides' levels or changes, overlapping as the two sides of a real book never do."""
    side = st.lists(levels(qtys), max_size=size)
    return st.tuples(side, side)


def assert_same(book: Book, naive: NaiveBook) -> None:
    asks, bids = naive.best_first()
    assert (book.asks(), book.bids()) == (asks, bids)
    assert (book.asks(3), book.bids(3)) == (asks[:3], bids[:3])
    assert (book.best_ask(), book.best_bid()) == (asks[0] if asks else None, bids[0] if bids else None)
    is_crossed = bool(asks and bids and Decimal(bids[0][0]) >= Decimal(asks[0][0]))
    assert book.disproof(None) == ("crossed book" if is_crossed else "")
    assert book.stray_deletes == naive.stray_deletes


@given(
    depth=st.sampled_from([1, 2, 9, 10, 11, 12, 25, 1000]),
    snapshot=frames(SET, 30),
    updates=st.lists(st.tuples(frames(CHANGE, 4), st.booleans()), max_size=30),
)
def test_the_book_is_the_naive_book_after_every_frame(
    depth: int, snapshot: Frame, updates: list[tuple[Frame, bool]]
) -> None:
    """Also when some checksums are not asked for, so that nothing stale is cached."""
    book, naive = Book("XBT/USD", depth), NaiveBook(depth)
    book.snapshot(*snapshot)
    naive.snapshot(*snapshot)
    assert book.checksum() == naive.checksum()
    for changes, verified in updates:
        book.update(*changes)
        naive.update(*changes)
        assert_same(book, naive)
        if verified:
            assert book.checksum() == naive.checksum()
    assert book.checksum() == naive.checksum()
    book.snapshot(*snapshot)
    naive.snapshot(*snapshot)
    assert book.checksum() == naive.checksum()
    assert_same(book, naive)


@given(st.sets(st.integers(1, 10**15 - 1), max_size=30), st.integers(0, 20))
def test_every_price_of_fifteen_digits_has_its_own_place(units: set[int], decimals: int) -> None:
    prices = [format(Decimal(unit).scaleb(-decimals), "f") for unit in units]
    book = Book("XBT/USD", 30)
    book.snapshot([(price, "1") for price in prices], [(price, "1") for price in prices])
    assert [price for price, _ in book.asks()] == sorted(prices, key=Decimal)
    assert [price for price, _ in book.bids()] == sorted(prices, key=Decimal, reverse=True)


PLAIN_DECIMAL = re.compile(r"(?=\.?[0-9])[0-9]*\.?[0-9]*", re.ASCII)
NEAR_NUMBERS = st.text("0123456789.eE+-_ naifx\u0661\u00b2", max_size=6)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | NEAR_NUMBERS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=4,
)


@given(NEAR_NUMBERS, NEAR_NUMBERS)
def test_exactly_plain_decimal_text_is_taken(price: str, qty: str) -> None:
    book = Book("XBT/USD", 10)
    try:
        book.update([(price, qty)], [])
        taken = True
    except ValueError:
        taken = False
    assert taken == all(PLAIN_DECIMAL.fullmatch(text) for text in (price, qty))


@given(st.lists(JSON_VALUES, max_size=3))
def test_any_json_is_applied_or_is_a_value_error(changes: Sequence[Sequence[str]]) -> None:
    book = Book("XBT/USD", 10)
    book.update([("5.0", "1.0")], [("4.0", "1.0")])
    try:
        book.update((), changes)
    except ValueError:
        assert book.asks() == book.bids() == []


FRAME = b'[1,{"a":[["1.5","2","3.4"],["1.6","0","3.4","r"]],"b":[],"c":"7"},"book-10","X/Y"]'
PIECES = st.sampled_from([*b'"a" "b" "c" "as" "1.50" "7" [ ] { } , : 7 null \x00 \xff'.split()])


@given(st.integers(0, len(FRAME)), st.integers(0, 12), st.lists(PIECES, max_size=4))
def test_what_reads_nearly_every_frame_says_what_reads_them_all_says(
    at: int, cut: int, put: list[bytes]
) -> None:
    frame = FRAME[:at] + b"".join(put) + FRAME[at + cut :]
    change = V1.change(frame)
    if change is not None:
        asks, bids, checksum = change
        changes = V1.book(frame)
        assert (list(asks), list(bids), checksum) == (changes.asks, changes.bids, changes.checksum)
        assert not changes.snapshot
