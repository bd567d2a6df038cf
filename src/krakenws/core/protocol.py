"""One conversation with the exchange, seen from the client: pure state, time is an argument.

The shell (`net/loop.py`) owns socket and clock. After each call it sends `frames_to_send()`, delivers the
returned events, arms one timer for `next_deadline()` and obeys `wants`::

    CONNECT: open a connection, say `connecting`, then `opened` or `lost`
    STAY:    nothing to do
    CLOSE:   the end: `failure` says why, None when nothing was left to do. While a connection stands, `idle`
             tells that nothing is left; a session may go on with another request

Life of a connection: connecting → greeting (`systemStatus` comes first, within a deadline) → ready → lost.
*Wanted* subscriptions are kept apart from what the exchange confirmed; each connection asks for all of them
again, from the user's parameters and never from an echo (quirk V1).

Timers: the greeting; each request's answer; silence (any frame proves life; then a ping; then lost); missing
acks and snapshots (asked again, each time twice as patiently); the message pace; the next reconnect;
stability, which alone resets the back-off.

A request ends exactly once: answered, or as `Unanswered` when it was sent and no answer came. It is never
sent again. An answer is taken for a request's only when it cannot be another's: a wrong verdict on an order
is worse than none.
"""

from __future__ import annotations

from krakenws.core import dialect as d
from krakenws.core.catalog import PRIVATE, shown
from krakenws.core.events import (
    Connected,
    Deferred,
    Disconnected,
    Heartbeat,
    Pong,
    Refused,
    Rejected,
    Reply,
    Route,
    Status,
    Subscribed,
    Unsubscribed,
    Update,
    Violation,
)
from krakenws.core.pacing import POLITE_S, Backoff, Budget, Pace
from krakenws.core.requests import Requests
from krakenws.core.subscription import ASKED, BROKEN, LIVE, WANTED, Subscription

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from krakenws.core.catalog import Bound, Entry
    from krakenws.core.dialect import Dialect, Envelope
    from krakenws.core.events import Answered, Event
    from krakenws.core.requests import Request
    from krakenws.options import Options

    Events = list[Update | Event]

CONNECT = "connect"
STAY = "stay"
CLOSE = "close"

_DOWN = "down"
_CONNECTING = "connecting"
_GREETING = "greeting"
_READY = "ready"

_PAIRS_A_REQUEST = 100
_RATE_LIMITED = "Exceeded msg rate"
_MAINTENANCE = "maintenance"
_INVALID_SESSION = "ESession:Invalid session"
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
_ARRAYS = {b"["}
"""How frames begin that on v1 can only be data, so that they need no look one by one."""


class ClientProtocol:
    """The state of one conversation with one endpoint.

    Attributes:
        wants: what the shell has to do now: `CONNECT`, `STAY` or `CLOSE`.
        failure: with `CLOSE`, why it ended for good, or None.
        detail: whether every data frame is reported as an `Update`. When off, frames of channels that need no
            look are not reported: transcripts and raw output take them as they came.
        token_refused: the exchange called the session invalid; `renew` gives it another token.
        system: the exchange's last known status, "" before the greeting.
    """

    def __init__(
        self,
        dialect: Dialect,
        options: Options,
        endpoint: str,
        *,
        jitter: Callable[[], float],
        detail: bool = True,
        adopt: bool = False,
    ) -> None:
        """Adopt: take data of channels nobody asked for as wanted, which is how files are decoded."""
        self.wants = STAY
        self.failure: str | None = None
        self.detail = detail
        self.token_refused = False
        self.system = ""
        self._dialect = dialect
        self._options = options
        self._endpoint = endpoint
        self._adopt = adopt
        self._phase = _DOWN
        self._token = ""
        self._session = 0
        self._subscriptions: dict[tuple[str, str], Subscription] = {}
        self._tails: dict[bytes, Subscription] = {}
        self._leaving: set[tuple[str, str]] = set()
        self._requests = Requests()
        self._out: list[bytes] = []
        self._backoff = Backoff(jitter)
        self._budget = Budget(options.attempts, options.attempts_window_s)
        self._pace = Pace(rate=20.0, burst=10)
        self._stood = False
        self._restarted = False
        self._reconnects = 0
        self._connect_at: float | None = None
        self._phase_deadline: float | None = None
        self._ask_at: float | None = None
        self._heard_at = 0.0
        self._heard_ns = 0
        self._quick: bool | None = None
        self._due: float | None = None
        self._due_known = True
        self._probed_at: float | None = None
        self._probe_id: int | None = None
        self._steady_at: float | None = None

    # ---- what the user wants

    def subscribe(self, bound: Bound, now: float) -> None:
        """Want a channel, for each of its pairs; asked for as soon as the connection is ready."""
        for route in self._routes_of(bound):
            if (route.channel, route.symbol) not in self._subscriptions:
                self._want(Subscription(route))
        self._act(now)

    def unsubscribe(self, bound: Bound) -> None:
        """Want a channel no longer, for each of its pairs."""
        keys = [(route.channel, route.symbol) for route in self._routes_of(bound)]
        gone = [self._subscriptions[key] for key in keys if key in self._subscriptions]
        for subscription in gone:
            self._drop(subscription.route)
        left = [subscription.route for subscription in gone if subscription.state != WANTED]
        if left:
            self._leaving.update((route.channel, route.symbol) for route in left)
            symbols = [route.symbol for route in left if route.symbol]
            token = self._auth(bound.entry)
            self._send(self._dialect.subscribe(bound.entry, left[0].values, symbols, token, leave=True))

    def _routes_of(self, bound: Bound) -> list[Route]:
        values = {name: value for name, value in bound.values.items() if name not in {"pair", "symbol"}}
        channel = self._dialect.channel(bound.entry, values)
        return [Route(bound.entry, values, channel, symbol) for symbol in bound.symbols or [""]]

    def _want(self, subscription: Subscription) -> Subscription:
        route = subscription.route
        self._changed()
        self._leaving.discard((route.channel, route.symbol))
        self._subscriptions[route.channel, route.symbol] = subscription
        if route.symbol:
            self._tails[self._dialect.tail_of(route.channel, route.symbol)] = subscription
        return subscription

    def _drop(self, route: Route) -> None:
        self._changed()
        self._subscriptions.pop((route.channel, route.symbol), None)
        self._tails.pop(self._dialect.tail_of(route.channel, route.symbol), None)

    def _changed(self) -> None:
        """Some subscription's state or due time may be another: work out anew what is derived from them."""
        self._quick = None
        self._due_known = False

    def request(self, bound: Bound, now: float) -> int:
        """Send a command once the connection is ready; return the `req_id` its answer will carry."""
        request = self._requests.add(bound)
        self._act(now)
        return request.req_id

    @property
    def idle(self) -> bool:
        """Whether nothing is wanted and nothing awaited."""
        return not self._subscriptions and not self._requests

    @property
    def routes(self) -> list[Route]:
        """What is wanted now, in the order asked for."""
        return [subscription.route for subscription in self._subscriptions.values()]

    def has_sent(self, bound: Bound) -> bool:
        """Whether a command left and awaits its answer."""
        return any(request.bound is bound for request in self._requests.sent)

    # ---- the connection's life

    def connecting(self, now: float) -> None:
        """A connection attempt began."""
        self.wants = STAY
        self._phase = _CONNECTING
        self._connect_at = None
        self._phase_deadline = now + self._options.connect_timeout_s

    def opened(self, now: float, token: str = "") -> None:
        """The WebSocket is open; the exchange's greeting must follow."""
        self._phase = _GREETING
        self._take_token(token)
        self._heard_at = now

    def renew(self, token: str, now: float) -> None:
        """Go on with another token on the same connection."""
        self._take_token(token)
        self._act(now)

    def _take_token(self, token: str) -> None:
        """Count tokens: a refusal of what was asked with an older one says nothing of this one."""
        self._token = token
        self._session += 1
        self.token_refused = False
        self._changed()

    def lost(
        self, cause: str, received_ns: int, now: float, *, code: int | None = None, at_least_s: float = 0.0
    ) -> Events:
        """The connection is gone, or could not be made; said twice, it is one loss.

        Args:
            cause: what happened, for people.
            received_ns: wall-clock time.
            now: monotonic time.
            code: the WebSocket close code, if there was one (1001: planned restart, quirk N4).
            at_least_s: how long to wait before the next attempt, whatever the back-off says.
        """
        if self._phase == _DOWN and self.wants != CONNECT:
            return []
        ended = [self._unanswered(request, received_ns, cause) for request in self._requests.sent]
        self._requests.lost()
        for subscription in self._subscriptions.values():
            subscription.lost(cause, self._heard_ns)
        self._changed()
        self._leaving.clear()
        self._out.clear()
        self._phase = _DOWN
        self._phase_deadline = self._ask_at = self._probed_at = self._steady_at = None
        self._probe_id = None
        if code == 1013 or self.system == _MAINTENANCE:
            at_least_s = max(at_least_s, POLITE_S)
        delay = None if self.idle or not self._may_reconnect() else self._delay(code, at_least_s, now)
        if delay is None:
            self.wants = CLOSE
            self.failure = None if self.idle else cause
        else:
            self.wants = STAY
            self._connect_at = now + delay
        return [Disconnected(received_ns, self._endpoint, cause, delay), *ended]

    def _may_reconnect(self) -> bool:
        """By default the first connection must stand; from then on streams go on for ever."""
        allowed = self._options.reconnect
        if allowed is None:
            return self._stood and bool(self._subscriptions)
        return self._reconnects < allowed

    def _delay(self, code: int | None, at_least_s: float, now: float) -> float:
        self._reconnects += 1
        if code == 1001 and not self._restarted and not at_least_s:
            self._restarted = True  # once in a row: a planned restart is no sign of trouble (quirk N4)
            delay = 0.0
        else:
            delay = self._backoff.next_delay(at_least_s)
        return delay + self._budget.delay(now + delay)

    # ---- frames

    def receive(self, frames: list[bytes], received_ns: int, now: float) -> Events:
        """Take the whole frames of one read; return what happened, in order."""
        if not frames:
            return []
        self._heard_at = now
        self._heard_ns = received_ns
        self._probed_at = None
        detail = self.detail
        if not detail and self._is_quick() and {frame[:1] for frame in frames} == _ARRAYS:
            return []
        events: Events = []
        tail_of, known = self._dialect.tail, self._tails
        for frame in frames:
            subscription = known.get(tail_of(frame))
            if subscription is None:
                self._message(frame, received_ns, now, events)
            elif subscription.plain:
                if detail:
                    events.append(Update(subscription.route, frame, received_ns, False, None, None))
            else:
                self._public_data(subscription, frame, received_ns, now, events)
        return events

    def _is_quick(self) -> bool:
        """Whether no subscription's frames have to be looked at one by one; worked out once a change."""
        if self._quick is None:
            unverified = "" if self._options.verify else "book"
            self._quick = self._phase == _READY and all(
                subscription.plain or (subscription.settled and subscription.route.entry.name == unverified)
                for subscription in self._subscriptions.values()
            )
        return self._quick

    def _public_data(
        self, subscription: Subscription, frame: bytes, received_ns: int, now: float, events: Events
    ) -> None:
        if not subscription.settled:
            self._changed()
        try:
            told = subscription.receive(frame, received_ns, self._dialect, self._options, self.detail)
        except d.Malformed as wrong:
            route = subscription.route
            events.append(_violation(str(wrong), frame, received_ns, route.entry.name, route.symbol))
            if subscription.state in {ASKED, LIVE} and subscription.needs_a_look:
                events.append(subscription.broken("malformed", received_ns))
                self._resubscribe(subscription, now)
            return
        if told:
            events += told
            if subscription.state == BROKEN:
                self._resubscribe(subscription, now)

    def _data(self, envelope: Envelope, frame: bytes, received_ns: int, now: float, events: Events) -> None:
        subscription = self._subscriptions.get((envelope.channel, envelope.symbol))
        if subscription is None:
            subscription = self._unasked(envelope, frame, received_ns, events)
            if subscription is None:
                return
        if envelope.symbol:
            self._public_data(subscription, frame, received_ns, now, events)
            return
        told = subscription.receive_private(envelope, frame, received_ns)
        events.extend(told)
        if subscription.state == BROKEN and told:
            self._resubscribe(subscription, now)

    def _unasked(
        self, envelope: Envelope, frame: bytes, received_ns: int, events: Events
    ) -> Subscription | None:
        """Data nobody asked for (quirk F4): adopted when decoding, else reported."""
        if (envelope.channel, envelope.symbol) in self._leaving:
            return None  # it was on its way when we unsubscribed
        parsed = self._dialect.parse_channel(envelope.channel)
        if not self._adopt or parsed is None:
            cause = "data of a channel nobody asked for"
            events.append(_violation(cause, frame, received_ns, envelope.channel, envelope.symbol))
            return None
        return self._want(Subscription(Route(*parsed, envelope.channel, envelope.symbol), adopted=True))

    def _message(self, frame: bytes, received_ns: int, now: float, events: Events) -> None:
        """Take a frame that is not data of a known public subscription."""
        self._changed()
        try:
            envelope = self._dialect.classify(frame)
        except d.Malformed as wrong:
            events.append(_violation(str(wrong), frame, received_ns))
            return
        kind = envelope.kind
        if kind == d.HEARTBEAT:
            events.append(Heartbeat(received_ns))
        elif kind == d.DATA:
            self._data(envelope, frame, received_ns, now, events)
        elif kind == d.ACK:
            self._ack(envelope, received_ns, now, events)
        elif kind in {d.REPLY, d.PONG}:
            self._answer(envelope, frame, received_ns, now, events)
        elif kind == d.STATUS:
            self._status(envelope, received_ns, now, events)
        elif kind == d.ERROR:
            self._error(envelope, frame, received_ns, now, events)
        else:
            events.append(_violation(f"unknown event {shown(envelope.name)}", frame, received_ns))

    def _status(self, envelope: Envelope, received_ns: int, now: float, events: Events) -> None:
        if self._phase == _GREETING:
            self._phase = _READY
            self._phase_deadline = None
            self._stood = True
            self._steady_at = now + self._options.stable_s
            events.append(Connected(received_ns, self._endpoint))
        self.system = envelope.status
        events.append(Status(received_ns, envelope.status, *self._dialect.status_details(envelope)))
        if self.system == _MAINTENANCE:
            self._hold_back(received_ns, events)
        self._act(now)

    def _hold_back(self, received_ns: int, events: Events) -> None:
        """Refuse what would trade before it leaves: in maintenance nothing is taken (v1.md 5.3)."""
        for request in [r for r in self._requests if r.entry.trading and not r.left]:
            request.errors.append("EService:Unavailable: not sent, the exchange is in maintenance")
            self._settle(request, received_ns, events)

    # ---- acks

    def _ack(self, envelope: Envelope, received_ns: int, now: float, events: Events) -> None:
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
        self._act(now)

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
            events.append(Subscribed(received_ns, route.entry.name, route.symbol, params))

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
        exact = self._subscriptions.get((envelope.channel, envelope.symbol))
        if exact is not None:
            return [exact]
        if not envelope.error or self._adopt:
            return []
        open_ = [s for s in self._subscriptions.values() if s.state in {ASKED, BROKEN}]
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
            events.append(Deferred(received_ns, route.entry.name, route.symbol, error, delay))
            return
        if error.startswith(_INVALID_SESSION):
            subscription.later(now)
            if subscription.session != self._session:
                return  # asked with the token before this one
            self.token_refused = True
        else:
            self._drop(route)
        events.append(Refused(received_ns, route.entry.name, route.symbol, error))

    def _left(self, subscription: Subscription, received_ns: int, now: float, events: Events) -> None:
        """An unsubscription: half of a resync, ours of before it was wanted again, or the exchange's own."""
        if subscription.state == BROKEN:
            return
        route = subscription.route
        events.append(Unsubscribed(received_ns, route.entry.name, route.symbol))
        if subscription.state == LIVE:
            subscription.lost("unsubscribed by the exchange", received_ns)
            subscription.due = now + 1.0

    # ---- answers

    def _answer(self, envelope: Envelope, frame: bytes, received_ns: int, now: float, events: Events) -> None:
        request = self._requests.answered_by(envelope, is_pong=envelope.kind == d.PONG)
        if request is None:
            if self._adopt:
                events.append(self._verdict(envelope, received_ns))
            elif envelope.kind != d.PONG:  # pongs of our own probes are proof of life and nothing else
                odd = self._requests.unmatched(envelope, self._dialect.method(envelope))
                events.append(_violation(odd, frame, received_ns))
            elif envelope.req_id == self._probe_id:
                self._probe_id = None
            return
        if envelope.kind == d.PONG:
            self._requests.end(request)
            since = now if request.sent_at is None else request.sent_at
            events.append(Pong(received_ns, envelope.req_id, now - since))
            return
        if request.take(envelope.error, {} if envelope.error else self._dialect.result(envelope)):
            self._settle(request, received_ns, events)

    def _verdict(self, envelope: Envelope, received_ns: int) -> Event:
        """An answer in a file of frames: nobody here asked."""
        req_id = envelope.req_id if envelope.req_id is not None else 0
        if envelope.kind == d.PONG:
            return Pong(received_ns, envelope.req_id)
        method = self._dialect.method(envelope)
        if envelope.error:
            return Rejected(received_ns, method, req_id, envelope.error)
        return Reply(received_ns, method, req_id, self._dialect.result(envelope))

    def _settle(self, request: Request, received_ns: int, events: Events) -> None:
        self._requests.end(request)
        if request.errors and request.errors[0].startswith(_INVALID_SESSION):
            self.token_refused = self.token_refused or request.session == self._session
        events.append(request.verdict(received_ns))

    def _error(self, envelope: Envelope, frame: bytes, received_ns: int, now: float, events: Events) -> None:
        """An error the exchange could not attribute; we try (v1.md 5.7)."""
        if self._adopt:
            events.append(_violation(f"error event: {envelope.error}", frame, received_ns))
            return
        request = self._erring(envelope)
        asked = [s for s in self._subscriptions.values() if s.state == ASKED or s.due is not None]
        limited = envelope.error.startswith(_RATE_LIMITED)
        if request is not None:
            request.errors.append(envelope.error)
            self._settle(request, received_ns, events)
        elif asked and envelope.req_id is None and (limited or len({s.route.channel for s in asked}) == 1):
            for subscription in asked:
                if limited or subscription.state == ASKED:
                    self._refused(subscription, envelope.error, received_ns, now, events)
            self._act(now)
        else:
            events.append(_violation(f"error event: {shown(envelope.error)}", frame, received_ns))

    def _erring(self, envelope: Envelope) -> Request | None:
        """The request an error event must mean: by its number, or because nothing else was asked."""
        sent = self._requests.sent
        if envelope.req_id is not None:
            return next((request for request in sent if request.req_id == envelope.req_id), None)
        others = (
            self._probe_id is not None
            or self._leaving
            or any(subscription.due is not None for subscription in self._subscriptions.values())
        )
        return sent[0] if len(sent) == 1 and not others else None

    def _unanswered(self, request: Request, received_ns: int, cause: str) -> Answered:
        self._requests.end(request)
        return request.unanswered(cause, received_ns)

    # ---- time

    def next_deadline(self) -> float | None:
        """Return the monotonic time at which `on_deadline` wants to be called, or None."""
        times = [self._connect_at, self._phase_deadline]
        times += [request.deadline for request in self._requests]
        if self._phase == _READY:
            times += [self._silence_deadline(), self._steady_at]
            if self._ask_at is not None:  # what is due has to wait for the pace
                times.append(self._ask_at)
            elif not self.token_refused:
                times.append(self._first_due())
        return min((time for time in times if time is not None), default=None)

    def _first_due(self) -> float | None:
        """When a subscription is to be asked for again: found once a change, for there may be thousands."""
        if not self._due_known:
            dues = [s.due for s in self._subscriptions.values() if s.due is not None]
            self._due = min(dues, default=None)
            self._due_known = True
        return self._due

    def _silence_deadline(self) -> float:
        if self._probed_at is not None:
            return self._probed_at + self._options.dead_s
        owed = any(subscription.state != WANTED for subscription in self._subscriptions.values())
        return self._heard_at + (self._options.quiet_s if owed else self._options.idle_s)

    def on_deadline(self, received_ns: int, now: float) -> Events:
        """Do what is due; return what happened."""
        events: Events = []
        if self._connect_at is not None and now >= self._connect_at:
            self._connect(now)
        if self._phase_deadline is not None and now >= self._phase_deadline:
            what = "greeting" if self._phase == _GREETING else "connection"
            cause = f"no {what} within {self._options.connect_timeout_s:g} s"
            return self.lost(cause, received_ns, now)
        for request in self._requests.sent:
            if request.deadline is not None and now >= request.deadline:
                waited = f"no answer within {self._options.ack_timeout_s:g} s"
                events.append(self._unanswered(request, received_ns, waited))
        if self._phase != _READY:
            return events
        if self._steady_at is not None and now >= self._steady_at:
            self._steady_at = None
            self._backoff.reset()
            self._reconnects = 0
            self._restarted = False
        if now >= self._silence_deadline():
            if self._probed_at is not None:
                return [*events, *self.lost(f"silent for {now - self._heard_at:.0f} s", received_ns, now)]
            self._probed_at = now
            self._probe_id = self._requests.free_number()
            self._send(self._dialect.ping(self._probe_id))
        due = self._first_due()
        if due is not None and now >= due:
            self._break_mute(received_ns, now, events)
        unheard = [s for s in self._subscriptions.values() if s.state == ASKED and _is_due(s, now)]
        self._act(now)
        for subscription in unheard:
            if not _is_due(subscription, now):  # asked again; the others wait for their turn
                route = subscription.route
                events.append(Deferred(received_ns, route.entry.name, route.symbol, "no answer yet", 0.0))
        return events

    def _break_mute(self, received_ns: int, now: float, events: Events) -> None:
        """Acknowledged and mute: as good as never subscribed (quirk L3)."""
        for subscription in self._subscriptions.values():
            if subscription.state == LIVE and _is_due(subscription, now):
                events.append(subscription.broken("no snapshot", received_ns))

    @property
    def connected(self) -> bool:
        """Whether a connection is being made or stands; False tells the shell to drop its socket."""
        return self._phase != _DOWN

    # ---- sending

    def frames_to_send(self) -> list[bytes]:
        """Return the frames that are to leave now; their requests count as sent from here on."""
        if not self._out:
            return []
        self._requests.taken()
        out, self._out = self._out, []
        return out

    def _send(self, frame: bytes) -> None:
        self._pace.spend()
        self._out.append(frame)

    def _auth(self, entry: Entry) -> str:
        return self._token if entry.access == PRIVATE else ""

    def _act(self, now: float) -> None:
        """Ask for what is wanted, if the connection is ready; want a connection, if there is none."""
        if self._adopt:
            return
        if self._phase == _READY:
            self._ask_for_all(now)
            for request in self._requests:
                if request.sent_at is None:
                    self._send_request(request, now)
        elif (
            self._phase == _DOWN
            and self._connect_at is None
            and self.wants != CONNECT
            and self.failure is None
            and not self.idle
        ):
            self._connect(now)

    def _connect(self, now: float) -> None:
        """Want a connection, at once or as soon as the budget allows one."""
        wait = self._budget.spend(now)
        self._connect_at = now + wait if wait else None
        self.wants = STAY if wait else CONNECT

    def _send_request(self, request: Request, now: float) -> None:
        entry = request.entry
        number = request.req_id if request.numbered else None
        self._send(self._dialect.command(entry, request.bound.values, self._auth(entry), number))
        request.session = self._session
        request.sent_at = now
        request.deadline = now + self._options.ack_timeout_s

    def _ask_for_all(self, now: float) -> None:
        """Ask for every wanted subscription that is due, pairs of one channel together, at a polite pace."""
        self._ask_at = None
        if self.token_refused:
            return
        for batch in self._batches(now):
            delay = self._pace.delay(now)
            if delay > 0.0:
                self._ask_at = now + delay
                return
            self._ask(batch, now)

    def _batches(self, now: float) -> Iterable[list[Subscription]]:
        groups: dict[str, list[Subscription]] = {}
        for subscription in self._subscriptions.values():
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
        token = self._auth(route.entry)
        if batch[0].state == BROKEN:
            self._send(self._dialect.subscribe(route.entry, route.values, symbols, token, leave=True))
        self._send(self._dialect.subscribe(route.entry, route.values, symbols, token))
        for subscription in batch:
            tries = subscription.tries
            if subscription.state == BROKEN:  # its first request, that of the broken one, does not count
                due = now + _patience(self._options.resync_s, tries - 1)
            else:
                due = now + _patience(self._options.ack_timeout_s, tries)
            subscription.asked(due, self._session)
        self._changed()

    def _resubscribe(self, subscription: Subscription, now: float) -> None:
        """Heal one symbol: it alone is asked for again (quirk B16)."""
        if self._phase == _READY:
            asked = subscription.tries - 2  # at once after a book that was good, then slower and slower
            subscription.due = now if asked < 0 else now + _patience(self._options.resync_s, asked)
            self._changed()
            self._act(now)


def _is_due(subscription: Subscription, now: float) -> bool:
    return subscription.due is not None and now >= subscription.due


def _patience(seconds: float, tries: int) -> float:
    """Twice as long at each further try, up to 32 times."""
    return seconds * 2.0 ** max(0, min(tries, 5))


def _violation(cause: str, frame: bytes, received_ns: int, channel: str = "", symbol: str = "") -> Violation:
    begin = frame[:120].decode("utf-8", "backslashreplace")
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in begin)
    return Violation(received_ns, cause, shown, len(frame), channel, symbol)
