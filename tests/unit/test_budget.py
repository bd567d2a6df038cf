"""The budget of connections: one for all processes, whatever becomes of its file."""

from __future__ import annotations

import errno
import os
import re
import stat
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

import krakenws.budget
from krakenws.budget import ConnectionBudget
from krakenws.options import Options
from tests.support.command import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable

NOW_S = 1_790_000_000.0
SITE = "kraken.com"


class Machine:
    """Processes of one user, each born for one question."""

    def __init__(self, directory: Path, limit: int = 3, window_s: float = 600.0) -> None:
        self.directory = directory
        self.options = Options(attempts=limit, attempts_window_s=window_s)
        self.warnings: list[str] = []

    def process(self, now_s: float = NOW_S) -> ConnectionBudget:
        return ConnectionBudget(
            self.options, self.warnings.append, directory=str(self.directory), clock=lambda: now_s
        )

    def spend(self, at_s: float, site: str = SITE) -> float:
        return self.process(NOW_S + at_s).spend(site)

    def delay(self, at_s: float, site: str = SITE) -> float:
        return self.process(NOW_S + at_s).delay(site)

    @property
    def file(self) -> Path:
        return self.directory / "connections"


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "state" / "krakenws")


def test_attempts_are_free_until_the_budget_is_spent(machine: Machine) -> None:
    assert [machine.spend(at) for at in (0, 10, 20)] == [0.0] * 3
    assert machine.spend(30) == 570
    assert machine.spend(599) == 1
    assert machine.spend(600) == 0.0
    assert machine.spend(600) == 10
    assert machine.warnings == []


def test_asking_how_long_spends_nothing(machine: Machine) -> None:
    assert [machine.delay(at) for at in range(9)] == [0.0] * 9
    for at in range(3):
        machine.spend(at)
    assert machine.delay(10) == 590
    assert machine.delay(600) == 0.0


def test_each_site_has_its_own(machine: Machine) -> None:
    for _ in range(3):
        assert machine.spend(0) == 0.0
    assert machine.spend(1) > 0
    assert machine.spend(1, "127.0.0.1:8765") == 0.0


def test_waiting_as_long_as_told_is_enough(tmp_path: Path) -> None:
    machine = Machine(tmp_path, limit=2, window_s=60.0)
    now_s = 0.0
    for _ in range(20):
        wait_s = machine.spend(now_s)
        if wait_s:
            now_s += wait_s
            assert machine.spend(now_s) == 0.0
        now_s += 0.7


def test_a_budget_that_shrank_counts_the_newest_attempts(tmp_path: Path) -> None:
    machine = Machine(tmp_path, limit=5, window_s=100.0)
    for at in range(5):
        machine.spend(at)
    machine.options = Options(attempts=2, attempts_window_s=100.0)
    assert machine.spend(10) == 93


@pytest.mark.parametrize("ask", [Machine.spend, Machine.delay])
def test_attempts_before_a_clock_that_stepped_back_count_for_one_window(
    tmp_path: Path, ask: Callable[[Machine, float], float]
) -> None:
    machine = Machine(tmp_path, limit=1)
    assert machine.spend(0) == 0.0
    earlier = -86_400.0
    assert ask(machine, earlier) == 600
    assert machine.delay(earlier + 300) == 300
    assert machine.spend(earlier + 600) == 0.0


def test_a_process_counts_its_own_attempts_whatever_the_clock_and_the_file_do(machine: Machine) -> None:
    now_s = NOW_S
    budget = ConnectionBudget(
        machine.options, machine.warnings.append, directory=str(machine.directory), clock=lambda: now_s
    )
    for _ in range(3):
        assert budget.spend(SITE) == 0.0
        now_s += 86_400
        machine.file.unlink()
    assert 590 < budget.delay(SITE) <= 600
    assert 590 < budget.spend(SITE) <= 600


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"\n\n \n",
        b"\x00" * 5000,
        os.urandom(3000).replace(b"\n", b"?"),
        b"nan kraken.com\ninf kraken.com\n-1 kraken.com\n1e400 kraken.com\n\xd9\xa1 kraken.com\n",
        b"9" * 5000 + b" kraken.com\n",
        b"1790000000000",
        b"1790000000000 ",
    ],
)
def test_garbage_counts_nothing_and_is_cleared(machine: Machine, damage: bytes) -> None:
    machine.directory.mkdir(parents=True)
    machine.file.write_bytes(damage)
    assert [machine.spend(at) for at in (0, 1, 2)] == [0.0] * 3
    assert machine.spend(3) == 597
    kept = [f"{int(NOW_S) + at}000 kraken.com" for at in range(3)]
    assert machine.file.read_text().splitlines() == kept
    assert machine.warnings == []


def test_a_truncated_file_costs_one_count(machine: Machine) -> None:
    for at in range(3):
        machine.spend(at)
    whole = machine.file.read_bytes()
    machine.file.write_bytes(whole[:-9])
    assert machine.spend(3) == 0.0
    assert machine.spend(4) == 596


def test_attempts_are_forgotten_after_their_window(machine: Machine) -> None:
    for site in range(50):
        machine.spend(0, f"127.0.0.1:{site}")
    machine.spend(600)
    assert machine.file.read_bytes() == b"1790000600000 kraken.com\n"


def test_only_the_owner_can_read_the_file(machine: Machine) -> None:
    machine.spend(0)
    assert stat.S_IMODE(machine.directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(machine.file.stat().st_mode) == 0o600


SPEND = """
import sys
from krakenws.budget import ConnectionBudget
from krakenws.options import Options
budget = ConnectionBudget(Options(), print, directory=sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(sum(budget.spend("kraken.com") == 0.0 for turn in range(30)))
"""


def test_processes_that_spend_at_once_share_a_hundred(tmp_path: Path) -> None:
    """No process has made the file yet."""
    environment = {**os.environ, "PYTHONPATH": str(Path(krakenws.budget.__file__).parents[1])}
    command = [sys.executable, "-P", "-c", SPEND, str(tmp_path / "new")]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, env=environment)
            )
            for _ in range(6)
        ]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        free = [int(process.communicate(timeout=DEADLINE_S)[0]) for process in processes]
    assert sum(free) == 100


def test_a_directory_that_cannot_be_made_is_told_once_and_the_process_counts_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    machine = Machine(tmp_path / "file" / "krakenws")
    budget = machine.process()
    assert [budget.spend(SITE) for _ in range(3)] == [0.0] * 3
    assert 590 < budget.spend(SITE) <= 600
    (warning,) = machine.warnings
    assert re.fullmatch(r"connections are counted for this process alone: \S+ cannot be used \(.+\)", warning)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_survived(machine: Machine) -> None:
    machine.directory.mkdir(parents=True)
    machine.file.symlink_to("/dev/full")
    budget = machine.process()
    assert [budget.spend(SITE) for _ in range(3)] == [0.0] * 3
    assert budget.spend(SITE) > 0
    (warning,) = machine.warnings
    assert os.strerror(errno.ENOSPC).lower() in warning


HOLD = """
import os, sys
os.lockf(os.open(sys.argv[1], os.O_RDWR), os.F_LOCK, 0)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(not hasattr(os, "lockf"), reason="holds a lock of POSIX")
def test_a_process_that_was_stopped_with_the_lock_stops_nobody_else(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(krakenws.budget, "_LOCK_S", 0.01)
    machine.spend(0)
    command = [sys.executable, "-c", HOLD, str(machine.file)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert machine.spend(1) == 0.0
        assert len(machine.warnings) == 1
        holder.communicate(timeout=DEADLINE_S)
    assert machine.spend(2) == 0.0
    assert len(machine.warnings) == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes with a name")
def test_a_pipe_in_the_place_of_the_file_blocks_nobody(machine: Machine) -> None:
    machine.directory.mkdir(parents=True)
    os.mkfifo(machine.file)
    assert machine.spend(0) == 0.0
    assert len(machine.warnings) == 1


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs a time zone of its own")
def test_it_says_until_when_by_the_local_clock(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "XXX-2")
    time.tzset()
    try:
        sentence = machine.process(8 * 3600.0).spent(SITE, 61.2)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert sentence == (
        "the budget of 3 connections to kraken.com in 10 minutes is spent, by all krakenws processes of this"
        " user together; the next is free at 10:01:02"
    )


def test_the_file_is_in_the_users_directory_of_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("krakenws.directories.state_dir", lambda: str(tmp_path / "krakenws"))
    assert ConnectionBudget(Options(), print).path == str(tmp_path / "krakenws" / "connections")


def test_what_is_used_is_counted_for_each_site_without_changing_anything(machine: Machine) -> None:
    assert machine.process().used(SITE) == 0
    for at_s in (0.0, 1.0):
        machine.spend(at_s)
    machine.spend(1.0, "example.com")
    before = machine.file.read_bytes()
    assert machine.process(NOW_S + 2).used(SITE) == 2
    assert machine.process(NOW_S + 600.5).used(SITE) == 1
    assert machine.file.read_bytes() == before
