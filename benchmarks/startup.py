"""What a shell loop feels: a command from `fork` to exit."""

from __future__ import annotations

import time
from contextlib import contextmanager
from itertools import count, cycle
from typing import TYPE_CHECKING

from benchmarks.arena import HERE, PYTHON
from benchmarks.contest import Column, Contest, FailedError
from benchmarks.sandbox import PAIRS, exchange, token_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.arena import Arena

_MS = (Column("ms", "ms", "{:.1f}"),)
_PING = '{"event":"ping","reqid":1}'


class Startup(Contest):
    """Commands that come back at once."""

    name = "start-up"
    contestants = (
        "python -c pass",
        "python -I -c pass",
        "krakenws --help",
        "krakenws --help, installed by pip 23",
        "krakenws, a usage error",
        "krakenws ping, ws",
        "krakenws ping, wss",
        "original's ping, ws",
        "original's ping, wss",
    )
    references = ("python -c pass", "python -I -c pass")
    columns = _MS

    def __init__(self, arena: Arena, turns: int) -> None:
        self.turns = turns
        self._arena = arena

    def _command(self, who: str) -> tuple[list[str], int]:
        """Return what is started, and the exit code it must have."""
        if who.startswith("python"):
            return [PYTHON, *who.split()[1:]], 0
        if who == "krakenws --help":
            return [*self._arena.command, "--help"], 0
        if who.startswith("krakenws --help, "):
            return [*self._arena.command_by_old_pip, "--help"], 0
        if who == "krakenws, a usage error":
            return [*self._arena.command, "tickr"], 2
        whose, _, scheme = who.partition(" ping, ")
        if whose == "krakenws":
            return self._arena.krakenws(scheme, "", "ping"), 0
        return self._arena.rival("original", scheme, "", _PING, '"pong"'), 0

    def prepare(self, who: str) -> None:
        """Run it once, to warm the caches of the system."""
        self.measure(who)

    def measure(self, who: str) -> dict[str, float]:
        """Return milliseconds."""
        return {"ms": _milliseconds(self._arena, *self._command(who))}


class OneOrder(Contest):
    """`addOrder validate=true` as a command, sent to the sandbox."""

    name = "one addOrder"
    contestants = ("krakenws addOrder", "original's addOrder")
    references = ("original's addOrder",)
    columns = _MS

    def __init__(self, arena: Arena, turns: int) -> None:
        self.turns = turns
        self._arena = arena
        self._told: dict[str, str] = {}
        self._token = ""
        self._pairs = cycle(PAIRS)
        self._reqids = count(1)

    def prepare(self, who: str) -> None:
        """Let it run once: what it keeps from then on is not start-up."""
        with self.staged():
            self.measure(who)

    @contextmanager
    def staged(self) -> Iterator[None]:
        """Run a sandbox that has all the time of the world."""
        with exchange("--pairs", ",".join(PAIRS), "--rate", "1") as (_, told):
            self._told, self._token = told, token_of(told)
            token_file = self._arena.home / "token"
            token_file.write_text(self._token)
            token_file.chmod(0o600)
            # Each sandbox is a new exchange: its list of pairs, good for a day, is not start-up either.
            _milliseconds(self._arena, [*self._arena.command, "pairs", "--rest-url", self._told["REST"]], 0)
            yield

    def _command(self, who: str) -> list[str]:
        pair = next(self._pairs)
        if who == "krakenws addOrder":
            words = f"addOrder pair={pair} type=buy ordertype=limit price=1000 volume=0.1 validate=true"
            endpoints = ["--private-url", self._told["private"], "--rest-url", self._told["REST"]]
            token_file = str(self._arena.home / "token")
            return [*self._arena.command, *words.split(), *endpoints, "--token-file", token_file]
        frame = (
            f'{{"event":"addOrder","token":"{self._token}","pair":"{pair}","type":"buy","ordertype":"limit",'
            f'"price":"1000","volume":"0.1","validate":"true","reqid":{next(self._reqids)}}}'
        )
        python = self._arena.environments.program("websocket-client")
        program = [python, str(HERE / "rivals.py"), "original"]
        return [*program, self._told["private"], frame, "", '"addOrderStatus"']

    def measure(self, who: str) -> dict[str, float]:
        """Return milliseconds."""
        return {"ms": _milliseconds(self._arena, self._command(who), 0, (b'"ok"', b'"accepted"'))}


def _milliseconds(arena: Arena, argv: list[str], code: int, answers: tuple[bytes, ...] = (b"",)) -> float:
    output = bytearray()
    began_ns = time.perf_counter_ns()
    run = arena.run(argv, lambda _, data: output.extend(data))
    took_ms = (time.perf_counter_ns() - began_ns) / 1e6
    if run.code != code or not any(answer in output for answer in answers):
        raise FailedError(f"exit {run.code}: {output.decode()[-300:]}{run.errors[-300:]}")
    return took_ms
