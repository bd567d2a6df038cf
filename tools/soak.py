"""Soaks the sandbox exchange and the client: all pairs, all depths, until so many book updates are verified.

    python tools/soak.py [--updates N] [--rate N] [--depths 10,100] [--limit SECONDS]

Prints, now and then, the updates so far and the memory of both processes, and ends with 1 unless every
checksum agreed, no connection was lost, and both memories were flat after the first minute.
"""
# ruff: noqa: INP001, S101, S603 - a script that starts our own programs

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import NamedTuple

SHOWN_EVERY_S = 5.0
WARM_S = 60.0
"""Memory counts from here: until then snapshots, histories and buffers fill."""
GROWTH = 1.05
"""How much more memory than when warm is still flat: allocators breathe."""


class Soak(NamedTuple):
    """What a run has shown.

    Attributes:
        updates: book updates received, each verified by the client.
        trouble: what the client said of gaps and lost connections; nothing else is said.
        memory_kib: (seconds, exchange, client) at intervals.
        took_s: how long it ran.
    """

    updates: int
    trouble: str
    memory_kib: list[tuple[float, int, int]]
    took_s: float

    @property
    def growth(self) -> float:
        """The larger of both growths of memory since it was warm; 1.0 before."""
        warm = next((looked for looked in self.memory_kib if looked[0] >= WARM_S), self.memory_kib[-1])
        last = self.memory_kib[-1]
        return max(now / then for now, then in zip(last[1:], warm[1:], strict=True))


def rss_kib(pid: int) -> int:
    """Return the memory that a process has resident; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return int(status.partition("VmRSS:")[2].split(maxsplit=1)[0])


def soak(
    updates: int, *, rate: int, depths: tuple[int, ...], limit_s: float, every_s: float, show: bool
) -> Soak:
    """Run both programs until the client has had so many book updates, or the time is up."""
    krakenws = [sys.executable, "-P", "-m", "krakenws"]
    with TemporaryDirectory() as home, TemporaryFile() as errors:
        environ = {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8"}
        serve = [*krakenws, "sandbox", "--listen", "127.0.0.1:0", "--rate", str(rate)]
        with subprocess.Popen(serve, stdout=subprocess.PIPE, text=True, env=environ, cwd=home) as exchange:
            try:
                assert exchange.stdout is not None
                told = dict(exchange.stdout.readline().rstrip("\n").split(": ", 1) for _ in range(5))
                feeds = [word for depth in depths for word in ("+", "book", "*/*", str(depth))][1:]
                follow = [*krakenws, *feeds, "--reconnect", "never", "-o", "raw"]
                follow += ["--public-url", told["public"], "--rest-url", told["REST"]]
                with subprocess.Popen(
                    follow, stdout=subprocess.PIPE, stderr=errors, env=environ, cwd=home
                ) as client:
                    done = _watch(client, exchange.pid, updates, limit_s, every_s, show=show)
            finally:
                exchange.terminate()
        errors.seek(0)
        return done._replace(trouble=errors.read().decode())


def _watch(
    client: subprocess.Popen[bytes],
    exchange_pid: int,
    updates: int,
    limit_s: float,
    every_s: float,
    *,
    show: bool,
) -> Soak:
    """Count what the client passes on, and look at both memories at intervals."""
    assert client.stdout is not None
    began = next_look = time.monotonic()
    seen, rest, took_s = 0, b"", 0.0
    memory: list[tuple[float, int, int]] = []
    while seen < updates and took_s < limit_s:
        data = os.read(client.stdout.fileno(), 1 << 20)
        if not data:
            break
        whole, newline, rest = (rest + data).rpartition(b"\n")
        seen += whole.count(b',"book-') if newline else 0
        took_s = time.monotonic() - began
        if began + took_s >= next_look or seen >= updates:
            next_look += every_s
            memory.append((took_s, rss_kib(exchange_pid), rss_kib(client.pid)))
            if show:
                exchange_mib, client_mib = (kib / 1024 for kib in memory[-1][1:])
                print(
                    f"{took_s:6.1f} s {seen:10,} updates,"
                    f" exchange {exchange_mib:6.1f} MiB, client {client_mib:6.1f} MiB",
                    flush=True,
                )
    client.terminate()
    while os.read(client.stdout.fileno(), 1 << 20):
        pass
    return Soak(seen, "", memory, took_s)


def main() -> int:
    """Return 0 if all held."""
    parser = argparse.ArgumentParser(description="Soak the sandbox exchange and the client.")
    parser.add_argument("--updates", type=int, default=1_000_000, help="book updates to verify (1000000)")
    parser.add_argument("--rate", type=int, default=100, help="of the liveliest pairs, a second (100)")
    parser.add_argument("--depths", default="10,25,100,500,1000", help="10,25,100,500,1000")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which it ends anyway (600)")
    chosen = parser.parse_args()
    depths = tuple(int(depth) for depth in chosen.depths.split(","))
    done = soak(
        chosen.updates,
        rate=chosen.rate,
        depths=depths,
        limit_s=chosen.limit,
        every_s=SHOWN_EVERY_S,
        show=True,
    )
    print(
        f"{done.updates:,} book updates in {done.took_s:.0f} s, memory x{done.growth:.3f} since it was warm"
    )
    if done.trouble:
        print(done.trouble)
    held = done.updates >= chosen.updates and not done.trouble and done.growth <= GROWTH
    print("held" if held else "did not hold")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
