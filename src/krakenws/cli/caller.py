"""One program at the other end of a session: the lines it sends, the answers it awaits, what it is told."""

from __future__ import annotations

import os

from krakenws.core.session import addressed
from krakenws.net.poller import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from typing import Any

    from krakenws.core.events import Event, Update
    from krakenws.core.session import CallerId
    from krakenws.net.poller import HasFileno
    from krakenws.sinks import Sink

_READ_BYTES = 1 << 16
LONGEST_LINE_BYTES = 1 << 16
MOST_OPEN = 64
"""Answers that a caller awaits: until one comes, no more of its lines are read."""


class Lines:
    """Bytes in, lines out; one that is too long comes out as None, once, at its end.

    Attributes:
        whole: whether a line can be taken.
    """

    __slots__ = ("_end", "_kept", "_skips", "_taken", "whole")

    def __init__(self) -> None:
        self._kept = b""
        self._taken = 0
        self._end = -1
        self._skips = self.whole = False

    def feed(self, data: bytes) -> None:
        """Take what was read."""
        kept = self._kept = self._kept[self._taken :] + data if self._taken < len(self._kept) else data
        self._taken = 0
        end = self._end = kept.find(b"\n")
        self.whole = end >= 0
        if len(kept) > LONGEST_LINE_BYTES and end < 0:
            self._skips = True
            self._kept = b""

    def end(self) -> None:
        """Nothing more will be read: what is left is a line, too."""
        if len(self._kept) > self._taken or self._skips:
            self.feed(b"\n")

    def clear(self) -> None:
        """Forget what is left."""
        self._kept, self._taken, self._end = b"", 0, -1
        self._skips = self.whole = False

    def take(self) -> bytes | None:
        """Return the next line, of which there must be a `whole` one; None: it is too long."""
        end = self._end
        line = self._kept[self._taken : end]
        self._taken = end + 1
        self._end = self._kept.find(b"\n", end + 1)
        self.whole = self._end >= 0
        if self._skips or len(line) > LONGEST_LINE_BYTES:
            self._skips = False
            return None
        return line


class Caller:
    """A caller.

    Args:
        number: which one it is; 0 is not used.
        source: where its lines come from.
        sink: where its events go.
        alone: the session is for it, and ends with it.

    Attributes:
        lines: what it sent and was not looked at yet.
        line: how many of its lines were looked at.
        open: how many answers it awaits.
        settled: one came since somebody looked.
        ended: it sends no more.
        gone: nothing reaches it any more.
        aside: the line that waits for what a call must tell first, if one does.
        learned: what such calls have told for that line (`cli.beside`).
        pending: what it is to be told, and has not left.
        was_watched: what of `watched` is being waited for.
    """

    __slots__ = (
        "_watched",
        "alone",
        "aside",
        "ended",
        "gone",
        "learned",
        "line",
        "lines",
        "number",
        "open",
        "pending",
        "settled",
        "sink",
        "source",
        "was_watched",
    )

    def __init__(self, number: int, source: HasFileno, sink: Sink, *, alone: bool) -> None:
        self.number = number
        self.source = source
        self.sink = sink
        self.alone = alone
        self.lines = Lines()
        self.line = self.open = 0
        self.settled = self.ended = self.gone = False
        self.aside: bytes | None = None
        self.learned: dict[Hashable, Callable[[], Any]] = {}
        self._watched: Sequence[tuple[HasFileno, int]] = ((source, READ),)
        self.was_watched: Sequence[tuple[HasFileno, int]] = ()
        self.pending: list[Update | Event] = []

    @property
    def is_heard(self) -> bool:
        """Whether another line may be looked at: not while one waits, too much is unanswered or unread."""
        return not self.gone and self.aside is None and self.open < MOST_OPEN and not self.sink.waiting

    @property
    def is_done(self) -> bool:
        """Whether it asks nothing more and awaits nothing."""
        if self.open or self.aside is not None or self.lines.whole:
            return False
        return self.ended and not self.sink.waiting

    @property
    def reads(self) -> bool:
        """Whether more is to be read from it now."""
        return (
            not self.ended
            and not self.gone
            and self.aside is None
            and self.open < MOST_OPEN
            and not self.sink.waiting
            and not self.lines.whole
        )

    @property
    def only_listens(self) -> bool:
        """Whether nothing is to be done for it but to wait, as before, for its next line."""
        return not self.pending and self.was_watched is self._watched and self.reads

    @property
    def watched(self) -> Sequence[tuple[HasFileno, int]]:
        """What to wait for on its behalf; the same object as long as it is the same."""
        if not self.alone and self.sink.waiting:
            return self.sink.waiting
        return self._watched if self.reads else ()

    def read(self) -> None:
        """Take what came from it."""
        try:
            data = os.read(self.source.fileno(), _READ_BYTES)
        except BlockingIOError:
            return
        except OSError:  # reset: as good as its end
            data = b""
        if data:
            self.lines.feed(data)
        else:
            self.lines.end()
            self.ended = True

    def quit(self) -> None:
        """Read nothing more."""
        self.lines.clear()
        self.ended = True

    def take(self, event: Update | Event) -> None:
        """Take what happened; it leaves with `flush`."""
        self.pending.append(event)

    def answer(self, event: Event, id_: CallerId) -> None:
        """Take the answer to a line that is answered directly."""
        self.pending.append(addressed(event, id_))

    def settle(self, event: Event, id_: CallerId) -> None:
        """Take an answer that was awaited."""
        self.open -= 1
        self.settled = True
        self.pending.append(addressed(event, id_))

    def flush(self) -> None:
        """Let leave what was taken, in one piece.

        Raises:
            ClosedPipe: nobody reads it any more.
            SinkError: it cannot be written.
        """
        if self.pending:
            pending, self.pending = self.pending, []
            self.sink.write(pending)
