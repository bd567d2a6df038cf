"""What runs share: nonces."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import ExitStack, closing
from pathlib import Path
from subprocess import PIPE
from typing import TYPE_CHECKING

import pytest

import krakenws.state
from krakenws.errors import SinkError
from krakenws.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW_NS = 1_790_000_000_000_000_000


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    with closing(State(str(tmp_path / "state" / "krakenws"))) as state:
        yield state


@pytest.fixture
def other(tmp_path: Path) -> Iterator[State]:
    """The same file as another process sees it."""
    with closing(State(str(tmp_path / "state" / "krakenws"))) as state:
        yield state


def test_a_nonce_is_the_time(state: State) -> None:
    assert state.next_nonce("key", NOW_NS) == NOW_NS


def test_nonces_rise_although_the_clock_stands_or_steps_back(state: State) -> None:
    drawn = [state.next_nonce("key", now_ns) for now_ns in (NOW_NS, NOW_NS, NOW_NS - 10**12, 0, NOW_NS + 2)]
    assert drawn == [NOW_NS, NOW_NS + 1, NOW_NS + 2, NOW_NS + 3, NOW_NS + 4]


def test_each_key_counts_on_its_own(state: State) -> None:
    state.next_nonce("one", NOW_NS)
    assert state.next_nonce("other", 5) == 5


def test_nonces_are_remembered_between_runs(state: State, other: State) -> None:
    state.next_nonce("key", NOW_NS)
    state.close()
    assert other.next_nonce("key", 0) == NOW_NS + 1
    assert state.next_nonce("key", 0) == NOW_NS + 2


DRAW = """
import sys
from krakenws.state import State
state = State(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(*[state.next_nonce("key", 1000 - turn) for turn in range(50)])
"""


def test_processes_that_draw_at_once_get_distinct_rising_nonces(tmp_path: Path) -> None:
    """The clock runs backwards, and no process has made the file yet."""
    environment = {**os.environ, "PYTHONPATH": str(Path(krakenws.state.__file__).parents[1])}
    command = [sys.executable, "-P", "-c", DRAW, str(tmp_path / "new")]
    with ExitStack() as stack:
        drawers = [
            stack.enter_context(
                subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True, env=environment)
            )
            for _ in range(8)
        ]
        for drawer in drawers:
            assert drawer.stdout is not None
            assert drawer.stdout.readline() == "ready\n"
        for drawer in drawers:
            assert drawer.stdin is not None
            drawer.stdin.write("go\n")
            drawer.stdin.flush()
        drawn = [[int(word) for word in drawer.communicate(timeout=60)[0].split()] for drawer in drawers]
    assert [len(own) for own in drawn] == [50] * 8
    assert all(own == sorted(own) for own in drawn)
    assert sorted(nonce for own in drawn for nonce in own) == list(range(1000, 1400))


def test_only_the_owner_can_read_the_file(state: State) -> None:
    state.next_nonce("key", NOW_NS)
    directory = Path(state.path).parent
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()} == {0o600}


def test_the_file_is_in_the_users_directory_of_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("krakenws.directories.state_dir", lambda: str(tmp_path / "krakenws"))
    assert State().path == str(tmp_path / "krakenws" / "state.db")


def test_a_defect_of_a_caller_leaves_nothing_open(state: State, other: State) -> None:
    with pytest.raises(OverflowError):
        state.next_nonce("key", 2**63)
    assert other.next_nonce("key", 7) == 7


def test_nothing_is_made_before_the_first_use(state: State) -> None:
    state.close()
    assert not Path(state.path).parent.exists()


def test_the_file_is_in_write_ahead_mode(state: State) -> None:
    state.next_nonce("key", NOW_NS)
    database = sqlite3.connect(state.path)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    database.close()


def _broken(state: State) -> str:
    with pytest.raises(SinkError) as caught:
        state.next_nonce("key", NOW_NS)
    message = str(caught.value)
    assert state.path in message
    assert not message.endswith(".")
    return message


def test_a_damaged_file_is_named_with_what_mends_it(state: State) -> None:
    Path(state.path).parent.mkdir(parents=True)
    Path(state.path).write_bytes(b"this is no database, " * 100)
    assert "damaged: move it away" in _broken(state)
    Path(state.path).unlink()
    assert state.next_nonce("key", NOW_NS) == NOW_NS


def test_a_directory_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert "cannot be used (not a directory)" in _broken(State(str(tmp_path / "file" / "krakenws")))


def test_a_directory_in_the_place_of_the_file_is_one_sentence(state: State) -> None:
    Path(state.path).mkdir(parents=True)
    assert "cannot be used (unable to open database file)" in _broken(state)


def test_a_locked_file_is_one_sentence(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(krakenws.state, "PATIENCE_S", 0.01)
    state.next_nonce("key", NOW_NS)
    state.close()
    holder = sqlite3.connect(state.path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert "locked by another program" in _broken(state)
    holder.execute("ROLLBACK")
    holder.close()
    assert state.next_nonce("key", NOW_NS) == NOW_NS + 1


def test_a_full_disk_is_one_sentence_and_loses_nothing(state: State) -> None:
    state.next_nonce("key", NOW_NS)
    database = state._database
    assert database is not None
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(SinkError, match="the disk is full: make room"):
        [state.next_nonce(f"{number:0400}", NOW_NS) for number in range(1000)]
    assert state.next_nonce("key", NOW_NS) == NOW_NS + 1


def test_a_file_of_a_newer_krakenws_is_left_alone(state: State) -> None:
    state.next_nonce("key", NOW_NS)
    state.close()
    database = sqlite3.connect(state.path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    assert "newer krakenws (layout 99" in _broken(state)


def test_an_older_layout_is_migrated(state: State, monkeypatch: pytest.MonkeyPatch) -> None:
    state.next_nonce("key", NOW_NS)
    state.close()
    statements = ("CREATE TABLE newer (id TEXT PRIMARY KEY)",)
    monkeypatch.setattr(krakenws.state, "_MIGRATIONS", (*krakenws.state._MIGRATIONS, statements))
    assert state.next_nonce("key", NOW_NS) == NOW_NS + 1
    assert state._database is not None
    assert state._database.execute("SELECT count(*) FROM newer").fetchone() == (0,)


def test_a_disk_that_fails_is_not_called_unwritable(tmp_path: Path) -> None:
    state = State(str(tmp_path))

    def fails(_: sqlite3.Connection) -> None:
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_SHMSIZE"
        raise error

    with closing(state), pytest.raises(SinkError, match="could not be read or written: see that its disk"):
        state.transaction(fails)
