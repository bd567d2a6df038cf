"""A client's conversation as the exchange leads it, without a socket or a clock."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from krakenws.exchange.protocol import ServerProtocol, Subscription, Venue
from krakenws.exchange.requests import Refusal

if TYPE_CHECKING:
    from krakenws.core.catalog import Entry, Values

PAIRS = {"XBT/USD": 336, "ETH/EUR": 864}


class StubVenue(Venue):
    """Two pairs, one token, and a memory of what was asked."""

    def __init__(self) -> None:
        self.begun: list[Subscription] = []
        self.ended: list[Subscription] = []
        self.commands: list[tuple[str, str, Values]] = []
        self.answers: list[dict[str, Any]] = [{"status": "ok"}]
        self.delays_s: dict[str, float] = {}

    def authorize(self, token: str) -> str:
        if token != "good":
            raise Refusal("ESession:Invalid session")
        return "account"

    def subscribe(self, subscription: Subscription, _now: float, /) -> int | None:
        if subscription.symbol and subscription.symbol not in PAIRS:
            raise Refusal(f"Currency pair not supported {subscription.symbol}")
        return PAIRS.get(subscription.symbol)

    def delay_s(self, subscription: Subscription, /) -> float:
        return self.delays_s.get(subscription.symbol, 0.0)

    def begin(self, subscription: Subscription, _now: float, /) -> None:
        self.begun.append(subscription)
        subscription.client.publish(b"data of " + subscription.symbol.encode())

    def unsubscribe(self, subscription: Subscription, _now: float, /) -> None:
        self.ended.append(subscription)

    def command(self, account: str, entry: Entry, values: Values, _now: float, /) -> list[dict[str, Any]]:
        self.commands.append((account, entry.name, values))
        return self.answers


class Conversation:
    """A protocol with its venue; `say` sends a request and gives the answers."""

    def __init__(self, *, private: bool = False) -> None:
        self.venue = StubVenue()
        self.protocol = ServerProtocol(self.venue, private=private, connection_id=(1 << 64) - 1, now=0.0)
        self.greeting = self.protocol.frames_to_send()

    def say(self, message: object, now: float = 1.0) -> list[bytes]:
        self.protocol.receive(message if isinstance(message, bytes) else json.dumps(message).encode(), now)
        return self.protocol.frames_to_send()

    def error(self, message: object) -> str:
        answers = [json.loads(frame) for frame in self.say(message)]
        assert len(answers) == 1
        return str(answers[0]["errorMessage"])

    def tick(self, now: float) -> list[bytes]:
        self.protocol.on_deadline(now)
        return self.protocol.frames_to_send()


def subscribe(name: str = "ticker", pair: object = ("XBT/USD",), **fields: object) -> dict[str, Any]:
    subscription = {"name": name, **fields}
    message = {"event": "subscribe", "pair": pair, "subscription": subscription}
    return message if pair is not None else {"event": "subscribe", "subscription": subscription}


def test_the_system_status_greets_with_a_64_bit_connection_id() -> None:
    assert Conversation().greeting == [
        b'{"connectionID":18446744073709551615,"event":"systemStatus","status":"online","version":"1.9.2"}'
    ]


@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        ({"event": "ping"}, b'{"event":"pong"}'),
        ({"event": "ping", "reqid": 42}, b'{"event":"pong","reqid":42}'),
        ({"event": "ping", "reqid": 0}, b'{"event":"pong","reqid":0}'),
    ],
)
def test_a_ping_is_answered_with_its_reqid_if_it_had_one(request_: object, answer: bytes) -> None:
    assert Conversation().say(request_) == [answer]


def test_each_pair_is_answered_in_order_with_defaults_filled_in_and_data_comes_last() -> None:
    talk = Conversation()
    request = {**subscribe("book", ["ETH/EUR", "NOPE/USD", "XBT/USD"]), "reqid": 7}
    assert talk.say(request) == [
        (
            b'{"channelID":864,"channelName":"book-10","event":"subscriptionStatus","pair":"ETH/EUR","reqid":7,'
            b'"status":"subscribed","subscription":{"depth":10,"name":"book"}}'
        ),
        (
            b'{"errorMessage":"Currency pair not supported NOPE/USD","event":"subscriptionStatus",'
            b'"pair":"NOPE/USD","reqid":7,"status":"error","subscription":{"name":"book"}}'
        ),
        (
            b'{"channelID":336,"channelName":"book-10","event":"subscriptionStatus","pair":"XBT/USD","reqid":7,'
            b'"status":"subscribed","subscription":{"depth":10,"name":"book"}}'
        ),
        b"data of ETH/EUR",
        b"data of XBT/USD",
    ]


def test_two_depths_of_one_pair_are_two_subscriptions() -> None:
    talk = Conversation()
    talk.say(subscribe("book", depth=10))
    assert b'"channelName":"book-25"' in talk.say(subscribe("book", depth=25))[0]
    assert talk.error(subscribe("book", depth=25)) == "Already subscribed"


def test_a_pair_named_twice_in_one_request_is_subscribed_once() -> None:
    answers = Conversation().say(subscribe(pair=["XBT/USD", "XBT/USD"]))
    assert b'"subscribed"' in answers[0]
    assert b'"Already subscribed"' in answers[1]
    assert answers[2:] == [b"data of XBT/USD"]


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (subscribe("book", depth=42), "Subscription depth not supported"),
        (subscribe("book", depth="10"), "Subscription book depth must be an integer"),
        (subscribe("ohlc", interval=2), "Subscription ohlc interval not supported"),
        (subscribe("ohlc", interval=True), "Subscription ohlc interval must be an integer"),
        (subscribe("ohlc", interval=None), "Subscription ohlc requires interval"),
        (subscribe("trade", depth=10), "Unsupported field: 'depth' for the given msg type: subscribe"),
        (subscribe(pair=["XBTUSD"]), "Currency pair not in ISO 4217-A3 format XBTUSD"),
        (subscribe(pair=["XBT/USD/EUR"]), "Currency pair not in ISO 4217-A3 format XBT/USD/EUR"),
        (subscribe(pair=["XBT/USDZZ"]), "Currency pair not supported XBT/USDZZ"),
        (subscribe(pair=[7]), "Malformed request"),
        (subscribe(pair=[]), "Pair(s) not found"),
        (subscribe(pair=None), "Pair(s) not found"),
        (subscribe(pair="XBT/USD"), "Pair field must be an array"),
        (subscribe("tickr"), "Subscription name invalid"),
        (subscribe("balances"), "Subscription name invalid"),
        ({"event": "subscribe", "subscription": {"depth": 10}}, "Malformed request"),
        ({"event": "subscribe", "subscription": "book"}, "Subscription field must be an object"),
        ({**subscribe(), "event": "unsubscribe"}, "Subscription Not Found"),
        (
            subscribe("openOrders", None, token="good"),
            "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
        ),
        (
            {"event": "cancelAll", "token": "good"},
            "Private data and trading are unavailable on this endpoint. Try ws-auth.kraken.com",
        ),
        ({"event": "dance"}, "Unsupported event"),
        ({"event": ["ping"]}, "Event(s) not found"),
        ({"ping": 1}, "Event(s) not found"),
        (
            {"event": "ping", "reqid": "7"},
            "Reqid field must be a positive integer less than 18446744073709551616",
        ),
        (b"{", "Malformed request"),
        (b"[1]", "Malformed request"),
        (b"\xff", "Malformed request"),
        (b"[" * 5000, "Malformed request"),
    ],
)
def test_what_is_wrong_on_the_public_endpoint_is_said_in_krakens_words(request_: object, error: str) -> None:
    assert Conversation().error(request_) == error


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        (subscribe("openOrders", None), "Token(s) not found"),
        (subscribe("openOrders", None, token=7), "Token field must be a string"),
        (subscribe("openOrders", None, token="bad"), "ESession:Invalid session"),
        (
            subscribe("openOrders", ["XBT/USD"], token="good"),
            "Pair field unsupported for this subscription type",
        ),
        (subscribe("ticker"), "Public channels not available in this endpoint"),
        (subscribe("ownTrades", None, token="good", snapshot=3), "Subscription snapshot must be a boolean"),
        ({"event": "cancelAll", "token": "bad"}, "ESession:Invalid session"),
        (
            {"event": "addOrder", "refid": "X"},
            "Unsupported field: 'refid' for the given msg type: add order",
        ),
        ({"event": "cancelAllOrdersAfter", "timeout": "60"}, "Timeout field must be an integer"),
        ({"event": "cancelAllOrdersAfter"}, "EGeneral:Invalid arguments:timeout"),
        ({"event": "cancelOrder", "txid": "O1"}, "Txid field must be an array"),
        ({"event": "cancelOrder", "txid": []}, "EGeneral:Invalid arguments:txid"),
        ({"event": "addOrder", "volume": "1e5"}, "EGeneral:Invalid arguments:volume"),
        ({"event": "addOrder", "oflags": "post,free"}, "EGeneral:Invalid arguments:oflags"),
    ],
)
def test_what_is_wrong_on_the_private_endpoint_is_said_in_krakens_words(request_: object, error: str) -> None:
    assert Conversation(private=True).error(request_) == error


def test_a_request_that_is_wrong_as_a_whole_is_refused_for_each_pair() -> None:
    answers = Conversation().say(subscribe("book", ["XBT/USD", "ETH/EUR"], depth=42))
    assert answers == [
        b'{"errorMessage":"Subscription depth not supported","event":"subscriptionStatus",'
        b'"pair":"%b","status":"error","subscription":{"depth":42,"name":"book"}}' % pair
        for pair in (b"XBT/USD", b"ETH/EUR")
    ]


def test_invalid_json_is_answered_with_an_error_event() -> None:
    assert Conversation().say(b"no json") == [b'{"errorMessage":"Malformed request","event":"error"}']


def test_deeply_nested_fields_are_not_echoed() -> None:
    deep = "[" * 900 + "]" * 900
    request = f'{{"event":"subscribe","pair":[{deep}],"subscription":{{"name":"x","y":{deep}}}}}'
    assert Conversation().error(request.encode()) == "Subscription name invalid"


def test_a_private_ack_has_no_pair_and_no_id_and_never_the_token() -> None:
    talk = Conversation(private=True)
    request = {**subscribe("openOrders", None, token="good", ratecounter="true"), "reqid": 1}
    assert talk.say(request)[0] == (
        b'{"channelName":"openOrders","event":"subscriptionStatus","reqid":1,"status":"subscribed",'
        b'"subscription":{"maxratecount":125,"name":"openOrders"}}'
    )
    assert talk.venue.begun[0].account == "account"
    assert talk.venue.begun[0].values == {"ratecounter": True, "rebased": True}


def test_private_frames_are_numbered_for_each_subscription() -> None:
    talk = Conversation(private=True)
    talk.say(subscribe("openOrders", None, token="good"))
    talk.say(subscribe("ownTrades", None, token="good"))
    orders, trades = talk.venue.begun
    orders.publish(b"[]")
    orders.publish(b"[{}]")
    trades.publish(b"[]")
    assert talk.protocol.frames_to_send() == [
        b'[[],"openOrders",{"sequence":1}]',
        b'[[{}],"openOrders",{"sequence":2}]',
        b'[[],"ownTrades",{"sequence":1}]',
    ]


def test_a_star_subscribes_every_channel_of_the_endpoint() -> None:
    answers = [json.loads(frame) for frame in Conversation().say(subscribe("*")) if frame[:1] == b"{"]
    assert [answer["channelName"] for answer in answers] == ["ticker", "book-10", "spread", "ohlc-1", "trade"]


def test_unsubscribing_ends_the_data_of_that_pair_alone() -> None:
    talk = Conversation()
    talk.say(subscribe("book", ["XBT/USD", "ETH/EUR"], depth=25))
    request = {**subscribe("book", depth=25), "event": "unsubscribe", "reqid": 2}
    assert talk.say(request) == [
        (
            b'{"channelID":336,"channelName":"book-25","event":"subscriptionStatus","pair":"XBT/USD","reqid":2,'
            b'"status":"unsubscribed","subscription":{"depth":25,"name":"book"}}'
        )
    ]
    assert [ended.symbol for ended in talk.venue.ended] == ["XBT/USD"]
    assert list(talk.protocol.subscriptions) == [("book-25", "ETH/EUR")]


def test_a_channel_id_unsubscribes_every_depth_that_shares_it_and_nothing_else() -> None:
    talk = Conversation()
    talk.say(subscribe("book", ["XBT/USD", "ETH/EUR"], depth=25))
    talk.say(subscribe("book", depth=10))
    answers = [json.loads(f) for f in talk.say({"event": "unsubscribe", "channelID": 336, "reqid": 9})]
    assert [(a["channelID"], a["channelName"], a["pair"], a["reqid"], a["status"]) for a in answers] == [
        (336, "book-25", "XBT/USD", 9, "unsubscribed"),
        (336, "book-10", "XBT/USD", 9, "unsubscribed"),
    ]
    assert list(talk.protocol.subscriptions) == [("book-25", "ETH/EUR")]
    for channel_id, error in ((336, "Subscription Not Found"), ("864", "Malformed request")):
        assert talk.error({"event": "unsubscribe", "channelID": channel_id}) == error


def test_a_null_is_a_field_that_was_not_given() -> None:
    talk = Conversation()
    assert talk.say({"event": "ping", "reqid": None}) == [b'{"event":"pong"}']
    ack = json.loads(talk.say({**subscribe("book", depth=None, interval=None), "reqid": None})[0])
    assert (ack["channelName"], "reqid" in ack) == ("book-10", False)
    talk = Conversation(private=True)
    request = {**subscribe("ownTrades", None, token="good", snapshot=None), "pair": None}
    assert json.loads(talk.say(request)[0])["status"] == "subscribed"
    order = {"pair": "XBT/USD", "type": "buy", "ordertype": "market", "volume": "1"}
    talk.say({"event": "addOrder", "token": "good", **order, "price": None, "userref": None, "reqid": None})
    assert talk.venue.commands == [("account", "addOrder", order)]


def test_data_that_is_delayed_comes_at_its_time_while_other_data_go_on() -> None:
    talk = Conversation()
    talk.venue.delays_s = {"XBT/USD": 0.75, "ETH/EUR": 0.25}
    assert len(talk.say(subscribe("trade", ["XBT/USD", "ETH/EUR"]), now=1.0)) == 2
    assert talk.protocol.next_deadline() == 1.25
    assert talk.tick(1.25) == [b"data of ETH/EUR"]
    assert talk.protocol.next_deadline() == 1.75
    assert talk.tick(2.5) == [b"data of XBT/USD", b'{"event":"heartbeat"}']
    assert talk.tick(3.0) == [b'{"event":"heartbeat"}']


def test_delayed_data_of_who_left_or_is_gone_are_never_sent() -> None:
    talk = Conversation()
    talk.venue.delays_s = {"XBT/USD": 0.5, "ETH/EUR": 0.5}
    talk.say(subscribe("trade", ["XBT/USD", "ETH/EUR"]), now=1.0)
    talk.say({**subscribe("trade"), "event": "unsubscribe"}, now=1.1)
    talk.protocol.forsake(1.2)
    assert talk.tick(1.5) == []


def test_heartbeats_come_each_second_once_subscribed_whatever_else_is_sent() -> None:
    talk = Conversation()
    assert talk.tick(30.0) == []
    talk.say(subscribe(), now=30.5)
    assert talk.protocol.next_deadline() == 31.5
    talk.protocol.publish(b"data")
    assert talk.tick(31.4) == [b"data"]
    assert talk.tick(31.5) == [b'{"event":"heartbeat"}']
    assert talk.tick(32.6) == [b'{"event":"heartbeat"}']
    assert talk.protocol.next_deadline() == 33.5


def test_heartbeats_missed_by_a_sleeping_machine_are_not_made_up_for() -> None:
    talk = Conversation()
    talk.say(subscribe(), now=0.0)
    assert talk.tick(500.0) == [b'{"event":"heartbeat"}']
    assert talk.protocol.next_deadline() == 500.0 + 1.0


def test_an_idle_connection_is_closed_after_a_minute_without_a_request() -> None:
    talk = Conversation()
    talk.say({"event": "ping"}, now=59.0)
    talk.tick(60.0)
    assert talk.protocol.close is None
    assert talk.tick(119.0) == []
    assert talk.protocol.close is not None


def test_a_lost_client_leaves_every_subscription() -> None:
    talk = Conversation()
    talk.say(subscribe("book", ["XBT/USD", "ETH/EUR"]))
    talk.protocol.closed(2.0)
    assert {ended.symbol for ended in talk.venue.ended} == {"XBT/USD", "ETH/EUR"}
    assert not talk.protocol.subscriptions


def test_a_command_reaches_the_venue_without_its_token_and_each_answer_carries_the_reqid() -> None:
    talk = Conversation(private=True)
    talk.venue.answers = [{"status": "ok"}, {"errorMessage": "EOrder:Unknown order", "status": "error"}]
    request = {"event": "cancelOrder", "token": "good", "txid": ["O1", "7"], "reqid": 9}
    assert talk.say(request) == [
        b'{"event":"cancelOrderStatus","reqid":9,"status":"ok"}',
        b'{"errorMessage":"EOrder:Unknown order","event":"cancelOrderStatus","reqid":9,"status":"error"}',
    ]
    assert talk.venue.commands == [("account", "cancelOrder", {"txid": ["O1", "7"]})]


@pytest.mark.parametrize(
    ("event", "fields", "field"),
    [
        ("addOrder", {"ordertype": "market", "volume": "0"}, "volume"),
        ("addOrder", {"ordertype": "market", "price": "1"}, "price"),
        ("addOrder", {"ordertype": "market", "oflags": "post"}, "oflags"),
        ("addOrder", {"ordertype": "limit", "price": "1", "oflags": "viqc"}, "oflags"),
        ("addOrder", {"ordertype": "market", "oflags": "fcib,fciq"}, "oflags"),
        ("addOrder", {"ordertype": "market", "timeinforce": "GTD"}, "expiretm"),
        ("addOrder", {"ordertype": "market", "userref": "1", "cl_ord_id": "a"}, "cl_ord_id"),
        ("addOrder", {"ordertype": "limit"}, "price"),
        ("addOrder", {"ordertype": "stop-loss-limit", "price": "1"}, "price2"),
        ("addOrder", {"ordertype": "limit", "price": "1", "price2": "1"}, "price2"),
        ("addOrder", {"ordertype": "trailing-stop", "price": "1"}, "price"),
        ("addOrder", {"ordertype": "market", "close[price]": "1"}, "close[ordertype]"),
        ("addOrder", {"ordertype": "market", "close[ordertype]": "limit"}, "close[price]"),
        ("amendOrder", {"volume": "1"}, "txid"),
        ("amendOrder", {"txid": "O1"}, "volume"),
        ("editOrder", {"orderid": "O1", "pair": "XBT/USD"}, "volume"),
        ("cancelOrder", {}, "txid"),
        ("cancelOrder", {"txid": ["O1"], "cl_ord_id": ["a"]}, "cl_ord_id"),
        ("cancelAllOrdersAfter", {"timeout": 86400}, "timeout"),
    ],
)
def test_the_field_that_is_named_is_the_one_that_the_broken_rule_is_about(
    event: str, fields: dict[str, object], field: str
) -> None:
    order = {"pair": "XBT/USD", "type": "buy", "volume": "1"} if event == "addOrder" else {}
    error = Conversation(private=True).error({"event": event, "token": "good", **order, **fields})
    assert error == f"EGeneral:Invalid arguments:{field}"


@pytest.mark.parametrize("said", [True, "true"])
def test_a_boolean_may_come_as_text(said: object) -> None:
    talk = Conversation(private=True)
    edit = {"event": "editOrder", "orderid": "O1", "pair": "XBT/USD", "volume": "1", "validate": said}
    talk.say({**edit, "token": "good"})
    assert talk.venue.commands[0][2]["validate"] is True
    assert talk.error({**edit, "validate": "maybe"}) == "Validate field must be a boolean"


def test_the_catalogs_own_rules_are_the_exchanges_check() -> None:
    talk = Conversation(private=True)
    order = {"event": "addOrder", "token": "good", "pair": "XBT/USD", "type": "buy", "volume": "1"}
    error = talk.error({**order, "ordertype": "limit"})
    assert error == "EGeneral:Invalid arguments:price"
    talk.say({**order, "ordertype": "limit", "price": "64000", "oflags": "post,fciq"})
    assert talk.venue.commands[0][1] == "addOrder"


def test_a_bad_reqid_of_a_command_comes_back_as_null() -> None:
    talk = Conversation(private=True)
    answer = json.loads(talk.say({"event": "cancelAll", "token": "good", "reqid": -1})[0])
    assert answer["reqid"] is None
    assert answer["event"] == "cancelAllStatus"
    assert talk.venue.commands == []


_WORDS = ["XBT/USD", "good", "*", "ticker", "book", "openOrders", "/", "limit", "true", "1"]
_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(_WORDS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "depth", "interval", "token", "snapshot"]), inner)
    ),
    max_leaves=6,
)
_FIELDS = [
    "pair",
    "subscription",
    "token",
    "reqid",
    "txid",
    "volume",
    "price",
    "timeout",
    "oflags",
    "userref",
]
_EVENTS = ["subscribe", "unsubscribe", "ping", "addOrder", "cancelOrder", "editOrder", "cancelAllOrdersAfter"]
_REQUESTS = st.builds(
    lambda fields, event: {**fields, "event": event},
    st.dictionaries(st.sampled_from(_FIELDS), _VALUES),
    st.sampled_from(_EVENTS),
)


@given(message=_REQUESTS | _VALUES, private=st.booleans())
def test_whatever_json_a_client_sends_it_is_answered(message: object, private: bool) -> None:
    answers = [frame for frame in Conversation(private=private).say(message) if frame[:1] == b"{"]
    assert answers
    assert all(isinstance(json.loads(frame)["event"], str) for frame in answers)


def test_an_empty_field_of_an_order_means_that_it_is_not_given() -> None:
    client = Conversation(private=True)
    client.venue.answers = [{"status": "ok"}]
    order = {"pair": "XBT/USD", "type": "buy", "ordertype": "market", "volume": "1"}
    client.say({"event": "addOrder", "token": "good", **order, "price": "", "userref": "", "oflags": ""})
    ((_, _, values),) = client.venue.commands
    assert values == {**order, "oflags": ""}
    assert client.error({"event": "addOrder", "token": "good", **order, "volume": ""}).endswith("volume")
