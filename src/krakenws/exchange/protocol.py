"""One client's conversation seen from the exchange, and what a venue must offer to have it.

Theory of this file
-------------------
`ServerProtocol` mirrors `ClientProtocol`: frames and times go in, frames and one deadline come out, and
nothing waits. It knows how Kraken leads a conversation, its `ServerDialect` how one version of the API words
it, and a `Venue` what there is to talk about. A request is checked against the catalog, then offered to the
venue, which says yes or raises `Refusal` with Kraken's own text.

    connected ── status ──▶ idle ── first ack ──▶ subscribed ── last unsubscribe ──▶ idle
                             │ 60 s without a request         │ a heartbeat each second, traffic or not
                             ▼                                ▼
                            close 1000                      data, as the venue publishes it

Answers keep the order of the pairs asked for, and data follows the last answer of its request: a venue
admits all pairs (`subscribe`), and only then begins to send (`begin`), each when its own delay has passed.
Until then a subscription has no data at all, while others go on. Every object's keys are in ASCII order and
its JSON is compact, as captured. Heartbeats come whatever else is sent, on API v2 as well: so it is
in captures, against Kraken's own words.

Source: v1.md sections 3 to 9 and 13; v2.md sections 1 to 4; quirks L1, L2, R4.
"""

from __future__ import annotations

from json import dumps

from krakenws.core.catalog import PRIVATE, PUBLIC
from krakenws.core.dialect import Malformed, decode
from krakenws.core.pacing import Pace
from krakenws.exchange.fault_rules import (
    ACCEPT_THEN_CUT,
    EXCEEDED_RATE,
    INVALID_SESSION,
    LOSE_ANSWER,
    NO_ACK,
    REFUSE,
)
from krakenws.exchange.requests import Refusal, check_pair, given_fields
from krakenws.exchange.v1 import V1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from krakenws.core.catalog import Entry, Values
    from krakenws.exchange.dialect import ServerDialect, Wish
    from krakenws.exchange.faults import FaultPlan
    from krakenws.exchange.limits import Limits
    from krakenws.exchange.rest import RestApi

HEARTBEAT_S = 1.0
IDLE_S = 60.0
_TOO_FAST = "Exceeded msg rate"
_INVALID_SESSION = "ESession:Invalid session"
_NOT_SUBSCRIBED = "Subscription Not Found"


class Subscription:
    """One client's interest in one channel and pair.

    Attributes:
        client: whose it is.
        account: what the venue's `authorize` made of the token; "" on the public endpoint.
        entry: the channel's catalog entry.
        values: its parameters, defaults filled in.
        channel: the wire's name of it, `book-10`.
        channel_id: the wire's number of it on API v1; None for private channels.
        symbol: the pair as asked for; "" for private channels.
        sequence: the number of the last private frame.
    """

    __slots__ = ("account", "channel", "channel_id", "client", "entry", "sequence", "symbol", "values")

    def __init__(
        self, client: ServerProtocol, account: str, entry: Entry, values: Values, symbol: str
    ) -> None:
        self.client = client
        self.account = account
        self.entry = entry
        self.values = values
        self.channel = client.dialect.client.channel(entry, values)
        self.channel_id: int | None = None
        self.symbol = symbol
        self.sequence = 0

    def publish(self, payload: bytes, *, snapshot: bool = False) -> None:
        """Send private data, numbered for this subscription (quirk P2).

        Args:
            payload: the JSON list of the frame's objects.
            snapshot: whether it is what a new subscriber is sent first.
        """
        self.sequence += 1
        self.client.publish(self.client.dialect.data(self, payload, snapshot=snapshot))


class Venue:
    """What an exchange offers to its clients; one venue serves any number of `ServerProtocol`s.

    Attributes:
        apis: the versions of the API it is served in.
        status: the system status that greets every client.
        max_rate_count: the rate counter's ceiling, told in the ack of openOrders.
        patient: whether the venue waits for its readers (a replay at full speed) or time goes on without
            them (anything that has a clock).
        finished: nothing will ever come again: clients are closed with 1001.
        rest: its REST API on the same port, or None.
        faults: what is to go wrong on purpose, or None if nothing ever will.
        limits: what it allows a client, set before it is served; None for anything.
    """

    apis: tuple[int, ...] = (1,)
    status = "online"
    max_rate_count = 125
    patient = False
    finished = False
    rest: RestApi | None = None
    faults: FaultPlan | None = None
    limits: Limits | None = None

    def at_us(self, now: float) -> int:
        """Return the wall clock at a monotonic time, microseconds since 1970; a venue need not have one."""
        return round(now * 1_000_000)

    def authorize(self, token: str) -> str:
        """Return the account a token stands for.

        Raises:
            Refusal: it stands for none.
        """
        raise NotImplementedError

    def subscribe(self, subscription: Subscription, now: float, /) -> int | None:
        """Admit a subscription and return its channel id; data may follow from `begin` on, not before.

        Raises:
            Refusal: the pair, depth or channel is not offered here.
        """
        raise NotImplementedError

    def delay_s(self, _subscription: Subscription, /) -> float:
        """Return how long after its ack a subscription begins; asked once."""
        return 0.0

    def begin(self, subscription: Subscription, now: float, /) -> None:
        """Send what a new subscriber is sent first; its acks are out."""
        raise NotImplementedError

    def unsubscribe(self, subscription: Subscription, now: float, /) -> None:
        """Send nothing more to a subscription that was admitted."""
        raise NotImplementedError

    def command(self, account: str, entry: Entry, values: Values, now: float, /) -> list[dict[str, Any]]:
        """Carry out a trading command and return the fields of its answers, beside `event` and `reqid`.

        Raises:
            Refusal: it is refused as a whole.
        """
        raise NotImplementedError

    def next_deadline(self) -> float | None:
        """Return when `on_deadline` wants to be called, or None."""
        raise NotImplementedError

    def on_deadline(self, now: float, /) -> None:
        """Let time pass."""
        raise NotImplementedError

    def suffer(self, faults: FaultPlan, now: float, /) -> None:
        """Let faults of the exchange itself happen: called while any are switched on, and once after.

        More than a system status is up to the venue: `faults.befalls` and `faults.rest_lag_s`.
        """
        self.status = faults.system_status(now) or type(self).status

    def failed(self, error: Exception, now: float, /) -> None:
        """Take note that a client could not be served, by a mistake of our own."""


class ServerProtocol:
    """One connected client.

    Attributes:
        dialect: how the client talks.
        close: the close code and reason with which the connection should end, or None.
        subscriptions: those confirmed and not yet ended, by channel and pair.
        line: what the venue's faults do to the connection, or None. Frames are still to pass through it.
    """

    def __init__(
        self,
        venue: Venue,
        *,
        private: bool,
        connection_id: int,
        now: float,
        dialect: ServerDialect = V1,
    ) -> None:
        self.dialect = dialect
        self.close: tuple[int, str] | None = None
        self.subscriptions: dict[tuple[str, str], Subscription] = {}
        self._venue = venue
        self._access = PRIVATE if private else PUBLIC
        self._outbox: list[bytes] = []
        self._now = now
        self._deadline = now + IDLE_S
        self._delayed: list[tuple[float, Subscription]] = []  # with the times at which they begin
        self._connection_id = connection_id
        self._is_mute = False
        limits = venue.limits
        self._pace = None if limits is None else Pace(limits.messages_per_s, limits.burst)
        self.line = (
            None if venue.faults is None else venue.faults.connected(dialect.client, self.subscriptions)
        )
        self.announce_status()

    def announce_status(self) -> None:
        """Send the system status: at first, and whenever it has changed. Source: v1.md 5.3."""
        self._send(self.dialect.greeting(self._venue.status, self._connection_id))

    def frames_to_send(self) -> list[bytes]:
        """Return what has gathered since the last call, in order."""
        frames, self._outbox = self._outbox, []
        return frames

    def publish(self, frame: bytes) -> None:
        """Send a frame as it is."""
        self._outbox.append(frame)

    def receive(self, frame: bytes, now: float) -> None:
        """Answer one frame of the client. Any request counts as activity (v1.md section 3)."""
        self._now = now
        if not self.subscriptions:
            self._deadline = now + IDLE_S
        try:
            message = decode(frame)
        except Malformed:
            message = None
        if not isinstance(message, dict):
            self._reply({}, self.dialect.error({}, "Malformed request"))
            return
        message = given_fields(message)
        if self._pace is not None:
            if self._pace.delay(now):
                self._reply(message, self.dialect.error(message, _TOO_FAST))
                return
            self._pace.spend()
        if self.line is not None and self.line.plan.active:
            self._misanswer(message, now)
        else:
            self._answer(message, now)

    def _answer(self, message: dict[str, Any], now: float) -> None:
        dialect = self.dialect
        method = dialect.method(message)
        if method in dialect.commands:
            self._trade(dialect.commands[method], message, now)
        elif error := dialect.number_error(message):
            self._reply(message, dialect.error(message, error))
        elif method == "ping":
            try:
                self._reply(message, dialect.pong(message))
            except Refusal as refusal:
                self._reply(message, dialect.error(message, refusal.code))
        elif method in {"subscribe", "unsubscribe"}:
            self._subscribe(message, now, leave=method == "unsubscribe")
        else:
            self._reply(message, dialect.error(message, dialect.unknown(method)))

    def next_deadline(self) -> float:
        """Return when `on_deadline` wants to be called: for data, a heartbeat, or to end an idle client."""
        if not self._delayed:
            return self._deadline
        return min(self._deadline, *(begins for begins, _ in self._delayed))

    def on_deadline(self, now: float) -> None:
        """Let time pass."""
        if self._delayed:
            self._begin_delayed(now)
        if now < self._deadline:
            return
        if self.subscriptions:
            self._outbox.append(self.dialect.heartbeat)
            self._deadline += HEARTBEAT_S
            if self._deadline <= now:  # the machine slept
                self._deadline = now + HEARTBEAT_S
        else:
            self.close = self.close or (1000, "idle for a minute without a subscription")
            self._deadline = now + IDLE_S

    def closed(self, now: float) -> None:
        """End every subscription: the client is gone."""
        self.forsake(now)
        if self.line is not None:
            self.line.plan.disconnected(self.line)

    def forsake(self, now: float) -> None:
        """End every subscription without a word: the client is there, but will never be sent anything."""
        self._delayed.clear()
        while self.subscriptions:
            self._venue.unsubscribe(self.subscriptions.popitem()[1], now)

    def _misanswer(self, message: dict[str, Any], now: float) -> None:
        """Answer, unless a fault strikes the request."""
        assert self.line is not None  # noqa: S101 - who calls has looked
        dialect = self.dialect
        method = dialect.method(message)
        channel, symbols = dialect.subject(message)
        signed = self._access == PRIVATE and method != "ping"
        rule = self.line.asked(method, channel, symbols, now, signed=signed)
        fault = "" if rule is None else rule.name
        if fault == EXCEEDED_RATE:
            self._reply(message, dialect.error(message, _TOO_FAST))
        elif fault == INVALID_SESSION:
            self._refuse_any(message, Refusal(_INVALID_SESSION))
        elif rule is not None and fault == REFUSE:
            self._refuse_any(message, Refusal(rule.options["error"]))
        elif fault != NO_ACK:
            self._is_mute = fault in {LOSE_ANSWER, ACCEPT_THEN_CUT}
            self._answer(message, now)
            self._is_mute = False
            if fault == ACCEPT_THEN_CUT:
                self.line.cut()

    def _refuse_any(self, message: dict[str, Any], refusal: Refusal) -> None:
        """Refuse a request, whichever it is, where its answer would be."""
        dialect = self.dialect
        method = dialect.method(message)
        if method in dialect.commands:
            self._reply(message, dialect.rejection(dialect.commands[method], message, refusal))
        elif method in {"subscribe", "unsubscribe"}:
            self._refuse_each(message, refusal)
        else:
            self._reply(message, dialect.error(message, refusal.code))

    def _refuse_each(self, message: dict[str, Any], refusal: Refusal) -> None:
        """Refuse a subscription as a whole, each of its symbols."""
        for answer in self.dialect.refusals(message, refusal):
            self._reply(message, answer)

    def _send(self, message: dict[str, Any]) -> None:
        self._outbox.append(dumps(message, separators=(",", ":"), sort_keys=True).encode())

    def _reply(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        if not self._is_mute:
            self._send(self.dialect.numbered(request, answer, self._venue.at_us(self._now)))

    def _subscribe(self, message: dict[str, Any], now: float, *, leave: bool) -> None:
        joined: list[Subscription] = []
        try:
            account, wishes = self._read(message, leave=leave)
        except Refusal as refusal:
            self._refuse_each(message, refusal)
            return
        for entry, values, symbol in wishes:
            try:
                if symbol is not None:
                    check_pair(symbol)
                subscription = Subscription(self, account, entry, values, str(symbol or ""))
                if leave:
                    self._leave(message, subscription, now)
                else:
                    self._join(message, subscription, now)
                    joined.append(subscription)
            except Refusal as refusal:
                self._reply(message, self.dialect.refusal(message, refusal, symbol))
        for subscription in joined:
            delay_s = self._venue.delay_s(subscription)
            if delay_s:
                self._delayed.append((now + delay_s, subscription))
            else:
                self._venue.begin(subscription, now)

    def _begin_delayed(self, now: float) -> None:
        due = [delayed for delayed in self._delayed if delayed[0] <= now]
        self._delayed = [delayed for delayed in self._delayed if delayed[0] > now]
        for _, subscription in sorted(due, key=lambda delayed: delayed[0]):
            self._venue.begin(subscription, now)

    def _read(self, message: dict[str, Any], *, leave: bool) -> tuple[str, list[Wish]]:
        """Return the account and what a request asks for, in its order."""
        channel_id = self.dialect.channel_id(message) if leave else None
        if channel_id is not None:  # all depths or intervals that share it: v1.md 4.1
            found = [s for s in self.subscriptions.values() if s.channel_id == channel_id]
            if not found:
                raise Refusal(_NOT_SUBSCRIBED)
            return "", [(s.entry, s.values, s.symbol) for s in found]
        token, wishes = self.dialect.wishes(message, self._access, leave=leave)
        return "" if token is None else self._venue.authorize(token), wishes

    def _join(self, message: dict[str, Any], subscription: Subscription, now: float) -> None:
        key = (subscription.channel, subscription.symbol)
        if key in self.subscriptions:
            raise Refusal("Already subscribed")
        subscription.channel_id = self._venue.subscribe(subscription, now)
        if not self.subscriptions:
            self._deadline = now + HEARTBEAT_S
        self.subscriptions[key] = subscription
        self._ack(message, subscription)

    def _leave(self, message: dict[str, Any], subscription: Subscription, now: float) -> None:
        known = self.subscriptions.pop((subscription.channel, subscription.symbol), None)
        if known is None:
            raise Refusal(_NOT_SUBSCRIBED)
        self._delayed = [delayed for delayed in self._delayed if delayed[1] is not known]
        self._venue.unsubscribe(known, now)
        if not self.subscriptions:
            self._deadline = now + IDLE_S
        self._ack(message, known, leave=True)

    def _ack(self, message: dict[str, Any], subscription: Subscription, *, leave: bool = False) -> None:
        ceiling = self._venue.max_rate_count
        self._reply(message, self.dialect.ack(subscription, leave=leave, max_rate_count=ceiling))

    def _trade(self, entry: Entry, message: dict[str, Any], now: float) -> None:
        try:
            token, values = self.dialect.command(entry, message, self._access)
            answers = self._venue.command(self._venue.authorize(token), entry, values, now)
        except Refusal as refusal:
            self._reply(message, self.dialect.rejection(entry, message, refusal))
            return
        for answer in answers:
            self._reply(message, self.dialect.answer(entry, answer))
