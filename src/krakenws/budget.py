"""The budget of connection attempts that all krakenws processes of a user share.

Kraken bans an address for ten minutes at about 150 connections in ten (quirk N1). Attempts are counted in
one small file, `connections` beside `state.db`: a line `MILLISECONDS SITE` for each, kept for one window,
read and written under the file's lock. SQLite would do, but its import costs a quarter of a start. Nothing
here is worth an fsync, and what is no such line is left out: damage costs counts, never a run.

The wall clock is what processes share. A process keeps its own attempts by the monotonic clock as well: they
count whatever becomes of the file or of the clock.
"""

from __future__ import annotations

import errno
import os
import sys
from _thread import allocate_lock
from time import localtime, monotonic, sleep, strftime, time

from krakenws.core.pacing import Budget

if sys.platform == "win32":
    import msvcrt

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from krakenws.options import Options

_LOCK_S = 0.5
"""Whoever holds the lock needs microseconds; one that was stopped meanwhile must not stop us."""
_LOCK_AT = 1 << 30
"""Windows locks bytes, and locked ones cannot be read: this one is behind all that is written."""
_MOST_BYTES = 1 << 20
_threads = allocate_lock()
"""The file's lock keeps processes apart; whoever closes the file lets go of it for all threads of his own."""
_BUSY = {errno.EAGAIN, errno.EACCES, errno.EDEADLK}


class ConnectionBudget:
    """At most `options.attempts` attempts to a site in any `options.attempts_window_s`, in all processes.

    A *site* is what Kraken's edge counts by: `Target.site`.

    Args:
        options: the limit and its window.
        warn: takes the sentence that the file cannot be used; from then on this process counts alone.
        directory: where the file is, the user's state directory unless given.
        clock: seconds since 1970.
    """

    def __init__(
        self,
        options: Options,
        warn: Callable[[str], None],
        *,
        directory: str | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        if directory is None:
            from krakenws.directories import state_dir

            directory = state_dir()
        self.path = os.path.join(directory, "connections")
        self._options = options
        self._warn = warn
        self._clock = clock
        self._own: dict[str, Budget] = {}
        self._warned = False

    def delay(self, site: str) -> float:
        """Return the seconds until an attempt is free, 0.0 if one is now."""
        return self._ask(site, spend=False)

    def spend(self, site: str) -> float:
        """Count an attempt and return 0.0, or return the seconds until one is free."""
        return self._ask(site, spend=True)

    def used(self, site: str) -> int:
        """Return how many attempts to a site count at the moment.

        Raises:
            OSError: the file cannot be read.
        """
        try:
            with open(self.path, "rb") as file:
                text = file.read(_MOST_BYTES)
        except FileNotFoundError:
            return 0
        now_ms, window_ms = int(self._clock() * 1000), int(self._options.attempts_window_s * 1000)
        return sum(its == site.encode() for _, its in _recent(text, now_ms, window_ms))

    def spent(self, site: str, wait_s: float) -> str:
        """Say that it is spent, and until when by the local clock."""
        until = strftime("%H:%M:%S", localtime(self._clock() + wait_s + 0.999))
        return (
            f"the budget of {self._options.attempts} connections to {site} in"
            f" {self._options.attempts_window_s / 60:g} minutes is spent, by all krakenws processes of this"
            f" user together; the next is free at {until}"
        )

    def _ask(self, site: str, *, spend: bool) -> float:
        own = self._own.get(site)
        if own is None:
            own = self._own[site] = Budget(self._options.attempts, self._options.attempts_window_s)
        now = monotonic()
        wait_s = own.delay(now)
        if wait_s == 0.0:
            try:
                wait_s = self._ask_all(site.encode(), spend=spend)
            except OSError as error:
                self._count_alone(error)
        if spend and wait_s == 0.0:
            own.spend(now)
        return wait_s

    def _count_alone(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            self._warn(
                f"connections are counted for this process alone: {self.path} cannot be used"
                f" ({(error.strerror or str(error)).lower()})"
            )

    def _ask_all(self, site: bytes, *, spend: bool) -> float:
        """Look into the file, and count an attempt there if one is free and wished.

        Raises:
            OSError: the file cannot be used.
        """
        with _threads:
            file = _open(self.path)
            try:
                _lock(file)
                try:
                    return self._count(file, site, spend=spend)
                finally:
                    _unlock(file)
            finally:
                os.close(file)

    def _count(self, file: int, site: bytes, *, spend: bool) -> float:
        before = os.read(file, _MOST_BYTES)
        now_ms, window_ms = int(self._clock() * 1000), int(self._options.attempts_window_s * 1000)
        attempts = _recent(before, now_ms, window_ms)
        ours = sorted(at_ms for at_ms, its in attempts if its == site)
        limit = self._options.attempts
        free = len(ours) < limit
        if spend and free:
            attempts.append((now_ms, site))
        after = b"".join([b"%d %s\n" % attempt for attempt in attempts])
        if after != before:
            _rewrite(file, after)
        return 0.0 if free else (ours[-limit] + window_ms - now_ms) / 1000


def _recent(text: bytes, now_ms: int, window_ms: int) -> list[tuple[int, bytes]]:
    """Return the attempts that count, each with its site.

    Those of the future were made before the clock stepped back: they count from now on.
    """
    attempts = []
    for line in text.split(b"\n"):
        at, _, site = line.partition(b" ")
        if site and at.isdigit() and len(at) < 16:
            at_ms = min(int(at), now_ms)
            if at_ms > now_ms - window_ms:
                attempts.append((at_ms, site))
    return attempts


def _open(path: str) -> int:
    # Non-blocking, should it be a pipe.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags, 0o600)
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        return os.open(path, flags, 0o600)


def _rewrite(file: int, text: bytes) -> None:
    """Write, then cut: a process that is killed in between leaves attempts counted twice, not forgotten."""
    os.lseek(file, 0, os.SEEK_SET)
    if os.write(file, text) < len(text):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.ftruncate(file, len(text))


def _lock(file: int) -> None:
    until = monotonic() + _LOCK_S
    while True:
        try:
            if sys.platform == "win32":
                os.lseek(file, _LOCK_AT, os.SEEK_SET)
                msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
                os.lseek(file, 0, os.SEEK_SET)
            else:
                os.lockf(file, os.F_TLOCK, 0)  # fcntl would be one more module to load
        except OSError as error:
            if error.errno not in _BUSY or monotonic() >= until:
                raise
        else:
            return
        sleep(0.002)


def _unlock(file: int) -> None:
    """Elsewhere than on Windows closing it does this."""
    if sys.platform == "win32":
        os.lseek(file, _LOCK_AT, os.SEEK_SET)
        msvcrt.locking(file, msvcrt.LK_UNLCK, 1)
