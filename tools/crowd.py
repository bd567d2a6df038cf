"""Holds a session on a Unix socket to its promise: a client that crashes costs the others nothing.

    python tools/crowd.py [--clients N] [--kills N] [--every SECONDS] [--rate N]

Many clients of one `krakenws session --listen`, each with twenty subscriptions; one is killed now and then,
with data unread, and another takes its place; one never reads. What each of the others was told is compared
with what a `krakenws` with connections of its own was told: not one update may be missing, doubled or out of
order.

Prints what it saw, and ends with 1 unless nothing was missed and the session's memory was flat.
"""
# ruff: noqa: INP001, S101, S603 - a script that starts our own programs

from __future__ import annotations

import argparse
import os
import random
import selectors
import socket
import subprocess
import sys
import time
from collections import defaultdict
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PAIRS = ("XBT/USD", "ETH/USD", "SOL/USD", "XRP/USD", "ADA/USD", "XBT/EUR", "ETH/EUR", "XDG/USD")
CHANNELS = ("ticker", "spread", "trade", "book", "ohlc")
PAIRS_EACH = 4
"""Of each channel: twenty subscriptions."""
PATIENCE_S = 60.0
GROWTH = 1.1
"""How much more memory than after a third of the time is still flat: allocators breathe."""
SEED = 7
_READ_BYTES = 1 << 18
_WORRYING = (b'{"event":"gap"', b'{"event":"lagging"', b'{"event":"violation"', b'{"event":"disconnected"')


class Crowd(NamedTuple):
    """What a run has shown.

    Attributes:
        updates: of all clients that were not killed.
        missed: which feeds of a client are no unbroken part of the truth.
        worrying: gaps, lags and losses that clients were told of.
        warm_kib: memory of the session after a third of the time, and
        last_kib: at the end; 0 where the system does not tell.
        errors: what the session said to people.
    """

    updates: int
    missed: list[str]
    worrying: list[bytes]
    warm_kib: int
    last_kib: int
    errors: str


class Told:
    """What a reader was told: for each feed the marks of its updates, one after the other."""

    def __init__(self, name: str, source: socket.socket | IO[bytes]) -> None:
        self.name = name
        self.source = source
        self.feeds: dict[bytes, list[int]] = defaultdict(list)
        self.worrying: list[bytes] = []
        self.subscribed = self.books = 0
        self.is_done = False
        self._rest = b""

    def fileno(self) -> int:
        """Return the descriptor to read."""
        return self.source.fileno()

    def take(self) -> bool:
        """Read once; return False at the end."""
        data = os.read(self.fileno(), _READ_BYTES)
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(b'{"event":"update"'):
                head, _, rest = line.partition(b'"received":')
                if b'"type":"update"' in head:
                    self.feeds[head].append(hash(rest[rest.index(b'"data":') :]))
                elif b'"channel":"book"' in head:
                    self.books += 1
            elif line.startswith(b'{"event":"subscribed"'):
                self.subscribed += 1
            elif line.startswith(b'{"event":"session"'):
                self.is_done = True
            elif line.startswith(_WORRYING):
                self.worrying.append(line)
        return bool(data)

    @property
    def has_begun(self) -> bool:
        """Whether it follows all that there is, and every book of it has begun."""
        return self.subscribed == len(CHANNELS) * len(PAIRS) and self.books >= len(PAIRS)

    def missed(self, truth: Told) -> list[str]:
        """Return which feeds are no unbroken part of the truth."""
        return [
            f"{self.name}: {feed.decode()}"
            for feed, marks in self.feeds.items()
            if not _is_part(marks, truth.feeds.get(feed, []))
        ]


def _is_part(some: list[int], whole: list[int]) -> bool:
    starts = (at for at, mark in enumerate(whole) if mark == some[0])
    return any(whole[at : at + len(some)] == some for at in starts)


class Readers:
    """Reads for everybody, in turn."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def add(self, told: Told) -> Told:
        """Read for one more."""
        self._selector.register(told, selectors.EVENT_READ)
        return told

    def remove(self, told: Told) -> None:
        """Read no more for one."""
        self._selector.unregister(told)

    def read(self, until: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
        """Read until something is so; return False if it does not come to that in time."""
        deadline = time.monotonic() + patience_s
        while not until():
            if time.monotonic() > deadline:
                return False
            for key, _ in self._selector.select(0.05):
                assert isinstance(key.fileobj, Told)
                if not key.fileobj.take():
                    self.remove(key.fileobj)
        return True


def rss_kib(pid: int) -> int:
    """Return the memory that a process has resident; 0 where the system does not tell."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    return int(status.partition("VmRSS:")[2].split(maxsplit=1)[0])


def crowd(*, clients: int, kills: int, every_s: float, rate: int) -> Crowd:
    """Run a session with so many clients, and kill one of them every so many seconds."""
    with ExitStack() as stack:
        home = stack.enter_context(TemporaryDirectory())
        errors = stack.enter_context(TemporaryFile())
        environ = {"PATH": os.environ["PATH"], "HOME": home, "LANG": "C.UTF-8"}

        def start(*words: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "krakenws", *words],
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environ,
                cwd=home,
            )
            stack.callback(_end, process)
            return process

        exchange = start("sandbox", "-q", "--listen", "127.0.0.1:0", "--rate", str(rate), "--seed", str(SEED))
        assert exchange.stdout is not None
        told = dict(exchange.stdout.readline().decode().rstrip().split(": ", 1) for _ in range(5))
        ways = ("--public-url", told["public"], "--rest-url", told["REST"])
        feeds = [word for channel in CHANNELS for word in ("+", channel, *PAIRS)][1:]
        witness = start(*feeds, *ways, "-o", "json")
        session = start("session", "--listen", "unix:socket", *ways)
        assert witness.stdout is not None
        assert session.stdout is not None
        session.stdout.readline()
        told_by = Told("the truth", witness.stdout)
        seen = _watch(session, told_by, f"{home}/socket", clients=clients, kills=kills, every_s=every_s)
        errors.seek(0)
        return seen._replace(errors=errors.read().decode())


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    if process.stdout is not None:
        process.stdout.close()
    process.wait()


def _watch(
    session: subprocess.Popen[bytes], truth: Told, path: str, *, clients: int, kills: int, every_s: float
) -> Crowd:
    draw, readers, warm_kib = random.Random(SEED), Readers(), 0  # noqa: S311 - no secret

    def connect(pairs: Sequence[str]) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
        client.sendall("".join(f"{channel} {' '.join(pairs)}\n" for channel in CHANNELS).encode())
        return client

    def join(number: int, pairs: Sequence[str]) -> Told:
        return readers.add(Told(f"client {number}", connect(pairs)))

    readers.add(truth)
    first = join(0, PAIRS)  # what begins with a subscription of its own is not what others are told
    assert readers.read(lambda: truth.has_begun and first.has_begun), "not everything has begun"
    asleep = connect(PAIRS)  # one that never reads
    crowd = [join(number, draw.sample(PAIRS, PAIRS_EACH)) for number in range(1, clients + 1)]
    assert readers.read(lambda: all(one.subscribed == len(CHANNELS) * PAIRS_EACH for one in crowd))
    for turn in range(kills):
        readers.read(lambda: False, every_s)
        victim = crowd.pop(draw.randrange(len(crowd)))
        readers.remove(victim)
        victim.source.close()  # whatever is unread, as the kernel does for a process that crashed
        crowd.append(join(clients + 1 + turn, draw.sample(PAIRS, PAIRS_EACH)))
        if turn == kills // 3:
            warm_kib = rss_kib(session.pid)
    readers.read(lambda: False, every_s)
    last_kib = rss_kib(session.pid)
    for one in crowd:
        assert isinstance(one.source, socket.socket)
        one.source.sendall(b"status id=last\n")
    assert readers.read(lambda: all(one.is_done for one in crowd)), "not every client was answered"
    for one in crowd:
        readers.remove(one)
    readers.read(lambda: not any(one.missed(truth) for one in crowd), 5.0)  # the truth may come later
    _end(session)
    for source in [asleep, first.source, *(one.source for one in crowd)]:
        source.close()
    return Crowd(
        sum(len(marks) for one in crowd for marks in one.feeds.values()),
        [feed for one in crowd for feed in one.missed(truth)],
        [line for one in crowd for line in one.worrying],
        warm_kib,
        last_kib,
        "",
    )


def main() -> int:
    """Run it with the words given; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS")
    parser.add_argument("--rate", type=int, default=100, help="book updates a second of the market")
    words = parser.parse_args()
    seen = crowd(clients=words.clients, kills=words.kills, every_s=words.every, rate=words.rate)
    print(f"{words.clients} clients, {words.kills} killed, one every {words.every:g} s")
    print(f"updates told to those who were not: {seen.updates}")
    print(f"feeds with one missing: {len(seen.missed)}", *seen.missed[:5], sep="\n  ")
    print(f"gaps, lags and losses: {len(seen.worrying)}")
    print(f"memory of the session: {seen.warm_kib} KiB after a third, {seen.last_kib} KiB at the end")
    if seen.errors:
        print(seen.errors, file=sys.stderr)
    flat = seen.last_kib <= seen.warm_kib * GROWTH
    return 0 if flat and not seen.missed and not seen.worrying else 1


if __name__ == "__main__":
    sys.exit(main())
