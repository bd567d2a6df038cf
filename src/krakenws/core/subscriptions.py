"""Everything wanted of one endpoint: asked for in batches, confirmed, refused, healed, asked for again.

*Wanted* is kept apart from what the exchange confirmed: each connection asks for all of it again, from the
user's parameters and never from an echo (quirk V1). Pairs of one channel share a request, requests keep to a
pace (quirks R1, R3), and an ack is matched by channel and pair (quirk R4). One that is missing is asked for
again, each time twice as patiently. Each `Subscription` knows its own state; here they are many, and there
may be thousands: what is derived from all of them is worked out once a change.
"""

from __future__ import annotations

from krakenws.core import dialect as d
from krakenws.core.events import Deferred, Refused, Route, Subscribed, Unsubscribed, Update, about
from krakenws.core.pacing import POLITE_S
from krakenws.core.subscription import ASKED, BROKEN, LIVE, WANTED, Subscription

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from krakenws.core.catalog import Bound
    from krakenws.core.dialect import Dialect, Envelope
    from krakenws.core.events import Event
    from krakenws.core.login import Login
    from krakenws.core.pacing import Pace
    from krakenws.core.violations import Violations
    from krakenws.options import Options

    Events = list[Update | Event]

INVALID_SESSION = "ESession:Invalid session"
_IN_VAIN = 2
_PAIRS_A_REQUEST = 100
_RATE_LIMITED = "Exceeded msg rate"
_RETRY_LATER = (
    _RATE_LIMITED,
    "EService:Unavailable",
    "EService:Busy",
    "EService:Throttled",
    "EGeneral:Internal error",
    "EGeneral:Too many requests",
    "EAuth:Rate limit exceeded",
    "EAuth:Too many requests",
)


class Subscriptions:
    """The subscriptions of one conversation, in the order they were wanted.

    Attributes:
        tails: those of public channels by the bytes that end their frames.
        leaving: what was unsubscribed and not wanted since: its data may still be on its way.
        mute: what keeps silent although it was asked for again, so that the connection has to be renewed; "".
    """

    def __init__(
        self,
        dialect: Dialect,
        options: Options,
        login: Login,
        pace: Pace,
        send: Callable[[bytes], None],
        *,
        violations: Violations,
        adopt: bool,
    ) -> None:
        """Adopt: take data of channels nobody asked for as wanted, which is how files are decoded."""
        self.tails: dict[bytes, Subscription] = {}
        self.leaving: set[tuple[str, str]] = set()
        self.mute = ""
        self._ever: dict[tuple[str, str], Route] = {}
        self._all: dict[tuple[str, str], Subscription] = {}
        self._dialect = dialect
        self._options = options
        self._login = login
        self._pace = pace
        self._send = send
        self._violations = violations
        self._adopt = adopt
        self._ask_at: float | None = None
        self.changes = 0
        self._quick: bool | None = None
        self._due: float | None = None
        self._due_known = True

    def __bool__(self) -> bool:
        return bool(self._all)

    @property
    def routes(self) -> list[Route]:
        """What is wanted now, in the order asked for."""
        return [subscription.route for subscription in self._all.values()]

    @property
    def owed(self) -> bool:
        """Whether anything was asked for, so that the exchange owes heartbeats (quirk L2)."""
        return any(subscription.state != WANTED for subscription in self._all.values())

    @property
    def awaiting(self) -> bool:
        """Whether some subscription awaits an answer, or its turn to be asked for."""
        return any(subscription.due is not None for subscription in self._all.values())

    @property
    def tallies(self) -> list[dict[str, Any]]:
        """What became of the frames of everything that was ever wanted, in that order."""
        return [
            {
                "channel": route.entry.name,
                **({"symbol": route.symbol} if route.symbol else {}),
                **{name: route.values[name] for name in ("depth", "interval") if name in route.values},
                **route.tally.fields(),
            }
            for route in self._ever.values()
        ]

    def changed(self) -> None:
        """Some subscription's state or due time may be another: work out anew what is derived from them."""
        self.changes += 1
        self._quick = None
        self._due_known = False

    # ---- what the user wants

    def want(self, bound: Bound) -> None:
        """Want a channel, for each of its pairs."""
        for route in self._routes_of(bound):
            if (route.channel, route.symbol) not in self._all:
                self._add(Subscription(route, self._options))

    def leave(self, bound: Bound) -> None:
        """Want a channel no longer, for each of its pairs."""
        keys = [(route.channel, route.symbol) for route in self._routes_of(bound)]
        gone = [self._all[key] for key in keys if key in self._all]
        for subscription in gone:
            self._drop(subscription.route)
        left = [subscription.route for subscription in gone if subscription.state != WANTED]
        if left:
            self.leaving.update((route.channel, route.symbol) for route in left)
            symbols = [route.symbol for route in left if route.symbol]
            token = self._login.of(bound.entry)
            self._send(self._dialect.subscribe(bound.entry, left[0].values, symbols, token, leave=True))

    def _routes_of(self, bound: Bound) -> list[Route]:
        values = {name: value for name, value in bound.values.items() if name not in {"pair", "symbol"}}
        channel = self._dialect.channel(bound.entry, values)
        return [
            Route(bound.entry, values, channel, symbol, self._violations) for symbol in bound.symbols or [""]
        ]

    def _add(self, subscription: Subscription) -> Subscription:
        route = subscription.route
        self.changed()
        self.leaving.discard((route.channel, route.symbol))
        self._all[route.channel, route.symbol] = subscription
        before = self._ever.setdefault((route.channel, route.symbol), route)
        route.tally = subscription.tally = before.tally
        if route.symbol:
            self.tails[self._dialect.tail_of(route.channel, route.symbol)] = subscription
        return subscription

    def _drop(self, route: Route) -> None:
        self.changed()
        self._all.pop((route.channel, route.symbol), None)
        self.tails.pop(self._dialect.tail_of(route.channel, route.symbol), None)

    def lost(self, cause: str, heard_ns: int) -> None:
        """The connection is gone, and with it all that was asked for."""
        for subscription in self._all.values():
            subscription.lost(cause, heard_ns)
        self.leaving.clear()
        self.mute = ""
        self._ask_at = None
        self.changed()

    # ---- data

    def are_quick(self) -> bool:
        """Return whether no subscription's frames have to be looked at one by one."""
        if self._quick is None:
            unverified = "" if self._options.verify else "book"
            self._quick = all(
                subscription.plain or (subscription.settled and subscription.route.entry.name == unverified)
                for subscription in self._all.values()
            )
        return self._quick

    def public_data(
        self,
        subscription: Subscription,
        frame: bytes,
        received_ns: int,
        now: float,
        events: Events,
        *,
        detail: bool,
    ) -> None:
        """Take a data frame of a subscription that is not plain."""
        if not subscription.settled:
            self.changed()
        subscription.tally.received += 1
        try:
            told = subscription.receive(frame, received_ns, now, self._dialect, detail)
        except d.Malformed as wrong:
            route = subscription.route
            place = route.entry.name, route.symbol
            events.append(about(self._violations.of(str(wrong), frame, received_ns, *place), route))
            subscription.tally.malformed += 1
            if subscription.state not in {ASKED, LIVE} or not subscription.needs_a_look:
                return
            told = subscription.disproved("malformed", received_ns, now)
        if told:
            events += told
            if subscription.state == BROKEN:
                self._heal(subscription, now)

    def data(
        self, envelope: Envelope, frame: bytes, received_ns: int, now: float, events: Events, *, detail: bool
    ) -> None:
        """Take a data frame that was not routed by its tail."""
        subscription = self._all.get((envelope.channel, envelope.symbol))
        if subscription is None:
            subscription = self._unasked(envelope, frame, received_ns, events)
            if subscription is None:
                return
        if envelope.symbol:
            self.public_data(subscription, frame, received_ns, now, events, detail=detail)
            return
        subscription.tally.received += 1
        told = subscription.receive_private(envelope, frame, received_ns, now, self._dialect)
        events.extend(told)
        if subscription.state == BROKEN and told:
            self._heal(subscription, now)

    def fill(self, channel: str, symbol: str, rows: list[Any], received_ns: int, now: float) -> Events | None:
        """Return rows from elsewhere as an update, after the gap they fill; None when it is not streaming."""
        subscription = self._all.get((channel, symbol))
        events = None if subscription is None else subscription.resume(received_ns, now)
        if subscription is None or events is None:
            return None
        self.changed()
        if rows:
            events.append(Update(subscription.route, b"", received_ns, False, None, rows))
        return events

    def _unasked(
        self, envelope: Envelope, frame: bytes, received_ns: int, events: Events
    ) -> Subscription | None:
        """Data nobody asked for (quirk F4): adopted when decoding, else reported."""
        if (envelope.channel, envelope.symbol) in self.leaving:
            return None  # it was on its way when we unsubscribed
        parsed = self._dialect.parse_channel(envelope.channel)
        if not self._adopt or parsed is None:
            cause = "data of a channel nobody asked for"
            events.append(self._violations.of(cause, frame, received_ns, envelope.channel, envelope.symbol))
            return None
        route = Route(*parsed, envelope.channel, envelope.symbol, self._violations)
        return self._add(Subscription(route, self._options, adopted=True))

    def _heal(self, subscription: Subscription, now: float) -> None:
        """Ask for one symbol again, and for nothing else (quirk B16)."""
        asked = subscription.tries - 2  # at once after a book that was good, then slower and slower
        subscription.due = now if asked < 0 else now + _patience(self._options.resync_s, asked)
        self.changed()
        self.ask(now)

    # ---- acks

    def ack(self, envelope: Envelope, received_ns: int, now: float, events: Events) -> None:
        """Take the exchange's answer to a subscription, or its word that one ended."""
        meant = self._meant_by(envelope)
        if self._adopt or not meant:
            for subscription in meant:
                subscription.begun_anew()
            if envelope.error or self._adopt or envelope.status == "unsubscribed":
                self._report_ack(envelope, received_ns, events)
            return
        for subscription in meant:
            if envelope.error:
                self._refused(subscription, envelope.error, received_ns, now, events)
            elif envelope.status == "unsubscribed":
                self._left(subscription, received_ns, now, events)
            else:
                params = self._dialect.confirmed(envelope)
                self._confirmed(subscription, params, received_ns, now, events)

    def error(self, envelope: Envelope, received_ns: int, now: float, events: Events) -> bool:
        """Take an error that names nothing; return whether it must be about subscriptions (v1.md 5.7)."""
        asked = [s for s in self._all.values() if s.state == ASKED or s.due is not None]
        limited = envelope.error.startswith(_RATE_LIMITED)
        if not asked or not (limited or len({s.route.channel for s in asked}) == 1):
            return False
        for subscription in asked:
            if limited or subscription.state == ASKED:
                self._refused(subscription, envelope.error, received_ns, now, events)
        return True

    def _confirmed(
        self,
        subscription: Subscription,
        params: dict[str, Any],
        received_ns: int,
        now: float,
        events: Events,
    ) -> None:
        again = subscription.tries - (2 if subscription.state == BROKEN else 1)
        if subscription.confirmed(now + _patience(self._options.resync_s, again)):
            route = subscription.route
            events.append(about(Subscribed(received_ns, route.entry.name, route.symbol, params), route))

    def _report_ack(self, envelope: Envelope, received_ns: int, events: Events) -> None:
        """An ack of something not wanted (any more), or in a file of frames, where nobody here asked."""
        if envelope.error:
            events.append(Refused(received_ns, envelope.name, envelope.symbol, envelope.error))
        elif envelope.status == "unsubscribed":
            events.append(Unsubscribed(received_ns, envelope.name, envelope.symbol))
        else:
            params = self._dialect.confirmed(envelope)
            events.append(Subscribed(received_ns, envelope.name, envelope.symbol, params))

    def _meant_by(self, envelope: Envelope) -> list[Subscription]:
        """Find what an ack is about: by channel and symbol (quirk R4), or what a bare refusal must mean."""
        exact = self._all.get((envelope.channel, envelope.symbol))
        if exact is not None:
            return [exact]
        if not envelope.error or self._adopt:
            return []
        open_ = [s for s in self._all.values() if s.state in {ASKED, BROKEN}]
        named = [
            s
            for s in open_
            if envelope.name in {"", s.route.entry.name} and envelope.symbol in {"", s.route.symbol}
        ]
        return named if envelope.name or len({s.route.channel for s in named}) == 1 else []

    def _refused(
        self, subscription: Subscription, error: str, received_ns: int, now: float, events: Events
    ) -> None:
        route = subscription.route
        if error.startswith("Already subscribed"):
            self._confirmed(subscription, {}, received_ns, now, events)
            return
        if error == "Subscription Not Found":
            return  # it answers the unsubscribing half of a resync, or one of ours that came too late
        if error.startswith(_RETRY_LATER):
            delay = 1.0 if error.startswith(_RATE_LIMITED) else POLITE_S
            subscription.later(now + delay)
            events.append(about(Deferred(received_ns, route.entry.name, route.symbol, error, delay), route))
            return
        if error.startswith(INVALID_SESSION):
            subscription.later(now)
            if not self._login.refuse(subscription.session):
                return  # asked with the token before this one
        else:
            self._drop(route)
        events.append(about(Refused(received_ns, route.entry.name, route.symbol, error), route))

    def _left(self, subscription: Subscription, received_ns: int, now: float, events: Events) -> None:
        """An unsubscription: half of a resync, ours of before it was wanted again, or the exchange's own."""
        if subscription.state == BROKEN:
            return
        route = subscription.route
        events.append(about(Unsubscribed(received_ns, route.entry.name, route.symbol), route))
        if subscription.state == LIVE:
            subscription.lost("unsubscribed by the exchange", received_ns)
            subscription.due = now + 1.0

    # ---- time

    def next_deadline(self) -> float | None:
        """Return when something is to be asked for (again), in monotonic seconds, or None."""
        if self._ask_at is not None:  # what is due has to wait for the pace
            return self._ask_at
        return None if self._login.refused else self._first_due()

    def _first_due(self) -> float | None:
        """When a subscription is to be asked for again: found once a change."""
        if not self._due_known:
            dues = [s.due for s in self._all.values() if s.due is not None]
            self._due = min(dues, default=None)
            self._due_known = True
        return self._due

    def on_deadline(self, received_ns: int, now: float, events: Events) -> None:
        """Ask again for what is due, and say what did not come."""
        due = self._first_due()
        if due is not None and now >= due:
            self._break_mute(received_ns, now, events)
            if self.mute:
                return
        unheard = [s for s in self._all.values() if s.state == ASKED and _is_due(s, now)]
        self.ask(now)
        for subscription in unheard:
            if not _is_due(subscription, now):  # asked again; the others wait for their turn
                route = subscription.route
                late = Deferred(received_ns, route.entry.name, route.symbol, "no answer yet", 0.0)
                events.append(about(late, route))

    def _break_mute(self, received_ns: int, now: float, events: Events) -> None:
        """Confirmed and mute (quirk L3): ask again, and if that is in vain, on another connection, once."""
        for subscription in self._all.values():
            if not (_is_due(subscription, now) and subscription.waiting):
                continue
            if subscription.state == LIVE:
                events.append(subscription.broken("no snapshot", received_ns))
            elif subscription.state != BROKEN:
                continue
            subscription.in_vain += 1
            if subscription.in_vain == _IN_VAIN and not subscription.renewed:
                subscription.renewed = True
                route = subscription.route
                self.mute = f"{route.entry.name} {route.symbol}".strip()

    # ---- asking

    def ask(self, now: float) -> None:
        """Ask for every wanted subscription that is due, pairs of one channel together, at a polite pace."""
        self._ask_at = None
        if self._login.refused:
            return
        for batch in self._batches(now):
            delay = self._pace.delay(now)
            if delay > 0.0:
                self._ask_at = now + delay
                return
            self._ask(batch, now)

    def _batches(self, now: float) -> Iterable[list[Subscription]]:
        groups: dict[str, list[Subscription]] = {}
        for subscription in self._all.values():
            if subscription.due is not None:
                if subscription.due <= now:
                    groups.setdefault(f"{subscription.route.channel} {subscription.state}", []).append(
                        subscription
                    )
            elif subscription.state == WANTED:
                groups.setdefault(f"{subscription.route.channel} {WANTED}", []).append(subscription)
        for group in groups.values():
            for at in range(0, len(group), _PAIRS_A_REQUEST):
                yield group[at : at + _PAIRS_A_REQUEST]

    def _ask(self, batch: list[Subscription], now: float) -> None:
        route = batch[0].route
        symbols = [subscription.route.symbol for subscription in batch if subscription.route.symbol]
        token = self._login.of(route.entry)
        if batch[0].state == BROKEN:
            self._send(self._dialect.subscribe(route.entry, route.values, symbols, token, leave=True))
        self._send(self._dialect.subscribe(route.entry, route.values, symbols, token))
        for subscription in batch:
            tries = subscription.tries
            if subscription.state == BROKEN:  # its first request, that of the broken one, does not count
                due = now + _patience(self._options.resync_s, tries - 1)
            else:
                due = now + _patience(self._options.ack_timeout_s, tries)
            subscription.asked(due, self._login.number)
        self.changed()


def _is_due(subscription: Subscription, now: float) -> bool:
    return subscription.due is not None and now >= subscription.due


def _patience(seconds: float, tries: int) -> float:
    """Twice as long at each further try, up to 32 times."""
    return seconds * 2.0 ** max(0, min(tries, 5))
