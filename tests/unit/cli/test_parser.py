"""Options that belong to a tool, beside parameters of the same name."""

from __future__ import annotations

import pytest

from krakenws.cli.parser import parse
from krakenws.errors import UsageError


def test_the_timeout_of_the_dead_mans_switch_is_a_parameter_and_that_of_wait_an_option() -> None:
    switch = parse(["cancel-all-orders-after", "--timeout", "60"])
    assert (switch.feeds[0].words, switch.settings) == (("timeout=60",), {})
    wait = parse(["wait", "XBT/USD bid > 1", "--timeout", "2m"])
    assert (wait.feeds[0].words, wait.settings) == (("XBT/USD bid > 1",), {"timeout": 120.0})


def test_an_option_of_a_tool_is_refused_elsewhere() -> None:
    with pytest.raises(UsageError, match="--timeout belongs to krakenws wait"):
        parse(["ticker", "XBT/USD", "--timeout", "3s"])


@pytest.mark.parametrize("url", ["ws://127.0.0.1:9000", "wss://localhost"])
def test_a_url_behind_a_space_is_no_value_of_sandbox_and_the_way_to_write_it_is_told(url: str) -> None:
    with pytest.raises(UsageError, match=f"--sandbox={url}"):
        parse(["ticker", "XBT/USD", "--sandbox", url])
    with pytest.raises(UsageError, match=f"--sandbox={url}"):
        parse(["--sandbox", url, "ticker", "XBT/USD"])
    assert parse(["--sandbox", "ping"]).settings == {"sandbox": ""}


@pytest.mark.parametrize("words", [["-n", "-ojson"], ["--output", "--count", "1"], ["-o"]])
def test_an_option_is_no_value_of_another(words: list[str]) -> None:
    with pytest.raises(UsageError, match=r"^--(count needs N|output needs FORMAT)$"):
        parse(["ticker", "XBT/USD", *words])


def test_two_dashes_end_the_options_of_a_feed() -> None:
    assert parse(["ticker", "-ojson", "--", "XBT/USD"]).feeds[0].words == ("XBT/USD",)
    assert parse(["guard", "60s", "--", "bot", "--", "-n"]).feeds[0].words == ("60s", "--", "bot", "--", "-n")
