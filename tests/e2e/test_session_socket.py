"""`krakenws session --listen unix:PATH`: many clients, one connection upstream, nobody in another's way."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.command import Command
from tests.support.lines import Readers
from tests.support.sandbox import Sandbox, running
from tests.support.scripts import TICKER, Ladder, streams
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Process

ORDER = "addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01"
LADDER_UPDATE = ("64001.10000", "3.00000000")


@contextmanager
def serving(command: Command, *words: str, **environ: str) -> Iterator[tuple[Process, Readers]]:
    """Run a session on a socket, and readers for its clients."""
    path = str(command.home / "socket")
    command_line = ("session", "--listen", f"unix:{path}", *words)
    with command.start(*command_line, environ=environ) as process, Readers(path) as readers:
        assert process.event("listening")["path"] == path
        yield process, readers


def rss_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        (line,) = [line for line in status if line.startswith("VmRSS")]
    return int(line.split()[1]) * 1024


# ---- the socket itself


def test_the_socket_is_for_its_owner_alone_and_goes_with_the_session(krakenws: Command) -> None:
    path = krakenws.home / "socket"
    with serving(krakenws) as (process, _):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        process.terminate()
        assert process.finish().code == 0
    assert not path.exists()


def test_a_socket_that_a_crash_left_is_replaced(krakenws: Command) -> None:
    with serving(krakenws) as (process, _):
        os.kill(process.pid, signal.SIGKILL)
        process.finish()
    assert (krakenws.home / "socket").exists()
    with serving(krakenws) as (_, readers):
        client = readers.connect()
        client.send("status id=1\n")
        assert client.answer("1")["event"] == "session"


def test_a_socket_that_is_served_is_left_alone(krakenws: Command) -> None:
    path = krakenws.home / "socket"
    with serving(krakenws) as (_, readers):
        second = krakenws.run("session", "--listen", f"unix:{path}")
        assert second.code == 2
        assert "another process serves it already" in second.err
        client = readers.connect()
        client.send("status id=1\n")
        assert client.answer("1")["event"] == "session"


def test_a_file_is_not_taken_for_a_socket(krakenws: Command) -> None:
    path = krakenws.home / "precious"
    path.write_text("mine")
    refused = krakenws.run("session", "--listen", f"unix:{path}")
    assert refused.code == 2
    assert path.read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--listen", "127.0.0.1:9"], 2),
        (["--listen", "unix:"], 2),
        (["--listen", f"unix:/{'x' * 200}"], 2),
        (["--listen", "unix:/nowhere/at/all"], 7),
        (["--listen", "unix:s", "--overflow", "block"], 2),
        (["--listen", "unix:s", "--no-verify"], 2),
    ],
)
def test_places_that_cannot_be_served_are_refused(krakenws: Command, words: list[str], code: int) -> None:
    result = krakenws.run("session", *words)
    assert result.code == code, result.err
    assert result.err.count("\n") == 1


# ---- shared upstream


def test_what_is_kept_for_other_commands_does_not_forbid_it_and_books_are_verified(krakenws: Command) -> None:
    ladder = Ladder()
    kept = {"KRAKENWS_OVERFLOW": "block", "KRAKENWS_NO_VERIFY": "true", "KRAKENWS_OUTPUT": "text"}
    with (
        exchange(streams(ladder.snapshot(), ladder.update(*LADDER_UPDATE))) as server,
        serving(krakenws, *server.options, **kept) as (_, readers),
    ):
        client = readers.connect()
        client.send("book XBT/USD id=1\n")
        client.wait(lambda events: any(event.get("trust") == "verified" for event in events))


def test_a_late_client_begins_with_a_snapshot_of_the_verified_book(krakenws: Command) -> None:
    ladder = Ladder()

    def script(client: Connection) -> None:
        client.serve(ladder.snapshot(), ladder.update(*LADDER_UPDATE))
        left = client.expect()
        assert left == {
            "event": "unsubscribe",
            "pair": ["XBT/USD"],
            "subscription": {"name": "book", "depth": 10},
        }
        client.hold()

    with exchange(script) as server, serving(krakenws, *server.options) as (_, readers):
        first, second = readers.connect(), readers.connect()
        first.send("book XBT/USD id=1\n")
        first.wait(lambda events: sum(event["event"] == "update" for event in events) == 2)
        second.send("book XBT/USD id=2\n")
        told = second.wait(lambda events: events[-1:] != [] and events[-1]["event"] == "update")
        assert [(event["event"], event.get("id")) for event in told[-2:]] == [
            ("subscribed", "2"),
            ("update", None),
        ]
        snapshot = told[-1]
        assert (snapshot["type"], snapshot["trust"]) == ("snapshot", "verified")
        assert str(snapshot["data"][0]["checksum"]) == ladder.checksum
        assert len(snapshot["data"][0]["asks"]) == 10
        first.send("unsubscribe book XBT/USD id=3\n")
        assert first.answer("3")["event"] == "unsubscribed"
        second.send("status id=4\n")
        (feed,) = second.answer("4")["subscriptions"]
        assert feed["confirmed"]
        assert len(server.messages()) == 1  # somebody still follows it
        second.kill()
        readers.wait(lambda: len(server.messages()) == 2)


def test_a_client_with_other_parameters_than_the_account_is_followed_with_is_refused(trader: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        client.send(*acks(client.expect(event="subscribe")))
        client.hold()

    with exchange(private=script) as server, serving(trader, *server.options) as (_, readers):
        first, second = readers.connect(), readers.connect()
        first.send("openOrders id=1\n")
        first.answer("1")
        second.send("openOrders ratecounter=true id=2\nopenOrders id=3\n")
        refused = second.answer("2")
        assert refused["event"] == "error"
        assert "by another client" in refused["message"]
        assert second.answer("3")["event"] == "subscribed"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with running(Command(tmp_path_factory.mktemp("sockets"))) as found:
        yield found


def test_orders_are_answered_to_who_sent_them_and_shown_to_who_follows_the_account(sandbox: Sandbox) -> None:
    with serving(sandbox.command) as (_, readers):
        trader, watcher = readers.connect(), readers.connect()
        watcher.send("openOrders id=7\n")
        watcher.answer("7")
        trader.send(f"{ORDER} id=7\n")
        order_id = trader.answer("7")["result"]["order_id"]
        watcher.wait(lambda events: any(order_id in json.dumps(event) for event in events))
        assert not any(event["event"] == "reply" for event in watcher.events)
        late = readers.connect()
        late.send("openOrders id=late\n")
        told = late.wait(lambda events: any(order_id in json.dumps(event) for event in events))
        updates = [event for event in told if event["event"] == "update"]
        assert updates[0]["type"] == "snapshot"
        assert updates == [event for event in watcher.events if event["event"] == "update"][: len(updates)]
        trader.send("cancelAll id=8\n")
        assert trader.answer("8")["success"]


# ---- many


def crowd_tool() -> Any:
    path = Path(__file__).parents[2] / "tools" / "crowd.py"
    spec = util.spec_from_file_location("crowd", path)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_no_client_misses_an_event_while_others_come_and_are_killed() -> None:
    """A short form of what tools/crowd.py does for a minute."""
    seen = crowd_tool().crowd(clients=50, kills=20, every_s=0.1, rate=100)
    assert seen.missed == []
    assert seen.worrying == []
    assert seen.updates > 1000
    assert seen.last_kib - seen.warm_kib < 16_000, seen
    assert "defect" not in seen.errors


def test_a_client_that_never_reads_is_dropped_data_and_others_are_not(krakenws: Command) -> None:
    """And one that lets its answers pile up is cut."""
    chunks, size = 20, 400

    def script(client: Connection) -> None:
        client.serve(TICKER)
        for _ in range(chunks):  # no faster than who is awake reads
            client.expect(event="ping")
            client.send(*[TICKER] * size, {"event": "pong"})
        client.hold()

    with exchange(script) as server, serving(krakenws, *server.options) as (process, readers):
        asleep, awake = readers.connect(reads=False), readers.connect()
        asleep.send("ticker XBT/USD id=1\n")
        awake.send("ticker XBT/USD id=1\n")
        awake.answer("1")
        for chunk in range(chunks):
            awake.send(f"ping id={chunk}\n")
            awake.answer(str(chunk))
        assert sum(b'"update"' in line for line in awake.lines) == chunks * size + 1
        readers.adopt(asleep)
        told = asleep.wait(lambda events: any(event["event"] == "lagging" for event in events))
        (lagging,) = [event for event in told if event["event"] == "lagging"]
        updates = sum(event["event"] == "update" for event in told)
        assert lagging["dropped_total"] > 0
        assert process.note("client 1 reads too slowly")
        assert updates + lagging["dropped_total"] == chunks * size + 1


def test_a_client_that_asks_and_never_reads_is_heard_no_more(krakenws: Command) -> None:
    """Its lines are not read while its answers are not, so that nothing piles up here."""
    with serving(krakenws) as (process, readers):
        deaf = readers.connect(reads=False)
        deaf.socket.settimeout(0.5)
        with pytest.raises(TimeoutError):
            deaf.socket.sendall(b"help\n" * 10_000_000)
        other = readers.connect()
        other.send("status id=1\n")
        assert other.answer("1")["event"] == "session"
        assert rss_bytes(process.pid) < 100_000_000
        readers.adopt(deaf)
        readers.wait(lambda: len(deaf.lines) > 1000, deaf)


def test_a_path_relative_to_the_working_directory_will_do(krakenws: Command, tmp_path: Path) -> None:
    with krakenws.start("session", "--listen", "unix:s") as process:
        assert process.event()["path"] == "s"
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(tmp_path / "s"))
            client.sendall(b"quit id=1\n")
            assert json.loads(client.makefile().readline())["event"] == "bye"
