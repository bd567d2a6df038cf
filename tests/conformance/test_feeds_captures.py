"""The sandbox's public frames are the captured ones: the same bytes where a capture says what happened."""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.exchange.feeds import PublicFeeds
from krakenws.exchange.instruments import find

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Capture = Callable[[str], list[tuple[str | None, str, str]]]
    Change = tuple[str, Decimal, Decimal, int]

NAMES = {"a": "sell", "as": "sell", "b": "buy", "bs": "buy", "s": "sell", "m": "market", "l": "limit"}
FILES = ("v1_ticker.jsonl", "v1_trade.jsonl", "v1_public_misc.jsonl")
MISC_ID = re.compile(r"^\[\d+")


def microseconds(text: str) -> int:
    return int(text.replace(".", ""))


def data_frames(read_capture: Capture, *names: str) -> Iterator[tuple[str, list[Any]]]:
    """The public data frames of the sandbox's pairs: as captured, and decoded."""
    for name in names:
        for _, direction, text in read_capture(name):
            if direction == "in" and text.startswith("["):
                message = json.loads(text)
                if find(message[-1]) is not None:
                    yield text, message


def feeds_of(symbol: str) -> PublicFeeds:
    instrument = find(symbol)
    assert instrument is not None
    return PublicFeeds(instrument)


def changes_of(message: list[Any], *, republished: bool = False) -> list[Change]:
    """A book frame's changes, or the levels it only republishes."""
    return [
        (NAMES[name], Decimal(level[0]), Decimal(level[1]), microseconds(level[2]))
        for part in message[1:-2]
        for name, levels in part.items()
        if name != "c"
        for level in levels
        if (len(level) > 3) == republished
    ]


def hidden_changes(feeds: PublicFeeds, republished: list[Change]) -> list[Change]:
    """Return what happened outside a window of ten, as far as the levels tell that come into it: they exist,
    and those that the window pushed out before and that would have come first no longer do.
    """
    changes = list(republished)
    for side, price, _, at_us in republished:
        beyond = [Decimal(level[0]) for level in feeds.book.levels(1000)[side == "buy"][10:]]
        gone = [other for other in beyond if (other > price if side == "buy" else other < price)]
        changes += [(side, other, Decimal(0), at_us) for other in gone]
    return changes


@pytest.mark.parametrize(
    ("name", "totals"),
    [
        ("v1_book1000_four_pairs.jsonl", {"ADA/XBT": 348, "GRT/ETH": 21, "SC/EUR": 819, "XBT/CHF": 290}),
        ("v1_book10_xdgusd_republished.jsonl", {"XDG/USD": 15}),
    ],
)
def test_a_captured_book_is_reproduced_byte_for_byte(
    read_capture: Capture, name: str, totals: dict[str, int]
) -> None:
    """Ids, padding, checksums, republished levels and the frame with two objects: 1,493 frames."""
    books: dict[str, PublicFeeds] = {}
    equal: Counter[str] = Counter()
    for text, message in data_frames(read_capture, name):
        channel, symbol = message[-2:]
        if "as" in message[1]:
            feeds = books[symbol] = feeds_of(symbol)
            feeds.levels_changed(changes_of(message))
            assert feeds.frames(0) == []
            assert feeds.snapshot(channel, 0) == text.encode()
            feeds.open(channel)
        else:
            feeds = books[symbol]
            feeds.levels_changed(hidden_changes(feeds, changes_of(message, republished=True)))
            assert feeds.frames(0) == [], "a level outside the window shows"
            feeds.levels_changed(changes_of(message))
            assert feeds.frames(0) == [(channel, text.encode())]
        equal[symbol] += 1
    assert equal == totals


def test_captured_trades_are_reproduced_byte_for_byte(read_capture: Capture) -> None:
    """Apart from the id in frames of a time when the pair had another one."""
    equal = 0
    for text, message in data_frames(read_capture, *FILES):
        if message[-2] == "trade":
            feeds = feeds_of(message[-1])
            feeds.open("trade")
            feeds.traded(
                (Decimal(price), Decimal(qty), NAMES.get(side, "buy"), NAMES[type_], microseconds(time))
                for price, qty, time, side, type_, _ in message[1]
            )
            [(channel, frame)] = feeds.frames(0)
            assert channel == "trade"
            assert MISC_ID.sub("[", frame.decode()) == MISC_ID.sub("[", text)
            assert message[-1] == "XBT/USD" or frame == text.encode()
            equal += 1
    assert equal == 11


def test_a_captured_spread_is_reproduced(read_capture: Capture) -> None:
    [(text, message)] = [found for found in data_frames(read_capture, *FILES) if found[1][-2] == "spread"]
    bid, ask, time, bid_qty, ask_qty = message[1]
    feeds = feeds_of(message[-1])
    feeds.open("spread")
    at_us = microseconds(time)
    feeds.levels_changed(
        [("buy", Decimal(bid), Decimal(bid_qty), at_us - 7), ("sell", Decimal(ask), Decimal(ask_qty), at_us)]
    )
    assert feeds.frames(0) == [("spread", text.encode())]


def shape(frame: str) -> str:
    """Return a frame without its id, every number as one `9` and as many `0` as it has decimals."""
    payload, channel, pair = MISC_ID.sub("[", frame).rsplit(",", 2)
    shaped = re.sub(r"\d+(\.\d+)?", lambda number: "9" + "0" * len(number[1] or ""), payload)
    return f"{shaped},{channel},{pair}"


def test_tickers_and_candles_have_the_captured_shape(read_capture: Capture) -> None:
    """Key order, padding of every number, and what is text and what is not."""
    compared: Counter[str] = Counter()
    for text, message in data_frames(read_capture, *FILES):
        channel, symbol = message[-2:]
        if channel.startswith(("ticker", "ohlc")):
            feeds = feeds_of(symbol)
            tick, price = feeds.instrument.tick_size, feeds.instrument.start_price
            feeds.levels_changed([("buy", price - tick, Decimal("12.5"), 1), ("sell", price, Decimal(3), 1)])
            feeds.traded([(price, Decimal("0.25"), "buy", "limit", 1_675_209_613_118_218)])
            frame = feeds.snapshot(channel, 1_675_209_613_118_218)
            assert frame is not None
            assert shape(frame.decode()) == shape(text)
            compared[channel] += 1
    assert compared == {"ticker": 20, "ohlc-1": 1}


def test_the_channel_ids_are_the_captured_ones(read_capture: Capture) -> None:
    """Those of XBT/USD have changed over the years, those of no other captured pair."""
    compared = 0
    for name in (*FILES, "v1_book1000_four_pairs.jsonl", "v1_book10_xdgusd_republished.jsonl"):
        for _, message in data_frames(read_capture, name):
            if message[-1] != "XBT/USD":
                assert feeds_of(message[-1]).channel_id(message[-2]) == message[0]
                compared += 1
    assert compared > 1500
