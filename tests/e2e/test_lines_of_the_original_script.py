"""Every line of the original script, as `krakenws …` and as `./krakenws.py …`: what goes on the wire."""

from __future__ import annotations

import json
from shlex import split
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.conftest import TOKEN
from tests.support.scripts import (
    OHLC,
    OPEN_ORDERS,
    OWN_TRADES,
    SPREAD,
    TICKER,
    TRADE,
    Ladder,
    accepts,
    pongs,
    streams,
)
from tests.support.server import GREETING, Connection, acks, exchange

if TYPE_CHECKING:
    from tests.support.command import Command

PUBLIC: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "ticker XBT/USD ETH/EUR XDG/XBT": ({"name": "ticker"}, ["XBT/USD", "ETH/EUR", "XDG/XBT"], TICKER),
    "ohlc LTC/EUR XBT/USD 60": ({"name": "ohlc", "interval": 60}, ["LTC/EUR", "XBT/USD"], OHLC),
    "trade XBT/USD": ({"name": "trade"}, ["XBT/USD"], TRADE),
    "book ETH/USD 10": ({"name": "book", "depth": 10}, ["ETH/USD"], Ladder("ETH/USD").snapshot()),
    "spread XBT/USD XBT/EUR": ({"name": "spread"}, ["XBT/USD", "XBT/EUR"], SPREAD),
}
PRIVATE: dict[str, tuple[dict[str, Any], str]] = {
    "openOrders": ({"name": "openOrders"}, OPEN_ORDERS),
    "openOrders ratecounter=true": ({"name": "openOrders", "ratecounter": True}, OPEN_ORDERS),
    "ownTrades snapshot=false": ({"name": "ownTrades", "snapshot": False}, OWN_TRADES),
}
TRADING: dict[str, dict[str, Any]] = {
    "addOrder pair=XBT/USD type=buy ordertype=market volume=0.002 leverage=5": {
        "event": "addOrder",
        "pair": "XBT/USD",
        "type": "buy",
        "ordertype": "market",
        "volume": "0.002",
        "leverage": "5",
    },
    "addOrder pair=XBT/EUR type=sell ordertype=limit price=7500 volume=0.125": {
        "event": "addOrder",
        "pair": "XBT/EUR",
        "type": "sell",
        "ordertype": "limit",
        "price": "7500",
        "volume": "0.125",
    },
    "editOrder orderid=OGTT3Y-C6I3P-XRI6HX pair=XBT/USD price=9000 volume=0.2": {
        "event": "editOrder",
        "orderid": "OGTT3Y-C6I3P-XRI6HX",
        "pair": "XBT/USD",
        "price": "9000",
        "volume": "0.2",
    },
    "cancelAll": {"event": "cancelAll"},
    "cancelAllOrdersAfter timeout=60": {"event": "cancelAllOrdersAfter", "timeout": 60},
}
OUR_OWN = {"cl_ord_id", "userref", "newuserref"}
"""What an order gets, so that it can be found."""
BOTH = pytest.mark.parametrize("program", ["krakenws", "krakenws.py"])


def same(sent: object, meant: object) -> bool:
    """Whether two JSON values are equal in type as well: 1 is not true, and "5" is not 5."""
    return json.dumps(sent, sort_keys=True) == json.dumps(meant, sort_keys=True)


@BOTH
@pytest.mark.parametrize("line", PUBLIC)
def test_a_public_line_subscribes_to_exactly_what_it_names(
    krakenws: Command, program: str, line: str
) -> None:
    subscription, pairs, frame = PUBLIC[line]

    with exchange(streams(frame)) as server:
        result = krakenws.called(program).run(*line.split(), "--count", "1", *server.options)
    assert result.code == 0, result.err
    (message,) = server.messages()
    assert same(message, {"event": "subscribe", "pair": pairs, "subscription": subscription})
    assert frame in result.out if program == "krakenws.py" else result.stream[-1]["event"] == "update"


@BOTH
@pytest.mark.parametrize("line", PRIVATE)
def test_a_private_line_subscribes_with_the_token(trader: Command, program: str, line: str) -> None:
    subscription, frame = PRIVATE[line]

    with exchange(private=streams(frame)) as server:
        result = trader.called(program).run(*line.split(), "--count", "1", *server.options)
    assert result.code == 0, result.err
    meant = {"event": "subscribe", "subscription": {**subscription, "token": TOKEN}}
    (message,) = server.messages("/auth")
    assert same(message, meant)


@BOTH
@pytest.mark.parametrize("line", TRADING)
def test_a_trading_line_sends_its_request_with_a_number_of_ours(
    trader: Command, program: str, line: str
) -> None:
    with exchange(private=accepts) as server:
        result = trader.called(program).run(*line.split(), *server.options)
    assert result.code == 0, result.err
    (message,) = server.messages("/auth")
    number = message.pop("reqid")
    assert type(number) is int
    own = [message.pop(name) for name in OUR_OWN & message.keys()]
    assert len(own) == (1 if "volume" in message else 0)
    assert same(message, {**TRADING[line], "token": TOKEN})


@BOTH
def test_a_cancel_of_two_orders_is_sent_as_two_requests(trader: Command, program: str) -> None:
    """v1 answers once an order and names none (quirk O5)."""
    with exchange(private=accepts) as server:
        line = "cancelOrder txid=OADMSD-7AGC3-IMB46A,OD6VRE-HCSPM-CKORER"
        result = trader.called(program).run(*line.split(), *server.options)
    assert result.code == 0, result.err
    first, second = server.messages("/auth")
    assert first["txid"] == ["OADMSD-7AGC3-IMB46A"]
    assert second["txid"] == ["OD6VRE-HCSPM-CKORER"]
    assert first["reqid"] != second["reqid"]


@BOTH
@pytest.mark.parametrize("words", ["ping", ""])
def test_ping_is_also_what_no_words_mean(krakenws: Command, program: str, words: str) -> None:
    with exchange(pongs) as server:
        result = krakenws.called(program).run(*words.split(), *server.options)
    assert result.code == 0, result.err
    assert server.messages() == [{"event": "ping"}]


@BOTH
def test_balances_are_asked_for_on_v2_and_a_note_says_so(trader: Command, program: str) -> None:
    def script(client: Connection) -> None:
        client.send(
            '{"channel":"status","type":"update","data":[{"version":"2.0.10","system":"online",'
            '"api_version":"v2","connection_id":12645034490047367999}]}'
        )
        asked = client.expect(method="subscribe")
        params = {name: value for name, value in asked["params"].items() if name != "token"}
        client.send(
            {
                "method": "subscribe",
                "success": True,
                "result": params,
                "time_in": "2026-11-22T05:10:23.101000Z",
                "time_out": "2026-11-22T05:10:23.101001Z",
            }
        )
        client.send(
            '{"channel":"balances","type":"snapshot","data":[{"asset":"BTC","asset_class":"currency",'
            '"balance":1.20000000,"wallets":[{"type":"spot","id":"main","balance":1.20000000}]}],"sequence":1}'
        )
        client.hold()

    with exchange(auth_v2=script) as server:
        result = trader.called(program).run("balances", "--count", "1", *server.options)
        asked_for = trader.called(program).run("balances", "--api", "2", "--count", "1", *server.options)
    assert (asked_for.code, asked_for.err) == (0, ""), "who says v2 need not be told"
    assert result.code == 0, result.err
    assert (
        server.messages("/auth/v2")
        == [{"method": "subscribe", "params": {"channel": "balances", "token": TOKEN}}] * 2
    )
    assert "v2" in result.err
    assert TOKEN not in result.out + result.err


@BOTH
def test_balances_on_v1_are_sent_as_the_original_script_sends_them(trader: Command, program: str) -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="subscribe")
        client.send(
            {
                "errorMessage": "Subscription name invalid",
                "event": "subscriptionStatus",
                "status": "error",
                "subscription": asked["subscription"],
            }
        )
        client.hold()

    with exchange(private=script) as server:
        result = trader.called(program).run("balances", "--api", "1", *server.options)
    assert server.messages("/auth") == [
        {"event": "subscribe", "subscription": {"name": "balances", "token": TOKEN}}
    ]
    assert result.code == (5 if program == "krakenws" else 1)
    assert "Subscription name invalid" in result.err


@pytest.mark.parametrize(
    ("line", "subscription"),
    [
        ("book XBT/USD", {"name": "book", "depth": 10}),
        ("book XBT/USD 1000", {"name": "book", "depth": 1000}),
        ("book xbt/usd --depth 25", {"name": "book", "depth": 25}),
        ("BOOK btc/usd depth=100", {"name": "book", "depth": 100}),
        ("ohlc XBT/USD", {"name": "ohlc", "interval": 1}),
        ("ohlc XBT/USD interval=21600", {"name": "ohlc", "interval": 21600}),
    ],
)
def test_depth_and_interval_are_numbers_and_have_the_original_defaults(
    krakenws: Command, line: str, subscription: dict[str, Any]
) -> None:
    with exchange(streams()) as server:
        result = krakenws.run(*line.split(), "--for", "200ms", *server.options)
    assert result.code == 0, result.err
    (message,) = server.messages()
    assert same(message, {"event": "subscribe", "pair": ["XBT/USD"], "subscription": subscription})


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        (
            """add-order pair=btc/usd type=BUY ordertype=limit price=9000.5 volume=0.01 validate=true
            userref=7 oflags=post,fciq starttm=+10 expiretm=+60 timeinforce=gtd
            close[ordertype]=limit close[price]=11000""",
            {
                "event": "addOrder",
                "pair": "XBT/USD",
                "type": "buy",
                "ordertype": "limit",
                "price": "9000.5",
                "volume": "0.01",
                "validate": "true",
                "userref": "7",
                "oflags": "post,fciq",
                "starttm": "+10",
                "expiretm": "+60",
                "timeinforce": "GTD",
                "close[ordertype]": "limit",
                "close[price]": "11000",
            },
        ),
        (
            "addOrder pair=XBT/USD type=sell ordertype=trailing-stop price=+1.5% volume=1 reduce_only=true",
            {
                "event": "addOrder",
                "pair": "XBT/USD",
                "type": "sell",
                "ordertype": "trailing-stop",
                "price": "+1.5%",
                "volume": "1",
                "reduce_only": True,
            },
        ),
        (
            """addOrder --pair XBT/USD --type buy --ordertype stop-loss-limit
            --price 9000 --price2=8999 --volume 1.50""",
            {
                "event": "addOrder",
                "pair": "XBT/USD",
                "type": "buy",
                "ordertype": "stop-loss-limit",
                "price": "9000",
                "price2": "8999",
                "volume": "1.50",
            },
        ),
        (
            "amend_order txid=OGTT3Y-C6I3P-XRI6HX limit_price=7600 post_only=true",
            {
                "event": "amendOrder",
                "txid": "OGTT3Y-C6I3P-XRI6HX",
                "limit_price": "7600",
                "post_only": True,
            },
        ),
        ("cancelOrder txid=OADMSD-7AGC3-IMB46A", {"event": "cancelOrder", "txid": ["OADMSD-7AGC3-IMB46A"]}),
        ("cancelOrder userref=1771", {"event": "cancelOrder", "txid": ["1771"]}),
        ("cancelAllOrdersAfter timeout=0", {"event": "cancelAllOrdersAfter", "timeout": 0}),
    ],
)
def test_parameters_have_the_types_that_kraken_documents(
    trader: Command, line: str, meant: dict[str, Any]
) -> None:
    with exchange(private=accepts) as server:
        result = trader.run(*split(line), *server.options)
    assert result.code == 0, result.err
    (message,) = server.messages("/auth")
    del message["reqid"]
    for name in (OUR_OWN & message.keys()) - meant.keys():
        del message[name]
    assert same(message, {**meant, "token": TOKEN})


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("--ratecounter", True),
        ("--ratecounter true", True),
        ("--ratecounter=no", False),
        ("ratecounter=1", True),
    ],
)
def test_a_boolean_may_be_a_bare_switch(trader: Command, words: str, value: bool) -> None:
    with exchange(private=streams(OPEN_ORDERS)) as server:
        result = trader.run("openOrders", *split(words), "--count", "1", *server.options)
    assert result.code == 0, result.err
    assert server.messages("/auth")[0]["subscription"]["ratecounter"] is value


def test_a_value_is_split_at_its_first_equals_sign_only(trader: Command) -> None:
    with exchange(private=accepts) as server:
        result = trader.run("cancelOrder", "txid=A=B", *server.options)
    assert result.code == 0, result.err
    assert server.messages("/auth")[0]["txid"] == ["A=B"]


def test_a_reqid_of_the_user_is_a_number_on_the_wire_and_is_kept(trader: Command) -> None:
    with exchange(pongs, accepts) as server:
        assert trader.run("ping", "reqid=42", *server.options).code == 0
        assert trader.run("cancelAll", "reqid=18446744073709551615", *server.options).code == 0
    assert server.messages() == [{"event": "ping", "reqid": 42}]
    assert server.messages("/auth")[0]["reqid"] == 18446744073709551615


def test_feeds_joined_by_a_plus_share_one_connection_for_each_endpoint(trader: Command) -> None:
    def public(client: Connection) -> None:
        client.greet()
        for frame in (TICKER, TRADE):
            asked = client.expect(event="subscribe")
            client.send(*acks(asked), frame)
        client.hold()

    def private(client: Connection) -> None:
        client.serve(OPEN_ORDERS)
        client.hold()

    line = "ticker XBT/USD + trade XBT/USD + openOrders"
    with exchange(public, private) as server:
        result = trader.run(*line.split(), "--count", "3", *server.options)
    assert result.code == 0, result.err
    assert [len(server.at()), len(server.at("/auth"))] == [1, 1]
    channels = {event["channel"] for event in result.events if event["event"] == "update"}
    assert channels == {"ticker", "trade", "openOrders"}


def test_one_channel_at_two_depths_is_two_subscriptions(krakenws: Command) -> None:
    small, large = Ladder(depth=10), Ladder(depth=25)

    def script(client: Connection) -> None:
        client.greet()
        for ladder in (small, large):
            client.send(*acks(client.expect(event="subscribe")), ladder.snapshot())
        client.hold()

    with exchange(script) as server:
        result = krakenws.run(*split("book XBT/USD 10 + book XBT/USD 25 --count 2"), *server.options)
    assert result.code == 0, result.err
    depths = [event["depth"] for event in result.events if event["event"] == "update"]
    assert sorted(depths) == [10, 25]


def test_the_module_is_the_command_as_well(krakenws: Command) -> None:
    with exchange(pongs) as server:
        result = krakenws.called("python -m krakenws").run("ping", "-oraw", *server.options)
    assert result == (0, f'{GREETING}\n{{"event":"pong"}}\n', "")
