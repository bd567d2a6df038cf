"""What a line of a session asks, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from krakenws.cli.asking import HELP, QUIT, START, STATUS, STOP, Asked, Mistake, is_blank, read_line
from krakenws.errors import ConnectionFailed

TOKEN = "WW91ci9hdXRoZW50aWNhdGlvbi90b2tlbi9nb2Vz"


def patterns(_api: int) -> Any:
    return lambda _: ["XBT/USD", "ETH/USD"]


def asked(line: str | dict[str, Any]) -> Asked:
    return read_line(line if isinstance(line, str) else json.dumps(line), patterns)


def refused(line: str | dict[str, Any]) -> Mistake:
    with pytest.raises(Mistake) as mistake:
        asked(line)
    return mistake.value


def bound(line: str | dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Name and values of what a line starts."""
    it = asked(line)
    assert it.bound is not None
    return it.bound.entry.name, dict(it.bound.values)


BOOK = ("book", {"pair": ["XBT/USD"], "depth": 25})
ORDER = (
    "addOrder",
    {"pair": "XBT/USD", "type": "buy", "ordertype": "limit", "price": "0.10", "volume": "2.50"},
)


@pytest.mark.parametrize(
    "line",
    [
        "book XBT/USD 25",
        "book XBT/USD depth=25 id=b1",
        "BOOK btc/usd --depth 25 --id b1",
        {"do": "book", "pair": ["XBT/USD"], "depth": 25},
        {"do": "book", "pair": "XBT/USD", "depth": "25", "id": 7},
        {"event": "subscribe", "pair": ["XBT/USD"], "subscription": {"name": "book", "depth": 25}},
    ],
)
def test_a_channel_is_asked_for_in_three_spellings(line: str | dict[str, Any]) -> None:
    assert bound(line) == BOOK
    assert asked(line).do == START


@pytest.mark.parametrize(
    "line",
    [
        "addOrder pair=XBT/USD type=buy ordertype=limit price=0.10 volume=2.50 id=o",
        '{"do":"addOrder","pair":"XBT/USD","type":"buy","ordertype":"limit","price":0.10,"volume":2.50}',
        '{"event":"addOrder","pair":"XBT/USD","type":"buy","ordertype":"limit","price":"0.10","volume":"2.50"}',
    ],
)
def test_a_number_of_json_is_taken_by_its_digits(line: str) -> None:
    assert bound(line) == ORDER


def test_an_unsubscription_names_what_it_ends() -> None:
    for line in (
        "unsubscribe book XBT/USD 25",
        {"do": "unsubscribe", "channel": "book", "pair": ["XBT/USD"], "depth": 25},
        {"event": "unsubscribe", "pair": ["XBT/USD"], "subscription": {"name": "book", "depth": 25}},
    ):
        assert asked(line).do == STOP
        assert bound(line) == BOOK


def test_a_request_of_api_v2_is_taken_too() -> None:
    assert bound({"method": "subscribe", "params": {"channel": "balances", "snapshot": False}}) == (
        "balances",
        {"snapshot": False},
    )


def test_the_id_comes_back_as_it_was_given() -> None:
    assert asked("ping id=my-7").id == "my-7"
    assert asked({"do": "ping", "id": "my-7"}).id == "my-7"
    assert asked({"do": "ping", "id": 7}).id == 7
    assert asked("ping").id is None


def test_what_only_a_session_knows() -> None:
    assert asked("status id=1") == Asked("1", STATUS)
    assert asked({"do": "quit"}) == Asked(None, QUIT)
    assert asked("help book") == asked({"do": "help", "name": "book"}) == Asked(None, HELP, topic="book")
    assert asked("help unsubscribe") == Asked(None, HELP)


def test_blank_lines_and_comments_ask_nothing() -> None:
    assert all(map(is_blank, ["", "  ", "\t", "# ticker XBT/USD"]))
    assert not is_blank("ping")


def test_patterns_are_expanded() -> None:
    assert bound("ticker '*/USD'") == ("ticker", {"pair": ["XBT/USD", "ETH/USD"]})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tikcer XBT/USD", "did you mean ticker"),
        ("ticker XBTUSD", "did you mean XBT/USD"),
        ("ticker 'XBT/USD", "quotes"),
        ("ticker XBT/USD --count 3", "--count is said once"),
        ("ticker XBT/USD -o json", "--output is said once"),
        ("ticker XBT/USD + trade XBT/USD", "one command a line"),
        ("sandbox", "by itself"),
        ("unsubscribe", "needs a channel"),
        ("unsubscribe addOrder pair=XBT/USD type=buy ordertype=market volume=1", "is for channels"),
        ("status now", "takes no words"),
        ("help me please", "one name"),
        ("help sandbox", "no command of a session"),
        ("id=7", "no command"),
        ("ping id=1 id=2", "given twice"),
        ("ping id=", "id is empty"),
        (f"ping id={'x' * 201}", "at most 200"),
        ("{", "no JSON object"),
        ('{"do":"ping"} {"do":"ping"}', "one object a line"),
        ('{"do":"ping","do":"quit"}', "no JSON object: do is given twice"),
        ('{"do":"ping","reqid":NaN}', "NaN is no number"),
        ("[" * 3 + "]" * 3, "this line is a JSON list"),
        ("bonjour", "there is no command bonjour: help lists them"),
        ("statsu", "there is no command statsu; did you mean status?"),
        ("unsubscribed ticker XBT/USD", "there is no command unsubscribed; did you mean unsubscribe?"),
        ("unsubscribe tickr XBT/USD", "there is no command tickr; did you mean ticker?"),
        ('{"do":' + "[" * 5000 + "]" * 5000 + "}", "nested too deeply"),
        ({"id": 1}, "needs one of"),
        ({"do": "ping", "event": "ping"}, "needs one of"),
        ({"do": 7}, "do is no text"),
        ({"do": "ping", "id": 1.5}, "id is neither"),
        ({"do": "ping", "id": 10**16}, "id is neither"),
        ({"do": "ping", "id": True}, "id is neither"),
        ({"do": "ping", "id": ""}, "id is neither"),
        ({"do": "status", "now": 1}, "status takes no now"),
        ({"do": "unsubscribe"}, 'needs a "channel"'),
        ({"do": "pairs"}, "no command of a session"),
        ({"do": "balances", "api": 3}, "api is neither"),
        ({"do": "book", "pair": ["XBT/USD"], "depth": None}, "depth is null"),
        ({"do": "book", "pair": [["XBT/USD"]]}, "no list of texts"),
        ({"do": "book", "pair": ["XBT/USD,ETH/USD"]}, "no list of texts"),
        ({"do": "book", "pair": {}}, "an object"),
        ({"do": "book", "pair=XBT/USD": "", "depth": 10}, "no parameter"),
        ({"do": "cancelAll", "reqid": int("1" * 400)}, "more digits"),
        ({"event": "subscribe", "pair": ["XBT/USD"]}, 'needs a "subscription"'),
        ({"event": "subscribe", "subscription": {"name": "addOrder"}}, "name of a channel"),
        ({"event": "addorder"}, "API v1 has no addorder"),
        ({"method": "subscribe", "params": []}, "params is no object"),
        ({"method": "subscribe", "params": {"channel": "book"}}, "API v2 has no book"),
    ],
)
def test_a_line_that_asks_nothing_possible_is_refused_with_what_is_wrong(
    line: str | dict[str, Any], words: str
) -> None:
    assert words in str(refused(line))


@pytest.mark.parametrize(
    "line",
    [
        {"event": "cancelAll", "token": TOKEN, "id": 3},
        {"event": "subscribe", "subscription": {"name": "openOrders", "token": TOKEN}, "id": 3},
        {"method": "subscribe", "params": {"channel": "balances", "token": TOKEN}, "id": 3},
    ],
)
def test_a_token_is_refused_and_not_repeated(line: dict[str, Any]) -> None:
    mistake = refused(line)
    assert mistake.id == 3
    assert "leave the token out" in str(mistake)
    assert TOKEN not in str(mistake)


@pytest.mark.parametrize(
    ("line", "id_"),
    [
        ('{"id":"o1","do":"addOrder","pair":["XBT/US', "o1"),
        ('{ "id" : 7 , "do":', 7),
        ('{"do":"ping","id":"late","reqid":}', "late"),
        ('{"do":"ping","do":"quit","id":"x"}', "x"),
        ('{"do":"ping","reqid":NaN,"id":"x"}', "x"),
        ('{"id":"x","do":' + "[" * 5000 + "]" * 5000 + "}", "x"),
        ('{"id":"x","do":"ping"}{"do":"ping"}', "x"),
        ('{"id":"half', None),
        ('{"id":12', None),  # of 1234?
        ('{"id":"a","id":"b","do":"ping"}', None),
        ('{"subscription":{"id":"x"},"do":', None),
        ('{"id":1.5,"do":', None),
        ("{", None),
    ],
)
def test_a_broken_object_is_answered_under_the_id_that_could_be_read(line: str, id_: object) -> None:
    assert refused(line).id == id_


def test_a_price_in_scientific_notation_is_refused_as_on_the_command_line() -> None:
    line = (
        '{"do":"addOrder","pair":"XBT/USD","type":"buy","ordertype":"limit","price":1e-4,"volume":1,"id":"x"}'
    )
    mistake = refused(line)
    assert "without an exponent" in str(mistake)
    assert (mistake.id, mistake.exit_code) == ("x", 2)


def test_what_keeps_a_pattern_from_being_expanded_has_its_own_code_and_the_id_of_the_line() -> None:
    def offline(_pattern: str) -> list[str]:
        raise ConnectionFailed("REST is not there")

    with pytest.raises(Mistake) as mistake:
        read_line("ticker */USD id=t", lambda _: offline)
    assert (mistake.value.id, mistake.value.exit_code, mistake.value.retryable) == ("t", 4, True)


@pytest.mark.parametrize(
    "line",
    [
        "cancelAll intent=eod",
        "cancelAll --intent eod id=7",
        {"do": "cancelAll", "intent": "eod"},
        {"event": "cancelAll", "intent": "eod", "id": 7},
    ],
)
def test_a_trading_command_may_have_a_name(line: str | dict[str, Any]) -> None:
    assert asked(line).intent == "eod"
    assert bound(line) == ("cancelAll", {})


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("cancelAll intent=a intent=b", "intent is given twice"),
        ("cancelAll intent=", "intent=(nothing) is not a name of at most 64 ASCII characters"),
        ({"do": "cancelAll", "intent": 7}, "intent=7 is not a name"),
        ({"do": "cancelAll", "intent": "a b"}, "intent=a b is not a name"),
        ("ticker XBT/USD intent=a", "intent names a trading command, and ticker is none"),
        ({"do": "status", "intent": "a"}, "intent names a trading command, and status is none"),
    ],
)
def test_names_that_cannot_be_are_refused(line: str | dict[str, Any], sentence: str) -> None:
    assert sentence in str(refused(line))
