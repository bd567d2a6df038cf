"""Streams: what feeds bring, as events to iterate over at the caller's own pace.

Between the socket and the caller stands a queue with a bound, because the caller, unlike a sink, is not
called but comes. When it is full, the stream's policy decides:

- `block`: the socket is not read until half of the queue has been taken. All streams of that connection wait.
- `drop`: market data is left out until the caller has taken everything, then it is told exactly what it
  missed, and books go on from a snapshot of our own (`krakenws.core.lagging`). What cannot be had again
  (private feeds, the life of connections) is kept; if that alone fills the queue twice over, `block` applies.
- `raise`: the stream ends with `SinkError`, after what is in the queue.

With `block` what one read of the socket brings (64 KiB) is not divided: the queue may be longer by that.
"""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from time import time_ns
from typing import TYPE_CHECKING, Generic

from krakenws.core.lagging import Losses
from krakenws.errors import SinkError, UsageError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any, Self

    from typing_extensions import TypeVar

    from krakenws.core.catalog import Bound
    from krakenws.core.events import Event, Update
    from krakenws.net.aiofeeds import FeedShell
    from krakenws.net.livebook import Watch

    RowT = TypeVar("RowT", default=Any)
else:
    from typing import TypeVar

    RowT = TypeVar("RowT")

BLOCK, DROP, RAISE = "block", "drop", "raise"
OVERFLOWS = (BLOCK, DROP, RAISE)
MAX_EVENTS = 4096


class Queue:
    """What a stream has not taken yet.

    Attributes:
        events: in order.
        watchful: whether taking from it changes anything: it is full, or something was dropped.
    """

    def __init__(self, shell: FeedShell, overflow: str, max_events: int, *, top_only: bool) -> None:
        self.events: deque[Update | Event] = deque()
        self.watchful = False
        self._shell = shell
        self._overflow = overflow
        self._max_events = max_events
        self._losses = Losses(levels=1 if top_only else None) if overflow == DROP else None
        self._behind = False
        self._full = False
        self._ended = False
        self._error: BaseException | None = None
        self._news: asyncio.Future[None] | None = None

    def take(self, events: list[Update | Event]) -> bool:
        """Keep what came; return whether there must not come more for now."""
        if self._ended:
            return False
        queue = self.events
        if self._losses is not None:
            self._take_some(self._losses, events)
        else:
            queue.extend(events)
            if len(queue) > self._max_events:
                if self._overflow == RAISE:
                    self._shell.leave(self)
                    self.fail(SinkError(f"this stream is read too slowly: {self._max_events} events wait"))
                    return False
                self._full = self.watchful = True
        self._wake()
        return self._full

    def _take_some(self, losses: Losses, events: list[Update | Event]) -> None:
        """Keep what there is room for, and of the rest what is no market data."""
        queue = self.events
        room = 0 if self._behind else max(0, self._max_events - len(queue))
        queue.extend(losses.sift(events[:room], behind=False))
        if len(events) > room:
            self._behind = True
            queue.extend(losses.sift(events[room:], behind=True))
        self._full = len(queue) >= 2 * self._max_events
        self.watchful = self._behind or self._full

    def fail(self, error: BaseException | None) -> None:
        """End, after what is in the queue."""
        if not self._ended:
            self._ended, self._error = True, error
            self._wake()

    def close(self) -> None:
        """Want nothing more."""
        self.events.clear()
        self.fail(None)  # first: what is told as it leaves must not find it full
        self._shell.leave(self)

    def _wake(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    def taken(self) -> None:
        """Take notice that the caller took something."""
        if self._full and len(self.events) <= self._max_events // 2:
            self._full = False
            self._shell.resume(self)
        if self._behind and not self.events:
            self._behind = False
            while self._losses is not None and self._losses.pending:
                self.events.extend(self._losses.mend(time_ns()))
        self.watchful = self._behind or self._full

    async def wait(self) -> bool:
        """Wait until there is something; return False at the end.

        Raises:
            KrakenWSError: the end is not a good one.
        """
        while not self.events:
            if self._ended:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                return False
            if self._news is not None:
                raise RuntimeError("another task is waiting for this stream: give each task its own")
            self._news = asyncio.get_running_loop().create_future()
            try:
                await self._news
            finally:
                self._news = None
        return True


class Stream(Generic[RowT]):
    """Events of one channel, in order, healing included; an async iterator and context manager.

    Yields `krakenws.Update` for data and, between them, what happened: `Connected`, `Disconnected`,
    `Subscribed`, `Gap`, `Lagging` and the others of `krakenws.core.events`, the same as the command line's
    JSON. It streams from the moment it is made, reconnecting and resubscribing as needed, until it is closed:
    by leaving its `async with` block, by `close`, when the task that waits for it is cancelled, or when
    nobody holds it any more. The last stream of a feed unsubscribes.

    Raises:
        KrakenWSError: while iterating: `ConnectionFailed` when no connection can be made, `CredentialsError`,
            `RequestRejected` when every pair was refused, `SinkError` under `overflow="raise"`.
    """

    def __init__(
        self, shell: FeedShell, bound: Bound, *, overflow: str, max_events: int, top_only: bool
    ) -> None:
        if overflow not in OVERFLOWS:
            raise UsageError(f"overflow={overflow!r} is not offered; choose from {', '.join(OVERFLOWS)}")
        if max_events < 1:
            raise UsageError(f"max_events={max_events} is below 1")
        self._queue = queue = Queue(shell, overflow, max_events, top_only=top_only)
        shell.join(queue, bound)
        # The shell holds the queue, and nobody but the caller the stream: a loop that was left ends it.
        self._finalizer = weakref.finalize(self, close_later, queue, asyncio.get_running_loop())
        self._finalizer.atexit = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Update[RowT] | Event:
        queue = self._queue
        if not queue.events:
            try:
                if not await queue.wait():
                    raise StopAsyncIteration
            except asyncio.CancelledError:
                self.close()
                raise
        event = queue.events.popleft()
        if queue.watchful:
            queue.taken()
        return event

    async def next(self, timeout_s: float) -> Update[RowT] | Event | None:
        """Return the next event, or None when there is none within so many seconds; the stream goes on.

        Raises:
            StopAsyncIteration: it was closed.
            KrakenWSError: as iterating does.
        """
        queue = self._queue
        if not queue.events:
            try:
                async with asyncio.timeout(timeout_s):
                    await queue.wait()
            except TimeoutError:
                return None
            except asyncio.CancelledError:
                self.close()
                raise
        return await self.__anext__()

    async def batch(self) -> list[Update[RowT] | Event]:
        """Return all events that are there, at least one, for those who work on many at once; [] at the end.

        Raises:
            KrakenWSError: as iterating does.
        """
        try:
            first = await self.__anext__()
        except StopAsyncIteration:
            return []
        rest = [*self._queue.events]
        self._queue.events.clear()
        if self._queue.watchful:
            self._queue.taken()
        return [first, *rest]

    @property
    def waiting_events(self) -> int:
        """How many events wait to be taken."""
        return len(self._queue.events)

    def close(self) -> None:
        """End it: what it has not delivered is dropped, and iterating over it stops."""
        self._finalizer.detach()
        self._queue.close()

    async def aclose(self) -> None:
        """Do what `close` does, for `contextlib.aclosing`."""
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def close_later(reader: Queue | Watch, loop: asyncio.AbstractEventLoop) -> None:
    """Close what nobody holds any more: that may happen in any thread, and after the loop's end."""
    if not loop.is_closed():
        loop.call_soon_threadsafe(reader.close)
