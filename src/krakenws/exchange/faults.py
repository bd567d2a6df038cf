"""Faults on purpose: what can go wrong between an exchange and its clients.

Theory of this file
-------------------
A `FaultPlan` keeps the rules of a venue; a `Line` is what they do to one connection. A rule *strikes* when it
is due, has strikes left, its filters fit and its probability is drawn. There are five kinds of rules:

    frame       data on its way out: lost, doubled, late, changed, or something strange said before it
    connection  the connection itself: it freezes, closes, or breaks
    request     what a client asked: not heard, refused, or carried out and not answered
    page        an HTTP request: a proxy's page stands where the answer should be
    venue       the exchange: its status, the age of its REST view, its tokens, its prices' precision

Frames pass through `Line.outgoing`, requests are shown to `Line.asked` (REST calls to `FaultPlan.called`),
pages are asked for with `FaultPlan.page`, and a venue looks up what befalls itself. The first rule that
strikes decides: no frame suffers twice. Frame rules strike data; those that only say something strange, or
end the connection, strike any frame when they name no channel and no pair. A connection rule that names
neither, and no probability, does not wait for a frame at all.

While `FaultPlan.active` is false nobody needs to ask; it becomes false again in `on_deadline`.

Source: v1.md section 13; auth.md section 7; quirks L3, L4, N2 to N7, O1, P2, R1, T1.
"""

from __future__ import annotations

import re

from krakenws.core.catalog import nearest
from krakenws.core.dialect import ACK, DATA, UNKNOWN, Envelope, Malformed
from krakenws.errors import UsageError
from krakenws.exchange.fault_rules import (
    CLOSE,
    CONNECTION,
    FRAME,
    FREEZE,
    INVALID_SESSION,
    PAGE,
    REQUEST,
    RESET,
    TRUNCATE,
    VENUE,
    Rule,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from krakenws.core.dialect import Dialect
    from krakenws.exchange.protocol import Subscription

    Key = tuple[str, str]
    """Channel and pair."""

_UNKNOWN_EVENTS = {1: b'{"event":"newsOfTheDay","text":"unexpected"}', 2: b'{"channel":"news","data":[]}'}
_STRANGE = {"not_json", "unknown_event", TRUNCATE, FREEZE, CLOSE, RESET}
"""These need no data to strike."""
_CHECKSUM = re.compile(rb'("c":"|"checksum":)([0-9]+)')
_SEQUENCE = re.compile(rb'"sequence":([0-9]+)(?!.*"sequence")', re.DOTALL)
_PAGES = {
    403: "Forbidden",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    520: "Web server is returning an unknown error",
    522: "Connection timed out",
    525: "SSL handshake failed",
}


class Page:
    """What a proxy says in the exchange's place: status, reason and HTML."""

    __slots__ = ("body", "reason", "status")

    def __init__(self, status: int) -> None:
        self.status = status
        self.reason = _PAGES.get(status, "Error")
        title = f"{status}: {self.reason}"
        self.body = (
            f"<!DOCTYPE html>\n<html><head><title>api.kraken.com | {title}</title></head>"
            f"<body><h1>{title}</h1><p>Cloudflare</p></body></html>\n"
        ).encode()


class End:
    """How a connection ends.

    Attributes:
        how: FREEZE (nothing is read or written any more), CLOSE or RESET.
        code: the close code of CLOSE; 1006 is a connection that ends without a closing handshake.
        reason: the close reason.
        half: a frame of which only the first half is written before, or b"".
    """

    __slots__ = ("code", "half", "how", "reason")

    def __init__(self, how: str, code: int = 1006, reason: str = "", half: bytes = b"") -> None:
        self.how = how
        self.code = code
        self.reason = reason
        self.half = half


def _look_up(rule: Rule, field: str, name: str, known: Collection[str] | None) -> None:
    """Raise UsageError if a rule names what there is not."""
    if name and known is not None and name not in known:
        meant = nearest(name, known)
        hint = f"; did you mean {meant}?" if meant else ""
        raise UsageError(f"fault {rule.name}: there is no {field} {name!r} here{hint}")


class FaultPlan:
    """The faults of one venue.

    Args:
        draw: gives a random number from 0 to below 1; the same numbers, the same faults.
        journal: is told each strike, and when it struck.
        symbols: the pairs there are, or None for any: a rule for another one would never strike.
        methods: what may be asked, likewise.

    Attributes:
        active: whether anything could happen.
    """

    def __init__(
        self,
        draw: Callable[[], float],
        journal: Callable[[dict[str, object], float], None] | None = None,
        *,
        symbols: Collection[str] | None = None,
        methods: Collection[str] | None = None,
    ) -> None:
        self.active = False
        self._draw = draw
        self._journal = journal
        self._symbols = symbols
        self._methods = methods
        self._rules: list[Rule] = []
        self._lines: dict[int, Line] = {}
        self._rule_count = 0
        self._line_count = 0
        self._now = float("-inf")

    def add(self, specs: Iterable[Mapping[str, object]], now: float) -> None:
        """Switch faults on: all of them, or none if one makes no sense.

        Raises:
            UsageError: a rule makes no sense.
        """
        rules = [Rule(self._rule_count + n, spec, now) for n, spec in enumerate(specs, 1)]
        for rule in rules:
            _look_up(rule, "symbol", rule.symbol, self._symbols)
            _look_up(rule, "method", rule.method, self._methods)
        self._rule_count += len(rules)
        self._rules += rules
        self.active = self.active or bool(rules)

    def clear(self) -> None:
        """Switch everything off: held frames go out, muted channels speak, frozen connections are reset."""
        self.active = True  # until `on_deadline` has found that all is well
        self._rules.clear()
        for line in self._lines.values():
            line.recover()

    def rules(self) -> list[dict[str, object]]:
        """Return the rules that may still strike, as they were given, each with `id` and `struck`."""
        return [{**rule.spec, "id": rule.number, "struck": rule.struck} for rule in self._rules if rule.left]

    def connected(self, dialect: Dialect, subscriptions: Mapping[Key, Subscription]) -> Line:
        """Return what the faults do to a new connection; its private data are numbered by `subscriptions`."""
        self._line_count += 1
        line = self._lines[self._line_count] = Line(self, self._line_count, dialect, subscriptions)
        return line

    def disconnected(self, line: Line) -> None:
        """Forget a connection that is gone."""
        if self._lines.pop(line.number, None) is not None:
            for rule in self._rules:
                rule.forget(line.number)

    def next_deadline(self) -> float | None:
        """Return when `on_deadline` wants to be called, or None."""
        times = [time for rule in self._rules if rule.left for time in rule.turns()]
        times += [due for line in self._lines.values() for due, _, _ in line.held]
        return min((time for time in times if self._now < time < float("inf")), default=None)

    def on_deadline(self, now: float) -> None:
        """Let time pass, and find out whether anything can still happen."""
        self._now = now
        for rule in self._rules:
            if rule.until <= now:
                rule.left = 0
            elif rule.is_due(now):
                rule.choose(self._lines)
        self.active = any(rule.left for rule in self._rules) or any(
            line.is_troubled for line in self._lines.values()
        )

    def page(self, path: str, now: float, *, upgrade: bool) -> Page | None:
        """Return the page that stands in the way of an HTTP request, or None.

        Args:
            path: what is asked for, without its query.
            now: the time.
            upgrade: whether a WebSocket is asked for; a rule without `path` strikes only then.
        """
        for rule in self._due(now, PAGE):
            prefix = rule.options.get("path")
            if (path.startswith(prefix) if prefix else upgrade) and self.strikes(rule, now, path=path):
                return Page(rule.options["status"])
        return None

    def called(self, method: str, now: float) -> Rule | None:
        """Return the request fault that strikes a REST call, or None; only rules that name the call do."""
        for rule in self._due(now, REQUEST):
            if rule.method == method and self.strikes(rule, now, method=method):
                return rule
        return None

    def system_status(self, now: float) -> str | None:
        """Return the status that a rule gives the exchange now, or None; the last rule decides."""
        walks = [rule for rule in self._due(now, VENUE) if rule.name == "system_status"]
        return walks[-1].status(now) if walks else None

    def rest_lag_s(self, now: float) -> float:
        """Return by how many seconds what REST shows of orders and trades is old."""
        lags = [rule.options["lag_s"] for rule in self._due(now, VENUE) if rule.name == "rest_lag"]
        return lags[-1] if lags else 0.0

    def befalls(self, now: float) -> list[Rule]:
        """Return what a venue has to do to itself now, each once.

        The names are `expire_tokens`, and `change_precision` with `symbol` ("" for all) and
        `options["decimals"]`.
        """
        due = [r for r in self._due(now, VENUE) if r.name in {"expire_tokens", "change_precision"}]
        return [rule for rule in due if self.strikes(rule, now, symbol=rule.symbol)]

    def due_on(self, line: Line, now: float, *kinds: str) -> list[Rule]:
        """Return the rules of some kinds that are due on a connection."""
        due = self._due(now, *kinds)
        for rule in due:
            rule.choose(self._lines)
        return [rule for rule in due if rule.fits_line(line.number)]

    def strikes(self, rule: Rule, now: float, *, line: int = 0, **where: str) -> bool:
        """Draw whether a rule that fits strikes; a strike is counted and told to the journal."""
        if not rule.left or (rule.probability and self._draw() >= rule.probability):
            return False
        rule.strike(line)
        if self._journal is not None:
            about: dict[str, object] = {"fault": rule.name, "id": rule.number}
            if line:
                about["connection"] = line
            about.update((name, value) for name, value in where.items() if value)
            self._journal(about, now)
        return True

    def _due(self, now: float, *kinds: str) -> list[Rule]:
        return [rule for rule in self._rules if rule.kind in kinds and rule.is_due(now)]


class Line:
    """What the faults do to one connection.

    Attributes:
        plan: whose rules they are.
        number: the connection's number, from 1.
        end: how the connection has to end now, or None.
        held: frames that are late: when each is due, its channel and pair, and the frame.
    """

    __slots__ = (
        "_dialect",
        "_muted",
        "_overtaken",
        "_skipped",
        "_subscriptions",
        "end",
        "held",
        "number",
        "plan",
    )

    def __init__(
        self, plan: FaultPlan, number: int, dialect: Dialect, subscriptions: Mapping[Key, Subscription]
    ) -> None:
        self.plan = plan
        self.number = number
        self.end: End | None = None
        self.held: list[tuple[float, Key, bytes]] = []
        self._dialect = dialect
        self._subscriptions = subscriptions
        self._muted: set[Key] = set()
        self._overtaken: dict[Key, bytes] = {}
        self._skipped: dict[Key, int] = {}

    @property
    def is_troubled(self) -> bool:
        """Whether something that struck before still needs `outgoing`."""
        return bool(self.held or self._muted or self._overtaken)

    def recover(self) -> None:
        """Let everything be well again from the next frame on."""
        late = float("-inf")
        self.held = [(late, key, frame) for _, key, frame in self.held]
        self.held += [(late, key, frame) for key, frame in self._overtaken.items()]
        self._overtaken.clear()
        self._muted.clear()
        if self.end is not None and self.end.how == FREEZE:
            self.end = End(RESET)

    def outgoing(self, frames: Iterable[bytes], now: float) -> list[bytes]:
        """Return what is really sent of what should be; `end` may be set by it."""
        if self.end is not None:  # since a request was read: its answer is not to be sent
            return []
        out = [frame for due, _, frame in self.held if due <= now]
        self.held = [late for late in self.held if late[0] > now]
        rules = self.plan.due_on(self, now, FRAME, CONNECTION)
        if not rules and not self.is_troubled:
            return [*out, *frames]
        self._skipped.clear()
        for frame in frames:
            if not self._pass(frame, rules, out, now):
                return out
        for rule in rules:
            at_once = rule.kind == CONNECTION and not rule.waits_for_data
            if at_once and self.plan.strikes(rule, now, line=self.number):
                self.end = _end_of(rule, b"")
                break
        return out

    def asked(
        self, method: str, channel: str, symbols: Iterable[str], now: float, *, signed: bool
    ) -> Rule | None:
        """Return the request fault that strikes what the client asks, or None.

        Args:
            method: `subscribe`, `addOrder`, …
            channel: the channel it is about, or "".
            symbols: the pairs it is about.
            now: the time.
            signed: whether it needs a token: only then can its session be invalid.
        """
        for rule in self.plan.due_on(self, now, REQUEST):
            if (
                rule.method in {"", method}
                and rule.fits_feed(channel, symbols)
                and (signed or rule.name != INVALID_SESSION)
                and self.plan.strikes(rule, now, line=self.number, method=method, channel=channel)
            ):
                return rule
        return None

    def cut(self) -> None:
        """End the connection before anything more is said."""
        self.end = End(CLOSE)

    def _pass(self, frame: bytes, rules: list[Rule], out: list[bytes], now: float) -> bool:
        """Let one frame go out, or suffer; false when the connection ends with it."""
        try:
            envelope = self._dialect.classify(frame)
        except Malformed:
            envelope = Envelope(UNKNOWN, None)
        key = (envelope.channel, envelope.symbol)
        if envelope.kind == ACK:
            self._muted.discard(key)
        elif key in self._muted and envelope.kind == DATA:
            return True
        made = [frame]
        for rule in rules:
            if self._fits(rule, frame, envelope, key) and self.plan.strikes(
                rule, now, line=self.number, channel=envelope.channel, symbol=envelope.symbol
            ):
                made = self._suffer(rule, frame, key, now)
                break
        if key in self._skipped:
            made = [_renumber(item, self._skipped[key]) for item in made]
        waiting = [due for due, of, _ in self.held if of == key] if envelope.kind == DATA else []
        if waiting:  # a late feed keeps its order
            self.held += [(waiting[-1], key, item) for item in made]
            return self.end is None
        out += made
        if made and key in self._overtaken and envelope.kind == DATA:
            out.append(self._overtaken.pop(key))
        return self.end is None

    def _fits(self, rule: Rule, frame: bytes, envelope: Envelope, key: Key) -> bool:
        if rule.kind == CONNECTION and not rule.waits_for_data:
            return False
        if envelope.kind != DATA:
            return rule.name in _STRANGE and not (rule.channel or rule.symbol)
        if not rule.fits_feed(envelope.channel, (envelope.symbol,)):
            return False
        if rule.name == "bad_checksum":
            return _CHECKSUM.search(frame) is not None
        if rule.name == "skip_sequence":
            return envelope.sequence is not None
        return rule.name != "reorder" or key not in self._overtaken

    def _suffer(self, rule: Rule, frame: bytes, key: Key, now: float) -> list[bytes]:
        """Return what is sent in a frame's place."""
        match rule.name:
            case "duplicate":
                return [frame, frame]
            case "bad_checksum":
                return [_CHECKSUM.sub(_other_number, frame)]
            case "not_json":
                return [rule.options["text"].encode(), frame]
            case "unknown_event":
                return [_UNKNOWN_EVENTS[self._dialect.api], frame]
            case "unknown_field":
                return [_with_field(frame)]
            case "skip_sequence":
                self._skipped[key] = self._skipped.get(key, 0) + 1
                if key in self._subscriptions:
                    self._subscriptions[key].sequence += 1
                return [frame]
            case "delay":
                self.held.append((now + rule.options["delay_s"], key, frame))
            case "reorder":
                self._overtaken[key] = frame
            case "mute":
                self._muted.add(key)
            case "drop":
                pass
            case _:
                self.end = _end_of(rule, frame)
        return []


def _end_of(rule: Rule, frame: bytes) -> End:
    if rule.name == TRUNCATE:
        return End(rule.options["then"], half=frame)
    if rule.name == CLOSE:
        return End(CLOSE, rule.options["code"], rule.options["reason"])
    return End(rule.name)


def _other_number(found: re.Match[bytes]) -> bytes:
    return b"%b%d" % (found[1], (int(found[2]) + 1) % (1 << 32))


def _renumber(frame: bytes, by: int) -> bytes:
    """Return a private frame with a higher sequence number; it is the last of that name."""
    return _SEQUENCE.sub(lambda found: b'"sequence":%d' % (int(found[1]) + by), frame)


def _with_field(frame: bytes) -> bytes:
    """Return a frame with one more field in its first object, or in its first row where it has none."""
    if b"{" in frame:
        return frame.replace(b"{", b'{"aNewField":"unexpected",', 1).replace(b",}", b"}", 1)
    return frame.replace(b"]", b',"unexpected"]', 1)
