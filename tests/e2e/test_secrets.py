"""Where the token comes from, and that no secret ever leaves but on the wire that needs it."""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from shlex import split
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.support.command import ROOT
from tests.support.rest import Answer, serve
from tests.support.scripts import OPEN_ORDERS, accepts
from tests.support.server import Connection, acks, exchange, frame_of

if TYPE_CHECKING:
    from http.server import BaseHTTPRequestHandler

    from tests.support.command import Command, Result
    from tests.support.server import Script

TOKEN = "CanaryToken+with/both%2Fkinds+of/base64xyz0"
KEY = "CanaryKey+of/the+user/WfgIUqYkO7ywEwtsuwtRXGGeDDOk7nKGo"
SECRET = b64encode(b"CanarySecret\xfb\xff\xfe\xfb" * 4).decode()  # with +, / and =
TOKEN_ANSWER = json.dumps({"error": [], "result": {"token": TOKEN, "expires": 900}})
KEYS = {"KRAKEN_API_KEY": KEY, "KRAKEN_API_SECRET": SECRET}
ORDER = split("addOrder pair=XBT/USD type=buy ordertype=limit price=9000 volume=0.01")
OUTPUTS = ["text", "json", "transcript", "raw", "csv"]


def spellings(secret: str) -> set[str]:
    """The clothes in which encoders put a secret."""
    return {
        secret,
        json.dumps(secret)[1:-1],
        secret.replace("/", "\\/"),
        secret.replace("/", "\\/").replace("+", "\\u002b"),
        secret.replace("/", "\\\\/"),
        quote(secret, safe=""),
        quote(secret),
    }


def assert_clean(result: Result) -> None:
    """Nothing of the three is to be found, in any clothes."""
    for secret in (TOKEN, KEY, SECRET):
        for spelling in spellings(secret):
            assert spelling not in result.out, result
            assert spelling not in result.err, result


# ---- places


def test_the_environment_has_the_token_before_the_file(krakenws: Command) -> None:
    krakenws.store_token("the-token-of-the-file")
    with exchange(private=accepts) as server:
        assert (
            krakenws.run("cancelAll", *server.options, KRAKENWS_TOKEN="the-token-of-the-environment").code
            == 0
        )
        assert krakenws.run("cancelAll", *server.options, KRAKENWS_TOKEN="").code == 0
        (krakenws.home / "mine").write_text("the-token-of-mine")
        (krakenws.home / "mine").chmod(0o600)
        words = ["cancelAll", "--token-file", "mine"]
        assert krakenws.run(*words, *server.options, KRAKENWS_TOKEN="the-token-of-the-environment").code == 0
    assert [message["token"] for message in server.messages("/auth")] == [
        "the-token-of-the-environment",
        "the-token-of-the-file",
        "the-token-of-mine",
    ]


def test_a_token_next_to_the_program_is_found_as_the_original_script_found_it(krakenws: Command) -> None:
    beside = krakenws.home / "program"
    beside.mkdir()
    (beside / "krakenws.py").symlink_to(ROOT / "krakenws.py")
    (beside / "WS_Token").write_text("the-token-beside-the-program")
    (beside / "WS_Token").chmod(0o600)
    krakenws.program = [sys.executable, str(beside / "krakenws.py")]
    with exchange(private=accepts) as server:
        result = krakenws.run("cancelAll", *server.options)
    assert result.code == 0, result.err
    assert server.messages("/auth")[0]["token"] == "the-token-beside-the-program"


def test_a_key_fetches_a_fresh_token_from_rest(krakenws: Command) -> None:
    with serve(TOKEN_ANSWER) as rest, exchange(private=accepts) as server:
        result = krakenws.run("cancelAll", "--rest-url", rest.url, *server.options, **KEYS)
    assert result.code == 0, result.err
    assert server.messages("/auth")[0]["token"] == TOKEN
    (asked,) = rest.asked
    assert (asked.method, asked.path) == ("POST", "/0/private/GetWebSocketsToken")
    assert asked.headers["api-key"] == KEY
    assert_clean(result)


def test_nonces_rise_from_process_to_process(krakenws: Command) -> None:
    with serve(TOKEN_ANSWER) as rest, exchange(private=accepts) as server:
        for _ in range(3):
            assert krakenws.run("cancelAll", "--rest-url", rest.url, *server.options, **KEYS).code == 0
    nonces = [int(asked.body.partition("nonce=")[2].partition("&")[0]) for asked in rest.asked]
    assert nonces == sorted(set(nonces))


def test_a_key_file_is_read_unless_others_can(krakenws: Command) -> None:
    path = krakenws.home / "kraken.key"
    path.write_text(f"{KEY}\n{SECRET}\n")
    with serve(TOKEN_ANSWER) as rest:
        path.chmod(0o644)
        words = ["token", "--key-file", str(path), "--rest-url", rest.url]
        refused = krakenws.run(*words)
        path.chmod(0o600)
        taken = krakenws.run(*words)
    assert refused.code == 3
    assert "chmod 600" in refused.sentence
    assert taken.code == 0, taken.err
    for result in (refused, taken):
        assert_clean(result)


def test_a_readable_token_file_is_warned_of_and_used(krakenws: Command) -> None:
    krakenws.store_token(TOKEN)
    (krakenws.home / "WS_Token").chmod(0o644)
    with exchange(private=accepts) as server:
        result = krakenws.run("cancelAll", *server.options)
    assert result.code == 0
    assert "chmod 600" in result.sentence


def test_the_warning_is_on_stderr_when_the_output_is_text(krakenws: Command) -> None:
    krakenws.store_token(TOKEN)
    (krakenws.home / "WS_Token").chmod(0o644)
    with exchange(private=accepts) as server:
        result = krakenws.run("cancelAll", "-otext", *server.options)
        quiet = krakenws.run("cancelAll", "-otext", "-q", *server.options)
    assert result.code == 0
    assert "chmod 600" in result.sentence
    assert quiet.err == ""


def test_token_stores_it_for_the_owner_alone_and_says_where(krakenws: Command) -> None:
    with serve(TOKEN_ANSWER) as rest:
        plain = krakenws.run("token", "-otext", "--rest-url", rest.url, **KEYS)
        other = krakenws.run("token", "--token-file", "mine", "--rest-url", rest.url, **KEYS)
    for result, name in ((plain, "WS_Token"), (other, "mine")):
        path = krakenws.home / name
        assert result.code == 0, result.err
        assert str(path) in result.out
        assert path.read_text().strip() == TOKEN
        assert path.stat().st_mode & 0o777 == 0o600
        assert_clean(result)
    assert other.events == [
        {"event": "token", "stored": str(krakenws.home / "mine"), "source": other.events[0]["source"]}
    ]


def test_a_refused_token_is_replaced_once_when_a_key_is_at_hand(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect()
        client.send(
            {
                "errorMessage": "ESession:Invalid session",
                "event": "subscriptionStatus",
                "status": "error",
                "subscription": asked["subscription"],
            }
        )
        again = client.expect()
        assert again["subscription"]["token"] == TOKEN
        client.send(
            {
                "channelName": "openOrders",
                "event": "subscriptionStatus",
                "status": "subscribed",
                "subscription": {"name": "openOrders"},
            },
            OPEN_ORDERS,
        )
        client.hold()

    krakenws.store_token("the-token-that-expired")
    with serve(TOKEN_ANSWER) as rest, exchange(private=script) as server:
        result = krakenws.run(*split("openOrders --count 1 --rest-url"), rest.url, *server.options, **KEYS)
    assert result.code == 0, result.err
    assert len(rest.asked) == 1
    assert_clean(result)


def test_a_token_that_is_refused_again_is_3(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        while True:
            asked = client.expect()
            client.send(
                {
                    "errorMessage": "ESession:Invalid session",
                    "event": "subscriptionStatus",
                    "status": "error",
                    "subscription": asked["subscription"],
                }
            )

    with serve(TOKEN_ANSWER) as rest, exchange(private=script) as server:
        result = krakenws.run("openOrders", "--rest-url", rest.url, *server.options, **KEYS)
    assert result.code == 3, result
    assert len(server.messages("/auth")) == 2
    assert_clean(result)


def test_an_order_whose_token_is_refused_is_not_sent_again_with_another(krakenws: Command) -> None:
    def script(client: Connection) -> None:
        client.greet()
        asked = client.expect()
        client.send(
            {
                "errorMessage": "ESession:Invalid session",
                "event": "addOrderStatus",
                "reqid": asked["reqid"],
                "status": "error",
            }
        )
        client.hold()

    with serve(TOKEN_ANSWER) as rest, exchange(private=script) as server:
        result = krakenws.run(*ORDER, "--rest-url", rest.url, *server.options, **KEYS)
    assert result.code == 3
    assert len(server.sent("addOrder")) == 1


REFUSALS = [
    (Answer('{"error":["EAPI:Invalid key"]}'), 3),
    (Answer('{"error":["EGeneral:Permission denied"]}'), 3),
    (Answer("<html>520</html>", 520), 4),
    (Answer("not json"), 4),
    (Answer('{"error":[],"result":{}}'), 4),
]


@pytest.mark.parametrize(("answer", "code"), REFUSALS)
def test_what_rest_refuses_is_one_sentence(krakenws: Command, answer: Answer, code: int) -> None:
    with serve(answer) as rest, exchange(private=accepts) as server:
        result = krakenws.run("cancelAll", "-oraw", "--rest-url", rest.url, *server.options, **KEYS)
    assert result.code == code, result
    assert result.sentence
    assert server.accepted == 0
    assert_clean(result)


# ---- canaries


ECHOES = [
    '{"errorMessage":"Malformed request","event":"error","echo":"TOKEN"}',
    '{"event":"surprise","TOKEN":1}',
    "no JSON: TOKEN",
    '[[{"TOKEN":{}}],"openOrders",{"sequence":1}]',
    '[1,["TOKEN"],"trade","XBT/USD"]',
]


def echoes(client: Connection) -> None:
    """Send back whatever comes, in every spelling, as data, acks, errors and a reply."""
    client.greet()
    asked = client.expect()
    for spelling in sorted(spellings(TOKEN)):
        for frame in ECHOES:
            client.send(frame.replace("TOKEN", spelling))
    if asked["event"] == "subscribe":
        client.send(
            {
                "errorMessage": f"Subscription of {TOKEN} refused",
                "event": "subscriptionStatus",
                "status": "error",
                "subscription": asked["subscription"],
            }
        )
    else:
        client.send(
            {
                "errorMessage": f"EGeneral:Invalid arguments:{TOKEN}",
                "event": f"{asked['event']}Status",
                "reqid": asked["reqid"],
                "status": "error",
            }
        )
    client.hold()


def closes_with_the_token(client: Connection) -> None:
    """A close reason with the token in it."""
    client.greet()
    client.expect()
    client.close(1008, f"bad {TOKEN}")


def page_with_the_token(client: Connection) -> None:
    """A refused upgrade that knows the token."""
    body = f"<html>{TOKEN} {quote(TOKEN, safe='')}</html>"
    client.raw(f"HTTP/1.1 403 {TOKEN}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
    client.hold()


def redirects_with_the_token(client: Connection) -> None:
    """A redirect to the token."""
    client.raw(
        f"HTTP/1.1 302 Found\r\nLocation: https://x.invalid/?t={TOKEN}\r\nContent-Length: 0\r\n\r\n".encode()
    )
    client.hold()


def garbage_with_the_token(client: Connection) -> None:
    """A frame that is no UTF-8, with the token in it; then a masked one."""
    client.greet()
    client.expect()
    client.raw(frame_of(TOKEN.encode() + b"\xff"))
    client.hold()


def sends_the_token_as_data(client: Connection) -> None:
    """Data with the token for a pair, in every spelling."""
    client.greet()
    asked = client.expect()
    if asked["event"] == "subscribe":
        client.send(*acks(asked))
    for sequence, spelling in enumerate(sorted(spellings(TOKEN)), start=1):
        frame = OPEN_ORDERS.replace("XBT/EUR", spelling).replace('"sequence":1', f'"sequence":{sequence}')
        client.send(frame)
    client.hold()


HOSTILE: list[Script] = [
    echoes,
    closes_with_the_token,
    page_with_the_token,
    redirects_with_the_token,
    garbage_with_the_token,
    sends_the_token_as_data,
]


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("script", HOSTILE)
@pytest.mark.parametrize("line", [ORDER, ["openOrders"]])
def test_no_secret_is_shown_whatever_the_exchange_says(
    krakenws: Command, line: list[str], script: Script, output: str
) -> None:
    krakenws.store_token(TOKEN)
    words = [*line, "-v", "-o", output, "--ack-timeout", "0.2", "--for", "600ms", "--reconnect", "never"]
    environ = {**KEYS, "KRAKENWS_REST_URL": "http://127.0.0.1:1"}
    with (
        exchange(private=script) as server,
        krakenws.start(*words, *server.options, environ=environ) as process,
    ):
        if process.note_or_end("look 1 of"):  # the others would be the same
            process.terminate()
            process.note("a second signal leaves")
            process.terminate()
        result = process.finish()
    assert_clean(result)


def echo_headers(handler: BaseHTTPRequestHandler) -> None:
    """An error page that shows what it was asked."""
    body = f"<html>{dict(handler.headers)}</html>".encode()
    handler.send_response(403)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


@pytest.mark.parametrize(
    "answer",
    [
        Answer("", write=echo_headers),
        Answer(json.dumps({"error": [f"EAPI:Invalid key:{KEY} {SECRET}"]})),
        Answer(f"{KEY} {SECRET}"),
        Answer(TOKEN_ANSWER[:-12]),
        Answer(TOKEN_ANSWER, 500),
        Answer(f"[{TOKEN_ANSWER}]"),
    ],
)
@pytest.mark.parametrize("line", [["token"], ["openOrders"]])
def test_no_secret_is_shown_whatever_rest_says(krakenws: Command, line: list[str], answer: Answer) -> None:
    with serve(answer) as rest:
        result = krakenws.run(*line, "-v", "--rest-url", rest.url, **KEYS)
    assert result.code in {3, 4, 5}
    assert_clean(result)


@pytest.mark.parametrize("content", [f"{TOKEN}\n{TOKEN}", f'"{TOKEN}"', f"{TOKEN}\x1b[31m", "", "short"])
def test_a_token_file_with_something_else_is_3_and_is_not_shown(krakenws: Command, content: str) -> None:
    krakenws.store_token(content)
    result = krakenws.run("openOrders", "-v", "-oraw", "--private-url", "ws://127.0.0.1:1")
    assert result.code == 3
    assert_clean(result)


@pytest.mark.parametrize("words", [["--token", TOKEN], [f"token={TOKEN}"], ["--api-key", KEY]])
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(
    krakenws: Command, words: list[str]
) -> None:
    result = krakenws.run("openOrders", *words)
    assert result.code == 2
    assert_clean(result)
