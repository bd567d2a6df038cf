"""Signals as a loop over sockets takes them; `Stop` ends a run within a second, whatever it is doing."""

from __future__ import annotations

import signal
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FrameType

_PATIENCE_S = 0.7


class Stopped(Exception):
    """A signal came some time ago, and the run is still in a call that blocks: a full pipe, a lock."""


class Signals:
    """Takes signals while it is entered: each calls `_on_signal` and makes `wakeup` readable.

    Attributes:
        set: whether the run is to end.
    """

    def __init__(self, numbers: Iterable[int]) -> None:
        self.set = False
        self._numbers = numbers
        self._ours, self._theirs = socket.socketpair()
        self._before: dict[int, object] = {}
        self._wakeup = -1

    @property
    def wakeup(self) -> socket.socket:
        """A socket that becomes readable when a signal came."""
        return self._ours

    @property
    def urgent(self) -> bool:
        """Whether the run is to end now, whatever is on its way."""
        return self.set

    def heard(self) -> None:
        """Take notice of what came, so that `wakeup` is readable for the next signal only."""
        try:
            self._ours.recv(4096)
        except BlockingIOError:
            return

    def __enter__(self) -> Signals:  # noqa: PYI034 - typing costs start-up
        for sock in (self._ours, self._theirs):
            sock.setblocking(False)
        self._wakeup = signal.set_wakeup_fd(self._theirs.fileno(), warn_on_full_buffer=False)
        for number in self._numbers:
            self._before[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]  # what signal.signal itself gave
        signal.set_wakeup_fd(self._wakeup)
        self.close()

    def close(self) -> None:
        """Let go of the sockets; leaving the context does it."""
        self._ours.close()
        self._theirs.close()

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        raise NotImplementedError


class Silence(Signals):
    """No signal ever comes: for a run in another thread than the main one. To be closed."""

    def __init__(self) -> None:
        super().__init__(())


class Stop(Signals):
    """Whether a signal asked the run to end; a context manager.

    The signal sets `set` and makes `wakeup` readable, which ends the loop in order. Where the loop does not
    get to it because some call blocks, `Stopped` is raised in that call. (Not on Windows, which has no timer
    signals.)

    While a request that trades is on its way (`hold`), the first signal only asks; the second one is obeyed.

    Attributes:
        set: a signal came.
    """

    def __init__(self) -> None:
        super().__init__((signal.SIGINT, signal.SIGTERM))
        self._has_timer = hasattr(signal, "setitimer")
        self._count = 0
        self._held = False

    @property
    def urgent(self) -> bool:
        """Whether the run is to end now, whatever is on its way."""
        return self.set and (not self._held or self._count > 1)

    def hold(self) -> None:
        """Let the first signal wait from here on."""
        self._held = True
        if self._count == 1:
            self._arm(0.0)

    def release(self) -> None:
        """Obey the first signal again."""
        if self._held and self.set:
            self._arm(_PATIENCE_S)
        self._held = False

    def __enter__(self) -> Stop:  # noqa: PYI034 - nobody derives from it, and typing costs start-up
        super().__enter__()
        if self._has_timer:
            self._before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._on_timer)
        return self

    def __exit__(self, *_: object) -> None:
        self._arm(0.0)
        super().__exit__()

    def _arm(self, patience_s: float) -> None:
        """Raise `Stopped` after a time, and again; 0 for never."""
        if self._has_timer:
            signal.setitimer(signal.ITIMER_REAL, patience_s, patience_s)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.set = True
        self._count += 1
        if self.urgent:
            self._arm(_PATIENCE_S)

    def _on_timer(self, _number: int, _frame: FrameType | None) -> None:
        raise Stopped
