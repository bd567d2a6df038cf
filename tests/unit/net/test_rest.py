"""Signed and public REST calls against a real HTTP server on loopback."""

from __future__ import annotations

import base64
import json
import socket
import ssl
import threading
import time
import traceback
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

import pytest
import trustme

from krakenws import __version__
from krakenws.core.redaction import Redactor
from krakenws.core.signing import sign
from krakenws.errors import (
    ConnectionFailed,
    CredentialsError,
    KrakenWSError,
    RequestRejected,
    UsageError,
)
from krakenws.net.rest import TOKEN_PATH, ApiKey, RestClient, TryLater
from krakenws.options import Options
from tests.support.rest import Answer, ScriptedRest, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

# The private key that Kraken's documentation signs its example with; nobody's.
SAMPLE = "kQH5HW/8p1uGOVjbgWA7FunAmGO8lsSUXNsu3eow76sz84Q18fWxnyRzBHCd3pd5nE9qa99HAZtuZuj6F1huXg=="
CANARY_KEY = "CANARYKEY/+abcdefghijklmnopqrstuvwxyz"
CANARY_SECRET = base64.b64encode(b"CANARYSECRET" + bytes(52)).decode()
CANARY_TOKEN = "CANARYTOKEN/1Dwc4lzSwNWOAwkMdqhssNNFhs1ed+06"
GRANTED = json.dumps({"error": [], "result": {"token": CANARY_TOKEN, "expires": 900}})

VECTORS = [
    (
        "/0/private/AddOrder",
        "nonce=1616492376594&ordertype=limit&pair=XBTUSD&price=37500&type=buy&volume=1.25",
        "4/dpxb3iT4tp/ZCVEwSnEsLxx0bqyhLpdfOpc6fn7OR8+UClSV5n9E6aSS8MPtnRfp32bAb0nmbRn6H8ndwLUQ==",
    ),
    (
        "/0/private/GetWebSocketsToken",
        "nonce=1616492376594",
        "+mRDmY9Ks0Moc1zjv/BjfvYa98buO0x1yHChZR5onlfAzAUbfIYlLggUZzdQ0RsmXm4Sh+Q8iAIZdo2wSeHeiA==",
    ),
    (
        "/0/private/GetWebSocketsToken",
        "nonce=1616492376594&otp=123456",
        "Ar/xaIFCxoB9vYgmMdFa96Q4kobeliKYcsJVL0e/9WCP8p+91eHqwusA7xAg4PaDXeGRBOWqOD4e7jxeWmvvDQ==",
    ),
    (
        "/0/private/GetWebSocketsToken",
        '{"nonce":"1616492376594"}',
        "HPdpJhpIrtLjJZVt+Hh9BfWStC+WBySrpgTLHtVBJ7ZH9UdJOtersnssuRGVwxefF6bnUPz24Bq23UUmUtafXg==",
    ),
]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def key() -> ApiKey:
    return ApiKey(CANARY_KEY, CANARY_SECRET, "a test")


@pytest.fixture
def nonce() -> Callable[[], int]:
    return iter(range(1001, 2000)).__next__


def _options(server: ScriptedRest, timeout_s: float = 10.0) -> Options:
    return Options(rest_url=server.url, connect_timeout_s=timeout_s)


def _failure(
    server: ScriptedRest, key: ApiKey, nonce: Callable[[], int], timeout_s: float = 10
) -> KrakenWSError:
    """What fetching a token raises; its whole traceback must be free of secrets."""
    with pytest.raises(KrakenWSError) as caught:
        RestClient(_options(server, timeout_s)).websockets_token(key, nonce)
    _assert_no_canary(caught.value)
    return caught.value


def _assert_no_canary(error: BaseException) -> None:
    shown = "".join(traceback.format_exception(error)) + repr(error)
    # The lines of this file that traceback quotes name the canaries, their values must not show.
    for canary in (CANARY_KEY, CANARY_SECRET, CANARY_TOKEN):
        for text in (canary, canary.replace("/", "\\/"), canary[:16]):
            assert text not in shown
    assert not str(error).endswith(".")
    assert "\n" not in str(error)


@pytest.mark.parametrize(("path", "body", "signature"), VECTORS)
def test_the_signature_is_krakens(path: str, body: str, signature: str) -> None:
    """Row 1 is Kraken's own example, the others follow from the algorithm (auth.md section 2)."""
    assert sign(SAMPLE, path, "1616492376594", body) == signature


def test_white_space_that_pasting_added_to_a_secret_is_dropped() -> None:
    path, body, signature = VECTORS[0]
    pasted = f"  {SAMPLE[:40]}\r\n\t{SAMPLE[40:]}\n"
    assert sign(pasted, path, "1616492376594", body) == signature
    assert ApiKey(" key\n", pasted, "a test").secret.reveal() == SAMPLE
    assert ApiKey(" key\n", pasted, "a test").key.reveal() == "key"


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("CANARY not base64 !!", "not base64"),
        (CANARY_SECRET[:-1], "not base64"),
        (CANARY_SECRET[:40], "30 bytes instead of 64"),
        ("", "0 bytes instead of 64"),
        ("CANÄRY" * 11, "not base64"),
    ],
)
def test_a_secret_of_the_wrong_form_is_refused_without_being_shown(secret: str, words: str) -> None:
    for attempt in (lambda: sign(secret, "/0", "1", ""), lambda: ApiKey("key", secret, "the file KEY")):
        with pytest.raises(CredentialsError, match=words) as caught:
            attempt()
        assert "CAN" not in str(caught.value)


def test_a_refused_secret_names_its_source() -> None:
    with pytest.raises(CredentialsError, match=r"0 bytes .* \(it came from the file KEY\)"):
        ApiKey("key", "", "the file KEY")


@pytest.mark.parametrize("key", ["", " ", "CANARY\x00", "CANÄRY", "CANARY\\"])
def test_a_key_that_could_break_a_header_is_refused(key: str) -> None:
    with pytest.raises(CredentialsError, match="the API key from the file KEY") as caught:
        ApiKey(key, SAMPLE, "the file KEY")
    assert "CAN" not in str(caught.value)


def test_keys_show_neither_themselves_nor_their_secret(key: ApiKey) -> None:
    assert repr(key) == "<ApiKey from a test>"
    assert len(key.key_id) == 32
    assert key.key_id == ApiKey(CANARY_KEY, SAMPLE, "").key_id != ApiKey("other", SAMPLE, "").key_id
    assert "CANARY" not in key.key_id


def test_a_token_is_fetched_by_a_signed_form(key: ApiKey, nonce: Callable[[], int]) -> None:
    redactor = Redactor()
    with serve(GRANTED) as server:
        token = RestClient(_options(server), redactor).websockets_token(key, nonce)
    assert token.reveal() == CANARY_TOKEN
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/0/private/GetWebSocketsToken")
    assert parse_qs(asked.body) == {"nonce": ["1001"]}
    assert asked.headers["api-key"] == CANARY_KEY
    assert asked.headers["api-sign"] == sign(CANARY_SECRET, asked.path, "1001", asked.body)
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded; charset=utf-8"
    assert asked.headers["user-agent"] == f"krakenws/{__version__}"
    assert redactor.clean(f"{CANARY_KEY} {CANARY_SECRET} {CANARY_TOKEN}") == "*** *** ***"


def test_what_is_signed_is_what_is_posted(key: ApiKey, nonce: Callable[[], int]) -> None:
    with serve('{"error":[],"result":{}}') as server:
        RestClient(_options(server)).private("/0/private/X", {"otp": "a b&c=é/+"}, key, nonce)
    (asked,) = server.asked
    assert parse_qs(asked.body) == {"nonce": ["1001"], "otp": ["a b&c=é/+"]}
    assert asked.headers["api-sign"] == sign(CANARY_SECRET, "/0/private/X", "1001", asked.body)


def test_a_refused_nonce_is_replaced_once(key: ApiKey, nonce: Callable[[], int]) -> None:
    with serve('{"error":["EAPI:Invalid nonce"]}', GRANTED) as server:
        RestClient(_options(server)).websockets_token(key, nonce)
    assert [asked.body for asked in server.asked] == ["nonce=1001", "nonce=1002"]


def test_a_nonce_refused_twice_ends_it(key: ApiKey, nonce: Callable[[], int]) -> None:
    with serve('{"error":["EAPI:Invalid nonce"]}') as server:
        error = _failure(server, key, nonce)
    assert isinstance(error, CredentialsError)
    assert "make a key for krakenws alone" in str(error)
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("EAPI:Invalid key", CredentialsError, "does not know the API key from a test"),
        ("EAPI:Invalid signature", CredentialsError, "the API secret from a test does not belong"),
        ("EGeneral:Permission denied", CredentialsError, 'lacks the permission "WebSocket interface"'),
        ("EAuth:Account temporary disabled", CredentialsError, "refused the account"),
        ("EAuth:Failed", CredentialsError, "refused the account"),
        ("EGeneral:Invalid arguments", RequestRejected, "EGeneral:Invalid arguments"),
        ("EGeneral:Unknown Method", RequestRejected, "EGeneral:Unknown Method"),
        ("EAPI:Feature disabled", RequestRejected, "EAPI:Feature disabled"),
    ],
)
def test_errors_that_waiting_does_not_mend_say_what_does(
    key: ApiKey, nonce: Callable[[], int], text: str, kind: type[KrakenWSError], words: str
) -> None:
    """`result` may be absent, null or empty beside an error (quirk T4)."""
    for rest in ("", ',"result":null', ',"result":{}'):
        with serve(f'{{"error":["{text}"]{rest}}}') as server:
            error = _failure(server, key, nonce)
        assert type(error) is kind
        assert words in str(error)
        assert text in str(error)
        assert not error.retryable
        assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("EService:Unavailable", 5),
        ("EService:Busy", 5),
        ("EService:Throttled", 5),
        ("EService:Throttled: 17", 5),
        ("EService:Throttled:99999999999", 900),
        ("EService:Throttled: 99999999999999999999999999", 5),
        ("EGeneral:Internal error:42", 5),
        ("EGeneral:Temporary lockout", 900),
        ("EGeneral:Too many requests", 15),
        ("EAPI:Rate limit exceeded", 15),
        ("EAuth:Rate limit exceeded", 15),
        ("EAuth:Too many requests", 15),
    ],
)
def test_errors_that_waiting_mends_say_how_long(
    key: ApiKey, nonce: Callable[[], int], text: str, wait_s: float
) -> None:
    with serve(json.dumps({"error": [text]})) as server:
        error = _failure(server, key, nonce)
    assert isinstance(error, TryLater)
    assert error.retryable
    assert error.exit_code == 4
    assert error.retry_after_s == wait_s


def test_throttling_is_waited_for_as_long_as_kraken_says(key: ApiKey, nonce: Callable[[], int]) -> None:
    with serve(f'{{"error":["EService:Throttled: {int(time.time()) + 60}"]}}') as server:
        error = _failure(server, key, nonce)
    assert isinstance(error, TryLater)
    assert 50 < error.retry_after_s <= 60


def test_errors_count_at_any_http_status(key: ApiKey, nonce: Callable[[], int]) -> None:
    with serve(Answer('{"error":["EAPI:Invalid key"]}', status=403)) as server:
        assert isinstance(_failure(server, key, nonce), CredentialsError)


def test_a_warning_beside_a_result_is_no_error() -> None:
    with serve('{"error":["WGeneral:Deprecated"],"result":{"status":"online"}}') as server:
        assert RestClient(_options(server)).public("/0/public/SystemStatus") == {"status": "online"}


def test_a_public_call_has_its_query_and_no_signature() -> None:
    with serve('{"error":[],"result":{"price":0.10}}') as server:
        result = RestClient(_options(server)).public("/0/public/AssetPairs", {"pair": "XBT/USD,A&B"})
    assert result == {"price": "0.10"}
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("GET", "/0/public/AssetPairs?pair=XBT%2FUSD%2CA%26B")
    assert not {"api-key", "api-sign"} & set(asked.headers)


CLOUDFLARE = (
    "<!DOCTYPE html><html><head><title>api.kraken.com | 520: Web server\n is returning"
    " an unknown error</title>"
    "<style>body{color:red}</style></head><body><h1>Error</h1></body></html>"
)


@pytest.mark.parametrize("status", [200, 403, 429, 502, 520, 522, 525])
def test_a_page_in_html_gives_its_status_and_title(
    status: int, key: ApiKey, nonce: Callable[[], int]
) -> None:
    """Cloudflare stands before Kraken (quirk N2)."""
    with serve(Answer(CLOUDFLARE, status=status)) as server:
        error = _failure(server, key, nonce)
    assert isinstance(error, ConnectionFailed)
    assert error.http_status == status
    assert f"HTTP status {status}" in str(error)
    assert "(api.kraken.com | 520: Web server is returning an unknown error)" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00",
        b"null",
        b"[]",
        b"17",
        b"{}",
        b'{"error":null,"result":{}}',
        b'{"error":[]}',
        b'{"error":[],"result":{"token":"x"}',
        b"[" * 100_000,
        b'{"error":[],"result":null}',
        b'{"error":[],"result":[]}',
        b'{"error":[],"result":{"token":17}}',
        b'{"error":[],"result":{"token":""}}',
        b'{"error":[],"result":{"token":"a\\nb"}}',
        b"<script>" * 1000,
    ],
)
def test_no_answer_is_strange_enough_for_a_traceback(
    body: bytes, key: ApiKey, nonce: Callable[[], int]
) -> None:
    with serve(Answer(body)) as server:
        assert isinstance(_failure(server, key, nonce), ConnectionFailed)


def test_words_of_a_server_cannot_steer_the_terminal(key: ApiKey, nonce: Callable[[], int]) -> None:
    for answer in (
        Answer("\x1b[2J\x07gone\r\n" + "x" * 500, status=502),
        Answer('{"error":["E\\u001b[2J"]}'),
    ):
        with serve(answer) as server:
            message = str(_failure(server, key, nonce))
        assert message.isprintable()
        assert len(message) < 300


def test_a_server_that_echoes_secrets_does_not_get_them_into_a_message(
    key: ApiKey, nonce: Callable[[], int]
) -> None:
    echoes = (CANARY_KEY, CANARY_SECRET, CANARY_KEY.replace("/", "\\/"), f"<title>{CANARY_SECRET}</title>")
    for echo in echoes:
        for answer in (Answer(echo, status=500), Answer(json.dumps({"error": [f"EGeneral:{echo}"]}))):
            with serve(answer) as server:
                assert "***" in str(_failure(server, key, nonce))


def test_redirects_are_not_followed(key: ApiKey, nonce: Callable[[], int]) -> None:
    with serve(GRANTED) as elsewhere:
        location = (("Location", f"{elsewhere.url}/0/private/GetWebSocketsToken"),)
        for status in (301, 302, 303, 307, 308):
            with serve(Answer("", status=status, headers=location)) as server:
                error = _failure(server, key, nonce)
            assert "redirects are not followed" in str(error)
    assert not elsewhere.asked


def test_a_refused_connection_is_one_sentence(key: ApiKey, nonce: Callable[[], int]) -> None:
    with serve("") as server:
        pass
    assert "refused the connection" in str(_failure(server, key, nonce))


def _hold(release: threading.Event) -> Callable[[BaseHTTPRequestHandler], None]:
    return lambda _: (release.wait(30), None)[1]


def test_silence_is_a_time_out(key: ApiKey, nonce: Callable[[], int]) -> None:
    release = threading.Event()
    with serve(Answer("", write=_hold(release))) as server:
        error = _failure(server, key, nonce, timeout_s=0.05)
        release.set()
    assert "did not answer within 0.05 s" in str(error)


def test_a_trickle_of_bytes_is_a_time_out(key: ApiKey, nonce: Callable[[], int]) -> None:
    """Each byte comes well within the limit; the whole never does."""
    stop = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not stop.wait(0.01):
            handler.wfile.write(b" ")

    with serve(Answer("", write=trickle)) as server:
        try:
            error = _failure(server, key, nonce, timeout_s=0.2)
        finally:
            stop.set()
    assert "did not answer within 0.2 s" in str(error)


@pytest.mark.parametrize(
    "greeting", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-L"]
)
def test_a_server_of_another_kind_is_one_sentence(
    greeting: bytes, key: ApiKey, nonce: Callable[[], int]
) -> None:
    with serve(Answer("", write=lambda handler: (handler.wfile.write(greeting), None)[1])) as server:
        assert isinstance(_failure(server, key, nonce), ConnectionFailed)


def test_an_unknown_host_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, key: ApiKey, nonce: Callable[[], int]
) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    client = RestClient(Options(rest_url="https://api.kraken.invalid"))
    with pytest.raises(ConnectionFailed, match=r"the address of api\.kraken\.invalid was not found"):
        client.websockets_token(key, nonce)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("http://api.kraken.com", "not encrypted"),
        ("http://127.0.0.1.example.com", "not encrypted"),
        ("http://10.0.0.1", "not encrypted"),
        ("ftp://api.kraken.com", "not a URL"),
        ("file:///etc/passwd", "not a URL"),
        ("api.kraken.com", "not a URL"),
        ("https://", "not a URL"),
        ("https://[half", "not a URL"),
        ("https://host:99999", "not a URL"),
        ("https://host:x", "not a URL"),
        ("https://ho st", "not a URL"),
        ("https://host/?a=b", "not a URL"),
        ("https://host\r\nX: y", "not a URL"),
        ("https://CANARY:CANARY@host", "must not carry"),
    ],
)
def test_a_url_that_cannot_be_used_is_a_mistake_of_usage(url: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        RestClient(Options(rest_url=url))
    assert "CANARY" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:1", "http://127.3.2.1", "http://[::1]:80/", "https://a.example"]
)
def test_urls_that_can_be_used(url: str) -> None:
    RestClient(Options(rest_url=url))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls_server(authority: trustme.CA) -> Iterator[ScriptedRest]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with serve(GRANTED, tls=context) as server:
        yield server


def test_a_certificate_of_ones_own_authority_is_trusted_when_named(
    tls_server: ScriptedRest,
    authority: trustme.CA,
    tmp_path: Path,
    key: ApiKey,
    nonce: Callable[[], int],
) -> None:
    cafile = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(cafile))
    options = Options(rest_url=tls_server.url, cafile=str(cafile))
    assert RestClient(options).websockets_token(key, nonce).reveal() == CANARY_TOKEN


def test_any_other_certificate_is_refused(
    tls_server: ScriptedRest, key: ApiKey, nonce: Callable[[], int]
) -> None:
    error = _failure(tls_server, key, nonce)
    assert "is not trusted" in str(error)
    assert not error.retryable
    assert "--cafile" in str(error)
    assert not tls_server.asked


def test_plain_http_where_tls_was_expected_is_one_sentence(key: ApiKey, nonce: Callable[[], int]) -> None:
    with serve(GRANTED) as server:
        server.url = server.url.replace("http:", "https:")
        assert "no secure connection" in str(_failure(server, key, nonce))


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_a_file_of_authorities_that_cannot_be_used_is_named(
    content: str | None, tmp_path: Path, tls_server: ScriptedRest, key: ApiKey, nonce: Callable[[], int]
) -> None:
    cafile = tmp_path / "ca.pem"
    if content is not None:
        cafile.write_text(content)
    with pytest.raises(UsageError, match=r"--cafile=.*ca\.pem cannot be used"):
        RestClient(Options(rest_url=tls_server.url, cafile=str(cafile))).websockets_token(key, nonce)


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "ALL_PROXY"])
def test_https_goes_through_the_proxy_of_the_environment(
    variable: str, monkeypatch: pytest.MonkeyPatch, key: ApiKey, nonce: Callable[[], int]
) -> None:
    """The proxy here refuses, as a company's might; its password stays out of the message."""
    asked: list[str] = []

    def refuse(handler: BaseHTTPRequestHandler) -> None:
        asked.append(handler.requestline)
        handler.send_error(407)

    with serve(Answer("", write=refuse)) as proxy:
        handler_class = proxy.RequestHandlerClass
        monkeypatch.setattr(handler_class, "do_CONNECT", refuse, raising=False)
        monkeypatch.setenv(variable, proxy.url.replace("http://", "http://user:CANARYPASSWORD@"))
        with pytest.raises(ConnectionFailed, match="407") as caught:
            RestClient(Options(rest_url="https://api.kraken.invalid")).websockets_token(key, nonce)
    assert asked == ["CONNECT api.kraken.invalid:443 HTTP/1.0"]
    assert "CANARYPASSWORD" not in "".join(traceback.format_exception(caught.value))


def test_loopback_never_goes_through_a_proxy(
    monkeypatch: pytest.MonkeyPatch, key: ApiKey, nonce: Callable[[], int]
) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with serve(GRANTED) as server:
        RestClient(_options(server)).websockets_token(key, nonce)


def test_a_proxy_that_does_not_speak_http_is_refused(
    monkeypatch: pytest.MonkeyPatch, key: ApiKey, nonce: Callable[[], int]
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://user:CANARY@127.0.0.1:1")
    with pytest.raises(UsageError, match="socks5://: only http:// is supported") as caught:
        RestClient(Options(rest_url="https://api.kraken.invalid")).websockets_token(key, nonce)
    assert "user" not in str(caught.value)


def test_the_list_of_pairs_is_asked_for_without_parameters() -> None:
    with serve('{"error":[],"result":{"XXBTZUSD":{"wsname":"XBT/USD"}}}') as server:
        assert RestClient(_options(server)).asset_pairs() == {"XXBTZUSD": {"wsname": "XBT/USD"}}
    assert server.asked[0].path == "/0/public/AssetPairs"


@pytest.mark.parametrize("result", ["[]", "{}", "null", '"x"'])
def test_an_answer_without_pairs_is_a_failure(result: str) -> None:
    with (
        serve(f'{{"error":[],"result":{result}}}') as server,
        pytest.raises(ConnectionFailed, match="list of pairs"),
    ):
        RestClient(_options(server)).asset_pairs()


@pytest.mark.parametrize("result", ["[]", "{}", '{"unixtime":"1","status":1}', '{"unixtime":1.5}', "null"])
def test_a_clock_or_a_status_that_is_none_is_a_broken_answer(result: str) -> None:
    with serve(f'{{"error":[],"result":{result}}}') as server:
        rest = RestClient(_options(server))
        with pytest.raises(ConnectionFailed, match="without a time"):
            rest.unix_time()
        with pytest.raises(ConnectionFailed, match="without a status"):
            rest.system_status()


def test_clock_and_status_are_what_the_exchange_says() -> None:
    with serve('{"error":[],"result":{"unixtime":1795324223,"status":"cancel_only"}}') as server:
        rest = RestClient(_options(server))
        assert (rest.unix_time(), rest.system_status()) == (1795324223, "cancel_only")


def test_another_path_names_itself_when_the_permission_is_unknown(
    key: ApiKey, nonce: Callable[[], int]
) -> None:
    with (
        serve('{"error":["EGeneral:Permission denied"]}') as server,
        pytest.raises(CredentialsError, match="a permission that /0/private/TradesHistory needs"),
    ):
        RestClient(_options(server)).private("/0/private/TradesHistory", {}, key, nonce)
    assert TOKEN_PATH != "/0/private/TradesHistory"
