"""The dead man's switch of an account, as the one who holds it sees it: when to ask, and how long it holds.

    off ──armed──▶ armed ──renewed every third of its time──▶ armed …
     ▲                │
     └───disarmed─────┘   wanted no longer, or maintenance: else it fires when the engine returns

What counts is what the exchange confirmed. A request that fails, refused or unanswered, is made again: to set
the same switch twice is to set it once. `fires_at` errs on the safe side: it counts from the earliest moment
at which the exchange can have taken the request, and an unanswered renewal does not move it.

All times are monotonic seconds called `now`; `req_id`s rise.

Source: v1.md 9.6, quirk O12.
"""

from __future__ import annotations

OFF = 0
_RENEWALS = 3
"""In the time of the switch: two may fail."""
_RETRY_S = 5.0


class Switch:
    """One switch of `timeout_s` seconds.

    Attributes:
        timeout_s: how long after the last renewal the exchange cancels everything.
        wanted: whether it is to be armed.
        maintenance: whether the exchange is in maintenance.
        setting: what was confirmed last, in seconds, `OFF` for disarmed; None before the first answer.
        fires_at: when it fires at the earliest, by what was confirmed; None while it is off.
    """

    __slots__ = (
        "_asked",
        "_confirmed",
        "_latest",
        "_retry_at",
        "fires_at",
        "maintenance",
        "setting",
        "timeout_s",
        "wanted",
    )

    def __init__(self, timeout_s: int) -> None:
        self.timeout_s = timeout_s
        self.wanted = True
        self.maintenance = False
        self.setting: int | None = None
        self.fires_at: float | None = None
        self._asked: dict[int, tuple[int, float]] = {}
        self._latest = OFF
        self._confirmed = -1
        self._retry_at = float("-inf")

    @property
    def target(self) -> int:
        """What it should be set to, in seconds."""
        return self.timeout_s if self.wanted and not self.maintenance else OFF

    @property
    def armed(self) -> bool:
        """Whether the exchange has confirmed that it is."""
        return bool(self.setting)

    def left_s(self, now: float) -> float:
        """Return for how long it surely does not fire."""
        return float("inf") if self.fires_at is None else max(0.0, self.fires_at - now)

    @property
    def settled(self) -> bool:
        """Whether it is as it should be, and nothing asked for may change that."""
        return self.setting == self.target and not self._asked

    def next_deadline(self) -> float | None:
        """Return when `due` may have something to ask; None when an answer has to come first."""
        if self._asked:
            return None if self._latest == self.target else self._retry_at
        if self.setting != self.target:
            return self._retry_at
        if self.fires_at is None:
            return None
        return max(self._retry_at, self.fires_at - self.timeout_s * (_RENEWALS - 1) / _RENEWALS)

    def due(self, now: float) -> int | None:
        """Return the seconds to ask for now, or None."""
        deadline = self.next_deadline()
        return None if deadline is None or now < deadline else self.target

    def asked(self, req_id: int, now: float) -> None:
        """The target has been asked for."""
        self._latest = self.target
        self._asked[req_id] = self._latest, now

    def confirmed(self, req_id: int, now: float, within_s: float) -> bool:
        """Take the exchange's yes; return whether it was to a request of ours.

        Args:
            req_id: of the request.
            now: monotonic seconds.
            within_s: the request left no longer ago than this, however long it had waited to leave.
        """
        asked = self._asked.pop(req_id, None)
        if asked is None:
            return False
        seconds, at = asked
        if req_id > self._confirmed:  # else a later request has been answered before
            self._confirmed = req_id
            self.setting = seconds
            self.fires_at = max(at, now - within_s) + seconds if seconds else None
        self._retry_at = float("-inf")
        return True

    def failed(self, req_id: int, now: float, *, unknown: bool) -> bool:
        """Take a refusal, or with `unknown` the lack of an answer; return whether it was to one of ours."""
        asked = self._asked.pop(req_id, None)
        if asked is None:
            return False
        if unknown and asked[0] and not self.setting:
            self.setting = None  # it may be armed all the same
        self._retry_at = now + min(_RETRY_S, self.timeout_s / _RENEWALS**2)
        return True

    def dropped(self, now: float) -> None:
        """All connections are given up, with what was asked over them; `req_id`s begin anew."""
        for req_id in tuple(self._asked):
            self.failed(req_id, now, unknown=True)
        self._confirmed = -1
