"""What every command that places or changes an order passes before it may leave: checks, then the policy.

The policy (`core.policy`) is the user's own law, and what cannot be found out forbids. Commands that only
take away pass without a look.
"""

from __future__ import annotations

import os
from time import monotonic, time_ns

from krakenws.core.v1_entries import PLACING
from krakenws.errors import ConnectionFailed
from krakenws.net.errand import at_once
from krakenws.net.stop import Stopped

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from krakenws.core.catalog import Bound
    from krakenws.core.exposure import Exposure, Quote
    from krakenws.core.policy import Facts, Policy, Verdict
    from krakenws.net.errand import Learn
    from krakenws.net.facts import MakeRun
    from krakenws.net.stop import Stop
    from krakenws.options import Options

    class History(Protocol):
        """What the journal of orders tells a policy; of this exchange only."""

        def sent_since(self, since_ns: int) -> Sequence[Exposure]:
            """Return what was sent since then and not rejected."""

        def last_verdicts(self, count: int) -> Sequence[Verdict]:
            """Return how the last orders ended, newest first."""

        def opened_since(self, since_ns: int) -> int:
            """Return how many new orders were sent since then and not rejected."""

    AtHand = Callable[[str], Quote | None]
    Leaving = Sequence[tuple[Bound, Exposure]]
    """Commands, and what each may come to."""


_NEWS_S = 2.0
"""How old a book or a number of open orders may be, so that the orders of one line share them."""
_DAY_NS = 86_400_000_000_000


class Gate:
    """Lets commands pass, or says why not.

    Args:
        options: endpoints, deadlines, and whether to check at all.
        policy: the user's limits, or None.
        history: what was sent before, or None: nobody keeps account.
        make_run: makes the run in which a policy's facts are asked for; None: a dry run, nobody is asked
            anything, and what is not at hand is left out and named.
        stop: signals, or None.
        note: takes a sentence for people.
        learn: makes the calls that ask the exchange.
        at_hand: gives the best prices of a pair whose verified book is followed anyway, else None.

    Attributes:
        has_policy: whether there is one, so that it matters what waits to be sent.
    """

    def __init__(
        self,
        options: Options,
        *,
        policy: Policy | None,
        history: History | None,
        make_run: MakeRun | None,
        stop: Stop | None,
        note: Callable[[str], None],
        learn: Learn = at_once,
        at_hand: AtHand | None = None,
    ) -> None:
        from krakenws.net.checks import Checks

        self._options = options
        self._checks = (
            Checks(options, note, asks=make_run is not None, learn=learn) if options.check else None
        )
        self._learn = learn
        self._at_hand = at_hand
        self._policy = policy
        self.has_policy = policy is not None
        self._history = history
        self._make_run = make_run
        self._stop = stop
        self._note = note
        self._quotes: dict[str, Quote] = {}
        self._quoted_at: dict[str, float] = {}
        self._open_orders: int | None = None
        self._counted_ns = 0
        self._counted_at = 0.0

    def check(self, bound: Bound, waiting: Sequence[Bound] = ()) -> Exposure | None:
        """Let a command pass; return what it may come to, None without a policy or if it only takes away.

        Args:
            bound: the command.
            waiting: those that passed before it and have not left yet: limits count them.

        Raises:
            UsageError: a check says no: the rule, and the nearest legal value.
            PolicyRefused: the policy forbids it.
            ConnectionFailed: a signal came while this was being found out.
            KrakenWSError: what the policy needs to know could not be asked.
        """
        if bound.entry.name not in PLACING:
            return None
        try:
            if self._checks is not None:
                self._checks.check(bound)
                if self._at_hand is not None and bound.values.get("ordertype") == "market":
                    self._check_cost(bound, self._at_hand(_pair(bound)))
            if self._policy is None:
                return None
            return self._judge(self._policy, bound, [one for one in waiting if _counts(one)])
        except Stopped:
            raise _stopped(bound) from None

    def _check_cost(self, bound: Bound, quote: Quote | None) -> None:
        """Hold an order to the least cost, if a book says what it would cost."""
        if quote is not None and self._checks is not None:
            self._checks.check_cost(bound, quote.of(str(bound.values.get("type", "")))[0][0])

    def _judge(self, policy: Policy, bound: Bound, waiting: Sequence[Bound]) -> Exposure:
        from krakenws.core.exposure import Sizing
        from krakenws.core.policy import judge, without_looking

        if self._make_run is None:
            policy, unknown = without_looking(policy, bound)
            if unknown:
                self._note(f"a dry run asks nobody: not evaluated: {', '.join(unknown)}")
        if not _killed(policy):
            self._look(policy, bound)
        before = [(one, Sizing(one).exposure(self._quotes.get(_pair(one)))) for one in waiting]
        quote = self._quotes.get(_pair(bound))
        exposure = judge(policy, bound, self._facts(policy, self._history, before, quote))
        self._check_cost(bound, quote)
        return exposure

    def _look(self, policy: Policy, bound: Bound) -> None:
        """Ask the exchange for what has to be known, and is not or was too long ago."""
        from krakenws.core.policy import needs_open_orders, needs_quote

        since = monotonic() - _NEWS_S
        self._quotes = {pair: quote for pair, quote in self._quotes.items() if self._quoted_at[pair] >= since}
        pairs = {_pair(bound)} - {"", *self._quotes} if needs_quote(policy, bound) else set()
        is_counted = self._open_orders is not None and self._counted_at >= since
        count = not is_counted and needs_open_orders(policy, bound)
        if self._make_run is None or not (pairs or count):
            return
        from krakenws.net.facts import look

        options, make_run = self._options, self._make_run

        def ask() -> tuple[int, dict[str, Quote], int | None]:
            return time_ns(), *look(options, make_run, pairs=pairs, open_orders=count)

        began_ns, quotes, open_orders = self._learn(("look", frozenset(pairs), count), ask)
        if self._stop is not None and self._stop.set:
            raise _stopped(bound)
        now = monotonic()
        self._quotes |= quotes
        self._quoted_at |= dict.fromkeys(quotes, now)
        if count:
            self._open_orders, self._counted_ns, self._counted_at = open_orders, began_ns, now

    def confirm(self, leaving: Leaving, history: History) -> None:
        """Let commands that passed leave, all or none, by what was sent in the meantime.

        Args:
            leaving: what is about to leave.
            history: what was sent before; nobody else can send anything until these have their rows.

        Raises:
            PolicyRefused: the policy forbids one of them now.
        """
        from krakenws.core.policy import judge_again

        if self._policy is None:
            return
        for at, (bound, exposure) in enumerate(leaving):
            judge_again(
                self._policy, bound, exposure, self._facts(self._policy, history, leaving[:at], quote=None)
            )

    def _facts(self, policy: Policy, history: History | None, before: Leaving, quote: Quote | None) -> Facts:
        """Return what is known now, with commands that go before."""
        from krakenws.core.policy import Facts, needs_journal

        now_ns = time_ns()
        sent: Sequence[Exposure] | None = None
        verdicts: Sequence[Verdict] | None = None
        if history is not None and needs_journal(policy):
            sent = [*history.sent_since(now_ns - now_ns % _DAY_NS), *(exposure for _, exposure in before)]
            verdicts = history.last_verdicts(policy.max_rejections_in_a_row or 0)
        open_orders = self._open_orders if policy.max_open_orders is not None else None
        if open_orders is not None:
            open_orders += sum(bound.entry.name == "addOrder" for bound, _ in before)
            if history is not None:  # they may be among those that were counted: then it is too many
                open_orders += history.opened_since(self._counted_ns)
        return Facts(now_ns, quote, open_orders, sent, verdicts, _killed(policy))


def _counts(bound: Bound) -> bool:
    """Whether a command takes of what limits leave: one that is only checked does not."""
    return bound.entry.name in PLACING and not bound.only_validates


def _pair(bound: Bound) -> str:
    return str(bound.values.get("pair", ""))


def _killed(policy: Policy) -> str:
    """Return why the kill file forbids, or ""; one that cannot be looked for forbids."""
    if policy.kill_file is None:
        return ""
    try:
        os.stat(os.path.expanduser(policy.kill_file))
    except FileNotFoundError:
        return ""
    except OSError as error:
        return f"{policy.kill_file} cannot be looked for: {error.strerror}"
    return f"{policy.kill_file} is there; remove it to trade"


def _stopped(bound: Bound) -> ConnectionFailed:
    return ConnectionFailed(f"{bound.entry.name} was not sent: stopped while it was being checked")
