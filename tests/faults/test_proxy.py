"""Each fault of the proxy does to a plain conversation what its name says, and nothing else."""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from tests.faults.proxy import (
    BOTH,
    CLIENT,
    EXCHANGE,
    PATIENCE_S,
    Bandwidth,
    Blackhole,
    Corrupt,
    FaultProxy,
    Glued,
    HalfClose,
    Instead,
    Latency,
    Reset,
    Sliced,
    Truncate,
    fault_proxy,
    page,
    passed,
    seen,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.conftest import Certificates
    from tests.faults.proxy import Fault

WORDS = bytes(range(256)) * 8


class Wire:
    """A conversation through a proxy: `client` and `exchange` are its two ends."""

    def __init__(self, proxy: FaultProxy, listener: socket.socket, stack: ExitStack) -> None:
        self.proxy = proxy
        self._listener = listener
        self._stack = stack
        self.connect()

    def connect(self) -> None:
        """Begin another conversation."""
        self.client = self._stack.enter_context(socket.create_connection(("127.0.0.1", self.proxy.port)))
        self.exchange = self._stack.enter_context(self._listener.accept()[0])
        for end in (self.client, self.exchange):
            end.settimeout(PATIENCE_S)


@contextmanager
def wire(*faults: Fault, seed: int = 1) -> Iterator[Wire]:
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(PATIENCE_S)
        proxy = stack.enter_context(fault_proxy(f"127.0.0.1:{listener.getsockname()[1]}", seed=seed))
        for fault in faults:
            proxy.switch_on(fault)
        yield Wire(proxy, listener, stack)


def take(end: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count and (more := end.recv(count - len(data))):
        data += more
    return data


def take_all(end: socket.socket) -> bytes:
    """Return everything up to a decent end."""
    data = b""
    while more := end.recv(65536):
        data += more
    return data


def is_quiet(end: socket.socket) -> bool:
    """Whether nothing comes; what could come was sent before on the same machine."""
    end.settimeout(0.2)
    try:
        end.recv(1)
    except TimeoutError:
        return True
    finally:
        end.settimeout(PATIENCE_S)
    return False


def test_without_a_fault_bytes_and_both_ends_pass_unchanged() -> None:
    with wire() as talk:
        talk.client.sendall(WORDS)
        assert take(talk.exchange, len(WORDS)) == WORDS
        talk.exchange.sendall(WORDS[::-1])
        talk.exchange.shutdown(socket.SHUT_WR)
        assert take_all(talk.client) == WORDS[::-1]
        talk.client.sendall(b"still here")
        talk.client.shutdown(socket.SHUT_WR)
        assert take_all(talk.exchange) == b"still here"
        assert talk.proxy.strikes == []


def test_latency_delays_each_byte_and_keeps_the_order() -> None:
    with wire(Latency(delay_s=0.2, jitter_s=0.1)) as talk:
        began = time.monotonic()
        talk.client.sendall(b"at once")
        assert take(talk.exchange, 7) == b"at once"
        talk.exchange.sendall(WORDS)
        assert take(talk.client, len(WORDS)) == WORDS
        assert time.monotonic() - began >= 0.2


def test_latency_is_not_a_bandwidth() -> None:
    """Bytes travel behind each other: ten messages take hardly longer than one."""
    with wire(Latency(delay_s=0.3)) as talk:
        began = time.monotonic()
        for at in range(10):
            talk.exchange.sendall(b"%d" % at)
            talk.client.settimeout(0.01)
            with pytest.raises(TimeoutError):  # so that each travels alone
                talk.client.recv(1)
        talk.client.settimeout(PATIENCE_S)
        assert take(talk.client, 10) == b"0123456789"
        assert time.monotonic() - began < 2.5, "one after the other takes 3 s"


def test_a_bandwidth_is_kept() -> None:
    with wire(Bandwidth(bytes_per_s=4096)) as talk:
        began = time.monotonic()
        talk.exchange.sendall(WORDS)
        assert take(talk.client, len(WORDS)) == WORDS
        assert time.monotonic() - began >= 0.4


def test_slices_arrive_byte_by_byte() -> None:
    with wire(Sliced()) as talk:
        talk.exchange.sendall(WORDS)
        sizes = []
        data = b""
        while len(data) < len(WORDS):
            sizes.append(len(piece := talk.client.recv(65536)))
            data += piece
    assert data == WORDS
    assert len(sizes) > 8, "it came in slices, even when some were read together"


def test_glue_joins_what_was_written_apart() -> None:
    with wire(Glued(hold_s=0.3)) as talk:
        for at in range(5):
            talk.exchange.sendall(b"%d" % at)
        talk.exchange.shutdown(socket.SHUT_WR)
        assert talk.client.recv(65536) == b"01234"
        assert take_all(talk.client) == b""


@pytest.mark.parametrize("towards", [CLIENT, EXCHANGE, BOTH])
def test_a_blackhole_swallows_its_directions_and_gives_everything_back(towards: str) -> None:
    with wire() as talk:
        hole = talk.proxy.switch_on(Blackhole(towards=towards))
        ends = {CLIENT: (talk.exchange, talk.client), EXCHANGE: (talk.client, talk.exchange)}
        for direction, (source, target) in ends.items():
            source.sendall(b"hello")
            if towards in {BOTH, direction}:
                assert is_quiet(target)
            else:
                assert take(target, 5) == b"hello"
        talk.proxy.switch_off(hole)
        for direction, (_, target) in ends.items():
            if towards in {BOTH, direction}:
                assert take(target, 5) == b"hello"


def test_a_blackhole_hides_an_end_as_well() -> None:
    with wire(Blackhole()) as talk:
        talk.exchange.shutdown(socket.SHUT_WR)
        assert is_quiet(talk.client)
        talk.proxy.switch_off()
        assert take_all(talk.client) == b""


def test_half_a_close_leaves_the_other_direction_open() -> None:
    with wire(HalfClose(at_byte=5)) as talk:
        talk.exchange.sendall(b"hello world")
        assert take_all(talk.client) == b"hello"
        talk.client.sendall(b"I can still talk")
        assert take(talk.exchange, 16) == b"I can still talk"


def test_a_reset_at_byte_n_lets_n_bytes_through() -> None:
    with wire(Reset(at_byte=700)) as talk:
        talk.exchange.sendall(WORDS)
        assert take(talk.client, 700) == WORDS[:700]
        with pytest.raises(ConnectionResetError):
            talk.client.recv(1)


def test_a_truncation_ends_decently_in_the_middle() -> None:
    with wire(Truncate(at_byte=700)) as talk:
        talk.exchange.sendall(WORDS)
        assert take_all(talk.client) == WORDS[:700]


def test_one_byte_is_corrupted_as_the_seed_or_the_mask_says() -> None:
    got = []
    for seed, mask in ((1, 0), (1, 0), (2, 0), (1, 0x20)):
        with wire(Corrupt(at_byte=300, mask=mask), seed=seed) as talk:
            for at in range(0, len(WORDS), 128):  # in whatever portions it may come
                talk.exchange.sendall(WORDS[at : at + 128])
            got.append(take(talk.client, len(WORDS)))
    assert got[0] == got[1] != got[2]
    for data in got:
        assert [at for at in range(len(WORDS)) if data[at] != WORDS[at]] == [300]
    assert got[3][300] == WORDS[300] ^ 0x20


def test_a_fault_strikes_as_often_as_it_says_and_counts_anew_on_each_connection() -> None:
    with wire(Truncate(at_byte=3, times=2)) as talk:
        for expected in (b"wor", b"wor", b"words"):
            talk.exchange.sendall(b"words")
            talk.exchange.shutdown(socket.SHUT_WR)
            assert take_all(talk.client) == expected
            if expected != b"words":
                talk.connect()
        assert [(strike.fault, strike.connection) for strike in talk.proxy.strikes] == [
            ("truncate", 1),
            ("truncate", 2),
        ]


def test_faults_work_together_in_the_order_they_were_switched_on() -> None:
    with wire(Corrupt(at_byte=1, mask=0x20), Sliced(), Truncate(at_byte=4)) as talk:
        talk.exchange.sendall(b"HELLO")
        assert take_all(talk.client) == b"HeLL"


@pytest.mark.parametrize("when", [seen(b"snapshot"), passed(8)])
def test_a_fault_is_switched_on_at_a_condition_while_the_stream_runs(when: object) -> None:
    with wire() as talk:
        talk.proxy.switch_on(Reset(), when=when)  # type: ignore[arg-type]  # conditions both
        talk.client.sendall(b"snapshot, please")  # the other direction does not count
        take(talk.exchange, 16)
        talk.exchange.sendall(b"hello")
        assert take(talk.client, 5) == b"hello"
        talk.exchange.sendall(b" snapshot")
        assert take(talk.client, 9) == b" snapshot"
        talk.exchange.sendall(b"gone")
        with pytest.raises(ConnectionResetError):
            talk.client.recv(1)
        assert talk.proxy.strikes[0].at_ns <= time.time_ns()


def test_all_connections_are_cut_on_command() -> None:
    with wire() as talk:
        talk.exchange.sendall(b"x")
        take(talk.client, 1)
        talk.proxy.cut()
        for end in (talk.client, talk.exchange):
            with pytest.raises(ConnectionResetError):
                end.recv(1)
        talk.connect()
        talk.exchange.sendall(b"new")
        assert take(talk.client, 3) == b"new"


def test_a_deaf_proxy_refuses_and_listens_again_at_the_same_port() -> None:
    with wire() as talk:
        talk.proxy.deafen()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", talk.proxy.port), PATIENCE_S)
        talk.proxy.listen()
        talk.connect()
        talk.client.sendall(b"again")
        assert take(talk.exchange, 5) == b"again"


@pytest.mark.parametrize(
    ("fault", "begin"),
    [
        (page(403), b"HTTP/1.1 403 "),
        (page(429, "Retry-After: 7"), b"HTTP/1.1 429 "),
        (page(302, "Location: https://example.invalid/"), b"HTTP/1.1 302 "),
        (Instead(answer=b"SSH-2.0-OpenSSH_9.2\r\n"), b"SSH-2.0-"),
    ],
)
def test_another_answers_in_the_place_of_the_exchange(fault: Instead, begin: bytes) -> None:
    with wire() as talk:
        talk.proxy.switch_on(fault)
        with socket.create_connection(("127.0.0.1", talk.proxy.port), PATIENCE_S) as client:
            client.sendall(b"GET / HTTP/1.1\r\n\r\n")
            assert take_all(client) == fault.answer
            assert fault.answer.startswith(begin)
        talk.connect()  # and the next one is let through


def test_tls_is_spoken_to_the_client_and_faults_see_plain_text(certificates: Certificates) -> None:
    trusting = ssl.create_default_context(cafile=certificates.authority)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE_S)
        upstream = f"127.0.0.1:{listener.getsockname()[1]}"
        with fault_proxy(upstream, tls=certificates.server) as proxy:
            proxy.switch_on(Corrupt(at_byte=0, mask=0x20))
            plain = socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S)
            with trusting.wrap_socket(plain, server_hostname="127.0.0.1") as client:
                exchange, _ = listener.accept()
                with exchange:
                    exchange.sendall(b"Hello")
                    assert take(client, 5) == b"hello"
                    client.sendall(b"thanks")
                    assert take(exchange, 6) == b"thanks"


def test_tls_passes_untouched_to_an_exchange_that_speaks_it_and_breaks_when_corrupted(
    certificates: Certificates,
) -> None:
    trusting = ssl.create_default_context(cafile=certificates.authority)
    with wire() as talk:
        with talk.exchange, talk.client:
            pass
        listener = talk._listener
        with ExitStack() as stack:
            plain = stack.enter_context(socket.create_connection(("127.0.0.1", talk.proxy.port), PATIENCE_S))
            below = stack.enter_context(listener.accept()[0])
            client_in, client_out, exchange_in, exchange_out = (ssl.MemoryBIO() for _ in range(4))
            client = trusting.wrap_bio(client_in, client_out, server_hostname="127.0.0.1")
            exchange = certificates.server.wrap_bio(exchange_in, exchange_out, server_side=True)
            below.settimeout(PATIENCE_S)
            for _ in range(4):
                for tls, out, sock, other, into in (
                    (client, client_out, plain, below, exchange_in),
                    (exchange, exchange_out, below, plain, client_in),
                ):
                    with suppress(ssl.SSLWantReadError):
                        tls.do_handshake()
                    if out.pending:
                        data = out.read()
                        sock.sendall(data)
                        into.write(take(other, len(data)))
            exchange.write(b"Hello")
            talk.proxy.switch_on(Corrupt(at_byte=20))
            data = exchange_out.read()
            below.sendall(data)
            client_in.write(take(plain, len(data)))
            with pytest.raises(ssl.SSLError):
                client.read(5)


def test_without_an_exchange_it_is_an_http_proxy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, fault_proxy() as proxy:
        listener.settimeout(PATIENCE_S)
        with socket.create_connection(("127.0.0.1", proxy.port), PATIENCE_S) as client:
            client.sendall(b"CONNECT 127.0.0.1:%d HTTP/1.1\r\n\r\n" % listener.getsockname()[1])
            exchange, _ = listener.accept()
            with exchange:
                assert client.recv(65536) == b"HTTP/1.1 200 Connection established\r\n\r\n"
                client.sendall(b"hello")
                assert take(exchange, 5) == b"hello"
    assert proxy.heads[0].startswith("CONNECT 127.0.0.1:")
