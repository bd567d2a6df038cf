"""How much a client may ask of the exchange: messages a second, and connection attempts in ten minutes.

Kraken publishes the second only; the first is what its support has named and careful clients keep to.

Source: v1.md section 3 (connect limit, message rate), quirks N1 and R3.
"""

from __future__ import annotations

from krakenws.core.pacing import Budget
from krakenws.record import record

ADDRESSES = 10_000
"""Of so many clients attempts are counted; then counting begins anew."""


@record
class Limits:
    """What a venue allows.

    Attributes:
        messages_per_s: what one connection may send for long.
        burst: what it may send at once.
        connections: attempts of one address in `window_s` seconds; who exceeds it is shut out for as long.
    """

    messages_per_s: float = 20.0
    burst: int = 50
    connections: int = 150
    window_s: float = 600.0


class Visitors:
    """Who has come how often."""

    __slots__ = ("_banned_until", "_budgets", "_limits")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._budgets: dict[str, Budget] = {}
        self._banned_until: dict[str, float] = {}

    def admit(self, address: str, now: float) -> bool:
        """Count an attempt, and return whether it may succeed."""
        if now < self._banned_until.get(address, now):
            return False
        if address not in self._budgets:
            if len(self._budgets) >= ADDRESSES:
                self._budgets.clear()
                self._banned_until.clear()
            self._budgets[address] = Budget(self._limits.connections, self._limits.window_s)
        if self._budgets[address].spend(now):
            self._banned_until[address] = now + self._limits.window_s
            return False
        return True
