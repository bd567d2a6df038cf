"""The examples of sessions run as shown: Bash, C++ and Node, each watching a price and checking an order."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command import ROOT, Command
from tests.support.sandbox import Sandbox, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Result

COMPILER = next(filter(None, map(shutil.which, ("c++", "g++", "clang++"))), None)
EXAMPLES = ROOT / "examples"
MOST_LINES = 80


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox, and the command found by its name, as in a user's shell."""
    with running(Command(tmp_path_factory.mktemp("examples")), "--pairs", "XBT/USD") as found:
        beside_python = str(Path(sys.executable).parent)
        found.command.environ["PATH"] = beside_python + os.pathsep + found.command.environ["PATH"]
        yield found


def quotes(result: Result) -> list[str]:
    return [line for line in result.lines if line.startswith("XBT/USD ")]


@pytest.mark.parametrize("name", ["session.sh", "session.cpp", "session.mjs"])
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) < MOST_LINES


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq")
def test_the_bash_example_sees_the_price_move_and_has_an_order_checked(sandbox: Sandbox) -> None:
    done = sandbox.command.shell(f"bash '{EXAMPLES / 'session.sh'}'")
    assert done.code == 0, done
    watching, moved, order = done.lines
    assert watching == "watching XBT/USD"
    assert moved.startswith("bid moved from ")
    assert order.startswith("order: buy 0.01000000 XBTUSD @ limit ")


@pytest.mark.skipif(shutil.which("jq") is None, reason="there is no jq")
def test_the_bash_example_says_what_was_refused(sandbox: Sandbox) -> None:
    done = sandbox.command.shell(f"bash '{EXAMPLES / 'session.sh'}' DOG/CAT")
    assert done.code == 0
    assert "watch: refused" in done.err


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler")
def test_the_cpp_example_shares_a_session_over_its_socket(sandbox: Sandbox) -> None:
    command = sandbox.command
    built = command.shell(
        f"'{COMPILER}' -std=c++17 -Wall -Wextra -Werror -o session '{EXAMPLES / 'session.cpp'}'"
    )
    assert built.code == 0, built.err
    with command.start("session", "--listen", "unix:kraken.sock") as process:
        assert process.event()["event"] == "listening"
        done = command.shell("./session kraken.sock XBT/USD 3")
        assert done.code == 0, done
        assert len(quotes(done)) == 3
        assert done.lines[3] == "reply accepted"
        assert command.shell("./session kraken.sock DOG/CAT 3").code == 1
    assert command.shell("./session nowhere.sock XBT/USD 3").code == 1


@pytest.mark.skipif(shutil.which("node") is None, reason="there is no Node")
def test_the_node_example_resolves_answers_by_their_ids(sandbox: Sandbox) -> None:
    done = sandbox.command.shell(f"node '{EXAMPLES / 'session.mjs'}' XBT/USD 3")
    assert done.code == 0, done
    assert len(quotes(done)) == 3
    assert done.lines[3] == "reply accepted buy 0.01000000 XBTUSD @ market"
    assert sandbox.command.shell(f"node '{EXAMPLES / 'session.mjs'}' DOG/CAT 3").code == 1
