"""Captured books, replayed to two clients of which one joins midway: every checksum verifies for both."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from krakenws.core.book import Book
from krakenws.exchange.protocol import ServerProtocol
from krakenws.exchange.replay import LEAD_S, ReplayVenue, read_recording

if TYPE_CHECKING:
    from pathlib import Path

PAIRS = ["ADA/XBT", "GRT/ETH", "SC/EUR", "XBT/CHF"]
CHECKSUMS = 347 + 20 + 818 + 289
MIDWAY_S = 15.0


class Follower:
    """A client that keeps every book it is sent."""

    def __init__(self, venue: ReplayVenue) -> None:
        self.protocol = ServerProtocol(venue, private=False, connection_id=1, now=0.0)
        self.books: dict[str, Book] = {}
        self.frames: list[bytes] = []
        self.verified = 0

    def subscribe(self, now: float) -> None:
        request = {"event": "subscribe", "pair": PAIRS, "subscription": {"name": "book", "depth": 1000}}
        self.protocol.receive(json.dumps(request).encode(), now)
        self.follow()

    def follow(self) -> None:
        for frame in self.protocol.frames_to_send():
            message = json.loads(frame)
            if not isinstance(message, list):
                continue
            self.frames.append(frame)
            symbol = message[-1]
            data = {side: levels for part in message[1:-2] for side, levels in part.items()}
            if "as" in data:
                self.books[symbol] = Book(symbol, 1000)
                self.books[symbol].snapshot(data["as"], data["bs"])
                continue
            self.books[symbol].update(data.get("a", ()), data.get("b", ()))
            assert self.books[symbol].checksum() == int(data["c"])
            self.verified += 1


def test_every_checksum_verifies_for_the_first_client_and_for_one_that_joins_midway(captures: Path) -> None:
    with (captures / "v1_book1000_four_pairs.jsonl").open("rb") as lines:
        recording = read_recording(lines)
    venue = ReplayVenue(recording)
    first, late = Follower(venue), Follower(venue)
    first.subscribe(0.0)
    while (due := venue.next_deadline()) is not None and due < MIDWAY_S:
        venue.on_deadline(due)
    late.subscribe(MIDWAY_S)
    assert set(late.books) == set(PAIRS)
    assert late.verified == 0
    while (due := venue.next_deadline()) is not None:
        venue.on_deadline(due)
    first.follow()
    late.follow()
    assert first.verified == CHECKSUMS
    assert 0 < late.verified < CHECKSUMS
    assert first.frames == [frame for _, frame in recording if frame.startswith(b"[")]
    assert due is None
    assert LEAD_S < MIDWAY_S
    for pair in PAIRS:
        assert first.books[pair].asks() == late.books[pair].asks()
        assert first.books[pair].bids() == late.books[pair].bids()
