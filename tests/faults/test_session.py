"""The rows of the fault matrix that apply to a session: the same events in the same order."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.faults.matrix import ROWS
from tests.faults.scene import SessionScene, run_sandbox, stage
from tests.faults.test_matrix import hold, times_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.conftest import Certificates
    from tests.faults.row import Row
    from tests.faults.scene import Sandbox

GROUPS = ("Connecting", "Streaming", "Order books", "Private feeds")
"""The others are about how a process begins and what it writes to."""
SAID = {
    "decimals_change": ".*",  # a gap in the book, or nothing
    "cut_before_the_order": "addOrder was not sent",
    "order_lost_on_its_way": '"outcome":"unknown"',
    "order_unheard": '"outcome":"unknown"',
}
"""Where a session says it in other words."""
COUNTED = {"long_frame", "frame_too_long"}
"""Rows that end a run by `--count`, which a session is not given with a line."""
ALWAYS = {
    *(
        "nobody_listens",
        "no_greeting",
        "reset_in_the_upgrade",
        "reset",
        "closed_1001",
        "frozen",
        "maintenance",
    ),
    *("flapping", "no_json", "pair_refused", "subscription_unheard", "asked_too_fast", "budget_spent"),
    *("update_lost", "updates_swapped", "checksum_wrong_again", "snapshot_missing", "cut_while_healing"),
    *("sequence_skipped", "filled_meanwhile", "session_invalid", "tokens_expired", "no_token_after_a_cut"),
    *("answer_lost", "cut_before_the_answer", "order_unheard", "cut_before_the_order", "order_too_fast"),
}
"""Played each time; all are with KRAKENWS_EVERY_ROW set: 85 rows, two minutes."""


def _rows() -> Iterator[object]:
    for row in ROWS:
        applies = row.group.startswith(GROUPS) and row.play is not None and row.name not in COUNTED
        if applies and not row.waits_for and (row.name in ALWAYS or "KRAKENWS_EVERY_ROW" in os.environ):
            yield pytest.param(row, id=row.name)


def in_a_session(row: Row) -> Row:
    """What ends a command ends a session's line only: with the same verdict, or with an `error`."""
    row = replace(row, says=SAID.get(row.name, row.says))
    if row.code not in {3, 4, 5, 6}:
        return row
    is_verdict = {"reply", "unanswered"} & set(row.tells)
    return replace(row, code=0, tells=tuple(name for name in row.tells if name != "error" or not is_verdict))


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with run_sandbox(tmp_path_factory.mktemp("sandbox")) as running:
        yield running


@pytest.mark.parametrize("row", [*_rows()])
def test_a_session_tells_what_the_command_line_tells(
    row: Row, tmp_path: Path, sandbox: Sandbox, certificates: Certificates
) -> None:
    row = in_a_session(row)
    with stage(tmp_path, sandbox, certificates, SessionScene) as scene:
        events = hold(row, scene)
    times_of(row, scene, events)
