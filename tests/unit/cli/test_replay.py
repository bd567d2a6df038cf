"""The words of `krakenws replay`, and what it says when they do not fit."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from krakenws.cli.replay import parse_listen, parse_speed, run_replay
from krakenws.errors import UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from krakenws.exchange.protocol import Venue


def start(path: object, *, listen: str = "127.0.0.1:0", speed: str = "1") -> int:
    return run_replay(str(path), listen=listen, speed=speed, loop=False, tls=None, ready=lambda _: None)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:9000", ("127.0.0.1", 9000)),
        ("9000", ("127.0.0.1", 9000)),
        (":0", ("127.0.0.1", 0)),
        ("localhost", ("localhost", 8766)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:9000", ("::1", 9000)),
        ("[::1]", ("::1", 8766)),
    ],
)
def test_what_the_listen_address_leaves_out_is_loopback_and_the_default_port(
    text: str, address: tuple[str, int]
) -> None:
    assert parse_listen(text) == address


@pytest.mark.parametrize("text", ["127.0.0.1:", "host:http", "host:65536", "::1", "host:-1", "host:٣"])
def test_a_listen_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is not HOST:PORT"):
        parse_listen(text)


def test_speed_is_a_factor_or_max() -> None:
    assert parse_speed("0.5") == 0.5
    assert parse_speed("max") == float("inf")


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "fast", ""])
def test_any_other_speed_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is neither max nor a number above 0"):
        parse_speed(text)


def test_a_missing_recording_is_refused_with_the_way_to_the_demo(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file or directory; 'demo' plays a built-in recording"):
        start(tmp_path / "missing.jsonl")


def test_a_directory_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the recording .*: Is a directory$"):
        start(tmp_path)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "the recording is empty"),
        ('{"t":null,"dir":"out","frame":"{}"}\n', "the recording is empty"),
        ('{"event":"heartbeat"}\n', "no data frame of API v1"),
        ("[1]\nnonsense\n", "line 2 of the recording"),
    ],
)
def test_a_recording_with_nothing_to_play_is_refused(tmp_path: Path, text: str, error: str) -> None:
    path = tmp_path / "some.jsonl"
    path.write_text(text)
    with pytest.raises(UsageError, match=error):
        start(path)


def test_a_dash_reads_standard_input_and_slow_readers_are_mentioned(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    venues = []

    def run(venue: Venue, *_: object) -> int:
        venues.append(venue)
        return 2

    monkeypatch.setattr("krakenws.net.server.run", run)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b'[1,{},"ticker","XBT/USD"]\n')))
    assert start("-", speed="max") == 0
    assert venues[0].patient
    assert "2 clients were disconnected" in capsys.readouterr().err
