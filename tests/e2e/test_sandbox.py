"""The installed command against `krakenws sandbox`: market data, orders, refusals, over real sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

import pytest

from krakenws.exchange.keys import DEMO_KEY, DEMO_SECRET
from tests.support.command import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Certificates
    from tests.support.command import Command, Process, Result


@contextmanager
def sandbox(command: Command, *words: str) -> Iterator[tuple[Process, dict[str, str]]]:
    """Run a sandbox on any free port; give the process and what it printed."""
    with command.start("sandbox", "--listen", "127.0.0.1:0", "--seed", "1", *words) as process:
        lines = [process.line().partition(": ") for _ in range(5)]
        yield process, {name: value for name, _, value in lines}


class Desk:
    """The command, pointed at a sandbox with a token of the demo account."""

    def __init__(self, command: Command, told: dict[str, str], *more: str) -> None:
        self._command = command
        self._words = [
            *("--public-url", told["public"]),
            *("--private-url", told["private"]),
            *("--rest-url", told["REST"]),
            "-ojson",
            *more,
        ]
        command.environ["KRAKEN_API_KEY"] = told["API key"]
        command.environ["KRAKEN_API_SECRET"] = told["API secret"]
        result = self.run("token")
        assert result.code == 0, result.err

    def run(self, *words: str) -> Result:
        return self._command.run(*words, *self._words)

    @contextmanager
    def follow(self, *words: str) -> Iterator[Process]:
        with self._command.start(*words, *self._words) as process:
            yield process

    def place(self, *words: str) -> str:
        result = self.run("addOrder", "pair=XBT/USD", *words)
        assert result.code == 0, result.err
        (reply,) = [event for event in result.events if event["event"] == "reply"]
        return str(reply["result"]["order_id"])


def test_the_sandbox_prints_its_endpoints_and_the_demo_key(krakenws: Command) -> None:
    with sandbox(krakenws) as (process, told):
        port = told["public"].rpartition(":")[2]
        assert told == {
            "public": f"ws://127.0.0.1:{port}",
            "private": f"ws://127.0.0.1:{port}/auth",
            "REST": f"http://127.0.0.1:{port}",
            "API key": DEMO_KEY,
            "API secret": DEMO_SECRET,
        }
        process.terminate()
        assert process.finish().code in {0, 130, 143}


@pytest.mark.parametrize("secure", [False, True])
def test_prices_and_a_verified_book_over_a_socket(
    krakenws: Command, certificates: Certificates, secure: bool
) -> None:
    tls = ["--tls", certificates.chain, certificates.key] if secure else []
    with sandbox(krakenws, "--rate", "500", *tls) as (_, told):
        desk = Desk(krakenws, told, "--cafile", certificates.authority)
        result = desk.run("ticker", "XBT/USD", "--count", "3")
        assert result.code == 0, result.err
        result = desk.run("book", "ETH/USD", "XBT/USD", "100", "--count", "300")
    assert result.code == 0, result.err
    updates = [event for event in result.events if event["event"] == "update"]
    assert [u["trust"] for u in updates if u["type"] == "update"] == ["verified"] * (len(updates) - 2)
    assert {u["symbol"] for u in updates} == {"ETH/USD", "XBT/USD"}


def test_an_order_is_placed_shown_cancelled_and_another_one_filled(krakenws: Command) -> None:
    with sandbox(krakenws) as (_, told):
        desk = Desk(krakenws, told)
        with desk.follow("openOrders") as orders:
            assert orders.event("update")["data"] == []
            placed = desk.place("type=buy", "ordertype=limit", "price=70000", "volume=0.01")
            shown = [orders.event("update")["data"][0] for _ in range(2)]
            assert [(o["order_id"], o["order_status"]) for o in shown] == [
                (placed, "pending"),
                (placed, "open"),
            ]
            assert desk.run("cancelOrder", f"txid={placed}").code == 0
            assert orders.event("update")["data"][0]["order_status"] == "canceled"
        with desk.follow("ownTrades") as trades:
            assert trades.event("update")["data"] == []
            filled = desk.place("type=buy", "ordertype=market", "volume=0.01")
            assert trades.event("update")["data"][0]["order_id"] == filled


def test_refusals_of_the_exchange_are_exit_code_5_and_a_bad_token_is_3(krakenws: Command) -> None:
    with sandbox(krakenws) as (_, told):
        desk = Desk(krakenws, told)
        buy = ("addOrder", "pair=XBT/USD", "type=buy")
        for words, error in (
            ((*buy, "ordertype=market", "volume=50"), "EOrder:Insufficient funds"),
            ((*buy, "ordertype=limit", "price=70000", "volume=0.00001"), "EOrder:Order minimum not met"),
            ((*buy, "ordertype=limit", "price=70000.01", "volume=0.01"), "EOrder:Invalid price"),
            (
                (*buy, "ordertype=limit", "price=99000", "volume=0.01", "oflags=post"),
                "EOrder:Post only order",
            ),
            (("cancelOrder", "txid=OADMSD-7AGC3-IMB46A"), "EOrder:Unknown order"),
        ):
            result = desk.run(*words, "--no-check")
            assert result.code == 5, (words, result.err)
            assert error in result.err
        krakenws.store_token("nonsense" * 5)
        del krakenws.environ["KRAKEN_API_KEY"], krakenws.environ["KRAKEN_API_SECRET"]
        result = desk.run("cancelAll")
        assert result.code == 3, result.err


def test_the_truth_log_and_faults_from_the_start(krakenws: Command, tmp_path: Path) -> None:
    faults, truth = tmp_path / "faults.json", tmp_path / "truth.jsonl"
    faults.write_text('{"fault": "lose_answer", "method": "addOrder"}')
    with sandbox(krakenws, "--faults", str(faults), "--truth", str(truth)) as (_, told):
        desk = Desk(krakenws, told)
        order = ("type=buy", "ordertype=limit", "price=70000", "volume=0.01")
        result = desk.run("addOrder", "pair=XBT/USD", *order, "--ack-timeout", "1s")
        assert result.code == 0, result.err
        assert "found" in result.err
        entries = [json.loads(line) for line in truth.read_text().splitlines()]
    assert [e["fault"] for e in entries if e["event"] == "Fault"] == ["lose_answer"]
    assert [e["order"]["qty"] for e in entries if e.get("order", {}).get("owner") == "demo"] == ["0.01"]


def test_an_account_that_cannot_be_written_whole_ends_the_sandbox_with_exit_code_7(
    krakenws: Command, tmp_path: Path
) -> None:
    if Path("/dev/full").exists():
        result = krakenws.run("sandbox", "--truth", "/dev/full", "--pairs", "XBT/USD", "-o", "text")
        assert (result.code, result.sentence) == (
            7,
            "--truth: cannot write /dev/full: No space left on device",
        )
    truth = tmp_path / "truth"
    os.mkfifo(truth)
    reader = os.open(truth, os.O_RDONLY | os.O_NONBLOCK)
    with sandbox(krakenws, "--truth", str(truth), "--pairs", "XBT/USD", "--rate", "100") as (process, _):
        os.close(reader)
        result = process.finish()
    assert (result.code, result.sentence) == (7, f"--truth: cannot write {truth}: Broken pipe")


def test_a_sandbox_that_cannot_listen_leaves_the_account_of_the_one_that_does_alone(
    krakenws: Command, tmp_path: Path
) -> None:
    truth = tmp_path / "truth.jsonl"
    words = ("--truth", str(truth), "--pairs", "XBT/USD")
    with sandbox(krakenws, *words) as (_, told):
        before = truth.read_bytes()
        port = told["public"].rpartition(":")[2]
        assert krakenws.run("sandbox", *words, "--listen", f"127.0.0.1:{port}").code == 2
        assert before
        assert truth.read_bytes().startswith(before)
    with sandbox(krakenws, *words):
        assert truth.read_bytes().count(b'"event":"Started"') == 1, "one account, from its beginning"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--pairs", "NOPE"], "the sandbox has no pair NOPE"),
        (["--pairs", ","], "--pairs ',' names no pair"),
        (["--faults", "nowhere.json"], "cannot read nowhere.json"),
        (["--faults", '{"fault": "earthquake"}'], "earthquake"),
        (["--truth", "nowhere/truth"], "cannot write nowhere/truth"),
        (["--listen", "127.0.0.1:99999"], "not HOST:PORT"),
    ],
)
def test_a_senseless_word_is_one_sentence_and_exit_code_2(
    krakenws: Command, words: list[str], sentence: str
) -> None:
    result = krakenws.run("sandbox", *words)
    assert result.code == 2
    assert sentence in result.sentence


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


def _child_of(pid: int) -> int:
    """Return the process that another one has started, as soon as it has."""
    until = time.monotonic() + DEADLINE_S
    while not (children := Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        assert time.monotonic() < until, "no sandbox was started"
    (child,) = map(int, children)
    return child


def _port_of(pid: int) -> int:
    """Return the port of 127.0.0.1 on which a process listens."""
    files = {os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    (port,) = [
        int(local.removeprefix("0100007F:"), 16)
        for _, local, _, state, *_, inode in (row[:10] for row in rows)
        if state == "0A" and f"socket:[{inode}]" in files
    ]
    return port


def _wait_for_the_end_of(pid: int) -> None:
    until = time.monotonic() + 5.0
    while _is_alive(pid):
        assert time.monotonic() < until, "the sandbox is still there"
        os.sched_yield()


in_proc = pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for the child in /proc")


@in_proc
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGHUP, signal.SIGTERM])
@pytest.mark.usefixtures("default_port")
def test_a_sandbox_of_ones_own_does_not_outlive_the_command(krakenws: Command, end: int) -> None:
    with krakenws.start("--sandbox", "ticker", "XBT/USD", "-oraw") as process:
        process.line()
        child = _child_of(process.pid)
        port = _port_of(child)
        os.kill(process.pid, end)
        process.finish()
        _wait_for_the_end_of(child)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), DEADLINE_S)


@in_proc
@pytest.mark.usefixtures("default_port")
def test_a_command_killed_while_its_sandbox_starts_leaves_none(krakenws: Command) -> None:
    with krakenws.start("--sandbox", "ticker", "XBT/USD", "-oraw") as process:
        child = _child_of(process.pid)
        os.kill(process.pid, signal.SIGKILL)
        process.finish()
        _wait_for_the_end_of(child)


@pytest.mark.usefixtures("default_port")
def test_a_sandbox_that_cannot_start_is_one_sentence_and_exit_code_4(
    krakenws: Command, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, sys\nif '--until-eof' in sys.orig_argv: os._exit(3)\n"
    )
    result = krakenws.run("--sandbox", "ping", PYTHONPATH=str(tmp_path))
    assert result.code == 4
    assert result.sentence == "the sandbox exchange did not start; try 'krakenws sandbox' to see why"


@pytest.mark.usefixtures("default_port")
def test_what_is_no_sandbox_on_the_default_port_is_not_taken_for_one(krakenws: Command) -> None:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", 8765))
    except OSError:
        pytest.skip("something listens on the sandbox's default port")
    with listener:
        listener.listen()
        result = krakenws.run("--sandbox", "ping")
    assert result.code == 4
    assert "is no sandbox exchange" in result.sentence


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ('{"fault": "skip_sequence", "channel": "balances"}', "sequence"),
        ('{"fault": "drop", "channel": "balances"}', "sequence"),
        ('{"fault": "reset", "channel": "balances"}', ""),
        ('{"fault": "close", "code": 1001, "channel": "balances"}', "1001"),
    ],
)
def test_balances_heal_by_a_new_snapshot(krakenws: Command, fault: str, cause: str) -> None:
    """What is missed is in the snapshot."""
    with sandbox(krakenws, "--pairs", "XBT/USD") as (_, told):
        desk = Desk(krakenws, told)
        with desk.follow("balances") as balances:
            assert balances.event("update")["type"] == "snapshot"
            suffer(told, fault)
            for _ in range(2):
                desk.place("type=buy", "ordertype=market", "volume=0.01")
            while True:
                event = balances.event()
                if event["event"] == "gap" and event["to"]:
                    break
            assert cause in event["cause"]
            assert event["channel"] == "balances"
            healed = balances.event("update")
            assert healed["type"] == "snapshot"
            (coins,) = [row["balance"] for row in healed["data"] if row["asset"] == "BTC"]
            assert coins.rstrip("0") in {"5.01", "5.02"}


def test_a_token_that_died_is_replaced_and_balances_go_on(krakenws: Command) -> None:
    with sandbox(krakenws, "--pairs", "XBT/USD") as (_, told):
        desk = Desk(krakenws, told)
        with desk.follow("balances") as balances:
            balances.event("update")
            for fault in ('{"fault": "expire_tokens"}', '{"fault": "close"}'):
                suffer(told, fault)
            balances.event("disconnected")
            assert balances.event("update")["type"] == "snapshot"


def suffer(told: dict[str, str], fault: str) -> None:
    """Switch a fault on."""
    request = Request(f"{told['REST']}/sandbox/faults", fault.encode())
    with urlopen(request, timeout=10.0) as answer:
        assert json.loads(answer.read())["error"] == []


@pytest.mark.usefixtures("default_port")
def test_balances_need_no_set_up(krakenws: Command) -> None:
    result = krakenws.run("--sandbox", "balances", "--count", "1", "-o", "json")
    assert result.code == 0, result.err
    (update,) = [event for event in result.events if event["event"] == "update"]
    assert update["type"] == "snapshot"


@pytest.mark.parametrize(
    ("variable", "secrets"), [("TOKEN", "CANARY-token\n"), ("KEY", "CANARY-key\nQ0FOQVJZ\n")]
)
def test_a_sandbox_is_never_shown_the_users_own_key_or_token(
    krakenws: Command, tmp_path: Path, variable: str, secrets: str
) -> None:
    own = tmp_path / "own"
    own.write_text(secrets)
    own.chmod(0o600)
    with sandbox(krakenws, "--pairs", "XBT/USD") as (_, told):
        words = (f"--sandbox={told['public']}", "openOrders", "--count", "1", "-o", "json")
        result = krakenws.run(*words, **{f"KRAKENWS_{variable}_FILE": str(own)})
    assert result.code == 0, result.err
    assert [event for event in result.events if event["event"] == "refused"] == []


def test_a_token_of_a_sandbox_does_not_take_the_place_of_krakens(krakenws: Command) -> None:
    with sandbox(krakenws, "--pairs", "XBT/USD") as (_, told):
        words = (f"--sandbox={told['public']}", "token", "-o", "text")
        result = krakenws.run(*words)
        assert result.code == 2
        assert "--token-file" in result.sentence
        result = krakenws.run(*words, "--token-file", "mine")
        assert result.code == 0, result.err
        assert "mine (from the sandbox exchange, with the demo key)" in result.out
