"""What trading commands need of this machine (a journal, a key for look-ups), and `krakenws intents`."""

from __future__ import annotations

from time import gmtime, strftime, time_ns

from krakenws.cli.tables import write_fields
from krakenws.core.intents import OPEN, REJECTED, SETTLED
from krakenws.errors import CredentialsError, UsageError
from krakenws.journal import Journal
from krakenws.net.errand import at_once
from krakenws.state import State

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from krakenws.cli.context import Context
    from krakenws.core.exposure import Exposure
    from krakenws.core.inquiry import Question
    from krakenws.core.intents import Intent
    from krakenws.core.policy import Verdict
    from krakenws.net.errand import Learn
    from krakenws.net.facts import MakeRun
    from krakenws.net.rest import ApiKey
    from krakenws.net.stop import Stop
    from krakenws.net.trading import Check, Confirm, Trading

_REMEMBERED_NS = 30 * 86400 * 1_000_000_000
LISTED = 50
"""Intents that are listed without `--count`."""


def open_journal() -> Journal:
    """Return the journal; its file is opened when first needed."""
    return Journal(State(durable=True))


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


def make_trading(
    context: Context,
    journal: Journal,
    stop: Stop,
    make_run: MakeRun | None = None,
    learn: Learn = at_once,
) -> Trading:
    """Return what the trading commands of a run go through.

    Args:
        context: what the run runs with.
        journal: of intents.
        stop: signals.
        make_run: makes the run in which a policy's facts are asked for; None: there are no checks.
        learn: makes the calls that ask the exchange before an order.
    """
    from krakenws.net.trading import Trading

    try:
        key = context.credentials().find_key()
    except CredentialsError:  # a token is enough to trade; without a key REST is not asked
        key = None
    endpoint, account = context.options.private_url, "" if key is None else key.key_id
    checks: tuple[Check, ...] = ()
    confirm: Confirm | None = None
    if make_run is not None:
        from krakenws.cli.orders import confirming, make_gate, pass_gate

        history = History(journal, endpoint, account)
        gate = make_gate(context, make_run, stop, history, learn)
        checks = (lambda bound: pass_gate(context, gate, bound, trading.waiting),)
        confirm = confirming(context, gate, history)
    trading = Trading(
        context.options,
        journal,
        stop,
        endpoint=endpoint,
        account=account,
        ask=None if key is None else _asker(context, key),
        note=context.note,
        name=str(context.settings.get("intent", "")),
        checks=checks,
        confirm=confirm,
    )
    return trading


def _asker(context: Context, key: ApiKey) -> Callable[[Question], object]:
    def ask(question: Question) -> object:
        from krakenws.cli.context import next_nonce
        from krakenws.net.rest import RestClient

        rest = RestClient(context.options, context.redactor)
        return rest.private(question.path, dict(question.fields), key, lambda: next_nonce(key.key_id))

    return ask


def run(context: Context, words: Sequence[str]) -> int:
    """List the last intents; return the exit code.

    Raises:
        UsageError: there are words.
    """
    if words:
        raise UsageError(f"intents takes no words: {words[0]}")
    count = context.settings.get("count")
    journal = open_journal()
    try:
        rows = [fields_of(intent) for intent in journal.last(count if isinstance(count, int) else LISTED)]
    finally:
        journal.close()
    write_fields(context, rows)
    return 0


def fields_of(intent: Intent) -> dict[str, object]:
    """Return the fields of an intent that are shown."""
    from krakenws.core.inquiry import named

    seconds, rest_ns = divmod(intent.created_ns, 1_000_000_000)
    return {
        "intent": intent.id + (f"/{intent.part}" if intent.part > 1 else ""),
        "time": f"{strftime('%Y-%m-%dT%H:%M:%S', gmtime(seconds))}.{rest_ns // 1000:06d}Z",
        "request": named(intent),
        "state": intent.state,
        "order_id": str(intent.result.get("order_id", "")),
        "found": intent.found,
        "error": intent.error,
        "endpoint": intent.endpoint,
    }
