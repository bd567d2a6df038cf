"""Output formats for programs: transcript, raw, JSON and CSV. One line is one thing; lines are never split.

Transcript and raw join the bytes that came. JSON is put together from parts that stay the same for a route,
so that only the rows are encoded; events without rows are encoded by the standard library, and msgspec is
not loaded for them, unless there will be many: it would double the time of a `ping`. Heartbeats are not
written: they are neither data nor a change in a connection's life.
"""

from __future__ import annotations

from time import gmtime, strftime

from krakenws.core.dialect import encoder
from krakenws.core.events import (
    NUMBERS,
    Addressed,
    Answered,
    Heartbeat,
    Rejected,
    Reply,
    Subscribed,
    Unanswered,
    Update,
    Violation,
    place_of,
)
from krakenws.core.violations import plain
from krakenws.errors import UsageError
from krakenws.sinks import Sink

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from krakenws.core.catalog import Bound, Entry
    from krakenws.core.events import Event, Route
    from krakenws.errors import KrakenWSError
    from krakenws.sinks import Out

_SENT = b"Client -> WebSocket: "
_RECEIVED = b"WebSocket -> Client: "
_NEXT_RECEIVED = b"\n" + _RECEIVED


class Transcript(Sink):
    """The original script's lines: every frame with its direction, in wire order, byte for byte."""

    wants_events = False

    def __init__(self, out: Out) -> None:
        self._write = out.write

    def sent(self, frames: list[bytes]) -> None:
        """Write frames behind `Client -> WebSocket: `."""
        if frames:
            self._write(b"".join([_SENT + frame + b"\n" for frame in frames]))

    def received(self, frames: list[bytes]) -> None:
        """Write frames behind `WebSocket -> Client: `, each byte of a read copied once."""
        if frames:
            first, *others = frames
            lines = [_RECEIVED + first, *others]
            lines[-1] += b"\n"
            self._write(_NEXT_RECEIVED.join(lines))


class Raw(Sink):
    """Received frames, a line each, and nothing else."""

    wants_events = False

    def __init__(self, out: Out) -> None:
        self._write = out.write

    def received(self, frames: list[bytes]) -> None:
        """Write frames as they came, each byte of a read copied once."""
        if frames:
            self._write(b"\n".join([*frames, b""]))


class Stamps:
    """RFC 3339 UTC with microseconds, of nanoseconds since 1970. What one read brought shares its time."""

    __slots__ = ("_ns", "_second", "_seconds", "_text")

    def __init__(self) -> None:
        self._ns = -1
        self._second: str | None = None
        self._seconds = self._text = ""

    def __call__(self, ns: int) -> str:
        """Return the time as text."""
        if ns != self._ns:
            digits = str(ns // 1000).rjust(7, "0")
            second = digits[:-6]
            if second != self._second:
                self._second = second
                self._seconds = strftime("%Y-%m-%dT%H:%M:%S.", gmtime(int(second)))
            self._ns = ns
            self._text = f"{self._seconds}{digits[-6:]}Z"
        return self._text


class Json(Sink):
    """One JSON event a line. Fields: `event`, what identifies it, `received`, `trust`, data.

    Args:
        out: where the lines go.
        many: there will be many events: what makes their lines sooner is loaded at once.
    """

    def __init__(self, out: Out, *, many: bool = False) -> None:
        self._write = out.write
        self._line_of = _quick_line() if many else _line
        self._stamp = Stamps()
        self._heads: dict[tuple[Route, bool], bytes] = {}
        # What the last update's line began with, and what follows from: mostly the next one's is the same.
        self._begin = b""
        self._route: Route | None = None
        self._snapshot = False
        self._trust: str | None = None
        self._ns = -1
        self._rows: Callable[[Update], list[Any]] | None = None
        self._encode: Callable[[Any], bytes] = _no_encoder

    def write(self, events: Sequence[Update | Event]) -> None:
        """Write a line for each event."""
        parts: list[bytes] = []
        for event in events:
            if isinstance(event, Update):
                self._update(event, parts)
            elif not isinstance(event, Heartbeat):
                parts.append(self._line_of(event_fields(event, self._stamp)))
        if parts:
            self._write(b"".join(parts))

    def line(self, update: Update) -> bytes:
        """Return the line of an update."""
        parts: list[bytes] = []
        self._update(update, parts)
        return b"".join(parts)

    def failed(self, error: KrakenWSError) -> None:
        """Write the error that ends the run: `code` is the exit code."""
        fields = {"event": "error", "code": error.exit_code, "message": str(error)}
        self._write(_line({**fields, "retryable": error.retryable}))

    def _update(self, update: Update, parts: list[bytes]) -> None:
        if self._rows is None:
            from msgspec.json import Encoder

            from krakenws.core.rows import rows_of

            self._rows, self._encode = rows_of, Encoder().encode
        try:
            data = self._encode(self._rows(update))
        except ValueError as error:  # Malformed, or text that is no Unicode
            parts.append(_line(event_fields(update.violation(error), self._stamp)))
            return
        if (
            update.route is not self._route
            or update.received_ns != self._ns
            or update.trust is not self._trust
            or update.snapshot is not self._snapshot
        ):
            self._begin = self._begin_as(update)
        parts += (self._begin, data, b"}\n")

    def _begin_as(self, update: Update) -> bytes:
        """Return what a line begins with, up to its data."""
        self._route, self._snapshot = route, snapshot = update.route, update.snapshot
        self._ns, self._trust = update.received_ns, update.trust
        head = self._heads.get((route, snapshot))
        if head is None:
            head = self._heads[route, snapshot] = _head(route, snapshot)
        trust = f'"trust":"{update.trust}",' if update.trust else ""
        return head + f'{self._stamp(update.received_ns)}",{trust}"data":'.encode()


def _no_encoder(_: Any) -> bytes:
    raise AssertionError("the encoder is loaded with the first update")


def _head(route: Route, snapshot: bool) -> bytes:
    """Return what all updates of a route begin with, up to the time."""
    fields: dict[str, Any] = {
        "event": "update",
        "channel": route.entry.name,
        "type": "snapshot" if snapshot else "update",
    }
    if route.symbol:
        fields["symbol"] = route.symbol
    suffix = NUMBERS.get(route.entry.name, "")
    if suffix in route.values:
        fields[suffix] = route.values[suffix]
    return _line(fields)[: -len(b"}\n")] + b',"received":"'


def _line(fields: dict[str, Any]) -> bytes:
    return "".join(_compact(fields, 0)).encode() + b"\n"


def _quick_line() -> Callable[[dict[str, Any]], bytes]:
    """Return what does as `_line` does, mostly in a fourth of its time."""
    from msgspec.json import Encoder

    encode = Encoder().encode

    def line(fields: dict[str, Any]) -> bytes:
        try:
            text = encode(fields)
        except (ValueError, TypeError):  # half a surrogate pair, for one
            return _line(fields)
        # What is not printable in ASCII would leave as it is, and a terminal or a splitter of lines obey it.
        return text + b"\n" if text.isascii() and b"\x7f" not in text else _line(fields)

    return line


_compact = encoder(",")
_PLACE = {"channel", "symbol"}
_REQUEST = {"method", "req_id"}
_AS_THEY_ARE = {str, bool, int, dict}
_OUTCOMES: dict[type[Event], dict[str, Any]] = {
    Reply: {"success": True, "outcome": "accepted"},
    Rejected: {"success": False, "outcome": "rejected"},
    Unanswered: {"outcome": "unknown"},
}
_shown: dict[type[Event], tuple[tuple[str, str, bool], ...]] = {}


def _members(cls: type[Event]) -> tuple[tuple[str, str, bool], ...]:
    """Return an event's fields but the first and the last: name, JSON's name, whether it has a default."""
    names: tuple[str, ...] = cls.__match_args__[1:]  # as `record` made them: all but received_ns
    first = _REQUEST if issubclass(cls, Answered) else _PLACE
    members = _shown[cls] = tuple(
        (name, name.removesuffix("_ns"), name in vars(cls)) for name in names if name not in first
    )
    return members


def event_fields(event: Event, stamp: Callable[[int], str]) -> dict[str, Any]:
    """Return the fields of an event as JSON has them, in order; those that say nothing are left out.

    `*_ns` fields become times without the suffix, a channel's number (`book-10`) a field of its own, and
    `received` comes last. A gap that has not ended yet says so: its `to` is null. What answers a session's
    caller has the caller's `id` behind its name.
    """
    if isinstance(event, Addressed):
        id_, event = event.id, event.event
        fields: dict[str, Any] = {"event": event.name, "id": id_}
    else:
        fields = {"event": event.name}
    cls, route = event.__class__, event.route
    if isinstance(event, Answered):
        fields["method"], fields["req_id"] = event.method, event.req_id
        fields.update(_OUTCOMES[cls])
    elif route is not None and not isinstance(event, Subscribed):  # whose `params` say as much
        fields.update(place_of(route.channel, route.symbol))
    else:
        fields.update(place_of(getattr(event, "channel", ""), getattr(event, "symbol", "")))
    for name, shown, has_default in _shown.get(cls) or _members(cls):
        value = getattr(event, name)
        if value is None:
            if name == "to_ns":
                fields[shown] = None
        elif shown != name:
            fields[shown] = stamp(value)
        elif value.__class__ is float:
            fields[name] = round(value, 6)
        elif value.__class__ in _AS_THEY_ARE or not hasattr(value, "keys"):
            if value != "" or not has_default:
                fields[name] = value
        else:
            fields[name] = dict(value)
    fields["received"] = stamp(event.received_ns)
    return fields


def one_channel(bound: Sequence[Bound]) -> Entry:
    """Return the one channel of a run.

    Raises:
        UsageError: there are several, or there is none.
    """
    entries = {(item.entry.api, item.entry.name): item.entry for item in bound}
    names = " and ".join(entry.name for entry in entries.values())
    if len(entries) != 1:
        raise UsageError(
            f"csv is a table of one channel, not of {names}; run each by itself, or use json"
            if entries
            else "csv needs a channel, such as ticker XBT/USD"
        )
    (entry,) = entries.values()
    if not entry.rows:
        raise UsageError(f"csv is for channels, and {entry.name} is none; use json or text")
    return entry


class Csv(Sink):
    """A table of one channel: header first, RFC 4180 quoting, lines end with a line feed.

    Columns: received, type, symbol, then the row's fields; a type among these is `entry_type`. A book has a
    line for each level. A frame that gives no rows has no place in a table: a sentence about it goes to
    `warn`. Other events are not written. Without an entry, the first data says which channel the table is of.
    """

    def __init__(self, out: Out, entry: Entry | None, warn: Callable[[str], None] | None) -> None:
        self._write = out.write
        self._entry = entry
        self._warn = warn
        self._stamp = Stamps()
        self._fields: tuple[str, ...] = ()
        self._is_book = False
        self._begun = False

    def write(self, events: Sequence[Update | Event]) -> None:
        """Write the rows of the updates among the events."""
        import csv
        from io import StringIO

        text = StringIO()
        table = csv.writer(text, lineterminator="\n")
        if self._entry is not None and not self._begun:
            self._begin(table, self._entry)
        for event in events:
            if not isinstance(event, Update):
                continue
            if event.route.entry is not self._entry:
                self._decide(table, event.route.entry)
            try:
                table.writerows([[_cell(value) for value in row] for row in self._table(event)])
            except ValueError as error:  # Malformed, or text that is no Unicode
                self._omit(event.violation(error))
        self._write(text.getvalue().encode())

    def close(self) -> None:
        """Write the header, if nothing came: an empty table is one, too."""
        if self._entry is not None and not self._begun:
            self.write(())

    def _decide(self, table: Any, entry: Entry) -> None:
        if self._entry is not None:
            raise UsageError(
                f"csv is a table of one channel, not of {self._entry.name} and {entry.name}; use json"
            )
        self._entry = entry
        self._begin(table, entry)

    def _begin(self, table: Any, entry: Entry) -> None:
        from krakenws.core.rows import ROWS

        self._begun = True
        self._is_book = entry.rows == "Level"
        self._fields = ROWS[entry.rows].__struct_fields__
        head = ("received", "type") if "symbol" in self._fields else ("received", "type", "symbol")
        named = tuple("entry_type" if name == "type" else name for name in self._fields)
        table.writerow(head + (("depth", "trust", "side", "price", "qty") if self._is_book else named))

    def _table(self, update: Update) -> list[list[Any]]:
        head: list[Any] = [self._stamp(update.received_ns), "snapshot" if update.snapshot else "update"]
        if "symbol" not in self._fields:
            head.append(update.route.symbol)
        rows = update.rows()
        if not self._is_book:
            return [[*head, *(getattr(row, name) for name in self._fields)] for row in rows]
        head += (update.route.values.get("depth"), update.trust)
        return [
            [*head, side, level.price, level.qty]
            for row in rows
            for side, levels in (("ask", row.asks), ("bid", row.bids))
            for level in levels
        ]

    def _omit(self, violation: Violation) -> None:
        if self._warn is not None:
            of = f"{violation.channel} {violation.symbol}".strip()
            self._warn(f"unusable frame of {of}, no row written: {violation.cause}: {violation.frame}")


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        from msgspec.json import encode

        return encode(value).decode()
    return plain(value) if isinstance(value, str) else value
