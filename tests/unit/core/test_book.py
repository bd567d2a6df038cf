"""The rules of v1.md 6.5 and 6.6 one by one; the checksums are written there or computed by hand here."""

from __future__ import annotations

from zlib import crc32

import pytest

from krakenws.core.book import Book

NO_DECIMALS = ["", ".", "x", "nan", "inf", "1e2", "1_0", "-1.0", "+1.0", " 1.0", "1.0\n", "1.0.0", "0x10"]
SHORT_ASKS = [("64010.10000", "0.50000000"), ("64010.20000", "1.25000000"), ("64012.00000", "0.00100000")]
SHORT_BIDS = [("64010.00000", "2.00000000"), ("64009.50000", "0.10000000")]


def made(
    asks: list[tuple[str, ...]] | None = None, bids: list[tuple[str, ...]] | None = None, depth: int = 10
) -> Book:
    """A book with these levels."""
    book = Book("XBT/USD", depth)
    book.snapshot(asks or [], bids or [])
    return book


def ladder(count: int) -> list[tuple[str, ...]]:
    """Levels 101.0, 102.0, … of quantity 1.0."""
    return [(f"{101 + i}.0", "1.0") for i in range(count)]


def test_the_official_example_has_its_official_checksum() -> None:
    asks = [f"0.0{price}" for price in range(5005, 5055, 5)]
    bids = [f"0.0{price}" for price in (5000, 4995, 4990, 4980, 4975, 4970, 4965, 4960, 4955, 4950)]
    book = made([(price, "0.00000500") for price in asks], [(price, "0.00000500") for price in bids])
    assert book.checksum() == 974947235


def test_a_short_book_is_verified_over_the_levels_it_has() -> None:
    book = made([*SHORT_ASKS], [*SHORT_BIDS])
    assert book.checksum() == 13531463
    book.update(
        [("64010.20000", "0.00000000", "1.0"), ("64011.00000", "0.75000000", "1.0")],
        [("64009.90000", "0.33000000", "1.0")],
    )
    assert book.checksum() == 1361315689
    assert book.asks() == [
        ("64010.10000", "0.50000000"),
        ("64011.00000", "0.75000000"),
        ("64012.00000", "0.00100000"),
    ]
    assert book.bids() == [
        ("64010.00000", "2.00000000"),
        ("64009.90000", "0.33000000"),
        ("64009.50000", "0.10000000"),
    ]


def test_the_precision_of_the_text_is_part_of_the_checksum() -> None:
    """The short book after its frame, with the one decimal that API v2 gives these prices."""
    book = made(
        [("64010.1", "0.50000000"), ("64011.0", "0.75000000"), ("64012.0", "0.00100000")],
        [("64010.0", "2.00000000"), ("64009.9", "0.33000000"), ("64009.5", "0.10000000")],
    )
    assert book.checksum() == 2251716234


def test_an_empty_book_has_checksum_zero_and_no_best_levels() -> None:
    book = made()
    assert book.checksum() == 0
    assert book.best_ask() is None
    assert book.best_bid() is None
    assert book.asks() == book.bids() == []
    assert not book.disproof(None)


@pytest.mark.parametrize("depth", [10, 1000])
def test_a_one_sided_book_is_verified_over_that_side(depth: int) -> None:
    asks = made([("0.050", "1.0"), ("0.060", "2.0")], depth=depth)
    bids = made(bids=[("0.050", "1.0"), ("0.060", "2.0")], depth=depth)
    assert asks.checksum() == crc32(b"50106020")
    assert bids.checksum() == crc32(b"60205010")
    assert not asks.disproof(None)
    assert not bids.disproof(None)


def test_only_the_best_ten_levels_enter_the_checksum() -> None:
    book = made(ladder(11), depth=25)
    assert book.checksum() == made(ladder(10)).checksum()
    book.update([("111.0", "0.0"), ("112.0", "7.0")], [])
    assert book.checksum() == made(ladder(10)).checksum()
    book.update([("101.0", "0.0")], [])
    assert book.checksum() == crc32(b"".join(b"%d010" % price for price in range(102, 111)) + b"112070")


def test_levels_answer_best_first_up_to_the_number_asked_for() -> None:
    book = made(ladder(3), [("98.0", "1.0"), ("99.0", "1.0")])
    assert book.best_ask() == ("101.0", "1.0")
    assert book.best_bid() == ("99.0", "1.0")
    assert book.asks(2) == [("101.0", "1.0"), ("102.0", "1.0")]
    assert book.bids(1) == [("99.0", "1.0")]
    assert book.bids(0) == []
    assert book.bids(7) == book.bids() == [("99.0", "1.0"), ("98.0", "1.0")]


def test_a_snapshot_replaces_everything_and_is_cut_to_the_depth() -> None:
    book = made(ladder(5), ladder(5), depth=3)
    assert book.asks() == ladder(5)[:3]
    assert book.bids() == ladder(5)[:1:-1]
    book.snapshot([("7.0", "1.0")], [])
    assert (book.asks(), book.bids()) == ([("7.0", "1.0")], [])
    assert book.checksum() == crc32(b"7010")


def test_a_frame_is_applied_whole_before_the_book_is_cut() -> None:
    """Quirk B9: cutting after each change would lose 103.0, which the delete behind it makes room for."""
    book = made([("101.0", "1.0"), ("102.0", "1.0")], depth=2)
    book.update([("103.0", "1.0"), ("101.0", "0.0")], [])
    assert book.asks() == [("102.0", "1.0"), ("103.0", "1.0")]


def test_a_book_that_shrank_grows_back_to_its_depth() -> None:
    """Quirk B9: the limit is the depth subscribed, not the length before the frame."""
    book = made(ladder(3), depth=3)
    book.update([("101.0", "0.0")], [])
    book.update([("101.0", "1.0"), ("104.0", "1.0")], [])
    assert book.asks() == ladder(3)


def test_a_level_that_fell_out_of_the_window_does_not_come_back() -> None:
    """Quirk B8."""
    book = made(ladder(2), depth=2)
    book.update([("100.0", "1.0")], [])
    book.update([("100.0", "0.0")], [])
    assert book.asks() == [("101.0", "1.0")]
    assert book.stray_deletes == 0


def test_the_last_change_of_a_price_wins_whatever_its_time_stamp() -> None:
    """Quirks B11 and B12."""
    book = made()
    book.update(
        [
            ("101.0", "1.0", "1690246089.6"),
            ("101.0", "0.0", "1690246089.6"),
            ("101.0", "2.0", "1690246063.3", "r"),
        ],
        [("99.0", "3.0", "1690246089.6"), ("99.0", "0.0", "1690246089.5")],
    )
    assert book.asks() == [("101.0", "2.0")]
    assert book.bids() == []


def test_deletes_of_unknown_levels_are_counted_and_ignored() -> None:
    """Quirk B10."""
    book = made(ladder(2))
    before = book.checksum()
    book.update([("101.5", "0.00000000"), ("99.0", "0")], [("98.0", "0.0")])
    assert book.stray_deletes == 3
    assert book.asks() == ladder(2)
    assert book.checksum() == before
    book.snapshot([], [])
    assert book.stray_deletes == 3


@pytest.mark.parametrize("zero", ["0", "0.", ".0", "0.0", "0.00000000", "000"])
def test_any_zero_deletes(zero: str) -> None:
    book = made(ladder(1))
    book.update([("101.0", zero)], [])
    assert book.asks() == []


def test_equal_prices_in_other_text_are_one_level_and_the_newest_text_wins() -> None:
    """Quirk B21: the precision of a pair may change in mid-stream."""
    book = made([("1.50", "1.00"), ("1.60", "1.00")])
    book.update([("1.5000", "2.0000")], [])
    assert book.asks() == [("1.5000", "2.0000"), ("1.60", "1.00")]
    assert book.checksum() == crc32(b"1500020000160100")
    book.update([("1.6", "0")], [])
    assert book.asks() == [("1.5000", "2.0000")]


def test_a_crossed_or_locked_book_is_told() -> None:
    """Quirk B13."""
    assert made([("100.1", "1")], [("100.2", "1")]).disproof(None)
    assert made([("100.10", "1")], [("100.1", "1")]).disproof(None)
    assert not made([("100.2", "1")], [("100.1", "1")]).disproof(None)


def test_prices_of_fifteen_digits_are_told_apart() -> None:
    prices = ["999999999999.997", "999999999999.998", "999999999999.9990", "000999999999999.9960"]
    book = made([(price, "1") for price in prices])
    assert [price for price, _ in book.asks()] == sorted(prices, key=lambda price: price.lstrip("0"))


@pytest.mark.parametrize("price", ["9007199254740993", "0.1234567890123456", "1" + "0" * 64, "0." + "0" * 70])
def test_a_price_that_floats_might_confuse_is_refused(price: str) -> None:
    book = made(ladder(1))
    with pytest.raises(ValueError, match="15 significant digits"):
        book.update([(price, "1.0")], [])


@pytest.mark.parametrize(
    "level",
    [
        *[(text, "1.0") for text in NO_DECIMALS],
        *[(text, "0.0") for text in NO_DECIMALS],
        *[("1.0", text) for text in NO_DECIMALS],
        ("1.0", "0.0.0"), ("1.0", "-0.0"), ("\u0661.0", "1.0"), ("1.0", "\u00b2"), ("1.0", "\ud800"),
        (), ("1.0",), "12", "1.0", None, 7, {"price": "1.0", "qty": "1.0"},
        (1.0, "1.0"), ("1.0", 1), ("1.0", None), (b"1.0", "1.0"), ("1.0", b"1.0"), (["1.0"], "1.0"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("side", ["ask", "bid"])
def test_a_malformed_level_is_refused_and_leaves_the_book_empty(side: str, level: tuple[str, str]) -> None:
    book = made([*SHORT_ASKS], [*SHORT_BIDS])
    changes = [("64000.00000", "1.00000000"), level]
    with pytest.raises(ValueError, match=f"an? {side} of XBT/USD is malformed: expected .*, not "):
        book.update(*((changes, ()) if side == "ask" else ((), changes)))
    assert book.asks() == book.bids() == []
    assert book.checksum() == 0
    book.snapshot([*SHORT_ASKS], [*SHORT_BIDS])
    assert book.checksum() == 13531463


def test_a_huge_malformed_level_is_not_quoted_whole() -> None:
    with pytest.raises(ValueError, match="malformed") as caught:
        made([("x" * 100_000, "1.0")])
    assert len(str(caught.value)) < 400


def test_a_price_of_zero_is_a_price() -> None:
    book = made(bids=[("0.0", "1.0")])
    assert book.checksum() == crc32(b"10")
    book.update([], [("0.00", "0.0")])
    assert book.bids() == []


def test_a_depth_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="a book of XBT/USD needs a depth of at least 1, not 0"):
        Book("XBT/USD", 0)
