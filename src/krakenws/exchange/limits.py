"""How much a client may ask of the exchange: messages and public calls a second, attempts in ten minutes.

Kraken publishes the last only; the others are what its support has named and careful clients keep to. What
an account may ask for is elsewhere: `ratecounter`.

Source: v1.md section 3 (connect limit, message rate), auth.md section 6, quirks N1, R3 and R5.
"""

from __future__ import annotations

from krakenws.core.pacing import Budget, Pace
from krakenws.exchange.requests import Refusal
from krakenws.record import record

ADDRESSES = 10_000
"""Of so many clients attempts and calls are counted; then counting begins anew."""
TOO_MANY_REQUESTS = "EGeneral:Too many requests"


@record
class Limits:
    """What a venue allows.

    Attributes:
        messages_per_s: what one connection may send for long.
        burst: what it may send at once.
        calls_per_s: public REST calls that one address may make for long.
        call_burst: those it may make at once.
        connections: attempts of one address in `window_s` seconds; who exceeds it is shut out for as long.
    """

    messages_per_s: float = 20.0
    burst: int = 50
    calls_per_s: float = 1.0
    call_burst: int = 15
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


class Callers:
    """Who has made how many public REST calls."""

    __slots__ = ("_paces",)

    def __init__(self) -> None:
        self._paces: dict[str, Pace] = {}

    def count(self, address: str, limits: Limits, now: float) -> None:
        """Count a call.

        Raises:
            Refusal: it comes too early.
        """
        if address not in self._paces and len(self._paces) >= ADDRESSES:
            self._paces.clear()
        pace = self._paces.setdefault(address, Pace(limits.calls_per_s, limits.call_burst))
        if pace.delay(now):
            raise Refusal(TOO_MANY_REQUESTS)
        pace.spend()
