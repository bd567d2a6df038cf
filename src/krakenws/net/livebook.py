"""A live book: the levels of one pair as they are now, proved by the exchange's checksums."""

from __future__ import annotations

import asyncio
import weakref
from typing import TYPE_CHECKING

from krakenws.core.events import VERIFIED, Update
from krakenws.core.rows import Level
from krakenws.errors import ConnectionFailed
from krakenws.net.stream import close_later

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from krakenws.core.book import Book
    from krakenws.core.catalog import Bound
    from krakenws.core.events import Event, Route
    from krakenws.net.aiofeeds import FeedShell


class Watch:
    """What a live book knows: the shell holds it, and nobody but the caller the `LiveBook`."""

    def __init__(self, shell: FeedShell, bound: Bound) -> None:
        self.changes = 0
        self.received_ns = 0
        self.ended = False
        self.error: BaseException | None = None
        self._shell = shell
        self._news: list[asyncio.Future[None]] = []
        (feed,) = shell.join(self, bound)
        self.route: Route = feed.route
        self._link = feed.link

    def take(self, events: list[Update | Event]) -> bool:
        """Take notice that the book changed, or broke."""
        for event in events:
            if type(event) is Update:
                self.received_ns = event.received_ns
        self.changes += 1
        self._wake()
        return False

    def fail(self, error: BaseException | None) -> None:
        """Take notice that it will not change any more."""
        self.ended, self.error = True, error
        self._wake()

    def close(self) -> None:
        """Want nothing more."""
        self._shell.leave(self)
        self.fail(None)

    def _wake(self) -> None:
        waiting, self._news = self._news, []
        for news in waiting:
            if not news.done():
                news.set_result(None)

    @property
    def book(self) -> Book | None:
        """The book while it is proved and current, else None."""
        if self.ended or self.route.trust != VERIFIED or self._shell.is_stale(self._link):
            return None
        return self.route.book

    async def wait(self) -> None:
        """Wait until something happened.

        Raises:
            KrakenWSError: the connection ended for good.
        """
        if self.ended:
            raise self.error or ConnectionFailed(f"the book of {self.route.symbol} is closed")
        news: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._news.append(news)
        await news


class LiveBook:
    """The order book of one pair, kept up to date; every answer comes from data that its checksum proved.

    While it is not proved (before its first snapshot, across a lost connection, from a mismatch until it is
    healed), and while a full stream has kept its connection from being read for a second, it has no prices:
    `best_bid` and `best_ask` are None, `bids` and `asks` empty. Nothing stale is ever shown as current.
    Reading it costs no waiting and no network.

    The checksum covers the best ten levels of each side; those beyond are outside any checksum.

    An async iterator: `async for _ in book` goes on whenever it has changed and is trusted, and skips what it
    had no time for: it is never behind. An async context manager: entering waits until it is ready, leaving
    closes it.

    Attributes:
        symbol: the pair, as the exchange names it.
        depth: levels kept on each side.
    """

    def __init__(self, shell: FeedShell, bound: Bound) -> None:
        self._watch = watch = Watch(shell, bound)
        self._seen = 0
        self.symbol = watch.route.symbol
        self.depth = int(str(watch.route.values["depth"]))
        self._finalizer = weakref.finalize(self, close_later, watch, asyncio.get_running_loop())
        self._finalizer.atexit = False

    @property
    def trusted(self) -> bool:
        """Whether it is proved now."""
        return self._watch.book is not None

    @property
    def received_ns(self) -> int:
        """Wall-clock nanoseconds since 1970 at which its last update came; 0 before the first."""
        return self._watch.received_ns

    @property
    def best_bid(self) -> Level | None:
        """The highest bid; None when there is none, or none that can be trusted."""
        book = self._watch.book
        top = book.best_bid() if book else None
        return None if top is None else Level(*top)

    @property
    def best_ask(self) -> Level | None:
        """The lowest ask; None when there is none, or none that can be trusted."""
        book = self._watch.book
        top = book.best_ask() if book else None
        return None if top is None else Level(*top)

    def bids(self, levels: int | None = None) -> list[Level]:
        """Return the bids, best first: at most `levels`, or all that are kept."""
        book = self._watch.book
        return [Level(*level) for level in book.bids(levels)] if book else []

    def asks(self, levels: int | None = None) -> list[Level]:
        """Return the asks, best first: at most `levels`, or all that are kept."""
        book = self._watch.book
        return [Level(*level) for level in book.asks(levels)] if book else []

    async def ready(self, timeout_s: float | None = None) -> Self:
        """Wait until it is trusted, and return it.

        Raises:
            TimeoutError: it was not within `timeout_s` seconds.
            KrakenWSError: it will never be: the pair was refused, no connection could be made.
        """
        async with asyncio.timeout(timeout_s):
            while not self.trusted:
                await self._watch.wait()
        return self

    async def changed(self) -> Self:
        """Wait until it has changed since this was last asked, and is trusted; return it.

        Raises:
            KrakenWSError: it will not change any more.
        """
        while self._seen == self._watch.changes or not self.trusted:
            await self._watch.wait()
        self._seen = self._watch.changes
        return self

    def close(self) -> None:
        """Keep it no longer; the last reader of a book unsubscribes."""
        self._finalizer.detach()
        self._watch.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Self:
        if self._watch.ended and self._watch.error is None:
            raise StopAsyncIteration
        return await self.changed()

    async def __aenter__(self) -> Self:
        try:
            return await self.ready()
        except BaseException:
            self.close()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        bid, ask = self.best_bid, self.best_ask
        if bid is None or ask is None:
            return f"<LiveBook {self.symbol}, not trusted>"
        return f"<LiveBook {self.symbol} {bid.price} / {ask.price}>"
