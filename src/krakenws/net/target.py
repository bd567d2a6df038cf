"""Where a URL leads: host and port, or a proxy if the environment names one, and the addresses of a host."""

from __future__ import annotations

import socket

from krakenws.errors import ConnectionFailed, UsageError
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    Address = tuple[int, tuple[str, int]]
    """The family of an IP address, the address, and a port."""


@record
class Target:
    """Where a WebSocket URL leads. `shown` is host and port for messages."""

    secure: bool
    host: str
    port: int
    path: str

    @property
    def shown(self) -> str:
        """Host and port, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def site(self) -> str:
        """What Kraken's edge counts connections by: the domain that its hosts share; one server on loopback.

        Which part of a name is a registered domain nobody can tell from the name; all of it but the first
        label is what `ws.kraken.com` and `ws-auth.kraken.com` have in common.
        """
        host = self.host.lower().rstrip(".")
        if is_loopback(host):
            return self.shown
        _, _, domain = host.partition(".")
        return host if is_address(host) or "." not in domain else domain

    @property
    def host_header(self) -> str:
        """The Host header: the port only when it is not the scheme's own."""
        return self.shown if self.port != (443 if self.secure else 80) else self.shown.rpartition(":")[0]


def parse_url(url: str) -> Target:
    """Return where a `ws://` or `wss://` URL leads.

    Raises:
        UsageError: it is no such URL, or plain `ws://` to another machine.
    """
    if "@" in url:  # the sentence must not repeat a password
        raise UsageError("a WebSocket URL here has no user and no password: write wss://HOST[:PORT][/PATH]")
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    host, port = _split_port(authority)
    if scheme not in {"ws", "wss"} or not separator or not host or not url.isprintable():
        raise UsageError(f"not a WebSocket URL: {url!a}; write wss://HOST[:PORT][/PATH]")
    secure = scheme == "wss"
    number = port or ("443" if secure else "80")
    if not number.isascii() or not number.isdigit() or not 0 < int(number) < 65536:
        raise UsageError(f"not a port number: {number!a}")
    if not secure and not is_loopback(host):
        raise UsageError(f"ws:// without TLS is for loopback only, and {host} is not: use wss://")
    return Target(secure, host, int(number), slash + path)


def _split_port(authority: str) -> tuple[str, str]:
    if authority.startswith("["):
        host, _, port = authority[1:].partition("]")
        return host, port.removeprefix(":")
    host, _, port = authority.partition(":")
    return host, port


def is_address(host: str) -> bool:
    """Whether it is an IP address, which needs no resolving."""
    return ":" in host or host.replace(".", "").isdigit()


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine itself."""
    return host in {"localhost", "::1"} or (host.startswith("127.") and host.replace(".", "").isdigit())


def proxy_of(target: Target, environ: Mapping[str, str]) -> tuple[str, int, str] | None:
    """Return the HTTP proxy for a target as host, port and `user:password`, or None.

    `HTTPS_PROXY`, then `ALL_PROXY`, either case; `NO_PROXY` lists host suffixes or `*`. Plain `ws://` is
    loopback and never proxied.

    Raises:
        UsageError: the proxy is not an `http://` one.
    """
    if not target.secure:
        return None
    for name in ("NO_PROXY", "no_proxy"):
        for suffix in environ.get(name, "").split(","):
            bare = suffix.strip().lstrip(".").partition(":")[0]
            if bare and (bare in {"*", target.host} or target.host.endswith("." + bare)):
                return None
    names = ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
    url = next((environ[name] for name in names if environ.get(name)), "")
    if not url:
        return None
    scheme, separator, rest = url.partition("://")
    if not separator:
        scheme, rest = "http", url
    login, at, authority = rest.rstrip("/").rpartition("@")
    host, port = _split_port(authority)
    if scheme != "http" or not host or not (port or "80").isdigit():
        raise UsageError("only http://HOST:PORT proxies are supported; look at HTTPS_PROXY and ALL_PROXY")
    return host, int(port or "80"), login if at else ""


def way_to(target: Target, environ: Mapping[str, str]) -> tuple[str, int]:
    """Return the host and port to connect to: the target's own, or its proxy's.

    Raises:
        UsageError: the proxy cannot be used.
    """
    proxy = proxy_of(target, environ)
    return proxy[:2] if proxy else (target.host, target.port)


def resolve(host: str, port: int) -> list[Address]:
    """Return the addresses of a host, families in turn (RFC 8305).

    For a name it blocks as long as the system's resolver does, and no signal interrupts that.

    Raises:
        ConnectionFailed: the name does not resolve.
    """
    flags = socket.AI_NUMERICHOST if is_address(host) else 0
    try:
        found = socket.getaddrinfo(name_of(host), port, type=socket.SOCK_STREAM, flags=flags)
    except (OSError, UnicodeError) as error:
        words = getattr(error, "strerror", None) or str(error)
        raise ConnectionFailed(
            f"the name {host} does not resolve ({words}); check it and the network"
        ) from None
    addresses = [(int(family), (str(address[0]), int(address[1]))) for family, _, _, _, address in found]
    first = addresses[0][0]
    same = [address for address in addresses if address[0] == first]
    other = [address for address in addresses if address[0] != first]
    return [address for pair in zip(same, other, strict=False) for address in pair] + [
        *same[len(other) :],
        *other[len(same) :],
    ]


def name_of(host: str) -> str | bytes:
    """Return an ASCII name as bytes: text would go through the codec for others, 1.6 ms to import."""
    return host.encode() if host.isascii() else host
