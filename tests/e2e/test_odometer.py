"""The rate counter as a user sees it: in answers, with -v, and before an order that it refuses."""

from __future__ import annotations

from shlex import split
from typing import TYPE_CHECKING

import pytest

from tests.support.sandbox import running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.command import Command
    from tests.support.sandbox import Sandbox

ORDER = "addOrder pair=XBT/USD type=buy ordertype=limit price=1000 volume=0.001"


@pytest.fixture
def sandbox(krakenws: Command) -> Iterator[Sandbox]:
    with running(krakenws, "--pairs", "XBT/USD") as sandbox:
        yield sandbox


def test_an_answer_says_where_the_counter_stands(sandbox: Sandbox) -> None:
    result = sandbox.run(f"{ORDER} + {ORDER} -v")
    rates = [event["rate"] for event in result.events if event["event"] == "reply"]
    assert [rate["symbol"] for rate in rates] == ["XBT/USD"] * 2
    assert rates[-1]["counter"] == 2
    assert "rate counter of XBT/USD: 2" in result.err
    refused = sandbox.run(
        "addOrder pair=XBT/USD type=buy ordertype=limit price=1000 volume=0.00000001 --no-check"
    )
    assert refused.code == 5
    (rate,) = [event["rate"] for event in refused.events if event["event"] == "reply"]
    assert 1 <= rate["counter"] <= 3, "the two before, as far as they have not decayed"


def test_the_ceiling_is_told_once_open_orders_has_told_it(sandbox: Sandbox) -> None:
    line = f"openOrders ratecounter=true + {ORDER} -o json"
    with sandbox.command.start(*split(line)) as process:
        assert process.event("reply")["rate"] == {"symbol": "XBT/USD", "counter": 1, "ceiling": 125}
        process.interrupt()
        assert process.finish().code == 0


def test_what_may_be_refused_is_warned_of_and_sent_all_the_same(sandbox: Sandbox) -> None:
    result = sandbox.run(" + ".join([ORDER] * 65))
    warnings = [line for line in result.err.splitlines() if "may be refused by the rate limit" in line]
    assert 1 <= len(warnings) <= 5
    assert "of 60 (of the lowest tier)" in warnings[0]
    assert sum(event["event"] == "reply" for event in result.events) == 65, "nothing is held back"
