"""`krakenws wait`: how it ends, and that it believes verified data only."""

from __future__ import annotations

import json
from shlex import split
from threading import Event
from typing import TYPE_CHECKING

import pytest

from tests.support.command import DEADLINE_S
from tests.support.sandbox import running
from tests.support.scripts import HEARTBEAT, Ladder, acknowledges, streams
from tests.support.server import acks, exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Command
    from tests.support.sandbox import Sandbox
    from tests.support.server import Connection, Script

SOON = ("--timeout", "3s")
"""For what cannot happen."""
LONG = ("--timeout", "15s")
"""For what happens at once."""
ASK = "XBT/USD ask > 1"


@pytest.fixture
def sandbox(krakenws: Command) -> Iterator[Sandbox]:
    with running(krakenws, "--pairs", "XBT/USD,ETH/USD") as one:
        yield one


def proves(ladder: Ladder, *, checksum: str | None = None) -> Script:
    """Send a book, then its first checksum, and go on standing."""
    return streams(ladder.snapshot(), ladder.update("64005.10000", "3.00000000", checksum=checksum))


def test_every_quantity_is_known_at_the_sandbox(sandbox: Sandbox) -> None:
    condition = (
        "btc/usd ask > XBT/USD bid and XBT/USD mid < XBT/USD ask and XBT/USD spread > 0"
        " and XBT/USD last > ETH/USD last and XBT/USD volume >= 0 for 0.5s"
    )
    result = sandbox.command.run("wait", condition, *LONG, "-o", "json")
    assert result.code == 0, result
    (met,) = result.events
    assert met["event"] == "met"
    assert met["condition"] == condition.replace("btc/usd", "XBT/USD")
    assert met["held_s"] >= 0.5
    named = [(value["symbol"], value["quantity"]) for value in met["values"]]
    assert set(named) == {
        *(("XBT/USD", name) for name in ("ask", "bid", "mid", "spread", "last", "volume")),
        ("ETH/USD", "last"),
    }


def test_a_book_is_believed_again_after_the_sandbox_sent_a_wrong_checksum(sandbox: Sandbox) -> None:
    fault = json.dumps({"fault": "bad_checksum", "channel": "book", "times": 3})
    with running(sandbox.command, "--pairs", "XBT/USD", "--faults", fault) as faulty:
        result = faulty.command.run("wait", ASK, *LONG, "-o", "text")
    assert result.code == 0, result
    assert result.out.startswith("met: XBT/USD ask > 1 (XBT/USD ask ")
    assert len(result.lines) == 1


def test_what_does_not_come_true_ends_with_124_and_what_was_seen(sandbox: Sandbox) -> None:
    result = sandbox.run("wait 'XBT/USD bid < 1' --timeout 5s")
    assert result.code == 124, result
    (error,) = result.events
    assert (error["event"], error["code"], error["retryable"]) == ("error", 124, True)
    assert error["message"].startswith("not met in time: XBT/USD bid < 1 (XBT/USD bid ")


def test_a_pair_that_the_exchange_refuses_ends_it_with_5_although_the_rest_could_go_on(
    sandbox: Sandbox,
) -> None:
    result = sandbox.run("wait 'XBT/USD bid < 1 or DOG/CAT bid > 1'", KRAKENWS_OUTPUT="text")
    assert result.code == 5, result
    assert result.sentence == "book DOG/CAT refused: Currency pair not supported DOG/CAT"


@pytest.mark.parametrize("output", ["text", "transcript", "raw", "csv"])
def test_for_people_it_says_one_line_when_met(krakenws: Command, output: str) -> None:
    with exchange(proves(Ladder())) as server:
        result = krakenws.run("wait", ASK, *LONG, "-o", output, *server.options)
    assert result == (0, "met: XBT/USD ask > 1 (XBT/USD ask 64001.10000)\n", "")


def test_a_snapshot_alone_is_not_believed(krakenws: Command) -> None:
    with exchange(streams(Ladder().snapshot())) as server:
        result = krakenws.run("wait", ASK, *SOON, *server.options)
    assert result.code == 9
    assert "wait could not judge XBT/USD ask > 1 in time: the book of XBT/USD is unverified" in result.err


def test_a_gap_that_is_open_at_the_end_is_9_and_not_124(krakenws: Command) -> None:
    ladder = Ladder()
    proof = ladder.snapshot(), ladder.update("64005.10000", "3.00000000")
    with exchange(streams(*proof, ladder.update("64005.10000", "4.00000000", checksum="1"))) as server:
        result = krakenws.run("wait", "XBT/USD ask > 70000", *SOON, *server.options)
    assert result.code == 9, result
    assert "the book of XBT/USD is broken: checksum" in result.err


def test_strict_ends_it_at_the_first_doubt(krakenws: Command) -> None:
    with exchange(proves(Ladder(), checksum="1")) as server:
        result = krakenws.run("wait", "XBT/USD ask > 70000", "--strict", *LONG, *server.options)
    assert result.code == 9
    assert "--strict" in result.err


def test_a_lost_connection_is_made_again_and_waited_on(krakenws: Command) -> None:
    def breaks(client: Connection) -> None:
        client.serve(Ladder().snapshot())
        client.reset()

    with exchange([breaks, proves(Ladder())]) as server:
        result = krakenws.run("wait", ASK, *LONG, *server.options)
    assert result.code == 0, result
    assert len(server.connections) == 2


def test_what_was_true_before_a_break_has_to_hold_anew(krakenws: Command) -> None:
    def breaks(client: Connection) -> None:
        ladder = Ladder()
        client.serve(ladder.snapshot(), ladder.update("64005.10000", "3.00000000"), HEARTBEAT)
        client.reset()

    with exchange([breaks, acknowledges]) as server:
        result = krakenws.run("wait", f"{ASK} for 0.5s", "--timeout", "3s", *server.options)
    assert result.code == 9, result


def test_an_exchange_that_is_not_there_is_4(krakenws: Command) -> None:
    with exchange() as server:
        options = server.options
    result = krakenws.run("wait", ASK, *LONG, *options)
    assert result.code == 4, result


@pytest.mark.parametrize("signal", ["interrupt", "terminate"])
def test_a_signal_ends_it_with_130_so_that_nothing_goes_on(krakenws: Command, signal: str) -> None:
    asked = Event()

    def script(client: Connection) -> None:
        client.greet()
        client.expect(event="subscribe")
        asked.set()
        client.hold()

    with exchange(script) as server, krakenws.start("wait", ASK, *server.options) as process:
        assert asked.wait(DEADLINE_S)
        getattr(process, signal)()
        assert process.finish() == (130, "", "")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("wait", "wait needs a condition, such as 'XBT/USD bid >= 65000'"),
        ("wait 'XBT/USD bdi > 1'", "did you mean bid?"),
        ("wait XBT/USD bid 65000", "quote the condition"),
        ("wait 'XBT/USD bid > 1' --for 3s", "as in 'XBT/USD bid >= 65000 for 3s'"),
        ("wait 'XBT/USD bid > 1' --count 3", "wait takes no --count"),
        ("wait 'XBT/USD bid > 1' --no-verify", "leave out --no-verify"),
        ("wait 'XBT/USD bid > 1' --api 2", "leave out --api"),
        ("wait 'XBT/USD bid > 1' --timeout soon", "is not a duration"),
        ("ticker XBT/USD --timeout 3s", "--timeout belongs to krakenws wait"),
    ],
)
def test_a_slip_is_told_before_anything_is_opened(krakenws: Command, line: str, said: str) -> None:
    result = krakenws.run(*split(line))
    assert result.code == 2
    assert said in result.err


def test_what_is_kept_for_other_commands_neither_ends_nor_forbids_it(sandbox: Sandbox) -> None:
    kept = {"FOR": "50ms", "COUNT": "1", "API": "2", "NO_VERIFY": "true", "OVERFLOW": "drop"}
    environ = {f"KRAKENWS_{name}": value for name, value in kept.items()}
    result = sandbox.command.run("wait", f"{ASK} for 300ms", *LONG, **environ)
    assert result.code == 0, result


def test_acks_are_for_the_channels_that_are_needed_and_no_others(krakenws: Command) -> None:
    ladder = Ladder()

    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="subscribe")
        client.send(*acks(asked), ladder.snapshot(), ladder.update("64005.10000", "3.00000000"))
        client.hold()

    with exchange(script) as server:
        assert krakenws.run("wait", ASK, *LONG, *server.options).code == 0
    (asked,) = server.sent("subscribe", "/")
    assert asked["subscription"] == {"depth": 10, "name": "book"}
