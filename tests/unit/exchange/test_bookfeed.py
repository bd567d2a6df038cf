"""Book frames, change by change: what a window shows and what it leaves out."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from krakenws.exchange.bookfeed import BookFeed, time_text

T = 1_795_324_223_000_000


def feed(*, asks: int = 0, bids: int = 0, depth: int = 10) -> BookFeed:
    """A feed with one depth open and levels at 101, 102, … and 100, 99, …, last changed at T + price."""
    book = BookFeed("XBT/USD", 336, 5, 8)
    for number in range(asks):
        book.change("sell", Decimal(101 + number), Decimal(1), T + 101 + number)
    for number in range(bids):
        book.change("buy", Decimal(100 - number), Decimal(1), T + 100 - number)
    book.open(depth)
    return book


def only_frame(book: BookFeed) -> list[Any]:
    [(_, frame)] = book.frames()
    message: list[Any] = json.loads(frame)
    return message


def level(price: int, qty: str, at: int, *republished: str) -> list[str]:
    return [f"{price}.00000", f"{qty}.00000000", time_text(T + at), *republished]


def test_a_snapshot_shows_each_side_from_its_best_level_to_the_depth() -> None:
    assert json.loads(feed(asks=3, bids=12).snapshot(10)) == [
        336,
        {
            "as": [level(price, "1", price) for price in (101, 102, 103)],
            "bs": [level(price, "1", price) for price in range(100, 90, -1)],
        },
        "book-10",
        "XBT/USD",
    ]


def test_an_empty_book_has_a_snapshot_and_checksum_0() -> None:
    book = BookFeed("PERP/EUR", 6304, 5, 8)
    assert book.snapshot(25) == b'[6304,{"as":[],"bs":[]},"book-25","PERP/EUR"]'
    assert book.checksum() == 0
    assert book.best_ask() is book.best_bid() is None


def test_a_new_quantity_is_one_change() -> None:
    book = feed(asks=3)
    book.change("sell", Decimal(102), Decimal(7), T + 500)
    assert only_frame(book) == [
        336,
        {"a": [level(102, "7", 500)], "c": str(book.checksum())},
        "book-10",
        "XBT/USD",
    ]


def test_a_delete_republishes_the_level_that_enters_with_its_old_time() -> None:
    book = feed(bids=12)
    book.change("buy", Decimal(98), Decimal(0), T + 500)
    assert only_frame(book)[1]["b"] == [level(98, "0", 500), level(90, "1", 90, "r")]


def test_a_delete_in_a_book_that_fits_the_window_republishes_nothing() -> None:
    book = feed(bids=10)
    book.change("buy", Decimal(98), Decimal(0), T + 500)
    assert only_frame(book)[1]["b"] == [level(98, "0", 500)]


def test_a_level_that_is_pushed_out_is_not_deleted() -> None:
    book = feed(asks=10)
    book.change("sell", Decimal(100), Decimal(2), T + 500)
    assert only_frame(book)[1]["a"] == [level(100, "2", 500)]


def test_changes_outside_the_window_are_not_sent() -> None:
    book = feed(asks=12)
    for price, qty in ((111, 5), (112, 0), (120, 1), (111, 0), (111, 2)):
        book.change("sell", Decimal(price), Decimal(qty), T + 500)
    assert book.frames() == []


def test_several_changes_of_one_price_stay_in_order() -> None:
    book = feed(asks=2)
    for at, qty in enumerate((5, 0, 6)):
        book.change("sell", Decimal(101), Decimal(qty), T + 500 + at)
    assert only_frame(book)[1]["a"] == [level(101, qty, 500 + at) for at, qty in enumerate("506")]


def test_a_level_pushed_out_and_deleted_within_one_frame_is_told() -> None:
    """A client holds it until the frame ends, and would take it for better than the level that enters."""
    book = feed(asks=12)
    book.change("sell", Decimal(100), Decimal(2), T + 500)  # pushes 110 out
    book.change("sell", Decimal(110), Decimal(0), T + 501)
    book.change("sell", Decimal(105), Decimal(0), T + 502)
    assert only_frame(book)[1]["a"] == [
        level(100, "2", 500),
        level(110, "0", 501),
        level(105, "0", 502),
        level(111, "1", 111, "r"),
    ]


def test_a_level_is_deleted_once_however_often_it_leaves_within_one_frame() -> None:
    """A second delete would be a stray one: the client does not hold what came again outside the window."""
    book = feed(asks=12)
    for price, qty in ((100, 1), (101, 0), (110, 0), (99, 1), (98, 1), (97, 1), (110, 1), (110, 0)):
        book.change("sell", Decimal(price), Decimal(qty), T + 500)
    changes = only_frame(book)[1]["a"]
    assert changes.count(level(110, "0", 500)) == 1


def test_a_level_pushed_out_by_an_earlier_frame_is_not_told() -> None:
    book = feed(asks=12)
    book.change("sell", Decimal(100), Decimal(2), T + 500)
    book.frames()
    book.change("sell", Decimal(110), Decimal(0), T + 501)
    assert book.frames() == []


def test_changes_of_both_sides_are_two_objects_asks_first_with_the_checksum_in_the_last() -> None:
    book = feed(asks=2, bids=2)
    book.change("buy", Decimal(100), Decimal(0), T + 500)
    book.change("sell", Decimal(101), Decimal(3), T + 501)
    message = only_frame(book)
    assert [list(part) for part in message[1:-2]] == [["a"], ["b", "c"]]


def test_deleting_an_unknown_level_is_nothing() -> None:
    book = feed(asks=2)
    book.change("sell", Decimal(150), Decimal(0), T + 500)
    book.change("buy", Decimal(50), Decimal(0), T + 500)
    assert book.frames() == []


def test_depths_differ_in_what_they_republish_and_share_the_checksum() -> None:
    book = feed(asks=30, depth=10)
    book.open(25)
    book.change("sell", Decimal(101), Decimal(0), T + 500)
    (ten, at_ten), (twenty_five, at_twenty_five) = (
        (channel, json.loads(frame)[1]) for channel, frame in book.frames()
    )
    assert (ten, twenty_five) == ("book-10", "book-25")
    assert at_ten["a"][1] == level(111, "1", 111, "r")
    assert at_twenty_five["a"][1] == level(126, "1", 126, "r")
    assert at_ten["c"] == at_twenty_five["c"] == str(book.checksum())


def test_a_closed_depth_has_no_frames_and_begins_anew_when_opened() -> None:
    book = feed(asks=2)
    book.change("sell", Decimal(101), Decimal(3), T + 500)
    book.close(10)
    assert book.frames() == []
    book.open(10)
    book.open(10)
    assert book.frames() == []
    book.change("sell", Decimal(101), Decimal(4), T + 501)
    assert only_frame(book)[1]["a"] == [level(101, "4", 501)]


def test_the_checksum_is_that_of_the_published_example() -> None:
    """Source: Kraken's checksum guide; v1.md 6.6, vectors 1 and 2."""
    book = BookFeed("XBT/USD", 336, 5, 8)
    for number in range(10):
        book.change("sell", Decimal("0.05005") + number * Decimal("0.00005"), Decimal("0.000005"), T)
    for price in (5000, 4995, 4990, 4980, 4975, 4970, 4965, 4960, 4955, 4950):
        book.change("buy", Decimal(price).scaleb(-5), Decimal("0.000005"), T)
    assert book.checksum() == 974947235


def test_levels_keep_their_text_when_the_precision_changes() -> None:
    book = feed(asks=1)
    book.price_format = ".1f"
    book.change("sell", Decimal(102), Decimal(1), T)
    assert book.levels(10)[0] == [
        ("101.00000", "1.00000000", time_text(T + 101)),
        ("102.0", "1.00000000", time_text(T)),
    ]


@pytest.mark.parametrize(
    ("at_us", "text"),
    [(T + 7, "1795324223.000007"), (1_000_000, "1.000000"), (12, "0.000012"), (0, "0.000000")],
)
def test_times_have_six_decimals(at_us: int, text: str) -> None:
    assert time_text(at_us) == text
