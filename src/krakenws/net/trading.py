"""The one way a trading command takes, whoever gives it: checked, named, on the disk, sent once, settled.

    prepare: checks and policy ─▶ a number of ours ─▶ one request an order to cancel
    leave:   the policy's limits once more, and its rows, at one stroke ─▶ the frame may leave
                                                                                          (no row, no frame)
    heed:    answer ─▶ verdict ─▶ journal ─▶ event
             none, or one that proves nothing ─▶ look-ups ─▶ verdict: accepted, rejected, or unknown

A request is never sent again. A look-up listens to openOrders and ownTrades on a connection of its own, as
the one that lost the answer may be dead without knowing, and asks REST when there is an API key, each time in
a thread. `core.inquiry` says what that proves. An answer that comes late ends the look-up.

An order without a number of the user's gets one, by which it can be found. Kraken refuses to edit an order
that has a `cl_ord_id` (v1.md 9.3); therefore it is a random `userref` for those that might be edited, and a
`cl_ord_id` for those that cannot be anyway.
"""

from __future__ import annotations

from os import getpid, urandom
from time import time_ns

from krakenws.core.catalog import Bound, shown
from krakenws.core.events import Answered, Rejected, Reply, Unanswered
from krakenws.core.inquiry import advice, is_sought, mark_of, named, order_of
from krakenws.core.intents import ACCEPTED, OPEN, REJECTED, UNKNOWN, Intent, IntentTakenError, NameTaken
from krakenws.errors import IntentUnderway, SinkError, UsageError
from krakenws.net.lookups import LookUps
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Protocol

    from krakenws.core.catalog import Values
    from krakenws.core.events import Event, Update
    from krakenws.core.protocol import ClientProtocol
    from krakenws.core.requests import Request
    from krakenws.net.lookups import Ask, Ledger
    from krakenws.options import Options

    class Signals(Protocol):
        """What trading needs of signals (`krakenws.net.stop.Stop`): let them wait, or not any more."""

        def hold(self) -> None: ...  # noqa: D102
        def release(self) -> None: ...  # noqa: D102

    Check = Callable[[Bound], Mapping[str, str] | None]
    """Raises `KrakenWSError` for what must not be sent; else returns what it may come to, if it is known."""
    Confirm = Callable[[Sequence["Command"]], None]
    """Raises `PolicyRefused` if commands must not leave: others may have sent something since the check."""

_REMEMBERED = 64
"""Commands with a verdict, of which a late answer is recognised."""
BEFORE_ROW, ROW, LEFT, ANSWERED, SETTLED = "before row", "row", "left", "answered", "settled"
RECONCILE = "'krakenws reconcile' looks again"
_FORGOTTEN_NS = 60 * 1_000_000_000
"""An intent that is open for longer is told at the start of a run."""
_PROVES_NOTHING = ("EGeneral:Internal error", "EService:Timeout")
"""Refusals after which the request may have been carried out all the same."""


def reached(_point: str) -> None:
    """Do nothing: at these points tests cut the process. Points are the constants of this module."""


class Command:
    """One request of a trading command, from its words to its verdict.

    Attributes:
        bound: as it goes on the wire.
        asked: its parameters as typed.
        exposure: what it may come to, if a check has found out.
        id: the name of its intent, of which it is this
        part: from 1.
        named: whether the user gave that name.
        intent: its row, made when it leaves; None before.
    """

    __slots__ = ("asked", "bound", "exposure", "id", "intent", "named", "part")

    def __init__(
        self, bound: Bound, asked: Values, exposure: Mapping[str, str], id_: str, part: int, *, named: bool
    ) -> None:
        self.bound = bound
        self.asked = asked
        self.exposure = exposure
        self.id = id_
        self.part = part
        self.named = named
        self.intent: Intent | None = None


class Trading:
    """The trading commands of a run.

    Args:
        options: deadlines.
        ledger: the journal.
        stop: signals, which wait while a request is on its way.
        endpoint: the URL that commands go to, and
        account: whose they are: intents of others are left alone.
        ask: makes a REST call with the user's key, None without one.
        note: takes a sentence for people.
        name: the user's name for the one command of this run, or "".
        checks: what a command must pass before anything else: its rules, then the user's policy.
        confirm: looks at the policy's limits once more while the rows are written, None without a policy.

    Attributes:
        ask: as given.
        look_ups: what is looked for.
        traded: whether a trading command left, in this run or before under the same name.
    """

    def __init__(
        self,
        options: Options,
        ledger: Ledger,
        stop: Signals,
        *,
        endpoint: str,
        account: str,
        ask: Ask | None,
        note: Callable[[str], None],
        name: str = "",
        checks: Sequence[Check] = (),
        confirm: Confirm | None = None,
    ) -> None:
        self._ledger = ledger
        self._stop = stop
        self._endpoint = endpoint
        self._account = account
        self._note = note
        self._name = name
        self._checks = checks
        self._confirm = confirm
        self._unsent: list[Command] = []
        self._commands: dict[int, Command] = {}
        self._ended: dict[int, Command] = {}
        self._told: list[Event] = []
        self._begun = False
        self._marks: set[str] = set()
        self.ask = ask
        self.look_ups = LookUps(options, ledger, ask, note, self._conclude)
        self.traded = False

    # ---- before

    def prepare(self, bound: Bound, name: str = "") -> list[Command]:
        """Return the requests that a command becomes; none if its name was used before, and is answered so.

        Args:
            bound: as typed.
            name: the user's for it; that of the run goes before.

        Raises:
            UsageError: the name stands for another command, waits to be sent or for its verdict.
            KrakenWSError: a check forbids it.
            SinkError: the journal cannot be read: then nothing may be sent.
        """
        if self._begun and self._name:
            raise UsageError("--intent names one command: run the others by themselves")
        name = self._name or name
        if not self._begun and (name or not bound.only_validates):  # else no row will be there to compare
            self._begin()
        if name:
            if self.knows(name):
                self.recall(bound, name)
                return []
            for command in self._unsent:
                if command.id == name:
                    hold_to(name, command.bound.entry.name, command.asked, bound)
                    raise IntentUnderway(
                        f"the intent {name} waits to be sent: ask again once its verdict is told"
                    )
        exposure: Mapping[str, str] = {}
        for check in self._checks:
            exposure = check(bound) or exposure
        asked = bound.values
        if "reqid" in asked:
            asked = asked_of(bound)
            if bound.values["reqid"] in self._commands:  # of one that is still looked for, perhaps
                bound = Bound(bound.entry, asked)
        if bound.only_validates:  # it has no row, which would need a name, and places nothing to be found
            commands = [Command(bound, asked, exposure, name, 1, named=bool(name))]
        else:
            parts, id_ = requests_of(bound, self._free_userref), name or urandom(8).hex()
            commands = [
                Command(part, asked, exposure, id_, at, named=bool(name)) for at, part in enumerate(parts, 1)
            ]
        self._unsent += commands
        return commands

    def knows(self, name: str) -> bool:
        """Whether a name was used before."""
        return bool(name and self._ledger.of(name))

    def _begin(self) -> None:
        """Look at the journal once: which numbers are in use, and what was left open."""
        pending = self._ledger.pending()
        self._begun = True
        self._marks = {mark[1] for intent in pending if (mark := mark_of(intent))}
        forgotten_ns = time_ns() - _FORGOTTEN_NS
        old = sum(intent.created_ns < forgotten_ns and self._is_ours(intent) for intent in pending)
        if old:
            what = "1 earlier request has" if old == 1 else f"{old} earlier requests have"
            self._note(f"{what} an unknown outcome: {RECONCILE}, 'krakenws intents' lists")

    def earlier(self, since_ns: int) -> list[Intent]:
        """Return what was sent for this account since then (nanoseconds since 1970), oldest first."""
        return [intent for intent in self._ledger.since(since_ns) if self._is_ours(intent)]

    def _is_ours(self, intent: Intent) -> bool:
        return intent.is_of(self._endpoint, self._account)

    def _free_userref(self) -> str:
        while True:
            number = draw_userref()
            if number not in self._marks:
                self._marks.add(number)
                return number

    def expect(self, command: Command, req_id: int) -> None:
        """A command waits for its connection, under this number."""
        self._commands[req_id] = command
        self._ended.pop(req_id, None)

    def give_up(self, req_id: int) -> None:
        """A command is not to be sent any more."""
        self._unsent.remove(self._commands.pop(req_id))

    def leave(self, protocol: ClientProtocol) -> list[Request]:
        """Write the rows of what is about to leave; what may not leave is withdrawn.

        What is only to be checked places nothing, and has no row: there is nothing to look for.

        Returns:
            The trading requests that leave.

        Raises:
            SinkError: they could not be written: nothing may leave.
            PolicyRefused: they must not be: nothing may leave.
            NameTaken: some must not leave, and were withdrawn; the others may.
        """
        trading, leaving = [], []
        for request in protocol.leaving:
            if request.entry.trading:
                trading.append(request)
                command = self._commands[request.req_id]
                if not request.bound.only_validates:
                    leaving.append((request, command))
                elif command in self._unsent:
                    self._unsent.remove(command)
        if not leaving:
            return trading
        created_ns = time_ns()
        intents = [self._intent(command, request.req_id, created_ns) for request, command in leaving]
        confirm, commands = self._confirm, [command for _, command in leaving]
        reached(BEFORE_ROW)
        try:
            self._ledger.begin(intents, allow=None if confirm is None else lambda: confirm(commands))
        except IntentTakenError as taken:
            self._give_way(protocol, leaving, taken.intent)
            return self.leave(protocol)
        for intent, (_, command) in zip(intents, leaving, strict=True):
            command.intent = intent
        self._unsent = [command for command in self._unsent if command.intent is None]
        self.traded = True
        self._stop.hold()
        reached(ROW)
        return trading

    def _give_way(
        self, protocol: ClientProtocol, leaving: Sequence[tuple[Request, Command]], name: str
    ) -> None:
        """Withdraw what bears a name that another process was quicker to use; its verdict is told instead."""
        taken = [(request, command) for request, command in leaving if command.id == name]
        command = taken[0][1]
        numbers = [request.req_id for request, _ in taken]
        refusal: NameTaken | None = None
        try:
            self.recall(Bound(command.bound.entry, command.asked), name, iter(numbers).__next__)
        except UsageError as error:
            refusal = NameTaken(str(error), numbers)
        for request, _ in taken:  # not before the journal could be read
            protocol.withdraw(request)
            self.give_up(request.req_id)
        if refusal is not None:
            raise refusal

    def _intent(self, command: Command, req_id: int, created_ns: int) -> Intent:
        return Intent(
            command.id,
            command.part,
            command.named,
            command.bound.entry.name,
            command.asked,
            asked_of(command.bound),
            req_id,
            self._endpoint,
            self._account,
            getpid(),
            created_ns,
            command.exposure,
        )

    def left(self) -> None:
        """What was to leave has left."""
        reached(LEFT)

    # ---- after

    @property
    def waiting(self) -> list[Bound]:
        """The commands that have not left."""
        return [command.bound for command in self._unsent]

    @property
    def held(self) -> list[tuple[int, Bound]]:
        """The commands that wait for their connection, each with its number."""
        commands = self._commands.items()
        return [(req_id, command.bound) for req_id, command in commands if command in self._unsent]

    @property
    def owed(self) -> list[Intent]:
        """The intents of this run that have left and have no verdict yet."""
        sent = [command.intent for command in self._commands.values() if command.intent is not None]
        return [*sent, *self.look_ups.adopted]

    def owed_in_words(self) -> list[tuple[str, str]]:
        """Return what each of `owed` is called, and what to do about it."""
        return [(named(intent), RECONCILE) for intent in self.owed]

    def say_what_is_owed(self) -> None:
        """Tell who asked the run to end what it still waits for."""
        if names := ", ".join(name for name, _ in self.owed_in_words()):
            self._note(f"waiting for the verdict of {names}; a second signal leaves without it")

    @property
    def has_news(self) -> bool:
        """Whether `told` has something to tell."""
        return bool(self._told)

    @property
    def busy(self) -> bool:
        """Whether a verdict is owed or to be told."""
        if self._told or self.look_ups:
            return True
        commands = self._commands  # none, mostly
        return bool(commands) and any(command.intent is not None for command in commands.values())

    def heed(self, events: Sequence[Update | Event]) -> list[Update | Event]:
        """Return what is to be told of what happened: verdicts in place of answers."""
        told: list[Update | Event] = []
        for event in events:
            if isinstance(event, Answered):
                command = self._commands.get(event.req_id) or self._ended.get(event.req_id)
                if command is not None and command.bound.entry.name == event.method:
                    told += self._answered(command, event)
                    continue
            told.append(event)
        return told

    def _answered(self, command: Command, event: Answered) -> list[Event]:
        intent = command.intent
        if intent is None:  # it was only to be checked, or held back and never left
            del self._commands[event.req_id]
            if command in self._unsent:
                self._unsent.remove(command)
            return [event]
        if intent.state == UNKNOWN and not isinstance(event, Unanswered):
            self._told_late(intent, event)
            return []  # it was told as unknown
        if intent.state != OPEN:
            return []  # a late answer to what was found
        late = "late answer" if intent in self.look_ups else ""
        if isinstance(event, Unanswered):
            return self.look_ups.begin(intent, event.hint.partition("; look at")[0])
        if isinstance(event, Reply):
            told = self._conclude(replace(_ended(intent, ACCEPTED, late), result=event.result))
            if isinstance(told, Reply):
                told = replace(told, validated=event.validated)
            return [replace(told, rate=event.rate)]
        assert isinstance(event, Rejected)  # noqa: S101 - the third of three
        if event.error.startswith(_PROVES_NOTHING):
            return self.look_ups.begin(intent, f"the exchange said {event.error}")
        return [replace(self._conclude(_ended(intent, REJECTED, late, error=event.error)), rate=event.rate)]

    def _told_late(self, intent: Intent, event: Answered) -> None:
        """The answer to what was looked for in vain: the journal learns it, and people."""
        if isinstance(event, Reply):
            self._conclude(replace(_ended(intent, ACCEPTED, "late answer"), result=event.result))
        elif isinstance(event, Rejected) and not event.error.startswith(_PROVES_NOTHING):
            self._conclude(_ended(intent, REJECTED, "late answer", error=event.error))

    def _conclude(self, intent: Intent) -> Event:
        """Settle an intent in the journal, and return what is told of it."""
        reached(ANSWERED)
        try:
            stands = self._ledger.settle(intent)
            if stands.state != intent.state:  # another process was first, and has told it so
                intent = replace(stands, req_id=intent.req_id, found=stands.found or "journal")
        except SinkError as error:  # the verdict is known all the same; the row stays open for `reconcile`
            self._note(f"the journal could not be told that {intent.method} was {intent.state}: {error}")
        reached(SETTLED)
        if intent.found and intent.state != UNKNOWN:
            what = " ".join(filter(None, (str(intent.result.get("order_id", "")), intent.error)))
            self._note(f"{named(intent)}: {intent.state}{what and f', {what}'} (found: {intent.found})")
        self.look_ups.end(intent)
        for number, command in [*self._commands.items(), *self._ended.items()]:
            if command.intent is not None and command.intent.is_same(intent):
                command.intent = intent
                self._commands.pop(number, None)
                self._ended[number] = command  # a late answer finds it
        while len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]
        if not self.owed:
            self._stop.release()
        return told_of(intent)

    # ---- names used before

    def recall(self, bound: Bound, name: str, number: Callable[[], int] | None = None) -> list[int]:
        """Answer a command whose name was used before with its verdict, and send nothing.

        Args:
            bound: as typed.
            name: the user's for it.
            number: gives the number of each request whose verdict is told; None: that of its own time.

        Returns:
            The numbers under which verdicts are told.

        Raises:
            UsageError: the name stands for another command.
            IntentUnderway: this run awaits its verdict.
        """
        known = self._ledger.of(name)
        first = known[0]
        hold_to(name, first.method, first.asked, bound)
        if not self._is_ours(first):
            raise UsageError(
                f"the intent {name} was used with {first.endpoint} or another key: use another name"
            )
        if any(intent.is_same(owed) for intent in known for owed in self.owed):
            raise IntentUnderway(f"the intent {name} awaits its verdict: ask again once that is told")
        self.traded = True
        is_open = any(intent.pending for intent in known)
        what = "its verdict is looked for" if is_open else "this is its verdict"
        self._note(f"the intent {name} was used before: {what}, nothing was sent")
        if number is not None:
            known = [replace(intent, req_id=number()) for intent in known]
        for intent in known:
            if intent.pending:
                self.adopt(intent, "its verdict is not known yet")
            else:
                self._told.append(told_of(replace(intent, found=intent.found or "journal")))
        return [intent.req_id for intent in known]

    def adopt(self, intent: Intent, cause: str) -> None:
        """Look for an intent of another run."""
        self._stop.hold()
        self._told += self.look_ups.begin(intent, cause, adopted=True)

    def adopt_open(self) -> tuple[list[Intent], int]:
        """Look for all open intents of this endpoint and account; return them, and how many are of others."""
        self._begun = True
        pending = self._ledger.pending()
        ours = [intent for intent in pending if self._is_ours(intent)]
        for intent in ours:
            self.adopt(intent, "its outcome is not known yet")
        return ours, len(pending) - len(ours)

    def told(self) -> list[Event]:
        """Return the verdicts that were known without looking, once."""
        told, self._told = self._told, []
        return told


def hold_to(name: str, method: str, asked: Mapping[str, object], bound: Bound) -> None:
    """Refuse a command under the name of another one.

    Raises:
        UsageError: it differs from what the name stands for.
    """
    if (method, dict(asked)) != (bound.entry.name, asked_of(bound)):
        said = " ".join(f"{name}={shown(str(value))}" for name, value in asked.items())
        raise UsageError(f"the intent {name} stands for {method} {said}".rstrip() + ": use another name")


def asked_of(bound: Bound) -> Values:
    """Return a command's parameters as typed, whatever number the request has."""
    values = bound.values
    return {name: values[name] for name in values if name != "reqid"} if "reqid" in values else values


def _ended(intent: Intent, state: str, found: str, *, error: str = "") -> Intent:
    return replace(intent, state=state, error=error, found=found, settled_ns=time_ns())


def requests_of(bound: Bound, userref: Callable[[], str]) -> list[Bound]:
    """Return the requests that a command leaves as: with a number of ours; one an order to cancel (quirk O5).

    Args:
        bound: as typed.
        userref: gives a number for an order that has none.
    """
    values = _marked(bound, userref)
    for name in ("txid", "cl_ord_id"):
        listed = values.get(name)
        if isinstance(listed, list) and len(listed) > 1:
            return [Bound(bound.entry, {**values, name: [item]}) for item in listed]
    return [bound if values is bound.values else Bound(bound.entry, values)]


def draw_userref() -> str:
    """Return a random number of 31 bits that is not 0."""
    return str(int.from_bytes(urandom(4), "big") % ((1 << 31) - 1) + 1)


def _marked(bound: Bound, userref: Callable[[], str]) -> Values:
    """Return a command's values with a number of ours, if it places an order that has none."""
    values, name = bound.values, bound.entry.name
    if bound.only_validates:
        return values
    if name == "editOrder" and "newuserref" not in values:
        return {**values, "newuserref": userref()}
    if name != "addOrder" or "userref" in values or "cl_ord_id" in values:
        return values
    if _can_be_edited(values):
        return {**values, "userref": userref()}
    return {**values, "cl_ord_id": f"kw{urandom(8).hex()}"}


def _can_be_edited(values: Values) -> bool:
    """Source: v1.md 9.3."""
    rests = values["ordertype"] not in {"market", "settle-position"} and values.get("timeinforce") != "IOC"
    return rests and not any(name.startswith("close[") for name in values)


def told_of(intent: Intent) -> Event:
    """Return the event that tells an intent's verdict."""
    at_ns, order, name = intent.settled_ns or time_ns(), order_of(intent), intent.id
    method, req_id = intent.method, intent.req_id
    if intent.state == ACCEPTED:
        return Reply(at_ns, method, req_id, intent.result, order=order, intent=name, found=intent.found)
    if intent.state == REJECTED:
        return Rejected(at_ns, method, req_id, intent.error, order=order, intent=name, found=intent.found)
    kind, number = mark_of(intent) or ("", "")
    return Unanswered(
        at_ns,
        method,
        req_id,
        _hint(intent),
        order=order,
        intent=name,
        userref=int(number) if kind == "userref" else None,
        cl_ord_id=number if kind == "cl_ord_id" else "",
    )


def _hint(intent: Intent) -> str:
    """Say why an outcome is unknown, what to look at, and whether looking again can help."""
    if intent.state != UNKNOWN:
        return f"{intent.error}; this cannot be found out any more: {advice(intent)}"
    again = f"; {RECONCILE}" if is_sought(intent) else ""
    return f"{intent.error}; {advice(intent)}{again}"
