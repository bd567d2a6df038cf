"""One client's conversation seen from the exchange, API v1, and what a venue must offer to have it.

Theory of this file
-------------------
`ServerProtocol` mirrors `ClientProtocol`: frames and times go in, frames and one deadline come out, and
nothing waits. It knows how Kraken talks; a `Venue` knows what there is to talk about. A request is checked
against the catalog, then offered to the venue, which says yes or raises `Refusal` with Kraken's own text.

    connected ── systemStatus ──▶ idle ── first ack ──▶ subscribed ── last unsubscribe ──▶ idle
                                   │ 60 s without a request         │ a heartbeat each second, traffic or not
                                   ▼                                ▼
                                  close 1000                      data, as the venue publishes it

Answers keep the order of the pairs asked for, and data follows the last answer of its request: a venue
admits all pairs (`subscribe`), and only then begins to send (`begin`). Every object's keys are in ASCII
order and its JSON is compact, as captured.

Source: v1.md sections 3 to 9 and 13; quirks F1, F2, L1, L2, P3, R4.
"""

from __future__ import annotations

from json import dumps

from krakenws.core.catalog import CHANNEL, PRIVATE, PUBLIC
from krakenws.core.dialect import Malformed, decode
from krakenws.core.pacing import Pace
from krakenws.core.v1 import ENTRIES, V1
from krakenws.exchange.fault_rules import (
    ACCEPT_THEN_CUT,
    EXCEEDED_RATE,
    INVALID_SESSION,
    LOSE_ANSWER,
    NO_ACK,
)
from krakenws.exchange.requests import (
    Refusal,
    channel_values,
    check_pair,
    command_values,
    is_reqid,
    token_of,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from krakenws.core.catalog import Entry, Values
    from krakenws.exchange.faults import FaultPlan
    from krakenws.exchange.limits import Limits
    from krakenws.exchange.rest import RestApi

HEARTBEAT_S = 1.0
IDLE_S = 60.0
_HEARTBEAT = b'{"event":"heartbeat"}'
_WRONG_ENDPOINT = {
    PRIVATE: "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
    PUBLIC: "Public channels not available in this endpoint",
}
_TOO_FAST = {"errorMessage": "Exceeded msg rate", "event": "error"}
_INVALID_SESSION = "ESession:Invalid session"
_NO_PAIR_ALLOWED = "Pair field unsupported for this subscription type"
_BAD_REQID = "Reqid field must be a positive integer less than 18446744073709551616"
_CHANNELS = {entry.name: entry for entry in ENTRIES if entry.kind == CHANNEL and not entry.explicit}
_TRADING = {entry.name: entry for entry in ENTRIES if entry.trading}


class Subscription:
    """One client's interest in one channel and pair.

    Attributes:
        client: whose it is.
        account: what the venue's `authorize` made of the token; "" on the public endpoint.
        entry: the channel's catalog entry.
        values: its parameters, defaults filled in.
        channel: the wire's name of it, `book-10`.
        symbol: the pair as asked for; "" for private channels.
        sequence: the number of the last private frame.
    """

    __slots__ = ("account", "channel", "client", "entry", "sequence", "symbol", "values")

    def __init__(
        self, client: ServerProtocol, account: str, entry: Entry, values: Values, symbol: str
    ) -> None:
        self.client = client
        self.account = account
        self.entry = entry
        self.values = values
        self.channel = V1.channel(entry, values)
        self.symbol = symbol
        self.sequence = 0

    def publish(self, payload: bytes) -> None:
        """Send private data, numbered for this subscription. Source: v1.md 7.3.

        Args:
            payload: the JSON list of the frame's objects.
        """
        self.sequence += 1
        self.client.publish(b'[%b,"%b",{"sequence":%d}]' % (payload, self.channel.encode(), self.sequence))


class Venue:
    """What an exchange offers to its clients; one venue serves any number of `ServerProtocol`s.

    Attributes:
        status: the system status that greets every client.
        version: the service build in the greeting.
        max_rate_count: the rate counter's ceiling, told in the ack of openOrders.
        patient: whether the venue waits for its readers (a replay at full speed) or time goes on without
            them (anything that has a clock).
        finished: nothing will ever come again: clients are closed with 1001.
        rest: its REST API on the same port, or None.
        faults: what is to go wrong on purpose, or None if nothing ever will.
        limits: what it allows a client, set before it is served; None for anything.
    """

    status = "online"
    version = "1.9.2"
    max_rate_count = 125
    patient = False
    finished = False
    rest: RestApi | None = None
    faults: FaultPlan | None = None
    limits: Limits | None = None

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


class ServerProtocol:
    """One connected client.

    Attributes:
        close: the close code and reason with which the connection should end, or None.
        subscriptions: those confirmed and not yet ended, by channel and pair.
        line: what the venue's faults do to the connection, or None. Frames are still to pass through it.
    """

    def __init__(self, venue: Venue, *, private: bool, connection_id: int, now: float) -> None:
        self.close: tuple[int, str] | None = None
        self.subscriptions: dict[tuple[str, str], Subscription] = {}
        self._venue = venue
        self._access = PRIVATE if private else PUBLIC
        self._outbox: list[bytes] = []
        self._deadline = now + IDLE_S
        self._connection_id = connection_id
        self._is_mute = False
        limits = venue.limits
        self._pace = None if limits is None else Pace(limits.messages_per_s, limits.burst)
        self.line = None if venue.faults is None else venue.faults.connected(V1, self.subscriptions)
        self.announce_status()

    def announce_status(self) -> None:
        """Send the system status: at first, and whenever it has changed. Source: v1.md 5.3."""
        self._send(
            {
                "connectionID": self._connection_id,
                "event": "systemStatus",
                "status": self._venue.status,
                "version": self._venue.version,
            }
        )

    def frames_to_send(self) -> list[bytes]:
        """Return what has gathered since the last call, in order."""
        frames, self._outbox = self._outbox, []
        return frames

    def publish(self, frame: bytes) -> None:
        """Send a frame as it is."""
        self._outbox.append(frame)

    def receive(self, frame: bytes, now: float) -> None:
        """Answer one frame of the client. Any request counts as activity (v1.md section 3)."""
        if not self.subscriptions:
            self._deadline = now + IDLE_S
        try:
            message = decode(frame)
        except Malformed:
            message = None
        if not isinstance(message, dict):
            self._send({"errorMessage": "Malformed request", "event": "error"})
            return
        if self._pace is not None:
            if self._pace.delay(now):
                self._reply(message, _TOO_FAST)
                return
            self._pace.spend()
        event = message.get("event")
        if not isinstance(event, str):
            event = ""
        if self.line is not None and self.line.plan.active:
            self._misanswer(event, message, now)
        else:
            self._answer(event, message, now)

    def _answer(self, event: str, message: dict[str, Any], now: float) -> None:
        if event in _TRADING:
            self._trade(_TRADING[event], message, now)
        elif "reqid" in message and not is_reqid(message["reqid"]):
            self._send({"errorMessage": _BAD_REQID, "event": "error", "reqid": None})
        elif event == "ping":
            self._reply(message, {"event": "pong"})
        elif event in {"subscribe", "unsubscribe"}:
            self._subscribe(message, now, leave=event == "unsubscribe")
        else:
            text = "Unsupported event" if event else "Event(s) not found"
            self._reply(message, {"errorMessage": text, "event": "error"})

    def next_deadline(self) -> float:
        """Return when `on_deadline` wants to be called: for a heartbeat, or to end an idle connection."""
        return self._deadline

    def on_deadline(self, now: float) -> None:
        """Let time pass."""
        if now < self._deadline:
            return
        if self.subscriptions:
            self._outbox.append(_HEARTBEAT)
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
        while self.subscriptions:
            self._venue.unsubscribe(self.subscriptions.popitem()[1], now)

    def _misanswer(self, event: str, message: dict[str, Any], now: float) -> None:
        """Answer, unless a fault strikes the request."""
        assert self.line is not None  # noqa: S101 - who calls has looked
        asked, pairs = message.get("subscription"), message.get("pair")
        channel = str(asked.get("name", "")) if isinstance(asked, dict) else ""
        named = pairs if isinstance(pairs, list) else [pairs]
        symbols = [pair for pair in named if isinstance(pair, str)]
        signed = self._access == PRIVATE and event != "ping"
        fault = self.line.asked(event, channel, symbols, now, signed=signed)
        if fault == EXCEEDED_RATE:
            self._reply(message, _TOO_FAST)
        elif fault == INVALID_SESSION and event in _TRADING:
            answer = {"errorMessage": _INVALID_SESSION, "event": _TRADING[event].reply, "status": "error"}
            self._reply(message, answer)
        elif fault == INVALID_SESSION:
            self._refuse(message, Refusal(_INVALID_SESSION), None)
        elif fault != NO_ACK:
            self._is_mute = fault in {LOSE_ANSWER, ACCEPT_THEN_CUT}
            self._answer(event, message, now)
            self._is_mute = False
            if fault == ACCEPT_THEN_CUT:
                self.line.cut()

    def _send(self, message: dict[str, Any]) -> None:
        self._outbox.append(dumps(message, separators=(",", ":"), sort_keys=True).encode())

    def _reply(self, request: dict[str, Any], answer: dict[str, Any]) -> None:
        if self._is_mute:
            return
        self._send({**answer, "reqid": request["reqid"]} if "reqid" in request else answer)

    def _subscribe(self, message: dict[str, Any], now: float, *, leave: bool) -> None:
        joined: list[Subscription] = []
        try:
            account, asked = self._read(message, leave=leave)
        except Refusal as refusal:
            pairs = message.get("pair")
            named = pairs if isinstance(pairs, list) and refusal.code != _NO_PAIR_ALLOWED else None
            for pair in named or [None]:
                self._refuse(message, refusal, pair)
            return
        for entry, values, pair in asked:
            try:
                if pair is not None:
                    check_pair(pair)
                subscription = Subscription(self, account, entry, values, pair or "")
                if leave:
                    self._leave(message, subscription, now)
                else:
                    self._join(message, subscription, now)
                    joined.append(subscription)
            except Refusal as refusal:
                self._refuse(message, refusal, pair)
        for subscription in joined:
            self._venue.begin(subscription, now)

    def _read(
        self, message: dict[str, Any], *, leave: bool
    ) -> tuple[str, list[tuple[Entry, Values, str | None]]]:
        """Return the account and what a request asks for: channel, parameters and pair, in its order."""
        asked = message.get("subscription")
        if not isinstance(asked, dict):
            raise Refusal("Subscription field must be an object")
        if "name" not in asked:
            raise Refusal("Malformed request")
        name = asked["name"]
        if name == "*":
            entries = [entry for entry in _CHANNELS.values() if entry.access == self._access]
        elif isinstance(name, str) and name in _CHANNELS:
            entries = [_CHANNELS[name]]
        else:
            raise Refusal("Subscription name invalid")
        if entries[0].access != self._access:
            raise Refusal(_WRONG_ENDPOINT[entries[0].access])
        message_type = "unsubscribe" if leave else "subscribe"
        wanted = [(entry, channel_values(entry, asked, message_type)) for entry in entries]
        if self._access == PRIVATE:
            if "pair" in message:
                raise Refusal(_NO_PAIR_ALLOWED)
            account = self._venue.authorize(token_of(asked))
            return account, [(entry, values, None) for entry, values in wanted]
        pairs = message.get("pair")
        if pairs is not None and not isinstance(pairs, list):
            raise Refusal("Pair field must be an array")
        if not pairs:
            raise Refusal("Pair(s) not found")
        return "", [(entry, values, pair) for entry, values in wanted for pair in pairs]

    def _join(self, message: dict[str, Any], subscription: Subscription, now: float) -> None:
        key = (subscription.channel, subscription.symbol)
        if key in self.subscriptions:
            raise Refusal("Already subscribed")
        channel_id = self._venue.subscribe(subscription, now)
        if not self.subscriptions:
            self._deadline = now + HEARTBEAT_S
        self.subscriptions[key] = subscription
        self._ack(message, subscription, "subscribed", channel_id)

    def _leave(self, message: dict[str, Any], subscription: Subscription, now: float) -> None:
        known = self.subscriptions.pop((subscription.channel, subscription.symbol), None)
        if known is None:
            raise Refusal("Subscription Not Found")
        self._venue.unsubscribe(known, now)
        if not self.subscriptions:
            self._deadline = now + IDLE_S
        self._ack(message, subscription, "unsubscribed", None)

    def _ack(
        self, message: dict[str, Any], subscription: Subscription, status: str, channel_id: int | None
    ) -> None:
        entry = subscription.entry
        echo: dict[str, Any] = {"name": entry.name}
        echo.update((param.name, subscription.values[param.name]) for param in entry.params if param.always)
        if entry.name == "openOrders" and status == "subscribed":
            echo["maxratecount"] = self._venue.max_rate_count
        answer: dict[str, Any] = {
            "channelName": subscription.channel,
            "event": "subscriptionStatus",
            "status": status,
            "subscription": echo,
        }
        if channel_id is not None:
            answer["channelID"] = channel_id
        if subscription.symbol:
            answer["pair"] = subscription.symbol
        self._reply(message, answer)

    def _refuse(self, message: dict[str, Any], refusal: Refusal, pair: object) -> None:
        answer: dict[str, Any] = {
            "errorMessage": refusal.code,
            "event": "subscriptionStatus",
            "status": "error",
        }
        asked = message.get("subscription")
        if isinstance(asked, dict):  # echoed with its token, as Kraken does
            answer["subscription"] = {name: value for name, value in asked.items() if _is_plain(value)}
        if isinstance(pair, str):
            answer["pair"] = pair
        self._reply(message, answer)

    def _trade(self, entry: Entry, message: dict[str, Any], now: float) -> None:
        try:
            answers = self._carry_out(entry, message, now)
        except Refusal as refusal:
            answers = [{"errorMessage": refusal.code, "status": "error"}]
            if refusal.code == _BAD_REQID:
                message["reqid"] = None
            elif refusal.code.startswith("Unsupported field") and isinstance(message.get("pair"), str):
                answers[0]["pair"] = message["pair"]
        for answer in answers:
            self._reply(message, {**answer, "event": entry.reply})

    def _carry_out(self, entry: Entry, message: dict[str, Any], now: float) -> list[dict[str, Any]]:
        if self._access != PRIVATE:
            raise Refusal(_WRONG_ENDPOINT[PRIVATE])
        if "reqid" in message and not is_reqid(message["reqid"]):
            raise Refusal(_BAD_REQID)
        values = command_values(entry, message)
        return self._venue.command(self._venue.authorize(token_of(message)), entry, values, now)


def _is_plain(value: object) -> bool:
    return not isinstance(value, dict | list)
