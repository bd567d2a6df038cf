"""A venue that plays a recording: recorded frames, byte for byte, at recorded pace.

Theory of this file
-------------------
A recording is sorted into routes, one for each channel and pair, and a timeline of (seconds, route). Playing
hands the next frame of a route to its subscribers; nothing is decoded on the way. The clock starts shortly
after the first subscription, so whoever subscribes in that moment sees the recording from its first frame.
Whoever joins later is first sent what the exchange would send (`routes.py`).

At its end a recording is started over (`loop`), ends the venue (`exit_at_end`), or rests until everybody has
left; then the next subscriber starts it anew.

Source: v1.md sections 6 and 7; quirks L7, N5.
"""

from __future__ import annotations

from krakenws.core.dialect import ACK, DATA, REPLY, Malformed, decode
from krakenws.core.v1 import V1
from krakenws.errors import UsageError
from krakenws.exchange.protocol import Venue
from krakenws.exchange.requests import Refusal
from krakenws.exchange.routes import ROUTES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from krakenws.core.catalog import Entry, Values
    from krakenws.core.dialect import Envelope
    from krakenws.exchange.protocol import Subscription
    from krakenws.exchange.routes import Route

    Recording = list[tuple[float | None, bytes]]
    """Received frames in order: seconds of any epoch, or None where no time was recorded, and the frame."""

LEAD_S = 0.1
"""From the first subscription to the first frame: time for further subscriptions, also of other clients."""
UNTIMED_FRAMES_PER_S = 20.0
_BATCH_BYTES = 128 * 1024


def read_recording(lines: Iterable[bytes]) -> Recording:
    """Return the received frames of `{"t", "dir", "frame"}` lines, or of plain frames one a line.

    Frames that were sent, and REST answers, are left out.

    Raises:
        UsageError: a line is neither; it names the line's number.
    """
    recording: Recording = []
    for number, line in enumerate(lines, 1):
        text = line.strip()
        if not text:
            continue
        try:
            entry = _read_line(text)
        except (ValueError, TypeError, RecursionError):
            raise UsageError(
                f"line {number} of the recording is neither a frame nor an object with t, dir and frame"
            ) from None
        if entry is not None:
            recording.append(entry)
    return recording


def _read_line(text: bytes) -> tuple[float | None, bytes] | None:
    message = decode(text)
    if isinstance(message, dict) and "frame" in message:
        time, direction, frame = message.get("t"), message.get("dir", "in"), message["frame"]
        if direction not in {"in", "out"} or not isinstance(frame, str):
            raise ValueError
        time_s = None if time is None else float(time)
        if time_s is not None and not 0 <= time_s < 1e12:
            raise ValueError
        return (time_s, frame.encode()) if direction == "in" and "url" not in message else None
    if isinstance(message, list) or (isinstance(message, dict) and "event" in message):
        return None, text
    raise ValueError


class ReplayVenue(Venue):
    """Plays a recording to whoever subscribes.

    Args:
        recording: what `read_recording` gives.
        speed: how many recorded seconds pass in one second; infinity plays as fast as readers take it.
        loop: start over at the end.
        exit_at_end: end the venue at the end.

    Raises:
        UsageError: nothing in the recording can be played.
    """

    def __init__(
        self, recording: Recording, *, speed: float = 1.0, loop: bool = False, exit_at_end: bool = False
    ) -> None:
        self._routes: dict[tuple[str, str], Route] = {}
        self._timeline: list[tuple[float, Route]] = []
        self._answers: dict[str, list[dict[str, Any]]] = {}
        self._speed = speed
        self._loop = loop
        self._exit_at_end = exit_at_end
        self.patient = speed == float("inf")
        self._position = 0
        self._started: float | None = None
        self._subscribers = 0
        self._load(recording)
        if not self._timeline:
            raise UsageError("there is no data frame of API v1 in the recording")

    @property
    def symbols(self) -> list[str]:
        """The pairs that can be subscribed."""
        return sorted({symbol for _, symbol in self._routes if symbol})

    @property
    def channels(self) -> list[str]:
        """The channels that can be subscribed, for at least one pair."""
        return sorted({channel for channel, _ in self._routes})

    def authorize(self, token: str) -> str:
        """Any token that is not empty stands for the recorded account."""
        if not token:
            raise Refusal("ESession:Invalid session")
        return "recorded"

    def subscribe(self, subscription: Subscription, now: float, /) -> int | None:
        """Admit it when the recording has it."""
        route = self._routes.get((subscription.channel, subscription.symbol))
        if route is None:
            raise Refusal(self._why_not(subscription))
        if self._position == len(self._timeline) and not self._subscribers:
            self._rewind(None)
        if self._started is None:
            self._started = now + LEAD_S
        self._subscribers += 1
        return route.channel_id

    def _why_not(self, subscription: Subscription) -> str:
        symbol, name = subscription.symbol, subscription.entry.name
        if not symbol:
            return "EService:Unavailable"
        if symbol not in self.symbols:
            return f"Currency pair not supported {symbol}"
        if any(s == symbol and channel.partition("-")[0] == name for channel, s in self._routes):
            return f"Subscription {'ohlc interval' if name == 'ohlc' else 'depth'} not supported"
        return "Subscription name invalid"

    def begin(self, subscription: Subscription, _now: float, /) -> None:
        """Send a late joiner what the exchange would send first."""
        self._routes[subscription.channel, subscription.symbol].join(subscription)

    def unsubscribe(self, subscription: Subscription, _now: float, /) -> None:
        """Leave; the clock goes on."""
        self._routes[subscription.channel, subscription.symbol].leave(subscription)
        self._subscribers -= 1

    def command(self, _account: str, entry: Entry, values: Values, _now: float, /) -> list[dict[str, Any]]:
        """Answer as was answered in the recording, the recorded answers in turn."""
        recorded = self._answers.get(entry.reply)
        if not recorded:
            raise Refusal("EService:Unavailable")
        orders = values.get(entry.answers)
        count = len(orders) if isinstance(orders, list) else 1
        answers = [recorded[number % len(recorded)] for number in range(count)]
        turn = count % len(recorded)
        self._answers[entry.reply] = [*recorded[turn:], *recorded[:turn]]
        return answers

    def next_deadline(self) -> float | None:
        """When the next frame is due; None before the first subscription and at the end."""
        if self._started is None or self._position == len(self._timeline):
            return None
        return self._due(self._position)

    def _due(self, position: int) -> float:
        return (self._started or 0.0) + self._timeline[position][0] / self._speed

    def on_deadline(self, now: float, /) -> None:
        """Play what is due, a batch at most; what is left stays due."""
        due = self.next_deadline()
        batch_bytes = 0
        while due is not None and due <= now and batch_bytes < _BATCH_BYTES:
            batch_bytes += self._timeline[self._position][1].play()
            self._position += 1
            due = self.next_deadline()
        if self._position == len(self._timeline) and self._started is not None:
            if self._loop:
                self._rewind(now if self.patient else now + LEAD_S)
            else:
                self.finished = self._exit_at_end

    def _rewind(self, started: float | None) -> None:
        self._position = 0
        self._started = started
        for route in self._routes.values():
            route.rewind()

    def _load(self, recording: Recording) -> None:
        tails: dict[bytes, Route] = {}
        clock_s = 0.0
        last_s: float | None = None
        for time_s, frame in recording:
            if time_s is None or last_s is None:
                clock_s += 1 / UNTIMED_FRAMES_PER_S
            else:
                clock_s += max(0.0, time_s - last_s)
            last_s = time_s
            route = tails.get(V1.tail(frame))
            if route is None:
                try:
                    envelope = V1.classify(frame)
                except Malformed:
                    continue  # text that is no JSON was recorded as it came (quirk N5)
                route = self._route_of(envelope)
                if route is None:
                    continue
                if envelope.symbol:
                    tails[V1.tail_of(envelope.channel, envelope.symbol)] = route
            if not self._timeline:
                clock_s = 0.0
            route.frames.append(frame)
            self._timeline.append((clock_s, route))
        self._routes = {key: route for key, route in self._routes.items() if route.can_serve}

    def _route_of(self, envelope: Envelope) -> Route | None:
        """Return the route a data frame belongs to; remember what acks and answers tell on the way."""
        if envelope.kind == REPLY:
            fields = {n: v for n, v in envelope.body.items() if n not in {"event", "reqid"}}
            self._answers.setdefault(envelope.name, []).append(fields)
        is_ack = envelope.kind == ACK and envelope.status == "subscribed"
        make = ROUTES.get(envelope.channel.partition("-")[0])
        if make is None or not (is_ack or envelope.kind == DATA):
            return None
        key = (envelope.channel, envelope.symbol)
        route = self._routes.get(key)
        if route is None:
            route = self._routes[key] = make(*key)
        if is_ack:
            route.recorded_id = envelope.body.get("channelID")
        return None if is_ack else route
