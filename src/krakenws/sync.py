"""The Python API for scripts without asyncio: the same names, and every call blocks.

::

    with krakenws.sync.connect() as kraken:
        for event in kraken.stream("ticker", "XBT/USD"):
            print(event)

A thread of its own runs the event loop, so that connections live on while the script does something else. Any
number of threads may use one client. Ctrl-C ends the call that waits, as always.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections import deque
from concurrent.futures import CancelledError
from time import monotonic
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, TypeVar, overload

from krakenws import api
from krakenws.errors import ConnectionFailed, UsageError
from krakenws.net.client import Client as AsyncClient

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType
    from typing import Literal, Self, Unpack

    from krakenws.core.events import Event, Update
    from krakenws.core.rows import Balance, Candle, Fill, Level, Levels, Order, Spread, Ticker, Trade
    from krakenws.net.livebook import LiveBook as AsyncLiveBook
    from krakenws.net.parameters import (
        AnyParams,
        BalancesParams,
        BookParams,
        CandleParams,
        Depth,
        OpenOrdersParams,
        OwnTradesParams,
        Reading,
    )
    from krakenws.net.stream import Stream as AsyncStream

P = ParamSpec("P")
T = TypeVar("T")
RowT = TypeVar("RowT")

_NOT_OPEN = "this client is not open: use it as `with krakenws.sync.connect() as kraken:`"


class _Thread:
    """An event loop in a thread of its own, and calls into it."""

    def __init__(self) -> None:
        self._loop = asyncio.SelectorEventLoop()
        self._door = threading.RLock()
        self._ended = False
        self._thread = threading.Thread(target=self._run, name="krakenws", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns, or raise what it raises; broken off, it is cancelled."""
        with self._door:  # what comes after the end would wait for ever
            if self._ended or not self._thread.is_alive():
                coroutine.close()
                raise UsageError(_NOT_OPEN)
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise ConnectionFailed("the client was closed") from None
        except BaseException:
            future.cancel()
            raise

    def end(self) -> None:
        """Stop the loop, once what runs in it has been cancelled."""

        async def settle() -> None:
            others = asyncio.all_tasks() - {asyncio.current_task()}
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            await self._loop.shutdown_default_executor()

        with self._door:
            self._ended = True
            settled = asyncio.run_coroutine_threadsafe(settle(), self._loop)
        settled.result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


def _blocking(
    method: Callable[Concatenate[AsyncClient, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Client, P], T]:
    """Return the blocking twin of an async method: same parameters, same result, same errors."""

    @functools.wraps(method)
    def call(self: Client, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._call(method(self._client, *args, **kwargs))

    return call


class Client:
    """What `krakenws.Client` is, for scripts; made by `krakenws.sync.connect`, used as a context manager."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._thread: _Thread | None = None

    def __enter__(self) -> Self:
        self._thread = _Thread()
        try:
            self._call(self._client.__aenter__())
        except BaseException:
            self._thread.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End everything, and the thread; see `krakenws.Client.close`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            try:
                thread.call(self._client.close())
            finally:
                thread.end()

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        thread = self._thread
        if thread is None:
            coroutine.close()
            raise UsageError(_NOT_OPEN)
        return thread.call(coroutine)

    if TYPE_CHECKING:

        @overload
        def stream(
            self, channel: Literal["ticker"], /, *pairs: str, **params: Unpack[Reading]
        ) -> Stream[Ticker]: ...
        @overload
        def stream(
            self, channel: Literal["book"], /, *pairs: str, **params: Unpack[BookParams]
        ) -> Stream[Levels]: ...
        @overload
        def stream(
            self, channel: Literal["spread"], /, *pairs: str, **params: Unpack[Reading]
        ) -> Stream[Spread]: ...
        @overload
        def stream(
            self, channel: Literal["ohlc"], /, *pairs: str, **params: Unpack[CandleParams]
        ) -> Stream[Candle]: ...
        @overload
        def stream(
            self, channel: Literal["trade"], /, *pairs: str, **params: Unpack[Reading]
        ) -> Stream[Trade]: ...
        @overload
        def stream(
            self, channel: Literal["openOrders"], /, **params: Unpack[OpenOrdersParams]
        ) -> Stream[Order]: ...
        @overload
        def stream(
            self, channel: Literal["ownTrades"], /, **params: Unpack[OwnTradesParams]
        ) -> Stream[Fill]: ...
        @overload
        def stream(
            self, channel: Literal["balances"], /, **params: Unpack[BalancesParams]
        ) -> Stream[Balance]: ...
        @overload
        def stream(self, channel: str, /, *pairs: str, **params: Unpack[AnyParams]) -> Stream[Any]: ...

    def stream(self, channel: str, /, *pairs: str, **params: Any) -> Stream[Any]:
        """Return the events of a channel to iterate over; see `krakenws.Client.stream`.

        What has been read ahead for the caller comes on top of `max_events`, at most as much again.

        Raises:
            UsageError: the words do not fit the catalog; nothing was sent.
        """

        async def begin() -> AsyncStream[Any]:
            return self._client.stream(channel, *pairs, **params)

        return Stream(self._call(begin()), self)

    def book(self, pair: str, /, *, depth: Depth = 10) -> LiveBook:
        """Return the order book of a pair, kept up to date and verified; see `krakenws.Client.book`.

        Raises:
            UsageError: the words do not fit the catalog, or `Options.verify` is off.
        """

        async def begin() -> AsyncLiveBook:
            return self._client.book(pair, depth=depth)

        return LiveBook(self._call(begin()), self)

    pairs = _blocking(AsyncClient.pairs)
    ping = _blocking(AsyncClient.ping)
    add_order = _blocking(AsyncClient.add_order)
    amend_order = _blocking(AsyncClient.amend_order)
    edit_order = _blocking(AsyncClient.edit_order)
    cancel_order = _blocking(AsyncClient.cancel_order)
    cancel_all = _blocking(AsyncClient.cancel_all)
    cancel_all_orders_after = _blocking(AsyncClient.cancel_all_orders_after)


class Stream(Generic[RowT]):
    """What `krakenws.Stream` is, for scripts: an iterator and context manager.

    Threads may share it: each event goes to one of them.
    """

    def __init__(self, stream: AsyncStream[RowT], client: Client) -> None:
        self._stream = stream
        self._client = client
        self._ahead: deque[Update[RowT] | Event] = deque()
        self._fetching = threading.RLock()  # a signal handler may close what its thread reads

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Update[RowT] | Event:
        while (event := self._take()) is None:
            with self._fetching:
                if self._ahead:  # of another thread
                    continue
                batch = self._client._call(self._stream.batch())
                if not batch:
                    raise StopIteration
                self._ahead.extend(batch)
        return event

    def _take(self) -> Update[RowT] | Event | None:
        try:
            return self._ahead.popleft()
        except IndexError:
            return None

    def next(self, timeout_s: float) -> Update[RowT] | Event | None:
        """Return the next event, or None when there is none within so many seconds, or none any more.

        Raises:
            KrakenWSError: as iterating does.
        """
        due = monotonic() + timeout_s
        event = self._take()
        if event is None and self._fetching.acquire(timeout=min(max(0.0, timeout_s), threading.TIMEOUT_MAX)):
            try:
                event = self._take()
                if event is None:
                    event = self._client._call(self._within(due - monotonic()))
            finally:
                self._fetching.release()
        return event

    async def _within(self, timeout_s: float) -> Update[RowT] | Event | None:
        try:
            return await self._stream.next(timeout_s)
        except StopAsyncIteration:
            return None

    def close(self) -> None:
        """End it; the last stream of a feed unsubscribes."""
        self._client._call(self._stream.aclose())  # which ends the wait of a thread that fetches
        with self._fetching:
            self._ahead.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LiveBook:
    """What `krakenws.LiveBook` is, for scripts.

    Each answer is one moment's; two of them may be of different moments.
    """

    def __init__(self, book: AsyncLiveBook, client: Client) -> None:
        self._book = book
        self._client = client
        self.symbol = book.symbol
        self.depth = book.depth

    def _look(self, function: Callable[[], T]) -> T:
        async def look() -> T:
            return function()

        return self._client._call(look())

    @property
    def trusted(self) -> bool:
        """Whether it is proved now."""
        return self._look(lambda: self._book.trusted)

    @property
    def received_ns(self) -> int:
        """Wall-clock nanoseconds since 1970 at which its last update came; 0 before the first."""
        return self._look(lambda: self._book.received_ns)

    @property
    def best_bid(self) -> Level | None:
        """The highest bid; None when there is none, or none that can be trusted."""
        return self._look(lambda: self._book.best_bid)

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask; None when there is none, or none that can be trusted."""
        return self._look(lambda: self._book.best_ask)

    def bids(self, levels: int | None = None) -> list[Level]:
        """Return the bids, best first: at most `levels`, or all that are kept."""
        return self._look(lambda: self._book.bids(levels))

    def asks(self, levels: int | None = None) -> list[Level]:
        """Return the asks, best first: at most `levels`, or all that are kept."""
        return self._look(lambda: self._book.asks(levels))

    def ready(self, timeout_s: float | None = None) -> Self:
        """Wait until it is trusted, and return it.

        Raises:
            TimeoutError: it was not within `timeout_s` seconds.
            KrakenWSError: it will never be.
        """
        self._client._call(self._book.ready(timeout_s))
        return self

    def changed(self) -> Self:
        """Wait until it has changed since this was last asked, and is trusted; return it.

        Raises:
            KrakenWSError: it will not change any more.
        """
        self._client._call(self._book.changed())
        return self

    def close(self) -> None:
        """Keep it no longer; the last reader of a book unsubscribes."""
        self._look(self._book.close)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Self:
        return self.changed()

    def __enter__(self) -> Self:
        try:
            return self.ready()
        except BaseException:
            self.close()
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _same_parameters(
    function: Callable[P, AsyncClient],
) -> Callable[P, Client]:
    @functools.wraps(function)
    def connect(*args: P.args, **kwargs: P.kwargs) -> Client:
        return Client(function(*args, **kwargs))

    return connect


connect = _same_parameters(api.connect)
"""`krakenws.connect` for scripts: the same parameters, a client whose calls block."""
