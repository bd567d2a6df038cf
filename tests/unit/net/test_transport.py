"""Where a URL leads, by what Kraken counts connections to it, and what needs no resolver."""

from __future__ import annotations

import socket

import pytest

from krakenws.errors import ConnectionFailed, UsageError
from krakenws.net.target import is_address, parse_url, resolve
from krakenws.net.transport import Transport


@pytest.mark.parametrize(
    ("url", "site"),
    [
        ("wss://ws.kraken.com", "kraken.com"),
        ("wss://WS-auth.Kraken.com./v2", "kraken.com"),
        ("wss://beta-ws.kraken.com:8443", "kraken.com"),
        ("wss://example.com", "example.com"),
        ("wss://exchange", "exchange"),
        ("wss://192.0.2.1:8443", "192.0.2.1"),
        ("wss://[2001:db8::1]:8443", "2001:db8::1"),
        ("ws://127.0.0.1:8765/auth", "127.0.0.1:8765"),
        ("ws://[::1]:8765", "[::1]:8765"),
        ("ws://localhost:8765", "localhost:8765"),
    ],
)
def test_connections_are_counted_by_what_an_exchange_s_hosts_share(url: str, site: str) -> None:
    assert parse_url(url).site == site


def test_an_address_needs_no_resolver() -> None:
    assert [address for _, address in resolve("127.0.0.1", 80)] == [("127.0.0.1", 80)]
    assert is_address("999.1.1.1")
    with pytest.raises(ConnectionFailed, match=r"999\.1\.1\.1 does not resolve"):
        resolve("999.1.1.1", 80)
    assert not is_address("localhost")


def test_tls_is_made_ready_while_the_connection_is_under_way() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host, port = silent.getsockname()
        target = parse_url(f"wss://{host}:{port}")
        with pytest.raises(UsageError, match="nowhere"):
            Transport(target, resolve(host, port), "nowhere.pem", {}, 0.0)


def test_the_codec_for_other_alphabets_is_for_names_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str | bytes] = []

    def found(host: str | bytes, port: int, **_: int) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        asked.append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    resolve("ws.kraken.com", 443)
    resolve("börse.example", 443)
    assert asked == [b"ws.kraken.com", "börse.example"]
