"""Names that do not resolve and a REST that is slow hold nothing up but the link that needs them."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from shlex import split
from typing import TYPE_CHECKING

import pytest

from tests.e2e.test_secrets import KEYS, TOKEN, TOKEN_ANSWER, assert_clean
from tests.support.command import DEADLINE_S
from tests.support.rest import Answer, serve
from tests.support.scripts import OPEN_ORDERS, TICKER, streams
from tests.support.server import Connection, acks, exchange, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from tests.support.command import Command

RESOLVER = """
import os, socket, sys, time
resolve = socket.getaddrinfo
def hang(host, *more, **options):
    if not os.fsdecode(host).endswith(".invalid"):
        return resolve(host, *more, **options)
    os.write(2, b"resolving\\n")
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            time.sleep(1)
        except BaseException:
            pass
socket.getaddrinfo = hang
"""
"""A resolver that answers no more, and that no signal interrupts, as it is with the system's."""


@pytest.fixture
def offline(krakenws: Command, tmp_path: Path) -> Command:
    """The command on a machine whose resolver hangs for names that end with .invalid."""
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "sitecustomize.py").write_text(RESOLVER)
    krakenws.environ["PYTHONPATH"] = str(tmp_path / "patches")
    return krakenws


@contextmanager
def held() -> Iterator[tuple[Answer, threading.Event]]:
    """Give an answer of REST that hangs until the event is set, and then brings the token."""
    free = threading.Event()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        free.wait(DEADLINE_S)
        data = TOKEN_ANSWER.encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    try:
        yield Answer("", write=answer), free
    finally:
        free.set()


@pytest.mark.parametrize("end", ["interrupt", "terminate"])
def test_a_signal_ends_a_run_whose_name_does_not_resolve(offline: Command, end: str) -> None:
    with offline.start("ticker", "XBT/USD", "--public-url", "wss://exchange.invalid") as process:
        process.note("resolving")
        began = time.monotonic()
        getattr(process, end)()
        result = process.finish()
        assert time.monotonic() - began < 1.0
    assert result.code == 0
    assert "Traceback" not in result.err


def test_a_name_that_does_not_resolve_in_time_is_4(offline: Command) -> None:
    result = offline.run(*split("ping --connect-timeout 300ms --public-url wss://exchange.invalid"))
    assert result.code == 4
    assert "the name exchange.invalid did not resolve within 0.3 s" in result.err


def test_a_name_that_hangs_holds_up_no_other_link(offline: Command) -> None:
    offline.store_token("a-token-of-the-user")
    with exchange(streams(TICKER, TICKER)) as server:
        result = offline.run(
            *split("openOrders + ticker XBT/USD --count 2"),
            *("--public-url", server.url, "--private-url", "wss://exchange.invalid/auth"),
        )
    assert result.code == 0, result.err
    assert [event["event"] for event in result.events].count("update") == 2


def test_a_slow_rest_holds_up_no_other_link_and_is_asked_once_a_connect(krakenws: Command) -> None:
    """The private link is cut; public data flows while REST keeps its new token back."""
    with held() as (slow, free), serve(TOKEN_ANSWER, slow) as rest:
        asked_twice = threading.Event()

        def public(client: Connection) -> None:
            client.serve(TICKER)
            while len(rest.asked) < 2 and not client.gone.wait(0.01):
                pass
            asked_twice.set()
            client.send(TICKER, TICKER, TICKER)
            client.hold()

        def private(client: Connection) -> None:
            client.serve(OPEN_ORDERS)
            client.close(1001)

        with exchange(public, [private, streams(OPEN_ORDERS)]) as server:
            words = split("ticker XBT/USD + openOrders -ojson --rest-url")
            with krakenws.start(*words, rest.url, *server.options, environ=KEYS) as process:
                assert process.event("disconnected")["endpoint"] == "private"
                assert asked_twice.wait(DEADLINE_S)
                for _ in range(3):
                    assert process.event("update")["channel"] == "ticker"
                assert len(server.at("/auth")) == 1
                free.set()
                assert process.event("connected")["endpoint"] == "private"
                assert process.event("update")["channel"] == "openOrders"
                process.interrupt()
                result = process.finish()
    assert result.code == 0
    assert len(rest.asked) == 2
    assert_clean(result)


def test_a_token_that_does_not_come_in_time_is_4(krakenws: Command) -> None:
    with held() as (slow, _), serve(slow) as rest:
        words = split("cancelAll --connect-timeout 300ms --rest-url")
        result = krakenws.run(*words, rest.url, **KEYS)
    assert result.code == 4
    assert "within 0.3 s" in result.sentence
    assert_clean(result)


def test_a_renewal_that_fails_costs_the_connection_and_not_the_stream(krakenws: Command) -> None:
    krakenws.store_token("the-token-that-expired")

    def refuses(client: Connection) -> None:
        client.greet()
        asked = client.expect(event="subscribe")
        told = refusal(asked, "", "ESession:Invalid session")
        del told["pair"]
        client.send(told)

    def never_renewed(client: Connection) -> None:
        refuses(client)
        client.hold()

    def renewed(client: Connection) -> None:
        refuses(client)
        asked = client.expect(event="subscribe")
        assert asked["subscription"]["token"] == TOKEN
        client.send(*acks(asked), OPEN_ORDERS)
        client.hold()

    def hangs_up(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True

    answers = [Answer("", write=hangs_up), Answer(TOKEN_ANSWER)]
    with serve(*answers) as rest, exchange(private=[never_renewed, renewed]) as server:
        words = split("openOrders --count 1 --rest-url")
        result = krakenws.run(*words, rest.url, *server.options, **KEYS)
    assert result.code == 0, result
    assert "proper HTTP" in next(e["cause"] for e in result.events if e["event"] == "disconnected")
    assert len(rest.asked) == 2
    assert_clean(result)
