"""Who plays the rows of the fault matrix beside the command line, and which do not apply to whom."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from tests.faults.judge import hold, times_of
from tests.faults.matrix import ROWS
from tests.faults.rows.consumer import CONSUMER, RESOURCES
from tests.faults.rows.time import TIME
from tests.faults.scene import ApiScene, Scene, SessionScene, stage

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from tests.e2e.conftest import Certificates
    from tests.faults.row import Row
    from tests.faults.scene import Sandbox


@dataclass(frozen=True, kw_only=True)
class Player:
    """Who stands in for the command line, and must tell the same events in the same order.

    Attributes:
        scene: has it do what a row says.
        often: rows it plays each time; all that apply are played with KRAKENWS_EVERY_ROW set.
        excused: why a row, or a group of rows by its name, does not apply.
        says: a row's words, where it has others.
        fit: the row as it applies to it.
    """

    scene: type[Scene]
    often: Collection[str]
    excused: Mapping[str, str]
    says: Mapping[str, str] = field(default_factory=dict)
    fit: Callable[[Row], Row] = lambda row: row

    def rows(self) -> Iterator[object]:
        """Give the rows that are to be played, for `pytest.mark.parametrize`."""
        for row in self.applicable():
            if row.name in self.often or "KRAKENWS_EVERY_ROW" in os.environ:
                yield pytest.param(row, id=row.name)

    def applicable(self) -> list[Row]:
        """Return the rows that apply."""
        return [row for row in ROWS if not row.waits_for and not {row.group, row.name} & {*self.excused}]

    def play(self, row: Row, home: Path, sandbox: Sandbox, certificates: Certificates) -> None:
        """Play a row, and hold what was told to it."""
        row = self.fit(replace(row, says=self.says.get(row.name, row.says)))
        with stage(home, sandbox, certificates, self.scene) as scene:
            events = hold(row, scene)
        times_of(row, scene, events)


ANSWERS = {"reply", "unanswered"}


def in_a_session(row: Row) -> Row:
    """What ends a command ends a session's line only: with the same verdict, or with an `error`."""
    if row.code not in {3, 4, 5, 6}:
        return row
    is_verdict = ANSWERS & set(row.tells)
    return replace(row, code=0, tells=tuple(name for name in row.tells if name != "error" or not is_verdict))


def in_the_api(row: Row) -> Row:
    """A call returns a verdict or raises; the life of its connection is told to streams, and to the log."""
    if ANSWERS & set(row.tells) or row.name == "cut_before_the_order":
        return replace(row, tells=("error" if "error" in row.tells else "reply",))
    return row


ELSEWHERE = "tests/faults/test_matrix.py plays it in memory: the protocols are the same"
SESSION = Player(
    scene=SessionScene,
    often={
        *("nobody_listens", "no_greeting", "reset_in_the_upgrade", "reset", "closed_1001", "frozen"),
        *("maintenance", "flapping", "no_json", "pair_refused", "subscription_unheard", "asked_too_fast"),
        *("budget_spent", "updates_lost", "updates_swapped", "checksum_wrong_again", "snapshot_missing"),
        *("cut_while_healing", "sequence_skipped", "filled_meanwhile", "session_invalid", "tokens_expired"),
        *("no_token_after_a_cut", "answer_lost", "cut_before_the_answer", "order_unheard"),
        *("cut_before_the_order", "order_too_fast"),
    },
    excused={
        CONSUMER.name: "who reads and runs a program is the same to each of its commands",
        RESOURCES.name: "a process begins in the same way, whatever it is to do",
        TIME.name: ELSEWHERE,
        "long_frame": "it ends by --count, which a session is not given with a line",
        "frame_too_long": "it ends by --count, which a session is not given with a line",
    },
    says={
        "decimals_change": ".*",  # a gap in the book, or nothing
        "cut_before_the_order": "addOrder was not sent",
        "order_lost_on_its_way": '"outcome":"unknown"',
        "order_unheard": '"outcome":"unknown"',
    },
    fit=in_a_session,
)
"""85 rows, two minutes; often: 28."""

WRITES_NOTHING = "the API writes nothing: stdout is its program's"
ASYNCIO_TAKES_THREE = "asyncio alone takes three: where there are none to begin with, nothing of ours begins"
API = Player(
    scene=ApiScene,
    often={
        *("nobody_listens", "nobody_listens_yet", "no_greeting", "http_429", "certificate_unknown"),
        *("reset_in_the_upgrade", "reset", "truncated", "blackhole", "exchange_killed", "flapping"),
        *("corrupted_under_tls", "closed_1001", "frozen", "maintenance", "states", "no_json", "wrong_texts"),
        *("long_frame", "frame_too_long", "asked_too_fast", "subscription_unheard", "pair_refused"),
        *("many_subscriptions", "backfilled", "budget_spent", "updates_lost", "updates_swapped"),
        *("checksum_wrong_again", "snapshot_missing", "checksum_wrong_under_strict", "cut_while_healing"),
        *("sequence_skipped", "filled_meanwhile", "session_invalid", "session_always_invalid"),
        *("tokens_expired", "no_token_at_first", "no_token_after_a_cut", "answer_lost"),
        *("cut_before_the_answer", "order_unheard", "cut_before_the_order", "order_in_maintenance"),
        *("order_too_fast", "order_with_an_invalid_session", "cancel_answer_lost", "client_stopped"),
        *("interrupted_while_waiting", "descriptors_run_out", "home_read_only", "state_read_only"),
        *("cache_read_only", "state_damaged", "config_damaged", "directory_deleted"),
    },
    excused={
        TIME.name: ELSEWHERE,
        "summed_up": "a summary is the last word of a run, and a client has streams that come and go",
        "interrupted_order": "Ctrl-C cancels the call: what becomes of the order is in the journal",
        "reader_sleeps": "who reads too slowly is a task of the same loop: tests/api/test_slow_readers.py",
        "pipe_closed": WRITES_NOTHING,
        "disk_full": WRITES_NOTHING,
        "file_too_large": WRITES_NOTHING,
        "stdout_closed": WRITES_NOTHING,
        "no_descriptors": ASYNCIO_TAKES_THREE,
        "few_descriptors": ASYNCIO_TAKES_THREE,
    },
    says={
        "certificate_unknown": "not trusted.*cafile=",
        "checksum_wrong_under_strict": r"Options\.strict=True: gap in book",
    },
    fit=in_the_api,
)
"""103 rows, often 56; the façade `krakenws.sync` is the same client in a thread, and plays the next few."""
FACADE = {
    *("nobody_listens", "no_token_after_a_cut", "session_invalid", "pair_refused", "answer_lost"),
    *("cut_before_the_answer", "order_unheard"),
}
