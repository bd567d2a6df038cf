"""The Python API as tests call it: a client of a scripted exchange, within a deadline."""

from __future__ import annotations

import asyncio
import json
import os
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.request import Request, urlopen

import krakenws
from krakenws.sinks import Out
from krakenws.sinks.lines import Json
from tests.support.command import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from krakenws import Client, Event, Stream, Update
    from tests.support.sandbox import Sandbox
    from tests.support.server import ScriptedServer

T = TypeVar("T")


def run(coroutine: Coroutine[Any, Any, T], within_s: float = DEADLINE_S) -> T:
    """Return what a coroutine returns, which must not take long."""
    return asyncio.run(asyncio.wait_for(coroutine, within_s))


def client(server: ScriptedServer, *, cafile: str | None = None, **options: Any) -> Client:
    """Return a client of a scripted exchange."""
    return krakenws.connect(
        public_url=server.url,
        private_url=f"{server.url}/auth",
        cafile=cafile,
        options=krakenws.Options(**options),
    )


async def take(stream: Stream[Any], count: int) -> list[Update | Event]:
    """Return the next events of a stream, as many."""
    return [await anext(stream) for _ in range(count)]


async def updates(stream: Stream[Any], count: int) -> list[Update | Event]:
    """Return the events of a stream up to its so-many-th update."""
    told: list[Update | Event] = []
    while count:
        told.append(await anext(stream))
        count -= isinstance(told[-1], krakenws.Update)
    return told


async def wait_until(condition: Callable[[], object]) -> None:
    """Wait for what another thread makes true."""
    while not condition():  # noqa: ASYNC110 - it knows no event of ours
        await asyncio.sleep(0.001)


def strike(sandbox: Sandbox, rule: dict[str, Any]) -> None:
    """Have a sandbox do something wrong."""
    request = Request(f"{sandbox.told['REST']}/sandbox/faults", json.dumps(rule).encode(), method="POST")
    with urlopen(request, timeout=DEADLINE_S, context=sandbox.tls) as answer:
        assert json.load(answer)["error"] == []


def names(events: list[Update | Event]) -> list[str]:
    """Return what kind of event each one is."""
    return [event.name for event in events]


class _Kept(Out):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.data = b""

    def write(self, data: bytes) -> None:
        """Keep it."""
        self.data += data


def as_json(events: list[Update | Event]) -> list[dict[str, Any]]:
    """Return events as the command line's JSON has them."""
    out = _Kept()
    Json(out).write(events)
    return [json.loads(line) for line in out.data.splitlines()]


def timeless(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return JSON events without what differs from run to run."""
    times = {"received", "from", "to", "retry_in_s", "connection_id"}
    return [{name: value for name, value in event.items() if name not in times} for event in events]


def descriptors() -> int:
    """Return how many files this process has open."""
    return len(os.listdir("/proc/self/fd"))
