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

A request ends exactly once: answered, or as `Unanswered` when it was sent and no answer came; an answer that
comes later on the same connection is reported all the same. It is never sent again. An answer is taken for a
request's only when it cannot be another's: a wrong verdict on an order is worse than none.
"""

from __future__ import annotations

from krakenws.core import dialect as d
from krakenws.core.catalog import shown
from krakenws.core.events import (
    Connected,
    Disconnected,
    Heartbeat,
    Pong,
    Rejected,
    Reply,
    Status,
    Summary,
    Update,
)
from krakenws.core.login import Login
from krakenws.core.pacing import POLITE_S, Backoff, Pace
from krakenws.core.requests import Requests
from krakenws.core.subscriptions import INVALID_SESSION, Subscriptions
from krakenws.core.violations import Violations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any

    from krakenws.core.catalog import Bound
    from krakenws.core.dialect import Dialect, Envelope
    from krakenws.core.events import Answered, Event, Route
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

_ANSWERS = frozenset((d.REPLY, d.PONG))
_LOOK_S = 1.0
"""How often a young connection is looked at, until nothing is owed."""
_MAINTENANCE = "maintenance"
_MESSAGES_A_S = 13.0
_MESSAGES_AT_ONCE = 5
"""Together below 20 in any second, with one to spare for the unsubscribing half of a resync (quirk R3)."""


class ClientProtocol:
    """The state of one conversation with one endpoint.

    Attributes:
        wants: what the shell has to do now: `CONNECT`, `STAY` or `CLOSE`.
        failure: with `CLOSE`, why it ended for good, or None.
        detail: whether every data frame is reported as an `Update`. When off, frames of channels that need no
            look are not reported: transcripts and raw output take them as they came.
        system: the exchange's last known status, "" before the greeting.
        kept: a session keeps this conversation: where a connection has to wait, commands wait with the
            streams, and the caller may `give_up` them.
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
        numbers: Iterator[int] | None = None,
    ) -> None:
        """Adopt: take data of channels nobody asked for as wanted, which is how files are decoded.

        `numbers` are those of its requests, as `Requests` takes them.
        """
        self.wants = STAY
        self.failure: str | None = None
        self.detail = detail
        self.system = ""
        self.kept = False
        self._dialect = dialect
        self._options = options
        self._endpoint = endpoint
        self._adopt = adopt
        self._phase = _DOWN
        self._login = Login()
        self._requests = Requests(numbers)
        self._holds = False
        self._out: list[bytes] = []
        self._backoff = Backoff(jitter)
        self._pace = Pace(_MESSAGES_A_S, _MESSAGES_AT_ONCE)
        self._violations = Violations()
        self._subscriptions = Subscriptions(
            dialect, options, self._login, self._pace, self._send, violations=self._violations, adopt=adopt
        )
        self._connections = 0
        self._down_s = 0.0
        self._down_since: float | None = None
        self._restarted = False
        self._reconnects = 0
        self._connect_at: float | None = None
        self._phase_deadline: float | None = None
        self._heard_at = 0.0
        self._heard_ns = 0
        self._probed_at: float | None = None
        self._probe_id: int | None = None
        self._look_at: float | None = None
        self._good_since: float | None = None

    # ---- what the user wants

    def subscribe(self, bound: Bound, now: float) -> None:
        """Want a channel, for each of its pairs; asked for as soon as the connection is ready."""
        self._subscriptions.want(bound)
        self._act(now)

    def unsubscribe(self, bound: Bound) -> None:
        """Want a channel no longer, for each of its pairs."""
        self._subscriptions.leave(bound)

    def request(self, bound: Bound, now: float) -> int:
        """Send a command once the connection is ready; return the `req_id` its answer will carry."""
        request = self._requests.add(bound)
        if self._phase == _READY:
            self._send_request(request, now)
        else:
            self._act(now)
        return request.req_id

    def free_number(self) -> int:
        """Return a `req_id` that nothing else will have."""
        return self._requests.free_number()

    def give_up(self, req_id: int) -> bool:
        """Forget a command that waits for its connection; return False when it is leaving, left or ended."""
        request = next((one for one in self._requests if one.req_id == req_id), None)
        if request is None or request.sent_at is not None:
            return False
        self._requests.end(request)
        return True

    @property
    def idle(self) -> bool:
        """Whether nothing is wanted and nothing awaited."""
        return not self._subscriptions and not self._requests

    @property
    def changes(self) -> int:
        """Grows with whatever is received but data of a live subscription, good as far as it can be known.

        Nor does it grow with a session's answer that has only to be told. While it stays, nothing is to be
        sent and no deadline came nearer.
        """
        return self._subscriptions.changes

    @property
    def routes(self) -> list[Route]:
        """What is wanted now, in the order asked for."""
        return self._subscriptions.routes

    @property
    def token_refused(self) -> bool:
        """Whether the exchange called the session invalid; `renew` gives it another token."""
        return self._login.refused

    @property
    def leaving(self) -> list[Request]:
        """The requests that leave with the next `frames_to_send`."""
        return self._requests.leaving

    def withdraw(self, request: Request) -> None:
        """Do not send a request that is leaving; nothing will be said of it."""
        self._out.remove(request.frame)
        self._requests.end(request)

    def hold(self, requests: Sequence[Request], now: float) -> None:
        """Do not send requests that are leaving before `go_on`: until then they can be given up.

        They keep their numbers and their order, whatever becomes of the connection.
        """
        for request in requests:
            self._out.remove(request.frame)
            request.sent_at = request.deadline = None
            if request.held_at is None:
                request.held_at = now
        self._holds = True

    @property
    def held(self) -> list[Request]:
        """The requests that wait for `go_on`, in their order."""
        return [one for one in self._requests if self._is_held(one)] if self._holds else []

    def go_on(self, now: float) -> None:
        """Send what was held, as soon as the connection is ready."""
        self._holds = False
        self._act(now)

    def _is_held(self, request: Request) -> bool:
        return self._holds and request.held_at is not None and request.sent_at is None

    # ---- the connection's life

    def connecting(self, now: float) -> None:
        """A connection attempt began, or came a step further: the deadline is counted from here."""
        self.wants = STAY
        self._phase = _CONNECTING
        self._connect_at = None
        self._phase_deadline = now + self._options.connect_timeout_s

    def opened(self, now: float, token: str = "") -> None:
        """The WebSocket is open; the exchange's greeting must follow."""
        self._phase = _GREETING
        self._pace.begin()
        self._take_token(token)
        self._heard_at = now

    def renew(self, token: str, now: float) -> None:
        """Go on with another token on the same connection."""
        self._take_token(token)
        self._act(now)

    def _take_token(self, token: str) -> None:
        self._login.take(token)
        self._subscriptions.changed()

    def lost(
        self,
        cause: str,
        received_ns: int,
        now: float,
        *,
        code: int | None = None,
        at_least_s: float = 0.0,
        final: bool = False,
    ) -> Events:
        """The connection is gone, or could not be made; said twice, it is one loss.

        Args:
            cause: what happened, for people.
            received_ns: wall-clock time.
            now: monotonic time.
            code: the WebSocket close code, if there was one (1001: planned restart, quirk N4).
            at_least_s: how long to wait before the next attempt, whatever the back-off says.
            final: there will be none.
        """
        if self._phase == _DOWN and self.wants != CONNECT:
            return []
        ended = [self._unanswered(request, received_ns, cause) for request in self._requests.sent]
        self._requests.lost()
        self._subscriptions.lost(cause, self._heard_ns)
        self._out.clear()
        if self._phase == _READY:
            self._down_since = self._heard_at  # silent seconds are lost ones
        self._phase = _DOWN
        self._phase_deadline = self._probed_at = self._look_at = None
        self._probe_id = None
        self._login.refused = False  # of that connection: the next one brings its own
        if code == 1013 or self.system == _MAINTENANCE:
            at_least_s = max(at_least_s, POLITE_S)
        ends = final or self.idle or not self._may_reconnect()
        delay = None if ends else self._delay(code, at_least_s)
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
            return self._connections > 0 and bool(self._subscriptions)
        return self._reconnects < allowed

    def _delay(self, code: int | None, at_least_s: float) -> float:
        self._reconnects += 1
        if code == 1001 and not self._restarted and not at_least_s:
            self._restarted = True  # once in a row: a planned restart is no sign of trouble (quirk N4)
            return 0.0
        return self._backoff.next_delay(at_least_s)

    def postponed(self, wait_s: float, cause: str, received_ns: int, now: float) -> Events:
        """No connection may be tried yet, for a reason on our side: streams wait, commands do not.

        It is no loss: neither back-off nor `--reconnect` count it, and a first connection waits as well.

        Args:
            wait_s: how long until one may be tried.
            cause: why not now, for people.
            received_ns: wall-clock time.
            now: monotonic time.
        """
        self._phase = _DOWN
        self._phase_deadline = None
        # Nobody wants an order sent minutes later.
        waits = bool(self._subscriptions) and (self.kept or not self._requests)
        if waits:
            self.wants = STAY
            self._connect_at = now + wait_s
        else:
            self.wants = CLOSE
            self.failure = cause
        return [Disconnected(received_ns, self._endpoint, cause, wait_s if waits else None)]

    def fill(self, channel: str, symbol: str, rows: list[Any], received_ns: int, now: float) -> Events | None:
        """Return rows that the stream missed as an update, after the gap they fill.

        Args:
            channel: of a public channel without checksums, by its name on the wire.
            symbol: its pair.
            rows: of the channel's kind; none are a gap in which nothing happened.
            received_ns: wall-clock time.
            now: monotonic time.

        Returns:
            None when that channel is not streaming at the moment: another gap is open.
        """
        return self._subscriptions.fill(channel, symbol, rows, received_ns, now)

    def summary(self, received_ns: int, now: float) -> Summary:
        """Return what this endpoint brought so far. The counts are exact with `detail`."""
        down_s = self._down_s + (0.0 if self._down_since is None else now - self._down_since)
        tallies = self._subscriptions.tallies
        return Summary(
            received_ns, self._endpoint, self._connections, down_s, self._violations.count, tallies
        )

    # ---- frames

    def receive(self, frames: list[bytes], received_ns: int, now: float) -> Events:
        """Take the whole frames of one read; return what happened, in order."""
        if not frames:
            return []
        self._heard_at = now
        self._heard_ns = received_ns
        self._probed_at = None
        detail = self.detail
        if not detail and self._subscriptions.are_quick() and _are_arrays(frames):
            return []
        events: Events = []
        tail_of, known = self._dialect.tail, self._subscriptions.tails
        tail, subscription = b"", None  # of the frame before: most are followed by more of the same
        for frame in frames:
            if not tail or not frame.endswith(tail):
                tail = tail_of(frame) if known else b""  # of the account's channels none is known by its tail
                subscription = known.get(tail)
            if subscription is None:
                self._message(frame, received_ns, now, events)
                tail = b""  # which may have been dropped
            elif subscription.plain:
                if detail:
                    tally = subscription.tally
                    tally.received += 1
                    tally.emitted += 1
                    events.append(Update(subscription.route, frame, received_ns, False, None, None))
            else:
                self._subscriptions.public_data(subscription, frame, received_ns, now, events, detail=detail)
        return events

    def _message(self, frame: bytes, received_ns: int, now: float, events: Events) -> None:
        """Take a frame that is not data of a known public subscription."""
        try:
            envelope = self._dialect.classify(frame)
        except d.Malformed as wrong:
            self._subscriptions.changed()
            events.append(self._violations.of(str(wrong), frame, received_ns))
            return
        kind = envelope.kind
        if kind in _ANSWERS:
            self._answer(envelope, frame, received_ns, now, events)
            return
        self._subscriptions.changed()
        if kind == d.HEARTBEAT:
            events.append(Heartbeat(received_ns))
        elif kind == d.DATA:
            self._subscriptions.data(envelope, frame, received_ns, now, events, detail=self.detail)
        elif kind == d.ACK:
            self._subscriptions.ack(envelope, received_ns, now, events)
            self._act(now)
        elif kind == d.STATUS:
            self._status(envelope, received_ns, now, events)
        elif kind == d.ERROR:
            self._error(envelope, frame, received_ns, now, events)
        else:
            events.append(self._violations.of(f"unknown event {shown(envelope.name)}", frame, received_ns))

    def _status(self, envelope: Envelope, received_ns: int, now: float, events: Events) -> None:
        if self._phase == _GREETING:
            self._phase = _READY
            self._phase_deadline = None
            self._connections += 1
            if self._down_since is not None:
                self._down_s += now - self._down_since
                self._down_since = None
            self._good_since = None
            self._look_at = now + _LOOK_S
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

    # ---- answers

    def _answer(self, envelope: Envelope, frame: bytes, received_ns: int, now: float, events: Events) -> None:
        request = self._requests.answered_by(envelope, is_pong=envelope.kind == d.PONG)
        if (
            request is None
            or envelope.error
            or not self.kept
            or (request.entry.trading and not request.bound.only_validates)
        ):
            self._subscriptions.changed()  # else there is nothing to do but to tell its caller
        if request is None:
            if self._adopt:
                events.append(self._verdict(envelope, received_ns))
            elif envelope.kind != d.PONG:  # pongs of our own probes are proof of life and nothing else
                odd = self._requests.unmatched(envelope, self._dialect.method(envelope))
                events.append(self._violations.of(odd, frame, received_ns))
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
        if request.errors and request.errors[0].startswith(INVALID_SESSION):
            self._login.refuse(request.session)
        events.append(request.verdict(received_ns))

    def _error(self, envelope: Envelope, frame: bytes, received_ns: int, now: float, events: Events) -> None:
        """An error the exchange could not attribute; we try (v1.md 5.7)."""
        if self._adopt:
            events.append(self._violations.of(f"error event: {envelope.error}", frame, received_ns))
            return
        request = self._erring(envelope)
        if request is not None and request.entry.trading and envelope.req_id is None:
            # It is the best guess, and a guess is no verdict on an order.
            cause = f"the exchange said {shown(envelope.error)}, and not about which request"
            events.append(self._unanswered(request, received_ns, cause))
        elif request is not None:
            request.errors.append(envelope.error)
            self._settle(request, received_ns, events)
        elif envelope.req_id is None and self._subscriptions.error(envelope, received_ns, now, events):
            self._act(now)
        else:
            events.append(self._violations.of(f"error event: {shown(envelope.error)}", frame, received_ns))

    def _erring(self, envelope: Envelope) -> Request | None:
        """The request an error event must mean: by its number, or because nothing else was asked."""
        sent = self._requests.sent
        if envelope.req_id is not None:
            return next((request for request in sent if request.req_id == envelope.req_id), None)
        others = self._probe_id is not None or self._subscriptions.leaving or self._subscriptions.awaiting
        return sent[0] if len(sent) == 1 and not others else None

    def _unanswered(self, request: Request, received_ns: int, cause: str) -> Answered:
        self._requests.overdue(request)
        return request.unanswered(cause, received_ns)

    # ---- time

    def next_deadline(self) -> float | None:
        """Return the monotonic time at which `on_deadline` wants to be called, or None."""
        times = [self._connect_at, self._phase_deadline, self._requests.next_deadline()]
        if self._phase == _READY:
            times += (self._silence_deadline(), self._look_at, self._subscriptions.next_deadline())
        return min([time for time in times if time is not None], default=None)

    def _silence_deadline(self) -> float:
        if self._probed_at is not None:
            return self._probed_at + self._options.dead_s
        return self._heard_at + (self._options.quiet_s if self._subscriptions.owed else self._options.idle_s)

    def on_deadline(self, received_ns: int, now: float) -> Events:
        """Do what is due; return what happened."""
        events: Events = []
        if self._connect_at is not None and now >= self._connect_at:
            self._connect()
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
        if self._look_at is not None and now >= self._look_at:
            self._look_whether_good(now)
        if now >= self._silence_deadline():
            if self._probed_at is not None:
                return [*events, *self.lost(f"silent for {now - self._heard_at:.0f} s", received_ns, now)]
            self._probed_at = now
            self._probe_id = self._requests.free_number()
            self._send(self._dialect.ping(self._probe_id))
        self._subscriptions.on_deadline(received_ns, now, events)
        if self._subscriptions.mute:
            cause = f"{self._subscriptions.mute} stays silent although it was asked for again"
            return [*events, *self.lost(cause, received_ns, now)]
        self._act(now)
        return events

    def _look_whether_good(self, now: float) -> None:
        """Forget the losses once the connection has carried all that it owes for a while (quirk N10)."""
        if self._login.refused or self._subscriptions.next_deadline() is not None:
            self._good_since = None
        elif self._good_since is None:
            self._good_since = now
        elif now >= self._good_since + self._options.stable_s:
            self._backoff.reset()
            self._reconnects = 0
            self._restarted = False
            self._look_at = None
            return
        good_since = self._good_since
        self._look_at = now + _LOOK_S if good_since is None else good_since + self._options.stable_s

    @property
    def ready(self) -> bool:
        """Whether the exchange has greeted, so that requests leave at once."""
        return self._phase == _READY

    @property
    def connected(self) -> bool:
        """Whether a connection is being made or stands; False tells the shell to drop its socket."""
        return self._phase != _DOWN

    # ---- sending

    @property
    def sends(self) -> bool:
        """Whether frames are to leave now."""
        return bool(self._out)

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

    def _act(self, now: float) -> None:
        """Ask for what is wanted, if the connection is ready; want a connection, if there is none."""
        if self._adopt:
            return
        if self._phase == _READY:
            self._subscriptions.ask(now)
            for request in self._requests:
                if request.sent_at is None and not self._is_held(request):
                    self._send_request(request, now)
        elif (
            self._phase == _DOWN
            and self._connect_at is None
            and self.wants != CONNECT
            and self.failure is None
            and not self.idle
        ):
            self._connect()

    def _connect(self) -> None:
        """Want a connection now."""
        self._connect_at = None
        self.wants = CONNECT

    def _send_request(self, request: Request, now: float) -> None:
        entry = request.entry
        number = request.req_id if request.numbered else None
        request.frame = self._dialect.command(entry, request.bound.values, self._login.of(entry), number)
        self._send(request.frame)
        request.session = self._login.number
        request.sent_at = now
        request.deadline = now + self._options.ack_timeout_s


def _are_arrays(frames: list[bytes]) -> bool:
    """Whether all begin with "[", as on v1 only data does: the least and the greatest settle it, in C."""
    return min(frames) >= b"[" and max(frames) < b"\\"  # the byte behind "["
