"""What verified books take in memory, and that it stays so: a thousand pairs, ten million updates.

    PYTHONPATH=src python benchmarks/memory.py [--updates COUNT] [--json]

Everything between the socket and the sink is real: bytes are cut into frames, a `ClientProtocol` subscribes,
is answered, routes each frame to its book and compares its checksum; time that passes is an argument. What
books take is what Python allocates for them, subscriptions and all: the process has room left from before.
What must not grow is all that it occupies (`VmRSS`). Exits with 1 when it grows, or when a checksum
does not fit.
"""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tracemalloc
from itertools import islice, product
from pathlib import Path
from string import ascii_uppercase
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind the package, whose name krakenws.py bears

from benchmarks.frames import PAIR, stream
from benchmarks.server import frame
from krakenws.core.catalog import bind
from krakenws.core.protocol import ClientProtocol
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import BOOK
from krakenws.core.websocket import WebSocket
from krakenws.options import Options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.frames import Stream

BOOKS = ((1000, 10), (100, 1000))
"""Pairs and depth of each row."""
UPDATES = 10_000_000
FRAMES_A_READ = 400
"""About what one read of 64 KiB brings."""
MOST_GROWTH_BYTES = 1 << 20
"""After the first tenth of the updates."""
_GREETING = b'{"event":"systemStatus","status":"online","version":"1.9.6"}'


class Market:
    """Many pairs with the same book, and a protocol that follows them all.

    Attributes:
        protocol: the client's side.
    """

    def __init__(self, pairs: int, depth: int) -> None:
        letters = islice(product(ascii_uppercase, repeat=3), pairs)
        self._names = ["".join(name).encode() + b"/USD" for name in letters]  # as long as `PAIR`
        self._depth = depth
        self._now = 0.0
        self._websocket = WebSocket(lambda: bytes(4), 1 << 24)
        self.protocol = ClientProtocol(V1, Options(), "public", jitter=lambda: 0.5, detail=False)

    def _feed(self, wire: bytes) -> None:
        frames = self._websocket.receive(wire)
        self._now += 0.0001
        for event in self.protocol.receive(frames, int(self._now * 1e9), self._now):
            if event.name not in {"connected", "status", "subscribed"}:
                sys.exit(f"what should not have happened: {event}")

    def connect(self) -> None:
        """Subscribe to all pairs, and have that acknowledged."""
        self.protocol.connecting(self._now)
        self.protocol.opened(self._now)
        self._feed(frame(_GREETING))
        names = [name.decode() for name in self._names]
        self.protocol.subscribe(bind(BOOK, [*names, str(self._depth)]), self._now)
        acknowledged = 0
        while acknowledged < len(names):
            for message in map(json.loads, self.protocol.frames_to_send()):
                for pair in message.get("pair", ()):
                    acknowledged += 1
                    ack = {"event": "subscriptionStatus", "channelName": f"book-{self._depth}", "pair": pair}
                    details = {"status": "subscribed", "subscription": message["subscription"]}
                    self._feed(frame(json.dumps({**ack, **details}).encode()))
            self._now += 1.0
            self.protocol.on_deadline(int(self._now * 1e9), self._now)

    def tell(self, wire: bytes) -> None:
        """Send the same frames for each pair."""
        for name in self._names:
            self._feed(wire.replace(PAIR.encode(), name))

    @property
    def levels(self) -> int:
        """How many levels all books have together."""
        books = [route.book for route in self.protocol.routes]
        return sum(len(book.asks()) + len(book.bids()) for book in books if book)


def resident_bytes() -> int:
    """Return what this process occupies."""
    gc.collect()
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    sys.exit("this system does not tell what a process occupies")


def books_take(pairs: int, depth: int) -> dict[str, float]:
    """Return the bytes of so many books after their snapshots: a pair's, a level's, and all."""
    its = stream(f"book-{depth}")
    market = Market(pairs, depth)
    tracemalloc.start()
    market.connect()
    market.tell(frame(its.first))
    gc.collect()
    taken_bytes, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return {"pair": taken_bytes / pairs, "level": taken_bytes / market.levels, "all": taken_bytes}


def soak(updates: int) -> Iterator[tuple[int, int]]:
    """Let updates of a thousand books go by; give ten times how many came, and what the process occupies."""
    pairs, depth = BOOKS[0]
    its = stream(f"book-{depth}")
    market = Market(pairs, depth)
    market.connect()
    market.tell(frame(its.first))
    taken = told = 0
    for wire, count in reads(its):
        market.tell(wire)
        taken += count * pairs
        if taken * 10 // updates > told:
            told = taken * 10 // updates
            yield taken, resident_bytes()
        if taken >= updates:
            break


def reads(its: Stream) -> Iterator[tuple[bytes, int]]:
    """Give the frames of a cycle over and over, as many as a read brings, and how many these are."""
    pieces = [its.cycle[at : at + FRAMES_A_READ] for at in range(0, len(its.cycle), FRAMES_A_READ)]
    wires = [(b"".join(map(frame, piece)), len(piece)) for piece in pieces]
    while True:
        yield from wires


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure what verified books take in memory.")
    parser.add_argument("--updates", type=int, default=UPDATES, help="how many updates must not make it grow")
    parser.add_argument("--json", action="store_true", help="say it to a program")
    chosen = parser.parse_args()
    occupied = list(soak(chosen.updates))
    books = [{"pairs": pairs, "depth": depth, **books_take(pairs, depth)} for pairs, depth in BOOKS]
    (_, warm_bytes), *_, (_, end_bytes) = occupied
    if chosen.json:
        print(json.dumps({"warm_bytes": warm_bytes, "end_bytes": end_bytes, "books": books}))
        return
    print(f"| updates of {BOOKS[0][0]:,} books, verified | MB occupied |\n| --- | ---: |")
    for taken, occupied_bytes in occupied:
        print(f"| {taken:,} | {occupied_bytes / 1e6:.2f} |")
    print("\n| books | bytes a level | KB a pair | MB in all |\n| --- | ---: | ---: | ---: |")
    for took in books:
        row = f"{took['level']:.0f} | {took['pair'] / 1e3:.1f} | {took['all'] / 1e6:.1f}"
        print(f"| {took['pairs']:,} pairs, book-{took['depth']}, verified | {row} |")
    print(f"\nafter the first tenth of the updates it grew by {(end_bytes - warm_bytes) / 1024:.0f} KiB")
    if end_bytes - warm_bytes > MOST_GROWTH_BYTES:
        sys.exit("memory grows")


if __name__ == "__main__":
    main()
