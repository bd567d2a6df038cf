"""Calls that block (a name to resolve, a token to fetch), made beside the loop, which hears of their end."""

from __future__ import annotations

import socket
from _thread import start_new_thread

from krakenws.net.poller import READ

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence
    from typing import Any, Protocol

    class Learn(Protocol):
        """Makes a call that blocks and returns what it gave: at once, or beside a loop (`cli.beside`)."""

        def __call__(self, key: Hashable, work: Callable[[], Any], /) -> Any: ...  # noqa: D102


def at_once(_key: Hashable, work: Callable[[], Any]) -> Any:
    """Make a call where nothing else has to go on meanwhile."""
    return work()


class Errand:
    """One call in a thread of its own, which dies with the process.

    Nobody waits for the thread: an errand that was closed runs to its end, shuts its own side, and what it
    brings is dropped.

    Args:
        work: what to call; it must touch nothing that the loop changes.
        then: what the loop does with the result.
        late: what had not happened when it took too long, for people.
        due: when that is (monotonic), or None once it was told.

    Attributes:
        watched: what becomes readable when it is done; emptied by the loop once it knows.

    Raises:
        OSError: no socket pair could be made.
        RuntimeError: no thread could be started.
    """

    __slots__ = ("_error", "_news", "_result", "due", "late", "then", "watched")

    def __init__(
        self, work: Callable[[], Any], *, then: Callable[..., None], late: str, due: float | None
    ) -> None:
        self._result: Any = None
        self._error: BaseException | None = None
        self.then = then
        self.late = late
        self.due = due
        self._news, bell = socket.socketpair()
        self.watched: Sequence[tuple[socket.socket, int]] = ((self._news, READ),)
        try:
            start_new_thread(self._run, (work, bell))
        except BaseException:
            bell.close()
            self.close()
            raise

    def _run(self, work: Callable[[], Any], bell: socket.socket) -> None:
        with bell:
            try:
                self._result = work()
            except BaseException as error:  # noqa: BLE001 - raised again where somebody hears it
                self._error = error

    def result(self) -> Any:
        """Return what the call gave, or raise what it raised; only when it is done."""
        self.close()
        if self._error is not None:
            raise self._error
        return self._result

    def close(self) -> None:
        """Want nothing more of it."""
        self._news.close()
