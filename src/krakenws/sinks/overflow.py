"""Readers that are slower than the data: `--overflow drop` and `exit`; `block` is `Out` itself.

Theory of this file
-------------------
Stdout cannot be made non-blocking: the flag belongs to the open file description, which other processes
share. But a pipe that `poll` calls writable takes `PIPE_BUF` bytes without blocking (POSIX), so that is the
most of one write here, cut behind a line's end where there is one. (A terminal promises less, and a frozen
one may still block.)

`drop` keeps a bounded buffer. From the moment when it is full until it is empty, the reader is *behind*, and
market data is counted instead of written. What is rare and cannot be had again is never dropped: the life of
connections and subscriptions, answers, private feeds, trades filled in from REST. It goes into the buffer,
and when that has grown to twice its size, writing blocks after all.

Once the buffer is empty, one `Lagging` says what was dropped; from then on each feed concerned goes on
behind a `Gap`. A book cannot go on from anywhere: it is owed a snapshot, which our own copy gives at once.
Snapshots are large, so that thousands of books are mended in rounds, each with a `Lagging` of its own, and a
book whose turn has not come is still dropped. So the counts are exact: every data message that was received
is either written or counted, and only those snapshots of ours come on top.
"""

from __future__ import annotations

import os
import select
from time import monotonic, time_ns

from krakenws.core.catalog import PUBLIC
from krakenws.core.dialect import BookChanges
from krakenws.core.events import VERIFIED, Gap, Lagging, Summary, Update, lag_of
from krakenws.errors import SinkError, UsageError
from krakenws.net.poller import WRITE
from krakenws.sinks import NOTICEABLE_S, Out, Sink
from krakenws.sinks.lines import place_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from krakenws.core.book import Book
    from krakenws.core.catalog import Bound
    from krakenws.core.events import Event, Route
    from krakenws.errors import KrakenWSError
    from krakenws.options import Options

_LEVEL_BYTES = 128
"""More than a book's level takes in any output: a round of snapshots fits into the buffer."""


def open_out(out: Out, options: Options) -> Out:
    """Return what stdout is written through under a policy other than `block`.

    Raises:
        UsageError: this system cannot tell whether writing would block.
    """
    if not hasattr(select, "poll"):
        raise UsageError(
            f"--overflow {options.overflow} needs poll, which this system does not have: use block"
        )
    return HoldingOut(out, options) if options.overflow == "drop" else ImpatientOut(out, options)


class _PolledOut(Out):
    """Writes only what the descriptor takes without blocking."""

    __slots__ = ("_poll",)

    def __init__(self, out: Out) -> None:
        super().__init__(out.fd, out.name)
        self._poll = select.poll()
        self._poll.register(out.fd, select.POLLOUT)

    def fileno(self) -> int:
        """Return the descriptor, for `Poller`."""
        return self.fd

    def _takes(self, within_s: float | None = 0.0) -> bool:
        """Whether a write of some bytes will not block (but may fail)."""
        return bool(self._poll.poll(None if within_s is None else within_s * 1000))

    def _write_some(self, data: bytearray) -> None:
        """Write the beginning of `data`, which the descriptor takes now, and forget it."""
        end = len(data)
        if end > select.PIPE_BUF:
            end = data.rfind(b"\n", 0, select.PIPE_BUF) + 1 or select.PIPE_BUF
        try:
            written = os.write(self.fd, data[:end])
        except BlockingIOError:
            return
        except OSError as error:
            raise self.failure(error) from error
        del data[:written]


class ImpatientOut(_PolledOut):
    """Waits for a slow reader, but not for long."""

    __slots__ = ("_failed", "_patience_s")

    def __init__(self, out: Out, options: Options) -> None:
        super().__init__(out)
        self._patience_s = options.overflow_s
        self._failed = False

    def write(self, data: bytes) -> None:
        """Write all of it.

        Raises:
            ClosedPipe: nobody reads it any more.
            SinkError: it cannot be written, or the reader took nothing for too long.
        """
        rest = bytearray(data)
        stood_s = 0.0
        while rest:
            if not self._takes():
                began = monotonic()
                if self._failed or not self._takes(self._patience_s):
                    self._failed = True  # and what is still said at the end does not wait again
                    raise SinkError(
                        f"{self.name}: its reader took nothing for {self._patience_s:g} s (--overflow exit)"
                    )
                stood_s += monotonic() - began
            self._write_some(rest)
        if stood_s > NOTICEABLE_S:
            self.stood_s += stood_s


class HoldingOut(_PolledOut):
    """Keeps what the reader does not take yet, and waits for it only when there is far too much.

    Attributes:
        behind: the buffer was full and is not empty again: hold back what can be missed.
    """

    __slots__ = ("_full_bytes", "_kept", "_most_bytes", "_over", "_waiting", "behind")

    def __init__(self, out: Out, options: Options) -> None:
        super().__init__(out)
        self._kept = bytearray()
        self._over = False
        self._full_bytes = options.overflow_bytes
        self._most_bytes = 2 * options.overflow_bytes
        self._waiting = ((self, WRITE),)
        self.behind = False

    @property
    def empty(self) -> bool:
        """Whether the reader has been given everything."""
        return not self._kept

    @property
    def waiting(self) -> Sequence[tuple[HoldingOut, int]]:
        """What a sink waits for that writes here."""
        return self._waiting if self._kept else ()

    def write(self, data: bytes) -> None:
        """Keep it and write as much as the reader takes.

        Raises:
            ClosedPipe: nobody reads it any more.
            SinkError: it cannot be written.
        """
        if self._over:
            return
        self._kept += data
        self.flush()
        if len(self._kept) > self._most_bytes:
            self._wait(self._most_bytes)

    def flush(self) -> None:
        """Write as much as the reader takes now."""
        while self._kept and not self._over and self._takes():
            self._write_some(self._kept)
        self.behind = bool(self._kept) and (self.behind or len(self._kept) > self._full_bytes)

    def settle(self) -> None:
        """Wait until the reader has taken everything; from now on each write does.

        Waiting that was broken off is not begun again: what is written then is for nobody.
        """
        self._most_bytes = 0
        try:
            self._wait(0)
        except BaseException:
            self._over = True
            raise

    def _wait(self, most_bytes: int) -> None:
        began = monotonic()
        while len(self._kept) > most_bytes and not self._over and self._takes(None):
            self._write_some(self._kept)
        self.flush()
        stood_s = monotonic() - began
        if stood_s > NOTICEABLE_S:
            self.stood_s += stood_s


def dropping(
    sink: Sink,
    out: HoldingOut,
    options: Options,
    bound: Sequence[Bound] | None,
    *,
    note: Callable[[str], None],
    tell_lag: Callable[[str], None],
    shared: bool = False,
) -> Sink:
    """Return a sink that drops market data while the reader of `out`, to which `sink` writes, is behind.

    Args:
        sink: the output format.
        out: what it writes to.
        options: which view of books is shown.
        bound: what the run is about; None: it may be about anything.
        note: takes a sentence for people, about all that was dropped.
        tell_lag: takes one about each time; there may be many.
        shared: others read the same feeds: what is dropped here is not dropped in their account.

    Raises:
        UsageError: books are shown and not kept, so that they could not be mended.
    """
    if not sink.wants_events:
        return DropFrames(sink, out, bound or (), note, tell_lag)
    has_books = bound is None or any(one.entry.rows == "Level" for one in bound)
    if has_books and not options.verify and options.book == "changes":
        raise UsageError(
            "--overflow drop mends a book from our own copy of it, which --no-verify does not keep;"
            " leave one of them out"
        )
    return DropEvents(sink, out, options, note, tell_lag, shared=shared)


class _Dropping(Sink):
    """What both kinds of output have in common."""

    def __init__(
        self,
        sink: Sink,
        out: HoldingOut,
        note: Callable[[str], None],
        tell_lag: Callable[[str], None],
    ) -> None:
        self._sink = sink
        self._out = out
        self._note = note
        self._tell_lag = tell_lag
        self._dropped = 0
        self.wants_events = sink.wants_events

    @property
    def waiting(self) -> Sequence[tuple[HoldingOut, int]]:  # type: ignore[override]  # it changes here
        """The reader, while something is kept for it."""
        return self._out.waiting

    def drained(self) -> None:
        """Write as much as the reader takes; perhaps it is not behind any more."""
        self._out.flush()
        self._catch_up()

    def _catch_up(self) -> None:
        raise NotImplementedError

    def _settle(self) -> None:
        self._out.settle()
        self._catch_up()

    def has_told(self, error: KrakenWSError) -> bool:
        """Return what the output format says."""
        return self._sink.has_told(error)

    def close(self) -> None:
        """Wait until the reader has what it is owed."""
        try:
            self._sink.close()
            self._settle()
        finally:
            if self._dropped:
                self._note(f"{self._dropped} messages were dropped in all, since stdout was read too slowly")


class DropFrames(_Dropping):
    """For transcripts and raw output. Only people are told, and a book that lost a frame stays wrong."""

    def __init__(
        self,
        sink: Sink,
        out: HoldingOut,
        bound: Sequence[Bound],
        note: Callable[[str], None],
        tell_lag: Callable[[str], None],
    ) -> None:
        super().__init__(sink, out, note, tell_lag)
        v2 = [one.entry for one in bound if one.entry.api == 2 and one.entry.access == PUBLIC]
        self._v2_data = tuple(f'{{"channel":"{entry.name}"'.encode() for entry in v2)
        self._told = 0

    def sent(self, frames: list[bytes]) -> None:
        """Write them: they are ours."""
        self._sink.sent(frames)

    def received(self, frames: list[bytes]) -> None:
        """Write them, or what of them is no market data."""
        self._out.flush()
        if self._out.behind:
            count = len(frames)
            frames = [frame for frame in frames if not self._is_market_data(frame)]
            self._dropped += count - len(frames)
        self._sink.received(frames)
        self._catch_up()

    def _is_market_data(self, frame: bytes) -> bool:
        """v1: an array that ends with its pair; private ones end with `{"sequence": …}`."""
        return (frame[:1] == b"[" and frame[-2:] == b'"]') or (
            bool(self._v2_data) and frame.startswith(self._v2_data)
        )

    def _catch_up(self) -> None:
        if self._dropped > self._told and not self._out.behind:
            self._told = self._dropped
            self._tell_lag(f"stdout is read too slowly: {self._dropped} frames dropped so far")


def _is_filled_in(update: Update) -> bool:
    """Whether its rows come from REST: such trades have no frame, and are told once."""
    return not update.frame and update.route.entry.rows == "Trade"


class _Loss:
    """What was dropped of one feed, since it was last told."""

    __slots__ = ("count", "from_ns", "trust")

    def __init__(self) -> None:
        self.count = 0
        self.from_ns = 0
        self.trust: str | None = None


class DropEvents(_Dropping):
    """For JSON, CSV and text."""

    def __init__(
        self,
        sink: Sink,
        out: HoldingOut,
        options: Options,
        note: Callable[[str], None],
        tell_lag: Callable[[str], None],
        *,
        shared: bool = False,
    ) -> None:
        super().__init__(sink, out, note, tell_lag)
        self._shared = shared
        self._levels = 1 if options.book == "top" else None
        self._round_bytes = options.overflow_bytes
        self._last_ns: dict[Route, int] = {}
        self._losses: dict[Route, _Loss] = {}
        self._gaps: dict[Route, int] = {}

    def write(self, events: Sequence[Update | Event]) -> None:
        """Write them, or what of them cannot be missed."""
        if any(type(event) is Summary for event in events):  # the last word
            self._settle()
        self._out.flush()
        passed = self._sift(events) if self._out.behind or self._losses or self._gaps else events
        for event in passed:
            if type(event) is Update:
                self._last_ns[event.route] = event.received_ns
        if passed:
            self._sink.write(passed)
        self._catch_up()

    def _sift(self, events: Sequence[Update | Event]) -> list[Update | Event]:
        passed: list[Update | Event] = []
        for event in events:
            if type(event) is not Update or event.route.entry.access != PUBLIC or _is_filled_in(event):
                passed.append(event)
            elif self._out.behind or event.route in self._losses:
                self._drop(event)
            else:
                if event.route in self._gaps:
                    passed.append(self._gap(event.route, event.received_ns))
                passed.append(event)
        return passed

    def _drop(self, update: Update) -> None:
        loss = self._losses.get(update.route)
        if loss is None:
            loss = self._losses[update.route] = _Loss()
            loss.from_ns = update.received_ns
        loss.count += 1
        loss.trust = update.trust
        self._dropped += 1
        if not self._shared:
            update.route.tally.emitted -= 1
            update.route.tally.dropped += 1

    def _gap(self, route: Route, to_ns: int) -> Gap:
        missed = self._gaps.pop(route)
        route.tally.gaps += 1
        return Gap(to_ns, route.channel, route.symbol, "lagging", self._last_ns.get(route), to_ns, missed)

    def _catch_up(self) -> None:
        while self._losses and self._out.empty:
            self._round(time_ns())

    def _round(self, now_ns: int) -> None:
        """Tell what was dropped, and mend books, as many as may be mended at once."""
        levels = 0
        counts: list[dict[str, Any]] = []
        books: list[Update] = []
        from_ns = now_ns
        for route, loss in list(self._losses.items()):
            book = route.book
            if book is not None:
                levels += 2 * book.depth
                if books and levels * _LEVEL_BYTES > self._round_bytes:
                    continue
                books.append(snapshot_of(route, book, loss.trust, self._levels, now_ns))
            del self._losses[route]
            self._gaps[route] = self._gaps.get(route, 0) + loss.count
            from_ns = min(from_ns, loss.from_ns)
            counts.append({**place_of(route.channel, route.symbol), "count": loss.count})
        told = Lagging(now_ns, "drop", from_ns, dropped=counts, dropped_total=self._dropped)
        self._tell_lag(lag_of(told))
        mended: list[Update | Event] = [told]
        for snapshot in books:
            mended += (self._gap(snapshot.route, now_ns), snapshot)
            self._last_ns[snapshot.route] = now_ns
        self._sink.write(mended)


def snapshot_of(route: Route, book: Book, trust: str | None, levels: int | None, now_ns: int) -> Update:
    """Return a book as we have it; its checksum is the exchange's own where that has matched.

    Args:
        route: whose book it is.
        book: its verified copy.
        trust: what its last frame said of itself.
        levels: how many of each side are shown; None: all.
        now_ns: wall-clock time.
    """
    checksum = book.checksum() if trust == VERIFIED else None
    body = BookChanges(book.asks(levels), book.bids(levels), checksum, True)
    return Update(route, b"", now_ns, True, trust, body)
