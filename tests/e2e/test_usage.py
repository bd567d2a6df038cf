"""Words that do not fit: one clear sentence, exit code 2, and the server never hears of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.support.scripts import pongs
from tests.support.server import exchange

if TYPE_CHECKING:
    from tests.support.command import Command

ORDER = "addOrder pair=XBT/USD type=buy ordertype=limit volume=0.01"
WRONG: list[tuple[list[str], list[str]]] = [
    # names
    (["tikcer", "XBT/USD"], ["tikcer", "ticker"]),
    (["XBT/USD"], ["XBT/USD"]),
    (["ad-order"], ["addOrder"]),
    (["xyzzyplugh"], ["--help"]),
    (["\x1b[31mticker"], ["\\x1b[31mticker"]),
    # pairs
    (["ticker"], ["needs a pair", "ticker XBT/USD"]),
    (["ticker", "XBTUSD"], ["XBTUSD", "XBT/USD"]),
    (["ticker", "xbt-usd"], ["XBT/USD"]),
    (["ticker", "XBT/"], ["BASE/QUOTE"]),
    (["ticker", "/USD"], ["BASE/QUOTE"]),
    (["ticker", "XBT/USD/EUR"], ["BASE/QUOTE"]),
    (["ticker", "XBT /USD"], ["BASE/QUOTE"]),
    (["ticker", 'XBT/USD"'], ["contains"]),
    (["ticker", "XBT/USD\n"], ["U+000A"]),
    (["ticker", ""], ["ticker"]),
    (["ticker", "pair=,"], ["ticker"]),
    # depth and interval
    (["book", "XBT/USD", "42"], ["42", "10, 25, 100, 500, 1000"]),
    (["book", "XBT/USD", "depth=ten"], ["depth=ten"]),
    (["book", "XBT/USD", "10", "25"], ["depth", "twice"]),
    (["book", "XBT/USD", "-10"], ["-1"]),
    (["book", "XBT/USD", "10.0"], ["10.0"]),
    (["ohlc", "XBT/USD", "7"], ["1, 5, 15, 30, 60, 240, 1440, 10080, 21600"]),
    (["ticker", "XBT/USD", "10"], ["bare number"]),
    (["spread", "XBT/USD", "depth=10"], ["no parameter depth"]),
    # parameters
    (["ticker", "XBT/USD", "snapshott=true"], ["no parameter snapshott"]),
    (["openOrders", "ratecountr=true"], ["ratecounter"]),
    (["openOrders", "ratecounter=maybe"], ["neither true nor false"]),
    (["openOrders", "XBT/USD"], ["openOrders does not take XBT/USD"]),
    (["ownTrades", "snapshot="], ["snapshot"]),
    (["ping", "XBT/USD"], ["ping"]),
    (["ping", "reqid=1.5"], ["whole number"]),
    (["ping", "reqid=18446744073709551616"], ["larger"]),
    (["cancelAll", "now"], ["now"]),
    (["cancelOrder"], ["txid=", "userref=", "cl_ord_id="]),
    (["cancelOrder", "txid="], ["txid"]),
    (["cancelOrder", "txid=A,,B"], ["empty"]),
    (["cancelAllOrdersAfter"], ["timeout="]),
    (["cancelAllOrdersAfter", "timeout=1m"], ["timeout=1m"]),
    (["cancelAllOrdersAfter", "timeout=-1"], ["whole number"]),
    (["cancelAllOrdersAfter", "timeout=86400"], ["86400"]),
    # orders
    (["addOrder"], ["pair="]),
    ([*ORDER.split()], ["price="]),
    ([*ORDER.split(), "price=1e4"], ["exponent"]),
    ([*ORDER.split(), "price=9_000"], ["9_000"]),
    ([*ORDER.split(), "price=9,000"], ["9,000"]),
    ([*ORDER.split(), "price=٣"], ["decimal"]),
    ([*ORDER.split(), "price=NaN"], ["decimal"]),
    ([*ORDER.split(), "price=-"], ["price=-"]),
    ([*ORDER.split(), "price=%"], ["price=% has no number"]),
    ([*ORDER.split(), "price=0"], ["price=0 is zero"]),
    ([*ORDER.split(), "price=9000", "leverage=2.5"], ["whole number of 2 or more"]),
    ([*ORDER.split(), "price=9000", "deadline=20261122T100000Z"], ["2026-11-22T10:00:00.000Z"]),
    (["addOrder", "pair=XBT/USD", "type=buy", "ordertype=market", "volume=0"], ["settle-position"]),
    (["amendOrder", "txid=A", "limit_price=0"], ["limit_price=0 is zero"]),
    ([*ORDER.split(), 'price=9000","x":"'], ["contains"]),
    ([*ORDER.split(), "price=9000", "price=9001"], ["twice"]),
    ([*ORDER.split(), "price=9000", "leverage=5\x00".replace("\x00", "\x07")], ["U+0007"]),
    ([*ORDER.split(), "price=9000", "side=buy"], ["no parameter side"]),
    ([*ORDER.split(), "price=9000", "oflags=posst"], ["post"]),
    ([*ORDER.split(), "price=9000", "userref=3000000000"], ["32 bits"]),
    ([*ORDER.split(), "price=9000", "token=secret-word"], ["no parameter token"]),
    ([*ORDER.split(), "price=9000", "event=cancelAll"], ["no parameter event"]),
    (["addOrder", "pair=XBTUSD", "type=buy", "ordertype=market", "volume=1"], ["XBT/USD"]),
    (["addOrder", "pair=XBT/USD", "type=hold", "ordertype=market", "volume=1"], ["buy, sell"]),
    (["addOrder", "pair=XBT/USD", "type=buy", "ordertype=markett", "volume=1"], ["market"]),
    (["addOrder", "pair=XBT/USD", "type=buy", "ordertype=market", "volume=1e-3"], ["exponent"]),
    (["addOrder", "pair=XBT/USD", "type=buy", "ordertype=market", "volume=-1"], ["decimal"]),
    (["addOrder", "pair=XBT/USD", "type=buy", "ordertype=market", "volume="], ["volume"]),
    (["addOrder", "pair=XBT/USD", "type=buy", "ordertype=market", "volume=1", "price=5"], ["market"]),
    (["editOrder", "pair=XBT/USD", "price=1"], ["orderid="]),
    (["editOrder", "orderid=OGTT3Y-C6I3P-XRI6HX", "pair=XBT/USD"], ["something to change"]),
    (["amendOrder", "limit_price=1"], ["txid="]),
    # options
    (["ticker", "XBT/USD", "--outputt", "json"], ["--output"]),
    (["--xyzzy", "ping"], ["--help"]),
    (["ping", "-x"], ["-x"]),
    (["ping", "-o"], ["FORMAT"]),
    (["ping", "-o", "jsno"], ["json"]),
    (["ping", "--count", "0"], ["above 0"]),
    (["ping", "--for", "soon"], ["10s, 5m or 1h"]),
    (["ping", "--for", "0s"], ["duration"]),
    (["ping", "--reconnect", "sometimes"], ["never"]),
    (["ping", "--ack-timeout", "-1"], ["duration"]),
    (["ping", "--book", "half"], ["changes, top, full"]),
    (["ping", "--color", "blue"], ["auto, always, never"]),
    (["ping", "--api", "3"], ["1, 2"]),
    (["ping", "--strict=yes"], ["takes no value"]),
    (["ping", "--speed", "2"], ["replay"]),
    (["ticker", "XBT/USD", "--depth", "10"], ["--depth"]),
    (["book", "XBT/USD", "--depth"], ["needs a value"]),
    (["ticker", "XBT/USD", "--api", "2"], ["no ticker in API v2", "only balances"]),
    (["tikcer", "XBT/USD", "--api", "2"], ["no command tikcer in API v2: krakenws --help"]),
    # joined feeds
    (["ticker", "XBT/USD", "trade", "XBT/USD"], ["does not take trade", "join them with +"]),
    (["openOrders", "own-trades"], ["openOrders does not take own-trades"]),
    (["+"], ["+"]),
    (["ticker", "XBT/USD", "+"], ["+"]),
    (["+", "ticker", "XBT/USD"], ["+"]),
    (["ticker", "XBT/USD", "+", "+", "trade", "XBT/USD"], ["+"]),
    (["pairs", "+", "ticker", "XBT/USD"], ["pairs stands alone"]),
    (["ticker", "XBT/USD", "+", "trade", "XBT/USD", "-o", "csv"], ["one channel"]),
    (["ping", "-o", "csv"], ["ping"]),
    # tools
    (["token", "please"], ["please"]),
    (["replay"], ["demo"]),
    (["replay", "nowhere.jsonl"], ["nowhere.jsonl"]),
    (["replay", "demo", "--speed", "fast"], ["max"]),
    (["replay", "demo", "--listen", "here:there"], ["HOST:PORT"]),
    (["replay", "demo", "--tls", "one"], ["CERT KEY"]),
    (["decode", "nowhere.jsonl"], ["nowhere.jsonl"]),
    (["decode", "."], ["directory"]),
    (["decode", "a", "b"], ["one too many"]),
    (["catalog", "tikcer"], ["ticker"]),
    (["doctor", "XBT/USD"], ["doctor takes no words: XBT/USD"]),
    (["intents", "all"], ["intents takes no words"]),
    (["reconcile", "now"], ["reconcile takes no words"]),
    (["token", "please"], ["token takes no words"]),
    (["sandbox", "XBT/USD"], ["sandbox takes no words", "--pairs"]),
    (["session", "now", "--sandbox"], ["session takes no words", "lines of standard input"]),
    # endpoints
    (["ping", "--public-url", "ws://example.com"], ["wss://"]),
    (["ping", "--public-url", "http://127.0.0.1"], ["wss://HOST"]),
    (["ping", "--public-url", "ws://127.0.0.1:99999"], ["port"]),
    (["ping", "--public-url", "ws://user:pass@127.0.0.1"], ["WebSocket URL"]),
]
PASSWORD_URLS = [
    "wss://user:hunter2@host",
    "user:hunter2@host",
    "wss://user:hunter2/3@host",
    "wss://:hunter2@",
]


@pytest.mark.parametrize(
    ("words", "told"), WRONG, ids=[" ".join(words).encode("unicode_escape").decode() for words, _ in WRONG]
)
def test_words_that_do_not_fit_are_2_and_nothing_is_opened(
    trader: Command, words: list[str], told: list[str]
) -> None:
    with exchange(pongs, pongs) as server:
        endpoints = (
            {}
            if "--public-url" in words
            else {
                "KRAKENWS_PUBLIC_URL": server.url,
                "KRAKENWS_PRIVATE_URL": f"{server.url}/auth",
            }
        )
        result = trader.run(*words, **endpoints)
    assert result.code == 2, result
    for part in told:
        assert part in result.sentence
    assert "\x1b" not in result.err
    assert server.accepted == 0


@pytest.mark.parametrize("url", PASSWORD_URLS)
def test_a_password_in_a_url_is_not_repeated(krakenws: Command, url: str) -> None:
    result = krakenws.run("ping", "--public-url", url)
    assert result.code == 2
    assert "no password" in result.sentence
    assert "hunter2" not in result.err + result.out


PARSED_WRONG = ["tikcer XBT/USD", "ping --api 3", "ping -x", "ping -o jsno", "book XBT/USD 42"]


@pytest.mark.parametrize("line", PARSED_WRONG)
def test_any_usage_error_in_a_pipe_is_a_json_event_since_json_is_the_default(
    krakenws: Command, line: str
) -> None:
    result = krakenws.run(*line.split())
    (event,) = result.events
    assert [event["event"], event["code"], event["message"]] == ["error", 2, result.sentence]


@pytest.mark.parametrize("line", PARSED_WRONG)
def test_a_usage_error_is_no_event_where_another_format_is_in_force(krakenws: Command, line: str) -> None:
    assert krakenws.called("krakenws.py").run(*line.split()).out == ""
    assert krakenws.run(*line.split(), KRAKENWS_OUTPUT="text").out == ""
    if "-o" not in line:
        assert krakenws.run(*line.split(), "-otext").out == ""
        assert krakenws.run("--output=raw", *line.split()).out == ""
    path = krakenws.home / "config" / "krakenws" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text("output = 'csv'")
    assert krakenws.run(*line.split()).out == ""
    assert krakenws.run(*line.split(), KRAKENWS_OUTPUT="json").events[0]["event"] == "error"


def test_a_usage_error_is_also_a_json_event_when_json_was_asked_for(krakenws: Command) -> None:
    result = krakenws.run("book", "XBT/USD", "42", "-o", "json")
    (event,) = result.events
    assert [*event] == ["event", "code", "message", "retryable"]
    assert [event["event"], event["code"], event["retryable"]] == ["error", 2, False]
    assert event["message"] == result.sentence


def test_a_value_in_the_environment_is_checked_and_named(krakenws: Command) -> None:
    result = krakenws.run("ping", KRAKENWS_OUTPUT="jsno")
    assert result.code == 2
    assert "KRAKENWS_OUTPUT" in result.sentence


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("outputt = 'json'", "output"),
        ("output = 'jsno'", "json"),
        ("output = ", "TOML"),
        ("count = 'many'", "count"),
        ("token = 'x'", "no setting"),
    ],
)
def test_a_wrong_config_file_is_named(krakenws: Command, text: str, told: str) -> None:
    path = krakenws.home / "config" / "krakenws" / "config.toml"
    path.parent.mkdir(parents=True)
    path.write_text(text)
    result = krakenws.run("ping")
    assert result.code == 2
    assert str(path) in result.sentence
    assert told in result.sentence


@pytest.mark.parametrize(
    "words", [["--help"], ["-h"], ["book", "--help"], ["addOrder", "-h"], ["decode", "--help"]]
)
def test_help_is_0_fits_100_columns_and_opens_nothing(krakenws: Command, words: list[str]) -> None:
    result = krakenws.run(*words)
    assert (result.code, result.err) == (0, "")
    assert max(map(len, result.lines)) <= 100
    assert "krakenws" in result.out


def test_help_names_the_default_output_the_config_file_and_every_place_of_credentials(
    krakenws: Command,
) -> None:
    text = " ".join(krakenws.run("--help").out.split())
    assert "default: text on a terminal, json in a pipe, transcript as krakenws.py" in text
    assert "~/config/krakenws/config.toml" in text
    assert "--key-file, or KRAKEN_API_KEY" in text


def test_help_does_not_list_choices_twice(krakenws: Command) -> None:
    order = " ".join(krakenws.run("addOrder", "--help").out.split())
    assert "viqc: volume in quote, nompp timeinforce" in order
    assert "side of the order: buy, sell" in order
    balances = " ".join(krakenws.run("balances", "--help").out.split())
    assert "for a master account req_id" in balances


def test_the_help_of_the_drop_in_shows_its_own_name(krakenws: Command) -> None:
    result = krakenws.called("krakenws.py").run("book", "--help")
    assert "./krakenws.py book" in result.out


def test_every_example_of_the_catalog_is_understood(trader: Command) -> None:
    """The exchange cannot be reached, which only words that fit can find out."""
    entries = [json.loads(line) for line in trader.run("catalog", "-o", "json").lines]
    assert len(entries) > 12
    for entry in entries:
        for example in entry["examples"]:
            result = trader.run(*example.split(), *UNREACHABLE)
            assert result.code == 4, (example, result.err)


UNREACHABLE = ["--public-url", "ws://127.0.0.1:1", "--private-url", "ws://127.0.0.1:1"]


def test_the_version_is_printed(krakenws: Command) -> None:
    result = krakenws.run("--version")
    assert result.code == 0
    assert result.out.startswith("krakenws 0.")
