"""What a client may ask of the exchange, and what happens beyond."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from krakenws.exchange import limits as module
from krakenws.exchange.limits import Callers, Limits, Visitors
from krakenws.exchange.protocol import ServerProtocol, Venue
from krakenws.exchange.requests import Refusal

if TYPE_CHECKING:
    import pytest

HERE, THERE = "127.0.0.1", "::1"


def test_the_attempt_beyond_the_limit_is_refused_and_so_is_everything_for_as_long_again() -> None:
    visitors = Visitors(Limits(connections=3, window_s=600.0))
    assert [visitors.admit(HERE, now) for now in (0.0, 1.0, 2.0, 3.0)] == [True, True, True, False]
    assert not visitors.admit(HERE, 602.9)
    assert visitors.admit(HERE, 603.0)


def test_attempts_are_counted_in_a_rolling_window() -> None:
    visitors = Visitors(Limits(connections=2, window_s=600.0))
    assert all(visitors.admit(HERE, now) for now in (0.0, 500.0, 600.0, 1100.0))
    assert not visitors.admit(HERE, 1150.0)


def test_one_address_is_not_refused_for_another() -> None:
    visitors = Visitors(Limits(connections=1))
    assert visitors.admit(HERE, 0.0)
    assert not visitors.admit(HERE, 0.0)
    assert visitors.admit(THERE, 0.0)


def test_the_number_of_addresses_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ADDRESSES", 2)
    visitors = Visitors(Limits(connections=1))
    assert all(visitors.admit(str(number), 0.0) for number in range(3))
    assert visitors.admit("0", 0.0), "forgotten"


def counted(callers: Callers, address: str, now: float) -> str:
    """Make a public call; what it was refused with."""
    try:
        callers.count(address, Limits(calls_per_s=1.0, call_burst=2), now)
    except Refusal as refusal:
        return refusal.code
    return ""


def test_public_calls_beyond_the_burst_are_refused_to_their_address_until_time_has_passed() -> None:
    callers, refused = Callers(), "EGeneral:Too many requests"
    assert [counted(callers, HERE, 0.0) for _ in range(3)] == ["", "", refused]
    assert counted(callers, THERE, 0.0) == ""
    assert [counted(callers, HERE, now) for now in (0.9, 1.0, 1.5, 2.0)] == [refused, "", refused, ""]


def test_the_number_of_callers_counted_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ADDRESSES", 2)
    callers = Callers()
    for address in ("0", "0", "1", "2"):
        assert counted(callers, address, 0.0) == ""
    assert counted(callers, "0", 0.0) == "", "forgotten"


def answers(protocol: ServerProtocol, count: int, now: float) -> list[dict[str, Any]]:
    """Send so many pings at once, numbered from 0."""
    protocol.frames_to_send()
    for number in range(count):
        protocol.receive(b'{"event":"ping","reqid":%d}' % number, now)
    return [json.loads(frame) for frame in protocol.frames_to_send()]


def limited(limits: Limits | None) -> ServerProtocol:
    venue = Venue()
    venue.limits = limits
    return ServerProtocol(venue, private=False, connection_id=1, now=0.0)


def test_messages_beyond_the_burst_are_refused_with_their_reqid_until_time_has_passed() -> None:
    protocol = limited(Limits(messages_per_s=20.0, burst=3))
    told = answers(protocol, 4, 0.0)
    assert [answer["event"] for answer in told] == ["pong", "pong", "pong", "error"]
    assert told[3] == {"errorMessage": "Exceeded msg rate", "event": "error", "reqid": 3}
    assert [answer["event"] for answer in answers(protocol, 3, 0.1)] == ["pong", "pong", "error"]


def test_a_refused_message_has_no_effect() -> None:
    protocol = limited(Limits(burst=1))
    answers(protocol, 1, 0.0)
    protocol.receive(b'{"event":"nonsense"}', 0.0)
    assert json.loads(protocol.frames_to_send()[0]) == {"errorMessage": "Exceeded msg rate", "event": "error"}


def test_a_venue_without_limits_answers_everything() -> None:
    assert {answer["event"] for answer in answers(limited(None), 1000, 0.0)} == {"pong"}
