"""A client's conversation on API v2 as the exchange leads it, without a socket or a clock."""

from __future__ import annotations

import json
from typing import Any

import pytest

from krakenws.exchange.faults import FaultPlan
from krakenws.exchange.limits import Limits
from krakenws.exchange.protocol import ServerProtocol, Subscription, Venue
from krakenws.exchange.requests import Refusal
from krakenws.exchange.v2 import V2

AT_US = 1_795_337_417_000_000
TIMES = b'"time_in":"2026-11-22T08:50:18.000000Z","time_out":"2026-11-22T08:50:18.000000Z"}'
HEARTBEAT = b'{"channel":"heartbeat"}'
ELSEWHERE = "Public market data subscriptions are unavailable on this endpoint. Try ws.kraken.com"
AUTH_ONLY = "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com"


class StubVenue(Venue):
    """One token, whose owner may see balances, and a memory of who came."""

    def __init__(self, *faults: dict[str, object]) -> None:
        self.begun: list[Subscription] = []
        self.ended: list[Subscription] = []
        if faults:
            self.faults = FaultPlan(lambda: 0.0)
            self.faults.add(faults, 0.0)
            self.faults.on_deadline(0.0)

    def at_us(self, now: float) -> int:
        return AT_US + round(now * 1_000_000)

    def authorize(self, token: str) -> str:
        if token != "good":
            raise Refusal("ESession:Invalid session")
        return "account"

    def subscribe(self, _subscription: Subscription, _now: float, /) -> int | None:
        return None

    def begin(self, subscription: Subscription, _now: float, /) -> None:
        self.begun.append(subscription)
        if subscription.values["snapshot"]:
            subscription.publish(b"[]", snapshot=True)

    def unsubscribe(self, subscription: Subscription, _now: float, /) -> None:
        self.ended.append(subscription)


class Conversation:
    """A protocol with its venue; `say` sends a request and gives the answers."""

    def __init__(
        self, *faults: dict[str, object], private: bool = True, limits: Limits | None = None
    ) -> None:
        self.venue = StubVenue(*faults)
        self.venue.limits = limits
        self.protocol = ServerProtocol(
            self.venue, private=private, connection_id=(1 << 64) - 1, now=0.0, dialect=V2
        )
        self.greeting = self.protocol.frames_to_send()

    def say(self, message: object, now: float = 1.0) -> list[bytes]:
        self.protocol.receive(message if isinstance(message, bytes) else json.dumps(message).encode(), now)
        return self.protocol.frames_to_send()

    def tick(self, now: float) -> list[bytes]:
        self.protocol.on_deadline(now)
        return self.protocol.frames_to_send()


def subscribe(**params: object) -> dict[str, Any]:
    return {"method": "subscribe", "params": {"channel": "balances", "token": "good", **params}}


def test_the_status_greets_with_a_64_bit_connection_id() -> None:
    assert Conversation().greeting == [
        (
            b'{"channel":"status","data":[{"api_version":"v2","connection_id":18446744073709551615,'
            b'"system":"online","version":"2.0.10"}],"type":"update"}'
        )
    ]


@pytest.mark.parametrize("private", [False, True])
def test_a_ping_is_answered_with_its_number_and_the_time(private: bool) -> None:
    talk = Conversation(private=private)
    assert talk.say({"method": "ping", "req_id": 101}) == [b'{"method":"pong","req_id":101,' + TIMES]
    assert talk.say({"method": "ping"}) == [b'{"method":"pong",' + TIMES]


def test_a_subscription_is_acknowledged_and_its_frames_are_numbered() -> None:
    talk = Conversation()
    assert talk.say({**subscribe(), "req_id": 7}) == [
        b'{"method":"subscribe","req_id":7,"result":{"channel":"balances","snapshot":true},"success":true,'
        + TIMES,
        b'{"channel":"balances","type":"snapshot","data":[],"sequence":1}',
    ]
    (subscription,) = talk.venue.begun
    assert (subscription.account, subscription.symbol) == ("account", "")
    subscription.publish(b"[{}]")
    assert talk.protocol.frames_to_send() == [
        b'{"channel":"balances","type":"update","data":[{}],"sequence":2}'
    ]


def test_without_a_snapshot_the_first_update_is_number_one() -> None:
    talk = Conversation()
    (ack,) = talk.say(subscribe(snapshot=False, rebased=False, users="all"))
    assert b'"result":{"channel":"balances","snapshot":false}' in ack
    talk.venue.begun[0].publish(b"[{}]")
    assert b'"type":"update","data":[{}],"sequence":1}' in talk.protocol.frames_to_send()[0]


def test_unsubscribing_ends_it_and_a_new_subscription_counts_from_one() -> None:
    talk = Conversation()
    talk.say(subscribe())
    assert talk.say({**subscribe(), "method": "unsubscribe", "req_id": 8}) == [
        b'{"method":"unsubscribe","req_id":8,"result":{"channel":"balances"},"success":true,' + TIMES
    ]
    assert talk.venue.ended == talk.venue.begun
    assert b'"sequence":1}' in talk.say(subscribe())[1]


def test_heartbeats_come_each_second_once_subscribed_whatever_else_is_sent() -> None:
    talk = Conversation()
    assert talk.tick(30.0) == []
    talk.say(subscribe(), now=30.5)
    talk.protocol.publish(b"data")
    assert talk.tick(31.5) == [b"data", HEARTBEAT]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (subscribe(), AUTH_ONLY),
        ({"method": "subscribe", "params": {"channel": "executions", "token": "good"}}, AUTH_ONLY),
        (
            {"method": "subscribe", "params": {"channel": "ticker", "symbol": ["BTC/USD"]}},
            "Unsupported event",
        ),
        ({"method": "subscribe", "params": {"channel": "spread"}}, "Unsupported event"),
    ],
)
def test_what_the_public_endpoint_refuses_is_said_in_krakens_words(
    request_: dict[str, Any], error: str
) -> None:
    (answer,) = map(json.loads, Conversation(private=False).say(request_))
    assert (answer["method"], answer["success"], answer["error"]) == ("subscribe", False, error)


@pytest.mark.parametrize(
    ("request_", "method", "error"),
    [
        (
            {"method": "subscribe", "params": {"channel": "ticker", "symbol": ["BTC/USD"]}},
            "subscribe",
            ELSEWHERE,
        ),
        ({"method": "subscribe", "params": {"channel": "spread"}}, "subscribe", "Unsupported event"),
        (
            {"method": "subscribe", "params": {"channel": "executions", "token": "good"}},
            "subscribe",
            "Unsupported event",
        ),
        ({"method": "subscribe"}, "subscribe", "Params field must be an object"),
        ({"method": "subscribe", "params": {"token": "good"}}, "subscribe", "Channel field must be a string"),
        ({"method": "subscribe", "params": {"channel": "balances"}}, "subscribe", "Token(s) not found"),
        (
            subscribe(symbol=["BTC/USD"]),
            "subscribe",
            "Unsupported field: 'symbol' for the given msg type: subscribe",
        ),
        (subscribe(req_id=1), "subscribe", "Unsupported field: 'req_id' for the given msg type: subscribe"),
        (subscribe(snapshot="true"), "subscribe", "Snapshot field must be a boolean"),
        (subscribe(users=1), "subscribe", "Users field must be a string"),
        (subscribe(users="none"), "subscribe", "EGeneral:Invalid arguments:users"),
        ({**subscribe(), "method": "unsubscribe"}, "subscribe", "Subscription Not Found"),
        ({"method": "dance", "params": {}}, "dance", "Unsupported event"),
        ({"method": "add_order", "params": {"token": "good"}}, "add_order", "Unsupported event"),
        ({"event": "ping"}, None, "Unsupported event"),
        ({"method": ["ping"]}, None, "Unsupported event"),
        ({**subscribe(), "req_id": "7"}, "subscribe", "Req_id field must be an integer"),
        ({**subscribe(), "req_id": True}, "subscribe", "Req_id field must be an integer"),
        (
            {"method": "ping", "params": {}},
            "ping",
            "Unsupported field: 'params' for the given msg type: ping",
        ),
        (b"{", None, "Malformed request"),
        (b"[1]", None, "Malformed request"),
    ],
)
def test_what_is_wrong_is_said_in_krakens_words(request_: object, method: str | None, error: str) -> None:
    (answer,) = map(json.loads, Conversation().say(request_))
    assert (answer.get("method"), answer["success"], answer["error"]) == (method, False, error)
    assert "req_id" not in answer


def test_who_is_subscribed_already_is_told_so() -> None:
    talk = Conversation()
    talk.say(subscribe())
    (answer,) = map(json.loads, talk.say({**subscribe(), "req_id": 9}))
    assert (answer["error"], answer["req_id"]) == ("Already subscribed", 9)


def test_a_bad_token_is_refused_as_captured_and_never_echoed() -> None:
    (frame,) = Conversation().say({**subscribe(token="not-a-token"), "req_id": 9})
    assert frame == (
        b'{"channel":"balances","error":"ESession:Invalid session","method":"subscribe","req_id":9,'
        b'"status":"error","success":false,' + TIMES
    )


def test_who_talks_too_fast_is_told_so() -> None:
    talk = Conversation(limits=Limits(messages_per_s=1.0, burst=1))
    assert b'"pong"' in talk.say({"method": "ping"})[0]
    assert talk.say({"method": "ping", "req_id": 2}) == [
        b'{"error":"Exceeded msg rate","method":"ping","req_id":2,"success":false,' + TIMES
    ]


# ---- faults


def test_requests_suffer_faults_as_they_do_on_v1() -> None:
    talk = Conversation({"fault": "invalid_session", "method": "subscribe", "channel": "balances"})
    assert b'"error":"ESession:Invalid session"' in talk.say(subscribe())[0]
    assert b'"success":true' in talk.say(subscribe())[0]
    lost = Conversation({"fault": "lose_answer", "method": "subscribe"})
    assert lost.say(subscribe()) == [b'{"channel":"balances","type":"snapshot","data":[],"sequence":1}']
    assert Conversation({"fault": "no_ack"}).say(subscribe()) == []
    assert b"Exceeded msg rate" in Conversation({"fault": "exceeded_rate"}).say(subscribe())[0]


def test_frames_of_a_channel_suffer_faults_as_they_do_on_v1() -> None:
    talk = Conversation(
        {"fault": "duplicate", "channel": "balances"}, {"fault": "skip_sequence", "channel": "balances"}
    )
    assert talk.protocol.line is not None
    sent = [*talk.say(subscribe())]
    talk.venue.begun[0].publish(b"[]")
    frames = talk.protocol.line.outgoing([*sent, *talk.protocol.frames_to_send()], 1.0)
    assert [json.loads(frame).get("sequence") for frame in frames] == [None, 1, 1, 3]
