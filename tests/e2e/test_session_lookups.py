"""What a line of a session has to find out first: nobody else waits for it, and nothing else stops."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import pytest

from tests.e2e.test_checks_and_policy import write_policy
from tests.e2e.test_session_socket import serving
from tests.support.command import DEADLINE_S, Command
from tests.support.rest import Answer, ScriptedRest, serve
from tests.support.sandbox import Sandbox, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler

ORDER = "addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01"


@pytest.fixture
def sandbox(krakenws: Command) -> Iterator[Sandbox]:
    with running(krakenws, "--pairs", "XBT/USD,ETH/USD,ETH/EUR") as found:
        yield found


@contextmanager
def slow(sandbox: Sandbox) -> Iterator[tuple[ScriptedRest, threading.Event]]:
    """Give a REST that has the sandbox's pairs, and keeps them back until the event is set."""
    free = threading.Event()
    with urlopen(sandbox.told["REST"] + "/0/public/AssetPairs", timeout=DEADLINE_S) as answer:
        pairs = answer.read()

    def write(handler: BaseHTTPRequestHandler) -> None:
        free.wait(DEADLINE_S)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(pairs)))
        handler.end_headers()
        handler.wfile.write(pairs)

    try:
        with serve(Answer("", write=write)) as rest:
            yield rest, free
    finally:
        free.set()


@pytest.mark.parametrize(
    ("line", "told"), [("ticker '*/EUR' id=slow", "subscribed"), (f"{ORDER} validate=true id=slow", "reply")]
)
def test_a_line_that_needs_the_list_of_pairs_holds_up_only_its_callers_next_lines(
    sandbox: Sandbox, line: str, told: str
) -> None:
    sandbox.command.environ["KRAKENWS_TOKEN"] = sandbox.token()
    with slow(sandbox) as (rest, free), serving(sandbox.command, "--rest-url", rest.url) as (_, readers):
        waits, streams = readers.connect(), readers.connect()
        streams.send("ticker XBT/USD id=1\n")
        streams.answer("1")
        waits.send(f"{line}\nstatus id=after\n")
        streams.send("ping id=2\n")
        assert streams.answer("2")["event"] == "pong"
        streams.streams(len(streams.lines) + 5)
        assert not [event for event in waits.events if "id" in event]
        free.set()
        events = waits.wait(lambda events: {"after", "slow"} <= {event.get("id") for event in events})
        answer = next(event for event in events if event.get("id") == "slow")
        assert answer["event"] == told
        assert "error" not in answer


def test_what_two_callers_wait_for_is_asked_once(sandbox: Sandbox) -> None:
    with slow(sandbox) as (rest, free), serving(sandbox.command, "--rest-url", rest.url) as (_, readers):
        clients = [readers.connect() for _ in range(3)]
        for client in clients:
            client.send("ticker 'ETH/*' id=1\n")
        last = readers.connect()  # whose line is looked at after theirs
        last.send("status id=1\n")
        last.answer("1")
        free.set()
        for client in clients:
            client.wait(lambda events: sum(event.get("id") == "1" for event in events) == 2)
            told = [(event["event"], event["symbol"]) for event in client.events if "id" in event]
            assert sorted(told) == [("subscribed", "ETH/EUR"), ("subscribed", "ETH/USD")]
        assert len(rest.asked) == 1


def test_a_policy_that_looks_at_the_market_holds_up_nobody_and_the_end_answers_its_line(
    sandbox: Sandbox,
) -> None:
    write_policy(sandbox.command, "price_collar_percent = 99")
    fault = json.dumps({"fault": "mute", "channel": "book"}).encode()
    with urlopen(sandbox.told["REST"] + "/sandbox/faults", data=fault, timeout=DEADLINE_S) as answer:
        assert answer.status < 300
    with serving(sandbox.command, "--ack-timeout", "60s") as (process, readers):
        waits, other = readers.connect(), readers.connect()
        waits.send(f"{ORDER} id=slow\nstatus id=after\n")
        other.send("ticker XBT/USD id=1\nping id=2\n")
        assert other.answer("2")["event"] == "pong"
        other.streams(len(other.lines) + 5)
        assert not [event for event in waits.events if "id" in event]
        process.terminate()
        waits.wait(lambda events: any("id" in event for event in events))
        answer = waits.answer("slow")
        assert (answer["event"], answer["message"]) == ("error", "the session ends")
        assert process.finish().code == 0


def test_a_policy_counts_each_order_of_a_session_once(sandbox: Sandbox) -> None:
    write_policy(sandbox.command, "max_volume_per_day = { XBT = 0.025 }")
    lines = "".join(f"{ORDER} id={number}\n" for number in range(1, 4))
    with sandbox.command.start("session") as process:
        process.send(lines)
        told: dict[str, dict[str, Any]] = {}
        while len(told) < 3:
            event = process.event()
            if "id" in event:
                told[event["id"]] = event
        process.send("quit\n")
        assert process.finish().code == 0
    assert [told[name]["event"] for name in "123"] == ["reply", "reply", "error"]
    assert "0.03 XBT today is more than 0.025 XBT" in told["3"]["message"]
    assert told["3"]["code"] == 8
