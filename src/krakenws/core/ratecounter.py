"""The arithmetic of the rate counter that an account has on each pair, the exchange's side and ours.

A transaction raises the counter, by more the younger the order is that it touches; time lowers it; over its
ceiling nothing is taken. Counted in whole units of 10**-8 point, of which the decay takes a whole number each
microsecond, so that a counter is exact at every instant.

Source: v1.md section 11, docs.kraken.com/api/docs/guides/spot-ratelimits.
"""

from __future__ import annotations

ADD, AMEND, EDIT, CANCEL, BATCH_ADD = "add", "amend", "edit", "cancel", "batch_add"
RATE_LIMIT_EXCEEDED = "EOrder:Rate limit exceeded"
CEILINGS = {"starter": 60, "intermediate": 125, "pro": 180}
"""`maxratecount` of each tier, in points."""
DECAYS_CENTIPOINTS_S = {60: 100, 125: 234, 180: 375}
"""What a counter with such a ceiling loses a second, in hundredths of a point."""
POINT = 10**8

_SECOND_US = 1_000_000
_FIXED = {ADD: 1, AMEND: 1, EDIT: 1, CANCEL: 0}
_BY_AGE: dict[str, tuple[tuple[int, int], ...]] = {
    AMEND: ((5, 3), (10, 2), (15, 1)),
    EDIT: ((5, 6), (10, 5), (15, 4), (45, 2), (90, 1)),
    CANCEL: ((5, 8), (10, 6), (15, 5), (45, 4), (90, 2), (300, 1)),
}
"""Points on top for an order younger than so many seconds."""


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


def cost(transaction: str, age_us: int = 0, orders: int = 1) -> tuple[int, int]:
    """Return what a transaction costs, in units: the fixed part, and what its order's age adds."""
    units = half_points(transaction, age_us, orders) * POINT // 2
    fixed = units if transaction == BATCH_ADD else _FIXED[transaction] * POINT
    return fixed, units - fixed


class Counter:
    """What time lowers; it only moves forward, an earlier one is taken as the latest seen.

    Attributes:
        ceiling: in points.
        units: what it stands at, by the last `advance`.
    """

    __slots__ = ("_at_us", "_decay_centipoints_s", "ceiling", "units")

    def __init__(self, ceiling: int, decay_centipoints_s: int) -> None:
        self.units = 0
        self._at_us = 0
        self.limit(ceiling, decay_centipoints_s)

    def limit(self, ceiling: int, decay_centipoints_s: int) -> None:
        """Have other limits from here on."""
        self.ceiling = ceiling
        self._decay_centipoints_s = decay_centipoints_s

    def advance(self, at_us: int) -> None:
        """Let time pass until then, in microseconds."""
        passed_us = at_us - self._at_us
        if passed_us > 0:
            self._at_us = at_us
            if self.units:
                self.units = max(0, self.units - passed_us * self._decay_centipoints_s)

    def fits(self, units: int) -> bool:
        """Whether so much more stays below the ceiling."""
        return self.units + units <= self.ceiling * POINT

    def forgive(self, units: int) -> None:
        """Count so much less."""
        self.units = max(0, self.units - units)

    def count(self, at_us: int) -> int:
        """Return the counter as `ratecount` tells it."""
        self.advance(at_us)
        return self.points

    @property
    def points(self) -> int:
        """What it stands at in whole points, rounded up."""
        return -(-self.units // POINT)

    def room_in_s(self, units: int) -> float:
        """Return in how many seconds so much more will fit."""
        over = self.units + units - self.ceiling * POINT
        return max(0, over) / (self._decay_centipoints_s * _SECOND_US)
