"""What examples and pages show runs as shown, against a sandbox exchange."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command import ROOT, Command
from tests.support.docs import SHELLS, blocks
from tests.support.examples import (
    BUILD,
    DIED,
    EXAMPLES,
    GAP,
    best,
    build,
    needs_compiler,
    needs_jq,
    needs_node,
    pretend,
)
from tests.support.sandbox import Sandbox, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.docs import Block

ENDS = {"": 0, "refused": 2, "exit code 5": 5}
NO_SUCH_ORDER = ("krakenws editOrder orderid=OGTT3Y", "krakenws cancelOrder txid=OADMSD")
PAIRS = "XBT/USD,XBT/EUR,ETH/USD,ETH/EUR,LTC/EUR,XDG/XBT"
README = ROOT / "README.md"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A fast sandbox and the command, found by its name as in a user's shell, the drop-in in its home."""
    command = Command(tmp_path_factory.mktemp("pages"))
    command.environ["PATH"] = str(Path(sys.executable).parent) + os.pathsep + command.environ["PATH"]
    (command.home / "krakenws.py").symlink_to(ROOT / "krakenws.py")
    for name in ("bot.sh", "sell.sh"):
        (command.home / name).write_text("#!/bin/sh\n")
        (command.home / name).chmod(0o700)
    with running(command, "--pairs", PAIRS) as found:
        yield found


@pytest.fixture
def market(sandbox: Sandbox) -> Command:
    """The command, talking to the sandbox."""
    return sandbox.command


def run(market: Command, block: Block, **environ: str) -> None:
    here = f"--sandbox={market.environ['KRAKENWS_PUBLIC_URL']}"
    for script in block.scripts:
        if script.startswith("export "):
            continue  # of keys that are not given
        limits = {} if script.startswith("krakenws wait") else environ
        done = market.shell(script.replace("--sandbox", here), **limits)
        code = ENDS["exit code 5"] if script.startswith(NO_SUCH_ORDER) else ENDS[block.mark]
        assert done.code == code, (script, done)


@needs_jq
@pytest.mark.parametrize("page", ["tutorial.md", "how-to.md", "from-the-original.md", "policy.md"])
def test_every_command_of_a_page_runs(market: Command, page: str) -> None:
    shown = [block for block in blocks(ROOT / "docs" / page, *SHELLS) if block.mark != "not run"]
    assert shown
    for block in shown:
        run(market, block)


def test_every_command_of_the_readme_runs(market: Command) -> None:
    """Streams that go on for ever are given a second."""
    for block in blocks(README, *SHELLS):
        if block.mark != "not run":
            run(market, block, KRAKENWS_FOR="1s")


@needs_jq
def test_each_of_the_three_steps_checks_an_order(market: Command) -> None:
    steps = [block.text for block in blocks(ROOT / "docs" / "from-the-original.md", "sh")]
    said = [market.shell(step).lines[-1] for step in steps]
    assert [line.rpartition(" ")[0] for line in said] == [
        "checked at",
        "checked at",
        "buy 0.01000000 XBTUSD @ limit",
    ]


@needs_node
def test_the_node_program_of_the_readme_runs(market: Command) -> None:
    (program,) = (block.text for block in blocks(README, "js"))
    (market.home / "ticker.mjs").write_text(program)
    done = market.shell("node ticker.mjs")
    assert [line.split()[0] for line in done.lines] == ["XBT/USD"] * 3, done


@needs_compiler
def test_the_cpp_program_of_the_readme_runs(market: Command) -> None:
    (program,) = (block.text for block in blocks(README, "cpp"))
    (market.home / "ticker.cpp").write_text(program)
    built = market.shell(f"{BUILD} -I '{EXAMPLES}' -o ticker ticker.cpp")
    assert built.code == 0, built.err
    with market.start("session", "--listen", "unix:kraken.sock") as process:
        assert process.event()["event"] == "listening"
        done = market.shell("./ticker")
    assert (done.code, len(done.lines)) == (0, 1)
    assert market.shell("./ticker").code == 4  # nobody listens


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


PROGRAMS = [*blocks(ROOT / "docs" / "python.md", "python"), *blocks(README, "python")]


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_every_program_in_python_runs(market: Command, number: int) -> None:
    sandbox = f'sandbox="{market.environ["KRAKENWS_PUBLIC_URL"]}"'
    program = PROGRAMS[number].text
    assert "sandbox=True" in program
    (market.home / "program.py").write_text(program.replace("sandbox=True", sandbox))
    done = market.shell(f"'{sys.executable}' -W error program.py")
    assert (done.code, done.err) == (0, ""), done
    assert done.lines


def test_a_program_beside_the_drop_in_imports_the_package(krakenws: Command) -> None:
    (krakenws.home / "krakenws.py").symlink_to(ROOT / "krakenws.py")
    (krakenws.home / "other.py").write_text("")
    (krakenws.home / "program.py").write_text(
        "import sys, krakenws, other, krakenws.core.book\n"
        "print(krakenws.__path__ and krakenws.sync.connect.__name__, sys.modules['krakenws'] is krakenws)\n"
    )
    done = krakenws.shell(f"'{sys.executable}' -W error program.py")
    assert (done.out, done.err) == ("connect True\n", "")


def test_the_async_example_follows_books_and_checks_an_order(market: Command) -> None:
    example = ROOT / "examples" / "async_book.py"
    words = f"XBT/USD ETH/EUR --changes 3 --sandbox={market.environ['KRAKENWS_PUBLIC_URL']}"
    done = market.shell(f"'{sys.executable}' -W error '{example}' {words}")
    assert done.code == 0, done
    assert sorted(line.split()[0] for line in done.lines[:6]) == ["ETH/EUR"] * 3 + ["XBT/USD"] * 3
    assert done.lines[-1].startswith("checked: buy 0.01")


def test_the_sync_example_prints_prices_and_says_in_a_sentence_what_is_wrong(market: Command) -> None:
    example = ROOT / "examples" / "sync_ticker.py"
    run = f"'{sys.executable}' -W error '{example}' --sandbox={market.environ['KRAKENWS_PUBLIC_URL']}"
    done = market.shell(f"{run} XBT/USD --count 2")
    assert done.code == 0, done
    assert [line.split()[0] for line in done.lines] == ["round", "XBT/USD", "XBT/USD"]
    wrong = market.shell(f"{run} DOG/CAT")
    assert wrong.code == 1
    assert wrong.err == "sync_ticker: ticker DOG/CAT refused: Currency pair not supported DOG/CAT\n"
