"""Client and exchange wired together in memory: time passes as fast as it can be computed.

The client's protocol is the real one, and so are the exchange's protocol and its market; between them,
instead of sockets, is a world that a row governs: whether connections succeed, what becomes of frames, and
what the clocks show.
"""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

from krakenws.core.catalog import bind
from krakenws.core.events import Disconnected, Gap, Update
from krakenws.core.protocol import CLOSE, CONNECT, ClientProtocol
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import ENTRIES
from krakenws.exchange.protocol import ServerProtocol, Venue
from krakenws.exchange.sandbox import SandboxVenue
from krakenws.options import Options

if TYPE_CHECKING:
    from collections.abc import Callable

    from krakenws.core.events import Event

WALL_S = 1_795_337_417
NS = 1_000_000_000


class QuietVenue(Venue):
    """An exchange on which nothing happens."""

    def next_deadline(self) -> float | None:
        """Return None: nothing is ever due."""
        return None

    def on_deadline(self, now: float, /) -> None:
        """Let time pass."""


class World:
    """A client, an exchange, and whatever is between them.

    Attributes:
        now: monotonic seconds of both.
        wall_s: what the client's wall clock shows beyond `now`.
        reachable: whether connections succeed.
        passes: what becomes of a frame on its way to the client.
        client: the client's protocol.
        venue: the exchange.
        told: what the client reported, each with its time.
        attempts: when connections were tried.
        asked: what the client sent, each with its time.
    """

    def __init__(
        self,
        *words: str,
        venue: Venue | None = None,
        pairs: tuple[str, ...] = ("XBT/USD", "ETH/USD"),
        seed: int = 1,
    ) -> None:
        self.now = 1000.0
        self.wall_s = float(WALL_S)
        self.reachable = True
        self.passes: Callable[[bytes], list[bytes]] = lambda frame: [frame]
        self.random = Random(seed)
        self.venue = venue or SandboxVenue(
            seed=seed, pairs=pairs, start_us=WALL_S * 1_000_000, now=self.now, rate=2.0
        )
        self.client = ClientProtocol(V1, Options(), "public", jitter=self.random.random)
        self.told: list[tuple[float, Update | Event]] = []
        self.attempts: list[float] = []
        self.asked: list[tuple[float, bytes]] = []
        self._server: ServerProtocol | None = None
        for word in words:
            name, *rest = word.split()
            entry = next(entry for entry in ENTRIES if entry.name == name)
            bound = bind(entry, rest, lambda _: [])
            if entry.name == "ping":
                self.client.request(bound, self.now)
            else:
                self.client.subscribe(bound, self.now)
        self._settle()

    # ---- what a row says

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        until = self.now + seconds
        while (due := self._due()) is not None and due <= until:
            self.now = max(self.now, due)
            self._turn()
        self.now = until
        self._turn()

    def cut(self, cause: str = "connection reset by peer", code: int | None = None) -> None:
        """Lose the connection."""
        self._forget()
        self._take(self.client.lost(cause, self.ns, self.now, code=code))
        self._settle()

    def events(self, *kinds: type) -> list[tuple[float, Update | Event]]:
        """Return what was told of some kinds."""
        return [(at, event) for at, event in self.told if isinstance(event, kinds)]

    def said(self, kind: type, **fields: object) -> list[float]:
        """Return when something was told."""
        return [
            at
            for at, event in self.events(kind)
            if all(getattr(event, name) == value for name, value in fields.items())
        ]

    @property
    def waits_s(self) -> list[float]:
        """How long the client said it would wait, after each loss."""
        return [event.retry_in_s or 0.0 for _, event in self.told if isinstance(event, Disconnected)]

    @property
    def gaps(self) -> list[Gap]:
        """The gaps told."""
        return [event for _, event in self.told if isinstance(event, Gap)]

    @property
    def most_attempts_in_10_min(self) -> int:
        """The largest number of attempts in any ten minutes."""
        return max(sum(at <= other < at + 600 for other in self.attempts) for at in self.attempts)

    # ---- inside

    @property
    def ns(self) -> int:
        """What the client's wall clock shows."""
        return int((self.now + self.wall_s) * NS)

    def _due(self) -> float | None:
        times = [self.client.next_deadline(), self.venue.next_deadline()]
        if self._server is not None:
            times.append(self._server.next_deadline())
        return min((time for time in times if time is not None), default=None)

    def _turn(self) -> None:
        due = self.venue.next_deadline()
        if due is not None and due <= self.now:
            self.venue.on_deadline(self.now)
        if self._server is not None:
            self._server.on_deadline(self.now)
        deadline = self.client.next_deadline()
        if deadline is not None and deadline <= self.now:
            self._take(self.client.on_deadline(self.ns, self.now))
        self._settle()

    def _settle(self) -> None:
        """Obey the client and carry frames, until nothing moves."""
        moved = True
        while moved:
            moved = False
            if not self.client.connected:
                self._forget()
            if self.client.wants == CONNECT:
                self._connect()
                moved = True
            assert self.client.wants != CLOSE or self.client.failure is None, self.client.failure
            for frame in self.client.frames_to_send():
                self.asked.append((self.now, frame))
                if self._server is not None:
                    self._server.receive(frame, self.now)
                moved = True
            frames = self._server.frames_to_send() if self._server is not None else []
            arrived = [out for frame in frames for out in self.passes(frame)]
            if arrived:
                self._take(self.client.receive(arrived, self.ns, self.now))
                moved = True
            if self._server is not None and self._server.close is not None:
                code, reason = self._server.close
                self.cut(f"closed by the exchange ({code} {reason})", code)

    def _connect(self) -> None:
        self._forget()
        self.attempts.append(self.now)
        self.client.connecting(self.now)
        if self.reachable:
            self._server = ServerProtocol(self.venue, private=False, connection_id=1, now=self.now)
            self.client.opened(self.now)
        else:
            self._take(self.client.lost("connection refused", self.ns, self.now))

    def _forget(self) -> None:
        if self._server is not None:
            self._server.closed(self.now)
            self._server = None

    def _take(self, events: list[Update | Event]) -> None:
        self.told += [(self.now, event) for event in events]
