"""`docs/reliability.md` shows the matrix: every row, no other, each with what a run has measured."""

from __future__ import annotations

import re
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from tests.faults.matrix import ROWS
from tests.faults.players import API, SESSION
from tests.support.command import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.faults.players import Player

PAGE = ROOT / "docs" / "reliability.md"
STALE = "run: python tools/make_reliability.py"


@pytest.fixture
def tool(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    return import_module("make_reliability")


def test_every_row_is_in_the_page_and_nothing_else(tool: Any) -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert tool.page(tool.times_in(text)) == text, STALE


def test_the_page_has_a_measured_time_wherever_the_matrix_has_a_limit(tool: Any) -> None:
    times = tool.times_in(PAGE.read_text(encoding="utf-8"))
    for row in ROWS:
        for limit_s, shown in zip((row.noticed_s, row.back_s), times.get(row.name, ()), strict=False):
            if limit_s is None:
                assert shown == tool.NONE, (row.name, STALE)
            else:
                assert re.fullmatch(r"< 0\.1 s|\d+\.\d s", shown), (row.name, STALE)
                assert float(shown.strip("< s")) <= limit_s


def test_rows_have_names_of_their_own_and_there_are_at_least_45() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
    assert len({row.fault for row in ROWS}) == len(ROWS)
    assert len(ROWS) >= 45
    assert sum(row.memory is None for row in ROWS) >= 45, "most are played to the installed command"
    for row in ROWS:
        assert "|" not in row.fault + row.sees, row.name


@pytest.mark.parametrize("player", [SESSION, API])
def test_what_a_player_leaves_out_or_plays_often_is_in_the_matrix(player: Player) -> None:
    names = {row.name for row in ROWS}
    assert {*player.excused} <= names | {row.group for row in ROWS}
    assert {*player.says} <= names
    assert {*player.often} <= {row.name for row in player.applicable()}
    left_out = {row.group for row in ROWS} - {row.group for row in player.applicable()}
    assert left_out <= {*player.excused}, "only a group whose reason is told is left out whole"
