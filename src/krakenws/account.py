"""What trading in somebody's name needs of this machine: the journal, its history, a key for look-ups."""

from __future__ import annotations

from json import loads
from time import time_ns

from krakenws.core.intents import ACCEPTED, OPEN, REJECTED, SETTLED, UNKNOWN
from krakenws.errors import CredentialsError
from krakenws.journal import Journal
from krakenws.state import State, next_nonce

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from krakenws.core.exposure import Exposure
    from krakenws.core.inquiry import Question
    from krakenws.core.policy import Verdict
    from krakenws.core.redaction import Redactor
    from krakenws.net.credentials import Credentials
    from krakenws.net.gate import Gate
    from krakenws.net.lookups import Ledger
    from krakenws.net.rest import ApiKey
    from krakenws.net.trading import Check, Command, Confirm, Signals, Trading
    from krakenws.options import Options

_NOT_REJECTED = (OPEN, UNKNOWN, ACCEPTED, SETTLED)
_ON_ITS_WAY_NS = 60 * 1_000_000_000
"""How long an order may wait at the exchange. Source: `deadline`, v1.md 9.1."""
_REMEMBERED_NS = 30 * 86400 * 1_000_000_000


def open_journal(patience_s: float | None = None) -> Journal:
    """Return the journal; its file is opened when first needed, and belongs to the thread that does.

    Args:
        patience_s: how long others may keep it from being written, if not as long as usual.
    """
    return Journal(State(durable=True, patience_s=patience_s))


class Account:
    """An account at one endpoint, as far as it is known here.

    Args:
        options: where it is.
        redactor: cleans what REST's errors quote.
        credentials: find its key.

    Attributes:
        endpoint: the URL that commands go to.
        name: tells accounts apart without giving a key away; "" when only a token is known.
    """

    def __init__(self, options: Options, redactor: Redactor, credentials: Credentials) -> None:
        self._options = options
        self._redactor = redactor
        try:
            self._key: ApiKey | None = credentials.find_key()
        except CredentialsError:  # a token is enough to trade; without a key REST is not asked
            self._key = None
        self.endpoint = options.private_url
        self.name = "" if self._key is None else self._key.key_id

    def trading(
        self,
        journal: Ledger,
        stop: Signals,
        *,
        note: Callable[[str], None],
        name: str = "",
        checks: Sequence[Check] = (),
        confirm: Confirm | None = None,
    ) -> Trading:
        """Return what its trading commands go through; the arguments are those of `Trading`."""
        from krakenws.net.trading import Trading

        return Trading(
            self._options,
            journal,
            stop,
            endpoint=self.endpoint,
            account=self.name,
            ask=None if self._key is None else self._asker(self._key),
            note=note,
            name=name,
            checks=checks,
            confirm=confirm,
        )

    def _asker(self, key: ApiKey) -> Callable[[Question], object]:
        def ask(question: Question) -> object:
            from krakenws.net.rest import RestClient

            rest = RestClient(self._options, self._redactor)
            return rest.private(question.path, dict(question.fields), key, lambda: next_nonce(key.key_id))

        return ask

    def history(self, journal: Journal) -> History:
        """Return what a policy is told of its earlier orders."""
        return History(journal, self.endpoint, self.name)


class History:
    """What a policy is told of earlier orders: those of this endpoint and, as far as known, this account."""

    def __init__(self, journal: Journal, endpoint: str, account: str) -> None:
        self._journal = journal
        self._of = endpoint, account

    def sent_since(self, since_ns: int) -> list[Exposure]:
        """Return what was sent since then and not rejected."""
        rows = self._placed(("method", "sent", "exposure"), _NOT_REJECTED, since_ns)
        return [_exposure(*row) for row in rows]

    def last_verdicts(self, count: int) -> list[Verdict]:
        """Return how the last orders ended, newest first; of the last thirty days."""
        from krakenws.core.policy import Verdict

        since_ns = time_ns() - _REMEMBERED_NS
        rows = self._placed(("state", "created_ns"), (ACCEPTED, REJECTED, UNKNOWN), since_ns, count)
        return [Verdict(*row) for row in rows]

    def opened_since(self, since_ns: int) -> int:
        """Return how many new orders were sent since then and not rejected.

        Those sent right before, and not answered yet, may have been on their way then.
        """
        rows = self._placed(("method", "state", "created_ns"), _NOT_REJECTED, since_ns - _ON_ITS_WAY_NS)
        return sum(
            method == "addOrder" and (created_ns >= since_ns or state in {OPEN, UNKNOWN})
            for method, state, created_ns in rows
        )

    def _placed(
        self, columns: Sequence[str], states: Sequence[str], since_ns: int, newest: int | None = None
    ) -> list[tuple[Any, ...]]:
        from krakenws.core.v1_entries import PLACING

        return self._journal.look_up(
            columns, methods=PLACING, states=states, of=self._of, since_ns=since_ns, newest=newest
        )


def confirming(gate: Gate, history: History) -> Confirm:
    """Return what has a gate look at a policy's limits again while rows are written."""

    def confirm(commands: Sequence[Command]) -> None:
        weighed = [one for one in commands if one.exposure]
        if weighed:
            from krakenws.core.exposure import Exposure

            gate.confirm([(one.bound, Exposure(**one.exposure)) for one in weighed], history)

    return confirm


def _exposure(method: str, sent: str, exposure: str) -> Exposure:
    """Return what an order came to at most; one that was sent without a policy is weighed now."""
    from krakenws.core.catalog import Bound, find
    from krakenws.core.exposure import Exposure, Sizing
    from krakenws.core.v1_entries import ENTRIES

    if known := loads(exposure):
        return Exposure(**known)
    entry = find(ENTRIES, method)
    assert entry is not None  # noqa: S101 - of `PLACING`
    return Sizing(Bound(entry, loads(sent))).exposure(None)
