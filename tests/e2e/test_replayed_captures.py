"""Real frames over a real socket: `krakenws replay` on one side, the client on the other."""

from __future__ import annotations

import json
from contextlib import contextmanager
from shlex import split
from typing import TYPE_CHECKING

import pytest

from tests.support.captures import captures_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Certificates
    from tests.support.command import Command, Process

CHECKSUMS = {"ADA/XBT": 347, "GRT/ETH": 20, "SC/EUR": 818, "XBT/CHF": 289}
"""Of the captures' README."""


@pytest.fixture(scope="session")
def capture() -> Path:
    """The capture of four whole books."""
    return captures_directory() / "v1_book1000_four_pairs.jsonl"


@contextmanager
def replaying(command: Command, *words: str) -> Iterator[tuple[Process, str]]:
    """Serve a recording on any free port; give the process and the URL it printed."""
    with command.start("replay", *words, "--listen", "127.0.0.1:0") as process:
        yield process, process.line().rpartition(" ")[2]


def words_of(url: str) -> list[str]:
    """The command that reads the four books."""
    return ["book", *CHECKSUMS, "1000", "-ojson", "--public-url", url]


@pytest.mark.parametrize("secure", [False, True])
def test_every_checksum_of_the_capture_is_verified_over_a_socket(
    krakenws: Command, capture: Path, certificates: Certificates, secure: bool
) -> None:
    tls = ["--tls", certificates.chain, certificates.key] if secure else []
    with replaying(krakenws, str(capture), "--speed", "max", *tls) as (_, url):
        assert url.startswith("wss://" if secure else "ws://")
        total = len(CHECKSUMS) + sum(CHECKSUMS.values())
        result = krakenws.run(*words_of(url), "--count", str(total), "--cafile", certificates.authority)
    assert (result.code, result.err) == (0, "")
    updates = [event for event in result.events if event["event"] == "update"]
    for pair, count in CHECKSUMS.items():
        told = [(event["type"], event["trust"]) for event in updates if event["symbol"] == pair]
        assert told == [("snapshot", "unverified"), *[("update", "verified")] * count]


def test_a_late_joiner_gets_a_snapshot_that_verifies(krakenws: Command, capture: Path) -> None:
    with (
        replaying(krakenws, str(capture), "--speed", "20") as (_, url),
        krakenws.start(*words_of(url)) as first,
    ):
        for _ in range(60):
            first.event("update")
        late = krakenws.run(*words_of(url), "--count", "100")
    assert (late.code, late.err) == (0, "")
    trust = {(event["type"], event["trust"]) for event in late.events if event["event"] == "update"}
    assert trust == {("snapshot", "unverified"), ("update", "verified")}


def test_raw_over_a_socket_is_the_recording(krakenws: Command, capture: Path) -> None:
    recorded = [json.loads(line)["frame"] for line in capture.read_text().splitlines()]
    frames = [frame for frame in recorded if frame.endswith('"book-1000","SC/EUR"]')]
    with replaying(krakenws, str(capture), "--speed", "max") as (_, url):
        words = split(f"book SC/EUR 1000 -oraw --count {len(frames)} --public-url {url}")
        result = krakenws.run(*words)
    assert [line for line in result.lines if line.startswith("[")] == frames


def test_the_demo_needs_no_file_and_no_network(krakenws: Command) -> None:
    with replaying(krakenws, "demo", "--speed", "max", "--loop") as (_, url):
        ping = krakenws.run("ping", "--public-url", url)
        ticker = krakenws.run(*split(f"ticker XBT/USD --count 1 --public-url {url}"))
        drop_in = krakenws.called("krakenws.py").run(*split(f"trade XBT/USD --count 1 --public-url {url}"))
    assert [ping.code, ticker.code, drop_in.code] == [0, 0, 0]
    assert drop_in.lines[0].startswith("WebSocket -> Client: {")
    assert ticker.stream[-1]["data"]


def test_what_the_recording_lacks_is_refused(krakenws: Command, capture: Path) -> None:
    with replaying(krakenws, str(capture), "--speed", "max") as (_, url):
        result = krakenws.run(*split(f"ticker XBT/USD -otext --public-url {url}"))
    assert result.code == 5


def test_a_recording_may_come_from_standard_input(krakenws: Command, capture: Path) -> None:
    lines = capture.read_text().splitlines()[:200]
    with krakenws.start("replay", "-", "--listen", "127.0.0.1:0", "--speed", "max") as process:
        process.send("".join(f"{line}\n" for line in lines))
        process.end_input()
        url = process.line().rpartition(" ")[2]
        assert krakenws.run("ping", "--public-url", url).code == 0


@pytest.mark.parametrize("end", ["interrupt", "terminate"])
def test_a_signal_ends_the_server_with_0_also_while_somebody_listens(krakenws: Command, end: str) -> None:
    with (
        replaying(krakenws, "demo", "--speed", "max", "--loop") as (server, url),
        krakenws.start(*split(f"ticker XBT/USD --reconnect never --public-url {url}")) as client,
    ):
        client.event("update")
        getattr(server, end)()
        assert server.finish().code == 0
        assert client.finish().code == 4


def test_an_address_in_use_is_one_sentence(krakenws: Command) -> None:
    with replaying(krakenws, "demo") as (_, url):
        result = krakenws.run("replay", "demo", "--listen", url.removeprefix("ws://"), "-otext")
    assert result.code == 2
    assert "--listen" in result.sentence
