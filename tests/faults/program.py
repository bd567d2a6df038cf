"""A program of the Python API that plays the part of the command line in a row of the fault matrix.

    python program.py [--sync] WORDS… [OPTIONS…]

Words, options and output are the command line's, as far as rows need them. The API tells each stream its own
events, the command line all of them in one order: so what all streams of a connection were told is printed
once, behind what each of them had before and ahead of what comes after.
"""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from argparse import ArgumentParser
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import krakenws
from krakenws.core.events import Reply
from krakenws.sinks import Out
from krakenws.sinks.lines import Json

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from krakenws import Client, Event, KrakenWSError, Stream, Update, Verdict
    from krakenws.sync import Client as SyncClient

    Feed = tuple[str, list[str], dict[str, Any]]

PRIVATE = {"openOrders", "ownTrades"}
NUMBERS = {"book": "depth", "ohlc": "interval"}
COMMANDS = {"addOrder": "add_order", "cancelOrder": "cancel_order"}


class Enough(Exception):
    """As many data messages as were wanted are there."""


class Printed:
    """What goes to stdout, up to so many data messages."""

    def __init__(self, count: int | None) -> None:
        self._json = Json(Out(sys.stdout.fileno()))
        self._left = count

    def event(self, event: Update | Event) -> None:
        """Print an event."""
        self._json.write([event])
        if self._left is not None and isinstance(event, krakenws.Update):
            self._left -= 1
            if not self._left:
                raise Enough

    def verdict(self, command: str, verdict: Verdict) -> None:
        """Print what an order came to."""
        told = verdict.received_ns, command, verdict.req_id, verdict.result
        self._json.write([Reply(*told, intent=verdict.intent, found=verdict.found)])

    @staticmethod
    def failed(error: KrakenWSError) -> None:
        """Print what the program ends with."""
        received = datetime.now(UTC).isoformat()
        print(json.dumps({"event": "error", "received": received, "message": str(error)}), flush=True)
        print(f"krakenws: {error}", file=sys.stderr, flush=True)


class Merger:
    """Puts the streams of one connection into one order."""

    def __init__(self, printed: Printed) -> None:
        self._printed = printed
        self._queues: dict[Stream[Any], deque[Update | Event]] = {}

    def join(self, stream: Stream[Any]) -> None:
        """Wait for what this stream tells, from now on."""
        self._queues[stream] = deque()

    def take(self, stream: Stream[Any], events: Sequence[Update | Event]) -> None:
        """Print what is next, now that a stream has told more."""
        self._queues[stream].extend(events)
        self._print()

    def leave(self, stream: Stream[Any]) -> None:
        """Wait for this stream no longer: it has ended."""
        rest = self._queues.pop(stream)
        self._print()
        if not self._queues:
            for event in rest:
                self._printed.event(event)

    def _print(self) -> None:
        queues = [*self._queues.values()]
        while True:
            for queue in queues:
                while queue and not told_to_all(queue[0]):
                    self._printed.event(queue.popleft())
            if not queues or not all(queues):
                return
            event, *others = [queue.popleft() for queue in queues]
            assert all(other is event for other in others), "they differ in what all are told"
            self._printed.event(event)


def told_to_all(event: Update | Event) -> bool:
    """Return whether every stream of a connection is told of an event."""
    return not getattr(event, "channel", "")


def feeds(words: Sequence[str]) -> list[Feed]:
    """Return channels or a command, each with its pairs and parameters."""
    found: list[Feed] = []
    for feed in " ".join(words).split(" + "):
        name, *rest = feed.split()
        params: dict[str, Any] = dict(word.split("=", 1) for word in rest if "=" in word)
        params |= [(NUMBERS[name], word) for word in rest if word.isdigit()]
        found.append((name, [word for word in rest if "/" in word and "=" not in word], params))
    return found


def call(kraken: Client | SyncClient, command: str, params: dict[str, Any]) -> Any:
    """Call the method of a command."""
    names = [params.pop("txid")] if "txid" in params else []
    return getattr(kraken, COMMANDS[command])(*names, **params)


async def play(kraken: Client, words: Sequence[str], printed: Printed) -> None:
    """Do what the words say; what is streamed at once has a task for each stream."""
    if words[0] in COMMANDS:
        ((command, _, params),) = feeds(words)
        printed.verdict(command, await call(kraken, command, params))
        return

    async def follow(stream: Stream[Any], merger: Merger) -> None:
        try:
            while events := await stream.batch():
                merger.take(stream, events)
        finally:
            merger.leave(stream)

    wanted = [
        (channel, await kraken.pairs(*pairs) if "*" in "".join(pairs) else pairs, params)
        for channel, pairs, params in feeds(words)
    ]
    mergers = {is_private: Merger(printed) for is_private in (False, True)}
    try:
        async with asyncio.TaskGroup() as tasks:
            for channel, pairs, params in wanted:
                stream, merger = kraken.stream(channel, *pairs, **params), mergers[channel in PRIVATE]
                merger.join(stream)
                tasks.create_task(follow(stream, merger))
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from None


def play_blocking(kraken: SyncClient, words: Sequence[str], printed: Printed) -> None:
    """Do the same for a command or one stream."""
    ((name, pairs, params),) = feeds(words)
    if name in COMMANDS:
        printed.verdict(name, call(kraken, name, params))
        return
    for event in kraken.stream(name, *pairs, **params):
        printed.event(event)


def seconds(text: str) -> float:
    """Return the seconds of `500ms` or `1s`."""
    number = text.removesuffix("s").removesuffix("m")
    return float(number) / (1000 if text.endswith("ms") else 1)


def parse(line: Sequence[str]) -> tuple[Namespace, dict[str, Any]]:
    """Return what the program is to do, and what it gives to `krakenws.connect`."""
    parser = ArgumentParser()
    parser.add_argument("words", nargs="+")
    parser.add_argument("-o")
    parser.add_argument("--sync", action="store_true")
    parser.add_argument("--count", type=int)
    parser.add_argument("--for", type=seconds, dest="for_s")
    for name in ("--public-url", "--private-url", "--rest-url", "--cafile"):
        parser.add_argument(name)
    options = parser.add_argument_group("options")
    options.add_argument("--connect-timeout", type=seconds, dest="connect_timeout_s")
    options.add_argument("--ack-timeout", type=seconds, dest="ack_timeout_s")
    options.add_argument(
        "--look-ups", type=lambda text: tuple(map(seconds, text.split(","))), dest="look_ups_s"
    )
    options.add_argument("--reconnect", type=lambda text: {"forever": sys.maxsize}[text])
    options.add_argument("--strict", action="store_const", const=True)
    options.add_argument("--backfill", action="store_const", const=True)
    todo = parser.parse_intermixed_args(line)
    given = {name: value for name, value in vars(todo).items() if value is not None}
    urls = {name: value for name, value in given.items() if name.endswith("_url") or name == "cafile"}
    fields = {name: value for name, value in given.items() if name in krakenws.Options.__match_args__}
    chosen = {name: value for name, value in fields.items() if name not in urls}
    return todo, {**urls, "options": krakenws.Options(**chosen)}


async def main(todo: Namespace, given: dict[str, Any], printed: Printed) -> None:
    """Play with the async API, until SIGTERM at the latest."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(todo.for_s), krakenws.connect(**given) as kraken:
        await play(kraken, todo.words, printed)


def main_blocking(todo: Namespace, given: dict[str, Any], printed: Printed) -> None:
    """Play with the façade, until SIGTERM at the latest."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with krakenws.sync.connect(**given) as kraken:
        play_blocking(kraken, todo.words, printed)


def run(line: Sequence[str]) -> int:
    """Play, and return the exit code."""
    logging.basicConfig(format="krakenws: %(message)s", level=logging.WARNING)
    todo, given = parse(line)
    printed = Printed(todo.count)
    try:
        if todo.sync:
            main_blocking(todo, given, printed)
        else:
            asyncio.run(main(todo, given, printed))
    except (Enough, TimeoutError, asyncio.CancelledError, KeyboardInterrupt):
        pass
    except krakenws.KrakenWSError as error:
        printed.failed(error)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
