"""What a session's callers send, cut into lines."""

from __future__ import annotations

import pytest

from krakenws.cli import caller as module
from krakenws.cli.caller import Lines


def taken(lines: Lines) -> list[bytes | None]:
    found = []
    while lines.whole:
        found.append(lines.take())
    return found


@pytest.mark.parametrize(
    ("pieces", "found"),
    [
        ([b""], []),
        ([b"ping"], []),
        ([b"ping\n"], [b"ping"]),
        ([b"pi", b"ng", b"\npong", b"\n\n"], [b"ping", b"pong", b""]),
        ([b"ping\r\npong\n"], [b"ping\r", b"pong"]),
        ([b"12345678\n"], [b"12345678"]),
        ([b"123456789\nping\n"], [None, b"ping"]),
        ([b"12345", b"6789", b"0\nping\n"], [None, b"ping"]),
        ([b"1234567890", b"1234567890", b"\nping\n"], [None, b"ping"]),
    ],
)
def test_lines_are_cut_however_they_come(
    pieces: list[bytes], found: list[bytes | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE_BYTES", 8)
    at_once, at_the_end = Lines(), Lines()
    told = []
    for piece in pieces:
        at_once.feed(piece)
        at_the_end.feed(piece)
        told += taken(at_once)
    assert told == found
    assert taken(at_the_end) == found


def test_what_is_left_at_the_end_is_a_line() -> None:
    lines = Lines()
    lines.feed(b"ping\npong")
    assert taken(lines) == [b"ping"]
    lines.end()
    assert taken(lines) == [b"pong"]
    lines.end()
    assert not lines.whole


def test_a_line_too_long_is_told_once_where_its_end_never_came(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE_BYTES", 8)
    lines = Lines()
    lines.feed(b"1234567890")
    assert not lines.whole
    lines.end()
    assert taken(lines) == [None]


def test_nothing_is_left_of_what_is_cleared() -> None:
    lines = Lines()
    lines.feed(b"ping\npong\nli")
    lines.take()
    lines.clear()
    assert not lines.whole
    lines.feed(b"ne\n")
    assert taken(lines) == [b"ne"]
