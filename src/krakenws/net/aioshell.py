"""The Python API's shell: the same links as the command line's, on the caller's asyncio loop.

The loop only says when a socket is ready (`add_reader`) and when time has come (`call_later`); everything
between is `net/shell.py`, so that one read is one `recv`, TLS included, and brings all of its frames at once.
Everything here runs in the loop's thread. Who reads what comes is `net/aiofeeds.py`.

Whatever ends a link ends its readers and requests, never those of another, and the next call begins anew.
"""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import TYPE_CHECKING

from krakenws.core.protocol import CLOSE
from krakenws.core.v1 import V1
from krakenws.core.v2 import V2
from krakenws.errors import ConnectionFailed, UsageError
from krakenws.net.poller import READ, WRITE
from krakenws.net.shell import GOODBYE_S, Shell, failure_of, has_closed
from krakenws.net.wording import translate, translated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import TypeAlias

    from krakenws.core.catalog import Bound
    from krakenws.core.dialect import Dialect
    from krakenws.core.events import Answered, Pong
    from krakenws.core.redaction import Redactor
    from krakenws.net.credentials import Credentials
    from krakenws.net.poller import HasFileno
    from krakenws.net.shell import Budget, Link
    from krakenws.options import Options

    Watched = Sequence[tuple[HasFileno, int]]
    Step = Callable[[Link], object]

    End: TypeAlias = Answered | Pong
    """How a request ends."""


DIALECTS: dict[int, Dialect] = {1: V1, 2: V2}
LOG = logging.getLogger("krakenws")
LOG.addHandler(logging.NullHandler())
LOG.addFilter(translated)
_STEPS = 3
"""Token, name, socket: each may take `options.connect_timeout_s` before a request can leave."""


class Wait:
    """What the callers of one command await: the ends of its requests.

    Attributes:
        link: where they go.
        bound: the command.
        callers: how many await it.
        numbers: of the requests that may still have to be given up.
        expected: how many ends there will be.
        unsent: how many requests were given up before they left.
        withdrawal: gives up in time what does not leave; None before the first caller awaits.
        end: done when all ends are there, or an error is.
    """

    __slots__ = ("_ends", "bound", "callers", "end", "expected", "link", "numbers", "unsent", "withdrawal")

    def __init__(self, link: Link, bound: Bound, expected: int) -> None:
        self.link = link
        self.bound = bound
        self.callers = 0
        self.numbers: list[int] = []
        self.expected = expected
        self.unsent = 0
        self.withdrawal: asyncio.TimerHandle | None = None
        self.end: asyncio.Future[list[End]] = asyncio.get_running_loop().create_future()
        self._ends: dict[int | None, End] = {}

    @property
    def name(self) -> str:
        """What the command is called."""
        return self.bound.entry.name

    def take(self, event: End) -> None:
        """Take the end of one request."""
        self._ends[event.req_id] = event
        self.settle()

    def settle(self) -> None:
        """Be done if everything is there."""
        if len(self._ends) >= self.expected and not self.end.done():
            self.end.set_result([*self._ends.values()])

    def fail(self, error: Exception) -> None:
        """Be done: the rest will never come."""
        if not self.end.done():
            self.end.set_exception(error)


class AsyncShell(Shell):
    """Links whose sockets the running asyncio loop watches.

    Args:
        options: endpoints and deadlines.
        redactor: cleans what leaves; secrets that credentials find are registered with it.
        credentials: where the token of private links comes from.
        budget: how often a site may be connected to, or None for as often as the back-off lets us.

    Raises:
        UsageError: the loop cannot watch sockets (Windows' proactor).
    """

    def __init__(
        self, options: Options, *, redactor: Redactor, credentials: Credentials, budget: Budget | None
    ) -> None:
        super().__init__(options, redactor=redactor, credentials=credentials, warn=LOG.warning, budget=budget)
        self._loop = asyncio.get_running_loop()
        if isinstance(self._loop, getattr(asyncio, "ProactorEventLoop", ())):
            raise UsageError(
                "this event loop cannot watch sockets: run with asyncio.SelectorEventLoop,"
                " or use krakenws.sync, which brings its own"
            )
        self._awaited: dict[tuple[Link, int], Wait] = {}
        self._watched: dict[tuple[Link, Step], tuple[Watched, list[tuple[int, int]]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._turns_soon = False
        self._is_closed = False

    @property
    def options(self) -> Options:
        """Endpoints and deadlines."""
        return self._options

    # ---- requests

    async def request(self, bound: Bound) -> End:
        """Send a command that does not trade once its connection is ready, and return its end.

        Raises:
            ConnectionFailed: it was not sent, as there is no connection, or the connection was given up.
            KrakenWSError: its link ended: no credentials, say.
        """
        link = self._link(bound)
        wait = Wait(link, bound, 1)
        self._expect(wait, link.protocol.request(bound, monotonic()))
        (end,) = await self._end_of(wait)
        return end

    def _expect(self, wait: Wait, req_id: int) -> None:
        wait.numbers.append(req_id)
        self._awaited[wait.link, req_id] = wait

    async def _end_of(self, wait: Wait) -> list[End]:
        """Return the ends of a command's requests; what has not left when nobody waits is never sent."""
        wait.callers += 1
        try:
            if wait.withdrawal is None:
                limit_s = _STEPS * self._options.connect_timeout_s
                wait.withdrawal = self._loop.call_later(limit_s, self._withdraw, wait, limit_s)
                self._awaiting(wait.link)
                self._turn()
            return await asyncio.shield(wait.end)
        finally:
            wait.callers -= 1
            if not wait.callers:
                self._forsake(wait)

    def _forsake(self, wait: Wait) -> None:
        """Take notice that nobody awaits a command any more."""
        if wait.withdrawal is not None:
            wait.withdrawal.cancel()
        self._give_up(wait)
        for req_id in wait.numbers:
            self._awaited.pop((wait.link, req_id), None)

    def _withdraw(self, wait: Wait, limit_s: float) -> None:
        """Give up what could not leave in time: nobody wants an order that leaves minutes later."""
        place = wait.link.target.shown
        self._fail_unsent(
            wait, ConnectionFailed(f"{wait.name} was not sent: {place} was not ready within {limit_s:g} s")
        )

    def _fail_unsent(self, wait: Wait, error: Exception) -> None:
        """End a wait that has nothing left to wait for, once what has not left is given up."""
        given_up = self._give_up(wait)
        wait.expected -= given_up
        wait.unsent += given_up
        if wait.expected:
            wait.settle()
        else:
            wait.fail(error)

    def _give_up(self, wait: Wait) -> int:
        """Give up the requests that have not left; return how many there were."""
        return sum(self._take_back(wait.link, req_id) for req_id in wait.numbers)

    def _take_back(self, link: Link, req_id: int) -> bool:
        """Return whether a request had not left, and now never will."""
        return link.protocol.give_up(req_id)

    def _settle(self, link: Link, event: End) -> None:
        self._conclude(event, [wait] if (wait := self._awaited.get((link, event.req_id or 0))) else [])

    @staticmethod
    def _conclude(event: End, waits: Sequence[Wait]) -> None:
        """Tell those who wait for it how a request ended."""
        if all(wait.end.done() for wait in waits):
            LOG.warning("nobody waits any more for this answer: %s", event)
        for wait in waits:
            wait.take(event)

    # ---- what a shell adds that has readers

    def _awaiting(self, link: Link) -> None:
        """Take notice that an answer on this link is awaited from here on."""

    def _sockets(self, link: Link) -> Watched:
        """Return what of a link's socket is waited for."""
        return link.transport.watched() if link.transport else ()

    def _further(self, link: Link) -> Iterable[tuple[Step, Watched]]:  # noqa: ARG002 - of a shell that trades
        """Return what else is waited for while this link is there."""
        return ()

    def _end_readers(self, link: Link, error: Exception | None) -> None:
        """Tell those who read a link that it ended; None: the client was closed."""

    # ---- a turn

    def _link(self, bound: Bound) -> Link:
        if self._is_closed:
            raise UsageError("this client is closed: use it inside its `async with` block")
        key = bound.entry.api, bound.entry.access
        link = self._links.get(key)
        if link is None:
            link = self._links[key] = self._make_link(DIALECTS[key[0]], key[1], detail=True)
            link.protocol.kept = True
        return link

    def _turn_soon(self) -> None:
        """Take a turn once whoever calls is done: he may be in the middle of one."""
        if not self._turns_soon:
            self._turns_soon = True
            self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        """Obey every protocol, then watch and wait for what they need now."""
        self._turns_soon = False
        if self._is_closed:
            return
        for link in [*self._links.values()]:
            self._try(link, self._obey)
            protocol = link.protocol
            if protocol.wants == CLOSE and protocol.failure:
                self._fail(link, failure_of(link))
        self._watch_all()
        self._arm()

    def _try(self, link: Link, step: Step) -> None:
        """Take a step of one link; what goes wrong ends that link and is raised where somebody awaits it."""
        try:
            step(link)
        except Exception as error:  # noqa: BLE001 - a defect, too, must not leave readers waiting for ever
            self._fail(link, error)

    def _on_ready(self, link: Link, step: Step) -> None:
        if link in self._links.values():
            self._try(link, step)
            self._turn()

    def _arm(self) -> None:
        dues = [due for link in self._links.values() if (due := self._due_of(link)) is not None]
        due = min(dues, default=None)
        now = monotonic()
        if due is None:
            return
        if self._timer is not None:
            if self._timer.when() - self._loop.time() <= due - now:  # early is no harm, and arming costs
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(max(0.0, due - now), self._on_timer)

    def _due_of(self, link: Link) -> float | None:
        """Return when (monotonic) a link is to be looked at again, or None."""
        return self._due(link)

    def _on_timer(self) -> None:
        self._timer = None
        now = monotonic()
        for link in [*self._links.values()]:
            due = self._due_of(link)
            if due is not None and due <= now:
                self._try(link, lambda link: self._tick(link, now))
        self._turn()

    # ---- sockets

    def _watch_all(self) -> None:
        """Watch what links wait for; what goes is unwatched first: a new socket may have an old number."""
        changed: list[tuple[Link, Step, Watched]] = []
        for link in self._links.values():
            errand, backfill = link.errand, link.backfill
            steps: list[tuple[Step, Watched]] = [
                (self._service, self._sockets(link)),
                (self._return, errand.watched if errand else ()),
                (self._fill, backfill.watched if backfill else ()),
                *self._further(link),
            ]
            for step, watched in steps:
                if self._watched.get((link, step), _NOTHING)[0] is not watched:
                    changed.append((link, step, watched))
        for link, step, _ in changed:
            self._unwatch(link, step)
        for link, step, watched in changed:
            numbers = [(sock.fileno(), mask) for sock, mask in watched]
            self._watched[link, step] = watched, numbers
            for number, mask in numbers:
                if mask & READ:
                    self._loop.add_reader(number, self._on_ready, link, step)
                if mask & WRITE:
                    self._loop.add_writer(number, self._on_ready, link, step)

    def _unwatch(self, link: Link, step: Step) -> None:
        """Stop watching, by number: the sockets may be closed already."""
        for number, mask in self._watched.pop((link, step), _NOTHING)[1]:
            if mask & READ:
                self._loop.remove_reader(number)
            if mask & WRITE:
                self._loop.remove_writer(number)

    # ---- the end

    def _fail(self, link: Link, error: Exception) -> None:
        """End a link, and what was for it; the next call makes another."""
        translate(error)
        self._drop(link)
        for wait in self._waits(link):
            self._fail_unsent(wait, error)
        self._break_off(link, error)
        self._end_readers(link, error)

    def _waits(self, link: Link) -> list[Wait]:
        """Return who waits for the ends of requests to a link."""
        return list(dict.fromkeys(wait for (its, _), wait in self._awaited.items() if its is link))

    def _break_off(self, link: Link, error: Exception) -> None:
        """End the waits for answers that will not come."""
        for wait in self._waits(link):
            wait.fail(error)

    def _release(self, link: Link) -> None:
        for key in [key for key in self._watched if key[0] is link]:
            self._unwatch(*key)

    def _drop(self, link: Link) -> None:
        """Forget a link and all that is for it."""
        for key in [key for key, its in self._links.items() if its is link]:
            del self._links[key]
        self._release(link)
        link.drop()
        link.end_errand()
        if link.backfill is not None:
            link.backfill.end()

    async def close(self) -> None:
        """Say goodbye: readers end, requests are broken off, sockets are closed.

        Close frames get a moment: a socket closed with unread data takes them along.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        links = [*self._links.values()]
        for link in links:
            self._release(link)
            closed = ConnectionFailed("the client was closed")
            for wait in self._waits(link):
                self._fail_unsent(wait, ConnectionFailed(f"{wait.name} was not sent: {closed}"))
            self._break_off(link, closed)
            self._end_readers(link, None)
        open_ = [asyncio.ensure_future(self._goodbye(link)) for link in links if self._end(link)]
        try:
            if open_:
                await asyncio.wait(open_, timeout=GOODBYE_S)
        finally:
            for task in open_:
                task.cancel()
            for link in links:
                link.drop()

    async def _goodbye(self, link: Link) -> None:
        while (transport := link.transport) is not None and (websocket := link.websocket) is not None:
            data = transport.read()
            if data is None or (data and has_closed(websocket, data)):
                return
            await self._readable([sock.fileno() for sock, _ in transport.watched()])

    async def _readable(self, numbers: Sequence[int]) -> None:
        news = asyncio.Event()
        for number in numbers:
            self._loop.add_reader(number, news.set)
        try:
            await news.wait()
        finally:
            for number in numbers:
                self._loop.remove_reader(number)


_NOTHING: tuple[Watched, list[tuple[int, int]]] = ((), [])
