"""A world in memory: a sandbox, a network that fails, and processes that trade and may be killed anywhere.

The processes are the real choke point (`Trading`, `LookUps`, `ClientProtocol`) on a real `state.db`; only the
loop, the sockets and the clock are played here. Whatever happens follows from one seed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import closing, contextmanager
from heapq import heappop, heappush
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from krakenws.core.catalog import Bound, bind, find
from krakenws.core.events import Rejected, Reply, Unanswered, Update
from krakenws.core.protocol import CLOSE, CONNECT, ClientProtocol
from krakenws.core.signing import sign
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES
from krakenws.errors import ConnectionFailed, RequestRejected
from krakenws.exchange.keys import DEMO_ACCOUNT, DEMO_KEY, DEMO_SECRET, Grant
from krakenws.exchange.protocol import ServerProtocol
from krakenws.exchange.rest import HttpRequest
from krakenws.journal import Journal
from krakenws.net import lookups, trading
from krakenws.net.follow import Follow
from krakenws.net.trading import Trading
from krakenws.options import Options
from krakenws.record import replace
from krakenws.state import State
from tests.support.trading import Signals
from tests.support.venue import START_S, START_US, Exchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from random import Random

    from krakenws.core.inquiry import Question

    Verdict = Reply | Rejected | Unanswered

ENDPOINT = "wss://exchange.test"
MID_FRAMES, PRINTING = "between frames", "printing"
"""Points of a process's death beside those of `krakenws.net.trading`."""
NETWORK_S = 0.02
SLOW_TRADERS = 0.02
"""Acts a second of the traders: they fill what rests near the best prices, and cost little."""


class Killed(BaseException):
    """The process is dead."""


class Sent:
    """A trading request that left.

    Attributes:
        key: the intent's name and part, by the journal at the time it left; None if it had no row.
        is_durable: whether that row was written through to the disk, as far as SQLite was told to.
        lines: what the exchange's account says that it did; None if it did not arrive (yet).
        arrived_us: when it did.
    """

    def __init__(self, pid: int, message: dict[str, Any], key: tuple[str, int] | None) -> None:
        self.pid = pid
        self.message = message
        self.method: str = message["event"]
        self.key = key
        self.is_durable = False
        self.lines: list[dict[str, Any]] | None = None
        self.arrived_us: int | None = None

    def did(self, event: str) -> list[dict[str, Any]]:
        """Return what it did to the account."""
        return [
            line for line in self.lines or () if line["event"] == event and line["account"] == DEMO_ACCOUNT
        ]


class World:
    """A sandbox with a clock, a network, and the one `state.db` of its processes.

    Attributes:
        now: monotonic seconds.
        rest_fails: how often a REST call fails, 0 to 1.
        calm: no faults happen any more.
    """

    def __init__(self, random: Random, directory: str) -> None:
        self.random = random
        self.directory = directory
        self.exchange = Exchange(random.randrange(1 << 30), rate=SLOW_TRADERS)
        self.venue = self.exchange.venue
        self.sent: list[Sent] = []
        self.processes: list[Process] = []
        self.wires: list[Wire] = []
        self.rest_fails = 0.0
        self.calm = False
        self.current: Process | None = None
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._nonce = 0
        self._eyes = State(directory)

    @property
    def now(self) -> float:
        return self.exchange.now

    @property
    def now_ns(self) -> int:
        return START_US * 1000 + round((self.now - START_S) * 1e9)

    @property
    def truth(self) -> list[dict[str, Any]]:
        return self.exchange.truth

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Let something happen."""
        self._count += 1
        heappush(self._queue, (when, self._count, what))

    def rows(self, clause: str, *values: object) -> list[tuple[Any, ...]]:
        """Look into `state.db` as another process does: only what is committed is there."""
        query = f"SELECT id, part, state FROM intents {clause}"
        return self._eyes.transaction(lambda database: database.execute(query, values).fetchall())

    def close(self) -> None:
        for process in self.processes:
            process.close()
        self._eyes.close()

    # ---- time

    def run(self, for_s: float | None = None) -> None:
        """Let time pass: so long, or until every process has ended."""
        until = float("inf") if for_s is None else self.now + for_s
        while True:
            for process in self.processes:
                process.turn()
            for wire in self.wires:
                wire.pump()
            running = [process for process in self.processes if process.running]
            if for_s is None and not running:
                return
            at = min([self._next(), *(process.next_deadline() for process in running)])
            self.exchange.now = max(self.now, min(at, until))
            while self._queue and self._queue[0][0] <= self.now:
                heappop(self._queue)[2]()
            self.venue.on_deadline(self.now)
            for wire in self.wires:
                wire.on_time()
            for process in running:
                process.on_time()
            if at > until:
                return

    def _next(self) -> float:
        times = [wire.server.next_deadline() for wire in self.wires]
        times += [self._queue[0][0]] if self._queue else []
        venue_at = self.venue.next_deadline()
        return min([*times, float("inf") if venue_at is None else max(venue_at, self.now)], default=self.now)

    # ---- REST

    def ask(self, question: Question) -> object:
        """Make a signed call; it may fail."""
        if not self.calm and self.random.random() < self.rest_fails:
            raise ConnectionFailed("REST does not answer")
        self._nonce += 1
        body = urlencode({"nonce": self._nonce, **dict(question.fields)}).encode()
        headers = {
            "api-key": DEMO_KEY,
            "api-sign": sign(DEMO_SECRET, question.path, str(self._nonce), body),
        }
        assert self.venue.rest is not None
        request = HttpRequest("POST", question.path, (), headers, body, "127.0.0.1")
        answer = json.loads(self.venue.rest.answer(request, self.now).body, parse_float=str)
        if answer["error"]:
            raise RequestRejected(answer["error"][0], answer["error"][0])
        return answer["result"]


class Wire:
    """A connection of a process, and what befalls it.

    Attributes:
        dead: nothing comes through any more; whoever holds it may not know.
    """

    def __init__(self, world: World, link: Link) -> None:
        self.world = world
        self.link = link
        self.server = ServerProtocol(world.venue, private=True, connection_id=1, now=world.now)
        self.dead = False
        world.wires.append(self)

    def up(self, frame: bytes) -> None:
        """Take a frame of the client's; trading requests may fare badly."""
        world, random = self.world, self.world.random
        message = json.loads(frame)
        delay_s = NETWORK_S
        if message["event"] not in _TRADING:
            world.at(world.now + delay_s, lambda: self._arrive(frame, None))
            return
        found = world.rows("WHERE pid = ? AND req_id = ?", self.link.process.pid, str(message["reqid"]))
        sent = Sent(self.link.process.pid, message, found[0][:2] if len(found) == 1 else None)
        sent.is_durable = self.link.process.writes_through
        world.sent.append(sent)
        fault = "" if world.calm else random.choice(REQUEST_FAULTS)
        if fault == "cut before":
            self.cut(NETWORK_S)
        elif fault == "late":
            delay_s = random.choice((3.0, 8.0, 20.0, 60.0, 300.0)) * random.random()
        elif fault == "cut, late":  # out of the buffer of a network that was down
            delay_s = random.choice((10.0, 60.0, 300.0)) * random.random()
            self.cut(random.random())
        if not self.dead and fault != "swallowed":
            world.at(world.now + delay_s, lambda: self._arrive(frame, sent))
        if fault == "cut, late":
            self.dead = True
        if fault == "cut after":
            world.at(world.now + delay_s, lambda: self.cut(NETWORK_S))
            world.at(world.now + delay_s, self._die)

    def _die(self) -> None:
        self.dead = True

    def _arrive(self, frame: bytes, sent: Sent | None) -> None:
        before = len(self.world.truth)
        self.server.receive(frame, self.world.now)
        if sent is not None:
            sent.lines = self.world.truth[before:]
            sent.arrived_us = self.world.now_ns // 1000
        self.pump()

    def cut(self, after_s: float) -> None:
        """End the connection; the client hears of it later, or not at all, and finds out by itself."""
        self.dead = True
        if self.world.random.random() < 0.8:
            self.world.at(self.world.now + after_s, lambda: self.link.lost(self, "connection reset"))

    def pump(self) -> None:
        for frame in self.server.frames_to_send():
            if not self.dead:
                self._down(frame)
        if self.server.close is not None and not self.dead:
            self.cut(NETWORK_S)

    def _down(self, frame: bytes) -> None:
        world, random = self.world, self.world.random
        told = json.loads(frame)
        is_answer = isinstance(told, dict) and str(told.get("event", "")).removesuffix("Status") in _TRADING
        fault = random.choice(ANSWER_FAULTS) if is_answer and not world.calm else ""
        times = [world.now + NETWORK_S]
        if fault == "lost":
            times = []
        elif fault == "late":
            times = [world.now + random.choice((4.0, 6.0, 15.0, 45.0)) * random.random()]
        elif fault == "doubled":
            times.append(world.now + random.choice((0.1, 6.0)) * random.random() + NETWORK_S)
        elif fault == "foreign":
            for foreign in foreigners(told, random):
                data = json.dumps(foreign).encode()
                world.at(times[0], lambda data=data: self._heard(data))  # type: ignore[misc]
            times = random.choice((times, []))
        elif fault == "cut":  # what was said before arrives
            world.at(world.now + NETWORK_S, lambda: self.cut(NETWORK_S))
            times = []
        for at in times:
            world.at(at, lambda: self._heard(frame))

    def _heard(self, frame: bytes) -> None:
        if not self.dead:
            self.link.heard(self, frame)

    def on_time(self) -> None:
        if self.server.next_deadline() <= self.world.now:
            self.server.on_deadline(self.world.now)

    def end(self) -> None:
        """Forget it: the client is gone. What it sent is still on its way."""
        self.dead = True
        if self in self.world.wires:
            self.world.wires.remove(self)
            self.server.forsake(self.world.now)


_TRADING = ("addOrder", "amendOrder", "editOrder", "cancelOrder", "cancelAll", "cancelAllOrdersAfter")
REQUEST_FAULTS = ("", "", "", "", "cut before", "cut after", "late", "cut, late", "swallowed")
ANSWER_FAULTS = ("", "", "", "lost", "late", "doubled", "foreign", "cut")


def foreigners(told: dict[str, Any], random: Random) -> list[dict[str, Any]]:
    """Return answers that are not the request's, although they look so, and say the opposite."""
    event = told["event"]
    if told["status"] == "ok":
        other = {"event": event, "status": "error", "errorMessage": "EOrder:Insufficient funds"}
    else:
        other = {"event": event, "status": "ok", "txid": "OFOREI-GNFOR-EIGNXX"}
    kind = {"addOrderStatus": "cancelAllStatus"}.get(event, "addOrderStatus")
    return random.sample(
        [
            {**other, "reqid": told["reqid"] + 50},
            {**other, "reqid": str(told["reqid"])},
            {**other, "reqid": told["reqid"], "event": kind},
            {"event": event, "status": "ok", "txid": "OFOREI-GNFOR-EIGNXX"},
            {"event": "error", "errorMessage": "Exceeded msg rate"},
        ],
        2,
    )


class Link:
    """An endpoint of a process, as `net.loop.Link`."""

    def __init__(self, process: Process, *, looks: bool) -> None:
        self.process = process
        self.looks = looks
        options = replace(process.options, reconnect=1_000_000) if looks else process.options
        jitter = process.world.random.random
        self.protocol = ClientProtocol(V1, options, "private", jitter=jitter)
        self.wire: Wire | None = None
        self._opening = False

    def obey(self) -> None:
        """Do what the protocol wants: connect, send, drop."""
        world, protocol = self.process.world, self.protocol
        if protocol.wants == CONNECT:
            protocol.connecting(world.now)
            world.at(world.now + 3 * NETWORK_S, self._open)
        elif self.wire is not None:
            self._send(self.wire)
        if self.wire is not None and not protocol.connected:
            self.drop()

    def _open(self) -> None:
        world = self.process.world
        if not self.process.running or not self.protocol.connected or self not in self.process.links:
            return
        if not world.calm and self.looks and world.random.random() < 0.2:
            self.process.deliver(self, self.protocol.lost("refused", world.now_ns, world.now))
            return
        self.wire = Wire(world, self)
        self.protocol.opened(world.now, world.venue.issue_token(Grant(DEMO_ACCOUNT), world.now))

    def _send(self, wire: Wire) -> None:
        process = self.process
        if not self.looks:
            process.trading.leave(self.protocol)
        frames = self.protocol.frames_to_send()
        for number, frame in enumerate(frames):
            if number:
                process.reached(MID_FRAMES)
            wire.up(frame)
        if frames and not self.looks:
            process.trading.left()

    def heard(self, wire: Wire, frame: bytes) -> None:
        if wire is self.wire and self.process.running:
            world = self.process.world
            self.process.deliver(self, self.protocol.receive([frame], world.now_ns, world.now))

    def lost(self, wire: Wire, cause: str) -> None:
        if wire is self.wire and self.process.running:
            self.drop()
            world = self.process.world
            self.process.deliver(self, self.protocol.lost(cause, world.now_ns, world.now))

    def drop(self) -> None:
        if self.wire is not None:
            self.wire.end()
            self.wire = None


class Process:
    """A run of the command: lines joined by `+`, or `reconcile`.

    Args:
        world: where.
        lines: what it is told to do; none is `reconcile`.
        name: `--intent`.
        keyed: whether it has an API key, so that REST can be asked.
        follows: `--follow`.
        dies_at: the point at which it is killed, and how often it passes it before.

    Attributes:
        told: the verdicts that were printed.
        fills: the fills that were printed, by id.
        killed: whether it was, before its end.
    """

    def __init__(
        self,
        world: World,
        lines: Sequence[str] = (),
        *,
        name: str = "",
        keyed: bool = True,
        follows: bool = False,
        dies_at: tuple[str, int] = ("", 0),
    ) -> None:
        self.world = world
        self.name = name
        self.pid = len(world.processes) + 1
        self.options = Options()
        self.told: list[Verdict] = []
        self.fills: dict[str, int] = defaultdict(int)
        self.notes: list[str] = []
        self.running = True
        self.killed = False
        self.errand: Errand | None = None
        self._dies_at, self._passes = dies_at
        self._state = State(world.directory, durable=True)
        self.trading = Trading(
            self.options,
            Journal(self._state),
            Signals(),
            endpoint=ENDPOINT,
            account="key" if keyed else "",
            ask=world.ask if keyed else None,
            note=self.notes.append,
            name=name,
        )
        self.main = Link(self, looks=False)
        self.looker: Link | None = None
        self.follow = Follow() if follows else None
        self._held: list[Any] = []
        world.processes.append(self)
        self._guarded(lambda: self._begin(lines))

    @property
    def links(self) -> list[Link]:
        return [self.main] if self.looker is None else [self.main, self.looker]

    def _begin(self, lines: Sequence[str]) -> None:
        if not lines:
            self.trading.adopt_open()
        for line in lines:
            method, *words = line.split()
            entry = find(ENTRIES, method)
            assert entry is not None
            commands = self.trading.prepare(bind(entry, words))
            if self.follow is not None:
                _listen(self.main.protocol, self.world.now)
                self._held += commands
            else:
                self._request(commands)

    def _request(self, commands: Sequence[Any]) -> None:
        for command in commands:
            self.trading.expect(command, self.main.protocol.request(command.bound, self.world.now))

    @property
    def writes_through(self) -> bool:
        """Whether SQLite waited for the disk when this process wrote last: that is `FULL`, at least."""
        database = self._state._database
        return database is not None and database.execute("PRAGMA synchronous").fetchone()[0] >= 2

    # ---- life and death

    def _guarded(self, work: Callable[[], None]) -> None:
        if not self.running:
            return
        before, self.world.current = self.world.current, self
        try:
            work()
        except Killed:
            self.kill()
        finally:
            self.world.current = before

    def reached(self, point: str) -> None:
        """Die here, if this is the place."""
        if point == self._dies_at:
            self._passes -= 1
            if self._passes < 0:
                raise Killed

    def kill(self) -> None:
        """Press no keys: SIGKILL."""
        self.killed = self.killed or self.running
        self.close()

    def close(self) -> None:
        self.running = False
        for link in self.links:
            link.drop()
        self._state.close()

    # ---- the loop

    def turn(self) -> None:
        self._guarded(self._turn)

    def _turn(self) -> None:
        self._tell(self.trading.told())
        if self._held and self.follow is not None and self.follow.ready:
            self._request(self._held)
            self._held.clear()
        if self.trading.look_ups and self.looker is None:
            self.looker = Link(self, looks=True)
            _listen(self.looker.protocol, self.world.now)
        elif not self.trading.look_ups and self.looker is not None:
            self.looker.drop()
            self.looker = None
        for link in self.links:
            link.obey()
        if self._is_over():
            self.close()

    def _is_over(self) -> bool:
        if self.trading.busy:
            return False
        protocol = self.main.protocol
        ended = self.follow is not None and self.follow.over
        return ended or protocol.idle or bool(protocol.wants == CLOSE and protocol.failure)

    def next_deadline(self) -> float:
        times = [link.protocol.next_deadline() for link in self.links]
        times += [self.trading.look_ups.next_deadline(), self.errand.ready_at if self.errand else None]
        return min((time for time in times if time is not None), default=float("inf"))

    def on_time(self) -> None:
        self._guarded(self._on_time)

    def _on_time(self) -> None:
        now = self.world.now
        if self.errand is not None and self.errand.ready_at <= now:
            self.errand = None
            self._tell(self.trading.look_ups.collect())
        self._tell(self.trading.look_ups.on_deadline(now))
        for link in self.links:
            due = link.protocol.next_deadline()
            if due is not None and due <= now:
                self._deliver(link, link.protocol.on_deadline(self.world.now_ns, now))

    def deliver(self, link: Link, events: Sequence[Any]) -> None:
        self._guarded(lambda: self._deliver(link, events))

    def _deliver(self, link: Link, events: Sequence[Any]) -> None:
        heed = self.trading.look_ups.heed if link.looks else self.trading.heed
        self._tell(heed(events))

    def _tell(self, events: Sequence[Any]) -> None:
        if self.follow is not None:
            events = self.follow.heed(events)
        for event in events:
            if isinstance(event, Reply | Rejected | Unanswered):
                self.reached(PRINTING)
                self.told.append(event)
            elif self.follow is not None and isinstance(event, Update) and event.route.channel == "ownTrades":
                for part in event.body:
                    for name in part:
                        self.fills[name] += 1


def _listen(protocol: ClientProtocol, now: float) -> None:
    for name in lookups.CHANNELS:
        entry = find(ENTRIES, name)
        assert entry is not None
        protocol.subscribe(Bound(entry, {}), now)


class Errand:
    """A call whose answer takes its time, in place of a thread's."""

    world: World

    def __init__(self, work: Callable[[], Any], **_: Any) -> None:
        process = self.world.current
        assert process is not None
        self._result = work()
        self.ready_at = self.world.now + self.world.random.choice((0.05, 0.3, 2.0))
        self.watched = ()
        process.errand = self

    def result(self) -> Any:
        return self._result

    def close(self) -> None:
        """Nobody waits for it."""


@contextmanager
def played(random: Random, directory: str) -> Iterator[World]:
    """A world whose clock, chance and points of death `krakenws.net` has for its own."""
    with closing(World(random, directory)) as world:

        def current() -> Process:
            assert world.current is not None
            return world.current

        class OwnErrand(Errand):
            pass

        OwnErrand.world = world
        changes: list[tuple[Any, str, Any]] = [
            (trading, "time_ns", lambda: world.now_ns),
            (trading, "urandom", random.randbytes),
            (trading, "getpid", lambda: current().pid),
            (trading, "reached", lambda point: current().reached(point)),
            (lookups, "time_ns", lambda: world.now_ns),
            (lookups, "monotonic", lambda: world.now),
            (lookups, "Errand", OwnErrand),
        ]
        before = [(module, name, getattr(module, name)) for module, name, _ in changes]
        try:
            for module, name, value in changes:
                setattr(module, name, value)
            yield world
        finally:
            for module, name, value in before:
                setattr(module, name, value)
