"""When the first data of a subscription come: the sandbox's delay is the captured one."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING

from krakenws.exchange.sandbox import SNAPSHOT_S

if TYPE_CHECKING:
    from collections.abc import Callable

    ReadCapture = Callable[[str], list[tuple[str | None, str, str]]]


def delays(frames: list[tuple[str | None, str, str]]) -> dict[str, float]:
    """Return by pair how many seconds after its ack the first data came, in the order in which they came."""
    acked: dict[str, float] = {}
    delays_s: dict[str, float] = {}
    for at, direction, text in frames:
        if direction == "out" or at is None:
            continue
        message = json.loads(text)
        if isinstance(message, list):
            delays_s.setdefault(message[-1], float(at) - acked[message[-1]])
        elif message["event"] == "subscriptionStatus":
            acked[message["pair"]] = float(at)
    assert acked.keys() >= delays_s.keys()
    return delays_s


def test_books_of_2021_began_within_the_bounds_and_not_in_the_order_of_their_acks(
    read_capture: ReadCapture,
) -> None:
    frames = read_capture("v1_book1000_four_pairs.jsonl")
    begun = delays(frames)
    assert list(begun) == ["ADA/XBT", "XBT/CHF", "SC/EUR", "GRT/ETH"]  # acks: the other way round
    assert all(SNAPSHOT_S[0] < delay_s < SNAPSHOT_S[1] for delay_s in begun.values())


def test_a_book_of_2026_began_within_the_bounds(read_capture: ReadCapture) -> None:
    _, ack, *rest = (json.loads(text) for _, _, text in read_capture("v2_book10_trade_ethusd.jsonl")[:8])
    snapshot = next(m for m in rest if m.get("type") == "snapshot")
    sent, taken = (datetime.fromisoformat(t) for t in (ack["time_out"], snapshot["data"][0]["timestamp"]))
    assert SNAPSHOT_S[0] < (taken - sent).total_seconds() < SNAPSHOT_S[1]


def test_tickers_of_2021_began_at_once(read_capture: ReadCapture) -> None:
    begun = delays(read_capture("v1_ticker.jsonl"))
    assert len(begun) == 10
    assert max(begun.values()) < 0.01
