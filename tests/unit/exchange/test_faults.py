"""Every fault by its name: what it makes of frames and requests, and which rules make no sense."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from krakenws.core.v1 import V1
from krakenws.errors import UsageError
from krakenws.exchange.fault_rules import FAULTS, parse_faults
from krakenws.exchange.faults import FaultPlan, Line
from krakenws.exchange.protocol import ServerProtocol, Subscription, Venue

NAMES = """
drop duplicate delay reorder bad_checksum mute no_ack freeze close reset truncate not_json unknown_event
unknown_field exceeded_rate invalid_session refuse http_status system_status lose_answer accept_then_cut
rest_lag skip_sequence change_precision expire_tokens
"""
HEARTBEAT = b'{"event":"heartbeat"}'
ACK = (
    b'{"channelID":336,"channelName":"book-10","event":"subscriptionStatus","pair":"XBT/USD",'
    b'"status":"subscribed","subscription":{"depth":10,"name":"book"}}'
)


def book(number: int, symbol: str = "XBT/USD") -> bytes:
    return b'[336,{"a":[["9000.0","1.0","%d.0"]],"c":"%d"},"book-10","%b"]' % (
        number,
        number,
        symbol.encode(),
    )


def trade(number: int) -> bytes:
    return b'[337,[["9000.0","1.0","%d.0","b","l",""]],"trade","XBT/USD"]' % number


def orders(sequence: int) -> bytes:
    return b'[[{"OA":{"status":"open"}}],"openOrders",{"sequence":%d}]' % sequence


class Bench:
    """One or more connections under one plan."""

    def __init__(self, *rules: dict[str, object], draws: tuple[float, ...] = (), lines: int = 1) -> None:
        self.struck: list[dict[str, object]] = []
        drawn = iter(draws)
        self.plan = FaultPlan(
            lambda: next(drawn), lambda record, now: self.struck.append({**record, "at": now})
        )
        self.subscriptions: dict[tuple[str, str], Subscription] = {}
        self.lines = [self.plan.connected(V1, self.subscriptions) for _ in range(lines)]
        self.plan.add(rules, 0.0)
        self.plan.on_deadline(0.0)

    @property
    def has_ended(self) -> bool:
        return self.line.end is not None

    @property
    def line(self) -> Line:
        return self.lines[0]

    def sent(self, *frames: bytes, now: float = 0.0) -> list[bytes]:
        return self.line.outgoing(frames, now)


def test_the_names_are_those_of_the_interface() -> None:
    assert sorted(FAULTS) == sorted(NAMES.split())


def test_a_plan_without_rules_is_not_active() -> None:
    bench = Bench()
    assert not bench.plan.active
    assert bench.plan.next_deadline() is None
    assert bench.sent(book(1), HEARTBEAT) == [book(1), HEARTBEAT]


def test_drop_loses_one_frame_of_its_channel_and_pair_and_then_the_plan_rests() -> None:
    bench = Bench({"fault": "drop", "channel": "book", "symbol": "XBT/USD"})
    frames = [HEARTBEAT, ACK, trade(1), book(1, "ETH/USD"), book(1), book(2)]
    assert bench.sent(*frames) == [HEARTBEAT, ACK, trade(1), book(1, "ETH/USD"), book(2)]
    bench.plan.on_deadline(0.0)
    assert not bench.plan.active
    assert bench.struck == [
        {"fault": "drop", "id": 1, "connection": 1, "channel": "book-10", "symbol": "XBT/USD", "at": 0.0}
    ]


@pytest.mark.parametrize(
    ("channel", "lost"), [("book-10", True), ("book-25", False), ("book", True), ("spread", False)]
)
def test_a_channel_is_named_with_or_without_its_depth(channel: str, lost: bool) -> None:
    assert (Bench({"fault": "drop", "channel": channel}).sent(book(1)) == []) is lost


def test_times_and_probability_bound_the_strikes() -> None:
    bench = Bench({"fault": "drop", "times": 2, "probability": 0.5}, draws=(0.6, 0.4, 0.9, 0.1))
    assert bench.sent(*(book(n) for n in range(1, 7))) == [book(1), book(3), book(5), book(6)]


def test_a_rule_waits_for_its_time_and_keeps_to_its_connection() -> None:
    bench = Bench({"fault": "drop", "connection": 2, "after_s": 5}, lines=2)
    assert bench.plan.next_deadline() == 5.0
    one, two = bench.lines
    assert two.outgoing([book(1)], 4.9) == [book(1)]
    assert one.outgoing([book(1)], 5.0) == [book(1)]
    assert two.outgoing([book(1)], 5.0) == []


def test_duplicate_sends_a_frame_twice() -> None:
    assert Bench({"fault": "duplicate"}).sent(book(1), book(2)) == [book(1), book(1), book(2)]


def test_delay_holds_a_feed_in_its_order_while_others_pass() -> None:
    bench = Bench({"fault": "delay", "channel": "book", "delay_s": 2})
    assert bench.sent(book(1), trade(1), book(2), HEARTBEAT) == [trade(1), HEARTBEAT]
    bench.plan.on_deadline(0.0)
    assert bench.plan.active
    assert bench.plan.next_deadline() == 2.0
    assert bench.sent(book(3), now=1.9) == []
    assert bench.sent(book(4), now=2.0) == [book(1), book(2), book(3), book(4)]


def test_reorder_lets_the_next_frame_of_the_feed_pass_first() -> None:
    bench = Bench({"fault": "reorder", "times": 2})
    assert bench.sent(book(1), HEARTBEAT, trade(1)) == [HEARTBEAT]
    assert bench.sent(trade(2), book(2), book(3)) == [trade(2), trade(1), book(2), book(1), book(3)]


def test_bad_checksum_changes_the_checksum_alone_and_waits_for_a_frame_that_has_one() -> None:
    bench = Bench({"fault": "bad_checksum"})
    assert bench.sent(trade(1), book(4294967295)) == [
        trade(1),
        book(4294967295).replace(b'"c":"4294967295"', b'"c":"0"'),
    ]
    assert bench.sent(book(1)) == [book(1)]


def test_mute_silences_a_subscription_until_it_is_made_anew() -> None:
    bench = Bench({"fault": "mute", "channel": "book"})
    assert bench.sent(ACK, book(1), HEARTBEAT, trade(1)) == [ACK, HEARTBEAT, trade(1)]
    assert bench.sent(book(2), book(1, "ETH/USD"), now=9.0) == [book(1, "ETH/USD")]
    assert bench.sent(ACK, book(3)) == [ACK, book(3)]


def test_not_json_is_said_before_any_frame() -> None:
    proxy = b"CloudFlare WebSocket proxy restarting"
    assert Bench({"fault": "not_json"}).sent(HEARTBEAT) == [proxy, HEARTBEAT]
    assert Bench({"fault": "not_json", "text": "so", "channel": "book"}).sent(HEARTBEAT, book(1)) == [
        HEARTBEAT,
        b"so",
        book(1),
    ]


def test_unknown_event_is_json_of_a_kind_that_nobody_knows() -> None:
    event, frame = Bench({"fault": "unknown_event"}).sent(book(1))
    assert V1.classify(event).kind == "unknown"
    assert frame == book(1)


@pytest.mark.parametrize(
    "frame", [book(1), trade(1), orders(1), b'[5,["1.0","2.0","3.0"],"spread","XBT/USD"]']
)
def test_unknown_field_adds_to_the_payload_and_keeps_the_rest(frame: bytes) -> None:
    (sent,) = Bench({"fault": "unknown_field"}).sent(frame)
    assert re.sub(rb'"aNewField":"unexpected",|,"unexpected"', b"", sent) == frame
    assert len(json.loads(sent)) == len(json.loads(frame))


def test_skip_sequence_leaves_a_number_out_for_good() -> None:
    bench = Bench({"fault": "skip_sequence"})
    entry = next(entry for entry in V1.entries if entry.name == "openOrders")
    client = ServerProtocol(Quiet(), private=True, connection_id=1, now=0.0)
    subscription = Subscription(client, "demo", entry, {}, "")
    subscription.sequence = 3
    bench.subscriptions["openOrders", ""] = subscription
    assert bench.sent(book(1), orders(2), orders(3)) == [book(1), orders(3), orders(4)]
    assert subscription.sequence == 4


@pytest.mark.parametrize("name", ["freeze", "reset", "close"])
def test_a_connection_ends_at_once_or_at_the_data_it_waits_for(name: str) -> None:
    bench = Bench({"fault": name})
    assert bench.sent() == []
    assert bench.line.end is not None
    assert bench.line.end.how == name
    waiting = Bench({"fault": name, "symbol": "XBT/USD"})
    assert waiting.sent(HEARTBEAT, book(1, "ETH/USD")) == [HEARTBEAT, book(1, "ETH/USD")]
    assert not waiting.has_ended
    assert waiting.sent(trade(1), book(1)) == []
    assert waiting.line.end is not None
    assert waiting.sent(trade(2)) == []


def test_close_has_a_code_and_a_reason() -> None:
    bench = Bench({"fault": "close", "code": 1013, "reason": "Market data unavailable"})
    bench.sent()
    assert bench.line.end is not None
    assert (bench.line.end.code, bench.line.end.reason) == (1013, "Market data unavailable")


def test_truncate_ends_in_the_middle_of_a_frame() -> None:
    bench = Bench({"fault": "truncate", "channel": "book", "then": "freeze"})
    assert bench.sent(trade(1), book(1), trade(2)) == [trade(1)]
    assert bench.line.end is not None
    assert (bench.line.end.half, bench.line.end.how) == (book(1), "freeze")


def test_all_means_every_connection_that_is_open_then_each_once() -> None:
    bench = Bench({"fault": "reset", "connection": "all", "after_s": 1}, lines=3)
    bench.plan.disconnected(bench.lines.pop())
    bench.plan.on_deadline(1.0)
    late = bench.plan.connected(V1, {})
    for line in (*bench.lines, late):
        line.outgoing([], 1.0)
    assert [line.end is not None for line in (*bench.lines, late)] == [True, True, False]
    bench.plan.on_deadline(2.0)
    assert not bench.plan.active


def test_all_of_no_connections_ends_without_a_strike() -> None:
    bench = Bench({"fault": "reset", "connection": "all"}, lines=0)
    bench.plan.on_deadline(0.0)
    assert not bench.plan.active


def test_clearing_lets_go_of_everything() -> None:
    bench = Bench(
        {"fault": "delay", "symbol": "A/B", "delay_s": 60},
        {"fault": "reorder", "channel": "trade"},
        {"fault": "mute", "symbol": "XBT/USD", "channel": "book"},
    )
    assert bench.sent(book(1, "A/B"), trade(1), book(1)) == []
    bench.plan.clear()
    assert bench.sent(book(2)) == [book(1, "A/B"), trade(1), book(2)]
    bench.plan.on_deadline(1.0)
    assert not bench.plan.active
    assert bench.plan.rules() == []
    frozen = Bench({"fault": "freeze"})
    frozen.sent()
    frozen.plan.clear()
    assert frozen.line.end is not None
    assert frozen.line.end.how == "reset"


def test_rules_are_listed_until_they_are_spent() -> None:
    bench = Bench({"fault": "drop", "times": 2}, {"fault": "mute"})
    bench.sent(book(1))
    assert bench.plan.rules() == [
        {"fault": "drop", "times": 2, "id": 1, "struck": 1},
        {"fault": "mute", "id": 2, "struck": 0},
    ]
    bench.sent(book(1))
    assert [rule["id"] for rule in bench.plan.rules()] == [2]


def test_text_that_is_no_json_of_the_api_passes_a_plan() -> None:
    assert Bench({"fault": "drop", "channel": "book"}).sent(b"text", b"[]") == [b"text", b"[]"]


# -- requests


class Quiet(Venue):
    """Grants everything and sends nothing of its own."""

    def __init__(self, *rules: dict[str, object]) -> None:
        self.plan = FaultPlan(lambda: 0.0)
        self.plan.add(rules, 0.0)
        self.faults = self.plan
        self.commands = 0

    def authorize(self, token: str) -> str:
        return token

    def subscribe(self, _subscription: Subscription, _now: float, /) -> int:
        return 1

    def begin(self, subscription: Subscription, _now: float, /) -> None:
        subscription.client.publish(b"data")

    def unsubscribe(self, _subscription: Subscription, _now: float, /) -> None:
        pass

    def command(self, *_: object) -> list[dict[str, Any]]:
        self.commands += 1
        return [{"status": "ok"}]


SUBSCRIBE = {"event": "subscribe", "pair": ["XBT/USD"], "subscription": {"name": "book"}, "reqid": 7}
CANCEL = {"event": "cancelAll", "token": "t", "reqid": 8}


def ask(
    rule: dict[str, object], *requests: object, private: bool = False
) -> tuple[Quiet, ServerProtocol, list[Any]]:
    venue = Quiet(rule)
    client = ServerProtocol(venue, private=private, connection_id=1, now=0.0)
    client.frames_to_send()
    for request in requests:
        client.receive(json.dumps(request).encode(), 0.0)
    return venue, client, [f if f == b"data" else json.loads(f) for f in client.frames_to_send()]


def test_no_ack_does_not_hear_a_request() -> None:
    _, client, said = ask(
        {"fault": "no_ack", "method": "subscribe", "symbol": "XBT/USD"}, {"event": "ping"}, SUBSCRIBE
    )
    assert said == [{"event": "pong"}]
    assert not client.subscriptions


@pytest.mark.parametrize(
    "rule",
    [
        {"method": "unsubscribe"},
        {"channel": "trade"},
        {"symbol": "ETH/USD"},
        {"connection": 2},
        {"after_s": 1},
    ],
)
def test_a_request_that_the_rule_does_not_fit_is_answered(rule: dict[str, object]) -> None:
    _, client, _ = ask({"fault": "no_ack", **rule}, SUBSCRIBE)
    assert client.subscriptions


def test_exceeded_rate_refuses_a_request_with_its_number() -> None:
    _, client, said = ask({"fault": "exceeded_rate"}, SUBSCRIBE)
    assert said == [{"errorMessage": "Exceeded msg rate", "event": "error", "reqid": 7}]
    assert not client.subscriptions


def test_invalid_session_refuses_what_needs_a_token() -> None:
    rule: dict[str, object] = {"fault": "invalid_session", "times": 2}
    subscribe = {"event": "subscribe", "subscription": {"name": "openOrders", "token": "t"}}
    venue, _, said = ask(rule, {"event": "ping"}, subscribe, CANCEL, CANCEL, private=True)
    assert said == [
        {"event": "pong"},
        {
            "errorMessage": "ESession:Invalid session",
            "event": "subscriptionStatus",
            "status": "error",
            "subscription": {"name": "openOrders", "token": "t"},
        },
        {
            "errorMessage": "ESession:Invalid session",
            "event": "cancelAllStatus",
            "reqid": 8,
            "status": "error",
        },
        {"event": "cancelAllStatus", "reqid": 8, "status": "ok"},
    ]
    assert venue.commands == 1
    assert ask(rule, SUBSCRIBE)[1].subscriptions


def test_refuse_answers_where_the_answer_would_be() -> None:
    rule: dict[str, object] = {"fault": "refuse", "error": "EService:Throttled: 1795337417", "times": 3}
    venue, client, said = ask(rule, {"event": "ping"}, SUBSCRIBE, CANCEL, CANCEL, private=True)
    assert [(a["event"], a.get("errorMessage"), a.get("pair"), a.get("reqid")) for a in said] == [
        ("error", rule["error"], None, None),
        ("subscriptionStatus", rule["error"], "XBT/USD", 7),
        ("cancelAllStatus", rule["error"], None, 8),
        ("cancelAllStatus", None, None, 8),
    ]
    assert (venue.commands, dict(client.subscriptions)) == (1, {})


def test_lose_answer_carries_out_and_says_nothing() -> None:
    venue, client, said = ask(
        {"fault": "lose_answer", "method": "cancelAll"}, CANCEL, {"event": "ping"}, private=True
    )
    assert (venue.commands, said) == (1, [{"event": "pong"}])
    assert client.line is not None
    assert client.line.end is None


def test_accept_then_cut_carries_out_and_ends_before_anything_is_said() -> None:
    venue, client, _ = ask({"fault": "accept_then_cut", "method": "cancelAll"}, CANCEL, private=True)
    assert venue.commands == 1
    line = client.line
    assert line is not None
    assert line.end is not None
    assert line.end.code == 1006
    assert line.outgoing([b"late"], 0.0) == []


def test_a_rest_call_is_struck_only_by_name() -> None:
    bench = Bench({"fault": "no_ack"}, {"fault": "exceeded_rate", "method": "Balance"})
    assert bench.plan.called("AddOrder", 0.0) is None
    struck = bench.plan.called("Balance", 0.0)
    assert struck is not None
    assert struck.name == "exceeded_rate"
    assert bench.plan.called("Balance", 0.0) is None


# -- pages and the venue


def test_a_page_stands_before_an_upgrade_or_a_path() -> None:
    bench = Bench(
        {"fault": "http_status", "status": 429}, {"fault": "http_status", "status": 520, "path": "/0/private"}
    )
    assert bench.plan.page("/0/public/Time", 0.0, upgrade=False) is None
    page = bench.plan.page("/auth", 0.0, upgrade=True)
    assert page is not None
    assert (page.status, page.reason) == (429, "Too Many Requests")
    assert b"<title>api.kraken.com | 429: Too Many Requests</title>" in page.body
    assert bench.plan.page("/auth", 0.0, upgrade=True) is None
    page = bench.plan.page("/0/private/Balance", 0.0, upgrade=False)
    assert page is not None
    assert page.status == 520


def test_a_system_status_lasts_or_walks() -> None:
    walk = ["maintenance", "cancel_only", "post_only", "online"]
    bench = Bench({"fault": "system_status", "status": walk, "for_s": 2, "after_s": 1})
    assert bench.plan.system_status(0.9) is None
    assert [bench.plan.system_status(now) for now in (1.0, 3.0, 5.0, 7.0)] == [*walk[:3], None]
    deadlines = []
    while (deadline := bench.plan.next_deadline()) is not None:
        deadlines.append(deadline)
        bench.plan.on_deadline(deadline)
    assert deadlines == [1.0, 3.0, 5.0, 7.0]
    assert not bench.plan.active
    staying = Bench({"fault": "system_status", "status": walk[:2]})
    assert [staying.plan.system_status(now) for now in (0.0, 5.0, 99.0)] == ["maintenance", *walk[1:2] * 2]
    lasting = Bench({"fault": "system_status", "status": "post_only", "for_s": 3})
    assert [lasting.plan.system_status(now) for now in (0.0, 2.9, 3.0)] == ["post_only", "post_only", None]
    assert lasting.plan.next_deadline() == 3.0
    lasting.plan.on_deadline(3.0)
    assert not lasting.plan.active


def test_a_venue_takes_its_status_from_the_plan_and_back() -> None:
    venue = Quiet({"fault": "system_status", "status": "cancel_only"})
    venue.suffer(venue.plan, 0.0)
    assert venue.status == "cancel_only"
    venue.plan.clear()
    venue.suffer(venue.plan, 0.0)
    assert venue.status == "online"


def test_rest_lags_until_it_is_over() -> None:
    bench = Bench({"fault": "rest_lag", "lag_s": 30, "for_s": 10})
    assert [bench.plan.rest_lag_s(now) for now in (0.0, 9.9, 10.0)] == [30.0, 30.0, 0.0]


def test_what_befalls_the_venue_does_so_once() -> None:
    bench = Bench(
        {"fault": "expire_tokens"},
        {"fault": "change_precision", "symbol": "XBT/USD", "decimals": 0, "after_s": 1},
    )
    assert [rule.name for rule in bench.plan.befalls(0.0)] == ["expire_tokens"]
    (rule,) = bench.plan.befalls(1.0)
    assert (rule.name, rule.symbol, rule.options) == ("change_precision", "XBT/USD", {"decimals": 0})
    assert bench.plan.befalls(2.0) == []


# -- rules that make no sense


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        ({}, "fault None is not known: it is one of drop, duplicate"),
        ({"fault": ["drop"]}, r"fault \['drop'\] is not known"),
        ({"fault": "lightning"}, "fault 'lightning' is not known"),
        (
            {"fault": "drop", "feed": "book"},
            "fault drop has no field 'feed': it takes after_s, channel, ",
        ),
        ({"fault": "drop", "method": "addOrder"}, "fault drop has no field 'method'"),
        ({"fault": "drop", "channel": 7}, "fault drop: channel must be a channel such as book or book-10"),
        ({"fault": "drop", "channel": "bok"}, "fault drop: channel must be a channel such as book"),
        ({"fault": "drop", "channel": "book-ten"}, "fault drop: channel must be a channel such as book"),
        (
            {"fault": "drop", "symbol": "BTC/USD"},
            "fault drop: there is no symbol 'BTC/USD' here; did you mean XBT/USD?",
        ),
        (
            {"fault": "no_ack", "method": "addorder"},
            "fault no_ack: there is no method 'addorder' here; did you mean",
        ),
        ({"fault": "drop", "times": 0}, "fault drop: times must be a whole number from 1"),
        ({"fault": "drop", "times": True}, "fault drop: times must be"),
        ({"fault": "drop", "probability": 0}, "fault drop: probability must be a number above 0, 1 at most"),
        ({"fault": "drop", "probability": 1.5}, "fault drop: probability must be"),
        ({"fault": "drop", "after_s": -1}, "fault drop: after_s must be a number of seconds"),
        ({"fault": "drop", "after_s": "1"}, "fault drop: after_s must be a number of seconds"),
        (
            {"fault": "drop", "connection": 0},
            'fault drop: connection must be the number of a connection, from 1, or "all"',
        ),
        ({"fault": "close", "code": 1005}, "fault close: code must be a close code such as 1001"),
        ({"fault": "close", "code": 999}, "fault close: code must be a close code such as 1001"),
        ({"fault": "close", "code": 1010}, "fault close: code must be a close code such as 1001"),
        (
            {"fault": "close", "reason": "é" * 62},
            "fault close: reason must be some text, 123 bytes of UTF-8 at most",
        ),
        ({"fault": "not_json", "text": "\ud800"}, "fault not_json: text must be some text that UTF-8 can"),
        ({"fault": "drop", "channel": "\ud800"}, "fault drop: channel must be a channel"),
        ({"fault": "truncate", "then": "go"}, "fault truncate: then must be close, reset or freeze"),
        ({"fault": "refuse"}, "fault refuse needs error: one of Kraken's error strings"),
        ({"fault": "refuse", "error": "EService:busy"}, "fault refuse: error must be one of Kraken's"),
        ({"fault": "http_status"}, "fault http_status needs status: an HTTP status such as 403, 429 or 520"),
        ({"fault": "http_status", "status": 200}, "fault http_status: status must be an HTTP status"),
        (
            {"fault": "http_status", "status": 520, "connection": 1},
            "fault http_status has no field 'connection'",
        ),
        ({"fault": "system_status", "status": []}, "fault system_status: status must be one of online, "),
        ({"fault": "system_status", "status": "down"}, "fault system_status: status must be one of online, "),
        (
            {"fault": "system_status", "status": "online", "times": 1},
            "fault system_status has no field 'times'",
        ),
        ({"fault": "rest_lag"}, "fault rest_lag needs lag_s: a number of seconds"),
        ({"fault": "change_precision", "decimals": -1}, "decimals must be a whole number up to 15"),
        ({"fault": "expire_tokens", "probability": 1}, "fault expire_tokens has no field 'probability'"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_with_what_it_takes(
    spec: dict[str, object], error: str
) -> None:
    plan = FaultPlan(lambda: 0.0, symbols={"XBT/USD"}, methods={"addOrder"})
    with pytest.raises(UsageError, match=error):
        plan.add([{"fault": "drop"}, spec], 0.0)
    assert (plan.rules(), plan.active) == ([], False)


def test_a_close_reason_may_fill_its_frame() -> None:
    assert parse_faults(f'{{"fault":"close","reason":"{"x" * 123}"}}')[0]["reason"] == "x" * 123


def test_rules_are_read_from_one_object_or_a_list() -> None:
    assert parse_faults('{"fault":"drop"}') == [{"fault": "drop"}]
    assert parse_faults(b'[{"fault":"drop"},{"fault":"mute"}]') == [{"fault": "drop"}, {"fault": "mute"}]


@pytest.mark.parametrize(
    "text", ["", "drop", "7", "[7]", b"\xff", "[" * 5000, '{"fault":"drop","after_s":NaN}']
)
def test_text_that_is_no_list_of_rules_is_refused(text: str | bytes) -> None:
    with pytest.raises(UsageError):
        parse_faults(text)
