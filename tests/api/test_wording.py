"""What Python is told of its mistakes is in Python's words, though the command line shares the sentences."""

from __future__ import annotations

import ast
import inspect
import logging
import re
from base64 import b64encode
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

import krakenws
from krakenws.cli.options import OPTIONS
from krakenws.net import wording
from krakenws.net.client import ENTRIES
from tests.support.api import client, run
from tests.support.command import ROOT
from tests.support.pairs import store_pairs
from tests.support.scripts import accepts
from tests.support.server import Connection, acks, exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.e2e.conftest import Certificates

    Call = Callable[[], Any]

TYPED = re.compile(r"(?<![\w-])--[a-z]|close\[|, for example: ")
"""What is typed at a shell."""
PACKAGE = ROOT / "src" / "krakenws"
COMMAND_LINE_ONLY = {
    "intent": "names the one command of a run",
    "listen": "of tools that serve",
    "on-failure": "of guard",
    "overflow": "of what stdout's reader misses",
    "tls": "of tools that serve",
}
"""Options that sentences may name which Python is never told."""
ORDER: dict[str, Any] = {"type": "buy", "ordertype": "limit", "volume": "0.01", "price": "9000"}
HERE = {"public_url": "ws://127.0.0.1:9", "private_url": "ws://127.0.0.1:9", "rest_url": "http://127.0.0.1:9"}


WITH_A_KEY = {**HERE, "api_key": "key", "api_secret": b64encode(bytes(64)).decode()}
MISTAKES: list[tuple[str, dict[str, Any], str]] = [
    ("stream", {"api_key": "key"}, "api_secret="),
    ("stream", {"public_url": "nonsense"}, "not a WebSocket URL"),
    ("stream", {"public_url": "ws://example.com"}, "loopback only"),
    ("stream", {"public_url": "wss://user:password@example.com"}, "no user and no password"),
    ("stream", {"public_url": "wss://127.0.0.1:1"}, "could not connect"),
    ("stream", {"sandbox": "ws://127.0.0.1:9/path"}, "sandbox=ws://127.0.0.1:9/path: give"),
    ("stream", {"sandbox": "nonsense"}, "not a WebSocket URL"),
    ("pairs", {"rest_url": "nonsense"}, "rest_url= is not a URL"),
    ("order", {**HERE, "private_url": "ws://example.com"}, "loopback only"),
    ("order", {**HERE, "token": "short"}, "token= holds no token"),
    ("order", {**HERE, "token_file": "none"}, "none cannot be read"),
    ("order", {**HERE, "key_file": "none"}, "none cannot be read"),
    ("order", {**WITH_A_KEY, "api_secret": "?"}, "api_secret="),
    ("order", WITH_A_KEY, "(rest_url=)"),
    ("order", {**WITH_A_KEY, "rest_url": "nonsense"}, "rest_url= is not a URL"),
    (
        "order",
        {**WITH_A_KEY, "rest_url": "http://example.com"},
        "rest_url=http://example.com is not encrypted",
    ),
    ("order", {**WITH_A_KEY, "rest_url": "https://user@example.com"}, "rest_url= must not carry a user"),
    ("order", {**WITH_A_KEY, "rest_url": "https://127.0.0.1:9", "cafile": "no.pem"}, "cafile=no.pem cannot"),
]


@pytest.mark.parametrize(
    ("call", "given", "named"), MISTAKES, ids=[f"{call} {said}" for call, _, said in MISTAKES]
)
def test_a_mistake_in_connect_is_told_in_python_s_words(call: str, given: dict[str, Any], named: str) -> None:
    async def main() -> None:
        async with krakenws.connect(**given) as kraken:
            if call == "stream":
                async for _ in kraken.stream("ticker", "XBT/USD"):
                    pass
            elif call == "pairs":
                await kraken.pairs("*")
            else:
                await kraken.add_order("XBT/USD", **ORDER)

    with pytest.raises(krakenws.KrakenWSError) as error:
        run(main())
    assert named in str(error.value)
    assert not TYPED.search(str(error.value))


@contextmanager
def noted(told: set[str]) -> Iterator[None]:
    """Keep what a mistake is told, if it is one."""
    try:
        yield
    except krakenws.UsageError as error:
        told.add(str(error))


def mistakes_in_streams(kraken: Any) -> Iterator[Call]:
    """Give calls with one wrong value each, for every parameter of the catalog."""
    for entry in [entry for entry in ENTRIES if entry.kind == "channel"]:
        of_api = partial(kraken.stream, entry.name, api=entry.api)
        right = partial(of_api, *["XBT/USD"][: bool(entry.pairs)])
        for param in entry.params:
            for value in ("no such thing", 0.5, -1, object()):
                yield partial(right, **{param.name: value})
        yield partial(of_api, *["XBT/USD"][: not entry.pairs])
        yield partial(right, nonsense=1)
        yield partial(right, api=9)
        yield partial(right, overflow="spill")
        yield partial(right, max_events=0)
    for pair in ("", "XBT", "*/USD", "-"):
        yield partial(kraken.stream, "ticker", pair)
        yield partial(kraken.book, pair)
    yield partial(kraken.stream, "tickr", "XBT/USD")
    yield partial(kraken.stream, "ping")
    yield partial(kraken.book, "XBT/USD", depth=11)


def mistakes_in_orders(kraken: Any) -> Iterator[Call]:
    """Give the same for whatever trades; some of them are none."""
    add = partial(kraken.add_order, pair="XBT/USD", **ORDER)
    amend = partial(kraken.amend_order, txid="OGTT3Y-C6I3P-XRI6HX", limit_price="9000")
    edit = partial(kraken.edit_order, orderid="OGTT3Y-C6I3P-XRI6HX", pair="XBT/USD", price="9000")
    for name, call in (("addOrder", add), ("amendOrder", amend), ("editOrder", edit)):
        (entry,) = (entry for entry in ENTRIES if entry.name == name)
        for param in entry.params:
            key = param.name.replace("[", "_").rstrip("]")
            if key == "reqid":
                continue
            for value in ("no such\0thing", 0.5, -1, object(), "0.123456789012"):
                yield partial(call, **{key: value})
        yield partial(call, intent="two words")
        yield partial(call, pair="NO/SUCH")
    yield partial(add, deadline="2020-01-01T00:00:00Z")
    yield partial(add, nonsense="1")
    yield partial(add, ordertype="stop-loss-limit")
    yield partial(add, ordertype="market")
    yield partial(add, timeinforce="GTD")
    yield partial(add, expiretm="1")
    yield partial(add, close_price="1")
    yield partial(add, close_ordertype="limit")
    yield partial(add, close_ordertype="limit", close_price="1", **{"close[price]": "2"})
    yield kraken.amend_order
    yield partial(kraken.edit_order, "O", "XBT/USD")
    yield kraken.cancel_order
    yield partial(kraken.cancel_order, userref="x")
    yield partial(kraken.cancel_all_orders_after, 10**6)
    yield partial(kraken.cancel_all_orders_after, "soon")


def test_a_mistake_in_a_call_is_told_in_python_s_words(home: Path) -> None:
    store_pairs(home / "cache" / "krakenws")
    told: set[str] = set()

    async def main() -> None:
        async with client(server) as kraken:
            for begin in mistakes_in_streams(kraken):
                with noted(told):
                    begin().close()
            for call in mistakes_in_orders(kraken):
                with noted(told):
                    await call()

    with exchange(None, accepts) as server:
        run(main())
    assert len(told) > 150
    assert [said for said in told if TYPED.search(said)] == []
    assert any(said.endswith("(or Options.check=False)") for said in told)
    assert any("close_price" in said for said in told)


def test_data_that_cannot_be_trusted_is_told_in_python_s_words() -> None:
    def script(client: Connection) -> None:
        client.greet()
        client.send(*acks(client.expect(event="subscribe")), '[340,{"a":7},"ticker","XBT/USD"]')
        client.hold()

    async def main() -> None:
        async with client(server, strict=True) as kraken:
            async for _ in kraken.stream("ticker", "XBT/USD"):
                pass

    with exchange(script) as server, pytest.raises(krakenws.KrakenWSError, match=r"^Options\.strict=True: "):
        run(main())


def test_a_certificate_that_nobody_vouches_for_is_told_in_python_s_words(certificates: Certificates) -> None:
    async def main() -> None:
        async with client(server) as kraken:
            await kraken.ping()

    with (
        exchange(accepts, tls=certificates.server) as server,
        pytest.raises(krakenws.ConnectionFailed, match=r"name it with cafile=$"),
    ):
        run(main())


def test_the_log_is_in_python_s_words(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logging.getLogger("krakenws").warning("%s: check %s, or --no-check", "it failed", "--rest-url")
    assert caplog.messages == ["it failed: check rest_url=, or Options.check=False"]


# ---- nothing is left out


def sentences(path: Path) -> Iterator[str]:
    """Give the texts of a module, but for docstrings."""
    tree = ast.parse(path.read_text())
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


def test_every_option_that_shared_sentences_name_has_words_in_python() -> None:
    elsewhere = {PACKAGE / "cli", PACKAGE / "sinks", PACKAGE / "exchange"}
    help_texts = {
        PACKAGE / "core" / "v1_entries.py",
        PACKAGE / "core" / "v2_entries.py",
        PACKAGE / "errors.py",
    }
    command = {"until-eof", "quiet", "output"}  # with which a sandbox is started
    named: dict[str, str] = {}
    for path in PACKAGE.rglob("*.py"):
        if not {*path.parents, path} & (elsewhere | help_texts):
            for text in sentences(path):
                named |= dict.fromkeys(re.findall(r"(?<![\w-])--([a-z][a-z-]*)", text), path.name)
    assert named.keys() - wording.WORDS.keys() - command == COMMAND_LINE_ONLY.keys() & named.keys()


def test_options_are_what_python_calls_them() -> None:
    arguments = inspect.signature(krakenws.connect).parameters
    by_name = {option.name: option for option in OPTIONS}
    for name in wording.ARGUMENTS:
        assert name in by_name
        assert name.replace("-", "_") in arguments
    for name, words in wording.FIELDS.items():
        field, _, value = words.partition("=")
        assert by_name[name].field == field
        assert field in krakenws.Options.__match_args__
        if by_name[name].parse is None:
            assert value == str(by_name[name].value)
