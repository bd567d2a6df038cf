"""The journal as an event loop may use it: another program's lock holds up nobody but who has to write."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from krakenws.core.catalog import PRIVATE, Bound, find
from krakenws.core.intents import ACCEPTED, Intent
from krakenws.core.protocol import ClientProtocol
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES, OWN_TRADES
from krakenws.errors import StateLocked
from krakenws.journal import Journal
from krakenws.net.ledger import LoopLedger
from krakenws.options import Options
from krakenws.record import replace
from krakenws.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def intent(name: str) -> Intent:
    return Intent(name, 1, True, "addOrder", {}, {"userref": "17"}, 1, "wss://x", "key", 1, 1_790_000_000)


def waits(ledger: LoopLedger) -> bool:
    return ledger.again_at is not None


def test_a_loop_s_ledger_knows_the_verdicts_that_it_could_not_write_yet(tmp_path: Path) -> None:
    said: list[str] = []
    settled = replace(intent("one"), state=ACCEPTED, result={"order_id": "OONE"})
    with (
        closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as writer,
        closing(Journal(State(str(tmp_path), patience_s=0.0))) as journal,
    ):
        journal.begin([intent("one"), intent("two")])
        ledger = LoopLedger(journal, said.append)
        writer.execute("BEGIN IMMEDIATE")
        assert ledger.settle(settled) == settled
        assert waits(ledger)
        assert ledger.of("one") == [settled]
        assert [one.id for one in ledger.pending()] == ["two"]
        assert ledger.since(0)[0] == settled
        assert ledger.claimed(["OONE", "OTWO"]) == {"OONE"}
        assert ledger.try_again(0.0) == []
        assert waits(ledger)
        assert journal.of("one") == [intent("one")]
        writer.execute("ROLLBACK")
        assert ledger.try_again(0.0) == []
        assert not waits(ledger)
        assert (ledger.kept, said) == ({}, [])
        assert journal.of("one")[0].state == ACCEPTED


def order(number: int) -> Bound:
    """Return an order with a number of the user's."""
    entry = find(ENTRIES, "addOrder")
    assert entry is not None
    values = {"pair": "XBT/USD", "type": "buy", "ordertype": "limit", "volume": "1", "price": "1"}
    return Bound(entry, {**values, "userref": str(number)})


def ready() -> ClientProtocol:
    """Return a conversation whose connection stands."""
    protocol = ClientProtocol(V1, Options(), PRIVATE, jitter=lambda: 0.0)
    greet(protocol)
    return protocol


def greet(protocol: ClientProtocol) -> None:
    protocol.connecting(0.0)
    protocol.opened(0.0, "a-token-of-the-user")
    protocol.receive([b'{"event":"systemStatus","status":"online","version":"1.9.6"}'], 0, 0.0)


def sent(protocol: ClientProtocol) -> list[str]:
    """Take the frames of orders; return their numbers."""
    return [json.loads(frame)["userref"] for frame in protocol.frames_to_send()]


@pytest.fixture
def locked_journal(tmp_path: Path) -> Iterator[tuple[sqlite3.Connection, LoopLedger]]:
    """The file in the hands of another program, and a ledger for a loop."""
    with (
        closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as writer,
        closing(Journal(State(str(tmp_path), patience_s=0.0))) as journal,
    ):
        journal.pending()
        writer.execute("BEGIN IMMEDIATE")
        yield writer, LoopLedger(journal, print)


def leave(ledger: LoopLedger, protocol: ClientProtocol) -> list[str]:
    """Let leave what may, as a shell does; return the numbers that did."""
    try:
        ledger.begin([intent(str(one.bound.values["userref"])) for one in protocol.leaving])
    except StateLocked as locked:
        ledger.put_off(protocol, locked)
    return sent(protocol)


def test_what_comes_later_waits_behind_what_was_put_off_also_when_the_lock_is_gone(
    locked_journal: tuple[sqlite3.Connection, LoopLedger],
) -> None:
    (writer, ledger), protocol = locked_journal, ready()
    for number in (1, 2):
        protocol.request(order(number), 0.0)
    assert leave(ledger, protocol) == []
    writer.execute("ROLLBACK")
    protocol.request(order(3), 0.0)
    assert leave(ledger, protocol) == []
    assert ledger.try_again(1.0) == []
    protocol.request(order(4), 0.0)
    assert leave(ledger, protocol) == ["1", "2", "3", "4"]
    assert [row.id for row in ledger.since(0)] == ["1", "2", "3", "4"]
    assert ledger.lock is None


def test_what_is_put_off_survives_its_connection_and_leaves_once(
    locked_journal: tuple[sqlite3.Connection, LoopLedger],
) -> None:
    (writer, ledger), protocol = locked_journal, ready()
    protocol.subscribe(Bound(OWN_TRADES, {}), 0.0)
    protocol.frames_to_send()
    protocol.request(order(1), 0.0)
    assert leave(ledger, protocol) == []
    protocol.lost("cut", 0, 0.0)
    greet(protocol)
    assert [json.loads(frame)["event"] for frame in protocol.frames_to_send()] == ["subscribe"]
    writer.execute("ROLLBACK")
    assert ledger.try_again(1.0) == []
    assert leave(ledger, protocol) == ["1"]
    assert ledger.try_again(2.0) == []
    assert sent(protocol) == []


def test_each_is_put_off_for_so_long_and_no_longer(
    locked_journal: tuple[sqlite3.Connection, LoopLedger], monkeypatch: pytest.MonkeyPatch
) -> None:
    (writer, ledger), protocol = locked_journal, ready()
    clock = iter([100.0, 100.0, 103.0, *[103.0] * 9])
    monkeypatch.setattr("krakenws.net.ledger.monotonic", lambda: next(clock))
    protocol.request(order(1), 0.0)
    leave(ledger, protocol)
    protocol.request(order(2), 0.0)
    leave(ledger, protocol)
    assert ledger.try_again(104.9) == []
    ((late, why),) = ledger.try_again(105.0)
    assert late.bound.values["userref"] == "1"
    assert why.retryable
    writer.execute("ROLLBACK")
    assert ledger.try_again(106.0) == []
    assert leave(ledger, protocol) == ["2"]
