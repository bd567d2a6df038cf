"""Back-off, rolling budgets and message pace, as arithmetic on times that are passed in.

All times are monotonic seconds called `now`; nothing here waits.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_INSTANT_S = (0.0, 0.0, 1.0)
_SLOWEST_S = 30.0
POLITE_S = 5.0
"""The least delay after maintenance, close 1013, HTTP 429 or 5xx. Source: v1.md section 3."""


class Backoff:
    """How long to wait before the next connection: 0, 0, 1 s, then full jitter between 5 and 30 s."""

    __slots__ = ("_jitter", "failures")

    def __init__(self, jitter: Callable[[], float]) -> None:
        """Jitter gives numbers in [0, 1): the core draws none itself."""
        self._jitter = jitter
        self.failures = 0

    def next_delay(self, at_least: float = 0.0) -> float:
        """Count a loss and return the seconds to wait."""
        tried = self.failures
        self.failures += 1
        if tried < len(_INSTANT_S):
            return max(at_least, _INSTANT_S[tried])
        return max(at_least, POLITE_S + self._jitter() * (_SLOWEST_S - POLITE_S))

    def reset(self) -> None:
        """Forget the losses: the connection has *stayed* up (quirk N10)."""
        self.failures = 0


class Budget:
    """At most `limit` attempts in any `window_s` seconds (quirk N1)."""

    __slots__ = ("_attempts", "_limit", "_window_s")

    def __init__(self, limit: int, window_s: float) -> None:
        self._limit = limit
        self._window_s = window_s
        self._attempts: list[float] = []

    def delay(self, now: float) -> float:
        """Return the seconds from `now` until an attempt is allowed; 0.0 if it is then."""
        if len(self._attempts) < self._limit:
            return 0.0
        return max(0.0, self._attempts[-self._limit] + self._window_s - now)

    def spend(self, now: float) -> float:
        """Record an attempt and return 0.0, or return the seconds until one is allowed."""
        wait = self.delay(now)
        if wait == 0.0:
            self._attempts.append(now)
            del self._attempts[: -self._limit]
        return wait


class Pace:
    """A token bucket for messages to the exchange: `rate` a second, `burst` at once (quirk R3)."""

    __slots__ = ("_burst", "_filled_at", "_rate", "_tokens")

    def __init__(self, rate: float, burst: int) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_at: float | None = None

    def delay(self, now: float) -> float:
        """Return the seconds until a message may leave; 0.0 if it may now."""
        if self._filled_at is not None and now > self._filled_at:
            self._tokens = min(self._burst, self._tokens + (now - self._filled_at) * self._rate)
        self._filled_at = now
        missing = 1.0 - self._tokens
        return missing / self._rate if missing > 1e-9 else 0.0  # a wait too short to move a clock is none

    def begin(self) -> None:
        """A new connection: the exchange counts anew (v1.md section 3)."""
        self._tokens = self._burst

    def spend(self) -> None:
        """Count one message; commands are counted too, though never held back."""
        self._tokens -= 1.0
