"""Any interleaving of frames, losses, deadlines and requests, against a tiny model of the exchange.

What must hold: never an exception; a request leaves at most once and ends exactly once; in the end everything
wanted is confirmed; at most one resync of a pair is in flight; a gap stands before the data after a break;
connection attempts stay within the budget; the timer never spins.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from krakenws.core.book import Book
from krakenws.core.catalog import bind, find
from krakenws.core.events import (
    Answered,
    Disconnected,
    Gap,
    Pong,
    Refused,
    Subscribed,
    Unanswered,
    Update,
)
from krakenws.core.pacing import Budget
from krakenws.core.protocol import CONNECT, ClientProtocol
from krakenws.core.subscription import LIVE
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES
from krakenws.core.v2 import V2
from krakenws.options import Options

PAIRS = ["XBT/USD", "ETH/EUR", "BAD/PAIR"]
CHANNELS = ["ticker", "trade", "book-10"]
BUDGET = 2
Key = tuple[str, str]

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["event", "status", "pair", "subscription", "a", "b", "as", "c", "reqid", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=8,
)
garbage = st.binary(max_size=40) | json_values.map(lambda value: json.dumps(value).encode())


def compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Exchange:
    """What the exchange knows of one connection, and the frames that are on their way to us."""

    def __init__(self) -> None:
        self.subscribed: dict[Key, Book | None] = {}
        self.inbound: deque[bytes] = deque([b'{"event":"systemStatus","status":"online","version":"1"}'])
        self.faults: deque[str] = deque()
        """What becomes of the next requests: "limit", "lose", "mute"."""

    def take(self, message: dict[str, Any]) -> None:
        event, reqid = message["event"], message.get("reqid")
        number = {} if reqid is None else {"reqid": reqid}
        if event == "ping":
            self.inbound.append(compact({"event": "pong", **number}))
        elif event in {"subscribe", "unsubscribe"}:
            for pair in message["pair"]:
                self.answer(event, message["subscription"], pair)
        elif not self.faults or self.faults.popleft() == "limit":
            self.inbound.append(compact({"event": f"{event}Status", "status": "ok", **number}))

    def answer(self, event: str, subscription: dict[str, Any], pair: str) -> None:
        name = subscription["name"]
        channel = f"book-{subscription['depth']}" if name == "book" else name
        fault = self.faults.popleft() if self.faults else ""
        key = channel, pair
        error = ""
        if fault == "lose":
            return
        if event == "unsubscribe":
            error = "" if key in self.subscribed else "Subscription Not Found"
            self.subscribed.pop(key, None)
        elif fault == "limit":
            error = "Exceeded msg rate"
        elif pair == "BAD/PAIR":
            error = "Currency pair not supported BAD/PAIR"
        elif key in self.subscribed:
            error = "Already subscribed"
        reply = {"event": "subscriptionStatus", "pair": pair, "subscription": subscription}
        if error:
            self.inbound.append(compact({**reply, "errorMessage": error, "status": "error"}))
            return
        self.inbound.append(compact({**reply, "channelName": channel, "status": f"{event}d"}))
        if event == "subscribe":
            self.subscribed[key] = self.begin(pair, fault == "mute") if name == "book" else None

    def begin(self, pair: str, mute: bool) -> Book:
        book = Book(pair, 10)
        asks, bids = [["101.0", "1.00"]], [["100.0", "1.00"]]
        book.snapshot(asks, bids)
        if mute:
            return book
        self.inbound.append(compact([1, {"as": asks, "bs": bids}, "book-10", pair]))
        return book

    def drop(self, key: Key) -> None:
        """End a subscription unasked, with data of it still on its way."""
        channel, pair = key
        name, _, depth = channel.partition("-")
        subscription = {"name": name, "depth": int(depth)} if depth else {"name": name}
        ended = {"event": "subscriptionStatus", "pair": pair, "subscription": subscription}
        self.inbound.append(compact({**ended, "channelName": channel, "status": "unsubscribed"}))
        self.trade(key, 1, wrong=False)
        del self.subscribed[key]

    def trade(self, key: Key, qty: int, wrong: bool) -> None:
        channel, pair = key
        book = self.subscribed[key]
        if book is None:
            self.inbound.append(compact([1, [], channel, pair]))
            return
        change = [["100.0", f"{qty}.00"]]
        book.update([], change)
        checksum = book.checksum() ^ wrong
        self.inbound.append(compact([1, {"b": change, "c": str(checksum)}, channel, pair]))


class Conversation(RuleBasedStateMachine):
    @initialize(detail=st.booleans(), reconnect=st.sampled_from([None, 1000]))
    def begin(self, detail: bool, reconnect: int | None) -> None:
        self.options = Options(reconnect=reconnect)
        self.budget = Budget(BUDGET, 100.0)
        self.protocol = ClientProtocol(V1, self.options, "public", jitter=lambda: 0.3, detail=detail)
        self.now = 1000.0
        self.exchange: Exchange | None = None
        self.attempts: list[float] = []
        self.requested: set[int] = set()
        self.left: list[int] = []
        self.ended: list[int] = []
        self.overdue: set[int] = set()
        self.streaming: set[Key] = set()
        self.broken: set[Key] = set()
        self.resyncs: dict[Key, float] = {}

    # ---- what a shell does

    def heed(self, events: list[Any]) -> None:
        for event in events:
            if isinstance(event, Answered | Pong):
                assert event.req_id is not None
                if event.req_id in self.overdue:  # evidence, after its end
                    assert not isinstance(event, Unanswered)
                    self.overdue.remove(event.req_id)
                    continue
                self.ended.append(event.req_id)
                if isinstance(event, Unanswered):
                    self.overdue.add(event.req_id)
            elif isinstance(event, Update):
                key = event.route.channel, event.route.symbol
                assert key not in self.broken, "data after a break without a gap before it"
                self.streaming.add(key)
                if event.snapshot:
                    self.resyncs.pop(key, None)
            elif isinstance(event, Subscribed):
                self.streaming.add(self.key(event.channel, event.symbol))
            elif isinstance(event, Refused):
                key = self.key(event.channel, event.symbol)
                self.streaming.discard(key)
                self.broken.discard(key)
            elif isinstance(event, Gap):
                key = self.key(event.channel, event.symbol)
                (self.broken.add if event.to_ns is None else self.broken.discard)(key)
            elif isinstance(event, Disconnected):
                self.broken |= self.streaming
                self.resyncs.clear()
        self.send()

    @staticmethod
    def key(channel: str, symbol: str) -> Key:
        return ("book-10" if channel == "book" else channel), symbol

    def send(self) -> None:
        for frame in self.protocol.frames_to_send():
            message = json.loads(frame)
            if message["event"] == "cancelAll":
                self.left.append(message["reqid"])
            if message["event"] == "unsubscribe":
                self.note_resync(message)
            if self.exchange is not None:
                self.exchange.take(message)

    def note_resync(self, message: dict[str, Any]) -> None:
        for pair in message["pair"]:
            before = self.resyncs.get(("book-10", pair))
            assert before is None or self.now >= before + 1.0, "two resyncs of a pair in flight"
            self.resyncs["book-10", pair] = self.now

    # ---- what may happen

    @rule(channel=st.sampled_from(CHANNELS), pairs=st.lists(st.sampled_from(PAIRS), min_size=1, max_size=3))
    def want(self, channel: str, pairs: list[str]) -> None:
        entry = find(ENTRIES, channel.partition("-")[0])
        assert entry is not None
        self.protocol.subscribe(bind(entry, pairs), self.now)
        self.send()

    @rule()
    def request(self) -> None:
        entry = find(ENTRIES, "cancelAll")
        assert entry is not None
        req_id = self.protocol.request(bind(entry, []), self.now)
        assert req_id not in self.requested
        self.requested.add(req_id)
        self.send()

    @precondition(lambda self: self.protocol.wants == CONNECT)
    @rule(succeeds=st.booleans())
    def connect(self, succeeds: bool) -> None:
        wait = self.budget.spend(self.now)
        if wait:
            self.heed(self.protocol.postponed(wait, "spent", self.ns, self.now))
            assert self.gave_up() == (self.requested != set(self.ended)), "streams wait, commands do not"
            return
        self.attempts.append(self.now)
        self.protocol.connecting(self.now)
        if succeeds:
            self.exchange = Exchange()
            self.protocol.opened(self.now)
        else:
            self.heed(self.protocol.lost("refused", self.ns, self.now))

    @precondition(lambda self: self.exchange is not None)
    @rule(fault=st.sampled_from(["limit", "lose", "mute"]))
    def fault(self, fault: str) -> None:
        assert self.exchange is not None
        self.exchange.faults.append(fault)

    @precondition(lambda self: self.exchange is not None and self.exchange.subscribed)
    @rule(which=st.integers(0, 8), qty=st.integers(1, 9), wrong=st.booleans())
    def trade(self, which: int, qty: int, wrong: bool) -> None:
        assert self.exchange is not None
        keys = sorted(self.exchange.subscribed)
        self.exchange.trade(keys[which % len(keys)], qty, wrong)

    @precondition(lambda self: self.exchange is not None and self.exchange.subscribed)
    @rule(which=st.integers(0, 8))
    def drop(self, which: int) -> None:
        assert self.exchange is not None
        keys = sorted(self.exchange.subscribed)
        self.exchange.drop(keys[which % len(keys)])

    @precondition(lambda self: self.exchange is not None)
    @rule(count=st.integers(1, 5))
    def deliver(self, count: int) -> None:
        assert self.exchange is not None
        inbound = self.exchange.inbound
        frames = [inbound.popleft() for _ in range(min(count, len(inbound)))]
        self.heed(self.protocol.receive(frames, self.ns, self.now))

    @precondition(lambda self: self.exchange is not None)
    @rule(frame=garbage)
    def receive_garbage(self, frame: bytes) -> None:
        self.heed(self.protocol.receive([frame], self.ns, self.now))

    @precondition(lambda self: self.exchange is not None)
    @rule(code=st.sampled_from([None, 1001, 1006, 1013]))
    def lose(self, code: int | None) -> None:
        self.exchange = None
        self.heed(self.protocol.lost("cut", self.ns, self.now, code=code))

    @precondition(lambda self: self.protocol.wants != CONNECT)  # a shell obeys at once
    @rule(seconds=st.sampled_from([0.0, 0.0, 0.01, 0.7, 3.0, 5.0, 12.0, 40.0]))
    def wait(self, seconds: float) -> None:
        end = self.now + seconds
        calls = 0
        while (at := self.protocol.next_deadline()) is not None and at <= end:
            calls = 0 if at > self.now else calls + 1
            assert calls < 5, "the timer spins"
            self.now = max(self.now, at)
            self.heed(self.protocol.on_deadline(self.ns, self.now))
            if not self.protocol.connected:
                self.exchange = None
            if self.protocol.wants == CONNECT:
                return
        self.now = end

    @property
    def ns(self) -> int:
        return int(self.now * 1e9)

    # ---- what must hold

    @invariant()
    def attempts_are_within_the_budget(self) -> None:
        if hasattr(self, "attempts"):
            recent = [at for at in self.attempts if at > self.now - 100.0 + 1e-6]
            assert len(recent) <= BUDGET

    @invariant()
    def a_request_leaves_once_and_ends_once(self) -> None:
        if hasattr(self, "left"):
            assert len(set(self.left)) == len(self.left)
            assert len(set(self.ended)) == len(self.ended)
            assert set(self.ended) <= set(self.left) <= self.requested

    @invariant()
    def every_data_frame_is_accounted_for(self) -> None:
        if hasattr(self, "protocol"):
            for its in self.protocol.summary(self.ns, self.now).channels:
                kinds = ("emitted", "withheld", "discarded", "malformed")
                assert its["received"] == sum(its[kind] for kind in kinds)

    def gave_up(self) -> bool:
        return self.protocol.failure is not None

    def teardown(self) -> None:
        if not hasattr(self, "protocol") or self.gave_up():
            return
        if self.exchange is not None:
            self.exchange.faults.clear()
        for _ in range(600):
            if self.protocol.wants == CONNECT:
                self.connect(succeeds=True)
            while self.exchange is not None and self.exchange.inbound:
                self.deliver(count=5)
            if self.exchange is not None:
                self.exchange.inbound.append(b'{"event":"heartbeat"}')
            self.wait(1.0)
        if self.gave_up():
            return
        wanted = {(route.channel, route.symbol) for route in self.protocol.routes}
        assert all(pair != "BAD/PAIR" for _, pair in wanted)
        assert set(self.ended) == self.requested == set(self.left)
        if wanted:
            assert self.exchange is not None
            assert wanted == set(self.exchange.subscribed)
            assert {s.state for s in self.protocol._subscriptions._all.values()} == {LIVE}
            assert all(s.settled or not s.is_book for s in self.protocol._subscriptions._all.values())


Conversation.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestConversation = Conversation.TestCase


@given(frames=st.lists(garbage, max_size=6), second_api=st.booleans(), adopt=st.booleans())
@settings(max_examples=200, deadline=None)
def test_no_frame_raises_in_any_phase(frames: list[bytes], second_api: bool, adopt: bool) -> None:
    dialect = V2 if second_api else V1
    protocol = ClientProtocol(dialect, Options(), "public", jitter=lambda: 0.5, adopt=adopt)
    entry = find(dialect.entries, "balances" if second_api else "book", dialect.api)
    assert entry is not None
    protocol.subscribe(bind(entry, [] if second_api else ["XBT/USD"]), 0.0)
    protocol.receive(frames, 1, 0.0)
    protocol.connecting(0.0)
    protocol.opened(0.0, "token")
    protocol.receive(frames, 1, 0.0)
    greeting = (
        b'{"channel":"status","type":"update","data":[{"system":"online"}]}'
        if second_api
        else b'{"event":"systemStatus","status":"online"}'
    )
    protocol.receive([greeting, *frames], 1, 0.0)
    protocol.lost("cut", 1, 1.0)
