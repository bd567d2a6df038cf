"""Captured v2 frames of status, heartbeats, answers, refusals and balances say what they are."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from krakenws.core import dialect as d
from krakenws.core.dialect import Envelope, Malformed
from krakenws.core.v2 import V2

if TYPE_CHECKING:
    from collections.abc import Callable

    Capture = Callable[[str], list[tuple[str | None, str, str]]]

CAPTURES = [
    "v2_refusals_2026.jsonl",
    "v2_public_2024.jsonl",
    "v2_private_2024.jsonl",
    "v2_examples_from_docs.jsonl",
    "v2_book10_trade_ethusd.jsonl",
]


def received(read_capture: Capture, name: str) -> list[str]:
    return [frame for _, direction, frame in read_capture(name) if direction == "in"]


@pytest.mark.parametrize("name", CAPTURES)
def test_every_captured_frame_is_known_or_is_no_json(read_capture: Capture, name: str) -> None:
    malformed = []
    kinds: Counter[str] = Counter()
    for frame in received(read_capture, name):
        try:
            kinds[V2.classify(frame.encode()).kind] += 1
        except Malformed:
            malformed.append(frame)
    assert d.UNKNOWN not in kinds
    assert malformed in ([], ["CloudFlare WebSocket proxy restarting"])
    assert bool(malformed) == (name == "v2_public_2024.jsonl")


def test_refusals_of_2026_name_what_they_refuse(read_capture: Capture) -> None:
    envelopes = [V2.classify(frame.encode()) for frame in received(read_capture, "v2_refusals_2026.jsonl")]
    status, ack, *refused = envelopes[:6]
    assert (status.kind, status.status) == (d.STATUS, "online")
    assert V2.status_details(status) == ("2.0.10", "18125794168470749634")
    assert (ack.kind, ack.channel, ack.symbol, ack.status) == (d.ACK, "trade", "BTC/USD", "subscribed")
    assert V2.confirmed(ack) == {"snapshot": False}
    assert [(e.kind, e.channel, e.symbol) for e in refused] == [
        (d.ACK, "", "XBT/USD"),
        (d.ACK, "", ""),
        (d.ACK, "", ""),
        (d.ACK, "executions", ""),
    ]
    assert refused[0].error == "Currency pair not supported XBT/USD"
    assert refused[3].error == "ESession:Invalid session"


def test_captured_heartbeats_and_answers_are_told_from_data(read_capture: Capture) -> None:
    kinds = Counter(
        V2.classify(frame.encode()).kind for frame in received(read_capture, "v2_book10_trade_ethusd.jsonl")
    )
    assert kinds == {d.DATA: 2404, d.HEARTBEAT: 23, d.ACK: 2, d.STATUS: 1}


def test_captured_balances_keep_digits_sequence_and_type(read_capture: Capture) -> None:
    envelopes = [V2.classify(frame.encode()) for frame in received(read_capture, "v2_private_2024.jsonl")]
    balances = [e for e in envelopes if e.kind == d.DATA and e.channel == "balances"]
    assert [(e.symbol, e.snapshot, e.sequence) for e in balances] == [
        ("", True, 1),
        ("", False, 4),
        ("", False, 5),
    ]
    assert balances[0].body[1]["balance"] == "774.6366982600"
    assert balances[2].body[0]["fee"] == "0.0000000000"
    acks = [e for e in envelopes if e.kind == d.ACK and e.channel == "balances"]
    assert [_ack(e) for e in acks] == [("subscribed", 10312008, {"snapshot": True})]


def _ack(envelope: Envelope) -> tuple[str, int | None, dict[str, object]]:
    return envelope.status, envelope.req_id, V2.confirmed(envelope)
