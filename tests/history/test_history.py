"""A share of the histories that `tools/history.py` plays: orders are never sent twice and never forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.history import real, schedule

if TYPE_CHECKING:
    from pathlib import Path

IN_MEMORY, A_TEST = 400, 100
WITH_PROCESSES = 8


@pytest.mark.parametrize("first", range(1, IN_MEMORY + 1, A_TEST))
def test_whatever_befalls_a_run_its_verdicts_are_true_and_nothing_is_sent_twice_or_forgotten(
    first: int,
) -> None:
    found = {seed: violations for seed in range(first, first + A_TEST) if (violations := schedule.play(seed))}
    assert not found, "python tools/history.py --schedules 1 --seed SEED repeats it"


def test_the_same_holds_of_real_processes_and_sigkill(tmp_path: Path) -> None:
    seeds = range(1, 1 + WITH_PROCESSES)
    found = {seed: violations for seed, violations in real.play(tmp_path / "home", seeds) if violations}
    assert not found, "python tools/history.py --processes 1 --seed SEED repeats it"
