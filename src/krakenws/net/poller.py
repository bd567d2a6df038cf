"""Waiting for sockets and pipes: `poll`, or `select` where it is missing; registrations are kept."""

from __future__ import annotations

import os
import select
from time import monotonic

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Protocol

    class HasFileno(Protocol):
        """A socket, or what else can be waited for."""

        def fileno(self) -> int: ...  # noqa: D102


READ = 1
WRITE = 2


class Poller:
    """Which sockets are waited for, each group of them under a key of the caller's."""

    def __init__(self) -> None:
        self._poll = select.poll() if hasattr(select, "poll") else None
        self._groups: dict[int, Sequence[tuple[HasFileno, int]]] = {}
        self._keys: dict[int, int] = {}

    def watch(self, key: int, sockets: Sequence[tuple[HasFileno, int]]) -> None:
        """Wait for these sockets under a key from now on, each with `READ` and `WRITE` as needed.

        The same sequence object again costs nothing: that is how an open connection stays registered.
        """
        if self._groups.get(key, ()) is sockets:
            return
        if sockets:
            self._groups[key] = sockets
        else:
            self._groups.pop(key, None)
        for fd in [fd for fd, its in self._keys.items() if its == key]:
            del self._keys[fd]
            if self._poll is not None:
                self._poll.unregister(fd)
        for sock, mask in sockets:
            self._keys[sock.fileno()] = key
            if self._poll is not None:
                flags = (select.POLLIN if mask & READ else 0) | (select.POLLOUT if mask & WRITE else 0)
                self._poll.register(sock, flags)

    @property
    def keys(self) -> list[int]:
        """The keys under which anything is waited for."""
        return [*self._groups]

    def wait(self, timeout_s: float | None) -> list[int]:
        """Return the keys whose sockets are ready, in the order they were found; none when time ran out."""
        if self._poll is None:
            return self._select(timeout_s)
        # Rounded up: a poll that returns just before its time would spin.
        found = self._poll.poll(timeout_s if not timeout_s else timeout_s * 1000 + 0.999)
        if len(found) == 1:
            return [self._keys[found[0][0]]]
        return list(dict.fromkeys(self._keys[fd] for fd, _ in found))

    def wait_awake(self, timeout_s: float | None, until: float) -> list[int]:
        """Do as `wait` does, but look again and again up to a monotonic time before sleeping.

        To be woken takes some 50 µs, and who has slept finds its caches cold and is half as fast. Where there
        is one processor, whoever is waited for needs it.
        """
        if _HAS_COMPANY:
            began = now = monotonic()
            while now < until and (timeout_s is None or now - began < timeout_s):
                if ready := self.wait(0.0):
                    return ready
                now = monotonic()
            if timeout_s is not None:
                timeout_s = max(0.0, timeout_s - (now - began))
        return self.wait(timeout_s)

    def _select(self, timeout_s: float | None) -> list[int]:
        """Windows: a failed connect is exceptional there, and `select` needs at least one socket."""
        every = [pair for group in self._groups.values() for pair in group]
        readers = [sock.fileno() for sock, mask in every if mask & READ]
        writers = [sock.fileno() for sock, mask in every if mask & WRITE]
        found = [fd for group in select.select(readers, writers, writers, timeout_s) for fd in group]
        return list(dict.fromkeys(self._keys[fd] for fd in found))


def _processors() -> int:
    """Return how many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


_HAS_COMPANY = _processors() > 1


class SpinningPoller(Poller):
    """Asks again and again instead of sleeping: the system need not wake it, and it takes a whole core."""

    def wait(self, timeout_s: float | None) -> list[int]:
        """Do as `Poller.wait` does."""
        until = None if timeout_s is None else monotonic() + timeout_s
        while not (ready := super().wait(0.0)):
            if until is not None and monotonic() >= until:
                break
        return ready
