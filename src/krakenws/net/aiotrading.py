"""What trades, on asyncio: every order of the Python API goes through `net.trading.Trading`, as a run's do.

What may take long leaves the caller's loop alone: the gate (REST, a policy's questions) is asked in a thread,
one order after the other, because limits count those that passed before; look-ups ask REST in errands.

The rows of the journal are written by the loop itself, an fsync of some milliseconds, right before the frame
leaves. In a thread, anything could come between row and frame: a cancellation, a lost connection, the end of
the client; a row without its frame would have to be looked for. So no frame leaves without a row, and a row
without a frame is left only by a crash.

A wait may be broken off at any time. What has not left then is never sent. What has left is settled in the
journal when its answer comes, whoever waits; when the client is closed before, its row stays open, for
`krakenws reconcile`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, time_ns
from typing import TYPE_CHECKING

from krakenws.core.catalog import PRIVATE
from krakenws.core.events import Answered, Reply
from krakenws.core.inquiry import named
from krakenws.core.intents import NameTaken
from krakenws.core.odometer import Odometer
from krakenws.core.requests import only_validates
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import PLACING
from krakenws.errors import ConnectionFailed, KrakenWSError, OutcomeUnknown, PolicyRefused
from krakenws.net.aiofeeds import FeedShell
from krakenws.net.aioshell import LOG, Wait
from krakenws.net.facts import quote_at_hand
from krakenws.net.shell import listen
from krakenws.net.trading import RECONCILE, requests_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Protocol

    from krakenws.core.catalog import Bound
    from krakenws.core.events import Event, Update
    from krakenws.core.exposure import Exposure, Quote
    from krakenws.core.redaction import Redactor
    from krakenws.core.requests import Request
    from krakenws.net.aioshell import End, Step, Watched
    from krakenws.net.credentials import Credentials
    from krakenws.net.shell import Budget, Link
    from krakenws.net.trading import Check, Trading
    from krakenws.options import Options

    class Office(Protocol):
        """Makes what a client trades with, when it first does."""

        def check(self, bound: Bound, waiting: Sequence[Bound], quote: Quote | None) -> Exposure | None:
            """Let an order pass `Gate.check`, given its pair's prices; called in the thread for checks."""

        def close_checks(self) -> None:
            """Let go of the gate's files, in the same thread."""

        def trading(self, check: Check) -> Trading:
            """Return what orders go through; `check` tells what those that passed the gate may come to."""

        def close(self) -> None:
            """Let go of the journal."""


_LOOKING = (V1.api, "look-ups")
"""Where the link for look-ups is kept among the others."""


class NoSignals:
    """For `Trading`: signals are the caller's affair."""

    def hold(self) -> None:
        """Let nothing wait."""

    release = hold


class TradingShell(FeedShell):
    """A `FeedShell` that trades; `office` makes what that takes."""

    def __init__(
        self,
        options: Options,
        *,
        redactor: Redactor,
        credentials: Credentials,
        budget: Budget | None,
        office: Office,
    ) -> None:
        super().__init__(options, redactor=redactor, credentials=credentials, budget=budget)
        self._office = office
        self._trading: Trading | None = None
        self._odometer = Odometer(LOG.warning)
        self._owed: dict[str, list[Wait]] = {}
        self._one_by_one = asyncio.Lock()
        self._checking = ThreadPoolExecutor(max_workers=1, thread_name_prefix="krakenws checks")
        self._passed: tuple[Bound, Exposure | None] | None = None

    # ---- orders

    async def order(self, bound: Bound, name: str = "") -> list[End]:
        """Send a command that trades, and return the verdicts on its requests, in the order they came.

        Args:
            bound: the command.
            name: the user's for it: used again, it is answered with the first verdict, and nothing is sent.

        Raises:
            ConnectionFailed: it was not sent, or not all of it.
            OutcomeUnknown: it was sent, and the client was closed before its verdict was known.
            KrakenWSError: it must not be sent: a check, the policy, the journal, credentials.
        """
        if bound.entry.name in PLACING:
            async with self._one_by_one:
                await self._pass(bound, name)
                wait, id_ = self._begin(bound, name)
        else:  # what only takes away waits for nobody's checks
            wait, id_ = self._begin(bound, name)
        self._owed.setdefault(id_, []).append(wait)
        try:
            ends = await self._end_of(wait)
        finally:
            self._owed[id_].remove(wait)
            if not self._owed[id_]:
                del self._owed[id_]
        if wait.numbers and wait.link in self._links.values():
            self.keep(wait.link)
            self._turn_soon()
        if wait.unsent and all(isinstance(end, Reply) for end in ends):
            raise ConnectionFailed(f"{wait.name}: {wait.unsent} of its requests were not sent")
        return ends

    async def _pass(self, bound: Bound, name: str) -> None:
        """Let an order pass the gate, in the thread for that; one that is answered by its name need not."""
        self._link(bound)
        trading = self._open_trading()
        if not trading.knows(name):
            check, waiting = self._office.check, trading.waiting
            quote = self._quote(str(bound.values.get("pair", "")))  # of a book that lives in this thread
            exposure = await self._loop.run_in_executor(self._checking, check, bound, waiting, quote)
            self._passed = bound, exposure

    def _quote(self, pair: str) -> Quote | None:
        return quote_at_hand([link for link in self._links.values() if not self.is_stale(link)], pair)

    def _begin(self, bound: Bound, name: str) -> tuple[Wait, str]:
        """Put a command on its way; return who waits for it, and what it is called."""
        link, trading = self._link(bound), self._open_trading()
        commands = trading.prepare(bound, name)
        if commands and not only_validates(bound) and not self._odometer.has_recalled:
            self._odometer.recall(trading.earlier, time_ns())
        wait = Wait(link, bound.entry.name, len(commands) or len(requests_of(bound, str)))
        for command in commands:
            req_id = link.protocol.request(command.bound, monotonic())
            trading.expect(command, req_id)
            self._odometer.sending(command.bound, req_id, time_ns() // 1000)
            self._expect(wait, req_id)
        return wait, commands[0].id if commands else name

    def _open_trading(self) -> Trading:
        if self._trading is None:
            self._trading = self._office.trading(self._exposure)
        return self._trading

    def _exposure(self, bound: Bound) -> Mapping[str, str] | None:
        """Return what an order that passed the gate may come to: `Trading` asks before it prepares one."""
        if bound.entry.name not in PLACING:
            return None
        passed, exposure = self._passed or (None, None)
        assert passed is bound  # noqa: S101 - `order` went through the gate just before
        return None if exposure is None else exposure.__dict__

    def _take_back(self, link: Link, req_id: int) -> bool:
        if not super()._take_back(link, req_id):
            return False
        if self._trading is not None and link.name == PRIVATE:
            self._trading.give_up(req_id)
        return True

    # ---- what leaves, and what comes back

    def _leaving(self, link: Link) -> None:
        if self._trading is None or link.key != (V1.api, PRIVATE) or link.looks:
            return
        leaving = [
            one for one in link.protocol.leaving if one.entry.trading and not only_validates(one.bound)
        ]
        try:
            self._trading.leave(link.protocol)
        except PolicyRefused as refused:  # what others sent meanwhile has used up what there was
            self._hold_back(link, [one for one in leaving if one.entry.name in PLACING], refused)
            self._leaving(link)
        except NameTaken as taken:  # what bore the name was withdrawn; the others may go
            for number in taken.numbers:
                if wait := self._awaited.get((link, number)):
                    wait.fail(taken)
            self._leaving(link)
        except KrakenWSError as error:  # no row, no frame; streams on the same connection go on
            self._hold_back(link, leaving, error)

    def _hold_back(self, link: Link, leaving: Sequence[Request], error: KrakenWSError) -> None:
        """Let requests not leave, and tell those who wait for them why."""
        assert self._trading is not None  # noqa: S101 - whose they are
        for request in leaving:
            if request in link.protocol.leaving:
                link.protocol.withdraw(request)
                self._trading.give_up(request.req_id)
            if wait := self._awaited.get((link, request.req_id)):
                wait.fail(error)

    def _sent(self, link: Link, frames: list[bytes]) -> None:  # noqa: ARG002 - of what was to leave, that it did
        if self._trading is not None and not link.looks:
            self._trading.left()

    def _deliver(self, link: Link, frames: list[bytes], events: list[Update | Event]) -> None:
        if self._trading is not None and link.name == PRIVATE:
            if link.looks:
                self._tell_verdicts(self._trading.look_ups.heed(events))
                return
            events = self._trading.heed(self._odometer.heed(events))
        super()._deliver(link, frames, events)

    def _settle(self, link: Link, event: End) -> None:
        name = getattr(event, "intent", "")
        if name:
            self._conclude(event, self._owed.get(name, ()))
        else:
            super()._settle(link, event)

    def _tell_verdicts(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, Answered):
                self._conclude(event, self._owed.get(getattr(event, "intent", ""), ()))

    # ---- look-ups: what they wait for is waited for along with their link

    def _turn(self) -> None:
        self._look()
        super()._turn()
        if self._trading is not None and bool(self._trading.look_ups) != (_LOOKING in self._links):
            self._turn_soon()

    def _look(self) -> None:
        """Tell what was known without asking; open and close the connection for look-ups."""
        trading = self._trading
        if trading is None or self._is_closed:
            return
        self._tell_verdicts(trading.told())
        looker = self._links.get(_LOOKING)
        if trading.look_ups and looker is None:
            self._links[_LOOKING] = looker = self._make_link(V1, PRIVATE, detail=True, looks=True)
            listen(looker)
        elif not trading.look_ups and looker is not None:
            self._drop(looker)
            trading.look_ups.forget()

    def _further(self, link: Link) -> Iterable[tuple[Step, Watched]]:
        if self._trading is None or not link.looks:
            return ()
        return ((self._collect, self._trading.look_ups.watched),)

    def _collect(self, _looker: Link) -> None:
        assert self._trading is not None  # noqa: S101 - whose look-ups they are
        self._tell_verdicts(self._trading.look_ups.collect())

    def _due(self, link: Link) -> float | None:
        due = super()._due(link)
        if self._trading is None or not link.looks:
            return due
        look_at = self._trading.look_ups.next_deadline()
        return min((at for at in (due, look_at) if at is not None), default=None)

    def _tick(self, link: Link, now: float) -> None:
        super()._tick(link, now)
        if self._trading is not None and link.looks:
            self._tell_verdicts(self._trading.look_ups.on_deadline(now))

    # ---- the end

    def _fail(self, link: Link, error: Exception) -> None:
        if link.looks:
            LOG.warning("looking for lost answers was broken off, and begins anew: %s", error)
        super()._fail(link, error)

    def _break_off(self, link: Link, error: Exception) -> None:
        """What was sent to trade is looked for; when the client is closed, its row stays open."""
        if self._trading is None or link.key != (V1.api, PRIVATE) or link.looks:
            super()._break_off(link, error)
            return
        if self._is_closed:
            self._leave_open()
            return
        ended = link.protocol.lost(str(error), time_ns(), monotonic(), final=True)
        for event in self._trading.heed(self._odometer.heed(ended)):
            if isinstance(event, Answered):
                self._settle(link, event)

    def _leave_open(self) -> None:
        assert self._trading is not None  # noqa: S101 - the caller looked
        shown = {intent.id: named(intent) for intent in self._trading.owed}
        for id_, waits in self._owed.items():
            for wait in waits:
                wait.fail(
                    OutcomeUnknown(
                        f"{shown.get(id_, wait.name)} was sent, and its outcome is unknown:"
                        f" the client was closed before it was answered; {RECONCILE}",
                        id_,
                    )
                )

    async def close(self) -> None:
        """Say goodbye, as every shell does; then let go of the journal."""
        if self._is_closed:
            return
        try:
            await super().close()
        finally:
            if self._trading is not None:
                self._trading.look_ups.finish()
                self._office.close()
                self._checking.submit(self._office.close_checks)
            self._checking.shutdown(wait=False)
