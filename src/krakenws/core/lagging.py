"""What a reader that is too slow has missed, and how each feed goes on without a silent hole.

While a reader is *behind*, market data is counted instead of passed on. What is rare and cannot be had
again is never dropped: the life of connections and subscriptions, answers, private feeds, trades filled in
from REST. Once it has caught up, one `Lagging` says what was dropped; from then on each feed concerned goes
on behind a `Gap`. A book cannot go on from anywhere: it is owed a snapshot, which our own copy gives at
once. So the counts are exact: every data message that was received is either passed on or counted, and only
those snapshots of ours come on top.
"""

from __future__ import annotations

from krakenws.core.catalog import PUBLIC
from krakenws.core.dialect import BookChanges
from krakenws.core.events import VERIFIED, Gap, Lagging, Update, about, place_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from krakenws.core.events import Event, Route


def _is_filled_in(update: Update) -> bool:
    """Whether its rows come from REST: such trades have no frame, and are told once."""
    return not update.frame and update.route.entry.rows == "Trade"


class _Loss:
    """What was dropped of one feed, since it was last told."""

    __slots__ = ("count", "from_ns")

    def __init__(self) -> None:
        self.count = 0
        self.from_ns = 0


class Losses:
    """What one reader has missed.

    Args:
        levels: of a book, how many on each side its snapshot shows; None: all.
        round_levels: about how many levels one round of snapshots may have, None: any number. Snapshots are
            large, so that thousands of books are mended in rounds, each with a `Lagging` of its own, and a
            book whose turn has not come is still dropped.
        tallies: whether this reader is the only one, so that the feeds' tallies count what it missed.

    Attributes:
        dropped: how many messages were dropped so far.
        pending: whether something was dropped and not told yet.
    """

    def __init__(
        self, *, levels: int | None = None, round_levels: int | None = None, tallies: bool = False
    ) -> None:
        self.dropped = 0
        self._levels = levels
        self._round_levels = round_levels
        self._tallies = tallies
        self._last_ns: dict[Route, int] = {}
        self._losses: dict[Route, _Loss] = {}
        self._gaps: dict[Route, int] = {}

    @property
    def pending(self) -> bool:
        """Whether something was dropped and not told yet."""
        return bool(self._losses)

    def sift(self, events: Sequence[Update | Event], *, behind: bool) -> Sequence[Update | Event]:
        """Return what of `events` the reader is to get; while it is `behind`, no market data."""
        if behind or self._losses or self._gaps:
            events = self._sifted(events, behind=behind)
        last_ns = self._last_ns
        for event in events:
            if type(event) is Update:
                last_ns[event.route] = event.received_ns
        return events

    def _sifted(self, events: Sequence[Update | Event], *, behind: bool) -> list[Update | Event]:
        passed: list[Update | Event] = []
        for event in events:
            if type(event) is not Update or event.route.entry.access != PUBLIC or _is_filled_in(event):
                passed.append(event)
            elif behind or event.route in self._losses:
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
        if self._tallies:
            update.route.tally.emitted -= 1
            update.route.tally.dropped += 1
        self.dropped += 1

    def _gap(self, route: Route, to_ns: int) -> Gap:
        missed = self._gaps.pop(route)
        if self._tallies:
            route.tally.gaps += 1
        place = route.entry.name, route.symbol
        return about(Gap(to_ns, *place, "lagging", self._last_ns.get(route), to_ns, missed), route)

    def mend(self, now_ns: int) -> list[Update | Event]:
        """Return what a reader that has caught up is told, a `Lagging` first, and the books it is owed.

        One round: call it again while something is `pending` and the reader is not behind.
        """
        levels = 0
        counts: list[dict[str, Any]] = []
        books: list[Update] = []
        from_ns = now_ns
        for route, loss in list(self._losses.items()):
            book = route.book
            if book is not None:
                levels += 2 * book.depth
                if books and self._round_levels is not None and levels > self._round_levels:
                    continue
                books.append(snapshot_of(route, now_ns, self._levels))
            del self._losses[route]
            self._gaps[route] = self._gaps.get(route, 0) + loss.count
            from_ns = min(from_ns, loss.from_ns)
            counts.append({**place_of(route.channel, route.symbol), "count": loss.count})
        mended: list[Update | Event] = [
            Lagging(now_ns, "drop", from_ns, dropped=counts, dropped_total=self.dropped)
        ]
        for snapshot in books:
            mended += (self._gap(snapshot.route, now_ns), snapshot)
            self._last_ns[snapshot.route] = now_ns
        return mended


def snapshot_of(route: Route, now_ns: int, levels: int | None = None) -> Update:
    """Return a kept book as a snapshot of our own, which has no frame.

    Args:
        route: whose book it is; it must have one.
        now_ns: wall-clock time.
        levels: how many on each side; None: all.
    """
    book = route.book
    assert book is not None  # noqa: S101 - the caller looked
    trust = route.trust
    checksum = book.checksum() if trust == VERIFIED else None  # the exchange's own, where that has matched
    return Update(
        route, b"", now_ns, True, trust, BookChanges(book.asks(levels), book.bids(levels), checksum, True)
    )
