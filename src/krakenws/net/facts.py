"""What the exchange is asked before an order may leave: its verified books, and how many orders are open.

One short run of its own, over the endpoints that are needed, at most `options.ack_timeout_s` long. What did
not come in time is not known; whoever asked decides what that means.
"""

from __future__ import annotations

from krakenws.core.catalog import bind
from krakenws.core.events import VERIFIED, Update
from krakenws.core.exposure import Quote
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import BOOK, OPEN_ORDERS
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from krakenws.core.events import Event
    from krakenws.net.loop import EventSink, Run
    from krakenws.net.shell import Link
    from krakenws.options import Options

    MakeRun = Callable[[Options, EventSink, float], Run]
    """Makes a run with these options into this sink, so many seconds long."""

_CHECKED_LEVELS = 10
"""Those that the checksum covers."""


def look(
    options: Options, make_run: MakeRun, *, pairs: Collection[str], open_orders: bool
) -> tuple[dict[str, Quote], int | None]:
    """Return the best levels of the verified book of each pair, and how many orders are open.

    A pair is missing whose book could not be verified in time: a v1 snapshot has no checksum, the first
    update has. The number is None when it was not asked for, or did not come in time.

    Raises:
        KrakenWSError: what broke it off: no credentials, or refused ones.
    """
    watcher = _Watcher(pairs, open_orders=open_orders)
    calm = replace(options, verify=True, book="changes", strict=False, backfill=False, reconnect=0)
    run = make_run(calm, watcher, options.ack_timeout_s)
    if pairs:
        run.add(V1, bind(BOOK, sorted(pairs)))
    if open_orders:
        run.add(V1, bind(OPEN_ORDERS, []))
    try:
        run.run()
    except _Enough:
        return watcher.quotes, watcher.open_orders
    return watcher.quotes, watcher.open_orders


def quote_at_hand(links: Iterable[Link], pair: str) -> Quote | None:
    """Return the best prices of a pair, if one of these links follows its book and it was verified last."""
    for link in links:
        for route in link.protocol.routes if link.protocol.ready else ():
            book = route.book
            if route.symbol == pair and book is not None and route.trust == VERIFIED:
                asks, bids = book.asks(1), book.bids(1)
                if asks and bids:
                    return Quote(tuple(asks), tuple(bids))
    return None


class _Enough(Exception):
    """Everything is known."""


class _Watcher:
    """Takes what is wanted out of the stream, and ends it then."""

    wants_events = True
    waiting = ()

    def __init__(self, pairs: Collection[str], *, open_orders: bool) -> None:
        self.quotes: dict[str, Quote] = {}
        self.open_orders: int | None = None
        self._pairs = set(pairs)
        self._counts = open_orders

    def drained(self) -> None:
        """Take no notice."""

    def sent(self, frames: list[bytes]) -> None:
        """Take no notice."""

    def received(self, frames: list[bytes]) -> None:
        """Take no notice."""

    def write(self, events: list[Update | Event]) -> None:
        """Keep what is wanted."""
        for event in events:
            if type(event) is not Update:
                continue
            book, symbol = event.route.book, event.route.symbol
            if event.route.entry is OPEN_ORDERS and event.snapshot:
                self.open_orders = len({row.order_id for row in event.rows()})
            elif book is not None and event.trust == VERIFIED and symbol not in self.quotes:
                asks, bids = book.asks(_CHECKED_LEVELS), book.bids(_CHECKED_LEVELS)
                if asks and bids:
                    self.quotes[symbol] = Quote(tuple(asks), tuple(bids))
        if self._pairs <= set(self.quotes) and (not self._counts or self.open_orders is not None):
            raise _Enough
