"""Who asked for what, and who is told what: the middle of a session.

The switchboard steers one `Run` from beside it. As its attendant it turns its callers' lines into entries of
the run; as its sink it hands the run's events to those they concern. Connections, books, healing and what is
checked of orders are the run's: there is one of each endpoint, however many callers there are.

Every line is answered once under its id: a command by its outcome, a subscription once a symbol (`Feeds`),
all else directly. A command that could not leave within `connect_timeout_s` is answered by an `error` and
never sent: nobody wants an order that leaves minutes later. What is unanswered when the session ends is told
then.
"""

from __future__ import annotations

from time import monotonic, time_ns

from krakenws.cli import asking
from krakenws.cli.beside import FIRST_KEY, NotYet, SessionEnds
from krakenws.cli.caller import LONGEST_LINE_BYTES
from krakenws.cli.feeds import Feeds
from krakenws.cli.reader import Reader
from krakenws.core.catalog import CHANNEL
from krakenws.core.events import Answered, Disconnected, Heartbeat, Pong, Unanswered, Update
from krakenws.core.session import Bye, Failed, Help, Session
from krakenws.errors import ConnectionFailed, KrakenWSError, SinkError, StateLocked
from krakenws.sinks import ClosedPipe

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from krakenws.cli.asking import Asked
    from krakenws.cli.beside import Beside
    from krakenws.cli.caller import Caller
    from krakenws.core.catalog import Bound, Expand
    from krakenws.core.dialect import Dialect
    from krakenws.core.events import Event
    from krakenws.core.session import CallerId
    from krakenws.net.loop import Run
    from krakenws.net.poller import HasFileno
    from krakenws.options import Options

_NEAR_S = 0.001
"""What an exchange takes on this machine, or beside it. One that is farther away is not waited for awake."""
_LINES_A_TURN = 64
"""Of one caller, before the others and the sockets have their turn."""


class _Command:
    """A command that awaits its answer.

    Attributes:
        asked_at: when it was asked.
        due: until when it may still leave, None once it did; both monotonic.
    """

    __slots__ = ("asked_at", "bound", "caller", "due", "id")

    def __init__(self, caller: Caller, id_: CallerId, bound: Bound, asked_at: float, due: float) -> None:
        self.caller = caller
        self.id = id_
        self.bound = bound
        self.asked_at = asked_at
        self.due: float | None = due


class Switchboard:
    """Attendant and sink of a session's run.

    Args:
        options: of the session.
        dialect_of: gives the dialect of an API.
        patterns: gives what expands `*/USD`, for an API.
        beside: where lines wait for calls that block.
        clean: takes secrets out of a sentence.
        await_journal: waits until the journal can be read.
        help_on: gives the help on a topic, "" for all.
        leave: ends the run, once who has the session alone is done.
        on_knock: is called when somebody else is ready than a caller.
        on_gone: is told of each other caller that left, and why it was cut, if it was.

    Attributes:
        callers: those that are there.
        run: what it steers.
        awake_until: until when (monotonic) the answer that a caller waits for may come; 0.0 while none is, or
            the last one took so long that it pays to sleep.
    """

    run: Run
    wants_events = True
    keeps = True

    def __init__(
        self,
        options: Options,
        *,
        dialect_of: Callable[[int], Dialect],
        patterns: Callable[[int], Expand],
        beside: Beside,
        clean: Callable[[str], str],
        await_journal: Callable[[], None],
        help_on: Callable[[str], str],
        leave: Callable[[], None],
        on_knock: Callable[[], None],
        on_gone: Callable[[Caller, SinkError | None], None],
    ) -> None:
        self.callers: list[Caller] = []
        self._options = options
        self._dialect_of = dialect_of
        self._reader = Reader(patterns)
        self._beside = beside
        self._clean = clean
        self._await_journal = await_journal
        self._help_on = help_on
        self._leave = leave
        self._on_knock = on_knock
        self._on_gone = on_gone
        self._feeds = Feeds(options, dialect_of)
        self._numbered: dict[int, Caller] = {}
        self._busy: dict[Caller, None] = {}
        self._commands: dict[tuple[int, str, int], _Command] = {}
        self.awake_until = 0.0
        self._is_near = False

    def steer(self, run: Run) -> None:
        """Take the run that this is the attendant of, before anything else."""
        self.run = self._feeds.run = run

    # ---- the run's attendant

    @property
    def busy(self) -> bool:
        """Whether lines wait, or somebody left."""
        return bool(self._busy)

    def attend(self, now: float) -> None:
        """Look at the lines that came, and at what could not leave in time."""
        due = self._next_due() if self._commands else None
        if due is not None and now >= due:
            self._withdraw(now)
        if not self._busy:
            return
        self.run.forget()
        busy, self._busy = self._busy, {}
        for caller in busy:
            self._hear(caller)
        self._feeds.keep()

    def next_deadline(self) -> float | None:
        """Return when `attend` has something to do although nothing happens, in monotonic seconds."""
        if self._busy:
            return 0.0
        return self._next_due()

    def _next_due(self) -> float | None:
        """Return until when a command may still leave; the oldest come first."""
        for command in self._commands.values():
            if command.due is not None:
                return command.due
        return None

    def ready(self, key: int) -> None:
        """Read from a caller, or write what it takes again."""
        if not key:
            self._on_knock()
            return
        if key >= FIRST_KEY:
            for waiting in self._beside.ended(key, self.run.watch):
                self._look_again(waiting)
            return
        caller = self._numbered.get(key)
        if caller is None:  # cut a moment ago
            return
        if caller.reads:
            caller.read()
        else:
            self._telling(caller, caller.sink.drained)
        self._busy[caller] = None

    def outlives(self, api: int, access: str, error: KrakenWSError) -> bool:
        """Tell those who wait for an endpoint that it failed for good; the next line tries it anew."""
        for key, command in [*self._commands.items()]:
            if key[:2] == (api, access) and self.run.give_up(key[:2], key[2]):  # else its verdict follows
                self._settle(key, self._failure(error, f"{command.bound.entry.name} was not sent"))
        for feed in self._feeds.failed((api, access)):
            channel, symbol = feed.place
            feed.tell(self._failure(error, channel=channel, symbol=symbol))
        self._tell_all()
        return True

    def refused(self, key: tuple[int, str], req_id: int, error: KrakenWSError) -> None:
        """Tell that a command may not leave any more, although it was allowed to a moment ago."""
        command, what = self._commands.get((*key, req_id)), ""
        if command is not None and isinstance(error, StateLocked):
            what = f"{command.bound.entry.name} was not sent"
        self._settle((*key, req_id), self._failure(error, what))
        self._tell_all()

    # ---- the run's sink

    @property
    def waiting(self) -> Sequence[tuple[HasFileno, int]]:
        """What the output of a session with one caller waits for; others are watched as callers."""
        for caller in self.callers:
            if caller.alone:
                return caller.sink.waiting
        return ()

    def drained(self) -> None:
        """Write what the one caller takes again."""
        for caller in self.callers:
            if caller.alone:
                caller.sink.drained()
                self._busy[caller] = None

    def sent(self, frames: list[bytes]) -> None:
        """Nothing: a session tells events."""

    received = sent

    def write(self, events: Sequence[Update | Event]) -> None:
        """Tell each of the callers what concerns it."""
        api, access = self.run.told
        for event in events:
            if type(event) is Update:
                self._feeds.data(api, event)
            elif isinstance(event, Answered):
                self._settle((api, access, event.req_id), event)
            elif not isinstance(event, Heartbeat):
                self._news((api, access), event)  # type: ignore[arg-type]  # what is no Update is an Event
        self._tell_all()

    def _news(self, link: tuple[int, str], event: Event) -> None:
        if isinstance(event, Pong):
            self._settle(self._pinged(link, event.req_id), event)
        elif not self._feeds.news(link[0], event):
            if isinstance(event, Disconnected):
                self._feeds.lost(link)
            for caller in self.callers:
                caller.take(event)

    def _pinged(self, link: tuple[int, str], req_id: int | None) -> tuple[int, str, int]:
        """Pongs without a number come in the order of pings."""
        if req_id is not None:
            return *link, req_id
        pings = (
            key for key, its in self._commands.items() if key[:2] == link and its.bound.entry.reply == "pong"
        )
        return next(pings, (*link, -1))

    def _settle(self, key: tuple[int, str, int], event: Event) -> None:
        command = self._commands.pop(key, None)
        if command is None:
            return
        self._is_near = monotonic() - command.asked_at < _NEAR_S
        if not self._commands:
            self.awake_until = 0.0
        if not command.caller.gone:
            command.caller.settle(event, command.id)

    # ---- callers

    def join(self, caller: Caller) -> None:
        """Take a caller."""
        self.callers.append(caller)
        self._numbered[caller.number] = caller
        self._busy[caller] = None

    def part(self, caller: Caller, error: SinkError | None = None) -> None:
        """Forget a caller and what it follows; the answers that it awaits are for nobody."""
        caller.gone = True
        self.callers.remove(caller)
        del self._numbered[caller.number]
        self.run.watch(caller.number, ())
        self._feeds.leave(caller)
        self._busy[caller] = None  # so that what nobody follows any more is left at once
        self._on_gone(caller, error)

    def _telling(self, caller: Caller, tell: Callable[[], None]) -> bool:
        """Write to a caller; return whether it is still there. Who has the session alone ends it."""
        try:
            tell()
        except (ClosedPipe, SinkError) as error:
            if caller.alone:
                raise
            self.part(caller, error if isinstance(error, SinkError) else None)
            return False
        watched = caller.watched
        if watched is not caller.was_watched:
            caller.was_watched = watched
            self.run.watch(caller.number, watched)
        return True

    def _tell_all(self) -> None:
        for caller in [*self.callers]:
            if caller.pending:
                self._telling(caller, caller.flush)
            if caller.settled:
                caller.settled = False
                if caller.lines.whole or caller.ended:
                    self._busy[caller] = None

    def _hear(self, caller: Caller) -> None:
        """Do what a caller's lines ask, some of them at a time."""
        if caller.gone:
            return
        lines, last = caller.lines, caller.line + _LINES_A_TURN
        while lines.whole and caller.line < last and caller.is_heard:
            caller.line += 1
            self._heed(caller, lines.take())
        if caller.only_listens or not self._telling(caller, caller.flush):
            return
        if caller.is_done:
            if caller.alone:
                self._leave()
            else:
                self.part(caller)
            return
        if caller.is_heard and caller.lines.whole:
            self._busy[caller] = None

    def _look_again(self, caller: Caller) -> None:
        """Look at the line that waited."""
        if caller.gone or caller.aside is None:
            return
        line, caller.aside = caller.aside, None
        self._heed(caller, line)
        self._busy[caller] = None

    def _heed(self, caller: Caller, line: bytes | None) -> None:
        id_: CallerId = None
        self._beside.caller = caller
        try:
            if line is None:
                raise asking.Mistake(f"a line has at most {LONGEST_LINE_BYTES} bytes", None)
            try:
                text = line.decode()
            except UnicodeDecodeError:
                raise asking.Mistake("this line is no UTF-8", None) from None
            asked = self._reader.read(text)
            if asked is None:
                return
            id_ = asked.id
            self._do(caller, asked)
        except NotYet as reason:
            caller.aside = line
            if not self._beside.start(reason, caller, self.run.watch):
                self._look_again(caller)
            return
        except KrakenWSError as error:
            id_ = error.id if isinstance(error, asking.Mistake) else id_
            caller.answer(self._failure(error, line=caller.line), id_)
        caller.learned.clear()

    def _failure(
        self,
        error: KrakenWSError,
        what: str = "",
        *,
        line: int | None = None,
        channel: str = "",
        symbol: str = "",
    ) -> Failed:
        message = self._clean(f"{what}: {error}" if what else str(error))
        return Failed(time_ns(), error.exit_code, message, error.retryable, line, channel, symbol)

    # ---- lines

    def _do(self, caller: Caller, asked: Asked) -> None:
        if self.run.ends:
            raise SessionEnds("the session ends")
        id_, bound = asked.id, asked.bound
        if bound is None:
            self._answer_own(caller, asked)
        elif asked.do == asking.STOP:
            self._feeds.stop(caller, id_, bound)
        elif bound.entry.kind == CHANNEL:
            self._feeds.follow(caller, id_, bound)
        else:
            self._command(caller, asked, bound)

    def _answer_own(self, caller: Caller, asked: Asked) -> None:
        now_ns = time_ns()
        if asked.do == asking.HELP:
            caller.answer(Help(now_ns, self._help_on(asked.topic)), asked.id)
        elif asked.do == asking.STATUS:
            connections = [
                {
                    "endpoint": link.name,
                    "api": link.key[0],
                    "state": _state(ready=link.protocol.ready, connected=link.protocol.connected),
                    "system": link.protocol.system,
                }
                for link in self.run.links
            ]
            caller.answer(Session(now_ns, connections, self._feeds.of(caller), caller.open), asked.id)
        else:
            caller.answer(Bye(now_ns), asked.id)
            caller.quit()

    def _command(self, caller: Caller, asked: Asked, bound: Bound) -> None:
        """Send a command: as one request, or one for each order that it cancels."""
        entry = bound.entry
        dialect = self._dialect_of(entry.api)
        numbers: Sequence[int | None]
        if entry.trading:
            try:
                numbers = self.run.order(dialect, bound, asked.intent)
            except StateLocked:
                self._beside.learn("journal", self._await_journal)
                raise
        else:
            numbers = (self.run.add(dialect, bound),)
        now = monotonic()
        for number in numbers:
            assert number is not None  # noqa: S101 - it is no channel
            command = _Command(caller, asked.id, bound, now, now + self._options.connect_timeout_s)
            self._commands[entry.api, entry.access, number] = command
            caller.open += 1
        if self._is_near and numbers:
            self.awake_until = now + _NEAR_S

    def _withdraw(self, now: float) -> None:
        """Give up what could not leave in time, and look no more at what could."""
        for key, command in [*self._commands.items()]:
            if command.due is None:
                continue
            if now < command.due:
                break
            command.due = None
            if self.run.give_up(key[:2], key[2]):
                none = ConnectionFailed(f"no connection within {self._options.connect_timeout_s:g} s")
                error = (self.run.lock if command.bound.entry.trading else None) or none
                self._settle(key, self._failure(error, f"{command.bound.entry.name} was not sent"))
        self._tell_all()

    # ---- the end

    def close(self) -> None:
        """Tell each caller what became of the lines that are still open."""
        self._beside.close()
        for caller in self.callers:
            self._look_again(caller)
        ends = ConnectionFailed("the session ends")
        for key, command in [*self._commands.items()]:
            name = command.bound.entry.name
            if self.run.give_up(key[:2], key[2]):
                self._settle(key, self._failure(ends, f"{name} was not sent"))
            else:
                hint = "the session ends before the answer"
                if command.bound.entry.trading:
                    hint += "; look at open orders and own trades before sending it again"
                self._settle(key, Unanswered(time_ns(), name, key[2], hint))
        self._feeds.close(lambda feed: self._failure(ends, channel=feed.place[0], symbol=feed.place[1]))
        self._tell_all()


def _state(*, ready: bool, connected: bool) -> str:
    return "ready" if ready else "connecting" if connected else "down"
