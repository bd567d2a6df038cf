"""What examples and pages show runs as shown, against a sandbox exchange."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command import ROOT, Command
from tests.support.docs import SHELLS, blocks
from tests.support.examples import DIED, GAP, best, build, needs_compiler, needs_jq, pretend

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.docs import Block

ENDS = {"": 0, "refused": 2, "exit code 5": 5}


@pytest.fixture
def market(krakenws: Command) -> Iterator[Command]:
    """The command, talking to a fast sandbox and found by its name, as in a user's shell."""
    beside_python = str(Path(sys.executable).parent)
    krakenws.environ["PATH"] = beside_python + os.pathsep + krakenws.environ["PATH"]
    words = ("sandbox", "--pairs", "XBT/USD,ETH/EUR", "--rate", "300", "--listen", "127.0.0.1:0")
    with krakenws.start(*words) as server:
        krakenws.environ["KRAKENWS_PUBLIC_URL"] = server.line().removeprefix("public: ")
        yield krakenws


def run(market: Command, block: Block) -> None:
    here = f"--sandbox={market.environ['KRAKENWS_PUBLIC_URL']}"
    for script in block.scripts:
        if script.startswith("export "):
            continue  # of keys that are not given
        done = market.shell(script.replace("--sandbox", here))
        assert done.code == ENDS[block.mark], (script, done)


@needs_jq
@pytest.mark.parametrize("page", ["tutorial.md", "how-to.md"])
def test_every_command_of_a_page_runs(market: Command, page: str) -> None:
    shown = [block for block in blocks(ROOT / "docs" / page, *SHELLS) if block.mark != "not run"]
    assert shown
    for block in shown:
        run(market, block)


@needs_jq
def test_the_bash_loop_reads_quotes_and_ends_with_the_exit_code_of_krakenws(market: Command) -> None:
    loop = str(ROOT / "examples" / "bash_loop.sh")
    done = market.shell(f"bash '{loop}' XBT/USD 3")
    assert done.code == 0, done
    assert [line.split()[0] for line in done.lines] == ["XBT/USD"] * 3
    assert market.shell(f"bash '{loop}' DOG/CAT 3").code == 5


@needs_jq
def test_the_bash_loop_says_when_quotes_may_be_missing_and_how_krakenws_ended(krakenws: Command) -> None:
    pretend(krakenws, [best("1.0"), GAP])
    done = krakenws.shell(f"bash '{ROOT / 'examples' / 'bash_loop.sh'}' XBT/USD 3")
    assert (done.code, done.lines) == (DIED, ["XBT/USD  1.0  99.00000  wide"])
    assert done.err == 'quotes may be missing: said "checksum"\n'


@needs_compiler
def test_the_cpp_example_reads_quotes_and_ends_with_the_exit_code_of_krakenws(market: Command) -> None:
    build(market, "popen")
    done = market.shell("./popen XBT/USD 4")
    assert done.code == 0, done
    assert [line.split()[0] for line in done.lines] == ["XBT/USD"] * 3
    assert market.shell("./popen DOG/CAT 3").code == 5
    assert market.shell("./popen 'XBT/USD; echo' 3").code == 2


@needs_compiler
def test_the_cpp_example_says_when_there_is_no_quote_and_how_krakenws_ended(krakenws: Command) -> None:
    build(krakenws, "popen")
    pretend(krakenws, [best("1.0", "unverified"), best("2.0"), GAP])
    done = krakenws.shell("./popen XBT/USD 4")
    assert (done.code, done.lines) == (DIED, ["XBT/USD 2.0 99.00000"])
    assert done.err == 'no quote until the next line: said "checksum"\n'
    (krakenws.home / "pretended" / "krakenws").write_text("#!/bin/sh\nkill -KILL $$\n")
    done = krakenws.shell("./popen XBT/USD 4")
    assert (done.code, done.err) == (128 + 9, "krakenws was ended by signal 9\n")
