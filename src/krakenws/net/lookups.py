"""Looking for requests whose answer is lost: when, where, and what people are told of it.

Two places: the streams openOrders and ownTrades, on a connection of their own which the loop keeps while
anything is looked for, and REST, when there is an API key, in a thread. `core.inquiry` says what is to be
asked and what the answers prove; each look that proves nothing is told.
"""

from __future__ import annotations

from time import monotonic, time_ns

from krakenws.core.events import Disconnected, Gap, Refused, Update
from krakenws.core.inquiry import Evidence, is_sought, judge, more_questions, named, questions
from krakenws.core.intents import UNKNOWN
from krakenws.errors import KrakenWSError, RequestRejected, StateLocked
from krakenws.net.errand import Errand
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from socket import socket
    from typing import Protocol, TypeGuard

    from krakenws.core.events import Event
    from krakenws.core.inquiry import Question
    from krakenws.core.intents import Intent
    from krakenws.options import Options

    class Ledger(Protocol):
        """What trading needs of the journal (`krakenws.journal.Journal`)."""

        def begin(  # noqa: D102
            self, intents: Sequence[Intent], *, allow: Callable[[], None] | None = None
        ) -> None: ...
        def settle(self, intent: Intent) -> Intent: ...  # noqa: D102
        def of(self, name: str, /) -> list[Intent]: ...  # noqa: D102
        def pending(self) -> list[Intent]: ...  # noqa: D102
        def since(self, since_ns: int, /) -> list[Intent]: ...  # noqa: D102
        def claimed(self, order_ids: Iterable[str], /) -> set[str]: ...  # noqa: D102

    Ask = Callable[[Question], object]
    """Makes a signed REST call, blocking."""
    Answers = list[tuple[Question, object, int]]
    """REST's answers or what it raised, and when it was asked."""

CHANNELS = ("openOrders", "ownTrades")
_NOT_CONNECTED = "not connected yet"


class _Inquiry:
    """An intent that is looked for, and the times (monotonic) of the looks that are left."""

    __slots__ = ("adopted", "cause", "dues", "intent", "looks")

    def __init__(self, intent: Intent, cause: str, dues: list[float], *, adopted: bool) -> None:
        self.intent = intent
        self.cause = cause
        self.dues = dues
        self.looks = len(dues)
        self.adopted = adopted


class LookUps:
    """The intents that are looked for.

    Args:
        options: when to look.
        ledger: the journal, in which another process may have settled an intent.
        ask: makes a REST call with the user's key, None without one.
        note: takes a sentence for people.
        conclude: settles an intent, and returns what is told of it.
    """

    def __init__(
        self,
        options: Options,
        ledger: Ledger,
        ask: Ask | None,
        note: Callable[[str], None],
        conclude: Callable[[Intent], Event],
    ) -> None:
        self._options = options
        self._ledger = ledger
        self._ask = ask
        self._note = note
        self._conclude = conclude
        self._evidence = Evidence()
        self._blind = _NOT_CONNECTED
        self._inquiries: list[_Inquiry] = []
        self._looked_for: list[_Inquiry] = []
        self._errand: Errand | None = None

    def __bool__(self) -> bool:
        """Whether anything is looked for, so that a connection for it is wanted."""
        return bool(self._inquiries)

    def __contains__(self, intent: Intent) -> bool:
        return any(its.intent.is_same(intent) for its in self._inquiries)

    @property
    def adopted(self) -> list[Intent]:
        """Those of other runs."""
        return [its.intent for its in self._inquiries if its.adopted]

    def begin(self, intent: Intent, cause: str, *, adopted: bool = False) -> list[Event]:
        """Look for an intent; return the verdicts that are known at once.

        Args:
            intent: of this run, or with `adopted` of another, which may have been over long ago.
            cause: why its outcome is not known, for people.
            adopted: look at once, too, and into the journal.
        """
        if intent in self:
            return []
        after_s = (0.0, *self._options.look_ups_s) if adopted else self._options.look_ups_s
        if not after_s or not is_sought(intent):
            proved = self._proved(intent)
            return [self._conclude(proved or _unknown(intent, cause))]
        now = monotonic()
        dues = [now + seconds for seconds in after_s]
        self._inquiries.append(_Inquiry(intent, cause, dues, adopted=adopted))
        self._note(f"{named(intent)}: {cause}; it is not sent again but looked for")
        return self._judge()

    def end(self, intent: Intent) -> None:
        """Look for an intent no longer."""
        self._inquiries = [its for its in self._inquiries if not its.intent.is_same(intent)]

    def heed(self, events: Sequence[Update | Event]) -> list[Event]:
        """Take what came on the connection for look-ups; return the verdicts that it proves."""
        for event in events:
            if isinstance(event, Update):
                self._blind = ""
                self._evidence.stream(event.route.channel, event.body, snapshot=event.snapshot)
            elif isinstance(event, Refused):
                self._blinded(event.error)
            elif isinstance(event, Disconnected) or _is_broken(event):
                self._blinded(event.cause)
        return self._judge()

    def _blinded(self, cause: str) -> None:
        """The streams of look-ups are not there."""
        self._blind = cause
        self._evidence.streams_lost()

    def _judge(self) -> list[Event]:
        told: list[Event] = []
        for its in tuple(self._inquiries):  # one after the other: an order that is one's is no other's
            proved = self._proved(its.intent)
            if proved is not None:
                told.append(self._conclude(proved))
        return told

    def _proved(self, intent: Intent) -> Intent | None:
        """Return an intent with the verdict that is proved; without the journal nothing is, for now."""
        try:
            return judge(intent, self._evidence, time_ns(), self._ledger)
        except StateLocked:
            return None

    @property
    def watched(self) -> Sequence[tuple[socket, int]]:
        """What becomes readable when REST has answered."""
        return self._errand.watched if self._errand is not None else ()

    def next_deadline(self) -> float | None:
        """Return when to look next, in monotonic seconds, or None."""
        if self._errand is not None:
            return None
        return min((its.dues[0] for its in self._inquiries if its.dues), default=None)

    def on_deadline(self, now: float) -> list[Event]:
        """Look for what is due; return the verdicts that were found at once."""
        at = self.next_deadline()
        if at is None or now < at:
            return []
        told = [*self._elsewhere(now), *self._judge()]
        due = [its for its in self._inquiries if its.dues and its.dues[0] <= now]
        for its in due:
            del its.dues[0]
        self._looked_for = due
        if due and self._ask is not None and self._start(due, self._ask):
            return told
        return told + self._report(
            "no API key, so REST was not asked" if self._ask is None else "REST not asked"
        )

    def _elsewhere(self, now: float) -> list[Event]:
        """Another process may have settled what it began."""
        told: list[Event] = []
        for its in [its for its in self._inquiries if its.adopted and its.dues and its.dues[0] <= now]:
            try:
                rows = self._ledger.of(its.intent.id)
            except StateLocked:
                continue
            row = next((row for row in rows if row.part == its.intent.part), its.intent)
            if not row.pending:
                told.append(
                    self._conclude(replace(row, req_id=its.intent.req_id, found=row.found or "journal"))
                )
        return told

    def _start(self, due: list[_Inquiry], ask: Ask) -> bool:
        intents = [its.intent for its in due]
        asked = dict.fromkeys(question for intent in intents for question in questions(intent))
        thorough = any(len(its.dues) == 1 for its in due)  # the last look may ask about what this one finds
        asked.update(dict.fromkeys(more_questions(intents, self._evidence, thorough=thorough)))
        try:
            self._errand = Errand(lambda: _ask_all(list(asked), ask), then=_nothing, late="", due=None)
        except (OSError, RuntimeError):  # out of descriptors or threads
            return False
        return True

    def collect(self) -> list[Event]:
        """Take REST's answers; return the verdicts that they prove, or that no look is left."""
        errand, self._errand = self._errand, None
        assert errand is not None  # noqa: S101 - it was watched
        answers: Answers = errand.result()
        failures = []
        for question, answer, asked_ns in answers:
            if isinstance(answer, KrakenWSError):
                failures.append(str(answer))
            else:
                self._evidence.answered(question, answer, asked_ns)
        told = self._judge()
        return told + self._report(failures[0] if failures else "not in REST")

    def _report(self, rest: str) -> list[Event]:
        """Tell what a look did not find; what was looked for often enough stays unknown."""
        told: list[Event] = []
        streams = f"streams: {self._blind}" if self._blind else "not in the streams"
        for its in [its for its in self._looked_for if its in self._inquiries]:
            self._note(
                f"{named(its.intent)}: look {its.looks - len(its.dues)} of {its.looks}: {streams}; {rest}"
            )
            if not its.dues:
                looks = f"{its.looks} look-ups" if its.looks > 1 else "1 look-up"
                cause = f"{its.cause}, and {looks} did not tell"
                told.append(self._conclude(_unknown(its.intent, cause)))
        self._looked_for = []
        return told

    def forget(self) -> None:
        """Forget what was seen: nothing is looked for, and from now on nobody tells what changes."""
        self.finish()
        self._evidence = Evidence()
        self._blind = _NOT_CONNECTED

    def finish(self) -> None:
        """Want nothing more."""
        if self._errand is not None:
            self._errand.close()
            self._errand = None


def _is_broken(event: Event) -> TypeGuard[Gap]:
    """Whether the list of open orders is not to be trusted until its next snapshot."""
    return isinstance(event, Gap) and event.to_ns is None and event.channel == CHANNELS[0]


def _unknown(intent: Intent, cause: str) -> Intent:
    return replace(intent, state=UNKNOWN, error=cause, settled_ns=time_ns())


def _ask_all(asked: list[Question], ask: Ask) -> Answers:
    """Ask REST, question by question; in a thread."""
    answers: Answers = []
    for question in asked:
        asked_ns = time_ns()
        try:
            answers.append((question, ask(question), asked_ns))
        except RequestRejected as error:
            known = error.code.startswith("EOrder:Unknown order")  # QueryOrders' way to say: none of them
            answers.append((question, {} if known else error, asked_ns))
        except KrakenWSError as error:
            answers.append((question, error, asked_ns))
            break
    return answers


def _nothing(*_: object) -> None:
    """Errands of this module are collected."""
