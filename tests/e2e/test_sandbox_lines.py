"""The lines of the original script against `krakenws sandbox`, plain and TLS: what comes and how it ends.

Third-party clients are the judges of the exchange: `websockets`, the original script's own library
`websocket-client`, and REST calls by urllib, signed here and not by the package.
"""

from __future__ import annotations

import json
import time
from decimal import Decimal
from importlib import import_module, util
from pathlib import Path
from shlex import split
from typing import TYPE_CHECKING, Any

import pytest
from websockets.exceptions import InvalidStatus

from tests.support.command import DEADLINE_S, Command
from tests.support.sandbox import Sandbox, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from websockets.sync.client import ClientConnection

    from tests.e2e.conftest import Certificates

BUY = "addOrder pair=XBT/USD type=buy ordertype=limit"
NOBODY = "OADMSD-7AGC3-IMB46A"


@pytest.fixture(scope="module", params=["plain", "TLS"])
def sandbox(
    request: pytest.FixtureRequest, certificates: Certificates, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sandbox]:
    """One sandbox for all tests of this module, whose orders must not disturb each other."""
    words = ["--tls", certificates.chain, certificates.key] if request.param == "TLS" else []
    command = Command(tmp_path_factory.mktemp("sandbox"))
    with running(command, *words, cafile=certificates.authority if words else "") as found:
        yield found


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One without TLS, for what happens behind it."""
    with running(Command(tmp_path_factory.mktemp("plain"))) as found:
        yield found


# ---- every line


@pytest.mark.parametrize(
    ("line", "channel", "symbols"),
    [
        ("ticker XBT/USD ETH/EUR XDG/XBT", "ticker", {"XBT/USD", "ETH/EUR", "XDG/XBT"}),
        ("ohlc LTC/EUR XBT/USD 60", "ohlc", {"LTC/EUR", "XBT/USD"}),
        ("trade XBT/USD", "trade", {"XBT/USD"}),
        ("book ETH/USD 10", "book", {"ETH/USD"}),
        ("spread XBT/USD XBT/EUR", "spread", {"XBT/USD", "XBT/EUR"}),
    ],
)
def test_a_line_for_market_data_streams_it(
    sandbox: Sandbox, line: str, channel: str, symbols: set[str]
) -> None:
    result = sandbox.run(f"{line} --count 5")
    assert result.code == 0, result.err
    acknowledged = {event["symbol"] for event in result.events if event["event"] == "subscribed"}
    assert acknowledged == symbols
    updates = [event for event in result.events if event["event"] == "update"]
    assert len(updates) == 5
    assert {update["channel"] for update in updates} == {channel}
    assert {update["symbol"] for update in updates} <= symbols
    assert not [event for event in result.events if event["event"] in {"gap", "refused", "violation"}]


@pytest.mark.parametrize(
    ("line", "channel"),
    [
        ("openOrders", "openOrders"),
        ("openOrders ratecounter=true", "openOrders"),
        ("ownTrades", "ownTrades"),
        ("balances", "balances"),
    ],
)
def test_a_line_for_private_data_begins_with_a_snapshot(sandbox: Sandbox, line: str, channel: str) -> None:
    result = sandbox.run(f"{line} --count 1")
    assert result.code == 0, result.err
    (update,) = [event for event in result.events if event["event"] == "update"]
    assert (update["channel"], update["type"]) == (channel, "snapshot")


def test_own_trades_without_a_snapshot_begin_with_the_next_trade(sandbox: Sandbox) -> None:
    sandbox.reply("addOrder pair=ETH/USD type=buy ordertype=market volume=0.01")
    with sandbox.command.start("ownTrades", "snapshot=false", "-o", "json", "--count", "1") as trades:
        trades.event("subscribed")
        bought = sandbox.reply("addOrder pair=ETH/USD type=buy ordertype=market volume=0.02")
        (fill, *_) = trades.event("update")["data"]
        assert fill["order_id"] == bought["result"]["order_id"]
        assert trades.finish().code == 0


def test_balances_tell_both_sides_of_a_trade_and_its_fee(sandbox: Sandbox) -> None:
    with sandbox.command.start("balances", "-o", "json", "--count", "3") as balances:
        balances.note("API v2")
        owned = {row["asset"]: Decimal(row["balance"]) for row in balances.event("update")["data"]}
        sandbox.reply("addOrder pair=SOL/USD type=sell ordertype=market volume=0.1")
        (given,), (got,) = balances.event("update")["data"], balances.event("update")["data"]
        assert [given["asset"], got["asset"]] == ["SOL", "USD"]
        assert given["ref_id"] == got["ref_id"]
        for entry in (given, got):
            change = Decimal(entry["amount"]) - Decimal(entry["fee"])
            assert Decimal(entry["balance"]) == owned[entry["asset"]] + change
        assert balances.finish().code == 0


@pytest.mark.parametrize(
    ("output", "begin", "words"),
    [
        ("text", "", "USD"),
        ("csv", "received,type,symbol,asset,balance,", "snapshot,,USD,"),
        ("raw", '{"channel":"status"', '{"asset":"USD","asset_class":"currency","balance":'),
        ("transcript", 'WebSocket -> Client: {"channel":"status"', '"token":"***"}}'),
    ],
)
def test_balances_come_in_every_output(sandbox: Sandbox, output: str, begin: str, words: str) -> None:
    result = sandbox.command.run("balances", "--count", "1", "-o", output)
    assert result.code == 0, result.err
    assert result.out.startswith(begin)
    assert words in result.out


def test_balances_run_beside_feeds_of_v1_on_a_connection_of_their_own(sandbox: Sandbox) -> None:
    with sandbox.command.start(*split("openOrders + balances -o json")) as both:
        begun = {both.event("update")["channel"] for _ in range(2)}
        assert begun == {"openOrders", "balances"}
        both.interrupt()
        assert both.finish().code == 0


def test_ping_is_answered_and_is_what_no_words_mean(sandbox: Sandbox) -> None:
    for line in ("ping", ""):
        result = sandbox.run(line)
        assert result.code == 0, result.err
        assert result.stream[-1]["event"] == "pong"


def test_a_market_order_with_leverage_is_accepted(sandbox: Sandbox) -> None:
    answer = sandbox.reply("addOrder pair=XBT/USD type=buy ordertype=market volume=0.002 leverage=5")
    assert answer["outcome"] == "accepted"
    assert answer["result"]["order_id"].startswith("O")
    assert answer["result"]["descr"] == "buy 0.00200000 XBTUSD @ market with 5:1 leverage"


def test_an_order_is_placed_edited_and_cancelled(sandbox: Sandbox) -> None:
    placed = [
        sandbox.reply(f"{BUY} price={price} volume=0.125")["result"]["order_id"] for price in (7500, 7600)
    ]
    edited = sandbox.reply(f"editOrder orderid={placed[0]} pair=XBT/USD price=7400 volume=0.1")["result"]
    assert edited["original_order_id"] == placed[0]
    assert sandbox.run(f"cancelOrder txid={edited['order_id']},{placed[1]}").code == 0
    assert sandbox.run(f"cancelOrder txid={edited['order_id']}").code == 5


def test_the_sell_order_of_the_original_script_is_accepted(sandbox: Sandbox) -> None:
    descr = sandbox.reply("addOrder pair=XBT/EUR type=sell ordertype=limit price=7500 volume=0.125")["result"]
    assert descr["descr"] == "sell 0.12500000 XBTEUR @ limit 7500.0"


def test_cancel_all_counts_what_it_cancels(sandbox: Sandbox) -> None:
    sandbox.reply("cancelAll")
    for price in (7100, 7200):
        sandbox.reply(f"{BUY} price={price} volume=0.01")
    assert sandbox.reply("cancelAll")["result"] == {"count": 2}


def test_the_dead_mans_switch_is_set_and_disabled(sandbox: Sandbox) -> None:
    assert "trigger_time" in json.dumps(sandbox.reply("cancelAllOrdersAfter timeout=60")).lower()
    sandbox.reply("cancelAllOrdersAfter timeout=0")


def test_balances_on_v1_are_refused_by_the_exchange(sandbox: Sandbox) -> None:
    assert sandbox.run("balances --api 1").code == 5


def test_the_drop_in_prints_the_transcript(plain: Sandbox) -> None:
    drop_in = plain.command.called("krakenws.py")
    result = drop_in.run("ticker", "XBT/USD", "ETH/EUR", "XDG/XBT", "--count", "1")
    assert result.code == 0, result.err
    assert [line.split(": ")[0] for line in result.lines[:2]] == [
        "WebSocket -> Client",
        "Client -> WebSocket",
    ]
    assert drop_in.run("cancelOrder", f"txid={NOBODY}").code == 1


# ---- refusals


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("ticker NOPE/USD", 5, "NOPE/USD"),
        ("book XBT/USD 11", 2, "11"),
        ("addOrder pair=NOPE/USD type=buy ordertype=market volume=1", 5, "Unknown asset pair"),
        ("addOrder pair=XBT/USD type=buy ordertype=market volume=50", 5, "EOrder:Insufficient funds"),
        (f"{BUY} price=70000 volume=0.00001", 5, "EOrder:Order minimum not met"),
        (f"{BUY} price=70000.01 volume=0.01", 5, "EOrder:Invalid price"),
        (f"{BUY} price=999000 volume=0.01 oflags=post", 5, "EOrder:Post only order"),
        (f"cancelOrder txid={NOBODY}", 5, "EOrder:Unknown order"),
        (f"editOrder orderid={NOBODY} pair=XBT/USD price=9000 volume=0.1", 5, "EOrder:Unknown order"),
    ],
)
def test_a_refusal_has_its_exit_code_and_says_why(sandbox: Sandbox, line: str, code: int, words: str) -> None:
    result = sandbox.run(line, KRAKENWS_RECONNECT="never", KRAKENWS_NO_CHECK="true")
    assert result.code == code, result.err
    assert words in result.err


@pytest.mark.parametrize(
    "line",
    ["openOrders", "balances", "cancelAll", "addOrder pair=XBT/USD type=buy ordertype=market volume=1"],
)
def test_a_bad_token_is_3(sandbox: Sandbox, line: str) -> None:
    result = sandbox.run(line, KRAKENWS_TOKEN="nonsense" * 5, KRAKEN_API_KEY="", KRAKEN_API_SECRET="")
    assert result.code == 3, result.err


# ---- clients that nobody here wrote


def ask(client: ClientConnection, message: dict[str, Any]) -> dict[str, Any]:
    """Send a request and return the next message that is neither data nor a heartbeat."""
    client.send(json.dumps(message))
    return answer_of(client)


def answer_of(client: ClientConnection) -> dict[str, Any]:
    while True:
        told = json.loads(client.recv(DEADLINE_S))
        if isinstance(told, dict) and told["event"] not in {"heartbeat", "systemStatus"}:
            return told


def test_a_strangers_reqid_is_echoed_in_every_answer(sandbox: Sandbox) -> None:
    book = {"name": "book", "depth": 10}
    with sandbox.connect() as client:
        greeting = json.loads(client.recv(DEADLINE_S))
        assert (greeting["event"], greeting["status"]) == ("systemStatus", "online")
        assert ask(client, {"event": "ping", "reqid": 1}) == {"event": "pong", "reqid": 1}
        joined = ask(client, {"event": "subscribe", "reqid": 2, "pair": ["XBT/USD"], "subscription": book})
        assert (joined["reqid"], joined["status"], joined["channelName"]) == (2, "subscribed", "book-10")
        while not isinstance(data := json.loads(client.recv(DEADLINE_S)), list):
            pass
        assert data[-2:] == [joined["channelName"], joined["pair"]]
        left = ask(client, {"event": "unsubscribe", "reqid": 3, "pair": ["XBT/USD"], "subscription": book})
        assert (left["reqid"], left["status"], left["pair"]) == (3, "unsubscribed", "XBT/USD")
        again = ask(client, {"event": "unsubscribe", "reqid": 4, "pair": ["XBT/USD"], "subscription": book})
        assert (again["reqid"], again["errorMessage"]) == (4, "Subscription Not Found")
        assert ask(client, {"event": "nonsense", "reqid": 5})["reqid"] == 5


@pytest.mark.parametrize(
    ("subscription", "error"),
    [
        ({"name": "book", "depth": 11}, "Subscription depth not supported"),
        ({"name": "ohlc", "interval": 7}, "Subscription ohlc interval not supported"),
        ({"name": "nonsense"}, "Subscription name invalid"),
    ],
)
def test_a_strangers_bad_subscription_is_refused_in_krakens_words(
    plain: Sandbox, subscription: dict[str, Any], error: str
) -> None:
    with plain.connect() as client:
        message = {"event": "subscribe", "reqid": 6, "pair": ["XBT/USD"], "subscription": subscription}
        told = ask(client, message)
    assert (told["event"], told["status"], told["reqid"]) == ("subscriptionStatus", "error", 6)
    assert told["errorMessage"] == error


def test_a_strangers_order_with_empty_fields_is_accepted_and_answers_carry_its_reqid(plain: Sandbox) -> None:
    signed = {"token": plain.token(), "reqid": 7}
    order = {"pair": "ETH/USD", "type": "buy", "ordertype": "limit", "price": "100", "volume": "1"}
    unset = dict.fromkeys(("price2", "leverage", "oflags", "starttm", "expiretm", "userref", "validate"), "")
    with plain.connect("private") as client:
        placed = ask(client, {"event": "addOrder", **order, **unset, **signed})
        assert (placed["event"], placed["status"], placed["reqid"]) == ("addOrderStatus", "ok", 7)
        cancelled = ask(client, {"event": "cancelOrder", "txid": [placed["txid"], NOBODY], **signed})
        assert (cancelled["status"], cancelled["reqid"]) == ("ok", 7)
        unknown = answer_of(client)
        assert (unknown["errorMessage"], unknown["reqid"]) == ("EOrder:Unknown order", 7)
        assert ask(client, {"event": "cancelAll", **signed})["reqid"] == 7
        wrong = ask(client, {"event": "addOrder", **order, **signed, "token": "wrong"})
        assert (wrong["errorMessage"], wrong["reqid"]) == ("ESession:Invalid session", 7)


def test_a_strangers_balances_over_v2_are_greeted_acknowledged_numbered_and_ended(sandbox: Sandbox) -> None:
    params = {"channel": "balances", "token": sandbox.token()}
    with sandbox.connect("private", "/v2") as client:

        def said() -> dict[str, Any]:
            while (told := json.loads(client.recv(DEADLINE_S))) == {"channel": "heartbeat"}:
                pass
            return dict(told)

        def asked(method: str, **fields: Any) -> dict[str, Any]:
            client.send(json.dumps({"method": method, **fields}))
            return said()

        greeting = said()
        assert (greeting["channel"], greeting["data"][0]["system"]) == ("status", "online")
        assert asked("ping", req_id=1)["method"] == "pong"
        joined = asked("subscribe", params=params, req_id=2)
        assert (joined["req_id"], joined["success"]) == (2, True)
        assert joined["result"] == {"channel": "balances", "snapshot": True}
        snapshot = said()
        assert (snapshot["type"], snapshot["sequence"]) == ("snapshot", 1)
        assert asked("subscribe", params=params, req_id=3)["error"] == "Already subscribed"
        sandbox.reply("addOrder pair=ETH/USD type=buy ordertype=market volume=0.01")
        updates = [said(), said()]
        assert [(update["type"], update["sequence"]) for update in updates] == [("update", 2), ("update", 3)]
        assert asked("unsubscribe", params=params, req_id=4)["result"] == {"channel": "balances"}
        assert asked("unsubscribe", params=params, req_id=5)["error"] == "Subscription Not Found"
        assert asked("add_order", params=params, req_id=6)["error"] == "Unsupported event"
    with sandbox.connect("public", "/v2") as client:
        assert said()["data"][0]["api_version"] == "v2"
        wrong = asked("subscribe", params=params, req_id=7)
        assert (wrong["success"], wrong["req_id"]) == (False, 7)
        assert wrong["error"].endswith("Try ws-auth.kraken.com")


def test_the_original_scripts_own_library_gets_a_subscription_and_prints_it(sandbox: Sandbox) -> None:
    if util.find_spec("websocket") is None:
        pytest.skip("websocket-client is not installed")
    options = {"ca_certs": sandbox.cafile} if sandbox.cafile else {}
    create: Any = import_module("websocket").create_connection
    client = create(sandbox.told["public"], timeout=DEADLINE_S, sslopt=options)
    subscribe = (
        '{"event":"subscribe","subscription":{"name":"ticker"},"pair":["XBT/USD","ETH/EUR"],"reqid":8}'
    )
    client.send(subscribe)
    told = [json.loads(client.recv()) for _ in range(5)]
    client.close()
    assert told[0]["event"] == "systemStatus"
    assert [(ack["pair"], ack["status"], ack["reqid"]) for ack in told[1:3]] == [
        ("XBT/USD", "subscribed", 8),
        ("ETH/EUR", "subscribed", 8),
    ]
    assert {message[-2] for message in told if isinstance(message, list)} == {"ticker"}


@pytest.mark.parametrize("per_second", [1_000, 1_000_000, 1_000_000_000])
def test_nonces_may_count_in_ms_us_or_ns(krakenws: Command, per_second: int) -> None:
    with running(krakenws, "--pairs", "XBT/USD") as found:  # a key's nonces only grow
        nonce = time.time_ns() * per_second // 10**9
        assert found.call("Balance", nonce)["error"] == []
        assert found.call("GetWebSocketsToken", nonce + 1)["result"]["token"]
        assert found.call("Balance", nonce)["error"] == ["EAPI:Invalid nonce"]


# ---- what the sandbox is started with


def test_tls_self_makes_a_certificate_and_prints_the_path_of_its_authority(krakenws: Command) -> None:
    with running(krakenws, "--tls", "self", "--pairs", "XBT/USD", count=6) as found:
        assert found.told["public"].startswith("wss://127.0.0.1:")
        assert found.told["REST"].startswith("https://127.0.0.1:")
        assert found.run("ping").code == 0
        port = found.told["public"].rpartition(":")[2]
        assert found.run(f"ping --public-url wss://localhost:{port}").code == 0
        assert found.token()
        assert found.run("ping", KRAKENWS_CAFILE="").code == 4
        found.process.terminate()
        assert found.process.finish().code == 0
        assert not Path(found.cafile).exists()


def test_limits_refuse_who_talks_or_connects_too_much(krakenws: Command) -> None:
    with running(krakenws, "--limits", "--pairs", "XBT/USD") as found:
        with found.connect() as client:
            for number in range(200):
                client.send(f'{{"event":"ping","reqid":{number}}}')
            told = [answer_of(client) for _ in range(200)]
        assert [answer["reqid"] for answer in told] == list(range(200))
        assert told[0]["event"] == "pong"
        assert told[-1] == {"errorMessage": "Exceeded msg rate", "event": "error", "reqid": 199}
        for _ in range(149):
            with found.connect():
                pass
        with pytest.raises(InvalidStatus) as refused, found.connect():
            pass
        assert refused.value.response.status_code == 429
        assert found.run("ping --reconnect never").code == 4


def test_without_limits_nobody_is_refused(plain: Sandbox) -> None:
    with plain.connect() as client:
        for number in range(200):
            client.send(f'{{"event":"ping","reqid":{number}}}')
        assert {answer_of(client)["event"] for _ in range(200)} == {"pong"}
