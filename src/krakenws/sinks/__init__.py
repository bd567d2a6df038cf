"""Where frames and events go: `open_sink` gives the sink of an output format, `Out` is what it writes to."""

from __future__ import annotations

import os
from time import monotonic

from krakenws.errors import SinkError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from krakenws.core.catalog import Bound
    from krakenws.core.events import Event, Update
    from krakenws.errors import KrakenWSError
    from krakenws.net.poller import HasFileno

FORMATS = ("text", "json", "transcript", "raw", "csv")
COLUMNS = 100
"""The widest line of text where there is no terminal to tell."""
NOTICEABLE_S = 1.0
"""A wait for the reader that is worth a word."""
_PIPE_BYTES = 1 << 18
"""What a pipe should hold. By default it is 64 KiB, less than what one read of the socket becomes behind a
prefix or as JSON, so that each write would wait for the reader, twice."""


class ClosedPipe(Exception):
    """The reader of our output is gone, as with `| head -1`: the run ends quietly, with exit code 0."""


class Out:
    """A file descriptor that takes all of what it is given, or says why not.

    Attributes:
        fd: where it writes.
        name: what it is called in an error.
        stood_s: seconds for which it had to wait for its reader so far, waits below `NOTICEABLE_S` left out.
    """

    __slots__ = ("fd", "name", "stood_s")

    def __init__(self, fd: int, name: str = "stdout") -> None:
        self.fd = fd
        self.name = name
        self.stood_s = 0.0

    def write(self, data: bytes) -> None:
        """Write all of it, waiting for a slow reader: that is how back-pressure reaches the socket.

        Raises:
            ClosedPipe: nobody reads it any more.
            SinkError: it cannot be written, for example because the disk is full.
        """
        rest: bytes | memoryview = data
        began = monotonic()
        try:
            while rest:
                try:
                    written = os.write(self.fd, rest)  # retries after signals itself (PEP 475)
                except BlockingIOError:
                    _wait_until_writable(self.fd)
                    continue
                if written == len(rest):
                    break
                rest = memoryview(rest)[written:]
        except OSError as error:
            raise self.failure(error) from error
        stood_s = monotonic() - began
        if stood_s > NOTICEABLE_S:
            self.stood_s += stood_s

    def widen(self) -> None:
        """Let a pipe hold some reads' output, so that writer and reader work at the same time, on Linux."""
        try:
            from fcntl import F_GETPIPE_SZ, F_SETPIPE_SZ, fcntl
        except ImportError:  # another system
            return
        try:
            if fcntl(self.fd, F_GETPIPE_SZ) < _PIPE_BYTES:
                fcntl(self.fd, F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:  # no pipe, or the user has too many large ones
            return

    def failure(self, error: OSError) -> ClosedPipe | SinkError:
        """Return what an error of the descriptor means to a run."""
        if isinstance(error, BrokenPipeError | ConnectionResetError):
            return ClosedPipe()
        reason = error.strerror or str(error)
        return SinkError(f"{self.name}: {reason[:1].lower()}{reason[1:]}")


def _wait_until_writable(fd: int) -> None:
    """A terminal or pipe that another program made non-blocking is full."""
    import select

    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(fd, select.POLLOUT)
        poll.poll()
    else:
        select.select((), (fd,), ())


def columns_of(descriptor: int) -> int:
    """Return how wide a line may be: as a terminal is, elsewhere 100 columns."""
    try:
        return os.get_terminal_size(descriptor).columns or COLUMNS  # 0: it does not know itself
    except OSError:
        return COLUMNS


class Sink:
    """Takes what happened and writes it. Each method does nothing unless a format overrides it.

    `write` is called once for everything that one read brought, so that it leaves in one piece.

    Raises:
        ClosedPipe: from any method: nobody reads the output any more.
        SinkError: from any method: it cannot be written.
    """

    wants_events = True
    """False: this sink is about frames, and nothing needs to be decoded for it."""
    waiting: Sequence[tuple[HasFileno, int]] = ()
    """What must be waited for until `drained` is called, as `krakenws.net.poller` takes it."""

    def sent(self, frames: list[bytes]) -> None:
        """Take frames that were sent, already redacted."""

    def received(self, frames: list[bytes]) -> None:
        """Take the whole frames of one read, already redacted."""

    def write(self, events: Sequence[Update | Event]) -> None:
        """Take what happened, in order."""

    def drained(self) -> None:
        """Take notice that the reader has taken something."""

    def failed(self, error: KrakenWSError) -> None:
        """Take the error that ends the run; words for people go to stderr all the same."""

    def has_told(self, error: KrakenWSError) -> bool:  # noqa: ARG002 - for formats that tell people
        """Return whether people have read here what ended the run."""
        return False

    def close(self) -> None:
        """Write what is left. The descriptor stays open: it belongs to the caller."""


def open_sink(
    format: str,  # noqa: A002 - the option's word
    out: Out,
    *,
    bound: Sequence[Bound] | None = (),
    color: bool = False,
    warn: Callable[[str], None] | None = None,
) -> Sink:
    """Return the sink of an output format.

    Args:
        format: one of `FORMATS`.
        out: where it writes.
        bound: what the run is about: CSV has the columns of one channel, text names several. None when only
            the data can tell, as in a file of frames.
        color: text may use colours.
        warn: takes a sentence about each frame that CSV leaves out, since it gives no rows.

    Raises:
        UsageError: there is no such format, or these feeds do not go into one CSV table.
    """
    if format == "text":
        from krakenws.sinks.text import Text

        several = len({(item.entry.api, item.entry.name) for item in bound or ()}) > 1
        return Text(out, color=color, channels=several, columns=lambda: columns_of(out.fd))
    from krakenws.sinks import lines

    if format == "transcript":
        return lines.Transcript(out)
    if format == "raw":
        return lines.Raw(out)
    if format == "json":
        return lines.Json(out)
    if format == "csv":
        return lines.Csv(out, None if bound is None else lines.one_channel(bound), warn)
    raise UsageError(f"output {format!r} is not offered; choose from {', '.join(FORMATS)}")
