"""What a line of a session needs, and only a call that blocks can tell.

Such a call (the list of pairs, what a policy asks the exchange) is made beside the loop. The line is put
aside; when the call has ended it is looked at again from its beginning, as nothing has come of it before,
and finds the answer. The caller's next lines wait behind it; other callers and all streams do not.
"""

from __future__ import annotations

from krakenws.errors import ConnectionFailed, KrakenWSError
from krakenws.net.errand import Errand

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from typing import Any

    from krakenws.cli.caller import Caller
    from krakenws.net.poller import HasFileno

    Work = Callable[[], Any]
    Watch = Callable[[int, Sequence[tuple[HasFileno, int]]], None]

FIRST_KEY = 1 << 40
"""Calls are waited for under this key and those behind it; no session has so many callers."""


class NotYet(Exception):
    """A line needs what a call must tell first."""

    def __init__(self, key: Hashable, work: Work) -> None:
        self.key = key
        self.work = work


class SessionEnds(KrakenWSError):
    """The session ends, and begins nothing more."""

    exit_code = ConnectionFailed.exit_code
    retryable = True


class Beside:
    """The calls that lines wait for; several lines may wait for the same.

    Attributes:
        caller: whose line is being looked at.
    """

    caller: Caller

    def __init__(self) -> None:
        self._calls: dict[int, tuple[Hashable, Errand, list[Caller]]] = {}
        self._made = 0
        self._over = False

    def learn(self, key: Hashable, work: Work) -> Any:
        """Return what a call has told, or raise what it raised.

        Args:
            key: which call it is; the same for the same.
            work: the call; it must touch nothing that the loop changes.

        Raises:
            NotYet: it was not made yet.
            SessionEnds: it will not be made any more.
        """
        if key in self.caller.learned:
            return self.caller.learned[key]()
        if self._over:
            raise SessionEnds("the session ends")
        raise NotYet(key, work)

    def start(self, reason: NotYet, caller: Caller, watch: Watch) -> bool:
        """Make a call, unless it is being made; return False if the caller need not wait: it failed."""
        for key, _, callers in self._calls.values():
            if key == reason.key:
                callers.append(caller)
                return True
        try:
            errand = Errand(reason.work, then=_nothing, late="", due=None)
        except (OSError, RuntimeError) as error:  # out of descriptors or threads
            refusal = ConnectionFailed(f"the system refused what a look-up takes: {error}")
            caller.learned[reason.key] = lambda: _raise(refusal)
            return False
        number = FIRST_KEY + self._made
        self._made += 1
        self._calls[number] = reason.key, errand, [caller]
        watch(number, errand.watched)
        return True

    def ended(self, number: int, watch: Watch) -> list[Caller]:
        """Take what a call has told; return those who waited for it."""
        key, errand, callers = self._calls.pop(number)
        watch(number, ())
        for caller in callers:
            caller.learned[key] = errand.result
        return callers

    def close(self) -> None:
        """Wait for no call any more."""
        self._over = True
        for _, errand, _ in self._calls.values():
            errand.close()
        self._calls.clear()


def _nothing(_: object) -> None:
    """Do nothing: who waited is told otherwise."""


def _raise(error: Exception) -> None:
    raise error
