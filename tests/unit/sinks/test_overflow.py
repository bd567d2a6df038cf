"""What `--overflow` does to a reader that does not read: a pipe nobody empties until the test does."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core import events
from krakenws.core.book import Book
from krakenws.core.catalog import Bound
from krakenws.core.events import VERIFIED, Route, Update
from krakenws.core.rows import Trade
from krakenws.core.v1_entries import BOOK, OWN_TRADES, TICKER, TRADE
from krakenws.errors import SinkError, UsageError
from krakenws.options import Options
from krakenws.sinks import ClosedPipe, Out, open_sink
from krakenws.sinks.overflow import HoldingOut, ImpatientOut, dropping, open_out
from tests.updates import RECEIVED_NS, Updates

if TYPE_CHECKING:
    from collections.abc import Iterator

    from krakenws.sinks import Sink

NOW = RECEIVED_NS
TRADES = '[1,[["64000.10000","0.01000000","1795324223.101000","b","l",""]],"trade","%s"]'
FILL = (
    '[[{"T":{"cost":"1","fee":"0","ordertxid":"O","ordertype":"limit","pair":"XBT/EUR","price":"1",'
    '"time":"1795324223.789052","type":"sell","vol":"1"}}],"ownTrades",{"sequence":%d}]'
)
ASK = '[1,{"a":[["%s","%s","1795324223.1"]],"c":"1"},"book-10","XBT/USD"]'


class Pipe:
    """A small pipe, and what was read of it."""

    def __init__(self) -> None:
        self._reads, self.writes = os.pipe()
        fcntl.fcntl(self.writes, fcntl.F_SETPIPE_SZ, 4096)
        os.set_blocking(self._reads, False)
        self.data = b""

    def read(self) -> int:
        """Take what is there; return how much it was."""
        try:
            data = os.read(self._reads, 1 << 20)
        except BlockingIOError:
            return 0
        self.data += data
        return len(data)

    def read_all(self, sink: Sink) -> None:
        """Read until the sink has nothing to wait for."""
        while self.read() or sink.waiting:
            sink.drained()

    @property
    def events(self) -> list[dict[str, Any]]:
        assert self.data.endswith(b"\n")
        return [json.loads(line) for line in self.data.splitlines()]

    def close_reader(self) -> None:
        os.close(self._reads)
        self._reads = os.open(os.devnull, os.O_RDONLY)

    def dispose(self) -> None:
        os.close(self._reads)
        os.close(self.writes)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    pipe.dispose()


class Dropping:
    """A sink that drops, before a pipe."""

    def __init__(
        self, pipe: Pipe, format_: str = "json", *entries: Any, most_bytes: int = 4096, **options: Any
    ) -> None:
        self.notes: list[str] = []
        self.lags: list[str] = []
        settings = Options(overflow="drop", overflow_bytes=most_bytes, **options)
        bound = [Bound(entry, {}) for entry in entries or (TRADE,)]
        out = open_out(Out(pipe.writes), settings)
        assert isinstance(out, HoldingOut)
        self.out = out
        inner = open_sink(format_, out, bound=bound)
        self.sink = dropping(inner, out, settings, bound, note=self.notes.append, tell_lag=self.lags.append)
        self.update = Updates()
        self.sent: Counter[str] = Counter()

    def trades(self, count: int, pair: str = "XBT/USD") -> None:
        for _ in range(count):
            self.sink.write([self.update(TRADES % pair)])
        self.sent[pair] += count


def counts(told: list[dict[str, Any]]) -> Counter[str]:
    """What is there and what is said to be missing, by pair, without our own snapshots."""
    found: Counter[str] = Counter()
    for event in told:
        if event["event"] == "update" and event["type"] == "update":
            found[event["symbol"]] += 1
        for item in event.get("dropped", ()):
            found[item["symbol"]] += item["count"]
    return found


def test_every_message_is_written_or_counted_however_the_reader_pauses(pipe: Pipe) -> None:
    run = Dropping(pipe)
    for part in range(40):
        run.trades(20 + 7 * (part % 5), "XBT/USD")
        run.trades(part, "ETH/USD")
        for _ in range(part % 3 * 2):
            pipe.read()
            run.sink.drained()
    run.trades(300)
    pipe.read_all(run.sink)
    run.trades(1)
    pipe.read_all(run.sink)
    assert counts(pipe.events) == run.sent
    lags = [event for event in pipe.events if event["event"] == "lagging"]
    assert len(lags) > 1
    assert lags[-1]["dropped_total"] == sum(item["count"] for lag in lags for item in lag["dropped"])
    assert len(run.lags) == len(lags)


def test_the_gap_stands_before_the_next_data_of_each_feed_and_says_since_when(pipe: Pipe) -> None:
    run = Dropping(pipe)
    run.sink.write([run.update(TRADES % "ETH/USD", received_ns=NOW - 5_000_000_000)])
    run.trades(500)
    run.trades(500, "ETH/USD")
    pipe.read_all(run.sink)
    pipe.data = b""
    run.trades(2, "ETH/USD")
    run.trades(1, "XBT/USD")
    pipe.read_all(run.sink)
    assert [(event["event"], event["symbol"]) for event in pipe.events] == [
        ("gap", "ETH/USD"),
        ("update", "ETH/USD"),
        ("update", "ETH/USD"),
        ("gap", "XBT/USD"),
        ("update", "XBT/USD"),
    ]
    gap = pipe.events[0]
    assert gap["cause"] == "lagging"
    assert gap["from"] == "2026-11-22T05:10:18.123456Z"
    assert gap["to"] == pipe.events[1]["received"]


def test_what_is_no_market_data_is_never_dropped(pipe: Pipe) -> None:
    run = Dropping(pipe)
    run.trades(500)
    assert run.out.behind
    rare: list[Update | events.Event] = [
        events.Disconnected(NOW, "public", "reset"),
        events.Gap(NOW, "book", "XBT/USD", "checksum", NOW),
        events.Refused(NOW, "trade", "A/B", "no"),
        events.Reply(NOW, "addOrder", 7, {}),
        events.Violation(NOW, "not JSON", "x", 1, "ab", 1),
        run.update(FILL % 1),
        run.update(FILL % 2),
    ]
    run.sink.write([run.update(TRADES % "XBT/USD"), *rare])
    pipe.read_all(run.sink)
    told = [event["event"] for event in pipe.events if event.get("channel") != "trade" or "error" in event]
    assert told == ["disconnected", "gap", "refused", "reply", "violation", "update", "update", "lagging"]


def test_trades_filled_in_from_rest_are_never_dropped_nor_counted_as_frames(pipe: Pipe) -> None:
    run = Dropping(pipe)
    run.trades(500)
    assert run.out.behind
    route = run.update(TRADES % "XBT/USD").route
    before = route.tally.fields()
    row = Trade("1.0", "2.0", "buy", "limit", "2026-11-22T05:10:23.1Z", trade_id=7, source="backfill")
    run.sink.write([Update(route, b"", NOW, False, None, [row])])
    assert route.tally.fields() == before
    pipe.read_all(run.sink)
    (filled,) = [e for e in pipe.events if e["event"] == "update" and "source" in e["data"][0]]
    assert filled["data"][0]["trade_id"] == 7


def test_the_summary_counts_the_gaps_that_a_slow_reader_made(pipe: Pipe) -> None:
    run = Dropping(pipe)
    run.trades(500)
    route = run.update(TRADES % "XBT/USD").route
    pipe.read_all(run.sink)
    run.trades(1)
    pipe.read_all(run.sink)
    assert [event["event"] for event in pipe.events].count("gap") == route.tally.gaps == 1


def test_with_too_much_that_cannot_be_dropped_writing_blocks_and_says_for_how_long(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("krakenws.sinks.overflow.NOTICEABLE_S", 0.0)
    run = Dropping(pipe)
    blocks = threading.Event()
    take = run.out._takes

    def takes(within_s: float | None = 0.0) -> bool:
        if within_s is None:
            blocks.set()
        return take(within_s)

    monkeypatch.setattr(HoldingOut, "_takes", lambda _, within_s=0.0: takes(within_s))
    gaps = [events.Gap(NOW, "ownTrades", "", "sequence", number, NOW) for number in range(1000)]
    writing = threading.Thread(target=lambda: [*map(run.sink.write, zip(gaps))])
    writing.start()
    assert blocks.wait(20)
    while writing.is_alive():
        pipe.read()
    pipe.read_all(run.sink)
    assert len(pipe.events) == 1000
    assert run.out.stood_s > 0.0
    assert not run.lags


def book_of(pair: str, depth: int) -> tuple[Route, Book]:
    route = Route(BOOK, {"depth": depth}, f"book-{depth}", pair)
    route.book = book = Book(pair, depth)
    route.trust = VERIFIED
    levels = range(1, depth + 1)
    book.snapshot([(f"{1000 + n}.5", "1.0") for n in levels], [(f"{1000 - n}.5", "2.0") for n in levels])
    return route, book


def test_many_deep_books_are_mended_in_rounds_and_the_counts_stay_exact(pipe: Pipe) -> None:
    """Their snapshots are 1.5 MB; no more than a round of them is in memory at once."""
    run = Dropping(pipe, most_bytes=262144)
    books = dict(book_of(f"A{number}/USD", 900) for number in range(20))
    most_bytes = 0
    for turn in range(400):
        for route in books:
            update = run.update(ASK % ("64000.1", "1.0"), VERIFIED)
            run.sink.write([Update(route, b"", NOW, False, VERIFIED, update.body)])
            run.sent[route.symbol] += 1
            most_bytes = max(most_bytes, len(run.out._kept))
            if turn > 300:
                pipe.read()
                run.sink.drained()
    pipe.read_all(run.sink)
    told = pipe.events
    assert counts(told) == run.sent
    assert most_bytes < 2 * 262144
    rounds = [event for event in told if event["event"] == "lagging"]
    assert len(rounds) > 1
    assert sum(len(event["dropped"]) for event in rounds) >= len(books)
    lagging: set[str] = set()
    for before, event in pairwise(told):
        if event["event"] == "lagging":
            lagging |= {item["symbol"] for item in event["dropped"]}
        elif event["event"] == "update" and event["type"] == "snapshot":
            assert before["event"] == "gap"
            lagging.remove(event["symbol"])
        elif event["event"] == "update":
            assert event["symbol"] not in lagging
    assert not lagging


@pytest.mark.parametrize(("shown", "levels"), [("changes", 10), ("top", 1), ("full", 10)])
def test_a_book_goes_on_with_our_own_copy_of_it(pipe: Pipe, shown: str, levels: int) -> None:
    run = Dropping(pipe, book=shown)
    route, book = book_of("XBT/USD", 10)
    for _ in range(200):
        body = run.update(ASK % ("1001.5", "7.0")).body
        run.sink.write([Update(route, b"", NOW, False, VERIFIED, body)])
    book.update([("1001.5", "7.0")], [])
    pipe.read_all(run.sink)
    lag, gap, snapshot = pipe.events[-3:]
    assert lag["dropped"][0]["depth"] == 10
    assert (gap["event"], gap["depth"], gap["to"]) == ("gap", 10, snapshot["received"])
    assert (snapshot["type"], snapshot["trust"]) == ("snapshot", "verified")
    (row,) = snapshot["data"]
    assert row["asks"][0] == {"price": "1001.5", "qty": "7.0"}
    assert len(row["asks"]) == len(row["bids"]) == levels
    assert row["checksum"] == book.checksum()


def test_a_book_that_is_broken_itself_waits_for_the_exchanges_snapshot(pipe: Pipe) -> None:
    run = Dropping(pipe)
    route, _ = book_of("XBT/USD", 10)
    body = run.update(ASK % ("1001.5", "7.0")).body
    for _ in range(200):
        run.sink.write([Update(route, b"", NOW, False, VERIFIED, body)])
    route.book = None
    pipe.read_all(run.sink)
    assert pipe.events[-1]["event"] == "lagging"
    run.sink.write([Update(route, b"", NOW, True, "unverified", body)])
    pipe.read_all(run.sink)
    assert [event["event"] for event in pipe.events[-2:]] == ["gap", "update"]


def test_at_the_end_the_reader_gets_what_it_is_owed(pipe: Pipe) -> None:
    run = Dropping(pipe)
    run.trades(500)
    ending = threading.Thread(target=run.sink.close)
    ending.start()
    while ending.is_alive():
        pipe.read()
    while pipe.read():
        pass
    assert pipe.events[-1]["event"] == "lagging"
    assert counts(pipe.events) == run.sent
    (note,) = run.notes
    assert note.startswith(f"{pipe.events[-1]['dropped_total']} messages were dropped in all")


def test_a_table_has_a_snapshot_of_the_book_and_people_have_the_words(pipe: Pipe) -> None:
    run = Dropping(pipe, "csv", BOOK)
    route, _ = book_of("XBT/USD", 10)
    body = run.update(ASK % ("1001.5", "7.0")).body
    for _ in range(400):
        run.sink.write([Update(route, b"", NOW, False, VERIFIED, body)])
    pipe.read_all(run.sink)
    rows = [line.split(",") for line in pipe.data.decode().splitlines()]
    assert len({len(row) for row in rows}) == 1
    assert [row[1] for row in rows[-21:]] == ["update", *["snapshot"] * 20]
    (sentence,) = run.lags
    dropped = 400 - (len(rows) - 21)
    assert sentence == (
        f"stdout is read too slowly: {dropped} messages of book XBT/USD 10 dropped, {dropped} in all"
    )


@pytest.mark.parametrize("format_", ["raw", "transcript"])
def test_frames_are_dropped_whole_answers_and_private_ones_never(pipe: Pipe, format_: str) -> None:
    run = Dropping(pipe, format_, TRADE, OWN_TRADES)
    trade, reply, fill = (TRADES % "XBT/USD").encode(), b'{"event":"pong","reqid":1}', (FILL % 1).encode()
    for _ in range(200):
        run.sink.received([trade, trade])
    run.sink.received([trade, reply, fill])
    run.sink.sent([b'{"event":"ping"}'])
    pipe.read_all(run.sink)
    lines = [line.rpartition(b"WebSocket: ")[2] for line in pipe.data.splitlines()]
    lines = [line.rpartition(b"Client: ")[2] for line in lines]
    rest = lines[lines.index(reply) :]
    assert rest == [reply, fill] + ([b'{"event":"ping"}'] if format_ == "transcript" else [])
    assert set(lines[: lines.index(reply)]) == {trade}
    assert run.lags == [f"stdout is read too slowly: {401 - lines.count(trade)} frames dropped so far"]


def test_a_reader_that_keeps_up_gets_every_line_as_it_comes(pipe: Pipe) -> None:
    run = Dropping(pipe)
    for number in range(50):
        run.trades(1)
        assert not run.sink.waiting
        pipe.read()
        assert len(pipe.events) == number + 1
    assert not run.lags


def test_the_file_description_that_others_share_stays_as_it_is(pipe: Pipe) -> None:
    before = fcntl.fcntl(pipe.writes, fcntl.F_GETFL)
    Dropping(pipe).trades(500)
    assert fcntl.fcntl(pipe.writes, fcntl.F_GETFL) == before


def test_a_reader_that_is_gone_ends_it(pipe: Pipe) -> None:
    run = Dropping(pipe)
    run.trades(500)
    pipe.close_reader()
    with pytest.raises(ClosedPipe):
        run.sink.drained()


def test_books_that_nobody_keeps_cannot_be_mended(pipe: Pipe) -> None:
    with pytest.raises(UsageError, match="--no-verify"):
        Dropping(pipe, "json", BOOK, verify=False)
    Dropping(pipe, "json", TICKER, verify=False)


def test_a_reader_that_takes_nothing_for_too_long_is_an_error_between_two_lines(pipe: Pipe) -> None:
    out = open_out(Out(pipe.writes), Options(overflow="exit", overflow_s=0.05))
    assert isinstance(out, ImpatientOut)
    line = b"0123456789" * 9 + b"\n"
    with pytest.raises(SinkError, match=r"took nothing for 0\.05 s"):
        out.write(line * 1000)
    pipe.read()
    assert pipe.data == line * 45
    with pytest.raises(SinkError):
        out.write(line * 46)  # without waiting once more
