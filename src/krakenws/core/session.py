"""What a session says besides what any run says, and how an answer finds its caller.

A session answers each line under the `id` that its caller gave it; `events.Addressed` carries that id to the
output. The records of this module are a session's own events.
"""

from __future__ import annotations

from krakenws.core.events import Addressed, Event
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    CallerId = str | int | None
    """A caller's own name for a line, given back as it was; None: it gave none."""


def addressed(event: Event, id_: CallerId) -> Event:
    """Return an event as the answer to a line of that id."""
    return event if id_ is None else Addressed(event.received_ns, event, id_)


@record
class Failed(Event):
    """What was asked cannot be done; the session goes on.

    `code`: what the exit code would be on the command line; `retryable`: whether trying again can help;
    `line`: which line of this caller it is about, counted from 1; `channel` and `symbol`: which part of what
    was asked, if not all.
    """

    code: int
    message: str
    retryable: bool
    line: int | None = None
    channel: str = ""
    symbol: str = ""
    name = "error"


@record
class Session(Event):
    """The answer to `status`.

    `connections`: each endpoint in use, with its `api`, `state` (`ready`, `connecting` or `down`) and the
    exchange's `system` status; `subscriptions`: what this caller follows, each with the `id` it was asked
    under and whether it is `confirmed`; `unanswered`: how many of its lines await their answer.
    """

    connections: list[dict[str, Any]]
    subscriptions: list[dict[str, Any]]
    unanswered: int
    name = "session"


@record
class Help(Event):
    """The answer to `help`: what may be asked, or with a name what that one takes."""

    text: str
    name = "help"


@record
class Bye(Event):
    """The answer to `quit`: nothing more is read, open answers still come."""

    name = "bye"


@record
class Listening(Event):
    """A session serves a Unix socket from here on."""

    path: str
    name = "listening"
