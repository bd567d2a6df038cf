"""What is refused before it is sent, seen at the wire: nothing arrives there that should not."""

from __future__ import annotations

import json
import re
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from krakenws.core.intents import Intent
from krakenws.journal import Journal
from krakenws.state import State
from tests.support.command import DEADLINE_S
from tests.support.pairs import ROWS, store_pairs
from tests.support.rest import serve
from tests.support.sandbox import running
from tests.support.scripts import OPEN_ORDERS, Ladder, accepts, answers, serves
from tests.support.server import acks, exchange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.command import Command
    from tests.support.server import Connection

ADD = "addOrder pair=XBT/USD type=buy ordertype=limit"
GOOD = f"{ADD} price=70000.1 volume=0.01"


def write_policy(command: Command, text: str) -> None:
    path = command.home / "config" / "krakenws" / "config.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"[policy]\n{text}\n")


def orders_of(truth: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in truth.read_text().splitlines()]


@pytest.fixture
def refusing(trader: Command) -> Iterator[Command]:
    """The command, and an exchange that nobody may reach."""
    with exchange() as server:
        trader.environ["KRAKENWS_PUBLIC_URL"] = server.url
        trader.environ["KRAKENWS_PRIVATE_URL"] = f"{server.url}/auth"
        yield trader
        assert server.accepted == 0


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (f"{ADD} price=70000.123 volume=0.01", "the nearest legal prices are 70000.1 and 70000.2"),
        (f"{ADD} price=70000 volume=0.00001", "below the least of XBT/USD: that is 0.00005"),
        (f"{ADD} price=5 volume=0.01", "at this price the least legal volume is 0.1"),
        ("editOrder orderid=O pair=XBT/USD volume=0.000000001", "the nearest legal volume is 0.00005"),
        ("amendOrder txid=O pair=PAXG/USD limit_price=4187.33", "are 4187.30 and 4187.35"),
        (f"{GOOD} expiretm=1700000000", "has passed"),
        (f"{GOOD} deadline=2020-01-01T00:00:00Z", "has passed"),
        (f"{GOOD} leverage=11", "the highest is 10"),
        (f"cancelAll + {ADD} price=70000.123 volume=0.01", "the nearest legal prices"),
        ("addOrder pair=ACA/EUR type=buy ordertype=market volume=12000", "it is cancel_only"),
    ],
)
def test_what_cannot_be_legal_is_refused_and_opens_nothing(refusing: Command, line: str, said: str) -> None:
    result = refusing.run(*line.split())
    assert result.code == 2
    assert said in result.sentence
    assert result.sentence.endswith("(or --no-check)")


def test_no_check_sends_as_typed_and_what_passes_is_sent_as_typed(trader: Command) -> None:
    with exchange(private=accepts) as server:
        result = trader.run(*f"{ADD} price=70000.123 volume=0.0000100".split(), "--no-check", *server.options)
        assert result.code == 0, result.err
        assert trader.run(*f"{ADD} price=+5.123 volume=0.0100".split(), *server.options).code == 0
    sent = server.sent("addOrder")
    assert [(m["price"], m["volume"]) for m in sent] == [("70000.123", "0.0000100"), ("+5.123", "0.0100")]


def test_an_order_is_sent_unchecked_when_no_list_of_pairs_can_be_had_and_that_is_said(
    trader: Command,
) -> None:
    with serve("") as gone:
        pass
    with exchange(private=accepts) as server:
        options = [*server.options, "--rest-url", gone.url]
        result = trader.run(*f"{ADD} price=70000.123 volume=0.01".split(), *options)
    assert result.code == 0, result.err
    assert "refused the connection" in result.err
    assert "not checked against the rules of XBT/USD" in result.err
    assert len(server.sent("addOrder")) == 1


def test_an_old_list_refuses_only_what_a_new_one_refuses_too(trader: Command) -> None:
    """The tick became finer an hour ago: the order is legal, and the cached list does not know."""
    finer = {
        "XXBTZUSD": {"wsname": "XBT/USD", "pair_decimals": 3, "lot_decimals": 8, "status": "online"},
    }
    with serve(json.dumps({"error": [], "result": finer})) as rest, exchange(private=accepts) as server:
        store_pairs(trader.home / "cache" / "krakenws", url=rest.url, age_s=3600.0)
        options = [*server.options, "--rest-url", rest.url]
        assert trader.run(*GOOD.split(), *options).code == 0
        assert len(rest.asked) == 0, "what an old list allows waits for nothing"
        assert trader.run(*f"{ADD} price=70000.123 volume=0.01".split(), *options).code == 0
        assert len(rest.asked) == 1
        result = trader.run(*f"{ADD} price=70000.1234 volume=0.01".split(), *options)
        assert (result.code, len(rest.asked)) == (2, 1), "this list is new enough to refuse by"
        assert "XBT/USD takes 3" in result.err
    assert len(server.sent("addOrder")) == 2


def test_an_old_list_that_cannot_be_renewed_still_refuses_and_says_how_old_it_is(refusing: Command) -> None:
    with serve("") as gone:
        pass
    store_pairs(refusing.home / "cache" / "krakenws", url=gone.url, age_s=3600.0)
    result = refusing.run(*f"{ADD} price=70000.123 volume=0.01".split(), "--rest-url", gone.url)
    assert result.code == 2
    assert "the list of pairs is the one of 20" in result.err
    assert "the nearest legal prices are 70000.1 and 70000.2" in result.err


def test_a_pair_that_is_not_listed_is_refused_with_the_nearest(trader: Command) -> None:
    rows = {row.rest_key: {"wsname": row.wsname, "altname": row.altname} for row in ROWS}
    with serve(json.dumps({"error": [], "result": rows})) as rest:
        result = trader.run(*GOOD.replace("XBT/USD", "XBT/UDS").split(), "--rest-url", rest.url)
    assert result.code == 2
    assert "pair=XBT/UDS is not on the exchange's list; did you mean XBT/USD?" in result.sentence


def test_an_amendment_without_a_pair_is_sent_and_said_to_be_unchecked(trader: Command) -> None:
    with exchange(private=accepts) as server:
        result = trader.run("amendOrder", "txid=O", "limit_price=70000.123", *server.options)
    assert result.code == 0
    assert result.sentence == "amendOrder: prices and volume are not checked without pair="
    assert len(server.sent("amendOrder")) == 1


# ---- dry runs and validation


def test_a_dry_run_prints_the_frame_and_opens_nothing(refusing: Command) -> None:
    words = [*f"{GOOD} userref=7".split(), "--dry-run"]
    frame = (
        '{"event":"addOrder", "token":"***", "pair":"XBT/USD", "type":"buy", "ordertype":"limit",'
        ' "price":"70000.1", "volume":"0.01", "userref":"7", "reqid":1}'
    )
    for output, line in (
        ("raw", frame),
        ("text", frame),
        ("transcript", f"Client -> WebSocket: {frame}"),
    ):
        result = refusing.run(*words, "-o", output)
        assert (result.code, result.lines) == (0, [line])
        assert result.sentence == "dry run: nothing was sent"
    (event,) = refusing.run(*words, "+", "cancelAll", "-o", "json").events[:1]
    assert (event["event"], event["method"], event["request"]) == ("dry_run", "addOrder", frame)
    assert refusing.run(*words, "price2=5").code == 2
    assert refusing.run(*f"{ADD} price=70000.123 volume=0.01 --dry-run".split()).code == 2


def test_a_dry_run_in_the_sandbox_is_held_to_the_sandboxs_pairs(krakenws: Command) -> None:
    with running(krakenws, "--pairs", "XBT/USD") as sandbox:
        place = f"--sandbox={sandbox.told['public']}"
        words = [*GOOD.split(), place, "--dry-run", "-oraw"]
        assert "there is no list of pairs" in krakenws.run(*words).err, "nobody is asked for one"
        assert krakenws.run("pairs", place).code == 0
        assert krakenws.run(*words).sentence == "dry run: nothing was sent"
        wrong = krakenws.run(*f"{ADD} price=70000.123 volume=0.01".split(), place, "--dry-run")
        assert (wrong.code, "the nearest legal prices are" in wrong.err) == (2, True)


def test_a_dry_run_is_of_commands_and_needs_no_token(krakenws: Command) -> None:
    result = krakenws.run("ticker", "XBT/USD", "--dry-run")
    assert result.code == 2
    assert "--dry-run shows what a command would send, and ticker is none" in result.err
    assert krakenws.run("cancelAll", "--dry-run", "-o", "raw").lines == [
        '{"event":"cancelAll", "token":"***", "reqid":1}'
    ]


def test_the_frame_of_a_dry_run_is_the_one_that_is_sent(trader: Command) -> None:
    """But for the number that each order gets."""
    (dry,) = trader.run(*GOOD.split(), "--dry-run", "-oraw").lines
    with exchange(private=accepts) as server:
        assert trader.run(*GOOD.split(), *server.options).code == 0
    (connection,) = server.at("/auth")
    message = json.loads(connection.frames[0])
    number = re.sub('"userref":"[0-9]+"', f'"userref":"{message["userref"]}"', dry)
    assert connection.frames == [number.replace("***", message["token"])]


def test_validation_says_loudly_that_nothing_is_placed(trader: Command) -> None:
    script = answers({"descr": "buy 0.01000000 XBTUSD @ limit 70000.1"})
    with exchange(private=script) as server:
        result = trader.run(*GOOD.split(), "validate=true", "-o", "json", *server.options)
        assert (result.code, result.events[-1]["validated"]) == (0, True)
        assert result.sentence == "addOrder validate=true: it is only checked, NOT placed"
        result = trader.run(*GOOD.split(), "validate=true", "-o", "text", *server.options)
        assert any("validated, NOT placed: buy 0.01" in line for line in result.lines)
        result = trader.run(*GOOD.split(), "-o", "json", *server.options)
        assert "validated" not in result.events[-1]


def test_an_answer_with_an_order_id_is_never_called_not_placed(trader: Command) -> None:
    with exchange(private=accepts) as server:
        result = trader.run(*GOOD.split(), "validate=true", "-o", "json", *server.options)
    assert "validated" not in result.events[-1]


# ---- policy


@pytest.mark.parametrize(
    ("policy", "line", "said"),
    [
        ('pairs = ["ETH/USD"]', GOOD, "pairs: XBT/USD is not among ETH/USD"),
        ("max_volume_per_order = 0.005", GOOD, "max_volume_per_order: 0.01 XBT is more than 0.005 XBT"),
        (
            "max_notional_per_order = { USD = 700.0 }",
            GOOD,
            "max_notional_per_order: 700.001 USD is more than 700 USD",
        ),
        ('kill_file = "~/stop"', GOOD, "kill_file: ~/stop is there; remove it to trade"),
        ("max_volume_per_order = 0.005", f"{GOOD} --no-check", "max_volume_per_order: 0.01 XBT"),
        ("max_volume_per_order = 0.005", f"{GOOD} --dry-run", "max_volume_per_order: 0.01 XBT"),
    ],
)
def test_what_the_policy_forbids_is_exit_code_8_and_opens_nothing(
    refusing: Command, policy: str, line: str, said: str
) -> None:
    (refusing.home / "stop").touch()
    write_policy(refusing, policy)
    result = refusing.run(*line.split())
    assert result.code == 8
    assert f"your policy forbids it: {said}" in result.sentence
    assert "config.toml sets the limits" in result.sentence


def test_cancels_are_possible_whatever_the_policy_says(trader: Command) -> None:
    (trader.home / "stop").touch()
    write_policy(trader, 'pairs = []\nkill_file = "~/stop"\nmax_open_orders = 0\nmax_volume_per_day = 0')
    for line in ("cancelAll", "cancelOrder txid=O", "cancelAllOrdersAfter timeout=60"):
        with exchange(private=accepts) as server:
            assert trader.run(*line.split(), *server.options).code == 0
            assert len(server.messages("/auth")) == 1


def test_a_kill_file_that_cannot_be_looked_for_forbids(refusing: Command) -> None:
    write_policy(refusing, 'kill_file = "~/WS_Token/stop"')
    result = refusing.run(*GOOD.split())
    assert result.code == 8
    assert "cannot be looked for" in result.sentence


def test_an_unknown_limit_is_refused_by_every_command(krakenws: Command) -> None:
    write_policy(krakenws, "max_volume = 1")
    result = krakenws.run("catalog")
    assert result.code == 2
    assert "[policy] has no limit 'max_volume'; did you mean max_volume_per" in result.sentence


def book(verified: bool) -> Any:
    ladder = Ladder(middle=64000)

    def script(client: Connection) -> None:
        asked = client.serve(ladder.snapshot())
        assert asked["subscription"] == {"name": "book", "depth": 10}
        if verified:
            client.send(ladder.update("64005.10000", "3.00000000"))
        client.hold()

    return script


COLLARED = "price_collar_percent = 2"


def test_the_collar_is_held_to_a_verified_book(trader: Command) -> None:
    write_policy(trader, COLLARED)
    with exchange(public=book(verified=True), private=accepts) as server:
        result = trader.run(*f"{ADD} price=70000 volume=0.01".split(), *server.options)
        assert result.code == 8
        assert "price=70000 is more than 2 % above 64001.1" in result.sentence
        assert server.at("/auth") == []
        assert trader.run(*f"{ADD} price=65000 volume=0.01".split(), *server.options).code == 0
        assert len(server.sent("addOrder")) == 1


def test_without_a_verified_book_the_collar_forbids(trader: Command) -> None:
    write_policy(trader, COLLARED)
    with exchange(public=book(verified=False), private=accepts) as server:
        result = trader.run(
            *f"{ADD} price=64000 volume=0.01".split(), *server.options, "--ack-timeout", "0.4s"
        )
    assert result.code == 8
    assert "price_collar_percent: there was no verified book of XBT/USD in time" in result.err
    assert result.events[-1]["retryable"] is True
    assert server.sent("addOrder") == []


def test_open_orders_are_counted_at_the_exchange(trader: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect()
        if asked["event"] == "subscribe":
            client.send(*acks(asked), OPEN_ORDERS)
        else:
            client.send({"event": "addOrderStatus", "reqid": asked["reqid"], "status": "ok", "txid": "O1"})
        client.hold()

    with exchange(private=script) as server:
        write_policy(trader, "max_open_orders = 1")
        result = trader.run(*GOOD.split(), *server.options)
        assert result.code == 8
        assert "max_open_orders: 1 are open, and 1 may be" in result.sentence
        write_policy(trader, "max_open_orders = 2")
        assert trader.run(*GOOD.split(), *server.options).code == 0
        result = trader.run(*GOOD.split(), "+", *GOOD.split(), *server.options)
        assert result.code == 8, "the second order of a line counts the first"
        assert len(server.sent("addOrder")) == 1


@pytest.mark.parametrize("limit", ["max_volume_per_day = 0.015", "max_open_orders = 2"])
@pytest.mark.parametrize("way", ["command", "session"])
def test_what_another_process_sends_between_check_and_leave_counts(
    trader: Command, limit: str, way: str
) -> None:
    arrived, go = threading.Event(), threading.Event()

    def script(client: Connection) -> None:
        client.greet()
        client.send(*acks(client.expect()), OPEN_ORDERS)
        client.hold()

    def late(client: Connection) -> None:
        if counts.acquire(blocking=False):  # the policy's question how many are open
            script(client)
            return
        client.accept()
        arrived.set()
        assert go.wait(DEADLINE_S)
        client.greet()
        client.hold()

    counts = threading.Semaphore("max_open_orders" in limit)
    write_policy(trader, limit)
    with exchange(private=late) as server:
        words = GOOD.split() if way == "command" else ["session"]
        with trader.start(*words, "-o", "json", *server.options) as process:
            if way == "session":
                process.send(f"{GOOD} id=a\n")
            assert arrived.wait(DEADLINE_S)
            with closing(Journal(State(str(trader.home / "state" / "krakenws"), durable=True))) as journal:
                journal.begin([other_order(f"{server.url}/auth")])
            go.set()
            if way == "session":
                while (event := process.event()).get("id") != "a":
                    pass
                assert (event["event"], event["code"]) == ("error", 8)
                process.send("quit\n")
            result = process.finish()
    assert result.code == (8 if way == "command" else 0)
    assert limit.partition(" ")[0] in result.out + result.err
    assert server.sent("addOrder") == []


def test_a_late_no_of_the_policy_lets_the_cancels_of_a_line_go_and_none_of_its_orders(
    trader: Command,
) -> None:
    arrived, go = threading.Event(), threading.Event()

    def late(client: Connection) -> None:
        client.accept()
        arrived.set()
        assert go.wait(DEADLINE_S)
        client.greet()
        serves(client)

    write_policy(trader, "max_volume_per_day = 0.025")
    with exchange(private=late) as server:
        line = f"cancelOrder txid=O1 + {GOOD} + {GOOD}"
        with trader.start(*line.split(), "-o", "json", *server.options) as process:
            assert arrived.wait(DEADLINE_S)
            with closing(Journal(State(str(trader.home / "state" / "krakenws"), durable=True))) as journal:
                journal.begin([other_order(f"{server.url}/auth")])
            go.set()
            result = process.finish()
    assert (result.code, "max_volume_per_day" in result.err) == (8, True)
    assert "no order is sent, only what cancels" in result.err
    assert '"outcome":"accepted"' in result.out
    assert (len(server.sent("cancelOrder")), server.sent("addOrder")) == (1, [])


@pytest.mark.parametrize(
    "line",
    ["{good} + cancelOrder txid=O1 + {good}", "{good} + {bad} + cancelOrder txid=O1", "cancelAll + {bad}"],
)
def test_a_line_whose_order_the_policy_forbids_cancels_all_the_same(trader: Command, line: str) -> None:
    write_policy(trader, "max_volume_per_day = 0.015")
    words = line.format(good=GOOD, bad=f"{ADD} price=70000.1 volume=0.02").split()
    with exchange(private=accepts) as server:
        result = trader.run(*words, "-o", "json", *server.options)
    assert (result.code, "max_volume_per_day" in result.err) == (8, True)
    assert [message["event"][:6] for message in server.messages("/auth")] == ["cancel"]


def test_a_late_no_of_the_policy_holds_back_nothing_that_is_only_checked(trader: Command) -> None:
    arrived, go = threading.Event(), threading.Event()

    def late(client: Connection) -> None:
        client.accept()
        arrived.set()
        assert go.wait(DEADLINE_S)
        client.greet()
        serves(client)

    write_policy(trader, "max_volume_per_day = 0.015")
    with (
        exchange(private=late) as server,
        trader.start("session", "-o", "json", *server.options) as process,
    ):
        process.send(f"{GOOD} validate=true id=v\n{GOOD} id=a\n")
        assert arrived.wait(DEADLINE_S)
        with closing(Journal(State(str(trader.home / "state" / "krakenws"), durable=True))) as journal:
            journal.begin([other_order(f"{server.url}/auth")])
        go.set()
        told: dict[str, Any] = {}
        while len(told) < 2:
            event = process.event()
            if event.get("id"):
                told[event["id"]] = event
        process.send("quit\n")
        assert process.finish().code == 0
    assert (told["a"]["event"], told["a"]["code"]) == ("error", 8)
    assert (told["v"]["event"], told["v"]["success"]) == ("reply", True)
    assert [message.get("validate") for message in server.sent("addOrder")] == ["true"]


def other_order(endpoint: str) -> Intent:
    """An order that another process has just sent."""
    words = dict(word.split("=") for word in GOOD.split()[1:])
    return Intent("other", 1, False, "addOrder", words, words, 1, endpoint, "", 1, time.time_ns())


def test_a_dry_run_names_the_limits_it_cannot_look_at(refusing: Command) -> None:
    write_policy(refusing, f"{COLLARED}\nmax_open_orders = 1")
    result = refusing.run(*GOOD.split(), "--dry-run")
    assert result.code == 0
    assert "a dry run asks nobody: not evaluated: price_collar_percent, max_open_orders" in result.err


def test_against_the_sandbox_nothing_forbidden_becomes_true(krakenws: Command, tmp_path: Path) -> None:
    truth = tmp_path / "truth.jsonl"
    with running(krakenws, "--seed", "1", "--truth", str(truth)) as desk:
        for line, code in (
            (f"{ADD} price=60000.123 volume=0.01", 2),
            (f"{ADD} price=60000.1 volume=0.01", 0),
            ("addOrder pair=XBT/UDS type=buy ordertype=market volume=1", 2),
        ):
            result = desk.run(line)
            assert result.code == code, result.err
        write_policy(
            krakenws, "price_collar_percent = 1\nmax_open_orders = 2\nmax_volume_per_order = { BTC = 0.1 }"
        )
        for line, code in (
            (f"{ADD} price=200000 volume=0.01", 8),
            (f"{ADD} price=60000 volume=0.2", 8),
            (f"{ADD} price=60000 volume=0.02", 0),
            (f"{ADD} price=60000 volume=0.03", 8),
            ("cancelAll", 0),
            ("addOrder pair=XBT/USD type=buy ordertype=market volume=0.04", 0),
        ):
            result = desk.run(line)
            assert result.code == code, (line, result.err)
        placed = [
            entry["order"]["qty"]
            for entry in orders_of(truth)
            if entry["event"] == "Accepted" and entry["order"]["owner"] == "demo"
        ]
        assert placed == ["0.01", "0.02", "0.04"]


def test_the_rows_of_these_tests_are_the_sandboxs(krakenws: Command) -> None:
    """What the checks know of the sandbox's pairs is what its REST says."""
    with running(krakenws) as desk:
        listed = {row["wsname"]: row for row in desk.run("pairs").events}
    for row in ROWS:
        stored = {name: value for name, value in vars(row).items() if value is not None}
        assert listed[row.wsname] == stored


def test_a_signal_while_the_policy_looks_sends_nothing(trader: Command) -> None:
    write_policy(trader, COLLARED)
    asked = threading.Event()

    def mute(client: Connection) -> None:
        client.serve()
        asked.set()
        client.hold()

    with exchange(public=mute, private=accepts) as server:
        words = [*f"{ADD} price=64000 volume=0.01".split(), "--ack-timeout", "60s", *server.options]
        with trader.start(*words) as process:
            assert asked.wait(DEADLINE_S)
            process.interrupt()
            result = process.finish()
    assert result.code == 4
    assert "addOrder was not sent: stopped while it was being checked" in result.err
    assert server.at("/auth") == []
