"""The rate counters of an account on one pair and of an API key on REST, and the tiers that set their limits.

A transaction raises the counter, by more the younger the order is that it touches; time lowers it. One that
would lift it over the ceiling is refused and costs nothing, or a client that keeps trying would never get
through; one that is refused for another reason costs its fixed part. The counter is shared by everything the
account does on the pair, over whatever connection.

REST counts the calls of a key by itself. There a call that is refused counts as well, since Kraken says that
who goes on is refused for longer; up to twice the ceiling, as it does not say how much longer.

Source: v1.md section 11, auth.md section 6, docs.kraken.com/api/docs/guides/spot-ratelimits.
"""

from __future__ import annotations

from krakenws.core.ratecounter import (
    CEILINGS,
    DECAYS_CENTIPOINTS_S,
    POINT,
    RATE_LIMIT_EXCEEDED,
    Counter,
    cost,
)
from krakenws.exchange.requests import Refusal
from krakenws.record import record

CALLS_EXCEEDED = "EAPI:Rate limit exceeded"

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


def _tier(name: str, open_orders: int, **more: int) -> Tier:
    ceiling = CEILINGS[name]
    return Tier(name, ceiling, DECAYS_CENTIPOINTS_S[ceiling], open_orders, **more)


STARTER = _tier("starter", 60, call_ceiling=15, call_decay_centipoints_s=33, margin_usd=0)
INTERMEDIATE = _tier("intermediate", 80, call_decay_centipoints_s=50, margin_usd=500_000)
PRO = _tier("pro", 225)
TIERS = {tier.name: tier for tier in (STARTER, INTERMEDIATE, PRO)}


class RateCounter(Counter):
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
        self.advance(at_us)
        fixed, penalty = cost(transaction, age_us, orders)
        if not self.fits(fixed + penalty):
            raise Refusal(RATE_LIMIT_EXCEEDED)
        self.units += fixed + penalty
        return penalty


class CallCounter(Counter):
    """The counter of an API key's REST calls."""

    __slots__ = ()

    def __init__(self, tier: Tier) -> None:
        super().__init__(tier.call_ceiling, tier.call_decay_centipoints_s)

    def charge(self, at_us: int, method: str) -> None:
        """Count a call, `Balance`.

        Raises:
            Refusal: the counter is above its ceiling with it.
        """
        self.advance(at_us)
        points = _CALL_POINTS.get(method, 1)
        self.units = min(self.units + points * POINT, 2 * self.ceiling * POINT)
        if points and not self.fits(0):
            raise Refusal(CALLS_EXCEEDED)
