"""Every fault does on the wire what `docs/sandbox.md` says: its examples, seen by clients of other making."""

from __future__ import annotations

import json
import re
import socket
import time
from contextlib import contextmanager, suppress
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen
from zlib import crc32

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.command import DEADLINE_S, ROOT, Command
from tests.support.docs import blocks
from tests.support.sandbox import Sandbox, running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from websockets.sync.client import ClientConnection

    Rule = dict[str, Any]
    Strike = Callable[[], object]

PROXY_TEXT = "CloudFlare WebSocket proxy restarting"
SILENCE_S = 1.3
"""Longer than between two heartbeats."""
ORDER = {"pair": "XBT/USD", "type": "buy", "ordertype": "limit", "price": "1000.0", "volume": "0.01"}
RULES: list[Rule] = [
    json.loads(rule)
    for block in blocks(ROOT / "docs" / "sandbox.md", "sh")
    for rule in re.findall(r"^curl -d '(.+)' \S+/sandbox/faults$", block.text, re.MULTILINE)
]


class Talk:
    """A conversation over an open connection, heartbeats left out; it must not last longer than `DEADLINE_S`.

    Args:
        connection: greeted or not.
        token: goes with each order and private subscription.
    """

    def __init__(self, connection: ClientConnection, token: str = "") -> None:
        self.connection = connection
        self._token = token
        self._until = time.monotonic() + DEADLINE_S

    def say(self, event: str, **fields: Any) -> None:
        if self._token and "subscription" in fields:
            fields["subscription"]["token"] = self._token
        elif self._token and event != "ping":
            fields["token"] = self._token
        self.connection.send(json.dumps({"event": event, **fields}))

    def text(self) -> str:
        while (text := self.connection.recv(timeout=DEADLINE_S)) == '{"event":"heartbeat"}':
            pass
        assert time.monotonic() < self._until, "what was waited for never came"
        assert isinstance(text, str)
        return text

    def told(self) -> dict[str, Any]:
        """Return the next message that is no data."""
        while isinstance(message := json.loads(self.text()), list):
            pass
        assert isinstance(message, dict)
        return message

    def data(self) -> list[Any]:
        """Return the next data."""
        while isinstance(message := json.loads(self.text()), dict):
            pass
        assert isinstance(message, list)
        return message

    def ask(self, event: str, **fields: Any) -> dict[str, Any]:
        self.say(event, **fields)
        return self.told()

    def subscribe(self, name: str, *pairs: str) -> None:
        for_ = {"pair": list(pairs)} if pairs else {}
        self.say("subscribe", subscription={"name": name}, **for_)
        for _ in pairs or ("",):
            assert self.told()["status"] == "subscribed"

    def closing(self) -> ConnectionClosed:
        """Return how the connection ended, whatever was said before."""
        try:
            while True:
                self.text()
        except ConnectionClosed as closed:
            return closed


@contextmanager
def public(sandbox: Sandbox) -> Iterator[Talk]:
    with sandbox.connect() as connection:
        talk = Talk(connection)
        assert talk.told()["event"] == "systemStatus"
        yield talk


@contextmanager
def private(sandbox: Sandbox) -> Iterator[Talk]:
    with sandbox.connect("private") as connection:
        talk = Talk(connection, sandbox.token())
        assert talk.told()["event"] == "systemStatus"
        yield talk


class Book:
    """Ten levels a side and their checksum, as Kraken's guide describes them."""

    def __init__(self) -> None:
        self.sides: dict[str, dict[Decimal, tuple[str, str]]] = {"a": {}, "b": {}}

    def apply(self, message: list[Any]) -> bool:
        """Take in a frame; return whether its checksum, if it has one, is right."""
        checksum = ""
        for part in message[1:-2]:
            checksum = part.pop("c", "")
            for name, levels in part.items():
                side = self.sides[name[0]]
                for price, qty, *_ in levels:
                    if Decimal(qty):
                        side[Decimal(price)] = (price, qty)
                    else:
                        side.pop(Decimal(price), None)
        self.sides = {
            name: {price: side[price] for price in sorted(side, reverse=name == "b")[:10]}
            for name, side in self.sides.items()
        }
        texts = [text for side in self.sides.values() for level in side.values() for text in level]
        digits = "".join(text.replace(".", "").lstrip("0") for text in texts)
        return not checksum or int(checksum) == crc32(digits.encode())


def call(sandbox: Sandbox, method: str, rule: Rule | None = None) -> dict[str, Any]:
    """Ask `/sandbox/faults`."""
    data = None if rule is None else json.dumps(rule).encode()
    request = Request(f"{sandbox.told['REST']}/sandbox/faults", data, method=method)
    with urlopen(request, timeout=DEADLINE_S) as answer:
        told: dict[str, Any] = json.load(answer)
    assert told["error"] == []
    return told


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < until


def open_orders(sandbox: Sandbox) -> list[str]:
    told = sandbox.call("OpenOrders", time.time_ns())
    assert told["error"] == []
    return list(told["result"]["open"])


# ---- what each fault does


def drop(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as talk:
        talk.subscribe("book", "XBT/USD")
        book = Book()
        assert all(book.apply(talk.data()) for _ in range(10))
        for _ in range(20):  # what was lost may be overwritten before anybody can know
            strike()
            if not all(book.apply(talk.data()) for _ in range(50)):
                return
    pytest.fail("no checksum told of the lost frames")


def duplicate(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as talk:
        talk.subscribe("trade", "XBT/USD")
        strike()
        frames = [talk.data()]
        while sum(a == b for a, b in pairwise(frames)) < 3:
            frames.append(talk.data())
        frames = [talk.data() for _ in range(5)]
        assert all(a != b for a, b in pairwise(frames))


def delay(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as late, public(sandbox) as witness:
        late.subscribe("ticker", "XBT/USD")
        late.data()
        strike()
        wait_for(lambda: not call(sandbox, "GET")["result"])  # it waits for a frame
        witness.subscribe("ticker", "XBT/USD")
        began, last = time.monotonic(), witness.data()
        gap_s, counts = 0.0, [0]
        while gap_s < 1.0:  # the frames before the fault, then nothing for 1.5 s
            before = time.monotonic()
            counts.append(late.data()[1]["t"][0])
            gap_s = time.monotonic() - before
        assert time.monotonic() - began > 1.0
        while counts[-1] < last[1]["t"][0]:
            counts.append(late.data()[1]["t"][0])
        assert counts == sorted(counts)


def reorder(sandbox: Sandbox, strike: Strike) -> None:
    def newest(message: list[Any]) -> Decimal:
        levels = [level for part in message[1:-2] for name in "ab" for level in part.get(name, ())]
        return max((Decimal(level[2]) for level in levels if len(level) == 3), default=Decimal())

    with public(sandbox) as talk:
        talk.subscribe("book", "XBT/USD")
        book, before = Book(), Decimal()
        for _ in range(10):
            message = talk.data()
            assert newest(message) >= before or "as" in message[1]
            before = newest(message)
            assert book.apply(message)
        strike()
        is_right = True
        while newest(message := talk.data()) >= before:
            before = newest(message)
            is_right = book.apply(message)
        assert not is_right


def bad_checksum(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as talk:
        talk.subscribe("book", "XBT/USD")
        book = Book()
        assert book.apply(talk.data())
        strike()
        while book.apply(talk.data()):
            pass
        assert all(book.apply(talk.data()) for _ in range(50))


def mute(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as talk:
        talk.subscribe("spread", "ETH/EUR", "XBT/USD")
        while talk.data()[-1] != "ETH/EUR":
            pass
        strike()
        wait_for(lambda: not call(sandbox, "GET")["result"])  # it waits for a frame
        assert talk.ask("ping") == {"event": "pong"}
        until = time.monotonic() + 1.0
        while time.monotonic() < until:
            assert talk.data()[-1] == "XBT/USD"
        for event in ("unsubscribe", "subscribe"):
            talk.ask(event, pair=["ETH/EUR"], subscription={"name": "spread"})
        while talk.data()[-1] != "ETH/EUR":
            pass


def not_json(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as talk:
        strike()
        talk.say("ping")
        assert [talk.text(), talk.text()] == [PROXY_TEXT, '{"event":"pong"}']


def unknown_event(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as talk:
        strike()
        talk.say("ping")
        told = [talk.told(), talk.told()]
        assert told[0]["event"] not in {"systemStatus", "heartbeat", "subscriptionStatus", "error", "pong"}
        assert told[1] == {"event": "pong"}


def unknown_field(sandbox: Sandbox, strike: Strike) -> None:
    with private(sandbox) as talk:
        talk.subscribe("ownTrades")
        talk.data()
        strike()
        for fields in ({"aNewField"}, set()):
            talk.say("addOrder", **{**ORDER, "ordertype": "market", "price": ""})
            (trade,) = talk.data()[0]
            assert {field for field in trade if field[0] != "T"} == fields


def skip_sequence(sandbox: Sandbox, strike: Strike) -> None:
    with private(sandbox) as talk:
        talk.subscribe("openOrders")
        assert talk.data()[-1]["sequence"] == 1
        strike()
        talk.say("addOrder", **ORDER)
        assert [talk.data()[-1]["sequence"] for _ in range(2)] == [3, 4]


def truncate(sandbox: Sandbox, strike: Strike) -> None:
    strike()
    with raw(sandbox) as client:
        request = {"event": "subscribe", "pair": ["XBT/USD"], "subscription": {"name": "book"}}
        client.sendall(masked(json.dumps(request).encode()))
        data = until_reset(client)
    frames: list[tuple[int, bytes]] = []
    while data:
        at, length = (4, int.from_bytes(data[2:4])) if data[1] == 126 else (2, data[1])
        frames.append((length, data[at : at + length]))
        data = data[at + length :]
    length, half = frames.pop()
    assert half.startswith(b"[")
    assert len(half) == length // 2
    assert all(len(frame) == length and json.loads(frame)["event"] for length, frame in frames)


def freeze(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as dead, public(sandbox) as alive:
        dead.subscribe("spread", "XBT/USD")
        dead.data()
        strike()
        dead.say("ping")
        pong = dead.connection.ping()
        with suppress(TimeoutError):
            while text := dead.connection.recv(timeout=SILENCE_S):
                assert text != '{"event":"pong"}'
        assert not pong.is_set()
        assert alive.ask("ping") == {"event": "pong"}
        call(sandbox, "DELETE")
        assert dead.closing().rcvd is None


def close(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as one, public(sandbox) as other:
        strike()
        for talk in (one, other):
            frame = talk.closing().rcvd
            assert frame is not None
            assert (frame.code, frame.reason) == (1001, PROXY_TEXT)
    with public(sandbox) as later:
        assert later.ask("ping") == {"event": "pong"}


def reset(sandbox: Sandbox, strike: Strike) -> None:
    with raw(sandbox) as client:
        began = time.monotonic()
        strike()
        until_reset(client)
        assert time.monotonic() - began >= 1.0


def no_ack(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as talk:
        strike()
        talk.say("subscribe", pair=["XBT/USD"], subscription={"name": "ticker"})
        talk.say("ping")
        assert talk.text() == '{"event":"pong"}'
        talk.subscribe("ticker", "XBT/USD")
        talk.data()


def exceeded_rate(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as talk:
        strike()
        for reqid in (1, 2, 3):
            told = talk.ask("ping", reqid=reqid)
            assert told == {"errorMessage": "Exceeded msg rate", "event": "error", "reqid": reqid}
        assert talk.ask("ping") == {"event": "pong"}


def invalid_session(sandbox: Sandbox, strike: Strike) -> None:
    with private(sandbox) as talk:
        strike()
        refused = talk.ask("addOrder", **ORDER)
        assert refused["errorMessage"] == "ESession:Invalid session"
        assert refused["event"] == "addOrderStatus"
        assert talk.ask("addOrder", **ORDER)["status"] == "ok"


def refuse(sandbox: Sandbox, strike: Strike) -> None:
    strike()
    for error in (["EService:Busy"], []):
        assert sandbox.call("AddOrder", time.time_ns(), **ORDER)["error"] == error


def lose_answer(sandbox: Sandbox, strike: Strike) -> None:
    with private(sandbox) as talk:
        talk.subscribe("openOrders")
        talk.data()
        strike()
        before = set(open_orders(sandbox))
        talk.say("addOrder", **ORDER)
        assert talk.ask("ping") == {"event": "pong"}
        (placed,) = set(open_orders(sandbox)) - before
        assert talk.ask("cancelOrder", txid=[placed])["status"] == "ok"


def accept_then_cut(sandbox: Sandbox, strike: Strike) -> None:
    with private(sandbox) as talk:
        strike()
        before = set(open_orders(sandbox))
        talk.say("addOrder", **ORDER)
        with pytest.raises(ConnectionClosed) as caught:
            talk.text()
        assert caught.value.rcvd is None
        assert len(set(open_orders(sandbox)) - before) == 1


def http_status(sandbox: Sandbox, strike: Strike) -> None:
    strike()
    with pytest.raises(InvalidStatus) as refused:
        sandbox.connect()
    response = refused.value.response
    assert (response.status_code, response.reason_phrase) == (429, "Too Many Requests")
    assert b"<html>" in (response.body or b"")
    with public(sandbox) as talk:
        assert talk.ask("ping") == {"event": "pong"}
    call(sandbox, "POST", {"fault": "http_status", "status": 520, "path": "/0/private"})
    with pytest.raises(HTTPError) as page:
        sandbox.token()
    with page.value:
        assert page.value.code == 520
    sandbox.token()


def system_status(sandbox: Sandbox, strike: Strike) -> None:
    with private(sandbox) as talk:
        strike()
        told = talk.told()
        assert (told["event"], told["status"]) == ("systemStatus", "maintenance")
        assert talk.ask("addOrder", **ORDER)["errorMessage"] == "EService:Unavailable"
        with urlopen(f"{sandbox.told['REST']}/0/public/SystemStatus", timeout=DEADLINE_S) as answer:
            assert json.load(answer)["result"]["status"] == "maintenance"
        call(sandbox, "DELETE")
        assert talk.told()["status"] == "online"
        assert talk.ask("addOrder", **ORDER)["status"] == "ok"


def walk_of_statuses(sandbox: Sandbox, strike: Strike) -> None:
    with public(sandbox) as talk:
        began = time.monotonic()
        strike()
        assert [talk.told()["status"] for _ in range(3)] == ["cancel_only", "post_only", "online"]
        assert time.monotonic() - began >= 2.0


def rest_lag(sandbox: Sandbox, strike: Strike) -> None:
    with private(sandbox) as talk:
        strike()
        began = time.monotonic()
        order_id = talk.ask("addOrder", **ORDER)["txid"]
        wait_for(lambda: order_id in open_orders(sandbox))
        assert time.monotonic() - began >= 1.0


def change_precision(sandbox: Sandbox, strike: Strike) -> None:
    def decimals(book: Book) -> set[int]:
        return {len(p.partition(".")[2]) for side in book.sides.values() for p, _ in side.values()}

    with public(sandbox) as talk:
        talk.subscribe("book", "XBT/USD")
        book = Book()
        assert book.apply(talk.data())
        assert decimals(book) == {5}
        strike()
        seen = set()
        while 7 not in seen:
            assert book.apply(talk.data())
            seen |= decimals(book)
        assert decimals(book) == {5, 7}
        assert all(book.apply(talk.data()) for _ in range(50))


def expire_tokens(sandbox: Sandbox, strike: Strike) -> None:
    with private(sandbox) as talk:
        strike()
        assert talk.ask("addOrder", **ORDER)["errorMessage"] == "ESession:Invalid session"
    with private(sandbox) as talk:
        assert talk.ask("addOrder", **ORDER)["status"] == "ok"


SEEN: dict[str, Callable[[Sandbox, Strike], None]] = {
    "drop": drop,
    "duplicate": duplicate,
    "delay": delay,
    "reorder": reorder,
    "bad_checksum": bad_checksum,
    "mute": mute,
    "not_json": not_json,
    "unknown_event": unknown_event,
    "unknown_field": unknown_field,
    "skip_sequence": skip_sequence,
    "truncate": truncate,
    "freeze": freeze,
    "close": close,
    "reset": reset,
    "no_ack": no_ack,
    "exceeded_rate": exceeded_rate,
    "invalid_session": invalid_session,
    "refuse": refuse,
    "lose_answer": lose_answer,
    "accept_then_cut": accept_then_cut,
    "http_status": http_status,
    "system_status": system_status,
    "system_status, a walk": walk_of_statuses,
    "rest_lag": rest_lag,
    "change_precision": change_precision,
    "expire_tokens": expire_tokens,
}


def name_of(rule: Rule) -> str:
    return f"{rule['fault']}{', a walk' if isinstance(rule.get('status'), list) else ''}"


# ---- a client by hand


@contextmanager
def raw(sandbox: Sandbox) -> Iterator[socket.socket]:
    """A WebSocket connection after its handshake, as a plain socket."""
    host, port = sandbox.told["public"].removeprefix("ws://").split(":")
    with socket.create_connection((host, int(port)), DEADLINE_S) as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        )
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += client.recv(1)
        assert answer.startswith(b"HTTP/1.1 101 ")
        yield client


def masked(payload: bytes) -> bytes:
    """A short text frame with a mask of zeros."""
    return bytes([0x81, 0x80 | len(payload), 0, 0, 0, 0]) + payload


def until_reset(client: socket.socket) -> bytes:
    """Return all that comes before the reset that there must be."""
    data = b""
    try:
        while news := client.recv(65536):
            data += news
    except ConnectionResetError:
        return data
    pytest.fail("the connection was closed, not reset")


# ---- tests


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One sandbox for all examples but those that count its connections."""
    with running(Command(tmp_path_factory.mktemp("faults")), "--pairs", "XBT/USD,ETH/EUR") as found:
        yield found


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_the_example_of_a_fault_does_what_the_page_says(
    rule: Rule, krakenws: Command, request: pytest.FixtureRequest
) -> None:
    if isinstance(rule.get("connection"), int):
        with running(krakenws, "--pairs", "XBT/USD") as sandbox:
            SEEN[name_of(rule)](sandbox, lambda: call(sandbox, "POST", rule))
        return
    sandbox = request.getfixturevalue("shared")
    try:
        SEEN[name_of(rule)](sandbox, lambda: call(sandbox, "POST", rule))
    finally:
        call(sandbox, "DELETE")


def test_examples_in_a_file_are_on_from_the_start(krakenws: Command, tmp_path: Path) -> None:
    names = ("exceeded_rate", "bad_checksum", "lose_answer")
    file = tmp_path / "faults.json"
    file.write_text(json.dumps([rule for name in names for rule in RULES if rule["fault"] == name]))
    with running(krakenws, "--pairs", "XBT/USD", "--faults", str(file)) as sandbox:
        for name in names:
            SEEN[name](sandbox, lambda: None)
