"""What the sandbox exchange serves from one core: book updates a second, and how long an order takes.

    python benchmarks/sandbox.py [SECONDS]

The exchange is a process of its own at a rate no machine reaches. Those who read only cut frames and count
them, all in this process, so that the exchange is the limit wherever there is a second core.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import cycle
from json import loads
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from urllib.request import Request, urlopen

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind the package, whose name krakenws.py bears

from benchmarks.rivals import masked
from krakenws.core.signing import sign

if TYPE_CHECKING:
    from collections.abc import Iterator

READ_BYTES = 1 << 18
ENDLESS = "100000000"
WARM_UP_S = 2.0
"""By then every book has begun."""
ORDERS = 280  # an account may have 80 open in each pair
PAIRS = ("XBT/USD", "ETH/USD", "XBT/EUR", "ETH/EUR")


class Socket:
    """A WebSocket that cuts frames and looks no further."""

    def __init__(self, url: str) -> None:
        authority, _, path = url.removeprefix("ws://").partition("/")
        host, _, port = authority.rpartition(":")
        self.socket = socket.create_connection((host, int(port)))
        lines = (f"GET /{path} HTTP/1.1", f"Host: {authority}", "Upgrade: websocket", "Connection: Upgrade")
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        self.socket.sendall("\r\n".join((*lines, key, "Sec-WebSocket-Version: 13", "", "")).encode())
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.socket.recv(READ_BYTES)
        self._rest, self._end = data.partition(b"\r\n\r\n")[2], 0

    def send(self, text: str, key: bytes = bytes(4)) -> None:
        """Send a text frame."""
        self.socket.sendall(masked(text.encode(), key))

    def count(self) -> int:
        """Return how many data frames a read has completed."""
        return sum(self._rest[at] == ord("[") for at, _ in self._cut())

    def wait_for(self, text: bytes) -> bytes:
        """Return the next frame that contains a text."""
        while True:
            for at, end in self._cut():
                if text in self._rest[at:end]:
                    return self._rest[at:end]

    def _cut(self) -> list[tuple[int, int]]:
        """Read once; return where the whole frames begin and end."""
        news = self.socket.recv(READ_BYTES)
        if not news:
            sys.exit("the sandbox cut a client that read too slowly: this machine has too few cores")
        data = self._rest = self._rest[self._end :] + news
        spans, at, size = [], 0, len(data)
        while at + 2 <= size:
            length, head = data[at + 1], 2
            if length == 126:
                length, head = int.from_bytes(data[at + 2 : at + 4]), 4
            elif length == 127:
                length, head = int.from_bytes(data[at + 2 : at + 10]), 10
            if at + head + length > size:
                break
            spans.append((at + head, at + head + length))
            at += head + length
        self._end = at
        return spans


@contextmanager
def exchange(*words: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Run a sandbox; give its process id and what it prints."""
    command = [sys.executable, "-P", "-m", "krakenws", "sandbox", "--listen", "127.0.0.1:0", "-q", *words]
    with (
        TemporaryDirectory() as home,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={"PATH": os.environ["PATH"], "HOME": home}
        ) as process,
    ):
        assert process.stdout is not None
        told = dict(process.stdout.readline().rstrip("\n").split(": ", 1) for _ in range(5))
        try:
            yield process.pid, told
        finally:
            process.terminate()


def cpu_s(pid: int) -> float:
    """Return the processor time of a process, where the system tells."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_updates(clients: int, seconds: float) -> tuple[float, float]:
    """Return book updates a second, all clients together, and the share of a core the exchange had."""
    pairs = ",".join(f'"{pair}"' for pair in PAIRS)
    with exchange("--rate", ENDLESS, "--pairs", ",".join(PAIRS)) as (pid, told):
        sockets = [Socket(told["public"]) for _ in range(clients)]
        for each in sockets:
            each.send(f'{{"event":"subscribe","pair":[{pairs}],"subscription":{{"name":"book","depth":10}}}}')
        count_for(sockets, WARM_UP_S)
        cpu_began_s = cpu_s(pid)
        updates, took_s = count_for(sockets, seconds)
        return updates / took_s, (cpu_s(pid) - cpu_began_s) / took_s


def count_for(sockets: list[Socket], seconds: float) -> tuple[int, float]:
    """Read for a time; return how many data frames came, and how long it took."""
    by_file = {each.socket.fileno(): each for each in sockets}
    ready = select.poll()
    for file in by_file:
        ready.register(file, select.POLLIN)
    updates, began = 0, time.monotonic()
    while time.monotonic() < began + seconds:
        for file, _ in ready.poll(1000):
            updates += by_file[file].count()
    return updates, time.monotonic() - began


def token_of(told: dict[str, str]) -> str:
    """Return a WebSocket token, fetched as any client fetches it."""
    path, nonce = "/0/private/GetWebSocketsToken", str(time.time_ns())
    body = urlencode({"nonce": nonce})
    signature = sign(told["API secret"], path, nonce, body)
    headers = {"API-Key": told["API key"], "API-Sign": signature}
    with urlopen(Request(told["REST"] + path, body.encode(), headers)) as answer:
        return str(loads(answer.read())["result"]["token"])


def measure_orders() -> list[float]:
    """Return the milliseconds from request to answer, of orders on a lifelike market."""
    took_ms = []
    with exchange() as (_, told):
        desk = Socket(told["private"])
        token = token_of(told)
        order = f'{{"event":"addOrder","token":"{token}","ordertype":"limit","type":"buy","volume":"0.001"'
        for pair, reqid in zip(cycle(PAIRS), range(ORDERS)):
            began_ns = time.perf_counter_ns()
            desk.send(f'{order},"pair":"{pair}","price":"1000","reqid":{reqid}}}')
            answer = desk.wait_for(b'"addOrderStatus"')
            took_ms.append((time.perf_counter_ns() - began_ns) / 1e6)
            if b'"ok"' not in answer:
                sys.exit(f"order refused: {answer.decode()}")
    return sorted(took_ms)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 3.0
    print(
        "| sandbox, clients | book updates a second | to each | core | updates a core-second |\n"
        "| ---: | ---: | ---: | ---: | ---: |"
    )
    for clients in (1, 10):
        rate, busy = measure_updates(clients, seconds)
        per_core = rate / busy if busy else 0.0
        print(
            f"| {clients} | {rate:,.0f} | {rate / clients:,.0f} | {busy:.0%} | {per_core:,.0f} |", flush=True
        )
    took_ms = measure_orders()
    p99 = took_ms[len(took_ms) * 99 // 100]
    print(f"\naddOrder to its answer: p50 {median(took_ms):.2f} ms, p99 {p99:.2f} ms of {len(took_ms)}")


if __name__ == "__main__":
    main()
