"""Many subscriptions and long times, with the clock as an argument."""

from __future__ import annotations

import json
import random
from collections import Counter, deque
from typing import Any

import pytest

from krakenws.core.catalog import Bound, bind, find
from krakenws.core.events import Deferred, Disconnected, Gap, Subscribed, Update
from krakenws.core.protocol import CONNECT, ClientProtocol
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES
from krakenws.options import Options
from tests.support.sizes import bytes_held_by

GREETING = b'{"event":"systemStatus","status":"online","version":"1.9.2"}'
HEARTBEAT = b'{"event":"heartbeat"}'
PAIRS = [f"A{number}/USD" for number in range(1500)]


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def bound(line: str) -> Bound:
    name, *words = line.split()
    entry = find(ENTRIES, name)
    assert entry is not None
    return bind(entry, words)


class Moody:
    """An exchange that loses some acks, refuses some for the message rate, and leaves some books mute.

    Nobody suffers twice on one connection: what stays mute although it was asked for again ends it.
    """

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.moods = Counter[str]()
        self._suffered: set[tuple[str, str]] = set()
        self.subscribed: set[tuple[str, str]] = set()
        self.heard_at: deque[float] = deque()

    def cut(self) -> None:
        self.subscribed.clear()
        self._suffered.clear()

    def take(self, frame: bytes, now: float) -> list[bytes]:
        self.heard_at.append(now)
        while self.heard_at[0] <= now - 1.0:
            self.heard_at.popleft()
        assert len(self.heard_at) < 20, "20 messages within a second"
        message = json.loads(frame)
        answers: list[bytes] = []
        for pair in message.get("pair", []):
            answers += self._answer(message["event"], message["subscription"], pair)
        return answers

    def _answer(self, event: str, subscription: dict[str, Any], pair: str) -> list[bytes]:
        name = subscription["name"]
        channel = f"book-{subscription['depth']}" if name == "book" else name
        reply = {"event": "subscriptionStatus", "pair": pair, "subscription": subscription}
        if event == "unsubscribe":
            self.subscribed.discard((channel, pair))
            return [compact({**reply, "channelName": channel, "status": "unsubscribed"})]
        moods = ["kind"] if (channel, pair) in self._suffered else ["kind", "forgets", "busy", "mute"]
        mood = self._random.choices(moods, [80, 5, 10, 5][: len(moods)])[0]
        self._suffered.add((channel, pair))
        self.moods[mood] += 1
        if mood == "forgets":
            return []
        if mood == "busy":
            return [compact({**reply, "status": "error", "errorMessage": "Exceeded msg rate"})]
        self.subscribed.add((channel, pair))
        ack = compact({**reply, "channelName": channel, "status": "subscribed"})
        if name != "book" or mood == "mute":
            return [ack]
        return [ack, compact([1, {"as": [["2.0", "1.0"]], "bs": [["1.0", "1.0"]]}, channel, pair])]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_1500_pairs_of_two_channels_come_back_after_a_cut_whatever_the_exchange_forgets(seed: int) -> None:
    protocol = ClientProtocol(V1, Options(), "public", jitter=lambda: 0.5)
    now = 0.0
    for name in ("trade", "book"):
        protocol.subscribe(bound(f"{name} {' '.join(PAIRS)}"), now)
    wanted = {(channel, pair) for channel in ("trade", "book-10") for pair in PAIRS}
    exchange = Moody(seed)
    streaming: set[tuple[str, str]] = set()
    events: list[Any] = []
    told: list[Any] = []
    for cut in (False, True):
        if cut:
            told += protocol.lost("cut", int(now * 1e9), now)
            protocol.on_deadline(int(now * 1e9), now)
            streaming.clear()
        assert protocol.wants == CONNECT
        exchange.cut()
        protocol.connecting(now)
        protocol.opened(now)
        events = protocol.receive([GREETING], int(now * 1e9), now)
        until = now + 120.0
        while not (exchange.subscribed == wanted and streaming >= wanted):
            assert now < until, "not everything came back in two minutes"
            answers = [a for frame in protocol.frames_to_send() for a in exchange.take(frame, now)]
            ticks = [compact([1, [], "trade", pair]) for c, pair in exchange.subscribed if c == "trade"]
            events += protocol.receive([HEARTBEAT, *answers, *ticks], int(now * 1e9), now)
            streaming |= {(e.route.channel, e.route.symbol) for e in events if type(e) is Update}
            told += [e for e in events if type(e) is not Update]
            now = min(now + 0.5, protocol.next_deadline() or now + 0.5)
            events = protocol.on_deadline(int(now * 1e9), now)
    assert min(exchange.moods[mood] for mood in ("forgets", "busy", "mute")) > 50
    assert sum(type(e) is Disconnected for e in told) == 1
    assert sum(type(e) is Subscribed for e in told) == 2 * len(wanted)
    assert any(type(e) is Deferred for e in told)
    assert sum(type(e) is Gap and e.cause == "cut" for e in told) == len(wanted)


def test_ten_days_of_a_quiet_private_connection_leave_no_trace() -> None:
    protocol = ClientProtocol(V1, Options(), "private", jitter=lambda: 0.5)
    now = 0.0
    protocol.subscribe(bound("openOrders"), now)
    protocol.connecting(now)
    protocol.opened(now, "a token of ours")
    ack = {"channelName": "openOrders", "event": "subscriptionStatus", "status": "subscribed"}
    begin = [GREETING, compact({**ack, "subscription": {"name": "openOrders"}})]
    protocol.receive([*begin, b'[[],"openOrders",{"sequence":1}]'], 1, now)
    protocol.frames_to_send()
    held = []
    for _ in range(10):
        for _ in range(86_400 // 4):
            now += 4.0  # the link is probed after 3 seconds of silence
            while (at := protocol.next_deadline()) is not None and at <= now:
                assert protocol.on_deadline(int(at * 1e9), at) == []
            (ping,) = protocol.frames_to_send()
            pong = {"event": "pong", "reqid": json.loads(ping)["reqid"]}
            assert protocol.receive([compact(pong)], int(now * 1e9), now) == []
        assert protocol.connected
        held.append(bytes_held_by(protocol))
    assert max(held) - min(held) < 1000, held


def test_a_private_connection_without_subscriptions_is_kept_open_for_ten_days() -> None:
    protocol = ClientProtocol(V1, Options(reconnect=0), "private", jitter=lambda: 0.5)
    now, pings = 0.0, 0
    protocol.request(bound("ping"), now)  # what is never answered keeps a session open
    protocol.connecting(now)
    protocol.opened(now, "a token of ours")
    protocol.receive([GREETING], 1, now)
    protocol.frames_to_send()
    heard_at = 0.0
    while now < 10 * 86_400.0:
        at = protocol.next_deadline()
        assert at is not None
        now = at
        protocol.on_deadline(int(now * 1e9), now)
        for ping in protocol.frames_to_send():
            assert now - heard_at < 60.0, "Kraken closes after a minute"
            heard_at = now
            pings += 1
            pong = {"event": "pong", "reqid": json.loads(ping)["reqid"]}
            protocol.receive([compact(pong)], int(now * 1e9), now)
        assert protocol.connected
    assert pings == 28_800
