"""The examples of sessions run as shown: Bash, C++ and Node, each watching a price and checking an order.

What only happens once a month is told by a session that is none: lines as `krakenws session` writes them.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.command import DEADLINE_S, Command
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
    told,
)
from tests.support.sandbox import Sandbox, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Result
    from tests.support.examples import Line

MOST_LINES = 80


CONNECTED: Line = {"event": "connected", "endpoint": "public"}
LOST: Line = {"event": "disconnected", "endpoint": "public", "cause": "closed by the exchange: 1001"}
NEWS: Line = {"event": "refused", "channel": "openOrders", "error": "ESession:Invalid session"}
ACCEPTED: Line = {"event": "reply", "outcome": "accepted", "result": {"descr": "buy 0.01000000 XBTUSD"}}
REJECTED: Line = {"event": "reply", "outcome": "rejected", "error": "EOrder:Insufficient funds"}
UNANSWERED: Line = {"event": "unanswered", "outcome": "unknown", "hint": "no answer within 5 s"}


def subscribed(id_: str | int) -> Line:
    return {"event": "subscribed", "id": id_, "channel": "book", "symbol": "XBT/USD", "params": {}}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """A sandbox, and the command found by its name, as in a user's shell."""
    with running(Command(tmp_path_factory.mktemp("examples")), "--pairs", "XBT/USD") as found:
        beside_python = str(Path(sys.executable).parent)
        found.command.environ["PATH"] = beside_python + os.pathsep + found.command.environ["PATH"]
        yield found


def quotes(result: Result) -> list[str]:
    return [line for line in result.lines if line.startswith("XBT/USD ")]


@contextmanager
def pretended_socket(command: Command, before: list[Line], *after: Line) -> Iterator[None]:
    """The same behind `kraken.sock`, its lines in pieces."""

    def serve() -> None:
        client, _ = listener.accept()
        with client, client.makefile("r") as lines:
            client.settimeout(DEADLINE_S)
            for piece in told(before).partition('"data"'):
                client.sendall(piece.encode())
            if after:
                next(line for line in lines if "addOrder" in line)
                client.sendall(told(after).encode())

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(command.home / "kraken.sock"))
        listener.listen()
        listener.settimeout(DEADLINE_S)
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


@pytest.mark.parametrize("name", sorted({path.name for path in EXAMPLES.glob("*.*")} - {"demo.sh"}))
def test_an_example_is_short(name: str) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) < MOST_LINES


# ---- Bash


@needs_jq
def test_the_bash_example_sees_the_price_move_and_has_an_order_checked(sandbox: Sandbox) -> None:
    done = sandbox.command.shell(f"bash '{EXAMPLES / 'session.sh'}'")
    assert done.code == 0, done
    watching, moved, order = done.lines
    assert watching == "watching XBT/USD"
    assert moved.startswith("bid moved from ")
    assert order.startswith("order: buy 0.01000000 XBTUSD @ limit ")


@needs_jq
def test_the_bash_example_says_what_was_refused(sandbox: Sandbox) -> None:
    done = sandbox.command.shell(f"bash '{EXAMPLES / 'session.sh'}' DOG/CAT")
    assert done.code == 5
    assert done.err == "watch: Currency pair not supported DOG/CAT\n"
    done = sandbox.command.shell(f"bash '{EXAMPLES / 'session.sh'}' XBT/USD 100")
    assert (done.code, done.err) == (5, "order: EOrder:Insufficient funds\n")
    done = sandbox.command.shell(f"bash '{EXAMPLES / 'session.sh'}' $'XBT/USD\\ncancelAll'")
    assert done.code == 2
    assert "watch: book does not take cancelAll" in done.err


@needs_jq
@pytest.mark.parametrize(
    ("after", "code", "said"),
    [
        ([{**ACCEPTED, "id": "order"}], 0, ""),
        ([{**REJECTED, "id": "order"}], 5, "order: EOrder:Insufficient funds"),
        ([{**UNANSWERED, "id": "order"}], 6, "order: no answer within 5 s"),
        ([CONNECTED], 6, "unknown whether the order stands: krakenws reconcile tells"),
    ],
)
def test_the_bash_example_acts_on_what_is_known_and_tells_what_is_not(
    krakenws: Command, after: list[Line], code: int, said: str
) -> None:
    before = [CONNECTED, subscribed("watch"), best("1.00000", "unverified"), best("2.00000"), GAP, LOST]
    pretend(krakenws, [*before, best("3.00000", "unverified"), best("4.0"), NEWS, best("5.0")], *after)
    done = krakenws.shell(f"bash '{EXAMPLES / 'session.sh'}'")
    assert done.code == code, done
    assert done.lines[:2] == ["watching XBT/USD", "bid moved from 4.0 to 5.0"]
    assert 'no price until the next line: said "checksum"' in done.err
    assert said in done.err


@needs_jq
def test_the_bash_example_ends_with_a_session_that_dies(krakenws: Command) -> None:
    pretend(krakenws, [CONNECTED, subscribed("watch")])
    done = krakenws.shell(f"bash '{EXAMPLES / 'session.sh'}'")
    assert (done.code, done.err) == (4, f"the session ended with exit code {DIED}\n")


# ---- C++


@needs_compiler
def test_the_cpp_example_shares_a_session_over_its_socket(sandbox: Sandbox) -> None:
    command = sandbox.command
    build(command, "session")
    with command.start("session", "--listen", "unix:kraken.sock") as process:
        assert process.event()["event"] == "listening"
        done = command.shell("./session kraken.sock XBT/USD 3")
        assert done.code == 0, done
        assert len(quotes(done)) == 3
        assert done.lines[3].startswith("accepted: buy 0.01000000 XBTUSD @ limit ")
        done = command.shell("./session kraken.sock DOG/CAT 3")
        assert (done.code, done.err) == (5, "refused: Currency pair not supported DOG/CAT\n")
        done = command.shell("./session kraken.sock XBTUSD 3")
        assert done.code == 2
        assert "did you mean XBT/USD" in done.err
        done = command.shell("./session kraken.sock $'XBT/USD\\ncancelAll' 3")
        assert (done.code, done.err) == (1, "a newline would begin another command\n")
    done = command.shell("./session nowhere.sock XBT/USD 3")
    assert (done.code, done.err) == (
        4,
        "no session at nowhere.sock: krakenws session --listen unix:nowhere.sock\n",
    )
    assert command.shell(f"./session {'long/' * 40}kraken.sock").code == 4
    assert command.shell("./session").code == 2


@needs_compiler
@pytest.mark.parametrize(
    ("after", "code", "said"),
    [
        ([NEWS, {**ACCEPTED, "id": "order"}], 0, ""),
        ([{**UNANSWERED, "id": "order"}], 6, "unknown whether the order stands: no answer within 5 s"),
        ([LOST], 6, "the session is gone; krakenws reconcile says what became of the order"),
    ],
)
def test_the_cpp_example_acts_on_what_is_known_and_tells_what_is_not(
    krakenws: Command, after: list[Line], code: int, said: str
) -> None:
    build(krakenws, "session")
    with pretended_socket(krakenws, [subscribed("quotes"), best("1.0"), GAP, best("2.0")], *after):
        done = krakenws.shell("./session kraken.sock XBT/USD 2")
    assert done.code == code, done
    assert quotes(done) == ["XBT/USD 1.0 99.00000", "XBT/USD 2.0 99.00000"]
    assert 'no quote until the next line: said "checksum"' in done.err
    assert said in done.err


@needs_compiler
def test_the_cpp_example_ends_with_a_session_that_dies(krakenws: Command) -> None:
    build(krakenws, "session")
    with pretended_socket(krakenws, [subscribed("quotes"), best("1.0")]):
        done = krakenws.shell("./session kraken.sock XBT/USD 2")
    assert (done.code, done.err) == (4, "the session is gone\n")


@needs_compiler
def test_the_json_reader_of_the_cpp_examples_reads_what_python_writes(tmp_path: Path) -> None:
    values = ['"quoted" \\ / \b\f\n\r\t', "≥ é € 😀 \u07ff \u0800 \uffff", "", "0.10000000"]
    lines = [{"none": None, "text": value, "deep": [[], {}, {"x": [True, value]}]} for value in values]
    (tmp_path / "reader.cpp").write_text("""
        #include <iostream>
        #include "json.hpp"
        int main() {
            for (std::string line; std::getline(std::cin, line);) {
                try {
                    const json::Value value = json::Reader(line).value();
                    const json::Value& deep = value["deep"][2]["x"];
                    std::cout << value["text"].text << '|' << deep[1].text << '|' << deep[0].text
                              << value["none"].text << value[9]["no"][0].text;
                } catch (const std::exception& error) {
                    std::cout << "error";
                }
                std::cout << '\\0';
            }
        }
    """)
    command = Command(tmp_path)
    built = command.shell(f"{BUILD} -I '{EXAMPLES}' -o reader reader.cpp")
    assert built.code == 0, built.err
    wrong = ['{"text":', '{"text" 1}', '{"text":"', '{"text":"\\u00"}', "[", "", '{"text":"x}']
    right = [json.dumps(line, ensure_ascii=ascii_) for ascii_ in (True, False) for line in lines]
    (tmp_path / "lines").write_text("".join(f"{line}\n" for line in right + wrong), encoding="utf-8")
    done = command.shell("./reader < lines")
    assert done.out.split("\0")[:-1] == [f"{v}|{v}|true" for v in values] * 2 + ["error"] * len(wrong)


# ---- Node


@needs_node
def test_the_node_example_resolves_answers_by_their_ids(sandbox: Sandbox) -> None:
    done = sandbox.command.shell(f"node '{EXAMPLES / 'session.mjs'}' XBT/USD 3")
    assert done.code == 0, done
    assert len(quotes(done)) == 3
    assert done.lines[3].startswith("accepted buy 0.01000000 XBTUSD @ limit ")
    done = sandbox.command.shell(f"node '{EXAMPLES / 'session.mjs'}' DOG/CAT 3")
    assert (done.code, done.lines) == (5, ["refused Currency pair not supported DOG/CAT"])


@needs_node
@pytest.mark.parametrize(
    ("after", "code", "said"),
    [
        ([NEWS, {**ACCEPTED, "id": 2}], 0, "accepted buy 0.01000000 XBTUSD"),
        ([{**REJECTED, "id": 2}], 5, "rejected EOrder:Insufficient funds"),
        ([{**UNANSWERED, "id": 2}], 6, "unknown no answer within 5 s"),
        (
            [LOST],
            6,
            f"the session is gone: exit code {DIED}; krakenws reconcile tells whether the order stands",
        ),
    ],
)
def test_the_node_example_acts_on_what_is_known_and_tells_what_is_not(
    krakenws: Command, after: list[Line], code: int, said: str
) -> None:
    pretend(krakenws, [subscribed(1), best("1.0"), GAP, subscribed(1), best("2.0")], *after)
    done = krakenws.shell(f"node '{EXAMPLES / 'session.mjs'}' XBT/USD 2")
    assert done.code == code, done
    assert quotes(done) == ["XBT/USD 1.0 99.00000", "XBT/USD 2.0 99.00000"]
    assert 'no quote until the next line: said "checksum"' in done.err
    assert said in done.out + done.err


@needs_node
def test_the_node_example_ends_with_a_session_that_dies(krakenws: Command) -> None:
    pretend(krakenws, [subscribed(1), best("1.0")])
    done = krakenws.shell(f"node '{EXAMPLES / 'session.mjs'}' XBT/USD 2")
    assert (done.code, done.err) == (4, f"the session is gone: exit code {DIED}\n")
