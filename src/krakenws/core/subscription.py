"""One wanted channel and symbol: its state, and what proves its data.

States::

    WANTED ──asked──▶ ASKED ──ack──▶ LIVE ──mismatch, sequence gap──▶ BROKEN ──snapshot──▶ LIVE
      ▲                 │ refused: dropped        │ connection lost      │ not healed in time: asked again
      └─────────────────┴─────────────────────────┴──────────────────────┘

Only a subscription that was asked for takes data: what arrives for a `WANTED` one was still on its way when
the exchange ended it (v1.md 5.5). A `BROKEN` one ignores data until it is healed, a book until its new
snapshot: updates of the old subscription may come before that (quirks B17, B20). A book is verified on every
frame that carries a checksum; a private channel by its sequence numbers. A channel that owes a snapshot and
stays mute is broken as well (quirk L3).

A book that is wrong after `options.resyncs` resubscriptions in a row is *untrusted* until the connection is
lost: it stays LIVE, its lines go on and say so, and nothing more is asked (quirk B14). "In a row" means that
it never stayed good for as long as a resubscription may take: one verified update between two mismatches
would otherwise let it be asked for without end.
"""

from __future__ import annotations

from krakenws.core.dialect import BookChanges, Malformed
from krakenws.core.events import UNTRUSTED, UNVERIFIED, VERIFIED, Gap, Untrusted, Update, about

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from krakenws.core.book import Book
    from krakenws.core.dialect import Change, Dialect, Envelope
    from krakenws.core.events import Event, Route
    from krakenws.options import Options

WANTED = "wanted"
ASKED = "asked"
LIVE = "live"
BROKEN = "broken"
_REMEMBERED = 1000
"""Fills of which it is known that they were told: a snapshot repeats the last fifty."""


class Subscription:
    """A wanted route and how far it is.

    Attributes:
        route: channel, parameters and symbol.
        state: one of the constants of this module.
        due: monotonic seconds at which it is asked for (again), or None.
        tries: how often it was asked for since it was last good.
        session: which token it was last asked with, by the protocol's count.
        last_ns: books and private channels: arrival of the last good frame, or None.
        settled: live, with nothing to announce: frames may pass unless they have to be verified.
        plain: settled, and its frames need no look at all: no book, no sequence.
        tally: what became of its frames; the route's.
        waiting: it was asked for, and neither data nor a reason to wait came since.
        in_vain: how often in a row it was due while `waiting`, although the exchange confirms it.
        renewed: the connection was renewed for its sake, and that did not help yet.
    """

    __slots__ = (
        "_adopted",
        "_begun",
        "_from_ns",
        "_gap",
        "_good_at",
        "_has_snapshot",
        "_missed",
        "_options",
        "_proved",
        "_proves",
        "_reported",
        "_seen",
        "_sequence",
        "_top",
        "_untrusted",
        "due",
        "in_vain",
        "is_book",
        "last_ns",
        "plain",
        "renewed",
        "route",
        "session",
        "settled",
        "state",
        "tally",
        "tries",
        "waiting",
    )

    def __init__(self, route: Route, options: Options, *, adopted: bool = False) -> None:
        """Adopted: found in a file of frames, where nothing can be asked for and nothing healed."""
        self.route = route
        self.tally = route.tally
        self._options = options
        self.is_book = route.entry.name == "book"
        self._adopted = adopted
        self.state = LIVE if adopted else WANTED
        self.due: float | None = None
        self.tries = 0
        self.session = 0
        self.last_ns: int | None = None
        self.waiting = self.renewed = False
        self.in_vain = 0
        self._gap = ""
        self._from_ns: int | None = None
        self._missed: int | None = None
        self._has_snapshot = False
        self._proved = False
        self._good_at = 0.0
        self._untrusted = False
        self._reported = False
        self._sequence: int | None = None
        self._begun = False
        self._seen: dict[str, None] = {}
        self._top: object = None
        self.settled = self.plain = False
        self._look()

    def _look(self) -> None:
        self.settled = self.state == LIVE and not self._gap and (self._has_snapshot or not self.is_book)
        self.plain = self.settled and not self.needs_a_look
        options = self._options
        kept = self.settled and options.verify and not self._untrusted and self.route.book is not None
        self._proves = kept and options.book == "changes"

    @property
    def needs_a_look(self) -> bool:
        """Whether every frame is looked into, for its checksum or its sequence number."""
        return self.is_book or not self.route.symbol

    @property
    def owes_snapshot(self) -> bool:
        """Whether data must follow the ack although nothing happens on the market (quirk L3)."""
        return self.route.entry.owes_snapshot and self.route.values.get("snapshot") is not False

    def asked(self, due: float, session: int) -> None:
        """A request for it is on its way; without an answer it is due again."""
        if self.state == WANTED:
            self.state = ASKED
        elif self.state == BROKEN:
            self.tally.resyncs += 1
        self.due = due
        self.waiting = True
        self.tries += 1
        self.session = session
        self._look()

    def later(self, due: float) -> None:
        """The exchange was too busy; a broken subscription stays broken, it may still be in force."""
        if self.state != BROKEN:
            self.state = WANTED
        self.due = due
        self.waiting = False
        self._look()

    def confirmed(self, snapshot_due: float) -> bool:
        """The exchange acknowledged it; return whether that is news.

        What owes a snapshot is due again at `snapshot_due`.
        """
        if self.state == LIVE:  # its data came first, or an ack came twice
            is_news, self._reported = not self._reported, True
            return is_news
        self.due = snapshot_due if self.owes_snapshot else None
        self._sequence = None
        if self.state == BROKEN and self.is_book:
            return False
        is_news = self.state != BROKEN
        self.state = LIVE  # for a broken private channel: what follows the ack is the new subscription's
        self._reported = True
        self._look()
        return is_news

    def lost(self, cause: str, heard_ns: int) -> None:
        """The connection, last heard of at `heard_ns`, is gone: ask again, announce the gap before data."""
        self._break(cause, heard_ns)
        self.state = WANTED
        self.due = None
        self.tries = self.in_vain = 0
        self._reported = self._untrusted = False

    def _break(self, cause: str, good_ns: int | None) -> None:
        if self.state in {LIVE, BROKEN} and not self._gap:
            self._gap, self._from_ns = cause, good_ns
            self.tally.gaps += 1
        self.waiting = self._proved = False
        self.route.book = None
        self._has_snapshot = False
        self._sequence = None
        self._top = None
        self.settled = self.plain = self._proves = False

    def broken(self, cause: str, received_ns: int, missed: int | None = None) -> Gap:
        """Its data is worthless from here on; return the announcement.

        In a file of frames nothing can heal it, so that what follows is passed on, unverified.
        """
        if self.state == ASKED:  # its data came before its ack: what is announced has an end as well
            self.state = LIVE
        self._break(cause, self.last_ns)
        self._missed = missed
        self.state = LIVE if self._adopted else BROKEN
        self.tries = max(self.tries, 1)
        return about(Gap(received_ns, *self._place, cause, self._from_ns, missed=missed), self.route)

    def disproved(self, cause: str, received_ns: int, now: float) -> list[Update | Event]:
        """A book's frame is wrong: return that it is broken, or untrusted from here on; nothing if it was."""
        if self._untrusted:
            return []
        if self._proved and now >= self._good_at + self._options.resync_s:
            self.tries = 0
        if self._adopted or self.tries <= self._options.resyncs:
            return [self.broken(cause, received_ns)]
        if not self._gap:  # else the snapshot that ends it says so
            self._gap, self._from_ns = cause, self.last_ns
            self.tally.gaps += 1
        events: list[Update | Event] = []
        resyncs = self.tries - 1
        self._untrusted = self._has_snapshot = True
        self._healed(received_ns, now, events)
        events.append(about(Untrusted(received_ns, *self._place, cause, resyncs), self.route))
        return events

    @property
    def _place(self) -> tuple[str, str]:
        return self.route.entry.name, self.route.symbol

    def begun_anew(self) -> None:
        """In a file of frames: an ack, so that sequence numbers begin again."""
        self._sequence = None

    def _healed(self, received_ns: int, now: float, events: list[Update | Event]) -> None:
        """Announce the gap that ends with the data received now, if there is one."""
        if self._gap:
            ended = Gap(received_ns, *self._place, self._gap, self._from_ns, received_ns, self._missed)
            events.append(about(ended, self.route))
            self._gap, self._from_ns, self._missed = "", None, None
        self.state = LIVE
        self.due = None
        self.waiting = self.renewed = False
        self.in_vain = 0
        self._good_at = now
        if not self.is_book or not self._options.verify:  # a book has to prove itself first
            self.tries = 0
        self._look()

    def resume(self, received_ns: int, now: float) -> list[Update | Event] | None:
        """Announce the gap that ends here, before data from elsewhere; None when it is not streaming."""
        if self.state != LIVE:
            return None
        events: list[Update | Event] = []
        self._healed(received_ns, now, events)
        return events

    def receive(
        self, frame: bytes, received_ns: int, now: float, dialect: Dialect, detail: bool = True
    ) -> list[Update | Event]:
        """Return the events of one data frame of a public channel; no `Update` of a book without `detail`.

        A `Gap` among them with `to_ns` None means that the subscription is broken now.

        Raises:
            Malformed: the frame does not have its channel's shape.
        """
        if self._proves and (change := dialect.change(frame)) is not None:
            return self._change(change, frame, received_ns, now, detail)
        events: list[Update | Event] = []
        if self.state == WANTED:
            self.tally.discarded += 1
        elif self.is_book:
            self._book(dialect.book(frame), frame, received_ns, now, events, detail=detail)
        else:
            self._healed(received_ns, now, events)
            self.tally.emitted += 1
            events.append(Update(self.route, frame, received_ns, False, None, None))
        return events

    def _book(
        self,
        changes: BookChanges,
        frame: bytes,
        received_ns: int,
        now: float,
        events: list[Update | Event],
        *,
        detail: bool,
    ) -> None:
        if not changes.snapshot and not self._has_snapshot and not self._adopted:
            self.tally.discarded += 1
            return
        self._judge(self._kept(changes), changes, frame, received_ns, now, events=events, detail=detail)

    def _change(
        self, change: Change, frame: bytes, received_ns: int, now: float, detail: bool
    ) -> list[Update | Event]:
        """Take a change of a book that was right so far: the hot path, `_book` without its questions."""
        asks, bids, checksum = change
        book = self.route.book
        assert book is not None  # noqa: S101 - by `_look`
        try:
            book.update(asks, bids)
        except ValueError as error:
            raise Malformed(str(error)) from None
        if book.disproof(checksum):
            events: list[Update | Event] = []
            changes = BookChanges(asks, bids, checksum, False)
            self._judge(book, changes, frame, received_ns, now, events=events, detail=detail)
            return events
        self._proved = True
        self.route.trust = VERIFIED
        self.last_ns = received_ns
        if not detail:
            self.tally.withheld += 1
            return []
        self.tally.emitted += 1
        changes = BookChanges(asks, bids, checksum, False)
        return [Update(self.route, frame, received_ns, False, VERIFIED, changes)]

    def _judge(
        self,
        book: Book | None,
        changes: BookChanges,
        frame: bytes,
        received_ns: int,
        now: float,
        *,
        events: list[Update | Event],
        detail: bool,
    ) -> None:
        """Tell what a book is worth after a frame, and the frame if anything."""
        verify = self._options.verify
        trust = UNVERIFIED
        if book is not None and verify:
            wrong = "" if self._untrusted else book.disproof(changes.checksum)
            if wrong:
                events += self.disproved(wrong, received_ns, now)
                if self.state == BROKEN:
                    self.tally.discarded += 1
                    return
                book = self.route.book
            elif changes.checksum is not None:
                trust = VERIFIED
                self._proved = True
        if self._untrusted:
            trust = UNTRUSTED
        if changes.snapshot and (book is not None or not verify):
            self._has_snapshot = True
            self._healed(received_ns, now, events)
        self.last_ns = received_ns
        self.route.trust = trust
        shown = changes if self._options.book == "changes" else self._view(book, changes)
        if shown is None or not detail:
            self.tally.withheld += 1
            return
        self.tally.emitted += 1
        events.append(Update(self.route, frame, received_ns, changes.snapshot, trust, shown))

    def _kept(self, changes: BookChanges) -> Book | None:
        """Return the book after a frame; None when none is kept, or no snapshot began it."""
        book = self.route.book
        if not changes.snapshot:
            if book is not None:
                _apply(book.update, changes)
        elif self._options.verify or self._options.book != "changes":
            from krakenws.core.book import Book  # here, as most commands keep none

            depth = self.route.values["depth"]
            self.route.book = book = Book(self.route.symbol, int(depth))  # type: ignore[arg-type]  # bound as an integer
            _apply(book.snapshot, changes)
        return book

    def _view(self, book: Book | None, changes: BookChanges) -> BookChanges | None:
        """Return the whole book or its top after a frame; None without a book or with the top as it was."""
        if book is None:
            return None
        if self._options.book == "full":
            return BookChanges(book.asks(), book.bids(), changes.checksum, changes.snapshot)
        top = book.asks(1), book.bids(1)
        if top == self._top and not changes.snapshot:
            return None
        self._top = top
        return BookChanges(*top, changes.checksum, changes.snapshot)

    def receive_private(
        self, envelope: Envelope, frame: bytes, received_ns: int, now: float, dialect: Dialect
    ) -> list[Update | Event]:
        """Return the events of one data frame of a private channel, in sequence or not (quirk P2).

        v1 marks no snapshot; it is the frame with which the sequence begins, unless it was declined.
        """
        events: list[Update | Event] = []
        sequence, before = envelope.sequence, self._sequence
        if self.state in {WANTED, BROKEN}:
            self.tally.discarded += 1
            return events
        if before is not None and sequence is not None and sequence != before + 1:
            missed = sequence - before - 1
            cause = f"sequence {before} then {sequence}"
            gap = self.broken(cause, received_ns, missed if missed > 0 else None)
            if self.state == BROKEN:
                self.tally.discarded += 1
                return [gap]
            events.append(gap)
        is_snapshot = envelope.snapshot
        if is_snapshot is None:
            begins = before is None if sequence is None else sequence == 1
            is_snapshot = begins and self.owes_snapshot
        self._healed(received_ns, now, events)
        self._sequence = sequence
        self.last_ns = received_ns
        self.tally.emitted += 1
        for told_before, body in self._parts(envelope.body, is_snapshot, dialect):
            events.append(Update(self.route, frame, received_ns, told_before, None, body))
        return events

    def _parts(self, body: Any, is_snapshot: bool, dialect: Dialect) -> list[tuple[bool, Any]]:
        """Return a payload with whether it is a snapshot; of a later one, news are told as such (quirk P6).

        A snapshot of fills repeats the last fifty at each subscription. Those that were told before stay a
        snapshot; those that happened while nobody listened are an update, told once.
        """
        items = dialect.items_told_once(self.route.entry, body)
        if items is None:
            return [(is_snapshot, body)]
        is_first, self._begun = not self._begun, True
        news = [item for name, item in items if name not in self._seen]
        known = [item for name, item in items if name in self._seen]
        for name, _ in items:
            self._seen.pop(name, None)
            self._seen[name] = None
        for name in [*self._seen][:-_REMEMBERED]:
            del self._seen[name]
        if not is_snapshot or is_first or not news:
            return [(is_snapshot, body)]
        return [(True, known), (False, news)] if known else [(False, news)]


def _apply(method: object, changes: BookChanges) -> None:
    try:
        method(changes.asks, changes.bids)  # type: ignore[operator]  # Book.snapshot or Book.update
    except ValueError as error:
        raise Malformed(str(error)) from None
