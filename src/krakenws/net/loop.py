"""The command line's shell: one poll loop over the sockets and one timer; no asyncio.

A frame's way to stdout: one `recv` → every whole frame of it → `ClientProtocol.receive` → one write of the
sink. Nothing is queued; a slow sink slows the socket. Streams and one-shot commands share this loop and
differ only in when they end. Nothing but the sink blocks it: how connections are made and kept is
`net/shell.py`.

What trades goes through `net.trading`: it says what may leave, turns answers into verdicts, and looks for
those that are lost, for which the loop keeps a link of its own that no sink hears of. How the run ended is
for `net.verdicts` to say.
"""

from __future__ import annotations

from time import monotonic, time_ns

from krakenws.core.catalog import CHANNEL, PRIVATE, Bound
from krakenws.core.events import (
    Answered,
    Lagging,
    Refused,
    Update,
    doubt_of,
    lag_of,
    trouble_of,
)
from krakenws.core.protocol import CLOSE
from krakenws.core.v1 import V1
from krakenws.core.v1_entries import PLACING
from krakenws.errors import ConnectionFailed, PolicyRefused, RemoteProtocolError, StateLocked, UsageError
from krakenws.net.poller import READ, Poller, SpinningPoller
from krakenws.net.shell import GOODBYE_S, Shell, failure_of, has_closed, listen, prove
from krakenws.net.stop import Stopped
from krakenws.net.verdicts import Verdicts

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from krakenws.core.dialect import Dialect
    from krakenws.core.events import Event, Summary
    from krakenws.core.exposure import Quote
    from krakenws.core.odometer import Odometer
    from krakenws.core.redaction import Redactor
    from krakenws.core.requests import Request
    from krakenws.errors import KrakenWSError
    from krakenws.net.credentials import Credentials
    from krakenws.net.follow import Follow
    from krakenws.net.ledger import LoopLedger
    from krakenws.net.poller import HasFileno
    from krakenws.net.shell import Budget, Link
    from krakenws.net.stop import Signals
    from krakenws.net.trading import Command, Trading
    from krakenws.options import Options

    class EventSink(Protocol):
        """What the loop needs of a sink (`krakenws.sinks.Sink`)."""

        wants_events: bool

        @property
        def waiting(self) -> Sequence[tuple[HasFileno, int]]: ...  # noqa: D102
        def drained(self) -> None: ...  # noqa: D102
        def sent(self, frames: list[bytes]) -> None: ...  # noqa: D102
        def received(self, frames: list[bytes]) -> None: ...  # noqa: D102
        def write(self, events: list[Update | Event]) -> None: ...  # noqa: D102

    class Attendant(Protocol):
        """Who steers a run from beside it: a guard, a session's switchboard. It ends with its signals."""

        keeps: bool
        """Whether commands wait for a connection that must not be made yet, and it gives them up itself."""
        awake_until: float
        """Until when (monotonic) what somebody waits for may come at once (`Poller.wait_awake`), or 0."""

        @property
        def busy(self) -> bool: ...  # noqa: D102 - whether `attend` has something to do at once

        def attend(self, now: float) -> None: ...  # noqa: D102
        def next_deadline(self) -> float | None: ...  # noqa: D102
        def ready(self, key: int) -> None: ...  # noqa: D102
        def outlives(self, api: int, access: str, error: KrakenWSError) -> bool: ...  # noqa: D102
        def refused(self, key: tuple[int, str], req_id: int, error: KrakenWSError) -> None: ...  # noqa: D102

    class Output(Protocol):
        """What the loop needs to know of the descriptor behind it (`krakenws.sinks.Out`)."""

        stood_s: float


_FILLING = 1 << 20
"""What is added to a link's number to watch the errand of its backfill."""
_LOOKING = 1 << 21
"""The key under which the errand of look-ups is watched."""
_OUTPUT = 1 << 30
"""The poller's key for the reader of our output."""
_ATTENDED = 1 << 31
"""What is added to an attendant's key to watch what it waits for."""
_CATCH_UP_S = 1.0
"""Enough to read what a socket's buffer holds after output stood still."""
_TRADED = (V1.api, PRIVATE)
"""Where requests that trade go, and verdicts come from that no connection brought."""


class Run(Shell):
    """Some bound entries, run until they end.

    Args:
        options: endpoints and deadlines.
        sink: takes frames or events.
        out: what the sink writes to.
        redactor: cleans what leaves; secrets that credentials find are registered with it.
        credentials: where the token of private links comes from.
        note: takes a sentence for people (stderr) about an event on the way.
        warn: takes one about something that no event tells.
        tell_lag: takes one about a reader that is too slow; there may be many.
        stop: signals.
        budget: how often a site may be connected to, or None for as often as the back-off lets us.
        trading: what trading commands go through; without it there must be none.
        ledger: the journal of `trading`, if it waits for nobody; None: a locked one holds up the run.
        follow: follows the order that is placed to its end, or None.
        count: end after so many data messages, or None.
        for_s: end after so many seconds, or None.
        summarize: takes what each endpoint brought when streams end, or None.
        odometer: foretells the rate counter of trading requests, or None.
        attendant: is called on each turn of the loop and may add entries; then being idle does not end the
            run, nor does an endpoint that fails for good, if the attendant `outlives` it. None: nobody.

    Attributes:
        told: API and access of the link whose events the sink is being given.
    """

    def __init__(
        self,
        options: Options,
        sink: EventSink,
        out: Output,
        *,
        redactor: Redactor,
        credentials: Credentials,
        note: Callable[[str], None],
        warn: Callable[[str], None],
        tell_lag: Callable[[str], None],
        stop: Signals,
        budget: Budget | None = None,
        trading: Trading | None = None,
        ledger: LoopLedger | None = None,
        follow: Follow | None = None,
        count: int | None = None,
        for_s: float | None = None,
        summarize: Callable[[Summary], None] | None = None,
        odometer: Odometer | None = None,
        attendant: Attendant | None = None,
    ) -> None:
        super().__init__(options, redactor=redactor, credentials=credentials, warn=warn, budget=budget)
        self.told = (0, "")
        self._sink = sink
        self._out = out
        self._stood_s = 0.0
        self._caught_up_at: float | None = None
        self._note = note
        self._tell_lag = tell_lag
        self._stop = stop
        self._trading = trading
        self._ledger = ledger
        self._follow = follow
        self._held_back: list[tuple[Link, list[Command]]] = []
        self._departing: list[Request] = []
        self._summarize = summarize
        self._odometer = odometer
        self._attendant = attendant
        self._left = count
        self._end_at = None if for_s is None else monotonic() + for_s
        self._numbered: dict[int, Link] = {}
        self._poller = SpinningPoller() if options.spin else Poller()
        self._poller.watch(0, ((stop.wakeup, READ),))
        self._looker: Link | None = None
        self._streams = False
        self._doubted = ""
        self.verdicts = Verdicts(trading)

    def add(self, dialect: Dialect, bound: Bound) -> int | None:
        """Put an entry on the link of its API and access, which is opened when the run needs it.

        Returns:
            A command's `req_id`; None for what goes through `Trading`, which may have to wait.

        Raises:
            KrakenWSError: it trades and must not be sent (`Trading.prepare`).
        """
        entry = bound.entry
        if entry.trading and self._trading is not None:
            self.order(dialect, bound)
            return None
        assert not entry.trading  # noqa: S101 - what trades leaves through `Trading`
        link = self._link(dialect, entry.access)
        if entry.kind == CHANNEL:
            self._streams = True
            self._subscribe(link, bound)
            return None
        return link.protocol.request(bound, monotonic())

    def order(self, dialect: Dialect, bound: Bound, name: str = "") -> list[int]:
        """Put a command on its way that trades; return the numbers of the requests that it becomes.

        Args:
            dialect: of its API.
            bound: as typed.
            name: the user's for it. If it was used before, nothing is sent, and the first verdict is told
                under the numbers returned.

        Raises:
            StateLocked: the journal cannot be read now; nothing has come of it.
            KrakenWSError: it must not be sent (`Trading.prepare`).
        """
        assert self._trading is not None  # noqa: S101 - the caller gave it
        if name and self._trading.knows(name):
            number = self._link(dialect, bound.entry.access).protocol.free_number
            return self._trading.recall(bound, name, number)
        odometer = self._odometer
        if odometer is not None and not odometer.has_recalled and not bound.only_validates:
            odometer.recall(self._trading.earlier, time_ns())
        commands = self._trading.prepare(bound, name)
        link = self._link(dialect, bound.entry.access)
        if self._follow is not None:
            listen(link)
            self._held_back.append((link, commands))
            return []
        return self._request(link, commands)

    def forbid(self, refused: PolicyRefused) -> None:
        """Send nothing of a line that places orders, as a policy forbids it; what only takes away goes.

        Raises:
            PolicyRefused: there is nothing that takes away.
        """
        assert self._trading is not None  # noqa: S101 - it was refused there
        for req_id, bound in self._trading.held:
            if bound.entry.name in PLACING:
                self.give_up(_TRADED, req_id)
        self._forbidden(refused, [bound for _, bound in self._trading.held])

    def _forbidden(self, refused: PolicyRefused, others: Sequence[Bound]) -> None:
        """Take a policy's no to what a line places; `others` of it that trade are sent all the same."""
        if not any(bound.entry.trading for bound in others):
            raise refused
        self._warn("your policy forbids an order of this line: no order is sent, only what cancels")
        self.verdicts.forbidden(refused)

    def _request(self, link: Link, commands: Sequence[Command]) -> list[int]:
        assert self._trading is not None  # noqa: S101 - whose commands they are
        numbers, now = [], monotonic()
        for command in commands:
            req_id = link.protocol.request(command.bound, now)
            self._trading.expect(command, req_id)
            numbers.append(req_id)
        return numbers

    def _link(self, dialect: Dialect, access: str) -> Link:
        key = dialect.api, access
        if key not in self._links:
            self._links[key] = self._numbered_link(dialect, access, detail=self._looks_closely)
        return self._links[key]

    def quote(self, pair: str) -> Quote | None:
        """Return the best prices of a pair, if the run follows its book and that was verified last."""
        from krakenws.net.facts import quote_at_hand

        return quote_at_hand(self._links.values(), pair)

    def remove(self, bound: Bound) -> None:
        """Want a channel no longer, for each of its pairs."""
        link = self._links.get((bound.entry.api, bound.entry.access))
        if link is not None:
            link.protocol.unsubscribe(bound)

    def give_up(self, key: tuple[int, str], req_id: int) -> bool:
        """Forget a request of an endpoint that has not left; return whether that was so."""
        link = self._links.get(key)
        if link is None or not link.protocol.give_up(req_id):
            return False
        if self._trading is not None and key == _TRADED:  # each endpoint counts its requests from 1
            self._trading.give_up(req_id)
        return True

    @property
    def lock(self) -> StateLocked | None:
        """Why what trades is put off at the moment, if it is."""
        return None if self._ledger is None else self._ledger.lock

    def watch(self, key: int, sockets: Sequence[tuple[HasFileno, int]]) -> None:
        """Wait for these on the attendant's behalf, which is told by `ready` with the same key."""
        self._poller.watch(_ATTENDED + key, sockets)

    def link(self, key: tuple[int, str]) -> Link | None:
        """Return the endpoint of an API and access, if it is in use."""
        return self._links.get(key)

    @property
    def links(self) -> list[Link]:
        """The endpoints in use, in the order they were needed."""
        return [*self._links.values()]

    def _numbered_link(self, dialect: Dialect, access: str, *, detail: bool, looks: bool = False) -> Link:
        link = self._make_link(dialect, access, detail=detail, looks=looks)
        link.protocol.kept = self._attendant is not None and self._attendant.keeps
        self._numbered[link.number] = link
        return link

    @property
    def _looks_closely(self) -> bool:
        """Whether each data frame matters by itself: to the output, to a count, to the account at the end."""
        counts = self._left is not None or self._summarize is not None or self._follow is not None
        return self._sink.wants_events or self._options.strict or counts

    # ---- the loop

    def run(self) -> None:
        """Run to the end; `judge` then says how it ended.

        Raises:
            KrakenWSError: what broke it off: the sink, credentials, `--strict`.
        """
        try:
            while not (self._stop.set and self._is_over()):
                if self._attendant is not None:
                    self._attendant.attend(monotonic())
                self._look()
                if self._stop.set or self._end_at is not None or self._left == 0:
                    self._call_off()
                for link in self._every():
                    self._obey(link)
                if self._is_over():
                    break
                if not self._has_more():
                    self._wait()
            self._tell_summaries()
        except Stopped:
            self._tell_summaries()
        finally:
            self._say_goodbye()
        self._look_back()

    def _call_off(self) -> None:
        """Once only verdicts are waited for, let no order leave that still waits for its connection.

        Who pressed Ctrl-C before it was sent does not want it when the connection is back.
        """
        if self._trading is None or not self.ends:
            return
        for req_id, bound in self._trading.held:
            link = self._links.get(_TRADED)
            if bound.entry.name not in PLACING or link is None or not link.protocol.give_up(req_id):
                continue
            if self._attendant is not None:  # else `judge` says that it was not sent
                self._trading.give_up(req_id)
                self._attendant.refused(_TRADED, req_id, ConnectionFailed("the session ends"))

    def _look_back(self) -> None:
        """Find out how the order ended that was followed, if nobody was there to see."""
        follow, ask = self._follow, self._trading.ask if self._trading else None
        if follow is not None and follow.ended_unseen and ask is not None and self._options.look_ups_s:
            follow.look_back(ask, (0.0, *self._options.look_ups_s), self._stop, self._warn)

    def _tell_summaries(self) -> None:
        if self._summarize is None or not self._streams:
            return
        for link in self._links.values():
            summary = link.protocol.summary(time_ns(), monotonic())
            if summary.channels:
                self._summarize(summary)

    def _every(self) -> list[Link]:
        links = [*self._links.values()]
        return links if self._looker is None else [*links, self._looker]

    def _has_more(self) -> bool:
        """Whether there is something to tell or to look for that came up in this turn."""
        trading = self._trading
        if trading is None:
            return False
        return trading.has_news or (bool(trading.look_ups) and self._looker is None)

    @property
    def ends(self) -> bool:
        """Whether it was told to stop, or has brought what it was to bring: only verdicts are waited for."""
        if self._stop.set or self._left == 0:
            return True
        return self._end_at is not None and monotonic() >= self._end_at

    def _is_over(self) -> bool:
        if self._stop.set and self._stop.urgent:
            return True
        if self._trading is not None and self._trading.busy:  # verdicts are waited for, whatever else happens
            return False
        if self.ends or (self._follow is not None and self._follow.over):
            return True
        idle = self._attendant is None
        for link in [*self._links.values()]:
            protocol = link.protocol
            failed = protocol.wants == CLOSE and protocol.failure
            if failed and not self._goes_on_without(link, failure_of(link)):
                return True
            idle = idle and protocol.idle
        return idle

    def _fail(self, link: Link, error: KrakenWSError) -> None:
        """End the run, unless somebody attends it who goes on without this link."""
        if self._attendant is None:
            raise error
        self._lost(link, str(error), final=True)
        if not self._goes_on_without(link, error):
            raise error

    def _goes_on_without(self, link: Link, error: KrakenWSError) -> bool:
        """Return whether the run does without a link: what is asked of its endpoint next gets a new one."""
        if self._attendant is None or not self._attendant.outlives(*link.key, error):
            return False
        del self._links[link.key]
        link.drop()
        link.end_errand()
        if link.backfill is not None:
            link.backfill.end()
        self._forget(link)
        return True

    def _forget(self, link: Link) -> None:
        del self._numbered[link.number]
        for key in (link.number, -link.number, link.number + _FILLING):
            self._poller.watch(key, ())

    def _wait(self) -> None:
        """Wait for bytes or for the next deadline, and take what is there.

        As long as sockets bring data and what has only to be told, no link has changed and no deadline has
        come nearer: the rest of a turn is spared, which takes longer than a frame does.
        """
        due = self._watch()
        attendant = self._attendant
        calm = self._left is None
        while True:
            left_s = None if due is None else max(0.0, due - monotonic())
            if attendant is not None and attendant.awake_until:
                ready = self._poller.wait_awake(left_s, attendant.awake_until)
            else:
                ready = self._poller.wait(left_s)
            for key in ready:
                calm = self._serve(key) and calm
            now = monotonic()
            if not calm or self._caught_up_at is not None or self._sink.waiting:
                break
            if (due is not None and due <= now) or (attendant is not None and attendant.busy):
                break
        if self._caught_up_at is not None:
            if now < self._caught_up_at:
                return
            self._caught_up_at = None
        if due is not None and due <= now:
            self._on_deadline(now)

    def _watch(self) -> float | None:
        """Watch what may become ready; return the next deadline."""
        trading = self._trading
        due = None if trading is not None and trading.busy else self._end_at
        if self._attendant is not None:
            at = self._attendant.next_deadline()
            due = at if due is None or (at is not None and at < due) else due
        if trading is not None:
            looks_at = trading.look_ups.next_deadline()
            if looks_at is not None and (due is None or looks_at < due):
                due = looks_at
            self._poller.watch(_LOOKING, trading.look_ups.watched)
        if self._ledger is not None and self._ledger.again_at is not None:
            due = self._ledger.again_at if due is None else min(due, self._ledger.again_at)
        for link in self._every():
            transport, errand, backfill = link.transport, link.errand, link.backfill
            at = self._due(link)
            if at is not None and (due is None or at < due):
                due = at
            self._poller.watch(link.number, transport.watched() if transport else ())
            self._poller.watch(-link.number, errand.watched if errand else ())
            if backfill is not None:
                self._poller.watch(link.number + _FILLING, backfill.watched)
        self._poller.watch(_OUTPUT, self._sink.waiting)
        if due is not None and self._caught_up_at is not None:
            due = max(due, self._caught_up_at)
        return due

    def _serve(self, key: int) -> bool:
        """Take what is ready under a key; return whether it was data and nothing else."""
        if 0 < key < _FILLING:
            link = self._numbered.get(key)
            return link is not None and self._service(link) and link.backfill is None
        if key >= _ATTENDED:
            assert self._attendant is not None  # noqa: S101 - nobody else watches there
            self._attendant.ready(key - _ATTENDED)
        elif key == _OUTPUT:
            self._sink.drained()
        elif key == _LOOKING:
            assert self._trading is not None  # noqa: S101 - the same
            self._tell_verdicts(self._trading.look_ups.collect())
        elif key == 0:
            self._stop.heard()
            if self._trading is not None and not self._stop.urgent:
                self._trading.say_what_is_owed()
        elif link := self._numbered.get(abs(key) % _FILLING):  # else it failed a moment ago
            if key > 0:
                self._fill(link)
            else:
                self._return(link)
        return False

    def _on_deadline(self, now: float) -> None:
        if self._trading is not None:
            self._tell_verdicts(self._trading.look_ups.on_deadline(now))
        if self._ledger is not None and self._ledger.again_at is not None and now >= self._ledger.again_at:
            self._try_again(self._ledger, now)
        for link in self._every():
            self._tick(link, now)

    def _try_again(self, ledger: LoopLedger, now: float) -> None:
        """Do what waits for the journal, unless that is still locked."""
        assert self._trading is not None  # noqa: S101 - whose journal it is
        for request, locked in ledger.try_again(now):
            self._trading.give_up(request.req_id)
            if self._attendant is None:
                raise locked
            self._attendant.refused(_TRADED, request.req_id, locked)

    # ---- look-ups

    def _look(self) -> None:
        """Tell the verdicts that are known; keep a connection for look-ups while anything is looked for."""
        trading = self._trading
        if trading is None:
            return
        if trading.has_news:
            self._tell_verdicts(trading.told())
        if self._held_back and self._follow is not None and self._follow.ready:
            for link, commands in self._held_back:
                self._request(link, commands)
            self._held_back.clear()
        looks = bool(trading.look_ups)
        if looks and self._looker is None:
            self._looker = self._numbered_link(V1, PRIVATE, detail=True, looks=True)
            listen(self._looker)
        elif not looks and self._looker is not None:
            self._looker.drop()
            self._looker.end_errand()
            self._forget(self._looker)
            self._looker = None
            trading.look_ups.forget()

    def _tell_verdicts(self, events: Sequence[Event]) -> None:
        if events:
            self._write([], [*events])

    # ---- what happened

    def _receive(self, link: Link, frames: list[bytes], received_ns: int, now: float) -> None:
        if self._left is None or link.looks:
            self._deliver(link, frames, link.protocol.receive(frames, received_ns, now))
            return
        if self._left == 0:  # only a verdict is waited for
            events = link.protocol.receive(frames, received_ns, now)
            self._deliver(link, [], [event for event in events if type(event) is not Update])
            return
        for frame in frames:
            events = link.protocol.receive([frame], received_ns, now)
            self._deliver(link, [frame], events)
            self._left -= sum(type(event) is Update for event in events)
            if self._left <= 0:
                self._left = 0
                return

    def _leaving(self, link: Link) -> None:
        if self._trading is None or link.looks:
            return
        try:
            self._departing = self._trading.leave(link.protocol)
        except StateLocked as locked:
            if self._ledger is None:
                raise
            self._departing = self._ledger.put_off(link.protocol, locked)
        except PolicyRefused as refused:  # what others sent meanwhile has used up what there was
            for request in [one for one in link.protocol.leaving if _is_placing(one.bound)]:
                link.protocol.withdraw(request)
                self._trading.give_up(request.req_id)
                if self._attendant is not None:
                    self._attendant.refused(link.key, request.req_id, refused)
            if self._attendant is None:
                self._forbidden(refused, [one.bound for one in link.protocol.leaving])
            self._leaving(link)
        except UsageError as taken:
            from krakenws.core.intents import NameTaken

            if self._attendant is None or not isinstance(taken, NameTaken):
                raise
            for number in taken.numbers:
                self._attendant.refused(link.key, number, taken)
            self._leaving(link)

    def _sent(self, link: Link, frames: list[bytes]) -> None:
        if link.looks:
            return
        if self._trading is not None:
            self._trading.left()
            if self._odometer is not None:  # only now: the exchange works meanwhile
                at_us = time_ns() // 1000
                for request in self._departing:
                    self._odometer.sending(request.bound, request.req_id, at_us)
        if not self._sink.wants_events:
            shown = frames if self._options.show_token else [*map(self._redactor.clean_bytes, frames)]
            self._sink.sent(shown)

    def _deliver(self, link: Link, frames: list[bytes], events: list[Update | Event]) -> None:
        if link.looks:
            assert self._trading is not None  # noqa: S101 - whose link it is
            self._tell_verdicts(self._trading.look_ups.heed(events))
            return
        if self._odometer is not None and link.name == PRIVATE:
            events = self._odometer.heed(events)
        Shell._deliver(self, link, frames, events)  # `super` would take half as long as what it calls

    def _tell(self, link: Link, frames: list[bytes], events: list[Update | Event]) -> None:
        if self._trading is not None:
            events = self._trading.heed(events)
        self._write(frames, events, link)

    def _write(self, frames: list[bytes], events: list[Update | Event], link: Link | None = None) -> None:
        if self._follow is not None:
            events = self._follow.heed(events)
        try:
            if not self._sink.wants_events:
                if frames:
                    self._sink.received(frames)
            elif events:
                self.told = _TRADED if link is None else link.key
                self._sink.write(events)
        finally:  # a verdict counts even when it cannot be written
            for event in events:
                if type(event) is not Update:
                    self._heed(link, event)  # type: ignore[arg-type]  # what is no Update is an Event
        if self._out.stood_s != self._stood_s:
            self._stood_still()
        if self._options.strict:
            if self._doubted:
                raise RemoteProtocolError(f"--strict: {self._doubted}")
            prove(events)

    def _stood_still(self) -> None:
        """Tell that the reader made us wait. What came meanwhile is read before anything is called late."""
        stood_s, self._stood_s = self._out.stood_s - self._stood_s, self._out.stood_s
        if self._caught_up_at is None:  # not put off again and again by a reader that is always slow
            self._caught_up_at = monotonic() + _CATCH_UP_S
        now_ns = time_ns()
        since_ns = now_ns - int(stood_s * 1e9)
        event = Lagging(now_ns, self._options.overflow, since_ns, stood_s, self._stood_s)
        self._tell_lag(lag_of(event))
        if self._sink.wants_events:
            self._sink.write([event])

    def _heed(self, link: Link | None, event: Event) -> None:
        """What people are told on stderr, and what decides the exit code."""
        if isinstance(event, Answered):
            self.verdicts.answered(event)
            return
        if isinstance(event, Refused):
            self.verdicts.refused(event)
            if link is None or link.protocol.idle:  # the end of the run says so
                return
        elif doubt := doubt_of(event):
            self._doubted = self._doubted or doubt
            if self._options.strict:
                return
        if said := trouble_of(event, stood=link is not None and link.stood):
            self._note(said)

    # ---- the end

    def _say_goodbye(self) -> None:
        """Send close frames and give them a moment: a socket closed with unread data takes them along."""
        if self._trading is not None:
            self._trading.look_ups.finish()
            self._poller.watch(_LOOKING, ())
        if self._ledger is not None:
            self._ledger.finish()
        until = monotonic() + GOODBYE_S
        every = self._every()
        open_ = [link for link in every if self._end(link)]
        for key in self._poller.keys:
            self._poller.watch(key, ())
        while open_ and (left := until - monotonic()) > 0:
            for link in open_:
                self._poller.watch(link.number, link.transport.watched() if link.transport else ())
            for number in self._poller.wait(left):
                link = self._numbered[number]
                data = link.transport.read() if link.transport else None
                if data is None or (data and link.websocket and has_closed(link.websocket, data)):
                    self._poller.watch(number, ())
                    open_.remove(link)
        for link in every:
            link.drop()

    def forget(self) -> None:
        """Forget the answers so far, for `judge` too: a run of weeks must not grow by them."""
        self.verdicts.forget()

    def judge(self, *, unsent_is_failure: bool = True) -> None:
        """Raise what the run ended with, the gravest first; return when it ended well.

        Raises:
            KrakenWSError: its `exit_code` is the process's.
        """
        links = self._links.values()
        failures = [failure_of(link) for link in links if link.protocol.failure]
        streaming = not self._streams or any(link.protocol.routes for link in links)
        self.verdicts.judge(failures, streaming=streaming, unsent_is_failure=unsent_is_failure)
        if self._follow is not None:
            self._follow.judge()


def _is_placing(bound: Bound) -> bool:
    """Whether a policy may forbid what is about to leave: none looks again at what is only validated."""
    return bound.entry.name in PLACING and not bound.only_validates
