"""The journal of a guard: one row for its switch, and what happens when rows cannot be written."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.cli.guard import Logbook
from krakenws.core.intents import ACCEPTED, UNKNOWN, Intent
from krakenws.errors import SinkError
from krakenws.journal import Journal
from krakenws.record import replace
from krakenws.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Breaking(Journal):
    """A journal whose disk may be full."""

    full = False

    def begin(self, *given: Any, **more: Any) -> None:
        self._look()
        super().begin(*given, **more)

    def settle(self, intent: Intent) -> Intent:
        self._look()
        return super().settle(intent)

    def _look(self) -> None:
        if self.full:
            raise SinkError("the disk is full")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Breaking]:
    with closing(Breaking(State(str(tmp_path), durable=True))) as journal:
        yield journal


def request(name: str, method: str = "cancelAllOrdersAfter") -> Intent:
    return Intent(name, 1, False, method, {}, {"timeout": 60}, 1, "wss://x", "", 1, 0)


def test_the_row_of_the_switch_is_that_of_its_last_request(journal: Breaking) -> None:
    logbook = Logbook(journal, pytest.fail)
    for name in ("armed", "renewed", "lost", "renewed again", "off"):
        logbook.begin([request(name)])
        logbook.settle(replace(request(name), state=UNKNOWN if name == "lost" else ACCEPTED))
    logbook.begin([request("all", "cancelAll")])
    assert sorted(row.id for row in journal.last(9)) == ["all", "lost", "off"]


def test_without_a_row_nothing_is_armed(journal: Breaking) -> None:
    journal.full = True
    with pytest.raises(SinkError, match="full"):
        Logbook(journal, pytest.fail).begin([request("armed")])


def test_once_armed_a_full_disk_is_said_once_and_stops_nothing(journal: Breaking) -> None:
    said: list[str] = []
    logbook = Logbook(journal, said.append)
    logbook.begin([request("armed")])
    journal.full = True
    assert logbook.settle(request("armed")) == request("armed")
    for name in ("renewed", "all"):
        logbook.begin([request(name)])
    assert said == ["not in the journal any more, and sent all the same: the disk is full"]
