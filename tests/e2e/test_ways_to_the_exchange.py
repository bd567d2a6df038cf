"""TLS, proxies, IPv6, and the places where settings come from."""

from __future__ import annotations

import json
import shutil
import socket
import ssl
import subprocess
from shlex import split
from typing import TYPE_CHECKING

import pytest
import trustme

from tests.faults.proxy import Instead, fault_proxy
from tests.support.scripts import TICKER, pongs, streams
from tests.support.server import exchange

if TYPE_CHECKING:
    from tests.e2e.conftest import Certificates
    from tests.support.command import Command
    from tests.support.server import Connection


# ---- TLS


def test_tls_with_a_named_authority_works(krakenws: Command, certificates: Certificates) -> None:
    with exchange(pongs, tls=certificates.server) as server:
        result = krakenws.run("ping", "--cafile", certificates.authority, *server.options)
    assert (result.code, result.err) == (0, "")
    assert server.connections[0].close_code == 1000


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl names the files of such a directory")
def test_a_directory_of_authorities_may_stand_in_the_environment(
    krakenws: Command, certificates: Certificates
) -> None:
    named = ["openssl", "x509", "-noout", "-subject_hash", "-in", certificates.authority]
    hash_ = subprocess.run(named, capture_output=True, text=True, check=True).stdout.strip()
    (krakenws.home / "authorities").mkdir()
    shutil.copy(certificates.authority, krakenws.home / "authorities" / f"{hash_}.0")
    with exchange(pongs, tls=certificates.server) as server:
        result = krakenws.run("ping", *server.options, SSL_CERT_DIR="authorities", SSL_CERT_FILE="none")
    assert (result.code, result.err) == (0, "")


def test_a_file_of_authorities_counts_beside_a_directory_that_lacks_the_one(
    krakenws: Command, certificates: Certificates
) -> None:
    (krakenws.home / "authorities").mkdir()
    trustme.CA().cert_pem.write_to_path(str(krakenws.home / "authorities" / "00000000.0"))
    both = {"SSL_CERT_DIR": "authorities", "SSL_CERT_FILE": certificates.authority}
    with exchange(pongs, pongs, tls=certificates.server) as server:
        result = krakenws.run("ping", *server.options, **both)
    assert (result.code, result.err) == (0, "")


def test_a_burst_over_tls_arrives_whole(krakenws: Command, certificates: Certificates) -> None:
    def script(client: Connection) -> None:
        client.serve()
        client.send_together(*[TICKER] * 3000)
        client.hold()

    with exchange(script, tls=certificates.server) as server:
        result = krakenws.run(
            *split("ticker XBT/USD -oraw --count 3000 --cafile"), certificates.authority, *server.options
        )
    assert result.code == 0, result.err
    assert result.lines.count(TICKER) == 3000


def test_a_certificate_of_an_unknown_authority_is_refused(
    krakenws: Command, certificates: Certificates
) -> None:
    with exchange(pongs, tls=certificates.server) as server:
        result = krakenws.run("ping", "-ojson", *server.options)
    assert result.code == 4
    assert "certificate" in result.sentence
    assert "not trusted" in result.sentence
    assert "--cafile" in result.sentence
    assert result.events[-1]["retryable"] is False
    assert server.connections == []


def test_a_certificate_for_another_name_is_refused(krakenws: Command) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("ws.kraken.example").configure_cert(context)
    authority.cert_pem.write_to_path(str(krakenws.home / "authority.pem"))
    with exchange(pongs, tls=context) as server:
        result = krakenws.run("ping", "-oraw", "--cafile", "authority.pem", *server.options)
    assert result.code == 4
    assert "mismatch" in result.sentence
    assert server.connections == []


def test_tls_below_1_2_is_refused(krakenws: Command, certificates: Certificates) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.chain, certificates.key)
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    with exchange(pongs, tls=context) as server:
        result = krakenws.run("ping", "-oraw", "--cafile", certificates.authority, *server.options)
    assert result.code == 4
    assert result.sentence


def test_tls_to_a_server_without_it_is_4(krakenws: Command, certificates: Certificates) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"wss://127.0.0.1:{listener.getsockname()[1]}"
        with krakenws.start("ping", "-oraw", "--public-url", url) as process:
            client, _ = listener.accept()
            with client:
                client.recv(4096)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                result = process.finish()
    assert result.code == 4
    assert "TLS" in result.sentence


@pytest.mark.parametrize("content", [None, "no certificate at all\n"])
def test_an_authority_file_that_is_none_is_2(
    krakenws: Command, certificates: Certificates, content: str | None
) -> None:
    if content is not None:
        (krakenws.home / "mine.pem").write_text(content)
    with exchange(pongs, tls=certificates.server) as server:
        result = krakenws.run("ping", "-oraw", "--cafile", "mine.pem", *server.options)
    assert result.code == 2
    assert "mine.pem" in result.sentence


# ---- proxies


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_proxy_of_the_environment_is_asked(
    krakenws: Command, certificates: Certificates, variable: str
) -> None:
    with exchange(pongs, tls=certificates.server) as server, fault_proxy() as between:
        result = krakenws.run(
            "ping",
            "--cafile",
            certificates.authority,
            *server.options,
            **{variable: f"http://{between.host}"},
        )
    assert (result.code, result.err) == (0, "")
    (head,) = between.heads
    assert head.startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n")


def test_a_proxy_with_a_login_gets_it_and_nobody_else(krakenws: Command, certificates: Certificates) -> None:
    with exchange(pongs, tls=certificates.server) as server, fault_proxy() as between:
        url = f"http://user:p%40ss@{between.host}"
        result = krakenws.run(
            "ping", "-v", "--cafile", certificates.authority, *server.options, HTTPS_PROXY=url
        )
    assert result.code == 0, result.err
    assert "Proxy-Authorization: Basic dXNlcjpwQHNz" in between.heads[0]
    assert "p%40ss" not in result.out + result.err


@pytest.mark.parametrize("excepted", ["*", "127.0.0.1", "example.com, 127.0.0.1"])
def test_no_proxy_excepts_hosts(krakenws: Command, certificates: Certificates, excepted: str) -> None:
    with exchange(pongs, tls=certificates.server) as server, fault_proxy() as between:
        result = krakenws.run(
            "ping",
            "--cafile",
            certificates.authority,
            *server.options,
            HTTPS_PROXY=f"http://{between.host}",
            NO_PROXY=excepted,
        )
    assert result.code == 0, result.err
    assert between.heads == []


def test_loopback_without_tls_is_never_proxied(krakenws: Command) -> None:
    with exchange(pongs) as server, fault_proxy() as between:
        result = krakenws.run(
            "ping", *server.options, HTTPS_PROXY=f"http://{between.host}", ALL_PROXY=f"http://{between.host}"
        )
    assert result.code == 0
    assert between.heads == []


@pytest.mark.parametrize(
    "refusal",
    [
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 502 \x1b[31mBad\r\n\r\n<html></html>",
        b"\x00\x01\x02\r\n\r\n",
    ],
)
def test_a_proxy_that_refuses_is_4(krakenws: Command, refusal: bytes) -> None:
    with fault_proxy() as between:
        between.switch_on(Instead(answer=refusal))
        result = krakenws.run(
            "ping", "-oraw", "--public-url", "wss://ws.example.invalid", HTTPS_PROXY=f"http://{between.host}"
        )
    assert result.code == 4
    assert "proxy refused" in result.sentence
    assert "ws.example.invalid:443" in result.sentence
    assert "\x1b" not in result.err


def test_a_proxy_that_nobody_runs_is_4_and_named_without_its_login(krakenws: Command) -> None:
    result = krakenws.run(
        "ping",
        "-oraw",
        "--public-url",
        "wss://ws.example.invalid",
        HTTPS_PROXY="http://user:hidden@127.0.0.1:1",
    )
    assert result.code == 4
    assert "127.0.0.1:1" in result.sentence
    assert "hidden" not in result.sentence


def test_a_proxy_of_another_kind_is_2(krakenws: Command) -> None:
    result = krakenws.run(
        "ping", "-oraw", "--public-url", "wss://ws.example.invalid", HTTPS_PROXY="socks5://127.0.0.1:1080"
    )
    assert result.code == 2
    assert "proxies" in result.sentence


# ---- addresses


def has_ipv6() -> bool:
    """Whether this machine has an IPv6 loopback."""
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6 loopback here")
def test_ipv6_works_plain_and_with_tls(krakenws: Command, certificates: Certificates) -> None:
    for tls in (None, certificates.server):
        with exchange(pongs, tls=tls, host="::1") as server:
            result = krakenws.run("ping", "--cafile", certificates.authority, *server.options)
        assert (result.code, result.err) == (0, "")
        assert server.connections[0].headers["host"] == f"[::1]:{server.port}"


def test_a_name_with_two_addresses_falls_back_to_the_one_that_answers(krakenws: Command) -> None:
    """`localhost` is ::1 as well on most machines, and nobody listens there."""
    with exchange(pongs) as server:
        result = krakenws.run("ping", "--public-url", f"ws://localhost:{server.port}")
    assert (result.code, result.err) == (0, "")


def test_the_upgrade_is_what_rfc_6455_asks_for(krakenws: Command) -> None:
    with exchange(pongs) as server:
        assert krakenws.run("ping", *server.options).code == 0
    headers = server.connections[0].headers
    assert headers["host"] == f"127.0.0.1:{server.port}"
    assert [headers["upgrade"].lower(), headers["connection"].lower()] == ["websocket", "upgrade"]
    assert headers["sec-websocket-version"] == "13"
    assert headers["user-agent"].startswith("krakenws/")


# ---- settings


def test_option_before_environment_before_config_file(krakenws: Command) -> None:
    path = krakenws.home / "config" / "krakenws" / "config.toml"
    path.parent.mkdir(parents=True)
    with exchange(pongs) as server:
        path.write_text(f'output = "raw"\npublic_url = "{server.url}"\nack-timeout = "4s"\nstrict = true\n')
        by_file = krakenws.run("ping")
        by_environment = krakenws.run("ping", KRAKENWS_OUTPUT="transcript")
        by_option = krakenws.run("ping", "-ojson", KRAKENWS_OUTPUT="transcript")
        empty_is_unset = krakenws.run("ping", KRAKENWS_OUTPUT="")
    assert by_file.lines[-1] == '{"event":"pong"}'
    assert by_environment.lines[-1] == 'WebSocket -> Client: {"event":"pong"}'
    assert by_option.stream[-1]["event"] == "pong"
    assert empty_is_unset.out == by_file.out


def test_every_endpoint_and_limit_may_stand_in_the_environment(krakenws: Command) -> None:
    with exchange(streams(TICKER)) as server:
        result = krakenws.run(
            "ticker", "XBT/USD", KRAKENWS_PUBLIC_URL=server.url, KRAKENWS_COUNT="1", KRAKENWS_OUTPUT="raw"
        )
    assert result.code == 0, result.err
    assert result.lines[-1] == TICKER


def test_quiet_says_errors_only(krakenws: Command) -> None:
    with exchange(streams("no JSON", TICKER)) as server:
        quiet = krakenws.run(*split("ticker XBT/USD -q --count 1"), *server.options)
    assert (quiet.code, quiet.err) == (0, "")
    assert krakenws.run("ticker", "-q").sentence


def test_an_error_is_also_an_event_when_the_environment_asks_for_json(krakenws: Command) -> None:
    result = krakenws.run("ping", "--public-url", "ws://127.0.0.1:1", KRAKENWS_OUTPUT="json")
    assert json.loads(result.lines[-1])["code"] == 4


def test_a_home_that_does_not_exist_disturbs_nobody(krakenws: Command) -> None:
    with exchange(pongs) as server:
        result = krakenws.run(
            "ping",
            *server.options,
            HOME="/nonexistent",
            XDG_CONFIG_HOME="",
            XDG_STATE_HOME="",
            XDG_CACHE_HOME="",
        )
    assert (result.code, result.err) == (0, "")
