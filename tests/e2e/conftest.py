"""What end-to-end tests share: the command in a home of its own, and certificates for loopback."""

from __future__ import annotations

import signal
import ssl
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, NamedTuple

import pytest
import trustme

from tests.support.command import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

# A shell without job control lets what it runs in the background ignore Ctrl-C, and commands inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

TOKEN = "WW91ci9hdXRoZW50aWNhdGlvbi90b2tlbi9nb2Vz+/Q"
"""With the two characters of base64 that encoders escape."""


@pytest.fixture
def krakenws(tmp_path: Path) -> Command:
    """The installed command, in an empty home."""
    return Command(tmp_path)


@pytest.fixture
def trader(krakenws: Command) -> Command:
    """The installed command, with a token in `WS_Token`; it does not look for lost answers."""
    krakenws.store_token(TOKEN)
    krakenws.environ["KRAKENWS_LOOK_UPS"] = "none"
    return krakenws


@pytest.fixture
def default_port() -> Iterator[None]:
    """The sandbox's default port, for one test at a time on this machine: `--sandbox` looks there."""
    fcntl = pytest.importorskip("fcntl")
    with (Path(gettempdir()) / "krakenws-tests.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


class Certificates(NamedTuple):
    """A private authority: what a server needs, and what its client has to trust."""

    server: ssl.SSLContext
    authority: str
    chain: str
    key: str


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate for this machine's own names, of an authority nobody knows."""
    directory = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost", "127.0.0.1", "::1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    authority.cert_pem.write_to_path(str(directory / "authority.pem"))
    certificate.private_key_pem.write_to_path(str(directory / "key.pem"))
    for at, pem in enumerate(certificate.cert_chain_pems):
        pem.write_to_path(str(directory / "chain.pem"), append=at > 0)
    return Certificates(
        context, str(directory / "authority.pem"), str(directory / "chain.pem"), str(directory / "key.pem")
    )
