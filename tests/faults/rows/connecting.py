"""Faults on the way to a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.faults.proxy import Blackhole, Corrupt, Instead, Latency, Reset, Sliced, fault_proxy, page
from tests.faults.row import Group
from tests.support.server import exchange

if TYPE_CHECKING:
    from tests.faults.scene import Scene
    from tests.support.server import Connection

CONNECTING = Group("Connecting")
row = CONNECTING.row

GIVES_UP = "one sentence, no second try, for it never stood"


def attempt(scene: Scene, *options: str, **environ: str) -> None:
    """Try to stream, from the moment of the fault on."""
    scene.strike()
    scene.run("ticker XBT/USD", *options, **environ)


@row(
    "nobody listens at the address",
    GIVES_UP,
    code=4,
    tells="disconnected error",
    says="could not connect to .*: connection refused",
    noticed_s=5,
)
def nobody_listens(scene: Scene) -> None:
    scene.proxy.deafen()
    attempt(scene)


@row(
    "the name does not resolve",
    GIVES_UP,
    code=4,
    tells="disconnected error",
    says="nowhere.invalid does not resolve",
    noticed_s=15,
)
def name_unknown(scene: Scene) -> None:
    attempt(scene, "--public-url", "wss://nowhere.invalid")


@row(
    "nobody listens yet, and `--reconnect forever` is given",
    "each attempt told, with the time of the next; then the stream",
    tells="disconnected connected update",
    says="connection refused; connecting again",
    noticed_s=5,
    back_s=8,
    books=1,
)
def nobody_listens_yet(scene: Scene) -> None:
    scene.proxy.deafen()
    scene.strike()
    with scene.stream(scene.feeds, "--reconnect", "forever") as stream:
        stream.until("disconnected")
        scene.proxy.listen()
        scene.mend()
        stream.flows_on()


@row(
    "a connection is accepted, and then silence",
    "given up after `--connect-timeout` (here 1 s)",
    code=4,
    tells="disconnected error",
    says="no connection within 1 s",
    noticed_s=5,
)
def silence_before_the_upgrade(scene: Scene) -> None:
    scene.network(Blackhole())
    attempt(scene, "--connect-timeout", "1s")


@row(
    "the upgrade is accepted, and no greeting follows",
    "given up after `--connect-timeout` (here 1 s); nothing was sent, no order either",
    code=4,
    tells="disconnected error",
    says="no greeting within 1 s",
    noticed_s=5,
)
def no_greeting(scene: Scene) -> None:
    def accepts_only(client: Connection) -> None:
        client.accept()
        client.hold()

    with exchange(accepts_only) as server:
        attempt(scene, "--connect-timeout", "1s", *server.options)
        assert server.messages() == []


def _refused_by(status: int, *headers: str) -> object:
    def play(scene: Scene) -> None:
        scene.proxy.switch_on(page(status, *headers))
        attempt(scene)

    play.__name__ = f"http_{status}"
    return play


for _status, _what, _headers in (
    (403, "403 (blocked)", ()),
    (429, "429 (too many requests)", ()),
    (520, "520 (the proxy in front of the exchange lost it)", ()),
    (302, "302 (a redirect)", ("Location: https://example.invalid/",)),
):
    row(
        f"the upgrade is answered with HTTP {_what}",
        GIVES_UP + ", with the status",
        code=4,
        tells="disconnected error",
        says=str(_status),
        noticed_s=5,
    )(_refused_by(_status, *_headers))  # type: ignore[arg-type]  # a play with a name of its own


@row(
    "something else than HTTP answers",
    GIVES_UP,
    code=4,
    tells="disconnected error",
    says="no HTTP|not HTTP|HTTP",
    noticed_s=5,
)
def no_http(scene: Scene) -> None:
    scene.proxy.switch_on(Instead(answer=b"SSH-2.0-OpenSSH_9.2\r\n\x00\xff\r\n\r\n"))
    attempt(scene)


@row(
    "a byte of the upgrade's answer is wrong",
    GIVES_UP + ": the answer is to another key",
    code=4,
    tells="disconnected error",
    says="Sec-WebSocket-Accept",
    noticed_s=5,
)
def upgrade_corrupted(scene: Scene) -> None:
    scene.proxy.switch_on(Corrupt(at_byte=140, mask=0x01))  # within Sec-WebSocket-Accept
    attempt(scene)


@row(
    "the certificate is of an unknown authority",
    "refused; no switch turns this off, `--cafile` names a private authority",
    code=4,
    tells="disconnected error",
    says="not trusted.*--cafile",
    noticed_s=5,
)
def certificate_unknown(scene: Scene) -> None:
    with scene.secured():
        attempt(scene)


def secure(scene: Scene) -> tuple[str, str]:
    """Have the client speak TLS although nobody there understands it."""
    return "--public-url", f"wss://{scene.proxy.host}"


@row(
    "the other side does not speak TLS",
    GIVES_UP,
    code=4,
    tells="disconnected error",
    says="TLS with .* failed",
    noticed_s=5,
)
def no_tls(scene: Scene) -> None:
    scene.proxy.switch_on(page(400))
    attempt(scene, *secure(scene))


@row(
    "the connection is reset in the TLS handshake",
    GIVES_UP,
    code=4,
    tells="disconnected error",
    says="connection reset by peer",
    noticed_s=5,
)
def reset_in_tls(scene: Scene) -> None:
    with scene.secured():
        host = scene.proxy.host
        with fault_proxy(host) as scene.proxy:
            scene.proxy.switch_on(Reset(at_byte=100))
            attempt(scene, *secure(scene), "--cafile", scene.certificates.authority)


@row(
    "the HTTP proxy of the environment refuses",
    GIVES_UP + "; the sentence names the proxy",
    code=4,
    tells="disconnected error",
    says="proxy refused .*407",
    noticed_s=5,
)
def http_proxy_refuses(scene: Scene) -> None:
    with fault_proxy() as between:
        between.switch_on(Instead(answer=b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n"))
        attempt(scene, "--public-url", "wss://ws.example.invalid", HTTPS_PROXY=f"http://{between.host}")


@row(
    "the connection is reset in the answer to the upgrade, twice, and `--reconnect forever` is given",
    "connected anew at once",
    tells="disconnected connected update",
    says="stopped in the middle of answering the upgrade.*connecting again now",
    noticed_s=5,
    back_s=8,
    books=1,
)
def reset_in_the_upgrade(scene: Scene) -> None:
    scene.proxy.switch_on(Reset(at_byte=60, times=2))
    scene.strike()
    with scene.stream(scene.feeds, "--reconnect", "forever") as stream:
        stream.until("disconnected")
        stream.until("disconnected")
        scene.mend()
        stream.flows_on()


@row(
    "every byte comes 0.3 s late, with 0.2 s of jitter",
    "nothing: it takes longer",
    tells="connected update",
    back_s=10,
    books=1,
)
def slow_from_the_start(scene: Scene) -> None:
    scene.proxy.switch_on(Latency(delay_s=0.3, jitter_s=0.2))
    scene.strike()
    with scene.stream() as stream:
        stream.flows_on()


@row(
    "upgrade, greeting and data come in single bytes",
    "nothing",
    tells="connected update",
    back_s=10,
    books=1,
)
def sliced_from_the_start(scene: Scene) -> None:
    scene.proxy.switch_on(Sliced())
    scene.strike()
    with scene.stream() as stream:
        stream.flows_on()


@row(
    "the exchange is in maintenance",
    "`status` says so; the stream waits and begins when it is over",
    tells="status update",
    says="",
    noticed_s=5,
    back_s=12,
    books=1,
)
def maintenance_at_the_start(scene: Scene) -> None:
    scene.sandbox.fault("system_status", status="maintenance")
    scene.strike()
    with scene.stream() as stream:
        stream.until("status", system="maintenance")
        scene.sandbox.recover()
        scene.mend()
        stream.until("status", system="online")
        stream.data()
