"""What trades, on asyncio: every order of the Python API goes through `net.trading.Trading`, as a run's do.

What may take long leaves the caller's loop alone: the gate (REST, a policy's questions) is asked in a thread,
one order after the other, because limits count those that passed before; look-ups ask REST in errands.

The rows of the journal are written by the loop itself, an fsync of some milliseconds, right before the frame
leaves. In a thread, anything could come between row and frame: a cancellation, a lost connection, the end of
the client; a row without its frame would have to be looked for. So no frame leaves without a row, and a row
without a frame is left only by a crash. The loop does not wait for a file that another program has locked:
what needs a row is put off, in its order, and tried again until `PATIENCE_S` have passed.

Calls under one name await one command. A wait may be broken off at any time. When nobody waits any more, what
has not left is never sent, and what has left is settled in the journal when its answer comes; when the client
is closed before, its row stays open, for `krakenws reconcile`.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import getpid
from time import monotonic, time_ns
from typing import TYPE_CHECKING

from krakenws.core.catalog import PRIVATE
from krakenws.core.events import Answered, Reply, Unanswered
from krakenws.core.inquiry import named
from krakenws.core.intents import NameTaken
from krakenws.core.odometer import Odometer
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import PLACING
from krakenws.errors import (
    ConnectionFailed,
    IntentUnderway,
    KrakenWSError,
    OutcomeUnknown,
    PolicyRefused,
    StateLocked,
)
from krakenws.net.aiofeeds import FeedShell
from krakenws.net.aioshell import LOG, Wait
from krakenws.net.facts import quote_at_hand
from krakenws.net.ledger import AGAIN_S, PATIENCE_S, LoopLedger
from krakenws.net.shell import listen
from krakenws.net.trading import RECONCILE, asked_of, hold_to, requests_of, told_of
from krakenws.record import replace

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Protocol, TypeVar

    from krakenws.core.catalog import Bound
    from krakenws.core.events import Event, Update
    from krakenws.core.exposure import Exposure, Quote
    from krakenws.core.intents import Intent
    from krakenws.core.redaction import Redactor
    from krakenws.core.requests import Request
    from krakenws.net.aioshell import End, Step, Watched
    from krakenws.net.credentials import Credentials
    from krakenws.net.ledger import Journal
    from krakenws.net.shell import Budget, Link
    from krakenws.net.trading import Check, Trading
    from krakenws.options import Options

    T = TypeVar("T")

    class Office(Protocol):
        """Makes what a client trades with, when it first does."""

        @property
        def journal(self) -> Journal:
            """The journal, for the loop's thread."""

        def check(self, bound: Bound, waiting: Sequence[Bound], quote: Quote | None) -> Exposure | None:
            """Let an order pass `Gate.check`, given its pair's prices; called in the thread for checks."""

        def close_checks(self) -> None:
            """Let go of the gate's files, in the same thread."""

        def trading(self, ledger: LoopLedger, check: Check) -> Trading:
            """Return what orders go through; `check` tells what those that passed the gate may come to."""

        def close(self) -> None:
            """Let go of the journal."""


_LOOKING = (V1.api, "look-ups")
"""Where the link for look-ups is kept among the others."""


class OrderWait(Wait):
    """What the callers of one trading command await.

    Attributes:
        id: the name of its intent.
        asked_elsewhere_ns: when (nanoseconds since 1970) another process sent it, 0 if none did.
    """

    __slots__ = ("asked_elsewhere_ns", "id")

    def __init__(self, link: Link, bound: Bound, expected: int, id_: str, asked_elsewhere_ns: int) -> None:
        super().__init__(link, bound, expected)
        self.id = id_
        self.asked_elsewhere_ns = asked_elsewhere_ns


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
        self._ledger = LoopLedger(office.journal, LOG.warning)
        self._trading: Trading | None = None
        self._odometer = Odometer(LOG.warning)
        self._departing: list[Request] = []
        self._owed: dict[str, list[OrderWait]] = {}
        self._one_by_one = asyncio.Lock()
        self._checking = ThreadPoolExecutor(max_workers=1, thread_name_prefix="krakenws checks")
        self._passed: tuple[Bound, Exposure | None] | None = None
        self._tries_again = False

    # ---- orders

    async def order(self, bound: Bound, name: str = "") -> list[End]:
        """Send a command that trades, and return the verdicts on its requests, in the order they came.

        Args:
            bound: the command.
            name: the user's for it: used again, it is answered with the first verdict, and nothing is sent.

        Raises:
            ConnectionFailed: it was not sent, or not all of it.
            OutcomeUnknown: it was sent, and the client was closed before its verdict was known.
            IntentUnderway: another process awaits the verdict of that name, and nobody else could tell it.
            KrakenWSError: it must not be sent: a check, the policy, the journal, credentials.
        """
        begin, due = partial(self._begin, bound, name), monotonic() + PATIENCE_S
        if bound.entry.name in PLACING:
            async with self._one_by_one:
                await self._pass(bound, name, due)
                wait = await self._unlocked(begin, due)
        else:  # what only takes away waits for nobody's checks
            wait = await self._unlocked(begin, due)
        ends = await self._end_of(wait)
        self._refuse_to_guess(wait, ends)
        if wait.numbers and wait.link in self._links.values():
            self.keep(wait.link)
            self._turn_soon()
        if wait.unsent and all(isinstance(end, Reply) for end in ends):
            raise ConnectionFailed(f"{wait.name}: {wait.unsent} of its requests were not sent")
        return ends

    async def _unlocked(self, step: Callable[[], T], due: float) -> T:
        """Take a step that needs the journal; while that is locked, try again until it is due."""
        while True:
            try:
                return step()
            except StateLocked:
                if monotonic() >= due:
                    raise
            await asyncio.sleep(AGAIN_S)

    async def _pass(self, bound: Bound, name: str, due: float) -> None:
        """Let an order pass the gate, in the thread for that; one that is answered by its name need not."""
        self._link(bound)
        trading = self._open_trading()
        if self._underway(name) is not None or await self._unlocked(lambda: trading.knows(name), due):
            return
        check, waiting = self._office.check, trading.waiting
        quote = self._quote(str(bound.values.get("pair", "")))  # of a book that lives in this thread
        exposure = await self._loop.run_in_executor(self._checking, check, bound, waiting, quote)
        self._passed = bound, exposure

    def _quote(self, pair: str) -> Quote | None:
        return quote_at_hand([link for link in self._links.values() if not self.is_stale(link)], pair)

    def _begin(self, bound: Bound, name: str) -> OrderWait:
        """Put a command on its way, or join the one of its name; return what it waits for."""
        link, trading = self._link(bound), self._open_trading()
        if wait := self._underway(name):
            hold_to(name, wait.name, asked_of(wait.bound), bound)
            return wait
        if not bound.only_validates and not self._odometer.has_recalled:
            self._odometer.recall(trading.earlier, time_ns())
        try:
            commands = trading.prepare(bound, name)
        except IntentUnderway:  # it has left, and those who called are gone
            if parts := self._ledger.of(name):
                return self._rejoin(link, bound, parts)
            raise
        id_, count = (commands[0].id, len(commands)) if commands else (name, len(requests_of(bound, str)))
        wait = self._wait(link, bound, id_, count)
        for command in commands:
            req_id = link.protocol.request(command.bound, monotonic())
            trading.expect(command, req_id)
            self._expect(wait, req_id)
        return wait

    def _wait(self, link: Link, bound: Bound, id_: str, expected: int) -> OrderWait:
        """Return what awaits an intent from here on."""
        owed = [intent for intent in self._open_trading().owed if intent.id == id_]
        asked_elsewhere_ns = max((one.created_ns for one in owed if one.pid != getpid()), default=0)
        wait = OrderWait(link, bound, expected, id_, asked_elsewhere_ns)
        self._owed.setdefault(id_, []).append(wait)
        return wait

    def _underway(self, name: str) -> OrderWait | None:
        """Return what the callers of a name await, if there are any."""
        waits = self._owed.get(name, ()) if name else ()
        return next((wait for wait in waits if not wait.end.done()), None)

    def _rejoin(self, link: Link, bound: Bound, parts: Sequence[Intent]) -> OrderWait:
        """Return what awaits an intent that has left; some of its parts may have their verdict."""
        wait = self._wait(link, bound, parts[0].id, len(parts))
        owed = self._open_trading().owed
        for part in parts:
            event = told_of(replace(part, found=part.found or "journal"))
            if isinstance(event, Answered) and not any(part.is_same(one) for one in owed):
                wait.take(event)
        return wait

    def _forsake(self, wait: Wait) -> None:
        super()._forsake(wait)
        if isinstance(wait, OrderWait):
            self._owed[wait.id].remove(wait)
            if not self._owed[wait.id]:
                del self._owed[wait.id]

    def _refuse_to_guess(self, wait: OrderWait, ends: Iterable[End]) -> None:
        """Tell from an unknown outcome what another process still awaits.

        Raises:
            IntentUnderway: it asked so short a time ago that its answer or its look-ups may yet come.
        """
        longest_s = self._options.ack_timeout_s + max(self._options.look_ups_s, default=0.0)
        is_young = time_ns() - wait.asked_elsewhere_ns < longest_s * 1e9
        if is_young and any(isinstance(end, Unanswered) for end in ends):
            raise IntentUnderway(
                f"the intent {wait.id} awaits its verdict in another process: ask again once that is told"
            )

    def _open_trading(self) -> Trading:
        if self._trading is None:
            self._trading = self._office.trading(self._ledger, self._exposure)
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
        try:
            self._departing = self._trading.leave(link.protocol)
        except StateLocked as locked:
            self._departing = self._ledger.put_off(link.protocol, locked)
        except PolicyRefused as refused:  # what others sent meanwhile has used up what there was
            self._hold_back(link, [one for one in _rowless(link) if one.entry.name in PLACING], refused)
            self._leaving(link)
        except NameTaken as taken:  # what bore the name was withdrawn; the others may go
            for number in taken.numbers:
                if wait := self._awaited.get((link, number)):
                    wait.fail(taken)
            self._leaving(link)
        except KrakenWSError as error:  # no row, no frame; streams on the same connection go on
            self._hold_back(link, _rowless(link), error)

    def _arm(self) -> None:
        super()._arm()
        at = self._ledger.again_at
        if at is not None and not self._tries_again:
            self._tries_again = True
            self._loop.call_later(max(0.0, at - monotonic()), self._try_again)

    def _try_again(self) -> None:
        """Do what waits for the journal, unless that is still locked."""
        self._tries_again = False
        if self._is_closed:
            return
        for request, locked in self._ledger.try_again(monotonic()):
            self._refuse(self._links[V1.api, PRIVATE], request, locked)
        self._turn()

    def _hold_back(self, link: Link, leaving: Sequence[Request], error: KrakenWSError) -> None:
        """Let requests not leave, and tell those who wait for them why."""
        for request in leaving:
            link.protocol.withdraw(request)
            self._refuse(link, request, error)

    def _refuse(self, link: Link, request: Request, error: KrakenWSError) -> None:
        """Tell those who wait for a request that it will not be sent."""
        assert self._trading is not None  # noqa: S101 - whose it is
        self._trading.give_up(request.req_id)
        if wait := self._awaited.get((link, request.req_id)):
            wait.fail(error)

    def _sent(self, link: Link, frames: list[bytes]) -> None:  # noqa: ARG002 - of what was to leave, that it did
        if self._trading is None or link.looks:
            return
        self._trading.left()
        at_us = time_ns() // 1000
        departing, self._departing = self._departing, []
        for request in departing:
            self._odometer.sending(request.bound, request.req_id, at_us)

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
                said = (
                    f"{shown.get(id_, wait.name)} was sent, and its outcome is unknown:"
                    " the client was closed before it was answered"
                )
                if not wait.bound.only_validates:  # which has no row to be settled
                    said += f"; {RECONCILE}"
                wait.fail(OutcomeUnknown(said, id_))

    async def close(self) -> None:
        """Say goodbye, as every shell does; then let go of the journal."""
        if self._is_closed:
            return
        try:
            await super().close()
        finally:
            if self._trading is not None:
                self._trading.look_ups.finish()
                self._ledger.finish()
                self._office.close()
                self._checking.submit(self._office.close_checks)
            self._checking.shutdown(wait=False)


def _rowless(link: Link) -> list[Request]:
    """Return what is about to leave and needs a row."""
    return [one for one in link.protocol.leaving if one.entry.trading and not one.bound.only_validates]
