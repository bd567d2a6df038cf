"""The recording that comes with the package."""

from __future__ import annotations

import json
from importlib.resources import files

from krakenws.core.book import Book
from krakenws.exchange.replay import ReplayVenue, read_recording

DEMO = files("krakenws.exchange") / "demo_v1.jsonl"
DECIMALS = {"XBT/USD": 5, "ETH/EUR": 5, "XDG/XBT": 9}


def test_the_demo_is_small_and_offers_every_public_channel_of_three_pairs() -> None:
    lines = DEMO.read_bytes()
    assert len(lines) < 300_000
    recording = read_recording(lines.splitlines())
    venue = ReplayVenue(recording)
    assert venue.symbols == sorted(DECIMALS)
    assert venue.channels == ["book-10", "ohlc-1", "spread", "ticker", "trade"]
    first, last = recording[0][0], recording[-1][0]
    assert first is not None
    assert last is not None
    assert 50 < last - first < 70


def test_the_demos_books_verify_never_cross_and_show_what_real_ones_do() -> None:
    """Both sides in one frame, and republished levels, are what clients stumble over (quirks B1, B12)."""
    books: dict[str, Book] = {}
    verified = two_sided = republished = 0
    for _, frame in read_recording(DEMO.read_bytes().splitlines()):
        _, *parts, channel, symbol = json.loads(frame)
        if channel != "book-10":
            continue
        data = {side: levels for part in parts for side, levels in part.items()}
        prices = [level[0] for side in ("as", "bs", "a", "b") for level in data.get(side, ())]
        assert {len(price.partition(".")[2]) for price in prices} == {DECIMALS[symbol]}
        if "as" in data:
            books[symbol] = Book(symbol, 10)
            books[symbol].snapshot(data["as"], data["bs"])
            continue
        books[symbol].update(data.get("a", ()), data.get("b", ()))
        assert books[symbol].checksum() == int(data["c"])
        assert not books[symbol].disproof(None)
        verified += 1
        two_sided += "a" in data and "b" in data
        republished += any(level[3:] == ["r"] for side in "ab" for level in data.get(side, ()))
    assert set(books) == set(DECIMALS)
    assert verified > 200
    assert two_sided
    assert republished
