"""Every entry of the catalog is complete: help, examples, source, and a way onto the wire and back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core.catalog import CHANNEL, COMMAND, PRIVATE, PUBLIC, Entry, bind, canonical, find
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES as ENTRIES_V1
from krakenws.core.v2 import V2
from krakenws.core.v2_entries import ENTRIES as ENTRIES_V2

if TYPE_CHECKING:
    from krakenws.core.dialect import Dialect

ENTRIES = (*ENTRIES_V1, *ENTRIES_V2)
DIALECTS: dict[int, Dialect] = {1: V1, 2: V2}

every_entry = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"v{entry.api} {entry.name}")
every_channel = pytest.mark.parametrize(
    "entry", [entry for entry in ENTRIES if entry.kind == CHANNEL], ids=lambda e: f"v{e.api} {e.name}"
)


@every_entry
def test_an_entry_is_described(entry: Entry) -> None:
    assert entry.help.endswith(".")
    assert entry.source.startswith("https://docs.kraken.com/")
    assert entry.examples
    assert entry.access in {PUBLIC, PRIVATE}
    assert entry.kind in {CHANNEL, COMMAND}
    assert entry.reply or entry.kind == CHANNEL
    assert entry.rows or entry.kind == COMMAND or entry.explicit


@every_entry
def test_every_parameter_is_described_and_its_example_is_valid(entry: Entry) -> None:
    for param in entry.params:
        assert param.help, param.name
        assert not param.help.endswith("."), param.name
        assert param.kind.schema["type"]
        if param.example:
            param.kind.parse(param.example)
        if param.choices and param.default is not None:
            assert param.default in param.choices
        if param.choices and param.example:
            assert {canonical(str(choice)) for choice in param.choices} >= {canonical(param.example)}


@every_entry
def test_no_two_parameters_share_a_spelling(entry: Entry) -> None:
    names = [canonical(param.name) for param in entry.params]
    assert len(set(names)) == len(names)


@every_entry
def test_the_examples_of_help_bind(entry: Entry) -> None:
    for example in entry.examples:
        name, *words = example.partition(" --")[0].split()
        assert find(ENTRIES, name, entry.api) is entry
        assert bind(entry, words).entry is entry


@every_channel
def test_a_subscription_comes_back_from_its_echo(entry: Entry) -> None:
    dialect = DIALECTS[entry.api]
    bound = bind(entry, entry.examples[0].partition(" --")[0].split()[1:])
    sent = json.loads(dialect.subscribe(entry, bound.values, bound.symbols, "t0ken"))
    channel = dialect.channel(entry, bound.values)
    for symbol in bound.symbols or [""]:
        ack = dialect.classify(json.dumps(echo_of(entry, sent, channel, symbol)).encode())
        assert (ack.kind, ack.channel, ack.symbol, ack.status) == ("ack", channel, symbol, "subscribed")
        assert ack.name == entry.name
        assert "t0ken" not in str(dialect.confirmed(ack))
        parsed = dialect.parse_channel(channel)
        assert parsed is not None
        assert parsed[0] is entry


def echo_of(entry: Entry, sent: dict[str, Any], channel: str, symbol: str) -> dict[str, Any]:
    """What the exchange answers. Source: v1.md 5.6, v2.md 2."""
    if entry.api == 1:
        return {
            "channelName": channel,
            "event": "subscriptionStatus",
            "status": "subscribed",
            "subscription": sent["subscription"],
            **({"pair": symbol} if symbol else {}),
        }
    result = {**sent["params"], **({"symbol": symbol} if symbol else {})}
    return {"method": "subscribe", "result": result, "success": True}


ORDERS = "addOrder pair=XBT/USD type=buy ordertype=market volume=0.002 leverage=5"
LINES: list[tuple[str, dict[str, Any]]] = [
    (
        "ticker XBT/USD ETH/EUR XDG/XBT",
        {"event": "subscribe", "subscription": {"name": "ticker"}, "pair": ["XBT/USD", "ETH/EUR", "XDG/XBT"]},
    ),
    (
        "book ETH/USD 10",
        {"event": "subscribe", "subscription": {"name": "book", "depth": 10}, "pair": ["ETH/USD"]},
    ),
    (
        "ohlc LTC/EUR XBT/USD 60",
        {
            "event": "subscribe",
            "subscription": {"name": "ohlc", "interval": 60},
            "pair": ["LTC/EUR", "XBT/USD"],
        },
    ),
    (
        "spread XBT/USD XBT/EUR",
        {"event": "subscribe", "subscription": {"name": "spread"}, "pair": ["XBT/USD", "XBT/EUR"]},
    ),
    ("trade XBT/USD", {"event": "subscribe", "subscription": {"name": "trade"}, "pair": ["XBT/USD"]}),
    ("openOrders", {"event": "subscribe", "subscription": {"name": "openOrders", "token": "t"}}),
    (
        "openOrders ratecounter=true",
        {"event": "subscribe", "subscription": {"name": "openOrders", "ratecounter": True, "token": "t"}},
    ),
    (
        "ownTrades snapshot=false",
        {"event": "subscribe", "subscription": {"name": "ownTrades", "snapshot": False, "token": "t"}},
    ),
    ("ping", {"event": "ping"}),
    (
        ORDERS,
        {
            "event": "addOrder",
            "token": "t",
            "reqid": 1,
            "pair": "XBT/USD",
            "type": "buy",
            "ordertype": "market",
            "volume": "0.002",
            "leverage": "5",
        },
    ),
    (
        "addOrder pair=XBT/EUR type=sell ordertype=limit price=7500 volume=0.125",
        {
            "event": "addOrder",
            "token": "t",
            "reqid": 1,
            "pair": "XBT/EUR",
            "type": "sell",
            "ordertype": "limit",
            "price": "7500",
            "volume": "0.125",
        },
    ),
    (
        "editOrder orderid=OGTT3Y-C6I3P-XRI6HX pair=XBT/USD price=9000 volume=0.1",
        {
            "event": "editOrder",
            "token": "t",
            "reqid": 1,
            "orderid": "OGTT3Y-C6I3P-XRI6HX",
            "pair": "XBT/USD",
            "price": "9000",
            "volume": "0.1",
        },
    ),
    (
        "cancelOrder txid=OADMSD-7AGC3-IMB46A,OD6VRE-HCSPM-CKORER",
        {
            "event": "cancelOrder",
            "token": "t",
            "reqid": 1,
            "txid": ["OADMSD-7AGC3-IMB46A", "OD6VRE-HCSPM-CKORER"],
        },
    ),
    ("cancelAll", {"event": "cancelAll", "token": "t", "reqid": 1}),
    (
        "cancelAllOrdersAfter timeout=60",
        {"event": "cancelAllOrdersAfter", "token": "t", "reqid": 1, "timeout": 60},
    ),
    ("balances", {"method": "subscribe", "params": {"channel": "balances", "token": "t"}}),
]


@pytest.mark.parametrize(("line", "message"), LINES, ids=[line for line, _ in LINES])
def test_a_line_of_the_original_script_is_said_as_documented(line: str, message: dict[str, Any]) -> None:
    name, *words = line.split()
    entry = find(ENTRIES, name)
    assert entry is not None
    bound = bind(entry, words)
    dialect = DIALECTS[entry.api]
    token = "t" if entry.access == PRIVATE else ""
    frame = (
        dialect.subscribe(entry, bound.values, bound.symbols, token)
        if entry.kind == CHANNEL
        else dialect.command(entry, bound.values, token, 1 if entry.trading else None)
    )
    assert exactly(json.loads(frame)) == exactly(message)


def test_balances_on_v1_is_sent_as_the_original_script_sends_it() -> None:
    entry = find(ENTRIES, "balances", 1)
    assert entry is not None
    assert V1.subscribe(entry, bind(entry, []).values, [], "t") == (
        b'{"event":"subscribe", "subscription":{"name":"balances", "token":"t"}}'
    )


def exactly(value: Any) -> Any:
    """Make True differ from 1, and 60 from "60"."""
    if isinstance(value, dict):
        return {name: exactly(item) for name, item in value.items()}
    if isinstance(value, list):
        return [exactly(item) for item in value]
    return type(value).__name__, value
