"""Intents in `state.db`: written before a frame leaves, settled once, shared between processes."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

import krakenws.state
from krakenws.account import History
from krakenws.core.intents import ACCEPTED, OPEN, REJECTED, UNKNOWN, Intent, IntentTakenError
from krakenws.errors import PolicyRefused, SinkError, StateLocked
from krakenws.journal import KEPT_NS, Journal
from krakenws.record import replace
from krakenws.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW_NS = 1_790_000_000_000_000_000
ORDER = {"pair": "XBT/USD", "type": "buy", "ordertype": "limit", "price": "9000.0", "volume": "0.01"}


def intent(name: str = "one", part: int = 1, at_ns: int = NOW_NS) -> Intent:
    sent = {**ORDER, "userref": "17"}
    return Intent(
        name, part, False, "addOrder", ORDER, sent, (1 << 64) - 1, "wss://x", "key", os.getpid(), at_ns
    )


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    with closing(Journal(State(str(tmp_path), durable=True))) as journal:
        yield journal


@pytest.fixture
def other(tmp_path: Path) -> Iterator[Journal]:
    """The same file as another process sees it."""
    with closing(Journal(State(str(tmp_path), durable=True))) as journal:
        yield journal


def test_an_intent_is_read_back_as_it_was_written(journal: Journal, other: Journal) -> None:
    journal.begin([intent()])
    assert other.of("one") == [intent()]
    assert other.of("two") == []
    assert intent().state == OPEN


def test_a_name_is_given_once(journal: Journal, other: Journal) -> None:
    journal.begin([intent()])
    with pytest.raises(IntentTakenError):
        other.begin([intent("one", 2)])
    assert len(journal.of("one")) == 1


def test_reading_waits_for_nobody_who_writes(journal: Journal, tmp_path: Path) -> None:
    journal.begin([intent()])
    with (
        closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as writer,
        closing(Journal(State(str(tmp_path), patience_s=0.0))) as hasty,
    ):
        writer.execute("BEGIN EXCLUSIVE")
        writer.execute("DELETE FROM intents")
        assert hasty.of("one") == hasty.pending() == hasty.last(1) == hasty.since(0) == [intent()]
        assert hasty.claimed(["OONE"]) == set()
        assert hasty.locked
        with pytest.raises(StateLocked, match="locked by another program"):
            hasty.begin([intent("two")])
        with pytest.raises(StateLocked):
            hasty.settle(replace(intent(), state=ACCEPTED))
        writer.execute("COMMIT")
        assert hasty.pending() == []
        assert not hasty.locked


def test_parts_are_written_together_or_not_at_all(journal: Journal) -> None:
    journal.begin([intent("taken")])
    with pytest.raises(IntentTakenError):
        journal.begin([intent("free", 1), intent("free", 2), intent("taken", 2)])
    assert journal.of("free") == []
    journal.begin([intent("free", 2), intent("free", 1)])
    assert [part.part for part in journal.of("free")] == [1, 2]


def test_the_first_verdict_stays(journal: Journal) -> None:
    journal.begin([intent()])
    journal.settle(replace(intent(), state=UNKNOWN, error="no answer"))
    assert [left.state for left in journal.pending()] == [UNKNOWN]
    accepted = replace(intent(), state=ACCEPTED, result={"order_id": "O1"}, settled_ns=NOW_NS + 5)
    journal.settle(accepted)
    assert journal.settle(replace(intent(), state=REJECTED, error="EOrder:Invalid price")) == accepted
    assert journal.of("one") == [accepted]
    assert journal.pending() == []


def test_pending_intents_come_oldest_first_and_the_last_ones_too(journal: Journal) -> None:
    for name, at_ns in (("c", 3), ("a", 1), ("b", 2)):
        journal.begin([intent(name, at_ns=at_ns)])
    assert [one.id for one in journal.pending()] == ["a", "b", "c"]
    assert [one.id for one in journal.last(2)] == ["b", "c"]


def test_orders_that_are_an_intents_are_known(journal: Journal) -> None:
    journal.begin([intent()])
    journal.settle(replace(intent(), state=ACCEPTED, result={"order_id": "O1"}))
    assert journal.claimed(["O1", "O2"]) == {"O1"}
    assert journal.claimed([]) == set()


def test_an_intent_is_on_the_disk_when_begin_returns(
    journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite itself says so; what a power cut takes cannot be tried here."""
    statements: list[str] = []
    connect = sqlite3.connect

    def traced(*args: object, **named: object) -> sqlite3.Connection:
        database: sqlite3.Connection = connect(*args, **named)  # type: ignore[call-overload]
        database.set_trace_callback(statements.append)
        return database

    monkeypatch.setattr(sqlite3, "connect", traced)
    journal.begin([intent()])
    assert "PRAGMA synchronous = FULL" in statements
    assert statements.index("PRAGMA synchronous = FULL") < statements.index("COMMIT")
    journal.settle(replace(intent(), state=ACCEPTED))
    journal.begin([intent("two")])
    told = [what for what in statements if what.startswith(("PRAGMA synchronous", "INSERT", "UPDATE"))]
    assert [what.partition(" intents")[0] for what in told] == [
        "PRAGMA synchronous = FULL",
        "INSERT INTO",
        "PRAGMA synchronous = NORMAL",  # a power cut may take a verdict: it is looked for once more
        "UPDATE",
        "PRAGMA synchronous = FULL",
        "INSERT INTO",
    ]
    with closing(connect(tmp_path / "state.db")) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_verdicts_are_removed_after_ninety_days_but_for_names_and_open_outcomes(journal: Journal) -> None:
    for number in range(150):
        journal.begin([intent(f"old {number}", at_ns=number)])
        journal.settle(replace(intent(f"old {number}"), state=ACCEPTED))
    journal.begin([replace(intent("named", at_ns=0), named=True)])
    journal.settle(replace(intent("named"), state=REJECTED))
    journal.begin([intent("open", at_ns=0)])
    journal.begin([intent("young", at_ns=KEPT_NS)])
    for at_ns in (KEPT_NS + 200, KEPT_NS + 201):  # a hundred at a time, so that no order waits for long
        journal.begin([intent(f"new {at_ns}", at_ns=at_ns)])
    left = {row.id for row in journal.last(1000)}
    assert left == {"named", "open", "young", f"new {KEPT_NS + 200}", f"new {KEPT_NS + 201}"}


def test_what_is_superseded_goes_only_with_a_verdict(journal: Journal) -> None:
    for name, before in (("a", ""), ("b", "a"), ("c", "b")):
        journal.begin([intent(name)], instead_of=before)
        if name != "a":
            journal.settle(replace(intent(name), state=ACCEPTED))
    assert {row.id for row in journal.last(9)} == {"a", "c"}


def test_of_two_that_look_at_once_only_one_gets_the_last_place(tmp_path: Path) -> None:
    """What is read while rows are written is what no other process can change."""
    start = threading.Barrier(2)

    def race(name: str) -> int:
        with closing(Journal(State(str(tmp_path), durable=True))) as journal:

            def allow(turn: int) -> None:
                if len(journal.since(0)) > turn:
                    raise PolicyRefused("one order a turn")

            won = 0
            for turn in range(20):
                start.wait(10)
                with suppress(PolicyRefused):
                    journal.begin([intent(f"{name} {turn}")], allow=lambda turn=turn: allow(turn))  # type: ignore[misc]
                    won += 1
            return won

    with ThreadPoolExecutor() as pool:
        won = [*pool.map(race, "ab")]
    assert sum(won) == 20


def test_a_policy_is_told_of_the_orders_of_its_account_newest_first(journal: Journal) -> None:
    for at, (name, state) in enumerate((("a", ACCEPTED), ("b", REJECTED), ("c", OPEN), ("d", ACCEPTED)), 1):
        one = replace(intent(name, at_ns=at), exposure={"pair": "XBT/USD", "volume": name, "notional": "1"})
        journal.begin([one])
        if state != OPEN:
            journal.settle(replace(one, state=state))
    journal.begin([replace(intent("token only", at_ns=9), account="")])
    journal.begin([replace(intent("cancel", at_ns=9), method="cancelAll")])
    journal.begin([replace(intent("other key", at_ns=9), account="other")])
    journal.begin([replace(intent("other exchange", at_ns=9), endpoint="wss://y")])
    history = History(journal, "wss://x", "key")
    sent = history.sent_since(2)
    assert [(one.pair, one.volume) for one in sent] == [
        ("XBT/USD", "0.01"),
        ("XBT/USD", "d"),
        ("XBT/USD", "c"),
    ]
    assert history.opened_since(2) == 3
    assert history.last_verdicts(2) == [], "they are of long ago"
    recent = replace(intent("now", at_ns=time.time_ns()))
    journal.begin([recent])
    journal.settle(replace(recent, state=REJECTED))
    assert [one.outcome for one in history.last_verdicts(2)] == [REJECTED]


def test_an_order_on_its_way_when_the_open_ones_were_counted_counts_until_it_is_answered(
    journal: Journal,
) -> None:
    history = History(journal, "wss://x", "key")
    second_ns = 1_000_000_000
    sent = replace(intent("a"), endpoint="wss://x", account="key")
    long_ago = replace(intent("b", at_ns=NOW_NS - 61 * second_ns), endpoint="wss://x", account="key")
    journal.begin([sent])
    journal.begin([long_ago])
    assert history.opened_since(NOW_NS + second_ns) == 1
    journal.settle(replace(sent, state=ACCEPTED, settled_ns=NOW_NS + 1))
    assert history.opened_since(NOW_NS + second_ns) == 0
    assert history.opened_since(NOW_NS) == 1


def test_a_file_that_cannot_be_written_is_a_sink_error(tmp_path: Path) -> None:
    (tmp_path / "state.db").mkdir()
    with pytest.raises(SinkError, match="cannot be used"):
        Journal(State(str(tmp_path), durable=True)).begin([intent()])


RACE = """
import sys
from krakenws.core.intents import Intent, IntentTakenError
from krakenws.journal import Journal
from krakenws.state import State
journal = Journal(State(sys.argv[1], durable=True))
print("ready", flush=True)
sys.stdin.readline()
won = 0
for turn in range(20):
    try:
        journal.begin([Intent(f"name {turn}", 1, True, "cancelAll", {}, {}, 1, "wss://x", "", 1, turn)])
        won += 1
    except IntentTakenError:
        pass
print(won)
"""


VISIT = """
import sys
from krakenws.journal import Journal
from krakenws.state import State
journal = Journal(State(sys.argv[1], durable=True))
print(*(row.id for row in journal.last(9)))
journal.close()
"""


def test_no_row_is_lost_when_other_connections_come_and_go(journal: Journal, tmp_path: Path) -> None:
    """A nonce for a token is drawn beside an open journal, and another process looks and leaves."""

    def visit() -> str:
        environment = {**os.environ, "PYTHONPATH": str(Path(krakenws.state.__file__).parents[1])}
        command = [sys.executable, "-P", "-c", VISIT, str(tmp_path)]
        return subprocess.run(command, stdout=PIPE, text=True, env=environment, check=True).stdout

    journal.begin([intent("before", at_ns=1)])
    with closing(State(str(tmp_path))) as beside:
        beside.next_nonce("key", NOW_NS)
    assert visit() == "before\n"
    journal.begin([intent("after", at_ns=2)])
    assert visit() == "before after\n"


def test_of_processes_that_use_a_name_at_once_one_gets_it(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(krakenws.state.__file__).parents[1])}
    command = [sys.executable, "-P", "-c", RACE, str(tmp_path / "new")]
    with ExitStack() as stack:
        racers = [
            stack.enter_context(
                subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, env=environment)
            )
            for _ in range(4)
        ]
        for racer in racers:
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        won = [int(racer.communicate("\n")[0]) for racer in racers]
    assert sum(won) == 20
