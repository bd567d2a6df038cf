"""A round trip of `addOrder validate=true` through a warm session, beside a plain socket client's.

    python benchmarks/session.py [ROUNDS]

All take turns, order by order, against one sandbox: the plain client sends the frame and waits for the frame
that answers it; the session is given a line and answers with one, on pipes and on a Unix socket. What is
compared is medians of the same run.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind the package, whose name krakenws.py bears

from benchmarks.sandbox import Socket, exchange, token_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Ask = Callable[[str, int], bytes]
    """Sends an order of a pair under a number; returns its answer."""

ROUNDS = 200
WARM_UP = 20
PAIRS = (
    *("XBT/USD", "ETH/USD", "XBT/EUR", "ETH/EUR", "SOL/USD", "XRP/USD", "ADA/USD", "XDG/USD", "LTC/USD"),
    *("DOT/USD", "LINK/USD", "BCH/USD", "ATOM/USD", "UNI/USD"),
)
"""Each has a rate counter of its own, and a validated order counts as well."""
FIELDS = '"type":"buy","ordertype":"limit","price":"1","volume":"100","validate":"true"'
KRAKENWS = [sys.executable, "-P", "-m", "krakenws"]


def plain(told: dict[str, str]) -> Ask:
    """Return a plain client that is connected."""
    desk, token = Socket(told["private"]), token_of(told)

    def ask(pair: str, number: int) -> bytes:
        desk.send(f'{{"event":"addOrder","token":"{token}","pair":"{pair}",{FIELDS},"reqid":{number}}}')
        return desk.wait_for(b'"addOrderStatus"')

    return ask


def line(pair: str, number: int) -> bytes:
    """Return the line of an order."""
    return f'{{"id":{number},"do":"addOrder","pair":"{pair}",{FIELDS}}}\n'.encode()


def answered(read: Callable[[], bytes], number: int) -> bytes:
    """Read on until the answer of that number."""
    mark, data = f'"id":{number},'.encode(), b""
    while mark not in data or not data.endswith(b"\n"):
        data += read()
    return data


@contextmanager
def session(environ: dict[str, str]) -> Iterator[Ask]:
    """Run a session on pipes."""
    with subprocess.Popen(
        [*KRAKENWS, "session", "-q"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environ
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        to, from_ = process.stdin.fileno(), process.stdout.fileno()

        def ask(pair: str, number: int) -> bytes:
            os.write(to, line(pair, number))
            return answered(lambda: os.read(from_, 65536), number)

        try:
            yield ask
        finally:
            process.terminate()


@contextmanager
def served(environ: dict[str, str]) -> Iterator[Ask]:
    """Run a session on a Unix socket."""
    path = f"{environ['HOME']}/socket"
    command = [*KRAKENWS, "session", "-q", "--listen", f"unix:{path}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)

            def ask(pair: str, number: int) -> bytes:
                client.sendall(line(pair, number))
                return answered(lambda: client.recv(65536), number)

            try:
                yield ask
            finally:
                process.terminate()


def measure(contestants: dict[str, Ask], rounds: int) -> dict[str, list[float]]:
    """Return the microseconds of each contestant's round trips, in order of size."""
    took_us: dict[str, list[float]] = {name: [] for name in contestants}
    for number, pair in zip(range(1, WARM_UP + rounds + 1), cycle(PAIRS), strict=False):
        for name, ask in contestants.items():
            began_ns = time.perf_counter_ns()
            answer = ask(pair, number)
            took = (time.perf_counter_ns() - began_ns) / 1000
            if b'"ok"' not in answer and b'"accepted"' not in answer:
                sys.exit(f"{name}: order refused: {answer.decode()}")
            if number > WARM_UP:
                took_us[name].append(took)
    return {name: sorted(times) for name, times in took_us.items()}


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    with exchange("--pairs", ",".join(PAIRS), "--rate", "1") as (_, told), TemporaryDirectory() as home:
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": home,
            "KRAKENWS_PUBLIC_URL": told["public"],
            "KRAKENWS_PRIVATE_URL": told["private"],
            "KRAKENWS_REST_URL": told["REST"],
            "KRAKEN_API_KEY": told["API key"],
            "KRAKEN_API_SECRET": told["API secret"],
        }
        with session(environ) as on_pipes, served(environ) as on_socket:
            asks = {"plain socket client": plain(told), "session": on_pipes, "session --listen": on_socket}
            took_us = measure(asks, rounds)
    floor = median(took_us["plain socket client"])
    print("| addOrder validate=true | p50 µs | p99 µs | p50 x plain |\n| --- | ---: | ---: | ---: |")
    for name, times in took_us.items():
        p99 = times[len(times) * 99 // 100]
        print(f"| {name} | {median(times):.0f} | {p99:.0f} | {median(times) / floor:.2f} |")


if __name__ == "__main__":
    main()
