"""Readers of stdout that do not keep up, under each `--overflow`: what they get, and what they are told."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from contextlib import contextmanager
from shlex import split
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from tests.support.scripts import TRADE, Ladder
from tests.support.server import acks, exchange, frame_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.command import Command
    from tests.support.server import Connection

FLOOD_BYTES = 200_000_000
MOST_RSS_BYTES = 64_000_000
PATIENCE_S = 40.0
"""For hundreds of megabytes on a crowded machine."""
PAIRS = ("XBT/USD", "ETH/USD")
FEEDS = split(f"book {' '.join(PAIRS)} 10 + trade {' '.join(PAIRS)}")
LAST = '[321,[["1.00000","1.00000000","1795324223.101000","b","l",""]],"trade","XBT/USD"]'


class Block(NamedTuple):
    """Frames that leave the books as they found them, so that they may be sent again and again."""

    books: list[Ladder]
    frames: list[str]
    counts: Counter[tuple[str, str]]
    wire: bytes

    def only(self, feed: str) -> Block:
        """Return the same with one channel alone."""
        frames = [frame for frame in self.frames if name_of(frame) == feed]
        books = self.books if feed == "book" else []
        counts = Counter({key: n for key, n in self.counts.items() if key[0] == feed})
        return Block(books, frames, counts, wire_of(frames))


@pytest.fixture(scope="module")
def block() -> Block:
    """A hundred kilobytes of trades and of book updates that verify."""
    books = [Ladder("XBT/USD"), Ladder("ETH/USD", middle=2500)]
    trade = ["64000.10000", "0.01000000", "1795324223.101000", "b", "l", ""]
    frames = []
    for book in books:
        trades = json.dumps([321, [trade] * 14, "trade", book.pair], separators=(",", ":"))
        for qty in ("5.00000000", "6.50000000", "1.00000000"):
            for price in list(book.asks)[:6]:
                frames += [book.update(price, qty), trades, trades, trades]
    counts = Counter((name_of(frame), json.loads(frame)[-1]) for frame in frames)
    return Block(books, frames, counts, wire_of(frames))


def wire_of(frames: list[str]) -> bytes:
    return b"".join(frame_of(frame.encode()) for frame in frames)


def name_of(frame: str) -> str:
    name: str = json.loads(frame)[-2]
    return name.partition("-")[0]


class Reader:
    """The command, and a reader of its stdout that begins when it is told to."""

    def __init__(self, popen: subprocess.Popen[bytes], errors: Path) -> None:
        assert popen.stdout is not None
        self._popen = popen
        self._out = popen.stdout
        self._errors = errors
        self.pid = popen.pid

    @property
    def most_rss_bytes(self) -> int:
        """The most memory it has had."""
        with open(f"/proc/{self.pid}/status") as status:
            (line,) = [line for line in status if line.startswith("VmHWM")]
        return int(line.split()[1]) * 1024

    @property
    def err(self) -> str:
        """What stderr says."""
        return self._errors.read_text()

    def lines(self, until: str) -> list[str]:
        """Read lines up to the one that contains a text."""
        lines = []
        for line in self._out:
            assert line.endswith(b"\n")
            lines.append(line.decode())
            if until in lines[-1]:
                return lines
        raise AssertionError(f"stdout ended without {until}: {self.err}")

    def until_noted(self, words: str) -> list[str]:
        """Read lines until stderr says something."""
        lines: list[str] = []
        while words not in self.err:
            lines += self.lines(until="")
        return lines

    def rest(self) -> list[str]:
        """Read to the end."""
        return [line.decode() for line in self._out]

    def terminate(self) -> None:
        """Send SIGTERM."""
        self._popen.terminate()

    def code(self) -> int:
        """Wait for the end; return the exit code."""
        return self._popen.wait(PATIENCE_S)

    def end(self) -> list[str]:
        """Ask it to end; return its last lines."""
        self.terminate()
        rest = self.rest()
        assert self.code() == 0, self.err
        return rest


@contextmanager
def unread(krakenws: Command, *words: str, program: list[str] | None = None) -> Iterator[Reader]:
    """Start the command; nobody reads its stdout yet."""
    errors = krakenws.home / "stderr"
    with (
        open(errors, "w") as stderr,
        subprocess.Popen(
            [*(program or krakenws.program), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=krakenws.environ,
            cwd=krakenws.home,
        ) as popen,
    ):
        watchdog = threading.Timer(2 * PATIENCE_S, popen.kill)
        watchdog.start()
        try:
            yield Reader(popen, errors)
        finally:
            watchdog.cancel()
            popen.kill()


class Flood:
    """An exchange that sends blocks: many at first, and one more after `resumed`."""

    def __init__(self, block: Block, count: int, subscriptions: int = 2) -> None:
        self._block = block
        self._subscriptions = subscriptions
        self.count = count
        self.sent = threading.Event()
        self.stalled = threading.Event()
        self.resumed = threading.Event()

    def __call__(self, client: Connection) -> None:
        client.greet()
        for _ in range(self._subscriptions):
            asked = client.expect(event="subscribe")
            client.send(*acks(asked))
        client.send(*(book.snapshot() for book in self._block.books))
        for _ in range(self.count):
            if not self.stalled.is_set() and not client.takes_more(1.5):
                self.stalled.set()
                assert self.resumed.wait(PATIENCE_S)
            client.raw(self._block.wire)
        self.sent.set()
        assert self.resumed.wait(PATIENCE_S)
        client.raw(self._block.wire)
        client.send(LAST)
        client.hold()

    @property
    def counts(self) -> Counter[tuple[str, str]]:
        """How many updates were sent, by channel and pair."""
        counts = Counter({feed: n * (self.count + 1) for feed, n in self._block.counts.items()})
        counts["trade", "XBT/USD"] += 1
        return counts


class Consumer:
    """Reads JSON lines as a user would: keeps books from them alone, and checks them."""

    def __init__(self) -> None:
        self.received: Counter[tuple[str, str]] = Counter()
        self.dropped: Counter[tuple[str, str]] = Counter()
        self.snapshots: Counter[str] = Counter()
        self.gaps: list[dict[str, Any]] = []
        self.lags: list[dict[str, Any]] = []
        self.verified = 0
        self.summary: dict[str, Any] = {}
        self._books: dict[str, Ladder] = {}
        self._broken: set[tuple[str, str]] = set()

    def take(self, line: str) -> None:
        event = json.loads(line)
        if event["event"] == "lagging":
            self.lags.append(event)
            for item in event.get("dropped", ()):
                feed = item["channel"], item["symbol"]
                self.dropped[feed] += item["count"]
                self._broken.add(feed)
        elif event["event"] == "summary":
            self.summary = event
        elif event["event"] == "gap":
            self.gaps.append(event)
            self._broken.remove((event["channel"], event["symbol"]))
        elif event["event"] == "update":
            feed = event["channel"], event["symbol"]
            assert feed not in self._broken, "data before its gap"
            if event["type"] == "update":
                self.received[feed] += 1
            if event["channel"] == "book":
                self._book(event)

    def _book(self, event: dict[str, Any]) -> None:
        (row,) = event["data"]
        if event["type"] == "snapshot":
            self.snapshots[event["symbol"]] += 1
            book = self._books[event["symbol"]] = Ladder(event["symbol"])
            book.asks, book.bids = {}, {}
        book = self._books[event["symbol"]]
        for side, levels in ((book.asks, row["asks"]), (book.bids, row["bids"])):
            side.update((level["price"], level["qty"]) for level in levels)
        if "checksum" in row:
            assert book.checksum == str(row["checksum"])
            self.verified += 1


def test_under_drop_the_gaps_and_counts_say_exactly_what_a_sleeping_reader_missed(
    krakenws: Command, block: Block
) -> None:
    """200 MB go by unread in bounded memory; then books are right again, from the output alone."""
    flood = Flood(block, FLOOD_BYTES // len(block.wire))
    consumer = Consumer()
    with (
        exchange(flood) as server,
        unread(krakenws, *FEEDS, "--overflow", "drop", "-o", "json", *server.options) as reader,
    ):
        assert flood.sent.wait(PATIENCE_S), reader.err
        lines = reader.lines(until='"event":"lagging"')
        flood.resumed.set()
        lines += reader.lines(until='"price":"1.00000"')
        assert reader.most_rss_bytes < MOST_RSS_BYTES
        lines += reader.end()
        err = reader.err
    for line in lines:
        consumer.take(line)
    assert not flood.stalled.is_set()
    assert len(server.connections) == 1
    assert consumer.received + consumer.dropped == flood.counts
    assert consumer.lags[-1]["dropped_total"] == consumer.dropped.total()
    assert consumer.dropped.total() > 0.9 * flood.counts.total()
    booked = {(item["channel"], item["symbol"]): item["dropped"] for item in consumer.summary["channels"]}
    assert booked == consumer.dropped
    assert {(gap["channel"], gap["symbol"]) for gap in consumer.gaps} == set(flood.counts)
    assert sum(gap["missed"] for gap in consumer.gaps) == consumer.dropped.total()
    for gap in consumer.gaps:
        assert gap["cause"] == "lagging"
        assert gap["from"] < gap["to"]
    books = [gap["symbol"] for gap in consumer.gaps if gap["channel"] == "book"]
    assert consumer.snapshots == Counter(books) + Counter(PAIRS)
    assert consumer.verified >= 2 * 18
    assert "read too slowly" in err


def test_by_default_a_sleeping_reader_stops_the_exchange_and_misses_nothing(
    krakenws: Command, block: Block
) -> None:
    flood = Flood(block, 25_000_000 // len(block.wire))
    consumer = Consumer()
    with exchange(flood) as server, unread(krakenws, *FEEDS, "-o", "json", *server.options) as reader:
        assert flood.stalled.wait(PATIENCE_S), reader.err
        flood.resumed.set()
        for line in reader.lines(until='"price":"1.00000"'):
            consumer.take(line)
        assert reader.most_rss_bytes < MOST_RSS_BYTES
        reader.end()
        err = reader.err
    assert consumer.received == flood.counts
    assert not consumer.gaps
    lag = consumer.lags[0]
    assert lag["policy"] == "block"
    assert lag["blocked_s"] > 1.0
    assert lag["blocked_total_s"] >= lag["blocked_s"]
    assert "may cut a connection" in err
    assert len(server.connections) == 1


def test_a_ping_of_the_exchange_is_answered_before_output_stands_still(krakenws: Command) -> None:
    """The ping is inside a message that is too long for the pipe, so that it comes with the message's end."""
    ponged = threading.Event()

    def script(client: Connection) -> None:
        asked = client.serve()
        assert asked["pair"] == ["XBT/USD"]
        trade = TRADE.encode().replace(b'"l",""', b'"l","' + b"x" * 500_000 + b'"')
        start, end = frame_of(trade[:-20], fin=False), frame_of(trade[-20:], opcode=0)
        client.raw(start + frame_of(b"are you there", opcode=9) + end)
        client.expect_pong(b"are you there")
        ponged.set()
        client.hold()

    with (
        exchange(script) as server,
        unread(krakenws, *split("trade XBT/USD -o raw"), *server.options) as reader,
    ):
        assert ponged.wait(PATIENCE_S), reader.err
        reader.lines(until='"XBT/USD"]')


@pytest.mark.parametrize("output", ["json", "raw"])
def test_under_exit_a_reader_that_takes_nothing_ends_the_run_with_7(
    krakenws: Command, block: Block, output: str
) -> None:
    impatient = "from krakenws.options import Options; Options.overflow_s = 0.2"
    program = [sys.executable, "-P", "-c", f"{impatient}; from krakenws.cli import entry; entry()"]
    flood = Flood(block, 10_000_000 // len(block.wire))
    words = [*FEEDS, "--overflow", "exit", "-o", output]
    with exchange(flood) as server, unread(krakenws, *words, *server.options, program=program) as reader:
        assert reader.code() == 7, reader.err
        flood.resumed.set()
        assert reader.err.count("\n") == 1
        assert "its reader took nothing for 0.2 s" in reader.err
        for line in reader.rest():
            json.loads(line)


@pytest.mark.parametrize(("output", "feed"), [("raw", "trade"), ("csv", "book"), ("text", "book")])
def test_under_drop_every_output_has_whole_lines_and_stderr_the_words(
    krakenws: Command, block: Block, output: str, feed: str
) -> None:
    block = block.only(feed)
    flood = Flood(block, 8_000_000 // len(block.wire), subscriptions=1)
    words = split(f"{feed} {' '.join(PAIRS)} --overflow drop -o {output}")
    with exchange(flood) as server, unread(krakenws, *words, *server.options) as reader:
        assert flood.sent.wait(PATIENCE_S), reader.err
        lines = reader.until_noted("read too slowly")
        flood.resumed.set()
        lines += reader.end()
        err = reader.err
    assert "were dropped in all" in err
    if output == "raw":
        for line in lines:
            json.loads(line)
    elif output == "csv":
        assert len({line.count(",") for line in lines}) == 1
        assert [line.split(",")[1] for line in lines].count("snapshot") >= 2 * 2 * 20
    else:
        assert sum("read too slowly" in line for line in lines) >= 1
        assert sum("lagging" in line for line in lines) >= 2


@pytest.mark.parametrize("policy", ["block", "drop"])
def test_a_run_whose_reader_sleeps_for_ever_ends_when_told_to(
    krakenws: Command, block: Block, policy: str
) -> None:
    flood = Flood(block, 25_000_000 // len(block.wire))
    words = [*FEEDS, "--overflow", policy, "-o", "json"]
    with exchange(flood) as server, unread(krakenws, *words, *server.options) as reader:
        assert (flood.stalled if policy == "block" else flood.sent).wait(PATIENCE_S), reader.err
        reader.terminate()
        assert reader.code() == 0, reader.err
        flood.resumed.set()
        *lines, _ = reader.rest()  # the last line may be cut: nobody took it
        for line in lines:
            json.loads(line)
