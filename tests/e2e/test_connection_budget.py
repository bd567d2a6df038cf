"""A hundred connections in ten minutes for all processes of a user: what waits, what ends, who is exempt."""

from __future__ import annotations

import os
import re
import time
from shlex import split
from typing import TYPE_CHECKING

import pytest

from tests.support.scripts import OPEN_ORDERS, TICKER, accepts, pongs, streams
from tests.support.server import exchange

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.command import Command
    from tests.support.server import Connection, ScriptedServer

ORDER = split("addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01")
WAIT_S = 4.0
"""Longer than a process takes to start on a busy machine."""


def file_of(command: Command) -> Path:
    return command.home / "state" / "krakenws" / "connections"


def spend(command: Command, server: ScriptedServer, count: int, *, free_in_s: float = 300.0) -> None:
    """Leave the file as other processes do that connected."""
    at_ms = int((time.time() - 600 + free_in_s) * 1000)
    file_of(command).parent.mkdir(parents=True)
    file_of(command).write_text(f"{at_ms} 127.0.0.1:{server.port}\n" * count)


def test_processes_count_together_and_a_command_beyond_ends_at_once_and_says_until_when(
    krakenws: Command,
) -> None:
    with exchange(pongs) as server:
        spend(krakenws, server, 98)
        done = [krakenws.run("ping", "-ojson", *server.options) for _ in range(3)]
    assert [result.code for result in done] == [0, 0, 4]
    assert server.accepted == 2
    last = done[-1]
    assert f"the budget of 100 connections to 127.0.0.1:{server.port} in 10 minutes is spent" in last.sentence
    assert re.search(r"the next is free at \d\d:\d\d:\d\d$", last.sentence)
    disconnected, error = last.events
    assert disconnected["event"] == "disconnected"
    assert "budget" in disconnected["cause"]
    assert disconnected.get("retry_in_s") is None
    assert (error["event"], error["code"]) == ("error", 4)


def test_an_order_is_not_sent_minutes_later(trader: Command) -> None:
    with exchange(streams(TICKER), accepts) as server:
        spend(trader, server, 100)
        result = trader.run("ticker", "XBT/USD", "+", *ORDER, *server.options)
    assert result.code == 4, result
    assert "budget" in result.err
    assert server.accepted == 0


@pytest.mark.parametrize("more", [[], ["--reconnect", "0"]])
def test_a_stream_waits_for_its_first_connection_and_says_until_when(
    krakenws: Command, more: list[str]
) -> None:
    with exchange(streams(TICKER)) as server:
        spend(krakenws, server, 100, free_in_s=WAIT_S)
        result = krakenws.run(*split("ticker XBT/USD --count 1 -ojson"), *more, *server.options)
    assert result.code == 0, result
    waits, connected = result.events[:2]
    assert (waits["event"], connected["event"]) == ("disconnected", "connected")
    assert 0 < waits["retry_in_s"] <= WAIT_S
    assert "budget of 100 connections" in waits["cause"]
    assert re.search(
        r"public endpoint not connected: the budget .+ free at \d\d:\d\d:\d\d; connecting again in \d\.\d s$",
        result.sentence,
    )


def test_a_signal_ends_a_stream_that_waits(krakenws: Command) -> None:
    with exchange(streams(TICKER)) as server:
        spend(krakenws, server, 100)
        with krakenws.start("ticker", "XBT/USD", "-ojson", *server.options) as process:
            assert 290 < process.event("disconnected")["retry_in_s"] <= 300
            began = time.monotonic()
            process.terminate()
            assert process.finish().code == 0
            assert time.monotonic() - began < 1.0
    assert server.accepted == 0


def test_both_links_of_a_run_share_it(trader: Command) -> None:
    with exchange(streams(TICKER), streams(OPEN_ORDERS)) as server:
        spend(trader, server, 99)
        with trader.start("ticker", "XBT/USD", "+", "openOrders", "-ojson", *server.options) as process:
            assert "budget" in process.event("disconnected")["cause"]
            process.event("update")
            process.interrupt()
            process.finish()
    assert server.accepted == 1


def test_a_sandbox_bans_nobody(krakenws: Command) -> None:
    with exchange(pongs) as server:
        spend(krakenws, server, 100)
        before = file_of(krakenws).read_text()
        assert krakenws.run("ping", f"--sandbox={server.url}").code == 0
    assert file_of(krakenws).read_text() == before


def test_a_name_that_does_not_resolve_costs_nothing(krakenws: Command) -> None:
    result = krakenws.run("ping", "--public-url", "wss://exchange.invalid")
    assert result.code == 4
    assert not file_of(krakenws).exists() or file_of(krakenws).read_text() == ""


@pytest.mark.parametrize("trouble", ["no directory", "full disk"])
def test_a_home_that_takes_nothing_is_told_once_and_the_run_goes_on(krakenws: Command, trouble: str) -> None:
    if trouble == "full disk":
        if not os.path.exists("/dev/full"):
            pytest.skip("needs a device that is always full")
        file_of(krakenws).parent.mkdir(parents=True)
        file_of(krakenws).symlink_to("/dev/full")
    else:
        (krakenws.home / "state").write_text("")

    def ends(client: Connection) -> None:
        client.serve(TICKER)
        client.end()

    with exchange([ends, streams(TICKER)]) as server:
        result = krakenws.run(*split("ticker XBT/USD --count 2 -oraw"), *server.options)
    assert result.code == 0, result
    assert len(server.connections) == 2
    assert result.err.count("connections are counted for this process alone") == 1
