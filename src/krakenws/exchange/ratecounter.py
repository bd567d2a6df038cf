"""The rate counters of an account on one pair and of an API key on REST, and the tiers that set their limits.

A transaction raises the counter, by more the younger the order is that it touches; time lowers it. One that
would lift it over the ceiling is refused and costs nothing, or a client that keeps trying would never get
through; one that is refused for another reason costs its fixed part. The counter is shared by everything the
account does on the pair, over whatever connection.

REST counts the calls of a key by itself. There a call that is refused counts as well, since Kraken says that
who goes on is refused for longer; up to twice the ceiling, as it does not say how much longer.

Counted in whole units of 10**-8 point a microsecond, so that a counter is exact at every instant.

Source: v1.md section 11, auth.md section 6, docs.kraken.com/api/docs/guides/spot-ratelimits.
"""

from __future__ import annotations

from krakenws.exchange.requests import Refusal
from krakenws.record import record

ADD, AMEND, EDIT, CANCEL, BATCH_ADD = "add", "amend", "edit", "cancel", "batch_add"
RATE_LIMIT_EXCEEDED = "EOrder:Rate limit exceeded"
CALLS_EXCEEDED = "EAPI:Rate limit exceeded"

_POINT = 10**8
_SECOND_US = 1_000_000
_FIXED = {ADD: 1, AMEND: 1, EDIT: 1, CANCEL: 0}
_BY_AGE: dict[str, tuple[tuple[int, int], ...]] = {
    AMEND: ((5, 3), (10, 2), (15, 1)),
    EDIT: ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1)),
    CANCEL: ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1)),
}
"""Points on top for an order younger than so many seconds."""
_CALL_POINTS = {"TradesHistory": 4, "AddOrder": 0, "CancelOrder": 0}
"""What a REST call costs, where it is not one point; orders have the counter of their pair."""


@record
class Tier:
    """What an account's verification and history allow.

    Attributes:
        ceiling: `maxratecount`, in points, on each pair.
        decay_centipoints_s: what that counter loses a second, in hundredths of a point.
        open_orders: how many may be open at a time, on each pair.
        call_ceiling: of a key's REST calls, in points.
        call_decay_centipoints_s: what that counter loses a second.
        margin_usd: what open margin positions may have cost, in US dollars; 0 is no margin trading.
    """

    name: str
    ceiling: int
    decay_centipoints_s: int
    open_orders: int
    call_ceiling: int = 20
    call_decay_centipoints_s: int = 100
    margin_usd: int = 5_000_000

    @property
    def scheduled_orders(self) -> int:
        """How many orders with a later start there may be on all pairs: a number of ours."""
        return self.open_orders // 2

    @property
    def positions(self) -> int:
        """How many margin positions may be open on all pairs: a number of ours."""
        return self.open_orders


STARTER = Tier("starter", 60, 100, 60, call_ceiling=15, call_decay_centipoints_s=33, margin_usd=0)
INTERMEDIATE = Tier("intermediate", 125, 234, 80, call_decay_centipoints_s=50, margin_usd=500_000)
PRO = Tier("pro", 180, 375, 225)
TIERS = {tier.name: tier for tier in (STARTER, INTERMEDIATE, PRO)}


def half_points(transaction: str, age_us: int = 0, orders: int = 1) -> int:
    """Return what a transaction costs, in halves of a point.

    Args:
        transaction: `ADD`, `AMEND`, `EDIT`, `CANCEL` or `BATCH_ADD`; a batch of cancels is so many cancels.
        age_us: of the order it touches, since it was created or last amended.
        orders: the size of a batch.
    """
    if transaction == BATCH_ADD:
        return orders
    extra = next((more for below_s, more in _BY_AGE.get(transaction, ()) if age_us < below_s * _SECOND_US), 0)
    return 2 * (_FIXED[transaction] + extra)


class _Counter:
    """What time lowers; it only moves forward, an earlier one is taken as the latest seen."""

    __slots__ = ("_at_us", "_ceiling", "_decay_centipoints_s", "_units")

    def __init__(self, ceiling: int, decay_centipoints_s: int) -> None:
        self._ceiling = ceiling * _POINT
        self._decay_centipoints_s = decay_centipoints_s
        self._units = 0
        self._at_us = 0

    def _decay(self, at_us: int) -> None:
        passed_us = at_us - self._at_us
        if passed_us > 0:
            self._at_us = at_us
            self._units = max(0, self._units - passed_us * self._decay_centipoints_s)


class RateCounter(_Counter):
    """The counter of an account on one pair."""

    __slots__ = ()

    def __init__(self, tier: Tier) -> None:
        super().__init__(tier.ceiling, tier.decay_centipoints_s)

    def charge(self, at_us: int, transaction: str, age_us: int = 0, orders: int = 1) -> int:
        """Count a transaction, before anything else about it is looked at: a refused order costs as well.

        Returns what was counted for the age of the order, to `forgive` when the request is refused.

        Raises:
            Refusal: it would lift the counter over the ceiling; nothing was counted.
        """
        self._decay(at_us)
        before = self._units
        units = before + half_points(transaction, age_us, orders) * _POINT // 2
        if units > self._ceiling:
            raise Refusal(RATE_LIMIT_EXCEEDED)
        self._units = units
        return units - before - _FIXED.get(transaction, 0) * _POINT

    def forgive(self, penalty: int) -> None:
        """Take back what was counted for the age of an order that was not changed after all."""
        self._units = max(0, self._units - penalty)

    def count(self, at_us: int) -> int:
        """Return the counter as `ratecount` tells it: whole points, rounded up."""
        self._decay(at_us)
        return -(-self._units // _POINT)


class CallCounter(_Counter):
    """The counter of an API key's REST calls."""

    __slots__ = ()

    def __init__(self, tier: Tier) -> None:
        super().__init__(tier.call_ceiling, tier.call_decay_centipoints_s)

    def charge(self, at_us: int, method: str) -> None:
        """Count a call, `Balance`.

        Raises:
            Refusal: the counter is above its ceiling with it.
        """
        self._decay(at_us)
        points = _CALL_POINTS.get(method, 1)
        self._units = min(self._units + points * _POINT, 2 * self._ceiling)
        if points and self._units > self._ceiling:
            raise Refusal(CALLS_EXCEEDED)
