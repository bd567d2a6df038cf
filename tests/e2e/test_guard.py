"""`guard`: CMD under the dead man's switch, judged by the exchange's own account of it."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager, suppress
from shlex import split
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from tests.support.command import DEADLINE_S
from tests.support.sandbox import Sandbox, running
from tests.support.scripts import accepts
from tests.support.server import exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.support.command import Command, Process

ORDER = "addOrder pair=XBT/USD type=buy ordertype=limit price=1000 volume=0.01"
WAITS = ["sh", "-c", 'echo started $$; read -r code; exit "$code"']
"""Says its number, and ends with the code it is told."""
SECOND_US = 1_000_000


class Truth:
    """The exchange's own account, read while it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def events(self, name: str) -> list[dict[str, Any]]:
        lines = self._path.read_text().splitlines(keepends=True)
        told = [json.loads(line) for line in lines if line.endswith("\n") and '"demo"' in line]
        return [event for event in told if event["event"] == name]

    def wait_for(self, name: str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        end_at = time.monotonic() + DEADLINE_S
        while not enough(events := self.events(name)):
            assert time.monotonic() < end_at, f"not enough of {name}: {events}"
            time.sleep(0.02)
        return events

    @property
    def settings(self) -> list[bool]:
        """Whether each request switched on."""
        return [event["fires_us"] is not None for event in self.events("Switch")]


@pytest.fixture
def truth(tmp_path: Path) -> Truth:
    return Truth(tmp_path / "truth.jsonl")


@pytest.fixture
def sandbox(krakenws: Command, tmp_path: Path) -> Iterator[Sandbox]:
    with running(krakenws, "--pairs", "XBT/USD", "--truth", str(tmp_path / "truth.jsonl")) as sandbox:
        yield sandbox


def fault(sandbox: Sandbox, **rule: Any) -> None:
    request = Request(f"{sandbox.told['REST']}/sandbox/faults", json.dumps(rule).encode())
    with urlopen(request, timeout=DEADLINE_S) as answer:
        assert answer.status < 300


def open_orders(sandbox: Sandbox) -> set[str]:
    return set(sandbox.call("OpenOrders", time.time_ns())["result"]["open"])


@contextmanager
def guarding(sandbox: Sandbox, line: str, *command: str) -> Iterator[tuple[Process, int]]:
    """A guard whose CMD has started, and CMD's number; CMD does not outlive it."""
    with sandbox.command.start("guard", *split(line), "--", *(command or WAITS)) as process:
        pid = int(process.line().split()[1])
        try:
            yield process, pid
        finally:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_the_switch_is_on_before_cmd_starts_and_off_after_its_success(sandbox: Sandbox, truth: Truth) -> None:
    place = f'"{sandbox.command.program[0]}" {ORDER} -o json'
    result = sandbox.command.run("guard", "20s", "--pass-secrets", "--", "sh", "-c", place)
    assert result.code == 0, result.err
    assert [event["event"] for event in result.stream] == ["connected", "status", "reply"]
    assert truth.settings == [True, False]
    on, off = truth.events("Switch")
    assert on["time_us"] < truth.events("Accepted")[-1]["time_us"] < off["time_us"]
    assert len(open_orders(sandbox)) == 1
    assert "ALL open orders of the account, whoever placed them: 0 open now" in result.err
    assert result.err.splitlines()[-1] == "krakenws: guard: switched off"


def test_on_failure_all_orders_are_cancelled_at_once(sandbox: Sandbox, truth: Truth) -> None:
    for _ in range(2):
        sandbox.reply(ORDER)
    result = sandbox.command.run("guard", "1h", "--", "sh", "-c", "exit 3")
    assert result.code == 3
    assert "2 open now" in result.err
    assert "sh ended with 3: cancelling all orders" in result.err
    assert "cancelled: 2" in result.err
    assert open_orders(sandbox) == set()
    assert truth.settings == [True, False]
    assert truth.events("Ended")[-1]["time_us"] <= truth.events("Switch")[-1]["time_us"]


def test_what_a_guard_sends_is_in_the_journal_with_one_row_for_its_switch(
    sandbox: Sandbox, truth: Truth
) -> None:
    with guarding(sandbox, "6s") as (process, _):
        truth.wait_for("Switch", lambda requests: len(requests) > 2)
        assert [row["request"] for row in intents(sandbox)] == ["cancelAllOrdersAfter"]
        process.send("1\n")
        assert "cancelled: 0" in process.finish().err
    assert [(row["request"], row["state"]) for row in intents(sandbox)] == [
        ("cancelAll", "accepted"),
        ("cancelAllOrdersAfter", "accepted"),
    ]


def intents(sandbox: Sandbox) -> list[dict[str, Any]]:
    result = sandbox.run("intents -o json")
    return [json.loads(line) for line in result.out.splitlines()]


def test_without_a_journal_nothing_is_armed_and_cmd_is_not_started(sandbox: Sandbox, truth: Truth) -> None:
    blocked = sandbox.command.home / "blocked"
    blocked.write_text("no directory")
    result = sandbox.run("guard 60s -- echo started", XDG_STATE_HOME=str(blocked))
    assert (result.code, result.out) == (7, "")
    assert truth.events("Switch") == []


def test_on_failure_the_switch_can_be_left_to_fire(sandbox: Sandbox, truth: Truth) -> None:
    sandbox.reply(ORDER)
    result = sandbox.command.run("guard", "6s", "--on-failure", "leave", "--", "sh", "-c", "exit 3")
    assert result.code == 3
    assert "as --on-failure leave has it" in result.err
    truth.wait_for("SwitchFired", bool)
    assert open_orders(sandbox) == set()
    assert truth.settings == [True]


def test_a_killed_guard_leaves_the_switch_to_fire_in_its_time(sandbox: Sandbox, truth: Truth) -> None:
    sandbox.reply(ORDER)
    with guarding(sandbox, "6s") as (process, _):
        os.kill(process.pid, signal.SIGKILL)
        (fired,) = truth.wait_for("SwitchFired", bool)
    assert open_orders(sandbox) == set()
    assert 0 <= fired["time_us"] - truth.events("Switch")[-1]["fires_us"] < 2 * SECOND_US


def test_it_is_renewed_in_time_while_cmd_lives(sandbox: Sandbox, truth: Truth) -> None:
    with guarding(sandbox, "6s") as (process, _):
        renewed = truth.wait_for("Switch", lambda events: len(events) > 3)
        process.send("0\n")
        assert process.finish().code == 0
    assert truth.events("SwitchFired") == []
    apart_us = renewed[3]["time_us"] - renewed[0]["time_us"]
    assert apart_us > 3 * 2 * SECOND_US - SECOND_US / 2, "each third of it, not more often"
    assert truth.settings[-1] is False


def test_cmd_is_killed_by_a_signal(sandbox: Sandbox, truth: Truth) -> None:
    with guarding(sandbox, "1m") as (process, pid):
        os.kill(pid, signal.SIGKILL)
        process.terminate()  # too late for CMD, and no reason to leave anything undone
        result = process.finish()
    assert result.code == 128 + signal.SIGKILL
    assert "sh ended by signal 9: cancelling" in result.err
    assert truth.settings == [True, False]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 7), (signal.SIGINT, 8), (signal.SIGHUP, 9)])
def test_a_signal_is_passed_on_and_cmd_decides(sandbox: Sandbox, number: int, code: int) -> None:
    traps = "trap 'exit 7' TERM; trap 'exit 8' INT; trap 'exit 9' HUP; echo started $$;"
    traps += "while :; do sleep 0.05; done"
    with guarding(sandbox, "1m", "sh", "-c", traps) as (process, _):
        os.kill(process.pid, number)
        assert process.finish().code == code


def test_cmd_has_no_secrets_unless_it_is_given_them(sandbox: Sandbox) -> None:
    secrets = {
        "KRAKEN_API_KEY": sandbox.told["API key"],
        "KRAKEN_API_SECRET": sandbox.told["API secret"],
        "KRAKEN_PRIVATE_KEY": "canary-private-key",
        "KRAKENWS_OTP": "canary-of-a-password",
        "MY_OWN_COPY": f"prefix {sandbox.told['API secret']}",
    }
    others = {
        "KRAKENWS_TOKEN_FILE": "",
        "KRAKENWS_ACK_TIMEOUT": "4s",
        "HOTKEY": "F1",
        "API_KEY": "of another",
    }
    for given in ((), ("--pass-secrets",)):
        with sandbox.command.start(
            "guard", "20s", *given, "--", "env", environ={**secrets, **others}
        ) as process:
            told = dict(line.split("=", 1) for line in process.finish().out.splitlines())
        assert {name: told.get(name) for name in others} == others
        assert {name: told.get(name) for name in secrets} == (secrets if given else dict.fromkeys(secrets))
    with sandbox.command.start(
        "guard", "20s", "--", "env", environ={"KRAKENWS_TOKEN": sandbox.token()}
    ) as process:
        result = process.finish()
    assert result.code == 0
    assert "KRAKENWS_TOKEN" not in result.out


def test_stdin_and_stdout_are_cmds_whatever_its_words_look_like(sandbox: Sandbox) -> None:
    words = ["-v", "--output", "json", "+", "ping", "--", "--pass-secrets"]
    result = sandbox.command.run(
        "guard", "20s", "-o", "json", "--", "sh", "-c", 'cat; echo "$@"', "sh", *words, stdin="from stdin\n"
    )
    assert result.code == 0
    assert result.lines == ["from stdin", "-v --output json + ping -- --pass-secrets"]


@pytest.mark.parametrize(
    ("command", "code"), [("./nothing", 127), ("no-such-program", 127), ("./plain", 126), ("./folder", 126)]
)
def test_what_cannot_be_run_arms_nothing(sandbox: Sandbox, truth: Truth, command: str, code: int) -> None:
    (sandbox.command.home / "plain").write_text("no program")
    (sandbox.command.home / "folder").mkdir()
    result = sandbox.command.run("guard", "20s", "-o", "json", "--", command)
    assert (result.code, result.out) == (code, "")
    assert command in result.sentence
    assert truth.settings == []


def test_a_program_the_system_cannot_run_leaves_no_switch(sandbox: Sandbox, truth: Truth) -> None:
    path = sandbox.command.home / "garbage"
    path.write_bytes(b"\x7fELF but not really")
    path.chmod(0o755)
    result = sandbox.command.run("guard", "20s", "--", str(path))
    assert result.code == 126
    assert "could not be started" in result.err
    assert truth.settings == [True, False]


@pytest.mark.parametrize(
    ("rule", "code", "says"),
    [
        ({"fault": "system_status", "status": "maintenance"}, 5, "maintenance"),
        ({"fault": "lose_answer", "method": "cancelAllOrdersAfter"}, 6, "may be armed all the same"),
        ({"fault": "accept_then_cut", "method": "cancelAllOrdersAfter"}, 6, "may be armed all the same"),
        (
            {"fault": "refuse", "method": "cancelAllOrdersAfter", "error": "EGeneral:Permission denied"},
            3,
            "denied",
        ),
        ({"fault": "refuse", "method": "cancelAllOrdersAfter", "error": "EService:Busy"}, 5, "EService:Busy"),
    ],
)
def test_cmd_is_not_started_unless_the_switch_is_on(
    sandbox: Sandbox, rule: dict[str, Any], code: int, says: str
) -> None:
    fault(sandbox, **rule)
    result = sandbox.command.run("guard", "20s", "--ack-timeout", "1s", "--", "touch", "started")
    assert result.code == code, result.err
    assert says in result.err
    assert not (sandbox.command.home / "started").exists()


def test_without_exchange_or_token_cmd_is_not_started(krakenws: Command) -> None:
    with exchange(private=accepts) as server:
        options = server.options
        no_token = krakenws.run("guard", "20s", *options, "--", "touch", "started")
    assert no_token.code == 3
    krakenws.store_token("a-token-for-a-test")
    assert krakenws.run("guard", "20s", *options, "--", "touch", "started").code == 4
    assert not (krakenws.home / "started").exists()


def test_open_orders_that_may_not_be_counted_do_not_matter(sandbox: Sandbox) -> None:
    fault(sandbox, fault="refuse", channel="openOrders", error="EGeneral:Permission denied", times=9)
    result = sandbox.command.run("guard", "20s", "--", "true")
    assert result.code == 0, result.err
    assert "how many are open is not known (EGeneral:Permission denied)" in result.err


def test_maintenance_switches_it_off_until_it_is_over(sandbox: Sandbox, truth: Truth) -> None:
    with guarding(sandbox, "1m") as (process, _):
        fault(sandbox, fault="system_status", status=["maintenance", "cancel_only", "online"], for_s=1)
        process.note("announces maintenance: switching off")
        process.note("switched off for the maintenance")
        process.note("armed again for 60 s")
        process.send("0\n")
        assert process.finish().code == 0
    assert truth.settings == [True, False, True, False]


def test_a_lost_connection_is_made_again_and_the_seconds_left_are_said(
    sandbox: Sandbox, truth: Truth
) -> None:
    with guarding(sandbox, "1m") as (process, _):
        fault(sandbox, fault="reset", connection="all")
        note = process.note("; the switch fires in ")
        assert 30 < int(note.split()[-2]) <= 60
        renewed = len(truth.settings)
        fault(sandbox, fault="lose_answer", method="cancelAllOrdersAfter")
        process.send("0\n")
        result = process.finish()
    assert result.code == 0
    assert result.err.splitlines()[-1] == "krakenws: guard: switched off"
    assert truth.settings[renewed:].count(False) >= 1


def test_a_renewal_that_is_refused_is_made_again(sandbox: Sandbox, truth: Truth) -> None:
    with guarding(sandbox, "6s") as (process, _):
        fault(sandbox, fault="refuse", method="cancelAllOrdersAfter", error="EService:Busy")
        assert "not renewed: EService:Busy; the switch fires in " in process.note("not renewed")
        process.note("armed again for 6 s")
        process.send("0\n")
        assert process.finish().code == 0
    assert truth.events("SwitchFired") == []


def test_expired_tokens_are_replaced_while_cmd_lives(sandbox: Sandbox, truth: Truth) -> None:
    with guarding(sandbox, "9s") as (process, _):
        fault(sandbox, fault="expire_tokens")
        process.note("Invalid session; the switch fires in ")
        process.note("armed again for 9 s")
        process.send("0\n")
        assert process.finish().code == 0
    assert truth.events("SwitchFired") == []


def test_an_exchange_that_is_gone_is_waited_for_no_longer_than_the_switch_holds(sandbox: Sandbox) -> None:
    with guarding(sandbox, "6s") as (process, _):
        sandbox.process.terminate()
        sandbox.process.finish()
        process.note("; the switch fires in ")
        process.note("the switch has fired by now: Kraken cancels ALL open orders")
        process.send("0\n")
        result = process.finish()
    assert result.code == 6
    assert "did not confirm that the switch is off" in result.err


def test_a_signal_after_cmds_end_ends_the_waiting(sandbox: Sandbox) -> None:
    with guarding(sandbox, "1h --ack-timeout 1s") as (process, _):
        fault(sandbox, fault="lose_answer", method="cancelAll", times=9)
        process.send("3\n")
        process.note("not cancelled: no answer within 1 s; the switch fires in ")
        process.terminate()
        result = process.finish()
    assert result.code == 3
    assert "did not confirm that all orders are cancelled" in result.err
    assert "the switch is still armed" in result.err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("guard", "needs a time and a command"),
        ("guard -- ./bot.sh", "needs a time and a command"),
        ("guard 60s", "needs --"),
        ("guard 60s ./bot.sh", "needs --"),
        ("guard 60s --", "needs --"),
        ("guard soon -- true", "is not a duration"),
        ("guard 0s -- true", "is not a duration"),
        ("guard 1.5s -- true", "whole seconds"),
        ("guard 24h -- true", "whole seconds from 1s to 86399s"),
        ("guard 60s --on-failure flee -- true", "is none of cancel, leave"),
        ("ping --pass-secrets", "belongs to krakenws guard"),
    ],
)
def test_words_that_do_not_fit_open_nothing(krakenws: Command, line: str, says: str) -> None:
    result = krakenws.run(*split(line))
    assert result.code == 2
    assert says in result.err


def test_what_follows_the_dashes_is_cmds_alone(krakenws: Command) -> None:
    assert (
        "there is no WebSocket token" in krakenws.run(*split("guard 60s -- true + ping --nonsense")).sentence
    )
