"""Every checksum that Kraken sent with a captured v1 book verifies."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from krakenws.core.book import Book

if TYPE_CHECKING:
    from collections.abc import Callable

    Capture = Callable[[str], list[tuple[str | None, str, str]]]

TOTALS = [
    ("v1_book1000_four_pairs.jsonl", {"ADA/XBT": 347, "GRT/ETH": 20, "SC/EUR": 818, "XBT/CHF": 289}),
    ("v1_book10_xdgusd_republished.jsonl", {"XDG/USD": 14}),
]


@pytest.mark.parametrize(("name", "totals"), TOTALS)
def test_every_checksum_of_a_captured_book_verifies(
    read_capture: Capture, name: str, totals: dict[str, int]
) -> None:
    books: dict[str, Book] = {}
    verified: Counter[str] = Counter()
    for _, direction, text in read_capture(name):
        frame = json.loads(text)
        if direction == "out" or not isinstance(frame, list):
            continue
        channel, symbol = frame[-2:]
        data = {side: levels for part in frame[1:-2] for side, levels in part.items()}
        if "as" in data:
            books[symbol] = Book(symbol, int(channel.removeprefix("book-")))
            books[symbol].snapshot(data["as"], data["bs"])
            continue
        book = books[symbol]
        book.update(data.get("a", ()), data.get("b", ()))
        assert book.checksum() == int(data["c"]), f"{symbol}, checksum {verified[symbol] + 1}"
        assert not book.disproof(None)
        verified[symbol] += 1
    assert verified == totals
    assert [book.stray_deletes for book in books.values()] == [0] * len(totals)
