"""Requests on their way and the answers they await: one request, one end.

    made ──frame queued──▶ due to leave ──taken by the shell──▶ sent ──answers──▶ Reply, Rejected
      ▲                          │ connection lost, held          └──deadline, loss──▶ Unanswered
      └──────────────────────────┘

A request counts as sent from the moment the shell takes its frame, and from then on it is never sent again.
Answers are matched by `req_id`, and one without a number is nobody's (quirk O10). v1
answers once for each order of a cancel, without naming it (quirk O5).

A trading request whose answer is overdue has ended as `Unanswered`, but while its connection stands the
answer may still come (quirk O7): it is then reported as well, since it is the best evidence there is.
"""

from __future__ import annotations

from itertools import count

from krakenws.core.events import Rejected, Reply, Unanswered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from krakenws.core.catalog import Bound
    from krakenws.core.dialect import Envelope
    from krakenws.core.events import Answered

_REMEMBERED = 256
"""Ended requests of which a further answer is recognised."""


class Request:
    """One request, and what its answers have said so far.

    Attributes:
        bound: the command with its values.
        entry: what was asked.
        req_id: its number, whether or not the frame carries it.
        numbered: whether the frame carries it: trading always does, a ping only with the user's own number.
        sent_at: monotonic seconds at which its frame was queued, or None.
        left: the shell has taken the frame.
        held_at: monotonic seconds at which it was held first (`ClientProtocol.hold`), or None.
        deadline: when its answer is overdue, or None.
        frame: what was queued for it.
        session: the token it was made with, as a count.
        errors: the refusals among its answers, as sent.
    """

    __slots__ = (
        "_answers",
        "_expected",
        "_results",
        "bound",
        "deadline",
        "entry",
        "errors",
        "frame",
        "held_at",
        "left",
        "numbered",
        "req_id",
        "sent_at",
        "session",
    )

    def __init__(self, bound: Bound, req_id: int) -> None:
        values, entry = bound.values, bound.entry
        self.bound = bound
        self.entry = entry
        self.req_id = req_id
        self.numbered = entry.trading or _number_of(bound) is not None
        self.sent_at: float | None = None
        self.left = False
        self.held_at: float | None = None
        self.deadline: float | None = None
        self.frame = b""
        self.session = 0
        self.errors: list[str] = []
        self._expected = 0
        for listed in (values.get(entry.answers), values.get("cl_ord_id")):
            if isinstance(listed, list):
                self._expected += len(listed)
        self._expected = self._expected or 1
        self._answers = 0
        self._results: dict[str, Any] = {}

    def take(self, error: str, result: dict[str, Any]) -> bool:
        """Count an answer; return whether it was the last one expected."""
        self._answers += 1
        if error:
            self.errors.append(error)
        else:
            self._results.update(result)
        return self._answers >= self._expected

    def verdict(self, received_ns: int) -> Answered:
        """Return what its answers amount to."""
        name = self.entry.name
        if not self.errors:
            validated = self.bound.only_validates and "order_id" not in self._results  # else it was placed
            return Reply(received_ns, name, self.req_id, self._results, True if validated else None)
        error = ", ".join(dict.fromkeys(self.errors))
        if self._expected > 1:
            error += f" ({len(self.errors)} of {self._expected}; v1 does not say which)"
        return Rejected(received_ns, name, self.req_id, error)

    def unanswered(self, cause: str, received_ns: int) -> Answered:
        """Return its end without all its answers; one refusal may stand for a whole cancel (quirk O5)."""
        name, errors = self.entry.name, self.errors
        if len(errors) == self._answers == 1 and not errors[0].startswith("EOrder:"):
            return Rejected(received_ns, name, self.req_id, errors[0])
        hint = cause
        if self._answers:
            hint += f"; {self._answers} of {self._expected} answers came"
        if errors:
            hint += f", refused: {', '.join(dict.fromkeys(errors))}"
        if self.entry.trading:
            hint += "; look at open orders and own trades before sending it again"
        return Unanswered(received_ns, name, self.req_id, hint)


class Requests:
    """The requests of one conversation that have not ended, in the order they were made.

    Args:
        numbers: gives their numbers, those of other conversations excepted; None: 1, 2, 3 and so on.
    """

    __slots__ = ("_ended", "_numbers", "_open", "_overdue")

    def __init__(self, numbers: Iterator[int] | None = None) -> None:
        self._open: dict[int, Request] = {}
        self._overdue: dict[int, Request] = {}
        self._ended: dict[int, str] = {}
        self._numbers = numbers or count(1)

    def __iter__(self) -> Iterator[Request]:
        return iter(tuple(self._open.values()))

    def __bool__(self) -> bool:
        return bool(self._open)

    def add(self, bound: Bound) -> Request:
        """Begin a request, under the user's number if it has one that is free."""
        given = _number_of(bound)
        taken = given in self._open or given in self._overdue
        number = self.free_number() if given is None or taken else given
        request = self._open[number] = Request(bound, number)
        return request

    def free_number(self) -> int:
        """Return a `req_id` that no open request has."""
        number = next(self._numbers)
        while number in self._open or number in self._overdue:
            number = next(self._numbers)
        return number

    @property
    def sent(self) -> list[Request]:
        """Those whose frames the shell has taken."""
        return [request for request in self._open.values() if request.left]

    @property
    def leaving(self) -> list[Request]:
        """Those whose frames are queued, and which the shell has not taken yet."""
        return [r for r in self._open.values() if r.sent_at is not None and not r.left]

    def next_deadline(self) -> float | None:
        """Return when the first answer is overdue, in monotonic seconds."""
        if not self._open:
            return None
        return min([one.deadline for one in self._open.values() if one.deadline is not None], default=None)

    def taken(self) -> None:
        """The shell takes all frames that are queued."""
        for request in self._open.values():
            request.left = request.sent_at is not None

    def lost(self) -> None:
        """The connection is gone: what had not left may still be sent."""
        for request in self._open.values():
            request.sent_at = request.deadline = None
        self._overdue.clear()

    def overdue(self, request: Request) -> None:
        """End a request whose answer did not come in time; if it trades, the answer is still welcome."""
        self.end(request)
        if request.entry.trading:
            self._overdue[request.req_id] = request

    def end(self, request: Request) -> None:
        """Forget a request but for its name, by which a further answer is recognised."""
        self._open.pop(request.req_id, None)
        self._overdue.pop(request.req_id, None)
        self._ended.pop(request.req_id, None)
        self._ended[request.req_id] = request.entry.name
        if len(self._ended) > _REMEMBERED:
            del self._ended[next(iter(self._ended))]

    def answered_by(self, envelope: Envelope, *, is_pong: bool) -> Request | None:
        """Return the request an answer belongs to: the one of its number, never by guessing.

        Pongs without one come in the order of pings: the oldest is meant.
        """
        if envelope.req_id is not None:
            request = self._open.get(envelope.req_id) or self._overdue.get(envelope.req_id)
            is_its = request is not None and request.left and request.entry.reply == envelope.name
            return request if is_its else None
        if not is_pong:
            return None
        for request in (*self._open.values(), *self._overdue.values()):
            if request.left and request.entry.reply == envelope.name:
                return request
        return None

    def unmatched(self, envelope: Envelope, method: str) -> str:
        """Say what is odd about an answer to nothing: late ones are told from foreign ones (quirk O7)."""
        ended = self._ended.get(-1 if envelope.req_id is None else envelope.req_id)
        if ended and ended == method:
            return f"one more answer to {ended} {envelope.req_id}, which had ended"
        return "an answer that fits no request, or more than one"


def _number_of(bound: Bound) -> int | None:
    """Return the number the user gave a request, if any."""
    given = bound.values.get("reqid", bound.values.get("req_id"))
    return given if isinstance(given, int) else None
