"""Orders held to the rules of their pair and to the clock, with the list of pairs that is at hand.

The checks (`core.ordercheck`) save a round trip and name the nearest legal value. The exchange checks again
in any case; so they never hold an order up for their own sake: without a list of pairs it is sent unchecked,
which is said, and no order is refused by a list older than a minute without asking for a newer one.
"""

from __future__ import annotations

from math import inf
from time import monotonic, time

from krakenws.core.catalog import shown
from krakenws.core.ordercheck import wrong_for_pair, wrong_time
from krakenws.errors import ConnectionFailed, RequestRejected, UsageError
from krakenws.net.errand import at_once
from krakenws.net.pairs import FRESH_S, Listed, Shelf, load
from krakenws.record import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from krakenws.core.catalog import Bound, Wrong
    from krakenws.core.pair import PairRow
    from krakenws.net.errand import Learn
    from krakenws.net.pairs import Pairs
    from krakenws.options import Options

_PATIENCE_S = 3.0
"""How long an order waits for a list of pairs."""
_RECENT_S = 60.0


class Checks:
    """Refuses what the exchange would refuse.

    Args:
        options: `rest_url` names the exchange.
        note: takes a sentence for people.
        asks: whether the exchange may be asked for its list; if not, what the cache has must do.
        learn: makes the call that asks for it.
    """

    def __init__(
        self, options: Options, note: Callable[[str], None], *, asks: bool, learn: Learn = at_once
    ) -> None:
        self._options = options
        self._note = note
        self._asks_at = 0.0 if asks else inf
        self._learn = learn
        self._shelf = Shelf(options)

    def check(self, bound: Bound) -> None:
        """Pass if nothing is known against a command of `v1_entries.PLACING`.

        Raises:
            UsageError: the rule it breaks, and the nearest legal value.
        """
        now_s, name = time(), bound.values.get("pair")
        if wrong := wrong_time(bound, now_s):
            _refuse(bound, wrong)
        if not isinstance(name, str):
            self._note(f"{bound.entry.name}: prices and volume are not checked without pair=")
            return
        listed = self._shelf.find(name)
        if listed is None or not 0 <= now_s - listed.fetched_s < FRESH_S:
            listed = self._fetch(bound, name, listed)
        if listed is None:
            return
        wrong = self._wrong(bound, name, listed.row)
        if wrong is None:
            return
        if now_s - listed.fetched_s > _RECENT_S:
            listed = self._fetch(bound, name, listed) or listed
            wrong = self._wrong(bound, name, listed.row)
        if wrong is not None:
            _refuse(bound, wrong)

    def check_cost(self, bound: Bound, best: str) -> None:
        """Pass if a command that passed costs enough at the market's price, too.

        Raises:
            UsageError: it does not.
        """
        listed = self._shelf.find(str(bound.values.get("pair")))
        if listed is not None and listed.row is not None:
            wrong = wrong_for_pair(bound, listed.row, best)
            if wrong is not None:
                _refuse(bound, wrong)

    def _fetch(self, bound: Bound, name: str, cached: Listed | None) -> Listed | None:
        """Ask the exchange for its list, unless that was just in vain; else return what the cache has."""
        if monotonic() >= self._asks_at:
            try:
                found: Pairs = self._learn("fetch pairs", self._load)
            except (ConnectionFailed, RequestRejected) as error:
                self._asks_at = monotonic() + _RECENT_S
                self._note(f"the list of pairs cannot be had: {error}")
            else:
                if found.note:
                    self._asks_at = monotonic() + _RECENT_S
                    self._note(found.note)
                return Listed(found.find(name), time())
        if cached is None:
            self._note(
                f"{bound.entry.name} is not checked against the rules of {name}: there is no list of pairs;"
                " the exchange's own checks decide"
            )
        return cached

    def _load(self) -> Pairs:
        patience_s = min(self._options.connect_timeout_s, _PATIENCE_S)
        return load(replace(self._options, connect_timeout_s=patience_s), refresh=True, now_s=time())

    def _wrong(self, bound: Bound, name: str, row: PairRow | None) -> Wrong | None:
        if row is not None:
            return wrong_for_pair(bound, row)
        meant = load(self._options, refresh=False, now_s=time()).nearest(name, bound.entry.api)
        said = f"pair={shown(name)} is not on the exchange's list"
        return "pair", said + (f"; did you mean {meant}?" if meant else "")


def _refuse(bound: Bound, wrong: Wrong) -> NoReturn:
    raise UsageError(f"{bound.entry.name}: {wrong[1]} (or --no-check)")
