"""What the sandbox says on API v2 is what Kraken was captured saying: made anew, the frames are the same."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import pytest

from krakenws.core.v2_entries import BALANCES
from krakenws.exchange import balances
from krakenws.exchange.instruments import ASSETS
from krakenws.exchange.ledger import TRADE, LedgerEntry, Posting
from krakenws.exchange.protocol import ServerProtocol, Subscription, Venue
from krakenws.exchange.requests import Refusal
from krakenws.exchange.v2 import V2

if TYPE_CHECKING:
    from collections.abc import Callable

    Capture = Callable[[str], list[tuple[str | None, str, str]]]

KEYS = {asset.symbol: asset.key for asset in ASSETS}


class Nobody(Venue):
    """Knows one token, and a time."""

    def __init__(self, at: str = "") -> None:
        self._at_us = at_us(at) if at else 0

    def at_us(self, now: float) -> int:
        return self._at_us

    def authorize(self, token: str) -> str:
        if token != "anotherToken":
            raise Refusal("ESession:Invalid session")
        return token

    def subscribe(self, _subscription: Subscription, _now: float, /) -> int | None:
        return None

    def begin(self, _subscription: Subscription, _now: float, /) -> None:
        """Nothing comes."""


def at_us(text: str) -> int:
    epoch = datetime.fromisoformat("1970-01-01T00:00:00Z")
    return (datetime.fromisoformat(text) - epoch) // timedelta(microseconds=1)


def answer(request: dict[str, Any], captured: str, *, private: bool) -> dict[str, Any]:
    """What the sandbox answers at the time of the captured answer, which here is also when it was asked."""
    venue = Nobody(json.loads(captured)["time_in"])
    protocol = ServerProtocol(venue, private=private, connection_id=1, now=0.0, dialect=V2)
    protocol.frames_to_send()
    protocol.receive(json.dumps(request).encode(), 0.0)
    (frame,) = protocol.frames_to_send()
    told: dict[str, Any] = json.loads(frame)
    told["time_out"] = json.loads(captured)["time_out"]
    return told


def captured(read_capture: Capture, name: str, *words: str) -> str:
    (frame,) = [
        text for _, way, text in read_capture(name) if way == "in" and all(word in text for word in words)
    ]
    return frame


@pytest.mark.parametrize(
    ("name", "words", "request_", "private"),
    [
        (
            "v2_private_2024.jsonl",
            ['"result":{"channel":"balances"'],
            {
                "method": "subscribe",
                "params": {"channel": "balances", "token": "anotherToken", "snapshot": True},
                "req_id": 10312008,
            },
            True,
        ),
        ("v2_public_2024.jsonl", ['"method":"pong"'], {"method": "ping", "req_id": 1}, False),
        (
            "v2_public_2024.jsonl",
            ["Unsupported field: 'params'"],
            {"method": "ping", "params": {}, "req_id": 0},
            False,
        ),
        (
            "v2_public_2024.jsonl",
            ["Unsupported event"],
            {"method": "subscribe", "params": {"channel": "spread"}, "req_id": 0},
            False,
        ),
        (
            "v2_refusals_2026.jsonl",
            ["Private data and trading"],
            {"method": "subscribe", "params": {"channel": "balances", "token": "anotherToken"}},
            False,
        ),
        (
            "v2_refusals_2026.jsonl",
            ["Public market data"],
            {"method": "subscribe", "params": {"channel": "ticker", "symbol": ["BTC/USD"]}},
            True,
        ),
    ],
)
def test_answers_are_the_captured_ones(
    read_capture: Capture, name: str, words: list[str], request_: dict[str, Any], private: bool
) -> None:
    frame = captured(read_capture, name, *words)
    assert answer(request_, frame, private=private) == json.loads(frame)


def test_an_invalid_session_is_refused_in_the_captured_shape(read_capture: Capture) -> None:
    frame = captured(read_capture, "v2_refusals_2026.jsonl", "ESession:Invalid session")
    request = {"method": "subscribe", "params": {"channel": "balances", "token": "another"}}
    assert answer(request, frame, private=True) == {**json.loads(frame), "channel": "balances"}


def test_the_greeting_is_the_captured_one_of_2024(read_capture: Capture) -> None:
    """Its order of keys too; of 2026 there are captures with two more lists, and without."""
    frame = next(text for _, _, text in read_capture("v2_public_2024.jsonl") if '"channel":"status"' in text)
    protocol = ServerProtocol(
        Nobody(), private=False, connection_id=12393906104898154338, now=0.0, dialect=V2
    )
    assert protocol.frames_to_send() == [frame.replace('"2.0.4"', '"2.0.10"').encode()]


def test_the_heartbeat_is_the_captured_one(read_capture: Capture) -> None:
    assert captured(read_capture, "v2_public_2024.jsonl", "heartbeat") == V2.heartbeat.decode()


class Wire:
    """A client that keeps what it is sent."""

    dialect = V2

    def __init__(self) -> None:
        self.frames: list[str] = []

    def publish(self, frame: bytes) -> None:
        self.frames.append(frame.decode())


def updates(read_capture: Capture) -> list[str]:
    return [
        text
        for _, _, text in read_capture("v2_private_2024.jsonl")
        if '"channel":"balances","type":"update"' in text
    ]


def test_an_update_of_balances_is_made_byte_for_byte(read_capture: Capture) -> None:
    for text in updates(read_capture):
        message = json.loads(text, parse_float=Decimal)
        (told,) = message["data"]
        if told["asset"] not in KEYS:  # this one was never traded here
            continue
        posting = Posting(KEYS[told["asset"]], told["amount"], told["fee"], told["balance"])
        entry = LedgerEntry(told["ledger_id"], told["ref_id"], TRADE, posting, at_us(told["timestamp"]))
        wire = Wire()
        subscription = Subscription(cast("ServerProtocol", wire), "", BALANCES, {}, "")
        subscription.sequence = message["sequence"] - 1
        subscription.publish(balances.update(entry))
        assert wire.frames == [text]
        return
    pytest.fail("no capture of an asset that is traded here")


def test_a_snapshot_of_balances_has_the_captured_keys_in_their_order(read_capture: Capture) -> None:
    text = captured(read_capture, "v2_private_2024.jsonl", '"channel":"balances","type":"snapshot"')
    theirs = next(entry for entry in json.loads(text)["data"] if entry["wallets"])
    (ours,) = json.loads(balances.snapshot({"ZUSD": Decimal("160.2405")}))
    assert list(ours) == list(theirs)
    assert list(ours["wallets"][0]) == list(theirs["wallets"][0])
    assert {**ours, "wallets": None} == {**theirs, "wallets": None}
    wire = Wire()
    Subscription(cast("ServerProtocol", wire), "", BALANCES, {}, "").publish(b"[]", snapshot=True)
    assert list(json.loads(wire.frames[0])) == list(json.loads(text))


def test_heartbeats_come_each_second_although_the_book_never_rests(read_capture: Capture) -> None:
    """Against Kraken's own words ("when nothing else is sent"), as on API v1."""
    last_us, beats_us = 0, []
    for _, _, text in read_capture("v2_book10_trade_ethusd.jsonl"):
        message = json.loads(text)
        if message.get("channel") == "heartbeat":
            beats_us.append(last_us)
        elif message.get("channel") == "book" and "timestamp" in message["data"][0]:
            last_us = at_us(message["data"][0]["timestamp"])
    pauses = [later - before for before, later in pairwise(beats_us[1:])]
    assert len(pauses) >= 20
    assert all(500_000 < pause < 1_500_000 for pause in pauses)
