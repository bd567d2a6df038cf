"""Readers that are slower than the data: `--overflow drop` and `exit`; `block` is `Out` itself.

Theory of this file
-------------------
Stdout cannot be made non-blocking: the flag belongs to the open file description, which other processes
share. But a pipe that `poll` calls writable takes `PIPE_BUF` bytes without blocking (POSIX), so that is the
most of one write here, cut behind a line's end where there is one. (A terminal promises less, and a frozen
one may still block.)

`drop` keeps a bounded buffer. From the moment when it is full until it is empty, the reader is *behind*: what
is held back from it then, and how it is told, is `krakenws.core.lagging`. What is never held back goes into
the buffer, and when that has grown to twice its size, writing blocks after all.
"""

from __future__ import annotations

import os
import select
from time import monotonic, time_ns

from krakenws.core.catalog import PUBLIC
from krakenws.core.events import Lagging, Summary, Update, lag_of
from krakenws.core.lagging import Losses
from krakenws.errors import SinkError, UsageError
from krakenws.net.poller import WRITE
from krakenws.sinks import NOTICEABLE_S, Out, Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from krakenws.core.catalog import Bound
    from krakenws.core.events import Event
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
        self._losses = Losses(
            levels=1 if options.book == "top" else None,
            round_levels=options.overflow_bytes // _LEVEL_BYTES,
            tallies=not shared,
        )

    def write(self, events: Sequence[Update | Event]) -> None:
        """Write them, or what of them cannot be missed."""
        if any(type(event) is Summary for event in events):  # the last word
            self._settle()
        self._out.flush()
        passed = self._losses.sift(events, behind=self._out.behind)
        self._dropped = self._losses.dropped
        if passed:
            self._sink.write(passed)
        self._catch_up()

    def _catch_up(self) -> None:
        while self._losses.pending and self._out.empty:
            mended = self._losses.mend(time_ns())
            for event in mended:
                if type(event) is Lagging:
                    self._tell_lag(lag_of(event))
            self._sink.write(mended)
