"""`docs/sandbox.md`: its faults are those of the code, and do to the command what the page says."""

from __future__ import annotations

import json
import re
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from krakenws.exchange.accounts import DEMO_BALANCES
from krakenws.exchange.fault_rules import FAULTS, parse_faults
from krakenws.exchange.keys import DEMO_KEY, DEMO_SECRET
from tests.support.command import ROOT
from tests.support.docs import blocks, prose

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Command, Process, Result

PAGE = ROOT / "docs" / "sandbox.md"
ADDRESS = "127.0.0.1:8765"
"""The sandbox's default, as the page has it; here each test has a port of its own."""
ORDER = ("addOrder", "pair=XBT/USD", "type=buy", "ordertype=limit", "price=70000", "volume=0.01")
LINES = [
    line
    for block in blocks(PAGE, "sh")
    for line in block.text.splitlines()
    if line.startswith('curl -d \'{"fault"')
]

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl")


def rule_of(line: str) -> str:
    found = re.fullmatch(rf"curl -d '(.+)' http://{re.escape(ADDRESS)}/sandbox/faults", line)
    assert found, line
    return found[1]


class Sandbox:
    """A sandbox in a process of its own, and the command with `--sandbox`."""

    def __init__(self, command: Command, url: str) -> None:
        self._command = command
        self.url = url

    def run(self, *words: str) -> Result:
        return self._command.run(f"--sandbox={self.url}", "-ojson", *words)

    @contextmanager
    def follow(self, *words: str) -> Iterator[Process]:
        with self._command.start(f"--sandbox={self.url}", "-ojson", *words) as process:
            yield process

    def suffer(self, fault: str) -> None:
        """Run the page's first line for a fault."""
        line = next(line for line in LINES if f'"fault": "{fault}"' in line)
        done = self._command.shell(line.replace(ADDRESS, self.url.removeprefix("ws://")))
        assert json.loads(done.out)["error"] == [], done


@pytest.fixture
def sandbox(krakenws: Command) -> Iterator[Sandbox]:
    """A fast market with one pair."""
    words = ("sandbox", "--listen", "127.0.0.1:0", "--pairs", "XBT/USD", "--rate", "200")
    with krakenws.start(*words) as process:
        yield Sandbox(krakenws, process.line().removeprefix("public: "))


def event_after(stream: Process, name: str, **fields: object) -> dict[str, object]:
    """Return the next event of that name with those fields."""
    while True:
        event = stream.event(name)
        if fields.items() <= event.items():
            return event


def test_every_fault_has_an_example_and_every_example_is_a_fault() -> None:
    shown = [rule["fault"] for line in LINES for rule in parse_faults(rule_of(line))]
    assert set(shown) == set(FAULTS)


def test_the_file_of_faults_shown_is_one() -> None:
    (file,) = (block.text for block in blocks(PAGE, "json") if block.text.startswith("["))
    assert len(parse_faults(file)) == 2


def test_the_demo_account_is_the_one_described() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert DEMO_KEY in text
    assert DEMO_SECRET in text
    begins = prose(PAGE).replace("\n", " ")
    for asset, amount in DEMO_BALANCES.items():
        name = asset[1:] if asset[0] in "XZ" and len(asset) == len("XXBT") else asset
        assert f"{amount:,} {name}" in begins


@needs_curl
def test_a_bad_checksum_is_a_gap_that_heals(sandbox: Sandbox) -> None:
    with sandbox.follow("book", "XBT/USD") as stream:
        event_after(stream, "update", trust="verified")
        sandbox.suffer("bad_checksum")
        gap = event_after(stream, "gap")
        assert (gap["channel"], gap["symbol"], gap["cause"]) == ("book", "XBT/USD", "checksum")
        event_after(stream, "update", type="snapshot")
        event_after(stream, "update", trust="verified")


@needs_curl
def test_after_a_close_the_stream_connects_again(sandbox: Sandbox) -> None:
    with sandbox.follow("spread", "XBT/USD") as stream:
        stream.event("update")
        sandbox.suffer("close")
        assert "1001" in str(stream.event("disconnected")["cause"])
        stream.event("connected")
        stream.event("update")


@needs_curl
def test_an_order_whose_answer_is_lost_stands_and_is_found(sandbox: Sandbox) -> None:
    sandbox.suffer("lose_answer")
    result = sandbox.run(*ORDER, "--ack-timeout", "1s")
    assert result.code == 0, result.err
    assert "found: openOrders" in result.err
    (update,) = [e for e in sandbox.run("openOrders", "--count", "1").events if e["event"] == "update"]
    assert [order["order_status"] for order in update["data"]] == ["open"]


@needs_curl
def test_a_page_instead_of_the_upgrade_is_told_with_its_status(sandbox: Sandbox) -> None:
    sandbox.suffer("http_status")
    result = sandbox.run("ping")
    assert result.code == 4, result.err
    assert "429 Too Many Requests" in result.err
    assert sandbox.run("ping").code == 0


@needs_curl
def test_in_maintenance_no_order_is_sent(sandbox: Sandbox) -> None:
    sandbox.suffer("system_status")
    result = sandbox.run(*ORDER)
    assert result.code == 5, result.err
    assert "not sent, the exchange is in maintenance" in result.err


@needs_curl
@pytest.mark.skipif(shutil.which("openssl") is None, reason="there is no openssl")
def test_the_signed_call_shown_gets_a_token(krakenws: Command, sandbox: Sandbox) -> None:
    (script,) = (block.text for block in blocks(PAGE, "sh") if "openssl" in block.text)
    done = krakenws.shell(script.replace(ADDRESS, sandbox.url.removeprefix("ws://")))
    assert '"XXBTZUSD":{"a":' in done.out, done
    assert '"error":[],"result":{"token":' in done.out, done
