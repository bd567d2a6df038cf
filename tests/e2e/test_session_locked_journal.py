"""Another program has locked the journal: a session goes on, and nothing leaves without its row."""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.net.ledger import AGAIN_S
from tests.e2e.test_session_intents import ORDER, ask
from tests.e2e.test_session_socket import serving
from tests.support.command import DEADLINE_S
from tests.support.locking import WAYS, Market, locked
from tests.support.scripts import accepted, accepts
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command
    from tests.support.lines import Client
    from tests.support.server import Script, ScriptedServer

PATIENCE = """
import krakenws.net.ledger
krakenws.net.ledger.PATIENCE_S = {}
"""
BLOCKED_S = 30.0
"""Twenty ticks take a session that waits for the lock far longer, another one a few milliseconds."""


class World:
    """A home whose journal is there, and how long sessions in it wait for that.

    Attributes:
        journal: the file.
    """

    def __init__(self, command: Command) -> None:
        self._patches = command.home / "patches"
        self._patches.mkdir()
        command.environ["PYTHONPATH"] = str(self._patches)
        assert command.run("intents").code == 0
        self.journal: Path = command.home / "state" / "krakenws" / "state.db"
        self.be_patient(DEADLINE_S)

    def be_patient(self, seconds: float) -> None:
        """Wait so long from the next session on."""
        (self._patches / "sitecustomize.py").write_text(PATIENCE.format(seconds))

    def states(self) -> list[tuple[str, str]]:
        """Return what the journal has, in the order it was written."""
        with closing(sqlite3.connect(self.journal)) as database:
            return database.execute("SELECT method, state FROM intents ORDER BY rowid").fetchall()

    def wait_for(self, *states: tuple[str, str]) -> None:
        """Wait until the journal has this."""
        until = time.monotonic() + DEADLINE_S
        while (found := self.states()) != [*states]:
            assert time.monotonic() < until, found
            time.sleep(0.01)


@pytest.fixture
def world(trader: Command) -> World:
    return World(trader)


def ticks(client: Client) -> int:
    return sum(event["event"] == "update" for event in client.events)


def lives(market: Market, client: Client) -> None:
    """Have a client told of each tick before the next."""
    began, seen = time.monotonic(), ticks(client)
    for count in range(1, 21):
        market.tick()
        client.wait(lambda _, count=count: ticks(client) >= seen + count)  # type: ignore[misc]
    assert time.monotonic() - began < BLOCKED_S


def trades(server: ScriptedServer) -> list[dict[str, Any]]:
    """Return what was asked for to trade, in its order."""
    return [one for one in server.messages("/auth") if one["event"] != "subscribe"]


def accepting(answer: threading.Event) -> Script:
    """Accept an order once that is allowed."""

    def script(client: Connection) -> None:
        client.greet()
        while (asked := client.expect())["event"] != "addOrder":
            if asked["event"] == "subscribe":
                client.send(*acks(asked))
        assert answer.wait(DEADLINE_S)
        client.send(accepted(asked))
        client.hold()

    return script


@pytest.mark.parametrize("how", WAYS)
def test_an_order_waits_for_the_lock_and_nobody_else_does(trader: Command, world: World, how: str) -> None:
    market = Market()
    with (
        exchange(market.script, accepts) as server,
        closing(market),
        serving(trader, *server.options) as (_, readers),
    ):
        watcher, caller = readers.connect(), readers.connect()
        watcher.send("ticker XBT/USD id=1\n")
        if how == "for writing":  # else nobody may have opened it
            caller.send("cancelAllOrdersAfter timeout=60 id=stands\n")
            caller.answer("stands")
        with locked(world.journal, how) as release:
            caller.send(f"{ORDER} id=order\ncancelAll id=cancel\n")
            lives(market, watcher)
            watcher.send("status id=2\n")
            assert watcher.answer("2")["event"] == "session"
            lives(market, watcher)
            assert not server.sent("addOrder")
            assert not server.sent("cancelAll")
            assert not [event for event in caller.events if event.get("id") in {"order", "cancel"}]
            release()
            assert caller.answer("order")["outcome"] == "accepted"
            assert caller.answer("cancel")["outcome"] == "accepted"
        lives(market, watcher)
        trade = [one["event"] for one in trades(server)]
        assert trade[-2:] == ["addOrder", "cancelAll"]
        world.wait_for(*((method, "accepted") for method in trade))


@pytest.mark.parametrize("how", WAYS)
def test_an_order_is_refused_and_never_sent_when_the_lock_stays(
    trader: Command, world: World, how: str
) -> None:
    world.be_patient(0.3)
    market = Market()
    with (
        exchange(market.script, accepts) as server,
        closing(market),
        serving(trader, *server.options) as (process, readers),
    ):
        watcher, caller = readers.connect(), readers.connect()
        watcher.send("ticker XBT/USD id=1\n")
        with locked(world.journal, how) as release:
            caller.send(f"{ORDER} id=order\n")
            lives(market, watcher)
            refused = caller.answer("order")
            assert (refused["event"], refused["code"], refused["retryable"]) == ("error", 7, True)
            assert "state.db is locked by another program" in refused["message"]
            if how == "for writing":
                assert refused["message"].startswith("addOrder was not sent: ")
            lives(market, watcher)
            release()
        caller.send("cancelAll id=cancel\n")  # behind all that left
        assert caller.answer("cancel")["outcome"] == "accepted"
        process.terminate()
        assert process.finish().code == 0
    assert not server.sent("addOrder")
    assert world.states() == [("cancelAll", "accepted")]


def test_what_could_not_leave_within_the_connect_timeout_is_refused_for_the_lock(
    trader: Command, world: World
) -> None:
    words = ("session", "--connect-timeout", "2s")
    with exchange(private=accepts) as server, trader.start(*words, *server.options) as process:
        ask(process, "cancelAllOrdersAfter timeout=60 id=stands", "stands")
        with locked(world.journal):
            refused = ask(process, f"{ORDER} id=order", "order")
        assert refused["message"].startswith("addOrder was not sent: ")
        assert "is locked by another program" in refused["message"]
        assert ask(process, "cancelAll id=cancel", "cancel")["outcome"] == "accepted"
    assert not server.sent("addOrder")


def test_what_is_put_off_leaves_in_its_order_and_names_stay_unique(trader: Command, world: World) -> None:
    with exchange(private=accepts) as server, trader.start("session", *server.options) as process:
        ask(process, "cancelAllOrdersAfter timeout=60 id=stands", "stands")
        with locked(world.journal) as release:
            for number in (1, 2, 3):
                process.send(f"{ORDER} userref={number} intent=name{number} id={number}\n")
            process.send("cancelAll id=4\n")
            again = ask(process, f"{ORDER} userref=2 intent=name2 id=5", "5")
            assert again["message"].startswith("the intent name2 waits to be sent")
            other = ask(process, f"{ORDER} userref=9 intent=name3 id=6", "6")
            assert other["message"].startswith("the intent name3 stands for addOrder")
            checked = ask(process, f"{ORDER} userref=7 validate=true id=7", "7")  # it needs no row
            assert checked["outcome"] == "accepted"
            release()
            told = [process.event("reply")["id"] for _ in range(4)]
        again = ask(process, f"{ORDER} userref=2 intent=name2 id=8", "8")
        assert again["found"] == "journal"
        process.send("quit\n")
        assert process.finish().code == 0
    sent = [one.get("userref") or one["event"] for one in trades(server)]
    assert sent == ["cancelAllOrdersAfter", "7", "1", "2", "3", "cancelAll"]
    assert told == ["1", "2", "3", "4"]


@pytest.mark.parametrize("how", WAYS)
def test_a_session_that_ends_answers_what_is_put_off_as_not_sent(
    trader: Command, world: World, how: str
) -> None:
    with (
        exchange(private=accepts) as server,
        serving(trader, *server.options) as (process, readers),
    ):
        caller, other = readers.connect(), readers.connect()
        if how == "for writing":  # else nobody may have opened it
            caller.send("cancelAllOrdersAfter timeout=60 id=stands\n")
            caller.answer("stands")
        with locked(world.journal, how) as release:
            caller.send(f"{ORDER} id=order\n")
            other.send("status id=heard\n")  # behind the order
            other.answer("heard")
            process.terminate()
            refused = caller.answer("order")
            assert (refused["event"], refused["code"], refused["retryable"]) == ("error", 4, True)
            assert "the session ends" in refused["message"]
            assert process.finish().code == 0
            release()
    assert not server.sent("addOrder")
    assert len(world.states()) == len(trades(server)) == (how == "for writing")


def test_a_session_that_waits_for_a_verdict_at_its_end_sends_nothing_that_was_put_off(
    trader: Command, world: World
) -> None:
    answer = threading.Event()
    with exchange(private=accepting(answer)) as server, trader.start("session", *server.options) as process:
        process.send(f"{ORDER} id=sent\n")
        world.wait_for(("addOrder", "open"))
        with locked(world.journal) as release:
            assert ask(process, f"{ORDER} id=put-off\nstatus id=heard", "heard")["unanswered"] == 2
            process.terminate()
            refused = process.event("error")
            assert (refused["id"], refused["message"]) == ("put-off", "the session ends")
            release()
        until = time.monotonic() + 20 * AGAIN_S
        while time.monotonic() < until:
            assert ask(process, "status id=late", "late")["message"] == "the session ends"
        answer.set()
        assert process.event("reply")["id"] == "sent"
        assert process.finish().code == 0
    assert len(server.sent("addOrder")) == 1
    assert world.states() == [("addOrder", "accepted")]


def test_a_verdict_is_told_at_once_and_written_once_the_lock_is_gone(trader: Command, world: World) -> None:
    answer = threading.Event()
    with exchange(private=accepting(answer)) as server, trader.start("session", *server.options) as process:
        process.send(f"{ORDER} intent=monday id=1\n")
        world.wait_for(("addOrder", "open"))
        with locked(world.journal) as release:
            answer.set()
            first: dict[str, Any] = process.event("reply")
            again = ask(process, f"{ORDER} intent=monday id=2", "2")
            assert (again["result"], again["found"]) == (first["result"], "journal")
            assert world.states() == [("addOrder", "open")]
            release()
        world.wait_for(("addOrder", "accepted"))
        process.send("quit\n")
        assert process.finish().code == 0
    assert len(server.sent("addOrder")) == 1


def test_a_verdict_that_a_session_cannot_write_before_its_end_is_said(trader: Command, world: World) -> None:
    answer = threading.Event()
    with exchange(private=accepting(answer)) as server, trader.start("session", *server.options) as process:
        process.send(f"{ORDER} id=1\n")
        world.wait_for(("addOrder", "open"))
        with locked(world.journal):
            answer.set()
            assert process.event("reply")["outcome"] == "accepted"
            process.send("quit\n")
            result = process.finish()
    assert result.code == 0
    assert "the journal could not be told that addOrder was accepted" in result.err
    assert world.states() == [("addOrder", "open")]
