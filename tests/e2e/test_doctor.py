"""`krakenws doctor`: what it says of each thing that can be wrong, and that it tells no secret."""

from __future__ import annotations

import json
import socket
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
import trustme

from krakenws.cli.parser import entries
from krakenws.core.schema import schema
from krakenws.exchange.keys import DEMO_KEY, DEMO_SECRET
from tests.faults.proxy import fault_proxy
from tests.support.rest import Answer, serve
from tests.support.sandbox import running
from tests.support.schema import fits
from tests.support.server import exchange

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler
    from pathlib import Path

    from tests.e2e.conftest import Certificates
    from tests.support.command import Command, Result
    from tests.support.sandbox import Sandbox
    from tests.support.server import Connection

ALWAYS = '"probability": 1'
STALE = "WW91ci9hdXRoZW50aWNhdGlvbi90b2tlbi9nb2Vz"


@pytest.fixture
def sandbox(krakenws: Command) -> Iterator[Sandbox]:
    with running(krakenws, "--pairs", "XBT/USD") as one:
        yield one


def greets(client: Connection) -> None:
    client.greet()
    client.hold()


def checks(result: Result) -> dict[str, dict[str, Any]]:
    """Return the lines by what they are about; the last one counts them."""
    *lines, last = result.events
    states = [line["state"] for line in lines]
    assert last.pop("event") == "checked"
    assert last == {
        **{s: states.count(s) for s in ("ok", "warning", "failed", "skipped")},
        "code": result.code,
    }
    assert all(line.get("fix") for line in lines if line["state"] in {"warning", "failed"})
    assert len({line["check"] for line in lines}) == len(lines)
    return {line["check"]: line for line in lines}


def state_of(result: Result, check: str) -> tuple[str, str, str]:
    line = checks(result)[check]
    return line["state"], line["message"], line.get("fix", "")


def faulty(command: Command, fault: str) -> Any:
    return running(command, "--pairs", "XBT/USD", "--faults", fault)


def page(clock_s: float = 0.0) -> Answer:
    """REST that is online, with its clock so far ahead."""

    def write(handler: BaseHTTPRequestHandler) -> None:
        name = handler.path.rpartition("/")[2]
        results = {"SystemStatus": {"status": "online"}, "Time": {"unixtime": int(time.time() + clock_s)}}
        data = json.dumps({"error": [], "result": results[name]}).encode()
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return Answer("", write=write)


# ---- all is well


def test_a_sandbox_is_well_and_no_secret_is_told(sandbox: Sandbox) -> None:
    result = sandbox.run("doctor")
    assert result.code == 0, result
    assert result.err == ""
    found = checks(result)
    assert {line["state"] for line in found.values()} == {"ok"}
    lines = schema(entries())
    assert all(fits(line, lines, lines) for line in result.events)
    site = sandbox.told["public"].removeprefix("ws://")
    assert list(found) == [
        "state directory",
        "file modes",
        f"budget {site}",
        "proxy",
        "public endpoint",
        "private endpoint",
        "REST endpoint",
        "system status",
        "clock",
        "key",
        "WebSocket interface",
        "Query funds",
        "Query open orders & trades",
        "Query closed orders & trades",
        "token",
    ]
    assert DEMO_KEY not in result.out
    assert DEMO_SECRET not in result.out
    again = checks(sandbox.run("doctor"))
    assert again[f"budget {site}"]["message"] == "2 of 100 connections in the last 10 minutes"


def test_the_sandbox_of_a_run_needs_no_settings(krakenws: Command) -> None:
    result = krakenws.run("doctor", "--sandbox", "-o", "text")
    assert result.code == 0, result
    assert result.lines[-1] == "15 ok"
    assert "ok       token: from Kraken, with the API key from" in result.out


def test_a_certificate_is_shown_with_its_end(krakenws: Command, certificates: Certificates) -> None:
    with exchange(greets, greets, tls=certificates.server) as server:
        result = krakenws.run("doctor", "-ojson", "--cafile", certificates.authority, *server.options)
    found = checks(result)
    state, message = (found["certificate 127.0.0.1 (public)"][name] for name in ("state", "message"))
    assert state == "ok"
    assert message.startswith("trusted, by trustme v")
    assert "until " in message


# ---- the way there


def test_a_proxy_is_named_and_its_login_is_not(krakenws: Command, certificates: Certificates) -> None:
    with exchange(greets, greets, tls=certificates.server) as server, fault_proxy() as between:
        result = krakenws.run(
            *("doctor", "-ojson", "--cafile", certificates.authority, *server.options),
            HTTPS_PROXY=f"http://user:hunter2hunter2@{between.host}",
        )
    assert len(between.heads) >= 2
    state, message, _ = state_of(result, "proxy")
    assert state == "ok"
    assert message == f"127.0.0.1:{server.port}, api.kraken.com:443 through {between.host}"
    assert state_of(result, "public endpoint")[0] == "ok"
    assert "hunter2hunter2" not in result.out + result.err


@pytest.mark.parametrize(("days", "state"), [(-1, "failed"), (3, "warning")])
def test_a_certificate_that_ends_soon_or_has_ended(krakenws: Command, days: int, state: str) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    now = datetime.now(UTC)
    authority.issue_cert(
        "127.0.0.1", not_before=now - timedelta(days=9), not_after=now + timedelta(days=days, hours=1)
    ).configure_cert(context)
    authority.cert_pem.write_to_path(str(krakenws.home / "ca.pem"))
    with exchange(greets, greets, tls=context) as server:
        result = krakenws.run("doctor", "-ojson", "--cafile", "ca.pem", *server.options)
    if state == "warning":
        told = state_of(result, "certificate 127.0.0.1 (public)")
        assert told[0] == "warning"
        assert told[1].endswith("in 3 days")
    else:
        told = state_of(result, "public endpoint")
        assert told[0] == "failed"
        assert "certificate has expired" in told[1]
        assert "clock" in told[2]
        assert result.code == 4


def test_an_authority_that_is_not_trusted(krakenws: Command, certificates: Certificates) -> None:
    with exchange(greets, greets, tls=certificates.server) as server:
        result = krakenws.run("doctor", "-ojson", *server.options)
    state, message, fix = state_of(result, "private endpoint")
    assert state == "failed"
    assert "is not trusted" in message
    assert "--cafile" in fix
    assert result.code == 4


def test_a_closed_port(krakenws: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    rest = f"http://127.0.0.1:{port}"
    urls = ("--public-url", f"ws://127.0.0.1:{port}", "--private-url", f"ws://127.0.0.1:{port}/auth")
    result = krakenws.run("doctor", "-ojson", *urls, "--rest-url", rest)
    assert result.code == 4
    found = checks(result)
    for name in ("public endpoint", "private endpoint", "REST endpoint"):
        assert found[name]["state"] == "failed"
        assert "refused" in found[name]["message"]
    assert found["clock"]["state"] == found["system status"]["state"] == "skipped"
    assert found["system status"]["message"] == "nothing of the exchange was reached"


def test_offline_it_says_so_and_ends(krakenws: Command) -> None:
    names = ("--public-url", "wss://ws.invalid", "--private-url", "wss://ws-auth.invalid")
    result = krakenws.run("doctor", "-ojson", *names, "--rest-url", "https://api.invalid")
    assert result.code == 4
    found = checks(result)
    assert [found[f"name {host}.invalid"]["state"] for host in ("ws", "ws-auth", "api")] == ["failed"] * 3
    assert found["public endpoint"]["state"] == "skipped"
    assert "offline" in found["system status"]["message"]
    assert found["key"]["state"] == "warning"


def test_an_endpoint_that_never_greets_ends_in_time(krakenws: Command) -> None:
    def mute(client: Connection) -> None:
        client.accept()
        client.hold()

    with exchange(mute, greets) as server:
        result = krakenws.run("doctor", "-ojson", "--connect-timeout", "1s", *server.options)
    state, message, _ = state_of(result, "public endpoint")
    assert state == "failed"
    assert "no greeting within 1 s" in message
    assert result.code == 4


def test_a_page_instead_of_the_upgrade(krakenws: Command) -> None:
    with faulty(krakenws, f'{{"fault": "http_status", "status": 403, {ALWAYS}}}') as sandbox:
        result = sandbox.run("doctor")
    state, message, fix = state_of(result, "public endpoint")
    assert state == "failed"
    assert "403" in message
    assert fix.startswith("wait some minutes")
    assert state_of(result, "token")[0] == "skipped"
    assert result.code == 4


def test_a_proxy_that_cannot_be_used(krakenws: Command) -> None:
    result = krakenws.run("doctor", "-ojson", HTTPS_PROXY="socks5://user:pass@127.0.0.1:1080")
    assert result.code == 2
    assert state_of(result, "public URL")[0] == "failed"
    assert "pass" not in result.out.replace("passed", "")


@pytest.mark.parametrize(
    ("proxy", "line"),
    [("127.0.0.1:9", "public endpoint"), ("proxy.invalid:3128", "name proxy.invalid")],
    ids=["nobody listens", "its name does not resolve"],
)
def test_a_proxy_that_is_dead_is_what_is_to_be_mended(krakenws: Command, proxy: str, line: str) -> None:
    result = krakenws.run("doctor", "-ojson", HTTPS_PROXY=f"http://{proxy}")
    assert result.code == 4
    to = "ws.kraken.com:443, ws-auth.kraken.com:443, api.kraken.com:443"
    assert state_of(result, "proxy")[1] == f"{to} through {proxy}"
    state, _, fix = state_of(result, line)
    assert state == "failed"
    assert fix.startswith("look at the proxy, which HTTPS_PROXY or ALL_PROXY names")
    private = checks(result)["private endpoint"]
    assert private["state"] == "failed" or private["message"] == "the proxy's name does not resolve"


def test_a_url_that_is_none(krakenws: Command) -> None:
    result = krakenws.run(
        "doctor", "-ojson", "--public-url", "ws://example.invalid", "--rest-url", "nonsense"
    )
    assert result.code == 2
    assert state_of(result, "public URL")[0] == state_of(result, "rest URL")[0] == "failed"


@pytest.mark.parametrize(("used", "state", "code"), [(79, "ok", 0), (80, "warning", 0), (100, "failed", 4)])
def test_the_budget_of_connections(sandbox: Sandbox, used: int, state: str, code: int) -> None:
    file = sandbox.command.home / "state" / "krakenws" / "connections"
    file.parent.mkdir(parents=True)
    site = sandbox.told["public"].removeprefix("ws://")
    file.write_text(f"{int(time.time() * 1000)} {site}\n" * used)
    file.chmod(0o600)
    result = sandbox.run("doctor")
    assert result.code == code, result
    found = checks(result)
    assert found[f"budget {site}"]["state"] == state
    assert found[f"budget {site}"]["message"] == f"{used} of 100 connections in the last 10 minutes"
    assert found["public endpoint"]["state"] == ("skipped" if state == "failed" else "ok")
    if state == "failed":
        assert file.read_text().count("\n") == 100, "nothing more was spent"


# ---- the exchange


def test_maintenance(krakenws: Command) -> None:
    fault = '{"fault": "system_status", "status": "maintenance", "for_s": 600}'
    with faulty(krakenws, fault) as sandbox:
        result = sandbox.run("doctor")
    state, message, fix = state_of(result, "system status")
    assert (state, message) == ("warning", "the exchange is in maintenance")
    assert "status.kraken.com" in fix
    assert result.code == 0


@pytest.mark.parametrize(
    ("ahead_s", "state", "words"),
    [
        (0.0, "ok", ""),
        (20.0, "warning", "behind"),
        (-20.0, "warning", "ahead of"),
        (3600.0, "failed", "behind"),
    ],
)
def test_a_clock_that_is_wrong(krakenws: Command, ahead_s: float, state: str, words: str) -> None:
    with exchange(greets, greets) as server, serve(page(ahead_s)) as rest:
        result = krakenws.run("doctor", "-ojson", "--rest-url", rest.url, *server.options)
    told = state_of(result, "clock")
    assert told[0] == state
    assert words in told[1]
    assert "round trip" in told[1]
    assert result.code == (9 if state == "failed" else 0)


# ---- files


def test_files_that_others_can_read(sandbox: Sandbox) -> None:
    home = sandbox.command.home
    sandbox.command.store_token(STALE)
    (home / "WS_Token").chmod(0o644)
    (home / "state" / "krakenws").mkdir(parents=True)
    (home / "state" / "krakenws").chmod(0o777)
    result = sandbox.run("doctor")
    found = checks(result)
    assert found["state directory"]["state"] == "warning"
    assert found["state directory"]["fix"].startswith("run chmod 700")
    assert found["file modes"]["state"] == "warning"
    assert found["file modes"]["fix"].startswith("run chmod 600")
    assert result.code == 0


def test_a_state_directory_that_cannot_be_made(sandbox: Sandbox) -> None:
    (sandbox.command.home / "state").write_text("a file in its place")
    result = sandbox.run("doctor")
    state, message, fix = state_of(result, "state directory")
    assert state == "failed"
    assert "cannot be written" in message
    assert "XDG_STATE_HOME" in fix
    assert result.code == 7


# ---- key and token


def without_key(sandbox: Sandbox) -> None:
    for name in ("KRAKEN_API_KEY", "KRAKEN_API_SECRET"):
        sandbox.command.environ.pop(name)


def key_file(home: Path, text: str, mode: int) -> str:
    path = home / "kraken.key"
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_no_key_and_no_token_is_enough_for_market_data(sandbox: Sandbox) -> None:
    without_key(sandbox)
    result = sandbox.run("doctor")
    assert state_of(result, "key")[0] == "warning"
    assert result.code == 0


@pytest.mark.parametrize(
    ("text", "mode", "words"),
    [
        (f"{DEMO_KEY}\n{DEMO_SECRET}\n", 0o644, "can be read by others"),
        (f"{DEMO_KEY}\n", 0o600, "does not have two lines"),
        (f"{DEMO_KEY}\nno base64!\n", 0o600, "secret"),
    ],
)
def test_a_key_file_that_cannot_be_used(sandbox: Sandbox, text: str, mode: int, words: str) -> None:
    path = key_file(sandbox.command.home, text, mode)
    result = sandbox.run(f"doctor --key-file {path}")
    state, message, _ = state_of(result, "key")
    assert state == "failed"
    assert words in message
    assert result.code == 3
    assert DEMO_SECRET not in result.out


def test_a_key_file_that_is_not_there(sandbox: Sandbox) -> None:
    result = sandbox.run("doctor --key-file gone.key")
    assert state_of(result, "key")[:2] == ("failed", "gone.key cannot be read: No such file or directory")
    assert result.code == 3


def test_a_key_that_the_exchange_does_not_know(sandbox: Sandbox) -> None:
    result = sandbox.run("doctor", KRAKEN_API_KEY="AnotherKeyThanTheDemoOne")
    state, message, fix = state_of(result, "WebSocket interface")
    assert (state, fix) == ("failed", "check the key and its list of addresses")
    assert message.endswith("(EAPI:Invalid key)")
    assert "Query funds" not in checks(result)
    assert result.code == 3


def test_the_permission_that_is_missing_most_often(krakenws: Command) -> None:
    fault = {"fault": "refuse", "method": "GetWebSocketsToken", "error": "EGeneral:Permission denied"}
    with faulty(krakenws, json.dumps({**fault, "probability": 1})) as sandbox:
        result = sandbox.run("doctor")
    state, message, fix = state_of(result, "WebSocket interface")
    assert (state, fix) == ("failed", "switch it on in the key's settings at Kraken")
    assert message.endswith('lacks the permission "WebSocket interface" (EGeneral:Permission denied)')
    assert checks(result)["Query funds"]["state"] == "ok"
    assert result.code == 3


def test_a_page_instead_of_a_token(krakenws: Command) -> None:
    fault = '{"fault": "http_status", "status": 502, "path": "/0/private", "probability": 1}'
    with faulty(krakenws, fault) as sandbox:
        result = sandbox.run("doctor")
    state, message, fix = state_of(result, "WebSocket interface")
    assert (state, fix) == ("failed", "try again; if it stays so, see https://status.kraken.com")
    assert "HTTP status 502" in message
    assert result.code == 4


def test_permissions_that_some_channels_need(krakenws: Command) -> None:
    fault = {"fault": "refuse", "method": "Balance", "error": "EGeneral:Permission denied"}
    with faulty(krakenws, json.dumps({**fault, "probability": 1})) as sandbox:
        result = sandbox.run("doctor")
    state, message, fix = state_of(result, "Query funds")
    assert state == "warning"
    assert 'lacks the permission "Query funds"' in message
    assert fix == "leave it so, unless you use balances"
    assert result.code == 0


def test_a_stored_token_that_is_stale(sandbox: Sandbox) -> None:
    sandbox.command.store_token(STALE)
    state, message, fix = state_of(sandbox.run("doctor"), "token")
    assert state == "warning"
    assert "ESession:Invalid session" in message
    assert fix == "remove it: a fresh one is fetched with the key"
    without_key(sandbox)
    result = sandbox.run("doctor")
    assert state_of(result, "token")[0] == "failed"
    assert result.code == 3
    assert STALE not in result.out


def test_a_private_url_that_leads_to_the_public_endpoint(sandbox: Sandbox) -> None:
    result = sandbox.run("doctor", KRAKENWS_PRIVATE_URL=sandbox.told["public"])
    assert result.code == 2
    state, message, fix = state_of(result, "token")
    assert (state, fix) == ("failed", "correct --private-url")
    assert "Private data and trading are unavailable on this endpoint" in message


def test_a_token_file_that_holds_none(sandbox: Sandbox) -> None:
    sandbox.command.store_token("short")
    assert state_of(sandbox.run("doctor"), "token")[0] == "failed"
    without_key(sandbox)
    result = sandbox.run("doctor")
    assert state_of(result, "token")[0] == "failed"
    assert result.code == 3
