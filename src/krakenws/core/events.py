"""What a protocol reports: one ordered stream of these, healing included.

Every event has `received_ns`, wall-clock nanoseconds since 1970. `name` is its word in JSON. `Update` is made
once a frame and therefore written by hand; the others are records whose fields, in their order, are the JSON
event's fields (`*_ns` fields become RFC 3339 times without the suffix).
"""

from __future__ import annotations

from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, Generic

    from typing_extensions import TypeVar

    from krakenws.core.book import Book
    from krakenws.core.catalog import Entry, Values
    from krakenws.core.session import CallerId
    from krakenws.core.violations import Violations

    E = TypeVar("E", bound="Event")
    RowT = TypeVar("RowT", default=Any)

    class _OfRows(Generic[RowT]):
        """What type checkers see: an update of a channel has rows of one type."""

else:
    RowT = None

    class _OfRows:
        __slots__ = ()

        def __class_getitem__(cls, _rows: object) -> type:
            return cls


VERIFIED = "verified"
UNVERIFIED = "unverified"
UNTRUSTED = "untrusted"
TRUSTS = (VERIFIED, UNVERIFIED, UNTRUSTED)
"""What a book line says of itself: its checksum matched; there was none to check; it did not match, again and
again, so that it is passed on as it comes (see `Untrusted`)."""
CHECKED = ("ok", "warning", "failed", "skipped")
"""What became of a check of `doctor`."""
NUMBERS = {"book": "depth", "ohlc": "interval"}
"""What the number behind a channel's name on the wire is, `book-10`."""


class Tally:
    """What became of the data frames of one channel and symbol.

    Always received = emitted + withheld + dropped + discarded + malformed.

    Attributes:
        received: data frames that came.
        emitted: those that left as an update.
        withheld: those with nothing to show: `--book top` with the top as it was.
        dropped: those that output left out because its reader was too slow (`--overflow drop`).
        discarded: those that came while nothing could be trusted: broken, or of an older subscription.
        malformed: those that left as a `Violation`.
        gaps: how often continuity was broken.
        resyncs: how often it was asked for again because its data was wrong or missing.
    """

    NAMES = ("received", "emitted", "withheld", "dropped", "discarded", "malformed", "gaps", "resyncs")
    __slots__ = NAMES

    def __init__(self) -> None:
        self.received = self.emitted = self.withheld = self.discarded = self.malformed = 0
        self.dropped = self.gaps = self.resyncs = 0

    def fields(self) -> dict[str, int]:
        """Return the counts by name."""
        return {name: getattr(self, name) for name in self.NAMES}


class Route:
    """One channel with its parameters and one symbol: what data is routed by.

    Attributes:
        entry: the channel's catalog entry.
        values: its parameters as bound, the pair left out.
        channel: the wire's name of it, `book-10`.
        symbol: the pair; "" for private channels.
        book: the verified book, for `book` channels that are kept.
        trust: what the book's last update said of itself; "" before the first.
        tally: what became of its frames.
        violations: makes what is said of its unusable frames, and counts them; None: nobody counts.
        reader: what makes rows of its frames; None before the first (`krakenws.core.rows.rows_of`).
    """

    __slots__ = ("book", "channel", "entry", "reader", "symbol", "tally", "trust", "values", "violations")

    def __init__(
        self, entry: Entry, values: Values, channel: str, symbol: str, violations: Violations | None = None
    ) -> None:
        self.entry = entry
        self.values = values
        self.channel = channel
        self.symbol = symbol
        self.book: Book | None = None
        self.trust = ""
        self.tally = Tally()
        self.violations = violations
        self.reader: Callable[[Update], list[Any]] | None = None

    def __repr__(self) -> str:
        return f"Route({self.channel}, {self.symbol or 'private'})"


class Update(_OfRows[RowT]):
    """One data frame.

    Attributes:
        route: which channel and symbol it is of.
        frame: the frame as received, redacted.
        snapshot: True for a snapshot, False for an update.
        trust: book frames: one of `TRUSTS`; else None.
        body: what was decoded on the way: a book's `BookChanges` (with `options.book` `top` or `full`: the
            levels of that view after this frame), a private channel's payload list, the rows of trades that
            were filled in from REST and have no frame; else None.
    """

    __slots__ = ("body", "frame", "received_ns", "route", "snapshot", "trust")
    name = "update"

    def __init__(  # noqa: PLR0917 - once a frame: keywords would cost
        self, route: Route, frame: bytes, received_ns: int, snapshot: bool, trust: str | None, body: Any
    ) -> None:
        self.route = route
        self.frame = frame
        self.received_ns = received_ns
        self.snapshot = snapshot
        self.trust = trust
        self.body = body

    @property
    def channel(self) -> str:
        """The channel's name in the catalog, `book`."""
        return self.route.entry.name

    @property
    def symbol(self) -> str:
        """The pair; "" for private channels."""
        return self.route.symbol

    def rows(self) -> list[RowT]:
        """Return the frame's typed rows (`krakenws.core.rows`), made on demand.

        Raises:
            Malformed: the payload does not have its channel's shape.
        """
        from krakenws.core.rows import rows_of

        return rows_of(self)

    def violation(self, error: ValueError) -> Violation:
        """Count this frame as malformed, and return what is said instead of its rows."""
        from krakenws.core.violations import Violations  # which makes events itself

        route = self.route
        route.tally.emitted -= 1
        route.tally.malformed += 1
        violations = route.violations or Violations()
        place = route.entry.name, route.symbol
        return about(violations.of(str(error), self.frame, self.received_ns, *place), route)

    def flaw(self) -> str:
        """Return what keeps the payload from becoming rows, or ""."""
        try:
            self.rows()
        except ValueError as error:  # Malformed
            return str(error)
        return ""

    def __repr__(self) -> str:
        return f"Update({self.route!r}, {self.frame!r}, trust={self.trust})"


@record
class Event:
    """What happened, and when this program learned of it."""

    received_ns: int
    name = "event"
    route = None  # type: Route | None  # what it is about, where `about` said so; no field, JSON has the names


def about(event: E, route: Route) -> E:
    """Return the event, knowing which channel, depth and symbol it is about."""
    event.__dict__["route"] = route
    return event


def rated(event: E, rate: Mapping[str, Any]) -> E:
    """Return the answer, which was just made, knowing what it has left of the rate counter."""
    event.__dict__["rate"] = rate
    return event


@record
class Connected(Event):
    """A connection is up: greeted, and ready for requests."""

    endpoint: str
    name = "connected"


@record
class Disconnected(Event):
    """A connection is gone, or could not be made; `retry_in_s` is None when it is not tried again."""

    endpoint: str
    cause: str
    retry_in_s: float | None = None
    name = "disconnected"


@record
class Status(Event):
    """The exchange's state, sent on connect and on each change. Source: v1 systemStatus."""

    system: str
    version: str = ""
    connection_id: str = ""
    """Decimal text: the number is above what a double holds (quirk F6)."""
    name = "status"


@record
class Heartbeat(Event):
    """The exchange is alive; once a second while anything is subscribed (quirk L1)."""

    name = "heartbeat"


@record
class Pong(Event):
    """The answer to a ping; `round_trip_s` in seconds, left out when no ping of ours is known (`decode`)."""

    req_id: int | None
    round_trip_s: float | None = None
    name = "pong"


@record
class Subscribed(Event):
    """The exchange confirmed a subscription. `params` as confirmed, defaults filled in."""

    channel: str
    symbol: str
    params: Mapping[str, Any]
    name = "subscribed"


@record
class Unsubscribed(Event):
    """The exchange ended a subscription; asked for or not."""

    channel: str
    symbol: str
    name = "unsubscribed"


@record
class Refused(Event):
    """The exchange refused a subscription; the others stream on. `error` as sent."""

    channel: str
    symbol: str
    error: str
    name = "refused"


@record
class Deferred(Event):
    """A subscription is not in force yet, and is asked for again in `retry_in_s` seconds; `cause`: why."""

    channel: str
    symbol: str
    cause: str
    retry_in_s: float
    name = "deferred"


@record
class Answered(Event):
    """One request's end: `Reply`, `Rejected` or `Unanswered`. `name` is its word in JSON.

    Each has `rate`, what the request has left of the account's rate counter (core/odometer.py): `symbol`, the
    pair; `counter`, in points; `ceiling`, of the account's tier, once openOrders has told it.
    """

    method: str
    req_id: int


@record
class Reply(Answered):
    """The exchange accepted a request. `result`: its fields, named as v2 names them.

    `validated`: the request was only to be checked (`validate=true`): nothing was placed or changed.
    Of trading requests, `order` is what a cancel, an amendment or an edit was about; `intent` the command's
    name in the journal; `found` where the verdict was found, when no answer brought it in time.
    """

    result: Mapping[str, Any]
    validated: bool | None = None
    rate: Mapping[str, Any] | None = None
    order: str = ""
    intent: str = ""
    found: str = ""
    name = "reply"

    def __init__(  # noqa: PLR0917 - once an order, on the way of its answer: keywords would cost
        self,
        received_ns: int,
        method: str,
        req_id: int,
        result: Mapping[str, Any],
        validated: bool | None = None,
        rate: Mapping[str, Any] | None = None,
        order: str = "",
        intent: str = "",
        found: str = "",
    ) -> None:
        state = self.__dict__
        state["received_ns"], state["method"], state["req_id"] = received_ns, method, req_id
        state["result"], state["validated"], state["rate"] = result, validated, rate
        state["order"], state["intent"], state["found"] = order, intent, found


@record
class Rejected(Answered):
    """The exchange refused a request; `error` as sent, `EOrder:Insufficient funds`.

    `order`, `intent` and `found` as those of an accepted one; `error` is in our words when a look-up found
    that the request had no effect.
    """

    error: str
    rate: Mapping[str, Any] | None = None
    order: str = ""
    intent: str = ""
    found: str = ""
    name = "reply"


@record
class Unanswered(Answered):
    """A request was sent and no answer came: its outcome is unknown, and it is never sent again.

    `userref` or `cl_ord_id`: by which number to look for the order; `order` and `intent` as those of a reply.
    """

    hint: str
    rate: Mapping[str, Any] | None = None
    order: str = ""
    intent: str = ""
    userref: int | None = None
    cl_ord_id: str = ""
    name = "unanswered"


@record
class DryRun(Event):
    """What a command would have sent, its token redacted. Nothing was sent."""

    method: str
    request: str
    name = "dry_run"


@record
class Gap(Event):
    """Continuity of one channel and symbol was broken.

    Said when the break is noticed (`to_ns` None: the data on hand is worthless from here) and again, with
    both ends, before the first data after it; a lost connection is noticed by `Disconnected` instead.
    `missed`: how many messages are known to be lost; left out when nobody can know.
    """

    channel: str
    symbol: str
    cause: str
    from_ns: int | None
    to_ns: int | None = None
    missed: int | None = None
    name = "gap"


@record
class Untrusted(Event):
    """A book could not be healed, so that it is asked for no more until the next connection.

    Its lines go on with `"trust":"untrusted"`. `cause`: what was wrong the last time; `resyncs`: how often in
    a row it was asked for again in vain.
    """

    channel: str
    symbol: str
    cause: str
    resyncs: int
    name = "untrusted"


@record
class Backfilled(Event):
    """What a gap in a stream of trades had lost was filled in, as far as REST knows.

    `trades`: how many, told before this; `complete`: whether REST's account meets the stream again; `cause`:
    why not.
    """

    channel: str
    symbol: str
    trades: int
    complete: bool
    cause: str = ""
    name = "backfilled"


@record
class Lagging(Event):
    """The reader of our output did not keep up; said as soon as it reads again.

    With `blocked_s`: output stood still for so long, and the socket with it; nothing was dropped. With
    `dropped`: data messages that were left out, by channel and symbol; for each of them a `gap` of the cause
    `lagging` stands before its next data, which is a snapshot of our own book where the channel is `book`.
    """

    policy: str
    from_ns: int
    blocked_s: float | None = None
    blocked_total_s: float | None = None
    dropped: list[dict[str, Any]] | None = None
    dropped_total: int | None = None
    name = "lagging"


@record
class Violation(Event):
    """A frame that is not what the exchange promises; the stream goes on.

    `frame` is its beginning, escaped; `length_bytes` its whole length; `sha256` the first 16 hexadecimal
    digits of its hash; `count` how many there were on this endpoint, itself included.
    """

    cause: str
    frame: str
    length_bytes: int
    sha256: str
    count: int
    channel: str = ""
    symbol: str = ""
    name = "violation"


@record
class Summary(Event):
    """What one endpoint brought in a run; the last word of it.

    `connections`: how many were made; `down_s`: seconds without one since the first; `violations`: frames
    that are not what the exchange promises; `channels`: what became of the data frames of each channel and
    symbol: `received` = `emitted` + `withheld` (nothing new to show) + `dropped` (see `lagging`) +
    `discarded` (not to be trusted, or of an older subscription) + `malformed`, always.
    """

    endpoint: str
    connections: int
    down_s: float
    violations: int
    channels: list[dict[str, Any]]
    name = "summary"


@record
class Met(Event):
    """The condition of `wait` came true. `values`: its quantities at that moment, those that are known.

    `held_s`: for how long it held without a break; left out when a moment was enough.
    """

    condition: str
    values: list[dict[str, Any]]
    held_s: float | None = None
    name = "met"


@record
class Addressed(Event):
    """An event as the answer to a line of a session: JSON shows it with the caller's `id` behind its name."""

    event: Event
    id: CallerId

    def __init__(self, received_ns: int, event: Event, id: CallerId) -> None:  # noqa: A002 - JSON's word
        state = self.__dict__
        state["received_ns"], state["event"], state["id"] = received_ns, event, id


def doubt_of(event: object) -> str:
    """Return what an event says cannot be trusted (a broken frame, a beginning gap) as a sentence, or ""."""
    if isinstance(event, Violation):
        what = f"{event.channel} {event.symbol}".strip()
        return f"unusable frame{f' of {what}' if what else ''}: {event.cause}: {event.frame}"
    if isinstance(event, Untrusted):
        tried = f"after {event.resyncs} resubscriptions"
        return f"{event.channel} {event.symbol} stays untrusted {tried}: {event.cause}"
    if isinstance(event, Gap) and event.to_ns is None:
        return f"gap in {f'{event.channel} {event.symbol}'.strip()}: {event.cause}"
    return ""


def trouble_of(event: object, *, stood: bool) -> str:
    """Return what people are told of an event that a run survives, as a sentence; "" if there is no trouble.

    Args:
        event: what happened.
        stood: whether the connection it is about had stood.
    """
    if isinstance(event, Refused):
        return f"{f'{event.channel} {event.symbol}'.strip() or 'a subscription'} refused: {event.error}"
    if isinstance(event, Deferred):
        when = f"in {event.retry_in_s:g} s" if event.retry_in_s else "now"
        return f"{f'{event.channel} {event.symbol}'.strip()}: {event.cause}; asking again {when}"
    if isinstance(event, Disconnected):
        if event.retry_in_s is None:
            return ""
        when = f"in {event.retry_in_s:.1f} s" if event.retry_in_s else "now"
        what = "connection lost" if stood else "endpoint not connected"
        return f"{event.endpoint} {what}: {event.cause}; connecting again {when}"
    said = doubt_of(event)
    return f"{said}; asked for again" if isinstance(event, Gap) and said else said


def lag_of(event: Lagging) -> str:
    """Return what happened to a reader that is too slow, as a sentence."""
    if event.dropped is None:
        advice = (
            "--overflow exit ends the run when it takes longer"
            if event.policy == "exit"
            else "the exchange may cut a connection that is not read: --overflow offers other ways"
        )
        waited = f"stdout was not read for {event.blocked_s or 0.0:.1f} s"
        return f"{waited}, and the socket waited with it; {advice}"
    count = sum(item["count"] for item in event.dropped)
    what = f"{len(event.dropped)} feeds"
    if len(event.dropped) == 1:
        what = " ".join(str(value) for name, value in event.dropped[0].items() if name != "count")
    return f"stdout is read too slowly: {count} messages of {what} dropped, {event.dropped_total} in all"


def place_of(channel: str, symbol: str) -> dict[str, Any]:
    """Return what a channel of the wire (`book-10`) and a symbol are in JSON, as far as there are any."""
    name, _, number = channel.partition("-")
    numbered = name in NUMBERS and number.isascii() and number.isdigit()
    place: dict[str, Any] = {"channel": name if numbered else channel, "symbol": symbol}
    if numbered:
        place[NUMBERS[name]] = int(number)
    return {name: value for name, value in place.items() if value != ""}
