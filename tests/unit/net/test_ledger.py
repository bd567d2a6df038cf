"""The journal as an event loop may use it: another program's lock holds up nobody but who has to write."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from krakenws.core.intents import ACCEPTED, Intent
from krakenws.errors import StateLocked
from krakenws.journal import Journal
from krakenws.net.ledger import LoopLedger
from krakenws.record import replace
from krakenws.state import State

if TYPE_CHECKING:
    from pathlib import Path


def intent(name: str) -> Intent:
    return Intent(name, 1, True, "addOrder", {}, {"userref": "17"}, 1, "wss://x", "key", 1, 1_790_000_000)


def test_a_loop_s_ledger_knows_the_verdicts_that_it_could_not_write_yet(tmp_path: Path) -> None:
    asked: list[None] = []
    settled = replace(intent("one"), state=ACCEPTED, result={"order_id": "OONE"})
    with (
        closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as writer,
        closing(Journal(State(str(tmp_path), patience_s=0.0))) as journal,
    ):
        journal.begin([intent("one"), intent("two")])
        ledger = LoopLedger(journal, lambda: asked.append(None))
        writer.execute("BEGIN IMMEDIATE")
        assert ledger.settle(settled) == settled
        assert asked == [None]
        assert ledger.of("one") == [settled]
        assert [one.id for one in ledger.pending()] == ["two"]
        assert ledger.since(0)[0] == settled
        assert ledger.claimed(["OONE", "OTWO"]) == {"OONE"}
        with pytest.raises(StateLocked):
            ledger.write()
        assert journal.of("one") == [intent("one")]
        writer.execute("ROLLBACK")
        ledger.write()
        assert ledger.kept == {}
        assert journal.of("one")[0].state == ACCEPTED
