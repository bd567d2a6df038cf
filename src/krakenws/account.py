"""What trading in somebody's name needs of this machine: the journal, its history, a key for look-ups."""

from __future__ import annotations

from time import time_ns

from krakenws.core.intents import OPEN, REJECTED, SETTLED
from krakenws.errors import CredentialsError
from krakenws.journal import Journal
from krakenws.state import State, next_nonce

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from krakenws.core.exposure import Exposure
    from krakenws.core.inquiry import Question
    from krakenws.core.intents import Intent
    from krakenws.core.policy import Verdict
    from krakenws.core.redaction import Redactor
    from krakenws.net.credentials import Credentials
    from krakenws.net.gate import Gate
    from krakenws.net.lookups import Ledger
    from krakenws.net.rest import ApiKey
    from krakenws.net.trading import Check, Command, Confirm, Signals, Trading
    from krakenws.options import Options

_REMEMBERED_NS = 30 * 86400 * 1_000_000_000


def open_journal() -> Journal:
    """Return the journal; its file is opened when first needed, and belongs to the thread that does."""
    return Journal(State(durable=True))


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
        self._endpoint = endpoint
        self._account = account

    def sent_since(self, since_ns: int) -> list[Exposure]:
        """Return what was sent since then and not rejected."""
        return [_exposure(intent) for intent in self._placed(since_ns) if intent.state != REJECTED]

    def last_verdicts(self, count: int) -> list[Verdict]:
        """Return how the last orders ended, newest first; of the last thirty days."""
        from krakenws.core.policy import Verdict

        placed = self._placed(time_ns() - _REMEMBERED_NS)
        ended = [intent for intent in placed if intent.state not in {OPEN, SETTLED}]
        return [Verdict(intent.state, intent.created_ns) for intent in ended[::-1][:count]]

    def opened_since(self, since_ns: int) -> int:
        """Return how many new orders were sent since then and not rejected."""
        placed = self._placed(since_ns)
        return sum(intent.method == "addOrder" and intent.state != REJECTED for intent in placed)

    def _placed(self, since_ns: int) -> list[Intent]:
        from krakenws.core.v1_entries import PLACING

        return [
            intent
            for intent in self._journal.since(since_ns)
            if intent.method in PLACING and intent.is_of(self._endpoint, self._account)
        ]


def confirming(gate: Gate, history: History) -> Confirm:
    """Return what has a gate look at a policy's limits again while rows are written."""

    def confirm(commands: Sequence[Command]) -> None:
        weighed = [one for one in commands if one.exposure]
        if weighed:
            from krakenws.core.exposure import Exposure

            gate.confirm([(one.bound, Exposure(**one.exposure)) for one in weighed], history)

    return confirm


def _exposure(intent: Intent) -> Exposure:
    """Return what an order came to at most; one that was sent without a policy is weighed now."""
    from krakenws.core.catalog import Bound, find
    from krakenws.core.exposure import Exposure, Sizing
    from krakenws.core.v1_entries import ENTRIES

    if intent.exposure:
        return Exposure(**intent.exposure)
    entry = find(ENTRIES, intent.method)
    assert entry is not None  # noqa: S101 - of `PLACING`
    return Sizing(Bound(entry, dict(intent.sent))).exposure(None)
