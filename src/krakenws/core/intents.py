"""Intents: what a trading command means to do, as the journal keeps it and look-ups settle it.

open ──answer, look-up──▶ accepted, rejected        no row, no frame
  │                            ▲      settled: nothing can tell any more, and nothing more will come of it;
  └──no answer──▶ unknown ─────┘               to people it is as unknown as before
"""

from __future__ import annotations

from krakenws.errors import UsageError
from krakenws.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

OPEN, ACCEPTED, REJECTED, UNKNOWN, SETTLED = "open", "accepted", "rejected", "unknown", "settled"

NAMES = "a name of at most 64 ASCII characters without a space"


def is_name(text: str) -> bool:
    """Return whether a command may be called so."""
    return text.isascii() and text.isprintable() and " " not in text and 0 < len(text) <= 64


class IntentTakenError(Exception):
    """Another process has used a name (`intent`) in the meantime: nothing may be sent under it."""

    def __init__(self, intent: str) -> None:
        super().__init__(intent)
        self.intent = intent


class NameTaken(UsageError):
    """Another process was quicker to use a name, for something else. `numbers`: of what was withdrawn."""

    def __init__(self, message: str, numbers: list[int]) -> None:
        super().__init__(message)
        self.numbers = numbers


@record
class Intent:
    """One request of an intent.

    Attributes:
        id: the user's name for it, or a random one.
        part: from 1, of the requests that one command became.
        named: whether the user gave the name.
        method: the command, `addOrder`.
        asked: its parameters as typed.
        sent: its parameters as they go on the wire, without token and request number.
        req_id: its number on the connection.
        endpoint: the URL it goes to.
        account: tells accounts apart without giving a key away, "" when only a token is known.
        pid: of the process that wrote it.
        created_ns: when, in nanoseconds since 1970; right before the frame left.
        exposure: what it may come to (`core.exposure.Exposure`), if the user's policy asked.
        state: one of the constants of this module.
        result: what the exchange answered, or what a look-up found.
        error: the exchange's refusal, or why it cannot have had an effect.
        found: which place told, "" for its own answer.
        settled_ns: when the verdict was known.
    """

    id: str
    part: int
    named: bool
    method: str
    asked: Mapping[str, Any]
    sent: Mapping[str, Any]
    req_id: int
    endpoint: str
    account: str
    pid: int
    created_ns: int
    exposure: Mapping[str, str] = {}
    state: str = OPEN
    result: Mapping[str, Any] = {}
    error: str = ""
    found: str = ""
    settled_ns: int | None = None

    @property
    def pending(self) -> bool:
        """Whether nobody knows yet what became of it."""
        return self.state in {OPEN, UNKNOWN}

    def is_of(self, endpoint: str, account: str) -> bool:
        """Whether it went to this endpoint and, as far as both are known, for this account."""
        return self.endpoint == endpoint and len({self.account, account} - {""}) < 2

    def is_same(self, other: Intent) -> bool:
        """Whether both tell of the same request."""
        return (self.id, self.part) == (other.id, other.part)
