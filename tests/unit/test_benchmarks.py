"""The benchmarks measure what they say: their frames are what Kraken sends, and the command line stands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.frames import PAIR, stamped_trade, stream
from benchmarks.rivals import masked
from benchmarks.server import Flood, frame
from krakenws.core.book import Book
from krakenws.core.v1 import V1
from krakenws.core.websocket import WebSocket

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("channel", ["ticker", "trade", "book-10", "book-1000"])
def test_every_frame_is_data_of_its_channel(channel: str) -> None:
    source = stream(channel)
    for payload in (source.first, *source.cycle):
        assert json.loads(payload)[-2:] == [channel, PAIR]
        assert V1.tail(payload) == V1.tail_of(channel, PAIR)


@pytest.mark.parametrize("depth", [10, 1000])
def test_each_checksum_of_a_book_is_right_also_when_its_cycle_is_repeated(depth: int) -> None:
    source = stream(f"book-{depth}")
    book, snapshot = Book(PAIR, depth), V1.book(source.first)
    book.snapshot(snapshot.asks, snapshot.bids)
    for payload in source.cycle * 2:
        changes = V1.book(payload)
        book.update(changes.asks, changes.bids)
        assert book.checksum() == changes.checksum
        assert not book.crossed
        assert not book.stray_deletes


def test_a_stream_is_the_same_each_time() -> None:
    assert stream("book-10").cycle == stream("book-10").cycle
    assert stream("ticker").cycle == stream("ticker").cycle


def test_a_flood_sends_exactly_as_many_frames_as_asked_for() -> None:
    source = stream("trade")
    wire = b"".join(Flood(source).writes(len(source.cycle) + 3))
    assert WebSocket(lambda: b"mask", 1 << 20).receive(wire) == source.cycle + source.cycle[:3]


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_of_any_size_are_read_back(size: int) -> None:
    payload = b"x" * size
    assert WebSocket(lambda: b"mask", 1 << 20).receive(frame(payload)) == [payload]


def test_a_stamped_trade_carries_the_moment_it_left() -> None:
    assert int(json.loads(stamped_trade(1234))[1][0][2]) == 1234


def test_a_rival_masks_what_it_sends() -> None:
    assert masked(b"hi") == b"\x81\x82\x00\x00\x00\x00hi"


def test_the_benchmark_says_what_it_takes() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "run.py"), "--help"],
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )
    assert "--quick" in done.stdout
