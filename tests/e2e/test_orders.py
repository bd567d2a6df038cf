"""Orders that are never sent twice and never forgotten: what is told, compared with what really happened."""

from __future__ import annotations

import json
import re
import shlex
import sqlite3
from contextlib import closing
from shlex import split
from typing import TYPE_CHECKING, Any
from urllib.request import Request, urlopen

import pytest

from krakenws.net.trading import ANSWERED, BEFORE_ROW, LEFT, ROW, SETTLED
from tests.support.command import DEADLINE_S, ROOT, Command
from tests.support.cut import cut_at
from tests.support.docs import blocks
from tests.support.sandbox import Sandbox, running

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUY = "addOrder pair=XBT/USD type=buy ordertype=limit price=7500 volume=0.125"
MARKET = "addOrder pair=XBT/USD type=buy ordertype=market volume=0.01"
QUICKLY = {"KRAKENWS_ACK_TIMEOUT": "300ms"}


class Truth:
    """The exchange's own account of the demo account's orders."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def _events(self, name: str) -> list[dict[str, Any]]:
        lines = self._path.read_text().splitlines()
        return [event for line in lines if (event := json.loads(line))["event"] == name]

    @property
    def placed(self) -> list[str]:
        """Every order that was ever taken."""
        return [e["order"]["order_id"] for e in self._events("Accepted") if e["order"]["owner"] == "demo"]

    @property
    def ended(self) -> dict[str, str]:
        return {e["order_id"]: e["status"] for e in self._events("Ended") if e["account"] == "demo"}


class Exchange:
    """A sandbox with faults, its truth, and the command."""

    def __init__(self, sandbox: Sandbox, truth: Truth) -> None:
        self.sandbox = sandbox
        self.truth = truth
        self.command = sandbox.command

    def fault(self, name: str, **more: Any) -> None:
        rule = json.dumps({"fault": name, **more}).encode()
        with urlopen(
            Request(self.sandbox.told["REST"] + "/sandbox/faults", rule), timeout=DEADLINE_S
        ) as answer:
            assert answer.status == 200

    def intents(self) -> list[dict[str, Any]]:
        result = self.command.run("intents", "-o", "json")
        assert result.code == 0, result.err
        return result.events

    def pass_time(self, seconds: int) -> None:
        """Let intents be older than they are."""
        with closing(sqlite3.connect(self.command.home / "state" / "krakenws" / "state.db")) as database:
            database.execute("UPDATE intents SET created_ns = created_ns - ?", (seconds * 10**9,))
            database.commit()


@pytest.fixture
def exchange(tmp_path: Path) -> Iterator[Exchange]:
    command = Command(tmp_path)
    truth = tmp_path / "truth.jsonl"
    with running(command, "--pairs", "XBT/USD", "--truth", str(truth)) as sandbox:
        yield Exchange(sandbox, Truth(truth))


def verdict(events: list[dict[str, Any]]) -> dict[str, Any]:
    (event,) = [event for event in events if event["event"] in {"reply", "unanswered"}]
    return event


# ---- lost answers


@pytest.mark.parametrize("line", [BUY, MARKET])
@pytest.mark.parametrize("fault", ["lose_answer", "accept_then_cut"])
def test_an_order_whose_answer_is_lost_is_found_and_not_sent_again(
    exchange: Exchange, fault: str, line: str
) -> None:
    exchange.fault(fault, method="addOrder")
    result = exchange.sandbox.run(line, **QUICKLY)
    assert result.code == 0, result.err
    told = verdict(result.events)
    assert told["outcome"] == "accepted"
    assert told["found"]
    assert exchange.truth.placed == [told["result"]["order_id"]]
    (row,) = exchange.intents()
    assert (row["state"], row["order_id"]) == ("accepted", told["result"]["order_id"])
    assert "not sent again but looked for" in result.err


def test_an_order_that_filled_at_once_is_found_although_rest_lags(exchange: Exchange) -> None:
    exchange.fault("rest_lag", lag_s=1.5)
    exchange.fault("lose_answer", method="addOrder")
    result = exchange.sandbox.run(MARKET, **QUICKLY)
    assert result.code == 0, result.err
    assert exchange.truth.placed == [verdict(result.events)["result"]["order_id"]]
    assert "not in REST" in result.err


def test_without_a_key_only_the_streams_are_looked_into(exchange: Exchange) -> None:
    assert exchange.command.run("token").code == 0
    del exchange.command.environ["KRAKEN_API_KEY"], exchange.command.environ["KRAKEN_API_SECRET"]
    exchange.fault("lose_answer", method="addOrder", times=2)
    result = exchange.sandbox.run(BUY, **QUICKLY)
    assert result.code == 0, result.err
    assert verdict(result.events)["found"] == "openOrders"
    result = exchange.sandbox.run(MARKET, KRAKENWS_LOOK_UPS="300ms", **QUICKLY)
    assert result.code == 6
    assert "no API key" in result.err
    assert len(exchange.truth.placed) == 2


def test_an_order_that_never_arrived_stays_unknown_until_nothing_can_be_on_its_way(
    exchange: Exchange,
) -> None:
    exchange.fault("no_ack", method="addOrder")
    result = exchange.sandbox.run(BUY, KRAKENWS_LOOK_UPS="100ms,300ms", **QUICKLY)
    assert result.code == 6
    told = verdict(result.events)
    assert told["outcome"] == "unknown"
    assert told["userref"]
    assert "krakenws reconcile" in told["hint"]
    assert result.events[-1]["retryable"] is False
    assert exchange.sandbox.run("reconcile", KRAKENWS_LOOK_UPS="100ms").code == 6
    exchange.pass_time(16 * 60)
    settled = exchange.sandbox.run("reconcile")
    assert settled.code == 0, settled.err
    (row,) = settled.events
    assert row["state"] == "rejected"
    assert exchange.truth.placed == []


def test_of_two_orders_the_one_that_was_answered_is_not_taken_for_the_other(exchange: Exchange) -> None:
    exchange.fault("no_ack", method="addOrder")
    result = exchange.sandbox.run(f"{BUY} + {BUY}", KRAKENWS_LOOK_UPS="100ms", **QUICKLY)
    assert result.code == 6
    outcomes = {event["req_id"]: event["outcome"] for event in result.events if "outcome" in event}
    assert outcomes == {1: "unknown", 2: "accepted"}
    assert len(exchange.truth.placed) == 1


def test_a_refusal_that_proves_nothing_is_looked_into(exchange: Exchange) -> None:
    exchange.fault("refuse", method="addOrder", error="EGeneral:Internal error")
    result = exchange.sandbox.run(BUY, KRAKENWS_LOOK_UPS="100ms")
    assert result.code == 6
    assert "EGeneral:Internal error" in verdict(result.events)["hint"]


def test_a_strange_end_of_the_connection_does_not_hide_the_verdict(exchange: Exchange) -> None:
    exchange.fault("lose_answer", method="addOrder")
    exchange.fault("skip_sequence", channel="openOrders", times=3)
    exchange.fault("reset", channel="ownTrades")
    result = exchange.sandbox.run(BUY, **QUICKLY)
    assert result.code == 0, result.err
    assert exchange.truth.placed == [verdict(result.events)["result"]["order_id"]]


# ---- other commands


def place(exchange: Exchange, *more: str) -> str:
    order_id: str = exchange.sandbox.reply(" ".join((BUY, *more)))["result"]["order_id"]
    return order_id


def test_a_cancel_of_two_leaves_as_two_requests_with_a_verdict_each(exchange: Exchange) -> None:
    order_id = place(exchange)
    nobody = "OADMSD-7AGC3-IMB46A"
    result = exchange.sandbox.run(f"cancelOrder txid={nobody},{order_id}")
    assert result.code == 5
    told = {event["order"]: event["outcome"] for event in result.events if event["event"] == "reply"}
    assert told == {nobody: "rejected", order_id: "accepted"}
    assert exchange.truth.ended == {order_id: "canceled"}


@pytest.mark.parametrize("fault", ["lose_answer", "accept_then_cut", "no_ack"])
def test_a_cancel_whose_answer_is_lost_is_told_by_what_became_of_the_order(
    exchange: Exchange, fault: str
) -> None:
    order_id = place(exchange)
    exchange.fault(fault, method="cancelOrder")
    result = exchange.sandbox.run(f"cancelOrder txid={order_id}", KRAKENWS_LOOK_UPS="1s,2s", **QUICKLY)
    cancelled = order_id in exchange.truth.ended
    assert result.code == (0 if cancelled else 6), result.err
    assert verdict(result.events)["outcome"] == ("accepted" if cancelled else "unknown")
    assert cancelled is (fault != "no_ack")


@pytest.mark.parametrize("fault", ["lose_answer", "no_ack"])
def test_cancel_all_is_told_by_the_open_orders(exchange: Exchange, fault: str) -> None:
    order_id = place(exchange)
    exchange.fault(fault, method="cancelAll")
    result = exchange.sandbox.run("cancelAll", KRAKENWS_LOOK_UPS="1s,2s", **QUICKLY)
    assert result.code == (0 if order_id in exchange.truth.ended else 6), result.err


@pytest.mark.parametrize(
    "line", ["editOrder orderid={} pair=XBT/USD price=7400 volume=0.1", "amendOrder txid={} limit_price=7400"]
)
@pytest.mark.parametrize("fault", ["lose_answer", "no_ack"])
def test_a_change_whose_answer_is_lost_is_told_by_how_the_order_stands(
    exchange: Exchange, line: str, fault: str
) -> None:
    order_id = place(exchange)
    exchange.fault(fault, method=line.split(maxsplit=1)[0])
    result = exchange.sandbox.run(line.format(order_id), KRAKENWS_LOOK_UPS="1s,2s", **QUICKLY)
    assert result.code == (0 if fault == "lose_answer" else 6), result.err
    if fault == "lose_answer":
        told = verdict(result.events)["result"]["order_id"]
        assert told == (exchange.truth.placed[-1] if line.startswith("edit") else order_id)


def test_an_order_that_can_be_edited_keeps_that_although_it_got_a_number(exchange: Exchange) -> None:
    order_id = place(exchange)
    exchange.sandbox.reply(f"editOrder orderid={order_id} pair=XBT/USD price=7400 volume=0.1")
    rows = [re.search(r"\((\S+) ", row["request"]) for row in exchange.intents()]
    assert [found and found[1] for found in rows] == ["userref", "userref"]
    exchange.sandbox.reply(MARKET)
    assert "cl_ord_id kw" in exchange.intents()[-1]["request"]


# ---- names


def test_a_name_used_again_is_answered_with_the_first_verdict_and_sends_nothing(exchange: Exchange) -> None:
    first = exchange.sandbox.run(f"{BUY} --intent buy-1")
    again = exchange.sandbox.run(f"{BUY} --intent buy-1")
    assert (first.code, again.code) == (0, 0)
    assert verdict(again.events)["result"] == verdict(first.events)["result"]
    assert verdict(again.events)["found"] == "journal"
    assert len(exchange.truth.placed) == 1


def test_a_refusal_is_remembered_under_its_name(exchange: Exchange) -> None:
    line = "addOrder pair=XBT/USD type=buy ordertype=market volume=50 --intent big"
    first, again = exchange.sandbox.run(line), exchange.sandbox.run(line)
    assert (first.code, again.code) == (5, 5)
    assert verdict(again.events)["error"] == verdict(first.events)["error"]


def test_a_name_stands_for_one_command(exchange: Exchange) -> None:
    assert exchange.sandbox.run(f"{BUY} --intent one").code == 0
    for other in (f"{MARKET} --intent one", "cancelAll --intent one", f"{BUY} userref=5 --intent one"):
        result = exchange.sandbox.run(other)
        assert result.code == 2, result.err
        assert "the intent one stands for addOrder" in result.err
    assert exchange.sandbox.run("cancelAll + cancelAll --intent two").code == 2
    assert exchange.sandbox.run("ticker XBT/USD --intent three").code == 2
    assert len(exchange.truth.placed) == 1


def test_a_name_whose_verdict_is_open_is_looked_for_and_not_sent(exchange: Exchange) -> None:
    exchange.fault("no_ack", method="addOrder")
    line = f"{BUY} --intent lost"
    assert exchange.sandbox.run(line, KRAKENWS_LOOK_UPS="100ms", **QUICKLY).code == 6
    assert exchange.sandbox.run(line, KRAKENWS_LOOK_UPS="100ms", **QUICKLY).code == 6
    exchange.pass_time(16 * 60)
    assert exchange.sandbox.run(line).code == 5
    assert exchange.truth.placed == []


def test_of_processes_that_use_a_name_at_once_one_sends(exchange: Exchange) -> None:
    words = [*split(BUY), "--intent", "race", "-o", "json"]
    with (
        exchange.command.start(*words) as one,
        exchange.command.start(*words) as two,
        exchange.command.start(*words) as three,
    ):
        results = [process.finish() for process in (one, two, three)]
    assert [result.code for result in results] == [0, 0, 0], [result.err for result in results]
    (order_id,) = exchange.truth.placed
    assert {verdict(result.events)["result"]["order_id"] for result in results} == {order_id}


def test_the_loop_of_the_docs_places_one_order_however_often_it_runs(exchange: Exchange) -> None:
    (loop,) = [b.text for b in blocks(ROOT / "docs" / "orders.md", "sh") if "until" in b.text]
    exchange.fault("accept_then_cut", method="addOrder")
    program = shlex.join(exchange.command.program)
    for _ in range(2):
        result = exchange.command.shell(loop.replace("until krakenws", f"until {program}"), **QUICKLY)
        assert result.code == 0, result.err
        (told,) = (exchange.command.home / "verdict.json").read_text().splitlines()[-1:]
        assert json.loads(told)["outcome"] == "accepted"
    assert len(exchange.truth.placed) == 1


# ---- processes that die


@pytest.mark.parametrize(
    ("point", "placed"), [(BEFORE_ROW, 0), (ROW, 0), (LEFT, 1), (ANSWERED, 1), (SETTLED, 1)]
)
def test_a_process_killed_at_any_point_neither_loses_nor_doubles_its_order(
    exchange: Exchange, point: str, placed: int
) -> None:
    line = [*split(BUY), "--intent", "killed", "-o", "json"]
    killed = cut_at(exchange.command, point).run(*line)
    assert killed.code == -9
    again = exchange.command.run(*line, KRAKENWS_LOOK_UPS="1s,2s")
    if point == BEFORE_ROW:
        assert again.code == 0, "nothing was written, so this is the first use of the name"
    else:
        assert again.code == (0 if placed else 6), again.err
    assert len(exchange.truth.placed) == (1 if point == BEFORE_ROW else placed)
    if point == ROW:
        exchange.pass_time(16 * 60)
    assert exchange.sandbox.run("reconcile").code == 0
    (row,) = exchange.intents()
    assert row["state"] == ("rejected" if point == ROW else "accepted")
    assert [row["order_id"]] == (exchange.truth.placed or [""])


def test_a_run_says_that_outcomes_were_left_open(exchange: Exchange) -> None:
    assert cut_at(exchange.command, ROW).run(*split(BUY)).code == -9
    assert exchange.sandbox.run("cancelAllOrdersAfter timeout=0").err == ""
    exchange.pass_time(61)
    said = exchange.sandbox.run("cancelAllOrdersAfter timeout=0").sentence
    assert said.startswith("1 earlier request has an unknown outcome")


def test_reconcile_leaves_what_is_of_another_endpoint(exchange: Exchange) -> None:
    assert cut_at(exchange.command, ROW).run(*split(BUY)).code == -9
    result = exchange.command.run("reconcile", "-o", "json", KRAKENWS_PRIVATE_URL="ws://127.0.0.1:1/auth")
    assert result.code == 0
    assert result.events == []
    assert "1 open intents" in result.err


# ---- nothing leaves without a row


def test_without_a_journal_nothing_is_sent(exchange: Exchange) -> None:
    (exchange.command.home / "state" / "krakenws" / "state.db").mkdir(parents=True)
    exchange.command.run("token")
    result = exchange.sandbox.run(BUY)
    assert result.code == 7, result.err
    assert "state.db" in result.err
    assert exchange.truth.placed == []


def test_a_journal_that_fills_the_disk_lets_nothing_leave(exchange: Exchange) -> None:
    """As a full disk, a file may not grow beyond a size."""
    exchange.sandbox.reply("cancelAllOrdersAfter timeout=0")
    wal = exchange.command.home / "state" / "krakenws" / "state.db-wal"
    size_kib = (wal.stat().st_size if wal.exists() else 0) // 1024
    result = exchange.command.shell(
        f"trap '' XFSZ; ulimit -f {max(size_kib - 1, 0)}; $KRAKENWS {BUY} -o json 2>&1"
    )
    assert result.code == 7, result
    assert exchange.truth.placed == []


# ---- signals


def test_the_first_signal_waits_for_the_verdict(exchange: Exchange) -> None:
    exchange.fault("lose_answer", method="addOrder")
    with exchange.command.start(*split(BUY), "-o", "json", environ={"KRAKENWS_ACK_TIMEOUT": "2s"}) as process:
        process.event("status")
        while not exchange.truth.placed:
            pass
        process.interrupt()
        told = process.event("reply")
        result = process.finish()
    assert result.code == 0, result.err
    assert [told["result"]["order_id"]] == exchange.truth.placed


def test_the_second_signal_leaves_at_once_and_says_how_to_go_on(exchange: Exchange) -> None:
    exchange.fault("no_ack", method="addOrder")
    with exchange.command.start(
        *split(BUY), "-o", "json", environ={"KRAKENWS_ACK_TIMEOUT": "300ms"}
    ) as process:
        process.note("look 1 of 5")
        process.interrupt()
        assert process.note("a second signal").startswith("krakenws: waiting for the verdict of addOrder (")
        process.note("look 2 of 5")
        process.terminate()
        result = process.finish(5.0)
    assert result.code == 6
    assert "krakenws reconcile" in result.err
    assert exchange.intents()[0]["state"] == "open"


# ---- the life of an order


def test_a_market_order_is_followed_until_it_is_filled(exchange: Exchange) -> None:
    result = exchange.sandbox.run(f"{MARKET} --follow")
    assert result.code == 0, result.err
    rows = [(e["channel"], row) for e in result.events if e["event"] == "update" for row in e["data"]]
    (order_id,) = exchange.truth.placed
    assert {row["order_id"] for _, row in rows} == {order_id}
    states = [
        row["order_status"] for channel, row in rows if channel == "openOrders" and "order_status" in row
    ]
    assert states[0] == "pending"
    assert states[-1] == "closed"
    assert any(channel == "ownTrades" for channel, _ in rows)


@pytest.mark.parametrize("fault", ["", "lose_answer", "accept_then_cut"])
def test_an_order_that_is_cancelled_ends_its_following_with_5(exchange: Exchange, fault: str) -> None:
    other = place(exchange)
    if fault:
        exchange.fault(fault, method="addOrder")
    words = [*split(BUY), "--follow", "--ack-timeout", "300ms", "-o", "json"]
    with exchange.command.start(*words) as process:
        order_id = process.event("reply")["result"]["order_id"]
        assert exchange.sandbox.run(f"cancelOrder txid={other}").code == 0
        assert exchange.sandbox.run(f"cancelOrder txid={order_id}").code == 0
        result = process.finish()
    assert result.code in ({5, 6} if fault == "accept_then_cut" else {5}), result.err
    assert other not in result.out
    assert exchange.truth.placed == [other, order_id]


def test_following_that_is_broken_off_does_not_look_like_a_fill(exchange: Exchange) -> None:
    with exchange.command.start(*split(BUY), "--follow", "-o", "json") as process:
        process.event("reply")
        process.interrupt()
        result = process.finish()
    assert result.code == 6
    assert "has not ended" in result.err


def test_following_goes_with_one_order(exchange: Exchange) -> None:
    for line in ("cancelAll --follow", f"{BUY} validate=true --follow", f"{BUY} + {BUY} --follow"):
        assert exchange.sandbox.run(line).code == 2
    assert exchange.truth.placed == []


def test_an_order_of_before_is_followed_under_its_name(exchange: Exchange) -> None:
    assert exchange.sandbox.run(f"{BUY} --intent mine").code == 0
    with exchange.command.start(*split(BUY), "--intent", "mine", "--follow", "-o", "json") as process:
        assert process.event("update")["data"][0]["order_id"] == exchange.truth.placed[0]
        assert exchange.sandbox.run("cancelAll").code == 0
        assert process.finish().code == 5
    assert len(exchange.truth.placed) == 1


@pytest.mark.parametrize(("line", "status", "code"), [(BUY, "canceled", 5), (MARKET, "closed", 0)])
def test_how_an_order_ended_while_nobody_listened_is_asked_of_rest(
    exchange: Exchange, line: str, status: str, code: int
) -> None:
    assert exchange.sandbox.run(f"{line} --intent mine").code == 0
    (order_id,) = exchange.truth.placed
    if status == "canceled":
        assert exchange.sandbox.run(f"cancelOrder txid={order_id}").code == 0
    result = exchange.sandbox.run(f"{line} --intent mine --follow")
    assert result.code == code, result.err
    assert f"{order_id}: {status} (found: REST QueryOrders)" in result.err


# ---- what the policy is told


def write_policy(exchange: Exchange, limits: str) -> None:
    directory = exchange.command.home / "config" / "krakenws"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.toml").write_text(f"[policy]\n{limits}\n")


def test_a_limit_per_day_counts_what_the_journal_has(exchange: Exchange) -> None:
    """Also what was sent before there was a policy, but not what was rejected."""
    place(exchange)
    assert (
        exchange.sandbox.run("addOrder pair=XBT/USD type=buy ordertype=limit price=7500 volume=900").code == 5
    )
    write_policy(exchange, "max_volume_per_day = 0.3")
    assert exchange.sandbox.run(BUY).code == 0
    result = exchange.sandbox.run(BUY)
    assert result.code == 8, result.err
    assert "max_volume_per_day" in result.err
    assert len(exchange.truth.placed) == 2


def test_a_streak_of_rejections_is_known_from_the_journal(exchange: Exchange) -> None:
    write_policy(exchange, "max_rejections_in_a_row = 2")
    line = "addOrder pair=XBT/USD type=buy ordertype=limit price=7500 volume=900"
    assert [exchange.sandbox.run(line).code for _ in range(3)] == [5, 5, 8]


def test_a_name_used_again_is_answered_although_the_policy_forbids_it_by_now(exchange: Exchange) -> None:
    assert exchange.sandbox.run(f"{BUY} --intent before").code == 0
    write_policy(exchange, "max_volume_per_order = 0.001")
    assert exchange.sandbox.run(f"{BUY} --intent before").code == 0
    assert exchange.sandbox.run(f"{BUY} --intent after").code == 8
